"""Frechet distance: closed forms, torch-fidelity, both sides of the rule n < d."""

from __future__ import annotations

import inspect
import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from benchmark.metrics import frechet as module
from benchmark.metrics.checks import MetricError
from benchmark.metrics.frechet import (
    FeatureStats,
    feature_stats,
    frechet_distance,
    frechet_from_stats,
    intra_class_fd,
)


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


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_stats_in_chunks_are_those_of_the_whole(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = features(300, 40, seed=19, shift=3.0)
    monkeypatch.setattr(module, "CHUNK_ROWS", chunk)
    stats, cov = feature_stats(rows), np.cov(rows, rowvar=False)
    np.testing.assert_array_equal(stats.mean, rows.mean(axis=0))
    np.testing.assert_allclose(stats.cov, cov, rtol=1e-12, atol=1e-14 * np.abs(cov).max())
    assert not np.allclose(stats.cov, np.cov(rows, rowvar=False, ddof=0), rtol=1e-4)  # divided by n, it would show


def test_stats_need_no_second_copy_of_the_features() -> None:
    rows = features(20_000, 64, seed=20)  # 10 MB
    tracemalloc.start()
    feature_stats(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes / 2


def class_case() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Three classes: 0 generated well, 1 with a shift of 1 in each of 6 dimensions, 2 without any generated image."""
    rng = np.random.default_rng(21)
    real_y, fake_y = rng.integers(3, size=900), rng.integers(2, size=700)
    real = rng.normal(size=(900, 6)) + 10 * real_y[:, None]
    fake = rng.normal(size=(700, 6)) + 11 * fake_y[:, None]
    return real, real_y, fake, fake_y


def test_intra_class_is_the_mean_over_classes_and_lists_what_is_missing() -> None:
    real, real_y, fake, fake_y = class_case()
    found = intra_class_fd(real, real_y, fake, torch.from_numpy(fake_y))
    alone = [frechet_distance(real[real_y == c], fake[fake_y == c]) for c in (0, 1)]
    assert found.per_class == {0: alone[0], 1: alone[1]}
    assert found.mean == pytest.approx(np.mean(alone), rel=1e-12)
    assert found.missing == (2,)
    assert found.n_images == {c: ((real_y == c).sum(), (fake_y == c).sum()) for c in range(3)}
    assert found.per_class[0] < 0.2
    assert found.per_class[1] == pytest.approx(6, rel=0.2)
    assert found.mean != pytest.approx(sum(alone), rel=0.1)  # a sum would show
    swapped = intra_class_fd(real, real_y, fake, 1 - fake_y)
    assert swapped.mean > 100 * found.mean  # images of the wrong class, which the plain distance cannot see


def test_classes_with_too_few_images_are_missing_whichever_side_lacks_them() -> None:
    real, fake = features(60, 4, seed=22), features(50, 4, seed=23)
    real_y, fake_y = np.repeat([0, 1, 2], [30, 29, 1]), np.repeat([0, 2, 5], [10, 38, 2])
    found = intra_class_fd(real, real_y, fake, fake_y)
    assert (list(found.per_class), found.missing) == ([0], (1, 2, 5))
    assert found.n_images == {0: (30, 10), 1: (29, 0), 2: (1, 38), 5: (0, 2)}
    with pytest.raises(MetricError, match="none of 4 classes has 11 real"):
        intra_class_fd(real, real_y, fake, fake_y, min_images=11)


@pytest.mark.parametrize(
    ("real_y", "fake_y", "options", "message"),
    [
        (np.zeros(9, int), np.zeros(9, int), {}, "one class"),
        (np.zeros(9), np.zeros(9, int), {}, "real labels: float64"),
        (np.zeros(9, int), np.zeros(8, int), {}, "fake labels: int64 .8."),
        (np.zeros((9, 2), int), np.zeros(9, int), {}, "real labels"),
        (np.arange(9) % 2 - 1, np.arange(9) % 2, {}, "real labels"),
        (np.arange(9) % 2, np.arange(9) % 2, {"min_images": 1}, "min_images = 1"),
        (np.zeros(9, int), np.ones(9, int), {}, "none of 2 classes"),
        ([0] * 9, np.ones(9, int), {}, "list given"),
    ],
)
def test_bad_classes_are_named(real_y: np.ndarray, fake_y: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        intra_class_fd(features(9, 3, seed=0), real_y, features(9, 3, seed=1), fake_y, **options)


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
    with pytest.raises(MetricError, match=message):
        intra_class_fd(real, np.arange(4) % 2, fake, np.arange(4) % 2)


@pytest.mark.parametrize("rows", [np.ones((1, 3)), np.ones((4, 3), int), np.ones(4), np.full((4, 3), np.inf)])
def test_stats_of_bad_features_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(MetricError, match="features"):
        feature_stats(rows)


def test_stats_of_other_dimensions_are_refused() -> None:
    with pytest.raises(MetricError, match="dimensions"):
        frechet_from_stats(feature_stats(np.eye(4)), feature_stats(np.eye(3)))
