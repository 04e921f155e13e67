"""Vendi score: the effective number of different images in a set (Friedman & Dieng, 2022). It needs no reference."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from benchmark.metrics.checks import Array, Float64, float_rows
from benchmark.metrics.sets import FeatureSets, SetNumber


def vendi_score(features: Array) -> float:
    """exp of the entropy of the eigenvalues of K / n, K the cosine similarities. In [1, min(n, d)], higher is better.

    features: [n, d] floats of one extractor; each row is divided by its length here, a zero row stays zero and counts
    as no image. n images that are all equal score 1, n that are pairwise orthogonal score n. It says nothing of
    quality: noise is diverse. It grows with n, so compare only equal ones.
    Cost: the eigenvalues of the smaller of K / n (n x n) and X^T X / n (d x d), whose non-zero ones are the same: with
    n > d, n d^2 + d^3 operations, and no n x n matrix.
    Source: Friedman & Dieng, TMLR 2023 (arXiv 2210.02410), definition 3.1, order q = 1, cosine kernel.
    Raises MetricError for a wrong dtype or shape, NaN, or fewer than two rows.
    """
    rows = float_rows("features", features)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(lengths > 0, lengths, 1)
    gram: Float64 = rows.T @ rows if len(rows) > rows.shape[1] else rows @ rows.T
    eigenvalues = scipy.linalg.eigvalsh(gram / len(rows))
    positive = eigenvalues[eigenvalues > 0]  # rounding makes some of the zeros negative
    return float(np.exp(-(positive * np.log(positive)).sum()))


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """The score of the generated images, by the stem of its id."""
    return {"vendi": SetNumber(vendi_score(sets.fake), {"kernel": "cosine, order 1"})}
