"""Errors that a user can fix. The command line prints them without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """Something the user gave, or lacks.

    what: the thing that is wrong, by its name (a key, a file, a dataset).
    why: the reason.
    mend: what to do about it.
    """

    exit_code = 2

    def __init__(self, what: str, why: str = "", mend: str = "") -> None:
        self.what, self.why, self.mend = what, why, mend
        super().__init__(
            "\n".join(line for line in (what, why and f"  why:  {why}", mend and f"  fix:  {mend}") if line)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the same error, whatever arguments the kind of error is made from."""
        return _remade, (type(self), self.what, self.why, self.mend)


def _remade(kind: type[UserError], what: str, why: str, mend: str) -> UserError:
    error = kind.__new__(kind)
    UserError.__init__(error, what, why, mend)
    return error


class ConfigError(UserError):
    """A configuration key or value that cannot be used."""


class ArgumentError(ConfigError, ValueError):
    """An argument of the Python interface that cannot be used. It is a ValueError, as Python's own would be."""


class DataError(UserError):
    """Images or labels that are missing or cannot be read."""


class WeightsError(UserError):
    """Weights of a feature extractor that are missing or not the expected file."""


class BusyError(UserError):
    """Another process holds the run."""

    exit_code = 3


class RunFailed(UserError):
    """Training or evaluation stopped; the record holds the reason."""

    exit_code = 1


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest one, or all of them when none is near."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
