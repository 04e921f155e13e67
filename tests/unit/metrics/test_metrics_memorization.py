"""C_T and MiFID: brute force, closed forms, torchmetrics, and that a wrong one is caught.

Measured: `data_copying` against the plain loops below and against the authors' code (casey-meehan/data-copying, with
its 0.5 of continuity correction taken back): no difference. MiFID against torchmetrics 1.9.0 in float64: 2e-12
relative, with the two sets exchanged: it takes the mean over the real images of the distance to the nearest generated
one, the paper the mean over the generated ones; the Frechet distance is the same either way. torchmetrics is no
dependency of the tests: it is compared where it is installed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from sklearn.cluster import KMeans

import benchmark.metrics.memorization
from benchmark.metrics.checks import MetricError
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.memorization import data_copying, memorization_distance, memorization_informed_fd


def points(n: int, d: int = 5, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(n, d))


TRAIN, HELDOUT, FAKE = points(300, seed=1), points(200, seed=2), points(240, seed=3, scale=1.1)


# ---- C_T ------------------------------------------------------------------------------------------------------------


def by_loops(train: np.ndarray, heldout: np.ndarray, fake: np.ndarray, k: int, tau: float) -> float:
    """C_T, a pair of distances at a time."""
    means = KMeans(k, n_init=1, random_state=0).fit(train)
    cells = [means.predict(rows) for rows in (train, heldout, fake)]
    total = weight = 0.0
    for cell in range(k):
        mine, held, made = (rows[of == cell] for rows, of in zip((train, heldout, fake), cells))
        if not len(held) or not len(made) / len(fake) > tau:
            continue
        far_made = [min(math.dist(row, other) for other in mine) for row in made]
        far_held = [min(math.dist(row, other) for other in mine) for row in held]
        u = sum((a > b) + 0.5 * (a == b) for a in far_made for b in far_held)
        n, m = len(held), len(made)
        total += len(held) * (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
        weight += len(held)
    return total / weight


@pytest.mark.parametrize("cells", [2, 5])
@pytest.mark.parametrize("tau", [0.0, 0.18])
def test_c_t_as_plain_loops(cells: int, tau: float) -> None:
    mixed = np.concatenate([FAKE, TRAIN[:40]])  # with copies, whose distances are tied at 0
    found = data_copying(torch.tensor(TRAIN), HELDOUT, mixed, cells, tau)
    assert found.c_t == pytest.approx(by_loops(TRAIN, HELDOUT, mixed, cells, tau), rel=1e-11)
    assert (found.cells, found.n_train, found.n_heldout, found.n_fake) == (cells, 300, 200, 280)
    assert sum(found.weights) == pytest.approx(1)
    assert len(found.z) <= cells
    assert (found.counted == 1) == (len(found.z) == cells)


def test_one_cell_is_the_mann_whitney_test() -> None:
    def far(rows: np.ndarray) -> np.ndarray:
        return np.linalg.norm(rows[:, None] - TRAIN[None], axis=2).min(axis=1)

    u = mannwhitneyu(far(FAKE), far(HELDOUT)).statistic
    n, m = len(HELDOUT), len(FAKE)
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    assert data_copying(TRAIN, HELDOUT, FAKE, cells=1).c_t == pytest.approx(z, rel=1e-12)


def check_direction() -> None:
    near = TRAIN[:240] + 0.01 * points(240, seed=4)
    assert data_copying(TRAIN, HELDOUT, near).c_t < -3, "copies"
    assert data_copying(TRAIN, HELDOUT, 3 * FAKE, cells=1).c_t > 3, "images of nothing"
    assert abs(data_copying(TRAIN, HELDOUT, points(240, seed=5)).c_t) < 3, "honest images"


def test_copies_lie_below_and_noise_above() -> None:
    check_direction()


def test_exchanged_samples_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    z = benchmark.metrics.memorization._z
    monkeypatch.setattr(benchmark.metrics.memorization, "_z", lambda fake, heldout: z(heldout, fake))
    with pytest.raises(AssertionError, match="copies"):
        check_direction()


def test_the_number_of_cells_follows_from_the_samples() -> None:
    assert data_copying(TRAIN, HELDOUT, FAKE).cells == 2
    assert data_copying(TRAIN, HELDOUT[:50], FAKE).cells == 1


def test_what_cannot_be_tested_is_refused() -> None:
    with pytest.raises(MetricError, match="no cell counts"):
        data_copying(TRAIN, HELDOUT, FAKE[:10])
    with pytest.raises(MetricError, match="400 cells of 300"):
        data_copying(TRAIN, HELDOUT, FAKE, cells=400)
    with pytest.raises(MetricError, match="dimensions"):
        data_copying(TRAIN, HELDOUT, points(30, d=4))


# ---- MiFID ----------------------------------------------------------------------------------------------------------


def distance_by_loops(fake: np.ndarray, train: np.ndarray) -> float:
    far = []
    for x in fake:
        cosines = [abs(float(x @ t)) / (np.linalg.norm(x) * np.linalg.norm(t)) for t in train]
        far.append(1 - max(cosines))
    return float(np.mean(far))


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_mifid_as_plain_loops(shift: float) -> None:
    """Far from the origin all cosines are near 1, and the distance falls below the threshold."""
    real, fake = TRAIN + shift, FAKE + shift
    found = memorization_informed_fd(real, torch.tensor(fake), real)
    assert found.distance == pytest.approx(distance_by_loops(fake, real), rel=1e-11)
    assert found.fd == frechet_distance(real, fake)
    assert found.penalised == (found.distance < 0.1)
    assert found.value == pytest.approx(found.fd / (found.distance if found.penalised else 1), rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_mifid_as_torchmetrics(shift: float) -> None:
    library = pytest.importorskip("torchmetrics.image.mifid")
    real, fake = torch.tensor(TRAIN + shift), torch.tensor(FAKE + shift)
    moments = [part for rows in (fake, real) for part in (rows.mean(0), torch.cov(rows.T), rows)]
    wanted = float(library._mifid_compute(*moments))  # the sets exchanged: see above
    assert memorization_informed_fd(real, fake, real).value == pytest.approx(wanted, rel=1e-9)


def check_threshold() -> None:
    directions = np.eye(5)
    assert memorization_distance(directions, directions) == 0, "copies"
    assert memorization_distance(-3 * directions, directions) == 0, "the sign and the length say nothing"
    assert memorization_distance(directions[:2], directions[2:]) == 1, "orthogonal to all"
    far = memorization_informed_fd(TRAIN, FAKE, TRAIN, threshold=0)
    assert far.value == far.fd, "nothing is penalised below a threshold of 0"


def test_directions_and_threshold() -> None:
    check_threshold()


def test_copies_are_worse_than_their_distance_says() -> None:
    train, held = TRAIN + 3, HELDOUT + 3
    copies, honest = train[:200] + 1e-3 * points(200, seed=6), points(200, seed=7) + 3
    of_copies, of_honest = (memorization_informed_fd(held, fake, train) for fake in (copies, honest))
    assert of_copies.value / of_copies.fd > 1e3 * of_honest.value / of_honest.fd


def test_exact_copies_of_all_are_no_result() -> None:
    train = np.repeat(np.eye(5), 2, axis=0)
    assert memorization_informed_fd(train + 1, train, train).value == math.inf
    assert memorization_informed_fd(train, train, train).value == 0


def test_zero_rows_have_no_direction() -> None:
    with_zeros = np.concatenate([FAKE, np.zeros((4, 5))])
    assert memorization_distance(with_zeros, TRAIN) == memorization_distance(FAKE, TRAIN)
    with pytest.raises(MetricError, match="all rows are zero"):
        memorization_distance(np.zeros((3, 5)), TRAIN)
