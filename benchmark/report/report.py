"""The report: one HTML page of all results, complete in itself, readable without a network.

Numbers come from records, by the same tables as everywhere; pictures and curves from run folders, where these are
still there. The same records and folders give the same bytes. `report_page` turns what is gathered here into HTML.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark.core.config import canonical
from benchmark.core.errors import UserError
from benchmark.core.files import write_text
from benchmark.core.stats import format_cell, summary
from benchmark.metrics.catalogue import row_of
from benchmark.report.claims import claims_listing
from benchmark.report.comparison_figures import figures_of, first_samples, save_figures
from benchmark.report.curves import snapshot_curves, snapshot_name
from benchmark.report.figure_rows import at_recipe, figure_names, row_name, run_folder
from benchmark.report.ledger import PlainTable
from benchmark.report.page import (
    Album,
    Fact,
    FactSheet,
    Figure,
    Head,
    HtmlCell,
    HtmlTable,
    Line,
    Page,
    PublishedPaper,
    RowRuns,
    Section,
    SuiteTables,
    render,
)
from benchmark.report.published import CERTAINTY, PublishedValue, find_published, number, read_published
from benchmark.report.suite_tables import suite_claims, suite_tables
from benchmark.report.tables import EMPTY, Column, Row, Table, dataset_table
from benchmark.report.writers import cost_of
from benchmark.runs.records import Record, read_records

_OUR_FIGURES = ("samples.png", "real.png", "curves.png")  # shown elsewhere on the page
_MOST_PICTURES = 12  # of one run, beside its samples


def write_report(results: Path, out: Path | None = None) -> Path:
    """Write the report of all records under `results`, and its figures under `figures/`. Returns the page's path.

    out: the HTML file; None: `report.html` in the results folder.
    Raises UserError without records, for a record that cannot be read, or a file that cannot be written; DataError for
    published values that cannot be read.
    """
    out = results / "report.html" if out is None else out
    if out.is_dir():
        raise UserError(f"{out}: is a folder", "the report is one file", f"give a file, such as {out / 'report.html'}")
    records = read_records(results)
    if not records:
        raise UserError(f"{results / 'records'}: no records", "the report is made of records alone", "make bench")
    published = read_published(find_published(results))
    write_text(out, render(gather(results, records, published)))
    return out


def gather(results: Path, records: Sequence[Record], published: Sequence[PublishedValue]) -> Page:
    """Everything the page shows. Also writes the figures that it embeds."""
    album = Album()
    tables = [
        dataset_table(dataset, [record for record in records if record.scored_on == dataset])
        for dataset in sorted({record.scored_on for record in records})
    ]
    sections = [_section(results, table, published, album) for table in tables]
    for section, table in zip(sections, tables):  # after every dataset's main figures: the page has a limit
        section.more = list(_more_pictures(results, table, album))
    return Page(
        datasets=_overview(tables),
        n_runs=len(records),
        n_failed=sum(record.status != "done" for record in records),
        failures=_failures(records),
        sections=sections,
        suites=[
            SuiteTables(_table_view(table, _dataset_of(table)), _listing_view(cost_of(table)))
            for table in suite_tables(records)
        ],
        claims=_listing_view(claims) if (claims := claims_listing(suite_claims(records))) is not None else None,
        published=_published_by_paper(published),
        certainty=CERTAINTY,
        n_left_out=album.n_left_out,
    )


# ---- overview -------------------------------------------------------------------------------------------------------


def _overview(tables: Sequence[Table]) -> HtmlTable:
    lines = []
    for table in tables:
        records = [record for row in table.rows for record in row.records]
        config = records[0].config
        card = config.get("transfer", config.get("data", {}))
        methods = sorted({record.method for record in records})
        failed = [record for record in records if record.status != "done"]
        lines.append(
            Line(
                [
                    HtmlCell(table.name, link=f"#data-{table.name}"),
                    HtmlCell(card.get("title", "") if isinstance(card, Mapping) else ""),
                    HtmlCell(", ".join(methods)),
                    HtmlCell(str(len(records)), sort=len(records)),
                    HtmlCell(str(len(failed)), sort=len(failed)),
                ]
            )
        )
    heads = [
        Head("Dataset"),
        Head("What it is"),
        Head("Methods"),
        Head("Runs", numeric=True),
        Head("Failed", numeric=True),
    ]
    return HtmlTable("overview", "Datasets, methods and runs", heads, lines)


def _failures(records: Sequence[Record]) -> list[Fact]:
    return [Fact(record.run, record.reason) for record in records if record.status != "done"]


# ---- a dataset ------------------------------------------------------------------------------------------------------


def _section(results: Path, table: Table, published: Sequence[PublishedValue], album: Album) -> Section:
    figures = figures_of(results, table)
    save_figures(results, table.name, figures)
    records = [record for row in table.rows for record in row.records]
    environments = _environments(records)
    here = [value for value in published if value.dataset == table.name]
    return Section(
        name=table.name,
        table=_table_view(table, table.name),
        cards=[_card(table, column) for column in table.columns],
        beside=_beside_published(table, here),
        curves=album.figure(figures.get("curves"), f"Training curves of the methods on {table.name}"),
        snapshots=list(_snapshot_figures(table, figures, album)),
        scatter=album.figure(figures.get("scatter"), f"Generated points during training on {table.name}"),
        cost=album.figure(figures.get("cost"), f"Quality against seconds of training on {table.name}"),
        gallery=list(_gallery(results, table, album)),
        n_without_folder=sum(not run_folder(results, record).is_dir() for record in records),
        n_runs=len(records),
        runs=_runs_table(table, environments),
        rows=[_row_runs(row) for row in table.rows if row.records],
        environments=[_environment_card(name, text) for text, name in environments.items()],
    )


def _snapshot_figures(table: Table, figures: Mapping[str, bytes], album: Album) -> Iterator[Figure]:
    """Scores during training, with what they are of: fewer samples than the table's, so no column of its own."""
    for kind, column, _ in snapshot_curves(table):
        name, n = snapshot_name(column), column.protocol.get("n_fake")
        points = column.protocol.get("quantisation") == "none"
        few = f"{n:,} generated {'points' if points else 'images'}" if n else "few generated images"
        caption = f"{name} of {few} at each snapshot, against images seen. "
        if row_of(column.id).frechet:
            caption += "A Frechet distance of fewer images is higher: compare these curves with each other, not with "
            caption += "the table. "
        caption += "A line is the mean of a method's seeds, the band reaches from the lowest to the highest; a line "
        caption += "without one is of one run. Grey: the other methods."
        if figure := album.figure(figures.get(kind), f"{name} during training on {table.name}", caption):
            yield figure


def _dataset_of(table: Table) -> str:
    return next(record.scored_on for row in table.rows for record in row.records)


def card_id(dataset: str, column: Column) -> str:
    """The page's anchor of what stands behind a column."""
    return f"card-{dataset}-{column.id}-{column.key[:8]}"


def _table_view(table: Table, dataset: str) -> HtmlTable:
    """A table of results for the page: one more column for the runs, published values marked."""
    heads = [
        *(Head(name) for name in table.label_names[: _shown_labels(table)]),
        *(Head(column.name, True, column.better, f"#{card_id(dataset, column)}") for column in table.columns),
        Head("Runs", numeric=True),
        *(Head(name, numeric=True, published=True) for name in table.extra_names),
    ]
    lines = [Line(list(_cells(table, row))) for row in table.rows]
    controls = []
    for control in table.controls:
        shown = [HtmlCell(control.text(column), control.value(column)) for column in table.columns]
        blank = [HtmlCell("")] * (1 + len(table.extra_names))
        controls.append(Line([*map(HtmlCell, control.labels[: _shown_labels(table)]), *shown, *blank]))
    return HtmlTable(table.name, table.title, heads, lines, list(table.notes), controls)


def _listing_view(listing: PlainTable) -> HtmlTable:
    """A listing for the page: its labels and its last column, the machine, are text."""
    n = len(listing.heads)
    heads = [Head(name, numeric=listing.n_labels <= k < n - 1) for k, name in enumerate(listing.heads)]
    lines = [Line([_listing_cell(cell) for cell in line]) for line in listing.lines]
    return HtmlTable(listing.name, listing.title, heads, lines, list(listing.notes))


def _listing_cell(cell: str | float | int | None) -> HtmlCell:
    """A listing's cell: whole numbers in full, others to four digits."""
    if cell is None or isinstance(cell, str):
        return HtmlCell(EMPTY if cell is None else cell)
    return HtmlCell(f"{cell:,}" if isinstance(cell, int) else format_cell(summary([cell])), cell)


def _shown_labels(table: Table) -> int:
    """How many labels have a column: on a dataset's table the first, whose cell has the others below it.

    The first column stays in sight while the others scroll, so it must tell the rows apart.
    """
    return 1 if table.label_names[:1] == ("Method",) and "Changes" in table.label_names else len(table.label_names)


def _cells(table: Table, row: Row) -> Iterator[HtmlCell]:
    if _shown_labels(table) < len(row.labels):
        others = [f"{name.lower()}: {text}" for name, text in zip(table.label_names[1:-1], row.labels[1:-1]) if text]
        yield HtmlCell(row.labels[0], note="; ".join(others), more=row.labels[-1])
    else:
        yield from map(HtmlCell, row.labels)
    for column in table.columns:
        found = row.summary(column)
        yield HtmlCell(row.text(column), found.mean if found else None, bold=table.bold(row, column))
    yield HtmlCell(row.runs, len(row.done), note=row.reasons)
    for text in row.extras:
        value = number(text)
        yield HtmlCell(text, value, mark="†" if value is not None else "")


# ---- what stands behind a number ------------------------------------------------------------------------------------


def _card(table: Table, column: Column) -> FactSheet:
    """A column's protocol, whole, with the seeds and the library versions of the runs that have the value."""
    rows = [(row, [record for record in row.done if _has(record, column)]) for row in table.rows]
    seeds = [
        Fact(row_name(row), ("seed " if len(found) == 1 else "seeds ") + ", ".join(str(r.seed) for r in found))
        for row, found in rows
        if found
    ]
    versions: dict[str, set[str]] = defaultdict(set)
    for _, found in rows:
        for record in found:
            for name, version in record.environment.get("libraries", {}).items():
                versions[name].add(str(version))
    direction = {"lower": "lower is better", "higher": "higher is better"}.get(column.better or "", "neither is better")
    return FactSheet(
        id=card_id(table.name, column),
        title=column.name,
        facts=[
            Fact("Direction", direction),
            *_facts(column.protocol),
            Fact("Protocol key", column.key),
            Fact("Libraries", "; ".join(f"{name} {', '.join(sorted(v))}" for name, v in sorted(versions.items()))),
        ],
        seeds=seeds,
    )


def _has(record: Record, column: Column) -> bool:
    value = record.values.get(column.id)
    return value is not None and value.protocol_key == column.key


_WORDS = {  # a protocol's keys in words
    "n_fake": "Generated images",
    "n_reference": "Reference images",
    "reference": "Reference split",
    "data_sha256": "Dataset, sha256",
    "eval_seed": "Seed of the evaluation",
    "extractor.weights.sha256": "Weights, sha256",
    "scorer.weights.sha256": "Weights, sha256",
    "extractor.resize": "Resize",
    "scorer.resize": "Resize",
}


def _facts(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[Fact]:
    """A nested mapping as lines: `extractor.weights.sha256` and what it is."""
    for key, value in mapping.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _facts(value, f"{path}.")
        else:
            words = _WORDS.get(path, path.replace("_", " ").replace(".", ", "))
            yield Fact(words[0].upper() + words[1:], value if isinstance(value, str) else canonical(value))


# ---- runs -----------------------------------------------------------------------------------------------------------


def _environments(records: Sequence[Record]) -> dict[str, str]:
    """Names of the distinct environments of runs, by their canonical text; the commit is shown beside each run."""
    texts = sorted({_environment(record) for record in records})
    return {text: f"E{i + 1}" for i, text in enumerate(texts)}


def _environment(record: Record) -> str:
    return canonical({key: value for key, value in record.environment.items() if key != "commit"})


def _environment_card(name: str, text: str) -> FactSheet:
    return FactSheet(id="", title=name, facts=list(_facts(yaml.safe_load(text))), seeds=[])


def _runs_table(table: Table, environments: Mapping[str, str]) -> HtmlTable:
    heads = [
        Head("Run"),
        Head("Row"),
        Head("Seed", numeric=True),
        Head("Status"),
        Head("Training (s)", numeric=True),
        Head("Evaluation (s)", numeric=True),
        Head("Environment"),
        Head("Commit"),
        Head("Written (UTC)"),
    ]
    lines = []
    for row in table.rows:
        for record in row.records:
            lines.append(
                Line(
                    [
                        HtmlCell(record.run),
                        HtmlCell(row_name(row)),
                        HtmlCell(str(record.seed), record.seed),
                        HtmlCell(record.status, note=record.reason),
                        *(_seconds(record.time.get(key)) for key in ("training_s", "evaluation_s")),
                        HtmlCell(environments[_environment(record)]),
                        HtmlCell(record.environment.get("commit") or "–"),
                        HtmlCell(record.time.get("utc", "–")[:16].replace("T", " ")),
                    ]
                )
            )
    return HtmlTable(f"runs-{table.name}", f"Every run on {table.name}", heads, lines)


def _seconds(value: float | None) -> HtmlCell:
    return HtmlCell("–") if value is None else HtmlCell(f"{value:.0f}", value)


def _row_runs(row: Row) -> RowRuns:
    """A row's configuration, which its runs share."""
    config = yaml.safe_dump(row.records[0].config, sort_keys=True, allow_unicode=True, width=100)
    return RowRuns(row_name(row), row.records[0].config_hash, config)


# ---- pictures -------------------------------------------------------------------------------------------------------


def _gallery(results: Path, table: Table, album: Album) -> Iterator[Figure]:
    """Real images, then the grid of samples of every method's first seed."""
    rows = at_recipe(table.rows)
    folders = [run_folder(results, record) for row in rows for record in row.done]
    real = next((folder / "real.png" for folder in folders if (folder / "real.png").is_file()), None)
    if figure := album.picture(real, f"Real images of {table.name}", "real images"):
        yield figure
    for name, row in zip(figure_names(rows), rows):
        path = first_samples(results, row)
        if figure := album.picture(path, f"Samples of {name} on {table.name}", f"{name}, seed {_seed(path)}"):
            yield figure


def _seed(path: Path | None) -> str:
    """The seed of the run in whose folder a picture lies."""
    return "" if path is None else path.parent.name.split("-s", 1)[1].split("-")[0]


def _more_pictures(results: Path, table: Table, album: Album) -> Iterator[tuple[str, list[Figure]]]:
    """What else runs drew, by row: t-SNE, traversals, instances, nearest images; of each row's first seed with any.

    Rows that change a recipe show their samples here.
    """
    main = at_recipe(table.rows)
    for row in table.rows:
        samples = first_samples(results, row)
        if samples is None:
            continue
        others = sorted(path for path in samples.parent.rglob("*.png") if path.name not in _OUR_FIGURES)
        shown = [*([] if row in main else [samples]), *others[:_MOST_PICTURES]]
        names = [path.relative_to(samples.parent).with_suffix("").as_posix().replace("_", " ") for path in shown]
        figures = [album.picture(path, f"{name} of {row_name(row)}", name) for path, name in zip(shown, names)]
        if kept := [figure for figure in figures if figure]:
            yield f"{row_name(row)}, seed {_seed(samples)}", kept


# ---- published values -----------------------------------------------------------------------------------------------


_MARKS = {"read": "", "quoted": "‡", "remembered": "?"}


def _published_cell(value: PublishedValue | None, mark: str = "") -> HtmlCell:
    """A published value; its mark says how certain it is, after `mark`."""
    if value is None:
        return HtmlCell("–")
    certainty = value.plain["certainty"]
    return HtmlCell(value.text, value.value, mark=mark + _MARKS[certainty], remembered=certainty == "remembered")


def _protocols(values: Iterable[PublishedValue]) -> list[str]:
    """How published values were measured, a line for each protocol and source."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for value in values:
        names[f"{value.plain['protocol']} ({value.plain['source']})."][value.metric] = None
    return [f"{', '.join(metrics)}: {text}" for text, metrics in names.items()]


def _beside_published(table: Table, published: Sequence[PublishedValue]) -> HtmlTable | None:
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
                *_plain_cells(row, columns),
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
    return HtmlTable(f"{table.name}-published", f"{table.title}, beside published values", heads, lines, notes)


def _plain_cells(row: Row, columns: Sequence[Column]) -> Iterator[HtmlCell]:
    for column in columns:
        found = row.summary(column)
        yield HtmlCell(row.text(column), found.mean if found else None)


def _published_by_paper(published: Sequence[PublishedValue]) -> list[PublishedPaper]:
    """Every published value: a paper's tables with a row a method and a column a metric."""
    papers: dict[str, dict[str, list[PublishedValue]]] = defaultdict(lambda: defaultdict(list))
    for value in published:
        papers[f"{value.paper} ({value.plain['year']})"][value.plain["table"]].append(value)
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
        rows[tuple(value.plain[key] for key in ("method", "dataset", "resolution"))][value.metric] = value
    heads = [Head("Method"), Head("Dataset"), Head("px", numeric=True), *(Head(name, numeric=True) for name in metrics)]
    lines = [
        Line(
            [
                HtmlCell(method),
                HtmlCell(dataset),
                HtmlCell(px or "–", number(px)),
                *(_published_cell(row.get(m)) for m in metrics),
            ]
        )
        for (method, dataset, px), row in rows.items()
    ]
    return HtmlTable(
        id, f"Table {name}" if name[:1].isdigit() else name[:1].upper() + name[1:], heads, lines, _protocols(values)
    )
