"""Evaluation: one sampling, one quantisation, one feature pass an extractor, then every metric from those features.

One path for all: `evaluate` scores a trained generator, `evaluate_images` images that someone else generated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from benchmark.core.errors import WeightsError
from benchmark.data.prepared import Dataset
from benchmark.evaluation.border import RequestedImages
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.context import EvaluationContext, ImageSet, protocol_of, reference_of
from benchmark.evaluation.control import (
    agreement_of_clusters,
    control_accuracy,
    given_classes_accuracy,
    held_out_images,
    label_agreement,
    recall,
)
from benchmark.evaluation.copies import copying
from benchmark.evaluation.extra_scores import extra_values
from benchmark.evaluation.modes import class_coverage, mode_values
from benchmark.evaluation.protocols import labelled
from benchmark.evaluation.real_rows import of_images, real_data_rows
from benchmark.evaluation.references import reference_values
from benchmark.evaluation.sampling import generate, labels_split
from benchmark.evaluation.scores import intra_class_values, set_values, unavailable
from benchmark.evaluation.strata import stratified_values
from benchmark.evaluation.tsne import tsne_chamfer
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.extractors.trained import JudgeExtractor
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.measurements import Measurement, Picture
from benchmark.training.method import Method


@dataclass(frozen=True)
class EvaluationResult:
    """What evaluation gives: the values, and hashes that identify what was scored."""

    values: list[MetricValue]
    samples_sha256: str
    n_fake: int
    distinct: int  # of these, different ones
    conditions: dict[str, Any]  # conditioning, and what was drawn from which split
    border: RequestedImages | None = None  # the held-out images that were requested, of a method conditioned on images
    pictures: tuple[Picture, ...] = ()  # of metrics on request that can be looked at


def evaluate(
    method: Method,
    G: nn.Module,
    cfg: EvalConfig,
    artifacts: ArtifactStore,
    *,
    transferred: bool = False,
    show_progress: bool = False,
) -> EvaluationResult:
    """Score generator G of a trained method against the store's data; its batch norms have `standing_statistics`.

    transferred: these are not the data that the method learned from; it was given them by `condition_on`.
    """
    data, reference = artifacts.data, reference_of(artifacts.data, cfg.reference, cfg.jpeg)
    n_fake = cfg.n_fake or len(reference)
    context = EvaluationContext(
        method=method,
        G=G,
        generated=generate(method, G, n_fake, cfg, data),
        reference=reference,
        class_names=data.class_names,
        protocol=protocol_of(data, cfg, n_fake),
        cfg=cfg,
        artifacts=artifacts,
        store=artifacts.store,
        device=artifacts.device,
        transferred=transferred,
        show_progress=show_progress,
    )
    values = mode_values(context) if data.is_points else image_values(context)
    if not transferred and cfg.metrics == "all":  # what a method says of itself is of its own data
        values += [own_measurement(found, data, cfg) for found in method.measurements(G, data)]
    conditions = conditions_text(method, cfg, data)
    generated = context.generated
    distinct = len({sample.tobytes() for sample in generated.images})
    return EvaluationResult(
        marked(values, cfg, conditions),
        generated.sha256,
        n_fake,
        distinct,
        conditions,
        held_out_images(context),
        tuple(context.pictures),
    )


def evaluate_images(images: ImageSet, conditions: dict[str, Any]) -> list[MetricValue]:
    """Every number that images can be given of which nothing else is known: no generator, perhaps no classes.

    conditions: what is known of them, for the record. Raises ConfigError for an extractor that cannot look at them.
    """
    values = []
    for name, found in by_extractor(images):
        values += found
        if name == "judge" and images.artifacts is not None and images.classes is not None:
            values += given_classes_accuracy(images, images.artifacts.data)
    return marked(values, images.cfg, conditions)


def marked(values: list[MetricValue], cfg: EvalConfig, conditions: dict[str, Any]) -> list[MetricValue]:
    """The values with the protocol in their names, and with what was requested."""
    return [
        replace(value, name=labelled(value.name, cfg.protocol), conditions=conditions | value.conditions)
        for value in values
    ]


def image_values(context: EvaluationContext) -> list[MetricValue]:
    """Every number of a generator's images: one feature pass an extractor, then the metrics from those features."""
    judge = context.judge
    values = [value for _, found in by_extractor(context) for value in found]
    if judge is not None:
        values += judged_values(context, judge)
    if context.cfg.embeds:
        values += tsne_chamfer(context)
    return values + reference_values(context) + extra_values(context)


def by_extractor(images: ImageSet) -> Iterator[tuple[str, list[MetricValue]]]:
    """The numbers of each extractor, by its name; unavailable ones where its weights are absent.

    Raises WeightsError there, if the configuration says so.
    """
    for name in images.cfg.extractors:
        try:
            extractor = images.extractor(name)
        except WeightsError as problem:
            if images.cfg.missing_weights == "refuse":
                raise
            yield name, unavailable(name, images.protocol, problem, images.cfg.metrics)
        else:
            yield name, extractor_values(images, extractor)


def extractor_values(images: ImageSet, extractor: Extractor) -> list[MetricValue]:
    """The numbers of one extractor: set against set, within classes, and copies."""
    cfg, store, shown = images.cfg, images.store, images.show_progress
    generated, reference = images.generated, images.reference
    seen = store.features(extractor, generated.images, sha256=generated.sha256, progress=shown)
    real = store.features(extractor, reference.images, sha256=reference.sha256, progress=shown)
    controls = real_data_rows(extractor, reference, len(generated), cfg.set_settings, store) if cfg.controls else None
    of_real = of_images(store, extractor, reference.sha256)
    values = set_values(extractor, seen, real, images.protocol, cfg.set_settings, controls, shown, of_real)
    if cfg.computes("intra_fd_X") and images.classes is not None and reference.labels is not None:
        values += intra_class_values(
            extractor, seen, images.classes, real, reference.labels, images.class_names, images.protocol
        )
    if cfg.strata is not None:
        values += stratified_values(extractor, seen, real, images, cfg.strata)
    if images.artifacts is not None:
        values += copying(images, images.artifacts.data, extractor, np.asarray(seen.pooled), np.asarray(real.pooled))
    return values


def judged_values(context: EvaluationContext, judge: JudgeExtractor) -> list[MetricValue]:
    """What the judge sees: the classes that occur, and whether an image shows what was requested."""
    method, cfg, values = context.method, context.cfg, []
    if cfg.computes("modes_judge") and context.data.conditioning == "class":
        values += class_coverage(judge, context.judged, context.protocol, context.data)
    if method.conditioning in ("instance", "latent"):
        values += label_agreement(context, judge)
    elif context.generated.conditions is not None:
        values += control_accuracy(context, judge, context.generated.conditions)
    if cfg.computes("cluster_agreement_judge"):
        values += agreement_of_clusters(context, judge)
    if cfg.computes("recall_0.2_judge") and method.conditioning == "attributes":
        values += recall(context, judge, cfg.recall_images)
    return values


def conditions_text(method: Method, cfg: EvalConfig, data: Dataset) -> dict[str, Any]:
    """The conditioning of a method, and what the evaluation requested: it goes into the record with every number."""
    drawn = method.default_conditions
    if method.conditioning in ("class", "attributes") and cfg.conditions == "empirical":
        split = {"test": "held-out", "train": "training"}[labels_split(data, cfg)]
        drawn = f"{'classes' if method.conditioning == 'class' else 'attributes'} of the {split} split, as they occur"
    elif method.conditioning == "class":
        drawn = "uniform classes"
    elif method.conditioning == "attributes":
        drawn = "attributes by fair coins"
    weights = "average where the method keeps one"
    return {"conditioning": method.conditioning, "drawn": drawn, "latents_seed": cfg.seed, "weights": weights}


def own_measurement(found: Measurement, data: Dataset, cfg: EvalConfig) -> MetricValue:
    """A number of the method's own, as the record keeps it."""
    about = {"dataset": data.name, "data_sha256": data.sha256, "set_seed": cfg.seed}
    return MetricValue(found.id, found.name, found.value, found.better, about | found.protocol, details=found.details)
