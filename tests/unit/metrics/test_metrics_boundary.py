"""Boundary accuracy: linear scores, three thresholds that must not be mixed, and that mixing them is caught."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.svm import SVC

import benchmark.metrics.boundary
from benchmark.metrics.boundary import boundary_accuracy
from benchmark.metrics.checks import MetricError

N, D = 10_000, 16
HALF = np.random.default_rng(0).normal(size=(N // 2, D)).astype(np.float32)
Z = np.concatenate([HALF, -HALF])  # the midpoint of a linear score is 0 for these, which it is not for most draws
W = np.random.default_rng(1).normal(size=D)
W /= np.linalg.norm(W)
S = Z @ W
SKEWED = np.exp(S / 8) - 0.92  # midpoint, median and 0 lie at about S = 0.9, 0 and -0.7


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def check_linear_score() -> None:
    found = boundary_accuracy(Z, S)
    assert cosine(found.normal, W) >= 0.9, "direction"
    assert np.linalg.norm(found.normal) == pytest.approx(1)
    assert found.held_out.accuracy > 0.99
    for remaining in (found.remaining_midpoint, found.remaining_zero):
        assert remaining is not None
        assert remaining.accuracy >= 0.95, "remaining"
        assert remaining.n == N - 2 * 200
        assert 0.5 <= remaining.majority < 0.6
    assert (found.n_train, found.held_out.n, found.held_out.majority) == (280, 120, 0.5)


def check_thresholds() -> None:
    """Expected values by hand from the boundary's own answers."""
    found = boundary_accuracy(Z, SKEWED)
    answers = Z.astype(np.float64) @ found.normal + found.intercept > 0
    order = np.argsort(SKEWED, kind="stable")
    rest = order[200:-200]
    midpoint = (SKEWED.max() + SKEWED.min()) / 2
    for got, threshold in ((found.remaining_midpoint, midpoint), (found.remaining_zero, 0.0)):
        assert got is not None
        truth = SKEWED[rest] > threshold
        assert got.accuracy == pytest.approx((answers[rest] == truth).mean()), "threshold"
        assert got.balanced == pytest.approx(balanced_accuracy_score(truth, answers[rest])), "balanced"
        assert got.majority == pytest.approx(max(truth.mean(), 1 - truth.mean()))
    assert found.midpoint == pytest.approx(midpoint)


def test_a_linear_score_is_found() -> None:
    check_linear_score()


def test_a_skewed_score_tells_the_thresholds_apart() -> None:
    check_thresholds()
    middle = (SKEWED.max() + SKEWED.min()) / 2
    shares = [(t < SKEWED).mean() for t in (middle, np.median(SKEWED), 0.0)]
    assert shares[0] < 0.25 < 0.45 < shares[1] < 0.55 < 0.7 < shares[2], "the three label differently"
    found = boundary_accuracy(Z, SKEWED)
    assert found.remaining_midpoint is not None
    assert found.remaining_zero is not None
    assert abs(found.remaining_midpoint.accuracy - found.remaining_zero.accuracy) > 0.1


def test_the_midpoint_hangs_on_the_two_most_extreme_images() -> None:
    """Why a plane's own score can be far below 1 at the midpoint, and above it at 0."""
    outlier = np.where(np.arange(N) == S.argmax(), S.max() + 1, S)
    found = boundary_accuracy(Z, outlier)
    assert found.midpoint == pytest.approx(0.5)
    assert found.remaining_midpoint is not None
    assert found.remaining_zero is not None
    assert found.remaining_midpoint.accuracy < 0.85
    assert found.remaining_zero.accuracy > 0.95


def test_an_attribute_that_is_not_in_the_latents_gives_chance() -> None:
    noise = np.random.default_rng(2).normal(size=N)
    found = boundary_accuracy(Z, noise)
    assert found.remaining_zero is not None
    assert 0.35 < found.held_out.accuracy < 0.65
    assert 0.48 < found.remaining_zero.balanced < 0.52
    assert abs(cosine(found.normal, W)) < 0.7


def test_noise_in_the_scores_leaves_the_extremes_easier_than_the_rest() -> None:
    found = boundary_accuracy(Z, S + np.random.default_rng(3).normal(size=N))
    assert found.remaining_zero is not None
    assert found.held_out.accuracy > found.remaining_zero.accuracy + 0.1


@pytest.mark.parametrize("scores", [S, SKEWED])
def test_scores_of_the_opposite_sign_turn_the_normal_round(scores: np.ndarray) -> None:
    one, other = boundary_accuracy(Z, scores), boundary_accuracy(Z, -scores)
    assert other.normal == pytest.approx(-one.normal, abs=1e-6)
    assert other.intercept == pytest.approx(-one.intercept, abs=1e-6)
    assert one.remaining_midpoint is not None
    assert other.remaining_midpoint is not None
    assert other.held_out.accuracy == one.held_out.accuracy
    assert other.remaining_midpoint.accuracy == pytest.approx(one.remaining_midpoint.accuracy, abs=1e-3)
    assert other.midpoint == -one.midpoint


def test_a_kernel_solver_finds_the_same_plane() -> None:
    """InterFaceGAN's own: hinge, not squared hinge."""
    low, high = np.argsort(S)[:200], np.argsort(S)[-200:]
    rows, labels = Z[np.concatenate([low, high])], np.repeat([0, 1], 200)
    other = SVC(kernel="linear", C=1).fit(rows, labels).coef_[0]
    assert cosine(boundary_accuracy(Z, S, train_share=0.99).normal, other) > 0.97


def test_the_size_of_a_chunk_and_the_kind_of_array_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = boundary_accuracy(Z, S)
    monkeypatch.setattr(benchmark.metrics.boundary, "CHUNK", 777)
    other = boundary_accuracy(torch.tensor(Z), torch.tensor(S))
    assert (one.normal == other.normal).all()
    assert (one.held_out, one.remaining_midpoint, one.remaining_zero) == (
        other.held_out,
        other.remaining_midpoint,
        other.remaining_zero,
    )


def test_the_seed_draws_the_split() -> None:
    assert (boundary_accuracy(Z, S, seed=0).normal == boundary_accuracy(Z, S, seed=0).normal).all()
    assert (boundary_accuracy(Z, S, seed=0).normal != boundary_accuracy(Z, S, seed=1).normal).any()


def test_labels_of_one_kind_have_no_accuracy() -> None:
    found = boundary_accuracy(Z, np.exp(S / 8))  # all above 0
    assert found.remaining_zero is None
    assert found.remaining_midpoint is not None


def test_wrong_metrics_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    module = benchmark.metrics.boundary
    extremes, agreement = module._extremes, module._agreement
    with monkeypatch.context() as patch:  # the two ends swapped
        patch.setattr(module, "_extremes", lambda *a: extremes(*a)[::-1])
        with pytest.raises(AssertionError, match="direction"):
            check_linear_score()
    with monkeypatch.context() as patch:  # labels by the median in place of either threshold
        patch.setattr(module, "_agreement", lambda p, y: agreement(p, y if y.mean() == 0.5 else median_labels()))
        with pytest.raises(AssertionError, match="threshold"):
            check_thresholds()
    with monkeypatch.context() as patch:  # the remaining latents scored as the extremes are
        patch.setattr(module.np, "setdiff1d", lambda rows, ends: ends)
        with pytest.raises(AssertionError):
            check_thresholds()


def median_labels() -> np.ndarray:
    rest = np.sort(np.argsort(SKEWED, kind="stable")[200:-200])
    return SKEWED[rest] > np.median(SKEWED)


@pytest.mark.parametrize(
    ("z", "scores", "what"),
    [
        (Z.astype(int), S, "dtype"),
        (Z[:, 0], S, "shape"),
        (Z, Z, "shape"),
        (Z[:-1], S, "9999 latents and 10000 scores"),
        (Z, S.astype(int), "dtype"),
        (Z[:100], S[:100], "2 of 100 latents"),
        (np.where(np.arange(N)[:, None] == 7, np.nan, Z), S, "NaN"),
        (Z, np.where(np.arange(N) == 7, np.inf, S), "infinity"),
        (Z, np.ones(N), "not apart"),
        (Z, (np.arange(N) < 3) * 1.0, "not apart"),
        (np.zeros_like(Z), S, "no boundary"),
    ],
)
def test_what_is_refused(z: np.ndarray, scores: np.ndarray, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        boundary_accuracy(z, scores)


@pytest.mark.parametrize("share", [0.0, 0.5, -1.0, float("nan")])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(MetricError, match="share"):
        boundary_accuracy(Z, S, share=share)


@pytest.mark.parametrize("train_share", [0.0, 1.0, -1.0])
def test_a_split_without_a_part_is_refused(train_share: float) -> None:
    with pytest.raises(MetricError, match="train_share"):
        boundary_accuracy(Z, S, train_share=train_share)
