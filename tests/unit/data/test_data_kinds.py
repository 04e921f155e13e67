"""Kinds of source: each is one file, and keeps the promises of the base class."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import pytest

from benchmark.core.errors import DataError
from benchmark.data import sources
from benchmark.data.cards import find_card, list_cards
from benchmark.data.kinds import KINDS, _kind_in, kind_of
from benchmark.data.prepared import Dataset
from benchmark.data.sources import base, digits, some_digits

NAMES = [
    "celeba", "celeba_hq", "coco", "digits", "folder", "grid2d", "imagenet", "list", "ring2d", "shapes", "some_digits",
    "stacked_digits", "stacked_mnist", "stl10", "table", "torchvision", "zip",
]  # fmt: skip


def test_every_kind_is_found_by_its_file():
    assert list(KINDS) == NAMES
    files = {path.stem for path in Path(sources.__path__[0]).glob("[!_]*.py")}
    assert files == {*NAMES, "base"}
    for name, kind in KINDS.items():
        assert kind.__module__ == f"benchmark.data.sources.{name}"
        assert kind.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_keeps_the_contract(name):
    kind = KINDS[name]
    fields = [field.name for field in dataclasses.fields(kind)]
    assert fields[0] == "kind"
    assert set(kind.path_keys) <= set(fields)
    assert kind.open is not base.SourceKind.open
    assert (kind.mixture is not base.SourceKind.mixture) == kind.is_points
    assert kind.known_attributes is None or "attributes" in kind.serves


def test_a_kind_that_another_module_imports_is_not_its_own():
    assert _kind_in(some_digits) is some_digits.SomeDigits
    assert some_digits.Digits is digits.Digits


def test_a_file_without_a_kind_or_with_another_name_is_refused():
    with pytest.raises(AssertionError, match="defines 0 kinds"):
        _kind_in(ModuleType("benchmark.data.sources.empty"))
    module = ModuleType("benchmark.data.sources.other")
    module.Other = type("Other", (base.SourceKind,), {"kind": "another", "__module__": module.__name__})
    with pytest.raises(AssertionError, match="its kind is called 'another', not 'other'"):
        _kind_in(module)


def test_embedded_kinds_need_no_files_and_others_say_theirs(tmp_path):
    for name, card in list_cards().items():
        embedded = card.source.kind in (
            "digits", "some_digits", "shapes", "ring2d", "grid2d", "stacked_digits"
        )  # fmt: skip
        assert (card.source.files(tmp_path) == []) == embedded, name
        downloaded = card.source.kind in ("torchvision", "stacked_mnist")
        assert (card.source.required(card, tmp_path) == []) == (embedded or downloaded), name
        assert all(path.is_absolute() for path in card.source.files(tmp_path))


def test_the_kind_of_plain_values():
    assert kind_of({"kind": "digits", "seed": 3}) is digits.Digits
    assert kind_of({}) is None
    assert kind_of({"kind": "of_a_file_that_is_gone"}) is None


def test_a_split_is_chosen_by_name():
    data = Dataset.tiny(find_card("digits"))
    assert data.split("train") is data.train
    assert data.split("test") is data.test
    with pytest.raises(DataError, match="no part 'validation'"):
        data.split("validation")
