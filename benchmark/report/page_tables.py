"""Tables of results and listings as the page shows them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.report.page import Head, HtmlCell, HtmlTable, Line
from benchmark.report.plain_table import PlainCell, PlainTable, cell_text
from benchmark.report.published import number
from benchmark.report.tables import Column, Row, Table, is_published


def card_id(dataset: str, column: Column) -> str:
    """The page's anchor of how a column is measured."""
    return f"card-{dataset}-{column.id}-{column.key[:8]}"


def table_view(table: Table, dataset: str) -> HtmlTable:
    """A table of results for the page: one more column for the runs, published values marked."""
    heads = [
        *(Head(name) for name in table.label_names[: _shown_labels(table)]),
        *(Head(column.name, True, column.better, f"#{card_id(dataset, column)}") for column in table.columns),
        Head("Runs", numeric=True),
        *(Head(name, numeric=True, published=is_published(name)) for name in table.extra_names),
    ]
    lines = [Line(list(_cells(table, row))) for row in table.rows]
    controls = []
    for control in table.controls:
        shown = [HtmlCell(control.text(column), control.value(column)) for column in table.columns]
        blank = [HtmlCell("")] * (1 + len(table.extra_names))
        controls.append(Line([*map(HtmlCell, control.labels[: _shown_labels(table)]), *shown, *blank]))
    return HtmlTable(table.name, table.title, heads, lines, list(table.notes), controls)


def listing_view(listing: PlainTable) -> HtmlTable:
    """A listing for the page: its labels and its last column, the machine, are text."""
    n = len(listing.heads)
    heads = [Head(name, numeric=listing.n_labels <= k < n - 1) for k, name in enumerate(listing.heads)]
    lines = [Line([_listing_cell(cell) for cell in line]) for line in listing.lines]
    return HtmlTable(listing.name, listing.title, heads, lines, list(listing.notes))


def _listing_cell(cell: PlainCell) -> HtmlCell:
    """A listing's cell, sorted by its number where it is one."""
    return HtmlCell(cell_text(cell), None if isinstance(cell, str) else cell)


def _shown_labels(table: Table) -> int:
    """How many labels have a column: on a dataset's table the first, whose cell has the others below it.

    The first column stays in sight while the others scroll, so it must tell the rows apart.
    """
    return 1 if table.label_names[:1] == ("Method",) and "Changes" in table.label_names else len(table.label_names)


def result_cell(row: Row, column: Column, table: Table | None = None) -> HtmlCell:
    """A row's cell. A number by a network that the method trained against sorts as if it were not there: last.

    table: in which the row is compared with others; None: with none.
    """
    found = row.summary(column)
    ranked = found is not None and not row.trained_against(column)
    text = row.text(column) if table is None else table.text(row, column)
    bold = table is not None and table.bold(row, column)
    return HtmlCell(text, found.mean if found and ranked else None, bold=bold)


def _cells(table: Table, row: Row) -> Iterator[HtmlCell]:
    if _shown_labels(table) < len(row.labels):
        others = [f"{name.lower()}: {text}" for name, text in zip(table.label_names[1:-1], row.labels[1:-1]) if text]
        yield HtmlCell(row.labels[0], note="; ".join(others), more=row.labels[-1])
    else:
        yield from map(HtmlCell, row.labels)
    for column in table.columns:
        yield result_cell(row, column, table)
    yield HtmlCell(row.runs, len(row.done), note=row.reasons)
    for name, text in zip(table.extra_names, row.extras, strict=True):
        value = number(text)
        yield HtmlCell(text, value, mark="†" if value is not None and is_published(name) else "")
