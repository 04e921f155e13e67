"""A table as a few lines for a terminal: the best rows, the columns that fit; files have the rest."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.core.errors import ConfigError, suggest
from benchmark.report.plain_table import aligned
from benchmark.report.tables import Column, Row, Table
from benchmark.runs.records import Record

WIDTH = 120  # characters of a line
MOST_ROWS = 28
LONGEST_LABEL = 24  # characters; the files have labels in full
ALL = "all"  # of `--rows` and `--columns`


def latest_dataset(records: Sequence[Record]) -> str:
    """The dataset of the record that was written last."""
    return max(records, key=lambda record: (str(record.time.get("utc", "")), record.run)).scored_on


def summary_text(table: Table, columns: Sequence[str] = (), rows: Sequence[str] = ()) -> str:
    """Title, header and rows, the best by the first column first.

    columns: ids of metrics or their beginnings, as `fd` or `recall_judge`; none: the first headline ones that fit;
    "all": every one. rows: parts of labels, such as a method's name; none: the best 28; "all": every one.
    Raises ConfigError for what the table does not have.
    """
    chosen = _columns(table, columns)
    found = _rows(table, rows)
    if chosen:
        found = sorted(found, key=lambda row: _rank(row, chosen[0]))
    shown = found if rows else found[:MOST_ROWS]
    labels = [k for k, _ in enumerate(table.label_names) if k == 0 or len({row.labels[k] for row in shown}) > 1]
    lines = [[*(table.label_names[k] for k in labels), *(column.name for column in chosen), "Runs"]]
    lines += [
        [*(_short(row.labels[k]) for k in labels), *(table.text(row, c) for c in chosen), row.runs] for row in shown
    ]
    if not columns:
        lines = _narrowed(lines, len(labels))
    text = [table.title, *aligned(lines)]
    if chosen and chosen[0].better:
        text.append(f"sorted by {chosen[0].name}, {chosen[0].direction}; ~ not significantly worse than the best")
    if len(shown) < len(found):
        text.append(f"{len(found) - len(shown)} more rows: --rows all, or --rows METHOD")
    if (n := len(table.columns) - (len(lines[0]) - len(labels) - 1)) > 0:
        text.append(f"{n} more columns: --columns ID ..., or --columns all")
    return "\n".join(text)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 3]}..."


def _columns(table: Table, wanted: Sequence[str]) -> list[Column]:
    if not wanted:
        return [column for column in table.columns if column.headline] or list(table.columns)
    if ALL in wanted:
        return list(table.columns)
    found: list[Column] = []
    for name in wanted:
        fitting = [c for c in table.columns if name in (c.id, c.name)] or [
            c for c in table.columns if c.id.startswith(f"{name}_")
        ]
        if not fitting:
            known = dict.fromkeys(column.id for column in table.columns)
            raise ConfigError(f"--columns {name}", f"{table.name} has no such metric", suggest(name, known))
        found += [column for column in fitting if column not in found]
    return found


def _rows(table: Table, wanted: Sequence[str]) -> list[Row]:
    if not wanted or ALL in wanted:
        return list(table.rows)
    found = [row for row in table.rows if any(part in label for part in wanted for label in row.labels)]
    if not found:
        known = dict.fromkeys(row.labels[0] for row in table.rows)
        raise ConfigError(f"--rows {' '.join(wanted)}", f"no row of {table.name} has it", suggest(wanted[0], known))
    return found


def _rank(row: Row, column: Column) -> tuple[bool, float]:
    """Best first; rows without a value, or whose method trained against the metric's network, last."""
    values = list(row.by_seed(column).values())
    if not values:
        return True, 0.0
    mean = sum(values) / len(values)
    return False, -mean if column.better == "higher" else mean


def _narrowed(lines: list[list[str]], n_labels: int) -> list[list[str]]:
    """As many metrics as fit into a line, and at least one."""
    while len(lines[0]) > n_labels + 2 and max(map(len, aligned(lines))) > WIDTH:
        lines = [[*line[:-2], line[-1]] for line in lines]
    return lines
