"""Is a loss curve of a card one that the CPU could have drawn? The criterion of `gpu_check.py`.

Random numbers differ from device to device, so curves are compared by their means over the last half of the steps.
Three runs start from the same weights: two on the CPU in float32, with two seeds, and one on the card with a third. Let
m_A, m_B and m be the means of a loss over the second half of each. The variance of such a mean is estimated twice: by
the two seeds, (m_A - m_B)^2 / 2, and by the lines of the log within a run, their variance divided by their number,
averaged over A and B. The larger of the two, s^2, counts. The criterion is

    |m - (m_A + m_B) / 2|  <=  4 s sqrt(3 / 2)  +  0.01 |m_A + m_B| / 2  +  1e-6

where s sqrt(3/2) is the standard deviation of the left side if all three runs were alike. Two seeds say little of a
variance, and lines of a log are correlated: hence 4, and hence a run outside is a reason to look, not a proof. The
hundredth leaves room for the rounding of bfloat16. A run with a wrong sign, scale or term lies far outside; a bias of
less than the spread cannot be seen in so few steps.
"""

from __future__ import annotations

from statistics import fmean, variance
from typing import Any

SIGMAS = 4.0
RELATIVE = 0.01
ABSOLUTE = 1e-6
ENOUGH = 5  # lines of the log in the second half, below which a loss is not judged

Line = dict[str, Any]


def second_half(log: list[Line], steps: int) -> dict[str, list[float]]:
    """The values of each logged scalar in the lines after half of the steps; null is left out."""
    found: dict[str, list[float]] = {}
    for line in log:
        if line["step"] > steps / 2:
            for name, value in line.items():
                if name not in ("step", "images") and value is not None:
                    found.setdefault(name, []).append(value)
    return found


def compare(a: list[Line], b: list[Line], mine: list[Line], steps: int) -> dict[str, Any]:
    """Each loss of a run beside those of two runs on the CPU.

    Returns `ok`, `losses` compared, and of the loss that is the farthest outside, or the nearest to it: its name
    (`worst`), its distance in tolerances (`ratio`), its means. `missing`: losses that only one device logs. Losses that
    have too few lines are left out; `few`: all have, and are compared all the same.
    """
    first, second, own = (second_half(log, steps) for log in (a, b, mine))
    known = first.keys() & second.keys()
    shared = sorted(known & own.keys())
    judged = [name for name in shared if min(len(log[name]) for log in (first, second, own)) >= ENOUGH]
    rows = [_row(name, first[name], second[name], own[name]) for name in judged or shared]
    missing = sorted(known ^ own.keys())
    worst = max(rows, key=lambda row: row["ratio"], default={})
    return {
        "ok": bool(rows) and not missing and worst["ratio"] <= 1,
        "losses": len(rows),
        "missing": missing,
        "few": not judged,
        **worst,
    }


def _row(name: str, a: list[float], b: list[float], mine: list[float]) -> dict[str, Any]:
    m_a, m_b, m = fmean(a), fmean(b), fmean(mine)
    within = fmean([variance(values) / len(values) if len(values) > 1 else 0.0 for values in (a, b)])
    s = max((m_a - m_b) ** 2 / 2, within) ** 0.5
    centre = (m_a + m_b) / 2
    tolerance = SIGMAS * s * 1.5**0.5 + RELATIVE * abs(centre) + ABSOLUTE
    return {"worst": name, "ratio": abs(m - centre) / tolerance, "mine": m, "cpu": [m_a, m_b], "tolerance": tolerance}
