"""Published values on the page: with our rows of the same metrics, and all of them by paper."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmark.report.figure_rows import row_name
from benchmark.report.notes import TRAINED_AGAINST
from benchmark.report.page import Head, HtmlCell, HtmlTable, Line, PublishedPaper
from benchmark.report.page_tables import card_id, result_cell
from benchmark.report.plain_table import EMPTY
from benchmark.report.published import PublishedValue, number
from benchmark.report.tables import Table

_MARKS = {"read": "", "quoted": "‡"}


def _published_cell(value: PublishedValue | None, mark: str = "") -> HtmlCell:
    """A published value; `mark`, then the mark of one that was read in another text."""
    if value is None:
        return HtmlCell(EMPTY)
    return HtmlCell(value.text, value.value, mark=mark + _MARKS[value.fields["certainty"]])


def _protocols(values: Iterable[PublishedValue]) -> list[str]:
    """How published values were measured, a line for each protocol and source."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for value in values:
        names[f"{value.fields['protocol']} ({value.fields['source']})."][value.metric] = None
    return [f"{', '.join(metrics)}: {text}" for text, metrics in names.items()]


def beside_published(table: Table, published: Sequence[PublishedValue]) -> HtmlTable | None:
    """Our rows and published ones in one table, for metrics of the same name; None where nothing is to compare."""
    metrics = list(dict.fromkeys(value.metric for value in published))
    columns = [column for column in table.columns if column.name in metrics]
    if not columns:
        return None
    heads = [
        Head("Source"),
        Head("Method"),
        *(Head(column.name, True, column.better, f"#{card_id(table.name, column)}") for column in columns),
    ]
    lines = [
        Line(
            [
                HtmlCell("here"),
                HtmlCell(f"{row_name(row)}, {row.records[0].recipe}"),
                *(result_cell(row, column) for column in columns),
            ]
        )
        for row in table.rows
    ]
    theirs: dict[tuple[str, str], dict[str, PublishedValue]] = defaultdict(dict)
    for value in published:
        theirs[value.paper, value.method].setdefault(value.metric, value)
    for (paper, method), by_metric in theirs.items():
        cells = [_published_cell(by_metric.get(column.name), "†") for column in columns]
        lines.append(Line([HtmlCell(paper), HtmlCell(method), *cells], published=True))
    names = {column.name for column in columns}
    notes = _protocols(value for value in published if value.metric in names)
    if any(row.trained_against(column) for row in table.rows for column in columns):
        notes.append(f"{TRAINED_AGAINST}: trained against this extractor; the number is left out of rankings.")
    return HtmlTable(f"{table.name}-published", f"{table.title}, with published values", heads, lines, notes)


def published_by_paper(published: Sequence[PublishedValue]) -> list[PublishedPaper]:
    """Every published value: a paper's tables with a row a method and a column a metric."""
    papers: dict[str, dict[str, list[PublishedValue]]] = defaultdict(lambda: defaultdict(list))
    for value in published:
        papers[f"{value.paper} ({value.fields['year']})"][value.fields["table"]].append(value)
    return [
        PublishedPaper(
            f"{paper}: {sum(map(len, tables.values()))} values",
            [_published_table(f"published-{i}-{j}", name, values) for j, (name, values) in enumerate(tables.items())],
        )
        for i, (paper, tables) in enumerate(papers.items())
    ]


def _published_table(id: str, name: str, values: Sequence[PublishedValue]) -> HtmlTable:
    metrics = list(dict.fromkeys(value.metric for value in values))
    rows: dict[tuple[str, ...], dict[str, PublishedValue]] = defaultdict(dict)
    for value in values:
        rows[tuple(value.fields[key] for key in ("method", "dataset", "resolution"))][value.metric] = value
    heads = [Head("Method"), Head("Dataset"), Head("px", numeric=True), *(Head(name, numeric=True) for name in metrics)]
    lines = [
        Line(
            [
                HtmlCell(method),
                HtmlCell(dataset),
                HtmlCell(px or EMPTY, number(px)),
                *(_published_cell(row.get(m)) for m in metrics),
            ]
        )
        for (method, dataset, px), row in rows.items()
    ]
    return HtmlTable(
        id, f"Table {name}" if name[:1].isdigit() else name[:1].upper() + name[1:], heads, lines, _protocols(values)
    )
