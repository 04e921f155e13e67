"""Which of these is better, and is the difference real: comparisons between the rows of a table, over common seeds.

In each column every row is compared with the best one by a paired t test, and the p values of a column are adjusted
together by Holm's method. Distances are compared by their logarithms and shares by their logits, because a seed that
doubles a distance of 2 doubles a distance of 20. A row needs two seeds: one with fewer can neither be the best nor keep
another from being it.

Values by a network that the row's method trained against do not get here: `Row.by_seed` leaves them out.

That the best was chosen after looking is not corrected for: Holm's family is the comparisons with it, not all pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from benchmark.core.stats import ALPHA, Paired, Scale, holm, paired_test, transformed
from benchmark.metrics.catalogue import row_of

Verdict = Literal["better", "worse", "cannot be told"]


class ColumnLike(Protocol):
    """What a comparison needs to know of a metric's column."""

    @property
    def id(self) -> str:
        """The metric's id."""

    @property
    def better(self) -> str | None:
        """ "lower", "higher" or None."""

    @property
    def protocol(self) -> Mapping[str, Any]:
        """How it was measured."""


@dataclass(frozen=True)
class Comparison:
    """Row a against row b in one column; rows by their place among those given."""

    a: int
    b: int
    scale: Scale
    test: Paired
    p_holm: float
    verdict: Verdict  # of a


def scale_of(id: str, values: Sequence[float]) -> Scale:
    """The scale on which a metric's values are compared; identity where one value does not allow the metric's own."""
    scale = row_of(id).scale
    if scale == "log" and min(values) > 0:
        return "log"
    if scale == "logit" and min(values) >= 0 and max(values) <= 1:
        return "logit"
    return "identity"


def best_of(rows: Sequence[Mapping[int, float]], better: str | None) -> int | None:
    """The row with the best mean among those with two seeds or more; None where there are not two such rows.

    rows: each row's values by seed.
    """
    means = {i: sum(row.values()) / len(row) for i, row in enumerate(rows) if len(row) > 1}
    if better is None or len(means) < 2:
        return None
    return (min if better == "lower" else max)(means, key=lambda i: means[i])


def comparisons(
    rows: Sequence[Mapping[int, float]], column: ColumnLike, reference: int | None = None
) -> list[Comparison]:
    """Every row against a reference, by default the column's best; rows without two common seeds are left out.

    rows: each row's values by seed, in the column's own unit. The p values are adjusted over this list.
    """
    best = best_of(rows, column.better) if reference is None else reference
    if best is None:
        return []
    scale = scale_of(column.id, [value for row in rows for value in row.values()])
    tests: dict[int, Paired] = {}
    for i, row in enumerate(rows):
        if i != best and (test := pair(row, rows[best], column, scale)) is not None:
            tests[i] = test
    adjusted = dict(zip(tests, holm([test.p for test in tests.values()])))
    return [
        Comparison(i, best, scale, test, adjusted[i], verdict(test, adjusted[i], column.better))
        for i, test in tests.items()
    ]


def pair(a: Mapping[int, float], b: Mapping[int, float], column: ColumnLike, scale: Scale) -> Paired | None:
    """The paired test of row a less row b, each its values by seed; None without two common seeds."""
    common = sorted(a.keys() & b.keys())
    if len(common) < 2:
        return None
    n_images = int(column.protocol.get("n_fake") or 1000)
    first, second = (list(transformed([row[seed] for seed in common], scale, n_images)) for row in (a, b))
    return paired_test(first, second, resolution=1.0 if row_of(column.id).counted else 0.0)


def verdict(test: Paired, p_holm: float, better: str | None) -> Verdict:
    """What the test says of its first row."""
    if better is None or p_holm >= ALPHA or test.difference == 0:
        return "cannot be told"
    return "better" if (test.difference < 0) == (better == "lower") else "worse"


def winner(rows: Sequence[Mapping[int, float]], column: ColumnLike) -> int | None:
    """The row that is better than every row it can be compared with, if there is one and it can be compared at all."""
    found = comparisons(rows, column)
    return found[0].b if found and all(one.verdict == "worse" for one in found) else None
