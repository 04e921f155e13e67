"""CMMD: plain loops, the package `clip-mmd`, closed forms, and that a wrong one is caught.

Measured against `clip-mmd` 0.0.2 in float64 on the pairs below: at most 5e-13 relative. It is no dependency of the
tests: it is compared where it is installed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import benchmark.metrics.cmmd
from benchmark.metrics.checks import MetricError
from benchmark.metrics.cmmd import cmmd, of_sets
from benchmark.metrics.sets import FeatureSets, SetSettings


def points(n: int, d: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


PAIRS = {
    "alike": (points(60, seed=1), points(45, seed=2)),
    "shifted": (points(60, seed=1), points(45, seed=2) + 1),
    "one mode": (points(60, seed=1), np.tile(points(1, seed=3), (30, 1))),
}


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_loops(real: np.ndarray, fake: np.ndarray, sigma: float, scale: float) -> float:
    """Equation 5 of Gretton et al. with every kernel value by itself."""

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        values = [math.exp(-float(((x - y) ** 2).sum()) / (2 * sigma**2)) for x in a for y in b]
        return math.fsum(values) / len(values)

    a, b = unit(real), unit(fake)
    return scale * (mean(a, a) + mean(b, b) - 2 * mean(a, b))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("sigma", [10.0, 0.5])
def test_as_plain_loops(pair: str, sigma: float) -> None:
    real, fake = PAIRS[pair]
    assert cmmd(real, fake, sigma) == pytest.approx(by_loops(real, fake, sigma, 1000), rel=1e-9)
    assert cmmd(fake, real, sigma) == pytest.approx(cmmd(real, fake, sigma), rel=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
def test_as_the_clip_mmd_package(pair: str) -> None:
    package = pytest.importorskip("clip_mmd.calculation", exc_type=ImportError)
    real, fake = PAIRS[pair]
    assert cmmd(real, fake) == pytest.approx(float(package.mmd(unit(real), unit(fake))), rel=1e-10)


def check_closed_forms() -> None:
    rows = points(40, seed=4)
    assert cmmd(rows, rows) == pytest.approx(0, abs=1e-12), "equal sets"
    assert cmmd(rows / 20, rows / 40) == pytest.approx(0, abs=1e-12), "the length of a row says nothing"
    east, west = np.array([[1.0, 0.0]] * 2), np.array([[-1.0, 0.0]] * 3)
    assert cmmd(east, west) == pytest.approx(2000 * (1 - math.exp(-4 / 200)), rel=1e-12), "two points, opposite"


def test_closed_forms() -> None:
    check_closed_forms()


def test_rows_that_keep_their_length_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark.metrics.cmmd, "_unit", lambda name, rows: rows)
    with pytest.raises(AssertionError, match="length"):
        check_closed_forms()


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = PAIRS["alike"]
    whole = cmmd(real, torch.tensor(fake))
    monkeypatch.setattr(benchmark.metrics.cmmd, "TILE_ROWS", 7)
    assert cmmd(real, fake) == pytest.approx(whole, rel=1e-12)


def test_only_clips_features_have_it() -> None:
    real, fake = PAIRS["alike"]
    assert of_sets(FeatureSets(real, fake, None, SetSettings(), extractor="lite0")) == {}
    found = of_sets(FeatureSets(real, fake, None, SetSettings(), extractor="clip-l-14-336"))
    assert found["cmmd"].value == cmmd(real, fake)


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (points(3), np.zeros((2, 10)), "zero"),
        (points(3), points(3, d=9), "dimensions"),
        (points(3), np.full((3, 10), np.nan), "NaN"),
    ],
)
def test_bad_features_are_refused(real: np.ndarray, fake: np.ndarray, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        cmmd(real, fake)


def test_a_kernel_without_width_is_refused() -> None:
    with pytest.raises(MetricError, match="sigma"):
        cmmd(points(3), points(3), sigma=0)
