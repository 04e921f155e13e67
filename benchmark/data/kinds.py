"""The kinds of source that there are. Each is found by its file in `sources/`; there is no list to add to."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union

from pydantic import Field

from benchmark.data import sources
from benchmark.data.sources.base import SourceKind


def _find_kinds() -> dict[str, type[SourceKind]]:
    """Every kind by its name, which is its module's, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    kinds = [name for name in names if name != "base" and not name.startswith("_")]
    return {name: _kind_in(importlib.import_module(f"{sources.__name__}.{name}")) for name in kinds}


def _kind_in(module: ModuleType) -> type[SourceKind]:
    """The one kind that a module defines; kinds that it imports are not its own."""
    own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    kinds = [cls for cls in own if issubclass(cls, SourceKind)]
    assert len(kinds) == 1, f"{module.__name__} defines {len(kinds)} kinds of source instead of one"
    name = module.__name__.rpartition(".")[2]
    assert kinds[0].kind == name, f"{module.__name__}: its kind is called {kinds[0].kind!r}, not {name!r}"
    return kinds[0]


KINDS = _find_kinds()

if TYPE_CHECKING:
    Source: TypeAlias = SourceKind
else:
    Source = Annotated[Union[tuple(KINDS.values())], Field(discriminator="kind")]  # noqa: UP007


def kind_of(source: Mapping[str, Any]) -> type[SourceKind] | None:
    """The kind of a source given as plain values; None when these name no kind that there is."""
    return KINDS.get(source.get("kind", ""))
