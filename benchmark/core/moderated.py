"""Are two rows of a table different? A test for few seeds, which borrows strength over the rows of the table.

With three seeds a row's own variance is hardly known: it may be ten times too small by chance, so a t test needs
differences that no method makes. The rows of a table are trained alike, so their variances are alike, too. The model of
Smyth (2004, eq. 2 to 4; limma) says how much:

    y_ij = mu_i + e_ij,   e_ij ~ N(0, sigma_i^2),   sigma_i^2 ~ d0 s0^2 / chi^2(d0)          row i, seed j

d0 says how alike the variances are, s0^2 how large. Smyth estimates both and goes on as if they were known. With the
few rows of a table they are not, so we average over what the observed variances leave possible: s0^2 has a flat prior
on the logarithm, d0 the weights `WEIGHTS` over `D0`, fixed by simulation (docs/statistics.md has the error rates).

The errors of all means are then drawn jointly. A family of comparisons is significant where it exceeds what the largest
of its errors reaches in 95 % of the draws. So p values and intervals agree, hold for the whole family, and need no
further correction. Source of the joint quantile: Westfall & Young (1993), single step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from scipy.special import gammaln
from scipy.stats import t as student_t

from benchmark.core.stats import CONFIDENCE

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

N_DRAWS = 20_000
MANY_ROWS = 30  # a longer table has fewer draws, so that its time does not grow
MOST_SEEDS = 50  # that are looked at for a decision
_Z_80 = 0.8416  # 80 % quantile of the normal distribution
# Prior degrees of freedom, the last for equal variances, and their weights. By trial: weight at both ends keeps the
# error rate nearly the same, whatever d0 is.
D0 = np.array([0.5, 1, 2, 4, 10, 30, 1e4])
WEIGHTS = np.array([0.45, 0.25, 0.05, 0.05, 0.05, 0.05, 0.1])
WEIGHTS_OF_TWO = np.array([0.35, 0.25, 0.03, 0.02, 0.02, 0.03, 0.3])  # where a row has one degree of freedom, or less
_SCALES = 48  # values of s0 that are looked at


@dataclass(frozen=True)
class Sample:
    """The values of one row, on the scale on which seeds scatter evenly."""

    mean: float
    variance: float  # of one value, with its degrees of freedom as divisor
    n: int  # seeds
    freedom: float  # degrees of freedom of the variance

    @classmethod
    def of(cls, values: Sequence[float] | Floats, least_variance: float = 0.0) -> Sample:
        """least_variance: of one value, known beforehand: the error of counting. Seeds that agree by luck have no less.

        Raises ValueError for fewer than two values, or one that is not finite.
        """
        rows = np.asarray(values, dtype=np.float64)
        if rows.size < 2 or not np.isfinite(rows).all():
            raise ValueError(f"a comparison needs two values, all finite; given {list(values)}")
        spread = float(rows.var(ddof=1)) if rows.min() < rows.max() else 0.0  # the mean of equal values may round away
        return cls(float(rows.mean()), max(spread, least_variance), rows.size, rows.size - 1.0)


@dataclass(frozen=True)
class Difference:
    """Row a less row b, within a family of comparisons; p and interval hold for the family as a whole."""

    a: int
    b: int
    difference: float
    low: float  # 95 % interval
    high: float
    p: float  # two-sided, at least 1 / (draws + 1)
    standard_error: float
    critical: float  # half the interval's width in standard errors


class Comparisons:
    """The rows of one table in one column, ready to be compared."""

    def __init__(
        self, samples: Sequence[Sample], n_draws: int | None = None, seed: int = 0, *, one_variance: bool = False
    ) -> None:
        """n_draws: of the errors; None: `N_DRAWS`, fewer for long tables.

        one_variance: the rows are two, paired by seed: what is left of them without the seeds' effect is equal but for
        the sign, so they have one variance between them, with the freedom of both.
        Raises ValueError where no row's seeds differ: without any scatter there is nothing to compare with.
        """
        self.means = np.array([s.mean for s in samples])
        self.n = np.array([s.n for s in samples], dtype=np.float64)
        self.s2, self.d = np.array([s.variance for s in samples]), np.array([s.freedom for s in samples])
        if not (self.s2 > 0).any():
            raise ValueError("no row has seeds that differ")
        self.d[self.s2 == 0] = 0  # seeds that agree to the last digit do not show that there is no variance
        rng = np.random.Generator(np.random.PCG64([seed, len(samples)]))
        n_draws = n_draws or N_DRAWS * MANY_ROWS // max(len(samples), MANY_ROWS)
        s2, d = (self.s2[:1], self.d.sum(keepdims=True)) if one_variance else (self.s2, self.d)
        self.prior = prior(s2, d)
        self.variances = np.broadcast_to(self.prior.moderate(s2, d), self.s2.shape)  # [R], of one value
        sigma2 = np.broadcast_to(self.prior.draw_variances(s2, d, n_draws, rng), (n_draws, len(samples)))
        self.errors = np.sqrt(sigma2 / self.n) * rng.standard_normal(sigma2.shape)  # [draws, R], of the means

    def standard_error(self, i: Any, j: Any) -> Any:
        """Of the difference of two means."""
        return np.sqrt(self.variances[i] / self.n[i] + self.variances[j] / self.n[j])

    def with_leader(self, leader: int) -> list[Difference]:
        """Every other row less the leader, which was chosen from these values as the best: lowest or highest mean.

        Being the best of many, it is so partly by luck. In each draw of errors, the row that luck alone makes the best
        is compared with all others; the larger of its errors and the leader's own counts.
        """
        others = [i for i in range(len(self.means)) if i != leader]
        sign = 1.0 if self.means[leader] <= self.means.mean() else -1.0
        return self._judge([(i, leader) for i in others], np.sort(self._luck(leader, sign)))

    def largest_error(self, pairs: Sequence[tuple[int, int]]) -> Floats:
        """The largest error of the differences of some pairs, in standard errors, [draws]."""
        largest = np.zeros(len(self.errors))
        for i, j in pairs:
            error = np.abs(self.errors[:, i] - self.errors[:, j]) / self.standard_error(i, j)
            np.maximum(largest, error, out=largest)
        return largest

    def _luck(self, leader: int, sign: float) -> Floats:
        """The largest error, in standard errors, of a comparison with the leader or with a leader by luck; [draws]."""
        errors, v = sign * self.errors, self.variances / self.n
        others = np.arange(len(self.means)) != leader
        own = (np.abs(errors - errors[:, [leader]]) / np.sqrt(v + v[leader]))[:, others].max(axis=1)
        best = errors.argmin(axis=1)
        ahead = errors - errors[np.arange(len(errors)), best][:, None]
        return np.asarray(np.maximum(own, (ahead / np.sqrt(v + v[best][:, None])).max(axis=1)))

    def _judge(self, pairs: Sequence[tuple[int, int]], order: Floats) -> list[Difference]:
        """Differences with the p and the interval that the family's largest errors give, sorted."""
        n, found = len(order), []
        # the smallest error with p < 5 %: the interval excludes 0 exactly where p is below
        critical = float(order[n - math.ceil((1 - CONFIDENCE) * (n + 1)) + 1])
        for i, j in pairs:
            error, delta = float(self.standard_error(i, j)), float(self.means[i] - self.means[j])
            above = n - int(np.searchsorted(order, abs(delta) / error, side="left"))
            half = critical * error
            found.append(Difference(i, j, delta, delta - half, delta + half, (above + 1) / (n + 1), error, critical))
        return found


def fixed_family(parts: Sequence[tuple[Comparisons, Sequence[tuple[int, int]]]]) -> list[list[Difference]]:
    """Comparisons that were fixed before the values were seen, of one or several columns: one family.

    parts: a column's rows and the pairs (a, b) among them. Give columns seeds of their own: their errors are taken as
    independent, which is a little stricter than is needed where they are alike.
    """
    if not parts:
        return []
    n = min(len(rows.errors) for rows, _ in parts)
    order = np.sort(np.max([rows.largest_error(pairs)[:n] for rows, pairs in parts], axis=0))
    return [rows._judge(pairs, order) for rows, pairs in parts]


def seeds_to_decide(one: Difference, rows: Comparisons, margin: float) -> int | None:
    """How many seeds of each row would probably decide a comparison; None where `MOST_SEEDS` would not.

    Probably: in four of five cases, if the rows' true difference and scatter are those seen. Decided means that the
    95 % interval excludes 0, or lies within the margin.
    """
    v_a, v_b = (float(rows.variances[i]) for i in (one.a, one.b))
    n_a, n_b = (int(rows.n[i]) for i in (one.a, one.b))
    n_now, size = min(n_a, n_b), abs(one.difference)
    freedom = rows.prior.freedom + n_now - 1
    level = student_t.sf(one.critical, freedom)  # of one side; stays that of the family, with more degrees of freedom
    for n in range(n_now + 1, MOST_SEEDS + 1):
        critical = student_t.isf(level, freedom + n - n_now)
        error = math.sqrt(v_a / max(n, n_a) + v_b / max(n, n_b))  # a row keeps the seeds that it has
        if size >= (critical + _Z_80) * error or margin - size >= (critical + _Z_80) * error:
            return n
    return None


# ---- the variances of a table's rows --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prior:
    """What the variances of all rows say of d0 and s0: how probable each pair of the grid is."""

    scales: Floats  # [S], values of s0^2
    log_likelihood: Floats  # [D, S], of the rows' variances, up to a constant
    two_seeds: bool = False  # whether a row's variance has one degree of freedom, or less: that of two seeds

    @cached_property
    def weights(self) -> Floats:
        """The probabilities [D, S] of d0 and s0^2."""
        trust = WEIGHTS_OF_TWO if self.two_seeds else WEIGHTS
        weights = np.exp(self.log_likelihood - self.log_likelihood.max()) * trust[:, None]
        return np.asarray(weights / weights.sum())

    @cached_property
    def freedom(self) -> float:
        """The median d0; 60 means 60 and more."""
        cumulative = np.cumsum(self.weights.sum(axis=1))
        return min(float(D0[np.searchsorted(cumulative, 0.5)]), 60.0)

    def moderate(self, s2: Floats, d: Floats) -> Floats:
        """The rows' variances [R] that standard errors are made of: the harmonic mean of what is possible.

        Any choice is valid, because the draws are measured by the same standard errors. All d0 count alike; with two
        seeds only the least, which trusts a row's own variance most: by trial, the error rate then depends least on
        what d0 is.
        s2: observed variances [R]. d: their degrees of freedom [R].
        """
        count = 1 if self.two_seeds else len(D0)
        logs = self.log_likelihood[:count]  # [D, S]
        weights = np.exp(logs - logs.max())
        d0, s02 = D0[:count, None, None], self.scales[None, :, None]
        precisions = (d0 + d) / (d0 * s02 + d * s2)  # [D, S, R]
        return np.asarray(weights.sum() / np.einsum("ds,dsr->r", weights, precisions))

    def draw_variances(self, s2: Floats, d: Floats, n_draws: int, rng: np.random.Generator) -> Floats:
        """The rows' variances as they may be, drawn jointly, [draws, R] (Smyth, 2004, eq. 3).

        s2: observed variances [R]. d: their degrees of freedom [R].
        """
        cumulative = np.cumsum(self.weights)
        at = (np.arange(n_draws) + rng.random()) / n_draws * cumulative[-1]  # evenly spread over the grid
        which = np.minimum(np.searchsorted(cumulative, at), self.weights.size - 1)
        row, column = np.unravel_index(which, self.weights.shape)
        d0, s02 = D0[row][:, None], self.scales[column][:, None]
        return np.asarray((d0 * s02 + d * s2) / (2 * rng.standard_gamma((d0 + d) / 2)))


def prior(s2: Floats, d: Floats) -> Prior:
    """The posterior of d0 and s0^2 given the rows' variances, each scaled F(d, d0) (Smyth, 2004, sec. 6.2).

    s2: observed variances [R]; rows without any scatter say nothing and are left out. d: degrees of freedom [R].
    """
    seen = s2 > 0
    s2, d = s2[seen], d[seen]
    logs = np.log(s2)
    # wide enough for d0 = 0.5 and few rows, and for a single one; the spread of the mean shrinks with their number
    reach = 2.5 + 4 * float(logs.std(ddof=1)) / math.sqrt(len(logs)) if len(logs) > 1 else 16.0
    scales = np.exp(np.median(logs) + np.linspace(-reach, reach, _SCALES))
    d0, s02 = D0[:, None, None], scales[None, :, None]
    each = gammaln((d + d0) / 2) - gammaln(d0 / 2) + d0 / 2 * np.log(d0 * s02)
    each = each - (d + d0) / 2 * np.log(d0 * s02 + d * s2)  # [D, S, R]
    return Prior(scales, each.sum(axis=-1), bool(d.min() <= 1))


def without_seed_effect(table: Floats, least_variances: Sequence[float] | None = None) -> list[Sample]:
    """Samples of rows [R, n] with the same seeds, whose common rise and fall from seed to seed is taken out.

    For two rows this is the paired t test's variance: sigma_a^2 + sigma_b^2 is the variance of the differences.
    least_variances: of each row, as in `Sample.of`; None: 0.
    """
    n_rows, n = table.shape
    means = table.mean(axis=1)
    rest = table - means[:, None] - table.mean(axis=0) + table.mean()
    freedom = (n - 1) * (n_rows - 1) / n_rows
    variances = np.maximum((rest**2).sum(axis=1) / freedom, least_variances or 0.0)
    return [Sample(float(m), float(v), n, freedom) for m, v in zip(means, variances, strict=True)]


def seed_effect_p(table: Floats, n_permutations: int = 999) -> float:
    """Probability of seeds as alike over rows [R, n] by chance: seeds permuted within each row (Fisher, 1935).

    Rows are standardised first, so that none decides alone.
    """
    centred = table - table.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    standard = (centred / np.where(spread > 0, spread, 1))[spread[:, 0] > 0]
    rng = np.random.Generator(np.random.PCG64(0))
    permuted = rng.permuted(np.broadcast_to(standard, (n_permutations, *standard.shape)), axis=2)
    observed = float((standard.sum(axis=0) ** 2).sum())
    return (1 + int(((permuted.sum(axis=1) ** 2).sum(axis=1) >= observed - 1e-9).sum())) / (n_permutations + 1)
