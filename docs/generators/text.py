"""Text as Markdown: escaped, as code, as a table."""

from __future__ import annotations

import re
from collections.abc import Iterable


def escaped(text: str) -> str:
    """Text as Markdown shows it: what is between backticks stays, other signs of Markdown lose their meaning."""
    parts = re.split(r"(`[^`\n]+`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]|#$])", r"\\\1", part) for part in parts)


def code(text: str) -> str:
    """A code span that a table cell can hold."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def prose(docstring: str) -> str:
    """A docstring as Markdown: indented paragraphs become blocks of code."""
    blocks = [block for block in re.split(r"\n\s*\n", docstring.strip("\n")) if block.strip()]
    return "\n\n".join(f"```text\n{b}\n```" if b.startswith("  ") else escaped(b) for b in blocks)


def table(head: list[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [[*head], [":--" for _ in head], *([*row] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    first = text.split(" ")[0]
    plain = re.fullmatch(r"[a-z]+(-[a-z]+)*[,;.]?", first)  # no name of a setting, a value or a symbol
    return f"{text[:1].upper() if plain else text[:1]}{text[1:]}{'' if text.endswith(('.', '?')) or not text else '.'}"
