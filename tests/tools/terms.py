"""Count the odd terms that a reader should not meet: `python tests/tools/terms.py [--show TERM]`.

The terms are those of the style guide, each with the standard one. Three kinds of text are counted apart: pages
(Markdown), texts that a program prints (string literals of `benchmark` and `methods`), and docstrings with comments.
Code in a page (between backticks or fences) is not counted: names of files, options and fields stay as they are.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = ("pages", "printed texts", "docstrings and comments")

# What is looked for (a regular expression, case ignored), and the term to use.
TERMS = {
    "mend": (r"\bmend(s|ed|ing)?\b", "fix, hint"),
    "told/tells from": (r"\b(told|tells?|telling) (\w+ )?from\b", "significantly different from"),
    "cannot be told": (r"\bcannot be told\b|\bcould not be told\b", "inconclusive"),
    "asked for": (r"\basked( for)?\b|\bask(s|ing)? for\b", "conditioned on, requested"),
    "picture": (r"\bpictures?\b", "image, sample grid"),
    "card": (r"\b(cards?)\b(?! machine)", "dataset config; of a machine: GPU"),
    "nets": (r"\bnets\b", "networks"),
    "couples": (r"\bcouples?\b", "pairs"),
    "verb": (r"\bverbs?\b", "command"),
    "places": (r"\bplaces\b", "paths"),
    "fakes": (r"\bfakes\b", "generated images"),
    "times as far": (r"\btimes as far\b", "0.64x the FD"),
    "gate": (r"\bgates?\b", "regression test"),
    "rehearsal": (r"\brehears(al|e|ed)s?\b", "dry run"),
    "beside": (r"\bbesides?\b", "with, alongside, next to"),
    "stands": (r"\bstands?\b", "is, is listed"),
    "what ... leaves": (r"\bwhat (a|each|the) \w+ leaves\b", "output files"),
    "unlike": (r"\bunlike (things|conditionings)\b", "different"),
    "the other way round": (r"\bother way round\b", "reversed"),
    "nobody": (r"\bnobody\b|\bwho (reads|starts|asks|sets)\b", "no method; where ... is set"),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print a table of counts, or the lines that have one term."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", choices=sorted(TERMS), help="list the lines with this term")
    parser.add_argument("--kind", choices=KINDS, help="with --show: only in this kind of text")
    parsed = parser.parse_args(arguments)
    texts = list(all_texts(ROOT))
    if parsed.show:
        pattern = re.compile(TERMS[parsed.show][0], re.IGNORECASE)
        for kind, where, text in texts:
            if parsed.kind in (None, kind):
                for number, line in enumerate(text.splitlines()):
                    if pattern.search(line):
                        print(f"{where.split(':')[0]}:{int(where.split(':')[1]) + number}: {line.strip()}")
        return 0
    print(f"{'term':<20}" + "".join(f"{kind:>25}" for kind in KINDS))
    totals = dict.fromkeys(KINDS, 0)
    for term, (pattern_text, _) in TERMS.items():
        counts = counted(re.compile(pattern_text, re.IGNORECASE), texts)
        totals = {kind: totals[kind] + counts[kind] for kind in KINDS}
        print(f"{term:<20}" + "".join(f"{counts[kind]:>25}" for kind in KINDS))
    print(f"{'all':<20}" + "".join(f"{totals[kind]:>25}" for kind in KINDS))
    return 0


def counted(pattern: re.Pattern[str], texts: list[tuple[str, str, str]]) -> dict[str, int]:
    """How often a pattern occurs, by kind of text."""
    counts = dict.fromkeys(KINDS, 0)
    for kind, _, text in texts:
        counts[kind] += len(pattern.findall(text))
    return counts


def all_texts(root: Path) -> Iterator[tuple[str, str, str]]:
    """(kind, file:line, text) of everything that is counted."""
    pages = [*root.glob("*.md"), *(path for path in (root / "docs").rglob("*.md") if not generated(path))]
    for path in sorted(pages):
        if path.name != "CHANGELOG.md":  # history is not rewritten
            yield "pages", f"{path.relative_to(root)}:1", without_code(path.read_text())
    for folder in ("benchmark", "methods"):
        for path in sorted((root / folder).rglob("*.py")):
            yield from python_texts(path, str(path.relative_to(root)))


def generated(path: Path) -> bool:
    """Whether a page is written by the build."""
    return bool({"generated", "_build"} & set(path.parts))


def without_code(page: str) -> str:
    """A page less its fenced blocks and code spans, with the same line numbers."""
    page = re.sub(r"```.*?```", lambda block: "\n" * block.group().count("\n"), page, flags=re.DOTALL)
    return re.sub(r"`[^`\n]+`|\]\([^)\n]+\)", "", page)


def python_texts(path: Path, name: str) -> Iterator[tuple[str, str, str]]:
    """The string literals, docstrings and comments of a file."""
    source = path.read_text()
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            docstrings.add(id(node.body[0].value))  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            kind = KINDS[2] if id(node) in docstrings else KINDS[1]
            yield kind, f"{name}:{node.lineno}", re.sub(r"`[^`\n]+`", "", node.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield KINDS[2], f"{name}:{token.start[0]}", token.string


if __name__ == "__main__":
    sys.exit(main())
