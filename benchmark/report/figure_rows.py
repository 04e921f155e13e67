"""Which rows of a table figures show, under which names, and where the files of their runs lie."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.report.tables import Row
from benchmark.runs.records import request_of


def row_name(row: Row) -> str:
    """A row's name in figures: its labels, without the recipe."""
    return f"{row.labels[0]} {row.labels[-1]}".strip()


def figure_names(rows: Sequence[Row]) -> list[str]:
    """Names of the rows of one figure: without steps and settings of the evaluation, where these tell none apart."""
    short = [_without_budget(row_name(row)) for row in rows]
    return [name if short.count(name) == 1 else row_name(row) for row, name in zip(rows, short)]


def _without_budget(name: str) -> str:
    method, _, changes = name.partition(" ")
    kept = [change for change in changes.split(", ") if not change.startswith(("steps=", "eval."))]
    return f"{method} {', '.join(kept)}".strip()


def at_recipe(rows: Sequence[Row]) -> list[Row]:
    """The rows that figures show: methods at their recipes, and of a method that has none of these, all its rows."""
    plain = [row for row in rows if any(not request_of(record.changes) for record in row.records)]
    has = {row.labels[0] for row in plain}
    return [row for row in rows if row in plain or row.labels[0] not in has]
