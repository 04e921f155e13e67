"""The tutorials run as written, with the shorter settings that each block names.

A comment in front of a fenced block says what is done with it:
`<!-- run -->`: executed, Bash or Python; `<!-- run; short: A => B; C => D -->`: with A replaced by B;
`<!-- file: PATH -->`: written to that file; `<!-- insert: FILE, before the row ID -->`: put into the catalogue.
A page's blocks run in one copy of the checkout, in order; those of one language that follow each other in one process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest
from helpers import ROOT, environment

PAGES = sorted(path for path in (ROOT / "docs" / "tutorials").glob("*.md") if path.name != "index.md")
BLOCK = re.compile(r"<!-- (run|file|insert)(.*?) -->\n```(\w+)\n(.*?)```\n", re.DOTALL)
LANGUAGES = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


@dataclass(frozen=True)
class Block:
    """What is done with a block, and its text."""

    action: str
    argument: str
    language: str
    text: str

    def short(self) -> str:
        """The text with shorter settings. Each replacement must have something to replace."""
        text = self.text
        for change in filter(None, self.argument.removeprefix("; short: ").split("; ")):
            long, short = change.split(" => ")
            assert long in text, f"{long!r} is not in the block"
            text = text.replace(long, short)
        return text


def blocks(page: Path) -> list[Block]:
    return [Block(*found.groups()) for found in BLOCK.finditer(page.read_text())]


def joined(found: list[Block]) -> Iterator[Block]:
    """The blocks; those that follow each other and are executed in one language are one: importing torch is slow."""
    for (action, language), group in groupby(found, lambda block: (block.action, block.language)):
        if action == "run":
            yield Block(action, "", language, "\n".join(block.short() for block in group))
        else:
            yield from group


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package, to which tutorials add files, with a `gantlet` of its own."""
    for name in ("benchmark", "methods", "datasets"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = tmp_path / "bin" / "gantlet"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m benchmark "$@"\n')
    command.chmod(0o755)
    return tmp_path


def perform(block: Block, checkout: Path) -> None:
    if block.action == "file":
        (checkout / block.argument.removeprefix(": ")).write_text(block.text)
    elif block.action == "insert":
        name, row = block.argument.removeprefix(": ").split(", before the row ")
        path = checkout / name
        text = path.read_text()
        at = text.rindex("    MetricRow(", 0, text.index(f'"{row}"'))
        path.write_text(text[:at] + block.text + text[at:])
    else:
        path = f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [*LANGUAGES[block.language], block.text],
            cwd=checkout, env=environment(PYTHONPATH=str(checkout), PATH=path), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


QUICK = ("python", "add-metric")  # the others take up to a minute each


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=[] if page.stem in QUICK else pytest.mark.slow) for page in PAGES],
)
def test_the_blocks_of_a_tutorial_run(page: Path, checkout: Path) -> None:
    found = blocks(page)
    assert found
    assert len(found) == len(re.findall(r"<!-- (?:run|file|insert)", page.read_text())), "every mark has its block"
    for block in joined(found):
        perform(block, checkout)
