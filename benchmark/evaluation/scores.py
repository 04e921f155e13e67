"""Numbers of one set of images against another, from one feature pass: what a run and anyone's pictures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.core.errors import UserError
from benchmark.evaluation.config import SetSettings
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.chamfer import chamfer
from benchmark.metrics.checks import Array, MetricError
from benchmark.metrics.corruptions import CORRUPTIONS, NEEDS_LABELS, halves
from benchmark.metrics.extractors import Extractor, Features
from benchmark.metrics.frechet import frechet_distance, intra_class_fd
from benchmark.metrics.inception_score import inception_score
from benchmark.metrics.kid import kid
from benchmark.metrics.prdc import prdc
from benchmark.metrics.resampling import fd_at_infinity, half_sampling_sd
from benchmark.metrics.store import FeatureStore

CONTROLS = ("noise 5", "noise 15", "blur 1 px", "half of the classes", "100 distinct")  # damage shown in every table
FLOOR = "real, half against half"
IS_SPLITS_FROM = 10_000  # images: fewer are scored in one split, because ten would be of a few classes each


@dataclass(frozen=True)
class Side:
    """One of the two sets: its images, and classes where it has some."""

    images: np.ndarray  # uint8 (N, H, W, C)
    sha256: str  # of the images
    labels: np.ndarray | None = None  # int64 [N]

    def __len__(self) -> int:
        return len(self.images)


def metric_names(extractor_name: str) -> dict[str, str]:
    """Ids of the set metrics with the names of their columns. Only Inception's are FID, KID and IS."""
    inception = {"inception": "", "inception-clean": "-clean"}.get(extractor_name)
    fd, kd, cs = ("FID", "KID", "IS") if inception is not None else ("FD", "KD", "CS")
    tail = f"-{extractor_name}" if inception is None else inception
    key = extractor_name.replace("-", "_")
    return {
        f"fd_{key}": fd + tail,
        f"score_{key}": cs + tail,
        f"kd_{key}": kd + tail,
        f"precision_{key}": f"Precision-{extractor_name}",
        f"recall_{key}": f"Recall-{extractor_name}",
        f"density_{key}": f"Density-{extractor_name}",
        f"coverage_{key}": f"Coverage-{extractor_name}",
        f"chamfer_{key}": f"Chamfer-{extractor_name}",
        f"fd_infinity_{key}": f"{fd}{tail}, extrapolated",
        f"intra_fd_{key}": f"Intra-class {fd}{tail}",
    }


def unavailable(extractor_name: str, protocol: dict[str, Any], problem: UserError) -> list[MetricValue]:
    """The set metrics of an extractor whose weights are absent: no value, and why."""
    extractor_name = extractor_name.replace(":", "-")
    some = ("fd_", "score_", "kd_", "precision_", "recall_", "density_", "coverage_", "chamfer_")
    return [
        MetricValue(id, name, None, "lower" if id.startswith(("fd_", "kd_", "chamfer_")) else "higher",
              protocol | {"extractor": {"extractor": extractor_name}}, status="unavailable", reason=problem.what)
        for id, name in metric_names(extractor_name).items() if id.startswith(some) and "infinity" not in id
    ]  # fmt: skip


def set_values(
    extractor: Extractor,
    fake: Features,
    real: Features,
    protocol: dict[str, Any],
    settings: SetSettings,
    controls: dict[str, dict[str, float]] | None = None,
    progress: bool = False,
) -> list[MetricValue]:
    """Every number of a generated set against a real one that features alone give.

    protocol: what decides the numbers beside the extractor. controls: `real_data_rows` of the same reference; they go
    into the details of each value.
    """
    a, b = np.asarray(real.pooled), np.asarray(fake.pooled)
    protocol = protocol | {"extractor": extractor.identity}
    measured = _measure(a, b, fake, settings, progress)
    spread = _half_sampling(a, b, settings)
    names, key = metric_names(extractor.name), extractor.name.replace("-", "_")
    values = []
    for part, found in measured.items():
        details = dict(found.details)
        if part in spread:
            details["sd_half_sampling"] = spread[part]
        if controls:
            details["controls"] = {row: numbers[part] for row, numbers in controls.items() if part in numbers}
        id = f"{part}_{key}"
        values.append(
            MetricValue(id, names[id], found.value, found.better, protocol | found.protocol, details=details)  # type: ignore[arg-type]
        )
    return values


@dataclass(frozen=True)
class _Found:
    value: float
    better: str
    protocol: dict[str, Any]
    details: dict[str, Any]


def _measure(
    real: np.ndarray, fake: np.ndarray, seen: Features, settings: SetSettings, progress: bool = False
) -> dict[str, _Found]:
    """Each metric's value by the first part of its id."""
    found = {"fd": _Found(frechet_distance(real, fake), "lower", {}, {})}
    if seen.logits is not None:
        splits = settings.splits or (10 if len(fake) >= IS_SPLITS_FROM else 1)
        score = inception_score(np.asarray(seen.logits), splits=splits)
        found["score"] = _Found(score.mean, "higher", {"splits": splits}, {"std_over_splits": score.std})
    kernel = "unbiased MMD^2 of all images, polynomial kernel of degree 3, gamma 1/d, coef0 1"
    found["kd"] = _Found(kid(real, fake), "lower", {"kernel": kernel}, {})
    some_real, some_fake = (_sample(rows, settings.prdc_images, settings.seed) for rows in (real, fake))
    if min(len(some_real), len(some_fake)) > settings.k:
        balls = prdc(some_real, some_fake, k=settings.k, progress=progress)
        how = {"k": settings.k, "prdc_images": [len(some_real), len(some_fake)]}
        for name in ("precision", "recall", "density", "coverage"):
            found[name] = _Found(getattr(balls, name), "higher", how, {})
    both = chamfer(real, fake)
    text = "unit-length features, mean squared distance to the nearest, both directions added"
    directions = {"real_to_fake": both.real_to_fake, "fake_to_real": both.fake_to_real}
    found["chamfer"] = _Found(both.two_way, "lower", {"chamfer": text}, directions)
    if settings.extrapolate and len(fake) > 2 * fake.shape[1]:  # a line in 1/n needs sizes above d
        limit = fd_at_infinity(real, fake, seed=settings.seed)
        how = {"extrapolation": "line in 1 / generated images", "sizes": list(limit.sizes)}
        found["fd_infinity"] = _Found(
            limit.value, "lower", how, {"slope": limit.slope, "residual_sd": limit.residual_sd}
        )
    return found


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
    key = extractor.name.replace("-", "_")
    id = f"intra_fd_{key}"
    value = MetricValue(
        id, metric_names(extractor.name)[id], None, "lower", protocol | {"extractor": extractor.identity}
    )
    try:
        found = intra_class_fd(np.asarray(real.pooled), real_labels, np.asarray(fake.pooled), fake_labels)
    except MetricError as problem:
        return [replace(value, status="unavailable", reason=str(problem))]
    details = {"per_class": {class_names[c]: fd for c, fd in found.per_class.items()}}
    if found.missing:
        few = ", ".join(class_names[c] for c in found.missing[:5]) + (" ..." if len(found.missing) > 5 else "")
        return [replace(value, status="unavailable", reason=f"too few images of {few}", details=details)]
    return [replace(value, value=found.mean, details=details)]


# ---- how far a number can be trusted --------------------------------------------------------------------------------


def _half_sampling(real: np.ndarray, fake: np.ndarray, settings: SetSettings) -> dict[str, float]:
    """Standard deviation of some metrics over other images of the same generator."""
    if not settings.half_samples or len(fake) < 4:
        return {}
    metrics: dict[str, Callable[[Array, Array], float]] = {"fd": frechet_distance, "kd": kid}
    return {
        name: half_sampling_sd(metric, real, fake, draws=settings.half_samples, seed=settings.seed)
        for name, metric in metrics.items()
    }


def real_data_rows(
    extractor: Extractor, real: Side, n_fake: int, settings: SetSettings, store: FeatureStore
) -> dict[str, dict[str, float]]:
    """What the set metrics say of known damage: {row: {part of the id: value}}. Kept in the store.

    real: the reference. The floor compares its two halves, so its number of images is smaller than a generator's and
    it lies too high rather than too low. A damaged row compares as many images as a generator has, where the reference
    holds as many, with the whole reference.
    """
    settings = replace(settings, half_samples=0, extrapolate=False)
    provenance = {"what": "controls", "extractor": extractor.identity, "images": real.sha256, "n": n_fake,
                  "settings": repr(settings), "rows": CONTROLS}  # fmt: skip

    def make() -> dict[str, dict[str, float]]:
        reference = store.features(extractor, real.images, sha256=real.sha256)
        rows = {}
        one, other = halves(len(real), seed=settings.seed)
        logits = None if reference.logits is None else reference.logits[other]
        half = Features(reference.pooled[other], logits)
        rows[f"{FLOOR}, n = {len(one):,}"] = _numbers(np.asarray(reference.pooled)[one], half, settings)
        for name in CONTROLS:
            if name in NEEDS_LABELS and real.labels is None:
                continue
            # Dropping classes needs more images than are kept; all other damage is done to those that are compared.
            images = real.images if name in NEEDS_LABELS else real.images[:n_fake]
            try:
                damaged = CORRUPTIONS[name](images, real.labels, settings.seed)[:n_fake]
            except MetricError:
                continue  # fewer images than this damage is made of
            seen = extractor_pass(extractor, damaged)
            n = "" if len(damaged) == n_fake else f", n = {len(damaged):,}"
            rows[f"real, {name}{n}"] = _numbers(np.asarray(reference.pooled), seen, settings)
        return rows

    return store.numbers(provenance, make)


def extractor_pass(extractor: Extractor, images: np.ndarray) -> Features:
    """Features of images that no one will ask for again."""
    return FeatureStore(None).features(extractor, images)


def _numbers(real: np.ndarray, seen: Features, settings: SetSettings) -> dict[str, float]:
    return {part: found.value for part, found in _measure(real, np.asarray(seen.pooled), seen, settings).items()}


def _sample(rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """At most n rows, drawn once and for all; in their order."""
    if len(rows) <= n:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), n, replace=False))]
