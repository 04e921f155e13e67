"""The documentation of configuration fields is read from the comments in their source."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, PositiveInt, added
from benchmark.core.field_docs import FieldDoc, field_docs
from benchmark.core.registry import method_names
from benchmark.training.method import find_method


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner:
    """Nested."""

    width: PositiveInt = 8  # channels


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Base:
    """Inherited."""

    steps: PositiveInt  # iterations # and more


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outer(Base):
    """Of every form in which fields and comments are written."""

    inner: Inner | None = None  # a network
    # written above,
    # on two lines
    above: int = 3
    silent: str = "#"
    late: int | None = added(None)  # came later
    names: dict[str, int] = Field(default_factory=dict)  # noqa: RUF100
    long: Annotated[  # first
        int, Field(gt=0)
    ] = 1  # last


def test_comments_defaults_and_nesting() -> None:
    docs = {doc.name: doc for doc in field_docs(Outer)}
    assert list(docs) == ["steps", "inner", "above", "silent", "late", "names", "long"]
    assert docs["steps"] == FieldDoc("steps", "PositiveInt", None, "iterations # and more", "Base")
    assert docs["inner"].nested == (FieldDoc("width", "PositiveInt", "8", "channels", "Inner"),)
    assert (docs["inner"].default, docs["inner"].about) == ("None", "a network")
    assert docs["above"].about == "written above, on two lines"
    assert (docs["silent"].default, docs["silent"].about) == ("'#'", ""), "a # in text is no comment"
    assert docs["late"].default == "None"
    assert (docs["names"].default, docs["names"].about) == ("{}", "")
    assert docs["long"].about == "first last"


@pytest.mark.parametrize("name", method_names())
def test_every_setting_of_every_method_is_explained(name: str) -> None:
    def silent(docs: tuple[FieldDoc, ...]) -> list[str]:
        return [doc.name for doc in docs if not doc.about] + [part for doc in docs for part in silent(doc.nested)]

    assert silent(field_docs(find_method(name).Config)) == []
