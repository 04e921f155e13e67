"""Agreement of clusters and classes: hand-made tables, renaming, bounds, draws, and that the mutants are told apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.cluster import contingency_matrix

import benchmark.metrics.clusters
from benchmark.metrics.checks import MetricError
from benchmark.metrics.clusters import cluster_agreement, nmi, purity, purity_chance


def from_table(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Clusters (rows) and labels (columns) of a table of counts."""
    counts = np.array(table)
    rows, columns = np.indices(counts.shape)
    return np.repeat(rows.ravel(), counts.ravel()), np.repeat(columns.ravel(), counts.ravel())


# 17 images, the worked example of Manning et al., sec. 16.3: majorities 5, 4 and 3
BOOK = from_table([[5, 1, 0], [1, 4, 1], [2, 0, 3]])
RNG = np.random.default_rng(0)
RANDOM = RNG.integers(0, 7, 500), RNG.integers(0, 4, 500)


def check_purity() -> None:
    assert purity(*BOOK) == 12 / 17
    assert purity(*from_table([[3, 1], [1, 1], [0, 2]])) == 6 / 8


def check_nmi() -> None:
    """[[2, 0], [1, 1]]: I = 1.5 log 2 - 0.75 log 3; entropies log 2 and 2 log 2 - 0.75 log 3."""
    information = 1.5 * math.log(2) - 0.75 * math.log(3)
    mean_entropy = (math.log(2) + 2 * math.log(2) - 0.75 * math.log(3)) / 2
    assert nmi(*from_table([[2, 0], [1, 1]])) == pytest.approx(information / mean_entropy, abs=1e-12)


def test_hand_made_tables() -> None:
    check_purity()
    check_nmi()
    assert round(nmi(*BOOK), 2) == 0.36  # as the book has it


def test_purity_of_random_partitions_is_sklearns_table() -> None:
    clusters, labels = RANDOM
    assert purity(clusters, labels) == contingency_matrix(labels, clusters).max(axis=0).sum() / 500
    assert nmi(clusters, labels) < 0.05  # chance: NMI is small, purity not far from 1/4
    assert 1 / 4 < purity_chance(labels) <= purity(clusters, labels) < 0.4


def test_a_mutant_of_the_normalisation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    for mean in ("geometric", "max", "min"):

        def mutant(labels: np.ndarray, clusters: np.ndarray, mean: str = mean, **_: Any) -> float:
            from sklearn.metrics import normalized_mutual_info_score

            return float(normalized_mutual_info_score(labels, clusters, average_method=mean))

        monkeypatch.setattr(benchmark.metrics.clusters, "normalized_mutual_info_score", mutant)
        with pytest.raises(AssertionError):
            check_nmi()


def test_exchanged_arguments_of_purity_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    table = benchmark.metrics.clusters._table
    monkeypatch.setattr(benchmark.metrics.clusters, "_table", lambda a, b: table(b, a))
    with pytest.raises(AssertionError):
        check_purity()


def test_renaming_changes_nothing() -> None:
    clusters, labels = RANDOM
    names = np.array([30, -1, 5, 2**40, 8, 0, 99])
    for renamed in (names[clusters], 6 - clusters, torch.from_numpy(clusters), clusters.astype(np.uint8)):
        assert purity(renamed, labels) == purity(clusters, labels)
        assert nmi(renamed, labels) == pytest.approx(nmi(clusters, labels), abs=1e-12)
    assert purity(clusters, names[labels]) == purity(clusters, labels)
    assert nmi(labels, clusters) == pytest.approx(nmi(clusters, labels), abs=1e-12)
    assert purity(labels, clusters) != purity(clusters, labels)


def test_the_ends_of_the_scale() -> None:
    labels = RANDOM[1]
    assert nmi(3 - labels, labels) == pytest.approx(1)
    assert purity(3 - labels, labels) == 1
    one_cluster = np.zeros_like(labels)
    assert nmi(one_cluster, labels) == 0
    assert purity(one_cluster, labels) == purity_chance(labels) == np.bincount(labels).max() / 500
    assert purity(np.arange(500), labels) == 1  # a cluster for each image is pure; NMI says it is too many
    assert nmi(np.arange(500), labels) < 0.5


@pytest.mark.parametrize("metric", [nmi, purity])
@pytest.mark.parametrize(
    ("clusters", "labels", "what"),
    [
        (np.zeros(4, int), np.zeros(4, int), "all are 0"),
        (np.zeros(4, int), np.arange(5), r"clusters: shape \[4\]"),
        (np.zeros((4, 1), int), np.arange(4), r"clusters: shape \[4, 1\]"),
        (np.zeros(4), np.arange(4), "clusters: dtype float64"),
        (np.zeros(4, int), np.eye(4, dtype=int), r"labels: shape \[4, 4\]"),
        (np.zeros(4, int), np.full(4, np.nan), "labels: dtype float64"),
        (np.zeros(0, int), np.zeros(0, int), r"labels: shape \[0\]"),
        ([0, 1], np.arange(2), "list given"),
    ],
)
def test_what_is_refused(metric: Any, clusters: Any, labels: np.ndarray, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        metric(clusters, labels)


@pytest.mark.parametrize(
    ("labels", "what"), [(np.ones(3, int), "all are 1"), (np.zeros(0, int), "shape"), (np.arange(3.0), "dtype")]
)
def test_what_purity_chance_refuses(labels: np.ndarray, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        purity_chance(labels)


# ---- of images generated for clusters -------------------------------------------------------------------------------

REAL = from_table([[3, 1], [1, 3]])  # clusters and classes of training images
SAMPLES = from_table([[4, 0], [1, 1]])  # clusters requested and classes seen: 0 always shows class 0, 1 half and half


def test_cluster_agreement_of_a_hand_made_table() -> None:
    found = cluster_agreement(*REAL, *SAMPLES, n_classes=2)
    assert found.per_class == (0.75 * 1 + 0.25 * 0.5, 0.25 * 0 + 0.75 * 0.5)
    assert found.macro == 0.625
    assert found.on_real == 0.75**2 + 0.25**2
    assert found.n_left_out == 0


def test_cluster_agreement_is_what_drawing_an_image_its_cluster_and_a_sample_gives() -> None:
    clusters, labels = RANDOM
    requested = RNG.integers(0, 7, 5000)
    seen = np.where(RNG.random(5000) < 0.4, requested % 4, RNG.integers(0, 4, 5000))
    found = cluster_agreement(clusters, labels, requested, seen, 4)
    shares = []
    for y in range(4):
        images = RNG.choice(np.flatnonzero(labels == y), 5000)
        samples = [RNG.choice(seen[requested == c], (clusters[images] == c).sum()) for c in range(7)]
        shares.append((np.concatenate(samples) == y).mean())
    assert found.per_class == pytest.approx(shares, abs=0.03)
    assert found.macro == pytest.approx(np.mean(shares), abs=0.015)


def test_a_generator_that_ignores_its_cluster_is_at_chance_and_pure_clusters_allow_all() -> None:
    labels = RANDOM[1]
    deaf = np.tile([0, 0, 0, 1, 2], 40)  # whatever is requested
    assert cluster_agreement(labels, labels, np.arange(200) // 50, deaf, 4).macro == pytest.approx(1 / 4)
    loyal = cluster_agreement(labels, labels, np.arange(4), np.arange(4), 4)
    assert (loyal.macro, loyal.on_real) == (1, 1)
    one = cluster_agreement(np.zeros_like(labels), labels, np.zeros(4, int), np.arange(4), 4)
    assert one.macro == one.on_real == pytest.approx(1 / 4)


def test_names_of_clusters_and_how_often_each_is_requested_do_not_matter() -> None:
    found = cluster_agreement(*REAL, *SAMPLES, n_classes=2)
    names = np.array([-7, 2**40])
    requested, seen = (np.concatenate([part, np.repeat(part[:4], 9)]) for part in SAMPLES)  # ten times as many of 0
    assert cluster_agreement(names[REAL[0]], REAL[1], names[requested], seen, 2) == found


def test_images_of_clusters_without_samples_are_left_out() -> None:
    only_first = cluster_agreement(*REAL, np.zeros(3, int), np.array([0, 0, 1]), 3)
    assert only_first.per_class == (2 / 3, 1 / 3, None)
    assert only_first.n_left_out == 4
    with pytest.raises(MetricError, match="none of them has a training image"):
        cluster_agreement(*REAL, np.full(3, 9), np.zeros(3, int), 2)
    with pytest.raises(MetricError, match="classes seen: 0 to 2"):
        cluster_agreement(*REAL, np.arange(3), np.arange(3), 2)
    with pytest.raises(MetricError, match="requested clusters: dtype float64"):
        cluster_agreement(*REAL, np.zeros(3), np.arange(3), 3)
