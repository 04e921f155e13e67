"""Cells as processes of this machine, each in a session of its own: a signal of the terminal reaches the suite alone.

`python -m benchmark.runs.suites.local_jobs FOLDER` is such a process. It finds its work in the folder and leaves its
outcome there.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmark.core.signals import LEAVE, Ended, signals_raised
from benchmark.runs.suites.cell import CellStatus, RunCell

_WORK, _OUTCOME, _LOG = "work.pkl", "outcome.pkl", "log.txt"
_SAVING_S = 5.0  # that a job has to save its step when it is stopped,
_CLOSING_S = 5.0  # and then to close what is open


class LocalJob:
    """A process that does the work of one cell."""

    def __init__(self, folder: Path, work: RunCell) -> None:
        folder.mkdir(parents=True)
        (folder / _WORK).write_bytes(pickle.dumps(work))
        self.folder, self.log = folder, folder / _LOG
        command = [sys.executable, "-u", "-m", "benchmark.runs.suites.local_jobs", str(folder)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def done(self) -> bool:
        """Whether the process is over."""
        return self.process.poll() is not None

    def result(self) -> CellStatus:
        """What became of the cell; the job's files go when it ended by itself."""
        if not (self.folder / _OUTCOME).exists():
            self.kill()  # what it may have started
            return died(self.process.wait(), f"its log: {self.log}")
        outcome: CellStatus = pickle.loads((self.folder / _OUTCOME).read_bytes())
        if "without a record" not in outcome.text:
            self.remove()
        return outcome

    def remove(self) -> None:
        """Remove the job's files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        if not self.done():
            self.process.send_signal(number)

    def kill(self) -> None:
        """End the process and all that it started, if anything of it is left."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class LocalJobs:
    """Starts jobs on this machine."""

    poll_s = 0.2
    local = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def submit(self, work: Sequence[RunCell]) -> list[LocalJob]:
        """Start a job for each piece of work."""
        return [LocalJob(self.folder / f"local-{uuid.uuid4().hex[:12]}", one) for one in work]

    def look(self) -> None:
        """Nothing to do: the operating system tells each job's end."""

    def cancel(self, jobs: Sequence[LocalJob]) -> str:
        """End jobs: they are told to save their step, then to close what is open, then killed. Returns how."""
        running = [job for job in jobs if not job.done()]
        try:
            for number, seconds in ((LEAVE, _SAVING_S), (signal.SIGTERM, _CLOSING_S)):
                for job in running:
                    job.signal(number)
                end = time.monotonic() + seconds
                while time.monotonic() < end and not all(job.done() for job in running):
                    time.sleep(0.05)
        finally:
            for job in running:
                job.kill()
        for job in jobs:
            job.remove()
        return f"{len(running)} running were ended"


def died(status: int, where: str) -> CellStatus:
    """The outcome of a process that left none. status: as Popen has it, negative for a signal."""
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
        reason = f"killed by {name}" + (", probably out of memory" if -status == signal.SIGKILL else "")
    else:
        reason = f"its process ended with status {status}"
    return CellStatus("failed", f"stopped, without a record: {reason} ({where})", 1)


def main(folder: Path) -> int:
    """Do the work that lies in a folder. Returns an exit status."""
    work = pickle.loads((folder / _WORK).read_bytes())
    try:
        with signals_raised():
            outcome = work()
    except Ended as end:
        return end.exit_code
    temporary = folder / f"{_OUTCOME}.new"
    temporary.write_bytes(pickle.dumps(outcome))
    temporary.rename(folder / _OUTCOME)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
