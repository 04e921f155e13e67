"""Precision, recall, density, coverage: two libraries, duplicates, closed forms, and that a wrong one is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

import benchmark.metrics.prdc
from benchmark.metrics.checks import MetricError
from benchmark.metrics.nearest import nearest
from benchmark.metrics.prdc import PRDC, prdc


def points(n: int, d: int = 12, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(n, d))


def with_duplicates(n: int, n_copies: int, seed: int, scale: float = 1.0) -> np.ndarray:
    """`n` different rows; some of the first ten are there `n_copies` times over."""
    rows = points(n, seed=seed, scale=scale)
    return np.concatenate([rows, rows[np.random.default_rng(seed).integers(10, size=n_copies)]])


REAL, FAKE = points(400, seed=1), points(300, seed=2, scale=0.8)
PAIRS = {
    "alike": (REAL, FAKE),
    "shifted": (REAL, FAKE + 0.7),
    "few modes": (REAL, REAL[:20].repeat(15, axis=0) + 0.05 * points(300, seed=3)),
    "far away": (REAL, FAKE + 50),
    "duplicated fake": (REAL, with_duplicates(150, 350, seed=4, scale=0.8)),
    "duplicated real": (with_duplicates(150, 350, seed=5), FAKE),
    "both duplicated": (with_duplicates(150, 250, seed=6), with_duplicates(100, 250, seed=7, scale=0.8)),
    "collapsed": (REAL, np.tile(points(1, seed=8, scale=0.3), (300, 1))),
}


def of_prdc(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    found = compute_prdc(real, fake, k)
    return found["precision"], found["recall"], found["density"], found["coverage"]


def numbers(found: PRDC) -> tuple[float, float, float, float]:
    return found.precision, found.recall, found.density, found.coverage


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("k", [1, 3, 5])
def test_as_the_prdc_package(pair: str, k: int) -> None:
    real, fake = PAIRS[pair]
    assert numbers(prdc(real, fake, k)) == pytest.approx(of_prdc(real, fake, k), abs=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
def test_precision_and_recall_as_torch_fidelity(pair: str) -> None:
    real, fake = PAIRS[pair]
    other = prc_features_to_metric(torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=3, verbose=False)
    found = prdc(real, fake, k=3)
    assert (found.precision, found.recall) == pytest.approx((other["precision"], other["recall"]), abs=1e-6)


def test_exact_copies_among_whole_numbers_as_torch_fidelity() -> None:
    """Thousands of exact ties: distances of whole numbers are exact in every implementation, and balls are closed."""
    rng = np.random.default_rng(9)
    real, fake = rng.integers(6, size=(300, 4)).astype(float), rng.integers(1, 7, size=(250, 4)).astype(float)
    other = prc_features_to_metric(torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=3, verbose=False)
    found = prdc(real, fake, k=3)
    assert (found.precision, found.recall) == pytest.approx((other["precision"], other["recall"]), abs=1e-6)
    assert found.precision != pytest.approx(of_prdc(real, fake, 3)[0], abs=0.01)  # there the surface is left out
    distance = np.linalg.norm(real[:, None] - fake[None], axis=2)
    reach = np.sort(np.linalg.norm(real[:, None] - real[None], axis=2), axis=1)[:, 3:4]
    assert found.density == pytest.approx((distance <= reach).sum(axis=0).mean() / 3, rel=1e-12)
    assert found.coverage == pytest.approx((distance <= reach).any(axis=1).mean(), rel=1e-12)


def check(function: Callable[..., PRDC]) -> None:
    """Facts that hold for every correct implementation and for no wrong one below."""
    dropped = function(REAL, 0.3 * FAKE)  # a part of the distribution only
    assert dropped.precision > 0.95 > 0.6 > dropped.recall, "all are real-looking, and they are too alike"
    assert numbers(function(REAL, FAKE)) == pytest.approx(of_prdc(REAL, FAKE, 5), abs=1e-12), (
        "another k, or another sum"
    )


def test_it_passes_its_own_check() -> None:
    check(prdc)


def test_swapped_sets_are_caught() -> None:
    with pytest.raises(AssertionError, match="real-looking"):
        check(lambda real, fake: prdc(fake, real))


@pytest.mark.parametrize("k", [4, 6])
def test_another_k_is_caught(k: int) -> None:
    with pytest.raises(AssertionError, match="another k"):
        check(lambda real, fake: prdc(real, fake, k))


def test_an_image_that_is_its_own_neighbour_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_self(*args: Any, exclude_self: bool, **options: Any) -> Any:
        return nearest(*args, **options)

    monkeypatch.setattr(benchmark.metrics.prdc, "nearest", with_self)
    with pytest.raises(AssertionError, match="another k"):
        check(prdc)


def test_equal_sets() -> None:
    """Each image's ball holds itself and its k nearest."""
    assert numbers(prdc(REAL, REAL, k=5)) == (1, 1, pytest.approx(6 / 5), 1)
    collapsed = np.zeros((20, 3))
    assert numbers(prdc(collapsed, collapsed, k=5)) == (1, 1, pytest.approx(20 / 5), 1)


def test_sets_apart() -> None:
    assert numbers(prdc(REAL, FAKE + 1e3)) == (0, 0, 0, 0)


def test_a_hand_made_line() -> None:
    """Reals at 0, 1, 3, 10 reach, with k = 1, 1, 1, 2, 7; fakes at 0.5, 4, 4.5 reach 3.5, 0.5, 0.5."""
    real, fake = np.array([[0.0], [1.0], [3.0], [10.0]]), np.array([[0.5], [4.0], [4.5]])
    found = prdc(real, fake, k=1)
    assert found.precision == 1
    assert found.recall == 0.75  # all but 10
    assert found.density == pytest.approx(6 / 3)  # 0.5: of 0 and 1; 4: of 3 and 10; 4.5: of 3 and 10
    assert found.coverage == 1
    assert found.k == 1


def test_equal_distributions_have_density_one() -> None:
    found = prdc(points(1500, 4, seed=10), points(1500, 4, seed=11))
    assert found.density == pytest.approx(1, abs=0.05)
    assert found.coverage == pytest.approx(1 - 0.5**5, abs=0.02)  # of i.i.d. sets of equal size: Naeem et al., sec. 3


def test_float32_tensors_are_measured_in_float64() -> None:
    real, fake = REAL.astype(np.float32), FAKE.astype(np.float32)
    assert prdc(torch.from_numpy(real), torch.from_numpy(fake)) == prdc(real.astype(float), fake.astype(float))


@pytest.mark.parametrize(
    ("real", "fake", "k", "what"),
    [
        (points(9, 3), points(9, 4), 5, "dimensions"),
        (points(9).astype(int), points(9), 5, "real features: dtype"),
        (points(9), points(9)[0], 5, "fake features: shape"),
        (points(9), np.full((9, 12), np.nan), 5, "NaN"),
        (points(1), points(9), 5, "1 rows"),
        (points(9), points(5), 5, "k = 5 with 9 real and 5 fake"),
        (points(5), points(9), 5, "k = 5 with 5 real and 9 fake"),
        (points(9), points(9), 0, "k = 0"),
    ],
)
def test_bad_input_is_named(real: np.ndarray, fake: np.ndarray, k: int, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        prdc(real, fake, k)
