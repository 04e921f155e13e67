"""What the report plots of a board: quality against cost, recall against quality, quality during training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmark.metrics.catalogue import row_of
from benchmark.report.comparison_figures import quality_column
from benchmark.report.curves import row_curve, snapshot_name
from benchmark.report.site.boards import Board, Place
from benchmark.report.site.leaderboard import main_column
from benchmark.report.site.svg import Point, Series, lines, scatter
from benchmark.report.tables import Column

_COLOURED = 6  # curves that are coloured and named


def plots_of(board: Board) -> tuple[Any, Any, Any]:
    """Quality against cost, recall against quality, quality over training: each empty where it cannot be drawn."""
    column = main_column(board)
    ranking = board.ranking(column)
    ranked = [place for place in ranking.places if place.rank is not None]
    costs = [(place, place.entry.cost("Training s")) for place in ranked]
    priced = [(place, seconds) for place, seconds in costs if seconds]
    front = front_of([(seconds, place.summary.mean) for place, seconds in priced], column.better)
    by_cost = scatter(
        [
            Point(place.entry.name, seconds, place.summary.mean, place.entry.conditioning, i in front)
            for i, (place, seconds) in enumerate(priced)
        ],
        "training, s",
        column.name,
        f"{column.name} against seconds of training on {board.dataset}",
    )
    points = []
    for place in ranked:
        recall = place.entry.row.summary(ranking.recall) if ranking.recall else None
        if recall is not None:
            points.append((place, recall.mean))
    best = front_of([(-recall, place.summary.mean) for place, recall in points], column.better)
    by_recall = scatter(
        [
            Point(place.entry.name, place.summary.mean, recall, place.entry.conditioning, i in best)
            for i, (place, recall) in enumerate(points)
        ],
        column.name,
        ranking.recall.name if ranking.recall else "",
        f"Recall against {column.name} on {board.dataset}",
    )
    return by_cost, by_recall, curves_of(board, ranked)


def front_of(points: Sequence[tuple[float, float]], better: str | None) -> set[int]:
    """Which points no other one beats or equals in both: (cost, quality), a low cost being good."""
    sign = -1 if better == "higher" else 1
    at = [(cost, sign * quality) for cost, quality in points]
    return {
        i
        for i, (cost, quality) in enumerate(at)
        if not any(c <= cost and q <= quality and (c, q) != (cost, quality) for c, q in at)
    }


def curves_of(board: Board, ranked: Sequence[Place]) -> Any:
    """Scores at snapshots over images seen: the best rows coloured, the others grey."""
    late = quality_column_of_curves(board)
    if late is None:
        return ""
    series = []
    for i, place in enumerate(ranked):
        if curve := row_curve(place.entry.row, late, place.entry.name):
            x, mean, low, high = (
                [float(v) for v in values] for values in (curve.images, curve.mean, curve.low, curve.high)
            )
            colour = i if i < _COLOURED else None
            band = (low, high) if curve.n > 1 else ([], [])
            series.append(Series(place.entry.name, x, mean, low=band[0], high=band[1], colour=colour))
    name = snapshot_name(late)
    return lines(series, "images seen", name, f"{name} during training on {board.dataset}", late.better == "lower")


def quality_column_of_curves(board: Board) -> Column | None:
    """The column of late means whose curve shows the quality; None where snapshots measured nothing."""
    found = [column for column in board.table.columns if row_of(column.id).curve and column.better]
    return quality_column(replace(board.table, columns=tuple(found))) if found else None
