"""YAML as plain values: the core schema of version 1.2, bounded size and depth, no repeated keys, no tags of types.

`2e-4` is a number, `yes` and `1:30` are text. Aliases are followed as far as the whole stays small.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from benchmark.core.errors import ConfigError

MAX_YAML_BYTES = 2**18  # of a file; the suite's longest has 14 kB
MAX_YAML_SIZE = 2**20  # characters and nodes, with every alias written out
MAX_YAML_DEPTH = 50  # of lists and mappings in each other


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
