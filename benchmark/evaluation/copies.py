"""Copies: are samples training images, and are they like what they were to be like?"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.data.prepared import Dataset
from benchmark.evaluation.context import ImageSet, reference_of
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.copying import copy_test, instance_preference
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.extractors.store import FeatureStore

PREFERENCE_SAMPLES = 2000  # at most, of the instance preference: each needs features of dozens of images
RANDOM_IMAGES = 10  # training images that each sample of an instance is compared with


def copying(images: ImageSet, data: Dataset, extractor: Extractor, pooled: np.ndarray) -> list[MetricValue]:
    """Are samples copies of training images? And, for a method conditioned on images, like what they were asked for?

    data: whose training split may have been copied. pooled: features [n_fake, d] of the generated images.
    """
    values = copy_values(extractor, pooled, images.protocol, data, images.store, images.cfg.jpeg)
    if (targets := images.targets(PREFERENCE_SAMPLES)) is not None:
        train = split_features(extractor, data, "train", images.store, images.cfg.jpeg)
        values.append(preference(extractor, pooled[: len(targets)], train, targets, images.protocol, images.seed))
    return values


def split_features(
    extractor: Extractor, data: Dataset, split: str, store: FeatureStore, jpeg: int | None = None
) -> np.ndarray:
    """Features [N, d] of a whole split, once for all runs. jpeg: `eval.jpeg`."""
    side = reference_of(data, split, jpeg)
    return np.asarray(store.features(extractor, side.images, sha256=side.sha256).pooled)


def copy_values(
    extractor: Extractor,
    pooled: np.ndarray,
    protocol: dict[str, Any],
    data: Dataset,
    store: FeatureStore,
    jpeg: int | None = None,
) -> list[MetricValue]:
    """How many of the images with these features are no copies of training images, beside held-out images."""
    if not data.holds_out:
        protocol = protocol | {"extractor": extractor.identity}
        reason = "no image is held out to compare with (data.split=all)"
        absent = MetricValue.of_row(
            "authenticity_X", None, protocol, of=extractor.name, status="unavailable", reason=reason
        )
        return [absent]
    train, test = (split_features(extractor, data, split, store, jpeg) for split in ("train", "test"))
    found = copy_test(train, test, pooled)
    return [
        MetricValue.of_row(
            "authenticity_X",
            found.authenticity,
            protocol
            | {
                "extractor": extractor.identity,
                "authentic": "farther from its nearest training image than that one from its own nearest",
            },
            found.low,
            found.high,
            of=extractor.name,
            details={"of_held_out": found.authenticity_heldout, "nearest_over_held_out": found.ratio},
        )
    ]


def preference(
    extractor: Extractor, fake: np.ndarray, real: np.ndarray, targets: np.ndarray, protocol: dict[str, Any], seed: int
) -> MetricValue:
    """How often a sample is closer to an image it was asked to be like than to a random training image."""
    random = np.random.Generator(np.random.PCG64([seed, 0x9EA2])).integers(len(real), size=(len(fake), RANDOM_IMAGES))
    found = instance_preference(fake, real[targets], real[random])
    return MetricValue.of_row(
        "instance_preference_X",
        found.value,
        protocol
        | {"extractor": extractor.identity, "random_images": RANDOM_IMAGES, "samples": len(fake), "chance": 0.5},
        found.low,
        found.high,
        of=extractor.name,
    )
