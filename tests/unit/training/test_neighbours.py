"""Neighbours in feature space: exact, never the image itself, indifferent to scale and to the size of a chunk."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn.functional import normalize

import benchmark.training.stages.neighbours
from benchmark.core.errors import ConfigError, UserError
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.training.stages.neighbours import kmeans_instances, nearest_neighbours, nearest_rows

STAND_IN = Dataset.tiny(find_card("digits"))
REAL = replace(STAND_IN, meta={"format": 1})


def features(n: int = 120, d: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def neighbours(h: Tensor, k: int = 5, data: Dataset = STAND_IN) -> tuple[Tensor, Tensor]:
    found = nearest_neighbours(data, {"h": h}, k)
    return found["neighbours"], found["radius"]


def check_neighbourhoods(h: Tensor, k: int = 5) -> None:
    """What IC-GAN's neighbourhoods promise."""
    A, radius = neighbours(h, k)
    n = len(h)
    assert A.shape == (n, k)
    assert A.dtype == torch.int64
    assert radius.shape == (n,)
    assert not bool((torch.arange(n)[:, None] == A).any()), "no image is its own neighbour"
    assert all(len(set(row.tolist())) == k for row in A), "each neighbour once"
    f = normalize(h.double())
    distances = torch.cdist(f, f).fill_diagonal_(torch.inf).sort(1).values[:, :k]
    here = (f[A] - f[:, None]).norm(dim=2)
    assert torch.allclose(here, distances, atol=1e-6), "exact, nearest first"
    assert torch.allclose(radius.double(), distances[:, -1], atol=1e-6)


def test_the_neighbourhoods_are_exact() -> None:
    check_neighbourhoods(features())


def test_they_agree_with_scikit_learn() -> None:
    h = features(200, 8, seed=1)
    f = normalize(h).numpy()
    expected = NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute").fit(f).kneighbors(f)[1][:, 1:]
    assert torch.equal(neighbours(h, 6)[0], torch.tensor(expected))


def test_a_self_match_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above can fail: without the exclusion every image is its own nearest neighbour."""

    def with_self(queries: Tensor, bank: Tensor, k: int, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return nearest_rows(queries, bank, k)

    monkeypatch.setattr(benchmark.training.stages.neighbours, "nearest_rows", with_self)
    with pytest.raises(AssertionError, match="its own neighbour"):
        check_neighbourhoods(features())


def test_of_duplicates_the_query_is_removed_not_the_first_hit() -> None:
    h = features(30)
    h[[3, 11, 20]] = h[7].clone()
    A, radius = neighbours(h, 3)
    group = {3, 7, 11, 20}
    for i in group:
        assert set(A[i].tolist()) == group - {i}
        assert float(radius[i]) == 0
    check_neighbourhoods(h, 3)


def test_dropping_the_first_hit_instead_fails_on_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_dropped(queries: Tensor, bank: Tensor, k: int, exclude: Tensor | None = None) -> tuple[Tensor, Tensor]:
        rows, distances = nearest_rows(queries, bank, k + 1)
        return rows[:, 1:], distances[:, 1:]

    h = features(30)
    check_neighbourhoods(h)
    h[11] = h[7].clone()
    monkeypatch.setattr(benchmark.training.stages.neighbours, "nearest_rows", first_dropped)
    with pytest.raises(AssertionError, match="its own neighbour"):
        check_neighbourhoods(h)


def test_the_scale_of_features_changes_nothing() -> None:
    h = features()
    A, radius = neighbours(h)
    scales = torch.rand(len(h), 1, generator=torch.Generator().manual_seed(2)) * 100 + 0.01
    for scaled in (1000 * h, h * scales):
        assert torch.equal(neighbours(scaled)[0], A)
        assert torch.allclose(neighbours(scaled)[1], radius, atol=1e-6)


def test_raw_features_would_give_other_neighbours() -> None:
    """Without unit length the scale does matter: the test above is not empty."""
    h = features() * (torch.arange(120)[:, None] + 1)
    raw, _ = nearest_rows(h, h, 5, exclude=torch.arange(120))
    assert not torch.equal(raw, neighbours(h)[0])


@pytest.mark.parametrize("memory", [1, 10_000, 10**9])
def test_the_size_of_a_chunk_changes_nothing(memory: int) -> None:
    q, bank = features(33, seed=1), features(70, seed=2)
    expected = torch.cdist(q.double(), bank.double()).sort(1)
    rows, distances = nearest_rows(q, bank, 4, memory=memory)
    assert torch.equal(rows, expected.indices[:, :4])
    assert torch.allclose(distances.double(), expected.values[:, :4], atol=1e-6)


def test_near_copies_far_from_the_origin_keep_their_order() -> None:
    """|b|^2 - 2 q.b cancels there; the difference does not."""
    bank = torch.full((6, 4), 1000.0)
    bank[:, 0] += torch.tensor([5e-4, 4e-4, 3e-4, 2e-4, 1e-4, 0.0]) * 100
    rows, distances = nearest_rows(torch.full((1, 4), 1000.0), bank, 6)
    assert rows.tolist() == [[5, 4, 3, 2, 1, 0]]
    assert float(distances[0, 0]) == 0


def test_k_must_fit_real_data_and_is_cut_on_a_stand_in() -> None:
    h = features(6)
    assert neighbours(h, 50)[0].shape == (6, 5)
    assert neighbours(h, 5, REAL)[0].shape == (6, 5)
    with pytest.raises(ConfigError, match="k = 6"):
        neighbours(h, 6, REAL)
    with pytest.raises(ConfigError, match="k = 1"):
        neighbours(h[:1], 1)


def test_features_that_are_not_finite_are_refused() -> None:
    h = features(6)
    h[2, 3] = torch.nan
    with pytest.raises(UserError, match="NaN"):
        neighbours(h)


def test_instances_are_the_images_nearest_to_the_centroids() -> None:
    """Well separated groups: one instance of each, and it is the group's most central image."""
    centres = 10 * torch.eye(4, 8)
    h = torch.cat([c + 0.5 * features(25, 8, seed) for seed, c in enumerate(centres)])
    rows = kmeans_instances(STAND_IN, {"h": h}, 4)["rows"]
    assert (rows // 25).tolist() == [0, 1, 2, 3]
    for group, row in enumerate(rows.tolist()):
        f = normalize(h[25 * group : 25 * (group + 1)])
        assert row - 25 * group == int((f - f.mean(0)).norm(dim=1).argmin())
    assert torch.equal(rows, kmeans_instances(STAND_IN, {"h": 7 * h}, 4)["rows"])


def test_instances_of_few_images() -> None:
    h = features(5)
    assert kmeans_instances(STAND_IN, {"h": h}, 50)["rows"].tolist() == [0, 1, 2, 3, 4]
    assert len(kmeans_instances(STAND_IN, {"h": h[:1].repeat(6, 1)}, 3)["rows"]) == 1
    with pytest.raises(ConfigError, match="n_instances = 6"):
        kmeans_instances(REAL, {"h": h}, 6)
