"""The settings of `compare` on Fashion-MNIST are those of the best trials in the published search."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from benchmark.runs.records import Record, read_records
from benchmark.runs.spec import Paths, resolve
from benchmark.runs.suites.suite import cells, find_suite

pytestmark = pytest.mark.usefixtures("quick_environment")
REFERENCE = Path(__file__).parents[3] / "results" / "reference"
TRIALS = 4


def trials(tmp_path: Path) -> dict[str, list[Record]]:
    """The published trials, by method."""
    runs = {
        resolve(cell.spec, Paths(tmp_path, tmp_path)).run for cell in cells(find_suite("compare-search"), "fashion")
    }
    found = defaultdict(list)
    for record in read_records(REFERENCE):
        if record.run in runs:
            found[record.method].append(record)
    return found


def fd_judge(record: Record) -> float:
    value = record.values["fd_judge"].value
    assert isinstance(value, float)
    return value


def test_each_method_is_compared_with_the_settings_of_its_best_trial(tmp_path: Path) -> None:
    suite, searched = find_suite("compare"), trials(tmp_path)
    compared = {
        cell.spec.method: resolve(cell.spec, Paths(tmp_path, tmp_path)).config for cell in cells(suite, "fashion", [0])
    }
    assert compared.keys() == searched.keys()
    for method, config in compared.items():
        assert len(searched[method]) == TRIALS
        best = min(searched[method], key=fd_judge).config["config"]
        used = (config.lr_G, config.lr_D, config.n_dis)
        assert used == (best["lr_G"], best["lr_D"], best["n_dis"]), method


def test_the_search_and_the_comparison_share_no_seed(tmp_path: Path) -> None:
    seeds = {record.seed for records in trials(tmp_path).values() for record in records}
    assert seeds.isdisjoint(find_suite("compare").sizes["fashion"].seeds or ())
