"""README.md: its numbers are those of the published tables, it is short, and its links lead somewhere."""

from __future__ import annotations

import csv
import re
from collections import Counter

import pytest

from benchmark.core import paths

README = (paths.CHECKOUT / "README.md").read_text()
TABLES = paths.REFERENCE / "tables"
PUBLISHED = ("compare-small.md", "compare-fashion.md", "control-attributes.md")
CLAIMS = list(csv.DictReader((TABLES / "claims.csv").open()))


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each row of the Markdown tables, by the first cell."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: [cell.strip() for cell in line[1:]] for line in lines}


def ratios(text: str) -> list[tuple[str, ...]]:
    """Each "0.64x [0.50, 0.82]" or "x 0.642 [0.503, 0.82]", rounded to two digits."""
    found = re.findall(r"([\d.]+)x \[([\d.]+), ([\d.]+)\]|× ([\d.]+) \[([\d.]+), ([\d.]+)\]", text)
    return [tuple(f"{float(number):.2g}" for number in numbers if number) for numbers in found]


def test_the_leaderboard_is_the_published_table() -> None:
    published = rows((TABLES / "compare-small.md").read_text())
    columns = [
        published["Method"].index(f"{name}-judge {way}")
        for name, way in [("FD", "↓"), ("Recall", "↑"), ("Coverage", "↑"), ("Authenticity", "↑")]
    ]
    section = README.partition("## Leaderboard")[2].partition("\n## ")[0]
    shown = rows(section)
    methods = [name for name in shown if name not in ("method", ":--")]
    assert len(methods) >= 5
    for name in methods:
        assert shown[name][1:] == [published[name][column] for column in columns], name
    distance = {name: float(re.sub(r"\*|±.*", "", row[columns[0]])) for name, row in published.items() if "±" in row[0]}
    assert methods == sorted(distance, key=distance.__getitem__)[: len(methods)], "the first rows, in order"


def test_each_effect_is_that_of_a_tested_claim() -> None:
    findings = ratios(README)
    tested = {ratio for claim in CLAIMS for ratio in ratios(claim["Effect"])}
    assert len(findings) == 9
    assert set(findings) <= tested


def test_means_of_the_findings_are_in_the_published_tables() -> None:
    section = README.partition("## Six findings")[2].partition("\n## ")[0]
    means = re.findall(r"[\d.]+ ± \d+\.\d+", " ".join(section.split()))
    published = "".join((TABLES / name).read_text() for name in PUBLISHED)
    assert len(means) == 6
    assert [mean for mean in means if mean not in published] == []


def test_the_counts_of_verdicts_are_those_of_the_papers_claims() -> None:
    (numbers,) = re.findall(
        r"Claims of the papers were tested (\d+) times: (\d+) are supported, (\d+) reversed, (\d+) inconclusive, and "
        r"one is not comparable\.",
        README,
    )
    count = Counter(claim["Outcome"] for claim in CLAIMS if claim["Whose"] == "the paper's")
    expected = [count.total(), count["supported"], count["reversed"], count["inconclusive"]]
    assert [int(number) for number in numbers] == expected
    assert count["not comparable"] == 1
    assert count.total() == sum(expected[1:]) + 1


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", [*sorted((paths.CHECKOUT / "docs").glob("*.md")), paths.CHECKOUT / "README.md"])
def test_links_to_files_lead_somewhere(page: object) -> None:
    text = page.read_text()  # type: ignore[attr-defined]
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    folder = page.parent  # type: ignore[attr-defined]
    assert [link for link in links if not link.startswith("generated/") and not (folder / link).exists()] == []
