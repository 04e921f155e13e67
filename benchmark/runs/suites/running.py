"""Running a suite: its cells one after another in this process, or as jobs of submitit, here or on SLURM.

A cell is run when it has no record yet, so a suite that was stopped continues on the next call. A cell that fails keeps
its reason, and the others go on. Jobs on this machine end with their suite, however that ends; jobs of SLURM end when
it is interrupted or terminated, and go on when it is killed.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
import traceback
import uuid
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock

from benchmark.core.errors import BusyError, ConfigError, RunFailed, UserError
from benchmark.core.files import lock
from benchmark.core.names import printable
from benchmark.runs.records import Record, read_record, record_path
from benchmark.runs.suites.cost import row_costs, total_text
from benchmark.runs.suites.suite import Suite, SuiteCell, find_suite, resolved_cells, scope_of

if TYPE_CHECKING:
    import submitit

    from benchmark.runs.spec import Paths, Resolved

_MOST_WORKERS = 8  # by default: each holds torch and the data in memory
JOBS = ".jobs"  # under results/runs: what submitit keeps of jobs that are not over, and the logs of failed ones
_NO_LIMIT_MIN = 525_600  # a local job's time: a year
_SLURM_MIN = 1440  # a SLURM job's, when nothing is said; it is queued again when that is over
_SLURM_REQUEUES = 100
KINDS = ("done", "failed", "refused", "busy", "not reached")  # what may become of a cell


@dataclasses.dataclass(frozen=True)
class CellStatus:
    """What became of a cell."""

    kind: str  # one of `KINDS`
    text: str  # for the user
    exit_code: int


def run_suite(
    name: str,
    paths: Paths,
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
    """Run every cell of a suite that has no record yet. Returns an exit status.

    A cell that fails keeps its reason and the others go on, unless `stop`. A failed record counts as run: move it away
    to try again. workers: cells at a time, each a job of its own; what they share is made once, under locks. executor:
    where jobs run; `local`, one worker: in this process. slurm: options of sbatch, by submitit's names.
    Status: 0 all done; 1 a run failed; 2 a cell cannot be run as it is configured; 3 another process works on a cell.
    Raises ConfigError, DataError or WeightsError before any training when a cell's configuration cannot be used.
    """
    from benchmark.core import distributed
    from benchmark.runs.spec import require_files

    suite = find_suite(name)
    pairs = resolved_cells(suite, size, paths, seeds)  # mistakes come out before hours of training
    todo, resolved = [cell for cell, _ in pairs], [known for _, known in pairs]
    for known in resolved:
        require_files(known, paths)
    one_by_one = workers == 1 and executor == "local"
    if not one_by_one and threads is None and scope_of(suite, size).recipe == "small":
        threads = 1  # as in one process: how the environment of a job is set must not decide it
    work = [RunCell(known, paths, device, quiet or not one_by_one, threads) for known in resolved]
    jobs = None if one_by_one else job_executor(executor, paths, workers, slurm or {})
    if not quiet and distributed.is_main():
        with distributed.alone():
            costs = row_costs(pairs, paths, device, threads)
        _say(f"{suite.name}, {size}: {total_text(costs, workers)}")
    titles = [f"cell {i + 1}/{len(todo)}: {_title(suite, size, cell)}" for i, cell in enumerate(todo)]
    outcomes: list[CellStatus] = []
    running = _one_by_one(work, titles) if jobs is None else _by_jobs(work, titles, jobs, workers, paths)
    with closing(running) as finished:
        for outcome in finished:
            outcomes.append(outcome)
            if stop and outcome.exit_code:
                break
    if distributed.is_main():
        counts = Counter(outcome.kind for outcome in outcomes)
        counts["not reached"] = len(todo) - len(outcomes)
        _say(f"{suite.name}: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]))
    codes = {outcome.exit_code for outcome in outcomes}
    return next((code for code in (1, 2, 3) if code in codes), 0)


def _one_by_one(work: Sequence[RunCell], titles: Sequence[str]) -> Generator[CellStatus, None, None]:
    """The outcomes of cells run in this process, announced before and reported after."""
    for title, one in zip(titles, work):
        _say(title)
        outcome = one()
        _say(f"  {outcome.text}")
        yield outcome


def _by_jobs(
    work: Sequence[RunCell], titles: Sequence[str], executor: submitit.Executor, workers: int, paths: Paths
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
        outcome = _found(read_record(path), path)
        _say(f"{titles[i]}: {outcome.text}")
        yield outcome
    if not left:
        return
    with _sign_of_life(paths) as alive:
        jobs = [dataclasses.replace(work[i], alive=alive if _is_local(executor) else None) for i in left]
        with closing(submitted(jobs, executor, workers)) as finished:
            for j, outcome in finished:
                _say(f"{titles[left[j]]}: {outcome.text}")
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

    resolved: Resolved
    paths: Paths
    device: str
    quiet: bool
    threads: int | None
    gpus: str | None = dataclasses.field(default_factory=lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))
    alive: Path | None = None  # a lock that the suite's process holds; a job that finds it free ends; None: it goes on

    def __call__(self) -> CellStatus:
        """Run the cell, or find its record. Only a keyboard interrupt gets out, so that the suite goes on."""
        if self.alive is not None:
            _end_with_suite(self.alive)
        if os.environ.get("SUBMITIT_EXECUTOR") == "local":  # submitit hides every GPU from local jobs
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            os.environ.update({} if self.gpus is None else {"CUDA_VISIBLE_DEVICES": self.gpus})
        return _run_cell(self)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit queues again after a preemption or at the end of a job's time: the run continues by itself."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _run_cell(work: RunCell) -> CellStatus:
    from benchmark.core import distributed
    from benchmark.runs.run import run

    path = record_path(work.paths.results, work.resolved.run)
    if distributed.agree(path.exists()):
        return _found(read_record(path), path)
    try:
        record = run(work.resolved, work.paths, device=work.device, quiet=work.quiet, threads=work.threads)
    except RunFailed as error:
        return CellStatus("failed", f"failed: {error.what}", 1)
    except BusyError as error:
        return CellStatus("busy", f"left to another process: {error.why}", error.exit_code)
    except UserError as error:
        return CellStatus("refused", f"cannot be run: {error}", 2)
    except Exception as error:
        if distributed.world() > 1:
            raise  # the other ranks may be waiting inside the run
        traceback.print_exc()
        return CellStatus("failed", f"stopped, without a record: {type(error).__name__}: {error}", 1)
    if record.status == "done":
        return CellStatus("done", "done", 0)
    return CellStatus("failed", f"failed: {record.reason}", 1)


def _found(record: Record, path: Path) -> CellStatus:
    if record.status == "done":
        return CellStatus("done", "done before", 0)
    return CellStatus("failed", f"failed before: {record.reason} (move {path} away to try again)", 1)


def _title(suite: Suite, size: str, cell: SuiteCell) -> str:
    labels = suite.rows[cell.row].labels
    dataset = [cell.dataset] if len(scope_of(suite, size).datasets) > 1 else []
    return ", ".join([*dataset, *(labels[name] for name in suite.columns if labels[name]), f"seed {cell.spec.seed}"])


def _say(text: str) -> None:
    from benchmark.core import distributed

    if distributed.is_main():
        print(printable(text), flush=True)


# ---- jobs -----------------------------------------------------------------------------------------------------------


def job_executor(
    kind: Literal["local", "slurm"], paths: Paths, workers: int, options: Mapping[str, Any]
) -> submitit.Executor:
    """submitit's executor: processes of this machine, or a SLURM array of which `workers` jobs run at a time.

    options: of sbatch, by submitit's names, such as partition, time (minutes), cpus_per_task, gpus_per_node, mem.
    Raises ConfigError without SLURM, for options without it, and for unknown ones.
    """
    import submitit

    folder = paths.results / "runs" / JOBS / "%j"
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


def _is_local(executor: submitit.Executor) -> bool:
    return executor.__class__.__name__ == "LocalExecutor"


@contextmanager
def _sign_of_life(paths: Paths) -> Iterator[Path]:
    """A lock that is held inside: the operating system drops it with this process, whatever ends that."""
    path = paths.results / "runs" / JOBS / f"suite-{uuid.uuid4().hex}.lock"
    with lock(path, "the suite", wait=False):
        yield path


def _end_with_suite(alive: Path) -> None:
    """End this job, and all it started, when the lock is free.

    submitit's way to cancel a local job is an interrupt, which a process started in the background may ignore, and
    which no one sends for a suite that was killed. A run that is ended anywhere continues from its checkpoint.
    """
    if os.getpgrp() != os.getpid():
        os.setpgrp()  # the signal below is for this job and its helpers, not for the suite

    def watch() -> None:
        with FileLock(alive).acquire(poll_interval=0.5):
            alive.unlink(missing_ok=True)
        os.killpg(0, signal.SIGTERM)  # the helpers; submitit has the job itself pass over it
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def submitted(
    work: Sequence[RunCell], executor: submitit.Executor, workers: int
) -> Generator[tuple[int, CellStatus], None, None]:
    """The outcomes of jobs as they end, each with its place in `work`.

    SLURM has the whole array at once and bounds it by itself. Local jobs start when they are submitted, so the next one
    is submitted when one of `workers` is over. Closing the generator cancels what has not ended.
    """
    from submitit.helpers import as_completed

    local = _is_local(executor)
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


def _outcome(job: submitit.Job[CellStatus]) -> CellStatus:
    """What a job gave; its files go when it ended by itself."""
    import submitit

    try:
        outcome = job.result()
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
        reason = str(error).strip().splitlines()[0]
        return CellStatus("failed", f"stopped, without a record: {reason} (its log: {job.paths.stderr})", 1)
    if "without a record" not in outcome.text:
        shutil.rmtree(job.paths.folder, ignore_errors=True)
    return outcome
