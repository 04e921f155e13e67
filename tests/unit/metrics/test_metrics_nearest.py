"""Nearest neighbours and balls: brute force, near copies, duplicates, clusters far apart, and a bound that holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from benchmark.metrics import nearest as module
from benchmark.metrics.checks import MetricError
from benchmark.metrics.nearest import DOUBLE, SINGLE, Products, count_inside, nearest


def points(n: int, d: int = 16, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def clusters(n: int, d: int = 16, n_clusters: int = 5, spread: float = 1e-4, seed: int = 0) -> np.ndarray:
    """Tight groups far apart: float32 products cannot order the rows of one."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_clusters, d))
    return centres[rng.integers(n_clusters, size=n)] + spread * rng.normal(size=(n, d))


def brute(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances [N, M] from the differences."""
    return ((a[:, None] - b[None]) ** 2).sum(axis=2)


CASES = {
    "gaussian": (points(130, seed=1), points(90, seed=2)),
    "far from the origin": (points(130, seed=1, shift=1e4), points(90, seed=2, shift=1e4)),
    "far from each other": (points(60, seed=1, shift=100), points(70, seed=2)),
    "tight clusters": (clusters(120, seed=1), clusters(150, seed=2)),
    "one far row": (points(60, seed=3), np.concatenate([points(60, seed=4), points(1, seed=5) * 1e6])),
    "near copies": (points(50, seed=6), points(50, seed=6) + 1e-9 * points(50, seed=7)),
    "one dimension": (points(50, 1, seed=8), points(40, 1, seed=9)),
    "beyond float32": (1e30 * points(40, seed=10), 1e30 * points(50, seed=11)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("groups", [3, module.GROUPS])  # few: the nearest of these small sets share groups
def test_as_brute_force(case: str, k: int, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUPS", groups)
    a, b = CASES[case]
    rows, squared = nearest(a, b, k)
    exact = brute(a, b)
    np.testing.assert_allclose(squared, np.sort(exact, axis=1)[:, :k], rtol=1e-13)
    np.testing.assert_array_equal(rows, exact.argsort(axis=1)[:, :k])  # no ties here
    assert rows.dtype == np.int64


@pytest.mark.parametrize("case", CASES)
def test_counts_as_brute_force(case: str) -> None:
    a, b = CASES[case]
    r = nearest(a, a, 3, exclude_self=True)[1][:, 2]
    s = nearest(b, b, 3, exclude_self=True)[1][:, 2]
    exact = brute(a, b)
    found = count_inside(a, b, r, s, chunk=17)
    np.testing.assert_array_equal(found.others_in_ball, (exact <= r[:, None]).sum(axis=1))
    np.testing.assert_array_equal(found.balls_around_other, (exact <= r[:, None]).sum(axis=0))
    np.testing.assert_array_equal(found.balls_around_point, (exact <= s[None]).sum(axis=1))


def test_float32_alone_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its error taken for zero and no second precision, the product orders clusters wrongly."""
    a, b = CASES["tight clusters"]
    right = brute(a, b).argsort(axis=1)[:, :1]
    np.testing.assert_array_equal(nearest(a, b)[0], right)
    monkeypatch.setattr(Products, "error", lambda self, block, precision: np.zeros((1, 1), precision))
    monkeypatch.setattr(module, "DOUBLE", SINGLE)
    assert (nearest(a, b)[0] != right).mean() > 0.1


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", [SINGLE, DOUBLE])
def test_the_bound_holds(case: str, precision: np.dtype) -> None:
    a, b = CASES[case]
    products, block = Products(a, b, len(a)), slice(0, len(a))
    if precision not in products.precisions:
        pytest.skip("this case is taken in float64 only")
    off = np.abs(products.rough(block, precision).astype(np.float64) - brute(a, b))
    assert (off <= products.error(block, precision)).all()


def test_the_bound_is_near_enough_to_be_of_use() -> None:
    """In 2048 dimensions float32 leaves few candidates a row, and no block is done twice."""
    a, b = points(200, 2048, seed=1), points(2000, 2048, seed=2)
    products, block = Products(a, b, 200), slice(0, 200)
    rough, error = products.rough(block, SINGLE), products.error(block, SINGLE)
    assert (rough <= rough.min(axis=1, keepdims=True) + 4 * error).sum(axis=1).mean() < 5


@pytest.mark.parametrize("k", [1, 6])
@pytest.mark.parametrize("m", [6, 700, 5000])
def test_at_least_k_values_are_within_reach_and_hardly_more(k: int, m: int) -> None:
    values = np.sort(np.random.default_rng(0).normal(size=(50, m)))  # sorted: the k smallest are next to each other
    within = (values <= module._reach(values, k)).sum(axis=1)
    assert within.min() >= k
    assert within.max() == k


def test_marked_places_are_found_in_order() -> None:
    marked = np.random.default_rng(0).random((40, 30)) < 0.05
    for found, known in zip(module._places(marked), np.nonzero(marked)):
        np.testing.assert_array_equal(found, known)


@pytest.mark.parametrize("chunk", [1, 7, None])
def test_chunks_tiles_and_tensors_change_nothing(chunk: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = points(70, seed=1).astype(np.float32), points(50, seed=2).astype(np.float32)
    rows, squared = nearest(a, b, 3)
    counts = count_inside(a, b, squared[:, 2], squared[:50, 2])
    for name in ("TILE_ROWS", "PAIR_BYTES"):
        monkeypatch.setattr(module, name, 11)
    again = nearest(torch.from_numpy(a), torch.from_numpy(b), 3, chunk=chunk)
    np.testing.assert_array_equal(again[0], rows)
    np.testing.assert_array_equal(again[1], squared)
    again = count_inside(a, b, squared[:, 2], squared[:50, 2], chunk=chunk)
    for field in ("others_in_ball", "balls_around_other", "balls_around_point"):
        np.testing.assert_array_equal(getattr(again, field), getattr(counts, field))


def test_a_row_is_not_its_own_neighbour_but_its_duplicate_is() -> None:
    rows = points(40, seed=1)
    found, squared = nearest(rows, rows, 2, exclude_self=True)
    assert (found != np.arange(40)[:, None]).all()
    exact = brute(rows, rows) + np.diag(np.full(40, np.inf))
    np.testing.assert_allclose(squared, np.sort(exact, axis=1)[:, :2], rtol=1e-13)
    twice = np.concatenate([rows, rows])
    found, squared = nearest(twice, twice, 1, exclude_self=True)
    np.testing.assert_array_equal(found[:, 0], (np.arange(80) + 40) % 80)
    assert (squared == 0).all()
    assert (nearest(twice, twice, 1)[1] == 0).all()


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("k", [1, 4, 9])
def test_many_duplicates(exclude_self: bool, k: int) -> None:
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.integers(3, size=(60, 2)).astype(float), np.zeros((30, 2)), points(10, 2)])
    found, squared = nearest(rows, rows, k, exclude_self=exclude_self)
    exact = brute(rows, rows) + (np.diag(np.full(100, np.inf)) if exclude_self else 0)
    np.testing.assert_allclose(squared, np.sort(exact, axis=1)[:, :k], rtol=1e-13)
    np.testing.assert_array_equal(squared, np.take_along_axis(exact, found, 1))
    assert all(len(set(row)) == k for row in found.tolist())  # no row twice


def test_a_collapsed_set_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 equal generated images: every real image has 20,000 equally near ones, but one pair is enough."""
    measured = []
    plain = module.squared_distances
    monkeypatch.setattr(module, "squared_distances", lambda *a: measured.append(len(a[1])) or plain(*a))
    real, fake = points(50), np.tile(points(1, seed=5), (20_000, 1))
    np.testing.assert_allclose(nearest(real, fake, 2)[1], brute(real, fake[:2]), rtol=1e-13)
    assert sum(measured) == 50


def test_a_block_float32_cannot_settle_is_taken_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    plain = Products.rough
    monkeypatch.setattr(Products, "rough", lambda self, b, p: used.append(p) or plain(self, b, p))
    nearest(*CASES["gaussian"])
    assert used == [SINGLE]
    used.clear()
    nearest(*CASES["tight clusters"])
    assert used == [SINGLE, DOUBLE]


def test_a_surface_belongs_to_its_ball() -> None:
    """On a line: balls of radius 1 around 0 and 5; others at 1, 4 and 6.5 with balls of radius 1, 0 and 2."""
    a, b = np.array([[0.0], [5.0]]), np.array([[1.0], [4.0], [6.5]])
    found = count_inside(a, b, np.array([1.0, 1.0]), np.array([1.0, 0.0, 4.0]))
    assert found.others_in_ball.tolist() == [1, 1]
    assert found.balls_around_other.tolist() == [1, 1, 0]
    assert found.balls_around_point.tolist() == [1, 1]  # 0 by the ball of 1, 5 by that of 6.5


def test_it_agrees_with_scipy_in_many_dimensions() -> None:
    a, b = points(60, 700, seed=1), points(80, 700, seed=2)
    np.testing.assert_allclose(nearest(a, b, 80)[1], np.sort(cdist(a, b, "sqeuclidean"), axis=1), rtol=1e-12)


def test_a_bar_is_shown_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    nearest(points(9), points(9))
    assert capsys.readouterr().err == ""
    nearest(points(9), points(9), progress=True)
    assert "neighbours" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("a", "b", "options", "what"),
    [
        (points(5, 3), points(5, 4), {}, "dimensions"),
        (points(5).astype(int), points(5), {}, "points: dtype"),
        (points(5), points(5)[0], {}, "others: shape"),
        (points(5), points(0), {}, "others: 0 rows"),
        (points(5), np.full((5, 16), np.inf), {}, "infinity"),
        (points(5), points(5), {"k": 0}, "k = 0"),
        (points(5), points(5), {"k": 6}, "5 possible neighbours"),
        (points(5), points(5), {"k": 5, "exclude_self": True}, "4 possible neighbours"),
        (points(5), points(6), {"exclude_self": True}, "two sets are one"),
        (points(5), points(5), {"chunk": 0}, "chunk = 0"),
    ],
)
def test_bad_input_is_named(a: np.ndarray, b: np.ndarray, options: dict, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        nearest(a, b, **options)


@pytest.mark.parametrize(
    ("a", "r", "options", "what"),
    [
        (points(5, 3), np.ones(5), {}, "dimensions"),
        (points(5).astype(int), np.ones(5), {}, "dtype"),
        (np.full((5, 16), np.nan), np.ones(5), {}, "NaN"),
        (points(0), np.ones(0), {}, "0 rows"),
        (points(5), np.ones(4), {}, "squared radii"),
        (points(5), np.ones(5, int), {}, "squared radii"),
        (points(5), -np.ones(5), {}, "negative"),
        (points(5), np.full(5, np.nan), {}, "negative"),
        (points(5), np.ones(5), {"chunk": 0}, "chunk = 0"),
    ],
)
def test_bad_balls_are_named(a: np.ndarray, r: np.ndarray, options: dict, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        count_inside(a, points(6), r, np.ones(6), **options)
