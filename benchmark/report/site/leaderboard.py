"""A board's ranking as the report draws it: a line for each row, intervals on one track."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.site.boards import Board, Entry, Place, Ranking
from benchmark.report.site.links import method_file
from benchmark.report.site.numbers import brief, seeds_text, value_text
from benchmark.report.site.pictures import Picture, Pictures
from benchmark.report.tables import Column


@dataclass(frozen=True)
class Line:
    """A row of a leaderboard on a page; shares of the interval's track in per cent."""

    place: Place
    href: str
    picture: Picture | None
    seed: int | None
    value: str
    recall: str
    coverage: str
    seeds: str
    dot: float
    left: float
    width: float
    index: int


@dataclass(frozen=True)
class Leaderboard:
    """A ranking with what is drawn of it."""

    board: Board
    ranking: Ranking
    lines: Sequence[Line]
    real: float | None  # of the track
    real_before: int  # lines above the row of real images
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Track:
    """The axis of the intervals of a ranking."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, ranking: Ranking) -> Track:
        """From the lowest end of an interval to the highest."""
        values = [v for place in ranking.places for v in (place.summary.mean, place.summary.low, place.summary.high)
                  if v is not None]  # fmt: skip
        values += [ranking.real[1]] if ranking.real else []
        means = [place.summary.mean for place in ranking.places]
        if ranking.scale == "log" and min(means) > 0:
            floor = min([*means, *([ranking.real[1]] if ranking.real and ranking.real[1] > 0 else [])]) * 0.7
            return cls(floor, max(values) * 1.05, True)
        if ranking.scale == "logit":
            return cls(0.0, 1.0, False)
        low, high = min(values), max(values)
        room = 0.04 * (high - low) or abs(high) * 0.1 or 1.0
        return cls(low - room, high + room, False)

    def at(self, value: float) -> float:
        """Where a value lies, in per cent; values beyond the ends lie on them."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log(max(v, 1e-12)) for v in (value, low, high))
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)


def leaderboard(board: Board, column: Column, pictures: Pictures, below: str) -> Leaderboard:
    """A board's ranking by a column."""
    ranking = board.ranking(column)
    track = Track.of(ranking)
    at = {id(entry.row): i for i, entry in enumerate(board.entries)}
    shown = []
    for place in ranking.places:
        summary, found = place.summary, pictures.of_entry(place.entry)
        low, high = (summary.mean if end is None else end for end in (summary.low, summary.high))
        left, right = track.at(low), track.at(high)
        shown.append(
            Line(
                place,
                below + method_file(place.entry.method),
                found[0] if found else None,
                found[1] if found else None,
                place.entry.row.text(column),
                _mean(place.entry, ranking.recall),
                _mean(place.entry, ranking.coverage),
                seeds_text(place.entry.seeds),
                track.at(summary.mean),
                left,
                round(right - left, 2),
                at[id(place.entry.row)],
            )
        )
    real, before = None, len(shown)
    if ranking.real is not None:
        real, sign = track.at(ranking.real[1]), 1 if column.better == "lower" else -1
        before = sum(sign * line.place.summary.mean <= sign * ranking.real[1] for line in shown if line.place.rank)
    return Leaderboard(board, ranking, shown, real, before, _ticks(track))


def _ticks(track: Track) -> list[tuple[float, str]]:
    """Three values on the track."""
    if track.log:
        values = [10**k * m for k in range(-9, 10) for m in (1, 3) if track.low <= 10**k * m <= track.high]
        values = values if len(values) < 5 else values[:: len(values) // 4 + 1]
    else:
        values = [track.low + (track.high - track.low) * share for share in (0, 0.5, 1)]
    return [(track.at(value), brief(value)) for value in values]


def _mean(entry: Entry, column: Column | None) -> str:
    found = entry.row.summary(column) if column is not None else None
    return value_text(None if found is None else found.mean)


def main_column(board: Board) -> Column:
    """The column that ranks a board of the report: boards without one are not made."""
    column = board.main_column
    assert column is not None
    return column
