"""Strict configuration: what is a number, what is refused, how a wrong key is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core.config import (
    STRICT,
    added,
    build,
    canonical,
    content_hash,
    difference,
    dump_yaml,
    field_names,
    flatten,
    load_yaml,
    merge,
    override,
    parse_overrides,
    parse_yaml,
    to_dict,
)
from benchmark.core.errors import ConfigError, suggest


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner:
    tau: Annotated[float, Field(gt=0)] = 0.5
    name: str = "x"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outer:
    steps: Annotated[int, Field(gt=0)]
    lr: float = 0.1
    flip: bool = False
    loss: Literal["hinge", "lsgan"] = "hinge"
    betas: tuple[float, float] = (0.5, 0.9)
    inner: Inner = Inner()
    maybe: Inner | None = None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4), ("1E5", 1e5), ("-3e+2", -300.0), (".5e1", 5.0), ("1.e3", 1000.0), ("1.5", 1.5), ("7", 7),
        ("'2e-4'", "2e-4"), ("e4", "e4"), ("2e", "2e"), ("null", None), ("true", True), ("[1, 2e1]", [1, 20.0]),
    ],
)  # fmt: skip
def test_yaml_reads_what_looks_like_a_number_as_one(text: str, value: Any) -> None:
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "{a: 1, b: 2, a: 3}", "x: {a: 1, b: 2, a: 3}"])
def test_a_key_given_twice_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="key 'a' is given twice"):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["1: x", "true: x", "null: x", "[1, 2]: x"])
def test_keys_are_text(text: str) -> None:
    with pytest.raises(ConfigError, match="keys are text"):
        parse_yaml(text)


def test_bad_yaml_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("a: 1\nb: [1\nc: 2\n")
    with pytest.raises(ConfigError, match=rf"{path}, line 3: not valid YAML"):
        load_yaml(path)
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="not a mapping"):
        load_yaml(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "none.yaml")


def test_code_in_yaml_is_not_run() -> None:
    with pytest.raises(ConfigError):
        parse_yaml("!!python/object/apply:os.getcwd []")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 1, "lrr": 1.0}, r"lrr: unknown key; did you mean 'lr'\?"),
        ({"steps": 1, "inner": {"tua": 1.0}}, r"inner.tua: unknown key; did you mean 'tau'\?"),
        ({"steps": 1, "maybe": {"tua": 1.0}}, r"maybe.*tua: unknown key"),
        ({"steps": 1, "zzzzzz": 1}, "known: betas, flip, inner"),
        ({}, "steps: missing; give it a value"),
        ({"steps": "5"}, "steps: '5' is text, not a number; write it without quotes"),
        ({"steps": True}, "steps: true given; must be a valid integer"),
        ({"steps": 1.5}, "steps: 1.5 given"),
        ({"steps": 1, "flip": "yes"}, 'flip: "yes" given; must be a valid boolean'),
        ({"steps": 1, "loss": "hing"}, r"loss: 'hing' is not one of .*; did you mean 'hinge'\?"),
        ({"steps": 1, "betas": [0.5]}, "betas"),
        ({"steps": 1, "inner": {"tau": 0}}, "inner.tau: 0 given; must be greater than 0"),
        ({"steps": 1, "inner": 3}, "inner: 3 given"),
        ({"steps": 1, "lr": float("nan")}, "lr: nan given"),
        ({"steps": 1, "inner": {"name": {1, 2}}}, "inner.name: {1, 2} given"),
    ],
)
def test_a_bad_value_is_named_with_its_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(Outer, values, "test")


def test_whole_numbers_serve_as_floats_and_lists_as_tuples() -> None:
    outer = build(Outer, {"steps": 3, "lr": 1, "betas": [0, 1]})
    assert (outer.lr, outer.betas) == (1.0, (0.0, 1.0))
    assert type(outer.lr) is float


def test_plain_and_back() -> None:
    outer = build(Outer, {"steps": 3, "maybe": {"tau": 2e-4}})
    assert build(Outer, to_dict(outer)) == outer
    assert build(Outer, parse_yaml(dump_yaml(to_dict(outer)))) == outer
    assert list(to_dict(outer)) == field_names(Outer)


def test_overrides_nest() -> None:
    assert parse_overrides(["a=1", "b.c=2e-1", "b.d=[x, y]", "e=", "f=k=v"]) == {
        "a": 1, "b": {"c": 0.2, "d": ["x", "y"]}, "e": "", "f": "k=v",
    }  # fmt: skip


@pytest.mark.parametrize(
    "items", [["a=1", "a=2"], ["b.c=1", "b.c=1"], ["b.c=1", "b=2"], ["a=1", "a.b=2"], ["a"], ["=1"]]
)
def test_overrides_that_contradict_or_lack_a_value_are_refused(items: list[str]) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_overrides(items)


def test_override_is_validated_as_a_whole() -> None:
    outer = build(Outer, {"steps": 3, "inner": {"name": "kept"}})
    changed = override(outer, {"inner": {"tau": 1.0}})
    assert (changed.inner.tau, changed.inner.name, changed.steps) == (1.0, "kept", 3)
    with pytest.raises(ConfigError, match="--set: 1 bad value"):
        override(outer, {"steps": -1})


def test_merge_difference_and_hash() -> None:
    old, new = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5}}
    assert merge(old, {"b": {"c": 5}}) == {"a": 1, "b": {"c": 5, "d": 3}}
    assert difference(old, new) == ["b.c: 2 -> 5", "b.d: 3 -> (absent)"]
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1}) == '{"a":2,"b":1}'
    assert content_hash(old) != content_hash(new)


def test_flat_keys_lead_to_leaves_in_order() -> None:
    nested = {"b": {"d": [{"x": 1}], "c": {"e": None}}, "a": {}, "f": {"g": {}}}
    flat = flatten(nested)
    assert flat == {"b.d": [{"x": 1}], "b.c.e": None, "a": {}, "f.g": {}}
    assert list(flat) == ["b.d", "b.c.e", "a", "f.g"]


def test_the_nearest_name_is_offered() -> None:
    assert suggest("infosc", ["infoscc", "sngan"]) == "did you mean 'infoscc'?"
    assert suggest("zzz", ["b", "a"]) == "known: a, b"


def test_an_added_field_is_absent_while_it_has_its_default() -> None:
    @dataclass(frozen=True, kw_only=True, config=STRICT)
    class Old:
        steps: int = 3

    @dataclass(frozen=True, kw_only=True, config=STRICT)
    class New:
        steps: int = 3
        quality: int | None = added(None)
        sides: tuple[int, ...] = added(())

    assert New().quality is None
    assert content_hash(to_dict(New())) == content_hash(to_dict(Old()))
    changed = build(New, {"quality": 90, "sides": [1]})
    assert to_dict(changed) == {"steps": 3, "quality": 90, "sides": [1]}
    assert override(changed, {"quality": None, "sides": []}) == New()
    assert field_names(New) == ["steps", "quality", "sides"]
    with pytest.raises(ConfigError, match="quality"):
        build(New, {"quality": "best"})
