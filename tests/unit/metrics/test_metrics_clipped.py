"""Clipped density and coverage: plain loops of their definitions, closed forms, calibration.

Measured against the authors' code (nicolassalvy/ClippedDensityCoverage) on the pairs below, k = 1, 3, 5: the same bits,
both measures. It is on no package index, so that the definitions are repeated here.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import beta, binom

import benchmark.metrics.clipped
from benchmark.metrics.checks import MetricError
from benchmark.metrics.clipped import Clipped, clipped, expected_coverage, good_images


def points(n: int, d: int = 6, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(n, d))


REAL, FAKE = points(121, seed=1), points(90, seed=2, scale=0.9)
OUTLIER = np.concatenate([REAL, points(6, seed=3, scale=30)])
PAIRS = {
    "alike": (REAL, FAKE),
    "even": (REAL[:120], FAKE),
    "shifted": (REAL, FAKE + 1.0),
    "few modes": (REAL, REAL[:9].repeat(10, axis=0) + 0.05 * points(90, seed=4)),
    "far away": (REAL, FAKE + 50),
    "real outliers": (OUTLIER, np.concatenate([FAKE, points(20, seed=5, scale=20)])),
    "larger fake": (REAL[:60], points(200, seed=6)),
}


def by_loops(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Both as they are defined, a distance at a time."""
    n, m = len(real), len(fake)
    to_real = [[math.dist(a, b) for b in real] for a in real]
    to_fake = [[math.dist(a, b) for b in fake] for a in real]
    radius = [sorted(to_real[i][j] for j in range(n) if j != i)[k - 1] for i in range(n)]
    small = [min(r, float(np.median(radius))) for r in radius]
    of_fake = [min(sum(to_fake[i][j] <= small[i] for i in range(n)) / k, 1) for j in range(m)]
    of_real = [min(sum(to_real[i][j] <= small[i] for i in range(n) if i != j) / k, 1) for j in range(n)]
    density = min(np.mean(of_fake) / np.mean(of_real), 1)
    covered = np.mean([min(sum(to_fake[i][j] < radius[i] for j in range(m)), k) / k for i in range(n)])
    expected = [0.0] * k + [
        sum(min(j, k) * _beta_binomial(j, good, k, n - k) for j in range(good + 1)) / k for good in range(k, m + 1)
    ]
    good = next((i for i, value in enumerate(expected) if value >= covered), m + 1)
    return float(density), good / (m + 1)


def _beta_binomial(j: int, m: int, a: int, b: int) -> float:
    """P(j of m) with a share that is Beta(a, b), by factorials in whole numbers."""
    top = math.comb(m, j) * math.factorial(a + j - 1) * math.factorial(b + m - j - 1) * math.factorial(a + b - 1)
    return top / (math.factorial(a + b + m - 1) * math.factorial(a - 1) * math.factorial(b - 1))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("k", [1, 5])
def test_as_plain_loops(pair: str, k: int) -> None:
    real, fake = PAIRS[pair]
    found = clipped(real, torch.tensor(fake), k)
    assert (found.density, found.coverage) == pytest.approx(by_loops(real, fake, k), abs=1e-12)


def check_meaning() -> None:
    """A set of which a share is as good as real images, and the rest far away, scores about that share."""
    real, good = points(600, d=4, seed=7), points(600, d=4, seed=8)
    for share in (0.25, 0.5, 1.0):
        n_good = int(share * len(good))
        fake = np.concatenate([good[:n_good], good[n_good:] + 100])
        found = clipped(real, fake)
        assert found.density == pytest.approx(share, abs=0.05), share
        assert found.coverage == pytest.approx(share, abs=0.05), share


def test_they_are_the_share_of_good_images() -> None:
    check_meaning()


def test_a_missing_calibration_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark.metrics.clipped, "good_images", lambda coverage, n, m, k: coverage * (m + 1))
    with pytest.raises(AssertionError):
        check_meaning()


def test_outliers_of_the_real_set_raise_nothing() -> None:
    """A generated image near a real outlier, whose ball is large, is no good image."""
    real = np.concatenate([points(200, seed=9), 40 + points(4, seed=10, scale=10)])
    fake = 40 + points(100, seed=11, scale=3)
    assert clipped(real, fake).density < 0.05


def test_equal_sets_and_far_ones() -> None:
    assert clipped(REAL, REAL).density == 1
    assert clipped(REAL, REAL).coverage == 1
    assert clipped(REAL, REAL + 1e6) == Clipped(0, 0, 0, 0, 5)


def test_expected_coverage_is_an_integral_over_the_share() -> None:
    """E min(J, k) with the share integrated out numerically."""
    n, k, m = 40, 3, 25

    def given(share: float) -> float:
        return float(sum(min(j, k) * binom.pmf(j, m, share) for j in range(m + 1)) * beta.pdf(share, k, n - k) / k)

    assert expected_coverage(m, n, k) == pytest.approx(quad(given, 0, 1)[0], rel=1e-8)
    assert expected_coverage(0, n, k) == 0
    assert [good_images(expected_coverage(i, n, k), n, m, k) for i in (k, 9, m)] == [k, 9, m]
    assert good_images(0.0, n, m, k) == 0
    assert good_images(1.0, n, m, k) == m + 1


@pytest.mark.parametrize(("n", "m", "k"), [(6, 50, 5), (50, 4, 5), (50, 50, 0)])
def test_too_few_rows_are_refused(n: int, m: int, k: int) -> None:
    with pytest.raises(MetricError, match="clipped density and coverage: k"):
        clipped(points(n), points(m), k)
