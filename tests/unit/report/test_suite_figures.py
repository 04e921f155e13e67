"""Figures of suites: metrics against the setting that rows vary, and LT-GAN's accuracy over the size of moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import write
from matplotlib.figure import Figure

from benchmark.report import suite_figures as module
from benchmark.report.suite_figures import suite_figures
from benchmark.report.suite_tables import suite_table
from benchmark.report.table_files import write_suite_table
from benchmark.runs.records import read_records
from benchmark.runs.suites.suite import find_suite

pytestmark = pytest.mark.usefixtures("quick_environment")

SUITE = """
title: A weight
source: made up
dataset: digits
recipe: small
seeds: [0, 1]
columns: [lambda, Model]
plot: lambda
metrics: [fd_judge, aux_accuracy]
sizes: {small: {}}
rows:
  - {labels: {lambda: "2.0", Model: LT}, method: ltgan, set: {lambda_lt: 2.0}}
  - {labels: {lambda: "0.5", Model: LT}, method: ltgan, set: {lambda_lt: 0.5}}
  - {labels: {lambda: "1.0", Model: CR}, method: ltgan, set: {lambda_cr: 1.0}}
  - {labels: {lambda: "4.0", Model: LT}, method: ltgan, set: {lambda_lt: 4.0}}
"""
SIZES = (0.25, 0.5, 1.0)


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "weight.yaml"
    path.write_text(SUITE)
    return str(path)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were made into PNGs."""
    figures: list[Figure] = []
    inner = module.figure_png
    monkeypatch.setattr(module, "figure_png", lambda figure: figures.append(figure) or inner(figure))  # type: ignore[func-returns-value]
    return figures


def record(results: Path, fd: float, seed: int = 0, accuracy: tuple[float, ...] = (), **changes: Any) -> None:
    curve = [{"sigma": size, "accuracy": value} for size, value in zip(SIZES, accuracy)]
    values = {"fd_judge": fd, **({"aux_accuracy": accuracy[1]} if accuracy else {})}
    details = {"sigma_eps": 0.5, "curve": curve} if accuracy else None
    write(results, values, method="ltgan", seed=seed, changes=changes, details=details)


def test_metrics_are_drawn_at_their_numbers_in_order_with_the_interval_of_the_mean(
    suite: str, tmp_path: Path, drawn: list[Figure]
) -> None:
    """A line for each of the other labels; a row without runs is no point."""
    record(tmp_path, 4.0, lambda_lt=2.0)
    record(tmp_path, 7.0, lambda_lt=0.5)
    record(tmp_path, 9.0, seed=1, lambda_lt=0.5)
    record(tmp_path, 1.0, lambda_cr=1.0)
    table = suite_table(find_suite(suite), "small", read_records(tmp_path), "digits")
    assert list(suite_figures(table)) == ["plot"]
    axes = drawn[0].axes[0]
    assert axes.get_xlabel() == "lambda"
    assert axes.get_ylabel() == "FD-judge (lower is better)"
    lines = {bars.get_label(): bars.lines[0].get_xydata() for bars in axes.containers}
    np.testing.assert_allclose(lines["LT"], [(0.5, 8.0), (2.0, 4.0)])
    np.testing.assert_allclose(lines["CR"], [(1.0, 1.0)])
    cell = table.rows[1].summary(table.columns[0])
    (bars,) = axes.containers[0].lines[2]
    low_high = bars.get_segments()[0][:, 1]
    assert cell.low == 0, "a distance is not negative"
    np.testing.assert_allclose(low_high, [cell.low, cell.high])


def test_a_number_by_a_network_that_the_row_trained_against_is_marked(
    suite: str, tmp_path: Path, drawn: list[Figure]
) -> None:
    against = [{"name": "judge", "hashes": ["c0ffee" * 10]}]
    record(tmp_path, 4.0, lambda_lt=2.0)
    write(tmp_path, {"fd_judge": 8.0}, method="ltgan", changes={"lambda_lt": 0.5}, trained_against=against)
    table = suite_table(find_suite(suite), "small", read_records(tmp_path), "digits")
    suite_figures(table)
    (mark,) = drawn[0].axes[0].texts
    assert (mark.get_text(), mark.xy) == ("§", (0.5, 8.0))
    title = drawn[0].get_suptitle().replace("\n", " ")
    assert "§: by a network that the row's method trained against" in title
    write(tmp_path, {"fd_judge": 8.0}, method="ltgan", changes={"lambda_lt": 0.5}, trained_against=[])
    suite_figures(suite_table(find_suite(suite), "small", read_records(tmp_path), "digits"))
    assert not drawn[1].axes[0].texts
    assert "§" not in drawn[1].get_suptitle()


def test_one_number_is_no_plot(suite: str, tmp_path: Path) -> None:
    record(tmp_path, 4.0, lambda_lt=2.0)
    assert suite_figures(suite_table(find_suite(suite), "small", read_records(tmp_path), "digits")) == {}


def test_the_curve_is_the_mean_of_the_seeds_and_marks_the_size_of_training(
    suite: str, tmp_path: Path, drawn: list[Figure]
) -> None:
    record(tmp_path, 4.0, accuracy=(0.5, 0.7, 0.6), lambda_lt=2.0)
    record(tmp_path, 4.0, seed=1, accuracy=(0.5, 0.9, 0.6), lambda_lt=2.0)
    write_suite_table(suite, "small", tmp_path)
    written = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert written == ["weight-small-curve.png"]
    line, mark, chance = drawn[0].axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [(0.25, 0.5), (0.5, 0.8), (1.0, 0.6)])
    np.testing.assert_allclose(mark.get_xydata(), [(0.5, 0.8)])
    assert set(chance.get_ydata()) == {0.5}
