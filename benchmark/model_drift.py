"""The model drift gate: does training still give what it gave?

Several seeds of a method trained now are compared with the stored seeds of a baseline. The unit is the run: a score
varies far more between training runs than with the sampling of one run's images. Every metric gets one of

    PASS          no change that counts
    REGRESSED     worse by more than chance allows and by more than the practical margin
    IMPROVED      the same, better
    INCONCLUSIVE  the limit that chance sets is so wide that a change that matters could hide below it
    INCOMPARABLE  other settings or another protocol; no number is compared
    NO BASELINE   the baseline does not have the metric

Chance: with K baseline and k new values, standard deviation s of the baseline's, the means differ by more than

    h = t(1 - a / 2; K - 1) s sqrt(1 / K + 1 / k)

with probability a when nothing has changed. a comes from Holm's step-down over the m metrics, so that the probability
of any false alarm is at most 5 %. Distances are compared by their logarithms, shares by their logits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import pydantic.dataclasses
import scipy.special
import scipy.stats
from pydantic import Field

from benchmark.compare import COUNTED, scale_of
from benchmark.config import STRICT, build
from benchmark.drift import (
    BASELINES,
    INCOMPARABLE,
    INCONCLUSIVE,
    NO_BASELINE,
    PASSED,
    REGRESSION,
    Accepted,
    BaselineMissing,
    DriftError,
    clean_commit,
    other_environment,
    require_reason,
    worst,
)
from benchmark.files import read_json, write_json
from benchmark.records import Record, read_records
from benchmark.stats import Scale, transformed
from benchmark.tables import changes_text, group

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Counts: TypeAlias = "int | np.ndarray[Any, Any]"

_QUANTILES = 4000  # of the sample variance, over which a power is averaged
_MOST_SEEDS = 1000  # looked at for the number of seeds that would do


@dataclass(frozen=True)
class Settings:
    """What counts as a change."""

    family: float = 0.05  # probability of any false alarm, over all metrics
    relative: float = 0.05  # practical margin of distances and scores
    points: float = 0.01  # practical margin of shares
    nats: float = 0.01  # least practical margin of a KL divergence, which is near 0 for a good generator
    min_baseline: int = 5  # finished runs
    min_new: int = 3
    wide: float = 4.0  # margins; beyond this a limit decides nothing


# ---- the statistics, on arrays --------------------------------------------------------------------------------------


def standard_error(sd: float | Floats, n_baseline: Counts, n_new: Counts) -> Floats:
    """Of the difference of the two means, when both kinds of run scatter with the same sd."""
    return np.asarray(sd * np.sqrt(1 / np.asarray(n_baseline) + 1 / np.asarray(n_new)))


def p_values(delta: Floats, sd: Floats, n_baseline: Counts, n_new: Counts) -> Floats:
    """Two-sided p of differences of means, Student's t with n_baseline - 1 degrees of freedom; any shape.

    With sd 0 a difference has p = 0, and none has p = 1.
    """
    error = standard_error(sd, n_baseline, n_new)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, np.abs(delta) / error, np.where(np.abs(delta) > 0, np.inf, 0.0))
    return np.asarray(2 * scipy.stats.t.sf(t, np.asarray(n_baseline) - 1))


def holm_levels(p: Floats, family: float) -> Floats:
    """The level each metric is tested at, [..., m] for p values [..., m].

    family / m for the smallest p, family / (m - 1) for the next, and so on until one is not below its level; from there
    on all have that level. A metric is told apart exactly where p <= level. Source: Holm, 1979.
    """
    m = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    steps = family / (m - np.arange(m))
    below = np.take_along_axis(p, order, axis=-1) <= steps
    n_below = np.cumprod(below, axis=-1).sum(axis=-1, keepdims=True)
    levels = np.empty_like(p)
    np.put_along_axis(levels, order, family / (m - np.minimum(np.arange(m), np.minimum(n_below, m - 1))), axis=-1)
    return levels


def limit(sd: float, level: float, n_baseline: int, n_new: int) -> float:
    """Half width h of the interval in which the difference of means lies by chance with probability 1 - level."""
    t = float(scipy.stats.t.ppf(1 - level / 2, n_baseline - 1))
    return t * float(standard_error(sd, n_baseline, n_new))


def power(shift: float, sd: float, margin: float, level: float, n_baseline: int, n_new: int) -> float:
    """Probability that a true worsening of the mean by `shift` is called REGRESSED, in [0, 1].

    That is P(d > max(h, margin)), d normal about the shift, h from a sample variance of n_baseline - 1 degrees of
    freedom. sd: the true one. Without margin it is the upper tail of the noncentral t.
    """
    error = float(standard_error(sd, n_baseline, n_new))
    if error == 0:
        return float(shift > margin)
    free = n_baseline - 1
    ratios = np.sqrt(scipy.stats.chi2.ppf((np.arange(_QUANTILES) + 0.5) / _QUANTILES, free) / free)  # s / sd
    h = float(scipy.stats.t.ppf(1 - level / 2, free)) * error * ratios
    return float(scipy.stats.norm.sf((np.maximum(h, margin) - shift) / error).mean())


def seeds_needed(
    sd: float, margin: float, level: float, n_baseline: int, n_new: int, wide: float = Settings.wide
) -> tuple[int, int] | None:
    """Numbers of baseline and of new runs with which h is at most `wide` margins, at this sd.

    The ones that take the fewest further runs of both kinds together, of several the fewest of the baseline. None when
    even a thousand of each would not do.
    """
    old, new = np.arange(max(n_baseline, 2), _MOST_SEEDS + 1), np.arange(max(n_new, 1), _MOST_SEEDS + 1)
    t = scipy.stats.t.ppf(1 - level / 2, old - 1)[:, None]
    enough = t * standard_error(sd, old[:, None], new) <= wide * margin  # [baseline runs, new runs]
    total = np.where(enough, old[:, None] + new, 3 * _MOST_SEEDS)
    row, column = np.unravel_index(total.argmin(), total.shape)
    return (int(old[row]), int(new[column])) if enough[row, column] else None


class Verdict(StrEnum):
    """Of one metric; the module's docstring says what each means."""

    PASS = "PASS"
    REGRESSED = "REGRESSED"
    IMPROVED = "IMPROVED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INCOMPARABLE = "INCOMPARABLE"
    NO_BASELINE = "NO BASELINE"


_CODES = {
    Verdict.REGRESSED: REGRESSION,
    Verdict.INCONCLUSIVE: INCONCLUSIVE,
    Verdict.INCOMPARABLE: INCOMPARABLE,
    Verdict.NO_BASELINE: NO_BASELINE,
}


def judge(delta: float, h: float, margin: float, wide: float = Settings.wide) -> Verdict:
    """The verdict of one metric. delta: change in the bad direction; h: what chance allows; both on one scale."""
    if delta > h and delta > margin:
        return Verdict.REGRESSED
    if -delta > h and -delta > margin:
        return Verdict.IMPROVED
    return Verdict.INCONCLUSIVE if h > wide * margin else Verdict.PASS


def practical_margin(id: str, scale: Scale, centre: float, better: str, settings: Settings) -> float:
    """The smallest change that matters, on the metric's scale, at the baseline's mean `centre` on that scale.

    A relative change of a distance; a hundredth of a share, towards worse; of others a relative change of the mean.
    """
    if scale == "log":
        return math.log1p(settings.relative)
    if scale == "logit":
        share = float(scipy.special.expit(centre))
        worse = max(share - settings.points, share / 2)
        if better == "lower":
            worse = min(share + settings.points, (1 + share) / 2)
        return abs(float(scipy.special.logit(worse)) - centre)
    least = settings.nats if id.startswith("reverse_kl") else 0.0
    return max(settings.relative * abs(centre), least)


# ---- the baseline ---------------------------------------------------------------------------------------------------


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class Outcome:
    """One metric of one run. reason: why there is no value."""

    seed: int
    value: float | None
    reason: str = ""


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class Metric:
    """One metric of all baseline runs."""

    name: str
    better: Literal["lower", "higher"]
    protocol_key: str
    protocol: dict[str, Any]
    runs: tuple[Outcome, ...]
    half_sampling_sd: float | None = None  # mean over runs: the error of sampling one generator


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelBaseline:
    """The file `baselines/model/<dataset>/<method>.json`."""

    method: str
    dataset: str
    recipe: str
    changes: dict[str, Any]
    config_hash: str
    config: dict[str, Any]
    weights_sha256: dict[str, str]  # of each finished run, by seed
    failed: dict[str, str]  # reasons of failed runs, by seed
    commits: tuple[str, ...]  # of the code that trained the runs
    environment: dict[str, Any]  # of the first run
    metrics: Annotated[dict[str, Metric], Field(min_length=1)]
    accepted: Annotated[tuple[Accepted, ...], Field(min_length=1)]  # oldest first


def model_baseline_path(method: str, dataset: str, baselines: Path = BASELINES) -> Path:
    """Where the baseline of a method on a dataset lies."""
    return baselines / "model" / dataset / f"{method}.json"


def read_model_baseline(path: Path) -> ModelBaseline:
    """Read a baseline. Raises BaselineMissing, or UserErrors naming the file and the key when it is not whole."""
    if not path.is_file():
        raise BaselineMissing(
            f"{path}: there is no baseline",
            "new runs have nothing to be compared with",
            "accept one from the records of five seeds or more, see docs/drift.md",
        )
    plain = read_json(path)
    if not isinstance(plain, dict):
        raise DriftError(f"{path}: not a baseline", f"its top level is {type(plain).__name__}", "git restore it")
    return build(ModelBaseline, plain, str(path))


def select(
    records: Sequence[Record],
    method: str,
    dataset: str,
    *,
    like: ModelBaseline | None = None,
    config: str | None = None,
) -> list[Record]:
    """The runs of one configuration of a method on a dataset, in order of seed.

    like: take the configuration with this baseline's recipe and changes; None: the recipe as it is, or the only one.
    config: the beginning of a configuration's hash, where there are several. Raises DriftError, listing what there is,
    when not exactly one configuration fits.
    """
    groups = group(r for r in records if r.plain["method"] == method and r.plain["dataset"] == dataset)
    fitting = {key: runs for key, runs in groups.items() if key.startswith(config or "")}
    if config is None and like is not None:
        fitting = {key: runs for key, runs in fitting.items() if _same_request(runs[0], like)}
    if config is None and like is None and len(fitting) > 1:
        fitting = {key: runs for key, runs in fitting.items() if not runs[0].plain["changes"]}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    listed = "; ".join(
        f"{key[:8]}: {runs[0].plain['recipe']} {changes_text(runs[0])}".rstrip() + f", {len(runs)} runs"
        for key, runs in groups.items()
    )
    raise DriftError(
        f"{method} on {dataset}: {len(fitting)} configurations fit, one is needed",
        f"there are {listed}" if listed else "there are no records of it",
        "name one by --config HASH" if listed else f'make bench METHOD={method} DATASET={dataset} SEEDS="0 1 2"',
    )


def _same_request(run: Record, like: ModelBaseline) -> bool:
    return run.plain["recipe"] == like.recipe and run.plain["changes"] == like.changes


def outcomes(runs: Sequence[Record], id: str) -> tuple[Outcome, ...]:
    """A metric of each run; a run that failed, or whose value is none, has the reason instead."""
    return tuple(_outcome(run, id) for run in runs)


def _outcome(run: Record, id: str) -> Outcome:
    seed = run.plain["seed"]
    if run.status != "done":
        return Outcome(seed=seed, value=None, reason=f"the run failed: {run.plain['reason']}")
    value = run.values.get(id)
    if value is None:
        return Outcome(seed=seed, value=None, reason="the evaluation did not ask for it")
    if value["status"] != "ok" or value["value"] is None or not math.isfinite(value["value"]):
        return Outcome(seed=seed, value=None, reason=f"{value['status']}: {value['reason']}")
    return Outcome(seed=seed, value=float(value["value"]))


def accept_model(
    reason: str,
    method: str,
    dataset: str,
    source: Path,
    *,
    config: str | None = None,
    baselines: Path = BASELINES,
    commit: Callable[[], str] | None = None,
    settings: Settings | None = None,
) -> Path:
    """Store the runs of a results folder as the baseline, with reason, commit, old and new values. Returns the file.

    source: a folder with `records/`. commit: names the code's commit; `clean_commit` by default, which refuses a
    changed tree. Metrics without direction, and those no run has a value of, are left out.
    Raises DriftError without a reason, for a changed tree, for fewer finished runs than the settings ask for, and for
    runs of unlike protocols.
    """
    settings = settings or Settings()
    path = model_baseline_path(method, dataset, baselines)
    runs = select(read_records(source), method, dataset, config=config)
    head = require_reason(reason, commit or clean_commit)
    done = [run for run in runs if run.status == "done"]
    if len(done) < settings.min_baseline:
        raise DriftError(
            f"{method} on {dataset}: {len(done)} finished runs in {source}",
            f"a baseline needs {settings.min_baseline}: the spread between runs is estimated from them",
            "train more seeds",
        )
    metrics = _metrics(runs)
    old = read_model_baseline(path) if path.is_file() else None
    changed = _changed({} if old is None else old.metrics, metrics)
    first = done[0].plain
    baseline = ModelBaseline(
        method=method,
        dataset=dataset,
        recipe=first["recipe"],
        changes=first["changes"],
        config_hash=first["config_hash"],
        config=first["config"],
        weights_sha256={str(run.plain["seed"]): _weights(run) for run in done},
        failed={str(run.plain["seed"]): run.plain["reason"] for run in runs if run.status != "done"},
        commits=tuple(sorted({str(run.plain["environment"].get("commit")) for run in runs})),
        environment=first["environment"],
        metrics=metrics,
        accepted=(*(old.accepted if old else ()), Accepted(reason=reason, commit=head, changed=changed)),
    )
    write_json(path, asdict(baseline))
    return path


def _metrics(runs: Sequence[Record]) -> dict[str, Metric]:
    """Every metric that some run has a value of. Raises DriftError where runs measured it by unlike protocols."""
    done = [run for run in runs if run.status == "done"]
    found: dict[str, Metric] = {}
    for id in dict.fromkeys(id for run in done for id in run.values):
        values = [run.values[id] for run in done if id in run.values]
        keys = {value["protocol_key"] for value in values}
        if len(keys) > 1:
            raise DriftError(
                f"{values[0]['name']}: {len(keys)} protocols among the runs",
                "numbers of unlike protocols have no common spread",
                "evaluate all runs alike",
            )
        runs_of_it = outcomes(runs, id)
        if values[0]["better"] is None or all(run.value is None for run in runs_of_it):
            continue
        spreads = [s for value in values if (s := value["details"].get("sd_half_sampling")) is not None]
        found[id] = Metric(
            name=values[0]["name"],
            better=values[0]["better"],
            protocol_key=values[0]["protocol_key"],
            protocol=values[0]["protocol"],
            runs=runs_of_it,
            half_sampling_sd=float(np.mean(spreads)) if spreads else None,
        )
    return found


def _changed(old: Mapping[str, Metric], new: Mapping[str, Metric]) -> dict[str, tuple[Any, Any]]:
    def values(metrics: Mapping[str, Metric], id: str) -> Any:
        return {str(run.seed): run.value for run in metrics[id].runs} if id in metrics else None

    pairs = {id: (values(old, id), values(new, id)) for id in {**old, **new}}
    return {id: pair for id, pair in pairs.items() if pair[0] != pair[1]}


def _weights(run: Record) -> str:
    return str((run.plain["result"] or {}).get("weights_sha256", ""))


# ---- comparing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One metric's comparison. Numbers in the metric's own unit unless said otherwise; None where not compared."""

    id: str
    name: str
    verdict: Verdict
    note: str = ""
    better: str = ""  # "lower" or "higher"
    scale: Scale | None = None
    baseline: float | None = None  # mean on the scale, brought back
    new: float | None = None
    n_baseline: int = 0  # values
    n_new: int = 0
    failed_baseline: int = 0  # runs without a value
    failed_new: int = 0
    delta: float | None = None  # on the scale, positive: worse
    limit: float | None = None  # h, on the scale
    margin: float | None = None  # on the scale
    sd: float | None = None  # between baseline runs, on the scale
    half_sampling_sd: float | None = None  # within a run
    level: float | None = None
    power_margin: float | None = None  # probability that a worsening by the margin is called
    power_three_sd: float | None = None  # the same by three standard deviations between runs


@dataclass(frozen=True)
class ModelReport:
    """What the gate says of a method on a dataset."""

    method: str
    dataset: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)

    def exit_code(self, allow_inconclusive: bool = False) -> int:
        """0 pass or improved; 1 regressed; 3 incomparable; 4 a metric without baseline; 5 inconclusive."""
        return worst([_CODES.get(row.verdict, PASSED) for row in self.rows], allow_inconclusive)

    def table(self) -> str:
        """All metrics in Markdown."""
        columns = (
            "metric", "verdict", "baseline", "new", "change", "chance allows", "margin", "sd of runs",
            "sd within a run", "runs (failed)", "power: margin", "power: 3 sd",
        )  # fmt: skip
        head = ["| " + " | ".join(columns) + " |", "| :-- | :-- |" + " --: |" * (len(columns) - 2)]
        return "\n".join([*head, *("| " + " | ".join(_cells(row)) + " |" for row in self.rows)]) + "\n"

    def text(self) -> str:
        """Notes of the rows, of the whole, and the counts."""
        counts = Counter(str(row.verdict) for row in self.rows)
        return "\n".join(
            [
                *(f"{row.name}: {row.verdict}{', ' + row.note if row.note else ''}" for row in self.rows
                  if row.note or row.verdict is not Verdict.PASS),
                *(f"note: {note}" for note in self.notes),
                f"model drift of {self.method} on {self.dataset}: {', '.join(f'{n} {v}' for v, n in counts.items())}",
            ]
        )  # fmt: skip

    def plain(self, allow_inconclusive: bool = False) -> dict[str, Any]:
        """For JSON."""
        return {
            "gate": "model",
            "method": self.method,
            "dataset": self.dataset,
            "exit_code": self.exit_code(allow_inconclusive),
            "settings": asdict(self.settings),
            "notes": list(self.notes),
            "metrics": [asdict(row) for row in self.rows],
        }


@dataclass(frozen=True)
class _Sample:
    """A metric's values that can be compared, on its scale."""

    id: str
    metric: Metric
    scale: Scale
    n_images: int
    old: Floats
    new: Floats
    failed_new: tuple[Outcome, ...]

    @property
    def failed_old(self) -> int:
        return len(self.metric.runs) - len(self.old)

    @property
    def sd(self) -> float:
        """Between baseline runs. Equal counts, or equal shares, do not mean that there is no spread."""
        sd = float(self.old.std(ddof=1)) if self.old.min() < self.old.max() else 0.0
        if self.id in COUNTED:
            return max(sd, 1 / math.sqrt(12))  # a count is uncertain by a uniform half step (Sheppard, 1897)
        if sd == 0 and self.scale == "logit":
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
    Raises DriftError for fewer runs than the settings ask for, and for metrics that neither side has.
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
        rows = [Row(id, _name(baseline, runs, id), Verdict.INCOMPARABLE, why) for id in ids]
        return ModelReport(baseline.method, baseline.dataset, tuple(rows), tuple(notes), settings)
    sampled = {id: _sample(baseline, runs, id, settings) for id in ids}
    testable = [sample for sample in sampled.values() if isinstance(sample, _Sample)]
    judged = dict(zip((sample.id for sample in testable), _judged(testable, settings)))
    rows = [sample if isinstance(sample, Row) else judged[id] for id, sample in sampled.items()]
    rows.insert(0, _finished_row(baseline, runs, settings))
    return ModelReport(
        baseline.method, baseline.dataset, tuple(rows), (*notes, *_machine_notes(baseline, runs)), settings
    )


def _ids(baseline: ModelBaseline, runs: Sequence[Record], metrics: Sequence[str] | None) -> list[str]:
    """Metrics of the baseline, then those that only the new runs have, if they have a direction."""
    new = [id for run in runs for id, value in run.values.items() if value["better"] is not None]
    known = list(dict.fromkeys([*baseline.metrics, *new]))
    if unknown := [id for id in metrics or () if id not in known]:
        raise DriftError(f"metrics {', '.join(unknown)}", f"known: {', '.join(known)}", "name some of these")
    return [id for id in known if metrics is None or id in metrics]


def _name(baseline: ModelBaseline, runs: Sequence[Record], id: str) -> str:
    if id in baseline.metrics:
        return baseline.metrics[id].name
    return str(next(run.values[id]["name"] for run in runs if id in run.values))


def _configurations(baseline: ModelBaseline, runs: Sequence[Record]) -> tuple[str, list[str]]:
    """Settings whose values differ, which forbids a comparison; and notes of differences that do not.

    Versions count changes of code, and a setting that one side does not have yet is claimed to change nothing: both are
    what the gate is to judge.
    """
    old, new = _leaves(baseline.config), _leaves(runs[0].plain["config"])
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


def _leaves(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _sample(baseline: ModelBaseline, runs: Sequence[Record], id: str, settings: Settings) -> _Sample | Row:
    """The two sets of values, or the row of a metric that cannot be tested."""
    name, metric = _name(baseline, runs, id), baseline.metrics.get(id)
    found = outcomes(runs, id)
    if metric is None:
        return Row(
            id, name, Verdict.NO_BASELINE, "accept a new baseline", n_new=sum(o.value is not None for o in found)
        )
    others = [run for run in runs if id in run.values and run.values[id]["protocol_key"] != metric.protocol_key]
    if others:
        return Row(id, name, Verdict.INCOMPARABLE, _protocol_note(id, metric, others))
    if all(
        run.values.get(id, {}).get("status", "unavailable") == "unavailable" for run in runs if run.status == "done"
    ):
        return Row(id, name, Verdict.INCOMPARABLE, f"the new runs do not have it ({found[-1].reason})")
    old = [outcome.value for outcome in metric.runs if outcome.value is not None]
    new = [outcome.value for outcome in found if outcome.value is not None]
    scale = scale_of(id, [*old, *new])
    n_images = int(metric.protocol.get("n_fake") or 1000)
    on_scale = [transformed(values, scale, n_images) for values in (old, new)]
    failed = tuple(outcome for outcome in found if outcome.value is None)
    if len(old) < settings.min_baseline or len(new) < settings.min_new:
        note = (
            f"{len(old)} baseline and {len(new)} new values; {settings.min_baseline} and {settings.min_new} are needed"
        )
        return Row(
            id, name, Verdict.INCONCLUSIVE, "; ".join([note, *_failures(failed)]), n_baseline=len(old), n_new=len(new),
            failed_baseline=len(metric.runs) - len(old), failed_new=len(failed),
        )  # fmt: skip
    return _Sample(id, metric, scale, n_images, on_scale[0], on_scale[1], failed)


def _protocol_note(id: str, metric: Metric, others: Sequence[Record]) -> str:
    """Which parts of the protocol differ in how many runs."""
    old, new = _leaves(metric.protocol), _leaves(others[0].values[id]["protocol"])
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    shown = ", ".join(f"{key} {_short(old.get(key))} -> {_short(new.get(key))}" for key in keys[:4])
    return f"another protocol in {len(others)} runs: {shown}" + (" ..." if len(keys) > 4 else "")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."


def _failures(failed: Sequence[Outcome]) -> Iterator[str]:
    if failed:
        yield "without a value: " + ", ".join(f"seed {outcome.seed} ({outcome.reason})" for outcome in failed)


def _judged(samples: Sequence[_Sample], settings: Settings) -> Iterator[Row]:
    """The rows of the metrics of one family."""
    if not samples:
        return
    deltas, sds = np.array([s.delta for s in samples]), np.array([s.sd for s in samples])
    n_old, n_new = np.array([len(s.old) for s in samples]), np.array([len(s.new) for s in samples])
    levels = holm_levels(p_values(deltas, sds, n_old, n_new), settings.family)
    for sample, level in zip(samples, levels):
        yield _row(sample, float(level), settings.family / len(samples), settings)


def _row(sample: _Sample, level: float, first_level: float, settings: Settings) -> Row:
    """One metric's row. first_level: Holm's strictest; powers are given for it, since other metrics may not move."""
    metric, sd, centre = sample.metric, sample.sd, float(sample.old.mean())
    margin = practical_margin(sample.id, sample.scale, centre, metric.better, settings)
    counts = len(sample.old), len(sample.new)
    h = limit(sd, level, *counts)
    verdict = judge(sample.delta, h, margin, settings.wide)
    notes = list(_failures(sample.failed_new))
    if verdict is Verdict.INCONCLUSIVE:
        notes.insert(0, _seeds_note(seeds_needed(sd, margin, level, *counts, settings.wide)))
    if verdict is Verdict.PASS and abs(sample.delta) > h:
        notes.insert(0, "a change beyond chance, but smaller than the practical margin")
    return Row(
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
        return f"even {_MOST_SEEDS} seeds would not do: the runs scatter too widely"
    return f"{needed[0]} baseline and {needed[1]} new seeds would decide"


def _finished_row(baseline: ModelBaseline, runs: Sequence[Record], settings: Settings) -> Row:
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
    reasons = "; ".join(f"seed {run.plain['seed']}: {run.plain['reason']}" for run in failed)
    if row["new"] >= row["baseline"]:
        return Row("finished_runs", "finished runs", Verdict.PASS, reasons, **row)  # type: ignore[arg-type]
    if _fisher(len(failed), done, old_failed, old_done) <= settings.family:
        return Row("finished_runs", "finished runs", Verdict.REGRESSED, reasons, **row)  # type: ignore[arg-type]
    times = next(
        (n for n in range(2, 50) if _fisher(n * len(failed), n * done, old_failed, old_done) <= settings.family), None
    )
    more = f"; {times * len(runs)} new seeds that fail as often would decide" if times else ""
    return Row("finished_runs", "finished runs", Verdict.INCONCLUSIVE, reasons + more, **row)  # type: ignore[arg-type]


def _fisher(failed: int, done: int, old_failed: int, old_done: int) -> float:
    """One-sided p of failing more often than before."""
    return float(scipy.stats.fisher_exact([[failed, done], [old_failed, old_done]], alternative="greater").pvalue)


def _machine_notes(baseline: ModelBaseline, runs: Sequence[Record]) -> Iterator[str]:
    """What a difference could come from, and whether there is one at all."""
    if changed := other_environment(baseline.environment, runs[0].plain["environment"]):
        yield f"trained elsewhere: {'; '.join(changed)}"
    done = [run for run in runs if run.status == "done"]
    same = [
        run for run in done if _weights(run) and baseline.weights_sha256.get(str(run.plain["seed"])) == _weights(run)
    ]
    if same:
        yield f"{len(same)} of {len(done)} new runs have the very weights of the baseline's run of the same seed"


# ---- showing --------------------------------------------------------------------------------------------------------


def _back(scale: Scale, value: float) -> float:
    """From the scale to the metric's own unit."""
    return {"log": math.exp, "logit": lambda x: float(scipy.special.expit(x)), "identity": float}[scale](value)


def _step(row: Row, worsening: float | None) -> str:
    """A step towards worse as readers know it: signed per cent of a distance, points of a share, else plain."""
    if worsening is None or row.baseline is None or row.scale is None:
        return ""
    step = worsening if row.better == "lower" else -worsening
    if row.scale == "log":
        return f"{math.expm1(step):+.1%}"
    if row.scale == "logit":
        moved = float(scipy.special.expit(scipy.special.logit(row.baseline) + step))
        return f"{100 * (moved - row.baseline):+.2f} points"
    return f"{step:+.3g}"


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        str(row.verdict),
        "" if row.baseline is None else f"{row.baseline:.4g}",
        "" if row.new is None else f"{row.new:.4g}",
        _step(row, row.delta),
        _step(row, row.limit),
        _step(row, row.margin),
        "" if row.sd is None else f"{row.sd:.3g} ({row.scale})",
        "" if row.half_sampling_sd is None else f"{row.half_sampling_sd:.3g}",
        f"{row.n_baseline} ({row.failed_baseline}) / {row.n_new} ({row.failed_new})",
        "" if row.power_margin is None else f"{row.power_margin:.0%}",
        "" if row.power_three_sd is None else f"{row.power_three_sd:.0%}",
    ]


# ---- the verb -------------------------------------------------------------------------------------------------------


def model_gate(
    method: str,
    dataset: str,
    results: Path = Path("results"),
    *,
    json_file: Path | None = None,
    accept: str | None = None,
    source: Path = Path("results/reference"),
    allow_inconclusive: bool = False,
    config: str | None = None,
    metrics: Sequence[str] | None = None,
    baselines: Path = BASELINES,
) -> int:
    """Compare the records of a results folder with the baseline, or accept a new baseline. Returns the exit status.

    results: folder with the new runs' `records/`. source: folder whose records become the baseline with `accept`, the
    reason. config: beginning of a configuration's hash, where several were run. metrics: ids; None: all.
    0 pass or improved; 1 regressed; 3 incomparable; 4 a metric without baseline; 5 inconclusive (0 if allowed). Raises
    UserErrors with their exit codes: 2 for bad input, 4 without a baseline.
    """
    if accept is not None:
        path = accept_model(accept, method, dataset, source, config=config, baselines=baselines)
        print(f"{path}: commit it")
        return PASSED
    baseline = read_model_baseline(model_baseline_path(method, dataset, baselines))
    runs = select(read_records(results), method, dataset, like=baseline, config=config)
    report = compare(baseline, runs, metrics=metrics)
    if json_file is not None:
        write_json(json_file, report.plain(allow_inconclusive))
    print(report.table())
    print(report.text())
    return report.exit_code(allow_inconclusive)
