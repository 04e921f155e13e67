"""The statistics of the test of trained models, on arrays and numbers: limits of chance, margins, verdicts, powers.

Chance: with K baseline and k new values, standard deviation s of the baseline's, the means differ by more than

    h = t(1 - a / 2; K - 1) s sqrt(1 / K + 1 / k)

with probability a when nothing has changed. a comes from Holm's step-down over the m metrics, so that the probability
of any false alarm is at most 5 %. Distances are compared by their logarithms, shares by their logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import scipy.special
import scipy.stats

from benchmark.core.stats import Scale
from benchmark.metrics.catalogue import row_of

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Counts: TypeAlias = "int | np.ndarray[Any, Any]"

_QUANTILES = 4000  # of the sample variance, over which a power is averaged
MOST_SEEDS = 1000  # looked at for the number of seeds that would do


@dataclass(frozen=True)
class Settings:
    """What counts as a change."""

    family: float = 0.05  # probability of any false alarm, over all metrics
    relative: float = 0.05  # practical margin of distances and scores
    points: float = 0.01  # practical margin of shares
    nats: float = 0.01  # least practical margin of a KL divergence, which is near 0 for a good generator
    min_baseline: int = 5  # finished runs
    min_new: int = 3
    wide: float = 4.0  # margins; beyond this a limit decides nothing


def standard_error(sd: float | Floats, n_baseline: Counts, n_new: Counts) -> Floats:
    """Of the difference of the two means, when both kinds of run scatter with the same sd."""
    return np.asarray(sd * np.sqrt(1 / np.asarray(n_baseline) + 1 / np.asarray(n_new)))


def p_values(delta: Floats, sd: Floats, n_baseline: Counts, n_new: Counts) -> Floats:
    """Two-sided p of differences of means, Student's t with n_baseline - 1 degrees of freedom; any shape.

    With sd 0 a difference has p = 0, and none has p = 1.
    """
    error = standard_error(sd, n_baseline, n_new)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, np.abs(delta) / error, np.where(np.abs(delta) > 0, np.inf, 0.0))
    return np.asarray(2 * scipy.stats.t.sf(t, np.asarray(n_baseline) - 1))


def holm_levels(p: Floats, family: float) -> Floats:
    """The level each metric is tested at, [..., m] for p values [..., m].

    family / m for the smallest p, family / (m - 1) for the next, and so on until one is not below its level; from there
    on all have that level. A metric is told apart exactly where p <= level. Source: Holm, 1979.
    """
    m = p.shape[-1]
    order = np.argsort(p, axis=-1, kind="stable")
    steps = family / (m - np.arange(m))
    below = np.take_along_axis(p, order, axis=-1) <= steps
    n_below = np.cumprod(below, axis=-1).sum(axis=-1, keepdims=True)
    levels = np.empty_like(p)
    np.put_along_axis(levels, order, family / (m - np.minimum(np.arange(m), np.minimum(n_below, m - 1))), axis=-1)
    return levels


def limit(sd: float, level: float, n_baseline: int, n_new: int) -> float:
    """Half width h of the interval in which the difference of means lies by chance with probability 1 - level."""
    t = float(scipy.stats.t.ppf(1 - level / 2, n_baseline - 1))
    return t * float(standard_error(sd, n_baseline, n_new))


def power(shift: float, sd: float, margin: float, level: float, n_baseline: int, n_new: int) -> float:
    """Probability that a true worsening of the mean by `shift` is called REGRESSED, in [0, 1].

    That is P(d > max(h, margin)), d normal about the shift, h from a sample variance of n_baseline - 1 degrees of
    freedom. sd: the true one. Without margin it is the upper tail of the noncentral t.
    """
    error = float(standard_error(sd, n_baseline, n_new))
    if error == 0:
        return float(shift > margin)
    free = n_baseline - 1
    ratios = np.sqrt(scipy.stats.chi2.ppf((np.arange(_QUANTILES) + 0.5) / _QUANTILES, free) / free)  # s / sd
    h = float(scipy.stats.t.ppf(1 - level / 2, free)) * error * ratios
    return float(scipy.stats.norm.sf((np.maximum(h, margin) - shift) / error).mean())


def seeds_needed(
    sd: float, margin: float, level: float, n_baseline: int, n_new: int, wide: float = Settings.wide
) -> tuple[int, int] | None:
    """Numbers of baseline and of new runs with which h is at most `wide` margins, at this sd.

    The ones that take the fewest further runs of both kinds together, of several the fewest of the baseline. None when
    even a thousand of each would not do.
    """
    old, new = np.arange(max(n_baseline, 2), MOST_SEEDS + 1), np.arange(max(n_new, 1), MOST_SEEDS + 1)
    t = scipy.stats.t.ppf(1 - level / 2, old - 1)[:, None]
    enough = t * standard_error(sd, old[:, None], new) <= wide * margin  # [baseline runs, new runs]
    total = np.where(enough, old[:, None] + new, 3 * MOST_SEEDS)
    row, column = np.unravel_index(total.argmin(), total.shape)
    return (int(old[row]), int(new[column])) if enough[row, column] else None


def fisher_p(failed: int, done: int, old_failed: int, old_done: int) -> float:
    """One-sided p of failing more often than before."""
    return float(scipy.stats.fisher_exact([[failed, done], [old_failed, old_done]], alternative="greater").pvalue)


class DriftVerdict(StrEnum):
    """Of one metric; the docstring of `benchmark.drift.model_gate` says what each means."""

    PASS = "PASS"
    REGRESSED = "REGRESSED"
    IMPROVED = "IMPROVED"
    MOVED = "MOVED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INCOMPARABLE = "INCOMPARABLE"
    NO_BASELINE = "NO BASELINE"


def judge(delta: float, h: float, margin: float, wide: float = Settings.wide) -> DriftVerdict:
    """The verdict of one metric. delta: change in the bad direction; h: what chance allows; both on one scale."""
    if delta > h and delta > margin:
        return DriftVerdict.REGRESSED
    if -delta > h and -delta > margin:
        return DriftVerdict.IMPROVED
    return DriftVerdict.INCONCLUSIVE if h > wide * margin else DriftVerdict.PASS


def practical_margin(id: str, scale: Scale, centre: float, better: str, settings: Settings) -> float:
    """The smallest change that matters, on the metric's scale, at the baseline's mean `centre` on that scale.

    A relative change of a distance; a hundredth of a share, towards worse; of others a relative change of the mean.
    """
    least = settings.nats if row_of(id).unit == "nats" else 0.0
    if scale == "log":
        return math.log1p(max(settings.relative, least / math.exp(centre)))
    if scale == "logit":
        share = float(scipy.special.expit(centre))
        worse = max(share - settings.points, share / 2)
        if better == "lower":
            worse = min(share + settings.points, (1 + share) / 2)
        return abs(float(scipy.special.logit(worse)) - centre)
    return max(settings.relative * abs(centre), least)
