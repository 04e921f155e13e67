"""Anyone's images, as they are: a folder, a zip file, or arrays in an .npz or .npy file, to be scored.

Nothing is resized or cropped unless a side is given: a metric's own resize is part of its protocol, and another one
before it would move the number.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmark.core.environment import n_cores
from benchmark.core.errors import DataError
from benchmark.data.arrays import read_npy, read_npz
from benchmark.data.cards import card_for, card_with
from benchmark.data.images import decoded, explain, to_array
from benchmark.data.layout import MAX_CLASSES, MAX_SHOWN
from benchmark.data.sources.base import SourceImages

IN_MEMORY_BYTES = 2**31  # of images; more are kept on the disk
IMAGE_KEYS = ("images", "arr_0", "samples", "x")  # of .npz files: ours, numpy's own, common ones
LABEL_KEYS = ("labels", "arr_1", "label", "y")


@dataclass(frozen=True)
class Collection:
    """Images in memory, with labels where they have some."""

    name: str
    images: np.ndarray  # uint8 (N, H, W, C), C = 1 or 3
    labels: np.ndarray | None  # int64 [N], of class_names
    class_names: tuple[str, ...]
    numbered: bool = False  # were the labels given as numbers, by a program?

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, n: int | None) -> Collection:
        """n of the images, drawn with a fixed seed and in their order; all where there are no more, or n is None."""
        if n is None or n >= len(self):
            return self
        rows = np.sort(np.random.default_rng(0).choice(len(self), n, replace=False))
        return replace(self, images=self.images[rows], labels=None if self.labels is None else self.labels[rows])


def is_collection(path: Path) -> bool:
    """Can `read_collection` read this?"""
    return path.is_dir() or path.suffix.lower() in (".zip", ".npz", ".npy")


def read_collection(
    path: Path, *, channels: int = 3, side: int | None = None, limit: int | None = None, progress: bool = False
) -> Collection:
    """All images of a folder, zip, .npz or .npy file, in an order that depends on their names alone.

    channels: 3 turns grey images to RGB, 1 turns colours to grey; arrays are not turned. side: cut the central square
    and resize it (bicubic, antialiased) to this many pixels; None: as they are, all of one size. limit: this many, a
    fair sample. Sub-folders, StyleGAN's dataset.json or an array of labels give the classes.
    Raises DataError naming the file: missing, damaged, of another size than the others, floats, no images.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", mend="check the path")
    if path.suffix.lower() in (".npz", ".npy"):
        return _arrays(path, side, limit)
    card = card_for(path.absolute())
    opened = card.source.open(card_with(card, {"split": "hash"}), path.absolute().parent)
    rows = range(len(opened.names) if limit is None else min(limit, len(opened.names)))
    if side is None:
        read: Callable[[Image.Image], np.ndarray] = lambda image: _as_is(image, channels)  # noqa: E731
    else:
        sized = card_with(card, {"resolution": side, "channels": channels})
        read = lambda image: to_array(image, sized)[0]  # noqa: E731
    images = _read_all(opened, rows, read, progress)
    labels = None if opened.labels is None else opened.labels[: len(rows)]
    return Collection(card.name, images, labels, opened.class_names)


def in_memory(images: Any, labels: Any = None, name: str = "images") -> Collection:
    """Images that a program holds: a float tensor [N, C, S, S] in [-1, 1], which is rounded to 8 bits, or uint8 arrays.

    images: uint8 arrays are (N, H, W, C) or (N, C, H, W), C = 1 or 3. labels: class numbers [N], or None.
    Raises DataError for arrays of other types and shapes, floats that are not finite or not in [-1, 1], and labels that
    do not fit.
    """
    where = Path(name)
    if hasattr(images, "detach"):  # a tensor, without importing torch to ask
        from benchmark.data.stream import to_uint8

        if images.is_floating_point():
            _require_range(where, images)
        images = (to_uint8(images) if images.is_floating_point() else images).detach().cpu().numpy()
    array = _channels_last(where, np.asarray(images))
    numbers = None if labels is None else _labels(where, np.asarray(labels), len(array))
    names = () if numbers is None else _numbers_up_to(numbers)
    return Collection(name, array, numbers, names, numbered=numbers is not None)


BEYOND = 0.05  # how far a generator's images may lie outside of [-1, 1]: what its last layer rounds away


def _require_range(where: Path, images: Any) -> None:
    """Raise DataError for float images that are not finite, or clearly not in [-1, 1]; warn of what may be [0, 1]."""
    if not bool(images.isfinite().all()):
        raise DataError(f"{where}: images that are not finite", "they hold NaN or infinity", "score finite images")
    if not images.numel():
        return
    low, high = float(images.min()), float(images.max())
    if low < -1 - BEYOND or high > 1 + BEYOND:
        raise DataError(
            f"{where}: float images from {low:.3g} to {high:.3g}",
            "they are taken as [-1, 1], and what lies outside would be cut off",
            "scale them to [-1, 1], or give uint8",
        )
    if low >= 0:
        warnings.warn(
            f"{where}: float images from {low:.3g} to {high:.3g} are taken as [-1, 1]; if they are meant as [0, 1], "
            "give 2 * images - 1",
            stacklevel=4,
        )


def _as_is(image: Image.Image, channels: int) -> np.ndarray:
    picture = decoded(image, channels, [])
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


def _read_all(
    opened: SourceImages, rows: range, read: Callable[[Image.Image], np.ndarray], progress: bool
) -> np.ndarray:
    """Every image of these rows, read by a few threads. Raises DataError naming those that cannot be."""

    def one(row: int) -> np.ndarray | str:
        try:
            with opened.read(row) as image:
                return read(image)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's plugins raise errors of any kind on broken files
            return f"{opened.where(row)}: {explain(error)}"

    images: np.ndarray | None = None
    bad: list[str] = []
    with ThreadPoolExecutor(max_workers=min(8, n_cores())) as pool:  # Pillow decodes outside of the GIL
        for row, found in enumerate(tqdm(pool.map(one, rows), total=len(rows), desc="reading", disable=not progress)):
            if isinstance(found, np.ndarray) and images is None:
                images = _room((len(rows), *found.shape))
            if isinstance(found, np.ndarray) and images is not None and found.shape == images.shape[1:]:
                images[row] = found
            elif isinstance(found, np.ndarray):
                bad.append(f"{opened.where(row)}: {found.shape[1]} x {found.shape[0]} px")
            else:
                bad.append(found)
            if len(bad) == MAX_SHOWN:
                break
    if bad:
        size = "" if images is None else f" (others have {images.shape[2]} x {images.shape[1]} px)"
        raise DataError(
            f"images that cannot be scored with the others{size}",
            "\n        ".join(bad),
            "replace damaged files; where sizes differ, give --resolution SIDE to bring all to one",
        )
    assert images is not None  # a folder without images was refused
    return images


def _room(shape: tuple[int, ...]) -> np.ndarray:
    """An empty uint8 array: in memory, or, where it is large, in a file that has no name and goes with the process."""
    if math.prod(shape) <= IN_MEMORY_BYTES:
        return np.empty(shape, np.uint8)
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the array keeps it open)
    return np.memmap(file, np.uint8, "w+", shape=shape)


def _arrays(path: Path, side: int | None, limit: int | None) -> Collection:
    """uint8 arrays (N, H, W, C) or (N, C, H, W), with integer labels [N] in the same .npz file."""
    if side is not None:
        raise DataError(f"{path}: --resolution {side}", "arrays are scored as they are", "resize them first")
    if path.suffix.lower() == ".npy":
        arrays, names = {IMAGE_KEYS[0]: read_npy(path)}, [IMAGE_KEYS[0]]
    else:
        arrays, names = read_npz(path, (IMAGE_KEYS, LABEL_KEYS))
    key = next((key for key in IMAGE_KEYS if key in arrays), None)
    if key is None:
        raise DataError(
            f"{path}: no images in it", f"it holds {', '.join(names) or 'nothing'}", f"name them {IMAGE_KEYS[0]!r}"
        )
    images, n = _channels_last(path, arrays[key]), len(arrays[key])
    key = next((key for key in LABEL_KEYS if key in arrays), None)
    labels = None if key is None else _labels(path, arrays[key], n)
    class_names = () if labels is None else _numbers_up_to(labels)
    return Collection(path.stem, images, labels, class_names).sample(limit)


def _numbers_up_to(labels: np.ndarray) -> tuple[str, ...]:
    """Names of the classes of these numbers [N]: the numbers from 0 on."""
    return tuple(str(k) for k in range(int(labels.max()) + 1))


def _channels_last(path: Path, images: np.ndarray) -> np.ndarray:
    """(N, H, W, C) of either order of axes, grey without its axis included. Raises DataError for anything else."""
    if images.dtype != np.uint8:
        raise DataError(
            f"{path}: images of dtype {images.dtype}",
            "images are scored as 8-bit, and what range these numbers have is not known",
            "for images in [-1, 1]: ((x + 1) * 127.5).round().clip(0, 255).astype('uint8')",
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise DataError(f"{path}: images of shape {images.shape}", "(N, H, W, C) or (N, C, H, W) is needed")
    if images.shape[3] in (1, 3):
        return images
    if images.shape[1] in (1, 3):
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    raise DataError(
        f"{path}: images of shape {images.shape}", "neither the last nor the second axis has 1 or 3 channels"
    )


def _labels(path: Path, labels: np.ndarray, n: int) -> np.ndarray:
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer) or (len(labels) and labels.min() < 0):
        raise DataError(
            f"{path}: labels of dtype {labels.dtype} and shape {labels.shape}",
            f"{n} class numbers 0, 1, ... are needed, one for each image",
            "leave them out if the images have no classes",
        )
    if len(labels) and int(labels.max()) >= MAX_CLASSES:
        raise DataError(
            f"{path}: label {int(labels.max())}",
            f"class numbers are 0 to {MAX_CLASSES - 1:,}",
            "number the classes from 0",
        )
    return labels.astype(np.int64)
