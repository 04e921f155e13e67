"""Exact Euclidean nearest neighbours and balls among many features, in bounded memory.

A matrix product gives all squared distances, |p|^2 + |o|^2 - 2 p.o, quickly but not exactly: of near equal rows little
is left of it. So it only decides what its error bound allows it to decide. Everything nearer to a decision than that
bound is measured from the difference itself, in float64. The product is tried in float32, which is twice as fast, and
taken in float64 for blocks in which float32 leaves too much open (tight clusters far apart).

The bound, with u the unit roundoff, d dimensions and R = |p| + |o|: to first order the product errs by d u |p| |o|, the
squares by d u (|p|^2 + |o|^2), whatever the order of summation (Higham, Accuracy and Stability of Numerical Algorithms,
sec. 3.1), which makes d u R^2 of the three terms; rounding the rows moves a squared distance by 2 u R^2, rounding and
adding the terms by 4 u R^2. (d + 16) u R^2 covers them. Rows are centred first: distances stay, and R becomes small.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from tqdm import tqdm

from benchmark.metrics.checks import Array, Float64, Int64, MetricError, as_numpy, float_rows

BLOCK_BYTES = 2**28  # of one block of squared distances in float64
PAIR_BYTES = 2**25  # of the differences measured at once
TILE_ROWS = 2048  # rows centred and rounded at once
MANY = 16  # open pairs a row, beyond which float32 is given up for a block
GROUPS = 128  # groups of columns a neighbour wanted: a row's nearest seldom share one
FLOAT32_RANGE = 1e-15, 1e15  # of the longest row, so that squares neither overflow nor vanish

Block: TypeAlias = "np.ndarray[Any, np.dtype[np.floating[Any]]]"
Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
Precision: TypeAlias = "np.dtype[np.floating[Any]]"

SINGLE: Precision = np.dtype(np.float32)
DOUBLE: Precision = np.dtype(np.float64)


def nearest(
    points: Array,
    others: Array,
    k: int = 1,
    *,
    exclude_self: bool = False,
    chunk: int | None = None,
    progress: bool = False,
) -> tuple[Int64, Float64]:
    """The k rows of `others` nearest to each row of `points`, nearest first: rows [N, k], squared distances [N, k].

    points: [N, d] floats. others: [M, d] floats. Compared as they are, by the Euclidean distance. Exact: the distances
    are summed from differences in float64, and no row left out is nearer than these sums can tell.
    exclude_self: the two are one set in one order, and row i is no neighbour of itself; its duplicates are.
    chunk: points compared at once; None: as many as `BLOCK_BYTES` allow. It changes no distance.
    progress: show a bar. Which of several rows at equal distance is returned is fixed, but not promised.
    Source: ours; see the module's docstring for the bound.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, chunk < 1, or k outside 1..M (M - 1 with
    exclude_self); and for sets of different size with exclude_self.
    """
    points, others = pair("points", points, "others", others)
    _check_rank(k, len(others) - exclude_self)
    if exclude_self and len(points) != len(others):
        raise MetricError(
            f"nearest: {len(points)} points and {len(others)} others",
            "a row can be left out of its own neighbours only where the two sets are one",
        )
    bank = Distinct.of(others)
    n_wanted = min(k + exclude_self, len(bank.rows))
    products = Products(points, bank.rows, _chunk_rows(chunk, len(bank.rows)))
    found = [_nearest_of_block(products, block, n_wanted) for block in products.blocks("neighbours", progress)]
    rows, squared = np.concatenate([rows for rows, _ in found]), np.concatenate([squared for _, squared in found])
    return bank.expand(rows, squared, k, exclude_self)


@dataclass(frozen=True)
class Inside:
    """How often rows of two sets lie in balls around the rows of the other set."""

    others_in_ball: Int64  # [N]; `others` inside the ball of each point
    balls_around_other: Int64  # [M]; balls of points that hold each of the others
    balls_around_point: Int64  # [N]; balls of others that hold each point


def count_inside(
    points: Array,
    others: Array,
    point_squared_radii: Float64,
    other_squared_radii: Float64,
    *,
    chunk: int | None = None,
    progress: bool = False,
) -> Inside:
    """Counts of pairs nearer than the radius around either, in one pass. A ball is closed: its surface belongs to it.

    points: [N, d] floats with squared radii [N]; others: [M, d] floats with squared radii [M], none negative. Exact in
    the sense of `nearest`, so that a row at the very distance a radius was measured from lies inside.
    chunk, progress: as in `nearest`. Source: ours.
    Raises MetricError for a wrong dtype, shape or dimension, NaN, negative radii, or chunk < 1.
    """
    points, others = pair("points", points, "others", others)
    radii, other_radii = _radii(point_squared_radii, points), _radii(other_squared_radii, others)
    products = Products(points, others, _chunk_rows(chunk, len(others)))
    in_ball, around_point = np.zeros(len(points), np.int64), np.zeros(len(points), np.int64)
    around_other = np.zeros(len(others), np.int64)
    for block in products.blocks("balls", progress):
        of_point, of_other = _inside_of_block(products, block, radii[block][:, None], other_radii[None])
        in_ball[block] = of_point.sum(axis=1)
        around_other += of_point.sum(axis=0)
        around_point[block] = of_other.sum(axis=1)
    return Inside(in_ball, around_other, around_point)


def pair(name: str, points: Array, other_name: str, others: Array) -> tuple[Float64, Float64]:
    """Two sets of rows as float64. Raises MetricError as `float_rows`, for an empty set, or when d differs."""
    rows, other_rows = float_rows(name, points, min_rows=1), float_rows(other_name, others, min_rows=1)
    if rows.shape[1] != other_rows.shape[1]:
        raise MetricError(
            f"{name} of {rows.shape[1]} and {other_name} of {other_rows.shape[1]} dimensions",
            "the two sets were made by different extractors or layers",
            "extract both with the same extractor",
        )
    return rows, other_rows


def squared_distances(points: Float64, rows: Int64, others: Float64, other_rows: Int64) -> Float64:
    """|points[rows] - others[other_rows]|^2 from the differences, [P], in bounded memory. The same bits either way."""
    result = np.empty(len(rows))
    step = max(1, PAIR_BYTES // (8 * points.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        difference = points[rows[part]]
        difference -= others[other_rows[part]]
        np.square(difference, out=difference)
        result[part] = difference.sum(axis=1)
    return result


@dataclass
class Products:
    """Rough squared distances of points [N, d] to others [M, d], a block of points at a time, and their error."""

    points: Float64
    others: Float64
    chunk: int

    def __post_init__(self) -> None:
        self.centre = self.others.mean(axis=0)
        self.lengths = _lengths(self.points, self.centre)
        self.other_lengths = _lengths(self.others, self.centre)
        largest = max(self.lengths.max(), self.other_lengths.max())
        low, high = FLOAT32_RANGE
        self.precisions: tuple[Precision, ...] = (SINGLE, DOUBLE) if low < largest < high else (DOUBLE,)

    def blocks(self, name: str, progress: bool) -> Iterator[slice]:
        """Rows of the points, in order."""
        for start in tqdm(range(0, len(self.points), self.chunk), desc=name, unit="block", disable=not progress):
            yield slice(start, min(start + self.chunk, len(self.points)))

    def rough(self, block: slice, precision: Precision) -> Block:
        """Rough squared distances [chunk, M] of a block of points to all others."""
        queries = (self.points[block] - self.centre).astype(precision)
        result = np.empty((len(queries), len(self.others)), precision)
        for start in range(0, len(self.others), TILE_ROWS):
            tile = slice(start, start + TILE_ROWS)
            np.matmul(queries, (self.others[tile] - self.centre).astype(precision).T, out=result[:, tile])
        result *= -2
        result += (self.lengths[block] ** 2).astype(precision)[:, None]
        result += (self.other_lengths**2).astype(precision)
        return result

    def error(self, block: slice, precision: Precision) -> Block:
        """What `rough` errs by at most, [chunk, 1]: see the module's docstring."""
        unit_roundoff = np.finfo(precision).eps / 2
        reach = self.lengths[block] + self.other_lengths.max()
        bound = (self.points.shape[1] + 16) * unit_roundoff * reach**2
        return np.nextafter(bound.astype(precision), np.inf)[:, None]

    def measured(self, block: slice, rows: Int64, other_rows: Int64) -> Float64:
        """Exact squared distances [P] of rows of a block, counted from its start, to other rows."""
        return squared_distances(self.points, rows + block.start, self.others, other_rows)


@dataclass(frozen=True)
class Distinct:
    """A set with its duplicates kept aside: a collapsed generator makes thousands, all equally near."""

    rows: Float64  # [U, d], each once
    members: list[list[int]] | None  # the equal rows of each; None: every row is there once

    @classmethod
    def of(cls, rows: Float64) -> Distinct:
        """The distinct rows, in order of first appearance. Known by a digest of their bytes."""
        groups: dict[bytes, list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault(hashlib.blake2b(row.data, digest_size=16).digest(), []).append(i)
        if len(groups) == len(rows):
            return cls(rows, None)
        members = list(groups.values())
        return cls(rows[[group[0] for group in members]], members)

    def expand(self, found: Int64, squared: Float64, k: int, exclude_self: bool) -> tuple[Int64, Float64]:
        """The k nearest rows of the whole set, from the nearest distinct ones [N, K] and squared distances [N, K]."""
        if self.members is not None:
            width = k + exclude_self  # more members of one group than this cannot be among the k nearest
            table = np.full((len(self.members), width), -1)  # [U, width], -1 where a group has fewer
            for row, group in zip(table, self.members):
                row[: len(group[:width])] = group[:width]
            found, squared = table[found].reshape(len(found), -1), squared.repeat(width, axis=1)
        dropped = found == -1
        if exclude_self:
            dropped |= found == np.arange(len(found))[:, None]
        order = dropped.argsort(axis=1, kind="stable")[:, :k]  # what is kept first, nearest first
        return np.take_along_axis(found, order, 1).astype(np.int64), np.take_along_axis(squared, order, 1)


def _nearest_of_block(products: Products, block: slice, k: int) -> tuple[Int64, Float64]:
    """The k nearest distinct rows of each point of a block: rows [chunk, k], squared distances [chunk, k]."""
    n = block.stop - block.start
    for precision in products.precisions:
        rough, error = products.rough(block, precision), products.error(block, precision)
        reach = _reach(rough, k) + 4 * error  # 2 for the products; the rest covers the rounding of what is measured
        candidates = rough <= reach
        if np.count_nonzero(candidates) <= n * (k + MANY):
            break
    queries, rows = _places(candidates)
    squared = products.measured(block, queries, rows)
    order = np.lexsort((rows, squared, queries))
    first = np.searchsorted(queries, np.arange(n))  # where each point's candidates begin; `queries` ascends
    chosen = order[first[:, None] + np.arange(k)]
    return rows[chosen], squared[chosen]


def _inside_of_block(products: Products, block: slice, radii: Float64, other_radii: Float64) -> tuple[Mask, Mask]:
    """[chunk, M] twice: is the other in the point's ball, is the point in the other's. Radii [chunk, 1], [1, M]."""
    for precision in products.precisions:
        rough, error = products.rough(block, precision), 2 * products.error(block, precision)
        beyond = np.empty_like(rough)  # one for both sets of balls: it is as large as the block
        results, n_open = [], 0
        for squared_radii in (radii, other_radii):
            bound: Block = squared_radii.astype(precision)
            np.subtract(rough, bound, out=beyond)
            inside = beyond <= 0
            np.abs(beyond, out=beyond)
            open_pairs = _places(beyond <= error + np.finfo(precision).eps * bound)  # eps: the radius was rounded
            n_open += len(open_pairs[0])
            results.append((inside, open_pairs, squared_radii))
        if n_open <= 2 * MANY * len(rough):
            break
    for inside, (rows, other_rows), squared_radii in results:
        exact = products.measured(block, rows, other_rows)
        inside[rows, other_rows] = exact <= np.broadcast_to(squared_radii, inside.shape)[rows, other_rows]
    return results[0][0], results[1][0]


def _reach(rough: Block, k: int) -> Block:
    """A number for each row of [n, m] that at least k of its values do not exceed, hardly above the k-th smallest.

    It is the k-th smallest of the minima of many groups, which takes a ninth of the time of all values. The columns of
    a group stand far apart: neighbours are often next to each other, in a set that is sorted by class. Returns [n, 1].
    """
    n_groups = GROUPS * k
    depth = rough.shape[1] // n_groups
    if depth > 1:
        grouped = rough[:, : depth * n_groups].reshape(len(rough), depth, n_groups).min(axis=1)
        rough = np.concatenate([grouped, rough[:, depth * n_groups :]], axis=1)
    return np.partition(rough, k - 1, axis=1)[:, k - 1 : k]


def _places(marked: Mask) -> tuple[Int64, Int64]:
    """Rows and columns of what is marked in [n, m], in order: `np.nonzero` of few marks, in a tenth of the time."""
    rows, columns = np.divmod(np.flatnonzero(marked), marked.shape[1])
    return rows, columns


def _lengths(rows: Float64, centre: Float64) -> Float64:
    """Distance of each row to the centre [N], without a second copy of the rows."""
    parts = [np.linalg.norm(rows[i : i + TILE_ROWS] - centre, axis=1) for i in range(0, len(rows), TILE_ROWS)]
    return np.concatenate(parts)


def _chunk_rows(chunk: int | None, n_others: int) -> int:
    if chunk is not None and chunk < 1:
        raise MetricError(f"nearest: chunk = {chunk}", "a chunk holds at least one row")
    most = max(1, BLOCK_BYTES // (8 * n_others))
    return most if chunk is None else min(chunk, most)


def _check_rank(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise MetricError(
            f"nearest: k = {k}", f"a row has {n} possible neighbours", "draw more images, or choose fewer neighbours"
        )


def _radii(squared_radii: Array, rows: Float64) -> Float64:
    radii = as_numpy("squared radii", squared_radii)
    if radii.shape != (len(rows),) or not np.issubdtype(radii.dtype, np.floating) or not (radii >= 0).all():
        raise MetricError(
            f"squared radii: {radii.dtype} {list(radii.shape)}", f"[{len(rows)}] floats, none negative, are needed"
        )
    return radii.astype(np.float64)
