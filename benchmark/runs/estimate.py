"""A plan within seconds: what is slow to time is counted, and a GPU need not be here."""

from __future__ import annotations

import torch

from benchmark.core.errors import ConfigError
from benchmark.runs.counting import Counting
from benchmark.runs.device import check_device, pick_device, use_threads
from benchmark.runs.dry_run import Part
from benchmark.runs.gpus import DEFAULT_GPU, GPUS, Gpu, find_gpu
from benchmark.runs.plan import Plan, duration, make_plan
from benchmark.runs.rates import cpu_counting
from benchmark.runs.spec import Paths, Resolved

ALL_COUNTED = Counting(lambda work: 0.0)  # a GPU's seconds follow by `Plan.on`
CPU = torch.device("cpu")


def gpu_elsewhere(device: str, gpu: str | None) -> Gpu | None:
    """The GPU to estimate for: the one that is named, or a usual one where `cuda` is wanted and torch finds none.

    None: the device is here. Raises ConfigError for an unknown name, and for one beside the CPU.
    """
    check_device(device)
    if gpu is not None:
        if device == "cpu":
            raise ConfigError(f"--gpu {gpu}", "--device is cpu", "leave out one of them")
        return find_gpu(gpu)
    return find_gpu(DEFAULT_GPU) if device == "cuda" and not torch.cuda.is_available() else None


def estimate(
    resolved: Resolved, paths: Paths, device: str = "auto", threads: int | None = None, gpu: str | None = None
) -> Plan:
    """The plan of a run on a device that is here, or on a GPU by its data sheet. Raises as `make_plan` does.

    On a CPU a part whose step would take long is counted, not timed.
    """
    return Estimator(device, gpu).plan(resolved, paths, threads)


class Estimator:
    """Plans of several runs on one device, or on a GPU by its data sheet; stages that they share are estimated once."""

    def __init__(self, device: str = "auto", gpu: str | None = None) -> None:
        self.elsewhere = gpu_elsewhere(device, gpu)
        self.device = CPU if self.elsewhere else pick_device(device)
        self.known: dict[str, Part] = {}

    def plan(self, resolved: Resolved, paths: Paths, threads: int | None = None, *, quick: bool = False) -> Plan:
        """The plan of a run. quick: on a CPU count whatever it is, on a GPU time a single step (see
        `dry_run`); look for no files."""
        if not self.elsewhere:
            use_threads(resolved, threads)
        counting = self._counting(quick)
        plan = make_plan(
            resolved,
            paths,
            self.device,
            quick=quick or counting is not None,
            known=self.known,
            counting=counting,
            files=not quick,
        )
        return plan.on(self.elsewhere) if self.elsewhere else plan

    def _counting(self, quick: bool) -> Counting | None:
        if self.elsewhere:
            return ALL_COUNTED
        if self.device.type != "cpu":
            return None
        return cpu_counting(0.0) if quick else cpu_counting()


def other_gpus(plan: Plan) -> str:
    """The whole run's time on each known GPU, on one line; empty for a plan of a device that is here."""
    if plan.gpu is None:
        return ""
    times = ", ".join(f"{name} {duration(plan.on(gpu).seconds)}" for name, gpu in GPUS.items())
    return f"on one of these, by --gpu: {times}"
