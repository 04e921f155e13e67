"""Copy test and instance preference: closed forms, an independent implementation, and that a wrong one is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

import benchmark.metrics.copying
from benchmark.metrics.checks import MetricError
from benchmark.metrics.copying import CopyTest, RealDistances, copy_test, instance_preference, real_distances
from benchmark.metrics.extractors.store import FeatureStore
from benchmark.metrics.nearest import nearest


def points(n: int, d: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


TRAIN, HELDOUT = points(400, seed=1), points(300, seed=2)


def check_copy_test() -> None:
    """Facts that hold for every correct implementation."""
    copies = copy_test(TRAIN, HELDOUT, TRAIN[:50])
    assert (copies.authenticity, copies.ratio) == (0, 0)
    honest = copy_test(TRAIN, HELDOUT, HELDOUT)
    assert honest.ratio == 1
    assert honest.authenticity == honest.authenticity_heldout
    assert 0.3 < honest.authenticity < 0.8, "unseen images are about as far from the training images as these are"


def by_kd_tree(train: np.ndarray, heldout: np.ndarray, fake: np.ndarray) -> tuple[float, float, float]:
    """(authenticity, of the held-out, ratio) by another route."""
    tree = cKDTree(train)
    reach = tree.query(train, k=2)[0][:, 1]

    def share(rows: np.ndarray) -> float:
        distance, nearest = tree.query(rows)
        return float((distance > reach[nearest]).mean())

    ratio = np.median(tree.query(fake)[0]) / np.median(tree.query(heldout)[0])
    return share(fake), share(heldout), float(ratio)


def test_copies_and_honest_images() -> None:
    check_copy_test()


def test_a_self_match_among_the_training_images_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the exclusion every training image is at distance 0 of itself, and no image looks copied."""

    def with_self(points: np.ndarray, others: np.ndarray, exclude_self: bool = False, **_: Any) -> Any:
        return nearest(points, others)

    monkeypatch.setattr(benchmark.metrics.copying, "nearest", with_self)
    with pytest.raises(AssertionError, match="about as far"):
        check_copy_test()


def test_distances_of_real_images_that_were_kept_give_the_same_bits(tmp_path: Path) -> None:
    fake, kept = points(50, seed=5), None
    for _ in range(2):  # computed, then read
        kept = FeatureStore(tmp_path).arrays({"what": "test"}, lambda: vars(real_distances(TRAIN, HELDOUT)))
        assert copy_test(TRAIN, HELDOUT, fake, real=RealDistances(**kept)) == copy_test(TRAIN, HELDOUT, fake)


@pytest.mark.parametrize("seed", [3, 4])
def test_it_agrees_with_a_kd_tree(seed: int) -> None:
    fake = np.concatenate([0.7 * points(60, seed=seed), TRAIN[:20] + 1e-3 * points(20, seed=seed)])
    found = copy_test(torch.tensor(TRAIN), HELDOUT, fake)
    assert (found.authenticity, found.authenticity_heldout, found.ratio) == pytest.approx(
        by_kd_tree(TRAIN, HELDOUT, fake), rel=1e-9
    )
    assert found.low < found.authenticity < found.high
    assert (found.n_train, found.n_heldout, found.n_fake) == (400, 300, 80)


def test_a_hand_made_line() -> None:
    """Training images at 0, 1, 10 and 14 on a line: reaches 1, 1, 4, 4."""
    train, heldout = np.array([[0.0], [1.0], [10.0], [14.0]]), np.array([[-2.0], [12.5]])
    fake = np.array([[-3.0], [0.4], [7.0], [19.0]])  # to the nearest: 3 > 1, 0.4 < 1, 3 < 4, 5 > 4
    found = copy_test(train, heldout, fake)
    assert isinstance(found, CopyTest)
    assert found.authenticity == 0.5
    assert found.authenticity_heldout == 0.5  # 2 > 1, 1.5 < 4
    assert found.ratio == pytest.approx(3 / 1.75)


def test_near_copies_have_a_small_ratio() -> None:
    near = copy_test(TRAIN, HELDOUT, TRAIN + 0.01 * points(400, seed=5))
    assert near.authenticity < 0.01
    assert 0 < near.ratio < 0.05
    far = copy_test(TRAIN, HELDOUT, 10 * points(100, seed=6))
    assert far.authenticity > 0.95
    assert far.ratio > 2


def test_exact_duplicates_in_the_training_data_do_not_break_it() -> None:
    train = np.concatenate([TRAIN, TRAIN[:200]])
    assert copy_test(train, HELDOUT, TRAIN).authenticity == 0
    assert copy_test(train, HELDOUT, HELDOUT).ratio == 1


def test_a_collapsed_generator() -> None:
    """Thousands of copies of one image are judged like that one image."""
    for row, expected in ((TRAIN[:1], 0.0), (HELDOUT[:1], copy_test(TRAIN, HELDOUT, HELDOUT[[0, 0]]).authenticity)):
        found = copy_test(TRAIN, HELDOUT, row.repeat(3000, axis=0))
        assert found.authenticity == expected


def test_bars_are_shown_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    copy_test(TRAIN, HELDOUT, HELDOUT)
    assert capsys.readouterr().err == ""
    copy_test(TRAIN, HELDOUT, HELDOUT, progress=True)
    assert "neighbours" in capsys.readouterr().err


def test_a_heldout_set_of_copies_is_refused() -> None:
    with pytest.raises(MetricError, match="held-out image lies on a training image"):
        copy_test(TRAIN, TRAIN[:10], HELDOUT)


@pytest.mark.parametrize(
    ("train", "heldout", "fake", "what"),
    [
        (TRAIN, HELDOUT, points(5, 3), "dimensions"),
        (TRAIN, points(5, 3), HELDOUT, "dimensions"),
        (TRAIN[:1], HELDOUT, HELDOUT, "1 rows"),
        (TRAIN, HELDOUT, np.full((4, 8), np.nan), "NaN"),
        (TRAIN.astype(int), HELDOUT, HELDOUT, "dtype"),
        (TRAIN, HELDOUT, HELDOUT[0], "shape"),
    ],
)
def test_what_copy_test_refuses(train: np.ndarray, heldout: np.ndarray, fake: np.ndarray, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        copy_test(train, heldout, fake)


# ---- the instance's neighbourhood -----------------------------------------------------------------------------------


def test_an_instance_that_steers_and_one_that_does_not() -> None:
    instances = points(300, seed=1)
    neighbours = instances[:, None] + 0.1 * points(1500, seed=2).reshape(300, 5, 8)
    random = points(900, seed=3).reshape(300, 3, 8)
    steered = instance_preference(instances + 0.1 * points(300, seed=4), neighbours, random)
    assert steered.value > 0.99
    assert steered.low <= steered.value <= steered.high <= 1
    ignored = instance_preference(points(300, seed=5), neighbours, random)
    assert ignored.low < 0.5 < ignored.high, "chance"
    assert ignored.n == 300
    against = instance_preference(instances, random, neighbours)
    assert against.value == pytest.approx(1 - instance_preference(instances, neighbours, random).value)


def test_a_hand_made_comparison() -> None:
    fake = np.array([[0.0, 0.0], [0.0, 0.0]])
    neighbours = np.array([[[1.0, 0.0], [0.0, 3.0]], [[0.0, 2.0], [2.0, 0.0]]])  # distances 1, 3; 2, 2
    random = np.array([[[0.0, 2.0]], [[-2.0, 0.0]]])  # 2; 2
    assert instance_preference(fake, neighbours, random).value == 0.5  # one of two won; two ties
    random[1] *= 2
    found = instance_preference(fake, neighbours, random)
    assert found.value == 0.75
    half = 1.959964 * np.std([0.5, 1.0], ddof=1) / np.sqrt(2)
    assert found.low == pytest.approx(0.75 - half, abs=1e-6)
    assert found.high == 1


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_size_of_a_chunk_changes_nothing(chunk: int) -> None:
    fake, groups = points(20, 4), points(120, 4, seed=1).reshape(20, 6, 4)
    assert instance_preference(fake, groups[:, :2], groups[:, 2:], chunk) == instance_preference(
        torch.tensor(fake), torch.tensor(groups[:, :2]), torch.tensor(groups[:, 2:])
    )


@pytest.mark.parametrize(
    ("neighbours", "what"),
    [
        (points(20).reshape(20, 1, 8)[:, :0], "shape"),
        (points(20), "shape"),
        (points(10).reshape(10, 1, 8), "shape"),
        (points(20, 4).reshape(20, 1, 4), "shape"),
        (np.full((20, 2, 8), np.inf), "infinity"),
        (np.zeros((20, 2, 8), int), "dtype"),
    ],
)
def test_what_instance_preference_refuses(neighbours: np.ndarray, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        instance_preference(points(20), neighbours, points(40).reshape(20, 2, 8))
