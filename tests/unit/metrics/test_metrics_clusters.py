"""Agreement of clusters and classes: hand-made tables, renaming, bounds, and that the mutants are told apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.cluster import contingency_matrix

import benchmark.metrics.clusters
from benchmark.metrics.checks import MetricError
from benchmark.metrics.clusters import nmi, purity, purity_chance


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
