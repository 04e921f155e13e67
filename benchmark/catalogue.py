"""Which method files there are. Imports the empty package that holds them, none of them, so that a mistyped name
is reported at once."""

from __future__ import annotations

from pathlib import Path

import methods
from benchmark.errors import ConfigError, nearest


def method_names() -> list[str]:
    """Names of the method files; a file is found by its name, nothing is registered."""
    return sorted(path.stem for folder in methods.__path__ for path in Path(folder).glob("[!_]*.py"))


def check_method(name: str) -> None:
    """Raise ConfigError, with the nearest name, unless a method file of this name exists."""
    if name not in method_names():
        mend = "`python -m benchmark list` shows what there is"
        raise ConfigError(f"unknown method {name!r}", nearest(name, method_names()), mend)
