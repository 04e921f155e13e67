"""Arrays of .npy and .npz files: what their headers announce is checked before anything is read or unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmark.core.errors import DataError

HINT = "write it by numpy.savez(path, images=...)"
MAX_INFLATED_BYTES = 2**28  # of a member of an archive that is much smaller than its content
MAX_RATIO = 200  # of such a member's bytes over its compressed ones; images reach 3, those of a collapsed model more


@dataclass(frozen=True)
class _Header:
    """What a .npy file says of its array before the numbers."""

    dtype: np.dtype
    shape: tuple[int, ...]
    size_bytes: int  # of the header itself

    @property
    def total_bytes(self) -> int:
        """Of the file, if it is whole."""
        return self.size_bytes + math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file. Raises DataError for a damaged file, an object array, and another length."""
    try:
        with open(path, "rb") as file:
            _check(str(path), _header(str(path), file), path.stat().st_size)
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read", str(error) or "not enough memory", HINT) from None


def read_npz(path: Path, wanted: Sequence[Sequence[str]]) -> tuple[dict[str, np.ndarray], list[str]]:
    """For each group of names the first array of a .npz file that has one of them, by that name; and all names.

    No other array is read. Raises DataError for a damaged file, for members that are no arrays, and for those that
    inflate far more than images do.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            names = [next((name for name in group if name in members), None) for group in wanted]
            found = {name: _member(path, archive, members[name]) for name in names if name is not None}
            return found, list(members)
    except DataError:
        raise
    except Exception as error:  # damaged, encrypted, truncated or compressed in an unknown way: errors of many kinds
        raise DataError(f"{path}: cannot be read", str(error) or type(error).__name__, HINT) from None


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    name = f"{path}: array {info.filename}"
    if info.file_size > MAX_INFLATED_BYTES and info.file_size > MAX_RATIO * info.compress_size:
        raise DataError(
            name, f"{info.compress_size:,} bytes would become {info.file_size:,}", "write the images to a .npy file"
        )
    with archive.open(info) as file:
        _check(name, _header(name, file), info.file_size)
    with archive.open(info) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _header(name: str, file: IO[bytes]) -> _Header:
    """Raises DataError for what is no .npy file."""
    try:
        version = np.lib.format.read_magic(file)
        read: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        return _Header(dtype, shape, file.tell())
    except Exception as error:  # numpy meets damaged headers with errors of many kinds
        raise DataError(f"{name}: not an array of numpy", str(error) or type(error).__name__, HINT) from None


def _check(name: str, header: _Header, size_bytes: int) -> None:
    """Raise DataError unless the array is one of plain numbers and as long as its header says."""
    if header.dtype.hasobject:
        raise DataError(f"{name}: it holds Python objects", "they could run programs while they are read", HINT)
    if min(header.shape, default=0) < 0 or header.total_bytes != size_bytes:
        raise DataError(
            f"{name}: not the whole array",
            f"its header announces {' x '.join(map(str, header.shape))} numbers of {header.dtype}, "
            f"{header.total_bytes:,} bytes, and it has {size_bytes:,}",
            "make it or fetch it again",
        )
