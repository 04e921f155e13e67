"""Frechet distance between two sets of features (Heusel et al., 2017, eq. 6): FID when the features are Inception's.

    FD = |m1 - m2|^2 + Tr(S1) + Tr(S2) - 2 Tr((S1 S2)^(1/2))

The last trace is the sum of the singular values of A B^T for any A^T A = S1, B^T B = S2. With fewer images than feature
dimensions A and B are the centred features themselves, which is exact and cheap; otherwise a d x d factor is cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from benchmark.metrics.checks import Array, Float64, MetricError, float_rows, row_pair


@dataclass(frozen=True)
class FeatureStats:
    """Mean and covariance of a set of features."""

    mean: Float64  # [d]
    cov: Float64  # [d, d], divided by n - 1
    n: int  # number of images; FD's bias goes as 1/n, so n belongs to the number


def feature_stats(features: Array) -> FeatureStats:
    """Mean and unbiased covariance, in float64, of features [N, d], N >= 2.

    Raises MetricError for rows that are not finite floats [N, d].
    """
    rows = float_rows("features", features)
    return FeatureStats(rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False)), len(rows))


def frechet_distance(real_features: Array, fake_features: Array) -> float:
    """Frechet distance between the Gaussians fitted to two sets of features. In [0, inf), lower is better.

    real_features: [N, d] floats; fake_features: [M, d] floats, of the same extractor; N, M >= 2.
    Symmetric in its arguments. Biased upwards by about 1/n: compare only values of equal N and M.
    Source: Heusel et al., 2017, eq. 6, computed in float64.
    Raises MetricError for wrong dtype, shape or dimension, NaN, or fewer than two rows.
    """
    real, fake = row_pair(real_features, fake_features)
    if min(len(real), len(fake)) >= real.shape[1]:
        return frechet_from_stats(feature_stats(real), feature_stats(fake))
    shift = real.mean(axis=0) - fake.mean(axis=0)
    a, b = _centred(real), _centred(fake)  # a^T a and b^T b are the covariances
    cross = scipy.linalg.svdvals(a @ b.T).sum()
    return _distance(shift, float((a * a).sum()), float((b * b).sum()), float(cross))


def frechet_from_stats(real: FeatureStats, fake: FeatureStats) -> float:
    """Frechet distance from stored statistics. In [0, inf), lower is better; Heusel et al., 2017, eq. 6.

    Where n is smaller than d, the features themselves give a more exact value (`frechet_distance`).
    Raises MetricError when the dimensions differ.
    """
    if real.mean.shape != fake.mean.shape:
        raise MetricError(
            f"statistics of {len(real.mean)} (real) and {len(fake.mean)} (fake) dimensions",
            "the two sets were made by different extractors or layers",
            "extract both with the same extractor",
        )
    eigenvalues, vectors = scipy.linalg.eigh(_symmetric(real.cov))
    factor = vectors * np.sqrt(eigenvalues.clip(min=0))  # L with L L^T = S1
    cross = np.sqrt(scipy.linalg.eigvalsh(_symmetric(factor.T @ fake.cov @ factor)).clip(min=0)).sum()
    return _distance(real.mean - fake.mean, float(np.trace(real.cov)), float(np.trace(fake.cov)), float(cross))


def _centred(rows: Float64) -> Float64:
    return (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)


def _symmetric(matrix: Float64) -> Float64:
    """eigh reads one triangle only; rounding makes the two differ."""
    return (matrix + matrix.T) / 2


def _distance(shift: Float64, trace_real: float, trace_fake: float, cross: float) -> float:
    return max(float(shift @ shift) + trace_real + trace_fake - 2 * cross, 0.0)  # rounding can leave -1e-13
