"""The documentation of a configuration's fields: their types, defaults and the comments next to them in the source.

Every field of a configuration says its meaning and source in a comment; this reads it back, so that no second text can
disagree with the code.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
import typing
from functools import lru_cache
from typing import Any


@dataclasses.dataclass(frozen=True)
class FieldDoc:
    """What the source says of one field."""

    name: str
    type: str  # as it is written
    default: str | None  # as it is written; None: a value must be given
    about: str  # the comment; empty where there is none
    owner: str  # the class that declares it
    nested: tuple[FieldDoc, ...] = ()  # of a field that is a configuration itself


def field_docs(cls: type) -> tuple[FieldDoc, ...]:
    """The fields of a configuration class, inherited ones as well, in the order of declaration.

    cls: a dataclass whose source is in a file. Fields that are configurations have theirs in `nested`.
    """
    hints = typing.get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        owner = next(base for base in cls.__mro__ if field.name in vars(base).get("__annotations__", {}))
        doc = _declared(owner)[field.name]
        nested = _configuration_in(hints[field.name])
        found.append(dataclasses.replace(doc, nested=field_docs(nested) if nested else ()))
    return tuple(found)


def _configuration_in(hint: Any) -> type | None:
    """The one configuration class that a type allows; None where there is none, or a choice of several."""
    parts = [hint, *typing.get_args(hint)]
    found = [part for part in parts if isinstance(part, type) and dataclasses.is_dataclass(part)]
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=128)
def _declared(cls: type) -> dict[str, FieldDoc]:
    """The fields that a class itself declares."""
    text = textwrap.dedent(inspect.getsource(cls))
    comments, alone = _comments(text)
    (node,) = [part for part in ast.parse(text).body if isinstance(part, ast.ClassDef)]
    found = {}
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            default = None if part.value is None else _default_text(part.value)
            about = _about(part, comments, alone)
            found[part.target.id] = FieldDoc(part.target.id, ast.unparse(part.annotation), default, about, cls.__name__)
    return found


def _comments(text: str) -> tuple[dict[int, str], set[int]]:
    """Comments by line number, and the lines that have nothing else."""
    comments, alone = {}, set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("#").strip()
            if not token.line[: token.start[1]].strip():
                alone.add(token.start[0])
    return comments, alone


def _about(part: ast.AnnAssign, comments: dict[int, str], alone: set[int]) -> str:
    """The comment lines directly above a field, and those within its lines."""
    first = part.lineno
    while first - 1 in alone:
        first -= 1
    lines = range(first, (part.end_lineno or part.lineno) + 1)
    return " ".join(comments[line] for line in lines if line in comments and not _directive(comments[line]))


def _directive(comment: str) -> bool:
    """Whether a comment speaks to a tool and not to a reader."""
    return comment.startswith(("fmt:", "noqa", "type:"))


def _default_text(value: ast.expr) -> str:
    """A default as a reader would write it: `added(None)` is None, a factory is what it makes."""
    if isinstance(value, ast.Call):
        name = ast.unparse(value.func)
        if name == "added" and value.args:
            return ast.unparse(value.args[0])
        factory = next((word.value for word in value.keywords if word.arg == "default_factory"), None)
        if factory is not None:
            empty = {"dict": "{}", "list": "[]", "tuple": "()"}
            made = factory.body if isinstance(factory, ast.Lambda) else factory
            return empty.get(ast.unparse(made), ast.unparse(made) + ("" if made is not factory else "()"))
    return ast.unparse(value)
