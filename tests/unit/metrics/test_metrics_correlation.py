"""Attribute correlation: known covariances, the interval's cover, and that a wrong mean or a wrong axis is caught."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

import benchmark.metrics.correlation
from benchmark.metrics.checks import MetricError
from benchmark.metrics.correlation import attribute_correlation

TRUE = np.array([[1.0, 0.8, -0.3], [0.8, 1.0, 0.0], [-0.3, 0.0, 1.0]])
MEAN_ABS = (0.8 + 0.3 + 0.0) / 3


def draw(n: int, seed: int = 0) -> np.ndarray:
    """Scores [n, 3] whose correlations are TRUE, with unequal scales and shifts, which must not matter."""
    rows = np.random.default_rng(seed).multivariate_normal(np.zeros(3), TRUE, size=n)
    return rows * [0.01, 1.0, 50.0] + [3.0, -1.0, 100.0]


def check_known_covariance() -> None:
    found = attribute_correlation(draw(20_000))
    assert np.abs(found.matrix - TRUE).max() < 0.02, "known covariance"
    assert found.mean_abs_off_diagonal == pytest.approx(MEAN_ABS, abs=0.01), "mean of pairs"
    assert found.n == 20_000


def test_a_known_covariance_is_recovered() -> None:
    check_known_covariance()


def test_it_agrees_with_scipy() -> None:
    scores = draw(300)
    found = attribute_correlation(torch.tensor(scores))
    for i in range(3):
        for j in range(i):
            r = scipy.stats.pearsonr(scores[:, i], scores[:, j])
            interval = r.confidence_interval(0.95)
            got = found.matrix[i, j], found.low[i, j], found.high[i, j]
            assert got == pytest.approx((r.statistic, interval.low, interval.high), rel=1e-10), "Fisher's interval"
            assert found.matrix[j, i] == found.matrix[i, j]
    assert (np.diag(found.low) == 1).all()
    assert (np.diag(found.high) == 1).all()


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    reports = [attribute_correlation(draw(100, seed)) for seed in range(400)]
    covered = np.mean([(r.low[0, 1] <= 0.8) & (r.high[0, 1] >= 0.8) for r in reports])
    assert 0.92 < covered < 0.98  # 0.95 within three standard errors


def test_collinear_columns_are_exactly_one() -> None:
    x = np.random.default_rng(0).normal(size=(50, 1))
    found = attribute_correlation(np.hstack([x, 3 * x, -x]))
    assert found.matrix == pytest.approx(np.array([[1, 1, -1], [1, 1, -1], [-1, -1, 1]]))
    assert np.abs(found.matrix).max() == 1
    assert found.mean_abs_off_diagonal == pytest.approx(1)


def test_wrong_metrics_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # the diagonal's ones in the mean
        patch.setattr(
            benchmark.metrics.correlation.np, "triu_indices", lambda n, k: np.unravel_index(range(n * n), (n, n))
        )
        with pytest.raises(AssertionError, match="mean of pairs"):
            check_known_covariance()
    with monkeypatch.context() as patch:  # covariance in place of correlation
        patch.setattr(benchmark.metrics.correlation.np, "corrcoef", np.cov)
        with pytest.raises(AssertionError, match="known covariance"):
            check_known_covariance()
    with monkeypatch.context() as patch:  # an interval without Fisher's z
        patch.setattr(
            benchmark.metrics.correlation, "_fisher_interval", lambda r, n: (r - 1.96 / n**0.5, r + 1.96 / n**0.5)
        )
        with pytest.raises(AssertionError, match="Fisher's interval"):
            test_it_agrees_with_scipy()


def test_a_constant_column_is_named() -> None:
    scores = draw(10)
    scores[:, 1] = 0.1
    with pytest.raises(MetricError, match="column 1 is constant"):
        attribute_correlation(scores)
    with pytest.raises(MetricError, match=r"column 1 \(smile\) is constant"):
        attribute_correlation(scores, ["age", "smile", "male"])
    scores[:, 1] = 1e6 + 1e-9 * np.arange(10)  # rounding of a constant
    with pytest.raises(MetricError, match="column 1 is constant"):
        attribute_correlation(scores)


@pytest.mark.parametrize(
    ("scores", "what"),
    [
        (np.zeros((10, 3), int), "dtype"),
        (draw(10)[:, 0], "shape"),
        (draw(10)[:, :1], "one column"),
        (draw(3), "3 rows"),
        (np.full((10, 2), np.nan), "NaN"),
        (np.full((10, 2), np.inf), "infinity"),
        ([[1.0, 2.0]] * 5, "list given"),
    ],
)
def test_what_is_refused(scores: np.ndarray, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        attribute_correlation(scores)


def test_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MetricError, match="2 names for 3 columns"):
        attribute_correlation(draw(10), ["age", "smile"])
