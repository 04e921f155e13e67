"""One rank of several, with quick heartbeats: it does what an order says, and writes down how far it came.

python tests/lost_ranks.py WORK FOLDER     (in the environment of torchrun, or of a process that acts as one)
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import benchmark.runs.run
from benchmark.core import distributed, heartbeat
from benchmark.core.errors import BusyError, UserError
from benchmark.runs.suites.cell import run_cell

heartbeat.BEAT_S = 0.25
heartbeat.LOST_AFTER_S = 3.0


def train(folder: Path) -> None:
    """Average gradients until somebody ends it."""
    for step in range(100_000):
        distributed.means([torch.ones(8)])
        if step == 10:
            (folder / f"child_of.{os.getppid()}").write_text(str(os.getpid()))
            (folder / f"training.{distributed.rank()}").touch()
        time.sleep(0.01)


def wait(folder: Path) -> None:
    """Rank 0 works alone, the other waits for it and then leaves, and rank 0 writes tables.

    Both times it works for longer than a silent rank is waited for.
    """
    work_s = 1.5 * heartbeat.LOST_AFTER_S
    if distributed.is_main():
        (folder / "working").touch()
        time.sleep(work_s)
    distributed.barrier()
    assert distributed.agree(distributed.rank()) == 0
    if distributed.is_main():
        time.sleep(work_s)
    (folder / f"after.{distributed.rank()}").touch()


def fail(folder: Path) -> None:
    """Rank 1 has an error of its own while the other trains."""
    if distributed.rank() == 1:
        distributed.means([torch.ones(8)])
        raise ValueError("a disk of its own")
    train(folder)


def disagree(folder: Path) -> None:
    """Rank 1 works alone where the others expect it."""
    if distributed.rank() == 1:
        time.sleep(5)
    distributed.means([torch.ones(8)])


def busy(folder: Path) -> None:
    """Rank 0 finds two cells of a suite held by another process: both ranks leave them, and go on together."""
    cells(folder, lambda: distributed.by_main(held))


def full(folder: Path) -> None:
    """Rank 0 alone meets a full disk while rank 1 waits inside of the run."""
    cells(folder, lambda: held(UserError) if distributed.is_main() else distributed.barrier())


def held(kind: type[UserError] = BusyError) -> None:
    raise kind("the run is being worked on", "process 1 holds it", "wait")


def cells(folder: Path, run: Callable[[], None]) -> None:
    """Two cells of a suite, of which each rank writes down what became of them. run: in place of training."""
    benchmark.runs.run.run = lambda *_, **__: run()  # type: ignore[assignment]
    work: Any = SimpleNamespace(
        paths=SimpleNamespace(results=folder), resolved=SimpleNamespace(run="digits-sngan-small-s0-0123abcd"),
        device="cpu", quiet=True, threads=1, log=None,
    )  # fmt: skip
    kinds = [run_cell(work).text for _ in range(2)]
    (folder / f"outcomes.{distributed.rank()}").write_text("\n".join(kinds))


def threads_of_the_group() -> list[str]:
    """The names of torch's threads that talk to other ranks, and of the heartbeat's; Linux only."""
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    tasks = Path("/proc/self/task")
    if tasks.exists():
        names += [name for task in tasks.iterdir() if "gloo" in (name := (task / "comm").read_text())]
    return names


if __name__ == "__main__":
    if sys.argv[1] == "disagree":
        distributed.TOGETHER_MIN = 1 / 24  # type: ignore[assignment]
    distributed.start(torch.device("cpu"))
    try:
        {f.__name__: f for f in (train, wait, fail, disagree, busy, full)}[sys.argv[1]](Path(sys.argv[2]))
    finally:
        distributed.stop()
    assert not threads_of_the_group(), "a thread that is left when Python shuts down may abort the process"
