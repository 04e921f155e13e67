"""Is a published value reproduced? Paper-size records of a suite against the values that its source published.

A value is reproduced when the mean over our seeds lies within a tolerance of it, better or worse. The tolerance is
ours, and the same for all papers: 10 % of a distance, 5 % of a score, 3 points of a share. Papers give one run, or the
mean of a few, and rarely the spread; two code bases with one recipe commonly differ by as much. Only values that were
read in the source are compared (those in a suite's file are), never remembered ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.core.errors import ConfigError
from benchmark.core.stats import summary
from benchmark.metrics.catalogue import row_of
from benchmark.report.plain_table import EMPTY, PlainTable
from benchmark.report.suite_tables import rows_with_records
from benchmark.runs.records import Record
from benchmark.runs.suites.suite import (
    PublishedColumns,
    Suite,
    SuiteCell,
    cells,
    list_suites,
    rows_of,
    scope_of,
)

State = Literal["reproduced", "not reproduced", "not run"]
RELATIVE = {"log": 0.10, "identity": 0.05}  # tolerance as a share of the published value, by the metric's scale
ABSOLUTE = {"logit": 0.03}  # of shares: points

# Our metric for a published column, where the suite's file names no other
METRIC_OF = {
    "FID": "fd_inception",
    "IS": "score_inception",
    "Chamfer": "chamfer_tsne_paper",
    "Accuracy": "label_agreement_judge",
}


@dataclass(frozen=True)
class Target:
    """One published value: of a row of a suite, in one of the source's columns."""

    suite: Suite
    size: str
    dataset: str
    row: int  # its place in the suite
    column: str
    published: float

    @property
    def labels(self) -> str:
        """The row's labels in the order of the suite's columns."""
        return ", ".join(filter(None, (self.suite.rows[self.row].labels[name] for name in self.suite.columns)))

    @property
    def metric(self) -> str | None:
        """The id of our metric for the column; None where we have none."""
        assert self.suite.published is not None
        return metric_of(self.suite.published, self.column)


@dataclass(frozen=True)
class Reproduction:
    """A published value and ours."""

    target: Target
    seeds: tuple[float, ...]  # our value of each seed

    @property
    def mean(self) -> float | None:
        """Of our seeds; None without any."""
        return summary(self.seeds).mean if self.seeds else None

    @property
    def tolerance(self) -> float | None:
        """How far our mean may lie from the published value; None where we have no metric for it."""
        return tolerance(self.target.metric, self.target.published)

    @property
    def state(self) -> State:
        """The verdict."""
        if self.mean is None or self.tolerance is None:
            return "not run"
        return "reproduced" if abs(self.mean - self.target.published) <= self.tolerance else "not reproduced"


def metric_of(published: PublishedColumns, column: str) -> str | None:
    """The id of our metric for a published column: the suite's choice, else the usual one, else None."""
    return published.metrics.get(column, METRIC_OF.get(column))


def tolerance(metric: str | None, published: float) -> float | None:
    """The largest distance at which a mean counts as the published value; None without a metric."""
    if metric is None:
        return None
    scale = row_of(metric).scale
    return ABSOLUTE[scale] if scale in ABSOLUTE else RELATIVE[scale] * abs(published)


def targets(method: str | None = None, dataset: str | None = None, table: str | None = None) -> list[Target]:
    """Every published value of a method's rows on a dataset at paper size; None: of all.

    table: the name of a suite. Raises ConfigError where there is none, naming what there is.
    """
    every = [target for suite in list_suites().values() for target in _targets_of(suite)]
    found = [
        target
        for target in every
        if method in (None, target.suite.rows[target.row].method)
        and dataset in (None, target.dataset)
        and table in (None, target.suite.name)
    ]
    if not found:
        asked = " ".join(filter(None, (method, dataset, table)))
        pairs = sorted({" ".join((t.suite.rows[t.row].method, t.dataset, t.suite.name)) for t in every})
        raise ConfigError(
            f"nothing published of {asked}",
            "no suite has values of it that were read in its source",
            "choose a method, its dataset and, if you want, its table among: " + "; ".join(pairs),
        )
    return found


def _targets_of(suite: Suite) -> list[Target]:
    published = suite.published
    if published is None:
        return []
    return [
        Target(suite, size, published.dataset, i, column, row.published[column])
        for size in suite.sizes
        if (scope := scope_of(suite, size)).recipe.startswith("paper") and published.dataset in scope.datasets
        for i, row in rows_of(suite, size)
        for column in published.columns
        if column in row.published
    ]


def cells_of(wanted: Sequence[Target], seeds: Sequence[int] | None = None) -> list[SuiteCell]:
    """The runs that these values need, each once, in the suites' order."""
    rows: dict[tuple[str, str], tuple[Suite, set[int]]] = {}
    for target in wanted:
        rows.setdefault((target.suite.name, target.size), (target.suite, set()))[1].add(target.row)
    return [
        cell
        for (_, size), (suite, numbers) in rows.items()
        for cell in cells(suite, size, seeds)
        if cell.row in numbers
    ]


def compare(wanted: Sequence[Target], records: Sequence[Record]) -> list[Reproduction]:
    """Each published value beside ours, made from the records."""
    found = []
    for target in wanted:
        mine = rows_with_records(target.suite, target.size, records, target.dataset)[target.row]
        found.append(Reproduction(target, tuple(_values(target, mine))))
    return found


def _values(target: Target, records: Sequence[Record]) -> list[float]:
    """The numbers of finished runs, one a seed."""
    if target.metric is None:
        return []
    found = (record.values.get(target.metric) for record in records if record.status == "done")
    return [float(value.value) for value in found if value is not None and value.value is not None]


def listing(found: Sequence[Reproduction], name: str = "reproduction") -> PlainTable:
    """The comparison for readers."""
    lines = tuple(
        (
            one.target.suite.name,
            one.target.labels,
            one.target.dataset,
            one.target.column,
            one.target.metric or EMPTY,
            one.target.published,
            one.mean,
            len(one.seeds),
            one.tolerance,
            one.state,
        )
        for one in found
    )
    heads = ("Table", "Row", "Dataset", "Column", "Our metric", "Published", "Ours", "Seeds", "Tolerance", "State")
    return PlainTable(name, "Published values and ours at paper size", 5, heads, lines, (NOTE,))


NOTE = (
    "Reproduced: the mean over our seeds lies within the tolerance of the published value: 10 % of a distance, 5 % of "
    "a score, 3 points of a share."
)


def state_of(suite: Suite, records: Sequence[Record]) -> str:
    """The state of a suite's published values in a few words, for a list of tables; empty where none is published."""
    found = compare(_targets_of(suite), records)
    if not found:
        return ""
    counts = {state: sum(one.state == state for one in found) for state in ("reproduced", "not reproduced", "not run")}
    if counts["not run"] == len(found):
        return "not run"
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n)
