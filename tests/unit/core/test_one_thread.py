"""scikit-learn's threads: limited where bits or time depend on them."""

from __future__ import annotations

import numpy as np
import sklearn.cluster  # loads its OpenMP
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from benchmark.core.one_thread import one_thread
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.metrics.chamfer import chamfer_tsne
from benchmark.training.stages.clustering import cluster

assert sklearn.cluster
DATA = Dataset.tiny(find_card("digits"))


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "openmp"}


def test_every_loaded_openmp_has_one_thread_and_gets_its_own_number_back() -> None:
    with threadpool_limits(3, user_api="openmp"):
        assert threads() == {3}
        with one_thread():
            assert threads() == {1}
        assert threads() == {3}


def test_clusters_and_t_sne_have_the_same_bits_for_any_number_of_threads() -> None:
    """Without the limit k-means adds the sums of its threads, and other bits come out."""
    rng = np.random.default_rng(0)
    h = torch.tensor(rng.normal(size=(2000, 24)), dtype=torch.float32)
    points = rng.normal(size=(80, 8))
    found = []
    for n in (1, 7, 7):
        with threadpool_limits(n):
            centres = cluster(DATA, {"h": h}, 9)["centres"]
            sums = chamfer_tsne(points[:40], points[40:], tsne_seeds=(0,), n_jobs=n).one_way_sums
            found.append((centres.numpy().tobytes(), sums))
    assert found[0] == found[1] == found[2]
