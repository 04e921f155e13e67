"""k-means and the renaming of clusters: against scikit-learn, closed forms, and in the corners."""

from __future__ import annotations

import itertools

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from benchmark.core.errors import ConfigError
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.training.stages import clustering
from benchmark.training.stages.clustering import (
    feature_clusters,
    inertia,
    k_means,
    match,
    means,
    means_or_random,
    nearest_centre,
    possible_clusters,
)


def blobs(k: int = 6, each: int = 50, d: int = 3) -> tuple[Tensor, Tensor]:
    """Well separated Gaussians and their numbers."""
    torch.manual_seed(0)
    centres = 20 * torch.randn(k, d)
    labels = torch.arange(k).repeat_interleave(each)
    return centres[labels] + torch.randn(k * each, d), labels


def test_separate_groups_are_found() -> None:
    x, truth = blobs()
    torch.manual_seed(1)
    found = k_means(x, 6)
    assert torch.equal(match(found.labels, truth, 6)[found.labels], truth)
    torch.testing.assert_close(found.centres, means(x, found.labels, 6)[0], atol=1e-4, rtol=1e-4)


def test_it_is_as_good_as_scikit_learn() -> None:
    x = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    found = k_means(x, 8, restarts=10)
    theirs = KMeans(8, n_init=10, random_state=0).fit(x.numpy())
    assert inertia(x, found) == pytest.approx(theirs.inertia_, rel=0.02)
    start = torch.tensor(theirs.cluster_centers_)
    torch.testing.assert_close(k_means(x, 8, start).centres, start, atol=1e-4, rtol=1e-4)  # a fixed point stays


def test_far_from_the_origin_no_digits_are_lost() -> None:
    x, truth = blobs()
    torch.manual_seed(1)
    found = k_means(x + 1e4, 6)
    assert torch.equal(match(found.labels, truth, 6)[found.labels], truth)


def test_nearest_centre_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, centres = torch.randn(37, 4), torch.randn(5, 4)
    plain = torch.cdist(x, centres).argmin(1)
    assert torch.equal(nearest_centre(x, centres), plain)
    monkeypatch.setattr(clustering, "CHUNK", 7)
    assert torch.equal(nearest_centre(x, centres), plain)


def test_an_empty_cluster_goes_on_from_a_random_point() -> None:
    x, _ = blobs(k=3)
    nowhere = torch.full((1, 3), 1e6)
    torch.manual_seed(0)
    found = k_means(x, 4, torch.cat([means(x, torch.arange(150) // 50, 3)[0], nowhere]))
    assert torch.bincount(found.labels, minlength=4).min() > 0
    labels = torch.zeros(150, dtype=torch.int64)
    centres = means_or_random(x, labels, 3)
    torch.testing.assert_close(centres[0], x.mean(0))
    for centre in centres[1:]:
        assert bool((x == centre).all(1).any())


def test_fewer_distinct_points_than_clusters_end() -> None:
    found = k_means(torch.ones(8, 2), 3, restarts=2)
    assert found.labels.shape == (8,)
    assert bool(torch.isfinite(found.centres).all())
    assert k_means(torch.randn(4, 2), 4).labels.unique().numel() == 4  # as many clusters as points


@pytest.mark.parametrize("seed", range(3))
def test_matching_is_the_best_of_all_permutations(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    new, old = torch.randint(4, (2, 30), generator=generator)
    rho = match(new, old, 4)
    assert rho.sort().values.tolist() == [0, 1, 2, 3]

    def shared(names: Tensor) -> int:
        return int((names[new] == old).sum())

    assert shared(rho) == max(shared(torch.tensor(p)) for p in itertools.permutations(range(4)))


def test_matching_undoes_a_permutation() -> None:
    old = torch.arange(100) % 7
    permutation = torch.tensor([3, 0, 6, 1, 2, 5, 4])
    new = permutation[old]
    assert torch.equal(match(new, old, 7)[new], old)
    assert not torch.equal(new, old)  # without matching the names are others


# ---- clusters of features that stay ----------------------------------------------------------------------------------


def test_clusters_of_features_do_not_depend_on_what_was_drawn_before() -> None:
    """Four far groups are found whatever the seed was, and the seed's next draw is what it would have been."""
    data = Dataset.tiny(find_card("digits"))
    groups = torch.arange(64) % 4
    h = 10 * torch.eye(4)[groups] + 0.1 * torch.randn(64, 4)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected = torch.rand(3)
        torch.manual_seed(seed)
        found.append(feature_clusters(data, {"h": h}, 4, 40, 3))
        assert torch.equal(torch.rand(3), expected)
    assert torch.equal(found[0]["labels"], found[1]["labels"])
    assert torch.equal(found[0]["centres"], found[1]["centres"])
    names = {(int(c), int(group)) for c, group in zip(found[0]["labels"], groups)}
    assert len(names) == 4, "one cluster a group, the images outside the sample included"
    assert found[0]["centres"].shape == (4, 4)


def test_how_many_clusters_there_can_be() -> None:
    data = Dataset.tiny(find_card("digits"))
    assert possible_clusters(data, 100, 5000) == 64, "a stand-in of few images"
    assert possible_clusters(data, 10, 5000) == 10
    data.meta = {"a": "prepared data set"}
    with pytest.raises(ConfigError, match="20 images of digits are clustered"):
        possible_clusters(data, 30, 20)
