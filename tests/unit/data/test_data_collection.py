"""Anyone's pictures, read as they are."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.core.errors import DataError
from benchmark.data import collection
from benchmark.data.collection import in_memory, read_collection

RNG = np.random.default_rng(0)


def pictures(n: int, side: tuple[int, int] = (12, 10), channels: int = 3) -> np.ndarray:
    return RNG.integers(256, size=(n, *side, channels), dtype=np.uint8)


def write(folder: Path, images: np.ndarray, names: list[str] | None = None) -> Path:
    for i, image in enumerate(images):
        path = folder / (names[i] if names else f"{i:03d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(path)
    return folder


def same_pictures(a: np.ndarray, b: np.ndarray) -> bool:
    """In any order."""
    return sorted(x.tobytes() for x in a) == sorted(x.tobytes() for x in b)


def test_a_folder_is_read_bit_for_bit_whatever_its_shape(tmp_path: Path) -> None:
    images = pictures(7)
    found = read_collection(write(tmp_path / "samples", images))
    assert (found.name, found.images.shape, found.labels) == ("samples", (7, 12, 10, 3), None)
    assert same_pictures(found.images, images)


def test_a_zip_gives_the_same_as_its_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "s", pictures(5))
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    assert np.array_equal(read_collection(folder).images, read_collection(tmp_path / "s.zip").images)


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    images = pictures(6)
    names = [f"{'cat' if i % 2 else 'bird'}/{i}.png" for i in range(6)]
    found = read_collection(write(tmp_path / "s", images, names))
    assert found.class_names == ("bird", "cat")
    assert found.labels is not None
    assert same_pictures(found.images[found.labels == 1], images[1::2])


def test_grey_pictures_become_what_the_reference_has(tmp_path: Path) -> None:
    images = pictures(3, channels=1)
    folder = write(tmp_path / "s", images)
    assert same_pictures(read_collection(folder, channels=1).images, images)
    assert same_pictures(read_collection(folder).images, np.repeat(images, 3, 3))


def test_a_limit_takes_a_fair_sample_and_a_side_brings_all_to_one(tmp_path: Path) -> None:
    write(tmp_path / "s", pictures(20), [f"{'a' if i < 10 else 'b'}/{i}.png" for i in range(20)])
    some = read_collection(tmp_path / "s", limit=10)
    assert len(some) == 10
    assert some.labels is not None
    assert 0 < some.labels.sum() < 10, "not the first class only"
    write(tmp_path / "s", pictures(1, (40, 30)), ["a/large.png"])
    with pytest.raises(DataError, match=r"(?s)large\.png: 30 x 40 px.*--resolution"):
        read_collection(tmp_path / "s")
    assert read_collection(tmp_path / "s", side=8).images.shape == (21, 8, 8, 3)


def test_large_collections_lie_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(4)
    monkeypatch.setattr(collection, "IN_MEMORY_BYTES", 100)
    found = read_collection(write(tmp_path / "s", images)).images
    assert isinstance(found, np.memmap)
    assert same_pictures(found, images)


@pytest.mark.parametrize("order", ["last", "first", "grey"])
def test_arrays_of_either_order_of_axes(tmp_path: Path, order: str) -> None:
    images = pictures(5, (8, 8))
    stored = {"last": images, "first": images.transpose(0, 3, 1, 2), "grey": images[..., 0]}[order]
    np.savez(tmp_path / "s.npz", arr_0=stored, arr_1=np.array([0, 1, 2, 1, 0]))
    found = read_collection(tmp_path / "s.npz")
    assert np.array_equal(found.images, images[..., :1] if order == "grey" else images)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 2, 1, 0]
    assert found.class_names == ("0", "1", "2")
    np.save(tmp_path / "s.npy", stored)
    assert np.array_equal(read_collection(tmp_path / "s.npy").images, found.images)


def test_a_limit_takes_a_fair_sample_of_arrays_that_are_sorted_by_class(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(10), 20)
    images = np.broadcast_to(labels.astype(np.uint8)[:, None, None, None], (200, 8, 8, 3)).copy()
    np.savez(tmp_path / "s.npz", images=images, labels=labels)
    for found in (read_collection(tmp_path / "s.npz", limit=50), in_memory(images, labels).sample(50)):
        assert found.labels is not None
        assert len(found) == len(found.labels) == 50
        assert set(found.labels.tolist()) == set(range(10)), "not the first classes only"
        assert np.array_equal(found.images[:, 0, 0, 0], found.labels), "labels stay with their images"
        assert (np.diff(found.labels) >= 0).all(), "the order stays"
    assert len(read_collection(tmp_path / "s.npz", limit=300)) == 200


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 8, 8, 3), np.float32)}, r"dtype float32.*127\.5"),
        ({"images": np.zeros((3, 8, 8, 2), np.uint8)}, "neither"),
        ({"images": np.zeros((3, 8), np.uint8)}, r"\(3, 8\)"),
        ({"latents": np.zeros((3, 8), np.uint8)}, "no images in it.*latents"),
        ({"images": np.zeros((3, 8, 8, 3), np.uint8), "labels": np.zeros(3)}, "labels of dtype float64"),
        ({"images": np.zeros((3, 8, 8, 3), np.uint8), "labels": np.zeros(2, int)}, "3 class numbers"),
    ],
)
def test_arrays_that_cannot_be_scored_are_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(DataError, match=f"(?s){message}"):
        read_collection(tmp_path / "s.npz")


def test_what_is_missing_empty_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_collection(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        read_collection(tmp_path / "empty")
    write(tmp_path / "s", pictures(3))
    (tmp_path / "s" / "torn.png").write_bytes((tmp_path / "s" / "000.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"torn\.png"):
        read_collection(tmp_path / "s")
    (tmp_path / "s.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        read_collection(tmp_path / "s.npz")
