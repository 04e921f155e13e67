"""Tables, made from records alone; `table_files` writes them.

A table's row is a group of runs that differ in nothing but the seed; a column is one metric under one protocol. Values
of different protocols never share a column: the same metric under two protocols becomes two columns, with a note of
what differs. Failed and collapsed runs stay visible. The same records give the same bytes.

A dataset's table exists twice: with every column, and with the headline columns alone, which a page can hold. The
headline of images is what most papers report or should: distances (FD, KD, Chamfer), the classifier score, precision,
recall and coverage, copies, and whether the generator shows what is requested; of points, all there is.

A number by a network that the row's method trained against is shown with a sign, and enters no comparison: it is not
bold, keeps no other row from being bold, and is in no test, claim or ranking.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from benchmark.core.config import canonical, difference, flatten
from benchmark.core.stats import Summary, format_cell, summary
from benchmark.metrics.catalogue import row_of
from benchmark.report import compare
from benchmark.report.ledger import UNKNOWN, collapse, cost_listing, supervision
from benchmark.report.notes import OPEN, TRAINED_AGAINST, extractor_of, some, table_notes
from benchmark.report.plain_table import EMPTY, PlainTable
from benchmark.runs.record_fields import RecordedValue
from benchmark.runs.records import Record, one_a_run, request_of

if TYPE_CHECKING:
    import pandas as pd

STATISTICS = ("mean", "sd", "n", "low", "high")  # of a cell: see `Summary`
PUBLISHED = " (published)"  # ends the name of a column of the source's values
CURVE_OF = "aux_accuracy"  # the metric whose details hold a curve over sizes of moves
OWN = " (own)"  # ends the first label of one's own runs in a table of published ones
DATASET_LABELS = ("Method", "Supervision", "Recipe", "Changes")


@dataclass(frozen=True)
class Column:
    """One metric under one protocol."""

    id: str
    key: str  # protocol key
    name: str  # what the head says, unique in the table
    better: str | None  # "lower", "higher" or None
    protocol: Mapping[str, Any]

    @property
    def headline(self) -> bool:
        """Whether it is in the narrow table of a dataset."""
        return row_of(self.id).headline

    @property
    def direction(self) -> str:
        """Which values are good, in words; empty where neither direction is."""
        return {"lower": "lower is better", "higher": "higher is better"}.get(self.better or "", "")

    def value_of(self, record: Record) -> RecordedValue | None:
        """The record's value of this metric under this protocol, whatever its status; None where it has none."""
        value = record.values.get(self.id)
        return value if value is not None and value.protocol_key == self.key else None


_LIMITS = {"log": (0.0, math.inf), "logit": (0.0, 1.0), "identity": (-math.inf, math.inf)}  # of a number, by its scale


@dataclass(frozen=True)
class Row:
    """Runs that differ in the seed only."""

    labels: tuple[str, ...]
    records: tuple[Record, ...]
    planned: int | None = None  # seeds a suite requests; None: as many as there are
    extras: tuple[str, ...] = ()  # plain text right of the metrics: the best of the runs, published values
    config_hash: str = ""

    @property
    def done(self) -> list[Record]:
        """Runs with a result."""
        return [record for record in self.records if record.status == "done"]

    @property
    def failed(self) -> list[Record]:
        """Runs without one."""
        return [record for record in self.records if record.status != "done"]

    @property
    def collapsed(self) -> dict[int, str]:
        """Why finished runs count as collapsed, by seed. They enter the mean: leaving them out would hide them."""
        return {record.seed: why for record in self.done if (why := collapse(record))}

    @property
    def runs(self) -> str:
        """How many runs the row has, and how many collapsed, failed or are missing."""
        n, n_failed = self.planned or len(self.records), len(self.failed)
        missing = n - len({record.seed for record in self.records})
        n_collapsed = len(self.collapsed)
        parts = [str(len(self.done))] if self.done else []
        parts += [f"collapsed ({n_collapsed} of {n})"] if n_collapsed else []
        parts += [f"failed ({n_failed} of {n})"] if n_failed else []
        parts += [f"not run ({missing} of {n})"] if missing > 0 else []
        return ", ".join(parts)

    @property
    def reasons(self) -> str:
        """Why runs failed or count as collapsed, by seed."""
        failed = [f"seed {record.seed}: {record.reason}" for record in self.failed]
        return "; ".join([*failed, *(f"seed {seed}: collapsed, {why}" for seed, why in self.collapsed.items())])

    def values(self, column: Column) -> list[RecordedValue]:
        """The values of the finished runs in a column, whatever their status."""
        return [value for record in self.done if (value := column.value_of(record)) is not None]

    def trained_against(self, column: Column) -> str:
        """The network behind a column's values that this row's method trained against; empty where there is none."""
        found = ((record, column.value_of(record)) for record in self.done)
        names = (record.network_of(value) for record, value in found if value is not None and value.value is not None)
        return next(filter(None, names), "")

    def by_seed(self, column: Column) -> dict[int, float]:
        """The numbers of a column by the runs' seeds, as comparisons take them.

        None of a row whose method trained against the network behind the column.
        """
        if self.trained_against(column):
            return {}
        found = ((record.seed, column.value_of(record)) for record in self.done)
        return {seed: value.value for seed, value in found if value is not None and value.value is not None}

    def summary(self, column: Column) -> Summary | None:
        """Mean and interval over the seeds; None where no run has the value.

        The interval of a distance ends at 0, that of a share at 0 and 1: of two or three seeds it would reach beyond.
        """
        numbers = [value.value for value in self.values(column) if value.value is not None]
        if not numbers:
            return None
        least, most = _LIMITS[compare.scale_of(column.id, numbers)]
        return summary(numbers).within(least, most)

    def text(self, column: Column) -> str:
        """The cell for readers."""
        cell = self.summary(column)
        if cell is not None:
            return f"{format_cell(cell)} {TRAINED_AGAINST}" if self.trained_against(column) else format_cell(cell)
        return next((value.status for value in self.values(column)), EMPTY)


@dataclass(frozen=True)
class RealDataRow:
    """What the metrics say of real images: of half against half, or of known damage."""

    labels: tuple[str, ...]
    values: Mapping[tuple[str, str], float]  # by a column's id and key

    def value(self, column: Column) -> float | None:
        """The number, where the column's metric has it."""
        return self.values.get((column.id, column.key))

    def text(self, column: Column) -> str:
        """The cell for readers."""
        value = self.value(column)
        return "" if value is None else format_cell(summary([value]))


def same_networks(rows: Sequence[Row]) -> bool:
    """Whether all rows score the same trained networks, seed by seed: they differ in their evaluation alone."""
    networks = [{record.seed: record.result_or_empty.weights_sha256 for record in row.done} for row in rows]
    networks = [by_seed for by_seed in networks if by_seed]
    return len(networks) > 1 and None not in networks[0].values() and all(one == networks[0] for one in networks)


@dataclass(frozen=True, repr=False)
class Table:
    """A table before it is written."""

    name: str  # of its files
    title: str
    label_names: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    extra_names: tuple[str, ...] = ()
    controls: tuple[RealDataRow, ...] = ()
    plot: str = ""  # the label column whose numbers a figure has its metrics against

    def __repr__(self) -> str:
        """Its name and size; `to_frame` has its content."""
        return f"Table({self.name!r}, {len(self.rows)} rows, {len(self.columns)} columns)"

    def bold(self, row: Row, column: Column) -> bool:
        """Whether the row is the best of the column, or equal to it within the metric's margin."""
        return self._standing(row, column) == "best"

    def text(self, row: Row, column: Column) -> str:
        """The cell for readers, with a sign behind a value that is not significantly worse than the best."""
        return f"{row.text(column)} {OPEN}" if self._standing(row, column) == "open" else row.text(column)

    def _standing(self, row: Row, column: Column) -> compare.Standing | None:
        leading = self.standings[column.id, column.key]
        return next((standing for place, standing in leading.items() if self.rows[place] is row), None)

    @cached_property
    def standings(self) -> dict[tuple[str, str], dict[int, compare.Standing]]:
        """The rows that lead each column, by the column's id and key: see `compare.standings`."""
        return {(column.id, column.key): compare.standings(self.comparisons(column)) for column in self.columns}

    def comparisons(self, column: Column) -> list[compare.Comparison]:
        """Every row against the column's best: see `compare.comparisons`."""
        return compare.comparisons([row.by_seed(column) for row in self.rows], column, paired=same_networks(self.rows))

    def to_frame(self, real_data: bool = False) -> pd.DataFrame:
        """The table as a data frame, and as its CSV file has it: a row a row, in full precision.

        Columns: the labels; config_hash; runs_done, runs_failed and runs_collapsed, numbers of runs; reasons, why they
        failed or collapsed; for each metric `<name> mean`, sd, n, low and high, NaN where no run has it; where a row's
        method trained against the network behind a metric, `<name> trained against`, the network's name or empty; what
        a source published, as text. real_data: with the rows of real images at the end, which have one value a metric.
        """
        import pandas as pd  # half a second to import, and most readers of tables need none of it

        below: Sequence[RealDataRow] = self.controls if real_data else ()
        none, no_text = [None] * len(below), [""] * len(below)
        labels = [row.labels for row in self.rows] + [row.labels for row in below]
        frame: dict[str, Any] = {name: [texts[k] for texts in labels] for k, name in enumerate(self.label_names)}
        frame["config_hash"] = [*(row.config_hash for row in self.rows), *no_text]
        for name in ("done", "failed", "collapsed"):
            counts = [len(getattr(row, name)) for row in self.rows]
            frame[f"runs_{name}"] = pd.array([*counts, *none], dtype="Int64")
        frame["reasons"] = [*(row.reasons for row in self.rows), *no_text]
        for column in self.columns:
            cells = [row.summary(column) for row in self.rows]
            real = dict.fromkeys(STATISTICS, none) | {"mean": [row.value(column) for row in below]}
            for name in STATISTICS:
                numbers = [*(getattr(cell, name, None) for cell in cells), *real[name]]
                frame[f"{column.name} {name}"] = pd.array(numbers, dtype="Int64" if name == "n" else "float64")
            if any(networks := [row.trained_against(column) for row in self.rows]):
                frame[f"{column.name} trained against"] = [*networks, *no_text]
        for k, name in enumerate(self.extra_names):
            frame[name] = [*(row.extras[k] for row in self.rows), *no_text]
        return pd.DataFrame(frame)


# ---- from records to tables -----------------------------------------------------------------------------------------


def dataset_table(dataset: str, records: Sequence[Record], headline: bool = False) -> Table:
    """The table of one dataset: a row for each method, recipe and changes; seeds are aggregated.

    headline: its headline columns only, or all of them where it has none.
    """
    records = one_a_run(records)
    groups = group(records)
    labels = {
        key: (runs[0].method, given_text(runs), runs[0].recipe, changes_text(runs[0])) for key, runs in groups.items()
    }
    order = sorted(groups, key=lambda key: (labels[key], groups[key][0].is_own, key))
    shown, notes = tell_apart([(labels[key], groups[key]) for key in order])
    hashes = {key: runs[0].config_hash for key, runs in groups.items()}
    rows = tuple(Row(label, tuple(groups[key]), config_hash=hashes[key]) for label, key in zip(shown, order))
    columns = every = find_columns(records)
    if headline:
        columns = tuple(column for column in every if column.headline) or every
        more = [f"Headline columns; {dataset}-all.md and the CSV have {len(every)} metrics."]
        notes = [*notes, *(more if len(columns) < len(every) else [])]
    controls = real_data_rows(columns, rows, len(DATASET_LABELS))
    return Table(
        dataset,
        f"Results on {dataset}",
        DATASET_LABELS,
        columns,
        rows,
        (*table_notes(columns, rows, controls), *notes),
        controls=controls,
    )


def cost_of(table: Table) -> PlainTable:
    """What the rows of a table cost."""
    return cost_listing(table.name, table.title, table.label_names, [(row.labels, row.records) for row in table.rows])


def given_text(runs: Sequence[Record]) -> str:
    """What the method of a row was given; a run that failed knows less than a finished one."""
    texts = list(map(supervision, runs))
    return next((text for text in texts if not text.startswith(UNKNOWN)), texts[0])


def is_published(name: str) -> bool:
    """Whether a column right of the metrics has values of the source, by its name."""
    return name.endswith(PUBLISHED)


def has_figures(table: Table) -> bool:
    """Whether `suite_figures` can draw something of a suite's table."""
    return bool(table.plot) or any(column.id == CURVE_OF for column in table.columns)


def real_data_rows(columns: Sequence[Column], rows: Sequence[Row], n_labels: int) -> tuple[RealDataRow, ...]:
    """The controls that the runs' values carry: equal for all runs of a column, whose protocol they share."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for column in columns:
        controls = (value.details.get("controls") for row in rows for value in row.values(column))
        for name, number in next(filter(None, controls), {}).items():
            found.setdefault(name, {})[column.id, column.key] = number
    return tuple(RealDataRow((name, *[""] * (n_labels - 1)), numbers) for name, numbers in found.items())


def group(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Runs by configuration hash, which covers everything but the seed; each group has a seed once, in order.

    One's own runs in a table of published ones are groups of their own.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(one_a_run(records), key=lambda record: (record.seed, record.run)):
        groups[(record.config_hash or record.run) + OWN * record.is_own].append(record)
    return dict(groups)


def changes_text(record: Record) -> str:
    """What differs from the recipe: `loss=lsgan4, eval.n_fake=500`. Of a transfer first what it learned from."""
    changes = request_of(record.changes)
    learned = [f"trained on {record.dataset}"] if changes.pop("transfer", None) else []
    return ", ".join([*learned, *asked_settings(changes)])


def asked_settings(changes: Mapping[str, Any]) -> list[str]:
    """Changes of a recipe as they are requested: `eval.n_fake=500`."""
    return [
        f"{key}={value if isinstance(value, str) else canonical(value)}"
        for key, value in sorted(flatten(changes).items())
    ]


def tell_apart(groups: Sequence[tuple[tuple[str, ...], Sequence[Record]]]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Labels of groups made unique, and notes of what differs.

    Two groups with the same labels were configured differently: a recipe, a dataset or a version changed since. They
    are never averaged; the last label gets the beginning of the configuration's hash. The first label of one's own
    runs, in a table of published ones, is marked.
    """
    groups = [((first + OWN * any(run.is_own for run in runs), *rest), runs) for (first, *rest), runs in groups]
    counts = Counter(labels for labels, _ in groups)
    shown: list[tuple[str, ...]] = []
    notes: list[str] = []
    first: dict[tuple[str, ...], tuple[str, Record]] = {}
    for labels, runs in groups:
        if counts[labels] < 2 or not runs:
            shown.append(labels)
            continue
        mark = f"[{runs[0].config_hash[:4]}]"
        shown.append((*labels[:-1], f"{labels[-1]} {mark}".strip()))
        if labels in first:
            other_mark, other = first[labels]
            lines = difference(other.config, runs[0].config) or ["other images, or another evaluation"]
            notes.append(
                f"{' '.join(labels).strip()} {other_mark} and {mark} are configured differently: {some(lines)}."
            )
        else:
            first[labels] = (mark, runs[0])
    return shown, notes


def find_columns(records: Sequence[Record], ids: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns of a table: metrics in order of first appearance, or `ids`; protocols of a metric side by side.

    Earlier versions computed MiFD in the features of every extractor; only Inception's has a column.
    """
    found: dict[str, dict[str, RecordedValue]] = {id: {} for id in ids}
    for record in records:
        for id, value in record.values.items():
            if id in found or (not ids and row_of(id).applies_to(id)):
                found.setdefault(id, {}).setdefault(value.protocol_key, value)
    values = [(id, key, protocols[key]) for id, protocols in found.items() for key in sorted(protocols)]
    names = [_head(value) for _, _, value in values]
    return tuple(
        Column(
            id,
            key,
            name if names.count(name) == 1 else f"{name} [{_mark(key, values)}]",
            value.better,
            value.protocol,
        )
        for (id, key, value), name in zip(values, names)
    )


def _head(value: RecordedValue) -> str:
    """A metric's name, with a word for weights whose hash is not the expected one."""
    weights = extractor_of(value.protocol).get("weights", {})
    return value.name + (" (unverified weights)" if weights.get("verified") is False else "")


def _mark(key: str, values: Sequence[tuple[str, str, Any]]) -> str:
    """The first four digits of a protocol's key, more where two would look the same."""
    keys = {other for _, other, _ in values}
    alone = (key[:n] for n in range(4, len(key) + 1) if sum(other.startswith(key[:n]) for other in keys) == 1)
    return next(alone, key)
