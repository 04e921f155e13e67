"""What `gpu_check.py` measures, each in a process of its own: trainings, speed, operations, extractors."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.core.engine import Engine
from benchmark.core.files import atomic
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset, Split
from benchmark.evaluation import published
from benchmark.metrics.extractors.base import Extractor, extract
from benchmark.metrics.extractors.build import build
from benchmark.metrics.extractors.inception import inception_net
from benchmark.metrics.extractors.store import BATCH
from benchmark.nn.precision import training_precision
from benchmark.runs.device import peak_memory_mb
from benchmark.runs.dry_run import step_flops
from benchmark.training.artifacts import ArtifactStore, key_names
from benchmark.training.capture import stepper
from benchmark.training.loop import load_checkpoint, stream_for, train
from benchmark.training.method import Method, Stage, construct, find_method

CARD = "cifar10"  # whose shapes and recipes are used; no file of it is read
PICTURES = 1024  # a split
CHUNK = 16  # steps between two looks at the clock: the longest period of lazy regularisers
PROFILED = 16  # steps whose kernels are counted
PRODUCTS = {"cuda": 8192, "cpu": 512}  # sides of the matrices whose product gives the peak
CPU = torch.device("cpu")

# ---- what is trained ------------------------------------------------------------------------------------------------


def pictures() -> Dataset:
    """Colour ramps of ten classes with noise, in CIFAR-10's shape."""
    data = Dataset.tiny(find_card(CARD), PICTURES)
    return replace(data, train=_drawn(data.train, seed=1), test=_drawn(data.test, seed=2))


def _drawn(split: Split, seed: int) -> Split:
    rng, n = np.random.default_rng(seed), len(split)
    corners = np.random.default_rng(0).uniform(0, 255, (10, 4, 3))[np.arange(n) % 10] + rng.normal(0, 25, (n, 4, 3))
    y, x = np.mgrid[0:1:32j, 0:1:32j]
    ramps = np.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x])  # [4, 32, 32]
    images = np.einsum("cyx,nck->nyxk", ramps, corners) + rng.normal(0, 8, (n, 32, 32, 3))
    return replace(split, images=images.clip(0, 255).astype(np.uint8))


def recipe(name: str, wanted: str) -> tuple[Any, str]:
    """A method's configuration and where it is from: a recipe's for CIFAR-10, or that of its first dataset."""
    rows = find_method(name).RECIPES[wanted]
    row = next(row for row in (CARD, "default", *rows) if row in rows)
    return rows[row], wanted if row in (CARD, "default") else f"{wanted} of {row}"


class Untrained(ArtifactStore):
    """Stages with their initial weights. What is computed with them is kept in `folder`, in the order of the calls."""

    calls = 0

    def train(self, stage: type[Stage], cfg: Any, **inputs: Any) -> Any:
        """The untrained product."""
        return construct(stage, cfg, self.data, self.device, 0, **inputs).product().requires_grad_(False).eval()

    def compute(self, function: Callable[..., dict[str, Tensor]], **inputs: Any) -> dict[str, Tensor]:
        """The function's value, on the device."""
        path = self.folder / f"{self.calls}-{key_names(function)[1]}.pt"
        self.calls += 1
        if not path.exists():
            with atomic(path) as file:
                torch.save({name: value.cpu() for name, value in function(self.data, **inputs).items()}, file)
        return torch.load(path, map_location=self.device, weights_only=True)


def moved(value: Any, device: torch.device) -> Any:
    """A stage's product, or anything made of tensors and networks, on a device."""
    if isinstance(value, (nn.Module, Tensor)):
        return value.to(device)
    if isinstance(value, dict):
        return {key: moved(one, device) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(moved(one, device) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: moved(getattr(value, f.name), device) for f in fields(value) if f.init})
    return value


def begin(name: str, cfg: Any, data: Dataset, device: torch.device, store: Path) -> Method:
    """A method with the initial weights that a CPU draws, whatever the device. store: of what its stages compute."""
    cls = find_method(name).cls
    stages = cls.stages(Untrained(data, store / "cpu", CPU, quiet=True), cfg)
    first = construct(cls, cfg, data, CPU, 0, **stages)
    if device.type == "cpu":
        return first
    method = construct(cls, cfg, data, device, 0, **moved(stages, device))
    method.load_state_dict(first.state_dict())
    for attribute, part in vars(first).items():
        if isinstance(part, nn.Module):  # frozen ones are no part of the state
            getattr(method, attribute).load_state_dict(part.state_dict())
    return method


def ready_method(name: str, wanted: str, data: Dataset, device: torch.device, store: Path, **changes: Any) -> Method:
    """A method of a recipe, built on its device: for timing, where initial weights are of no concern."""
    cls, cfg = find_method(name).cls, replace(recipe(name, wanted)[0], **changes)
    stages = cls.stages(Untrained(data, store / device.type, device, quiet=True), cfg)
    return construct(cls, cfg, data, device, 0, **stages)


class _Killer:
    """A watcher of the loop that ends the process after a step, before its checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def begin(self, step: int) -> None:
        pass

    def __call__(self, step: int, G: nn.Module) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def training(
    name: str,
    device: str,
    engine: dict[str, str],
    steps: int,
    seed: int,
    folder: str,
    store: str,
    kill_at: int = 0,
    deterministic: bool = False,
) -> dict[str, Any]:
    """Train a small recipe, or continue. The log and the checkpoint lie in `folder`. kill_at: ends in SIGKILL there."""
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read when the card is first used
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    cfg = replace(
        recipe(name, "small")[0],
        steps=steps,
        log_every=max(1, steps // 20),
        checkpoint_every=max(1, 2 * steps // 5),
    )
    data = pictures()
    method = begin(name, cfg, data, torch.device(device), Path(store) / name)
    Path(folder).mkdir(parents=True, exist_ok=True)
    watch = _Killer(kill_at) if kill_at else None
    done = train(method, data, Path(folder), seed=seed, label=name, quiet=True, watch=watch, engine=Engine(**engine))  # type: ignore[arg-type]
    return {"seconds": done.seconds, "peak_mb": peak_memory_mb(method.device)}


def difference(one: str, other: str) -> dict[str, Any]:
    """Are the tensors of two checkpoints equal bit for bit? Else the largest difference, in parts of a tensor's norm."""
    mine, theirs = (dict(_tensors(load_checkpoint(Path(folder), CPU))) for folder in (one, other))
    assert mine.keys() == theirs.keys(), "two checkpoints of one run"
    different = [name for name in mine if not torch.equal(mine[name], theirs[name])]
    largest, where = 0.0, ""
    for key in different:
        a, b = mine[key].double(), theirs[key].double()
        relative = float((a - b).norm() / a.norm().clamp_min(1e-30))
        if not relative <= largest:
            largest, where = relative, key
    return {"equal": not different, "tensors": len(mine), "different": len(different), "largest": largest, "of": where}


def _tensors(value: Any, name: str = "") -> Iterable[tuple[str, Tensor]]:
    """Every tensor of a checkpoint's state and average."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, one in value.items():
            if name or key in ("state", "average"):
                yield from _tensors(one, f"{name}.{key}" if name else str(key))


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
    found = {
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
        with training_precision(precision, where):  # type: ignore[arg-type]
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
    for batch in (BATCH, 256):
        images = np.concatenate([pictures().test.images] * 4)[: 4 * batch]
        extract(extractor, images[:batch], batch=batch)
        done, began = 0, time.perf_counter()
        while done == 0 or time.perf_counter() - began < window:
            part = images if device != "cpu" else images[:batch]
            extract(extractor, part, batch=batch)  # ends with features on the host: nothing is left to wait for
            done += len(part)
        found[f"images_s at {batch}"] = done / (time.perf_counter() - began)  # type: ignore[assignment]
    return found | {"peak_mb": peak_memory_mb(torch.device(device))}


def _extractor(name: str, device: torch.device, store: Path) -> Extractor:
    if name == "judge":
        entry = published.served(find_card(CARD))
        assert entry is not None, "CIFAR-10 has a published classifier"
        return published.classifier(published.index().files[entry.judge], pictures(), device)
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
