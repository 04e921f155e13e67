"""One cell of a suite as a piece of work that this process or a job can do, and what becomes of it."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from benchmark.core.errors import BusyError, RunFailed, UserError
from benchmark.core.signals import LEAVE, Preempted, preemption_raised
from benchmark.runs.records import read_record, record_path

if TYPE_CHECKING:
    import submitit

    from benchmark.runs.spec import Paths, Resolved

KINDS = ("done", "failed", "refused", "busy")  # what may become of a cell


@dataclasses.dataclass(frozen=True)
class CellStatus:
    """What became of a cell."""

    kind: str  # one of `KINDS`
    text: str  # for the user
    exit_code: int


@dataclasses.dataclass(frozen=True)
class RunCell:
    """The work of one cell, which a job can do as well as this process."""

    resolved: Resolved
    paths: Paths
    device: str
    quiet: bool
    threads: int | None
    alive: Path | None = None  # a lock that the suite's process holds; a job that finds it free ends; None: it goes on
    log: str | None = None  # one of `LOGS`, written next to `log.jsonl`

    def __call__(self) -> CellStatus:
        """Run the cell, or find its record. Only an end by a signal gets out, so that the suite goes on."""
        if self.alive is not None:
            end_with_suite(self.alive)
        requeue = signal.getsignal(LEAVE)  # submitit's, in a job of SLURM
        if self.alive is not None or not callable(requeue):
            return run_cell(self)
        try:
            with preemption_raised():
                return run_cell(self)
        except Preempted:
            requeue(LEAVE, None)  # calls `checkpoint`, queues this job again, and ends this process
            raise

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit queues again after a preemption or at the end of a job's time: the run resumes by itself."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def run_cell(work: RunCell) -> CellStatus:
    """Run a cell or find its record. What goes wrong is its outcome; only an end by a signal gets out."""
    from benchmark.core import distributed
    from benchmark.runs.run import run

    path = record_path(work.paths.results, work.resolved.run)
    if distributed.agree(path.exists()):
        return found(path)
    try:
        record = run(
            work.resolved, work.paths, device=work.device, quiet=work.quiet, threads=work.threads, log=work.log
        )
    except RunFailed as error:  # this and the next are raised on every rank
        return CellStatus("failed", f"failed: {error.what}", 1)
    except BusyError as error:
        return CellStatus("busy", f"left to another process: {error.why}", error.exit_code)
    except Exception as error:
        if distributed.world() > 1:
            raise  # this rank's alone, perhaps: the others may be waiting inside the run
        if isinstance(error, UserError):
            return CellStatus("refused", f"cannot be run: {error}", 2)
        traceback.print_exc()
        return CellStatus("failed", f"stopped, without a record: {type(error).__name__}: {error}", 1)
    if record.status == "done":
        return CellStatus("done", "done", 0)
    return CellStatus("failed", f"failed: {record.reason}", 1)


def found(path: Path) -> CellStatus:
    """The outcome of a cell that has a record, which may be damaged: the other cells go on."""
    try:
        record = read_record(path)
    except UserError as error:
        return CellStatus("refused", f"cannot be run: {error}", error.exit_code)
    if record.status == "done":
        return CellStatus("done", "done before", 0)
    return CellStatus("failed", f"failed before: {record.reason} (move {path} away to try again)", 1)


def end_with_suite(alive: Path) -> None:
    """End this job, and all it started, when the lock is free.

    Jobs of a suite that was killed are not told. A run that is ended anywhere continues from its checkpoint.
    """
    if os.getpgrp() != os.getpid():
        os.setpgrp()  # the signal below is for this job and its helpers, not for the suite

    def watch() -> None:
        with FileLock(alive).acquire(poll_interval=0.5):
            alive.unlink(missing_ok=True)
        os.killpg(0, signal.SIGTERM)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
