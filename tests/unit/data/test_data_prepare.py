"""Preparation: split, whole or not at all, flat memory, read-only sources."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import benchmark.data.prepare as module
from benchmark.core.errors import ConfigError, DataError, UserError
from benchmark.core.files import sha256_file
from benchmark.data.cards import DatasetCard, card_with, find_card
from benchmark.data.layout import in_test
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.data.sources.folder import Folder
from benchmark.data.sources.torchvision import MNIST_FILES

SMALL = {"source": {"n_train": 60, "n_test": 20}}


def small_shapes() -> DatasetCard:
    return card_with(find_card("shapes"), SMALL)


def quiet(card: DatasetCard, root: Path, cache: Path) -> Dataset:
    return prepare(card, root, cache, progress=False)


def needs_real_data() -> Path:
    root = os.environ.get("GANTLET_DATA")
    if not root:
        pytest.skip("GANTLET_DATA is not set: it names the folder of the real data sets")
    return Path(root)


def test_digits_are_scikit_learns(tmp_path):
    from sklearn.datasets import load_digits

    data = quiet(find_card("digits"), tmp_path, tmp_path / "cache")
    assert data.train.images.shape == (len(data.train), 16, 16, 1)
    assert len(data.train) + len(data.test) == 1797
    assert abs(len(data.test) - 1797 / 3) < 5
    counts = np.bincount(data.train.labels) + np.bincount(data.test.labels)
    np.testing.assert_array_equal(counts, np.bincount(load_digits().target))
    share = np.bincount(data.test.labels) / counts
    assert np.abs(share - 1 / 3).max() < 0.01, "stratified"
    assert data.train.images.max() == 255, "16 levels are spread over 0..255"
    assert not list(tmp_path.glob("[!c]*")), "nothing is written outside of the cache"


def test_the_split_of_digits_keeps_every_picture_once(tmp_path):
    from sklearn.datasets import load_digits

    card = card_with(find_card("digits"), {"resolution": 8})
    data = quiet(card, tmp_path, tmp_path / "cache")
    both = np.concatenate([data.train.images, data.test.images])[..., 0].reshape(1797, -1)
    original = np.rint(load_digits().images * 255 / 16).astype(np.uint8).reshape(1797, -1)
    np.testing.assert_array_equal(np.sort(both, 0), np.sort(original, 0))


def test_meta_says_where_the_bytes_come_from(tmp_path):
    data = quiet(small_shapes(), tmp_path, tmp_path)
    folder = next(tmp_path.glob("shapes-*"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "meta.json",
        "test.npy",
        "test_attributes.npy",
        "train.npy",
        "train_attributes.npy",
    ]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["counts"] == {"train": 60, "test": 20}
    assert meta["files"]["train.npy"] == sha256_file(folder / "train.npy")
    assert {"pillow", "numpy"} <= set(meta["versions"])
    assert meta["sha256"] == data.sha256
    assert meta["card"]["name"] == "shapes"
    assert (folder / "train.npy").stat().st_size == 128 + 60 * 32 * 32 * 3


def test_held_out_images_that_are_training_images_are_counted(tmp_path, capsys):
    from benchmark.__main__ import main

    folder, random = tmp_path / "pictures", np.random.default_rng(0)
    images = random.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    for part, rows in (("train", range(8)), ("test", (2, 5, 8, 9, 10))):  # two are in both
        (folder / part).mkdir(parents=True)
        for i in rows:
            Image.fromarray(images[i]).save(folder / part / f"{part}{i}.png")
    words = ["prepare", "--dataset", str(folder), "--results", str(tmp_path / "results"), "--quiet"]
    for _ in range(2):  # made, and found
        assert main(words) == 0
        assert capsys.readouterr().out.count("note: 2 of 5 held-out images are equal to a training image") == 1
    for path in ("test2", "test5"):
        (folder / "test" / f"{path}.png").unlink()
    assert main(words) == 0
    assert "note" not in capsys.readouterr().out


def test_a_second_time_opens_the_same_bytes(tmp_path):
    first = quiet(small_shapes(), tmp_path, tmp_path)
    changed = (next(tmp_path.glob("shapes-*")) / "meta.json").stat().st_mtime_ns
    second = quiet(small_shapes(), tmp_path, tmp_path)
    assert (next(tmp_path.glob("shapes-*")) / "meta.json").stat().st_mtime_ns == changed
    assert isinstance(second.train.images, np.memmap)
    assert not second.train.images.flags.writeable
    np.testing.assert_array_equal(first.train.images, second.train.images)


def test_the_content_hash_is_of_contents(tmp_path):
    a = quiet(small_shapes(), tmp_path, tmp_path / "a")
    b = quiet(small_shapes(), tmp_path / "elsewhere", tmp_path / "b")
    assert a.sha256 == b.sha256
    other_seed = card_with(find_card("shapes"), {"source": {"n_train": 60, "n_test": 20, "seed": 1}})
    assert quiet(other_seed, tmp_path, tmp_path / "a").sha256 != a.sha256
    one_label_less = card_with(small_shapes(), {"attribute_set": "3"})
    assert quiet(one_label_less, tmp_path, tmp_path / "a").sha256 != a.sha256


def test_the_served_labels_are_the_cards(tmp_path):
    by_class = quiet(card_with(find_card("shapes_class"), SMALL), tmp_path, tmp_path)
    assert by_class.n_classes == 5
    assert by_class.train.attributes is None
    plain = quiet(card_with(small_shapes(), {"conditioning": "none"}), tmp_path, tmp_path)
    assert plain.n_labels == 0
    assert plain.train.labels is None
    assert plain.train.attributes is None
    np.testing.assert_array_equal(plain.train.images, by_class.train.images)


def test_split_by_hash_is_stable_and_has_the_share():
    names = [f"cat/{i}.png" for i in range(20_000)]
    test = [name for name in names if in_test(name, 0.2)]
    assert abs(len(test) / len(names) - 0.2) < 0.01
    assert [name for name in names[:100] if in_test(name, 0.2)] == [name for name in test if name in set(names[:100])]
    larger = {name for name in names if in_test(name, 0.3)}
    assert set(test) <= larger, "a larger share only adds"


def test_a_failure_leaves_nothing_and_a_stale_rest_does_no_harm(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            quiet(small_shapes(), tmp_path, tmp_path)
    assert not list(tmp_path.glob("shapes-*"))
    reference = quiet(small_shapes(), tmp_path, tmp_path / "other")
    name = next((tmp_path / "other").glob("shapes-*")).name
    stale = tmp_path / f"{name}.partial"
    stale.mkdir()
    (stale / "train_labels.npy").write_bytes(b"rest of a killed process")
    (tmp_path / name).mkdir()  # looks like a data set, but has no meta.json
    assert quiet(small_shapes(), tmp_path, tmp_path).sha256 == reference.sha256
    assert not stale.exists()


def test_a_killed_process_leaves_nothing_that_looks_complete(tmp_path):
    code = (
        "from pathlib import Path; from benchmark.data.cards import *; from benchmark.data.prepare import prepare;"
        "card = card_with(find_card('shapes'), {'source': {'n_train': 100000}});"
        f"prepare(card, Path('.'), Path({str(tmp_path)!r}), progress=False)"
    )
    root = Path(__file__).parents[3]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > 100_000 for path in tmp_path.glob("shapes-*/train.npy")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.suffix for path in tmp_path.glob("shapes-*")] == [".partial"]
    assert len(quiet(small_shapes(), tmp_path, tmp_path).train) == 60, "its lock is free"


def test_two_at_once_make_it_once(tmp_path, monkeypatch):
    made = []
    original = module._make
    monkeypatch.setattr(module, "_make", lambda *args: (made.append(1), original(*args)))
    found: list[Dataset] = []
    threads = [
        threading.Thread(target=lambda: found.append(quiet(small_shapes(), tmp_path, tmp_path / "c"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len({data.sha256 for data in found}) == 1
    assert len(found) == 3


def test_a_full_disk_is_noticed_before_any_work(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="too full for data set shapes"):
        quiet(small_shapes(), tmp_path, tmp_path)


def test_a_damaged_cache_is_refused_by_name(tmp_path):
    quiet(small_shapes(), tmp_path, tmp_path)
    folder = next(tmp_path.glob("shapes-*"))
    whole = (folder / "train.npy").read_bytes()
    (folder / "train.npy").write_bytes(whole[:1000])
    with pytest.raises(DataError, match="delete the folder and prepare it again"):
        quiet(small_shapes(), tmp_path, tmp_path)


def test_memory_stays_flat(tmp_path):
    """Nine times more files must not need more memory than their names."""
    peaks, array_bytes = {}, {}
    for n in (20, 200, 2000):  # the first only loads what is loaded once
        folder = tmp_path / f"pictures{n}"
        folder.mkdir()
        for i in range(n):
            Image.new("RGB", (4, 4), (i % 256, i // 256, 0)).save(folder / f"{i}.png", compress_level=0)
        card = DatasetCard(
            name=f"n{n}", title="n", source=Folder(path=str(folder)), resolution=64, channels=3, conditioning="none"
        )
        tracemalloc.start()
        data = quiet(card, tmp_path, tmp_path / "cache")
        peaks[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        array_bytes[n] = n * 64 * 64 * 3
        assert len(data.train) + len(data.test) == n
    assert peaks[2000] - peaks[200] < (array_bytes[2000] - array_bytes[200]) / 10


def test_without_a_network_the_files_and_their_places_are_named(tmp_path, monkeypatch):
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        quiet(find_card("mnist"), tmp_path, tmp_path / "cache")
    assert time.monotonic() - start < 10
    for name in MNIST_FILES:
        assert str(tmp_path / "MNIST" / "raw" / name) in str(caught.value)
    assert "yann.lecun.com" in str(caught.value)


def served_by(monkeypatch, fetch) -> list[Path]:
    """Let torchvision's MNIST be `fetch(root)`, called for each of its two splits; returns the roots it was given."""
    import torchvision.datasets

    roots = []

    def download(root: str, train: bool, download: bool) -> None:
        assert download
        roots.append(Path(root))
        fetch(Path(root))

    monkeypatch.setattr(torchvision.datasets, "MNIST", download)
    return roots


def raw_files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "MNIST" / "raw").glob("*"))


def test_a_download_shows_whole_files_only_and_is_done_by_one_process(tmp_path, monkeypatch):
    seen = []

    def fetch(root: Path) -> None:
        folder = root / "MNIST" / "raw"
        folder.mkdir(parents=True, exist_ok=True)
        for name in MNIST_FILES:
            (folder / name).write_bytes(b"part")
            seen.append(raw_files(tmp_path))
            (folder / name).write_bytes(b"whole")

    roots = served_by(monkeypatch, fetch)
    card = find_card("mnist")
    threads = [threading.Thread(target=card.source.download, args=(card, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 2  # the splits, by one of the three
    assert seen == [[]] * 2 * len(MNIST_FILES)
    assert raw_files(tmp_path) == sorted(MNIST_FILES)
    assert {(tmp_path / "MNIST/raw" / name).read_bytes() for name in MNIST_FILES} == {b"whole"}
    assert not list(tmp_path.glob(".*.partial"))


def test_a_download_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    name = next(iter(MNIST_FILES))
    own = tmp_path / "MNIST" / "raw" / name
    own.parent.mkdir(parents=True)
    own.write_bytes(b"my own")

    def fetch(root: Path) -> None:
        write = root / "MNIST" / "raw" / name
        write.parent.mkdir(parents=True, exist_ok=True)
        write.write_bytes(b"part")
        raise RuntimeError("the sum is another one")

    served_by(monkeypatch, fetch)
    card = find_card("mnist")
    with pytest.raises(DataError, match="the download failed: the sum is another one"):
        card.source.download(card, tmp_path)
    assert raw_files(tmp_path) == [name]
    assert own.read_bytes() == b"my own"
    assert not list(tmp_path.glob(".*.partial"))


def test_a_test_share_that_a_sources_own_split_makes_no_use_of_is_refused(tmp_path):
    card = card_with(find_card("digits"), {"test_share": 0.5})
    with pytest.raises(ConfigError, match=r"(?s)test_share: 0\.5.*a split of its own.*split: hash"):
        quiet(card, tmp_path, tmp_path / "cache")
    data = quiet(card_with(card, {"split": "hash"}), tmp_path, tmp_path / "cache")
    assert 0.45 < len(data.test) / 1797 < 0.55


def test_damaged_torchvision_files_are_refused(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, size in MNIST_FILES.items():
        (raw / name).write_bytes(b"\0" * size)
    with pytest.raises(DataError, match="its files cannot be read"):
        quiet(find_card("mnist"), tmp_path, tmp_path / "cache")


def write_mnist(root: Path) -> None:
    """Files of MNIST's real sizes: picture i is blank but for its first two pixels, i div 256 and i mod 256."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, n in (("train", 60_000), ("t10k", 10_000)):
        pixels = np.zeros((n, 28 * 28), np.uint8)
        pixels[:, 0], pixels[:, 1] = np.divmod(np.arange(n), 256)
        header = b"".join(k.to_bytes(4, "big") for k in (0x803, n, 28, 28))
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = (np.arange(n) % 10).astype(np.uint8)
        header = b"".join(k.to_bytes(4, "big") for k in (0x801, n))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


@pytest.mark.slow
def test_mnist_layout_and_read_only_root(tmp_path):
    root = tmp_path / "data"
    write_mnist(root)
    before = sorted(root.rglob("*"))
    data = quiet(find_card("mnist"), root, tmp_path / "cache")
    assert sorted(root.rglob("*")) == before
    assert data.train.images.shape == (60_000, 32, 32, 1)
    number = data.train.images[:, 2, 2, 0].astype(int) * 256 + data.train.images[:, 2, 3, 0]
    np.testing.assert_array_equal(number, np.arange(60_000))
    np.testing.assert_array_equal(data.test.labels, np.arange(10_000) % 10)


def test_cifar10_layout(tmp_path, monkeypatch):
    """torchvision's own reader, on files of its layout; checksums, which only real ones meet, are skipped."""
    import pickle

    import torchvision.datasets

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [b.decode() for b in b"airplane automobile bird cat deer dog frog horse ship truck".split()]
    pixels = {}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        pixels[name] = rng.integers(256, size=(20, 3, 32, 32), dtype=np.uint8)
        batch = {"data": pixels[name].reshape(20, -1), "labels": [i % 10 for i in range(20)]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = quiet(find_card("cifar10"), tmp_path, tmp_path / "cache")
    assert data.class_names == tuple(names)
    assert (len(data.train), len(data.test)) == (100, 20)
    np.testing.assert_array_equal(data.test.images, pixels["test_batch"].transpose(0, 2, 3, 1))


@pytest.mark.slow
def test_real_mnist(tmp_path):
    data = quiet(find_card("mnist"), needs_real_data(), tmp_path)
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    np.testing.assert_array_equal(data.train.labels[:10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])  # as published
    inside = data.train.images[:, 2:-2, 2:-2]
    assert abs(inside.mean() / 255 - 0.1307) < 1e-4, "the mean that everyone normalises MNIST with"
    assert np.bincount(data.train.labels)[1] == 6742


@pytest.mark.slow
def test_real_fashion_mnist(tmp_path):
    data = quiet(find_card("fashion_mnist"), needs_real_data(), tmp_path)
    assert (np.bincount(data.train.labels) == 6000).all()
    assert abs(data.train.images[:, 2:-2, 2:-2].mean() / 255 - 0.2860) < 1e-4


@pytest.mark.slow
def test_real_cifar10_jpeg(tmp_path):
    data = quiet(find_card("cifar10_jpeg"), needs_real_data(), tmp_path)
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert (np.bincount(data.train.labels) == 5000).all()
    assert (np.bincount(data.test.labels) == 1000).all()
    mean = data.train.images.mean(axis=(0, 1, 2)) / 255
    assert np.abs(mean - [0.4914, 0.4822, 0.4465]).max() < 2e-3, "CIFAR-10's channel means, to JPEG's loss"
    assert data.meta["converted"] == {}


def test_real_layouts_are_found():
    from benchmark.data.cards import locate

    root = needs_real_data()
    for name in ("mnist", "fashion_mnist", "cifar10_jpeg"):
        locate(find_card(name), root)
