"""Tables of a suite: what its rows cost, beside what they found."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from made_records import write as write_values
from matplotlib.axes import Axes

from benchmark.core import paths
from benchmark.core.config import content_hash, merge
from benchmark.core.errors import ConfigError
from benchmark.evaluation.value import MetricValue
from benchmark.report.page_tables import table_view
from benchmark.report.suite_figures import suite_figures
from benchmark.report.suite_tables import suite_table, suite_tables
from benchmark.report.table_files import write_suite_table
from benchmark.report.tables import dataset_table
from benchmark.runs.records import read_records, write_record
from benchmark.runs.suites.suite import changes_of, find_suite

pytestmark = pytest.mark.usefixtures("quick_environment")

SUITE = """
title: Two losses
source: made up
dataset: digits
recipe: small
seeds: [0, 1]
columns: [Loss, Model]
metrics: [fd_judge]
sizes:
  small: {}
  both: {dataset: [digits, shapes]}
rows:
  - {labels: {Loss: Hinge, Model: InfoSCC}, method: infoscc, set: {loss: hinge}}
  - {labels: {Loss: LSGAN, Model: InfoSCC}, method: infoscc, set: {loss: lsgan}}
"""


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "two.yaml"
    path.write_text(SUITE)
    return str(path)


def write(results: Path, seed: int, seconds: float, *, dataset: str = "digits", **result: Any) -> None:
    """A record of the hinge row: 100 steps of 64 images at two steps a second."""
    config = {"loss": "hinge", "dataset": dataset}
    done = {"steps": 100, "images_seen": 6400, "parameters": {"G": 10, "D": 20}, "flops_per_step": 5_000.0, **result}
    done["values"] = [MetricValue("fd_judge", "FD-judge", 3.0, "lower", {"n_fake": 100}).to_dict()]
    write_record(
        results,
        f"{dataset}-infoscc-small-s{seed}-{content_hash(config)[:8]}",
        status="done",
        reason="",
        identity={
            "method": "infoscc",
            "dataset": dataset,
            "recipe": "small",
            "seed": seed,
            "changes": {"loss": "hinge"},
            "config": config,
            "config_hash": content_hash(config),
        },
        result=done,
        time={"training_s": seconds, "stages_s": 0.0, "evaluation_s": 25.0, "steps_per_s": 2.0, "peak_memory_mb": 300},
        device={"device": "cpu", "threads": 1, "ranks": 1},
    )


def read(results: Path, name: str) -> list[dict[str, str]]:
    with open(results / "tables" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_suite_has_a_table_of_costs(suite: str, tmp_path: Path) -> None:
    write(tmp_path, 0, 50.0)
    write(tmp_path, 1, 100.0)
    written = {path.name for path in write_suite_table(suite, "small", tmp_path)}
    forms = ("csv", "tex", "md")
    assert written == {f"two-small{part}.{form}" for part in ("", "-cost") for form in forms}
    hinge, lsgan = read(tmp_path, "two-small-cost")
    numbers = {name: float(text) for name, text in hinge.items() if name not in ("Loss", "Model", "Machine")}
    assert numbers == pytest.approx(
        {
            "Generator steps": 100,
            "Images seen by D": 6400,
            "Parameters": 30,
            "FLOPs a step": 5000,
            "s a step": 0.5,
            "Images a s": 128,
            "Training s": 75,
            "Stages s": 0,
            "Evaluation s": 25,
            "Evaluation share": (25 / 75 + 25 / 125) / 2,
            "Peak memory MB": 300,
        }
    )
    assert (hinge["Loss"], hinge["Model"]) == ("Hinge", "InfoSCC")
    assert hinge["Machine"].endswith("1 threads, 1 ranks")
    assert (lsgan["Loss"], {text for name, text in lsgan.items() if name not in ("Loss", "Model")}) == ("LSGAN", {""})
    page = (tmp_path / "tables" / "two-small-cost.md").read_text()
    assert page.startswith("# Two losses: digits, recipe small: what it cost")
    assert "| Hinge | InfoSCC | 100 | 6,400 | 30 | 5,000 | 0.5000 | 128 |" in page


def test_costs_of_another_dataset_are_a_table_of_their_own(suite: str, tmp_path: Path) -> None:
    write(tmp_path, 0, 50.0)
    write(tmp_path, 0, 800.0, dataset="shapes")
    write_suite_table(suite, "both", tmp_path)
    seconds = [read(tmp_path, f"two-both-{dataset}-cost")[0]["Training s"] for dataset in ("digits", "shapes")]
    assert seconds == ["50", "800"]


PUBLISHED = """
published: {dataset: digits, columns: [FID], source: table 1, protocol: another network.}
published_also:
  - {dataset: shapes, columns: [FID, IS], source: table 2, protocol: one more.}
"""


def table_of(suite: str, results: Path, dataset: str) -> Any:
    return suite_table(find_suite(suite), "both", read_records(results), dataset)


@pytest.mark.parametrize(("protocol", "shown"), [("ltgan", True), ("icgan", False), ("suite", False)])
def test_the_best_of_the_runs_is_shown_where_the_paper_reports_it(
    suite: str, tmp_path: Path, protocol: str, shown: bool
) -> None:
    """Only the protocol that says so, and only of Frechet distances; the mean stays what the columns give."""
    for seed, value in enumerate((7.0, 3.0, 5.0)):
        write_values(tmp_path, {"fd_judge": value, "odd": 1.0}, seed=seed, changes={"loss": "hinge"}, protocol=protocol)
    table = table_of(suite, tmp_path, "digits")
    assert table.extra_names == (("FD-judge, best run",) if shown else ())
    assert [row.extras for row in table.rows] == ([("3",), ("–",)] if shown else [(), ()])
    assert table.rows[0].summary(table.columns[0]).mean == 5.0
    assert any(note.startswith("Best run") for note in table.notes) == shown
    head = next((head for head in table_view(table, "digits").heads if head.text == "FD-judge, best run"), None)
    assert (head is not None) == shown
    assert head is None or not head.published, "it is ours"


def test_a_source_may_report_several_datasets(suite: str, tmp_path: Path) -> None:
    text = Path(suite).read_text().replace("\nrows:", PUBLISHED + "rows:")
    text = text.replace("set: {loss: hinge}}", "set: {loss: hinge}, published: {FID: 1.5}, PLACE}")
    Path(suite).write_text(text.replace("PLACE", "published_also: {shapes: {IS: 9.25}}"))
    for dataset in ("digits", "shapes"):
        write_values(tmp_path, {"fd_judge": 3.0}, changes={"loss": "hinge"}, dataset=dataset)
    digits, shapes = (table_of(suite, tmp_path, dataset) for dataset in ("digits", "shapes"))
    assert (digits.extra_names, digits.rows[0].extras) == (("FID (published)",), ("1.5",))
    assert (shapes.extra_names, shapes.rows[0].extras) == (("FID (published)", "IS (published)"), ("–", "9.25"))
    assert digits.rows[1].extras == ("–",)
    assert "table 2" in shapes.notes[-1]


NOISE = """
title: Two methods
source: made up
dataset: digits
recipe: small
seeds: [0]
columns: [Model, Wrong labels]
plot: Wrong labels
metrics: [control_accuracy_judge, label_agreement_judge, fd_judge]
sizes: {small: {}}
rows:
  - {labels: {Model: A, Wrong labels: 0 %}, method: cgan, set: {label_noise: 0.0}}
  - {labels: {Model: A, Wrong labels: 40 %}, method: cgan, set: {label_noise: 0.4}}
  - {labels: {Model: B, Wrong labels: 0 %}, method: sngan, set: {steps: 1}}
  - {labels: {Model: B, Wrong labels: 40 %}, method: sngan, set: {steps: 2}}
"""


def test_a_run_that_was_scored_again_is_one_run_of_its_row(tmp_path: Path) -> None:
    """As `eval RUNFOLDER` leaves it once a file of weights is there: the same hash and seed, another name, one change.

    The first evaluation lacked Inception's weights, the second Chamfer's encoder.
    """
    suite = find_suite("infoscc-ablation")
    changes = changes_of(suite, "paper", suite.rows[1], "afhq")
    asked = {"dataset": "afhq", "recipe": "paper", "config_hash": "a" * 64}
    first: dict[str, float | None] = {"fd_inception": None, "chamfer_tsne_paper": 4000.0}
    again: dict[str, float | None] = {"fd_inception": 13.0, "chamfer_tsne_paper": None}
    late = merge(changes, {"eval": {"missing_weights": "unavailable"}})
    for seed in (0, 1):
        write_values(tmp_path, first, seed=seed, changes=changes, utc="2026-01-01T00:00:00+00:00", **asked)
    newer = {"changes": changes, "utc": "2026-01-02T00:00:00+00:00", **asked}
    write_values(tmp_path, again, seed=0, again="-eval-1", **newer)
    table = suite_table(suite, "paper", read_records(tmp_path), "afhq")
    row = table.rows[1]
    assert row.runs == "2, not run (1 of 3)"
    assert not any(record.run.endswith("-eval-1") for record in row.records), "it has the folder of the run"
    found = {column.id: list(row.by_seed(column).items()) for column in table.columns}
    assert found["fd_inception"] == [(0, 13.0)]
    assert found["chamfer_tsne_paper"] == [(0, 4000.0), (1, 4000.0)], "a number that is missing now is kept"
    write_values(tmp_path, again, seed=1, again="-eval-1", **{**newer, "changes": late})
    again["fd_inception"] = 14.0
    write_values(tmp_path, again, seed=1, again="-eval-2", **{**newer, "utc": "2026-01-03T00:00:00+00:00"})
    for whole in (
        suite_table(suite, "paper", read_records(tmp_path), "afhq"),
        dataset_table("afhq", read_records(tmp_path)),
    ):
        (distance,) = [column for column in whole.columns if column.id == "fd_inception"]
        (row,) = [row for row in whole.rows if row.records]
        assert row.by_seed(distance) == {0: 13.0, 1: 14.0}, "the newest number of each seed"
        assert len(row.done) == 2


def test_accuracies_of_both_kinds_share_a_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is given labels has control accuracy, one that is given images has label agreement."""
    path = tmp_path / "noise.yaml"
    path.write_text(NOISE)
    suite = find_suite(str(path))
    for row, value in zip(suite.rows, (0.9, 0.5, 0.8, 0.7)):
        id = "control_accuracy_judge" if row.method == "cgan" else "label_agreement_judge"
        write_values(tmp_path, {id: value, "fd_judge": 2.0}, method=row.method, changes=row.set)
    table = suite_table(suite, "small", read_records(tmp_path), "digits")
    drawn: list[tuple[str, Any]] = []
    monkeypatch.setattr(Axes, "errorbar", lambda axes, x, y, *_, label, **__: drawn.append((label, dict(zip(x, y)))))
    named: list[str] = []
    monkeypatch.setattr(Axes, "set_ylabel", lambda axes, name, **__: named.append(name))
    assert set(suite_figures(table)) == {"plot"}
    assert drawn[:2] == [("A", {0: 0.9, 40: 0.5}), ("B", {0: 0.8, 40: 0.7})]
    assert len(drawn) == 4, "the distance has a panel of its own"
    assert len(named) == 2


def test_a_label_that_is_no_number_has_no_place_on_an_axis(tmp_path: Path) -> None:
    path = tmp_path / "noise.yaml"
    path.write_text(NOISE.replace("40 %", "many"))
    with pytest.raises(ConfigError, match="'many' is no number"):
        find_suite(str(path))


def test_published_runs_that_suites_share_are_in_the_table_of_each() -> None:
    """They were asked for in the words of one suite, and before there were published evaluators."""
    records = read_records(paths.REFERENCE)
    for table in suite_tables(records, ["icgan-k", "ltgan-lambda", "ltgan-sigma", "ltgan-auxiliary"]):
        assert [len(row.done) for row in table.rows] == [3] * len(table.rows), table.name
