"""How well clusters found without labels agree with classes: of real images, and of images generated for a cluster.

Normalised mutual information and purity are reported by Self-Conditioned GAN (Liu et al., CVPR 2020) for the clusters
its generator is conditioned on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.metrics.checks import Array, Int64, MetricError, as_numpy, int_labels


@dataclass(frozen=True)
class ClusterAgreement:
    """How often an image generated for a training image's cluster shows that image's class."""

    macro: float  # mean over classes, in [0, 1]
    per_class: tuple[float | None, ...]  # [K]; None where no cluster with samples has a training image of the class
    on_real: float  # the same with training images of the cluster in place of generated ones; it is no upper limit
    n_left_out: int  # training images whose cluster has no samples


def nmi(clusters: Array, labels: Array) -> float:
    """Normalised mutual information of clusters [N] and classes [N]. In [0, 1], higher is better.

    clusters, labels: integers, any names; renaming either changes nothing, and so does exchanging the two.
    I(clusters; labels) over the arithmetic mean of both entropies (scikit-learn's default since 0.22; before, and in
    some papers, the geometric mean, which is larger). 1: each is a renaming of the other; 0: one tells nothing of the
    other. Not corrected for chance: many small clusters score above 0 by chance, so compare equal numbers of clusters.
    Source: Strehl and Ghosh, JMLR 2002 (there with the geometric mean); computed by scikit-learn.
    Raises MetricError for other shapes or dtypes, no rows, or labels that are all the same.
    """
    clusters, labels = _pair(clusters, labels)
    return normalized_mutual_info_score(labels, clusters, average_method="arithmetic")


def normalized_mutual_info_score(labels: Int64, clusters: Int64, average_method: str) -> float:
    """scikit-learn's, which takes a second to import."""
    from sklearn import metrics

    return float(metrics.normalized_mutual_info_score(labels, clusters, average_method=average_method))


def purity(clusters: Array, labels: Array) -> float:
    """Share of images whose class is the most frequent one of their cluster. In (0, 1], higher is better.

    clusters, labels: integers [N], any names; renaming either changes nothing. The arguments are not exchangeable:
    exchanged, as in the published code of Self-Conditioned GAN, they give the inverse purity, the share of images that
    lie in the largest cluster of their class.
    Chance depends on the number of clusters: never below `purity_chance` (one cluster of everything), and 1 when every
    image is a cluster of its own. So compare equal numbers of clusters.
    Source: Manning, Raghavan, Schuetze, "Introduction to Information Retrieval" (2008), sec. 16.3.
    Raises MetricError for other shapes or dtypes, no rows, or labels that are all the same.
    """
    clusters, labels = _pair(clusters, labels)
    return int(_table(clusters, labels).max(axis=1).sum()) / len(labels)


def purity_chance(labels: Array) -> float:
    """The least purity any clustering of these labels [N] can have: the largest class's share. In (0, 1).

    It is what a single cluster reaches; random clusters reach more, the more the smaller they are [ours].
    Raises MetricError for other shapes or dtypes, no rows, or labels that are all the same.
    """
    values = _classes(labels)
    return int(np.unique(values, return_counts=True)[1].max()) / len(values)


def cluster_agreement(
    clusters: Array, labels: Array, requested: Array, seen: Array, n_classes: int
) -> ClusterAgreement:
    """Share of images generated for a training image's cluster that show its class, averaged over classes.

    It asks of clusters what label agreement asks of images as conditions: take an image, generate for it, and see
    whether the class is kept. For class y it is sum_c p(c | y) q(y | c): p is the share of y's training images that are
    in cluster c, q the share of c's samples in which y is seen. A generator that ignores its cluster has 1/K.
    One that draws each cluster as its training images are has `on_real`; one that draws only the most frequent class of
    each has more. How often each cluster was requested does not matter, only that it was.

    clusters, labels: of the training images, integers [N]. requested, seen: the cluster asked for and the class seen,
    integers [M], of the samples. Clusters may have any names; n_classes: K, the classes are 0 to K - 1. Training images
    of clusters without samples are left out. Source: ours.
    Raises MetricError for other shapes, dtypes or classes, and when no training image is left.
    """
    c, asked = integers("clusters", clusters), integers("requested clusters", requested)
    y, shown = int_labels("labels", labels, len(c), n_classes), int_labels("classes seen", seen, len(asked), n_classes)
    names, rows = np.unique(np.concatenate([c, asked]), return_inverse=True)
    real = _counts(rows[: len(c)], y, len(names), n_classes)
    fake = _counts(rows[len(c) :], shown, len(names), n_classes)
    sampled = fake.sum(1) > 0
    n_left_out = int(real[~sampled].sum())
    real, fake = real[sampled], fake[sampled]
    present = real.sum(0) > 0
    if not present.any():
        raise MetricError(
            "requested clusters", "none of them has a training image", "request clusters that have images"
        )
    p = real[:, present] / real[:, present].sum(0)  # p(c | y)
    kept = (p * (fake / fake.sum(1, keepdims=True))[:, present]).sum(0)
    of_real = (p * (real / np.maximum(real.sum(1, keepdims=True), 1))[:, present]).sum(0)
    per_class: list[float | None] = [None] * n_classes
    for place, value in zip(np.flatnonzero(present), kept):
        per_class[place] = float(value)
    return ClusterAgreement(float(kept.mean()), tuple(per_class), float(of_real.mean()), n_left_out)


def integers(name: str, values: Array, n_rows: int | None = None) -> Int64:
    """Class or cluster numbers as int64 [N], N at least 1 and `n_rows` where given.

    Raises MetricError unless they are integers in one dimension.
    """
    rows = as_numpy(name, values)
    if rows.ndim != 1 or len(rows) == 0 or (n_rows is not None and len(rows) != n_rows):
        raise MetricError(
            f"{name}: shape {list(rows.shape)}", f"[{'N' if n_rows is None else n_rows}] is needed: one for each image"
        )
    if not np.issubdtype(rows.dtype, np.integer):
        raise MetricError(f"{name}: dtype {rows.dtype}", "integers are needed", "pass indices, not scores")
    return rows.astype(np.int64)


def _classes(labels: Array) -> Int64:
    values = integers("labels", labels)
    if (values == values[0]).all():
        raise MetricError(
            f"labels: all are {values[0]}", "with one class every clustering is pure and none tells anything"
        )
    return values


def _pair(clusters: Array, labels: Array) -> tuple[Int64, Int64]:
    values = _classes(labels)
    return integers("clusters", clusters, len(values)), values


def _table(clusters: Int64, labels: Int64) -> Int64:
    """Number of images in each cluster and class: [clusters, classes]."""
    _, row = np.unique(clusters, return_inverse=True)
    names, column = np.unique(labels, return_inverse=True)
    return _counts(row, column, int(row.max()) + 1, len(names))


def _counts(row: Int64, column: Int64, n_rows: int, n_columns: int) -> Int64:
    """How often each pair of numbers occurs: [n_rows, n_columns]."""
    return np.bincount(row * n_columns + column, minlength=n_rows * n_columns).reshape(n_rows, n_columns)
