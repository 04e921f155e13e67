"""Processes of `gpu_check.py`: what is measured runs in a fork, which may die, hang or be stopped.

The parent never touches the card and starts no threads of torch, so that its forks may. A fork begins with everything
imported, and its end gives back all memory of the card.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import ConfigError, UserError
from benchmark.core.files import read_json, write_json

BEGAN = time.monotonic()  # before torch is imported, which takes seconds
Job = Callable[..., Any]
PR_SET_PDEATHSIG = 1  # of Linux's prctl
LONGEST_REASON = 300  # characters


class OutOfTime(Exception):
    """The deadline has come; the children are stopped."""


class Refused(Exception):
    """An engine that was refused by its name, with the reason."""


class Failed(Exception):
    """A job raised, or died. The first line says why."""


@dataclass
class Child:
    """A running fork."""

    pid: int
    folder: Path

    def has_ended(self) -> bool:
        """Is it over? It may still be waited for."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self) -> None:
        """End it and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def has_card() -> bool:
    """Does torch find a CUDA device? Asked in a fork: a process that has asked cannot have forks that use it."""
    if pid := os.fork():
        return os.waitpid(pid, 0)[1] == 0
    try:
        import torch

        os._exit(0 if torch.cuda.is_available() else 1)
    finally:
        os._exit(1)


def start(job: Job, folder: Path, /, **arguments: Any) -> Child:
    """Run job(**arguments) in a fork. folder: of its answer and its messages; it may lie there already."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "answer.json").unlink(missing_ok=True)
    sys.stdout.flush()
    parent = os.getpid()
    if pid := os.fork():
        with suppress(OSError):
            os.setpgid(pid, pid)  # said on both sides: whichever comes first
        return Child(pid, folder)
    status = 70
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        _die_with(parent)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        messages = os.open(folder / "messages.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(messages, 1)
        os.dup2(messages, 2)
        sys.stdout = sys.stderr = open(messages, "w", buffering=1)  # noqa: SIM115 (the process ends with it)
        write_json(folder / "answer.json", _answer(job, arguments))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    raise AssertionError("not reached")


def _die_with(parent: int) -> None:
    """A parent that is killed leaves no child behind (on Linux)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(70)


def _answer(job: Job, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"value": job(**arguments)}
    except ConfigError as error:
        if error.what.startswith(("--capture", "--precision")):
            return {"refused": error.why or error.what}
        return {"error": f"{error.what}: {error.why}"}
    except UserError as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error.what}: {error.why}"}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {first_line(str(error))}"}


def first_line(text: str) -> str:
    """What a table has room for."""
    return (text.strip().splitlines() or [""])[0][:LONGEST_REASON]


def wait(children: Sequence[Child], deadline: float) -> list[int]:
    """Exit statuses, minus the number of the signal that ended one. Raises OutOfTime at the deadline (monotonic)."""
    statuses: dict[int, int] = {}
    try:
        while len(statuses) < len(children):
            for child in children:
                if child.pid not in statuses:
                    pid, status = os.waitpid(child.pid, os.WNOHANG)
                    if pid:
                        statuses[pid] = os.waitstatus_to_exitcode(status)
            if len(statuses) == len(children):
                break
            if time.monotonic() > deadline:
                raise OutOfTime
            time.sleep(0.01)
    finally:
        for child in children:
            if child.pid not in statuses:
                child.stop()
    return [statuses[child.pid] for child in children]


def value_of(child: Child, status: int) -> Any:
    """What the job returned. Raises Refused or Failed."""
    if status != 0:
        how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        raise Failed(f"{how}: {_last_message(child.folder)}")
    answer = read_json(child.folder / "answer.json")
    if "refused" in answer:
        raise Refused(answer["refused"])
    if "error" in answer:
        raise Failed(answer["error"])
    return answer["value"]


def run(job: Job, folder: Path, deadline: float, /, **arguments: Any) -> Any:
    """Start, wait, and the job's value. Raises OutOfTime, Refused or Failed."""
    child = start(job, folder, **arguments)
    (status,) = wait([child], deadline)
    return value_of(child, status)


def _last_message(folder: Path) -> str:
    with suppress(OSError):
        lines = (folder / "messages.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1][:LONGEST_REASON] if lines else "it wrote nothing"
    return "it wrote nothing"


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a training's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
