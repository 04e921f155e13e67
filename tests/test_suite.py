"""Suites: every shipped one resolves; a run skips what is done, survives what fails, and writes its table."""

from __future__ import annotations

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import environment
from test_tables import _quick_environment, write

from benchmark import experiment, suite_runs
from benchmark import plan as rehearsal
from benchmark import suite_plan as plan_module
from benchmark.catalogue import method_names
from benchmark.config import content_hash
from benchmark.errors import BusyError, ConfigError, RunFailed
from benchmark.evaluate import EvalConfig
from benchmark.method import find_method
from benchmark.records import read_record, read_records, record_path
from benchmark.resolve import Places, RunSpec, resolve
from benchmark.simclr import SimCLRConfig
from benchmark.suite import Cell, cells, find_suite, list_suites
from benchmark.suite_plan import RowCost, suite_plan, total_text
from benchmark.suite_runs import Outcome, RunCell, default_workers, job_executor, run_suite, submitted
from benchmark.suite_tables import suite_table, suite_tables, write_suite_table
from benchmark.table_files import write_tables

__all__ = ["_quick_environment"]  # the fixture is used by every test here as well

SUITE = """
title: Two losses
source: a test
dataset: digits
recipe: small
seeds: [0, 1]
set: {steps: 10}
columns: [Model, Loss]
metrics: [fd_judge]
sizes:
  small: {}
  paper: {dataset: afhq, recipe: paper, seeds: [0], set: {steps: 20}}
published: {dataset: afhq, columns: [FID], source: the paper's table 1, protocol: another network.}
rows:
  - {labels: {Model: InfoSCC, Loss: Hinge}, method: infoscc, set: {loss: hinge}, published: {FID: 13.08}}
  - {labels: {Model: InfoSCC, Loss: LSGAN}, method: infoscc, set: {loss: lsgan}}
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> str:
    (tmp_path / "two.yaml").write_text(SUITE)
    return str(tmp_path / "two.yaml")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "data", tmp_path / "results")


class FakeRuns:
    """`experiment` with records instead of training; remembers what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, int]] = []
        self.errors: dict[tuple[str, int], Exception] = {}
        monkeypatch.setattr(experiment, "resolve", self.resolve)
        monkeypatch.setattr(experiment, "require_files", lambda resolved, places: None)
        monkeypatch.setattr(experiment, "run", self.run)
        monkeypatch.setattr(plan_module, "_rehearsed", self.rehearse)

    def resolve(self, spec: RunSpec, places: Places) -> Any:
        class Resolved:
            config_hash = content_hash(spec.changes)
            run = f"{spec.dataset}-{spec.method}-{spec.changes['loss']}-s{spec.seed}"

        return Resolved()

    def rehearse(self, cost: RowCost, *_: Any) -> RowCost:
        stage = {("digits", "SimCLR", 5): 30.0}
        return dataclasses.replace(cost, seconds=60.0, bytes=10**6, source="rehearsed", shared=stage)

    def run(self, spec: RunSpec, places: Places, **options: Any) -> dict[str, Any]:
        key = (spec.changes["loss"], spec.seed)
        self.asked.append(key)
        error = self.errors.get(key)
        if error and not isinstance(error, RunFailed):
            raise error
        written = write(
            places.results,
            None if error else {"fd_judge": 10.0 + spec.seed},
            method=spec.method,
            dataset=spec.dataset,
            recipe=str(spec.recipe),
            seed=spec.seed,
            changes=spec.changes,
            reason=str(error) if error else "",
        )
        path = record_path(places.results, written)
        path.rename(record_path(places.results, self.resolve(spec, places).run))
        if error:
            raise error
        return read_record(record_path(places.results, self.resolve(spec, places).run)).plain


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    return FakeRuns(monkeypatch)


ALL = [("hinge", 0), ("lsgan", 0), ("hinge", 1), ("lsgan", 1)]


def shipped() -> list[tuple[str, str]]:
    return [(name, size) for name, suite in list_suites().items() for size in suite.sizes]


@pytest.mark.parametrize(("name", "size"), shipped())
def test_every_cell_of_every_suite_is_a_valid_run(name: str, size: str, tmp_path: Path) -> None:
    suite = find_suite(name)
    runs = []
    for cell in cells(suite, size):
        assert cell.spec.method in method_names()
        spec = cell.spec
        runs.append(resolve(spec, Places(tmp_path, tmp_path)).run)
    assert len(set(runs)) == len(runs), "every cell is a run of its own"


def test_the_ablation_is_the_posters_grid_with_both_readings_of_lsgan() -> None:
    suite = find_suite("infoscc-ablation")
    poster = [
        ("Global", "Hinge", 13.08, 10.71, 4030),
        ("Global", "Non saturating", 25.62, 10.33, 28595),
        ("Global", "LSGAN", 29.02, 9.89, 45583),
        ("Patch", "Hinge", 15.95, 10.51, 7327),
        ("Patch", "Non saturating", 14.83, 10.21, 5114),
        ("Patch", "LSGAN", 11.59, 11.06, 3645),
    ]
    rows = [row for row in suite.rows if row.method == "infoscc" and row.published]
    found = [
        (row.labels["Discriminator"], row.labels["Loss"].removesuffix(" (4th power)"), *row.published.values())
        for row in rows
    ]
    assert found == poster
    assert [row.set["loss"] for row in rows] == 2 * ["hinge", "non_saturating", "lsgan4"]
    squares = [row for row in suite.rows if row.set.get("loss") == "lsgan"]
    assert [row.labels["Loss"] for row in squares] == 2 * ["LSGAN (squares)"]
    assert not any(row.published for row in squares)
    baseline = suite.rows[0]
    assert (baseline.method, baseline.published) == ("eigengan", {"FID": 29.02, "IS": 8.52})
    assert [cell.spec.seed for cell in cells(suite, "paper")] == 9 * [0] + 9 * [1] + 9 * [2]
    assert {(c.spec.dataset, c.spec.recipe) for c in cells(suite, "paper")} == {("afhq", "paper")}
    assert {(c.spec.dataset, c.spec.recipe, c.spec.seed) for c in cells(suite, "small")} == {
        ("digits", "small", seed) for seed in (0, 1, 2)
    }


def test_cells_merge_the_changes_of_suite_size_and_row(suite_file: str) -> None:
    suite = find_suite(suite_file)
    assert [cell.spec.changes for cell in cells(suite, "small", seeds=[7])] == [
        {"steps": 10, "loss": "hinge"},
        {"steps": 10, "loss": "lsgan"},
    ]
    assert [cell.spec.changes["steps"] for cell in cells(suite, "paper")] == [20, 20]
    assert [cell.spec.seed for cell in cells(suite, "small")] == [0, 0, 1, 1]
    with pytest.raises(ConfigError, match="no size 'papers'"):
        cells(suite, "papers")


def test_a_suite_runs_every_cell_and_writes_its_table(
    suite_file: str, places: Places, fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_suite(suite_file, places) == 0
    assert fake.asked == ALL
    out = capsys.readouterr().out
    assert "two, small: 4 cells, 0 done, 4 to do: about 4.5 min, 4 MB" in out, "4 x 60 s, and the stage once"
    assert "cell 1/4: InfoSCC, Hinge, seed 0" in out
    assert "two: 4 done" in out
    rows = list(csv.DictReader((places.results / "tables" / "two-small.csv").open()))
    assert [(row["Model"], row["Loss"], row["FD-judge mean"], row["FD-judge n"]) for row in rows] == [
        ("InfoSCC", "Hinge", "10.5", "2"),
        ("InfoSCC", "LSGAN", "10.5", "2"),
    ]


def test_a_stopped_suite_continues_where_it_was(suite_file: str, places: Places, fake: FakeRuns) -> None:
    fake.errors[("hinge", 1)] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite_file, places)
    assert fake.asked == ALL[:3]
    fake.asked, fake.errors = [], {}
    assert run_suite(suite_file, places) == 0
    assert fake.asked == ALL[2:], "what has a record is not run again"
    assert run_suite(suite_file, places) == 0
    assert fake.asked == ALL[2:]


def test_a_failed_cell_is_kept_and_the_suite_goes_on(
    suite_file: str, places: Places, fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.errors[("lsgan", 0)] = RunFailed("non-finite loss at step 3")
    assert run_suite(suite_file, places) == 1
    assert fake.asked == ALL
    assert "two: 3 done, 1 failed" in capsys.readouterr().out
    text = (places.results / "tables" / "two-small.md").read_text()
    assert "| InfoSCC | LSGAN | 11.00 | 1, failed (1 of 2) |" in text
    assert "seed 0: non-finite loss at step 3" in (places.results / "tables" / "two-small.csv").read_text()
    assert run_suite(suite_file, places) == 1, "a failure of before is still a failure"
    assert fake.asked == ALL, "and is not run again by itself"


def test_stop_ends_at_the_first_failure(suite_file: str, places: Places, fake: FakeRuns) -> None:
    fake.errors[("lsgan", 0)] = RunFailed("non-finite loss at step 3")
    assert run_suite(suite_file, places, stop=True) == 1
    assert fake.asked == ALL[:2]
    text = (places.results / "tables" / "two-small.md").read_text()
    assert "| InfoSCC | Hinge | 10.00 | 1, not run (1 of 2) |" in text
    assert "| InfoSCC | LSGAN | – | failed (1 of 2), not run (1 of 2) |" in text


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BusyError("the run", "process 1 holds it"), 3, "busy"),
        (ConfigError("patch_layers 6"), 2, "refused"),
        (RuntimeError("a bug"), 1, "failed"),
    ],
)
def test_other_errors_leave_no_record_and_the_suite_goes_on(
    suite_file: str,
    places: Places,
    fake: FakeRuns,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
    kind: str,
) -> None:
    fake.errors[("hinge", 0)] = error
    assert run_suite(suite_file, places) == status
    assert fake.asked == ALL
    assert len(read_records(places.results)) == 3
    assert f"3 done, 1 {kind}" in capsys.readouterr().out


def test_a_bad_cell_is_reported_before_anything_runs(
    suite_file: str, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(experiment, "run", lambda spec, *_, **__: asked.append(spec))
    Path(suite_file).write_text(SUITE.replace("loss: lsgan}", "loss: lsgna}"))
    with pytest.raises(ConfigError, match="lsgna"):
        run_suite(suite_file, places)
    assert asked == []


def test_published_values_stand_only_beside_their_own_dataset(suite_file: str, places: Places) -> None:
    for size, dataset, recipe, steps in (("small", "digits", "small", 10), ("paper", "afhq", "paper", 20)):
        changes = {"steps": steps, "loss": "hinge"}
        write(places.results, {"fd_judge": 3.0, "unasked": 1.0}, dataset=dataset, recipe=recipe, changes=changes)
        write_suite_table(suite_file, size, places.results)
    small, paper = ((places.results / "tables" / f"two-{size}.md").read_text() for size in ("small", "paper"))
    assert "published" not in small.lower()
    assert "| InfoSCC | Hinge | 3.000 | 1 | 13.08 |" in paper
    assert "| InfoSCC | LSGAN | – | not run (1 of 1) | – |" in paper
    assert "the paper's table 1. They are not comparable digit by digit" in paper
    assert "unasked" not in paper, "only the suite's metrics"


def test_a_metric_that_no_record_has_is_named(suite_file: str, places: Places) -> None:
    Path(suite_file).write_text(SUITE.replace("[fd_judge]", "[fd_judge, fd_jugde]"))
    write(places.results, {"fd_judge": 3.0}, changes={"steps": 10, "loss": "hinge"})
    write_suite_table(suite_file, "small", places.results)
    assert "No run has a value of fd\\_jugde." in (places.results / "tables" / "two-small.md").read_text()


def test_a_cell_recorded_under_two_configurations_gives_two_rows(suite_file: str, places: Places) -> None:
    for version, value in ((1, 3.0), (2, 30.0)):
        write(places.results, {"fd_judge": value}, changes={"steps": 10, "loss": "hinge"}, config={"version": version})
    (table,) = suite_tables(read_records(places.results), [suite_file])
    assert len(table.rows) == 3
    assert sorted(table.rows[i].summary(table.columns[0]).mean for i in (0, 1)) == [3.0, 30.0]
    assert any("configured differently" in note for note in table.notes)


def test_write_tables_adds_the_suites_that_have_records(suite_file: str, places: Places) -> None:
    write(places.results, {"fd_judge": 3.0}, changes={"steps": 10, "loss": "hinge"})
    names = {path.name for path in write_tables(places.results, [suite_file])}
    assert {"two-small.csv", "two-small.tex", "two-small.md", "digits.md", "tables.tex"} <= names
    assert "two-paper.md" not in names
    assert r"\input{two-small.tex}" in (places.results / "tables" / "tables.tex").read_text()
    shipped_names = {path.name for path in write_tables(places.results)}
    assert not any(name.startswith("infoscc-ablation") for name in shipped_names)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("method: infoscc, set: {loss: lsgan}", "method: infoscx", "row 2: unknown method 'infoscx'"),
        ("Loss: LSGAN}", "Los: LSGAN}", r"row 2: labels \['Los', 'Model'\]"),
        ("metrics:", "metric:", "metric: unknown key; did you mean 'metrics'"),
        ("set: {loss: lsgan}", "sett: {loss: lsgan}", "(?s)row 2.*sett: unknown key; did you mean 'set'"),
        ("{FID: 13.08}", "{FIDD: 13.08}", "row 1: published value 'FIDD'"),
        ("seeds: [0, 1]", "seeds: [1, 1]", "a seed is given twice"),
        ("method: infoscc, set: {loss: lsgan}", "method: infoscc, sizes: {smal: {}}", "row 2: no size 'smal'"),
        ("method: infoscc, set: {loss: lsgan}", "method: infoscc, only: [papr]", "row 2: no size 'papr'"),
        ("{loss: lsgan}", "{steps: 5}", "row 2: steps"),
        ("seeds: [0, 1]", "seeds: []", "seeds"),
        ("seeds: [0, 1]", "seeds: [-1]", "seeds"),
    ],
)
def test_a_bad_suite_names_its_file_and_key(suite_file: str, old: str, new: str, message: str) -> None:
    assert SUITE.count(old) == 1
    text = SUITE.replace(old, new)
    Path(suite_file).write_text(text.replace("\ncolumns:", "\nimages: 640\ncolumns:") if "steps" in message else text)
    with pytest.raises(ConfigError, match=message) as error:
        find_suite(suite_file)
    assert "two.yaml" in str(error.value)


def test_an_unknown_suite_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'smoke'"):
        find_suite("smok")


def test_a_suite_of_two_datasets_has_a_table_of_each(
    tmp_path: Path, places: Places, fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(SUITE.replace("dataset: digits", "dataset: [digits, shapes_class]", 1))
    assert [cell.spec.dataset for cell in cells(find_suite(str(path)), "small", [0])] == [
        "digits", "digits", "shapes_class", "shapes_class",
    ]  # fmt: skip
    assert run_suite(str(path), places, seeds=[0]) == 0
    out = capsys.readouterr().out
    assert "cell 3/4: shapes_class, InfoSCC, Hinge, seed 0" in out
    for dataset in ("digits", "shapes_class"):
        table = (places.results / "tables" / f"two-small-{dataset}.csv").read_text()
        assert table.count("InfoSCC") == 2
        assert f"two-small-{dataset}.md" in out


WORKING = """
title: Two learning rates
source: a test
dataset: digits
recipe: small
seeds: [0]
set:
  {steps: 3, batch: 8, width: 4, eval: {n_fake: 40, encoder: null, half_samples: 0, judge: {steps: 2, width: 4}}}
columns: [Rate]
sizes: {small: {}}
rows:
  - {labels: {Rate: high}, method: sngan, set: {lr_G: 2e-4}}
  - {labels: {Rate: absurd}, method: sngan, set: {lr_G: 1e+30}}
"""


def test_workers_give_what_one_process_gives(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rates.yaml").write_text(WORKING)
    results = []
    for workers in (1, 2):
        places = Places(tmp_path / "data", tmp_path / f"results{workers}")
        assert run_suite(str(tmp_path / "rates.yaml"), places, quiet=True, device="cpu", workers=workers) == 1
        assert "rates: 1 done, 1 failed" in capfd.readouterr().out
        results.append({record.run: record.plain["result"] for record in read_records(places.results)})
    assert len(results[0]) == 2
    assert results[0] == results[1]
    monkeypatch.setattr(suite_runs, "submitted", lambda *_: pytest.fail("a cell that has a record needs no job"))
    assert run_suite(str(tmp_path / "rates.yaml"), places, quiet=True, device="cpu", workers=2) == 1
    again = capfd.readouterr().out
    assert "cell 1/2: high, seed 0: done before" in again
    assert "cell 2/2: absurd, seed 0: failed before" in again


def test_workers_by_default() -> None:
    cores = min(os.cpu_count() or 1, 8)
    assert default_workers("infoscc-ablation", "small", "cpu", None) == cores
    assert default_workers("infoscc-ablation", "small", "cpu", 1) == cores
    assert default_workers("infoscc-ablation", "small", "cpu", 2) == 1, "its runs take more than a core each"
    assert default_workers("infoscc-ablation", "paper", "cpu", None) == 1
    assert default_workers("infoscc-ablation", "small", "cuda", None) == 1


# ---- rows, budgets, plans, jobs --------------------------------------------------------------------------------------


def test_a_row_may_differ_between_sizes_or_be_of_one_only(suite_file: str, places: Places) -> None:
    text = SUITE.replace("set: {loss: lsgan}", "set: {loss: lsgan}, sizes: {paper: {loss: lsgan4}}")
    text += "  - {labels: {Model: EigenGAN, Loss: Hinge}, method: eigengan, only: [paper]}\n"
    Path(suite_file).write_text(text)
    suite = find_suite(suite_file)
    assert [cell.spec.changes["loss"] for cell in cells(suite, "small", [0])] == ["hinge", "lsgan"]
    assert [cell.spec.changes.get("loss") for cell in cells(suite, "paper", [0])] == ["hinge", "lsgan4", None]
    changes = {"steps": 10, "loss": "lsgan"}
    write(places.results, {"fd_judge": 3.0}, changes=changes)
    assert len(suite_tables(read_records(places.results), [suite_file])[0].rows) == 2
    write(places.results, {"fd_judge": 3.0}, method="eigengan", dataset="afhq", recipe="paper", changes={"steps": 20})
    (_, paper) = suite_tables(read_records(places.results), [suite_file])
    assert [len(row.done) for row in paper.rows] == [0, 0, 1]


def test_a_run_that_another_suite_asked_for_in_other_words_is_the_row_s(tmp_path: Path) -> None:
    """IC-GAN's recipe for digits has k = 5, so the row that says so and one that says nothing are the same run."""
    suite = find_suite("icgan-k")
    (spec,) = (cell.spec for cell in cells(suite, "small", [1]) if cell.spec.changes.get("k") == 5)
    same = {key: value for key, value in spec.changes.items() if key != "k"}
    places = Places(tmp_path, tmp_path)
    known = resolve(spec, places)
    assert known.config_hash == resolve(dataclasses.replace(spec, changes=same), places).config_hash
    written = write(tmp_path, {"fd_judge": 3.0}, method="icgan", seed=1, changes=same)
    path = record_path(tmp_path, written)
    path.write_text(path.read_text().replace(read_record(path).plain["config_hash"], known.config_hash))
    write(tmp_path, {"fd_judge": 9.0}, method="icgan", seed=1, changes={**same, "k": 7})  # no row's
    write(tmp_path, {"fd_judge": 9.0}, method="icgan", seed=1, changes=same, recipe="paper")
    rows = suite_table(suite, "small", read_records(tmp_path), "digits").rows
    assert [[record.run for record in row.done] for row in rows] == [[], [], [written], []]


def d_images(cell: Cell) -> int:
    """Images that a cell's discriminator sees, by its whole configuration."""
    config = resolve(cell.spec, Places(Path(), Path())).config
    return config.steps * config.batch * config.n_dis


def test_compare_has_every_method_at_one_budget() -> None:
    suite = find_suite("compare")
    assert {row.method for row in suite.rows} == set(method_names())
    for size, images in (("small", 64_000), ("shapes", 64_000), ("gpu", 6_400_000)):
        assert {d_images(cell) for cell in cells(suite, size, [0])} == {images}
    unequal = cells(find_suite("infoscc-attributes"), "paper", [0])
    assert len({d_images(cell) for cell in unequal}) > 1, "without a budget rows may differ, and the check sees it"


def test_a_budget_is_a_whole_number_of_steps(suite_file: str) -> None:
    suite = dataclasses.replace(find_suite(suite_file), images=6400)
    batch = find_method("infoscc").recipe("small", "digits").batch
    assert [cell.spec.changes["steps"] for cell in cells(suite, "small", [0])] == [6400 // batch] * 2
    with pytest.raises(ConfigError, match=f"infoscc sees {batch} images a step on digits"):
        cells(dataclasses.replace(suite, images=6401), "small", [0])


def test_smoke_has_every_method_for_a_few_steps() -> None:
    suite = find_suite("smoke")
    assert {row.method for row in suite.rows} == set(method_names())
    for cell in cells(suite, "small"):
        resolved = resolve(cell.spec, Places(Path(), Path()))
        assert resolved.config.steps <= 50
        assert (resolved.evaluation.n_fake or 0) <= 500


def test_every_suite_has_a_small_size_of_embedded_data_and_several_seeds() -> None:
    embedded = {"digits", "digits_0to4", "digits_5to9", "shapes", "shapes_class", "stacked_digits", "ring2d", "grid2d"}
    for name, suite in list_suites().items():
        assert {cell.spec.dataset for cell in cells(suite, "small")} <= embedded, name
        seeds = {"smoke": 1, "compare": 5}.get(name, 3)  # five: compare's records are the drift gate's baselines
        assert len({cell.spec.seed for cell in cells(suite, "small")}) == seeds, name


def test_the_plan_of_a_suite(suite_file: str, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRuns(monkeypatch)
    monkeypatch.setattr("benchmark.resolve.resolve", fake.resolve)
    text = suite_plan(suite_file, "small", places)
    assert "digits, InfoSCC, Hinge: 2 of 2 to do, about 60 s each (rehearsed)" in text
    assert text.endswith("4 cells, 0 done, 4 to do: about 4.5 min, 4 MB")
    by_two = suite_plan(suite_file, "small", places, workers=2)
    assert by_two.endswith("4 to do: about 2.2 min by 2 workers, 4 MB")
    assert run_suite(suite_file, places, seeds=[0]) == 0
    text = suite_plan(suite_file, "small", places)
    assert "1 of 2 to do" in text
    assert "4 cells, 2 done, 2 to do" in text
    assert run_suite(suite_file, places) == 0
    assert "InfoSCC, Hinge: 2 of 2 done" in suite_plan(suite_file, "small", places)


def test_finished_runs_say_what_the_next_will_cost(
    suite_file: str, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"steps": 10, "loss": "hinge"}
    write(places.results, {"fd_judge": 3.0}, changes=changes)
    (record,) = read_records(places.results)
    fake = FakeRuns(monkeypatch)
    monkeypatch.setattr("benchmark.resolve.resolve", fake.resolve)
    monkeypatch.setattr("test_suite.content_hash", lambda plain: record.plain["config_hash"])
    text = suite_plan(suite_file, "small", places)
    assert "2 of 2 to do, about 1 s each (as 1 finished run)" in text, "its second of training"


def test_a_row_that_cannot_be_rehearsed_is_counted(places: Places) -> None:
    unknown = RowCost(0, "digits", 3, 3, None, 0, "no rehearsal: the disk is too small")
    assert total_text([unknown], 1) == "3 cells, 0 done, 3 to do; 3 of them could not be estimated"


def test_a_real_rehearsal(places: Places, tmp_path: Path) -> None:
    (tmp_path / "rates.yaml").write_text(WORKING)
    text = suite_plan(str(tmp_path / "rates.yaml"), "small", places, device="cpu")
    assert text.count("1 of 1 to do, about") == 2
    assert "(rehearsed)" in text


class Costs:
    """A method whose seconds a step are known, on a clock that stands still between."""

    device = SimpleNamespace(type="cpu")

    def __init__(self, cfg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cfg, self.now = cfg, 0.0
        monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(rehearsal, "stream_for", lambda *_, **__: None)

    def step(self, stream: None, t: int) -> None:
        self.now += self.seconds(t)

    def seconds(self, t: int) -> float:
        first = 50.0 if t == 0 else 0.0
        return first + 1.0 + 3.0 * (t % 4 == 0) + 8.0 * (t % 16 == 0) + 500.0 * (t % self.cfg.period == 0)


def mean_step(method: Any) -> float:
    """What the rehearsal takes for a step's seconds, without data."""
    nothing: Any = None
    return rehearsal.mean_step(rehearsal._Clock(method, nothing), 6)


@dataclasses.dataclass(frozen=True)
class CostConfig:
    batch: int = 8
    steps: int = 1000
    period: int = 300


@pytest.mark.parametrize(
    ("steps", "period"), [(1000, 300), (1000, 7), (999, 500), (2400, 400), (1000, 5000), (30, 16), (4000, 2000)]
)
def test_periodic_work_is_charged_as_often_as_it_is_done(
    monkeypatch: pytest.MonkeyPatch, steps: int, period: int
) -> None:
    method: Any = Costs(CostConfig(steps=steps, period=period), monkeypatch)
    true = sum(method.seconds(t) for t in range(1, steps)) + method.seconds(0) - 50.0
    if period > steps:  # seen at the first step alone, whose other costs are not those of the run
        true += 50.0
    assert mean_step(method) == pytest.approx(true / steps, rel=0.01)
    neighbours = sum(method.seconds(t) for t in range(steps // 2 + 1, steps // 2 + 7)) / 6
    assert neighbours != pytest.approx(true / steps, rel=0.05), "six steps in a row do not tell"
    monkeypatch.setattr(rehearsal, "_StepNumber", lambda t, asked: t)
    assert mean_step(method) != pytest.approx(true / steps, rel=0.05), "nor do unseen periods"


def test_the_plan_charges_t_sne_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "generate", lambda *_: None)
    method: Any = SimpleNamespace(G=SimpleNamespace(eval=lambda: None))
    data: Any = None
    without = EvalConfig(n_fake=1000)
    asked = dataclasses.replace(without, encoder=SimCLRConfig(steps=1, batch=8), chamfer_points=300, tsne_seeds=3)
    costs = [rehearsal.evaluation_seconds(method, cfg, data, n_reference=1000) for cfg in (without, asked)]
    assert costs[0] == pytest.approx(2000 / 5000, abs=0.1), "the judge's rate"
    assert costs[1] - costs[0] == pytest.approx(3 * 2 * 600 / 60, abs=0.1), "seeds, protocols, points"


def test_a_small_step_is_not_taken_for_proportional_to_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Affine(Costs):
        def seconds(self, t: int) -> float:
            return 0.010 + 20e-6 * self.cfg.batch

    built = []

    def again(cfg: Any) -> Any:
        built.append(cfg.batch)
        return Affine(cfg, monkeypatch)

    def estimate(batch: int) -> float:
        built.clear()
        cfg = CostConfig(batch=batch)
        return rehearsal.seconds_a_step(again(dataclasses.replace(cfg, batch=8)), None, again, cfg)  # type: ignore[arg-type]

    assert estimate(256) == pytest.approx(0.010 + 20e-6 * 256)
    assert built == [8, 32, 128, 256]
    assert estimate(8) == pytest.approx(0.010 + 20e-6 * 8)
    assert 32 * estimate(8) > 20 * estimate(256), "taken as proportional it would be far off"
    assert estimate(10**6) == pytest.approx(20.01, rel=0.3)
    assert built[-1] < 10**5, "what would take longer than a second is not timed"


class FakeJob:
    """A job that is over when it is asked the second time."""

    def __init__(self, executor: FakeExecutor, work: Any) -> None:
        self.executor, self.work, self.asked, self.cancelled = executor, work, 0, False

    def done(self) -> bool:
        self.asked += 1
        if self.asked == 2:
            self.executor.running -= 1
        return self.asked >= 2

    def result(self) -> Outcome:
        return Outcome("done", f"without a record {self.work}", 0)

    def cancel(self, check: bool) -> None:
        self.cancelled = True


class FakeExecutor:
    """Counts the jobs that run at once."""

    def __init__(self) -> None:
        self.running, self.most, self.jobs = 0, 0, []  # type: ignore[var-annotated]

    def submit(self, work: Any) -> FakeJob:
        self.running += 1
        self.most = max(self.most, self.running)
        self.jobs.append(FakeJob(self, work))
        return self.jobs[-1]

    def submit_array(self, work: Any) -> list[FakeJob]:
        return [self.submit(one) for one in work]


class LocalExecutor(FakeExecutor):
    """Named as submitit's."""


@pytest.mark.parametrize(("executor", "most"), [(LocalExecutor(), 2), (FakeExecutor(), 5)])
def test_local_jobs_are_bounded_here_and_slurms_by_slurm(executor: FakeExecutor, most: int) -> None:
    executor_of_submitit: Any = executor
    work: Any = list("abcde")
    if most == 5:
        work = work[:5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: None)
        found = dict(submitted(work, executor_of_submitit, 2))
    assert {i: outcome.text[-1] for i, outcome in found.items()} == dict(enumerate("abcde"))
    assert executor.most == most
    assert not any(job.cancelled for job in executor.jobs)


def test_what_still_runs_is_cancelled_when_the_suite_stops() -> None:
    executor: Any = LocalExecutor()
    work: Any = list("abcde")
    outcomes = submitted(work, executor, 3)
    next(outcomes)
    outcomes.close()
    assert [job.cancelled for job in executor.jobs].count(True) == len(executor.jobs) - 1 == 3


def test_a_preempted_job_is_queued_again_as_it_was(places: Places) -> None:
    work = RunCell(Cell(0, RunSpec("sngan", "digits", 0)), "run", places, "cpu", True, 1)
    again = work.checkpoint()
    assert again.function == work
    assert (again.args, again.kwargs) == ((), {})


def test_a_local_job_sees_the_gpus_of_its_suite(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(suite_runs, "_run_cell", lambda work: seen.append(os.environ.get("CUDA_VISIBLE_DEVICES")))
    for value in ("1,3", None):
        monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        RunCell(Cell(0, RunSpec("sngan", "digits", 0)), "run", places, "cpu", True, 1, gpus=value)()
    assert seen == ["1,3", None]


# ---- the end of a suite, the end of its jobs ------------------------------------------------------------------------


def until(true: Callable[[], Any], seconds: float) -> bool:
    """Whether it becomes true within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return bool(true())


def processes_of(mark: str) -> list[int]:
    """Living processes that have inherited this environment variable; of one that is over, nothing can be read."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"MARK={mark}\0".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")

LONG = WORKING.replace("steps: 3,", "steps: 250, checkpoint_every: 10, log_every: 10,")
LONG = LONG[: LONG.index("  - {labels: {Rate: absurd}")]


@needs_proc
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow)]
)
def test_a_suite_that_is_ended_leaves_no_job_and_is_continued(
    tmp_path: Path, places: Places, capfd: pytest.CaptureFixture[str], number: signal.Signals, status: int
) -> None:
    (tmp_path / "rates.yaml").write_text(LONG)
    words = ["suite", str(tmp_path / "rates.yaml"), "--workers", "2", "--quiet", "--device", "cpu"]
    suite = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *words, "--results", str(places.results)],
        env=environment(MARK=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell starts what ends with &
    )
    began = until(lambda: len(list(places.results.glob("runs/digits/*/*/checkpoint.pt"))) == 1, 300)
    n_jobs = len(processes_of(str(tmp_path)))
    suite.send_signal(number)
    assert suite.wait(timeout=60) == status
    assert began
    assert n_jobs >= 3, "the suite, submitit's process and the run's"
    assert until(lambda: not processes_of(str(tmp_path)), 20)
    assert not read_records(places.results), "it was stopped on the way"
    assert not list((places.results / "runs" / suite_runs.JOBS).glob("*.lock"))
    if number == signal.SIGTERM:
        assert "continues from the last checkpoint" in capfd.readouterr().err
        assert run_suite(str(tmp_path / "rates.yaml"), places, quiet=True, device="cpu") == 0
        (record,) = read_records(places.results)
        assert (record.status, record.plain["result"]["steps"]) == ("done", 250)


JOB = """
import subprocess, sys, time
from pathlib import Path
from benchmark.suite_runs import _end_with_suite
if sys.argv[1] != "-":
    _end_with_suite(Path(sys.argv[1]))
subprocess.run(["sleep", "600"])
"""


@needs_proc
def test_a_job_ends_with_its_helpers_when_its_suites_lock_is_free(places: Places, tmp_path: Path) -> None:
    watched, unwatched = (str(tmp_path / name) for name in ("watched", "unwatched"))
    jobs = []
    try:
        with suite_runs._sign_of_life(places) as alive:
            for mark, name in ((watched, str(alive)), (unwatched, "-")):
                jobs.append(subprocess.Popen([sys.executable, "-c", JOB, name], env=environment(MARK=mark)))
            started = until(lambda: len(processes_of(watched)) == len(processes_of(unwatched)) == 2, 120)
            assert started, "a job and its helper each"
            time.sleep(1.2)
            assert len(processes_of(watched)) == 2, "while the suite is there it stays"
        assert until(lambda: not processes_of(watched), 20)
        assert jobs[0].wait() in (143, -signal.SIGTERM)
        assert len(processes_of(unwatched)) == 2, "the check sees a job that goes on"
    finally:
        for left in (*processes_of(watched), *processes_of(unwatched)):
            os.kill(left, signal.SIGKILL)
        for job in jobs:
            job.wait()


def test_only_jobs_of_this_machine_watch_the_suite(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    for executor, n_watching in ((LocalExecutor(), 2), (FakeExecutor(), 0)):
        work = [RunCell(Cell(0, RunSpec("sngan", "digits", i)), "run", places, "cpu", True, 1) for i in range(2)]
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        list(suite_runs._by_jobs(work, ["a", "b"], executor, 2, places))  # type: ignore[arg-type]
        assert sum(job.work.alive is not None for job in executor.jobs) == n_watching


class Dies(RunCell):
    """A job whose process is gone without a word."""

    def __call__(self) -> Outcome:
        os._exit(9)


def test_a_job_that_dies_is_a_failed_cell(places: Places) -> None:
    work = Dies(Cell(0, RunSpec("sngan", "digits", 0)), "run", places, "cpu", True, 1)
    ((i, outcome),) = submitted([work], job_executor("local", places, 1, {}), 1)
    assert (i, outcome.kind, outcome.exit_code) == (0, "failed", 1)
    assert "stopped, without a record" in outcome.text
    assert str(places.results) in outcome.text, "it says where the log is"


def test_slurm_options_go_to_sbatch(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sbatch", "srun"):
        script = f'#!/bin/sh\nfor last; do :; done\ncp "$last" {tmp_path}/script\necho "Submitted batch job 7"\n'
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    executor = job_executor("slurm", places, 3, {"partition": "gpu", "time": 60})
    work = [RunCell(Cell(0, RunSpec("sngan", "digits", i)), "run", places, "cpu", True, 1) for i in range(5)]
    executor.submit_array(work)
    script = (tmp_path / "script").read_text()
    for line in ("--array=0-4%3", "--partition=gpu", "--time=60", "--open-mode=append", "--signal="):
        assert line in script
    with pytest.raises(ConfigError, match="partitionn"):
        job_executor("slurm", places, 3, {"partitionn": "gpu"})


def test_slurm_needs_slurm_and_options_need_it(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="no sbatch"):
        job_executor("slurm", places, 1, {})
    with pytest.raises(ConfigError, match="options of sbatch: partition"):
        job_executor("local", places, 1, {"partition": "gpu"})
