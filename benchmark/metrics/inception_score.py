"""Inception score (Salimans et al., 2016): are single images classified surely, and all classes used?

Called IS only with Inception's logits; the same formula with another classifier is a classifier score (CS).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.special

from benchmark.metrics.checks import Array, Float64, MetricError, float_rows
from benchmark.metrics.sets import FeatureSets, SetNumber

IS_SPLITS_FROM = 10_000  # images: fewer are scored in one split, because ten would be of a few classes each


class Score(NamedTuple):
    """Mean and spread (divisor: number of splits) of the score over splits."""

    mean: float
    std: float  # 0 with one split; NOT an error bar of the mean


def inception_score(logits: Array, splits: int = 10, seed: int = 2020) -> Score:
    """exp(E KL(p(y|x) || p(y))), the mean over `splits` equal parts of the shuffled rows. In [1, K], higher is better.

    logits: [N, K] floats before softmax, at least two rows a split. The value depends on N and on `splits` (fewer
    images in a split give a lower score), so both belong to the number. seed: of the shuffle; 2020 is torch-fidelity's.
    Source: Salimans et al., 2016, sec. 4; splits and shuffle as torch-fidelity's `isc_features_to_metric`.
    Raises MetricError for wrong dtype or shape, NaN, fewer than two classes, or too few rows for the splits.
    """
    if splits < 1:
        raise MetricError(f"inception score: splits = {splits}", "there is at least one part", "use 1 or 10")
    rows = float_rows("logits", logits, min_rows=2 * splits)
    n, n_classes = rows.shape
    if n_classes < 2:
        raise MetricError("logits: one class", "with one class every score is 1", "use a classifier of several classes")
    # The legacy generator on purpose: its permutation is part of torch-fidelity's published protocol.
    rows = rows[np.random.RandomState(seed).permutation(n)]
    p = scipy.special.softmax(rows, axis=1)
    scores = [_score(p[i * n // splits : (i + 1) * n // splits]) for i in range(splits)]
    return Score(float(np.mean(scores)), float(np.std(scores)))


def of_sets(sets: FeatureSets) -> dict[str, SetNumber]:
    """The score of the generated images, by the stem of its id; nothing of an extractor without logits."""
    if sets.logits is None:
        return {}
    splits = sets.settings.splits or (10 if len(sets.fake) >= IS_SPLITS_FROM else 1)
    score = inception_score(sets.logits, splits=splits)
    return {"score": SetNumber(score.mean, {"splits": splits}, {"std_over_splits": score.std})}


def _score(p: Float64) -> float:
    """exp(H(mean of p) - mean of H(p)) of one split [n, K]: the mutual-information form of the mean KL divergence."""
    entropy_of_mean = scipy.special.entr(p.mean(axis=0)).sum()
    mean_entropy = scipy.special.entr(p).sum(axis=1).mean()
    return float(np.exp(entropy_of_mean - mean_entropy))
