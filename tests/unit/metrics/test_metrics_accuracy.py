"""Control accuracy: hand-made answers, published Wilson intervals, sides that were never asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.metrics.accuracy import attribute_accuracy, class_accuracy, recall_at, wilson
from benchmark.metrics.checks import MetricError


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    """Newcombe, 1998, table I, method 3."""
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_solves_its_defining_equation_and_mirrors() -> None:
    low, high = wilson(7, 20)
    z = 1.959963984540054
    for bound in (low, high):
        assert abs(7 / 20 - bound) == pytest.approx(z * np.sqrt(bound * (1 - bound) / 20))
    assert wilson(13, 20) == pytest.approx((1 - high, 1 - low))
    assert wilson(20, 20)[1] == 1
    with pytest.raises(MetricError):
        wilson(3, 2)


def answers(given: list[int], k: int) -> np.ndarray:
    """Logits whose strongest entry is `given`."""
    return np.eye(k)[given]


def test_class_accuracy_by_hand() -> None:
    asked = np.array([0, 0, 0, 0, 1, 1, 2])
    result = class_accuracy(answers([0, 0, 0, 1, 1, 0, 2], k=4), asked)
    assert result.per_class == (0.75, 0.5, 1.0, None)  # class 3 was never asked for
    assert result.counts == (4, 2, 1, 0)
    assert result.macro == pytest.approx(0.75)  # not 5/7, the share of right images
    n_effective = 9 / (1 / 4 + 1 / 2 + 1)
    assert (result.ci_low, result.ci_high) == pytest.approx(wilson(0.75 * n_effective, n_effective))


def test_balanced_classes_have_the_plain_wilson_interval() -> None:
    asked = np.repeat(np.arange(5), 20)
    given = [a if i % 4 else (a + 1) % 5 for i, a in enumerate(asked)]
    result = class_accuracy(answers(given, k=5), asked)
    assert result.macro == 0.75
    assert (result.ci_low, result.ci_high) == pytest.approx(wilson(75, 100))


def test_a_generator_that_ignores_the_label_scores_chance() -> None:
    asked = np.repeat(np.arange(5), 20)
    assert class_accuracy(answers([2] * 100, k=5), asked).macro == pytest.approx(1 / 5)


def test_tensors_and_arrays_agree() -> None:
    logits, asked = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    assert class_accuracy(torch.from_numpy(logits), torch.from_numpy(asked)) == class_accuracy(logits, asked)


@pytest.mark.parametrize(
    ("logits", "asked", "message"),
    [
        (np.eye(3), np.array([1, 1, 1]), "only class 1"),
        (np.eye(3), np.array([0, 1, 3]), "0 to 3"),
        (np.eye(3), np.array([-1, 1, 2]), "-1 to 2"),
        (np.eye(3), np.array([0.0, 1.0, 2.0]), "dtype float64"),
        (np.eye(3), np.eye(3, dtype=int), "shape"),
        (np.eye(3), np.array([0, 1]), "shape"),
        (np.ones((3, 1)), np.array([0, 0, 0]), "one class"),
        (np.full((3, 3), np.nan), np.array([0, 1, 2]), "NaN"),
    ],
)
def test_class_accuracy_refuses(logits: np.ndarray, asked: np.ndarray, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        class_accuracy(logits, asked)


def test_attribute_accuracy_by_hand() -> None:
    asked = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 1, 0]])
    logits = np.array([[2.0, 1, -1], [2, 1, -1], [-2, -1, 1], [-2, 1, -1]])
    first, always_on, always_off = attribute_accuracy(logits, asked).attributes
    assert first.on is not None
    assert first.off is not None
    assert first.balanced is not None
    assert (first.on.value, first.on.n) == (pytest.approx(2 / 3), 3)
    assert (first.off.value, first.off.n) == (1.0, 1)
    assert first.balanced.value == pytest.approx(5 / 6)
    assert always_on.on is not None
    assert (always_on.on.value, always_on.off, always_on.balanced) == (0.75, None, None)
    assert always_off.off is not None
    assert (always_off.on, always_off.off.value, always_off.balanced) == (None, 0.75, None)


def test_attribute_macro_covers_attributes_asked_both_ways() -> None:
    rng = np.random.default_rng(1)
    asked = np.stack([np.arange(40) % 2, np.arange(40) % 2, np.ones(40, dtype=int)], axis=1)
    logits = np.where(rng.random(asked.shape) < 0.8, 1, -1) * (2.0 * asked - 1)
    report = attribute_accuracy(logits, asked)
    values = [a.balanced.value for a in report.attributes if a.balanced]
    assert len(values) == 2
    assert report.macro is not None
    assert report.macro.value == pytest.approx(np.mean(values))
    # the images count once, however many attributes they carry
    assert (report.macro.ci_low, report.macro.ci_high) == pytest.approx(wilson(report.macro.value * 40, 40))
    assert attribute_accuracy(logits[:, 2:], asked[:, 2:]).macro is None


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("answer", [-50.0, 50.0])
def test_a_constant_answer_has_the_stated_chance(threshold: float, answer: float) -> None:
    asked = ((np.arange(20)[:, None] + np.arange(3)) % 3 == 0).astype(int)
    report = attribute_accuracy(np.full((20, 3), answer), asked, threshold=threshold)
    assert report.macro is not None
    assert report.macro.value == report.chance == 0.5


def test_recall_uses_the_sigmoid_and_its_threshold() -> None:
    logit = np.log(0.2 / 0.8)  # sigmoid 0.2
    logits = np.array([[logit + 0.01, 0], [logit - 0.01, 0], [0, 0], [-9, 0]])
    assert recall_at(logits, forced=0).value == 0.5
    assert recall_at(logits, forced=0, threshold=0.5).value == 0.0
    assert recall_at(logits, forced=1).value == 1.0
    lenient = recall_at(logits, forced=0)
    assert (lenient.ci_low, lenient.ci_high) == pytest.approx(wilson(2, 4))


@pytest.mark.parametrize(
    ("asked", "threshold", "message"),
    [
        (np.array([[0, 2]]), 0.5, "neither 0 nor 1"),
        (np.array([[-1, 1]]), 0.5, "neither 0 nor 1"),
        (np.array([0, 1]), 0.5, "shape"),
        (np.array([[0, 1]]), 1.0, "threshold"),
    ],
)
def test_attribute_accuracy_refuses(asked: np.ndarray, threshold: float, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        attribute_accuracy(np.zeros((1, 2)), asked, threshold)


def test_recall_refuses_an_attribute_the_judge_does_not_know() -> None:
    with pytest.raises(MetricError, match="attributes 0 to 1"):
        recall_at(np.zeros((1, 2)), forced=2)
