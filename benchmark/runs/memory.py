"""Do a run's networks fit into memory? Found out before anything is allocated.

They are built on torch's meta device, as shapes without numbers, and their parameters are counted. That takes a second,
so it is done only where a user made a setting large. `limits` checks the images of a batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.core.config import flatten
from benchmark.core.errors import ConfigError
from benchmark.data.prepared import Dataset
from benchmark.evaluation.networks import trained_here
from benchmark.runs.spec import Resolved
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.method import Stage, Trainable, construct

LARGE = 256  # a whole number that a user sets above it is a reason to count
SMALL_NETWORK = 20_000_000  # parameters, 80 MB: a stage that may be built to see what follows from it
COPIES = 5  # of every parameter: weight, gradient, two moments of Adam, the average
FLOAT_BYTES = 4
OVERFLOWS = "overflow", "Storage size", "invalid shape", "too large", "negative dimension"  # in torch's messages


def require_memory(resolved: Resolved, data: Dataset, device: torch.device) -> None:
    """Raise ConfigError when the device cannot hold a run's networks with what training keeps of each parameter.

    data: of the dataset's shapes. What a step needs for its activations is not counted: a run that passes may still be
    too large.
    """
    changed = large(resolved.spec.changes)
    if not changed:
        return
    free = free_bytes(device)
    for needed, what in demands(resolved, data):
        if needed > free:
            raise ConfigError(
                ", ".join(f"{key} = {value}" for key, value in changed.items()),
                f"{what} would take {size(needed)}, and {size(free)} are free on {device}",
                "choose smaller values",
            )


def large(changes: Mapping[str, Any]) -> dict[str, int]:
    """The settings of a user that may decide the size of a network."""
    return {
        key: value
        for key, value in flatten(changes).items()
        if isinstance(value, int) and not isinstance(value, bool) and value > LARGE and not _is_time(key)
    }


def _is_time(key: str) -> bool:
    """Does a setting say when, how long or how many, and so decide no size?"""
    return key.endswith(("steps", "_every", "seed", "_images", "batch", "n_fake"))


def free_bytes(device: torch.device) -> int:
    """Memory that a new run could have."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def demands(resolved: Resolved, data: Dataset) -> Iterator[tuple[float, str]]:
    """Bytes that each network needs at least, as far as the run's networks can be built, and what for."""
    shapes = _Shapes(data)
    try:
        _build_all(resolved, shapes)
    except (RuntimeError, OverflowError, MemoryError) as error:
        if not isinstance(error, RuntimeError) or any(sign in str(error) for sign in OVERFLOWS):
            yield float("inf"), "a network"
    except Exception:  # settings that do not fit together: the dry run says which
        pass
    for name, n in shapes.parameters.items():
        yield COPIES * FLOAT_BYTES * n, f"training {name}, which has {n:,} parameters,"


def _build_all(resolved: Resolved, shapes: _Shapes) -> None:
    """Build every network of a run."""
    cls, cfg, data = resolved.method.cls, resolved.config, shapes.data
    stages = cls.stages(shapes, cfg)
    shapes.count(resolved.method.name, partial(construct, cls, cfg, data, seed=0, **stages))
    for stage, settings in trained_here(resolved.evaluation, has_judge=bool(data.n_labels) and not data.is_points):
        shapes.train(stage, settings)


class _Shapes(ArtifactStore):
    """A store whose stages are built as shapes, then, if they are small, for what follows from them."""

    def __init__(self, data: Dataset) -> None:
        super().__init__(data, folder=Path(), device=torch.device("cpu"), quiet=True)
        self.parameters: dict[str, int] = {}  # of each stage and of the method

    def count(self, name: str, build: Callable[..., Trainable]) -> int:
        """How many parameters something has that is trained; built without memory."""
        networks = build(device=torch.device("meta")).modules()
        self.parameters[name] = sum(p.numel() for net in networks.values() for p in net.parameters())
        return self.parameters[name]

    def train(self, stage: type[Stage], cfg: Any, **inputs: Any) -> nn.Module:
        """The stage's untrained product. Raises ValueError for one that is not small."""
        build = partial(construct, stage, cfg, self.data, seed=0, **inputs)
        with suppress(NotImplementedError):  # it computes with labels or features: a layer on top of them
            if self.count(stage.name, build) > SMALL_NETWORK:
                raise ValueError(f"{stage.name} is large: what needs its numbers is not built")
        product = build(device=self.device).product().requires_grad_(False).eval()
        self._keys.append((product, str(len(self._keys))))
        return product

    def compute(self, function: Callable[..., dict[str, Tensor]], **inputs: Any) -> dict[str, Tensor]:
        """The function's value on the synthetic images."""
        value = function(self.data, **inputs)
        self._keys.append((value, str(len(self._keys))))
        return value


def size(n: float) -> str:
    """Bytes for a reader."""
    if n == float("inf"):
        return "more than any machine has"
    for unit, name in ((1e12, "TB"), (1e9, "GB")):
        if n >= unit:
            return f"{n / unit:,.1f} {name}"
    return f"{n / 1e6:,.0f} MB"
