"""Statistics of tables: the mean over seeds with its 95 % interval, and tests of differences between methods.

A generator's score varies far more from one training run to the next than with the sampling of its images, so the unit
is the run: n is the number of seeds, and with one seed there is no interval and no test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

CONFIDENCE = 0.95
ALPHA = 1 - CONFIDENCE  # a difference is told apart when its adjusted p is below
_FIXED_DIGITS = 6  # more decimals than this are written with a power of ten


@dataclass(frozen=True)
class Summary:
    """The mean of n values and the 95 % interval of Student's t for it; sd, low and high are None for n = 1."""

    mean: float
    sd: float | None  # of one value, divisor n - 1
    n: int
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval: what follows the ± sign."""
        return None if self.sd is None else t_half_width(self.sd, self.n)

    def within(self, least: float, most: float) -> Summary:
        """The interval without values that the number cannot have; what follows the ± sign stays."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=max(self.low, least), high=min(self.high, most))


def t_half_width(sd: float, n: int) -> float:
    """t(0.975, n - 1) sd / sqrt(n), for n > 1. Source: Student, 1908."""
    from scipy.stats import t as student_t  # half a second to import, and a run needs none of it

    return float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / math.sqrt(n)


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and interval of the values of n seeds.

    The interval assumes values that scatter normally between seeds.
    Raises ValueError without values or with one that is not finite.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.size == 0 or not np.isfinite(rows).all():
        raise ValueError(f"a summary needs at least one value, all finite; given {list(values)}")
    mean = float(rows.mean())
    if rows.size == 1:
        return Summary(mean, None, 1, None, None)
    sd = float(rows.std(ddof=1)) if rows.min() < rows.max() else 0.0  # the mean of equal values may round away
    half = t_half_width(sd, rows.size)
    return Summary(mean, sd, int(rows.size), mean - half, mean + half)


Scale = Literal["log", "logit", "identity"]


@dataclass(frozen=True)
class Paired:
    """The paired t test of a - b over common seeds, on the scale the values were given in."""

    difference: float  # mean of a - b
    low: float  # 95 % interval of it
    high: float
    p: float  # two-sided
    n: int  # common seeds


def transformed(values: Sequence[float], scale: Scale, n_images: int = 1000) -> np.ndarray:
    """Values on the scale on which seeds scatter evenly: log for distances, logit for shares.

    n_images: how many images a share was counted on; half an image is added to either side, so that 0 and 1 have a
    logit (Haldane, 1956; Anscombe, 1956). Raises ValueError for a distance that is not positive and for a share
    outside of [0, 1].
    """
    rows = np.asarray(values, dtype=np.float64)
    if scale == "identity":
        return rows
    if scale == "log":
        if (rows <= 0).any():
            raise ValueError(f"no logarithm of {list(values)}")
        return np.log(rows)
    if ((rows < 0) | (rows > 1)).any():
        raise ValueError(f"no shares: {list(values)}")
    return np.log(rows * n_images + 0.5) - np.log((1 - rows) * n_images + 0.5)


def paired_test(a: Sequence[float], b: Sequence[float], resolution: float = 0.0) -> Paired:
    """Student's paired t test of the values of common seeds, in order; at least two of each.

    resolution: the step in which the values are counted, 1 for numbers of modes. Equal counts in all seeds do not mean
    that there is no error: each is uncertain by a uniform half step, so that the standard deviation of a difference is
    at least resolution / sqrt(6) (Sheppard, 1897). Without a resolution, differences that are all equal have p = 0, or
    p = 1 where they are zero: the limits of the test.
    Raises ValueError for fewer than two pairs and for values that are not finite.
    """
    pairs = np.asarray([a, b], dtype=np.float64)
    if pairs.shape[1] < 2 or not np.isfinite(pairs).all():
        raise ValueError(f"a paired test needs two pairs, all finite; given {list(a)} and {list(b)}")
    differences = pairs[0] - pairs[1]
    n, mean = len(differences), float(differences.mean())
    sd = float(differences.std(ddof=1)) if differences.min() < differences.max() else 0.0
    sd = max(sd, resolution / math.sqrt(6))
    half = t_half_width(sd, n)
    if sd == 0:
        p = 0.0 if mean else 1.0
    else:
        from scipy.stats import t as student_t

        p = 2 * float(student_t.sf(abs(mean) / (sd / math.sqrt(n)), n - 1))
    return Paired(mean, mean - half, mean + half, p, n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family's p values, in their order: compare with the level of the whole family.

    The i-th smallest of m is multiplied by m - i + 1; the adjusted ones never fall along the order and end at 1.
    Source: Holm, 1979.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def format_cell(cell: Summary, digits: int = 2) -> str:
    """`12.34 ± 0.41`: the mean ± half the width of its 95 % interval.

    digits: significant digits of the half width; the mean is rounded to the same place, or to the next one where it
    would keep a single digit. With one seed the mean alone, to four significant digits.
    """
    half = cell.half_width
    if not half:
        alone = _fixed(cell.mean, 3 - _magnitude(cell.mean))
        return alone if half is None else f"{alone} ± 0"
    half = round(half, digits - 1 - _magnitude(half))  # 0.0999 becomes 0.10: its magnitude must be taken after rounding
    decimals = digits - 1 - _magnitude(half)
    of_mean = decimals + (_magnitude(cell.mean) + decimals < 1)
    if of_mean <= _FIXED_DIGITS:
        return f"{_fixed(cell.mean, of_mean)} ± {_fixed(half, decimals)}"
    power = max(_magnitude(cell.mean), _magnitude(half))
    scaled, decimals, of_mean = 10.0**-power, decimals + power, of_mean + power
    return f"({_fixed(cell.mean * scaled, of_mean)} ± {_fixed(half * scaled, decimals)})e{power:+03d}"


def _magnitude(value: float) -> int:
    """The power of ten of a number's first digit; 0 for 0."""
    return math.floor(math.log10(abs(value))) if value else 0


def _fixed(value: float, decimals: int) -> str:
    """Rounded to a number of decimals, which may be negative; very small numbers with a power of ten."""
    if decimals > _FIXED_DIGITS:
        return f"{value:.{decimals + _magnitude(value)}e}"
    return f"{round(value, decimals):.{max(0, decimals)}f}"
