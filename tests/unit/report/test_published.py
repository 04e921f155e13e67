"""Published values: one schema, no value twice, every value with its source, and equal to those that suites show."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from benchmark.core import paths
from benchmark.core.errors import DataError
from benchmark.core.registry import recipes_of
from benchmark.report.published import CERTAINTY, PUBLISHED_FIELDS, PublishedValue, read_published
from benchmark.runs.suites.suite import Suite, SuiteRow, list_suites

PATH = paths.REFERENCE / "published.csv"
KEY = ("paper", "table", "method", "dataset", "resolution", "metric")
SHARES = ("Accuracy", "Control accuracy", "SVM accuracy", "CAS", "Neighbour", "High quality", "Precision", "Recall")


def lines() -> list[dict[str, str]]:
    with open(PATH, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_file_has_the_schema_and_every_value_a_source() -> None:
    values = read_published(PATH)
    assert len(values) > 200
    assert tuple(lines()[0]) == PUBLISHED_FIELDS
    for line in lines():
        assert all(line[name].strip() == line[name] for name in PUBLISHED_FIELDS), line
        assert all(line[name] for name in (*KEY[:4], "year", "metric", "value", "protocol", "source")), line


def test_numbers_are_numbers_in_their_ranges() -> None:
    for line in lines():
        value = float(line["value"])
        assert 2014 <= int(line["year"]) <= 2026
        assert line["resolution"] == "" or int(line["resolution"]) in (32, 48, 64, 128, 256)
        assert line["n_samples"] == "" or int(line["n_samples"]) > 0
        assert line["spread"] == "" or float(line["spread"]) > 0
        if line["metric"].startswith(SHARES):
            assert 0 <= value <= 1, line
        elif not line["metric"].startswith("Correlation"):
            assert value > 0, line
        else:
            assert -1 <= value <= 1, line


def test_no_value_stands_twice() -> None:
    counts = Counter(tuple(line[name] for name in KEY) for line in lines())
    assert [key for key, n in counts.items() if n > 1] == []


def test_every_value_was_read_and_a_quoted_one_names_where() -> None:
    assert {line["certainty"] for line in lines()} == set(CERTAINTY)
    for line in lines():
        assert (line["certainty"] == "quoted") == ("as quoted in" in line["source"]), line
        assert "memory" not in line["source"], line


def test_the_tables_that_were_read_are_whole() -> None:
    counts = Counter((line["paper"], line["table"]) for line in lines() if line["certainty"] == "read")
    assert counts["InfoSCC-GAN", "ablation"] == 7 * 2 + 6  # EigenGAN has no Chamfer distance
    assert counts["InfoSCC-GAN", "attributes"] == 3 * 2 + 5 + 10 + 15
    assert counts["Latent Space Conditioning on GANs", "1"] == 8 + 6 + 5  # IS, FID, accuracy
    assert counts["Latent Space Conditioning on GANs", "2"] == 10 * 3 + 6
    assert counts["Latent Space Conditioning on GANs", "3"] == 3
    assert counts["LT-GAN", "1"] == 4 + 4 + 7 + 2
    assert [counts["LT-GAN", table] for table in ("2", "3", "4", "5", "text")] == [20, 12, 9, 8, 4]


def _name_in_the_file(row: SuiteRow) -> str:
    """A suite's labels as the file names methods; its second reading of a loss is a row of ours only."""
    labels = ", ".join(text for text in row.labels.values() if text not in ("-", "yes"))
    return labels.replace(" (4th power)", "")


PAPERS = {  # by the beginning of a suite's name
    "infoscc": "InfoSCC-GAN",
    "icgan": "IC-GAN",
    "selfcond": "Self-Conditioned GAN",
    "latentcond": "Latent Space Conditioning on GANs",
    "ltgan": "LT-GAN",
    "r3gan": "R3GAN",
}


def _disagreements(suite: Suite) -> tuple[int, list[str]]:
    """How many of a suite's published values the file has by their method's name, and which values it has not.

    A value whose method the suite calls by another name must be among the paper's for that dataset and metric.
    """
    assert suite.published is not None
    paper = next(paper for name, paper in PAPERS.items() if suite.name.startswith(name))
    n, wrong = 0, []
    for columns in (suite.published, *suite.published_also):
        known = [v for v in read_published(PATH) if v.paper == paper and _of_dataset(v, columns.dataset)]
        for row in suite.rows:
            for metric, number in suite.values_on(row, columns.dataset).items():
                named = {v.value for v in known if (v.method, v.metric) == (_name_in_the_file(row), metric)}
                n += bool(named)
                there = named or {v.value for v in known if v.metric == metric}
                if number not in there:
                    wrong.append(f"{suite.name}, {row.labels}, {metric}: {number}, the file has {sorted(there)}")
    return n, wrong


def _all_published(row: SuiteRow) -> list[dict[str, float]]:
    return [row.published, *row.published_also.values()]


def _of_dataset(value: PublishedValue, dataset: str) -> bool:
    """Whether the file's value is of a suite's dataset; CelebA's classes stand in the file with the method's name.

    `celeba_gender64` is there celeba at 64 px, "Ours, gender"; a baseline's side is not given.
    """
    match = re.fullmatch(r"(celeba)_(gender|hair)(\d+)", dataset)
    if match is None or value.dataset == dataset:
        return value.dataset in (dataset, recipes_of(dataset))  # images served with other labels are the same images
    return (
        value.dataset == match[1]
        and value.method.endswith(f", {match[2]}")
        and (value.fields["resolution"] or match[3]) == match[3]
    )


def test_suites_and_the_file_agree() -> None:
    suites = [suite for suite in list_suites().values() if suite.published]
    found = {suite.name: _disagreements(suite) for suite in suites}
    assert [text for _, wrong in found.values() for text in wrong] == []
    assert found["infoscc-ablation"][0] == 7 * 2 + 6
    assert found["latentcond-ablation"][0] == 3
    n_published = {"table1": 3 + 5, "celeba": 2 + 3 * 3, "table2": 4 * 6}
    for name, n in n_published.items():
        assert (
            sum(len(values) for row in list_suites()[f"latentcond-{name}"].rows for values in _all_published(row)) == n
        )


def test_the_tables_of_lt_gan_are_whole() -> None:
    """Tables 1 to 5 and the path lengths of the text: every value stands in a suite."""
    suites = [suite for name, suite in list_suites().items() if name.startswith("ltgan") and suite.published]
    shown = {
        (recipes_of(columns.dataset), metric, number)
        for suite in suites
        for columns in (suite.published, *suite.published_also)
        if columns is not None
        for row in suite.rows
        for metric, number in suite.values_on(row, columns.dataset).items()
    }
    file = {(v.dataset, v.metric, v.value) for v in read_published(PATH) if v.paper == "LT-GAN"}
    assert file - shown == {("celeba_hq", "FID", 18.44)}, "the starred value beside CR-GAN's is in a note"


@pytest.mark.parametrize(("name", "row", "wrong"), [("latentcond-ablation", -1, 0.58), ("infoscc-ablation", 0, 0.01)])
def test_a_suite_that_differs_from_the_file_is_seen(name: str, row: int, wrong: float) -> None:
    """A digit that is off, and a value that stands in the row of another method."""
    suite = list_suites()[name]
    metric = next(iter(suite.rows[row].published))
    object.__setattr__(suite.rows[row], "published", {metric: wrong})
    assert len(_disagreements(suite)[1]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [({"value": "n/a"}, "not a number"), ({"certainty": "sure"}, "certainty 'sure'"), ({"value": ""}, "not a number")],
)
def test_a_bad_line_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = tmp_path / "published.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, PUBLISHED_FIELDS)
        writer.writeheader()
        writer.writerows([lines()[0], lines()[1] | change])
    with pytest.raises(DataError, match="line 3") as caught:
        read_published(path)
    assert message in str(caught.value)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "published.csv").write_text("paper,value\nx,1\n")
    with pytest.raises(DataError, match="columns"):
        read_published(tmp_path / "published.csv")
