import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from benchmark.core import paths
from benchmark.core.config import content_hash
from benchmark.core.errors import UserError
from benchmark.core.registry import method_names
from benchmark.core.stats import holm
from benchmark.drift import gates
from benchmark.drift.model_baseline import accept_model, model_baseline_path, read_model_baseline, select
from benchmark.drift.model_comparison import compare
from benchmark.drift.model_gate import model_gate
from benchmark.drift.model_report import ModelReport
from benchmark.drift.statistics import (
    DriftVerdict,
    Settings,
    holm_levels,
    judge,
    limit,
    p_values,
    power,
    practical_margin,
    seeds_needed,
)
from benchmark.evaluation.value import MetricValue
from benchmark.runs.records import read_records
from benchmark.runs.suites.suite import find_suite, rows_of

BETTER = {
    "fd_judge": "lower",
    "kd_judge": "lower",
    "reverse_kl_judge": "lower",
    "control_accuracy_judge": "higher",
    "modes": "higher",
    "odd": None,
}
ENVIRONMENT: dict[str, Any] = {"commit": "c0ffee", "cpu": "one", "libraries": {"torch": "2.15.0"}}


def write(
    results: Path,
    seed: int,
    values: Mapping[str, float | None] | None,
    *,
    config: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    protocol: Mapping[str, Any] | None = None,
    libraries: Mapping[str, str] | None = None,
    weights: str | None = None,
) -> None:
    """A run's record; values None: it failed. weights: their hash; None: of their own for each seed and value."""
    config = {"version": 1, "steps": 100, **(changes or {}), **(config or {})}
    listed = [
        MetricValue(id, id.upper(), value, BETTER[id], {"n_fake": 2000, **(protocol or {})},  # type: ignore[arg-type]
              details={"sd_half_sampling": 0.125}).to_dict()
        for id, value in (values or {}).items()
    ]  # fmt: skip
    digest = content_hash(config)
    plain = {
        "schema": 1, "run": f"digits-sngan-small-s{seed}-{digest[:8]}", "method": "sngan", "dataset": "digits",
        "recipe": "small", "seed": seed, "status": "failed" if values is None else "done",
        "reason": "non-finite loss at step 7" if values is None else "", "changes": dict(changes or {}),
        "config": config, "config_hash": digest,
        "result": None if values is None else {"values": listed, "weights_sha256": weights or f"{seed} {values}"},
        "environment": {**ENVIRONMENT, "libraries": dict(libraries or ENVIRONMENT["libraries"])},
    }  # fmt: skip
    folder = results / "records"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{plain['run']}.json").write_text(json.dumps(plain))


def write_all(results: Path, id: str, values: Sequence[float | None], first_seed: int = 0, **about: Any) -> None:
    for seed, value in enumerate(values, first_seed):
        write(results, seed, None if value is None else {id: value}, **about)


def run_gate(tmp_path: Path, id: str, old: Sequence[float], new: Sequence[float | None], **about: Any) -> ModelReport:
    """Accept `old` and compare `new` with it."""
    write_all(tmp_path / "old", id, old)
    write_all(tmp_path / "new", id, new, first_seed=10, **about)
    path = accept_model("test", "sngan", "digits", tmp_path / "old", baselines=tmp_path, commit=lambda: "abc")
    baseline = read_model_baseline(path)
    return compare(baseline, select(read_records(tmp_path / "new"), "sngan", "digits", like=baseline))


def verdict_of(report: ModelReport, id: str) -> DriftVerdict:
    return next(row.verdict for row in report.rows if row.id == id)


REFERENCE = paths.REFERENCE
STEADY = [10.0, 10.05, 9.95, 10.02, 9.98]


def test_the_baselines_configuration_may_be_asked_for_in_other_words(tmp_path: Path) -> None:
    write_all(tmp_path / "old", "fd_judge", STEADY)
    baseline = read_model_baseline(
        accept_model("test", "sngan", "digits", tmp_path / "old", baselines=tmp_path, commit=lambda: "abc")
    )
    write_all(tmp_path / "new", "fd_judge", STEADY, first_seed=10, config={"published": "files"})  # today's default
    for path in (tmp_path / "old" / "records").glob("*.json"):
        plain = json.loads(path.read_text()) | {"changes": {"eval": {"evaluators": "local"}}}
        (tmp_path / "new" / "records" / path.name).write_text(json.dumps(plain))
    runs = select(read_records(tmp_path / "new"), "sngan", "digits", like=baseline)
    assert {run.config_hash for run in runs} == {baseline.config_hash}


# ---- the statistics -------------------------------------------------------------------------------------------------


def simulated(n_trials: int, m: int, n_old: int, n_new: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Differences of means and sample sds of normal runs with sd 1: [trials, m] each."""
    rng = np.random.default_rng(3)
    old, new = rng.standard_normal((n_old, n_trials, m)), rng.standard_normal((n_new, n_trials, m)) + shift
    return new.mean(axis=0) - old.mean(axis=0), old.std(axis=0, ddof=1)


def alarm_rate(sd_factor: float = 1.0, family: float = 0.05, holm: bool = True) -> float:
    """How often any of 8 unchanged metrics is told apart; 5 baseline and 3 new runs."""
    delta, sd = simulated(20_000, 8, 5, 3)
    p = p_values(delta, sd * sd_factor, 5, 3)
    levels = holm_levels(p, family) if holm else np.full_like(p, family)
    return float((p <= levels).any(axis=1).mean())


def test_false_alarms_of_a_family_are_as_rare_as_promised() -> None:
    assert 0.02 < alarm_rate() < 0.08
    assert alarm_rate() == pytest.approx(1 - (1 - 0.05 / 8) ** 8, abs=0.006), "independent metrics"
    assert alarm_rate(holm=False) > 0.25, "every metric at 5 %"
    assert alarm_rate(sd_factor=0.7) > 0.08, "a spread taken for smaller"


def test_three_standard_deviations_of_few_seeds_are_no_rare_limit() -> None:
    for n, expected in ((3, 0.12), (5, 0.05), (10, 0.018)):
        delta, sd = simulated(200_000, 1, n, 1)
        assert (np.abs(delta) > 3 * sd).mean() == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(
    ("n_old", "n_new", "half_width"), [(3, 1, 11.5), (5, 1, 5.0), (5, 3, 3.4), (10, 1, 3.4), (10, 3, 2.1)]
)
def test_limits_in_standard_deviations_between_runs(n_old: int, n_new: int, half_width: float) -> None:
    assert limit(1.0, 0.01, n_old, n_new) == pytest.approx(half_width, abs=0.06)
    assert limit(2.5, 0.01, n_old, n_new) == pytest.approx(2.5 * limit(1.0, 0.01, n_old, n_new))


@pytest.mark.parametrize(("n_old", "n_new", "margin"), [(5, 3, 0.0), (5, 3, 3.0), (10, 3, 1.0), (5, 5, 0.5)])
def test_power_is_what_simulation_gives(n_old: int, n_new: int, margin: float) -> None:
    for shift in (1.0, 3.0):
        delta, sd = simulated(100_000, 1, n_old, n_new, shift)
        called = (p_values(delta, sd, n_old, n_new) <= 0.01) & (delta > margin)
        assert power(shift, 1.0, margin, 0.01, n_old, n_new) == pytest.approx(called.mean(), abs=0.006)


def test_power_without_margin_is_the_noncentral_t() -> None:
    t, centre = scipy.stats.t.ppf(0.995, 4), 3 / math.sqrt(1 / 5 + 1 / 3)
    assert power(3, 1, 0, 0.01, 5, 3) == pytest.approx(scipy.stats.nct.sf(t, 4, centre), abs=1e-3)
    assert power(3, 1, 0, 0.01, 5, 1) == pytest.approx(0.20, abs=0.01)
    assert power(3, 1, 0, 0.01, 10, 3) == pytest.approx(0.87, abs=0.01)
    assert power(1, 0, 0.5, 0.01, 5, 3) == 1
    assert power(0.4, 0, 0.5, 0.01, 5, 3) == 0


def test_holm_levels_decide_as_adjusted_p_values_do() -> None:
    rng = np.random.default_rng(5)
    p = rng.random((2000, 6)) ** 4
    levels = holm_levels(p, 0.05)
    adjusted = np.array([holm(list(row)) for row in p])
    assert ((p <= levels) == (adjusted <= 0.05)).all()
    assert (p <= levels).any()
    assert (p > levels).any()
    np.testing.assert_allclose(holm_levels(np.array([0.001, 0.9, 0.011, 0.2]), 0.05), [0.0125, 0.025, 0.05 / 3, 0.025])


def test_p_values_without_spread() -> None:
    assert p_values(np.array([0.0, 0.1]), np.zeros(2), 5, 3).tolist() == [1.0, 0.0]


def test_seeds_needed_are_the_fewest_that_do() -> None:
    settings = Settings()
    for sd, margin in ((0.1, 0.05), (0.2, 0.05), (0.05, 0.05)):
        found = seeds_needed(sd, margin, 0.01, 5, 3)
        assert found is not None
        assert limit(sd, 0.01, *found) <= settings.wide * margin
        fewer = [(n, found[0] + found[1] - 1 - n) for n in range(5, found[0] + found[1] - 3)]
        assert all(limit(sd, 0.01, *counts) > settings.wide * margin for counts in fewer if counts[1] >= 3)
    assert seeds_needed(0.05, 0.05, 0.01, 5, 3) == (5, 3)
    assert seeds_needed(1.0, 1e-6, 0.01, 5, 3) is None


def test_judge() -> None:
    assert judge(0.3, h=0.2, margin=0.1) is DriftVerdict.REGRESSED
    assert judge(-0.3, h=0.2, margin=0.1) is DriftVerdict.IMPROVED
    assert judge(0.3, h=0.2, margin=0.4) is DriftVerdict.PASS
    assert judge(0.1, h=0.2, margin=0.05) is DriftVerdict.PASS
    assert judge(0.1, h=0.21, margin=0.05) is DriftVerdict.INCONCLUSIVE
    assert judge(0.3, h=0.21, margin=0.05) is DriftVerdict.REGRESSED, "a shift that large is seen all the same"


def test_margins() -> None:
    settings = Settings()
    assert practical_margin("fd_judge", "log", 2.0, "lower", settings) == pytest.approx(math.log(1.05))
    at_80 = math.log(0.8 / 0.2)
    assert practical_margin("recall_judge", "logit", at_80, "higher", settings) == pytest.approx(
        at_80 - math.log(0.79 / 0.21)
    )
    assert practical_margin("share", "logit", at_80, "lower", settings) == pytest.approx(math.log(0.81 / 0.19) - at_80)
    assert 0 < practical_margin("recall_judge", "logit", math.log(0.005 / 0.995), "higher", settings) < 1
    assert practical_margin("kd_judge", "identity", -0.02, "lower", settings) == pytest.approx(0.001)
    assert practical_margin("reverse_kl", "identity", 0.02, "lower", settings) == 0.01


# ---- verdicts -------------------------------------------------------------------------------------------------------


def test_the_same_distribution_passes(tmp_path: Path) -> None:
    report = run_gate(tmp_path, "fd_judge", STEADY, [10.01, 9.97, 10.03])
    assert verdict_of(report, "fd_judge") is DriftVerdict.PASS
    assert report.exit_code() == 0
    row = report.rows[1]
    assert row.limit == pytest.approx(limit(np.log(STEADY).std(ddof=1), 0.05, 5, 3))
    assert row.half_sampling_sd == 0.125
    assert "| FD_JUDGE | PASS | 10 | 10 | +0.0% |" in report.table()


@pytest.mark.parametrize(
    ("id", "old", "worse", "better"),
    [
        ("fd_judge", STEADY, [11.0, 11.1, 10.9], [9.0, 9.1, 8.9]),
        ("control_accuracy_judge", [0.90, 0.902, 0.898, 0.901, 0.899], [0.87, 0.871, 0.869], [0.93, 0.931, 0.929]),
        ("kd_judge", [1.0, 1.01, 0.99, 1.005, 0.995], [1.2, 1.21, 1.19], [0.8, 0.79, 0.81]),
    ],
)
def test_regressed_and_improved_in_either_direction(
    id: str, old: list[float], worse: list[float], better: list[float], tmp_path: Path
) -> None:
    regressed = run_gate(tmp_path / "a", id, old, worse)
    assert verdict_of(regressed, id) is DriftVerdict.REGRESSED
    assert regressed.exit_code() == gates.REGRESSION
    assert f"{id.upper()}: REGRESSED" in regressed.text()
    improved = run_gate(tmp_path / "b", id, old, better)
    assert verdict_of(improved, id) is DriftVerdict.IMPROVED
    assert improved.exit_code() == 0


def test_a_change_beyond_chance_but_below_the_margin_passes_and_is_said(tmp_path: Path) -> None:
    report = run_gate(tmp_path, "fd_judge", [10.0, 10.001, 9.999, 10.0005, 9.9995], [10.2, 10.2, 10.2])
    assert verdict_of(report, "fd_judge") is DriftVerdict.PASS
    assert "beyond chance, but smaller than the practical margin" in report.text()


def test_wide_scatter_is_inconclusive_and_not_a_pass(tmp_path: Path) -> None:
    report = run_gate(tmp_path, "fd_judge", [5.0, 10.0, 20.0, 8.0, 14.0], [9.0, 11.0, 13.0])
    assert verdict_of(report, "fd_judge") is DriftVerdict.INCONCLUSIVE
    assert (report.exit_code(), report.exit_code(allow_inconclusive=True)) == (5, 0)
    assert "baseline and" in report.text()
    assert "new seeds would decide" in report.text()


def test_another_protocol_or_setting_is_incomparable(tmp_path: Path) -> None:
    protocol = run_gate(tmp_path / "a", "fd_judge", STEADY, STEADY[:3], protocol={"n_fake": 500})
    assert verdict_of(protocol, "fd_judge") is DriftVerdict.INCOMPARABLE
    assert protocol.exit_code() == gates.INCOMPARABLE
    assert "another protocol in 3 runs: n_fake 2000 -> 500" in protocol.text()
    setting = run_gate(tmp_path / "b", "fd_judge", STEADY, STEADY[:3], config={"steps": 200})
    assert setting.exit_code() == gates.INCOMPARABLE
    assert "other settings: steps 100 -> 200" in setting.text()


def test_a_version_or_a_new_setting_is_judged_and_said(tmp_path: Path) -> None:
    report = run_gate(tmp_path, "fd_judge", STEADY, [12.0, 12.1, 11.9], config={"version": 2, "ema": True, "sets": {}},
                      libraries={"torch": "3.0.0"})  # fmt: skip
    assert verdict_of(report, "fd_judge") is DriftVerdict.REGRESSED
    assert "code versions: version 1 -> 2" in report.text()
    assert "settings of one side only: ema\n" in report.text(), "a mapping without entries is no setting"
    assert "trained elsewhere: torch 2.15.0 -> 3.0.0" in report.text()


def test_metrics_of_one_side_only(tmp_path: Path) -> None:
    write_all(tmp_path / "old", "fd_judge", STEADY)
    for seed in range(3):
        write(tmp_path / "new", seed, {"kd_judge": 1.0, "odd": 1.0})
    accept_model("test", "sngan", "digits", tmp_path / "old", baselines=tmp_path, commit=lambda: "abc")
    baseline = read_model_baseline(model_baseline_path("sngan", "digits", tmp_path))
    report = compare(baseline, read_records(tmp_path / "new"))
    assert verdict_of(report, "fd_judge") is DriftVerdict.INCOMPARABLE
    assert verdict_of(report, "kd_judge") is DriftVerdict.NO_BASELINE
    assert [row.id for row in report.rows] == ["finished_runs", "fd_judge", "kd_judge"], "no direction, no verdict"
    only = compare(baseline, read_records(tmp_path / "new"), metrics=["kd_judge"])
    assert only.exit_code() == gates.NO_BASELINE
    with pytest.raises(gates.DriftError, match="metrics fid"):
        compare(baseline, read_records(tmp_path / "new"), metrics=["fid"])


def test_failed_runs_and_missing_values_are_counted_and_never_dropped_silently(tmp_path: Path) -> None:
    report = run_gate(tmp_path / "a", "fd_judge", STEADY, [10.01, None, 9.97, 10.03, float("nan")])
    row = next(row for row in report.rows if row.id == "fd_judge")
    assert (row.n_new, row.failed_new, row.verdict) == (3, 2, DriftVerdict.INCONCLUSIVE)
    assert "more finished runs than before have no value" in row.note
    assert "seed 11 (the run failed: non-finite loss at step 7)" in row.note
    assert "seed 14 (failed: the value is nan)" in row.note
    assert verdict_of(report, "finished_runs") is DriftVerdict.INCONCLUSIVE, "one of five may be chance"
    assert report.exit_code() == gates.INCONCLUSIVE
    worse = run_gate(tmp_path / "b", "fd_judge", STEADY, [None, None, None, 10.0])
    assert verdict_of(worse, "finished_runs") is DriftVerdict.REGRESSED
    assert verdict_of(worse, "fd_judge") is DriftVerdict.INCONCLUSIVE
    assert "1 new values; 5 and 3 are needed" in worse.text()
    assert worse.exit_code() == gates.REGRESSION
    never = run_gate(tmp_path / "c", "fd_judge", STEADY, [None, None, None, None])
    assert verdict_of(never, "finished_runs") is DriftVerdict.REGRESSED
    assert never.exit_code() == gates.REGRESSION, "runs that fail are no other protocol"
    half = run_gate(tmp_path / "d", "fd_judge", STEADY, [10.0, 10.01, 9.99, *[float("nan")] * 7])
    assert verdict_of(half, "finished_runs") is DriftVerdict.PASS
    assert verdict_of(half, "fd_judge") is DriftVerdict.REGRESSED, "seven of ten values are gone, none of five was"


def test_a_divergence_near_zero_moves_by_less_than_matters(tmp_path: Path) -> None:
    """Hundredths of a nat are the least that counts, however large the ratio."""
    old = [0.0010, 0.0011, 0.0009, 0.0010, 0.0010]
    assert verdict_of(run_gate(tmp_path / "a", "reverse_kl_judge", old, [0.0018] * 3), "reverse_kl_judge") is (
        DriftVerdict.PASS
    )
    assert verdict_of(run_gate(tmp_path / "b", "reverse_kl_judge", old, [0.02] * 3), "reverse_kl_judge") is (
        DriftVerdict.REGRESSED
    )


def test_another_precision_is_another_setting(tmp_path: Path) -> None:
    write_all(tmp_path / "old", "fd_judge", STEADY)
    accept_model("test", "sngan", "digits", tmp_path / "old", baselines=tmp_path, commit=lambda: "abc")
    baseline = read_model_baseline(model_baseline_path("sngan", "digits", tmp_path))
    runs = [
        run.model_copy(update={"config": {**run.config, "precision": "bf16"}}) for run in read_records(tmp_path / "old")
    ]
    report = compare(baseline, runs)
    assert verdict_of(report, "fd_judge") is DriftVerdict.INCOMPARABLE
    assert "precision fp32 -> bf16" in report.text()


def test_equal_counts_and_perfect_shares_still_have_a_spread(tmp_path: Path) -> None:
    counts = run_gate(tmp_path / "a", "modes", [10.0] * 5, [10.0, 10.0, 9.0])
    assert verdict_of(counts, "modes") is DriftVerdict.PASS
    lost = run_gate(tmp_path / "b", "modes", [10.0] * 5, [7.0, 7.0, 7.0])
    assert verdict_of(lost, "modes") is DriftVerdict.REGRESSED
    shares = run_gate(tmp_path / "c", "control_accuracy_judge", [1.0] * 5, [0.9, 0.9, 0.9])
    assert verdict_of(shares, "control_accuracy_judge") is DriftVerdict.REGRESSED
    assert shares.rows[1].sd is not None
    assert shares.rows[1].sd > 0


def test_more_metrics_make_each_limit_wider(tmp_path: Path) -> None:
    for seed, value in enumerate(STEADY):
        write(tmp_path / "old", seed, {"fd_judge": value, "kd_judge": 1 + value / 100})
    accept_model("test", "sngan", "digits", tmp_path / "old", baselines=tmp_path, commit=lambda: "abc")
    baseline = read_model_baseline(model_baseline_path("sngan", "digits", tmp_path))
    runs = read_records(tmp_path / "old")[:3]
    both, one = compare(baseline, runs), compare(baseline, runs, metrics=["fd_judge"])
    assert both.rows[1].level == pytest.approx(0.025)
    assert one.rows[1].level == pytest.approx(0.05)
    assert "3 of 3 new runs have the very weights of the baseline's run of the same seed" in both.text()


def test_runs_that_are_the_baseline_s_to_the_bit_pass_however_widely_seeds_scatter(tmp_path: Path) -> None:
    scattered = [5.0, 20.0, 9.0, 14.0, 7.0]
    write_all(tmp_path / "old", "fd_judge", scattered)
    baseline = read_model_baseline(
        accept_model("test", "sngan", "digits", tmp_path / "old", baselines=tmp_path, commit=lambda: "abc")
    )
    write_all(tmp_path / "same", "fd_judge", scattered[:3])
    same = compare(baseline, read_records(tmp_path / "same"))
    assert verdict_of(same, "fd_judge") is DriftVerdict.PASS
    assert "the metric has changed" not in same.text()
    write_all(tmp_path / "others", "fd_judge", scattered[:3], first_seed=10)  # the same values of other seeds: a sample
    assert verdict_of(compare(baseline, read_records(tmp_path / "others")), "fd_judge") is DriftVerdict.INCONCLUSIVE
    for seed, value in enumerate(scattered[:3]):
        write(tmp_path / "rounded", seed, {"fd_judge": value + 1e-9}, weights=f"{seed} {{'fd_judge': {value}}}")
        write(tmp_path / "moved", seed, {"fd_judge": value * 1.02}, weights=f"{seed} {{'fd_judge': {value}}}")
    rounded = compare(baseline, read_records(tmp_path / "rounded"))
    assert verdict_of(rounded, "fd_judge") is DriftVerdict.INCONCLUSIVE
    moved = compare(baseline, read_records(tmp_path / "moved"))
    assert verdict_of(moved, "fd_judge") is DriftVerdict.MOVED, "far less than seeds scatter, but no matter of chance"
    assert moved.exit_code() == gates.REGRESSION
    assert "other values for equal weights: FD_JUDGE; the metric has changed, not the training" in moved.text()


# ---- files and exit statuses ----------------------------------------------------------------------------------------


@pytest.fixture
def accepted(tmp_path: Path) -> Path:
    write_all(tmp_path / "old", "fd_judge", STEADY)
    accept_model("first", "sngan", "digits", tmp_path / "old", baselines=tmp_path, commit=lambda: "aaa")
    return tmp_path


def test_the_verb_writes_a_table_and_json(accepted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_all(accepted / "new", "fd_judge", [11.0, 11.1, 10.9])
    code = model_gate("sngan", "digits", accepted / "new", json_file=accepted / "report.json", baselines=accepted)
    assert code == gates.REGRESSION
    shown = capsys.readouterr().out
    assert "| FD_JUDGE | REGRESSED | 10 | 11 | +10.0% |" in shown
    assert "model drift of sngan on digits: 1 PASS, 1 REGRESSED" in shown
    report = json.loads((accepted / "report.json").read_text())
    assert report["exit_code"] == 1
    assert {row["id"]: row["verdict"] for row in report["metrics"]} == {
        "finished_runs": "PASS",
        "fd_judge": "REGRESSED",
    }
    assert report["metrics"][1]["power_margin"] == pytest.approx(0.5, abs=1e-3), "half of the means lie above it"
    assert report["metrics"][1]["power_three_sd"] < 1e-3, "three sd are less than the margin here"


def test_a_record_that_cannot_be_used_is_the_worst(accepted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of docs/drift.md: 2 before 1."""
    write_all(accepted / "new", "fd_judge", [11.0, 11.1, 10.9])
    assert model_gate("sngan", "digits", accepted / "new", baselines=accepted) == gates.REGRESSION
    (accepted / "new" / "records" / "torn.json").write_text("{")
    assert model_gate("sngan", "digits", accepted / "new", baselines=accepted) == gates.USAGE
    assert "torn.json" in capsys.readouterr().err


@pytest.mark.parametrize("status", [gates.PASSED, gates.REGRESSION, gates.INCOMPARABLE, gates.INCONCLUSIVE])
def test_make_ends_with_two_and_names_the_status(status: int, tmp_path: Path) -> None:
    """As docs/drift.md says: a recipe's status is not make's."""
    command = tmp_path / "python"
    command.write_text(f"#!/bin/sh\nexit {status}\n")
    command.chmod(0o755)
    (tmp_path / "ready").touch()
    words = ["make", "-f", str(paths.CHECKOUT / "Makefile"), "drift", f"PY={command}", f"READY={tmp_path / 'ready'}"]
    done = subprocess.run(
        words, cwd=paths.CHECKOUT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == (2 if status else 0)
    assert (f"Error {status}" in done.stderr) == bool(status)


def test_exit_statuses_of_files(accepted: Path) -> None:
    def raised(method: str = "sngan") -> int:
        with pytest.raises(UserError) as error:
            model_gate(method, "digits", accepted / "new", baselines=accepted)
        return error.value.exit_code

    assert raised("biggan") == gates.NO_BASELINE
    assert raised() == gates.USAGE, "no records"
    write_all(accepted / "new", "fd_judge", STEADY[:2])
    assert raised() == gates.USAGE, "two seeds"
    path = model_baseline_path("sngan", "digits", accepted)
    whole = path.read_text()
    for broken in (whole[:400], "[]", whole.replace('"better"', '"bitter"', 1)):
        path.write_text(broken)
        assert raised() == gates.USAGE


def test_accepting_again_keeps_old_and_new_values(accepted: Path) -> None:
    write_all(accepted / "later", "fd_judge", [9.0, 9.1, 9.2, 9.3, 9.4], first_seed=5)
    accept_model("R1 is scaled", "sngan", "digits", accepted / "later", baselines=accepted, commit=lambda: "bbb")
    first, second = read_model_baseline(model_baseline_path("sngan", "digits", accepted)).accepted
    assert (first.reason, first.commit, second.reason, second.commit) == ("first", "aaa", "R1 is scaled", "bbb")
    old, new = second.changed["fd_judge"]
    assert old == dict(zip("01234", STEADY))
    assert list(new.values()) == [9.0, 9.1, 9.2, 9.3, 9.4]


def test_what_cannot_be_accepted(accepted: Path) -> None:
    def accept(folder: str, reason: str = "why", **about: Any) -> None:
        accept_model(reason, "sngan", "digits", accepted / folder, baselines=accepted, commit=lambda: "bbb", **about)

    write_all(accepted / "few", "fd_judge", [*STEADY[:4], None])
    with pytest.raises(gates.DriftError, match="4 finished runs"):
        accept("few")
    with pytest.raises(gates.DriftError, match="without a reason"):
        accept("old", reason="")
    write_all(accepted / "mixed", "fd_judge", STEADY)
    write_all(accepted / "mixed", "fd_judge", STEADY[:1], first_seed=7, protocol={"n_fake": 10})
    with pytest.raises(gates.DriftError, match="2 protocols among the runs"):
        accept("mixed")
    write_all(accepted / "two", "fd_judge", STEADY, changes={"loss": "hinge"})
    write_all(accepted / "two", "fd_judge", STEADY, changes={"loss": "wgan"})
    with pytest.raises(gates.DriftError, match=r"0 configurations fit.*\n.*small loss=hinge, 5 runs"):
        accept("two")
    hinge = content_hash({"version": 1, "steps": 100, "loss": "hinge"})
    accept("two", config=hinge[:8])
    like = read_model_baseline(model_baseline_path("sngan", "digits", accepted))
    write_all(accepted / "plain", "fd_judge", STEADY)
    with pytest.raises(gates.DriftError, match=r'SEEDS="5 6 7" SET="eval\.metrics=all loss=hinge"'):
        select(read_records(accepted / "plain"), "sngan", "digits", like=like)
    assert read_model_baseline(model_baseline_path("sngan", "digits", accepted)).changes == {"loss": "hinge"}
    write_all(accepted / "two", "fd_judge", STEADY)
    accept("two")
    assert read_model_baseline(model_baseline_path("sngan", "digits", accepted)).changes == {}, "the recipe as it is"


@pytest.mark.parametrize("path", sorted(gates.BASELINES.glob("model/digits/*.json")), ids=lambda path: path.stem)
def test_a_baseline_s_own_records_pass(path: Path) -> None:
    """The published records are those that the baselines were accepted from."""
    baseline = read_model_baseline(path)
    runs = select(read_records(REFERENCE), baseline.method, "digits", like=baseline)
    assert [run.seed for run in runs] == [0, 1, 2, 3, 4]
    report = compare(baseline, runs)
    assert {row.verdict for row in report.rows} == {DriftVerdict.PASS}
    assert "5 of 5 new runs have the very weights" in report.text()


def test_every_method_of_the_comparison_on_digits_has_a_baseline() -> None:
    compared = {row.method for _, row in rows_of(find_suite("compare"), "small")}
    assert {path.stem for path in gates.BASELINES.glob("model/digits/*.json")} == compared
    assert compared <= set(method_names())
