"""Two methods, or two runs, against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_records import write

import benchmark
from benchmark.__main__ import main
from benchmark.core.errors import ConfigError, UserError
from benchmark.core.files import write_text
from benchmark.report.head_to_head import head_to_head
from benchmark.runs.records import read_records

pytestmark = pytest.mark.usefixtures("quick_environment")
SEEDS = range(4)


def made(results: Path, method: str, fd: float, *, seed: int = 0, **changes: float) -> list[str]:
    """Four runs of a method whose distances scatter by 5 % around `fd`."""
    rng = np.random.default_rng(seed)
    return [
        write(results, {"fd_judge": fd * float(rng.lognormal(0, 0.05)), "recall_judge": 0.5 + 0.01 * one},
              method=method, seed=one, changes=dict(changes))
        for one in SEEDS
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """SNGAN twice as far as CR-GAN, and DCGAN between."""
    for k, (method, fd) in enumerate([("sngan", 20.0), ("crgan", 10.0), ("dcgan", 15.0)]):
        made(tmp_path, method, fd, seed=k)
    return tmp_path


def test_the_better_method_is_named_with_ratio_interval_and_seeds(folder: Path) -> None:
    found = head_to_head("sngan", "crgan", folder)
    ((column, test, _), (_, recall, _)) = found.tests
    assert column.id == "fd_judge"
    assert test is not None
    assert test.verdict == "worse"
    assert test.n == (4, 4)
    assert np.exp(test.low) < np.exp(test.difference) < np.exp(test.high)
    assert np.exp(test.difference) == pytest.approx(2, rel=0.1)
    assert recall is not None
    assert recall.verdict in ("equal", "inconclusive"), "the same values"
    text = found.text()
    assert test.p < 0.001
    assert "< 0.001  crgan is better" in text
    assert "seeds 0, 1, 2, 3" in text
    assert "method: sngan -> crgan" in text
    swapped = head_to_head("crgan", "sngan", folder)
    assert "crgan is better" in swapped.text()
    assert swapped.tests[0][1] is not None
    assert swapped.tests[0][1].difference == pytest.approx(-test.difference)


def test_the_recipe_as_it_is_comes_before_a_variant_with_more_seeds(folder: Path) -> None:
    for path in (folder / "records").glob("digits-sngan-small-s[23]-*"):
        path.unlink()
    made(folder, "sngan", 5.0, seed=7, lr_G=0.05)
    found = head_to_head("sngan", "dcgan", folder)
    assert [row.done[0].changes for row in found.rows] == [{}, {}]
    assert found.others == (1, 0)
    assert "not used: 1 other configuration of sngan" in found.text()


def test_rows_of_the_table_lend_strength(folder: Path) -> None:
    """With all three methods as with two: the same estimate, another interval."""
    alone = folder / "two"
    for k, (method, fd) in enumerate([("sngan", 20.0), ("crgan", 10.0)]):
        made(alone, method, fd, seed=k)
    three, two = head_to_head("sngan", "crgan", folder).tests[0][1], head_to_head("sngan", "crgan", alone).tests[0][1]
    assert three is not None
    assert two is not None
    assert three.difference == pytest.approx(two.difference)
    assert three.high - three.low != two.high - two.low, "the third row's scatter counts"


def test_one_seed_is_no_test(tmp_path: Path) -> None:
    for method in ("sngan", "crgan"):
        write(tmp_path, {"fd_judge": 3.0}, method=method)
    found = head_to_head("sngan", "crgan", tmp_path)
    assert found.tests[0][1] is None
    assert "two seeds" in found.text()


def test_a_metric_of_one_method_alone_is_said(folder: Path) -> None:
    write(folder, {"fd_judge": 5.0}, method="mgan", n_fake=77)
    assert "only one has it by this protocol" in head_to_head("sngan", "mgan", folder).text()


def run_folder(results: Path, run: str, method: str) -> Path:
    """The folder of a run that has a record."""
    folder = results / "runs" / "digits" / method / "-".join(run.split("-")[-3:])
    write_text(folder / "config.yaml", "{}")
    return folder


def test_two_run_folders_are_their_configurations(tmp_path: Path) -> None:
    slow, fast = made(tmp_path, "sngan", 20.0, steps=10), made(tmp_path, "sngan", 10.0, seed=1, steps=20)
    a, b = run_folder(tmp_path, slow[0], "sngan"), run_folder(tmp_path, fast[2], "sngan")
    assert {record.run for record in read_records(tmp_path)} >= {slow[0], fast[2]}
    found = benchmark.compare(a, b)
    assert found.names == (a.name, b.name)
    test = found.tests[0][1]
    assert test is not None
    assert (test.verdict, test.n) == ("worse", (4, 4))
    assert "config.steps: 10 -> 20" in found.text()
    with pytest.raises(UserError, match="same configuration"):
        benchmark.compare(a, run_folder(tmp_path, slow[1], "sngan"))
    with pytest.raises(UserError, match="leave it out"):
        benchmark.compare(a, b, dataset="digits")
    with pytest.raises(UserError, match="one is a run's folder"):
        benchmark.compare(a, "sngan")


def test_what_cannot_be_compared_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'sngan'"):
        head_to_head("snagn", "crgan", folder)
    with pytest.raises(ConfigError, match="compared with another"):
        head_to_head("sngan", "sngan", folder)
    with pytest.raises(UserError, match="METHOD='sngan biggan' DATASET=digits"):
        head_to_head("sngan", "biggan", folder)
    assert main(["compare", "sngan", "crgan", "--dataset", "shapes", "--results", str(folder)]) == 2
    assert "no dataset has finished runs of both" in capsys.readouterr().err


def test_the_published_runs_are_compared_where_there_are_no_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "sngan", "crgan", "--dataset", "digits"]) == 0
    text = capsys.readouterr().out
    assert "table compare-small, records of results/reference" in text
    assert "crgan is better" in text
