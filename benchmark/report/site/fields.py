"""What the fields of a method's configuration mean: the comments behind them in the source.

Read as text, so that a report needs to import no method.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from benchmark.core import paths
from benchmark.core.registry import method_path

_COMMON = (paths.PACKAGE / "training" / "config.py", "TrainConfig", "GANConfig")


@cache
def field_docs(method: str) -> dict[str, str]:
    """The comment of every field of a method's `Config`, and of the settings that all have; empty for no such file."""
    path = method_path(method)
    common, *classes = _COMMON
    docs = _comments(common, classes)
    return docs | (_comments(path, ["Config"]) if path is not None else {})


def _comments(path: Path, classes: list[str]) -> dict[str, str]:
    """Comments behind, or above, the fields of classes in a file."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, SyntaxError, ValueError):
        return {}
    lines, found = text.splitlines(), {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in classes:
            for part in node.body:
                if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.end_lineno:
                    comment = _behind(lines[part.end_lineno - 1], part) or _above(lines, part.lineno - 1)
                    if comment:
                        found[part.target.id] = comment
    return found


def _behind(line: str, node: ast.AnnAssign) -> str:
    """The comment at the end of a field's last line."""
    rest = line.encode()[node.end_col_offset :].decode(errors="ignore").strip()
    return rest[1:].strip() if rest.startswith("#") else ""


def _above(lines: list[str], at: int) -> str:
    """The comment of a line of its own above a field."""
    line = lines[at - 1].strip() if at > 0 else ""
    return line[1:].strip() if line.startswith("#") else ""
