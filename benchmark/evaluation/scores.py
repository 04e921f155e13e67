"""Numbers of one set of images against another, from one feature pass: what a run and anyone's images share."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmark.core.errors import UserError
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.catalogue import load, set_rows
from benchmark.metrics.checks import Array, MetricError
from benchmark.metrics.cmmd import CLIP
from benchmark.metrics.extractors.base import Extractor, Features
from benchmark.metrics.frechet import intra_class_fd
from benchmark.metrics.metric_row import Choice, MetricRow
from benchmark.metrics.resampling import half_sampling_sd
from benchmark.metrics.sets import FeatureSets, OfReal, SetNumber, SetSettings, computed, remembered

NEIGHBOURS = ("benchmark.metrics.prdc:of_sets", "benchmark.metrics.clipped:of_sets")  # give none for too few images


def set_values(
    extractor: Extractor,
    fake: Features,
    real: Features,
    protocol: dict[str, Any],
    settings: SetSettings,
    controls: dict[str, dict[str, float]] | None = None,
    progress: bool = False,
    of_real: OfReal = computed,
) -> list[MetricValue]:
    """Every number of a generated set against a real one that features alone give.

    protocol: what decides the numbers, extractor excepted. controls: `real_data_rows` of the same reference; they go
    into the details of each value. of_real: finds numbers of the real set alone from an earlier call.
    """
    logits = None if fake.logits is None else np.asarray(fake.logits)
    sets = FeatureSets(
        np.asarray(real.pooled), np.asarray(fake.pooled), logits, settings, progress, extractor.name, of_real
    )
    protocol = protocol | {"extractor": extractor.identity}
    rows = {row.stem: row for row in set_rows()}
    measured, spread = measure(sets), half_sampling(sets)
    values = []
    for stem, found in measured.items():
        details = dict(found.details)
        if stem in spread:
            details["sd_half_sampling"] = spread[stem]
        if controls:
            details["controls"] = {row: numbers[stem] for row, numbers in controls.items() if stem in numbers}
        values.append(
            MetricValue.of_row(
                rows[stem].id, found.value, protocol | found.protocol, of=extractor.name, details=details
            )
        )
    return values + _too_few_for_neighbours(sets, protocol, measured)


def _too_few_for_neighbours(sets: FeatureSets, protocol: dict[str, Any], measured: Container[str]) -> list[MetricValue]:
    """The metrics of k neighbours where a set has too few images for them: no value, and why."""
    settings = sets.settings
    n_real, n_fake = (min(len(rows), settings.prdc_images or len(rows)) for rows in (sets.real, sets.fake))
    reason = f"k = {settings.k} neighbours of each image are needed; there are {n_real} real and {n_fake} other images"
    return [
        MetricValue.of_row(row.id, None, protocol, of=sets.extractor, status="unavailable", reason=reason)
        for row in set_rows()
        if row.compute in NEIGHBOURS and row.computed(settings.metrics) and row.stem not in measured
    ]


def measure(sets: FeatureSets) -> dict[str, SetNumber]:
    """The numbers of two sets by the stems of their ids, in the catalogue's order: of the rows that `metrics` names."""
    found: dict[str, SetNumber] = {}
    rows = [row for row in set_rows() if row.computed(sets.settings.metrics)]
    for name in dict.fromkeys(row.compute for row in rows):  # one function may give the numbers of several rows
        found |= load(name)(sets)
    wanted = {row.stem for row in rows}
    return {stem: number for stem, number in found.items() if stem in wanted}


def half_sampling(sets: FeatureSets) -> dict[str, float]:
    """Standard deviation of some metrics over other images of the same generator, by the stems of their ids."""
    settings = sets.settings
    if not settings.half_samples or len(sets.fake) < 4:
        return {}
    sets, spread = replace(sets, logits=None, of_real=remembered(sets.of_real)), {}
    for row in set_rows():
        if not row.half_sampled or not row.computed(settings.metrics):
            continue

        def metric(_: Array, half: Array, row: MetricRow = row) -> float:
            return load(row.compute)(replace(sets, fake=np.asarray(half)))[row.stem].value

        spread[row.stem] = half_sampling_sd(
            metric, sets.real, sets.fake, draws=settings.half_samples, seed=settings.seed
        )
    return spread


def unavailable(
    extractor_name: str, protocol: dict[str, Any], problem: UserError, metrics: Choice = "all"
) -> list[MetricValue]:
    """The set metrics of an extractor whose weights are absent: no value, and why."""
    extractor_name = extractor_name.replace(":", "-")
    protocol = protocol | {"extractor": {"extractor": extractor_name}}
    return [
        MetricValue.of_row(row.id, None, protocol, of=extractor_name, status="unavailable", reason=problem.what)
        for row in set_rows()
        if not row.optional and row.computed(metrics) and (row.id != "cmmd_X" or extractor_name.startswith(CLIP))
    ]


def intra_class_values(
    extractor: Extractor,
    fake: Features,
    fake_labels: np.ndarray,
    real: Features,
    real_labels: np.ndarray,
    class_names: Sequence[str],
    protocol: dict[str, Any],
) -> list[MetricValue]:
    """Mean Frechet distance within classes; unavailable where a class has too few images: a mean over the others would
    look better than it is."""
    protocol = protocol | {"extractor": extractor.identity}
    value = MetricValue.of_row("intra_fd_X", None, protocol, of=extractor.name)
    try:
        found = intra_class_fd(np.asarray(real.pooled), real_labels, np.asarray(fake.pooled), fake_labels)
    except MetricError as problem:
        return [replace(value, status="unavailable", reason=str(problem))]
    details = {"per_class": {class_names[c]: fd for c, fd in found.per_class.items()}}
    if found.missing:
        few = ", ".join(class_names[c] for c in found.missing[:5]) + (" ..." if len(found.missing) > 5 else "")
        return [replace(value, status="unavailable", reason=f"too few images of {few}", details=details)]
    return [replace(value, value=found.mean, details=details)]
