"""Frechet distances by class frequency, of images that were each given a class."""

from __future__ import annotations

import numpy as np

from benchmark.evaluation.context import ImageSet
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.extractors.base import Extractor, Features
from benchmark.metrics.strata import stratified_fd


def stratified_values(
    extractor: Extractor, fake: Features, real: Features, images: ImageSet, bounds: tuple[int, int]
) -> list[MetricValue]:
    """A distance for each group of classes; nothing where images were given no classes, or the reference has none.

    bounds: training images that a class of the rarest group has at most, and one of the most frequent at least.
    """
    given, labels, counts = images.given_classes, images.reference.labels, images.class_counts
    if given is None or labels is None or counts is None:
        return []
    few, many = bounds
    found = stratified_fd(real.pooled, labels, fake.pooled, given, counts, few, many)
    how = {"few": f"at most {few} training images of the class", "many": f"at least {many}"}
    protocol = images.protocol | {"extractor": extractor.identity, "strata": how}
    values = []
    for name, stratum in found.items():
        details = {"classes": stratum.n_classes, "real": stratum.n_real, "generated": stratum.n_fake}
        missing = stratum.value is None
        values.append(
            MetricValue.of_row(
                f"fd_{name}_X",
                stratum.value,
                protocol,
                of=extractor.name,
                status="unavailable" if missing else "ok",
                reason=f"{np.minimum(stratum.n_real, stratum.n_fake)} images of its classes" if missing else "",
                details=details,
            )
        )
    return values
