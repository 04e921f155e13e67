"""The tables of a suite, made from records alone, at any time: results and costs of each size and dataset.

A record belongs to a row by the request (method, dataset, recipe, changes), or by its whole configuration, which
another suite may have requested in other words: no dataset and no weights are needed. Values that the source published
are listed next to the measured ones, and notes say what is absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.core.config import canonical, merge
from benchmark.core.engine import ENGINE_KEYS, without_engine
from benchmark.core.errors import UserError
from benchmark.evaluation.protocols import PROTOCOLS
from benchmark.metrics.catalogue import row_of
from benchmark.report.claims import CheckedClaim, check_claims
from benchmark.report.notes import table_notes
from benchmark.report.plain_table import EMPTY
from benchmark.report.tables import PUBLISHED, Column, Row, Table, find_columns, group, real_data_rows, tell_apart
from benchmark.runs.records import Record, one_a_run, request_of
from benchmark.runs.suites.suite import (
    PublishedColumns,
    Scope,
    Suite,
    SuiteRow,
    changes_of,
    find_suite,
    rows_of,
    scope_of,
    suite_names,
)


def table_name(suite: Suite, size: str, dataset: str) -> str:
    """The stem of the table's files."""
    several = len(scope_of(suite, size).datasets) > 1
    return f"{suite.name}-{size}" + (f"-{dataset}" if several else "")


def suite_table_keys(records: Sequence[Record], names: Sequence[str] | None = None) -> list[tuple[Suite, str, str]]:
    """Suite, size and dataset of every table of all suites, or of those named, of which any cell has a record."""
    return [
        (suite, size, dataset)
        for suite in map(find_suite, suite_names() if names is None else names)
        for size in suite.sizes
        for dataset in scope_of(suite, size).datasets
        if any(_matches(suite, size, records, dataset))
    ]


def suite_tables(records: Sequence[Record], names: Sequence[str] | None = None) -> list[Table]:
    """Tables of all suites, or of those named, at every size and dataset of which any cell has a record."""
    return [suite_table(suite, size, records, dataset) for suite, size, dataset in suite_table_keys(records, names)]


def suite_claims(records: Sequence[Record], names: Sequence[str] | None = None) -> list[CheckedClaim]:
    """The claims of all suites, or of those named, tested in each table of which any cell has a record."""
    return [
        checked
        for suite in map(find_suite, suite_names() if names is None else names)
        if suite.claims
        for size in suite.sizes
        for dataset in scope_of(suite, size).datasets
        if any(_matches(suite, size, records, dataset))
        for checked in check_claims(suite, suite_table(suite, size, records, dataset))
    ]


def suite_table(suite: Suite, size: str, records: Sequence[Record], dataset: str) -> Table:
    """The suite's table: its label columns, the metrics, the runs, and the source's values where they belong."""
    found = list(map(one_a_run, _matches(suite, size, records, dataset, any_engine=True)))
    scope = scope_of(suite, size)
    published = suite.published_on(dataset)
    groups: list[tuple[SuiteRow, list[Record]]] = []
    for (_, row), mine in zip(rows_of(suite, size), found):
        groups += [(row, runs) for runs in group(mine).values()] or [(row, [])]
    labels, apart_notes = tell_apart([(_labels(row, suite.columns, runs), runs) for row, runs in groups])
    columns = find_columns([record for mine in found for record in mine], scope.metrics)
    best = [column for column in columns if _best_counts(column)]
    rows = tuple(
        _with_best(
            Row(
                label,
                tuple(runs),
                planned=len({*scope.seeds, *(record.seed for record in runs)}),
                extras=_published_texts(published, suite.values_on(row, dataset)),
                config_hash=runs[0].config_hash if runs else "",
            ),
            best,
        )
        for label, (row, runs) in zip(labels, groups)
    )
    controls = real_data_rows(columns, rows, len(suite.columns))
    return Table(
        table_name(suite, size, dataset),
        f"{suite.title}: {dataset}, recipe {scope.recipe}",
        suite.columns,
        columns,
        rows,
        (
            f"Source: {suite.source}",
            *table_notes(columns, rows, controls),
            *apart_notes,
            *_best_notes(best),
            *_absent_notes(scope, {column.id for column in columns}),
            *_published_notes(published),
        ),
        (
            *(f"{column.name}, best run" for column in best),
            *(f"{name}{PUBLISHED}" for name in (published.columns if published else ())),
        ),
        controls,
        suite.plot or "",
    )


def _labels(row: SuiteRow, names: Sequence[str], runs: Sequence[Record]) -> tuple[str, ...]:
    """A row's labels, the last with the engine of its runs where that is not the default."""
    *first, last = (row.labels[name] for name in names)
    engine = [runs[0].config[key] for key in ENGINE_KEYS if runs and key in runs[0].config]
    return (*first, " ".join(filter(None, [last, f"({', '.join(engine)})" * bool(engine)])))


def rows_with_records(suite: Suite, size: str, records: Sequence[Record], dataset: str) -> dict[int, list[Record]]:
    """The records of each row of a size, by the row's place in the suite, in order of seed; of the default engine."""
    places = [place for place, _ in rows_of(suite, size)]
    return dict(zip(places, _matches(suite, size, records, dataset), strict=True))


def _published_texts(published: PublishedColumns | None, values: Mapping[str, float]) -> tuple[str, ...]:
    """The cells of published columns."""
    return tuple(_number(values.get(name)) for name in published.columns) if published else ()


def _best_counts(column: Column) -> bool:
    """Whether the column follows a protocol whose paper reports the best of several runs: of Frechet distances."""
    protocol = PROTOCOLS.get(str(column.protocol.get("protocol")))
    return protocol is not None and protocol.best_of_runs and row_of(column.id).frechet


def _with_best(row: Row, columns: Sequence[Column]) -> Row:
    """The row with the best value of its runs in these columns, before the published ones."""
    texts = [f"{min(numbers):.4g}" if (numbers := row.by_seed(c).values()) else EMPTY for c in columns]
    return replace(row, extras=(*texts, *row.extras))


def _best_notes(best: Sequence[Column]) -> list[str]:
    if not best:
        return []
    return [
        "Best run: the lowest value of a row's runs, as the paper reports it (best of three). It falls with the number "
        "of runs, so compare it only between rows of as many."
    ]


def _matches(
    suite: Suite, size: str, records: Sequence[Record], dataset: str, *, any_engine: bool = False
) -> list[list[Record]]:
    """The records of each row, in order of seed. any_engine: of whichever precision and capture, not of the default."""
    recipe = scope_of(suite, size).recipe
    found = []
    for _, row in rows_of(suite, size):
        learned, changes = row.trained_on or dataset, changes_of(suite, size, row, dataset)
        alike = [record for record in records if _recipe_of(record) == (row.method, learned, recipe)]
        wanted = request_of(changes), changes["eval"]["metrics"]
        others = any(_request(record, any_engine) != wanted for record in alike)
        hashes = known_hashes(suite, size, row, dataset) if others else ()
        mine = [record for record in alike if _request(record, any_engine) == wanted or record.config_hash in hashes]
        found.append(sorted(mine, key=lambda record: record.seed))
    return found


def _request(record: Record, any_engine: bool) -> tuple[dict[str, Any], str]:
    """What a run was requested as, and which metrics it has: a small run of `few` has no place in a suite's table."""
    changes = without_engine(record.changes) if any_engine else record.changes
    return request_of(changes), record.config.get("eval", {}).get("metrics", "all")


def _recipe_of(record: Record) -> tuple[str, str, str]:
    return record.method, record.dataset, record.recipe


def current_hash(suite: Suite, size: str, row: SuiteRow, dataset: str) -> str | None:
    """Of the configuration that runs of a row have today, whatever their seed; None where it has none any more."""
    return _hash_with(suite, size, row, dataset, {})


def known_hashes(suite: Suite, size: str, row: SuiteRow, dataset: str) -> tuple[str, ...]:
    """Of the configurations whose runs belong in a row: today's, and that of before there were published evaluators.

    Suites share runs, and request them in different words: such a run is found by its hash.
    """
    local = {"eval": {"evaluators": "local"}}
    hashes = (_hash_with(suite, size, row, dataset, changes) for changes in ({}, local))
    return tuple(found for found in hashes if found is not None)


def _hash_with(suite: Suite, size: str, row: SuiteRow, dataset: str, further: Mapping[str, Any]) -> str | None:
    from benchmark.runs.spec import Paths, RunSpec, resolve

    changes = merge(changes_of(suite, size, row, dataset), further)
    spec = RunSpec(row.method, row.trained_on or dataset, 0, scope_of(suite, size).recipe, changes)
    key = canonical([spec.method, spec.dataset, spec.recipe, spec.changes])
    if key not in _HASHES:
        try:
            _HASHES[key] = resolve(spec, Paths(Path(), Path())).config_hash
        except UserError:
            _HASHES[key] = None
    return _HASHES[key]


_HASHES: dict[str, str | None] = {}  # a report looks every row up several times


def _number(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.10g}"


def _absent_notes(scope: Scope, present: set[str]) -> list[str]:
    """Metrics the suite lists that no record has: a column that is not there must not go unnoticed."""
    absent = [id for id in scope.metrics if id not in present]
    return [f"No run has a value of {', '.join(absent)}."] if absent else []


def _published_notes(published: PublishedColumns | None) -> list[str]:
    if published is None:
        return []
    return [f"Published values: {published.source}. They are not comparable digit by digit: {published.protocol}"]
