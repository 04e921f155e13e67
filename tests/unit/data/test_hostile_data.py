"""Images, labels and arrays that are damaged, contradictory or made to exhaust the machine: refused by name, early."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.core.config import to_dict
from benchmark.core.errors import DataError, UserError
from benchmark.data.cards import DatasetCard, card_with, find_card
from benchmark.data.collection import in_memory, read_collection
from benchmark.data.prepare import prepare
from benchmark.data.sources.list import Listed

SECONDS = 5


def png(value: int, side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (value, 100, 100)).save(file, "PNG")
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return pack(">I", len(content)) + kind + content + pack(">I", zlib.crc32(kind + content))


def black_png(side: int) -> bytes:
    """A valid grey PNG of that side, made row by row."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    head = chunk(b"IHDR", pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def images(n: int = 20) -> dict[str, bytes]:
    return {f"{i}.png": png(i) for i in range(n)}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def labels(pairs: Any) -> bytes:
    return json.dumps({"labels": pairs}).encode()


def refused(action: Callable[[], Any], *parts: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        action()
    assert time.monotonic() - began < SECONDS
    for part in parts:
        assert part in str(caught.value)


def prepared(path: Path | DatasetCard, tmp_path: Path) -> Any:
    card = path if isinstance(path, DatasetCard) else find_card(str(path))
    return prepare(card, tmp_path, tmp_path / "cache", progress=False)


# ---- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["flat", "shards", "one_folder", "split"])
@pytest.mark.parametrize("as_zip", [False, True])
def test_dataset_json_of_a_path_gives_its_labels(tmp_path: Path, layout: str, as_zip: bool) -> None:
    place = {"flat": "", "shards": "{}/", "one_folder": "all/{}/", "split": "{}/"}[layout]
    folders = ("train", "test") if layout == "split" else ("00000", "00001")
    names = [place.format(folders[i % 4 == 3]) + f"{i}.png" for i in range(48)]
    files = {name: png(i) for i, name in enumerate(names)}
    files["dataset.json"] = labels([[name, i % 3] for i, name in enumerate(names)])
    path = packed(tmp_path / "sg.zip", files) if as_zip else write(tmp_path / "sg", files)
    assert find_card(str(path)).conditioning == "class"
    data = prepared(path, tmp_path)
    assert data.class_names == ("0", "1", "2")
    found = {int(image[0, 0, 0]): int(k) for image, k in zip(data.train.images, data.train.labels)}
    assert len(found) > 10
    assert all(k == red % 3 for red, k in found.items())
    scored = read_collection(path)
    assert scored.labels is not None
    assert all(k == image[0, 0, 0] % 3 for image, k in zip(scored.images, scored.labels))


def test_dataset_json_without_labels_is_no_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "sg", images() | {"dataset.json": labels(None)})
    assert find_card(str(path)).conditioning == "none"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (labels([["0.png", 10**12]]), "class numbers are 0 to"),
        (labels([["0.png", -1]]), "class numbers are 0 to"),
        (labels([["0.png", True]]), "[path, class number]"),
        (labels([["0.png", 1.0]]), "[path, class number]"),
        (labels([["0.png", [0, 1]]]), "[path, class number]"),
        (labels([["0.png", "1"]]), "[path, class number]"),
        (labels([0]), "[path, class number]"),
        (labels([["0.png", 0], ["0.png", 1]]), "it has two classes, 0 and 1"),
        (labels([["0.png", 0], ["./0.png", 1]]), "it has two classes, 0 and 1"),
        (labels(5), "list `labels`"),
        (labels("text"), "list `labels`"),
        (labels({"0.png": 0}), "list `labels`"),
        (b"[1]", "list `labels`"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "not UTF-8"),
        (b'{"labels": [], "labels": null}', "given twice"),
        (b'{"labels": [["0.png", ' + b"9" * 10_000 + b"]]}", "cannot be read as JSON"),
    ],
)
@pytest.mark.parametrize("as_zip", [False, True])
def test_bad_dataset_json_is_named(tmp_path: Path, content: bytes, part: str, as_zip: bool) -> None:
    files = images() | {"dataset.json": content}
    path = packed(tmp_path / "sg.zip", files) if as_zip else write(tmp_path / "sg", files)

    def serve() -> None:
        prepared(card_with(find_card(str(path)), {"conditioning": "class"}), tmp_path)

    refused(serve, "dataset.json", part)


def listed(tmp_path: Path, train: str, test: str) -> DatasetCard:
    write(tmp_path / "p", images())
    write(tmp_path, {"train.txt": train.encode(), "test.txt": test.encode()})
    source = Listed(path="p", train_list="train.txt", test_list="test.txt")
    return DatasetCard(name="l", title="", source=source, resolution=8, channels=3, conditioning="class")


@pytest.mark.parametrize(
    ("train", "test", "part"),
    [
        ("0.png 0\n1.png 1\n", "2.png 0\n./1.png 1\n", "1 images are in both lists"),
        ("0.png 0\n1.png 1\n.//0.png 1\n", "2.png 0\n3.png 1\n", "line 3: 0.png has class 1, but class 0 above"),
        ("0.png 0\n1.png 1000000000000\n", "2.png 0\n", "line 2"),
        ("0.png 0\n1.png -1\n", "2.png 0\n", "line 2"),
        ("0.png 0\n1.png 2\n", "2.png 0\n3.png 2\n", "lacks classes"),
        ("0.png 0\n1.png " + "9" * 10_000, "2.png 0\n", "line 2"),
    ],
)
def test_lists_that_contradict_themselves(tmp_path: Path, train: str, test: str, part: str) -> None:
    refused(lambda: prepared(listed(tmp_path, train, test), tmp_path), part)


@pytest.mark.parametrize(
    ("dtype", "value", "part"),
    [
        (np.int64, 10**12, "class numbers are 0 to"), (np.uint64, 2**64 - 1, "class numbers are 0 to"),
        (np.int64, -1, "labels of dtype int64"), (np.float32, 1, "labels of dtype float32"),
        (bool, 1, "labels of dtype bool"), (np.float64, np.nan, "labels of dtype float64"),
    ],
)  # fmt: skip
def test_bad_labels_of_arrays(tmp_path: Path, dtype: Any, value: Any, part: str) -> None:
    given, numbers = np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, value], dtype)
    np.savez(tmp_path / "a.npz", images=given, labels=numbers)
    refused(lambda: read_collection(tmp_path / "a.npz"), part)
    refused(lambda: in_memory(given, numbers), part)


# ---- arrays ---------------------------------------------------------------------------------------------------------


def npy(array: np.ndarray, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def announced(shape: str, descr: str = "|u1") -> bytes:
    """A .npy file that is nothing but a header."""
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + pack("<H", len(head)) + head


GOOD = npy(np.zeros((4, 8, 8, 3), np.uint8))
BAD_ARRAYS = {
    "empty": (b"", "not an array of numpy"),
    "huge": (announced("(1000000, 1000, 1000, 3)"), "not the whole array"),
    "negative": (announced("(-1, 8, 8, 3)") + bytes(192), "not the whole array"),
    "cut": (GOOD[:-1], "not the whole array"),
    "longer": (GOOD + b"x", "not the whole array"),
    "objects": (npy(np.array([{}], object), pickled=True), "Python objects"),
    "text": (b"hello", "not an array of numpy"),
    "nested": (announced("(" * 5000), "not an array of numpy"),
    "floats": (npy(np.full((2, 8, 8, 3), np.nan, np.float32)), "images of dtype float32"),
    "scalar": (npy(np.array(3, np.uint8)), "images of shape ()"),
    "two axes": (npy(np.zeros((8, 8), np.uint8)), "images of shape"),
    "no images": (npy(np.zeros((0, 8, 8, 3), np.uint8)), "images of shape"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
@pytest.mark.parametrize("kind", ["npy", "npz", "raw member"])
def test_damaged_arrays_are_named(tmp_path: Path, case: str, kind: str) -> None:
    content, part = BAD_ARRAYS[case]
    path = tmp_path / f"a.{kind[:3] if kind != 'raw member' else 'npz'}"
    if kind == "npy":
        path.write_bytes(content)
    else:
        packed(path, {"images.npy" if kind == "npz" else "images": content})
    refused(lambda: read_collection(path), str(path), part)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", packed.__name__.encode()])
def test_damaged_archives_are_named(tmp_path: Path, content: bytes) -> None:
    for name in ("a.npz", "a.zip"):
        (tmp_path / name).write_bytes(content)
        refused(lambda name=name: read_collection(tmp_path / name), name)


def test_arrays_in_fortran_order_are_the_same_images(tmp_path: Path) -> None:
    given = np.random.default_rng(0).integers(256, size=(4, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", np.asfortranarray(given))
    np.savez_compressed(tmp_path / "a.npz", images=np.asfortranarray(given), labels=np.arange(4, dtype=np.uint8))
    assert np.array_equal(read_collection(tmp_path / "a.npy").images, given)
    assert np.array_equal(read_collection(tmp_path / "a.npz").images, given)


# ---- images and links -----------------------------------------------------------------------------------------------


def test_bombs_are_refused_within_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    """In a process of its own: its memory is what the attacks took."""
    bomb = black_png(13_000)
    write(tmp_path / "big", images() | {"bomb.png": bomb})
    packed(tmp_path / "big.zip", images() | {"bomb.png": bomb})
    with zipfile.ZipFile(tmp_path / "json.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", png(0))
        with archive.open("dataset.json", "w", force_zip64=True) as file:
            for _ in range(256):
                file.write(bytes(2**20))
    with (
        zipfile.ZipFile(tmp_path / "array.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as file,
    ):
        file.write(announced("(400, 1024, 1024, 1)"))
        for _ in range(400):
            file.write(bytes(2**20))
    attacks = """
import sys, time
from pathlib import Path
import torch
from benchmark.core.errors import DataError, UserError
from benchmark.data.cards import find_card
from benchmark.data.collection import read_collection
from benchmark.data.prepare import prepare
from benchmark.runs.device import peak_memory_mb
root = Path(sys.argv[1])
for name, part in (("big", "13,000 x 13,000"), ("big.zip", "13,000 x 13,000"), ("json.zip", "too large"),
                   ("array.npz", "would become")):
    for action in (read_collection, lambda path: prepare(find_card(str(path)), root, root / "cache", False)):
        if name == "array.npz" and action is not read_collection:
            continue
        began = time.monotonic()
        try:
            action(root / name)
        except UserError as error:
            assert part in str(error), str(error)
        else:
            raise AssertionError(f"{name} was read")
        assert time.monotonic() - began < 5, name
assert peak_memory_mb(torch.device("cpu")) < 1024, peak_memory_mb(torch.device("cpu"))
"""
    done = subprocess.run([sys.executable, "-c", attacks, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("link", ["file", "folder", "deep"])
def test_links_that_lead_outside_are_refused_unless_allowed(tmp_path: Path, link: str) -> None:
    root = write(tmp_path / "own", images())
    other = write(tmp_path / "own-else", {f"{i}.png": png(i) for i in range(100, 110)})
    if link == "file":
        (root / "far.png").symlink_to(other / "100.png")
    elif link == "folder":
        (root / "far").symlink_to(other)
    else:
        (root / "inner").mkdir()
        (root / "inner" / "far").symlink_to(other)
    refused(lambda: find_card(str(root)), "leads outside of", "follow_links: true")
    refused(lambda: read_collection(root), "leads outside of")
    config = tmp_path / "own.yaml"
    text = (
        f"name: own\ntitle: x\nsource: {{kind: folder, path: {root}}}\nresolution: 8\nchannels: 3\nconditioning: none\n"
    )
    config.write_text(text)
    refused(lambda: prepared(config, tmp_path), "leads outside of")
    config.write_text(text + "follow_links: true\n")
    data = prepared(config, tmp_path)
    assert len(data.train) + len(data.test) == (21 if link == "file" else 30)


def test_links_inside_and_loops_are_followed_once(tmp_path: Path) -> None:
    root = write(tmp_path / "own", images())
    (root / "again.png").symlink_to("3.png")
    (root / "loop").symlink_to(root)
    (tmp_path / "given").symlink_to(root)
    for path in (root, tmp_path / "given"):
        assert len(read_collection(path)) == 21


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
def test_a_name_that_is_no_text_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    shutil.copy(folder / "a.png", os.fsencode(folder) + b"/caf\xe9.png")
    with pytest.raises(DataError, match=r"(?s)caf\\udce9\.png': not a name in UTF-8.*rename it"):
        prepare(find_card(str(folder)), tmp_path, tmp_path / "cache", progress=False)


def test_a_link_to_itself_and_a_pipe_are_named(tmp_path: Path) -> None:
    root = write(tmp_path / "own", images())
    (root / "me.png").symlink_to("me.png")
    refused(lambda: find_card(str(root)), "me.png")
    (root / "me.png").unlink()
    os.mkfifo(root / "pipe.png")
    refused(lambda: find_card(str(root)), "pipe.png", "not a regular file")


def test_links_of_listed_pictures_are_refused_too(tmp_path: Path) -> None:
    card = listed(tmp_path, "0.png 0\n1.png 1\n", "2.png 0\nfar.png 1\n")
    write(tmp_path / "else", {"100.png": png(100)})
    (tmp_path / "p" / "far.png").symlink_to(tmp_path / "else" / "100.png")
    refused(lambda: prepared(card, tmp_path), "far.png", "leads outside of")
    assert len(prepared(card_with(card, {"follow_links": True}), tmp_path).test) == 2


def test_following_links_leaves_other_configurations_as_they_were() -> None:
    assert "follow_links" not in to_dict(find_card("cifar10"))
    assert to_dict(card_with(find_card("cifar10"), {"follow_links": True}))["follow_links"] is True


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", png(0))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", png(1))
    refused(lambda: find_card(str(tmp_path / "a.zip")), "a.png", "twice")
