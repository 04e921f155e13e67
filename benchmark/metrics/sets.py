"""What a metric of two sets of images is given, and what it gives back: the interface of the catalogue's `compute`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from benchmark.metrics.metric_row import Choice

OfReal: TypeAlias = "Callable[[str, Callable[[], float]], float]"  # a name, and what computes the number


def computed(name: str, make: Callable[[], float]) -> float:
    """An `OfReal` that keeps nothing."""
    return make()


def remembered(of_real: OfReal) -> OfReal:
    """An `OfReal` that asks another one for each number once."""
    known: dict[str, float] = {}

    def found(name: str, make: Callable[[], float]) -> float:
        if name not in known:
            known[name] = of_real(name, make)
        return known[name]

    return found


@dataclass(frozen=True)
class SetSettings:
    """How two sets of features are compared."""

    k: int = 5  # neighbours of precision, recall, density and coverage (Naeem et al., 2020)
    prdc_images: int = 10_000  # at most, of each set: their cost goes with the square (IC-GAN's number)
    splits: int | None = None  # of the inception score; None: ten from 10,000 images on, else one
    half_samples: int = 0  # draws of the error by half-sampling; 0: none
    extrapolate: bool = False  # FD at infinitely many images
    seed: int = 0
    metrics: Choice = "all"  # which metrics are computed; see `MetricRow.computed`


@dataclass(frozen=True)
class FeatureSets:
    """Real and generated images as one extractor sees them."""

    real: np.ndarray  # [N, d] pooled features
    fake: np.ndarray  # [M, d]
    logits: np.ndarray | None  # [M, K] of the generated images; None of an extractor without classes
    settings: SetSettings
    progress: bool = False  # show bars
    extractor: str = ""  # its name: some metrics are defined for one kind of features only
    of_real: OfReal = computed  # gives a number that depends on `real` alone: computed, or found from an earlier run


@dataclass(frozen=True)
class SetNumber:
    """One number of two sets."""

    value: float
    protocol: dict[str, Any] = field(default_factory=dict)  # what decides it apart from extractor and images
    details: dict[str, Any] = field(default_factory=dict)


def some_rows(rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """At most n rows, in their order; the same ones for one seed."""
    if len(rows) <= n:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), n, replace=False))]
