"""Where a source's files lie: a check that costs no decoding, and a key that changes when they change."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

from benchmark.core.config import content_hash, to_dict
from benchmark.core.errors import DataError
from benchmark.core.files import sha256_file

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard

FORMAT = 1  # of the prepared arrays; raise it when the same files would give other bytes
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TEST_FOLDERS = ("test", "val", "valid", "validation")  # names of the held-out folder, in order of preference
MAX_SHOWN = 10  # bad files, rows or lines that one error names
MAX_CLASSES = 100_000  # class numbers lie below it; one number too large would make that many classes
MAX_NAME_BYTES = 255  # of one part of a path, on the file systems of Linux and macOS
MAX_PATH_BYTES = 2000  # of a whole path: systems take 1,024 to 4,096, and file names are added to it


def user_path(text: str) -> Path:
    """A path that a user wrote, with `~` as the home folder. Raises DataError for what no file can be called."""
    if "\0" in text:
        raise DataError(f"path {text!r}", "it holds the character NUL", "correct the path")
    if len(os.fsencode(text)) > MAX_PATH_BYTES:
        raise DataError(f"path {text[:80]!r}...", f"it is longer than {MAX_PATH_BYTES} bytes", "shorten it")
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in Path(text).parts):
        raise DataError(f"path {text[:80]!r}...", f"a name in it is longer than {MAX_NAME_BYTES} bytes", "shorten it")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise DataError(f"path {text!r}", str(error), "write the whole path, or ./~name for a name with ~") from None


def resolve(data_root: Path, path: str) -> Path:
    """A source's path as an absolute one. Raises DataError as `user_path`."""
    return (data_root / user_path(path)).absolute()


class LinkGuard:
    """Refuses files that links put below a folder while they lie outside of it.

    Without it, a folder that somebody else made could serve any image of the machine. Links to what lies inside are
    harmless. The folder itself may be a link: its path was given.
    """

    def __init__(self, folder: Path, follow_links: bool) -> None:
        self.folder, self.follow_links = os.path.realpath(folder), follow_links
        self._inside: dict[str, bool] = {}  # by folder: resolved once a folder, not once a file

    def check(self, path: str, is_link: bool) -> None:
        """Raise DataError for a path that leads outside, unless links are followed. is_link: its last part is one."""
        if self.follow_links:
            return
        parent = os.path.dirname(path)
        if parent not in self._inside:
            self._inside[parent] = self._holds(parent)
        if not self._inside[parent] or (is_link and not self._holds(path)):
            raise DataError(
                f"{path}: leads outside of {self.folder}",
                f"a link makes it {os.path.realpath(path)}",
                "copy what is meant into the folder, or write follow_links: true in a .yaml config of the dataset",
            )

    def _holds(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self.folder or real.startswith(self.folder.rstrip(os.sep) + os.sep)


def is_hidden(name: str) -> bool:
    """Is this relative path hidden, or a resource fork of macOS?"""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def is_picture(name: str) -> bool:
    """Does this relative path say that it is an image?"""
    return not is_hidden(name) and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _is_utf8(name: str) -> bool:
    """Whether a file's name is text: Python reads one in another encoding as lone surrogates."""
    return name.isprintable() or all(not "\ud800" <= character <= "\udfff" for character in name)


def in_test(name: str, share: float) -> bool:
    """Does an image of this relative path belong to the test split by hash? Adding images moves no other one."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") < share * 2**64


def walk(folder: Path, follow_links: bool = False) -> Iterator[tuple[str, os.stat_result | None]]:
    """Every file below `folder` as (relative posix path, its stat), every sub-folder as (path + "/", None); sorted.

    Links to what lies inside of the folder are followed, each folder once; with follow_links all links are.
    Raises DataError for links that lead outside, for images that are no regular files, and for what cannot be looked
    at: it would be missing silently.
    """

    def refuse(error: OSError) -> NoReturn:
        raise DataError(f"{error.filename}: cannot be read", error.strerror or "", "check its permissions, or the link")

    guard = LinkGuard(folder, follow_links)
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        relative = "" if parent == str(folder) else Path(parent).relative_to(folder).as_posix() + "/"
        if not is_hidden(relative):
            guard.check(os.path.join(parent, "_"), False)
        if relative:
            yield relative, None
        for name in sorted(files):
            path = os.path.join(parent, name)
            if is_picture(relative + name) and not _is_utf8(relative + name):
                raise DataError(f"{path!a}: not a name in UTF-8", "the split is by the names of images", "rename it")
            try:
                found = os.lstat(path)
                if stat.S_ISLNK(found.st_mode):
                    if is_picture(relative + name):
                        guard.check(path, True)
                    found = os.stat(path)
            except OSError as error:
                refuse(error)
            if not stat.S_ISREG(found.st_mode) and is_picture(name):
                raise DataError(f"{path}: cannot be read", "it is not a regular file", "delete it")
            yield relative + name, found


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
    again = [name for name, n in Counter(name.replace("\\", "/") for name in names).items() if n > 1]
    if again:
        raise DataError(f"{path}: member {again[0]!r} is there twice", "they may differ", "make the archive again")
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
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: cannot be read", "it is not a regular file", mend)
        if path.exists() and size is not None and path.stat().st_size != size:
            raise DataError(
                f"{path}: not the whole file", f"it has {path.stat().st_size:,} bytes instead of {size:,}", mend
            )


def source_files(card: DatasetCard, data_root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file of the source as (path relative to the source, its stat)."""
    for path in card.source.files(data_root):
        if path.is_dir():
            yield from ((name, found) for name, found in walk(path, card.follow_links) if found is not None)
        elif path.exists():
            yield path.name, path.stat()


def fingerprint(card: DatasetCard, data_root: Path) -> str:
    """A key (hex) of the dataset config's fields and of its files' names, sizes and times; nothing is opened.

    Texts that change no byte (title, licence, homepage, recipe) do not count.
    """
    fields = _decisive(to_dict(card))
    files = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in source_files(card, data_root)]
    return content_hash({"format": FORMAT, "card": fields, "files": files})


def _decisive(fields: dict[str, Any]) -> dict[str, Any]:
    """The dataset config's fields without the texts that change no byte."""
    return {key: value for key, value in fields.items() if key not in _TEXTS}


# ---- prepared folders -----------------------------------------------------------------------------------------------


def check_prepared(folder: Path, meta: dict[str, Any], card: DatasetCard | None) -> None:
    """Check the arrays of a prepared folder against the hashes in its meta.json, and these against the data's hash.

    Reads every byte, 0.8 GB a second (measured): once a process, since arrays are opened as maps that stay as they
    are. card: what it must have been prepared of, if that is known.
    Raises ValueError or KeyError for damage, and for what was prepared of other data; OSError for missing files.
    """
    contents = {key: meta[key] for key in ("files", "conditioning", "class_names", "attribute_names")}
    contents |= {"parts": meta["parts"]} if "parts" in meta else {}
    if content_hash(contents) != meta["sha256"]:
        raise ValueError("meta.json was damaged or changed: its contents do not have the hash that it says")
    if card is not None and _decisive(meta["card"]) != json.loads(json.dumps(_decisive(to_dict(card)))):
        raise ValueError("meta.json was damaged or changed: its dataset config is not the one that names the folder")
    arrays = {path.name for path in folder.glob("*.npy")}
    for name in sorted(arrays.symmetric_difference(meta["files"])):
        raise ValueError(f"{name}: {'not listed in meta.json' if name in arrays else 'missing'}")
    for name, sha256 in meta["files"].items():
        if _hash_once(folder / name) != sha256:
            raise ValueError(
                f"{name}: it does not have the sha256 that meta.json says: the file was damaged or changed"
            )


def _hash_once(path: Path) -> str:
    """sha256 of a file, read once a process as long as nothing writes to it."""
    found = path.stat()
    key = (os.path.realpath(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if key not in _hashed:
        _hashed[key] = sha256_file(path)
    return _hashed[key]


_hashed: dict[tuple[str, int, int, int, int], str] = {}
_TEXTS = frozenset({"title", "licence", "homepage", "default_recipe"})
