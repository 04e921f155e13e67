"""CMMD: squared maximum mean discrepancy of CLIP embeddings with a Gaussian kernel (Jayasumana et al., 2024).

Unlike a Frechet distance it assumes no Gaussian features, and of few images it is hardly biased.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from benchmark.metrics.checks import Array, Float64, MetricError, row_pair
from benchmark.metrics.sets import FeatureSets, SetNumber

TILE_ROWS = 2048  # a tile of kernel values takes 32 MiB
SIGMA, SCALE = 10.0, 1000.0
CLIP = "clip-"  # names of the extractors whose embeddings it is made for begin so


def cmmd(real: Array, fake: Array, sigma: float = SIGMA, scale: float = SCALE, progress: bool = False) -> float:
    """scale * MMD^2 of unit-length embeddings, kernel exp(-|x - y|^2 / (2 sigma^2)). In [0, 2 scale], lower is better.

    real: [N, d] floats; fake: [M, d] floats, of one extractor; each row is divided by its length here. Symmetric, free
    of draws and of order. The estimate is the biased one (V-statistic: pairs of a row with itself count), as in the
    paper's code: it is never negative, and for equal distributions about scale * (1/N + 1/M) * (1 - mean kernel).
    sigma, scale: 10 and 1000 in the paper. progress: show a bar.
    Source: Jayasumana et al., CVPR 2024 (arXiv 2401.09603), sec. 4; the estimate is Gretton et al., JMLR 2012, eq. 5.
    Ours: float64, in tiles; 1 - kernel is summed in place of the kernel, so that small values keep their digits.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, a row of length 0, or sigma not above 0.
    """
    real, fake = row_pair(real, fake)
    if not sigma > 0:
        raise MetricError(f"CMMD: sigma = {sigma}", "the kernel's width is above 0", "use 10, the paper's")
    real, fake = _unit("real", real), _unit("fake", fake)
    n, m, gamma = len(real), len(fake), 1 / (2 * sigma**2)
    within_real, within_fake = _gap(real, real, gamma, progress), _gap(fake, fake, gamma, progress)
    between = _gap(real, fake, gamma, progress)
    return max(scale * (2 * between / (n * m) - within_real / n**2 - within_fake / m**2), 0.0)


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """The distance of two sets, by the stem of its id; nothing of an extractor that is no CLIP."""
    if not sets.extractor.startswith(CLIP):
        return {}
    kernel = f"biased MMD^2 of unit-length embeddings, Gaussian kernel, sigma {SIGMA:g}, times {SCALE:g}"
    return {"cmmd": SetNumber(cmmd(sets.real, sets.fake, progress=sets.progress), {"kernel": kernel})}


def _unit(name: str, rows: Float64) -> Float64:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise MetricError(f"CMMD: {name} embedding {int((lengths == 0).argmax())} is zero", "it has no direction")
    unit: Float64 = rows / lengths
    return unit


def _gap(a: Float64, b: Float64, gamma: float, progress: bool) -> float:
    """Sum of 1 - kernel over all pairs of a row of each, by |x - y|^2 = 2 - 2 x.y."""
    return math.fsum(
        float(-np.expm1(-2 * gamma * (1 - a[i : i + TILE_ROWS] @ b[j : j + TILE_ROWS].T).clip(min=0)).sum())
        for i in _tiles(len(a), progress)
        for j in range(0, len(b), TILE_ROWS)
    )


def _tiles(n: int, progress: bool) -> Iterator[int]:
    return iter(tqdm(range(0, n, TILE_ROWS), desc="kernel", unit="tile", disable=not progress))
