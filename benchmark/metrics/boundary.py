"""Boundary accuracy: do latents with and without an attribute lie on two sides of a plane?

Source: Shen, Gu, Tang, Zhou, "Interpreting the Latent Space of GANs for Semantic Face Editing" (CVPR 2020), sec. 3 and
4.2 (InterFaceGAN): a linear SVM on the latents with the most extreme scores. Three accuracies come of it, which differ
by tens of points and are never to be mixed: on held-out extremes, and on all other latents with labels by one threshold
or another. Patel et al., "LT-GAN" (WACV 2021) print the one with the midpoint threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmark.metrics.checks import Array, Float64, Int64, MetricError, as_numpy, float_rows

if TYPE_CHECKING:
    from sklearn.svm import LinearSVC

CHUNK = 16_384  # latents read at once: 500,000 of 512 numbers would be 2 GB in float64
MIN_PER_SIDE = 4  # extremes of one side: fewer cannot be split


@dataclass(frozen=True)
class SideAccuracy:
    """How often the boundary puts a latent on the side of its label; all in [0, 1]."""

    accuracy: float
    balanced: float  # mean of the accuracies of the two labels; chance is 0.5 whatever their shares
    majority: float  # share of the more frequent label: what a constant answer scores as `accuracy`
    n: int


@dataclass(frozen=True)
class Boundary:
    """A plane between high and low scores, and three accuracies of it that are no substitutes for one another.

    An accuracy is None where its labels are all the same: any constant answer would be right.
    """

    normal: Float64  # [d], unit length, towards higher scores
    intercept: float  # the score of a latent z is taken for high where <normal, z> + intercept > 0
    held_out: SideAccuracy  # extremes that were not trained on: the easiest of the three
    remaining_midpoint: SideAccuracy | None  # all other latents, high: above the midpoint; LT-GAN's number
    remaining_zero: SideAccuracy | None  # all other latents, high: a score above 0, the classifier's own decision
    midpoint: float  # (highest + lowest score of all) / 2
    n_train: int


def boundary_accuracy(
    z: Array, scores: Array, share: float = 0.02, train_share: float = 0.7, seed: int = 0
) -> Boundary:
    """Accuracy of a linear boundary in latent space between high and low scores. In [0, 1], higher is better.

    z: latents [N, d] floats. scores: of the images made from them, [N] floats, by a classifier before its sigmoid.
    share: of all latents, taken from each end of the scores, in (0, 0.5). train_share: of the extremes, to train on.
    seed: of that split; the same ranks of both ends are drawn, so that scores of the opposite sign turn the normal
    round and change nothing else. A threshold far from the middle makes one label rare: read `accuracy` with
    `majority`, or read `balanced`. The midpoint hangs on two images only: for scores that are a plane's own, of 10,000
    normal latents, chance moved it by a third of their standard deviation and the accuracy from 0.99 to 0.86.
    Source: InterFaceGAN (Shen et al., 2020); there and in LT-GAN 500,000 latents, 10,000 from each end, 14,000 to train
    on. LT-GAN's threshold for the other latents is the midpoint of the highest and the lowest score, not 0 and not the
    median. Ours: liblinear's squared hinge (C = 1, primal) in place of a kernel solver, which takes fifty times as long
    for the same accuracy; balanced accuracies and majority rates.
    Raises MetricError for wrong dtype or shape, NaN, shares out of range, too few latents, scores whose two ends are
    not apart, or latents in which no plane can be found.
    """
    codes, values = _checked(z, scores)
    low, high = _extremes(values, share)
    train, held_out = _split(len(low), train_share, seed)
    svm = _fit(codes, low[train], high[train])
    length = float(np.linalg.norm(svm.coef_))
    normal, intercept = svm.coef_[0] / length, float(svm.intercept_[0]) / length
    predicted = _above(codes, normal, intercept)  # [N]
    remaining = np.setdiff1d(np.arange(len(values)), np.concatenate([low, high]))
    ends = np.concatenate([low[held_out], high[held_out]])
    held_out_accuracy = _agreement(predicted[ends], np.repeat([False, True], len(held_out)))
    assert held_out_accuracy is not None  # both labels are there, equally often
    midpoint = float(values.min() / 2 + values.max() / 2)
    return Boundary(
        normal=normal,
        intercept=intercept,
        held_out=held_out_accuracy,
        remaining_midpoint=_agreement(predicted[remaining], values[remaining] > midpoint),
        remaining_zero=_agreement(predicted[remaining], values[remaining] > 0),
        midpoint=midpoint,
        n_train=2 * len(train),
    )


def _checked(z: Array, scores: Array) -> tuple[np.ndarray, Float64]:
    """Latents [N, d], in their own precision, and scores [N] as float64."""
    values = as_numpy("scores", scores)
    if values.ndim != 1:
        raise MetricError(f"scores: shape {list(values.shape)}", "[N] is needed: one attribute's score for each latent")
    column = float_rows("scores", values[:, None])[:, 0]
    codes = as_numpy("latents", z)
    if codes.ndim != 2:
        raise MetricError(f"latents: shape {list(codes.shape)}", "[N, d] is needed: a row for each image")
    if len(codes) != len(column):
        raise MetricError(f"{len(codes)} latents and {len(column)} scores", "each latent has one score")
    for start in range(0, len(codes), CHUNK):
        float_rows("latents", codes[start : start + CHUNK], min_rows=1)
    return codes, column


def _extremes(scores: Float64, share: float) -> tuple[Int64, Int64]:
    """Rows of the lowest and of the highest scores, [k] each, the most extreme first."""
    if not 0 < share < 0.5:
        raise MetricError(f"share = {share:g}", "each end's share lies between 0 and 0.5", "use 0.02")
    k = int(share * len(scores) + 1e-9)  # 0.29 * 100 is 28.999...
    if k < MIN_PER_SIDE or len(scores) - 2 * k < 2:
        raise MetricError(
            f"{k} of {len(scores)} latents from each end of the scores",
            f"at least {MIN_PER_SIDE} are needed, and two or more that remain",
            "draw more latents, or change the share",
        )
    order = np.argsort(scores, kind="stable")
    low, high = order[:k], order[::-1][:k]
    if scores[low[-1]] >= scores[high[-1]]:
        raise MetricError(
            f"scores: the lowest {k} reach up to the highest {k}, {scores[high[-1]]:g}",
            "too many images have the same score: the two ends are not apart",
            "score with the classifier's logits, not with its decisions",
        )
    return low, high


def _split(k: int, train_share: float, seed: int) -> tuple[Int64, Int64]:
    """Ranks for training and held-out ranks, both of [0, k); one draw for both ends."""
    n_train = round(train_share * k)
    if not 0 < n_train < k:
        raise MetricError(
            f"train_share = {train_share:g}: {n_train} of {k} extremes to train on",
            "both parts need one at least from each end",
            "use 0.7",
        )
    ranks = np.random.default_rng(seed).permutation(k)
    return ranks[:n_train], ranks[n_train:]


def _fit(codes: np.ndarray, low: Int64, high: Int64) -> LinearSVC:
    from sklearn.svm import LinearSVC  # a second to import, and only this needs it

    rows = codes[np.concatenate([low, high])].astype(np.float64)
    labels = np.repeat([0, 1], [len(low), len(high)])
    svm = LinearSVC(dual=False, C=1.0, max_iter=10_000).fit(rows, labels)
    if not np.linalg.norm(svm.coef_) > 0:
        raise MetricError("latents: no boundary", "the extremes of both ends have the same latents", "check z")
    return svm


def _above(codes: np.ndarray, normal: Float64, intercept: float) -> np.ndarray:
    """On which side each latent lies, [N] booleans."""
    parts = [codes[i : i + CHUNK].astype(np.float64) @ normal for i in range(0, len(codes), CHUNK)]
    return np.concatenate(parts) + intercept > 0


def _agreement(predicted: np.ndarray, label: np.ndarray) -> SideAccuracy | None:
    share = float(label.mean())
    if share in (0.0, 1.0):
        return None
    right = predicted == label
    balanced = (right[label].mean() + right[~label].mean()) / 2
    return SideAccuracy(float(right.mean()), float(balanced), max(share, 1 - share), len(label))
