"""Frechet distance between two sets of features (Heusel et al., 2017, eq. 6): FID when the features are Inception's.

    FD = |m1 - m2|^2 + Tr(S1) + Tr(S2) - 2 Tr((S1 S2)^(1/2))

The last trace is the sum of the singular values of A B^T for any A^T A = S1, B^T B = S2. With fewer images than feature
dimensions A and B are the centred features themselves, which is exact and cheap; otherwise a d x d factor is cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from benchmark.metrics.checks import Array, Float64, Int64, MetricError, as_numpy, float_rows, row_pair
from benchmark.metrics.sets import FeatureSets, SetNumber

CHUNK_ROWS = 1024  # rows centred at once


@dataclass(frozen=True)
class FeatureStats:
    """Mean and covariance of a set of features."""

    mean: Float64  # [d]
    cov: Float64  # [d, d], divided by n - 1
    n: int  # number of images; FD's bias goes as 1/n, so n belongs to the number


def feature_stats(features: Array) -> FeatureStats:
    """Mean and unbiased covariance, in float64, of features [N, d], N >= 2.

    Memory in addition to the features: one float64 copy of them, unless they are float64, and a few matrices d x d.
    Raises MetricError for rows that are not finite floats [N, d].
    """
    rows = float_rows("features", features)
    mean = rows.mean(axis=0)
    cov = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), CHUNK_ROWS):  # np.cov would hold two more copies of the rows
        centred = rows[start : start + CHUNK_ROWS] - mean
        cov += centred.T @ centred
    return FeatureStats(mean, cov / (len(rows) - 1), len(rows))


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


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """The distance of two sets, by the stem of its id."""
    return {"fd": SetNumber(frechet_distance(sets.real, sets.fake))}


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


@dataclass(frozen=True)
class IntraClassFD:
    """Frechet distances within classes."""

    mean: float  # over the classes of `per_class`, each weighing the same; lower is better
    per_class: dict[int, float]
    n_images: dict[int, tuple[int, int]]  # of every class, (real, generated): a distance's bias goes as 1/n
    missing: tuple[int, ...]  # classes with too few images of either kind; they are in no mean


def intra_class_fd(
    real: Array, real_labels: Array, fake: Array, fake_labels: Array, min_images: int = 2
) -> IntraClassFD:
    """Frechet distance of generated to real images within each class, and its mean. In [0, inf), lower is better.

    real: [N, d] floats with classes [N]; fake: [M, d] floats, of one extractor, with the classes [M] they were to
    be; classes are integers, 0 or more. A class that either set holds is either measured or listed as missing: a mean
    over fewer classes than the data have is no result of theirs. Biased upwards by about 1/n, and n is that of a class.
    min_images: fewest real, and fewest generated, images of a class that is measured, 2 or more.
    Source: Miyato & Koyama, ICLR 2018 (intra FID). Ours: min_images.
    Raises MetricError for bad features (as `frechet_distance`), labels that are not one class a row, min_images < 2,
    only one class, or no class with enough images.
    """
    real, fake = row_pair(real, fake)
    real_y, fake_y = _classes("real labels", real_labels, len(real)), _classes("fake labels", fake_labels, len(fake))
    if min_images < 2:
        raise MetricError(f"intra-class FD: min_images = {min_images}", "a covariance needs two images")
    classes = np.union1d(real_y, fake_y).tolist()
    if len(classes) == 1:
        raise MetricError(
            "intra-class FD: there is one class", "it would be the plain Frechet distance", "use frechet_distance"
        )
    n_images = {c: (int((real_y == c).sum()), int((fake_y == c).sum())) for c in classes}
    missing = tuple(c for c in classes if min(n_images[c]) < min_images)
    per_class = {c: frechet_distance(real[real_y == c], fake[fake_y == c]) for c in classes if c not in missing}
    if not per_class:
        raise MetricError(
            f"intra-class FD: none of {len(classes)} classes has {min_images} real and {min_images} generated images",
            "the two sets share too few images of a class",
            "draw more images of each class",
        )
    return IntraClassFD(sum(per_class.values()) / len(per_class), per_class, n_images, missing)


def _classes(name: str, labels: Array, n: int) -> Int64:
    """Classes [n] as int64. Raises MetricError unless they are integers, not negative, one for each row."""
    values = as_numpy(name, labels)
    if values.shape != (n,) or not np.issubdtype(values.dtype, np.integer) or (values < 0).any():
        raise MetricError(
            f"{name}: {values.dtype} {list(values.shape)}", f"[{n}] integers 0, 1, ... are needed: a class for each row"
        )
    return values.astype(np.int64)


def _centred(rows: Float64) -> Float64:
    return (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)


def _symmetric(matrix: Float64) -> Float64:
    """eigh reads one triangle only; rounding makes the two differ."""
    return (matrix + matrix.T) / 2


def _distance(shift: Float64, trace_real: float, trace_fake: float, cross: float) -> float:
    return max(float(shift @ shift) + trace_real + trace_fake - 2 * cross, 0.0)  # rounding can leave -1e-13
