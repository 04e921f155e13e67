"""docs/coverage.md: it is what its list, its state and the published records give, and a bad line is refused."""

from __future__ import annotations

import ast
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
    """Every column: what has a suite ran or did not, and has a budget; what has nothing has a reason."""
    head, _, *lines = cells(PAGE.read_text())
    items = [item for paper in read_papers() for item in paper.items]
    assert tuple(head) == HEADS
    assert len({line[0] for line in lines}) >= 5
    for line, item in zip(lines, items, strict=True):
        assert len(line) == len(HEADS), line
        _, _, stands, small, budget, hours, reproduced, differs = line
        assert differs == (item.differs or item.why_not) != "", line
        assert (stands == NONE) == bool(item.why_not), line
        assert (small == NONE) == (stands == NONE), line
        assert (budget == NONE) == (item.suite is None), line
        assert hours == NONE or item.suite, line
        assert reproduced == NONE or (item.suite and item.published), line


def literals() -> set[str]:
    """The texts in the code, without docstrings; of a text with gaps the parts between them."""
    found: set[str] = set()
    for path in (path for root in ("benchmark", "methods") for path in Path(root).rglob("*.py")):
        tree = ast.parse(path.read_text())
        bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
        }
    return found


def is_made(name: str, texts: set[str]) -> bool:
    """Whether some code has a file's name: the whole of it, its folder, or what follows the suite's name."""
    folder, _, file = name.removesuffix(".png").rpartition("/")
    part = f"{folder}/" if file == "*" else file.removeprefix("*-")
    known = {text.removesuffix(".png") for text in texts}
    return part in known if file != "*" else any(text.startswith(part) for text in known if folder)


def test_images_that_are_named_are_made_by_some_code() -> None:
    texts = literals()
    named = {name for paper in read_papers() for item in paper.items for name in (item.image or "").split(", ")} - {""}
    assert len(named) > 15
    assert [name for name in sorted(named) if not is_made(name, texts)] == []
    for absent in ("nobody.png", "*.png", "nowhere/*.png", "figures/*-plat.png", "explore.png"):
        assert not is_made(absent, texts), absent


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{item: Table 1}", "nothing reproduces it"),
        ("{item: Table 1, suite: infoscc-ablatoin}", "did you mean 'infoscc-ablation'"),
        ("{item: Table 1, suite: infoscc-ablation, size: papre}", "no size 'papre'"),
        ("{item: Table 1, sweet: x}", "sweet: unknown key"),
        ("{item: Table 1, suite: infoscc-ablation, dataset: afqh}", "no dataset 'afqh'(.|\\n)*did you mean 'afhq'"),
        ("{item: Table 1, suite: infoscc-ablation, method: eigngan}", "no row of method 'eigngan'"),
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


def test_a_line_has_the_state_of_its_own_size_dataset_and_method() -> None:
    items = (
        Item(item="ImageNet", suite="selfcond-photos"),
        Item(item="Places", suite="selfcond-photos", size="places"),
        Item(item="MNIST", suite="latentcond-table1", dataset="mnist"),
        Item(item="a figure", suite="latentcond-table1", published=False, image="samples.png"),
        Item(item="MGAN", suite="selfcond-photos", method="mgan"),
        Item(item="Logo", suite="selfcond-photos", method="dcgan"),
        Item(item="no row", suite="compare", method="r3gan"),
        Item(item="on request", image="samples.png", made="by hand"),
    )
    entry = {"rows": 15, "done": 15, "seeds": 5, "cpu_minutes": 75.0}
    budget = {"rows": 15, "seeds": 3, "images": [1e7, 1e7], "protocol": "suite", "flops": None}
    state = {"compare:small": entry, "compare:paper": budget}
    lines = {line[1]: line for line in cells(page([Paper(paper="A", items=items)], state, []))[2:]}
    assert {name: line[6] for name, line in lines.items()} == {
        "ImageNet": "not run",
        "Places": NONE,
        "MNIST": "not run",
        "a figure": NONE,
        "MGAN": "not run",
        "Logo": NONE,
        "no row": NONE,
        "on request": NONE,
    }
    assert lines["no row"][3:5] == [
        "no: it has no row at that size",
        "1 of 15 rows x 3 seeds, 1e+07 images each; protocol suite",
    ]
    assert lines["on request"][3] == "by hand"
