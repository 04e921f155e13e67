"""Signals as exceptions, so that what is open is closed on the way out; and one that has work saved first.

SIGUSR2 announces the end of a job's time, or its preemption: what trains saves a checkpoint at the end of its present
step (`saving_before_leaving`) and then `Preempted` is raised; anything else raises it at once. Ctrl-C does the same; a
second one stops at once.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
LEAVE = signal.SIGUSR2  # submitit's signal; NCCL uses SIGUSR1


class Ended(BaseException):
    """SIGTERM, or SIGHUP of a closed terminal, as an exception: what is open is closed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number  # as shells say it


class Preempted(Ended):
    """This process was told to end, and what it trained is saved."""

    def __init__(self) -> None:
        super().__init__(_State.told_by)


@contextmanager
def signals_raised() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise Ended, SIGUSR2 and Ctrl-C Preempted; a second SIGTERM ends the process at once.

    While nothing trains, or at a second time, Ctrl-C raises KeyboardInterrupt as ever.
    A signal that is ignored (nohup) or handled already (by a program that calls `main`) stays so.
    """
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]

    def restore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    def end(number: int, _: FrameType | None) -> None:
        restore()
        raise Ended(number)

    def interrupt(_: int, __: FrameType | None) -> None:
        if not _State.saving or _State.asked:
            raise KeyboardInterrupt
        _State.asked, _State.told_by = True, signal.SIGINT
        os.write(2, b"\ngantlet: saves this step and stops; Ctrl-C again stops at once\n")

    for number in numbers:
        signal.signal(number, end)
    by_hand = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if by_hand:
        signal.signal(signal.SIGINT, interrupt)
    try:
        if signal.getsignal(LEAVE) is signal.SIG_DFL:
            with preemption_raised():
                yield
        else:
            yield
    finally:
        restore()
        if by_hand:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _State.asked, _State.told_by = False, LEAVE


# ---- leaving with the work saved ------------------------------------------------------------------------------------


class _State:
    """What the handlers and what trains say to each other; both are in the main thread."""

    saving = 0  # functions running that save before they leave
    asked = False  # to leave, since the handler was set
    told_by: int = LEAVE  # the signal that asked


@contextmanager
def preemption_raised() -> Iterator[None]:
    """Inside, SIGUSR2 raises Preempted: at once, or when what trains has saved its step. Only in the main thread."""

    def leave(number: int, _: FrameType | None) -> None:
        _State.asked, _State.told_by = True, LEAVE
        if not _State.saving:
            raise Preempted

    _State.asked, _State.told_by = False, LEAVE
    before = signal.signal(LEAVE, leave)
    try:
        yield
    finally:
        signal.signal(LEAVE, before)
        _State.asked = False


@contextmanager
def leaving_after(seconds: float | None) -> Iterator[None]:
    """Inside, this process sends itself SIGUSR2 when the time is over; None: never."""
    if seconds is None:
        yield
        return
    alarm = threading.Timer(seconds, os.kill, (os.getpid(), LEAVE))
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()


def saving_before_leaving(function: Callable[P, T]) -> Callable[P, T]:
    """Mark a function that looks at `must_leave` now and then, saves its work and raises Preempted."""

    @functools.wraps(function)
    def marked(*args: P.args, **kwargs: P.kwargs) -> T:
        _State.saving += 1
        try:
            result = function(*args, **kwargs)
        finally:
            _State.saving -= 1
        if _State.asked and not _State.saving:  # told to end after its last look
            raise Preempted
        return result

    return marked


def must_leave() -> bool:
    """Whether this process was told to end: save, and raise Preempted."""
    return _State.asked
