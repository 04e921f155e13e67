"""A server of command lines that die, or pause, at a named point: the tests' way to kill a run anywhere.

It imports everything once and forks a process for each order, so that a test of a dozen kills takes seconds. Orders
and answers are JSON lines; see `helpers.RunServer`. A kill at a point is SIGKILL: no handler, no `finally`. One after
some seconds of processor time is SIGPROF, which nothing here handles: it ends a process as abruptly, and a busy machine
does not move the moment.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import benchmark.evaluation.evaluate
import benchmark.evaluation.tsne
import benchmark.metrics.extractors.store
import benchmark.runs.run
import benchmark.training.artifacts
import benchmark.training.loop
import benchmark.training.stages.classifier
import benchmark.training.stages.judge
import benchmark.training.stages.simclr
import benchmark.training.tensors
import methods.infoscc
import methods.sngan
from benchmark.__main__ import main

for late in ("scipy.stats", "sklearn.cluster", "sklearn.datasets", "sklearn.manifold", "torch._dynamo"):
    importlib.import_module(late)  # a run imports them on its way: here once for all forks

STEPS = {
    "SimCLR": benchmark.training.stages.simclr.SimCLR,
    "Classifier": benchmark.training.stages.classifier.LinearClassifier,
    "Judge": benchmark.training.stages.judge.Judge,
    "infoscc": methods.infoscc.InfoSCC,
    "sngan": methods.sngan.SNGAN,
}
Strike = Callable[[], None]
rehearsing = False


def arm_step(strike: Strike, name: str, t: str) -> None:
    """After step t of a stage or method, before the loop knows of it."""
    cls, plain = STEPS[name], STEPS[name].step

    def step(self: Any, stream: Any, now: int) -> Any:
        losses = plain(self, stream, now)
        if now == int(t) and not rehearsing:
            strike()
        return losses

    cls.step = step  # type: ignore[method-assign]


def arm_checkpoint(strike: Strike, moment: str, name: str, step: str) -> None:
    """before, inside or after the checkpoint of a stage or method at a step."""
    plain = benchmark.training.loop.save_checkpoint

    def save(folder: Path, trainable: Any, average: Any, progress: Any, label: str, identity: Any) -> None:
        here = label == name and progress["step"] == int(step)
        if here and moment == "before":
            strike()
        if here and moment == "inside":
            tear(strike, "checkpoint.pt")
        plain(folder, trainable, average, progress, label, identity)
        if here and moment == "after":
            strike()

    benchmark.training.loop.save_checkpoint = save


def tear(strike: Strike, file_name: str, folder_start: str = "") -> None:
    """Half of the next file of this name gets written."""
    plain = benchmark.training.tensors.atomic

    class Torn:
        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, data: Any) -> None:
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            strike()

    @contextmanager
    def atomic(path: Path, mode: str = "wb") -> Iterator[Any]:
        with plain(path, mode) as file:
            wanted = path.name == file_name and path.parent.name.startswith(folder_start)
            yield Torn(file) if wanted else file

    benchmark.training.tensors.atomic = atomic


def arm_call(strike: Strike, module: Any, name: str, only: Callable[..., bool] = lambda *_: True) -> None:
    """Before a function of the harness does anything."""
    plain = getattr(module, name)

    def call(*arguments: Any, **options: Any) -> Any:
        if only(*arguments):
            strike()
        return plain(*arguments, **options)

    setattr(module, name, call)


def arm(at: str, strike: Strike) -> None:
    """Make `strike` happen at a point."""
    kind, *words = at.split()
    if kind == "step":
        arm_step(strike, *words)
    elif kind == "checkpoint":
        arm_checkpoint(strike, *words)
    elif kind == "artifact":  # half of a stage's product is written
        tear(strike, "artifact.pt", words[0])
    elif kind == "meta":  # a product is written, but not yet the file that says so
        arm_call(
            strike, benchmark.training.artifacts, "write_json", lambda path, _: path.parent.name.startswith(words[0])
        )
    elif kind == "metrics":  # during evaluation
        arm_call(strike, benchmark.evaluation.evaluate, "set_values")
    elif kind == "features":  # they are in the store, but not yet the file that says so
        arm_call(
            strike, benchmark.metrics.extractors.store, "write_json", lambda path, _: path.name.startswith(words[0])
        )
    elif kind == "tsne":
        arm_call(strike, benchmark.evaluation.tsne, "chamfer_tsne")
    elif kind == "record":
        arm_call(strike, benchmark.runs.run, "write_record")
    else:
        raise ValueError(at)


def dies() -> None:
    """SIGKILL to oneself."""
    os.kill(os.getpid(), signal.SIGKILL)


def asks_to_leave() -> None:
    """SIGUSR2 to oneself, as SLURM sends it before a job's time is over."""
    os.kill(os.getpid(), signal.SIGUSR2)


def pauses_in(folder: Path) -> Strike:
    """Say that the point was reached, once, and wait for leave to go on."""

    def pause() -> None:
        if (folder / "reached").exists():
            return
        (folder / "reached").touch()
        while not (folder / "go").exists():
            time.sleep(0.02)

    return pause


def quiet_rehearsal() -> None:
    """Steps of the rehearsal before a run do not count as steps."""
    plain = benchmark.runs.run.make_plan

    def make_plan(*arguments: Any) -> Any:
        global rehearsing
        rehearsing = True
        try:
            return plain(*arguments)
        finally:
            rehearsing = False

    benchmark.runs.run.make_plan = make_plan


def live(order: dict[str, Any]) -> int:
    """Run an order's command line in this process. Returns its exit status."""
    folder = Path(order["folder"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / f"{name}.{os.getpid()}", os.O_WRONLY | os.O_CREAT), number)
    quiet_rehearsal()
    if not order["pictures"]:
        benchmark.runs.run.save_pictures = lambda *_, **__: None
    strike = {"kill": dies, "leave": asks_to_leave, "pause": pauses_in(folder)}[order["do"]]
    if order["after_s"]:
        if order["do"] == "leave":
            signal.signal(signal.SIGPROF, lambda *_: asks_to_leave())
        signal.setitimer(signal.ITIMER_PROF, order["after_s"])
    if order["at"]:
        arm(order["at"], strike)
    try:
        return main(order["arguments"])
    except BaseException:
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve() -> None:
    """Answer orders until the standard input ends."""
    folders: dict[int, Path] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            pid = order["wait"]
            _, status, used = os.wait4(pid, 0)
            out, err = ((folders[pid] / f"{name}.{pid}").read_text() for name in ("stdout", "stderr"))
            answer: dict[str, Any] = {
                "status": os.waitstatus_to_exitcode(status),
                "stdout": out,
                "stderr": err,
                "cpu_s": used.ru_utime + used.ru_stime,
            }
        else:
            pid = os.fork()
            if pid == 0:
                os._exit(live(order))
            folders[pid] = Path(order["folder"])
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
