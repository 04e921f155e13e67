"""Arguments of the Python interface: their types, checked before anything else looks at them.

The command line's grammar does the same for its own. What a function is given may be anything, and an error far below
would not name the argument.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.core.errors import ArgumentError, ConfigError


def text(name: str, value: Any, example: str) -> str:
    """A text that is not blank. example: one, for the message. Raises ConfigError for anything else."""
    if not isinstance(value, str):
        raise ConfigError(f"{name} = {shown(value)}", f"it is {_kind(value)}, not text", f"give a text, as {example}")
    if not value.strip():
        raise ConfigError(f"{name} = {shown(value)}", "it is empty", f"give a text, as {example}")
    return value


def path_text(name: str, value: Any, example: str) -> str:
    """The text of a path, given as text or as an object that is a path. Raises ConfigError for anything else."""
    try:
        return text(name, os.fspath(value), example)
    except TypeError:
        reason = f"it is {_kind(value)}, not a path"
        raise ConfigError(f"{name} = {shown(value)}", reason, f"give a text or a Path, as {example}") from None


def whole_number(name: str, value: Any, example: str = "0, 1, 2, ...") -> int:
    """A whole number of any library's type, within 64 bits.

    Raises ArgumentError for anything else: fractions, text, True.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        reason = f"it is {_kind(value)}, not a whole number"
        raise ArgumentError(f"{name} = {shown(value)}", reason, f"use {example}") from None
    if abs(number) >= 2**63:
        raise ArgumentError(f"{name} of {number.bit_length()} bits", "it is not below 2^63", f"use {example}")
    return number


def names(name: str, value: Any, example: str) -> list[str]:
    """A list of texts; one text alone is not a list of its letters. Raises ConfigError for anything else."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{name} = {shown(value)}", f"it is {_kind(value)}, not a list of names", f"give {example}")
    return [text(name, one, example) for one in value]


def mapping(name: str, value: Any, example: str) -> dict[str, Any]:
    """Settings with their names. Raises ConfigError for anything else."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} = {shown(value)}", f"it is {_kind(value)}, not a mapping", f"give {example}")
    return dict(value)


def plain(value: Any) -> Any:
    """A setting as configurations hold it: lists for tuples, Python's numbers for NumPy's, also within it."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def shown(value: Any) -> str:
    """A value in a message: short, and without half characters that no terminal can print."""
    return ascii(value)[:80] if isinstance(value, str | bytes | bool | float | None) else _number(value)


def _number(value: Any) -> str:
    is_short = isinstance(value, int) and value.bit_length() <= 64  # Python refuses to write very long ones
    return str(value) if is_short else f"<{_kind(value)}>"


def _kind(value: Any) -> str:
    return type(value).__name__
