"""Which of these is better, and is the difference real: comparisons between the rows of a table.

The best row of a column is compared with every other one; claims are compared as they were written down beforehand. The
test is that of `benchmark.core.moderated`: few seeds, with strength borrowed over the rows. It has three outcomes:
significantly different, equal within a margin that the catalogue fixes for each metric, or inconclusive.

Distances are compared by their logarithms and shares by their logits, on which rows scatter alike. A row needs two
seeds: one with fewer can neither be the best nor keep another from being it. Failed runs have no value; a collapsed run
enters with the value it has, and its scatter with it.

Seeds are not paired, as a rule: in our records, runs of one seed are hardly more alike than others. They are paired
where all rows score the same trained networks, or where a permutation test finds that seeds matter (p < 1 %).

Values by a network that the row's method trained against do not get here: `Row.by_seed` leaves them out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np

from benchmark.core.moderated import (
    Comparisons,
    Difference,
    Sample,
    fixed_family,
    seed_effect_p,
    seeds_to_decide,
    without_seed_effect,
)
from benchmark.core.stats import ALPHA, Scale, transformed
from benchmark.metrics.catalogue import row_of

Verdict = Literal["better", "worse", "equal", "inconclusive"]
Standing = Literal["best", "open"]  # open: neither equal to the best row nor significantly worse

SEEDS_MATTER = 0.01  # p of the permutation test below which seeds are paired
_COUNT_VARIANCE = 1 / 12  # of a count that is known to half a unit (Sheppard, 1897)
_UNKNOWN_IMAGES = 1000  # gives shares of 0 and 1 a logit where nothing says on how many images they were counted


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
    """Row a less row b in one column; rows by their place among those given.

    Difference, interval and margin are on `scale`: on `log` the exponential is a ratio, on `logit` one of odds. p and
    the 95 % interval hold for the whole family of comparisons, and agree: p < 5 % where the interval excludes 0.
    """

    a: int
    b: int
    scale: Scale
    difference: float
    low: float
    high: float
    p: float
    margin: float  # differences up to it count as none
    n: tuple[int, int]  # seeds of a and b
    paired: bool
    verdict: Verdict  # of a
    needed: int | None = None  # seeds of each row that would probably decide an inconclusive one; None: over 50


def scale_of(id: str, values: Sequence[float]) -> Scale:
    """The scale on which a metric's values are compared; identity where one value does not allow the metric's own."""
    scale = row_of(id).scale
    if scale == "log" and min(values) > 0:
        return "log"
    if scale == "logit" and min(values) >= 0 and max(values) <= 1:
        return "logit"
    return "identity"


@dataclass(frozen=True)
class ColumnRows:
    """The rows of one column that can be compared: their samples on the metric's scale."""

    column: ColumnLike
    scale: Scale
    places: tuple[int, ...]  # of the rows, among those given
    values: tuple[np.ndarray, ...]  # of each row, on the scale, in order of seed
    samples: tuple[Sample, ...]
    paired: bool
    seed: int = 0  # of the draws
    rows: Comparisons | None = field(init=False, compare=False)  # None: no row's seeds differ, nothing can be tested

    def __post_init__(self) -> None:
        scatter = any(sample.variance > 0 for sample in self.samples)
        object.__setattr__(self, "rows", self._drawn() if scatter else None)

    def _drawn(self) -> Comparisons:
        return _comparisons(self.samples, self.seed, one_variance=self.paired and len(self.samples) == 2)

    def has(self, *places: int) -> bool:
        """Whether these rows can be compared."""
        return self.rows is not None and all(place in self.places for place in places)

    def comparison(self, found: Difference) -> Comparison:
        """A difference with its verdict."""
        assert self.rows is not None
        a, b = self.samples[found.a], self.samples[found.b]
        margin = margin_of(self.column.id, self.scale, (a.mean + b.mean) / 2)
        verdict = verdict_of(found, margin, self.column.better)
        needed = seeds_to_decide(found, self.rows, margin) if verdict == "inconclusive" else None
        numbers = (found.difference, found.low, found.high, found.p)
        at = (self.places[found.a], self.places[found.b])
        return Comparison(*at, self.scale, *numbers, margin, (a.n, b.n), self.paired, verdict, needed)

    def pairs(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Pairs of indices as pairs of samples."""
        at = {place: i for i, place in enumerate(self.places)}
        return [(at[a], at[b]) for a, b in pairs]


def column_rows(
    rows: Sequence[Mapping[int, float]], column: ColumnLike, *, paired: bool = False, seed: int = 0
) -> ColumnRows | None:
    """The rows that can be compared in a column; None for fewer than two.

    rows: each row's values by seed, in the column's own unit. paired: whether rows of one seed are known to score the
    same trained network; otherwise the values decide.
    """
    places = tuple(i for i, row in enumerate(rows) if len(row) > 1)
    if len(places) < 2:
        return None
    scale = scale_of(column.id, [value for row in rows for value in row.values()])
    n_images = images_counted(column.id, column.protocol)
    on_scale = tuple(on_its_scale([rows[i][seed] for seed in sorted(rows[i])], scale, n_images) for i in places)
    least = [_least_variance(column.id, scale, values, n_images) for values in on_scale]
    if len({tuple(sorted(rows[i])) for i in places}) == 1:
        table = np.array(on_scale)
        if paired or seed_effect_p(table) < SEEDS_MATTER:
            common = without_seed_effect(table, least)
            return ColumnRows(column, scale, places, on_scale, tuple(common), True, seed)
    samples = tuple(map(Sample.of, on_scale, least))
    return ColumnRows(column, scale, places, on_scale, samples, False, seed)


def images_counted(id: str, protocol: Mapping[str, Any]) -> int | None:
    """On how many images a share was counted; None where its protocol does not say, and for what is no such share."""
    key, _, place = row_of(id).counted_on.partition(":")
    found = protocol.get(key) or (protocol.get("n_fake") if key else None)
    if place and isinstance(found, Sequence):
        found = found[int(place)]
    return int(found) if found else None


def on_its_scale(values: Sequence[float], scale: Scale, n_images: int | None) -> np.ndarray:
    """Values on the scale on which seeds are compared. n_images: `images_counted`; None: of a share, a thousand."""
    return transformed(values, scale, n_images or _UNKNOWN_IMAGES)


def _least_variance(id: str, scale: Scale, values: np.ndarray, n_images: int | None) -> float:
    """The variance that one value has by counting alone: of whole numbers, and of shares of n images."""
    if row_of(id).counted:
        return _COUNT_VARIANCE
    if scale != "logit" or n_images is None:
        return 0.0
    share = 1 / (1 + math.exp(-float(values.mean())))
    return 1 / (n_images * share + 0.5) + 1 / (n_images * (1 - share) + 0.5)  # of a logit (Anscombe, 1956)


@lru_cache(maxsize=64)
def _comparisons(samples: tuple[Sample, ...], seed: int, one_variance: bool) -> Comparisons:
    """A column's draws; bold cells and the file of comparisons use the same ones."""
    return Comparisons(samples, seed=seed, one_variance=one_variance)


def comparisons(rows: Sequence[Mapping[int, float]], column: ColumnLike, *, paired: bool = False) -> list[Comparison]:
    """Every row (a) against the column's best (b), as one family; empty where nothing can be compared."""
    found = column_rows(rows, column, paired=paired)
    if found is None or found.rows is None or column.better is None:
        return []
    means = found.rows.means
    leader = int(means.argmin() if column.better == "lower" else means.argmax())
    return [found.comparison(one) for one in found.rows.with_leader(leader)]


def fixed_comparisons(parts: Sequence[tuple[ColumnRows, Sequence[tuple[int, int]]]]) -> list[list[Comparison]]:
    """Pairs of rows (a, b) that were fixed before the values were seen, of one or several columns, as one family."""
    families = fixed_family([(rows.rows, rows.pairs(pairs)) for rows, pairs in parts if rows.rows is not None])
    return [[rows.comparison(one) for one in found] for (rows, _), found in zip(parts, families, strict=True)]


def margin_of(id: str, scale: Scale, centre: float) -> float:
    """The largest difference that counts as none, on the scale.

    centre: the mean of both rows on the scale; a margin in points of a share, or relative to a score, depends on it.
    """
    row = row_of(id)
    if scale == "log":
        return math.log1p(row.margin)
    if scale == "logit":
        share = 1 / (1 + math.exp(-centre))
        low, high = max(share - row.margin / 2, share / 2), min(share + row.margin / 2, (1 + share) / 2)
        return math.log(high / (1 - high)) - math.log(low / (1 - low))
    relative = row.margin * abs(centre)
    if row.counted:
        return max(1.0, relative)  # a mean difference of less than one mode is none
    return row.margin if row.absolute_margin else relative


def verdict_of(found: Difference, margin: float, better: str | None) -> Verdict:
    """What a difference says of its first row."""
    if better is not None and found.p < ALPHA:
        return "better" if (found.difference < 0) == (better == "lower") else "worse"
    return "equal" if -margin < found.low and found.high < margin else "inconclusive"


def standings(found: Sequence[Comparison]) -> dict[int, Standing]:
    """Which rows lead a column, by place: the best one and those equal to it, and those that may be as good.

    Empty where no row is significantly worse: then there is nothing to point out. found: `comparisons` of a column.
    """
    if not any(one.verdict == "worse" for one in found):
        return {}
    leading: dict[int, Standing] = {found[0].b: "best"}
    for one in found:
        if one.verdict != "worse":
            leading[one.a] = "best" if one.verdict == "equal" else "open"
    return leading
