"""Neighbour statistics: closed forms, the k-th neighbour, an image apart from itself, bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from benchmark.metrics import neighbours
from benchmark.metrics.checks import MetricError
from benchmark.metrics.neighbours import chance_agreement, nearest_in_parts, neighbour_agreement, shared_labels


def random_case(n: int = 200, d: int = 7, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(k, size=n)
    return (rng.normal(size=(n, d)) + 0.8 * y[:, None]).astype(np.float32), y


@pytest.mark.parametrize(("metric", "other"), [("l1", "manhattan"), ("l2", "euclidean"), ("cosine", "cosine")])
def test_as_an_independent_search(metric: str, other: str) -> None:
    x, y = random_case()
    found = NearestNeighbors(n_neighbors=6, metric=other, algorithm="brute").fit(x).kneighbors(x)[1]
    expected = {k: float((y[found[:, k]] == y).mean()) for k in (1, 2, 5)}  # column 0 is the image itself
    assert neighbour_agreement(x, y, metric=metric) == expected  # type: ignore[arg-type]


def test_the_kth_neighbour_not_any_of_the_first_k() -> None:
    """On a line 0, 1, 2.1, 3.3 with classes 0, 1, 0, 1: the nearest is never of the class, some second is."""
    x, y = np.array([[0.0], [1.0], [2.1], [3.3]]), np.array([0, 1, 0, 1])
    # second neighbours: of 0 it is 2.1 (class 0, right), of 1 it is 2.1 (wrong), of 2.1 it is 3.3 (wrong),
    # of 3.3 it is 1 (class 1, right)
    assert neighbour_agreement(x, y, ks=(1, 2)) == {1: 0.0, 2: 0.5}


def test_l1_and_l2_disagree() -> None:
    """By L1 the nearest to the origin is (2.5, 0), by L2 (1.5, 1.5)."""
    x, y = np.array([[0.0, 0], [2.5, 0], [1.5, 1.5]]), np.array([0, 0, 1])
    assert neighbour_agreement(x, y, ks=(1,), queries=np.array([0])) == {1: 1.0}
    assert neighbour_agreement(x, y, ks=(1,), queries=np.array([0]), metric="l2") == {1: 0.0}


def test_an_image_is_not_its_own_neighbour_but_its_duplicate_is() -> None:
    x = np.array([[0.0], [0.0], [5.0], [5.0]])
    assert neighbour_agreement(x, np.array([0, 0, 1, 1]), ks=(1,)) == {1: 1.0}
    assert neighbour_agreement(x, np.array([0, 1, 0, 1]), ks=(1,)) == {1: 0.0}


def test_with_the_self_match_left_in_random_labels_would_look_clustered(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(400, 3)), rng.integers(10, size=400)
    assert neighbour_agreement(x, y, ks=(1,))[1] < 0.2
    plain = neighbours._distances

    class Unmasked(torch.Tensor):
        """Distances whose diagonal cannot be masked."""

        def __setitem__(self, where: object, value: object) -> None:
            return None

    monkeypatch.setattr(neighbours, "_distances", lambda a, b, m: plain(a, b, m).as_subclass(Unmasked))
    assert neighbour_agreement(x, y, ks=(1,))[1] == 1.0


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = random_case()
    whole = neighbour_agreement(x, y)
    monkeypatch.setattr(neighbours, "CHUNK_BYTES", 4 * len(x) * 7)  # seven queries at once
    assert neighbour_agreement(torch.from_numpy(x), torch.from_numpy(y)) == whole


def test_queries_are_a_part_of_the_whole() -> None:
    x, y = random_case()
    parts = [neighbour_agreement(x, y, queries=rows)[1] for rows in np.arange(200).reshape(2, 100)]
    assert np.mean(parts) == pytest.approx(neighbour_agreement(x, y)[1])


def test_chance_is_what_random_features_give() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(3, p=(0.6, 0.3, 0.1), size=4000)
    assert chance_agreement(np.arange(100) % 10) == pytest.approx(0.1)
    assert chance_agreement(y) == pytest.approx(0.46, abs=0.01)  # 0.36 + 0.09 + 0.01
    assert neighbour_agreement(rng.normal(size=(4000, 2)), y, ks=(1,))[1] == pytest.approx(
        chance_agreement(y), abs=0.03
    )


@pytest.mark.parametrize(
    ("features", "labels", "options", "named"),
    [
        (np.zeros((3, 2), int), np.zeros(3, int), {}, "features"),
        (np.zeros(3), np.zeros(3, int), {}, "features"),
        (np.zeros((1, 2)), np.zeros(1, int), {}, "one row"),
        (np.full((3, 2), np.nan), np.zeros(3, int), {"ks": (1,)}, "NaN"),
        (np.zeros((3, 2)), np.zeros(3), {"ks": (1,)}, "labels"),
        (np.zeros((3, 2)), np.zeros(2, int), {"ks": (1,)}, "labels"),
        (np.zeros((3, 2)), np.zeros(3, int), {"ks": (3,)}, "ranks"),
        (np.zeros((3, 2)), np.zeros(3, int), {"ks": ()}, "ranks"),
        (np.zeros((3, 2)), np.zeros(3, int), {"ks": (1,), "queries": np.array([3])}, "row 3"),
    ],
)
def test_bad_input_is_named(features: object, labels: object, options: dict[str, object], named: str) -> None:
    with pytest.raises(MetricError, match=named):
        neighbour_agreement(features, labels, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [7, 40, 1000])
def test_a_bank_in_parts_is_searched_as_a_whole(part: int) -> None:
    rng = np.random.default_rng(0)
    bank = torch.tensor(rng.normal(size=(200, 3)), dtype=torch.float32)
    bank[60] = bank[5]  # a duplicate is a neighbour
    own = torch.tensor([5, 199, 60, 0])
    found = nearest_in_parts(bank[own], own, bank.split(part), 4)
    distance = np.abs(bank[own].numpy()[:, None] - bank.numpy()[None]).sum(2)
    distance[np.arange(4), own] = np.inf
    assert np.array_equal(found.numpy(), np.argsort(distance, axis=1, kind="stable")[:, :4])
    assert found[0, 0] == 60
    assert found[2, 0] == 5


def test_labels_that_neighbours_share() -> None:
    nearest, queries = torch.tensor([[1, 2], [0, 3], [3, 0]]), torch.tensor([0, 1, 2])
    assert shared_labels(nearest, queries, np.array([0, 0, 1, 1]), 1) == [1.0]
    assert shared_labels(nearest, queries, np.array([0, 0, 1, 1]), 2) == [0.0]
    attributes = np.array([[0, 1], [0, 0], [1, 1], [1, 0]], dtype=np.uint8)
    assert shared_labels(nearest, queries, attributes, 1) == [1.0, 0.0]
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 2)).astype(np.float32), rng.integers(3, size=80)
    every = torch.arange(80)
    rows = nearest_in_parts(torch.tensor(x), every, torch.tensor(x).split(30), 5)
    assert {k: shared_labels(rows, every, y, k)[0] for k in (1, 2, 5)} == neighbour_agreement(x, y)
