"""Clipped density and clipped coverage: fidelity and coverage that outliers cannot inflate (Salvy et al., 2025).

Both count neighbours as density and coverage do. No image counts more than once in full, and both are calibrated: a
set of which a share p is as good as real images and the rest is far away scores p.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, gammaln

from benchmark.metrics.checks import Array, Float64, MetricError, row_pair
from benchmark.metrics.nearest import count_inside, nearest
from benchmark.metrics.sets import FeatureSets, SetNumber, some_rows


@dataclass(frozen=True)
class Clipped:
    """Both measures of one pair of sets."""

    density: float  # in [0, 1]; fidelity
    coverage: float  # in [0, 1]
    raw_density: float  # before calibration: mean over generated images of min(balls around it / k, 1)
    raw_coverage: float  # before calibration: mean over real images of min(generated ones in its ball / k, 1)
    k: int


def clipped(real: Array, fake: Array, k: int = 5, progress: bool = False) -> Clipped:
    """Clipped density and clipped coverage of features [N, d] and [M, d]. In [0, 1], higher is better.

    real, fake: floats of one extractor, compared as they are by the Euclidean distance; N > k + 1, M >= k rows. Around
    each real image lies a ball that reaches to its k-th nearest other one.
    Density: balls are shrunk to the median radius where they are larger; a generated image counts min(balls around
    it / k, 1); the mean over them is divided by the same mean over the real images, and cut at 1.
    Coverage: a real image counts min(generated images inside its ball / k, 1), the ball's surface left out. The mean is
    calibrated: it is m / (M + 1), m the fewest of M images from the real distribution of which that mean is expected,
    where a ball holds a Beta(k, N - k) share of the distribution. As in the authors' code, fewer than k cover nothing.
    k: 5 in the paper. progress: show bars. Balls are open: a real image with k duplicates has an empty one, and is
    never covered.
    Source: Salvy, Talbot & Thirion, arXiv 2507.01761 (ICLR 2026), and the authors' code for the calibration. The code
    counts of the real images' own balls only the k nearest others; here all inside, which differs for ties alone.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, or too few rows for k.
    """
    real, fake = row_pair(real, fake)
    n, m = len(real), len(fake)
    if not (1 <= k < n - 1 and k <= m):
        raise MetricError(
            f"clipped density and coverage: k = {k} with {n} real and {m} fake rows",
            "k + 2 real and k generated images are needed",
            "draw more images, or choose fewer neighbours",
        )
    reach = nearest(real, real, k, exclude_self=True, progress=progress)[1][:, k - 1]  # squared, [N]
    raw_density, of_real = _raw_densities(real, fake, _shrunk(reach), k, progress)
    inside = nearest(real, fake, k, progress=progress)[1] < reach[:, None]  # [N, k]
    raw_coverage = float(inside.mean())
    density = min(raw_density / of_real, 1.0) if of_real > 0 else 0.0
    return Clipped(density, good_images(raw_coverage, n, m, k) / (m + 1), raw_density, raw_coverage, k)


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """Both of two sets, by the stems of their ids; nothing where a set is too small for k."""
    settings = sets.settings
    real, fake = (some_rows(rows, settings.prdc_images, settings.seed) for rows in (sets.real, sets.fake))
    if len(real) <= settings.k + 1 or len(fake) < settings.k:
        return {}
    found = clipped(real, fake, k=settings.k, progress=sets.progress)
    how = {"k": settings.k, "prdc_images": [len(real), len(fake)]}
    return {
        "clipped_density": SetNumber(found.density, how, {"uncalibrated": found.raw_density}),
        "clipped_coverage": SetNumber(found.coverage, how, {"uncalibrated": found.raw_coverage}),
    }


def expected_coverage(m: int, n: int, k: int) -> float:
    """Expected uncalibrated coverage by m images from the distribution that the n real ones come from.

    The number of them inside a ball is beta-binomial: E min(J, k) / k, J of m with a share that is Beta(k, n - k).
    """
    j = np.arange(1, m + 1)
    log_choose = gammaln(m + 1) - gammaln(j + 1) - gammaln(m - j + 1)
    log_weight = log_choose + betaln(k + j, n - k + m - j) - betaln(k, n - k)
    return float((np.minimum(j, k) * np.exp(log_weight)).sum() / k)


def good_images(coverage: float, n: int, m: int, k: int) -> int:
    """Fewest of m images whose expected coverage reaches this one, by bisection; m + 1 where that of m does not."""
    if coverage <= 0:
        return 0
    low, high = k, m + 1  # the answer is one of low .. high
    while low < high:
        middle = (low + high) // 2
        if expected_coverage(middle, n, k) >= coverage:
            high = middle
        else:
            low = middle + 1
    return low


def _shrunk(reach: Float64) -> Float64:
    """Squared radii with the median radius in place of larger ones; smaller ones keep their bits."""
    radius = np.sqrt(reach)
    median = float(np.median(radius))
    return np.where(radius <= median, reach, median**2)


def _raw_densities(real: Float64, fake: Float64, reach: Float64, k: int, progress: bool) -> tuple[float, float]:
    """Mean of min(balls around an image / k, 1): over the generated images, and over the real ones, without their own
    balls.
    """
    around_fake, around_real = (
        count_inside(real, others, reach, np.zeros(len(others)), progress=progress).balls_around_other
        for others in (fake, real)
    )
    return float(np.minimum(around_fake / k, 1).mean()), float(np.minimum((around_real - 1) / k, 1).mean())
