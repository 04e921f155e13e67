"""Kernel distance between two sets of features: KID when the features are Inception's (Binkowski et al., 2018).

The unbiased estimate of the squared maximum mean discrepancy with the kernel (x.y / d + 1)^3. Without bias it is about
0 for equal distributions, and then often below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from benchmark.metrics.checks import Array, Float64, MetricError, row_pair
from benchmark.metrics.sets import FeatureSets, OfReal, SetNumber, computed

TILE_ROWS = 2048  # a tile of kernel values takes 32 MiB
DEGREE, COEF0 = 3, 1.0  # and gamma = 1 / d


def kid(real: Array, fake: Array, progress: bool = False, of_real: OfReal = computed) -> float:
    """Unbiased squared MMD of the whole sets, polynomial kernel. Lower is better; below 0 only by chance.

    real: [N, d] floats; fake: [M, d] floats, of one extractor; N, M >= 2. Symmetric, and free of draws and of order, as
    the mean over subsets (`kid_subsets`) is not. Only Inception's features make it KID; of others it is a kernel
    distance. progress: show a bar. of_real: finds the real set's own part from an earlier call, or computes it.
    Source: Binkowski et al., ICLR 2018, sec. 4 (kernel), after Gretton et al., JMLR 2012, eq. 3 (unbiased estimate); in
    float64 and in tiles. Ours: the whole sets at once.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, or fewer than two rows.
    """
    real, fake = row_pair(real, fake)
    n, m = len(real), len(fake)
    within_real = of_real("sum of the cubic kernel", lambda: _sum_within(real, progress))
    within_fake = _sum_within(fake, progress)
    between = _sum_between(real, fake, progress)
    return within_real / (n * (n - 1)) + within_fake / (m * (m - 1)) - 2 * between / (n * m)


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """The distance of two sets, by the stem of its id."""
    kernel = "unbiased MMD^2 of all images, polynomial kernel of degree 3, gamma 1/d, coef0 1"
    return {"kd": SetNumber(kid(sets.real, sets.fake, of_real=sets.of_real), {"kernel": kernel})}


@dataclass(frozen=True)
class KIDSubsets:
    """Kernel distance over random subsets, as published tables give it."""

    mean: float  # lower is better
    sd: float  # over subsets, divided by their number: the spread of ONE subset, not the error of the mean
    n_subsets: int
    subset_size: int
    seed: int


def kid_subsets(
    real: Array, fake: Array, n_subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> KIDSubsets:
    """Mean and sd of the unbiased squared MMD over subsets drawn without replacement. Lower is better.

    real: [N, d] floats; fake: [M, d] floats, of one extractor; N, M >= subset_size >= 2. Depends on the seed and on the
    order of the rows, by less with more subsets.
    Source: Binkowski et al., ICLR 2018, computed by torch-fidelity, whose defaults these are; ours: from float64.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, n_subsets < 1, subset_size < 2, or fewer rows than
    subset_size.
    """
    if n_subsets < 1 or subset_size < 2:
        raise MetricError(
            f"kernel distance: {n_subsets} subsets of {subset_size}", "it takes one subset, and two rows in it"
        )
    # it imports torchvision's detection and torch's compiler: two seconds that every run would wait
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    real, fake = row_pair(real, fake, min_rows=subset_size)
    found = kid_features_to_metric(
        torch.from_numpy(fake),
        torch.from_numpy(real),
        kid_subsets=n_subsets,
        kid_subset_size=subset_size,
        kid_kernel="poly",
        kid_kernel_poly_degree=DEGREE,
        kid_kernel_poly_gamma=None,  # 1 / d
        kid_kernel_poly_coef0=COEF0,
        rng_seed=seed,
        verbose=False,
    )
    return KIDSubsets(found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD], n_subsets, subset_size, seed)


def _kernel(a: Float64, b: Float64) -> Float64:
    """(a.b / d + 1)^3 of all pairs [n, m]."""
    values: Float64 = a @ b.T
    values /= a.shape[1]
    values += COEF0
    cubes: Float64 = np.square(values)  # the power 3 of numpy takes 20 times as long
    cubes *= values
    return cubes


def _sum_within(rows: Float64, progress: bool) -> float:
    """Sum of the kernel over all ordered pairs of different rows: the tiles above the diagonal count twice."""
    sums = []
    for i in _tiles(len(rows), progress):
        tile = rows[i : i + TILE_ROWS]
        square = _kernel(tile, tile)
        sums.append(float(square.sum() - np.trace(square)))
        for j in range(i + TILE_ROWS, len(rows), TILE_ROWS):
            sums.append(2 * float(_kernel(tile, rows[j : j + TILE_ROWS]).sum()))
    return math.fsum(sums)


def _sum_between(real: Float64, fake: Float64, progress: bool) -> float:
    """Sum of the kernel over all pairs of a real and a generated row."""
    return math.fsum(
        float(_kernel(real[i : i + TILE_ROWS], fake[j : j + TILE_ROWS]).sum())
        for i in _tiles(len(real), progress)
        for j in range(0, len(fake), TILE_ROWS)
    )


def _tiles(n: int, progress: bool) -> Iterator[int]:
    return iter(tqdm(range(0, n, TILE_ROWS), desc="kernel", unit="tile", disable=not progress))
