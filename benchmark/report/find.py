"""A table by its name: of a dataset, or of a suite at one of its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.core.errors import UserError, suggest
from benchmark.report.suite_tables import suite_tables
from benchmark.report.tables import Table, dataset_table
from benchmark.runs.records import Record, read_records
from benchmark.runs.suites.suite import suite_names


def find_table(
    name: str,
    results: Path,
    size: str = "small",
    headline: bool = False,
    records: Sequence[Record] | None = None,
) -> Table:
    """The table of this name, made from the records of a results folder.

    name: a dataset's, a suite's, or that of a suite's file: `<suite>-<size>`, `<suite>-<size>-<dataset>`. headline: of
    a dataset, only the columns that a page can hold. records: those that `find_records` or
    `find_beside_reference` found; None: they are read, and what cannot be used is named on standard error.
    Raises UserError without records, for a name that no record belongs to, and for a suite of several datasets.
    """
    records = read_records(results) if records is None else records
    if not records:
        raise UserError(f"{results / 'records'}: no records", "tables are made from records", "run something first")
    datasets = sorted({record.scored_on for record in records})
    if name in datasets:
        return dataset_table(name, [record for record in records if record.scored_on == name], headline)
    tables = {table.name: table for table in suite_tables(records, _suites_of(name))}
    if name in tables:
        return tables[name]
    fitting = [found for found in tables if found == f"{name}-{size}" or found.startswith(f"{name}-{size}-")]
    if len(fitting) == 1:
        return tables[fitting[0]]
    if fitting:
        raise UserError(f"table {name!r}", "it has one table for each dataset", f"name one: {', '.join(fitting)}")
    if name in suite_names():
        raise UserError(
            f"no table {name!r} of size {size!r}: no record belongs to it",
            f"tables with records: {', '.join(sorted([*datasets, *tables]))}",
            f"run the suite: make suite SUITE={name} SIZE={size}",
        )
    raise UserError(
        f"no table {name!r}: no record belongs to it",
        suggest(name, [*datasets, *suite_names()]),
        f"datasets with records: {', '.join(datasets)}",
    )


def _suites_of(name: str) -> list[str]:
    """The suites that a table of this name may belong to."""
    return [suite for suite in suite_names() if name == suite or name.startswith(f"{suite}-")]
