"""Names that come from outside, in records, configurations and files, where they become paths or lines of a terminal.

Every name of a dataset, suite, method, run or column passes here before it decides where a file is written.
"""

from __future__ import annotations

import hashlib
import re

LONGEST = 120  # bytes of a component: file systems take 255, and a suffix and a temporary file's name are added

# Separators, control characters, what LaTeX reads in \input, what other systems forbid, and the sign of the code itself
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff/\\:*?\"<>|%#{}$&~^=]")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # device names of Windows
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def path_component(name: str) -> str:
    """A name as one component of a path: it never leaves its folder, and never is hidden.

    Plain names stay as they are. Separators, control characters and others that are not safe become `=` and their
    number in hex; so does a dot or a hyphen at the beginning. Different names stay different. A name that is too long
    is cut, and ends in its hash.
    """
    safe = _UNSAFE.sub(_code, name)
    if not safe or safe[0] in ".-" or safe != safe.strip() or safe.endswith(".") or _RESERVED.fullmatch(safe):
        safe = (_coded(safe[0]) + safe[1:]) if safe else "="
        safe = safe if safe[-1] not in ". \t" else safe[:-1] + _coded(safe[-1])
    if len(safe.encode()) > LONGEST:
        kept = safe.encode()[: LONGEST - 17].decode(errors="ignore")
        safe = f"{kept}={hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"
    return safe


def is_plain(name: str) -> bool:
    """Whether a name is a component of a path as it is."""
    return path_component(name) == name


def printable(text: str) -> str:
    """A text for a terminal: control characters, which could move its cursor or hide a line, by their number.

    Line breaks and tabs stay.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def has_control(text: str) -> bool:
    """Whether a text has control characters other than line breaks and tabs, or halves of a surrogate pair."""
    return _CONTROL.search(text) is not None


def _code(found: re.Match[str]) -> str:
    return _coded(found[0])


def _coded(character: str) -> str:
    return f"={ord(character):02X}"
