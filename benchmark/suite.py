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

`images: 64000`, of a suite or a size, gives all rows one budget: so many images seen by the discriminator, whatever the
row's batch and number of discriminator updates; the steps follow. A row's `sizes: {small: {...}}` are changes of that
row at that size; a row with `only: [paper]` is left out at any other.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import traceback
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from benchmark.catalogue import check_method
from benchmark.config import STRICT, build, canonical, load_yaml, merge
from benchmark.errors import BusyError, ConfigError, RunFailed, UserError, nearest
from benchmark.records import Record, read_record, read_records, record_path
from benchmark.table_files import write_table
from benchmark.tables import Row, Table, control_rows, find_columns, group, table_notes, tell_apart

if TYPE_CHECKING:
    import submitit

    from benchmark.resolve import Places, Resolved, RunSpec

FOLDER = Path(__file__).parent / "suites"
_MOST_WORKERS = 8  # by default: each holds torch and the data in memory
JOBS = ".jobs"  # under results/runs: what submitit keeps of jobs that are not over, and the logs of failed ones
_NO_LIMIT_MIN = 525_600  # a local job's time: a year
_SLURM_MIN = 1440  # a SLURM job's, when nothing is said; it is queued again when that is over
_SLURM_REQUEUES = 100

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
    sizes: dict[str, dict[str, Any]] = Field(default_factory=dict)  # changes at a size, laid over `set`
    only: tuple[str, ...] = ()  # the sizes that have this row; none named: all


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
    images: Annotated[int, Field(gt=0)] | None = None
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
    images: Annotated[int, Field(gt=0)] | None = None  # seen by every row's discriminator; None: as the rows say
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
    images: int | None


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
    for name in (*row.sizes, *row.only):
        if name not in suite.sizes:
            raise ConfigError(f"{where}: no size {name!r}", nearest(name, suite.sizes), "use one of the suite's sizes")
    if suite.images and any("steps" in changes for changes in (row.set, *row.sizes.values())):
        raise ConfigError(f"{where}: steps", "they follow from the suite's images", "leave out one of the two")
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
        chosen.images or suite.images,
    )


def rows_of(suite: Suite, size: str) -> list[tuple[int, SuiteRow]]:
    """The rows of a size with their places in the suite."""
    return [(i, row) for i, row in enumerate(suite.rows) if not row.only or size in row.only]


def changes_of(suite: Suite, size: str, row: SuiteRow, dataset: str) -> dict[str, Any]:
    """What a row changes of its method's recipe: the suite's changes, the size's, the row's, the budget's steps.

    Raises ConfigError for a budget that is no whole number of steps, or a method without this recipe.
    """
    scope = scope_of(suite, size)
    changes = merge(merge(scope.set, row.set), row.sizes.get(size, {}))
    if scope.images is None:
        return changes
    return merge(changes, {"steps": _steps_for(scope.images, row.method, scope.recipe, dataset, changes)})


def _steps_for(images: int, method: str, recipe: str, dataset: str, changes: Mapping[str, Any]) -> int:
    """Steps of a method until its discriminator has seen so many images: each of its updates takes a batch."""
    from benchmark.method import find_method

    base = find_method(method).recipe(recipe, dataset)
    batch, n_dis = (changes.get(name, getattr(base, name)) for name in ("batch", "n_dis"))
    if images % (batch * n_dis):
        raise ConfigError(
            f"images {images}",
            f"{method} sees {batch * n_dis} images a step on {dataset}: {n_dis} updates of {batch}",
            "use a multiple of it",
        )
    return images // (batch * n_dis)


def cells(suite: Suite, size: str, seeds: Sequence[int] | None = None) -> list[Cell]:
    """Every run of a suite at a size: all rows with the first seed, then all with the second, and so on.

    seeds: None for the suite's own. A suite that is stopped thus has whole tables of fewer seeds.
    """
    from benchmark.resolve import RunSpec

    scope = scope_of(suite, size)
    return [
        Cell(i, RunSpec(row.method, dataset, seed, scope.recipe, changes_of(suite, size, row, dataset)))
        for seed in (scope.seeds if seeds is None else seeds)
        for dataset in scope.datasets
        for i, row in rows_of(suite, size)
    ]


# ---- running --------------------------------------------------------------------------------------------------------


KINDS = ("done", "failed", "refused", "busy", "not reached")  # what may become of a cell


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    kind: str  # one of `KINDS`
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
    executor: Literal["local", "slurm"] = "local",
    slurm: Mapping[str, Any] | None = None,
) -> int:
    """Run every cell of a suite that has no record yet, then write the suite's tables. Returns an exit status.

    A cell that fails keeps its reason and the others go on, unless `stop`. A failed record counts as run: move it away
    to try again. workers: cells at a time, each a job of its own; what they share is made once, under locks. executor:
    where jobs run; `local`, one worker: in this process. slurm: options of sbatch, by submitit's names.
    Status: 0 all done; 1 a run failed; 2 a cell cannot be run as it is configured; 3 another process works on a cell.
    Raises ConfigError, DataError or WeightsError before any training when a cell's configuration cannot be used.
    """
    from benchmark import distributed, experiment

    suite = find_suite(name)
    todo = cells(suite, size, seeds)
    resolved = []
    for cell in todo:  # mistakes come out before hours of training
        resolved.append(experiment.resolve(cell.spec, places))
        experiment.require_files(resolved[-1], places)
    one_by_one = workers == 1 and executor == "local"
    if not one_by_one and threads is None and scope_of(suite, size).recipe == "small":
        threads = 1  # as in one process: how the environment of a job is set must not decide it
    work = [
        RunCell(cell, known.run, places, device, quiet or not one_by_one, threads)
        for cell, known in zip(todo, resolved)
    ]
    jobs = None if one_by_one else job_executor(executor, places, workers, slurm or {})
    if not quiet and distributed.is_main():
        with distributed.alone():
            costs = row_costs(list(zip(todo, resolved)), places, device, threads)
        _say(f"{suite.name}, {size}: {total_text(costs, workers)}")
    titles = [f"cell {i + 1}/{len(todo)}: {_title(suite, size, cell)}" for i, cell in enumerate(todo)]
    outcomes: list[Outcome] = []
    with closing(_one_by_one(work, titles) if jobs is None else _by_jobs(work, titles, jobs, workers)) as finished:
        for outcome in finished:
            outcomes.append(outcome)
            if stop and outcome.exit_code:
                break
    if distributed.is_main():
        tables = write_suite_table(suite, size, places.results)
        counts = Counter(outcome.kind for outcome in outcomes)
        counts["not reached"] = len(todo) - len(outcomes)
        _say(f"{suite.name}: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]))
        for path in tables:
            if path.suffix == ".md":
                _say(f"table: {path}")
    codes = {outcome.exit_code for outcome in outcomes}
    return next((code for code in (1, 2, 3) if code in codes), 0)


def _one_by_one(work: Sequence[RunCell], titles: Sequence[str]) -> Generator[Outcome, None, None]:
    """The outcomes of cells run in this process, announced before and reported after."""
    for title, one in zip(titles, work):
        _say(title)
        outcome = one()
        _say(f"  {outcome.text}")
        yield outcome


def _by_jobs(
    work: Sequence[RunCell], titles: Sequence[str], executor: submitit.Executor, workers: int
) -> Generator[Outcome, None, None]:
    """The outcomes of cells run by jobs, reported as they end."""
    with closing(submitted(work, executor, workers)) as finished:
        for i, outcome in finished:
            _say(f"{titles[i]}: {outcome.text}")
            yield outcome


def default_workers(name: str, size: str, device: str, threads: int | None) -> int:
    """Runs at a time when nothing is said: one a core where each takes one thread of the CPU, else one."""
    one_thread = threads == 1 or (threads is None and scope_of(find_suite(name), size).recipe == "small")
    if device != "cpu" or not one_thread or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        return 1
    return min(os.cpu_count() or 1, _MOST_WORKERS)


@dataclasses.dataclass(frozen=True)
class RunCell:
    """The work of one cell, which a job can do as well as this process."""

    cell: Cell
    run: str  # its name
    places: Places
    device: str
    quiet: bool
    threads: int | None
    gpus: str | None = dataclasses.field(default_factory=lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))

    def __call__(self) -> Outcome:
        """Run the cell, or find its record. Only a keyboard interrupt gets out, so that the suite goes on."""
        if os.environ.get("SUBMITIT_EXECUTOR") == "local":  # submitit hides every GPU from local jobs
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            os.environ.update({} if self.gpus is None else {"CUDA_VISIBLE_DEVICES": self.gpus})
        return _run_cell(self)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit queues again after a preemption or at the end of a job's time: the run continues by itself."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _run_cell(work: RunCell) -> Outcome:
    from benchmark import distributed, experiment

    path = record_path(work.places.results, work.run)
    if distributed.agree(path.exists()):
        return _found(read_record(path), path)
    try:
        record = experiment.run(work.cell.spec, work.places, device=work.device, quiet=work.quiet, threads=work.threads)
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


# ---- jobs -----------------------------------------------------------------------------------------------------------


def job_executor(
    kind: Literal["local", "slurm"], places: Places, workers: int, options: Mapping[str, Any]
) -> submitit.Executor:
    """submitit's executor: processes of this machine, or a SLURM array of which `workers` jobs run at a time.

    options: of sbatch, by submitit's names, such as partition, time (minutes), cpus_per_task, gpus_per_node, mem.
    Raises ConfigError without SLURM, for options without it, and for unknown ones.
    """
    import submitit

    folder = places.results / "runs" / JOBS / "%j"
    if kind == "local":
        if options:
            raise ConfigError(f"options of sbatch: {', '.join(options)}", "jobs run here", "use --executor slurm")
        local = submitit.LocalExecutor(folder)
        local.update_parameters(timeout_min=_NO_LIMIT_MIN)
        return local
    if shutil.which("sbatch") is None:
        raise ConfigError("--executor slurm", "there is no sbatch on this machine", "use --executor local")
    slurm = submitit.SlurmExecutor(folder, max_num_timeout=_SLURM_REQUEUES)
    settings = {"time": _SLURM_MIN, "job_name": "gantlet", "array_parallelism": workers, **options}
    try:
        slurm.update_parameters(**settings)
    except ValueError as error:
        raise ConfigError(
            f"options of sbatch: {', '.join(options)}", str(error).splitlines()[0], "see submitit's SlurmExecutor"
        ) from None
    return slurm


def submitted(
    work: Sequence[RunCell], executor: submitit.Executor, workers: int
) -> Generator[tuple[int, Outcome], None, None]:
    """The outcomes of jobs as they end, each with its place in `work`.

    SLURM has the whole array at once and bounds it by itself. Local jobs start when they are submitted, so the next one
    is submitted when one of `workers` is over. Closing the generator cancels what has not ended.
    """
    from submitit.helpers import as_completed

    local = executor.__class__.__name__ == "LocalExecutor"
    at_once = workers if local else len(work)
    jobs = {job: i for i, job in enumerate(executor.submit_array(work[:at_once]))}
    waiting = iter(range(at_once, len(work)))
    try:
        while jobs:
            job = next(iter(as_completed(list(jobs), poll_frequency=0.2 if local else 15)))
            i = jobs.pop(job)
            for j in islice(waiting, 1):
                jobs[executor.submit(work[j])] = j
            yield i, _outcome(job)
    finally:
        for job in jobs:
            job.cancel(check=False)


def _outcome(job: submitit.Job[Outcome]) -> Outcome:
    """What a job gave; its files go when it ended by itself."""
    import submitit

    try:
        outcome = job.result()
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
        reason = str(error).strip().splitlines()[0]
        return Outcome("failed", f"stopped, without a record: {reason} (its log: {job.paths.stderr})", 1)
    if "without a record" not in outcome.text:
        shutil.rmtree(job.paths.folder, ignore_errors=True)
    return outcome


# ---- what it will cost ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class RowCost:
    """What the runs of a row on a dataset that are not done will cost."""

    row: int
    dataset: str
    n: int  # runs of the row
    n_todo: int
    seconds: float | None  # one run, without what runs share; None: it could not be rehearsed
    bytes: int  # of the files of one run
    source: str  # finished runs, a rehearsal, or why there is none
    shared: Mapping[tuple[Any, ...], float] = dataclasses.field(default_factory=dict)  # seconds of stages by identity


def suite_plan(
    name: str,
    size: str,
    places: Places,
    *,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 1,
) -> str:
    """What running a suite would do and cost, for a reader: a line for each row and dataset, then all of it.

    A row that has finished runs costs what they cost; any other is rehearsed, which takes seconds.
    Raises ConfigError for a cell that cannot be resolved.
    """
    from benchmark.resolve import resolve

    suite = find_suite(name)
    todo = [(cell, resolve(cell.spec, places)) for cell in cells(suite, size, seeds)]
    costs = row_costs(todo, places, device, threads)
    lines = [f"{suite.name}, {size}: {suite.title}"]
    for one in costs:
        labels = ", ".join(filter(None, (suite.rows[one.row].labels[column] for column in suite.columns)))
        lines.append(f"  {one.dataset}, {labels}: {_row_text(one)}")
    return "\n".join([*lines, f"  {total_text(costs, workers)}"])


def _row_text(one: RowCost) -> str:
    from benchmark.plan import duration

    if not one.n_todo:
        return f"{one.n} of {one.n} done"
    each = "cost not known" if one.seconds is None else f"about {duration(one.seconds)} each"
    return f"{one.n_todo} of {one.n} to do, {each} ({one.source})"


def total_text(costs: Sequence[RowCost], workers: int) -> str:
    """`12 cells, 4 done, 8 to do: about 1.2 h, 40 MB`: in all, shared stages once, by so many workers."""
    from benchmark.plan import duration

    n, n_todo = sum(one.n for one in costs), sum(one.n_todo for one in costs)
    text = f"{n} cells, {n - n_todo} done, {n_todo} to do"
    known = [one for one in costs if one.seconds is not None and one.n_todo]
    if known:
        shared: dict[tuple[Any, ...], float] = {}
        for one in known:
            shared.update(one.shared)
        seconds = sum((one.seconds or 0) * one.n_todo for one in known) + sum(shared.values())
        text += f": about {duration(seconds / min(workers, n_todo))}"
        text += f" by {workers} workers" if workers > 1 else ""
        text += f", {sum(one.bytes * one.n_todo for one in known) / 1e6:.0f} MB"
    unknown = sum(one.n_todo for one in costs if one.seconds is None)
    return text + (f"; {unknown} of them could not be estimated" if unknown else "")


def row_costs(todo: Sequence[tuple[Cell, Resolved]], places: Places, device: str, threads: int | None) -> list[RowCost]:
    """The costs of the rows of a suite, each on each dataset, in order."""
    finished: dict[str, list[Record]] = defaultdict(list)
    for record in read_records(places.results):
        if record.status == "done":
            finished[record.plain["config_hash"]].append(record)
    rows: dict[tuple[int, str], list[Resolved]] = defaultdict(list)
    for cell, resolved in todo:
        rows[cell.row, cell.spec.dataset].append(resolved)
    found = []
    for (row, dataset), runs in rows.items():
        n_todo = sum(not record_path(places.results, run.run).exists() for run in runs)
        cost = RowCost(row, dataset, len(runs), n_todo, 0.0, 0, "")
        if n_todo and (records := finished[runs[0].config_hash]):
            cost = _measured(cost, records)
        elif n_todo:
            cost = _rehearsed(cost, runs[0], places, device, threads)
        found.append(cost)
    return found


def _measured(cost: RowCost, records: Sequence[Record]) -> RowCost:
    """The mean cost of finished runs; what they share with others is made."""
    times = [record.plain["time"] for record in records]
    seconds = sum(time.get("training_s", 0.0) + time.get("evaluation_s", 0.0) for time in times) / len(times)
    floats = sum(records[0].plain["result"].get("parameters", {}).values())
    source = f"as {len(records)} finished run{'s' * (len(records) > 1)}"
    return dataclasses.replace(cost, seconds=seconds, bytes=16 * floats, source=source)  # as `plan.rehearse` counts


def _rehearsed(cost: RowCost, resolved: Resolved, places: Places, device: str, threads: int | None) -> RowCost:
    """The cost of a rehearsal. Its last part but the judges' is the method; all others are shared."""
    from benchmark.experiment import pick_device, use_threads
    from benchmark.plan import make_plan

    use_threads(resolved, threads)
    try:
        plan = make_plan(resolved, places, pick_device(device))
    except Exception as error:  # whatever is wrong, the run itself will say it; an estimate stops nothing
        why = error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return dataclasses.replace(cost, seconds=None, source=f"no rehearsal: {why}")
    own = next(part for part in plan.parts if part.name == resolved.method.name)
    shared = {
        (cost.dataset, part.name, part.steps, *part.parameters.items()): part.seconds
        for part in plan.parts
        if part is not own
    }
    return dataclasses.replace(
        cost, seconds=own.seconds + plan.evaluation_s, bytes=own.bytes, source="rehearsed", shared=shared
    )


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
    for (_, row), mine in zip(rows_of(suite, size), found):
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
    return [
        by_request[_request(row.method, dataset, scope.recipe, changes_of(suite, size, row, dataset))]
        for _, row in rows_of(suite, size)
    ]


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
