"""What a run would do, before it does it: parameters, steps, files, time and disk.

The estimate is a rehearsal: the run's own stages and method are built on synthetic pictures of the dataset's shape and
a few of their steps are timed on the present device. A configuration that cannot work fails here, in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmark.artifacts import META, Job
from benchmark.config import to_plain
from benchmark.data.prepare import find_prepared
from benchmark.data.prepared import Dataset
from benchmark.errors import UserError
from benchmark.evaluate import EvalConfig, build_judges, generate
from benchmark.files import require_space
from benchmark.method import Method, Stage, Trainable, construct, seed_step
from benchmark.resolve import Places, Resolved, missing
from benchmark.train import stream_for

TINY_BATCH = 8  # images a rehearsal step takes when the real batch would be slow
QUICK_S = 0.25  # a step at the real batch is timed as it is when it is expected to take less
LONG_S = 86_400.0  # a run longer than this is pointed out


@dataclass
class Part:
    """One training of a run."""

    name: str
    parameters: dict[str, int]
    steps: int
    seconds: float  # estimated, on the present device; 0 when it is found ready
    bytes: int  # of its files
    ready: bool = False
    flops: float = 0.0  # floating-point operations a step of the method; not counted for stages


@dataclass
class Plan:
    """What a run would do."""

    resolved: Resolved
    device: torch.device
    parts: list[Part] = field(default_factory=list)
    evaluation_s: float = 0.0
    missing: list[UserError] = field(default_factory=list)  # files the run needs and lacks

    @property
    def seconds(self) -> float:
        """The whole run's estimate."""
        return sum(part.seconds for part in self.parts) + self.evaluation_s

    @property
    def flops_per_step(self) -> float:
        """Of the method's own training."""
        return next(part.flops for part in self.parts if part.name == self.resolved.method.name)

    @property
    def bytes(self) -> int:
        """Of the files the run will write, prepared data apart."""
        return sum(part.bytes for part in self.parts)

    def text(self) -> str:
        """The plan for a reader."""
        r = self.resolved
        what = f"{r.method.name} on {r.card.name} ({r.card.resolution} px)"
        lines = [f"{what}, recipe {r.recipe}, seed {r.spec.seed}, on {self.device}"]
        for part in self.parts:
            nets = ", ".join(f"{name} {n:,}" for name, n in part.parameters.items())
            cost = "ready" if part.ready else f"about {duration(part.seconds)}"
            lines.append(f"  {part.name:<12} {part.steps:>8,} steps  {cost:<18} parameters: {nets}")
        n_fake, cost = r.evaluation.n_fake or 0, f"about {duration(self.evaluation_s)}"
        extractors = ", ".join(r.evaluation.extractors)
        lines.append(f"  {'evaluation':<12} {n_fake:>8,} images {cost:<18} extractors: {extractors}")
        lines.append(f"  in all about {duration(self.seconds)}, {self.bytes / 1e6:.0f} MB in {r.folder}")
        lines += [f"  missing: {problem}".replace("\n", "\n  ") for problem in self.missing]
        return "\n".join(lines)

    def warning(self) -> str:
        """A sentence for a run of more than a day that has a smaller recipe; else nothing."""
        if self.seconds < LONG_S:
            return ""
        small = "small" in self.resolved.method.RECIPES and self.resolved.recipe != "small"
        advice = "; RECIPE=small is sized for a CPU" if small else ""
        return f"this run would take about {duration(self.seconds)} on {self.device}{advice}. It can be continued."


def duration(seconds: float) -> str:
    """12 s, 3.5 min, 2.1 h or 8.0 days."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (2 * 86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}" if unit == 1 else f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86_400:.1f} days"


@dataclass
class Rehearsal(Job):
    """A job on synthetic pictures that times its stages instead of training them."""

    parts: list[Part] = field(default_factory=list)
    real_sha256: str | None = None  # of the prepared data, when it is there: stages that are ready can then be found

    def train(self, stage: type[Stage], cfg: Any, **inputs: Any) -> nn.Module:
        """The untrained product of a stage, its cost noted."""
        real = replace(self.data, sha256=self.real_sha256 or self.data.sha256)
        tiny, self.data = self.data, real
        key = self._key(stage.__name__, stage.version, {"config": to_plain(cfg), "split": stage.split}, inputs)
        self.data = tiny
        if (known := next((value for value, k in self._keys if k == key), None)) is not None:
            return known
        trainable = construct(stage, cfg, self.data, self.device, 0, **inputs)
        part = rehearse(
            stage.__name__, trainable, self.data, lambda c: construct(stage, c, self.data, self.device, 0, **inputs)
        )
        if self.real_sha256 and (self.folder / f"{stage.__name__}-{key[:12]}" / META).exists():
            part.ready, part.seconds, part.bytes = True, 0.0, 0
        self.parts.append(part)
        product = trainable.product().requires_grad_(False).eval()
        self._keys.append((product, key))
        return product

    def compute(self, function: Callable[..., dict[str, Tensor]], **inputs: Any) -> dict[str, Tensor]:
        """The function's value on the synthetic pictures."""
        tiny = self.data
        self.data = replace(tiny, sha256=self.real_sha256 or tiny.sha256)
        key = self._compute_key(function, inputs)
        self.data = tiny
        value = {name: tensor.to(self.device) for name, tensor in function(tiny, **inputs).items()}
        self._keys.append((value, key))
        return value


def rehearse(name: str, trainable: Trainable, data: Dataset, again: Callable[[Any], Trainable]) -> Part:
    """Time a few steps of a stage or method. again: builds it with another configuration."""
    nets = {net: sum(p.numel() for p in module.parameters()) for net, module in trainable.modules().items()}
    floats = sum(nets.values())
    cfg = trainable.cfg
    small = again(replace(cfg, batch=min(cfg.batch, TINY_BATCH)))
    seconds = timed_step(small, data, steps=2) * (cfg.batch / small.cfg.batch)
    if seconds < QUICK_S:
        seconds = timed_step(again(cfg), data, steps=6)
    files = 4 * 4 * floats  # weights, two Adam moments, the average
    flops = step_flops(small, data) * (cfg.batch / small.cfg.batch) if isinstance(trainable, Method) else 0.0
    return Part(name, nets, cfg.steps, seconds * cfg.steps, files, flops=flops)


def timed_step(trainable: Trainable, data: Dataset, steps: int) -> float:
    """Seconds a step of the middle of the run, after step 0, which also runs what only happens now and then."""
    stream = stream_for(trainable, data, seed=0)
    began, middle = 0.0, trainable.cfg.steps // 2 + 1  # a method may begin with something cheaper
    for t in (0, *range(middle, middle + steps)):
        if t == middle:
            _wait(trainable.device)
            began = time.perf_counter()
        trainable._step = t
        seed_step(0, t)
        trainable.step(stream, t)
    _wait(trainable.device)
    return (time.perf_counter() - began) / steps


def step_flops(trainable: Trainable, data: Dataset, steps: int = 2) -> float:
    """Floating-point operations a step of the middle of the run: products and sums of matrix products and convolutions,
    forward and backward, counted by torch as they are called."""
    stream, middle = stream_for(trainable, data, seed=0), trainable.cfg.steps // 2 + 1
    with _Flops() as counter:
        for t in range(middle, middle + steps):
            trainable._step = t
            seed_step(0, t)
            trainable.step(stream, t)
    return counter.total / steps


class _Flops(TorchDispatchMode):
    """Adds up what torch's own formulas say of every operation. torch's counter cannot follow autograd.grad."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_plan(resolved: Resolved, places: Places, device: torch.device) -> Plan:
    """Rehearse a run. Raises ConfigError for settings that do not fit, UserError when the disk is too small."""
    data, prepared = (
        Dataset.tiny(resolved.card),
        find_prepared(resolved.card, places.data_root, places.artifacts / "data"),
    )
    job = Rehearsal(data, places.artifacts, device, quiet=True, real_sha256=prepared.sha256 if prepared else None)
    plan = Plan(resolved, device, job.parts, missing=missing(resolved, places))
    cls, cfg = resolved.method.cls, resolved.config
    stages = cls.stages(job, cfg)
    method = construct(cls, cfg, data, device, 0, **stages)
    job.parts.append(
        rehearse(resolved.method.name, method, data, lambda c: construct(cls, c, data, device, 0, **stages))
    )
    build_judges(resolved.evaluation, job)
    n_reference = len(prepared.train) if prepared else 0
    plan.evaluation_s = evaluation_seconds(method, resolved.evaluation, data, n_reference)
    require_space(places.results, 2 * plan.bytes, f"the run {resolved.run}")
    return plan


def evaluation_seconds(method: Method, cfg: EvalConfig, data: Dataset, n_reference: int) -> float:
    """Estimated seconds of sampling, timed on a few images, and of the feature passes, by known rates."""
    n, n_fake = 16, cfg.n_fake or n_reference
    began = time.perf_counter()
    generate(method, method.G.eval(), n, cfg, data)
    sampling = (time.perf_counter() - began) / n * n_fake
    return sampling + sum((n_fake + n_reference) / EXTRACTOR_RATE.get(name, 100.0) for name in cfg.extractors)


# Images a second on two idle CPU cores, measured; a GPU is far faster, so the estimate is cautious there.
EXTRACTOR_RATE = {"inception": 8.5, "inception-clean": 8.5, "lite0": 127.0, "judge": 5000.0}
