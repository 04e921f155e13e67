"""Chamfer distance: scipy's nearest neighbours, what one direction cannot see, a repeatable t-SNE."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial import cKDTree

from benchmark.metrics.chamfer import chamfer, chamfer_tsne
from benchmark.metrics.checks import MetricError


def points(n: int, d: int = 16, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_agrees_with_a_kd_tree(chunk: int) -> None:
    real, fake = points(150, seed=1), points(90, seed=2, shift=0.5)
    result = chamfer(real, fake, chunk=chunk)
    to_fake = (cKDTree(unit(fake)).query(unit(real))[0] ** 2).mean()
    to_real = (cKDTree(unit(real)).query(unit(fake))[0] ** 2).mean()
    assert result.real_to_fake == pytest.approx(to_fake, rel=1e-10)
    assert result.fake_to_real == pytest.approx(to_real, rel=1e-10)
    assert result.two_way == result.real_to_fake + result.fake_to_real


def test_equal_sets_and_rescaled_sets_have_distance_zero() -> None:
    rows = points(60)
    assert chamfer(rows, rows).two_way == 0
    assert chamfer(rows, 3 * rows[::-1]).two_way == pytest.approx(0, abs=1e-30)


def test_opposite_directions_are_the_largest_distance() -> None:
    rows = np.tile(points(1), (5, 1))
    assert chamfer(rows, -rows).two_way == pytest.approx(8)


def test_swapping_the_sets_swaps_the_directions() -> None:
    real, fake = points(50, seed=3), points(80, seed=4, shift=1.0)
    there, back = chamfer(real, fake), chamfer(fake, real)
    assert (there.real_to_fake, there.fake_to_real) == (back.fake_to_real, back.real_to_fake)
    assert there.real_to_fake != pytest.approx(there.fake_to_real, rel=1e-3)


def test_one_direction_is_blind_to_invented_images_two_are_not() -> None:
    real = points(80, seed=5, shift=2.0)
    honest, with_inventions = real, np.concatenate([real, points(40, seed=6, shift=-2.0)])
    assert chamfer(real, with_inventions).real_to_fake == chamfer(real, honest).real_to_fake == 0
    assert chamfer(real, with_inventions).two_way > 0.5
    assert chamfer(real, np.concatenate([real, real])).two_way == 0  # repeated fakes are seen by neither direction


def test_a_dropped_mode_is_seen_by_the_real_to_fake_direction() -> None:
    kept, dropped = points(40, seed=7, shift=2.0), points(40, seed=8, shift=-2.0)
    result = chamfer(np.concatenate([kept, dropped]), kept)
    assert result.fake_to_real == 0
    assert result.real_to_fake > 0.5


def test_near_equal_points_do_not_cancel() -> None:
    rows = unit(points(30, d=64, seed=9))
    near = rows + 1e-9 * points(30, d=64, seed=10)
    exact = ((unit(near) - rows) ** 2).sum(axis=1).mean()  # about 6e-17, below the rounding of 2 - 2 cos
    assert chamfer(rows, near).real_to_fake == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (points(5, d=3), points(5, d=4), "dimensions"),
        (points(0), points(5), "0 rows"),
        (np.full((5, 16), np.nan), points(5), "NaN"),
        (points(5).astype(int), points(5), "dtype"),
        (points(5), points(5)[0], "shape"),
    ],
)
def test_bad_embeddings_are_refused(real: np.ndarray, fake: np.ndarray, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        chamfer(real, fake)


def test_an_empty_chunk_is_refused() -> None:
    with pytest.raises(MetricError, match="chunk = 0"):
        chamfer(points(5), points(5), chunk=0)


def plain_chamfer(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """Both directions from the full matrix of differences."""
    squared = ((unit(real)[:, None] - unit(fake)[None]) ** 2).sum(axis=2)
    return squared.min(axis=1).mean(), squared.min(axis=0).mean()


@pytest.mark.parametrize("fake_case", ["spread", "collapsed", "tight clusters"])
def test_agrees_with_all_differences(fake_case: str) -> None:
    real = points(120, seed=15).astype(np.float32)
    fake = {
        "spread": points(90, seed=16),
        "collapsed": np.tile(points(1, seed=17), (90, 1)),
        "tight clusters": points(5, seed=18).repeat(20, axis=0) + 1e-5 * points(100, seed=19),
    }[fake_case]
    found = chamfer(real, fake)
    assert (found.real_to_fake, found.fake_to_real) == pytest.approx(plain_chamfer(real.astype(float), fake), rel=1e-12)
    there, back = plain_chamfer(real.astype(float), fake)
    wrong = {"swapped": (back, there), "roots": (there**0.5, back**0.5), "summed": (120 * there, len(fake) * back)}
    for name, values in wrong.items():
        assert (found.real_to_fake, found.fake_to_real) != pytest.approx(values, rel=1e-3), name


def test_a_bar_is_shown_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    chamfer(points(9), points(9))
    assert capsys.readouterr().err == ""
    chamfer(points(9), points(9), progress=True)
    assert "neighbours" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["suite", "paper"])
def test_tsne_is_repeatable_and_says_what_fixed_it(protocol: str) -> None:
    real, fake = points(30, seed=11), points(30, seed=12, shift=1.0)
    first = chamfer_tsne(real, fake, tsne_seeds=(0,), protocol=protocol)
    assert first == chamfer_tsne(real, fake, tsne_seeds=(0,), protocol=protocol)
    assert first.one_way_sum == first.one_way_sums[0] > 0
    assert first.one_way_sum_sd is None
    stated = json.loads(json.dumps(first.parameters))
    expected = {"suite": ("pca", "auto"), "paper": ("random", 200.0)}[protocol]
    assert (stated["init"], stated["learning_rate"]) == expected
    assert (stated["perplexity"], stated["max_iter"], stated["n_components"]) == (30.0, 1000, 3)
    assert (stated["n_real"], stated["n_fake"], stated["tsne_seeds"]) == (30, 30, [0])


def test_tsne_mean_and_sd_over_seeds() -> None:
    result = chamfer_tsne(points(25, seed=13), points(25, seed=14), tsne_seeds=(0, 1), protocol="paper")
    assert result.one_way_sums[0] != result.one_way_sums[1]  # the published protocol depends on the seed
    assert result.one_way_sum == pytest.approx(np.mean(result.one_way_sums))
    assert result.one_way_sum_sd == pytest.approx(np.std(result.one_way_sums, ddof=1))
    assert result.two_way_mean_sd == pytest.approx(np.std(result.two_way_means, ddof=1))


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (15, {}, "30 points"),
        (40, {"max_points": 79}, "the cap is 79"),
        (40, {"protocol": "papper"}, "'papper'"),
        (40, {"tsne_seeds": ()}, "no seeds"),
    ],
)
def test_tsne_refuses_what_it_cannot_do(n: int, options: dict, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        chamfer_tsne(points(n), points(n, seed=1), **options)
