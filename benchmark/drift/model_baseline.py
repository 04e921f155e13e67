"""Baselines of the test of trained models: their files, the runs chosen by configuration, and accepting new ones.

A baseline holds every metric of several seeds of a method on a dataset, with the settings and protocols they were
measured by and the reasons for which it was accepted. Failed runs stay in it, with their reasons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic.dataclasses
from pydantic import Field

from benchmark.core.config import STRICT, build, merge
from benchmark.core.files import read_json, require_writable, write_json
from benchmark.core.names import path_component
from benchmark.drift.gates import BASELINES, Accepted, BaselineMissing, DriftError, Finite, clean_commit, require_reason
from benchmark.drift.statistics import Settings
from benchmark.metrics.catalogue import row_of
from benchmark.report.tables import asked_settings, changes_text, group
from benchmark.runs.record_checks import Changes, Config, Environment, Protocol
from benchmark.runs.records import Record, read_records, request_of


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class MetricOfRun:
    """One metric of one run. reason: why there is no value."""

    seed: int
    value: Finite | None
    reason: str = ""


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class Metric:
    """One metric of all baseline runs."""

    name: str
    better: Literal["lower", "higher"]
    protocol_key: str
    protocol: Protocol
    runs: tuple[MetricOfRun, ...]
    half_sampling_sd: Finite | None = None  # mean over runs: the error of sampling one generator


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelBaseline:
    """The file `baselines/model/<dataset>/<method>.json`."""

    method: str
    dataset: str
    recipe: str
    changes: Changes
    config_hash: str
    config: Config
    weights_sha256: dict[str, str]  # of each finished run, by seed
    failed: dict[str, str]  # reasons of failed runs, by seed
    commits: tuple[str, ...]  # of the code that trained the runs
    environment: Environment  # of the first run
    metrics: Annotated[dict[str, Metric], Field(min_length=1)]
    accepted: Annotated[tuple[Accepted, ...], Field(min_length=1)]  # oldest first


def model_baseline_path(method: str, dataset: str, baselines: Path = BASELINES) -> Path:
    """Where the baseline of a method on a dataset lies."""
    return baselines / "model" / path_component(dataset) / f"{path_component(method)}.json"


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

    like: take this baseline's configuration, or the one with its recipe and changes; None: the recipe as it is, or the
    only one.
    config: the beginning of a configuration's hash, where there are several. Raises DriftError, listing what there is,
    when not exactly one configuration fits.
    """
    groups = group(r for r in records if r.method == method and r.dataset == dataset)
    fitting = {key: runs for key, runs in groups.items() if key.startswith(config or "")}
    if config is None and like is not None:
        same = {key: runs for key, runs in fitting.items() if key == like.config_hash}  # in other words
        fitting = same or {key: runs for key, runs in fitting.items() if _same_request(runs[0], like)}
    if config is None and like is None and len(fitting) > 1:
        fitting = {key: runs for key, runs in fitting.items() if not runs[0].changes}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    listed = "; ".join(
        f"{key[:8]}: {runs[0].recipe} {changes_text(runs[0])}".rstrip() + f", {len(runs)} runs"
        for key, runs in groups.items()
    )
    changes = "" if like is None else " ".join(asked_settings(_with_all_metrics(like)))
    train = f'make bench METHOD={method} DATASET={dataset} SEEDS="5 6 7"' + (f' SET="{changes}"' if changes else "")
    raise DriftError(
        f"{method} on {dataset}: {len(fitting)} configurations fit, one is needed",
        f"there are {listed}" if listed else "there are no records of it",
        f"train it: {train}" if not groups or (like and not fitting) else "name one by --config HASH",
    )


def _with_all_metrics(like: ModelBaseline) -> dict[str, Any]:
    """A baseline's changes, with `eval.metrics`: without it a small recipe gives a part of the baseline's numbers."""
    return merge(like.changes, {"eval": {"metrics": like.config.get("eval", {}).get("metrics", "all")}})


def _same_request(run: Record, like: ModelBaseline) -> bool:
    return run.recipe == like.recipe and request_of(run.changes) == request_of(like.changes)


def outcomes(runs: Sequence[Record], id: str) -> tuple[MetricOfRun, ...]:
    """A metric of each run; a run that failed, or whose value is none, has the reason instead."""
    return tuple(_outcome(run, id) for run in runs)


def _outcome(run: Record, id: str) -> MetricOfRun:
    seed = run.seed
    if run.status != "done":
        return MetricOfRun(seed=seed, value=None, reason=f"the run failed: {run.reason}")
    value = run.values.get(id)
    if value is None:
        return MetricOfRun(seed=seed, value=None, reason="the evaluation did not ask for it")
    if value.status != "ok" or value.value is None or not math.isfinite(value.value):
        return MetricOfRun(seed=seed, value=None, reason=f"{value.status}: {value.reason}")
    return MetricOfRun(seed=seed, value=float(value.value))


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
    records: Sequence[Record] | None = None,
) -> Path:
    """Store the runs of a results folder as the baseline, with reason, commit, old and new values. Returns the file.

    source: a folder with `records/`. commit: names the code's commit; `clean_commit` by default, which refuses a
    changed tree. records: those that `find_records` found; None: they are read. Metrics without direction, and those no
    run has a value of, are left out.
    Raises DriftError without a reason, for a changed tree, for fewer finished runs than the settings require, and for
    runs of unlike protocols.
    """
    settings = settings or Settings()
    path = model_baseline_path(method, dataset, baselines)
    runs = select(read_records(source) if records is None else records, method, dataset, config=config)
    head = require_reason(reason, commit or clean_commit)
    require_writable(path.parent)
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
    first = done[0]
    baseline = ModelBaseline(
        method=method,
        dataset=dataset,
        recipe=first.recipe,
        changes=first.changes,
        config_hash=first.config_hash,
        config=first.config,
        weights_sha256={str(run.seed): weights_digest(run) for run in done},
        failed={str(run.seed): run.reason for run in runs if run.status != "done"},
        commits=tuple(sorted({str(run.environment.get("commit")) for run in runs})),
        environment=first.environment,
        metrics=metrics,
        accepted=(*(old.accepted if old else ()), Accepted(reason=reason, commit=head, changed=changed)),
    )
    write_json(path, asdict(baseline))
    return path


def _metrics(runs: Sequence[Record]) -> dict[str, Metric]:
    """Every metric that has a direction and of which some run has a value.

    Raises DriftError where runs measured one by unlike protocols.
    """
    done = [run for run in runs if run.status == "done"]
    found: dict[str, Metric] = {}
    for id in dict.fromkeys(id for run in done for id in run.values):
        values = [run.values[id] for run in done if id in run.values]
        keys = {value.protocol_key for value in values}
        if len(keys) > 1:
            raise DriftError(
                f"{values[0].name}: {len(keys)} protocols among the runs",
                "numbers of unlike protocols have no common spread",
                "evaluate all runs alike",
            )
        runs_of_it = outcomes(runs, id)
        better = values[0].better
        if better is None or not row_of(id).applies_to(id) or all(run.value is None for run in runs_of_it):
            continue  # MiFD of other features than Inception's is in earlier records alone
        spreads = [s for value in values if (s := value.details.get("sd_half_sampling")) is not None]
        found[id] = Metric(
            name=values[0].name,
            better=better,
            protocol_key=values[0].protocol_key,
            protocol=values[0].protocol,
            runs=runs_of_it,
            half_sampling_sd=float(np.mean(spreads)) if spreads else None,
        )
    return found


def _changed(old: Mapping[str, Metric], new: Mapping[str, Metric]) -> dict[str, tuple[Any, Any]]:
    def values(metrics: Mapping[str, Metric], id: str) -> Any:
        return {str(run.seed): run.value for run in metrics[id].runs} if id in metrics else None

    pairs = {id: (values(old, id), values(new, id)) for id in {**old, **new}}
    return {id: pair for id, pair in pairs.items() if pair[0] != pair[1]}


def weights_digest(run: Record) -> str:
    """SHA-256 of a run's trained weights; empty where there are none."""
    return run.result_or_empty.weights_sha256 or ""
