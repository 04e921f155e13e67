"""Inception score: known values and torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from benchmark.metrics.checks import MetricError
from benchmark.metrics.inception_score import inception_score


def logits(n: int, k: int, scale: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=(n, k))


@pytest.mark.parametrize("splits", [1, 10])
@pytest.mark.parametrize("n", [200, 203])  # 203: parts of unequal size
@pytest.mark.parametrize("scale", [0.5, 4.0, 40.0])
def test_agrees_with_torch_fidelity(splits: int, n: int, scale: float) -> None:
    rows = logits(n, 50, scale)
    theirs = isc_features_to_metric(torch.from_numpy(rows), splits=splits, shuffle=True, rng_seed=2020)
    ours = inception_score(rows, splits=splits)
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert ours.std == pytest.approx(theirs["inception_score_std"], rel=1e-6, abs=1e-9)


def test_sure_and_even_answers_score_the_number_of_classes() -> None:
    rows = 1e4 * np.tile(np.eye(10), (20, 1))
    assert inception_score(rows, splits=1).mean == pytest.approx(10)


def test_equal_answers_score_one() -> None:
    rows = np.tile(logits(1, 10, 3.0), (40, 1))
    assert inception_score(rows, splits=2).mean == pytest.approx(1)


def test_unsure_answers_score_one() -> None:
    assert inception_score(np.zeros((40, 10)), splits=1).mean == pytest.approx(1)


def test_more_splits_lower_the_score() -> None:
    rows = logits(500, 100, 4.0)
    assert inception_score(rows, splits=10).mean < inception_score(rows, splits=1).mean


def test_order_matters_only_with_splits_and_the_seed_fixes_it() -> None:
    rows = logits(200, 20, 3.0)
    assert inception_score(rows, splits=10) == inception_score(rows, splits=10)
    assert inception_score(rows, splits=10, seed=1).mean != inception_score(rows, splits=10, seed=2).mean
    assert inception_score(rows, splits=1, seed=1).mean == pytest.approx(inception_score(rows, splits=1, seed=2).mean)


@pytest.mark.parametrize(
    ("rows", "splits", "message"),
    [
        (np.zeros((19, 10)), 10, "19 rows"),
        (np.zeros((20, 1)), 1, "one class"),
        (np.zeros((20, 10), dtype=np.int64), 1, "dtype int64"),
        (np.full((20, 10), np.inf), 1, "NaN or infinity"),
        (np.zeros((20, 10)), 0, "splits = 0"),
    ],
)
def test_bad_input_is_refused(rows: np.ndarray, splits: int, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        inception_score(rows, splits=splits)
