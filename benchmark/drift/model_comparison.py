"""The comparison of the test of trained models: new runs of one configuration against a baseline, by metric.

`benchmark.drift.statistics` says what chance allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.special

from benchmark.core.config import flatten
from benchmark.core.engine import EAGER
from benchmark.core.stats import Scale
from benchmark.drift.gates import DriftError, other_environment
from benchmark.drift.model_baseline import Metric, MetricOfRun, ModelBaseline, outcomes, weights_digest
from benchmark.drift.model_report import MetricComparison, ModelReport
from benchmark.drift.statistics import (
    MOST_SEEDS,
    DriftVerdict,
    Floats,
    Settings,
    fisher_p,
    holm_levels,
    judge,
    limit,
    p_values,
    power,
    practical_margin,
    seeds_needed,
)
from benchmark.metrics.catalogue import row_of
from benchmark.report.compare import images_counted, on_its_scale, scale_of
from benchmark.runs.records import Record

ROUNDING = 1e-6  # relative difference of a metric of equal weights on the machine of the baseline
ELSEWHERE = 1e-2  # the same by another processor or libraries: a sample's 8 bits round otherwise here and there


@dataclass(frozen=True)
class _Sample:
    """A metric's values that can be compared, on its scale."""

    id: str
    metric: Metric
    scale: Scale
    n_images: int | None  # on which a share was counted, where that is known
    old: Floats
    new: Floats
    failed_new: tuple[MetricOfRun, ...]
    lost: DriftVerdict  # do more of the finished runs have no value than before?
    repeated: bool  # every new run is one of the baseline's again, weights and value
    moved: bool  # a new run has the baseline's weights and another value

    @property
    def failed_old(self) -> int:
        return len(self.metric.runs) - len(self.old)

    @property
    def sd(self) -> float:
        """Between baseline runs. Equal counts, or equal shares, do not mean that there is no spread."""
        sd = float(self.old.std(ddof=1)) if self.old.min() < self.old.max() else 0.0
        if row_of(self.id).counted:
            return max(sd, 1 / math.sqrt(12))  # a count is uncertain by a uniform half step (Sheppard, 1897)
        if sd == 0 and self.scale == "logit" and self.n_images:
            share = float(scipy.special.expit(self.old[0]))
            return 1 / math.sqrt(self.n_images * share * (1 - share))  # of the logit of a share of n images
        return sd

    @property
    def delta(self) -> float:
        """Change of the mean towards worse."""
        change = float(self.new.mean() - self.old.mean())
        return change if self.metric.better == "lower" else -change


def compare(
    baseline: ModelBaseline,
    runs: Sequence[Record],
    settings: Settings | None = None,
    metrics: Sequence[str] | None = None,
) -> ModelReport:
    """Compare new runs of one configuration with a baseline.

    runs: records of k seeds, failed ones too. metrics: ids to look at, which are then the family; None: all.
    Raises DriftError for fewer runs than the settings require, and for metrics that neither side has.
    """
    settings = settings or Settings()
    if len(runs) < settings.min_new:
        raise DriftError(
            f"{baseline.method} on {baseline.dataset}: {len(runs)} new runs",
            f"{settings.min_new} are needed",
            "train more seeds",
        )
    blocking, notes = _configurations(baseline, runs)
    ids = _ids(baseline, runs, metrics)
    if blocking:
        why = f"other settings: {blocking}"
        rows = [MetricComparison(id, _name(baseline, runs, id), DriftVerdict.INCOMPARABLE, why) for id in ids]
        return ModelReport(baseline.method, baseline.dataset, tuple(rows), tuple(notes), settings)
    sampled = {id: _sample(baseline, runs, id, settings) for id in ids}
    testable = [sample for sample in sampled.values() if isinstance(sample, _Sample)]
    judged = dict(zip((sample.id for sample in testable), _judged(testable, settings)))
    rows = [sample if isinstance(sample, MetricComparison) else judged[id] for id, sample in sampled.items()]
    rows.insert(0, _finished_row(baseline, runs, settings))
    return ModelReport(
        baseline.method, baseline.dataset, tuple(rows), (*notes, *_machine_notes(baseline, runs)), settings
    )


def _ids(baseline: ModelBaseline, runs: Sequence[Record], metrics: Sequence[str] | None) -> list[str]:
    """Metrics of the baseline, then those that only the new runs have, if they have a direction and apply."""
    new = [
        id for run in runs for id, value in run.values.items() if value.better is not None and row_of(id).applies_to(id)
    ]
    known = list(dict.fromkeys([*baseline.metrics, *new]))
    if unknown := [id for id in metrics or () if id not in known]:
        raise DriftError(f"metrics {', '.join(unknown)}", f"known: {', '.join(known)}", "name some of these")
    return [id for id in known if metrics is None or id in metrics]


def _name(baseline: ModelBaseline, runs: Sequence[Record], id: str) -> str:
    if id in baseline.metrics:
        return baseline.metrics[id].name
    return str(next(run.values[id].name for run in runs if id in run.values))


def _configurations(baseline: ModelBaseline, runs: Sequence[Record]) -> tuple[str, list[str]]:
    """Settings whose values differ, which forbids a comparison; and notes of differences that do not.

    Versions count changes of code, and a setting that one side does not have yet is claimed to change nothing: both are
    what the test is to judge.
    """
    old, new = (asdict(EAGER) | _leaves(config) for config in (baseline.config, runs[0].config))
    versions = [f"{key} {old[key]} -> {new[key]}" for key in old.keys() & new.keys()
                if old[key] != new[key] and _is_version(key)]  # fmt: skip
    changed = [f"{key} {old[key]} -> {new[key]}" for key in old.keys() & new.keys()
               if old[key] != new[key] and not _is_version(key)]  # fmt: skip
    one_sided = sorted(old.keys() ^ new.keys())
    notes = [f"code versions: {', '.join(sorted(versions))}"] if versions else []
    notes += [f"settings of one side only: {', '.join(one_sided)}"] if one_sided else []
    return ", ".join(sorted(changed)), notes


def _is_version(key: str) -> bool:
    return key.rsplit(".", 1)[-1] == "version"


def _leaves(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their dotted keys. A mapping that one side leaves empty is no setting: its entries are."""
    return {key: value for key, value in flatten(plain).items() if value != {}}


def _sample(baseline: ModelBaseline, runs: Sequence[Record], id: str, settings: Settings) -> _Sample | MetricComparison:
    """The two sets of values, or the row of a metric that cannot be tested."""
    name, metric = _name(baseline, runs, id), baseline.metrics.get(id)
    found = outcomes(runs, id)
    if metric is None:
        return MetricComparison(
            id, name, DriftVerdict.NO_BASELINE, "accept a new baseline", n_new=sum(o.value is not None for o in found)
        )
    others = [run for run in runs if id in run.values and run.values[id].protocol_key != metric.protocol_key]
    if others:
        return MetricComparison(id, name, DriftVerdict.INCOMPARABLE, _protocol_note(id, metric, others))
    finished = [run for run in runs if run.status == "done"]
    if finished and all(id not in run.values or run.values[id].status == "unavailable" for run in finished):
        return MetricComparison(
            id, name, DriftVerdict.INCOMPARABLE, f"the new runs do not have it ({found[-1].reason})"
        )
    old = [outcome.value for outcome in metric.runs if outcome.value is not None]
    new = [outcome.value for outcome in found if outcome.value is not None]
    scale = scale_of(id, [*old, *new])
    n_images = images_counted(id, metric.protocol)
    on_scale = [on_its_scale(values, scale, n_images) for values in (old, new)]
    failed = tuple(outcome for outcome in found if outcome.value is None)
    if len(old) < settings.min_baseline or len(new) < settings.min_new:
        note = (
            f"{len(old)} baseline and {len(new)} new values; {settings.min_baseline} and {settings.min_new} are needed"
        )
        return MetricComparison(
            id, name, DriftVerdict.INCONCLUSIVE, "; ".join([note, *_failures(failed)]),
            n_baseline=len(old), n_new=len(new),
            failed_baseline=len(metric.runs) - len(old), failed_new=len(failed),
        )  # fmt: skip
    known = {outcome.seed: outcome.value for outcome in metric.runs}
    same = _same_weights(baseline, runs)
    again = {run.seed for run in same}
    repeated = all(outcome.seed in again and outcome.value == known.get(outcome.seed) for outcome in found)
    moved = _has_moved(baseline, metric, id, same)
    lost = _lost(baseline, metric, runs, found, settings)
    return _Sample(id, metric, scale, n_images, on_scale[0], on_scale[1], failed, lost, repeated, moved)


def _lost(
    baseline: ModelBaseline,
    metric: Metric,
    runs: Sequence[Record],
    found: Sequence[MetricOfRun],
    settings: Settings,
) -> DriftVerdict:
    """Whether more of the finished runs have no value of a metric than in the baseline; failed runs have a row."""
    finished = [one.value is not None for run, one in zip(runs, found, strict=True) if run.status == "done"]
    before = [one.value is not None for one in metric.runs if str(one.seed) not in baseline.failed]
    failed, old_failed = finished.count(False), before.count(False)
    if failed * len(before) <= old_failed * len(finished):
        return DriftVerdict.PASS
    p = fisher_p(failed, finished.count(True), old_failed, before.count(True))
    return DriftVerdict.REGRESSED if p <= settings.family else DriftVerdict.INCONCLUSIVE


def _protocol_note(id: str, metric: Metric, others: Sequence[Record]) -> str:
    """Which parts of the protocol differ in how many runs."""
    old, new = _leaves(metric.protocol), _leaves(others[0].values[id].protocol)
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    shown = ", ".join(f"{key} {_short(old.get(key))} -> {_short(new.get(key))}" for key in keys[:4])
    return f"another protocol in {len(others)} runs: {shown}" + (" ..." if len(keys) > 4 else "")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."


def _failures(failed: Sequence[MetricOfRun]) -> Iterator[str]:
    if failed:
        yield "without a value: " + ", ".join(f"seed {outcome.seed} ({outcome.reason})" for outcome in failed)


def _judged(samples: Sequence[_Sample], settings: Settings) -> Iterator[MetricComparison]:
    """The rows of the metrics of one family."""
    if not samples:
        return
    deltas, sds = np.array([s.delta for s in samples]), np.array([s.sd for s in samples])
    n_old, n_new = np.array([len(s.old) for s in samples]), np.array([len(s.new) for s in samples])
    levels = holm_levels(p_values(deltas, sds, n_old, n_new), settings.family)
    for sample, level in zip(samples, levels):
        yield _row(sample, float(level), settings.family / len(samples), settings)


def _row(sample: _Sample, level: float, first_level: float, settings: Settings) -> MetricComparison:
    """One metric's row. first_level: Holm's strictest; powers are given for it, since other metrics may not move."""
    metric, sd, centre = sample.metric, sample.sd, float(sample.old.mean())
    margin = practical_margin(sample.id, sample.scale, centre, metric.better, settings)
    counts = len(sample.old), len(sample.new)
    h = limit(sd, level, *counts)
    # Runs that are the baseline's to the bit are no sample of what might be: nothing has changed, however few they are.
    verdict = DriftVerdict.PASS if sample.repeated else judge(sample.delta, h, margin, settings.wide)
    notes = list(_failures(sample.failed_new))
    if verdict is DriftVerdict.INCONCLUSIVE:
        notes.insert(0, _seeds_note(seeds_needed(sd, margin, level, *counts, settings.wide)))
    if sample.moved:  # no matter of chance
        verdict = DriftVerdict.MOVED
        notes.insert(0, "other values for equal weights")
    elif verdict is not DriftVerdict.REGRESSED and sample.lost is not DriftVerdict.PASS:
        verdict = sample.lost
        notes.insert(0, "more finished runs than before have no value")
    if verdict is DriftVerdict.PASS and not sample.repeated and abs(sample.delta) > h:
        notes.insert(0, "a change beyond chance, but smaller than the practical margin")
    return MetricComparison(
        sample.id,
        metric.name,
        verdict,
        "; ".join(notes),
        better=metric.better,
        scale=sample.scale,
        baseline=_back(sample.scale, centre),
        new=_back(sample.scale, float(sample.new.mean())),
        n_baseline=counts[0],
        n_new=counts[1],
        failed_baseline=sample.failed_old,
        failed_new=len(sample.failed_new),
        delta=sample.delta,
        limit=h,
        margin=margin,
        sd=sd,
        half_sampling_sd=metric.half_sampling_sd,
        level=level,
        power_margin=power(margin, sd, margin, first_level, *counts),
        power_three_sd=power(3 * sd, sd, margin, first_level, *counts),
    )


def _seeds_note(needed: tuple[int, int] | None) -> str:
    if needed is None:
        return f"even {MOST_SEEDS} seeds would not do: the runs scatter too widely"
    return f"{needed[0]} baseline and {needed[1]} new seeds would decide"


def _finished_row(baseline: ModelBaseline, runs: Sequence[Record], settings: Settings) -> MetricComparison:
    """Do more runs fail than before? Fisher's exact test.

    Outside of Holm's family, because it cannot give a false alarm where runs do not fail.
    """
    old_failed, old_done = len(baseline.failed), len(baseline.weights_sha256)
    failed = [run for run in runs if run.status != "done"]
    done = len(runs) - len(failed)
    row = {
        "baseline": old_done / (old_done + old_failed),
        "new": done / len(runs),
        "n_baseline": old_done,
        "n_new": done,
        "failed_baseline": old_failed,
        "failed_new": len(failed),
    }
    reasons = "; ".join(f"seed {run.seed}: {run.reason}" for run in failed)
    if row["new"] >= row["baseline"]:
        return MetricComparison("finished_runs", "finished runs", DriftVerdict.PASS, reasons, **row)  # type: ignore[arg-type]
    if fisher_p(len(failed), done, old_failed, old_done) <= settings.family:
        return MetricComparison("finished_runs", "finished runs", DriftVerdict.REGRESSED, reasons, **row)  # type: ignore[arg-type]
    times = next(
        (n for n in range(2, 50) if fisher_p(n * len(failed), n * done, old_failed, old_done) <= settings.family), None
    )
    more = f"; {times * len(runs)} new seeds that fail as often would decide" if times else ""
    return MetricComparison("finished_runs", "finished runs", DriftVerdict.INCONCLUSIVE, reasons + more, **row)  # type: ignore[arg-type]


def _machine_notes(baseline: ModelBaseline, runs: Sequence[Record]) -> Iterator[str]:
    """What a difference could come from, and whether there is one at all."""
    if changed := other_environment(baseline.environment, runs[0].environment):
        yield f"trained elsewhere: {'; '.join(changed)}"
    if same := _same_weights(baseline, runs):
        done = sum(run.status == "done" for run in runs)
        yield f"{len(same)} of {done} new runs have the very weights of the baseline's run of the same seed"
        if moved := _moved(baseline, same):
            yield f"other values for equal weights: {', '.join(moved)}; the metric has changed, not the training"


def _same_weights(baseline: ModelBaseline, runs: Sequence[Record]) -> list[Record]:
    """The finished runs that ended with the weights of the baseline's run of their seed."""
    return [
        run
        for run in runs
        if run.status == "done"
        and weights_digest(run)
        and baseline.weights_sha256.get(str(run.seed)) == weights_digest(run)
    ]


def _moved(baseline: ModelBaseline, same: Sequence[Record]) -> list[str]:
    """Metrics, by the same protocol, that give another value for the very weights."""
    return [metric.name for id, metric in baseline.metrics.items() if _has_moved(baseline, metric, id, same)]


def _has_moved(baseline: ModelBaseline, metric: Metric, id: str, same: Sequence[Record]) -> bool:
    """Whether one of these runs, which have the baseline's weights, has another value by the same protocol.

    Where processor and libraries are those of the baseline, rounding in the last digits is allowed, else `ELSEWHERE`.
    """
    old = {outcome.seed: outcome.value for outcome in metric.runs}
    for run in same:
        if id not in run.values or run.values[id].protocol_key != metric.protocol_key:
            continue
        (new,), known = outcomes([run], id), old.get(run.seed)
        if new.value is None or known is None:
            if new.value != known:
                return True
        elif abs(new.value - known) > abs(known) * (
            ELSEWHERE if other_environment(baseline.environment, run.environment) else ROUNDING
        ):
            return True
    return False


def _back(scale: Scale, value: float) -> float:
    """From the scale to the metric's own unit."""
    return {"log": math.exp, "logit": lambda x: float(scipy.special.expit(x)), "identity": float}[scale](value)
