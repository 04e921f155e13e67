"""The report: a small static site of all results, readable without a network.

The front page answers first: which method is best, how certain, at what cost. It links to the pages in a folder of its
name: datasets, methods, comparisons of two (`benchmark.report.site`), and a page of all tables, which is gathered here
and rendered by `page`. Each file is complete in itself.

Numbers come from records, by the same tables as everywhere; small sample grids lie with the records; larger images
and curves come from run folders, where these are still there. The same records and files give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from benchmark.core.errors import UserError
from benchmark.core.files import require_writable, write_text
from benchmark.report.agreement import agreement_listing
from benchmark.report.claims import claims_listing
from benchmark.report.comparison_figures import save_figures
from benchmark.report.page import Album, Fact, Head, HtmlCell, HtmlTable, Line, Page, SuiteTables, render
from benchmark.report.page_dataset import dataset_section, more_pictures
from benchmark.report.page_published import published_by_paper
from benchmark.report.page_tables import listing_view, table_view
from benchmark.report.published import CERTAINTY, PublishedValue, find_published, read_published
from benchmark.report.site.links import TABLES
from benchmark.report.site.site import site_of
from benchmark.report.site.views import front_page, pages
from benchmark.report.suite_figures import suite_figures
from benchmark.report.suite_tables import suite_claims, suite_tables
from benchmark.report.tables import Table, cost_of, dataset_table
from benchmark.runs.records import Record, read_records


def write_report(results: Path, out: Path | None = None, records: Sequence[Record] | None = None) -> Path:
    """Write the report of all records under `results`, and its figures under `figures/`. Returns the front page's path.

    out: the front page's file; None: `report.html` in the results folder. The other pages lie in a folder of its name
    without the ending. records: those that `find_records` found; None: they
    are read, and what cannot be used is named on standard error.
    Raises UserError without records, or when a file cannot be written; DataError for published values that cannot be
    read.
    """
    out = results / "report.html" if out is None else out
    if out.is_dir():
        raise UserError(
            f"{out}: is a folder", "the front page is one file", f"give a file, such as {out / 'report.html'}"
        )
    records = read_records(results) if records is None else records
    if not records:
        raise UserError(f"{results / 'records'}: no records", "the report is made of records alone", "make bench")
    published = read_published(find_published(results))
    below = pages_folder(out)
    for folder in (out.parent, results / "figures", below):
        require_writable(folder)
    site = site_of(results, records, published, f"../{quote(out.name)}", f"{quote(below.name)}/")
    for name, text in pages(site).items():
        write_text(below / name, text)
    write_text(tables_page(out), render(gather(results, records, published), site.front))
    write_text(out, front_page(site))  # last: it links to the others
    return out


def pages_folder(out: Path) -> Path:
    """The folder of the pages that a front page links to."""
    return out.with_suffix("") if out.suffix else out.with_name(f"{out.name}-pages")


def tables_page(out: Path) -> Path:
    """The page of all tables that belongs to a front page."""
    return pages_folder(out) / TABLES


def gather(results: Path, records: Sequence[Record], published: Sequence[PublishedValue]) -> Page:
    """Everything the page shows. Also writes the figures that it embeds."""
    album = Album()
    tables = [
        dataset_table(dataset, [record for record in records if record.scored_on == dataset])
        for dataset in sorted({record.scored_on for record in records})
    ]
    sections = [dataset_section(results, table, published, album) for table in tables]
    suites = [_suite(results, table, album) for table in suite_tables(records)]
    for section, table in zip(sections, tables):  # after every dataset's main figures: the page has a limit
        section.more = list(more_pictures(results, table, album))
    return Page(
        datasets=_overview(tables),
        n_runs=len(records),
        n_failed=sum(record.status != "done" for record in records),
        failures=_failures(records),
        sections=sections,
        suites=suites,
        claims=listing_view(claims) if (claims := claims_listing(suite_claims(records))) is not None else None,
        published=published_by_paper(published),
        certainty=CERTAINTY,
        n_left_out=album.n_left_out,
    )


def _suite(results: Path, table: Table, album: Album) -> SuiteTables:
    """A suite's table with its cost and its figures, which are also written."""
    figures = suite_figures(table)
    save_figures(results, table.name, figures)
    shown = [album.figure(png, f"{table.title}: {kind}", _CAPTIONS[kind]) for kind, png in figures.items()]
    own = [figure for figure in shown if figure is not None]
    agreement = listing_view(found) if (found := agreement_listing(table)) is not None else None
    return SuiteTables(table_view(table, _dataset_of(table)), listing_view(cost_of(table)), agreement, own)


_CAPTIONS = {
    "plot": "The metrics of the table above against the setting that its rows vary. Bars: the intervals of the means.",
    "curve": "Accuracy of LT-GAN's auxiliary network for moves of other sizes than in training. Chance is one half.",
}


def _dataset_of(table: Table) -> str:
    return next(record.scored_on for row in table.rows for record in row.records)


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
