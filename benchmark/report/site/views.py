"""What each page of the report shows, ready for its template."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmark.metrics.catalogue import row_of
from benchmark.report.claims import CheckedClaim, effect, p_text
from benchmark.report.comparison_figures import quality_column
from benchmark.report.curves import row_curve, snapshot_name
from benchmark.report.ledger import COSTS
from benchmark.report.plain_table import EMPTY
from benchmark.report.published import PublishedValue
from benchmark.report.site.boards import Board, Entry, Place, Ranking, all_boards, method_titles
from benchmark.report.site.data import board_data, compare_data, page_data, settings
from benchmark.report.site.fields import meanings
from benchmark.report.site.links import TABLES, compare_file, dataset_file, file_name, method_file
from benchmark.report.site.numbers import brief, seeds_text, value_text
from benchmark.report.site.pictures import Picture, Pictures
from benchmark.report.site.render import page
from benchmark.report.site.svg import Point, Series, lines, scatter
from benchmark.report.tables import Column
from benchmark.runs.records import Record

FRONT_PICTURES = 600_000  # bytes of data URIs: the front page stays below 1.5 MB
PAGE_PICTURES = 3_000_000
_COLOURED = 6  # curves that are coloured and named
OUTCOMES = ("supported", "reversed", "equal", "inconclusive", "not comparable", "not run")


@dataclass(frozen=True)
class Site:
    """All that the pages are made of."""

    results: Path
    records: Sequence[Record]
    published: Sequence[PublishedValue]
    boards: Sequence[Board]  # that a metric ranks
    every_board: Sequence[Board]
    titles: dict[str, str]
    front: str  # link from the other pages to the front page
    below: str  # link from the front page to the folder of the others

    @property
    def datasets(self) -> list[str]:
        """Datasets that have a board, the main one first."""
        return list(dict.fromkeys(board.dataset for board in self.boards))

    @property
    def methods(self) -> list[str]:
        """Methods in boards, by their titles."""
        found = {entry.method for board in self.boards for entry in board.entries}
        return sorted(found, key=lambda name: self.titles[name].casefold())


def site_of(
    results: Path, records: Sequence[Record], published: Sequence[PublishedValue], front: str, below: str
) -> Site:
    """The site of these records."""
    found = all_boards(records)
    boards = [board for board in found if board.columns]
    return Site(results, records, published, boards, found, method_titles(boards), front, below)


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


# ---- front page -----------------------------------------------------------------------------------------------------


def front_page(site: Site) -> str:
    """The page that answers: which method is best, how certain, at what cost."""
    pictures = Pictures(site.results, FRONT_PICTURES)
    first = site.boards[0] if site.boards else None
    board = None if first is None or first.main_column is None else first
    main = leaderboard(board, _main(board), pictures, site.below) if board else None
    counts: Counter[str] = Counter(one.outcome for one in all_claims(site))
    return page(
        "front.html",
        title="gantlet results",
        site=site,
        home=site.front,
        below=site.below,
        facts=run_facts(site.records),
        boards=site.boards,
        board=board,
        main=main,
        real=pictures.real(board) if board else None,
        conditionings=_values(board, "conditioning"),
        supervisions=_values(board, "supervision"),
        claims=[(outcome, counts[outcome]) for outcome in OUTCOMES if counts[outcome]],
        n_claims=sum(counts.values()),
        datasets=[
            (name, site.below + dataset_file(name), sum(b.dataset == name for b in site.boards))
            for name in site.datasets
        ],
        methods=[(site.titles[name], site.below + method_file(name)) for name in site.methods],
        tables=site.below + TABLES,
        board_page=site.below + dataset_file(board.dataset) if board else "",
        data=page_data([board_data(one, pictures, site.titles, site.below) for one in site.boards], pictures),
    )


def _main(board: Board) -> Column:
    column = board.main_column
    assert column is not None  # boards without a metric that ranks are not made
    return column


def _values(board: Board | None, name: str) -> list[str]:
    return sorted({getattr(entry, name) for entry in board.entries}) if board else []


def all_claims(site: Site) -> list[CheckedClaim]:
    """The claims of all boards."""
    return [one for board in site.every_board for one in board.claims]


def run_facts(records: Sequence[Record]) -> dict[str, Any]:
    """How many runs, of which code, until when: of the newest record, so that the same records give the same page."""
    newest = max(records, key=lambda record: str(record.time.get("utc", "")))
    return {
        "n": len(records),
        "failed": sum(record.status != "done" for record in records),
        "date": str(newest.time.get("utc", ""))[:10],
        "commit": str(newest.environment.get("commit") or "")[:12],
    }


# ---- a dataset ------------------------------------------------------------------------------------------------------


def dataset_page(site: Site, dataset: str) -> str:
    """Leaderboards of a dataset, real images and control rows, quality against cost, recall against distance."""
    pictures = Pictures(site.results, PAGE_PICTURES)
    boards = [board for board in site.boards if board.dataset == dataset]
    shown = [
        (leaderboard(board, _main(board), pictures, ""), *plots_of(board), controls_of(board), pictures.real(board))
        for board in boards
    ]
    return page(
        "dataset.html",
        title=f"{dataset}: gantlet results",
        site=site,
        home=site.front,
        below="",
        dataset=dataset,
        dataset_title=boards[0].dataset_title,
        facts=run_facts([record for record in site.records if record.scored_on == dataset]),
        shown=shown,
        compare=compare_file(dataset),
        tables=TABLES,
        claims=[
            claim_view(one, board) for board in site.every_board if board.dataset == dataset for one in board.claims
        ],
        data=None,
    )


def plots_of(board: Board) -> tuple[Any, Any, Any]:
    """Quality against cost, recall against quality, quality over training: each empty where it cannot be drawn."""
    column = _main(board)
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


def controls_of(board: Board) -> tuple[list[str], list[tuple[str, list[str]]]] | None:
    """Rows of real images: the metrics' names, and what they say of each row; None without such rows."""
    columns = headline(board)
    rows = [
        (control.labels[0], [control.text(column) or EMPTY for column in columns]) for control in board.table.controls
    ]
    return ([column.name for column in columns], rows) if columns else None


def headline(board: Board) -> list[Column]:
    """The columns of a board that control rows are shown for."""
    return [c for c in board.columns if any(control.value(c) is not None for control in board.table.controls)]


# ---- claims ---------------------------------------------------------------------------------------------------------


def claim_view(one: CheckedClaim, board: Board) -> dict[str, Any]:
    """A claim for readers."""
    return {
        "text": one.claim.claim,
        "outcome": one.outcome,
        "effect": effect(one.test) if one.test else EMPTY,
        "p": p_text(one.test.p) if one.test else EMPTY,
        "by": "the paper" if one.claim.by == "paper" else "this project",
        "metric": one.column.name if one.column else one.claim.metric,
        "dataset": board.dataset,
    }


# ---- a method -------------------------------------------------------------------------------------------------------


@dataclass
class MethodBoards:
    """Where a method ranks, and what its own settings change."""

    ranks: list[tuple[Board, Place, int, Column]] = field(default_factory=list)
    ablations: list[Leaderboard] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)


def method_page(site: Site, method: str) -> str:
    """A method's rank on each dataset, samples of each seed, ablations, claims, published values, settings, cost."""
    pictures = Pictures(site.results, PAGE_PICTURES)
    found, samples = MethodBoards(), []
    for board in site.boards:
        mine = [entry for entry in board.entries if entry.method == method]
        if not mine:
            continue
        if board.is_ablation:
            found.ablations.append(leaderboard(board, _main(board), pictures, ""))
        else:
            ranking = board.ranking(_main(board))
            n = sum(place.rank is not None for place in ranking.places)
            found.ranks += [
                (board, place, n, ranking.column) for place in ranking.places if place.entry.method == method
            ]
            seeds = [(record.seed, picture) for entry in mine for record in entry.row.done
                     if (picture := pictures.of_record(record))]  # fmt: skip
            if seeds:
                samples.append((board, pictures.real(board), seeds))
    for board in site.every_board:
        rows = {id(entry.row) for entry in board.entries if entry.method == method}
        found.claims += [claim_view(one, board) for one in board.claims if {id(one.better), id(one.than)} & rows]
    entry = next(entry for board in site.boards for entry in board.entries if entry.method == method)
    names = {_letters(method), _letters(site.titles[method])}
    return page(
        "method.html",
        title=f"{site.titles[method]}: gantlet results",
        site=site,
        home=site.front,
        below="",
        method=method,
        name=site.titles[method],
        entry=entry,
        facts=run_facts([record for record in site.records if record.method == method]),
        found=found,
        samples=samples,
        published=[value for value in site.published if _letters(value.method) in names],
        settings=config_view(entry.row.records[0]),
        costs=[(board, place.entry, [place.entry.cost(head) for head, _ in COSTS]) for board, place, *_ in found.ranks],
        cost_heads=[head for head, _ in COSTS],
        tables=TABLES,
        dataset_file=dataset_file,
        data=None,
    )


def _letters(text: str) -> str:
    """A name for comparing spellings: `IC-GAN` and `icgan` are one."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def config_view(record: Record) -> list[tuple[str, str, str]]:
    """The settings of a run's method: key, value, meaning. Settings of nested parts have none of their own."""
    docs = meanings(record.method)
    plain = {key.removeprefix("config."): value for key, value in settings(record).items() if key.startswith("config.")}
    return [(key, value, docs.get(key.partition(".")[0], "") if "." not in key else "") for key, value in plain.items()]


# ---- comparing two --------------------------------------------------------------------------------------------------


def compare_page(site: Site, dataset: str) -> str:
    """Two rows of a board next to each other; the reader chooses which."""
    pictures = Pictures(site.results, PAGE_PICTURES)
    boards = [board for board in site.boards if board.dataset == dataset]
    return page(
        "compare.html",
        title=f"Compare on {dataset}: gantlet results",
        site=site,
        home=site.front,
        below="",
        dataset=dataset,
        dataset_page=dataset_file(dataset),
        tables=TABLES,
        data=page_data([compare_data(board, pictures, site.titles) for board in boards], pictures),
    )


def pages(site: Site) -> dict[str, str]:
    """All pages but the front page and the tables, by the names of their files."""
    found = {}
    for dataset in site.datasets:
        found[file_name("data", dataset)] = dataset_page(site, dataset)
        found[file_name("compare", dataset)] = compare_page(site, dataset)
    for method in site.methods:
        found[file_name("method", method)] = method_page(site, method)
    return found
