"""How sure is a metric of a set of images? Its error within one run by half-sampling, and its value without its bias.

Both draw from the generated images only. The real set is fixed by the protocol, the same for all methods and runs: what
another real set would give is no part of the difference between two methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from benchmark.metrics.checks import Array, Float64, MetricError, float_rows, row_pair
from benchmark.metrics.frechet import feature_stats, frechet_from_stats
from benchmark.metrics.sets import FeatureSets, SetNumber

T = TypeVar("T")
N_SIZES = 15  # points of the default extrapolation
SMALLEST_PART = 10  # of n images, the smallest default size is n / 10


def half_samples(
    metric: Callable[[Array, Array], T],
    real: Array,
    fake: Array,
    draws: int = 50,
    seed: int = 0,
    progress: bool = False,
) -> list[T]:
    """The metric of each of `draws` random halves of the generated images, drawn without replacement.

    metric: called as metric(real, half); half is [M // 2, d] float64, its rows in the order of `fake`. Whatever it
    returns is returned, so that metrics of many numbers need one pass. real: handed on as it is. fake: [M, d] floats.
    Raises MetricError for bad features, fewer than 4 generated rows or fewer than 2 draws, and what `metric` raises.
    """
    fake = float_rows("fake features", fake, min_rows=4)
    if draws < 2:
        raise MetricError(f"half-sampling: {draws} draws", "a standard deviation needs two or more")
    rng = np.random.default_rng(seed)
    halves = (np.sort(rng.choice(len(fake), len(fake) // 2, replace=False)) for _ in range(draws))
    return [
        metric(real, fake[rows]) for rows in tqdm(halves, "half-sampling", draws, unit="draw", disable=not progress)
    ]


def half_sampling_sd(
    metric: Callable[[Array, Array], float],
    real: Array,
    fake: Array,
    draws: int = 50,
    seed: int = 0,
    progress: bool = False,
) -> float:
    """Standard deviation of a set metric over repeated samplings of one generator, in the metric's unit.

    metric: metric(real, fake) -> float, for example `frechet_distance`. real [N, d], fake [M, d]: features, M >= 4.
    Half of the M images is drawn without replacement, `draws` times. The sd of these values is taken as it is: a half
    has twice the variance of the whole, but a half of the whole shares half of it, and of a mean the two cancel
    exactly (M even). Other metrics follow as far as they are smooth. A bootstrap would not do: repeated images change
    what nearest neighbours and covariances are. Their mean is not the metric of M images: centre on that.
    It is the error of sampling this generator. It is not the spread over training seeds, which is larger, and as only
    the generated side is drawn, not that over real sets. seed: of the draws. progress: show a bar.
    Source: Politis & Romano, Annals of Statistics 1994 (subsampling). Ours: the half, and that one side is drawn.
    Raises MetricError for bad features, fewer than 4 generated rows, fewer than 2 draws, a metric that is not finite,
    and what `metric` raises.
    """
    values = np.array(half_samples(metric, real, fake, draws, seed, progress), dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise MetricError(
            "half-sampling: a half's value is no finite number",
            "the metric cannot be computed from half of the images, or returns more than one number",
            "draw more images, or take its numbers from `half_samples`",
        )
    return float(values.std(ddof=1))


@dataclass(frozen=True)
class Extrapolation:
    """A line through Frechet distances over 1/n, n generated images."""

    value: float  # at 1/n = 0; lower is better; noise can take it below 0
    slope: float  # bias times n
    sizes: tuple[int, ...]  # numbers of generated images
    distances: tuple[float, ...]  # one for each size
    residual_sd: float  # of the distances about the line
    n_real: int
    seed: int


def fd_at_infinity(
    real: Array, fake: Array, sizes: Sequence[int] | None = None, seed: int = 0, progress: bool = False
) -> Extrapolation:
    """Frechet distance for infinitely many generated images, extrapolated linearly in 1/n. Lower is better.

    real: [N, d] floats; fake: [M, d] floats, of one extractor. For each size n, the distance of n generated images,
    drawn without replacement, to all real ones; least squares on 1/n give the line. The same seed gives the same value.
    sizes: numbers of images, three different ones or more, from d + 1 to M; None: 15 from max(M / 10, d + 1) to M, at
    equal steps. With d images or fewer a covariance is singular and the bias does not fall as 1/n. The bias that N real
    images bring stays. It is noisier than the distance itself: look at residual_sd. progress: show a bar.
    Source: Chong & Forsyth, CVPR 2020 (FID infinity). Ours: the sizes, and random images where they also propose
    quasi-random latents.
    Raises MetricError for bad features, sizes out of range or fewer than three, or M too small for three sizes.
    """
    real, fake = row_pair(real, fake)
    m, d = fake.shape
    sizes = _default_sizes(m, d) if sizes is None else tuple(sizes)
    if len(set(sizes)) < 3 or not all(d < n <= m for n in sizes):
        raise MetricError(
            f"FD at infinity: sizes {list(sizes)} of {m} images with {d} features",
            f"a line needs three different sizes, each between {d + 1} and {m}",
            "draw more images",
        )
    rng, real_stats = np.random.default_rng(seed), feature_stats(real)
    distances = [
        frechet_from_stats(real_stats, feature_stats(fake[rng.choice(m, n, replace=False)]))
        for n in tqdm(sizes, desc="FD at infinity", unit="size", disable=not progress)
    ]
    slope, value = np.polyfit(1 / np.array(sizes), distances, deg=1)
    residuals: Float64 = distances - (value + slope / np.array(sizes))
    residual_sd = float(np.sqrt((residuals**2).sum() / max(1, len(sizes) - 2)))
    return Extrapolation(float(value), float(slope), sizes, tuple(distances), residual_sd, len(real), seed)


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """The extrapolated distance, by the stem of its id; nothing where it is not requested, or of too few images."""
    if not sets.settings.extrapolate or len(sets.fake) <= 2 * sets.fake.shape[1]:  # a line in 1/n needs sizes above d
        return {}
    limit = fd_at_infinity(sets.real, sets.fake, seed=sets.settings.seed)
    how = {"extrapolation": "line in 1 / generated images", "sizes": list(limit.sizes)}
    return {"fd_infinity": SetNumber(limit.value, how, {"slope": limit.slope, "residual_sd": limit.residual_sd})}


def _default_sizes(m: int, d: int) -> tuple[int, ...]:
    smallest = max(m // SMALLEST_PART, d + 1)
    return tuple(int(n) for n in np.linspace(smallest, max(m, smallest), N_SIZES).round())
