"""Suites: which method, with which changes, on which dataset and seeds, makes which table of which paper.

A suite is one YAML file in `benchmark/suites/`. Running it trains what has no record yet, so a suite that was stopped
continues on the next call; its table is made from records alone, at any time.

    title: Discriminator and loss              # of the table
    source: the paper and its table
    dataset: digits                            # or several, [ring2d, grid2d]: all rows on each, and a table of each
    recipe: small
    seeds: [0]
    set: {}                                    # changes of all rows, as `--set` takes them
    columns: [Discriminator, Loss]             # the rows' labels, left to right
    metrics: [fd_judge, score_judge]           # ids in this order; empty: all there are
    sizes:                                     # what differs between sizes
      small: {}
      paper: {dataset: afhq, recipe: paper, seeds: [0, 1, 2]}
    rows:
      - {labels: {Discriminator: Global, Loss: Hinge}, method: infoscc, set: {loss: hinge}}
"""

from __future__ import annotations

import dataclasses
import os
import traceback
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from joblib import Parallel, delayed
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from benchmark.catalogue import check_method
from benchmark.config import STRICT, build, canonical, load_yaml, merge
from benchmark.errors import BusyError, ConfigError, RunFailed, UserError, nearest
from benchmark.records import Record, read_record, read_records, record_path
from benchmark.table_files import write_table
from benchmark.tables import Row, Table, control_rows, find_columns, group, table_notes, tell_apart

if TYPE_CHECKING:
    from benchmark.resolve import Places, RunSpec

FOLDER = Path(__file__).parent / "suites"
_MOST_WORKERS = 8  # by default: each holds torch and the data in memory

Datasets = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else tuple(value)),
    Field(min_length=1),
]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SuiteRow:
    """One row of a suite's table."""

    labels: dict[str, str]  # text of every label column
    method: str  # name of the method file
    set: dict[str, Any] = Field(default_factory=dict)  # changes of this row, laid over the suite's
    published: dict[str, float] = Field(default_factory=dict)  # the source's values, by published column


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Published:
    """What the source reports; shown beside this suite's own values, never compared with them."""

    dataset: str  # shown only in tables of this dataset
    columns: tuple[str, ...]  # names of the source's metrics, in order
    source: str  # where the values stand
    protocol: str  # how they were measured, as far as it differs


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Size:
    """What one size changes; None: as the suite says."""

    dataset: Datasets | None = None
    recipe: str | None = None
    seeds: Seeds | None = None
    metrics: tuple[str, ...] | None = None
    set: dict[str, Any] = Field(default_factory=dict)  # laid over the suite's changes, under the row's


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Suite:
    """A table to make."""

    name: str  # of the file
    title: str
    source: str  # the paper and its table, or why the suite exists
    dataset: Datasets
    recipe: str
    seeds: Seeds
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    rows: Annotated[tuple[SuiteRow, ...], Field(min_length=1)]
    sizes: Annotated[dict[str, Size], Field(min_length=1)]
    metrics: tuple[str, ...] = ()
    set: dict[str, Any] = Field(default_factory=dict)
    published: Published | None = None


@dataclasses.dataclass(frozen=True)
class Scope:
    """A suite at one size."""

    datasets: tuple[str, ...]
    recipe: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    set: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a suite, and the row of the table it belongs to."""

    row: int
    spec: RunSpec


# ---- finding and reading --------------------------------------------------------------------------------------------


def list_suites() -> dict[str, Suite]:
    """Every suite of the benchmark by its name. Raises ConfigError naming file and key of a bad one."""
    return {name: find_suite(name) for name in suite_names()}


def suite_names() -> list[str]:
    """Names of the suites: their files' names."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_suite(name: str) -> Suite:
    """The suite of this name, or of this .yaml file.

    Raises ConfigError for an unknown name, offering the nearest, and for a file with errors, naming file and key.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return load_suite(path)
    if name not in suite_names():
        raise ConfigError(
            f"unknown suite {name!r}", nearest(name, suite_names()), "give a suite's name or a .yaml file"
        )
    return load_suite(FOLDER / f"{name}.yaml")


def load_suite(path: Path) -> Suite:
    """Read and check a suite's file. Raises ConfigError naming the file and the key."""
    plain = load_yaml(path)
    rows = plain.get("rows")
    for i, row in enumerate(rows if isinstance(rows, list) else []):  # one by one: errors then name the row
        build(SuiteRow, row if isinstance(row, dict) else {}, f"{path}: row {i + 1}")
    suite = build(Suite, {**plain, "name": path.stem}, str(path))
    for i, row in enumerate(suite.rows):
        _check_row(suite, row, f"{path}: row {i + 1}")
    for seeds in (suite.seeds, *(size.seeds or () for size in suite.sizes.values())):
        if len(set(seeds)) != len(seeds):
            raise ConfigError(f"{path}: seeds {list(seeds)}", "a seed is given twice", "keep one of them")
    return suite


def _check_row(suite: Suite, row: SuiteRow, where: str) -> None:
    if set(row.labels) != set(suite.columns):
        raise ConfigError(
            f"{where}: labels {sorted(row.labels)}", f"the columns are {', '.join(suite.columns)}", "name each once"
        )
    known = suite.published.columns if suite.published else ()
    for name in row.published:
        if name not in known:
            raise ConfigError(
                f"{where}: published value {name!r}", nearest(name, known), "list it in published.columns"
            )
    try:
        check_method(row.method)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.what}", error.why, error.mend) from None


def scope_of(suite: Suite, size: str) -> Scope:
    """Dataset, recipe, seeds, metrics and changes of a size. Raises ConfigError for a size the suite does not have."""
    if size not in suite.sizes:
        raise ConfigError(f"{suite.name}: no size {size!r}", nearest(size, suite.sizes), "use one of its sizes")
    chosen = suite.sizes[size]
    return Scope(
        chosen.dataset or suite.dataset,
        chosen.recipe or suite.recipe,
        chosen.seeds or suite.seeds,
        suite.metrics if chosen.metrics is None else chosen.metrics,
        merge(suite.set, chosen.set),
    )


def cells(suite: Suite, size: str, seeds: Sequence[int] | None = None) -> list[Cell]:
    """Every run of a suite at a size: all rows with the first seed, then all with the second, and so on.

    seeds: None for the suite's own. A suite that is stopped thus has whole tables of fewer seeds.
    """
    from benchmark.resolve import RunSpec

    scope = scope_of(suite, size)
    return [
        Cell(i, RunSpec(row.method, dataset, seed, scope.recipe, merge(scope.set, row.set)))
        for seed in (scope.seeds if seeds is None else seeds)
        for dataset in scope.datasets
        for i, row in enumerate(suite.rows)
    ]


# ---- running --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    kind: str  # done, failed, busy or refused
    text: str  # for the user
    exit_code: int


def run_suite(
    name: str,
    places: Places,
    *,
    size: str = "small",
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    quiet: bool = False,
    threads: int | None = None,
    stop: bool = False,
    workers: int = 1,
) -> int:
    """Run every cell of a suite that has no record yet, then write the suite's tables. Returns an exit status.

    A cell that fails keeps its reason and the others go on, unless `stop`. A failed record counts as run: move it away
    to try again. workers: cells at a time, each in a process of its own; what they share is made once, under locks.
    Status: 0 all done; 1 a run failed; 2 a cell cannot be run as it is configured; 3 another process works on a cell.
    Raises ConfigError, DataError or WeightsError before any training when a cell's configuration cannot be used.
    """
    from benchmark import distributed, experiment

    suite = find_suite(name)
    todo = cells(suite, size, seeds)
    runs = []
    for cell in todo:  # mistakes come out before hours of training
        resolved = experiment.resolve(cell.spec, places)
        experiment.require_files(resolved, places)
        runs.append(resolved.run)
    outcomes: list[Outcome] = []
    one_by_one = workers == 1
    if not one_by_one and threads is None and scope_of(suite, size).recipe == "small":
        threads = 1  # said, because joblib sets OMP_NUM_THREADS in its processes, which would count as asked for
    work = [delayed(_run_cell)(c, run, places, device, quiet or not one_by_one, threads) for c, run in zip(todo, runs)]
    finished = Parallel(n_jobs=workers, return_as="generator", pre_dispatch=workers, batch_size=1)(work)
    for i, cell in enumerate(todo):
        title = f"cell {i + 1}/{len(todo)}: {_title(suite, size, cell)}"
        if one_by_one:
            _say(title)
        outcomes.append(next(finished))
        _say(f"  {outcomes[-1].text}" if one_by_one else f"{title}: {outcomes[-1].text}")
        if stop and outcomes[-1].exit_code:
            break
    if distributed.is_main():
        tables = write_suite_table(suite, size, places.results)
        counts = Counter(outcome.kind for outcome in outcomes)
        counts["not reached"] = len(todo) - len(outcomes)
        _say(f"{suite.name}: " + ", ".join(f"{n} {kind}" for kind, n in counts.items() if n))
        for path in tables:
            if path.suffix == ".md":
                _say(f"table: {path}")
    codes = {outcome.exit_code for outcome in outcomes}
    return next((code for code in (1, 2, 3) if code in codes), 0)


def default_workers(name: str, size: str, device: str, threads: int | None) -> int:
    """Runs at a time when nothing is said: one a core where each takes one thread of the CPU, else one."""
    one_thread = threads == 1 or (threads is None and scope_of(find_suite(name), size).recipe == "small")
    if device != "cpu" or not one_thread or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        return 1
    return min(os.cpu_count() or 1, _MOST_WORKERS)


def _run_cell(cell: Cell, run: str, places: Places, device: str, quiet: bool, threads: int | None) -> Outcome:
    """Run one cell, or find its record. Only a keyboard interrupt gets out, so that the suite goes on."""
    from benchmark import distributed, experiment

    path = record_path(places.results, run)
    if distributed.agree(path.exists()):
        return _found(read_record(path), path)
    try:
        record = experiment.run(cell.spec, places, device=device, quiet=quiet, threads=threads)
    except RunFailed as error:
        return Outcome("failed", f"failed: {error.what}", 1)
    except BusyError as error:
        return Outcome("busy", f"left to another process: {error.why}", error.exit_code)
    except UserError as error:
        return Outcome("refused", f"cannot be run: {error}", 2)
    except Exception as error:
        if distributed.world() > 1:
            raise  # the other ranks may be waiting inside the run
        traceback.print_exc()
        return Outcome("failed", f"stopped, without a record: {type(error).__name__}: {error}", 1)
    if record["status"] == "done":
        return Outcome("done", "done", 0)
    return Outcome("failed", f"failed: {record['reason']}", 1)


def _found(record: Record, path: Path) -> Outcome:
    if record.status == "done":
        return Outcome("done", "done before", 0)
    return Outcome("failed", f"failed before: {record.plain['reason']} (move {path} away to try again)", 1)


def _title(suite: Suite, size: str, cell: Cell) -> str:
    labels = suite.rows[cell.row].labels
    dataset = [cell.spec.dataset] if len(scope_of(suite, size).datasets) > 1 else []
    return ", ".join([*dataset, *(labels[name] for name in suite.columns if labels[name]), f"seed {cell.spec.seed}"])


def _say(text: str) -> None:
    from benchmark import distributed

    if distributed.is_main():
        print(text, flush=True)


# ---- its table ------------------------------------------------------------------------------------------------------


def table_name(suite: Suite, size: str, dataset: str) -> str:
    """The stem of the table's files."""
    several = len(scope_of(suite, size).datasets) > 1
    return f"{suite.name}-{size}" + (f"-{dataset}" if several else "")


def write_suite_table(suite: Suite | str, size: str, results: Path) -> list[Path]:
    """Write `tables/<suite>-<size>.{csv,tex,md}` from the records there are. Returns the files.

    A suite of several datasets has a table of each, `<suite>-<size>-<dataset>`.
    """
    suite = find_suite(suite) if isinstance(suite, str) else suite
    records = read_records(results)
    tables = [suite_table(suite, size, records, dataset) for dataset in scope_of(suite, size).datasets]
    return [path for table in tables for path in write_table(results, table)]


def suite_tables(records: Sequence[Record], names: Sequence[str] | None = None) -> list[Table]:
    """Tables of all suites, or of those named, at every size and dataset of which any cell has a record."""
    return [
        suite_table(suite, size, records, dataset)
        for suite in map(find_suite, suite_names() if names is None else names)
        for size in suite.sizes
        for dataset in scope_of(suite, size).datasets
        if any(_matches(suite, size, records, dataset))
    ]


def suite_table(suite: Suite, size: str, records: Sequence[Record], dataset: str) -> Table:
    """The suite's table: its label columns, the metrics, the runs, and the source's values where they belong."""
    scope, found = scope_of(suite, size), _matches(suite, size, records, dataset)
    published = suite.published if suite.published and suite.published.dataset == dataset else None
    groups: list[tuple[SuiteRow, list[Record]]] = []
    for row, mine in zip(suite.rows, found):
        groups += [(row, runs) for runs in group(mine).values()] or [(row, [])]
    labels, apart_notes = tell_apart(
        [(tuple(row.labels[name] for name in suite.columns), runs) for row, runs in groups]
    )
    rows = tuple(
        Row(
            label,
            tuple(runs),
            planned=len({*scope.seeds, *(record.plain["seed"] for record in runs)}),
            extras=tuple(_number(row.published.get(name)) for name in published.columns) if published else (),
            config_hash=runs[0].plain["config_hash"] if runs else "",
        )
        for label, (row, runs) in zip(labels, groups)
    )
    columns = find_columns([record for mine in found for record in mine], scope.metrics)
    return Table(
        table_name(suite, size, dataset),
        f"{suite.title}: {dataset}, recipe {scope.recipe}",
        suite.columns,
        columns,
        rows,
        (
            f"Source: {suite.source}",
            *table_notes(columns, rows),
            *apart_notes,
            *_absent_notes(scope, {column.id for column in columns}),
            *_published_notes(published),
        ),
        tuple(f"{name} (published)" for name in published.columns) if published else (),
        control_rows(columns, rows, len(suite.columns)),
    )


def _matches(suite: Suite, size: str, records: Sequence[Record], dataset: str) -> list[list[Record]]:
    """The records of each row, by what was asked for: no dataset and no weights are needed to make a table."""
    by_request: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        plain = record.plain
        by_request[_request(plain["method"], plain["dataset"], plain["recipe"], plain["changes"])].append(record)
    scope = scope_of(suite, size)
    return [by_request[_request(row.method, dataset, scope.recipe, merge(scope.set, row.set))] for row in suite.rows]


def _request(method: str, dataset: str, recipe: str, changes: dict[str, Any]) -> str:
    return canonical([method, dataset, recipe, changes])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.10g}"


def _absent_notes(scope: Scope, present: set[str]) -> list[str]:
    """Metrics the suite asks for that no record has: a column that is not there must not go unnoticed."""
    absent = [id for id in scope.metrics if id not in present]
    return [f"No run has a value of {', '.join(absent)}."] if absent else []


def _published_notes(published: Published | None) -> list[str]:
    if published is None:
        return []
    return [f"Published values: {published.source}. They are not comparable digit by digit: {published.protocol}"]
