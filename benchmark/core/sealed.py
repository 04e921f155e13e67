"""Seals: a stored file says what it holds, so that damage, or a file of something else, is noticed when it is opened.

An archive of tensors (a zip file, as `torch.save` writes it) carries its seal in the comment of the zip format: what it
is of, and a sha256 of every byte before. torch reads such files as any other. A JSON file carries the hash of its other
entries. Files of earlier versions have no seal: an archive is then checked by the CRC-32 of each of its members, which
`torch.load` ignores.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.core.config import canonical, content_hash

Identity = Mapping[str, str | int]  # what a file is of, for example a run's configuration, seed and version

SEAL_KEY = "entries_sha256"  # of a JSON file
_MAGIC = b"\ngantlet-seal "  # canonical JSON holds no line break: it cannot occur in an identity
_SEAL = re.compile(re.escape(_MAGIC) + rb"(\{[^\n]*\}) sha256:([0-9a-f]{64})", re.DOTALL)
_END = struct.Struct("<4s16sH")  # the zip format's end record: signature, what is of no interest here, comment's length
_END_SIGNATURE = b"PK\x05\x06"
_DIGITS = 64
_LONGEST_COMMENT = 2**16 - 1


def seal_archive(archive: io.BytesIO, identity: Identity) -> None:
    """Append the seal to a zip file in memory that has no comment yet.

    identity: what the file is of; may be empty. Raises ValueError for what is no such zip file.
    """
    content = archive.getbuffer()
    signature, rest, length = _END.unpack(content[-_END.size :])
    text = _MAGIC + canonical(dict(identity)).encode() + b" sha256:"
    if signature != _END_SIGNATURE or length or len(text) + _DIGITS > _LONGEST_COMMENT:
        raise ValueError("not a zip file without a comment, or an identity that is too long")
    content[-_END.size :] = _END.pack(signature, rest, len(text) + _DIGITS)
    digest = hashlib.sha256(content)
    digest.update(text)
    del content  # a buffer that is looked at cannot grow
    archive.seek(0, io.SEEK_END)
    archive.write(text + digest.hexdigest().encode())


def check_archive(path: Path) -> dict[str, Any] | None:
    """Check every byte of a sealed zip file. Returns what it is of; None for one without a seal, by its CRC-32.

    Raises ValueError with the reason when the file is damaged, OSError when it cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _END.size - _LONGEST_COMMENT))
        tail = file.read()
        if len(tail) < _END.size:
            raise ValueError("the file is empty, or its end is missing")
        at = tail.rfind(_MAGIC)
        seal = _SEAL.fullmatch(tail, at) if at >= 0 else None
        if seal is None:
            _check_members(path, tail)
            return None
        if _digest(file, size - _DIGITS) != seal[2].decode():
            raise ValueError("its content does not have the sha256 that it says: the file is damaged")
    return dict(json.loads(seal[1]))


def _digest(file: io.BufferedReader, n: int) -> str:
    """sha256 of the first n bytes of a file, read in pieces."""
    digest, left = hashlib.sha256(), n
    file.seek(0)
    while left and (piece := file.read(min(left, 2**20))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _check_members(path: Path, tail: bytes) -> None:
    """A file without a seal: no comment, and members that have the CRC-32 that the archive says."""
    signature, _, length = _END.unpack(tail[-_END.size :])
    if signature != _END_SIGNATURE or length:
        raise ValueError("its end is missing or damaged")
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OverflowError) as error:
        raise ValueError(f"the file is damaged: {error}") from None
    if bad is not None:
        raise ValueError(f"its member {bad} does not have the CRC-32 that the archive says: the file is damaged")


def both_named(own: Identity, needed: Identity) -> str:
    """What a file is of and what is needed, for a reader: the entries that differ, hashes as short as they differ."""
    keys = [key for key in {**needed, **own} if own.get(key) != needed.get(key)]
    ends = [str(identity.get(key, "not said")) for identity in (own, needed) for key in keys]
    n = next(n for n in (12, _DIGITS) if len({end[:n] for end in ends}) == len(set(ends)) or n == _DIGITS)
    mine, theirs = (", ".join(f"{key} {str(one.get(key, 'not said'))[:n]}" for key in keys) for one in (own, needed))
    return f"it is of {mine}; needed is {theirs}"


def seal_entries(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a JSON file with the hash of them all."""
    return {**entries, SEAL_KEY: content_hash(_as_stored(entries))}


def check_entries(entries: Any, name: str) -> bool:
    """Check what was read from a JSON file of this name. Returns whether it has a seal.

    Raises ValueError when it has one that does not fit, or is not a JSON object.
    """
    if not isinstance(entries, dict):
        raise ValueError(f"{name}: a JSON object is needed, not {type(entries).__name__}")
    if SEAL_KEY not in entries:
        return False
    if content_hash({key: value for key, value in entries.items() if key != SEAL_KEY}) != entries[SEAL_KEY]:
        raise ValueError(
            f"{name}: its entries do not have the hash that {SEAL_KEY} says: the file was damaged or changed"
        )
    return True


def _as_stored(value: Any) -> Any:
    """A value as JSON gives it back: tuples as lists, keys as text."""
    return json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False))
