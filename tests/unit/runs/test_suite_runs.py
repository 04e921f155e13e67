"""A suite's runs: what is done is skipped, what fails is survived, and the table is written."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from made_suites import SUITE, FakeRuns

from benchmark.core.errors import BusyError, ConfigError, RunFailed
from benchmark.report.table_files import write_suite_table
from benchmark.runs.records import read_records
from benchmark.runs.spec import Paths
from benchmark.runs.suites import running as suite_runs
from benchmark.runs.suites.suite import cells, find_suite

pytestmark = pytest.mark.usefixtures("quick_environment")


def run_suite(name: str, paths: Paths, **how: Any) -> int:
    """As `python -m benchmark suite` does: run what is not done, then write the tables."""
    status = suite_runs.run_suite(name, paths, **how)
    print(*write_suite_table(name, "small", paths.results))
    return status


ALL = [("hinge", 0), ("lsgan", 0), ("hinge", 1), ("lsgan", 1)]


def test_a_suite_runs_every_cell_and_writes_its_table(
    suite_file: str, paths: Paths, fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_suite(suite_file, paths) == 0
    assert fake.asked == ALL
    out = capsys.readouterr().out
    assert "two, small: 4 cells, 0 done, 4 to do: about 4.5 min, 4 MB" in out, "4 x 60 s, and the stage once"
    assert "cell 1/4: InfoSCC, Hinge, seed 0" in out
    assert "two: 4 done" in out
    rows = list(csv.DictReader((paths.results / "tables" / "two-small.csv").open()))
    assert [(row["Model"], row["Loss"], row["FD-judge mean"], row["FD-judge n"]) for row in rows] == [
        ("InfoSCC", "Hinge", "10.5", "2"),
        ("InfoSCC", "LSGAN", "10.5", "2"),
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_options_of_sbatch_are_refused_for_jobs_of_this_machine(
    suite_file: str, paths: Paths, fake: FakeRuns, workers: int
) -> None:
    with pytest.raises(ConfigError, match=r"(?s)options of sbatch: partition.*use --executor slurm"):
        run_suite(suite_file, paths, workers=workers, slurm={"partition": "gpu"})
    assert fake.asked == []


def test_a_stopped_suite_continues_where_it_was(suite_file: str, paths: Paths, fake: FakeRuns) -> None:
    fake.errors[("hinge", 1)] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite_file, paths)
    assert fake.asked == ALL[:3]
    fake.asked, fake.errors = [], {}
    assert run_suite(suite_file, paths) == 0
    assert fake.asked == ALL[2:], "what has a record is not run again"
    assert run_suite(suite_file, paths) == 0
    assert fake.asked == ALL[2:]


def test_a_failed_cell_is_kept_and_the_suite_goes_on(
    suite_file: str, paths: Paths, fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.errors[("lsgan", 0)] = RunFailed("non-finite loss at step 3")
    assert run_suite(suite_file, paths) == 1
    assert fake.asked == ALL
    assert "two: 3 done, 1 failed" in capsys.readouterr().out
    text = (paths.results / "tables" / "two-small.md").read_text()
    assert "| InfoSCC | LSGAN | 11.00 | 1, failed (1 of 2) |" in text
    assert "seed 0: non-finite loss at step 3" in (paths.results / "tables" / "two-small.csv").read_text()
    assert run_suite(suite_file, paths) == 1, "a failure of before is still a failure"
    assert fake.asked == ALL, "and is not run again by itself"


def test_stop_ends_at_the_first_failure(suite_file: str, paths: Paths, fake: FakeRuns) -> None:
    fake.errors[("lsgan", 0)] = RunFailed("non-finite loss at step 3")
    assert run_suite(suite_file, paths, stop=True) == 1
    assert fake.asked == ALL[:2]
    text = (paths.results / "tables" / "two-small.md").read_text()
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
    paths: Paths,
    fake: FakeRuns,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
    kind: str,
) -> None:
    fake.errors[("hinge", 0)] = error
    assert run_suite(suite_file, paths) == status
    assert fake.asked == ALL
    assert len(read_records(paths.results)) == 3
    assert f"3 done, 1 {kind}" in capsys.readouterr().out


def test_a_bad_cell_is_reported_before_anything_runs(
    suite_file: str, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("benchmark.runs.run.run", lambda resolved, *_, **__: asked.append(resolved))
    Path(suite_file).write_text(SUITE.replace("loss: lsgan}", "loss: lsgna}"))
    with pytest.raises(ConfigError, match="lsgna"):
        run_suite(suite_file, paths)
    assert asked == []


def test_a_suite_of_two_datasets_has_a_table_of_each(
    tmp_path: Path, paths: Paths, fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(SUITE.replace("dataset: digits", "dataset: [digits, shapes_class]", 1))
    assert [cell.spec.dataset for cell in cells(find_suite(str(path)), "small", [0])] == [
        "digits", "digits", "shapes_class", "shapes_class",
    ]  # fmt: skip
    assert run_suite(str(path), paths, seeds=[0]) == 0
    out = capsys.readouterr().out
    assert "cell 3/4: shapes_class, InfoSCC, Hinge, seed 0" in out
    for dataset in ("digits", "shapes_class"):
        table = (paths.results / "tables" / f"two-small-{dataset}.csv").read_text()
        assert table.count("InfoSCC") == 2
        assert f"two-small-{dataset}.md" in out
