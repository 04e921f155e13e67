"""Text that somebody else wrote: files, members of archives, JSON. One place decides what is read at all.

A text is UTF-8, of bounded size, and from a regular file. A parsed JSON has a bounded depth and cannot take more memory
than its text lets one expect. What breaks a rule is named; nothing is guessed.
"""

from __future__ import annotations

import codecs
import json
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.core.errors import DataError, UserError

MAX_TEXT_BYTES = 128 * 2**20  # of a text file: a StyleGAN dataset.json with two million images has 62 MB
MAX_JSON_BYTES = 512 * 2**20  # of memory that the values of a JSON text may take, at most
MAX_SHOWN_CHARACTERS = 80  # of a reason that quotes the text

# Bytes of memory that a character of JSON announces, measured on CPython 3.11 and rounded up: a list or an object with
# its room to grow, half a string, an element with its number.
_COSTS = {"[": 96, "{": 232, '"': 28, ",": 40, ":": 40}

Fault = Callable[[str, str, str], UserError]  # an error class: (what, why, mend)


def read_text(
    path: Path,
    *,
    limit: int = MAX_TEXT_BYTES,
    fault: Fault = DataError,
    mend: str = "make it or fetch it again",
    torn: bool = False,
) -> str:
    """The text of a file, without a byte order mark.

    limit: bytes it may have. fault: the class of the error; mend: what its reader can do. torn: a kill may have cut the
    last line, which is left out with all after the first byte that is not UTF-8.
    Raises `fault` for a file that is missing, not a regular file, too large, or not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would block for ever, a device would never end
            raise fault(f"{path}: cannot be read", "it is not a regular file", mend)
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise fault(f"{path}: cannot be read", getattr(error, "strerror", None) or str(error), mend) from None
    if torn:
        content = _up_to_first_fault(content)
    return decoded(content, str(path), limit=limit, fault=fault, mend=mend)


def _up_to_first_fault(content: bytes) -> bytes:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return content[: error.start]
    return content


def decoded(
    content: bytes,
    name: str,
    *,
    limit: int = MAX_TEXT_BYTES,
    fault: Fault = DataError,
    mend: str = "make it or fetch it again",
) -> str:
    """Bytes as text, without a byte order mark. Raises `fault` for more than `limit` bytes, and for other encodings."""
    if len(content) > limit:
        raise fault(
            f"{name}: too large", f"it has more than {limit:,} bytes, the most that is read of such a file", mend
        )
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason = f"byte 0x{content[error.start]:02x} in line {line} is not UTF-8"
        raise fault(f"{name}: cannot be read as text", reason, "save it as UTF-8 text") from None


def parse_json(
    text: str,
    name: str,
    *,
    fault: Fault = DataError,
    mend: str = "make it or fetch it again",
    limit: int = MAX_JSON_BYTES,
    left_out: frozenset[str] = frozenset(),
) -> Any:
    """The value of a JSON text.

    limit: bytes of memory that its values may announce. left_out: keys of any object that are dropped as it is read.
    Raises `fault` for bad syntax, a repeated key, NaN, deep nesting, too many values.
    """

    def kept(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = _without_repeats(pairs)
        for key in left_out & found.keys():
            del found[key]
        return found

    what = f"{name}: cannot be read as JSON"
    if sum(cost * text.count(mark) for mark, cost in _COSTS.items()) > limit:
        raise fault(what, f"its values would take more than {limit / 1e9:.1f} GB of memory", mend)
    try:
        return json.loads(
            text, object_pairs_hook=kept if left_out else _without_repeats, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise fault(what, "it is nested too deeply", mend) from None
    except ValueError as error:
        raise fault(what, str(error), mend) from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"key {twice[:MAX_SHOWN_CHARACTERS]!r} is given twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
