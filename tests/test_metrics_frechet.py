"""Frechet distance: closed forms, torch-fidelity, both sides of the rule n < d."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from benchmark.metrics.checks import MetricError
from benchmark.metrics.frechet import FeatureStats, feature_stats, frechet_distance, frechet_from_stats


def features(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Correlated Gaussian features [n, d]."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) + shift


def torch_fidelity_fid(real: np.ndarray, fake: np.ndarray) -> float:
    stats = [fid_features_to_statistics(torch.from_numpy(rows)) for rows in (real, fake)]
    return fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]


@pytest.mark.parametrize(("n", "d"), [(400, 64), (40, 64)])
def test_equal_sets_have_distance_zero(n: int, d: int) -> None:
    rows = features(n, d, seed=0)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(400, 64), (40, 64)])
def test_shift_by_c_gives_its_squared_length(n: int, d: int) -> None:
    rows, c = features(n, d, seed=1), np.linspace(-1, 1, d)
    assert frechet_distance(rows, rows + c) == pytest.approx(c @ c, rel=1e-9)


def test_commuting_covariances_have_a_closed_form() -> None:
    rng = np.random.default_rng(2)
    basis, _ = np.linalg.qr(rng.normal(size=(48, 48)))
    w1, w2 = rng.uniform(0.1, 5, 48), rng.uniform(0.1, 5, 48)
    m1, m2 = rng.normal(size=48), rng.normal(size=48)
    stats = [FeatureStats(m, (basis * w) @ basis.T, 1000) for m, w in ((m1, w1), (m2, w2))]
    expected = ((m1 - m2) ** 2).sum() + ((np.sqrt(w1) - np.sqrt(w2)) ** 2).sum()
    assert frechet_from_stats(*stats) == pytest.approx(expected, rel=1e-11)


def test_one_dimension_is_the_textbook_formula() -> None:
    a, b = features(50, 1, seed=3), features(70, 1, seed=4, shift=2.0)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n_real", "n_fake"), [(500, 400), (500, 64)])
def test_agrees_with_torch_fidelity(n_real: int, n_fake: int) -> None:
    real, fake = features(n_real, 64, seed=5), features(n_fake, 64, seed=6, shift=0.1)
    assert frechet_distance(real, fake) == pytest.approx(torch_fidelity_fid(real, fake), rel=1e-6)


def test_agrees_with_torch_fidelity_below_d_images() -> None:
    # torch-fidelity's square roots of the zero eigenvalues leave an error of about 1e-6 here; ours are exact.
    real, fake = features(60, 96, seed=7), features(50, 96, seed=8, shift=0.5)
    assert frechet_distance(real, fake) == pytest.approx(torch_fidelity_fid(real, fake), rel=1e-6)


@pytest.mark.skipif(
    "disp" not in inspect.signature(scipy.linalg.sqrtm).parameters, reason="clean-fid needs scipy < 1.18"
)
def test_agrees_with_clean_fid() -> None:
    from cleanfid.fid import frechet_distance as clean_fid

    real, fake = features(300, 64, seed=17), features(200, 64, seed=18, shift=0.1)
    a, b = feature_stats(real), feature_stats(fake)
    assert frechet_distance(real, fake) == pytest.approx(clean_fid(a.mean, a.cov, b.mean, b.cov), rel=1e-9)


@pytest.mark.parametrize(("n_real", "n_fake"), [(40, 40), (200, 40), (40, 200)])
def test_both_forms_agree_when_images_are_few(n_real: int, n_fake: int) -> None:
    real, fake = features(n_real, 64, seed=9), features(n_fake, 64, seed=10, shift=0.3)
    direct = frechet_distance(real, fake)  # nuclear norm of the features
    assert direct == pytest.approx(frechet_from_stats(feature_stats(real), feature_stats(fake)), rel=1e-6)


@pytest.mark.parametrize("n", [40, 200])
def test_symmetric_and_blind_to_order(n: int) -> None:
    real, fake = features(n, 64, seed=11), features(n, 64, seed=12, shift=0.2)
    value = frechet_distance(real, fake)
    assert frechet_distance(fake, real) == pytest.approx(value, rel=1e-7)
    assert frechet_distance(real[::-1], fake) == pytest.approx(value, rel=1e-9)


def test_fewer_images_give_a_larger_value() -> None:
    rows = features(4000, 32, seed=13)
    assert frechet_distance(rows[:100], rows[100:200]) > 5 * frechet_distance(rows[:2000], rows[2000:])


def test_float32_tensors_are_computed_in_float64() -> None:
    real, fake = features(300, 32, seed=14).astype(np.float32), features(300, 32, seed=15).astype(np.float32)
    as_tensors = frechet_distance(torch.from_numpy(real), torch.from_numpy(fake))
    assert as_tensors == frechet_distance(real.astype(np.float64), fake.astype(np.float64))


def test_stats_are_those_of_numpy() -> None:
    rows = features(30, 5, seed=16)
    stats = feature_stats(rows)
    assert stats.n == 30
    np.testing.assert_allclose(stats.mean, rows.mean(0))
    np.testing.assert_allclose(stats.cov, np.cov(rows.T))


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.ones((4, 3)), np.ones((4, 2)), "3 .real. and 2 .fake. dimensions"),
        (np.ones((1, 3)), np.ones((4, 3)), "1 rows"),
        (np.ones((4, 3), dtype=np.uint8), np.ones((4, 3)), "dtype uint8"),
        (np.ones((4, 3, 1)), np.ones((4, 3)), "shape"),
        (np.full((4, 3), np.nan), np.ones((4, 3)), "NaN or infinity in 4 of 4 rows"),
        ([[1.0, 2.0]], np.ones((4, 3)), "list given"),
    ],
)
def test_bad_features_are_refused_by_name(real: np.ndarray, fake: np.ndarray, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        frechet_distance(real, fake)


def test_stats_of_other_dimensions_are_refused() -> None:
    with pytest.raises(MetricError, match="dimensions"):
        frechet_from_stats(feature_stats(np.eye(4)), feature_stats(np.eye(3)))
