"""Do the extractors agree? Kendall's tau between the rankings of a suite's rows by the Frechet distances of each pair.

A ranking that holds by one extractor only says something of that extractor. The interval is of the seeds: they are
drawn anew, with replacement, within each row, and for both extractors together, since both look at the same runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from benchmark.metrics.catalogue import row_of
from benchmark.report.plain_table import PlainCell, PlainTable
from benchmark.report.tables import Column, Row, Table, find_columns

FEWEST_ROWS = 3  # of two rows a ranking is right or wrong
DRAWS = 2000
COVERED = 95.0  # per cent of the draws that the interval holds
HEADS = ("Distance", "Other distance", "Rows", "Fewest seeds", "Kendall's tau", "Low", "High", "Best row")

Values = Sequence[tuple[np.ndarray, np.ndarray]]  # of each row: distances [S] by one extractor and by the other


def agreement_listing(table: Table) -> PlainTable | None:
    """The agreement of each pair of extractors on a suite's table; None where fewer than two ranked three rows.

    Distances are those of the rows' records, whichever columns the table shows. A row whose method trained against an
    extractor's network is not ranked by it. Where an extractor has several protocols, the one of most rows counts.
    """
    lines = []
    for one, other in combinations(_distances(table), 2):
        shared = [(row, found) for row in table.rows if len((found := _paired(row, one, other))[0])]
        if len(shared) >= FEWEST_ROWS:
            lines.append(_line(one, other, [row for row, _ in shared], [found for _, found in shared]))
    if not lines:
        return None
    notes = (
        "Kendall's tau-b of the rows' mean distances: 1 is the same ranking, 0 no association, -1 the opposite one.",
        f"Low and high: {COVERED:g} % of {DRAWS:,} bootstrap draws of the seeds within each row; empty where a row has "
        "one seed. With few seeds they are too narrow, and lie too near to 0.",
    )
    return PlainTable(
        f"{table.name}-agreement", f"Do the extractors agree? {table.title}", 2, HEADS, tuple(lines), notes
    )


def kendall_tau(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of [..., R] and [..., R] along the last axis: [...], NaN where all of a side are equal.

    In [-1, 1]. Source: Kendall, Biometrika 1945 (with ties).
    """
    first, second = (np.sign(values[..., :, None] - values[..., None, :]) for values in (a, b))  # [..., R, R]
    concordant = (first * second).sum((-2, -1))
    untied = np.abs(first).sum((-2, -1)) * np.abs(second).sum((-2, -1))
    return np.divide(concordant, np.sqrt(untied), out=np.full(concordant.shape, np.nan), where=untied > 0)


def tau_of_means(values: Values) -> float:
    """Kendall's tau between the rows' mean distances; NaN where all of a side are equal."""
    means = np.array([[side.mean() for side in pair] for pair in values])  # [R, 2]
    return float(kendall_tau(*means.T))


def tau_interval(
    values: Values, draws: int = DRAWS, seed: int = 0, *, same_runs: bool = True
) -> tuple[float, float] | None:
    """The bootstrap interval of tau over seeds; None where a row has one seed, or no draw has a tau.

    same_runs: both distances of a row are of the same runs, which are drawn together; else each side is drawn
    by itself.
    """
    if min(len(side) for pair in values for side in pair) < 2:
        return None
    rng = np.random.Generator(np.random.PCG64([seed, 0x7A0]))
    means: list[tuple[np.ndarray, np.ndarray]] = []
    for of_one, of_other in values:
        drawn = rng.integers(len(of_one), size=(draws, len(of_one)))
        other = drawn if same_runs else rng.integers(len(of_other), size=(draws, len(of_other)))
        means.append((of_one[drawn].mean(axis=1), of_other[other].mean(axis=1)))
    taus = kendall_tau(*(np.stack(side, axis=1) for side in zip(*means)))
    taus = taus[~np.isnan(taus)]
    if not len(taus):
        return None
    low, high = np.percentile(taus, [50 - COVERED / 2, 50 + COVERED / 2])
    return float(low), float(high)


def _distances(table: Table) -> list[Column]:
    """One column of Frechet distances for each extractor."""
    records = [record for row in table.rows for record in row.done]
    found: dict[str, list[Column]] = {}
    for column in find_columns(records):
        if row_of(column.id).id == "fd_X":
            found.setdefault(column.id, []).append(column)

    def n_rows(column: Column) -> int:
        return sum(bool(row.by_seed(column)) for row in table.rows)

    return [max(columns, key=n_rows) for columns in found.values()]


def _paired(row: Row, one: Column, other: Column) -> tuple[np.ndarray, np.ndarray]:
    """A row's distances by both extractors, of the seeds that have both."""
    of_one, of_other = row.by_seed(one), row.by_seed(other)
    seeds = sorted(of_one.keys() & of_other.keys())
    return np.array([of_one[seed] for seed in seeds]), np.array([of_other[seed] for seed in seeds])


def _line(one: Column, other: Column, rows: Sequence[Row], values: Values) -> tuple[PlainCell, ...]:
    tau = tau_of_means(values)
    low, high = tau_interval(values) or (None, None)
    seeds = min(len(of_one) for of_one, _ in values)
    lowest = [int(np.argmin([side.mean() for side in sides])) for sides in zip(*values)]
    names = [" ".join(rows[i].labels).strip() for i in lowest]
    best = names[0] if names[0] == names[1] else " / ".join(names)
    return (one.name, other.name, len(rows), seeds, None if np.isnan(tau) else tau, low, high, best)
