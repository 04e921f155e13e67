"""docs/coverage.md: it is what its list, its state and the published records give, and a bad line is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.core import paths
from benchmark.core.errors import ConfigError
from benchmark.report.coverage import HEADS, NONE, PAGE, Item, Paper, page, read_papers, read_state, stale
from benchmark.runs.records import read_records

HOW = "run `make coverage`"


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_is_current() -> None:
    papers, state = read_papers(), read_state()
    assert stale(papers, state) == [], HOW
    assert PAGE.read_text() == page(papers, state, read_records(paths.REFERENCE)), HOW


def test_every_line_says_what_stands_for_it_or_why_nothing_does() -> None:
    head, *lines = cells(PAGE.read_text())[0:1] + cells(PAGE.read_text())[2:]
    assert tuple(head) == HEADS
    assert len({line[0] for line in lines}) >= 5
    for line in lines:
        assert len(line) == len(HEADS), line
        assert line[2] != NONE or line[-1] != NONE, line


def test_images_that_are_named_are_made_by_some_code() -> None:
    """A file's name, without its ending and its placeholder, stands in the code that draws it."""
    code = "".join(path.read_text() for root in ("benchmark", "methods") for path in Path(root).rglob("*.py"))
    for paper in read_papers():
        for item in paper.items:
            for name in (item.image or "").split(", "):
                stem = name.rpartition("/")[2].rpartition(".")[0].partition("*")[0].rstrip("_-")
                assert not name or stem in code, name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{item: Table 1}", "nothing stands for it"),
        ("{item: Table 1, suite: infoscc-ablatoin}", "did you mean 'infoscc-ablation'"),
        ("{item: Table 1, suite: infoscc-ablation, size: papre}", "no size 'papre'"),
        ("{item: Table 1, sweet: x}", "sweet: unknown key"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text(f"papers:\n  - paper: A\n    items:\n      - {line}\n")
    with pytest.raises(ConfigError, match=message):
        read_papers(tmp_path / "list.yaml")


def test_a_suite_that_has_changed_is_stale() -> None:
    papers = [Paper(paper="A", items=(Item(item="Table 1", suite="infoscc-ablation"),))]
    assert stale(papers, {}) == [("infoscc-ablation", "paper"), ("infoscc-ablation", "small")]
    entry = {"of": "another", "rows": 9, "done": 0, "seeds": 0, "cpu_minutes": 0.0}
    assert ("infoscc-ablation", "small") in stale(papers, {"infoscc-ablation:small": entry})
    text = page(papers, {"infoscc-ablation:small": entry}, [])
    assert "| A | Table 1 | `infoscc-ablation` | not run | – | – | not run | – |" in text
