"""Is a published value reproduced? Paper-size records of a suite against the values that its source published.

A value is reproduced when the mean over our seeds lies within a tolerance of it, better or worse. Where a paper reports
the best of its runs, so do we. Only runs of one configuration count: the present one, or else the newest.

The tolerance is ours, and the same for all papers: `TOLERANCES` has it in words. Papers give one run, or the mean of a
few, and rarely the spread; two code bases with one recipe commonly differ by as much. The values are those in the
suites' files: read in the source, or in a text that quotes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.core.errors import ConfigError
from benchmark.core.stats import summary
from benchmark.evaluation.protocols import PROTOCOLS
from benchmark.metrics.catalogue import row_of
from benchmark.report.plain_table import EMPTY, PlainTable
from benchmark.report.suite_tables import current_hash, rows_with_records
from benchmark.report.tables import group
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
# `MetricRow.margin` in words
TOLERANCES = (
    "10 % of a distance, a path length or a reverse KL divergence; 5 % of a classifier score or a number of modes; "
    "0.03 of a share or a correlation"
)

# Our metric for a published column, where the suite's file names no other
METRIC_OF = {
    "FID": "fd_inception",
    "IS": "score_inception",
    "Chamfer": "chamfer_tsne_paper",
    "Accuracy": "label_agreement_judge",
    "Neighbour 1 has the class": "neighbour_map_1",
    "Neighbour 2 has the class": "neighbour_map_2",
    "Neighbour 5 has the class": "neighbour_map_5",
    "Modes": "modes_judge",
    "Reverse KL": "reverse_kl_judge",
    "PPL in z": "ppl_z",
    "PPL in w": "ppl_w",
    "SVM accuracy, age": "svm_Young",
    "SVM accuracy, eyeglasses": "svm_Eyeglasses",
    "SVM accuracy, gender": "svm_Male",
    "SVM accuracy, smile": "svm_Smiling",
    "Correlation, age and eyeglasses": "correlation_Young_Eyeglasses",
    "Correlation, age and gender": "correlation_Young_Male",
    "Correlation, age and smile": "correlation_Young_Smiling",
    "Correlation, eyeglasses and gender": "correlation_Eyeglasses_Male",
    "Correlation, eyeglasses and smile": "correlation_Eyeglasses_Smiling",
    "Correlation, gender and smile": "correlation_Male_Smiling",
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
        published = self.suite.published_on(self.dataset)
        assert published is not None
        return metric_of(published, self.column)

    @property
    def is_best(self) -> bool:
        """Whether the source reports the best of several runs: of Frechet distances under LT-GAN's protocol."""
        name = scope_of(self.suite, self.size).set.get("eval", {}).get("protocol", "suite")
        return self.metric is not None and PROTOCOLS[name].best_of_runs and row_of(self.metric).frechet


@dataclass(frozen=True)
class Reproduction:
    """A published value and ours."""

    target: Target
    seeds: tuple[float, ...]  # our value of each seed

    @property
    def ours(self) -> float | None:
        """The mean of our seeds, or the best where the paper reports the best of its runs; None without any."""
        if not self.seeds:
            return None
        return min(self.seeds) if self.target.is_best else summary(self.seeds).mean

    @property
    def tolerance(self) -> float | None:
        """How far our value may lie from the published one; None where we have no metric for it."""
        return tolerance(self.target.metric, self.target.published)

    @property
    def state(self) -> State:
        """The verdict."""
        if self.ours is None or self.tolerance is None:
            return "not run"
        return "reproduced" if abs(self.ours - self.target.published) <= self.tolerance else "not reproduced"


def metric_of(published: PublishedColumns, column: str) -> str | None:
    """The id of our metric for a published column: the suite's choice, else the usual one, else None."""
    return published.metrics.get(column, METRIC_OF.get(column))


def tolerance(metric: str | None, published: float) -> float | None:
    """The largest difference at which our value counts as the published one; None without a metric."""
    if metric is None:
        return None
    row = row_of(metric)
    relative = row.margin * abs(published)
    if row.counted:
        return max(1.0, relative)
    return row.margin if row.absolute_margin else relative


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
    return [
        Target(suite, size, dataset, i, column, values[column])
        for size in suite.sizes
        if (scope := scope_of(suite, size)).recipe.startswith("paper")
        for dataset in scope.datasets
        if (published := suite.published_on(dataset)) is not None
        for i, row in rows_of(suite, size)
        if (values := suite.values_on(row, dataset))
        for column in published.columns
        if column in values
    ]


def cells_of(wanted: Sequence[Target], seeds: Sequence[int] | None = None) -> list[SuiteCell]:
    """The runs that these values need, each once, in the suites' order."""
    rows: dict[tuple[str, str], tuple[Suite, set[tuple[int, str]]]] = {}
    for target in wanted:
        places = rows.setdefault((target.suite.name, target.size), (target.suite, set()))[1]
        places.add((target.row, target.dataset))
    found: dict[tuple[str, int], SuiteCell] = {}  # suites may request one run, and in different words
    for (_, size), (suite, places) in rows.items():
        for cell in cells(suite, size, seeds):
            if (cell.row, cell.dataset) in places:
                known = current_hash(suite, size, suite.rows[cell.row], cell.dataset)
                found.setdefault((known or repr(replace(cell.spec, seed=0)), cell.spec.seed), cell)
    return list(found.values())


def compare(wanted: Sequence[Target], records: Sequence[Record]) -> list[Reproduction]:
    """Each published value next to ours, made from the records."""
    found = []
    for target in wanted:
        mine = rows_with_records(target.suite, target.size, records, target.dataset)[target.row]
        found.append(Reproduction(target, tuple(_values(target, mine))))
    return found


def _values(target: Target, records: Sequence[Record]) -> list[float]:
    """The numbers of finished runs of one configuration, one a seed; of several protocols those of the most runs."""
    if target.metric is None:
        return []
    by_protocol: dict[str, list[float]] = {}
    for record in _runs_of(target, records):
        value = record.values.get(target.metric) if record.status == "done" else None
        if value is not None and value.value is not None:
            by_protocol.setdefault(value.protocol_key, []).append(float(value.value))
    return max(by_protocol.values(), key=len, default=[])


def _runs_of(target: Target, records: Sequence[Record]) -> list[Record]:
    """Of a row's runs those of the present configuration; without any, those of the one that was run last."""
    groups = group(records)
    if len(groups) > 1:
        now = current_hash(target.suite, target.size, target.suite.rows[target.row], target.dataset)
        if now in groups:
            return groups[now]
    return max(groups.values(), key=lambda runs: max(str(run.time.get("utc", "")) for run in runs), default=[])


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
            one.ours,
            len(one.seeds),
            one.tolerance,
            one.state,
        )
        for one in found
    )
    heads = ("Table", "Row", "Dataset", "Column", "Our metric", "Published", "Ours", "Seeds", "Tolerance", "State")
    return PlainTable(name, "Published values and ours at paper size", 5, heads, lines, (NOTE,))


NOTE = (
    "Reproduced: the mean over our seeds (the best where the paper reports the best of its runs) lies within the "
    f"tolerance of the published value: {TOLERANCES}."
)


def state_of(
    suite: Suite, size: str, records: Sequence[Record], dataset: str | None = None, method: str | None = None
) -> str:
    """The state of the values that are published of a suite's size in a few words; empty where there are none.

    dataset, method: only of these; None: of all.
    """
    wanted = [
        target
        for target in _targets_of(suite)
        if target.size == size and dataset in (None, target.dataset) and method in (None, suite.rows[target.row].method)
    ]
    found = compare(wanted, records)
    if not found:
        return ""
    counts = {state: sum(one.state == state for one in found) for state in ("reproduced", "not reproduced", "not run")}
    if counts["not run"] == len(found):
        return "not run"
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n)
