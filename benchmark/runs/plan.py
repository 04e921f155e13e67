"""What a run would do, before it does it: parameters, steps, files, time and disk.

The estimate is a rehearsal: the run's own stages and method are built on synthetic pictures of the dataset's shape and
a few of their steps are timed on the present device; work that is due every n-th step only is charged by a n-th. A
configuration that cannot work fails here, in seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, islice
from statistics import median
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.core.config import to_dict
from benchmark.core.errors import UserError
from benchmark.core.files import require_space
from benchmark.core.seeds import seed_step
from benchmark.data.prepare import find_prepared
from benchmark.data.prepared import Dataset
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.networks import build_judges
from benchmark.evaluation.sampling import generate
from benchmark.evaluation.tsne import KINDS
from benchmark.runs.spec import Paths, Resolved, missing
from benchmark.training.artifacts import META, ArtifactStore
from benchmark.training.loop import stream_for
from benchmark.training.method import Method, Stage, Trainable, construct

TINY_BATCH = 8  # images a rehearsal step takes when the real batch would be slow
LONGEST_STEP_S = 1.0  # a step at a larger batch is timed when it is sure to take less,
QUICK_S = 0.25  # and more than twice when it takes less than this
GROWTH = 4  # from one timed batch to the next
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
class DryRun(ArtifactStore):
    """A store on synthetic pictures that times its stages instead of training them."""

    parts: list[Part] = field(default_factory=list)
    real_sha256: str | None = None  # of the prepared data, when it is there: stages that are ready can then be found

    def train(self, stage: type[Stage], cfg: Any, **inputs: Any) -> nn.Module:
        """The untrained product of a stage, its cost noted."""
        real = replace(self.data, sha256=self.real_sha256 or self.data.sha256)
        tiny, self.data = self.data, real
        key = self._key(stage.name, stage.version, {"config": to_dict(cfg), "split": stage.split}, inputs)
        self.data = tiny
        if (known := next((value for value, k in self._keys if k == key), None)) is not None:
            return known
        trainable = construct(stage, cfg, self.data, self.device, 0, **inputs)
        if self.real_sha256 and (self.folder / f"{stage.name}-{key[:12]}" / META).exists():
            part = Part(stage.name, parameters(trainable), cfg.steps, 0.0, 0, ready=True)
        else:
            again = partial(construct, stage, data=self.data, device=self.device, seed=0, **inputs)
            part = dry_run(stage.name, trainable, self.data, again)
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


def parameters(trainable: Trainable) -> dict[str, int]:
    """How many numbers each net learns."""
    return {name: sum(p.numel() for p in net.parameters()) for name, net in trainable.modules().items()}


def dry_run(name: str, trainable: Trainable, data: Dataset, again: Callable[[Any], Trainable]) -> Part:
    """Time a few steps of a stage or method. again: builds it with another configuration."""
    nets = parameters(trainable)
    floats = sum(nets.values())
    cfg = trainable.cfg
    small = again(replace(cfg, batch=min(cfg.batch, TINY_BATCH)))
    flops = step_flops(small, data) * (cfg.batch / small.cfg.batch) if isinstance(trainable, Method) else 0.0
    seconds = seconds_a_step(small, data, again, cfg)
    files = 4 * 4 * floats  # weights, two Adam moments, the average
    return Part(name, nets, cfg.steps, seconds * cfg.steps, files, flops=flops)


def seconds_a_step(small: Trainable, data: Dataset, again: Callable[[Any], Trainable], cfg: Any) -> float:
    """Seconds a step of configuration `cfg`, of which `small` has a tiny batch and `again` builds any other.

    The batch grows as long as the step is sure to stay quick, no more than proportional to it: much of a small step's
    time does not depend on its batch. From the last batch timed to the real one the time is taken as proportional.
    """
    batch, seconds = small.cfg.batch, mean_step(_Clock(small, data), steps=2)
    while batch < cfg.batch:
        larger = min(cfg.batch, GROWTH * batch)
        longest = seconds * larger / batch
        if longest > LONGEST_STEP_S:
            break
        steps = 6 if longest < QUICK_S else 2
        batch, seconds = larger, mean_step(_Clock(again(replace(cfg, batch=larger)), data), steps)
    return seconds * cfg.batch / batch


def mean_step(probe: _Probe, steps: int = 1) -> float:
    """What a step takes on average over a run: an ordinary step's, and the share of what is due every n-th step only.

    steps: how many ordinary ones are measured, of quick ones; half as many of each period. The median counts: a machine
    pauses now and then. What a period's work takes is told apart from that of shorter periods that are due at the same
    steps.
    """
    n_steps = probe.trainable.cfg.steps
    middle = n_steps // 2 + 1  # a method may begin with something cheaper
    first = probe.measure(0)  # all that is periodic is due, and its period seen
    if probe.exact or first > LONGEST_STEP_S:
        steps = 1  # a long step scatters little, and repeating it would take minutes
    else:
        probe.measure(middle)  # first calls take longer
    ordinary = probe.median(islice((t for t in count(middle) if not probe.due(t)), steps))
    extra: dict[int, float] = {}
    for n in sorted(probe.periods):
        near = max(0, middle // n - 8) * n
        multiples = [t for t in range(near, min(n_steps, near + 17 * n), n) if t] or [0]  # the first may be another
        alone = min(multiples, key=lambda t: (len(probe.due(t)), abs(t - middle)))
        alike = [t for t in multiples if probe.due(t) == probe.due(alone)]
        others = sum(extra.get(other, 0.0) for other in probe.due(alone))
        extra[n] = max(0.0, probe.median(alike[: max(1, steps // 2)]) - ordinary - others)
    return ordinary + sum(amount * math.ceil(n_steps / n) / n_steps for n, amount in extra.items())


class _Probe:
    """Takes single steps and measures them; finds out what is done only every n-th step."""

    exact: ClassVar[bool] = False  # the same step takes the same whenever it is measured

    def __init__(self, trainable: Trainable, data: Dataset) -> None:
        self.trainable, self.stream = trainable, stream_for(trainable, data, seed=0)
        self.periods: set[int] = set()  # the n > 1 of which a method asks whether t is a multiple

    def due(self, t: int) -> list[int]:
        """The periods whose work is done at step t."""
        return [n for n in self.periods if t % n == 0]

    def median(self, times: Iterable[int]) -> float:
        """The median of what these steps take."""
        return median([self.measure(t) for t in times])

    def measure(self, t: int) -> float:
        """What step t takes."""
        raise NotImplementedError

    def _step(self, t: int) -> None:
        self.trainable._step = t
        seed_step(0, t)
        self.trainable.step(self.stream, _StepNumber(t, self.periods))


class _Clock(_Probe):
    """Seconds."""

    def measure(self, t: int) -> float:
        _wait(self.trainable.device)
        began = time.perf_counter()
        self._step(t)
        _wait(self.trainable.device)
        return time.perf_counter() - began


class _Operations(_Probe):
    """Floating-point operations: products and sums of matrix products and convolutions, forward and backward."""

    exact: ClassVar[bool] = True

    def measure(self, t: int) -> float:
        with _Flops() as counter:
            self._step(t)
        return float(counter.total)


class _StepNumber(int):
    """A step's number t that notes the n of `t % n`, which is how a method asks whether periodic work is due."""

    _asked: set[int]

    def __new__(cls, t: int, asked: set[int]) -> _StepNumber:
        number = super().__new__(cls, t)
        number._asked = asked
        return number

    def __mod__(self, n: int) -> int:
        if n > 1:
            self._asked.add(n)
        return int(self) % n


def step_flops(trainable: Trainable, data: Dataset) -> float:
    """Floating-point operations of a step, on average over a run: products and sums of matrix products and
    convolutions, counted by torch as they are called."""
    return mean_step(_Operations(trainable, data))


class _Flops(TorchDispatchMode):
    """Adds up what torch's own formulas say of every operation. torch's counter cannot follow autograd.grad."""

    def __init__(self) -> None:
        super().__init__()
        from torch.utils.flop_counter import flop_registry  # some tenths of a second to import

        self.total, self.formulas = 0, flop_registry

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if (formula := self.formulas.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_plan(resolved: Resolved, paths: Paths, device: torch.device) -> Plan:
    """Rehearse a run. Raises ConfigError for settings that do not fit, UserError when the disk is too small."""
    data, prepared = (
        Dataset.tiny(resolved.card),
        find_prepared(resolved.card, paths.data_root, paths.artifacts / "data"),
    )
    artifacts = DryRun(data, paths.artifacts, device, quiet=True, real_sha256=prepared.sha256 if prepared else None)
    plan = Plan(resolved, device, artifacts.parts, missing=missing(resolved, paths))
    cls, cfg = resolved.method.cls, resolved.config
    stages = cls.stages(artifacts, cfg)
    method = construct(cls, cfg, data, device, 0, **stages)
    again = partial(construct, cls, data=data, device=device, seed=0, **stages)
    artifacts.parts.append(dry_run(resolved.method.name, method, data, again))
    build_judges(resolved.evaluation, artifacts)
    n_reference = len(prepared.train) if prepared else 0
    plan.evaluation_s = evaluation_seconds(method, resolved.evaluation, data, n_reference)
    require_space(paths.results, 2 * plan.bytes, f"the run {resolved.run}")
    return plan


def evaluation_seconds(method: Method, cfg: EvalConfig, data: Dataset, n_reference: int) -> float:
    """Estimated seconds of sampling, timed on a few images, and of the feature passes and t-SNE, by known rates."""
    n, n_fake = 16, cfg.n_fake or n_reference
    began = time.perf_counter()
    generate(method, method.G.eval(), n, cfg, data)
    sampling = (time.perf_counter() - began) / n * n_fake
    features = sum((n_fake + n_reference) / EXTRACTOR_RATE.get(name, 100.0) for name in cfg.extractors)
    points = 2 * cfg.chamfer_points * cfg.tsne_seeds * len(KINDS) if cfg.encoder is not None else 0
    return sampling + features + points / TSNE_RATE


# Images a second on two idle CPU cores, measured; a GPU is far faster, so the estimate is cautious there.
EXTRACTOR_RATE = {"inception": 8.5, "inception-clean": 8.5, "lite0": 127.0, "judge": 5000.0}
TSNE_RATE = 60.0  # points a second of an embedding of 600 points, on one core, measured
