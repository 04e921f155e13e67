"""Numbers, durations and seeds for readers of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmark.report.plain_table import EMPTY


def rounded(value: float | None) -> float | None:
    """A number for the page's data: six significant digits; None for one that is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def brief(value: float) -> str:
    """A number in a few digits: 64k, 1.2M, 0.05."""
    for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power and (letter != "k" or abs(value) >= 1e4 or value % 100 == 0):
            return f"{value / power:.3g}{letter}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """`48 s`, `2.7 min`, `3.1 h`; a dash where it is not known."""
    if seconds is None:
        return EMPTY
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def seeds_text(seeds: Sequence[int]) -> str:
    """`0–4` for a run of seeds, else `0, 2, 5`; a dash for none."""
    if not seeds:
        return EMPTY
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))


def value_text(value: float | None) -> str:
    """A mean to three digits; a dash for none."""
    if value is None or not math.isfinite(value):
        return EMPTY
    return f"{value:.2f}" if 0.01 <= abs(value) < 100 else f"{value:.3g}"
