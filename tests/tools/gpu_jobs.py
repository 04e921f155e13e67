"""The trainings of `gpu_check.py`, each in a process of its own, and what is compared of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.core.engine import Engine
from benchmark.core.files import atomic
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset, Split
from benchmark.runs.device import peak_memory_mb
from benchmark.training.artifacts import ArtifactStore, key_names
from benchmark.training.checkpoints import load_checkpoint
from benchmark.training.loop import train
from benchmark.training.method import Method, Stage, construct, find_method

CARD = "cifar10"  # whose shapes and recipes are used; no file of it is read
PICTURES = 1024  # a split
CPU = torch.device("cpu")


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
        product = construct(stage, cfg, self.data, self.device, 0, **inputs).product().requires_grad_(False).eval()
        self._keys.append((product, f"untrained {stage.name} {len(self._keys)}"))
        return product

    def compute(self, function: Callable[..., dict[str, Tensor]], **inputs: Any) -> dict[str, Tensor]:
        """The function's value, on the device."""
        path = self.folder / f"{self.calls}-{key_names(function)[1]}.pt"
        self.calls += 1
        if not path.exists():
            with atomic(path) as file:
                torch.save({name: value.cpu() for name, value in function(self.data, **inputs).items()}, file)
        value = torch.load(path, map_location=self.device, weights_only=True)
        self._keys.append((value, f"untrained {path.stem}"))
        return value


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
    return start_like(first, construct(cls, cfg, data, device, 0, **moved(stages, device)))


def start_like(first: Method, method: Method) -> Method:
    """Give a method the weights of another one of its configuration, frozen ones, too."""
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
    """Are two checkpoints' tensors equal bit for bit? Else the largest difference, in parts of a tensor's norm."""
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
