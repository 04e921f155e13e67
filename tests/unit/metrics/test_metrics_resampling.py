"""Half-sampling and FD at infinity: closed forms, the truth of known Gaussians, and that a wrong one is caught."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.metrics import resampling as module
from benchmark.metrics.checks import MetricError
from benchmark.metrics.frechet import feature_stats, frechet_distance, frechet_from_stats
from benchmark.metrics.prdc import prdc
from benchmark.metrics.resampling import Extrapolation, fd_at_infinity, half_samples, half_sampling_sd


def points(n: int, d: int = 8, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(n, d))


REAL, FAKE = points(300, seed=1), points(200, seed=2, scale=1.2)
N_LAST = module.N_SIZES - 1


def mean_of_first(real: np.ndarray, fake: np.ndarray) -> float:
    return float(fake[:, 0].mean())


# ---- half-sampling --------------------------------------------------------------------------------------------------


def test_of_a_mean_it_is_the_textbook_error() -> None:
    """The variance of the mean of a half, drawn without replacement from the whole, is that of the whole: s^2 / n."""
    found = half_sampling_sd(mean_of_first, REAL, FAKE, draws=4000)
    assert found == pytest.approx(FAKE[:, 0].std(ddof=1) / np.sqrt(len(FAKE)), rel=0.04)


@pytest.mark.parametrize(("replace", "part"), [(True, 2), (False, 4), (False, 1.2)])
def test_another_drawing_is_caught(replace: bool, part: float) -> None:
    """With replacement the sd is 1.41 times as large, from quarters 1.73 times, from 5 of 6 parts 0.45 times."""
    rng, n = np.random.default_rng(0), len(FAKE)
    values = [FAKE[rng.choice(n, int(n / part), replace=replace), 0].mean() for _ in range(4000)]
    assert np.std(values, ddof=1) != pytest.approx(FAKE[:, 0].std(ddof=1) / np.sqrt(n), rel=0.3)


def test_of_the_frechet_distance_it_is_the_spread_over_samplings() -> None:
    real = points(2000, seed=3)
    many = [frechet_distance(real, points(400, seed=100 + i, scale=1.2)) for i in range(150)]
    found = [half_sampling_sd(frechet_distance, real, points(400, seed=100 + i, scale=1.2), draws=60) for i in range(5)]
    assert np.mean(found) == pytest.approx(np.std(many, ddof=1), rel=0.25)


def test_halves_are_halves_of_the_generated_images_and_the_real_ones_stay() -> None:
    fake = np.arange(22.0).reshape(11, 2)
    seen = half_samples(lambda real, half: (real, half), REAL, torch.from_numpy(fake), draws=30)
    assert len(seen) == 30
    assert all(real is REAL for real, _ in seen)
    for _, half in seen:
        rows = (half[:, 0] / 2).astype(int)
        assert len(set(rows.tolist())) == 5  # none twice
        np.testing.assert_array_equal(half, fake[rows])
        assert (np.diff(rows) > 0).all()
    assert len({half.tobytes() for _, half in seen}) > 20


def test_the_seed_decides() -> None:
    first = half_sampling_sd(frechet_distance, REAL, FAKE, draws=5)
    assert first == half_sampling_sd(frechet_distance, REAL, FAKE, draws=5, seed=0)
    assert first != half_sampling_sd(frechet_distance, REAL, FAKE, draws=5, seed=1)


def test_metrics_of_many_numbers() -> None:
    found = half_samples(prdc, REAL, FAKE, draws=6)
    alone = half_sampling_sd(lambda real, fake: prdc(real, fake).recall, REAL, FAKE, draws=6)
    assert np.std([one.recall for one in found], ddof=1) == alone > 0


def test_a_bar_is_shown_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    half_sampling_sd(mean_of_first, REAL, FAKE)
    assert capsys.readouterr().err == ""
    half_sampling_sd(mean_of_first, REAL, FAKE, progress=True)
    assert "half-sampling" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fake", "options", "what"),
    [
        (points(3), {}, "3 rows"),
        (points(9).astype(int), {}, "dtype"),
        (points(9)[0], {}, "shape"),
        (np.full((9, 8), np.nan), {}, "NaN"),
        (points(9), {"draws": 1}, "1 draws"),
    ],
)
def test_bad_input_is_named(fake: np.ndarray, options: dict, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        half_sampling_sd(mean_of_first, REAL, fake, **options)
    with pytest.raises(MetricError, match=what):
        half_samples(mean_of_first, REAL, fake, **options)


@pytest.mark.parametrize("value", [float("nan"), (1.0, 2.0)])
def test_a_metric_without_a_number_is_named(value: object) -> None:
    with pytest.raises(MetricError, match="no finite number"):
        half_sampling_sd(lambda real, fake: value, REAL, FAKE)  # type: ignore[arg-type,return-value]


def test_what_the_metric_refuses_is_handed_on() -> None:
    with pytest.raises(MetricError, match="dimensions"):
        half_sampling_sd(frechet_distance, points(9, 3), FAKE)


# ---- FD at infinity -------------------------------------------------------------------------------------------------

TRUTH = 16 * (0.3**2)  # |m|^2 = 0; 16 dimensions of sd 1 against 1.3


def known_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Real features with mean 0 and covariance 1 exactly, so that only the generated side has a bias."""
    real = points(4000, 16, seed=1000 + seed)
    real -= real.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(real.T))
    return real @ (vectors / np.sqrt(values)) @ vectors.T, points(600, 16, seed=seed, scale=1.3)


def check(function: type | object) -> None:
    """Over ten samplings it is nearer to the truth than the distance at full n, and has no bias to speak of."""
    plain, found = [], []
    for seed in range(10):
        real, fake = known_pair(seed)
        plain.append(frechet_distance(real, fake))
        found.append(function(real, fake, seed=seed).value)  # type: ignore[operator]
    off, off_plain = np.abs(np.mean(found) - TRUTH), np.abs(np.mean(plain) - TRUTH)
    assert off < off_plain / 2, "nearer to the truth"
    assert off < 3 * np.std(found, ddof=1) / np.sqrt(10), "without bias"


def test_it_is_nearer_to_the_truth_than_the_distance_at_full_n() -> None:
    check(fd_at_infinity)


def test_a_line_in_n_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Numpy:
        """numpy whose polyfit gets n in place of 1/n."""

        @staticmethod
        def polyfit(x: np.ndarray, y: list[float], deg: int) -> np.ndarray:
            return np.polyfit(1 / x, y, deg)

        def __getattr__(self, name: str) -> object:
            return getattr(np, name)

    monkeypatch.setattr(module, "np", Numpy())
    with pytest.raises(AssertionError, match="nearer"):
        check(fd_at_infinity)


def test_the_line_is_that_of_the_distances() -> None:
    real, fake = known_pair(0)
    found = fd_at_infinity(real, fake, sizes=(100, 200, 600), seed=3)
    assert isinstance(found, Extrapolation)
    assert (found.sizes, found.n_real, found.seed) == ((100, 200, 600), 4000, 3)
    assert found.distances[2] == pytest.approx(frechet_distance(real, fake), rel=1e-9)  # all of them, in another order
    line = np.linalg.lstsq(
        np.stack([np.ones(3), 1 / np.array(found.sizes)], axis=1), np.array(found.distances), rcond=None
    )
    assert (found.value, found.slope) == pytest.approx(tuple(line[0]), rel=1e-9)
    assert found.residual_sd == pytest.approx(np.sqrt(line[1].sum()), rel=1e-6)  # one degree of freedom
    assert found.slope > 0


def test_default_sizes_reach_from_a_tenth_to_all_and_stay_above_d() -> None:
    assert fd_at_infinity(REAL, points(400, 8)).sizes[::N_LAST] == (40, 400)
    assert fd_at_infinity(REAL, points(60, 8)).sizes[::N_LAST] == (9, 60)
    assert len(fd_at_infinity(REAL, points(400, 8)).sizes) == 15


def test_it_is_reproducible() -> None:
    real, fake = known_pair(1)
    first = fd_at_infinity(real, fake, seed=5)
    assert first == fd_at_infinity(torch.from_numpy(real), fake.copy(), seed=5)
    assert first.value != fd_at_infinity(real, fake, seed=6).value


def test_exact_statistics_on_a_line_give_the_intercept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distances made to lie on 2 + 30 / n."""
    monkeypatch.setattr(module, "frechet_from_stats", lambda real, fake: 2 + 30 / fake.n)
    found = fd_at_infinity(REAL, FAKE)
    assert (found.value, found.slope) == pytest.approx((2, 30), rel=1e-9)
    assert found.residual_sd < 1e-9


@pytest.mark.parametrize(
    ("real", "fake", "options", "what"),
    [
        (points(50, 3), points(50, 4), {}, "dimensions"),
        (points(50).astype(int), points(50), {}, "dtype"),
        (points(50)[0], points(50), {}, "shape"),
        (points(50), np.full((50, 8), np.nan), {}, "NaN"),
        (points(1), points(50), {}, "1 rows"),
        (points(50), points(8), {}, "each between 9 and 8"),
        (points(50), points(10), {}, "three different sizes"),
        (points(50), points(50), {"sizes": (20, 50, 20)}, "three different sizes"),
        (points(50), points(50), {"sizes": (8, 20, 50)}, "between 9 and 50"),
        (points(50), points(50), {"sizes": (10, 20, 51)}, "between 9 and 50"),
    ],
)
def test_bad_extrapolations_are_named(real: np.ndarray, fake: np.ndarray, options: dict, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        fd_at_infinity(real, fake, **options)


def test_a_bar_of_sizes_is_shown_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    fd_at_infinity(REAL, FAKE)
    assert capsys.readouterr().err == ""
    fd_at_infinity(REAL, FAKE, progress=True)
    assert "FD at infinity" in capsys.readouterr().err


def test_statistics_of_a_size_are_those_of_that_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        module, "frechet_from_stats", lambda real, fake: seen.append((real.n, fake.n)) or frechet_from_stats(real, fake)
    )
    fd_at_infinity(REAL, FAKE, sizes=(50, 100, 150))
    assert seen == [(300, 50), (300, 100), (300, 150)]
    assert feature_stats(REAL).n == 300
