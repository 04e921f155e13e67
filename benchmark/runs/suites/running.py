"""Running a suite: its cells one after another in this process, or as jobs, here or on SLURM.

A cell is run when it has no record yet, so a suite that was stopped continues on the next call. A cell that fails keeps
its reason, and the others go on. Jobs on this machine end with their suite, however that ends; jobs of SLURM end when
it is interrupted or terminated, and go on when it is killed.
"""

from __future__ import annotations

import dataclasses
import os
import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from benchmark.core.engine import EAGER, Engine
from benchmark.core.environment import n_cores
from benchmark.core.errors import ConfigError
from benchmark.core.files import lock
from benchmark.core.names import printable
from benchmark.core.signals import Ended
from benchmark.runs.logs import require_log
from benchmark.runs.records import record_path
from benchmark.runs.suites.cell import KINDS, CellStatus, RunCell, found
from benchmark.runs.suites.cost import row_costs, total_text
from benchmark.runs.suites.local_jobs import LocalJobs
from benchmark.runs.suites.slurm_jobs import SlurmJobs
from benchmark.runs.suites.suite import Suite, SuiteCell, find_suite, resolved_cells, scope_of

if TYPE_CHECKING:
    from benchmark.runs.spec import Paths

_MOST_WORKERS = 8  # by default: each holds torch and the data in memory
JOBS = ".jobs"  # under results/runs: the files of jobs that are not over, and the logs of failed ones


def run_suite(
    name: str,
    paths: Paths,
    *,
    size: str = "small",
    seeds: Sequence[int] | None = None,
    rows: Sequence[str] = (),
    device: str = "auto",
    quiet: bool = False,
    threads: int | None = None,
    stop: bool = False,
    workers: int = 1,
    executor: Literal["local", "slurm"] = "local",
    slurm: Mapping[str, Any] | None = None,
    engine: Engine = EAGER,
    log: str | None = None,
) -> int:
    """Run every cell of a suite that has no record yet. Returns an exit status.

    A cell that fails keeps its reason and the others go on, unless `stop`. A failed record counts as run: move it away
    to try again. rows: as of `chosen_rows`. workers: cells at a time, each a job of its own; what they share is made
    once, under locks. executor: where jobs run; `local`, one worker: in this process. slurm: options of sbatch, by
    submitit's names. engine: how steps are computed; such runs are rows of their own in the suite's table. log: as of
    `run`.
    Status: 0 all done; 1 a run failed; 2 a cell cannot be run as it is configured; 3 another process works on a cell.
    Raises ConfigError, DataError or WeightsError before any training when a cell's configuration cannot be used.
    """
    from benchmark.core import distributed
    from benchmark.runs.spec import require_files

    require_log(log)
    one_by_one = workers == 1 and executor == "local"
    jobs = job_executor(executor, paths, workers, slurm or {})  # mistakes in its options come out first
    suite = find_suite(name)
    pairs = resolved_cells(suite, size, paths, seeds, engine, rows)  # mistakes come out before hours of training
    todo, resolved = [cell for cell, _ in pairs], [known for _, known in pairs]
    for known in resolved:
        require_files(known, paths)
    if not one_by_one and threads is None and scope_of(suite, size).recipe == "small":
        threads = 1  # as in one process: how the environment of a job is set must not decide it
    work = [RunCell(known, paths, device, quiet or not one_by_one, threads, log=log) for known in resolved]
    if not quiet and distributed.is_main():
        with distributed.alone():
            costs = row_costs(pairs, paths, device, threads)
        _say(f"{suite.name}, {size}: {total_text(costs, workers)}")
    titles = [f"cell {i + 1}/{len(todo)}: {_title(suite, size, cell)}" for i, cell in enumerate(todo)]
    outcomes: list[CellStatus] = []
    running = _one_by_one(work, titles) if one_by_one else _by_jobs(work, titles, jobs, workers, paths)
    try:
        with closing(running) as finished:
            for outcome in finished:
                outcomes.append(outcome)
                if stop and outcome.exit_code:
                    break
    except (KeyboardInterrupt, Ended):
        _say(f"{suite.name}: stopped: {_counts(outcomes, len(todo), 'not finished')}")
        raise
    _say(f"{suite.name}: {_counts(outcomes, len(todo))}")
    codes = {outcome.exit_code for outcome in outcomes}
    return next((code for code in (1, 2, 3) if code in codes), 0)


def _counts(outcomes: Sequence[CellStatus], n: int, rest: str = "not reached") -> str:
    counts = Counter(outcome.kind for outcome in outcomes)
    texts = [f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]]
    return ", ".join([*texts, *([f"{n - len(outcomes)} {rest}"] if n > len(outcomes) else [])])


def _one_by_one(work: Sequence[RunCell], titles: Sequence[str]) -> Generator[CellStatus, None, None]:
    """The outcomes of cells run in this process, announced before and reported after."""
    for title, one in zip(titles, work):
        _say(title)
        outcome = one()
        _say(f"  {outcome.text}")
        yield outcome


def _by_jobs(
    work: Sequence[RunCell], titles: Sequence[str], executor: Jobs, workers: int, paths: Paths
) -> Generator[CellStatus, None, None]:
    """The outcomes of cells run by jobs, reported as they end. Closing the generator ends the jobs.

    A cell that has a record is reported first and without a job, whose start alone takes seconds.
    """
    left = []
    for i, one in enumerate(work):
        path = record_path(paths.results, one.resolved.run)
        if not path.exists():
            left.append(i)
            continue
        outcome = found(path)
        _say(f"{titles[i]}: {outcome.text}")
        yield outcome
    if not left:
        return
    with _sign_of_life(paths) as alive:
        jobs = [dataclasses.replace(work[i], alive=alive if executor.local else None) for i in left]
        with closing(submitted(jobs, executor, workers)) as finished:
            for j, outcome in finished:
                _say(f"{titles[left[j]]}: {outcome.text}")
                yield outcome


def default_workers(name: str, size: str, device: str, threads: int | None) -> int:
    """Runs at a time when nothing is said: one a core where each takes one thread of the CPU, else one."""
    one_thread = threads == 1 or (threads is None and scope_of(find_suite(name), size).recipe == "small")
    if device != "cpu" or not one_thread or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        return 1
    return min(n_cores(), _MOST_WORKERS)


def _title(suite: Suite, size: str, cell: SuiteCell) -> str:
    labels = suite.rows[cell.row].labels
    dataset = [cell.dataset] if len(scope_of(suite, size).datasets) > 1 else []
    return ", ".join([*dataset, *(labels[name] for name in suite.columns if labels[name]), f"seed {cell.spec.seed}"])


def _say(text: str) -> None:
    from benchmark.core import distributed

    if distributed.is_main():
        print(printable(text), flush=True)


# ---- jobs -----------------------------------------------------------------------------------------------------------


class Job(Protocol):
    """The work of one cell somewhere else."""

    def done(self) -> bool:
        """Whether it is over."""

    def result(self) -> CellStatus:
        """What became of the cell, when it is."""


class Jobs(Protocol):
    """Starts jobs somewhere. local: on this machine, as many as are submitted, so that the caller bounds them."""

    poll_s: float
    local: bool

    def submit(self, work: Sequence[RunCell]) -> Sequence[Any]:
        """Start or queue a job for each piece of work."""

    def look(self) -> None:
        """See how the jobs are, before each is looked at."""

    def cancel(self, jobs: Sequence[Any]) -> str:
        """End jobs. Returns how, for the user."""


def job_executor(
    kind: Literal["local", "slurm"], paths: Paths, workers: int, options: Mapping[str, Any]
) -> LocalJobs | SlurmJobs:
    """Processes of this machine, or a SLURM array of which `workers` jobs run at a time.

    options: of sbatch, by submitit's names, such as partition, time (minutes), cpus_per_task, gpus_per_node, mem.
    Raises ConfigError without SLURM, for options without it, and for unknown ones.
    """
    folder = paths.results / "runs" / JOBS
    if kind == "slurm":
        return SlurmJobs(folder, workers, options)
    if options:
        raise ConfigError(f"options of sbatch: {', '.join(options)}", "jobs run here", "use --executor slurm")
    return LocalJobs(folder)


@contextmanager
def _sign_of_life(paths: Paths) -> Iterator[Path]:
    """A lock that is held inside: the operating system drops it with this process, whatever ends that."""
    path = paths.results / "runs" / JOBS / f"suite-{uuid.uuid4().hex}.lock"
    with lock(path, "the suite", wait=False):
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def submitted(work: Sequence[RunCell], jobs: Jobs, workers: int) -> Generator[tuple[int, CellStatus], None, None]:
    """The outcomes of jobs as they end, each with its place in `work`.

    SLURM has the whole array at once and bounds it by itself. Local jobs start when they are submitted, so the next one
    is submitted when one of `workers` is over. Closing the generator ends what has not ended.
    """
    at_once = workers if jobs.local else len(work)
    running: dict[Any, int] = {}
    waiting = iter(range(at_once, len(work)))
    try:
        running = {job: i for i, job in enumerate(jobs.submit(work[:at_once]))}
        while running:
            jobs.look()
            if (job := next((job for job in running if job.done()), None)) is None:
                time.sleep(jobs.poll_s)
                continue
            i, outcome = running.pop(job), job.result()
            for j in islice(waiting, 1):
                running[jobs.submit([work[j]])[0]] = j
            yield i, outcome
    finally:
        if running:
            text = jobs.cancel(list(running))
            _say(f"stopped: {text}")
