"""What `gpu_check.py` times, each in a process of its own: steps, operations, matrix products, extractors."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_jobs import CARD, pictures, ready_method, recipe
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.core.engine import Engine
from benchmark.core.files import atomic
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.evaluation import published
from benchmark.metrics.extractors.base import Extractor, extract
from benchmark.metrics.extractors.build import build
from benchmark.metrics.extractors.inception import inception_net
from benchmark.metrics.extractors.store import BATCH
from benchmark.nn.precision import training_precision
from benchmark.runs.device import peak_memory_mb
from benchmark.runs.dry_run import step_flops
from benchmark.training.capture import stepper
from benchmark.training.loop import stream_for
from benchmark.training.method import find_method

CHUNK = 16  # steps between two looks at the clock: the longest period of lazy regularisers
PROFILED = 16  # steps whose kernels are counted
PRODUCTS = {"cuda": 8192, "cpu": 512}  # sides of the matrices whose product gives the peak
BATCHES = {"cuda": (BATCH, 256), "cpu": (BATCH,)}  # of extractors; the first is evaluation's


# ---- speed ----------------------------------------------------------------------------------------------------------


def wait_for(device: torch.device) -> None:
    """Until the card has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Stepping:
    """Steps of a method in the middle of its training, as the loop takes them."""

    def __init__(self, name: str, wanted: str, device: str, engine: dict[str, str], store: str) -> None:
        data, self.engine = pictures(), Engine(**engine)  # type: ignore[arg-type]
        self.device = torch.device(device)
        self.method = ready_method(name, wanted, data, self.device, Path(store) / f"{name}-{wanted}")
        self.stream = stream_for(self.method, data, seed=0)
        self.step = stepper(self.method, self.stream, self.engine.capture)
        self.t = self.method.cfg.steps // 2 + 1  # a method may begin with something cheaper

    def take(self, n: int) -> None:
        """n steps; the host does not wait."""
        for _ in range(n):
            self.method._step = self.t
            seed_step(0, self.t)
            with training_precision(self.engine.precision, self.device):
                self.step(self.stream, self.t)
            self.t += 1

    def timed(self, steps: int, window: float) -> tuple[int, float]:
        """Steps taken and their seconds: at most `steps`, whole chunks, until the window is over."""
        chunk, taken = min(CHUNK, steps), 0
        wait_for(self.device)
        began = time.perf_counter()
        while taken < steps and (taken == 0 or time.perf_counter() - began < window):
            self.take(chunk)
            wait_for(self.device)
            taken += chunk
        return taken, time.perf_counter() - began


def speed(
    name: str, wanted: str, device: str, engine: dict[str, str], steps: int, window: float, store: str
) -> dict[str, Any]:
    """Milliseconds of a step, images a second, memory, and on a card its kernels and launches a step."""
    stepping = Stepping(name, wanted, device, engine, store)
    began = time.perf_counter()
    stepping.take(min(CHUNK, steps))  # warming up, and capturing
    wait_for(stepping.device)
    first = time.perf_counter() - began
    if stepping.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(stepping.device)
    taken, seconds = stepping.timed(steps, window)
    images = stepping.method.cfg.images_a_step
    found: dict[str, Any] = {
        "ms": 1000 * seconds / taken,
        "images_s": images * taken / seconds,
        "steps": taken,
        "batch": stepping.method.cfg.batch,
        "first_s": first,
        "peak_mb": peak_memory_mb(stepping.device),
    }
    return found | (_kernels(stepping) if stepping.device.type == "cuda" else {})


def _kernels(stepping: Stepping) -> dict[str, Any]:
    """What the card ran and what the host launched, a step, by torch's profiler."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            stepping.take(PROFILED)
            wait_for(stepping.device)
        events = seen.events() or []
        on_card = sum(event.device_type == DeviceType.CUDA for event in events)
        launched = sum("Launch" in event.name and event.name.startswith("cu") for event in events)
        return {"kernels": on_card / PROFILED, "launches": launched / PROFILED}
    except RuntimeError as error:  # the profiler may not be allowed to look
        return {"kernels_error": str(error).splitlines()[0]}


class _Calls(TorchDispatchMode):
    """Counts the operators that torch dispatches."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.total += 1
        return func(*args, **(kwargs or {}))


def cost(name: str, wanted: str, device: str, steps: int, store: str) -> dict[str, Any]:
    """Floating-point operations and dispatched operators of an eager float32 step, on average."""
    place, data = Path(store) / f"{name}-{wanted}", pictures()
    cfg, source = recipe(name, wanted)
    few = min(cfg.batch, find_method(name).cls.dry_run_batch)
    flops = step_flops(ready_method(name, wanted, data, torch.device(device), place, batch=few), data)
    stepping = Stepping(name, wanted, device, {}, store)
    n = min(CHUNK, steps)
    stepping.take(1)
    with _Calls() as calls:
        stepping.take(n)
    return {"flops": flops * cfg.batch / few, "operators": calls.total / n, "recipe": source, "batch": cfg.batch}


def together(
    name: str, wanted: str, device: str, engine: dict[str, str], steps: int, window: float, store: str, folder: str
) -> dict[str, float]:
    """Steps a second over a window that begins when `folder/go` is there; `ready-<pid>` says that it may begin."""
    stepping = Stepping(name, wanted, device, engine, store)
    stepping.take(min(CHUNK, steps))
    wait_for(stepping.device)
    (Path(folder) / f"ready-{os.getpid()}").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.001)
    taken, began = 0, time.perf_counter()
    while taken == 0 or time.perf_counter() - began < window:
        stepping.take(4)
        wait_for(stepping.device)
        taken += 4
    seconds = time.perf_counter() - began
    return {"steps_s": taken / seconds, "images_s": taken * stepping.method.cfg.images_a_step / seconds}


def peak(device: str, window: float) -> dict[str, float]:
    """Floating-point operations a second of large matrix products in each precision: the best of several windows."""
    where, rates = torch.device(device), {}
    side = PRODUCTS[where.type]
    for precision in ("fp32", "tf32", "bf16"):
        a, b = (torch.randn(side, side, device=where) for _ in range(2))
        with training_precision(precision, where):
            if precision == "bf16":
                a, b = a.bfloat16(), b.bfloat16()
            rates[precision] = max(_rate(a, b, window / 5) for _ in range(5))
    return rates


def _rate(a: Tensor, b: Tensor, window: float) -> float:
    torch.mm(a, b)
    wait_for(a.device)
    n, began = 0, time.perf_counter()
    while n == 0 or time.perf_counter() - began < window:
        for _ in range(4):
            torch.mm(a, b)
        wait_for(a.device)
        n += 4
    return n * 2 * len(a) ** 3 / (time.perf_counter() - began)


# ---- evaluation -----------------------------------------------------------------------------------------------------


def evaluation(name: str, device: str, window: float, store: str) -> dict[str, Any]:
    """Images a second of an extractor, from stored bytes to features on the host, at evaluation's batch and at 256."""
    extractor, found = _extractor(name, torch.device(device), Path(store)), {"input": "32 px, uint8"}
    for batch in BATCHES[extractor.device.type]:
        images = np.concatenate([pictures().test.images] * 4)[: 4 * batch]
        extract(extractor, images[:batch], batch=batch)
        done, began = 0, time.perf_counter()
        while done == 0 or time.perf_counter() - began < window:
            part = images if extractor.device.type == "cuda" else images[:batch]
            extract(extractor, part, batch=batch)  # ends with features on the host: nothing is left to wait for
            done += len(part)
        found[f"images_s at {batch}"] = done / (time.perf_counter() - began)  # type: ignore[assignment]
    return found | {"peak_mb": peak_memory_mb(torch.device(device))}


def _extractor(name: str, device: torch.device, store: Path) -> Extractor:
    if name == "judge":
        entry = published.served(find_card(CARD))
        assert entry is not None, "CIFAR-10 has a published classifier"
        judge = published.index().files[entry.judge]
        return published.classifier(judge, replace(pictures(), class_names=judge.labels), device)
    if name != "inception":
        return build(name, device=device)
    path = store / "inception-random.pth"
    if not path.exists():
        with atomic(path) as file:
            torch.save(_random_inception(), file)
    return build(name, weights_dir=path, allow_unverified=True, device=device)


def _random_inception() -> dict[str, Tensor]:
    """He-initialised values of Inception's tensors: the cost of a pass is that of the real ones."""
    state, generator = {}, torch.Generator().manual_seed(0)
    for key, like in inception_net().state_dict().items():
        if like.ndim >= 2:
            state[key] = torch.randn(like.shape, generator=generator) * (2 / like[0].numel()) ** 0.5
        else:
            state[key] = torch.ones(like.shape, dtype=like.dtype)
            if key.endswith(("bias", "running_mean", "num_batches_tracked")):
                state[key].zero_()
    return state


def card(device: str) -> dict[str, Any]:
    """The device and the software under it."""
    if device == "cpu":
        return {"name": "cpu", "threads": torch.get_num_threads()}
    found = torch.cuda.get_device_properties(0)
    return {
        "name": found.name,
        "memory_gb": round(found.total_memory / 1e9, 1),
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
