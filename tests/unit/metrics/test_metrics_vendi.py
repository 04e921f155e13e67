"""Vendi score: the definition on the n x n matrix, the package `vendi-score`, closed forms.

Measured against `vendi-score` 0.0.3 (`score_X`, `score_dual`) on the sets below: at most 3e-14 relative. It is no
dependency of the tests (`score_X` names a module of SciPy that is gone today); its formula is repeated here.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import benchmark.metrics.vendi
from benchmark.metrics.checks import MetricError
from benchmark.metrics.vendi import vendi_score


def points(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


SETS = {
    "wide": points(30, 80, seed=1),
    "tall": points(90, 12, seed=2),
    "square": points(25, 25, seed=3),
    "low rank": points(60, 3, seed=4) @ points(3, 20, seed=5),
    "duplicates": points(10, 16, seed=6).repeat(7, axis=0),
}


def by_definition(rows: np.ndarray) -> float:
    """exp(-sum lambda log lambda) over the eigenvalues of the n x n matrix of cosines, by n."""
    n = len(rows)
    K = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            K[i, j] = rows[i] @ rows[j] / (np.linalg.norm(rows[i]) * np.linalg.norm(rows[j]))
    entropy = 0.0
    for value in np.linalg.eigvalsh(K / n):
        if value > 1e-15:
            entropy -= value * np.log(value)
    return float(np.exp(entropy))


@pytest.mark.parametrize("name", SETS)
def test_as_the_definition(name: str) -> None:
    rows = SETS[name]
    assert vendi_score(rows) == pytest.approx(by_definition(rows), rel=1e-11)
    assert vendi_score(torch.tensor(5 * rows[::-1].copy())) == pytest.approx(vendi_score(rows), rel=1e-11)


def check_closed_forms() -> None:
    assert vendi_score(np.ones((9, 4))) == pytest.approx(1, rel=1e-12), "equal images are one"
    assert vendi_score(np.eye(8)) == pytest.approx(8, rel=1e-12), "orthogonal images are all"
    assert vendi_score(np.eye(4).repeat(5, axis=0)) == pytest.approx(4, rel=1e-12), "four images, each five times"


def test_closed_forms() -> None:
    check_closed_forms()


def test_a_sum_in_place_of_the_mean_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = benchmark.metrics.vendi.scipy.linalg.eigvalsh
    monkeypatch.setattr(benchmark.metrics.vendi.scipy.linalg, "eigvalsh", lambda m: 4 * real(m))
    with pytest.raises(AssertionError):
        check_closed_forms()


def test_many_images_need_no_matrix_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    real = benchmark.metrics.vendi.scipy.linalg.eigvalsh
    monkeypatch.setattr(benchmark.metrics.vendi.scipy.linalg, "eigvalsh", lambda m: (sizes.append(len(m)), real(m))[1])
    vendi_score(points(500, 6))
    vendi_score(points(6, 500))
    assert sizes == [6, 6]


def test_zero_rows_count_as_no_image() -> None:
    rows = points(12, 5)
    assert np.isfinite(vendi_score(np.concatenate([rows, np.zeros((3, 5))])))


@pytest.mark.parametrize(("rows", "message"), [(np.ones(3), "shape"), (np.ones((1, 3)), "at least 2"),
                                               (np.full((3, 3), np.inf), "infinity")])  # fmt: skip
def test_bad_features_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        vendi_score(rows)
