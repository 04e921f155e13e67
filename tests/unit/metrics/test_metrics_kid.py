"""Kernel distance: two libraries, the sum written out, closed forms, and that a wrong one is caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from benchmark.metrics import kid as module
from benchmark.metrics.checks import MetricError
from benchmark.metrics.extractors.store import FeatureStore
from benchmark.metrics.kid import kid, kid_subsets


def points(n: int, d: int = 24, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


REAL, FAKE = points(400, seed=1), points(400, seed=2, shift=0.2)


def written_out(real: np.ndarray, fake: np.ndarray) -> float:
    """The estimate with loops over single pairs."""

    def mean(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        values = [(x @ y / len(x) + 1) ** 3 for i, x in enumerate(a) for j, y in enumerate(b) if not (same and i == j)]
        return float(np.mean(values))

    return mean(real, real, True) + mean(fake, fake, True) - 2 * mean(real, fake, False)


def of_torch_fidelity(real: np.ndarray, fake: np.ndarray) -> float:
    """One subset that is the whole set."""
    found = kid_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(fake), kid_subsets=1, kid_subset_size=len(real), verbose=False
    )
    return found["kernel_inception_distance_mean"]


def check(function: Callable[[np.ndarray, np.ndarray], float]) -> None:
    assert function(REAL, FAKE) == pytest.approx(of_torch_fidelity(REAL, FAKE), rel=1e-9)


def test_as_torch_fidelity() -> None:
    check(kid)


def test_as_clean_fid() -> None:
    from cleanfid.fid import kernel_distance

    assert kid(REAL, FAKE) == pytest.approx(kernel_distance(REAL, FAKE, 1, len(REAL)), rel=1e-9)


def test_as_written_out_for_sets_of_unlike_size() -> None:
    real, fake = points(40, 5, seed=3), points(25, 5, seed=4, shift=0.5)
    assert kid(real, fake) == pytest.approx(written_out(real, fake), rel=1e-11)
    assert kid(fake, real) == pytest.approx(kid(real, fake), rel=1e-11)


@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        ("diagonal kept", lambda square: 0.0),
        ("diagonal taken twice", lambda square: 2 * np.trace(square)),
    ],
)
def test_a_wrong_diagonal_is_caught(name: str, mutant: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    class Numpy:
        """numpy with another trace."""

        trace = staticmethod(mutant)

        def __getattr__(self, name: str) -> object:
            return getattr(np, name)

    monkeypatch.setattr(module, "np", Numpy())
    with pytest.raises(AssertionError):
        check(kid)


@pytest.mark.parametrize(("constant", "value"), [("COEF0", 0.0), ("COEF0", 1.001)])
def test_another_kernel_is_caught(constant: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, constant, value)
    with pytest.raises(AssertionError):
        check(kid)


def test_other_forms_are_caught() -> None:
    with pytest.raises(AssertionError):
        check(lambda real, fake: -kid(real, fake))
    with pytest.raises(AssertionError):  # gamma other than 1 / d
        check(lambda real, fake: kid(real * 1.001, fake * 1.001))


@pytest.mark.parametrize("tile", [1, 7, 64, 399, 400])
def test_tiles_and_order_change_nothing(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, shuffled = kid(REAL, FAKE[:150]), np.random.default_rng(0).permutation(REAL)
    if tile == 1:
        whole, shuffled = kid(REAL[:30], FAKE[:150]), REAL[:30]
    monkeypatch.setattr(module, "TILE_ROWS", tile)
    assert kid(torch.from_numpy(shuffled), FAKE[:150]) == pytest.approx(whole, rel=1e-10)


def test_a_permuted_set_is_not_above_zero() -> None:
    """The kernel is positive definite: its mean over all pairs is no less than that over different ones."""
    for seed in range(5):
        rows = points(60, seed=seed)
        value = kid(rows, np.random.default_rng(seed).permutation(rows))
        assert value <= 0
        diagonal, square = ((rows * rows).mean(axis=1) + 1) ** 3, (rows @ rows.T / 24 + 1) ** 3
        off = (square.sum() - diagonal.sum()) / (60 * 59)
        assert value == pytest.approx(2 / 60 * (off - diagonal.mean()), rel=1e-10)


def test_two_constant_sets_have_a_closed_form() -> None:
    """k = (1 + 1)^3 within, (0 + 1)^3 between, for rows of mean square 1 that are orthogonal."""
    real, fake = np.tile([np.sqrt(2), 0.0], (5, 1)), np.tile([0.0, np.sqrt(2)], (7, 1))
    assert kid(real, fake) == pytest.approx(8 + 8 - 2, rel=1e-12)


def test_without_bias() -> None:
    """Equal distributions: zero on average, whatever the size."""
    values = [kid(points(30, seed=2 * s), points(30, seed=2 * s + 1)) for s in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)
    assert min(values) < 0 < max(values)


def test_float32_features_are_computed_in_float64() -> None:
    real, fake = REAL.astype(np.float32), FAKE.astype(np.float32)
    assert kid(real, torch.from_numpy(fake)) == kid(real.astype(float), fake.astype(float))


def test_a_bar_is_shown_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    kid(REAL, FAKE)
    assert capsys.readouterr().err == ""
    kid(REAL, FAKE, progress=True)
    assert "kernel" in capsys.readouterr().err


# ---- over subsets ---------------------------------------------------------------------------------------------------


def test_subsets_are_torch_fidelitys() -> None:
    real, fake = points(300, seed=5), points(350, seed=6, shift=0.1)
    other = kid_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), kid_subsets=20, kid_subset_size=100, verbose=False
    )  # its defaults: seed 2020, degree 3, gamma 1 / d, coef0 1
    found = kid_subsets(real, fake, n_subsets=20, subset_size=100)
    assert (found.mean, found.sd) == (
        other["kernel_inception_distance_mean"],
        other["kernel_inception_distance_std"],
    )
    assert (found.n_subsets, found.subset_size, found.seed) == (20, 100, 2020)
    assert found == kid_subsets(real.astype(float), torch.from_numpy(fake), 20, 100)
    assert found.mean != kid_subsets(real, fake, 20, 100, seed=1).mean


def test_subsets_are_near_the_whole_and_one_whole_subset_is_it() -> None:
    found = kid_subsets(REAL, FAKE, n_subsets=50, subset_size=200)
    assert found.mean == pytest.approx(kid(REAL, FAKE), abs=4 * found.sd / np.sqrt(50))
    one = kid_subsets(REAL, FAKE, n_subsets=1, subset_size=400)
    assert one.mean == pytest.approx(kid(REAL, FAKE), rel=1e-9)
    assert one.sd == 0


# ---- bad input ------------------------------------------------------------------------------------------------------

BAD = [
    (points(9, 3), points(9, 4), "dimensions"),
    (points(9).astype(int), points(9), "real features: dtype"),
    (points(9), points(9)[0], "fake features: shape"),
    (points(9), np.full((9, 24), np.inf), "infinity"),
    (points(1), points(9), "1 rows"),
]


@pytest.mark.parametrize(("real", "fake", "what"), BAD)
def test_bad_input_is_named(real: np.ndarray, fake: np.ndarray, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        kid(real, fake)
    with pytest.raises(MetricError, match=what):
        kid_subsets(real, fake, n_subsets=2, subset_size=5)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"subset_size": 10}, "9 rows"),
        ({}, "needs at least 1000"),
        ({"n_subsets": 0, "subset_size": 5}, "0 subsets"),
        ({"subset_size": 1}, "subsets of 1"),
    ],
)
def test_bad_subsets_are_named(options: dict, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        kid_subsets(points(9), points(9), **options)


def test_the_real_part_that_was_kept_gives_the_same_bits(tmp_path: Path) -> None:
    real, fake = np.random.default_rng(0).normal(size=(2, 60, 5))
    store = FeatureStore(tmp_path)

    def of_real(name: str, make: Callable[[], float]) -> float:
        return store.numbers({"what": name}, make)

    assert kid(real, fake, of_real=of_real) == kid(real, fake)
    assert kid(real, fake[::2], of_real=of_real) == kid(real, fake[::2]), "this time it is read"
    assert kid(real, fake, of_real=lambda *_: 0.0) != kid(real, fake), "it is used"
