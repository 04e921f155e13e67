"""Statistics of a table's cell: the mean over seeds with its 95 % interval.

A generator's score varies far more from one training run to the next than with the sampling of its images, so the unit
is the run: n is the number of seeds, and with one seed there is no interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

CONFIDENCE = 0.95
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
        """Half the width of the interval: what stands after the ± sign."""
        return None if self.sd is None else t_half_width(self.sd, self.n)


def t_half_width(sd: float, n: int) -> float:
    """t(0.975, n - 1) sd / sqrt(n), for n > 1. Source: Student, 1908."""
    return float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / math.sqrt(n)


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


def apart(a: Summary, b: Summary) -> bool:
    """Whether two intervals do not overlap; False where one is missing. Stricter than a 5 % test of the difference."""
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.high < b.low or b.high < a.low


def format_cell(cell: Summary, digits: int = 2) -> str:
    """`12.34 ± 0.41`: the mean ± half the width of its 95 % interval.

    digits: significant digits of the half width; the mean is rounded to the same place. With one seed the mean alone,
    to four significant digits.
    """
    half = cell.half_width
    if not half:
        alone = _fixed(cell.mean, 3 - _magnitude(cell.mean))
        return alone if half is None else f"{alone} ± 0"
    half = round(half, digits - 1 - _magnitude(half))  # 0.0999 becomes 0.10: its magnitude must be taken after rounding
    decimals = digits - 1 - _magnitude(half)
    if decimals <= _FIXED_DIGITS:
        return f"{_fixed(cell.mean, decimals)} ± {_fixed(half, decimals)}"
    power = max(_magnitude(cell.mean), _magnitude(half))
    scaled, decimals = 10.0**-power, decimals + power
    return f"({_fixed(cell.mean * scaled, decimals)} ± {_fixed(half * scaled, decimals)})e{power:+03d}"


def _magnitude(value: float) -> int:
    """The power of ten of a number's first digit; 0 for 0."""
    return math.floor(math.log10(abs(value))) if value else 0


def _fixed(value: float, decimals: int) -> str:
    """Rounded to a number of decimals, which may be negative; very small numbers with a power of ten."""
    if decimals > _FIXED_DIGITS:
        return f"{value:.{decimals + _magnitude(value)}e}"
    return f"{round(value, decimals):.{max(0, decimals)}f}"
