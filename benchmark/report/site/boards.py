"""What the report ranks: boards of rows that share a dataset and a budget, and their rankings by one metric.

A board is the table of a suite, or the rows at one recipe that no suite asked for. A ranking is one column of it, that
is one metric under one protocol, so values of different protocols are never ranked together. The verdicts are those of
`benchmark.report.compare`: a ranking's against its leader, and all pairs as one family for rows that a reader chooses.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

from benchmark.core.stats import Summary
from benchmark.metrics.catalogue import row_named, row_of
from benchmark.report.claims import CheckedClaim, check_claims
from benchmark.report.compare import (
    Comparison,
    column_rows,
    fixed_comparisons,
    images_counted,
    on_its_scale,
    scale_of,
)
from benchmark.report.comparison_figures import quality_column
from benchmark.report.figure_rows import at_recipe, figure_names
from benchmark.report.ledger import COSTS, cost, given
from benchmark.report.suite_tables import suite_table, suite_table_keys
from benchmark.report.tables import Column, Row, Table, dataset_table, same_networks
from benchmark.runs.records import Record
from benchmark.runs.suites.suite import Suite, find_suite, scope_of

MAIN_SUITE = "compare"  # the board that a reader sees first
MAIN_DATASET = "digits"
_FEWEST_METHODS = 4  # of a board that compares methods; one of fewer is an ablation
UNKNOWN = "not known"

Pairs = dict[tuple[int, int], Comparison]


@dataclass(frozen=True)
class Entry:
    """A row of a board."""

    row: Row
    name: str
    method: str  # name of the method file
    conditioning: str
    supervision: str

    @property
    def seeds(self) -> list[int]:
        """Seeds of the finished runs."""
        return sorted({record.seed for record in self.row.done})

    def cost(self, head: str) -> float | None:
        """A cost by its head in the ledger, the mean over the finished runs; None where it is not known."""
        return cost(self.row.records, dict(COSTS)[head])


@dataclass(frozen=True)
class Place:
    """A row in a ranking."""

    entry: Entry
    rank: int | None  # None: not ranked, because its method trained against the network behind the metric
    summary: Summary
    on_scale: float  # mean on the metric's scale, by which the leader is found
    test: Comparison | None  # against the leader; None: of the leader itself, or of a row that cannot be tested

    @property
    def verdict(self) -> str:
        """What the test against the leader says, in a word; empty without a test."""
        return "" if self.test is None else self.test.verdict


@dataclass(frozen=True)
class Ranking:
    """The rows of a board by one metric under one protocol, the best first."""

    column: Column
    places: tuple[Place, ...]
    scale: str
    leader: Place | None  # the row that the others are tested against
    real: tuple[str, float] | None  # real images against real images: what they are, and the value
    recall: Column | None
    coverage: Column | None

    @property
    def n_better(self) -> int:
        """How many rows the leader is significantly better than."""
        return sum(place.verdict == "worse" for place in self.places)

    @property
    def n_tested(self) -> int:
        """How many rows are tested against the leader."""
        return sum(place.test is not None for place in self.places)

    @property
    def open(self) -> list[Place]:
        """Rows that are not significantly worse than the leader."""
        return [place for place in self.places if place.test is not None and place.verdict != "worse"]


@dataclass(frozen=True)
class Board:
    """Rows that can be ranked: of one dataset and one suite, or of one recipe."""

    table: Table
    title: str
    dataset: str
    dataset_title: str
    recipe: str
    suite: str  # its name; empty for rows that no suite asked for
    budget: str
    entries: tuple[Entry, ...]
    claims: tuple[CheckedClaim, ...] = ()
    _rankings: dict[tuple[str, str], Ranking] = field(default_factory=dict, compare=False)
    _pairs: dict[tuple[str, str], Pairs] = field(default_factory=dict, compare=False)

    @property
    def id(self) -> str:
        """Its name in links."""
        return self.table.name

    @property
    def is_ablation(self) -> bool:
        """Whether it varies settings of few methods, rather than methods."""
        return len({entry.method for entry in self.entries}) < _FEWEST_METHODS and bool(self.suite)

    @cached_property
    def columns(self) -> list[Column]:
        """The metrics that rank its rows: those with a direction, and two rows or the only one."""
        found = [column for column in self.table.columns if column.better]
        ranked = {id(column): self.ranking(column) for column in found}
        least = min(2, len(self.entries))
        return [column for column in found if len(ranked[id(column)].places) >= least]

    @property
    def main_column(self) -> Column | None:
        """The metric it is ranked by first: the Frechet distance of most rows, else another distance."""
        if not self.columns:
            return None
        most = max(len(self.ranking(column).places) for column in self.columns)
        full = [column for column in self.columns if len(self.ranking(column).places) == most]
        return quality_column(replace(self.table, columns=tuple(full)))

    def ranking(self, column: Column) -> Ranking:
        """The ranking by a column."""
        key = column.id, column.key
        if key not in self._rankings:
            self._rankings[key] = _rank(self, column)
        return self._rankings[key]

    def pairs(self, column: Column) -> Pairs:
        """Every pair of a ranking's rows, tested as one family; rows by their place among the entries."""
        key = column.id, column.key
        if key not in self._pairs:
            self._pairs[key] = _all_pairs(self, column)
        return self._pairs[key]


def _rank(board: Board, column: Column) -> Ranking:
    """The rows of a board that have a value in the column, the best first, each network once."""
    entries = once_each([entry for entry in board.entries if entry.row.summary(column)], board.table.rows)
    table = replace(board.table, rows=tuple(entry.row for entry in entries), columns=(column,))
    tests = table.comparisons(column)
    by_row = {one.a: one for one in tests}
    leader = tests[0].b if tests else None
    numbers = [value for entry in entries for value in entry.row.by_seed(column).values()]
    scale = scale_of(column.id, numbers) if numbers else "identity"
    found = []
    for i, entry in enumerate(entries):
        summary = entry.row.summary(column)
        assert summary is not None  # asked above
        found.append((i, Place(entry, None, summary, scale_mean(entry.row, column, scale), by_row.get(i))))
    sign = 1 if column.better == "lower" else -1
    ranked = [pair for pair in found if not pair[1].entry.row.trained_against(column)]
    ranked.sort(key=lambda pair: (sign * pair[1].summary.mean, pair[1].entry.name))
    places = [(i, replace(place, rank=k + 1)) for k, (i, place) in enumerate(ranked)]
    places += [pair for pair in found if pair[1].entry.row.trained_against(column)]
    first = next((place for i, place in places if i == leader), None)
    control = next((row for row in board.table.controls if row.value(column) is not None), None)
    real = None if control is None else (control.labels[0], float(control.value(column) or 0.0))
    of = row_of(column.id).what(column.id)
    recall, coverage = (_column(board, row_named(id).id_of(of)) if of else None for id in ("recall_X", "coverage_X"))
    return Ranking(column, tuple(place for _, place in places), scale, first, real, recall, coverage)


def _column(board: Board, id: str) -> Column | None:
    """The board's column of an id; of several protocols the one of most rows."""
    found = [column for column in board.table.columns if column.id == id]
    return max(found, key=lambda c: sum(entry.row.summary(c) is not None for entry in board.entries), default=None)


def scale_mean(row: Row, column: Column, scale: str) -> float:
    """The mean of a row's values on the scale that they are compared on; their mean where no value is comparable."""
    values = row.by_seed(column)
    if not values:
        summary = row.summary(column)
        return math.nan if summary is None else summary.mean
    n_images = images_counted(column.id, column.protocol)
    return float(on_its_scale([values[seed] for seed in sorted(values)], scale, n_images).mean())  # type: ignore[arg-type]


def once_each(entries: Sequence[Entry], rows: Sequence[Row]) -> list[Entry]:
    """The entries without those whose networks an earlier one has: the same weights would be ranked twice.

    rows: the table's. Where all of them score the same networks, the evaluation is what they vary, and all stay.
    """
    if same_networks(rows):
        return list(entries)
    kept, seen = [], set()
    for entry in entries:
        weights = frozenset(record.result_or_empty.weights_sha256 for record in entry.row.done)
        known = bool(weights) and None not in weights
        if not (known and weights in seen):
            kept.append(entry)
        if known:
            seen.add(weights)
    return kept


def _all_pairs(board: Board, column: Column) -> Pairs:
    places = {id(entry.row): i for i, entry in enumerate(board.entries)}
    ranked = [place.entry for place in board.ranking(column).places]
    at = [places[id(entry.row)] for entry in ranked]
    values = [entry.row.by_seed(column) for entry in ranked]
    found = column_rows(values, column, paired=same_networks([entry.row for entry in ranked]))
    if found is None or found.rows is None:
        return {}
    (tests,) = fixed_comparisons([(found, list(combinations(found.places, 2)))])
    return {(at[one.a], at[one.b]): one for one in tests}


# ---- from records to boards -----------------------------------------------------------------------------------------


def all_boards(records: Sequence[Record]) -> list[Board]:
    """All boards: comparisons of methods first, the main suite on the main dataset before all others.

    Also those that no metric ranks, because no two rows share a protocol: their claims are claims all the same.
    """
    boards, used = [], set()
    for suite, size, dataset in suite_table_keys(records):
        table = suite_table(suite, size, records, dataset)
        used |= {record.run for row in table.rows for record in row.records}
        boards.append(_suite_board(suite, size, dataset, table))
    boards += _other_boards([record for record in records if record.run not in used])
    return sorted(boards, key=lambda board: (board.is_ablation, board.suite != MAIN_SUITE, not board.suite,
                                             board.dataset != MAIN_DATASET))  # fmt: skip


def _suite_board(suite: Suite, size: str, dataset: str, table: Table) -> Board:
    scope = scope_of(suite, size)
    budget = f"{scope.images:,} images each" if scope.images else f"recipe {scope.recipe}"
    names = [", ".join(label for label in row.labels if label not in ("", "-")) for row in table.rows]
    return Board(
        table,
        suite.title,
        dataset,
        _title_of(row.records for row in table.rows),
        scope.recipe,
        suite.name,
        budget,
        tuple(_entry(row, name) for row, name in zip(table.rows, names) if row.records),
        tuple(check_claims(suite, table)),
    )


def _other_boards(records: Sequence[Record]) -> list[Board]:
    """Boards of what no suite asked for: the methods at one recipe, each at the budget that its recipe has."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.scored_on, record.recipe].append(record)
    boards = []
    for (dataset, recipe), mine in sorted(groups.items()):
        table = dataset_table(dataset, mine)
        rows = at_recipe(table.rows)
        table = replace(table, name=f"{dataset}-{recipe}-runs", rows=tuple(rows))
        title, budget = f"Runs outside suites, recipe {recipe}", f"recipe {recipe}, each its own budget"
        entries = tuple(_entry(row, name) for row, name in zip(rows, figure_names(rows)))
        boards.append(Board(table, title, dataset, _title_of([mine]), recipe, "", budget, entries))
    return boards


def _title_of(groups: Iterable[Sequence[Record]]) -> str:
    """The dataset's title, as the first record's configuration has it."""
    for records in groups:
        for record in records:
            card = record.config.get("transfer", record.config.get("data", {}))
            return str(card.get("title", "")) if isinstance(card, dict) else ""
    return ""


def _entry(row: Row, name: str) -> Entry:
    first = next(iter(row.done), row.records[0])
    conditioning = str(first.result_or_empty.conditions.get("conditioning") or UNKNOWN)
    return Entry(row, name or first.method, first.method, conditioning, given(first).text)


def method_titles(boards: Sequence[Board]) -> dict[str, str]:
    """Names of methods for readers: those of the main suite's rows, else of their files."""
    titles = {name: name for name in (entry.method for board in boards for entry in board.entries)}
    for suite in {board.suite for board in boards if board.suite == MAIN_SUITE}:
        titles |= {
            row.method: next(iter(row.labels.values())) for row in find_suite(suite).rows if row.method in titles
        }
    return titles
