"""Times that a busy machine does not change much: of the processor, by one thread.

Other processes make a call return later, and threads that wait for each other much later; the processor's time for it
grows little. On a GPU, and with more than two threads, it is the time on the wall.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmark.core.one_thread import torch_on_one_thread

TWO_THREADS = 37 / 55  # time by two threads over that by one: a small recipe's step on two idle cores, measured


def step_seconds(step: Callable[[], object], device: torch.device) -> float:
    """What a call takes on an idle device, by the present number of threads."""
    threads = torch.get_num_threads()
    if device.type == "cpu" and threads <= 2:
        return processor_seconds(step) * (TWO_THREADS if threads == 2 else 1.0)
    return wall_seconds(step, device)


def processor_seconds(step: Callable[[], object]) -> float:
    """The processor's time for a call, by one thread."""
    with torch_on_one_thread():
        began = time.process_time()
        step()
        return time.process_time() - began


def wall_seconds(step: Callable[[], object], device: torch.device) -> float:
    """Until a call, and what it started on the device, is done."""
    _wait(device)
    began = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
