"""Modes, high quality and reverse KL against closed forms; and that the usual mistakes would be noticed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmark.data.cards import find_card
from benchmark.data.mixtures import Mixture, draw_points
from benchmark.data.prepared import mixture_of
from benchmark.metrics import modes
from benchmark.metrics.checks import MetricError
from benchmark.metrics.modes import class_modes, expected_reverse_kl, mode_statistics

BOX = math.erf(3 / 2**0.5) ** 2  # P(|dx| < 3 std and |dy| < 3 std) = 0.9946
DISC = 1 - math.exp(-9 / 2)  # P(distance < 3 std) = 0.9889
GRID = mixture_of(find_card("grid2d"))
RING = mixture_of(find_card("ring2d"))


def perfect(mixture: Mixture, n: int, seed: int = 0) -> np.ndarray:
    return draw_points(mixture, n, np.random.default_rng(seed))[0]


@pytest.mark.parametrize("mixture", [RING, GRID], ids=["ring", "grid"])
def test_a_perfect_sampler(mixture):
    n, n_modes = 50_000, len(mixture.centres)
    found = mode_statistics(perfect(mixture, n), *mixture)
    assert found.n_modes == n_modes
    assert abs(found.high_quality - BOX) < 4 * (BOX * (1 - BOX) / n) ** 0.5
    assert round(BOX, 4) == 0.9946
    assert found.reverse_kl < 3 * expected_reverse_kl(n_modes, n)


def test_the_rule_is_a_box_not_a_disc():
    n = 50_000
    points = perfect(GRID, n)
    distance = np.linalg.norm(points[:, None] - GRID.centres, axis=2).min(axis=1)
    disc = (distance < 3 * GRID.std).mean()
    assert abs(disc - DISC) < 0.002
    assert abs(mode_statistics(points, *GRID).high_quality - disc) > 0.004, "a disc would be noticed"
    corner = GRID.centres + 2.9 * GRID.std  # inside the box, outside of the disc
    assert mode_statistics(corner, *GRID).high_quality == 1
    beyond = GRID.centres + np.array([3.1, 0]) * GRID.std
    assert mode_statistics(beyond, *GRID)[:2] == (0, 0)


def test_one_mode_gives_log_m():
    one = Mixture(GRID.centres[7:8], GRID.std)
    found = mode_statistics(perfect(one, 1000), *GRID)
    assert found.n_modes == 1
    assert found.reverse_kl == pytest.approx(math.log(25))


def test_half_the_modes_give_log_2_and_weights_their_own_kl():
    half = np.repeat(RING.centres[:4], 50, axis=0)
    assert mode_statistics(half, *RING).reverse_kl == pytest.approx(math.log(2))
    uneven = np.repeat(RING.centres, [8, 4, 2, 2, 0, 0, 0, 0], axis=0)
    q = np.array([1 / 2, 1 / 4, 1 / 8, 1 / 8])
    assert mode_statistics(uneven, *RING).reverse_kl == pytest.approx(float((q * np.log(8 * q)).sum()))


def test_bad_samples_reach_no_mode_but_count_for_the_kl():
    far = np.concatenate([RING.centres, np.tile([[9.0, 0.0]], (8, 1))])  # nearest to mode 0
    found = mode_statistics(far, *RING)
    assert (found.n_modes, found.high_quality) == (8, 0.5)
    q = np.array([9, *[1] * 7]) / 16
    assert found.reverse_kl == pytest.approx(float((q * np.log(8 * q)).sum()))


def test_the_kl_of_a_perfect_sampler_is_its_known_bias():
    rng = np.random.default_rng(0)
    found = [class_modes(rng.integers(1000, size=26_000), 1000) for _ in range(20)]
    assert all(entry.n_modes == 1000 for entry in found)
    assert np.mean([entry.reverse_kl for entry in found]) == pytest.approx(expected_reverse_kl(1000, 26_000), rel=0.05)
    assert expected_reverse_kl(1000, 26_000) == pytest.approx(0.0192, abs=1e-4)
    few = class_modes(rng.integers(1000, size=2500), 1000)
    assert abs(few.n_modes - 1000 * (1 - 0.999**2500)) < 30, "2,500 images cannot show 1,000 modes"


def test_nats_and_decimal_logarithms_are_told_apart():
    found = class_modes(np.zeros(100, int), 1000)
    assert (found.n_modes, found.reverse_kl_log10) == (1, pytest.approx(3))
    assert found.reverse_kl == pytest.approx(math.log(1000))
    assert found.reverse_kl / found.reverse_kl_log10 == pytest.approx(2.302585)


def test_even_classes_have_no_kl():
    found = class_modes(np.tile(np.arange(10), 7), 10)
    assert found == (10, 0, 0)


def test_tensors_are_read_like_arrays():
    points = perfect(RING, 200)
    assert mode_statistics(torch.from_numpy(points), *RING) == mode_statistics(points, *RING)
    labels = np.arange(20) % 7
    assert class_modes(torch.from_numpy(labels), 10) == class_modes(labels, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, c, s: (p[:, :1], c, s), "points: shape"),
        (lambda p, c, s: (p[0], c, s), "points: shape"),
        (lambda p, c, s: (p, c[:, :1], s), "centres: shape"),
        (lambda p, c, s: (p.astype(int), c, s), "dtype int64"),
        (lambda p, c, s: (np.where(p > 0, np.nan, p), c, s), "NaN or infinity"),
        (lambda p, c, s: (p[:7], c, s), "7 rows"),
        (lambda p, c, s: (p, c, 0.0), "std: 0.0"),
        (lambda p, c, s: (p, c, float("nan")), "std: nan"),
    ],
)
def test_wrong_points_are_refused(change, message):
    with pytest.raises(MetricError, match=message):
        mode_statistics(*change(perfect(RING, 50), *RING))


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (np.array([0, 10]), "0 to 10"),
        (np.array([-1, 2]), "-1 to 2"),
        (np.zeros((3, 10), int), "shape"),
        (np.array([0.0, 1.0]), "dtype float64"),
        (np.array([3]), "at least 2"),
    ],
)
def test_wrong_classes_are_refused(predicted, message):
    with pytest.raises(MetricError, match=message):
        class_modes(predicted, 10)


@pytest.mark.parametrize("limit", [2.0, 2.5, 3.5])
def test_another_box_would_be_noticed(limit, monkeypatch):
    monkeypatch.setattr(modes, "BOX_STDS", limit)
    n = 50_000
    assert abs(mode_statistics(perfect(GRID, n), *GRID).high_quality - BOX) > 6 * (BOX * (1 - BOX) / n) ** 0.5
