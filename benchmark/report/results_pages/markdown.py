"""Markdown of the pages: paragraphs and list items on one line each, pipe tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def paragraph(text: str) -> list[str]:
    """A paragraph and an empty line."""
    return [" ".join(text.split()), ""]


def bullets(items: Iterable[str]) -> list[str]:
    """A list and an empty line; nothing for no items."""
    lines = [f"- {' '.join(item.split())}" for item in items]
    return [*lines, ""] if lines else []


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], n_left: int) -> list[str]:
    """A pipe table and an empty line. n_left: columns of text. Columns in which no row has anything are left out."""
    kept = [k for k in range(len(heads)) if k == 0 or any(row[k] not in ("", "–") for row in rows)]
    rule = [":--" if k < n_left else "--:" for k in kept]
    lines = [[heads[k] for k in kept], rule, *([row[k] for k in kept] for row in rows)]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def page(lines: Sequence[str]) -> str:
    """Lines as a text without empty lines at the end."""
    return "\n".join(lines).rstrip() + "\n"


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`; with semicolons where a name has a comma."""
    between = "; " if any("," in name for name in names) else ", "
    return " and ".join(filter(None, [between.join(names[:-1]), *names[-1:]]))


def counted(n: int, word: str) -> str:
    """`1 seed`, `2 seeds`."""
    return f"{n:,} {word}" + ("" if n == 1 else "s")
