"""Control accuracy: does a judge see in an image what was requested?

The judge is the suite's own classifier, never the one a method was trained against. Its accuracy on real held-out
images is the ceiling to print with these values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import scipy.special

from benchmark.metrics.checks import Array, Float64, MetricError, binary_rows, float_rows, int_labels

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """A share in [0, 1] with its 95 % Wilson interval."""

    value: float
    ci_low: float
    ci_high: float
    n: int  # number of images behind it


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of requested classes."""

    macro: float  # mean of the accuracies of the requested classes, in [0, 1]
    per_class: tuple[float | None, ...]  # [K]; None where a class was never requested
    counts: tuple[int, ...]  # [K]; number of images requested of each class
    ci_low: float  # 95 % Wilson interval of macro
    ci_high: float


@dataclass(frozen=True)
class AttributeAccuracy:
    """Accuracy of one attribute, apart for images that are to have it and not to have it."""

    on: Rate | None  # None: it was never requested on
    off: Rate | None  # None: it was never requested off
    balanced: Rate | None  # mean of both; None unless both sides were requested


@dataclass(frozen=True)
class AttributeReport:
    """Accuracies of all attributes."""

    attributes: tuple[AttributeAccuracy, ...]  # [A]
    macro: Rate | None  # mean of the balanced accuracies; None when no attribute was requested both on and off
    chance: float  # balanced accuracy of an answer that does not depend on the image
    threshold: float


def wilson(successes: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval (low, high) of a share, in [0, 1].

    successes, n: counts, or effective counts (not necessarily whole), n > 0.
    Source: Wilson, 1927; Newcombe, 1998, method 3.
    Raises MetricError unless 0 <= successes <= n and n > 0.
    """
    if not (n > 0 and 0 <= successes <= n):
        raise MetricError(f"Wilson interval of {successes:g} in {n:g}", "a share has 0 <= successes <= n and n > 0")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)  # exact ends; rounding leaves 1e-17


def class_accuracy(logits: Array, asked: Array) -> Accuracy:
    """Share of images whose strongest logit is the requested class, averaged over classes. In [0, 1], higher is better.

    logits: [N, K] floats of the judge; asked: [N] class indices. Chance is 1/K. A class that was never requested is
    None and does not enter the mean. The interval is Wilson's with Kish's effective number of images,
    (sum w)^2 / sum w^2 for the weights the macro average gives to images; with equal counts that is N.
    Source: the attribute control accuracy of InfoSCC-GAN, sec. 4; macro average and interval are ours.
    Raises MetricError for bad logits or labels, fewer than two classes, or only one class requested: a generator that
    always draws that class would score 1.
    """
    rows = float_rows("logits", logits, min_rows=1)
    n, n_classes = rows.shape
    if n_classes < 2:
        raise MetricError("logits: one class", "with one class every image is right", "use attribute_accuracy")
    labels = int_labels("requested classes", asked, n, n_classes)
    counts = np.bincount(labels, minlength=n_classes)
    if (counts > 0).sum() < 2:
        raise MetricError(
            f"requested classes: only class {labels[0]}",
            "a generator that ignores the label could score 1",
            "request every class, equally often",
        )
    hits = np.bincount(labels[rows.argmax(axis=1) == labels], minlength=n_classes)
    present = counts > 0
    macro = _macro(hits[present] / counts[present], counts[present])
    per_class = tuple(float(h / c) if c else None for h, c in zip(hits, counts))
    return Accuracy(macro.value, per_class, tuple(int(c) for c in counts), macro.ci_low, macro.ci_high)


def attribute_accuracy(logits: Array, asked: Array, threshold: float = 0.5) -> AttributeReport:
    """Accuracy of each attribute on images that are to have it, on those that are not, and balanced. Higher is better.

    logits: [N, A] floats of the judge, one sigmoid each. asked: [N, A] of 0 and 1. threshold: of the sigmoid, in 0..1.
    A side that was never requested is None, not 0. Values in [0, 1]; chance of a balanced accuracy is 0.5 at any
    threshold. Attributes of one image are not independent, so the interval of the macro average counts images once:
    the harmonic mean of the attributes' effective numbers, which is the widest case.
    Source: ours; the published protocol, which tests only "on", is `recall_at`.
    Raises MetricError for bad logits, labels or threshold.
    """
    rows = float_rows("logits", logits, min_rows=1)
    wanted = binary_rows("requested attributes", asked, rows.shape)
    right = (_sigmoid_above(rows, threshold)) == wanted
    attributes = tuple(_one_attribute(right[:, a], wanted[:, a]) for a in range(rows.shape[1]))
    both = [(a.balanced.value, _balanced_n(a.on.n, a.off.n)) for a in attributes if a.balanced and a.on and a.off]
    macro = None
    if both:
        n_effective = len(both) / sum(1 / n for _, n in both)
        macro = _rate(float(np.mean([value for value, _ in both])), n_effective, len(rows))
    return AttributeReport(attributes, macro, chance=0.5, threshold=threshold)


def recall_at(logits: Array, forced: int, threshold: float = 0.2) -> Rate:
    """Hit rate of one attribute on images for which it was forced on. In [0, 1], higher is better.

    logits: [N, A] floats of the images with attribute `forced` on. The published multi-label protocol: sigmoid > 0.2,
    no images with the attribute off. It is a recall at a lenient threshold, not an accuracy: a judge that always says
    yes gives 1.
    Source: InfoSCC-GAN's code for CelebA.
    Raises MetricError for bad logits or threshold, or an attribute index outside [0, A).
    """
    rows = float_rows("logits", logits, min_rows=1)
    if not 0 <= forced < rows.shape[1]:
        raise MetricError(f"attribute {forced}", f"the logits know attributes 0 to {rows.shape[1] - 1}")
    hits = _sigmoid_above(rows[:, forced], threshold)
    return _rate(float(hits.mean()), len(rows), len(rows))


def _sigmoid_above(logits: Float64, threshold: float) -> np.ndarray:
    if not 0 < threshold < 1:
        raise MetricError(f"threshold {threshold}", "a sigmoid lies between 0 and 1", "use 0.5")
    return scipy.special.expit(logits) > threshold


def _one_attribute(right: np.ndarray, wanted: np.ndarray) -> AttributeAccuracy:
    on, off = _side(right[wanted]), _side(right[~wanted])
    balanced = None
    if on and off:
        balanced = _macro(np.array([on.value, off.value]), np.array([on.n, off.n]))
    return AttributeAccuracy(on, off, balanced)


def _side(right: np.ndarray) -> Rate | None:
    return _rate(float(right.mean()), len(right), len(right)) if len(right) else None


def _macro(values: np.ndarray, counts: np.ndarray) -> Rate:
    """Mean of the groups' shares; its interval has Kish's effective number, C^2 / sum(1 / n_c)."""
    n_effective = len(counts) ** 2 / float((1 / counts).sum())
    return _rate(float(values.mean()), n_effective, int(counts.sum()))


def _balanced_n(n_on: int, n_off: int) -> float:
    return 4 / (1 / n_on + 1 / n_off)


def _rate(value: float, n_effective: float, n: int) -> Rate:
    low, high = wilson(min(value * n_effective, n_effective), n_effective)
    return Rate(value, low, high, n)
