"""What the metrics say of real images: of half against half, and of known damage. Rows of every table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmark.evaluation.context import Side
from benchmark.evaluation.scores import measure
from benchmark.metrics.checks import MetricError
from benchmark.metrics.corruptions import CORRUPTIONS, NEEDS_LABELS, halves
from benchmark.metrics.extractors.base import Extractor, Features
from benchmark.metrics.extractors.store import FeatureStore
from benchmark.metrics.sets import FeatureSets, OfReal, SetSettings, computed, remembered

CONTROLS = ("noise 5", "noise 15", "blur 1 px", "half of the classes", "100 distinct")  # damage shown in every table
FLOOR = "real, half against half"


def real_data_rows(
    extractor: Extractor, real: Side, n_fake: int, settings: SetSettings, store: FeatureStore
) -> dict[str, dict[str, float]]:
    """What the set metrics say of known damage: {row: {part of the id: value}}. Kept in the store.

    real: the reference. The floor compares its two halves. A Frechet distance of few images is too high, so the floor
    is too high for generators whose images and reference are more than these halves, and too low for those of fewer.
    A damaged row compares as many images as a generator has, where the reference holds as many, with the whole
    reference, which contains the undamaged ones: it shows the damage alone, without the error of sampling that a
    generator's value has, and can lie below the floor.
    """
    settings = replace(settings, half_samples=0, extrapolate=False)
    provenance = {"what": "controls", "extractor": extractor.identity, "images": real.sha256, "n": n_fake,
                  "settings": repr(settings), "rows": CONTROLS}  # fmt: skip

    of_real = remembered(of_images(store, extractor, real.sha256))  # one reference beside every damage

    def make() -> dict[str, dict[str, float]]:
        reference = store.features(extractor, real.images, sha256=real.sha256)
        rows = {}
        one, other = halves(len(real), seed=settings.seed)
        logits = None if reference.logits is None else reference.logits[other]
        half = Features(reference.pooled[other], logits)
        rows[f"{FLOOR}, n = {len(one):,}"] = _numbers(np.asarray(reference.pooled)[one], half, extractor, settings)
        for name in CONTROLS:
            if name in NEEDS_LABELS and real.labels is None:
                continue
            # Dropping classes needs more images than are kept; all other damage is done to those that are compared.
            images = np.asarray(real.images) if name in NEEDS_LABELS else real.images[:n_fake]
            try:
                damaged = CORRUPTIONS[name](images, real.labels, settings.seed)[:n_fake]
            except MetricError:
                continue  # fewer images than this damage is made of
            seen = extractor_pass(extractor, damaged)
            n = "" if len(damaged) == n_fake else f", n = {len(damaged):,}"
            rows[f"real, {name}{n}"] = _numbers(np.asarray(reference.pooled), seen, extractor, settings, of_real)
        return rows

    return store.numbers(provenance, make)


def extractor_pass(extractor: Extractor, images: np.ndarray) -> Features:
    """Features of images that are not needed again."""
    return FeatureStore(None).features(extractor, images)


def of_images(store: FeatureStore, extractor: Extractor, sha256: str) -> OfReal:
    """Numbers of one set of images alone, which the store keeps: of a large reference they take longer than a run's."""

    def found(name: str, make: Callable[[], float]) -> float:
        return store.numbers({"what": name, "extractor": extractor.identity, "images": sha256}, make)

    return found


def _numbers(
    real: np.ndarray, seen: Features, extractor: Extractor, settings: SetSettings, of_real: OfReal = computed
) -> dict[str, float]:
    logits = None if seen.logits is None else np.asarray(seen.logits)
    sets = FeatureSets(real, np.asarray(seen.pooled), logits, settings, extractor=extractor.name, of_real=of_real)
    return {stem: number.value for stem, number in measure(sets).items()}
