"""Which method files there are, and whose recipes a dataset has.

Only looks at the files, and imports none of them, so that a mistyped name is reported at once.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
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
    """A hash of what a method's file says: of its syntax tree without docstrings, so that wording does not count.

    Empty for a file that is not there or cannot be read as Python.
    """
    found = [path for folder in _method_folders() if (path := Path(folder) / f"{name}.py").is_file()]
    try:
        tree = ast.parse(found[0].read_bytes()) if found else None
    except (SyntaxError, ValueError, OSError):
        tree = None
    if tree is None:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node) is not None :]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


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
