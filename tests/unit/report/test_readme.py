"""README.md: its numbers are those of the published tables, it is short, and its links lead somewhere."""

from __future__ import annotations

import csv
import re
from collections import Counter

import pytest

from benchmark.core import paths
from benchmark.core.stats import Summary, format_cell
from benchmark.report.tables import STATISTICS
from benchmark.runs.records import read_record, record_path

README = (paths.CHECKOUT / "README.md").read_text()
TABLES = paths.REFERENCE / "tables"
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


# What each effect is said of, the claim that was tested, and the suite
EFFECTS = [
    ("InfoSCC-GAN reaches {} the FD of EigenGAN, its unconditional backbone ({} seeds)",
     "InfoSCC-GAN has a lower FD than EigenGAN", "compare-small"),
    ("the same comparison is reversed: {} ({} seeds)", "InfoSCC-GAN has a lower FD than EigenGAN", "compare-shapes"),
    ("Self-Conditioned GAN with 20 clusters has {} the FD of one cluster",
     "twenty clusters give a lower FD than one", "selfcond-k-small"),
    ("50 have {} the FD of five (48,000 images, {} seeds)",
     "fifty clusters give a lower FD than five", "selfcond-k-small"),
    ("SS-GAN has {}, LT-GAN", "SS-GAN has a lower FD than SNGAN", "compare-fashion"),
    (", LT-GAN {} and CR-GAN", "LT-GAN has a lower FD than SNGAN", "compare-fashion"),
    (" and CR-GAN {} the FD of SNGAN ({} seeds)", "CR-GAN has a lower FD than SNGAN", "compare-fashion"),
    ("LT-GAN's {} comes with twice the steps", "LT-GAN has a lower FD than SNGAN", "compare-small"),
    ("at equal steps it is {} (inconclusive)", "LT lowers the baseline's FD", "ltgan-comparison-small"),
]  # fmt: skip
# What each mean is said of, and the table, row and column that it is from
MEANS = [
    ("SS-GAN leads with an FD of {}, significantly better than", "compare-fashion", ["SS-GAN"], "FD-judge"),
    ("InfoSCC-GAN has the third-lowest FD on digits, and a recall of {};", "compare-small", ["InfoSCC-GAN"],
     "Recall-judge"),
    ("CR-GAN's is {}, with", "compare-small", ["CR-GAN"], "Recall-judge"),
    ("with an FD of {} (5 seeds)", "compare-small", ["CR-GAN"], "FD-judge"),
    ("the latent-conditioned GAN keeps {} of an image's attributes", "control-attributes",
     ["Latent-conditioned GAN", "images"], "Label agreement (judge)"),
    ("InfoSCC-GAN, which is given them, shows {},", "control-attributes", ["InfoSCC-GAN", "labels"],
     "Control accuracy (judge)"),
]  # fmt: skip
RATIO, MEAN = r"([\d.]+x \[[\d.]+, [\d.]+\])", r"([\d.]+ ± [\d.]+\d)"
FINDINGS = " ".join(README.partition("## Six findings")[2].partition("\n## ")[0].split())


def said(sentence: str, *patterns: str) -> tuple[str, ...]:
    """What the findings say in the places {} of a sentence."""
    parts = [re.escape(part) for part in sentence.split("{}")]
    found = re.findall(parts[0] + "".join(p + part for p, part in zip(patterns, parts[1:])), FINDINGS)
    assert len(found) == 1, sentence
    return tuple(found[0]) if isinstance(found[0], tuple) else (found[0],)


def table(name: str) -> list[dict[str, str]]:
    """The rows of a published table."""
    return list(csv.DictReader((TABLES / f"{name}.csv").open()))


@pytest.mark.parametrize(("sentence", "claim", "suite"), EFFECTS)
def test_each_effect_is_that_of_its_claim(sentence: str, claim: str, suite: str) -> None:
    (tested,) = [one for one in CLAIMS if (one["Claim"], one["Suite"]) == (claim, suite)]
    ratio, *seeds = said(sentence, RATIO, r"(\d+)")
    assert ratios(ratio) == ratios(tested["Effect"])
    assert seeds in ([], [tested["Seeds"]])
    if "(inconclusive)" in sentence:
        assert tested["Outcome"] == "inconclusive"


@pytest.mark.parametrize(("sentence", "name", "labels", "column"), MEANS)
def test_each_mean_is_that_of_its_row(sentence: str, name: str, labels: list[str], column: str) -> None:
    (row,) = [row for row in table(name) if list(row.values())[: len(labels)] == labels]
    mean, sd, n, low, high = (float(row[f"{column} {name}"]) for name in STATISTICS)
    assert said(sentence, MEAN) == (format_cell(Summary(mean, sd, int(n), low, high)),)


def test_no_number_of_the_findings_goes_unchecked() -> None:
    assert len(re.findall(RATIO, FINDINGS)) == len(EFFECTS)
    assert len(re.findall(MEAN, FINDINGS)) == len(MEANS)


def test_places_and_counts_of_the_findings() -> None:
    digits = {row["Method"]: float(row["FD-judge mean"]) for row in table("compare-small") if row["runs_done"]}
    given = {"InfoSCC-GAN", "CGAN", "ACGAN", "BigGAN", "IC-GAN", "Latent-conditioned GAN", "Self-Conditioned GAN"}
    others = [fd for name, fd in digits.items() if name not in given]
    ahead = sum(fd < min(others) for name, fd in digits.items() if name in given)
    assert (ahead, len(given), len(others)) == (6, 7, 8), "Six of the seven have a lower mean FD than all eight"
    assert "Six of the seven have a lower mean FD than all eight" in FINDINGS
    assert sorted(digits, key=digits.__getitem__)[2] == "InfoSCC-GAN", "the third-lowest"
    assert digits.keys() >= given
    page = " ".join((paths.CHECKOUT / "docs/results/fashion_mnist.md").read_text().split())
    (worse, of) = said("significantly better than {} of {} (5 seeds)", r"(\d+)", r"(\d+)")
    assert f"It is significantly better than {worse} of {of} other rows" in page
    index = (paths.CHECKOUT / "docs/results/index.md").read_text()
    assert f"- Digits and Fashion-MNIST: {said('ranking on digits is {}. Settings', r'(-?[0-9.]+)')[0]} [" in index


def test_the_real_images_of_the_leaderboard() -> None:
    (half,) = [row for row in table("compare-small") if row["Method"].startswith("real, half against half")]
    text = " ".join(README.split())
    assert f"half against the other: FD {float(half['FD-judge mean']):.2f} (599 images each)" in text
    assert f"recall {float(half['Recall-judge mean']):.2f}." in text
    assert half["Method"].endswith("n = 599")
    protocol = read_record(record_path(paths.REFERENCE, "digits-biggan-small-s0-b7e90768")).values["fd_judge"].protocol
    counts = f"with {protocol['n_fake']:,} samples against the {protocol['n_reference']:,} training images"
    assert counts in text


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
