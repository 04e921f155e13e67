"""Where a source's files lie: a check that costs no decoding, and a key that changes when they change."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from benchmark.core.config import content_hash, to_dict
from benchmark.core.errors import DataError
from benchmark.data.kinds import (
    STL10,
    CelebA,
    CelebAHQ,
    Coco,
    Folder,
    ImageNet,
    Listed,
    StackedMNIST,
    Table,
    TorchVision,
    Zip,
)
from benchmark.data.lists import read_list

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard

FORMAT = 1  # of the prepared arrays; raise it when the same files would give other bytes
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TEST_FOLDERS = ("test", "val", "valid", "validation")  # names of the held-out folder, in order of preference
CELEBA_TABLES = {
    "attributes": "list_attr_celeba.txt | list_attr_celeba.csv",
    "partition": "list_eval_partition.txt | list_eval_partition.csv",
}
CELEBA_PICTURES = "img_align_celeba/*.jpg | img_align_celeba.zip"

# Files of torchvision's data sets under the data root, with their size in bytes.
MNIST_FILES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}
CIFAR_FILES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]

# STL-10: pictures of 3 x 96 x 96 bytes in each of its binary files.
STL10_SIDE = 96
STL10_PICTURES = {"unlabeled": 100_000, "train": 5_000, "test": 8_000}

CELEBA_HQ_PICTURES = "CelebA-HQ-img"
CELEBA_HQ_ATTRIBUTES = "CelebAMask-HQ-attribute-anno.txt"
IMAGENET_SOLUTION = "LOC_val_solution.csv"  # Kaggle's classes of the validation pictures
COCO_PICTURES = ("train2017", "val2017")
COCO_ANNOTATIONS = tuple(f"annotations/{what}_{part}.json" for part in COCO_PICTURES for what in ("instances", "stuff"))

# What is read of the folder that an official layout names; not ImageNet's test/, nor CelebAMask-HQ's masks.
READ_BELOW = {
    "imagenet": ("train", "val", IMAGENET_SOLUTION),
    "coco": (*COCO_PICTURES, *COCO_ANNOTATIONS),
    "celeba_hq": (CELEBA_HQ_PICTURES, CELEBA_HQ_ATTRIBUTES),
}


def resolve(data_root: Path, path: str) -> Path:
    """A source's path as an absolute one."""
    return (data_root / Path(path).expanduser()).absolute()


def is_hidden(name: str) -> bool:
    """Is this relative path hidden, or a resource fork of macOS?"""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def is_picture(name: str) -> bool:
    """Does this relative path say that it is a picture?"""
    return not is_hidden(name) and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result | None]]:
    """Every file below `folder` as (relative posix path, its stat), every sub-folder as (path + "/", None); sorted.

    Links are followed, each folder once. Raises DataError for what cannot be looked at: it would be missing silently.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read", error.strerror or "", "check its permissions, or the link")

    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        relative = "" if parent == str(folder) else Path(parent).relative_to(folder).as_posix() + "/"
        if relative:
            yield relative, None
        for name in sorted(files):
            try:
                yield relative + name, os.stat(os.path.join(parent, name))
            except OSError as error:
                refuse(error)


def not_a_zip(path: Path, reason: str) -> DataError:
    """The error for a zip file that is damaged, or not one."""
    return DataError(f"{path}: not a zip file that can be read", reason, "fetch it or make it again")


def zip_names(path: Path) -> list[str]:
    """Names of the members of a zip file. Raises DataError when it is not one, or when a name leads outside."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise not_a_zip(path, str(error)) from None
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or parts.as_posix()[1:2] == ":":
            raise DataError(
                f"{path}: member {name!r} is refused",
                "its path leads outside of the archive",
                "make the archive again from a plain folder",
            )
    return names


def locate(card: DatasetCard, data_root: Path) -> None:
    """Check that the source's files lie where they should; nothing is decoded.

    Returns for sources that need no files, and for missing ones that can be downloaded.
    Raises DataError that names every missing file by its full path and the official page.
    """
    source = card.source
    if torchvision_source(source) is not None:
        _check_sizes(
            torchvision_files(source, data_root), "delete it; it is downloaded again, or copy it from a whole one"
        )
        return
    missing = [line for line in required(card, data_root) if not _found(line)]
    if missing:
        raise missing_files(card, missing)
    if isinstance(source, STL10):
        _check_sizes(stl10_files(source, data_root), f"fetch it again from {card.homepage}")
    for path in _files(source, data_root):
        if path.suffix.lower() == ".zip" and not zipfile.is_zipfile(path):
            raise not_a_zip(path, "its end is missing or damaged")


def required(card: DatasetCard, data_root: Path) -> list[str]:
    """Absolute paths or glob patterns that must be there; "a | b": one of them is enough."""
    source = card.source
    if isinstance(source, Zip):
        return [str(resolve(data_root, path)) for path in (source.path, source.test_path) if path]
    if isinstance(source, Table):
        return [str(resolve(data_root, path)) for path in (source.path, source.table)]
    if isinstance(source, CelebA):
        patterns: tuple[str, ...] = (CELEBA_PICTURES, *CELEBA_TABLES.values())
    elif isinstance(source, Folder):
        patterns = source.expect or ("",)
    elif isinstance(source, STL10):
        patterns = tuple(path.name for path in stl10_files(source, data_root))
    elif isinstance(source, CelebAHQ):
        patterns = (f"{CELEBA_HQ_PICTURES}/*.jpg", *[CELEBA_HQ_ATTRIBUTES] * (card.conditioning == "attributes"))
    elif isinstance(source, ImageNet):
        patterns = ("train/n*", f"val/n* | {IMAGENET_SOLUTION}", "val/*")
    elif isinstance(source, Coco):
        patterns = (*(f"{part}/*.jpg" for part in COCO_PICTURES), *COCO_ANNOTATIONS)
    elif isinstance(source, Listed):
        return [str(resolve(data_root, path)) for path in (source.path, source.train_list, source.test_list)]
    else:
        return []
    return [_alternatives(resolve(data_root, source.path), pattern) for pattern in patterns]


def _alternatives(folder: Path, pattern: str) -> str:
    return " | ".join(str(folder / part.strip()) for part in pattern.split("|"))


def _found(line: str) -> bool:
    return any(find(path) is not None for path in line.split(" | "))


def find(pattern: str) -> Path | None:
    """The first match of an absolute path whose last part may be a pattern, else None."""
    path = Path(pattern)
    if "*" not in path.name:
        return path if path.exists() else None
    return next(path.parent.glob(path.name), None) if path.parent.is_dir() else None


def _files(source: object, data_root: Path) -> list[Path]:
    """Every path that a source reads, as absolute ones."""
    if isinstance(source, STL10):
        return list(stl10_files(source, data_root))
    if isinstance(source, ImageNet | Coco | CelebAHQ):
        return [resolve(data_root, source.path) / name for name in READ_BELOW[source.kind]]
    if isinstance(source, Listed):
        lists = [resolve(data_root, path) for path in (source.train_list, source.test_list)]
        folder = resolve(data_root, source.path)
        return [*lists, *(folder / name for path in lists if path.exists() for name, _ in read_list(path))]
    paths = [getattr(source, key, None) for key in ("path", "test_path", "table")]
    return [resolve(data_root, path) for path in paths if path]


def missing_files(card: DatasetCard, lines: list[str]) -> DataError:
    """The error for files that are not there."""
    page = f" from {card.homepage}" if card.homepage else ""
    return DataError(
        f"data set {card.name}: files are missing",
        "not found:\n        " + "\n        ".join(line.replace(" | ", "\n          or ") for line in lines),
        f"put them there{page}, or say where the data lies with --data-root (or the environment variable GANTLET_DATA)",
    )


def torchvision_source(source: object) -> TorchVision | None:
    """What torchvision reads, and may download, for this source; None where it reads nothing."""
    if isinstance(source, StackedMNIST):
        return TorchVision(dataset="MNIST")
    return source if isinstance(source, TorchVision) else None


def torchvision_files(source: object, data_root: Path) -> dict[Path, int | None]:
    """Where torchvision looks for the files of a source, with their sizes in bytes where they are fixed."""
    found = torchvision_source(source)
    if found is None:
        return {}
    if found.dataset == "CIFAR10":
        return {data_root.absolute() / "cifar-10-batches-py" / name: None for name in CIFAR_FILES}
    raw = data_root.absolute() / found.dataset / "raw"
    return {raw / name: size for name, size in MNIST_FILES.items()}


def stl10_files(source: STL10, data_root: Path) -> dict[Path, int | None]:
    """The binary files of STL-10 that are read, with their sizes in bytes."""
    folder = resolve(data_root, source.path)
    return {
        folder / f"{part}_X.bin": STL10_PICTURES[part] * 3 * STL10_SIDE**2 for part in (*source.train_parts, "test")
    }


def _check_sizes(files: dict[Path, int | None], mend: str) -> None:
    """Raise DataError for a file that is there, but not whole."""
    for path, size in files.items():
        if path.exists() and size is not None and path.stat().st_size != size:
            raise DataError(
                f"{path}: not the whole file", f"it has {path.stat().st_size:,} bytes instead of {size:,}", mend
            )


def source_files(card: DatasetCard, data_root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file of the source as (path relative to the source, its stat)."""
    source = card.source
    paths = list(torchvision_files(source, data_root)) or _files(source, data_root)
    for path in paths:
        if path.is_dir():
            yield from ((name, stat) for name, stat in walk(path) if stat is not None)
        elif path.exists():
            yield path.name, path.stat()


def fingerprint(card: DatasetCard, data_root: Path) -> str:
    """A key (hex) of the card's fields and of its files' names, sizes and times; nothing is opened.

    Texts that change no byte (title, licence, homepage, recipe) do not count.
    """
    fields = to_dict(card)
    for key in ("title", "licence", "homepage", "default_recipe"):
        del fields[key]
    files = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in source_files(card, data_root)]
    return content_hash({"format": FORMAT, "card": fields, "files": files})
