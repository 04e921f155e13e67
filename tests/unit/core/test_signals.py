"""Signals as exceptions: what trains saves its step first, anything else leaves at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from benchmark.core.signals import (
    Ended,
    Preempted,
    leaving_after,
    must_leave,
    preemption_raised,
    saving_before_leaving,
    signals_raised,
)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    given = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its background jobs ignore it
    handlers = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    yield
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    signal.signal(signal.SIGINT, given)


def send(number: signal.Signals = signal.SIGUSR2) -> None:
    os.kill(os.getpid(), number)


def test_what_does_not_save_leaves_at_once() -> None:
    with pytest.raises(Preempted) as left, preemption_raised():
        send()
    assert left.value.exit_code == 128 + signal.SIGUSR2
    assert not must_leave()


def test_what_saves_is_asked_and_goes_on_to_the_end_of_its_step() -> None:
    seen = []

    @saving_before_leaving
    def train() -> None:
        for step in range(9):
            if step == 3:
                send()
            seen.append(step)
            if must_leave():
                raise Preempted

    with pytest.raises(Preempted), preemption_raised():
        train()
    assert seen == [0, 1, 2, 3]


def test_a_time_that_is_over_is_a_request_to_leave() -> None:
    began = time.monotonic()
    with pytest.raises(Preempted), preemption_raised(), leaving_after(0.05):
        time.sleep(30)
    assert 0.05 <= time.monotonic() - began < 10


@pytest.mark.parametrize("seconds", [None, 0.05])
def test_work_that_is_done_in_time_is_left_alone(seconds: float | None) -> None:
    with preemption_raised():
        with leaving_after(seconds):
            pass
        time.sleep(0.2)
        assert not must_leave()


def test_a_request_after_the_last_look_is_met_at_the_end() -> None:
    @saving_before_leaving
    def outer() -> int:
        inner()
        assert must_leave()
        return 1

    @saving_before_leaving
    def inner() -> None:
        send()

    with pytest.raises(Preempted), preemption_raised():
        outer()


def test_signals_are_raised_inside_and_another_program_s_handler_stays() -> None:
    for number, kind in ((signal.SIGTERM, Ended), (signal.SIGUSR2, Preempted)):
        with pytest.raises(kind), signals_raised():
            send(number)
    seen = []
    before = signal.signal(signal.SIGUSR2, lambda *_: seen.append(1))
    try:
        with signals_raised():
            send()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == [1]


def test_ctrl_c_saves_the_step_of_what_trains_and_a_second_one_stops_at_once() -> None:
    seen = []

    @saving_before_leaving
    def train(presses: int) -> None:
        for step in range(9):
            for _ in range(presses if step == 3 else 0):
                send(signal.SIGINT)
            seen.append(step)
            if must_leave():
                raise Preempted

    with pytest.raises(Preempted) as left, signals_raised():
        train(1)
    assert left.value.exit_code == 128 + signal.SIGINT
    assert seen == [0, 1, 2, 3]
    with pytest.raises(KeyboardInterrupt), signals_raised():
        train(2)
    assert seen == [0, 1, 2, 3, 0, 1, 2]
    with pytest.raises(KeyboardInterrupt), signals_raised():  # nothing that could be saved
        send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not must_leave()
    with pytest.raises(Preempted) as left, signals_raised():
        send()
    assert left.value.exit_code == 128 + signal.SIGUSR2, "the one that asked this time"
