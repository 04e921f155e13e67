"""Tables, made from records alone; `table_files` writes them.

A table's row is a group of runs that differ in nothing but the seed; a column is one metric under one protocol. Values
of different protocols never share a column: the same metric under two protocols becomes two columns, with a note of
what differs. Failed and collapsed runs stay visible. The same records give the same bytes.

A dataset's table exists twice: with every column, and with the headline columns alone, which a page can hold. The
headline of images is what most papers report or should: distances (FD, KD, Chamfer), the classifier score, precision,
recall and coverage, copies, and whether the generator shows what it is asked for; of points, all there is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmark.core.config import canonical, difference
from benchmark.core.stats import ALPHA, CONFIDENCE, Summary, format_cell, summary
from benchmark.metrics.catalogue import row_of
from benchmark.report import compare
from benchmark.report.ledger import UNKNOWN, collapse, supervision
from benchmark.runs.records import Record, RecordedValue

EMPTY = "–"  # a value the run's evaluation does not have
_MOST_DIFFERENCES = 8  # listed in a note; the records hold all
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
        """Whether it stands in the narrow table of a dataset."""
        return row_of(self.id).headline


@dataclass(frozen=True)
class Row:
    """Runs that differ in the seed only."""

    labels: tuple[str, ...]
    records: tuple[Record, ...]
    planned: int | None = None  # seeds a suite asks for; None: as many as there are
    extras: tuple[str, ...] = ()  # plain text right of the metrics: published values
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
        """How many runs stand behind the row, and how many collapsed, failed or are missing."""
        n, n_failed = self.planned or len(self.records), len(self.failed)
        missing = n - len(self.records)
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
        found = [record.values.get(column.id) for record in self.done]
        return [value for value in found if value is not None and value.protocol_key == column.key]

    def by_seed(self, column: Column) -> dict[int, float]:
        """The numbers of a column by the runs' seeds."""
        found = ((record.seed, record.values.get(column.id)) for record in self.done)
        return {
            seed: value.value
            for seed, value in found
            if value is not None and value.protocol_key == column.key and value.value is not None
        }

    def summary(self, column: Column) -> Summary | None:
        """Mean and interval over the seeds; None where no run has the value."""
        numbers = [value.value for value in self.values(column) if value.value is not None]
        return summary(numbers) if numbers else None

    def text(self, column: Column) -> str:
        """The cell for readers."""
        cell = self.summary(column)
        if cell is not None:
            return format_cell(cell)
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


@dataclass(frozen=True)
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

    def bold(self, row: Row, column: Column) -> bool:
        """Whether the row is better than every row that shares two seeds with it: see `compare.winner`."""
        winner = self.winners.get((column.id, column.key))
        return winner is not None and self.rows[winner] is row

    @cached_property
    def winners(self) -> dict[tuple[str, str], int | None]:
        """The place of each column's bold row, by the column's id and key."""
        return {
            (column.id, column.key): compare.winner([row.by_seed(column) for row in self.rows], column)
            for column in self.columns
        }


# ---- from records to tables -----------------------------------------------------------------------------------------


def dataset_table(dataset: str, records: Sequence[Record], headline: bool = False) -> Table:
    """The table of one dataset: a row for each method, recipe and changes; seeds are aggregated.

    headline: its headline columns only, or all of them where it has none.
    """
    groups = group(records)
    labels = {
        key: (runs[0].method, given_text(runs), runs[0].recipe, changes_text(runs[0])) for key, runs in groups.items()
    }
    order = sorted(groups, key=lambda key: (labels[key], key))
    shown, notes = tell_apart([(labels[key], groups[key]) for key in order])
    rows = tuple(Row(label, tuple(groups[key]), config_hash=key) for label, key in zip(shown, order))
    columns = every = find_columns(records)
    if headline:
        columns = tuple(column for column in every if column.headline) or every
        more = [f"Headline columns; {dataset}-all.md and the CSV have {len(every)} metrics."]
        notes = [*notes, *(more if len(columns) < len(every) else [])]
    return Table(
        dataset,
        f"Results on {dataset}",
        DATASET_LABELS,
        columns,
        rows,
        (*table_notes(columns, rows), *notes),
        controls=real_data_rows(columns, rows, len(DATASET_LABELS)),
    )


def given_text(runs: Sequence[Record]) -> str:
    """What the method of a row was given; a run that failed knows less than a finished one."""
    texts = list(map(supervision, runs))
    return next((text for text in texts if not text.startswith(UNKNOWN)), texts[0])


def real_data_rows(columns: Sequence[Column], rows: Sequence[Row], n_labels: int) -> tuple[RealDataRow, ...]:
    """The controls that the runs' values carry: equal for all runs of a column, whose protocol they share."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for column in columns:
        controls = (value.details.get("controls") for row in rows for value in row.values(column))
        for name, number in next(filter(None, controls), {}).items():
            found.setdefault(name, {})[column.id, column.key] = number
    return tuple(RealDataRow((name, *[""] * (n_labels - 1)), numbers) for name, numbers in found.items())


def group(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by configuration hash, which covers everything but the seed; each group in order of seed."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.seed, record.run)):
        groups[record.config_hash].append(record)
    return dict(groups)


def changes_text(record: Record) -> str:
    """What differs from the recipe: `loss=lsgan4, eval.n_fake=500`. Of a transfer first what it learned from."""
    changes = dict(record.changes)
    learned = [f"trained on {record.dataset}"] if changes.pop("transfer", None) else []
    return ", ".join([*learned, *asked_settings(changes)])


def asked_settings(changes: Mapping[str, Any]) -> list[str]:
    """Changes of a recipe as they are asked for: `eval.n_fake=500`."""
    return [f"{key}={value}" for key, value in sorted(_flat(changes).items())]


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else canonical(value)
    return flat


def tell_apart(groups: Sequence[tuple[tuple[str, ...], Sequence[Record]]]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Labels of groups made unique, and notes of what differs.

    Two groups with the same labels were configured differently: a recipe, a card or a version changed in between. They
    are never averaged; the last label gets the beginning of the configuration's hash.
    """
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
            lines = difference(other.config, runs[0].config)
            notes.append(
                f"{' '.join(labels).strip()} {other_mark} and {mark} are configured differently: {_some(lines)}."
            )
        else:
            first[labels] = (mark, runs[0])
    return shown, notes


def find_columns(records: Sequence[Record], ids: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns of a table: metrics in order of first appearance, or `ids`; protocols of a metric side by side."""
    found: dict[str, dict[str, RecordedValue]] = {id: {} for id in ids}
    for record in records:
        for id, value in record.values.items():
            if not ids or id in found:
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
    weights = _extractor(value.protocol).get("weights", {})
    return value.name + (" (unverified weights)" if weights.get("verified") is False else "")


def _mark(key: str, values: Sequence[tuple[str, str, Any]]) -> str:
    """The first four digits of a protocol's key, more where two would look the same."""
    keys = {other for _, other, _ in values}
    return next(key[:n] for n in range(4, len(key) + 1) if sum(other.startswith(key[:n]) for other in keys) == 1)


# ---- notes ----------------------------------------------------------------------------------------------------------


def table_notes(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """What a reader must know: the meaning of ±, bold and the run counts, the protocols, and where they differ."""
    return [
        "Cells are the mean over the runs of a row, which differ in the seed only; ± is half the width of the "
        f"{CONFIDENCE:.0%} t interval of that mean. A value without ± is of one run and has no interval.",
        "Bold: the best mean of a column, where a paired t test over common seeds tells it from every other row "
        f"(p < {ALPHA:.2g} after Holm's correction; comparisons.csv has the tests). Rows of one seed can neither be "
        "bold nor keep another from it.",
        "Runs: finished runs behind a row; failed ones do not enter the mean, the CSV has their reasons "
        "and each cell's own n.",
        *_collapse_notes(rows),
        *_control_notes(columns, rows),
        *_protocol_notes(columns),
        *_difference_notes(columns),
        *_missing_notes(columns, rows),
    ]


def _collapse_notes(rows: Sequence[Row]) -> list[str]:
    """What collapsed means, where a run has."""
    if not any(row.collapsed for row in rows):
        return []
    return [
        "Collapsed: at most a fifth of the classes or modes seen, recall and coverage below 0.01, or all samples "
        "identical. Such runs enter the mean."
    ]


def _control_notes(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """What the rows of real images are, where there are any."""
    if not real_data_rows(columns, rows, n_labels=1):
        return []
    return [
        "Rows of real images say what the metrics see: one half of the reference against the other (fewer images, so a "
        "Frechet distance lies too high), and damaged copies of reference images against the whole. They are no floor "
        "for a generator: their images are those of the reference."
    ]


def _protocol_notes(columns: Sequence[Column]) -> list[str]:
    """One line for each distinct protocol, as far as words can say it."""
    names: dict[str, list[str]] = defaultdict(list)
    for column in columns:
        names[protocol_text(column.protocol)].append(column.name)
    return [f"Protocol of {', '.join(names)}: {text}." for text, names in names.items() if text]


def protocol_text(protocol: Mapping[str, Any]) -> str:
    """The main points of a protocol in words: extractor, counts, reference, conditions."""
    extractor, parts = _extractor(protocol), []
    if name := extractor.get("extractor") or extractor.get("name"):
        sha = extractor.get("weights", {}).get("sha256")
        parts.append(f"extractor {name}" + (f" (weights {sha[:8]})" if sha else ""))
    if "n_fake" in protocol:
        parts.append(f"{protocol['n_fake']} generated images")
    if "images_per_attribute" in protocol:
        parts.append(f"{protocol['images_per_attribute']} generated images an attribute")
    if "chamfer_points" in protocol:
        parts.append(f"{protocol['chamfer_points']} points of each kind")
    if "reference" in protocol:
        n = protocol.get("n_reference")
        parts.append(f"reference: {protocol['reference']} split" + (f", {n} images" if n else ""))
    if "conditions" in protocol:
        parts.append(f"conditions {protocol['conditions']}")
    return ", ".join(parts)


def _extractor(protocol: Mapping[str, Any]) -> Mapping[str, Any]:
    """The identity of the network behind a value, where the protocol has one."""
    identity = protocol.get("extractor", protocol.get("scorer"))
    if isinstance(identity, str):
        return {"extractor": identity}
    return identity if isinstance(identity, Mapping) else {}


def _difference_notes(columns: Sequence[Column]) -> list[str]:
    """For a metric with several protocols: what differs from the first."""
    notes = []
    for id in dict.fromkeys(column.id for column in columns):
        first, *others = [column for column in columns if column.id == id]
        for other in others:
            lines = difference(first.protocol, other.protocol)
            notes.append(f"{first.name} and {other.name} are not comparable; what differs: {_some(lines)}.")
    return notes


def _missing_notes(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Values that finished runs lack, with the reason."""
    notes = []
    for row in rows:
        label = " ".join(filter(None, row.labels))
        for column in columns:
            lacking = [value for value in row.values(column) if value.value is None]
            if lacking:
                reasons = "; ".join(sorted({f"{value.status}, {value.reason}" for value in lacking}))
                notes.append(f"{column.name}, {label}: no value in {len(lacking)} of {len(row.done)} runs ({reasons}).")
    return notes


def _some(lines: Sequence[str]) -> str:
    """The first differences, and how many more there are."""
    more = len(lines) - _MOST_DIFFERENCES
    return "; ".join(lines[:_MOST_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
