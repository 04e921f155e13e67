"""One's own records in the published table: `python -m benchmark table --with reference`.

Rows of one's own are marked, and never averaged with published ones. They share a column where metric and protocol are
the same, which published evaluators make possible: a classifier that was trained on this machine has a column of its
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.core import paths
from benchmark.core.errors import UserError
from benchmark.report.suite_tables import suite_tables
from benchmark.report.table_files import write_table
from benchmark.report.tables import Table, dataset_table
from benchmark.runs.records import FoundRecords, Record, find_records, mark_as_own

SUFFIX = "-with-reference"  # of the tables' names


def find_beside_reference(results: Path) -> FoundRecords:
    """The published records, and after them those of a results folder, marked as one's own.

    Raises UserError where either has none, or the folder is the published one itself.
    """
    if not (paths.REFERENCE / "records").is_dir():
        raise UserError(
            f"{paths.REFERENCE}: no published records",
            "they are in the repository, not in an installed package",
            "call it from a checkout",
        )
    if results.resolve() == paths.REFERENCE.resolve():
        raise UserError(f"{results}: the published records themselves", "your rows are added to these", "leave it out")
    own, published = find_records(results), find_records(paths.REFERENCE)
    if not own.records:
        raise UserError(f"{results / 'records'}: no records", "tables are made of records alone", "make bench")
    records = [*published.records, *map(mark_as_own, own.records)]
    return FoundRecords(records, [*own.left_out, *published.left_out])


def tables_beside_reference(results: Path, records: Sequence[Record] | None = None) -> list[Table]:
    """The tables of every dataset and suite that has records of one's own, with the published rows.

    records: those that `find_beside_reference` found; None: they are read. Raises as it does.
    """
    records = find_beside_reference(results).records if records is None else records
    tables = [
        dataset_table(name, [record for record in records if record.scored_on == name], headline=True)
        for name in sorted({record.scored_on for record in records if record.is_own})
    ]
    tables += [table for table in suite_tables(records) if any(r.is_own for row in table.rows for r in row.records)]
    return [
        replace(table, name=table.name + SUFFIX, title=f"{table.title}, with the published rows") for table in tables
    ]


def write_tables_beside_reference(results: Path, records: Sequence[Record] | None = None) -> list[Path]:
    """Write these tables, `tables/<name>-with-reference.{csv,tex,md}`. Returns the files.

    records, and what is raised: as of `tables_beside_reference`.
    """
    return [path for table in tables_beside_reference(results, records) for path in write_table(results, table)]
