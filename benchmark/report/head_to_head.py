"""Two methods, or two runs, against each other: per headline metric the effect, its interval and the verdict.

The test is that of every table (`compare`, docs/statistics.md). Strength is borrowed over all rows of the table of
the two. The comparisons shown are one family, so that p and intervals need no further correction. The pair was chosen
by the user, not for its values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.core.config import difference, flatten
from benchmark.core.errors import ConfigError, UserError
from benchmark.core.moderated import MOST_SEEDS
from benchmark.core.registry import check_method
from benchmark.report.claims import effect, p_text
from benchmark.report.compare import ColumnRows, Comparison, column_rows, fixed_comparisons
from benchmark.report.plain_table import aligned
from benchmark.report.suite_tables import suite_tables
from benchmark.report.tables import Column, Row, Table, changes_text, dataset_table, same_networks
from benchmark.runs.folder import CONFIG, run_name
from benchmark.runs.records import Record, find_records, read_record, record_path, request_of

SUITE = "compare"  # every method at one budget: where two methods are compared unless a dataset is named


SCALES = (
    "× is a ratio, odds × a ratio of odds, others are differences; brackets are 95 % intervals. They and p hold for",
    "all lines together.",
)


@dataclass(frozen=True)
class HeadToHead:
    """Two rows of a table, and the comparison of each metric that both have."""

    names: tuple[str, str]
    table: Table
    rows: tuple[Row, Row]
    source: str  # where the records lie
    tests: tuple[tuple[Column, Comparison | None, str], ...]  # None: why there is no test
    others: tuple[int, int] = (0, 0)  # further configurations of each method in the table, which are not compared

    def text(self) -> str:
        """For a terminal: who is compared, the metrics, what differs in the configurations."""
        a, b = self.names
        lines = [f"{a} against {b} on {self.dataset} (table {self.table.name}, records of {self.source})"]
        width = max(map(len, self.names))
        for name, row, n in zip(self.names, self.rows, self.others):
            lines.append(f"  {name:<{width}}  {_runs_text(row)}")
            lines += [f"  {'':<{width}}  not used: {n} other configuration{'s' * (n > 1)} of {name}"] if n else []
        lines += ["", *aligned([("metric", a, b, f"{a} to {b}", "p", "verdict"), *map(self._cells, self.tests)])]
        lines += ["", *SCALES]
        return "\n".join([*lines, *self._setting_lines()])

    @property
    def dataset(self) -> str:
        """On which both are scored."""
        return self.rows[0].records[0].scored_on

    def _cells(self, one: tuple[Column, Comparison | None, str]) -> tuple[str, ...]:
        column, test, why = one
        values = [row.text(column) for row in self.rows]
        head = f"{column.name} ({column.better} is better)" if column.better else column.name
        if test is None:
            return (head, *values, "", "", why)
        return (head, *values, effect(test), p_text(test.p), self._verdict(test))

    def _verdict(self, test: Comparison) -> str:
        if test.verdict in ("better", "worse"):
            return f"{self.names[test.verdict == 'worse']} is better"
        if test.verdict == "equal":
            return "equal within the margin"
        seeds = f"{test.needed} seeds each" if test.needed else f"more than {MOST_SEEDS} seeds each"
        return f"inconclusive; {seeds} would probably decide"

    def _setting_lines(self) -> list[str]:
        """What differs between the configurations: shared keys by value, others by name."""
        left, right = (flatten(row.records[0].config) for row in self.rows)
        shared = [key for key in left if key in right]
        lines = difference({key: left[key] for key in shared}, {key: right[key] for key in shared})
        for name, mine, other in zip(self.names, (left, right), (right, left)):
            own = [f"{key.removeprefix('config.')}={value}" for key, value in mine.items() if key not in other]
            lines += [f"only {name} has: {', '.join(own)}"] if own else []
        head = f"settings that differ ({self.names[0]} -> {self.names[1]}):"
        return ["", head, *(f"  {line}" for line in lines)]


def _runs_text(row: Row) -> str:
    """The runs behind a row."""
    record = row.records[0]
    seeds = ", ".join(str(one.seed) for one in row.done) or "none"
    result = record.result_or_empty
    seen = f", {result.images_seen:,} images seen" if result.images_seen else ""
    changes = changes_text(record)
    return f"recipe {record.recipe}{f' with {changes}' if changes else ''}, {row.runs} runs, seeds {seeds}{seen}"


# ---- finding the rows -----------------------------------------------------------------------------------------------


def head_to_head(a: str, b: str, results: Path, dataset: str | None = None) -> HeadToHead:
    """Two methods by name, or two runs by their folders.

    Methods: their rows in the suite `compare`, where every method has one budget, or else in the dataset's table.
    Runs: all seeds that have a run's configuration. Records: those of `results`, or else the published ones below it.
    dataset: None: one on which the suite has both methods. Raises UserError for what has no finished run, and for
    configurations that are the same.
    """
    folders = [(Path(one) / CONFIG).is_file() for one in (a, b)]
    if all(folders):
        if dataset is not None:
            raise UserError(f"--dataset {dataset}", "a run's folder says its dataset", "leave it out")
        return of_runs(Path(a), Path(b))
    if any(folders):
        raise UserError(f"{a} and {b}", "one is a run's folder, the other is not", "give two methods or two folders")
    for name in (a, b):
        check_method(name)
    if a == b:
        raise ConfigError(f"{a} and {b}", "a method is compared with another one", "give the folders of two runs")
    return of_methods(a, b, results, dataset)


def of_methods(a: str, b: str, results: Path, dataset: str | None = None) -> HeadToHead:
    """Two methods in one table."""
    looked: list[str] = []
    for folder in (results, results / "reference"):
        found = find_records(folder)
        found.warn()
        for table in _tables(found.records, dataset):
            rows = _pair(table, a, b)
            if rows is not None:
                others = [sum(bool(r.done) and r.records[0].method == name for r in table.rows) - 1 for name in (a, b)]
                return replace(_tested((a, b), table, rows, str(folder)), others=(others[0], others[1]))
        looked.append(str(folder))
        known = sorted({record.scored_on for record in found.records if record.method in (a, b)})
        looked[-1] += f" (datasets with either: {', '.join(known) or 'none'})"
    raise UserError(
        f"{a} against {b}" + (f" on {dataset}" if dataset else ""),
        f"no dataset has finished runs of both in {' or '.join(looked)}",
        f"run them first: make bench METHOD='{a} {b}' DATASET={dataset or 'digits'} SEEDS='0 1 2'",
    )


def _tables(records: Sequence[Record], dataset: str | None) -> list[Table]:
    """Tables in which two methods may be compared, the suite's first."""
    on = [dataset] if dataset else sorted({record.scored_on for record in records})
    suites = [table for table in suite_tables(records, [SUITE]) if _dataset_of(table) in on]
    return suites + [dataset_table(name, [one for one in records if one.scored_on == name]) for name in on]


def _dataset_of(table: Table) -> str:
    return next((record.scored_on for row in table.rows for record in row.records), "")


def _pair(table: Table, a: str, b: str) -> tuple[Row, Row] | None:
    """The rows of two methods: those that are most alike, then those with the fewest changes of the recipe."""
    rows = {name: [row for row in table.rows if row.done and row.records[0].method == name] for name in (a, b)}
    pairs = [(first, second) for first in rows[a] for second in rows[b]]
    return max(pairs, key=lambda pair: (_alike(*pair), _plainness(*pair)), default=None)


def _plainness(first: Row, second: Row) -> tuple[int, int]:
    """How few settings differ from the recipes, then the runs of the row that has fewer."""
    changes = sum(len(flatten(request_of(row.done[0].changes))) for row in (first, second))
    return -changes, min(len(first.done), len(second.done))


def _alike(first: Row, second: Row) -> tuple[bool, bool]:
    """Whether two rows have the same recipe, and the same images seen."""
    one, other = first.done[0], second.done[0]
    seen = one.result_or_empty.images_seen, other.result_or_empty.images_seen
    return one.recipe == other.recipe, seen[0] == seen[1]


def of_runs(a: Path, b: Path) -> HeadToHead:
    """The rows of two run folders: all seeds with the configuration of each."""
    records, wanted, results = [], [], []
    for folder in (a, b):
        place = folder.absolute().parents[3]
        record = read_record(record_path(place, run_name(folder)))
        if record.status != "done":
            raise UserError(f"{folder}: the run failed", record.reason, "give a run that is done")
        wanted.append(record)
        if place not in results:
            results.append(place)
            found = find_records(place)
            found.warn()
            records += found.records
    first, second = wanted
    if first.scored_on != second.scored_on:
        raise UserError(
            f"{a} and {b}",
            f"one is scored on {first.scored_on}, the other on {second.scored_on}",
            "give runs of one dataset",
        )
    if first.config_hash == second.config_hash:
        raise UserError(
            f"{a} and {b}",
            "they have the same configuration: they differ in the seed alone, and count as one row",
            "give runs of different configurations",
        )
    table = dataset_table(first.scored_on, [one for one in records if one.scored_on == first.scored_on])
    rows = tuple(next(row for row in table.rows if row.config_hash == one.config_hash) for one in wanted)
    names = (first.method, second.method)
    if first.method == second.method:
        names = (a.absolute().name, b.absolute().name)  # small-s0-0123abcd
    return _tested(names, table, (rows[0], rows[1]), ", ".join(map(str, results)))


# ---- testing --------------------------------------------------------------------------------------------------------


def _tested(names: tuple[str, str], table: Table, rows: tuple[Row, Row], source: str) -> HeadToHead:
    """The comparisons of the headline metrics, as one family."""
    columns = [column for column in table.columns if column.headline and any(row.values(column) for row in rows)]
    columns = columns or [column for column in table.columns if any(row.values(column) for row in rows)]
    places = [next(i for i, row in enumerate(table.rows) if row is one) for one in rows]
    pair = places[0], places[1]
    families: list[tuple[ColumnRows, list[tuple[int, int]]]] = []
    at: dict[int, Column] = {}
    paired = same_networks(table.rows)
    for seed, column in enumerate(columns):
        found = column_rows([row.by_seed(column) for row in table.rows], column, paired=paired, seed=seed)
        if found is not None and found.has(*pair):
            at[len(families)] = column
            families.append((found, [pair]))
    tests = {at[k].key + at[k].id: test for k, (test,) in enumerate(fixed_comparisons(families))}
    listed = [(column, tests.get(column.key + column.id), _why_not(column, rows)) for column in columns]
    return HeadToHead(names, table, rows, source, tuple(listed))


def _why_not(column: Column, rows: tuple[Row, Row]) -> str:
    """Why two rows are not compared in a column, where they are not."""
    for row in rows:
        if network := row.trained_against(column):
            return f"not comparable: {row.records[0].method} trained against {network}"
    if not all(row.values(column) for row in rows):
        return "only one has it by this protocol"
    return "not tested: a row needs two seeds that differ"
