"""Strict configuration: every key is declared, every value has its type and range, every error suggests a fix.

A configuration is a frozen pydantic dataclass whose fields carry their range in the type and their source in a comment.
`plain_yaml` reads and writes the text of configurations.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.core.errors import ConfigError, suggest
from benchmark.core.plain_yaml import MAX_YAML_BYTES
from benchmark.core.plain_yaml import dump_yaml as dump_yaml  # re-exported: a configuration is written and read here
from benchmark.core.plain_yaml import parse_yaml as parse_yaml
from benchmark.core.text import read_text

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]

T = TypeVar("T")


def added(default: Any) -> Any:
    """The default of a field that a configuration got after its first records: it is left out while it has this value.

    A configuration's hash is part of its run's name, and of the keys of what a run shares with others. With a plain
    default, a new field would rename every run and every stage of the past. Such a field reads
    `jpeg: PositiveInt | None = added(None)`.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping. Raises ConfigError, naming the file."""
    text = read_text(path, limit=MAX_YAML_BYTES, fault=ConfigError, mend="check the path, and that it is a YAML file")
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: not a mapping", f"the top level is {type(data).__name__}", "write `key: value` lines"
        )
    return data


def build(cls: type[T], values: Mapping[str, Any], where: str = "configuration") -> T:
    """Make a configuration of class `cls` from plain values.

    Validated as JSON: the one mode of pydantic that is strict about numbers, booleans and text but still takes a list
    for a tuple and a mapping for a nested configuration.
    Raises ConfigError with one line for each bad key: its name, the reason and a fix.
    """
    try:
        text = json.dumps(values, allow_nan=False)
    except (TypeError, ValueError):
        bad = "\n".join(f"  {key}: {value!r} given" for key, value in _not_json(values))
        raise ConfigError(
            f"{where}:\n{bad}",
            "a value is a finite number, text, a boolean, a list or a mapping",
            "write one of these; a date is text in quotes",
        ) from None
    try:
        return TypeAdapter(cls).validate_json(text)
    except ValidationError as error:
        lines = [_explain(cls, problem) for problem in error.errors()]
        raise ConfigError(f"{where}: {len(lines)} bad value{'s' * (len(lines) > 1)}\n" + "\n".join(lines)) from None


def _not_json(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of a nested value that JSON cannot hold, with their keys."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _not_json(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _not_json(part, f"{key}.{i}")
    elif not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
        yield key, value


def _explain(cls: type, problem: Any) -> str:
    """One line for one pydantic problem: key, reason, fix."""
    path = [str(part) for part in problem["loc"]]
    key, kind = ".".join(path) or "(top level)", problem["type"]
    value, context = problem["input"], problem.get("ctx", {})
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"  {key}: unknown key; {suggest(path[-1], field_names(cls, path[:-1]))}"
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"  {key}: missing; give it a value"
    reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if (
        isinstance(value, str)
        and re.fullmatch(r"[-+]?[\d.]+([eE][-+]?\d+)?", value)
        and kind in ("float_type", "int_type")
    ):
        return f"  {key}: {value!r} is text, not a number; write it without quotes (2e-4 or 0.0002)"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in ("yes", "no", "on", "off", "y", "n"):
        return f'  {key}: "{value}" given; must be a valid boolean: write true or false'
    if kind in ("float_type", "int_type") and isinstance(value, str) and value.replace("_", "").isdecimal():
        return f"  {key}: {value!r} is text, not a number; write it without underscores"
    if kind == "literal_error":
        expected = context.get("expected", "")
        choices = re.findall(r"'([^']*)'", expected)
        close = difflib.get_close_matches(str(value), choices, n=1)
        return f"  {key}: {value!r} is not one of {expected}" + (f"; did you mean {close[0]!r}?" if close else "")
    return f"  {key}: {json.dumps(value)} given; must be {reason[:1].lower() + reason[1:]}"


def field_names(cls: Any, path: list[str] | tuple[str, ...] = ()) -> list[str]:
    """Names of the keys of a configuration class, or of the nested configuration at `path`."""
    for part in path:
        field = next((f for f in dataclasses.fields(cls) if f.name == part), None)
        nested = [a for a in _alternatives(field.type if field else None, cls) if dataclasses.is_dataclass(a)]
        if not nested:
            return []
        cls = nested[0]
    return [f.name for f in dataclasses.fields(cls)]


def _alternatives(annotation: Any, cls: type) -> Iterator[Any]:
    """The classes an annotation allows; annotations are text under `from __future__ import annotations`."""
    import sys
    import typing

    if isinstance(annotation, str):
        for owner in cls.__mro__:  # the annotation was written in the module of whichever class declared the field
            try:
                annotation = eval(annotation, vars(sys.modules[owner.__module__]))
                break
            except NameError:
                continue
    yield annotation
    for argument in typing.get_args(annotation):
        yield from _alternatives(argument, cls)


def to_dict(config: Any) -> Any:
    """A configuration as plain dictionaries, lists and scalars, in the order of declaration."""
    return json.loads(TypeAdapter(type(config)).dump_json(config))


def parse_overrides(items: list[str]) -> dict[str, Any]:
    """`["lr_G=2e-4", "eval.n_fake=500"]` as a nested mapping; values are read as YAML.

    Raises ConfigError for an item without `=` and for a key given twice.
    """
    result: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not all(part.strip() for part in key.split(".")):
            raise ConfigError(f"--set {item}", "an override is written key=value", "for example --set steps=2000")
        value = parse_yaml(text, f"--set {key}") if text else ""
        node = result
        *parents, leaf = key.strip().split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {key}", f"{parent!r} was already given a plain value", "keep one of them")
        if leaf in node:
            raise ConfigError(
                f"--set {key} is given twice", "one would silently override the other", "keep one of them"
            )
        node[leaf] = value
    return result


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, nested mappings merged key by key."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a nested mapping by their dotted keys, in order; a list, or an empty mapping, is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in mapping.items():
        leaves |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {prefix + key: value}
    return leaves


def override(config: T, changes: Mapping[str, Any], where: str = "--set") -> T:
    """`config` with some values replaced, validated as a whole. Raises ConfigError as `build` does."""
    return build(type(config), merge(to_dict(config), changes), where)


def canonical(value: Any) -> str:
    """Canonical JSON: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_hash(value: Any) -> str:
    """sha256 (hex) of a plain value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lines `key: old -> new` for every key in which two plain configurations differ."""
    lines = []
    for key in sorted({*old, *new}):
        a, b = old.get(key, "(absent)"), new.get(key, "(absent)")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += difference(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a} -> {b}")
    return lines
