"""Strict configuration: every key is declared, every value has its type and range, every error names its mend.

A configuration is a frozen pydantic dataclass whose fields carry their range in the type and their source in a comment.
YAML is read by the core schema of version 1.2: `2e-4` is a number, `yes` and `1:30` are text, and a key given twice is
an error. Aliases are followed as far as the whole stays small.
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

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.core.errors import ConfigError, suggest
from benchmark.core.text import read_text

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]

MAX_YAML_BYTES = 2**18  # of a file; the suite's longest has 14 kB
MAX_YAML_SIZE = 2**20  # characters and nodes, with every alias written out
MAX_YAML_DEPTH = 50  # of lists and mappings in each other

T = TypeVar("T")


def added(default: Any) -> Any:
    """The default of a field that a configuration got after its first records: it is left out while it has this value.

    A configuration's hash is part of its run's name, and of the keys of what a run shares with others. With a plain
    default, a new field would rename every run and every stage of the past. Such a field reads
    `jpeg: PositiveInt | None = added(None)`.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


# The core schema of YAML 1.2.2, section 10.3.2: what a plain scalar is. What matches nothing is text.
_TAG = "tag:yaml.org,2002:"
_CORE = {
    "null": re.compile(r"|~|null|Null|NULL"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
    ),
}


class _Loader(yaml.SafeLoader):
    """Safe YAML by the core schema of version 1.2 (PyYAML's own is 1.1), of bounded depth, without repeated keys."""

    yaml_constructors = {None: yaml.SafeLoader.yaml_constructors[None]}
    depth = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """The tag of a node that has none written: a scalar in quotes is text."""
        if kind is yaml.ScalarNode and implicit[0]:
            return _TAG + next((name for name, form in _CORE.items() if form.fullmatch(value)), "str")
        return str(super().resolve(kind, value, (False, True)))

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """A node with all below it. Raises ConfigError where they lie too deep in each other."""
        self.depth += 1
        if self.depth > MAX_YAML_DEPTH:
            raise _bad(
                self.get_mark(), f"more than {MAX_YAML_DEPTH} lists or mappings in each other", "write it flatter"
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _bad(mark: Any, reason: str, mend: str) -> ConfigError:
    return ConfigError(f"{mark.name}, line {mark.line + 1}: not valid YAML", reason, mend)


def _check_size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Characters and nodes of a node with its aliases written out. Raises ConfigError for too many, and for a loop.

    known: the size of each node that was met, None while it is being counted.
    """
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise _bad(node.start_mark, "an alias names the list or mapping that holds it", "write its content out")
        return size
    known[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        size = 1 + len(node.value)
    else:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        size = 1 + sum(_check_size(part, known) for part in parts)
    if size > MAX_YAML_SIZE:
        reason = f"with its aliases written out it has more than {MAX_YAML_SIZE:,} characters"
        raise _bad(node.start_mark, reason, "write less, without aliases of aliases")
    known[id(node)] = size
    return size


def _scalar(loader: _Loader, node: yaml.Node) -> Any:
    """The value of a scalar that is no text, whether its tag is written (`!!int 3`) or not."""
    name = node.tag.removeprefix(_TAG)
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    if not isinstance(node, yaml.ScalarNode) or not _CORE[name].fullmatch(text):
        raise _bad(node.start_mark, f"{text[:80]!r} is no {name}", "correct the value, or leave the tag out")
    if name == "null":
        return None
    if name == "bool":
        return text.lower() == "true"
    try:
        return _integer(text) if name == "int" else float(re.sub(r"^([-+]?)\.(?=[inIN])", r"\1", text))
    except ValueError:  # Python's bound on digits
        raise _bad(node.start_mark, f"a number of {len(text):,} digits", "write a smaller number") from None


def _text(loader: _Loader, node: Any) -> str:
    return str(loader.construct_scalar(node))


def _sequence(loader: _Loader, node: Any) -> list[Any]:
    return list(loader.construct_sequence(node, deep=True))


def _integer(text: str) -> int:
    return int(text[2:], {"0o": 8, "0x": 16}[text[:2]]) if text[:2] in ("0o", "0x") else int(text)


for _name in _CORE:
    _Loader.add_constructor(_TAG + _name, _scalar)
_Loader.add_constructor(_TAG + "str", _text)
_Loader.add_constructor(_TAG + "seq", _sequence)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _bad(node.start_mark, "a value with the tag !!map is no mapping", "leave the tag out")
    seen: dict[Any, int] = {}
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise ConfigError(
                f"{node.start_mark.name}, line {line}: key {key!r}",
                "keys are text; YAML read this one as something else",
                f"write it in quotes: '{key_node.value}'" if isinstance(key_node, yaml.ScalarNode) else "write text",
            )
        if key in seen:
            raise ConfigError(
                f"{node.start_mark.name}: key {key!r} is given twice",
                f"lines {seen[key]} and {line} would silently override each other",
                "keep one of them",
            )
        seen[key] = line
    return dict(loader.construct_pairs(node, deep=True))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse_yaml(text: str, name: str = "<text>") -> Any:
    """Parse YAML text.

    name: the file's name, for messages.
    Raises ConfigError, with the line, on bad syntax, a repeated key, a tag, too many or too deep values.
    """
    if len(text) > MAX_YAML_BYTES:
        raise ConfigError(f"{name}: too large", f"it has more than {MAX_YAML_BYTES:,} characters", "write less")
    try:
        return _parse(text, name)
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            f"{name}, line {text.count(chr(10), 0, error.position) + 1}: not valid YAML",
            f"character U+{int(error.character):04X} is not allowed in a text",
            "delete it, or write it as an escape in double quotes",
        ) from None
    except yaml.constructor.ConstructorError as error:
        reason = str(error.problem).removeprefix("could not determine a constructor for the ")
        raise _bad(error.problem_mark, f"{reason}: only plain values are read", "leave the tag out") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}, line {mark.line + 1}" if mark else name
        raise ConfigError(
            f"{where}: not valid YAML", str(getattr(error, "problem", error)), "check the indentation and the colons"
        ) from None
    except ValueError as error:  # an escape of a character that does not exist
        raise ConfigError(f"{name}: not valid YAML", str(error), "correct the escapes in double quotes") from None


def _parse(text: str, name: str) -> Any:
    loader = _Loader(text)
    loader.name = name
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


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
    Raises ConfigError with one line for each bad key: its name, the reason and the mend.
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
    """One line for one pydantic problem: key, reason, mend."""
    path = [str(part) for part in problem["loc"]]
    key, kind, value, context = (
        ".".join(path) or "(top level)",
        problem["type"],
        problem["input"],
        problem.get("ctx", {}),
    )
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
        if not equals or not key:
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


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes where YAML 1.1 or 1.2 would read another value."""

    yaml_implicit_resolvers = {first: list(forms) for first, forms in yaml.SafeDumper.yaml_implicit_resolvers.items()}

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name in ("int", "float"):
    _Dumper.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_CORE[_name].pattern})$"), list("-+0123456789."))


def dump_yaml(value: Any) -> str:
    """A plain value as YAML, in the order given; `parse_yaml` reads the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
