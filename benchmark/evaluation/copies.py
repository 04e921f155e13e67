"""Copies: are samples training images, and are they like what they were to be like?"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.data.prepared import Dataset
from benchmark.evaluation.context import ImageSet, reference_of
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.catalogue import row_named
from benchmark.metrics.checks import MetricError
from benchmark.metrics.copying import RealDistances, copy_test, instance_preference, real_distances
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.extractors.store import FeatureStore
from benchmark.metrics.memorization import FEWEST_FAKE, THRESHOLD, data_copying, memorization_informed_fd

PREFERENCE_SAMPLES = 2000  # at most, of the instance preference: each needs features of dozens of images
NOTHING_HELD_OUT = "no image is held out to compare with (data.split=all)"
RANDOM_IMAGES = 10  # training images that each sample of an instance is compared with


def copying(
    images: ImageSet, data: Dataset, extractor: Extractor, pooled: np.ndarray, real: np.ndarray
) -> list[MetricValue]:
    """Are samples copies of training images? And, for a method conditioned on images, like these?

    data: whose training split may have been copied. pooled: features [n_fake, d] of the generated images. real: those
    of the reference.
    """
    cfg = images.cfg
    values = copy_values(extractor, pooled, images.protocol, data, images.store, cfg.jpeg)
    if cfg.computes("data_copying_X"):
        values.append(_data_copying(images, data, extractor, pooled))
    mifd = row_named("mifd_X")
    if cfg.computes(mifd.id) and mifd.applies_to(mifd.id_of(extractor.name)):
        values.append(_mifd(images, data, extractor, pooled, real))
    if not cfg.computes("instance_preference_X"):
        return values
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
    """How many of the images with these features are no copies of training images, and of held-out images."""
    if not data.holds_out:
        return [_absent("authenticity_X", extractor, protocol, NOTHING_HELD_OUT)]
    train, test = (split_features(extractor, data, split, store, jpeg) for split in ("train", "test"))
    sides = {split: reference_of(data, split, jpeg).sha256 for split in ("train", "test")}
    try:
        known = store.arrays(
            {"what": "real distances", "extractor": extractor.identity, **sides},
            lambda: vars(real_distances(train, test)),
        )
        found = copy_test(train, test, pooled, real=RealDistances(**known))
    except MetricError as problem:
        return [_absent("authenticity_X", extractor, protocol, str(problem))]
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


def _data_copying(images: ImageSet, data: Dataset, extractor: Extractor, pooled: np.ndarray) -> MetricValue:
    """The three-sample test; unavailable without held-out images, or with too few generated ones in every cell."""
    if not data.holds_out:
        return _absent("data_copying_X", extractor, images.protocol, NOTHING_HELD_OUT)
    train, test = (split_features(extractor, data, s, images.store, images.cfg.jpeg) for s in ("train", "test"))
    try:
        found = data_copying(train, test, pooled, seed=images.seed)
    except MetricError as problem:
        return _absent("data_copying_X", extractor, images.protocol, str(problem))
    how = {"cells": f"{found.cells}, by k-means of the training images", "fewest_generated_in_a_cell": FEWEST_FAKE}
    details = {"z": list(found.z), "weights": list(found.weights), "held_out_in_counted_cells": found.counted}
    return MetricValue.of_row(
        "data_copying_X",
        found.c_t,
        images.protocol | {"extractor": extractor.identity, "data_copying": how, "n_held_out": found.n_heldout},
        of=extractor.name,
        details=details,
    )


def _mifd(images: ImageSet, data: Dataset, extractor: Extractor, pooled: np.ndarray, real: np.ndarray) -> MetricValue:
    """The Frechet distance that copies of training images make larger."""
    train = split_features(extractor, data, "train", images.store, images.cfg.jpeg)
    try:
        found = memorization_informed_fd(real, pooled, train)
    except MetricError as problem:  # features that are all zero
        return _absent("mifd_X", extractor, images.protocol, str(problem))
    return MetricValue.of_row(
        "mifd_X",
        found.value,
        images.protocol | {"extractor": extractor.identity, "threshold": THRESHOLD, "memorized": "training split"},
        of=extractor.name,
        details={"memorization_distance": found.distance, "penalised": found.penalised},
    )


def _absent(id: str, extractor: Extractor, protocol: dict[str, Any], reason: str) -> MetricValue:
    about = protocol | {"extractor": extractor.identity}
    return MetricValue.of_row(id, None, about, of=extractor.name, status="unavailable", reason=reason)


def preference(
    extractor: Extractor, fake: np.ndarray, real: np.ndarray, targets: np.ndarray, protocol: dict[str, Any], seed: int
) -> MetricValue:
    """How often a sample is closer to an image it was to be like than to a random training image."""
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
