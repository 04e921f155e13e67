"""The files of tables, all made from records alone: CSV, Markdown, LaTeX, and one document of all.

A dataset has `<dataset>.{csv,tex,md}` (the CSV has every column, the others the headline), `<dataset>-all.md` (every
column), `<dataset>-runs.csv` (every run) and `<dataset>-cost.{csv,tex,md}`; a suite `<suite>-<size>.{csv,tex,md}` and
the same `-cost`, and `-agreement` where several extractors rank its rows; all tables share `comparisons.csv`,
`supervision.{csv,tex,md}` and `claims.{csv,tex,md}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.core.files import require_writable, write_text
from benchmark.core.names import path_component
from benchmark.report.agreement import agreement_listing
from benchmark.report.claims import claims_listing
from benchmark.report.ledger import ledger
from benchmark.report.plain_table import PlainTable
from benchmark.report.suite_tables import suite_claims, suite_table, suite_tables
from benchmark.report.tables import Table, cost_of, dataset_table, has_figures
from benchmark.report.writers import (
    comparisons_csv,
    document,
    listing_csv,
    listing_latex,
    listing_markdown,
    runs_csv,
    to_csv,
    to_latex,
    to_markdown,
)
from benchmark.runs.records import Record, read_records
from benchmark.runs.suites.suite import Suite, find_suite, scope_of


def write_tables(
    results: Path, suites: Sequence[str] | None = None, records: Sequence[Record] | None = None
) -> list[Path]:
    """Write the tables of every dataset that has records, the suites' tables, the comparisons and the supervision of
    them all, and `tables.tex`, which shows every table. Returns the files; none where there are no records.

    suites: names of the suites whose tables are written; None: all of which any cell has a record. records: those that
    `find_records` found; None: they are read, and what cannot be used is named on standard error.
    Raises UserError when the folder cannot be written, before any work; ConfigError for a suite that cannot be read.
    """
    records = read_records(results) if records is None else records
    if not records:
        return []
    folder = results / "tables"
    require_writable(folder)
    full, shown, listings, written = [], [], [], []
    for dataset in sorted({record.scored_on for record in records}):
        mine = [record for record in records if record.scored_on == dataset]
        full.append(dataset_table(dataset, mine))
        shown.append(dataset_table(dataset, mine, headline=True))
        listings.append(cost_of(full[-1]))
        written.append(_write(_place(results, dataset, "-runs.csv"), runs_csv(mine)))
        written.append(_write(_place(results, dataset, "-all.md"), to_markdown(full[-1])))
        written.append(_write(_place(results, dataset, ".csv"), to_csv(full[-1])))
        written += [_write(_place(results, dataset, f".{form}"), text) for form, text in pages(shown[-1]).items()]
    of_suites = suite_tables(records, suites)
    listings += [cost_of(table) for table in of_suites]
    listings += filter(None, map(agreement_listing, of_suites))
    for table in of_suites:
        written += [*write_table(results, table), *write_figures(results, table)]
    listings.append(ledger(records))
    if (claims := claims_listing(suite_claims(records, suites))) is not None:
        listings.append(claims)
    for listing in listings:
        written += write_listing(results, listing)
    written.append(_write(folder / "comparisons.csv", comparisons_csv([*full, *of_suites])))
    return [*written, _write(folder / "tables.tex", document([*shown, *of_suites, *listings]))]


def write_suite_table(
    suite: Suite | str, size: str, results: Path, records: Sequence[Record] | None = None
) -> list[Path]:
    """Write `tables/<suite>-<size>.{csv,tex,md}`, `-cost.{csv,tex,md}` and its figures from the records there are.

    Returns the files. A suite of several datasets has tables of each, `<suite>-<size>-<dataset>`. records: as of
    `write_tables`.
    """
    suite = find_suite(suite) if isinstance(suite, str) else suite
    require_writable(results / "tables")
    records = read_records(results) if records is None else records
    tables = [suite_table(suite, size, records, dataset) for dataset in scope_of(suite, size).datasets]
    written = []
    for table in tables:
        written += [*write_table(results, table), *write_listing(results, cost_of(table))]
        if (agreement := agreement_listing(table)) is not None:
            written += write_listing(results, agreement)
        written += write_figures(results, table)
    return written


def write_table(results: Path, table: Table) -> list[Path]:
    """Write one table in its three forms. Returns the files."""
    forms = {"csv": to_csv(table), **pages(table)}
    return [_write(_place(results, table.name, f".{form}"), text) for form, text in forms.items()]


def write_figures(results: Path, table: Table) -> list[Path]:
    """Write the figures of a suite's table, `figures/<table>-<kind>.png`. Returns the files; most suites have none."""
    if not has_figures(table):
        return []
    from benchmark.report.comparison_figures import save_figures  # matplotlib, which other tables need not wait for
    from benchmark.report.suite_figures import suite_figures

    return save_figures(results, table.name, suite_figures(table))


def write_listing(results: Path, listing: PlainTable) -> list[Path]:
    """Write a listing in its three forms. Returns the files."""
    forms = {"csv": listing_csv(listing), "tex": listing_latex(listing), "md": listing_markdown(listing)}
    return [_write(_place(results, listing.name, f".{form}"), text) for form, text in forms.items()]


def pages(table: Table) -> dict[str, str]:
    """The forms that people read, by the file's ending."""
    return {"tex": to_latex(table), "md": to_markdown(table)}


def _place(results: Path, name: str, ending: str) -> Path:
    """Where a table's file lies: its name is a record's dataset, which never decides the folder."""
    return results / "tables" / f"{path_component(name)}{ending}"


def _write(path: Path, text: str) -> Path:
    write_text(path, text)
    return path
