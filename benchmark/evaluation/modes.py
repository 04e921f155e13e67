"""Modes: which of them 2-D samples reach, and which classes the judge sees among images."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.data.prepared import Dataset, mixture_of
from benchmark.evaluation.context import EvaluationContext
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.modes import class_modes, mode_statistics


def mode_values(context: EvaluationContext) -> list[MetricValue]:
    """Modes found, share of high-quality samples and reverse KL of 2-D samples (Self-Conditioned GAN, its table 1)."""
    mixture = mixture_of(context.data)
    found = mode_statistics(context.generated.images, mixture.centres, mixture.std)
    rule = {"high quality": "within 3 standard deviations of a centre in each coordinate", "kl": "nats, unsmoothed"}
    protocol = context.protocol | rule | {"n_modes": len(mixture.centres), "std": mixture.std}
    return [
        MetricValue.of_row("modes", float(found.n_modes), protocol, details={"of": len(mixture.centres)}),
        MetricValue.of_row("high_quality", found.high_quality, protocol),
        MetricValue.of_row("reverse_kl", found.reverse_kl, protocol),
    ]


def class_coverage(judge: Extractor, logits: np.ndarray, protocol: dict[str, Any], data: Dataset) -> list[MetricValue]:
    """Classes the judge sees among the samples, and how far their shares are from uniform."""
    found = class_modes(logits.argmax(1), data.n_classes)
    protocol = protocol | {"scorer": judge.identity, "kl": "to uniform shares, nats, unsmoothed"}
    return [
        MetricValue.of_row("modes_judge", float(found.n_modes), protocol, details={"of": data.n_classes}),
        MetricValue.of_row("reverse_kl_judge", found.reverse_kl, protocol, details={"log10": found.reverse_kl_log10}),
    ]
