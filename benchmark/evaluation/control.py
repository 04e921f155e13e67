"""Control: does a generated image show what was requested?

Scored by the judge, which no method trained against, and by the method's own classifier where it has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.core.seeds import derive_seed
from benchmark.data.prepared import Dataset, Split
from benchmark.data.stream import images_to_float
from benchmark.evaluation.border import RequestedImages, border_effect, requested_once
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.context import EvaluationContext, ImageSet, judged_logits, labels_of
from benchmark.evaluation.sampling import BATCH, GeneratedImages, drawn, generate_for_held_out
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.accuracy import attribute_accuracy, class_accuracy, recall_at
from benchmark.metrics.catalogue import OWN_CLASSIFIER, row_named
from benchmark.metrics.checks import MetricError
from benchmark.metrics.clusters import cluster_agreement
from benchmark.metrics.extractors.trained import JudgeExtractor
from benchmark.training.method import Method

HELD_OUT_IMAGES = "images of the held-out split, uniformly"
_CLUSTERS = "cluster_agreement_judge"


def control_accuracy(context: EvaluationContext, judge: JudgeExtractor, conditions: Tensor) -> list[MetricValue]:
    """Macro accuracy over classes, or over attributes (mean of on and off), with 95 % intervals.

    conditions: what each generated image was to show, as `Sample.conditions`. The judge is silent on clusters: it knows
    the dataset's labels, not those a run made for itself.
    """
    method, data = context.method, context.data
    values = []
    if method.conditioning != "cluster":
        settings = context.protocol | {"scorer": judge.identity, "conditioning": method.conditioning}
        ceiling = {"on_real": _on_real(context.judged_real, data.train)}
        values.append(_accuracy("judge", context.judged, conditions, settings, data, ceiling))
    if not context.cfg.computes("control_accuracy_own"):
        return values
    if (own := own_logits(method, context.generated.images)) is not None:
        settings = context.protocol | {"scorer": OWN_CLASSIFIER, "conditioning": method.conditioning}
        values.append(_accuracy("own", own, conditions, settings, data, {}))
    return values


def given_classes_accuracy(images: ImageSet, data: Dataset) -> list[MetricValue]:
    """Control accuracy of images that someone else generated for classes of these data."""
    assert images.judge is not None
    assert images.generated.conditions is not None
    settings = images.protocol | {"scorer": images.judge.identity, "conditioning": "class"}
    return [_accuracy("judge", images.judged, images.generated.conditions, settings, data, {})]


def accuracy_of(
    method: Method, G: nn.Module, generated: GeneratedImages, judge: JudgeExtractor, data: Dataset, cfg: EvalConfig
) -> float | None:
    """Macro accuracy of a generator by the evaluation classifier, without interval and details.

    generated: G's images. A method conditioned on images is given held-out ones in their place, as in
    `label_agreement`. None where nothing was requested that the classifier knows, or too little of it.
    """
    if method.conditioning in ("instance", "latent"):
        held_out = generate_for_held_out(method, G, len(generated), cfg.seed, data, cfg.jpeg)
        images, wanted = held_out.images, labels_of(data, "test", held_out.rows)
    elif method.conditioning in ("class", "attributes"):
        assert generated.conditions is not None
        images, wanted = generated.images, generated.conditions
    else:
        return None
    logits, asked = judged_logits(judge, images), wanted.cpu().numpy()
    try:
        accuracy, _ = _of_attributes(logits, asked, data) if asked.ndim == 2 else _of_classes(logits, asked, [""])
    except MetricError:  # of few images all may be of one class; the evaluation, which has more, would say so
        return None
    return None if accuracy is None else accuracy[0]


@torch.no_grad()
def label_agreement(context: EvaluationContext, judge: JudgeExtractor) -> list[MetricValue]:
    """For methods conditioned on images: does a sample show the label of the image it is conditioned on?

    These are held-out images, which the method never saw, but from which the evaluation classifier learned; the same
    for the training images of the generator's samples is in the details. A generator that reproduces its image reaches
    `on_held_out`, which is higher than the accuracy on images that the classifier never saw, `on_real`. Chance is what
    a generator that ignores the image gets.
    """
    data, held_out = context.data, context.held_out
    conditions = context.generated.conditions
    assert conditions is not None
    settings = context.protocol | {"scorer": judge.identity, "conditioning": "image", "asked": HELD_OUT_IMAGES}
    on_train = _accuracy("judge", context.judged, labels_of(data, "train", conditions), settings, data, {}).value
    more: dict[str, Any] = {
        "on_real": _on_real(context.judged_real, data.train),
        "on_held_out": _on_real(context.judged_held_out, data.test),
        "on_training_images": on_train,
    }
    if (requested := held_out_images(context)) is not None:
        more["border"] = border_effect(requested, data.attribute_names)
    wanted = labels_of(data, "test", held_out.conditions)
    value = _accuracy("judge", held_out.logits, wanted, settings, data, more)
    asked_here = {"drawn": HELD_OUT_IMAGES}
    row = row_named("label_agreement_judge")
    return [replace(value, id=row.id, name=row.name, conditions=asked_here)]


def agreement_of_clusters(context: EvaluationContext, judge: JudgeExtractor) -> list[MetricValue]:
    """For methods conditioned on clusters: does a sample show the label of a training image of its cluster?

    Of images as conditions `label_agreement` asks the same. With attributes the mean over them, each on and off alike.
    Nothing without labels, or where clusters have no images.
    """
    data, clusters, requested = context.data, context.method.training_clusters(), context.generated.conditions
    if clusters is None or requested is None or not data.n_labels:
        return []
    of_classes = data.train.labels is not None
    asked = f"clusters of the training images, {'all classes' if of_classes else 'on and off'} alike"
    settings = context.protocol | {"scorer": judge.identity, "conditioning": "cluster", "asked": asked}
    try:
        found = [
            cluster_agreement(clusters, labels, requested, seen, n)
            for labels, seen, n in _labels_and_seen(data, context.judged)
        ]
    except MetricError as problem:
        return [MetricValue.of_row(_CLUSTERS, None, settings, status="unavailable", reason=str(problem))]
    if of_classes:
        details: dict[str, Any] = {"per_class": dict(zip(data.class_names, found[0].per_class))}
    else:
        details = {"per_attribute": dict(zip(data.attribute_names, [one.macro for one in found]))}
    details["chance"] = 1 / data.n_classes if of_classes else 0.5
    details["on_real"] = float(np.mean([one.on_real for one in found]))
    details["images_left_out"] = found[0].n_left_out
    return [MetricValue.of_row(_CLUSTERS, float(np.mean([one.macro for one in found])), settings, details=details)]


def _labels_and_seen(data: Dataset, logits: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Labels of the training images [N], what the judge sees in the samples [M], and how many values there are.

    Once for classes, once for each attribute.
    """
    if data.train.labels is not None:
        yield data.train.labels, logits.argmax(1), data.n_classes
    elif data.train.attributes is not None:
        for labels, logit in zip(data.train.attributes.T, logits.T):
            yield labels, (logit > 0).astype(np.int64), 2


def held_out_images(context: EvaluationContext) -> RequestedImages | None:
    """The held-out images that were requested, with the share of their samples that show their labels.

    None for a method that is not conditioned on images, and for data without labels.
    """
    of_images = context.judge is not None and context.method.conditioning in ("instance", "latent")
    if not of_images or (features := context.held_out.features) is None:
        return None
    held_out = context.held_out
    rows, labels = held_out.conditions.cpu().numpy(), labels_of(context.data, "test", held_out.conditions).numpy()
    if labels.ndim == 2:
        return requested_once(features, rows, labels, (held_out.logits > 0) == (labels == 1))
    seen = held_out.logits.argmax(1)
    return requested_once(features, rows, labels, seen == labels, seen)


def recall(context: EvaluationContext, judge: JudgeExtractor, n: int) -> list[MetricValue]:
    """InfoSCC-GAN's multi-label protocol, from its code: share of sigmoid > 0.2 where an attribute was forced on.

    n images an attribute, their other labels fair coins. No negatives are tested: see control accuracy for both sides.
    """
    method, data = context.method, context.data
    torch.manual_seed(derive_seed(context.seed, 0x2EC1))
    found: dict[str, dict[str, float]] = {"judge": {}, "own": {}}
    for a, name in enumerate(data.attribute_names):
        conditions = torch.randint(2, (n, data.n_labels), device=method.device)
        conditions[:, a] = 1
        images = np.concatenate([drawn(method, context.G, part, context.cfg.jpeg) for part in conditions.split(BATCH)])
        for scorer, logits in (("judge", judged_logits(judge, images)), ("own", own_logits(method, images))):
            if logits is not None:
                found[scorer][name] = recall_at(logits, a, threshold=0.2).value
    of_sets = ("n_fake", "conditions", "reference", "n_reference")
    settings = {k: v for k, v in context.protocol.items() if k not in of_sets}
    settings |= {"threshold": 0.2, "images_per_attribute": n, "labels": "fair coins, one forced on"}
    return [
        MetricValue.of_row(
            f"recall_0.2_{scorer}",
            float(np.mean(list(recalls.values()))),
            settings | {"scorer": judge.identity if scorer == "judge" else OWN_CLASSIFIER},
            details={"per_attribute": recalls},
        )
        for scorer, recalls in found.items()
        if recalls
    ]


def own_logits(method: Method, images: np.ndarray) -> np.ndarray | None:
    """Logits of the method's own classifier on quantised images; None where it has none."""
    parts = []
    for i in range(0, len(images), BATCH):
        x = images_to_float(images[i : i + BATCH], method.device)
        if (logits := method.own_classifier(x)) is None:
            return None
        parts.append(logits.cpu().numpy())
    return np.concatenate(parts)


def _accuracy(
    scorer: str, logits: np.ndarray, conditions: Tensor, settings: dict[str, Any], data: Dataset, more: dict[str, Any]
) -> MetricValue:
    """One scorer's control accuracy, whichever kind of label; unavailable where it cannot be measured."""
    try:
        return _measured_accuracy(scorer, logits, conditions.cpu().numpy(), settings, data, more)
    except MetricError as problem:
        reason = str(problem)
        return MetricValue.of_row(f"control_accuracy_{scorer}", None, settings, status="unavailable", reason=reason)


def _measured_accuracy(
    scorer: str, logits: np.ndarray, wanted: np.ndarray, settings: dict[str, Any], data: Dataset, more: dict[str, Any]
) -> MetricValue:
    if wanted.ndim == 2:
        accuracy, details = _of_attributes(logits, wanted, data)
    else:
        clusters = settings["conditioning"] == "cluster"  # as many as there are classes, perhaps, but not the classes
        names = [f"cluster {i}" for i in range(logits.shape[1])] if clusters else data.class_names
        accuracy, details = _of_classes(logits, wanted, names)
    value, low, high = accuracy or (None, None, None)
    return MetricValue.of_row(
        f"control_accuracy_{scorer}",
        value,
        settings,
        low,
        high,
        status="ok" if accuracy else "unavailable",
        reason="" if accuracy else "no attribute was asked both on and off",
        details=details | more,
    )


Interval = tuple[float, float, float]  # value, low, high


def _of_classes(
    logits: np.ndarray, conditions: np.ndarray, names: Sequence[str]
) -> tuple[Interval | None, dict[str, Any]]:
    found = class_accuracy(logits, conditions)
    details = {"per_class": dict(zip(names, found.per_class)), "chance": 1 / len(names)}
    return (found.macro, found.ci_low, found.ci_high), details


def _of_attributes(logits: np.ndarray, conditions: np.ndarray, data: Dataset) -> tuple[Interval | None, dict[str, Any]]:
    report = attribute_accuracy(logits, conditions)
    sides = {
        name: {"on": a.on and a.on.value, "off": a.off and a.off.value}
        for name, a in zip(data.attribute_names, report.attributes)
    }
    details = {"per_attribute": sides, "chance": report.chance, "threshold": report.threshold}
    macro = report.macro
    return (macro.value, macro.ci_low, macro.ci_high) if macro else None, details


def _on_real(logits: np.ndarray, part: Split) -> float | None:
    """The judge's accuracy on real images; on training images, which it never saw, the ceiling of control accuracy."""
    if part.labels is not None:
        return class_accuracy(logits, part.labels).macro
    assert part.attributes is not None
    report = attribute_accuracy(logits, part.attributes)
    return report.macro.value if report.macro else None
