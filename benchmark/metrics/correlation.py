"""Attribute correlation: which attributes does a generator tie to one another?

Source: Patel et al., "LT-GAN: Self-Supervised GAN with Latent Transformation Detection" (WACV 2021), the correlation of
an attribute classifier's scores over generated images. The mean and the intervals are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from benchmark.core.stats import CONFIDENCE
from benchmark.metrics.checks import Array, Float64, MetricError, float_rows


@dataclass(frozen=True)
class Correlation:
    """Pearson correlations of A attributes' scores; entries in [-1, 1]."""

    matrix: Float64  # [A, A], ones on the diagonal
    low: Float64  # [A, A], of the 95 % interval by Fisher's z; ones on the diagonal
    high: Float64  # [A, A]
    mean_abs_off_diagonal: float  # mean |r| over pairs of different attributes, in [0, 1]; lower: less entangled
    n: int  # images


def attribute_correlation(scores: Array, names: Sequence[str] | None = None) -> Correlation:
    """Correlation of every two attributes over generated images. Mean |r| in [0, 1], lower is better.

    scores: [N, A] floats, N >= 4, A >= 2: a classifier's logits, not its probabilities, which saturate. names: of the A
    columns, for messages. Attributes that go together in the real images (beard and male) should do so in the generated
    ones: print the real images' matrix with this one. With few images chance alone gives mean |r| of about
    0.8 / sqrt(N). The intervals assume normal scores and say nothing about all pairs at once.
    Source: LT-GAN (Patel et al., 2021) for the matrix; Fisher, 1921, for the intervals; the mean is ours.
    Raises MetricError for wrong dtype or shape, NaN, fewer than four images or two attributes, or a column in which
    every image has the same score.
    """
    rows = float_rows("attribute scores", scores, min_rows=4)
    n, n_attributes = rows.shape
    if n_attributes < 2:
        raise MetricError(
            "attribute scores: one column", "a correlation is between two attributes", "score more of them"
        )
    if names is not None and len(names) != n_attributes:
        raise MetricError(f"{len(names)} names for {n_attributes} columns", "each column of the scores has one name")
    _refuse_constant(rows, names)
    matrix = np.corrcoef(rows, rowvar=False)
    matrix = ((matrix + matrix.T) / 2).clip(-1, 1)  # rounding leaves two triangles, and 1 + 1e-16 for collinear columns
    np.fill_diagonal(matrix, 1.0)
    low, high = _fisher_interval(matrix, n)
    off_diagonal = np.abs(matrix[np.triu_indices(n_attributes, k=1)])
    return Correlation(matrix, low, high, float(off_diagonal.mean()), n)


def _refuse_constant(rows: Float64, names: Sequence[str] | None) -> None:
    """A constant column has no correlation; one that varies by rounding only has that of its rounding errors."""
    spread, size = np.ptp(rows, axis=0), np.abs(rows).max(axis=0)
    constant = np.flatnonzero(spread <= 1e-12 * size).tolist()
    if constant:
        columns = ", ".join(f"{c} ({names[c]})" if names is not None else str(c) for c in constant)
        raise MetricError(
            f"attribute scores: column {columns} is constant",
            "the correlation with an attribute that never changes is undefined",
            "leave the attribute out, or score more images",
        )


def _fisher_interval(matrix: Float64, n: int) -> tuple[Float64, Float64]:
    """atanh(r) is about normal with standard deviation 1 / sqrt(n - 3)."""
    half = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) / math.sqrt(n - 3)
    with np.errstate(divide="ignore"):  # r of exactly 1 or -1 has no width
        z = np.arctanh(matrix)
    return np.tanh(z - half), np.tanh(z + half)
