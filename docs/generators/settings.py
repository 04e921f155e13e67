"""The reference of settings: the configuration classes with the comments behind their fields, read from the source."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generators.places import ROOT
from generators.text import code, escaped, prose, sentence, table

from benchmark.core.field_docs import FieldDoc, field_docs


@dataclass(frozen=True)
class FieldText:
    """A field of a configuration class, as it is written."""

    name: str
    type: str
    default: str  # empty: it must be given
    comment: str


@dataclass(frozen=True)
class ConfigClass:
    """A configuration class, as it is written."""

    name: str
    path: Path
    about: str
    bases: tuple[str, ...]
    fields: tuple[FieldText, ...]


def config_classes() -> list[ConfigClass]:
    """Every strict configuration class of the package and of the methods, read from the text of its file."""
    paths = [path for folder in ("benchmark", "methods") for path in sorted((ROOT / folder).rglob("*.py"))]
    for path in paths:
        _ALIASES.update(aliases_in(path))
    return [cls for path in paths for cls in classes_in(path)]


_ALIASES: dict[str, ast.expr] = {}  # what names of types stand for: `Precision = Literal[...]`


def aliases_in(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """The names that a file gives to types of settings."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(("Literal[", "Annotated[")):
            yield from ((ast.unparse(target), node.value) for target in node.targets)


def classes_in(path: Path) -> Iterator[ConfigClass]:
    """The strict configuration classes of a file, each with the fields that it declares itself."""
    source = path.read_text()
    if "config=STRICT" not in source:
        return
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and any("config=STRICT" in ast.unparse(d) for d in node.decorator_list):
            docs = [doc for doc in field_docs(getattr(module, node.name)) if doc.owner == node.name]
            bases = tuple(ast.unparse(base) for base in node.bases)
            about = ast.get_docstring(node) or ""
            yield ConfigClass(node.name, path.relative_to(ROOT), about, bases, tuple(map(field_text, docs)))


def field_text(doc: FieldDoc) -> FieldText:
    """A field in the words of the page."""
    kind = type_text(ast.parse(doc.type, mode="eval").body)
    default = "" if doc.default is None else default_text(ast.parse(doc.default, mode="eval").body)
    comment = "of source; its file is `benchmark/data/sources/KIND.py`" if doc.name == "kind" else doc.about
    return FieldText(doc.name, kind, default, comment)


_TYPES = {
    "PositiveInt": "int > 0", "NonNegativeInt": "int ≥ 0",
    "PositiveFloat": "float > 0", "NonNegativeFloat": "float ≥ 0",
    "Probability": "float, 0 to 1", "Beta": "float, 0 to below 1",
    "None": "null", "str": "text", "bool": "true or false",
}  # fmt: skip
_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def type_text(node: ast.expr) -> str:
    """An annotation in words: `PositiveInt | None` is "int > 0 or null"."""
    if isinstance(node, ast.BinOp):
        return f"{type_text(node.left)} or {type_text(node.right)}"
    if isinstance(node, ast.Subscript):
        name = ast.unparse(node.value)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name == "Literal":
            return ", ".join(str(ast.literal_eval(one)) for one in inner)
        if name == "Annotated":
            bounds = [f"{_BOUNDS[k.arg]} {ast.unparse(k.value)}" for one in inner[1:] if isinstance(one, ast.Call)
                      for k in one.keywords if k.arg in _BOUNDS]  # fmt: skip
            return " ".join([type_text(inner[0]), ", ".join(bounds)]).strip()
        if name == "tuple":
            kinds = [type_text(one) for one in inner if ast.unparse(one) != "..."]
            return f"list of {kinds[0]}" if len(kinds) < len(inner) else f"list: {'; '.join(kinds)}"
        if name == "dict":
            return f"mapping of {type_text(inner[0])} to {type_text(inner[1])}"
    text = ast.unparse(node)
    if text in _TYPES or text not in _ALIASES:
        return _TYPES.get(text, text)
    return type_text(_ALIASES[text])


def default_text(node: ast.expr) -> str:
    """A default as a setting is written: without `added(...)`, the tuple as a list."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "added":
        return default_text(node.args[0])
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "Field":
        return "{}"
    if isinstance(node, ast.Constant):
        return {"None": "null", "True": "true", "False": "false", "": '""'}.get(str(node.value), str(node.value))
    if isinstance(node, ast.Tuple):
        return f"[{', '.join(default_text(one) for one in node.elts)}]"
    return ast.unparse(node)


_GROUPS: dict[str, str | tuple[str, ...]] = {  # headings of the page, by the beginnings of paths
    "How a step is computed": "benchmark/core",
    "Training": "benchmark/training/config.py",
    "Stages": "benchmark/training",
    "Evaluation: `eval.KEY`": ("benchmark/evaluation", "benchmark/metrics"),
    "Dataset config: `data.KEY`": "benchmark/data/cards.py",
    "Sources of a dataset config: `data.source.KEY`": "benchmark/data",
    "Suite files": "benchmark/runs/suites",
}


def config_page(classes: list[ConfigClass]) -> str:
    """Every setting that no single method owns."""
    parts = [
        "# Settings",
        "Every setting can be changed: `--set KEY=VALUE` (`SET=` with make), or a keyword in Python. A nested one is "
        "written with dots, `--set encoder.steps=100 eval.n_fake=500`. Settings of each method are in "
        "[methods](methods.md). In comments, [P] is the paper, [C] the authors' code, and [ours] a choice made here.",
    ]
    left = [cls for cls in classes if cls.path.parts[0] == "benchmark" and "published" not in cls.path.stem]
    known = {cls.name for cls in left}
    for heading, where in _GROUPS.items():
        mine = [cls for cls in left if str(cls.path).startswith(where)]
        left = [cls for cls in left if cls not in mine]
        parts += [f"## {heading}"] if mine else []
        for cls in mine:
            parts += [f"### {cls.name}", prose(cls.about), inherited(cls, known), fields_table(cls, known)]
    return "\n\n".join(part for part in parts if part)


def inherited(cls: ConfigClass, known: set[str], page: str = "") -> str:
    """A line that names the class whose fields it has as well."""
    bases = [base for base in cls.bases if base in known]
    return f"With the settings of {', '.join(f'[{base}]({page}#{base.lower()})' for base in bases)}." if bases else ""


def fields_table(cls: ConfigClass, known: set[str], page: str = "") -> str:
    """The fields of a class: name, type, default, meaning. Nested classes are links."""

    def linked(kind: str) -> str:
        shown = escaped(kind)
        for name in known:
            shown = re.sub(rf"\b{name}\b", f"[{name}]({page}#{name.lower()})", shown)
        return shown

    rows = [
        [code(f.name), linked(f.type), code(f.default) if f.default else "required", escaped(sentence(f.comment))]
        for f in cls.fields
    ]
    return table(["setting", "type", "default", "meaning"], rows) if rows else ""
