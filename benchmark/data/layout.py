"""Where a source's files lie: a check that costs no decoding, and a key that changes when they change."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from benchmark.core.config import content_hash, to_dict
from benchmark.core.errors import DataError

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard

FORMAT = 1  # of the prepared arrays; raise it when the same files would give other bytes
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TEST_FOLDERS = ("test", "val", "valid", "validation")  # names of the held-out folder, in order of preference
MAX_SHOWN = 10  # bad files, rows or lines that one error names


def resolve(data_root: Path, path: str) -> Path:
    """A source's path as an absolute one."""
    return (data_root / Path(path).expanduser()).absolute()


def is_hidden(name: str) -> bool:
    """Is this relative path hidden, or a resource fork of macOS?"""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def is_picture(name: str) -> bool:
    """Does this relative path say that it is a picture?"""
    return not is_hidden(name) and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def in_test(name: str, share: float) -> bool:
    """Does a picture of this relative path belong to the test split by hash? Adding pictures moves no other one."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") < share * 2**64


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
    missing = [line for line in card.source.required(card, data_root) if not _found(line)]
    if missing:
        raise missing_files(card, missing)
    card.source.check(card, data_root)
    for path in card.source.files(data_root):
        if path.suffix.lower() == ".zip" and not zipfile.is_zipfile(path):
            raise not_a_zip(path, "its end is missing or damaged")


def below(folder: Path, patterns: Iterable[str]) -> list[str]:
    """These relative paths or patterns as absolute ones below a folder; "a | b" stays a choice."""
    return [" | ".join(str(folder / part.strip()) for part in pattern.split("|")) for pattern in patterns]


def _found(line: str) -> bool:
    return any(find(path) is not None for path in line.split(" | "))


def find(pattern: str) -> Path | None:
    """The first match of an absolute path whose last part may be a pattern, else None."""
    path = Path(pattern)
    if "*" not in path.name:
        return path if path.exists() else None
    return next(path.parent.glob(path.name), None) if path.parent.is_dir() else None


def missing_files(card: DatasetCard, lines: list[str]) -> DataError:
    """The error for files that are not there."""
    page = f" from {card.homepage}" if card.homepage else ""
    return DataError(
        f"data set {card.name}: files are missing",
        "not found:\n        " + "\n        ".join(line.replace(" | ", "\n          or ") for line in lines),
        f"put them there{page}, or say where the data lies with --data-root (or the environment variable GANTLET_DATA)",
    )


def check_sizes(files: Mapping[Path, int | None], mend: str) -> None:
    """Raise DataError for a file that is there, but not of its size in bytes; None: its size is not fixed."""
    for path, size in files.items():
        if path.exists() and size is not None and path.stat().st_size != size:
            raise DataError(
                f"{path}: not the whole file", f"it has {path.stat().st_size:,} bytes instead of {size:,}", mend
            )


def source_files(card: DatasetCard, data_root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file of the source as (path relative to the source, its stat)."""
    for path in card.source.files(data_root):
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
