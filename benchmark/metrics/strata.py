"""Frechet distance by class frequency: is a model of unequal classes good where it saw many images, or few?

Source: ImageNet-LT's three groups (Liu et al., "Large-scale long-tailed recognition in an open world", CVPR 2019):
many-shot classes have 100 training images or more, few-shot ones 20 or fewer, medium-shot ones lie between. IC-GAN
(Casanova et al., NeurIPS 2021) gives the FID of each group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.metrics.checks import Array, MetricError, int_labels, row_pair
from benchmark.metrics.frechet import frechet_distance

STRATA = ("many", "medium", "few")


@dataclass(frozen=True)
class StratumFD:
    """The distance within one group of classes."""

    value: float | None  # None: a set has fewer than two images of these classes
    n_classes: int
    n_real: int
    n_fake: int


def strata_of(counts: Array, few: int = 20, many: int = 100) -> dict[str, np.ndarray]:
    """Classes of each group, int64, by their numbers of training images [K]: at least `many`, at most `few`, between.

    Raises MetricError for bounds that do not leave the groups apart.
    """
    if not 0 <= few < many:
        raise MetricError(
            f"strata of at most {few} and at least {many} images", "a class would be in two groups", "give few < many"
        )
    n = np.asarray(counts)
    groups = {"many": n >= many, "medium": (n > few) & (n < many), "few": n <= few}
    return {name: np.flatnonzero(group) for name, group in groups.items()}


def stratified_fd(
    real: Array,
    real_labels: Array,
    fake: Array,
    fake_labels: Array,
    counts: Array,
    few: int = 20,
    many: int = 100,
) -> dict[str, StratumFD]:
    """Frechet distance of generated to real images of the classes of each group. In [0, inf), lower is better.

    real: [N, d] floats with classes [N]; fake: [M, d] floats, of one extractor, with the classes [M] they were to show.
    counts: [K], training images of each class, which decide its group. few, many: bounds of the groups.
    Images of a group's classes are pooled. Biased upwards by about 1/n, where n is that of a group: compare only values
    of equal numbers. A group without a class, or with fewer than two images of either set, has no value.
    Raises MetricError for bad features (as `frechet_distance`), labels outside of the K classes, or bounds.
    """
    real, fake = row_pair(real, fake)
    n_classes = len(np.asarray(counts))
    real_y = int_labels("real labels", real_labels, len(real), n_classes)
    fake_y = int_labels("fake labels", fake_labels, len(fake), n_classes)
    found = {}
    for name, classes in strata_of(counts, few, many).items():
        mine, theirs = real[np.isin(real_y, classes)], fake[np.isin(fake_y, classes)]
        value = frechet_distance(mine, theirs) if min(len(mine), len(theirs)) >= 2 else None
        found[name] = StratumFD(value, len(classes), len(mine), len(theirs))
    return found
