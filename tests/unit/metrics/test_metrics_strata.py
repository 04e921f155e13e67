"""Frechet distance by class frequency: groups, closed forms, and what a long tail does to a model of it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics.checks import MetricError
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.strata import STRATA, strata_of, stratified_fd

COUNTS = np.array([1280, 100, 99, 21, 20, 5])  # the borders of ImageNet-LT's groups


def test_groups_are_those_of_imagenet_lt() -> None:
    groups = strata_of(COUNTS)
    assert list(groups) == list(STRATA)
    assert {name: classes.tolist() for name, classes in groups.items()} == {
        "many": [0, 1],
        "medium": [2, 3],
        "few": [4, 5],
    }
    assert strata_of(COUNTS, few=0, many=1)["many"].tolist() == list(range(6))


def two_points(centre: float, spread: float, n: int) -> np.ndarray:
    """n features of mean `centre` and of unbiased variance spread^2 in each of two independent directions, exactly."""
    corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    scale = spread * np.sqrt((n - 1) / n)
    return centre + scale * np.tile(corners, (n // 4, 1))


def test_each_group_has_the_closed_form_of_its_own_gaussians() -> None:
    """Equal means and covariances s^2 I and t^2 I in two dimensions: 2 (s - t)^2; a shift d in each adds 2 d^2."""
    real = np.concatenate([two_points(0.0, 1.0, 40), two_points(5.0, 2.0, 80), two_points(-7.0, 1.0, 20)])
    real_y = np.repeat([0, 2, 5], [40, 80, 20])
    fake = np.concatenate([two_points(0.0, 1.5, 60), two_points(5.5, 2.0, 40), two_points(-7.0, 1.0, 8)])
    fake_y = np.repeat([1, 3, 4], [60, 40, 8])  # other classes of the same groups
    found = stratified_fd(real, real_y, fake, fake_y, COUNTS)
    assert found["many"].value == pytest.approx(2 * 0.5**2, abs=1e-9)
    assert found["medium"].value == pytest.approx(2 * 0.5**2, abs=1e-9)
    assert found["few"].value == pytest.approx(0.0, abs=1e-9)
    assert [(one.n_classes, one.n_real, one.n_fake) for one in found.values()] == [(2, 40, 60), (2, 80, 40), (2, 20, 8)]


def test_one_group_of_all_is_the_plain_distance() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(60, 5)), rng.normal(0.3, 1.2, size=(50, 5))
    real_y, fake_y = rng.integers(6, size=60), rng.integers(6, size=50)
    found = stratified_fd(real, real_y, fake, fake_y, COUNTS, few=0, many=1)
    assert found["many"].value == pytest.approx(frechet_distance(real, fake), rel=1e-12)
    assert [found[name].value for name in ("medium", "few")] == [None, None]


def test_a_model_that_never_learned_the_rare_classes_is_far_in_their_group_alone() -> None:
    """A made long tail: class k lies at 4 k; the model shows class 0 wherever it is asked for a rare one."""
    rng = np.random.default_rng(1)
    counts = np.round(400 * 80.0 ** (-np.arange(10) / 9)).astype(int)
    assert counts[0] == 400
    assert counts[-1] == 5
    y_real, y_fake = np.repeat(np.arange(10), 60), rng.integers(10, size=1200)
    real = 4.0 * y_real[:, None] + rng.normal(size=(600, 3))
    shown = np.where(counts[y_fake] <= 20, 0, y_fake)
    fake = 4.0 * shown[:, None] + rng.normal(size=(1200, 3))
    found = stratified_fd(real, y_real, fake, y_fake, counts)
    assert found["few"].value is not None
    assert found["few"].value > 500
    for name in ("many", "medium"):
        assert (found[name].value or 0) < 2


def test_too_few_images_have_no_value_and_bad_input_is_named() -> None:
    rows = np.zeros((3, 2)) + np.arange(3)[:, None]
    found = stratified_fd(rows, np.array([0, 0, 4]), rows, np.array([0, 1, 4]), COUNTS)
    assert found["few"].value is None
    assert found["many"].value is not None
    with pytest.raises(MetricError, match="at most 100 and at least 20"):
        strata_of(COUNTS, few=100, many=20)
    with pytest.raises(MetricError, match="fake labels"):
        stratified_fd(rows, np.array([0, 0, 4]), rows, np.array([0, 1, 6]), COUNTS)
