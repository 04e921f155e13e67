"""Which method files there are, and whose recipes a dataset has.

Only looks at the files, and imports none of them, so that a mistyped name is reported at once.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import sys
import tokenize
from collections.abc import Iterable
from pathlib import Path

from benchmark.core.errors import ConfigError, suggest


def method_names() -> list[str]:
    """Names of the method files; a file is found by its name, nothing is registered."""
    return sorted(path.stem for folder in _method_folders() for path in Path(folder).glob("[!_]*.py"))


def _method_folders() -> Iterable[str]:
    """Where the method files lie: as the package says where it is loaded, and may have been extended."""
    if loaded := sys.modules.get("methods"):
        return loaded.__path__
    package = importlib.util.find_spec("methods")
    return [] if package is None else package.submodule_search_locations or []


def method_code(name: str) -> str:
    """A hash of the code of a method's file: of its lines without docstrings, comments and blank ones.

    It is the same by every version of Python. Empty for a file that is not there or cannot be read as Python.
    """
    found = [path for folder in _method_folders() if (path := Path(folder) / f"{name}.py").is_file()]
    try:
        lines = _code_lines(found[0].read_text(encoding="utf-8")) if found else []
    except (SyntaxError, ValueError, OSError, tokenize.TokenError):
        lines = []
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] if lines else ""


def _code_lines(text: str) -> list[str]:
    """The lines of a Python file that say what it does. Raises what `ast.parse` and `tokenize` raise."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
            doc: ast.stmt = node.body[0]  # type: ignore[attr-defined]
            lines[doc.lineno - 1 : doc.end_lineno] = [""] * len(lines[doc.lineno - 1 : doc.end_lineno])
    return [line.rstrip() for line in lines if line.strip()]


_RECIPES_OF = {  # parts of a dataset, or the same images with labels, trained by its settings
    "digits_0to4": "digits",
    "digits_5to9": "digits",
    "digits_lt": "digits",
    "shapes_unseen": "shapes",
    "celeba_hq_attributes": "celeba_hq",
}


def recipes_of(dataset: str) -> str:
    """The dataset under whose name recipes list this one."""
    return _RECIPES_OF.get(dataset, dataset)


def check_method(name: str) -> None:
    """Raise ConfigError, with the nearest name, unless a method file of this name exists."""
    if name not in method_names():
        mend = "`python -m benchmark list` shows what there is"
        raise ConfigError(f"unknown method {name!r}", suggest(name, method_names()), mend)
