"""Do the extractors agree: Kendall's tau against SciPy, its interval, and which rows and columns it is of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_records import write
from scipy.stats import kendalltau

from benchmark.report.agreement import agreement_listing, kendall_tau, tau_interval
from benchmark.report.page_tables import listing_view
from benchmark.report.plain_table import PlainTable
from benchmark.report.report import tables_page, write_report
from benchmark.report.suite_tables import suite_table
from benchmark.report.table_files import write_suite_table, write_tables
from benchmark.runs.records import read_records
from benchmark.runs.suites.suite import find_suite

SUITE = """
title: Losses
source: a test
dataset: digits
recipe: small
seeds: [0, 1, 2]
columns: [Loss]
metrics: [fd_judge]
sizes: {small: {}}
rows:
  - {labels: {Loss: a}, method: infoscc, set: {loss: a}}
  - {labels: {Loss: b}, method: infoscc, set: {loss: b}}
  - {labels: {Loss: c}, method: infoscc, set: {loss: c}}
  - {labels: {Loss: d}, method: infoscc, set: {loss: d}}
"""
JUDGE = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
LITE0 = {"a": 10.0, "b": 30.0, "c": 20.0, "d": 40.0}  # one pair of six the other way round


@pytest.fixture
def suite_file(tmp_path: Path) -> str:
    path = tmp_path / "losses.yaml"
    path.write_text(SUITE)
    return str(path)


def fill(results: Path, columns: dict[str, dict[str, float]], seeds: int = 3, spread: float = 0.0) -> None:
    """Records of all losses, scored by several extractors."""
    for loss in "abcd":
        for seed in range(seeds):
            values = {id: of[loss] + spread * (seed - 1) for id, of in columns.items() if loss in of}
            write(results, dict(values), seed=seed, changes={"loss": loss})


def listing(suite_file: str, results: Path) -> PlainTable | None:
    return agreement_listing(suite_table(find_suite(suite_file), "small", read_records(results), "digits"))


@pytest.mark.parametrize("seed", range(5))
def test_tau_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 6, (2, 4, 9)).astype(float)  # with ties
    for x, y, tau in zip(a, b, kendall_tau(a, b)):
        assert tau == pytest.approx(kendalltau(x, y).statistic, abs=1e-12)
    assert np.isnan(kendall_tau(np.ones(4), np.arange(4.0)))


def test_the_interval_holds_the_draws_of_seeds() -> None:
    """By hand: two rows that exchange places in a part of the draws, two that never do."""
    steady = [(np.array([v, v]), np.array([v, v])) for v in (1.0, 2.0, 9.0)]
    assert tau_interval(steady) == (1.0, 1.0)
    unsteady = [*steady[:2], (np.array([0.0, 4.0]), np.array([3.0, 3.0]))]
    low, high = tau_interval(unsteady) or (np.nan, np.nan)
    assert (low, high) == (pytest.approx(-1 / 3), 1.0)
    assert tau_interval([(np.array([1.0]), np.array([2.0])), *steady]) is None


def test_runs_are_drawn_once_for_both_extractors() -> None:
    """Distances that both extractors see alike stay alike in every draw."""
    rows = [np.random.default_rng(k).normal(k, 3, 5) for k in range(6)]
    assert tau_interval([(row, 7 * row) for row in rows]) == (1.0, 1.0)


def test_other_runs_are_drawn_by_themselves() -> None:
    """Two rows that overlap on both sides alike: drawn together their order never differs, drawn apart it does."""
    rows = [(np.array([0.0, 4.0]), np.array([0.0, 4.0])), (np.array([1.0, 3.0]), np.array([1.0, 3.0]))]
    low, high = tau_interval(rows, same_runs=False) or (np.nan, np.nan)
    assert (low, high) == (-1.0, 1.0)
    fewer = [(of_one, of_other[:1]) for of_one, of_other in rows]
    assert tau_interval(fewer, same_runs=False) is None
    longer = [(np.array([1.0, 1.0]), np.array([v, v, v])) for v in (2.0, 3.0)]
    assert tau_interval(longer, same_runs=False) is None, "all of a side are equal"


def test_each_pair_of_extractors_has_a_line(suite_file: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    backwards = {loss: -value for loss, value in JUDGE.items()}
    fill(results, {"fd_judge": JUDGE, "fd_lite0": LITE0, "fd_inception": backwards, "fd_late_judge": JUDGE}, spread=0.1)
    found = listing(suite_file, results)
    assert found is not None
    lines = {line[:2]: line[2:] for line in found.lines}
    assert set(lines) == {("FD-judge", "fd_lite0"), ("FD-judge", "fd_inception"), ("fd_lite0", "fd_inception")}
    assert lines["FD-judge", "fd_lite0"] == (
        4,
        3,
        pytest.approx(4 / 6),
        pytest.approx(4 / 6),
        pytest.approx(4 / 6),
        "a",
    )
    assert lines["FD-judge", "fd_inception"][2:5] == (-1, -1, -1)
    assert lines["FD-judge", "fd_inception"][5] == "a / d"
    assert len(listing_view(found).lines) == 3


def test_one_seed_has_no_interval_and_one_extractor_no_table(suite_file: str, tmp_path: Path) -> None:
    fill(tmp_path / "one", {"fd_judge": JUDGE, "fd_lite0": LITE0}, seeds=1)
    found = listing(suite_file, tmp_path / "one")
    assert found is not None
    assert found.lines[0][3:7] == (1, pytest.approx(4 / 6), None, None)
    fill(tmp_path / "alone", {"fd_judge": JUDGE})
    assert listing(suite_file, tmp_path / "alone") is None
    two_rows = {loss: LITE0[loss] for loss in "ab"}
    fill(tmp_path / "two", {"fd_judge": JUDGE, "fd_lite0": two_rows})
    assert listing(suite_file, tmp_path / "two") is None


def test_a_row_that_trained_against_a_network_is_not_ranked_by_it(suite_file: str, tmp_path: Path) -> None:
    fill(tmp_path, {"fd_judge": JUDGE, "fd_lite0": LITE0})
    against = [{"name": "judge", "hashes": ["c0ffee" * 10]}]
    for seed in range(3):
        write(tmp_path, {"fd_judge": 0.1, "fd_lite0": 99.0}, seed=seed, changes={"loss": "d"}, trained_against=against)
    found = listing(suite_file, tmp_path)
    assert found is not None
    assert found.lines[0][2] == 3, "rows"


def test_the_files_and_the_page_have_it_where_there_is_one(
    suite_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    fill(results, {"fd_judge": JUDGE, "fd_lite0": LITE0})
    written = {path.name for path in write_suite_table(suite_file, "small", results)}
    assert {f"losses-small-agreement.{form}" for form in ("csv", "tex", "md")} <= written
    text = (results / "tables" / "losses-small-agreement.md").read_text()
    assert "Do the extractors agree?" in text
    assert "0.6667" in text
    assert {p.name for p in write_tables(results, suites=[suite_file])} >= {"losses-small-agreement.csv"}
    assert "Do the extractors agree?" not in tables_page(write_report(results)).read_text(), (
        "the suite is none of the benchmark's"
    )
    monkeypatch.setattr("benchmark.core.paths.SUITES", tmp_path)
    assert "Do the extractors agree?" in tables_page(write_report(results)).read_text()
