"""Where a run computes: the device, the threads, and how much memory it took."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path

import torch

from benchmark.core import distributed
from benchmark.core.environment import n_cores
from benchmark.core.errors import ConfigError, suggest
from benchmark.runs.limits import require_threads
from benchmark.runs.spec import Resolved

DEVICES = ("auto", "cpu", "cuda")


def check_device(name: str) -> None:
    """Raise ConfigError unless it is the name of a kind of device, whether or not this machine has one."""
    if str(name).startswith("cuda:"):
        why, fix = "a run uses the first GPU that it sees", f"set CUDA_VISIBLE_DEVICES={str(name)[5:]}, and device cuda"
        raise ConfigError(f"device {name}", why, fix)
    if name not in DEVICES:
        raise ConfigError(f"--device {name}", "no such device", suggest(str(name), DEVICES))


def pick_device(name: str) -> torch.device:
    """auto: CUDA where there is one, the rank's own under torchrun. Raises ConfigError for one that is not there."""
    check_device(name)
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda", "torch finds no CUDA device here", "use --device cpu, or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", distributed.local_rank())


SMALL_ALONE = 2  # threads of a small recipe's run that has the machine to itself; more were not tried


def threads_alone(resolved: Resolved, threads: int | None) -> int | None:
    """Threads of a run that is the only one its command does at a time: two for the small recipes, where two cores are.

    On two idle cores of an AVX-512 CPU a step of InfoSCC-GAN at 16 px takes 55 ms with one thread and 37 ms with two.
    The command line lets threads that wait sleep after some microseconds (`GOMP_SPINCOUNT`). Next to two other busy
    processes two threads then take twice as long as one. By libgomp's own setting one such process made it ten times.
    """
    if threads is not None or "OMP_NUM_THREADS" in os.environ or resolved.recipe != "small" or distributed.world() > 1:
        return threads
    return min(SMALL_ALONE, n_cores())


def use_threads(resolved: Resolved, threads: int | None) -> None:
    """Set the threads of CPU kernels: as requested, as OMP_NUM_THREADS says, else one for the small recipes.

    Their kernels are small: several runs at a time gain more than several threads. The count is part of what makes
    runs repeat to the bit, so it is a rule and not a measurement of the moment.
    """
    if threads is None and "OMP_NUM_THREADS" not in os.environ and resolved.recipe == "small":
        threads = 1
    require_threads(threads)
    if threads is not None:
        torch.set_num_threads(threads)


def peak_memory_mb(device: torch.device) -> float:
    """Most memory the run has held: on a GPU of tensors there, on a CPU of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return _peak_of_this_process_mb()


def _peak_of_this_process_mb() -> float:
    """On Linux from /proc: there `ru_maxrss` starts at the peak of the process that started this one."""
    status = Path("/proc/self/status")
    if status.exists() and (peak := re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)):
        return int(peak[1]) / 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in kB, on macOS in bytes
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def device_name(device: torch.device) -> str:
    """The device as a record names it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
