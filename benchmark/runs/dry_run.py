"""What a step of a stage or method costs: a few steps are taken on synthetic images, timed and counted.

Work that is due every n-th step only is charged by an n-th. Settings that cannot work fail here, in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.runs.clock import step_seconds
from benchmark.training.loop import stream_for
from benchmark.training.method import Method, Trainable

QUICK_BATCH = 2  # images of the one step of a quick dry run, batch norm needs two;
SLOW_S = 0.1  # where it takes longer, it is all that is timed
LONGEST_STEP_S = 1.0  # a step at a larger batch is timed when it is sure to take less,
QUICK_S = 0.25  # and more than twice when it takes less than this
GROWTH = 4  # from one timed batch to the next


@dataclass
class Part:
    """One training of a run."""

    name: str
    parameters: dict[str, int]
    steps: int
    seconds: float  # estimated, on the present device; 0 when it is found ready
    bytes: int  # of its files
    ready: bool = False
    flops: float = 0.0  # floating-point operations a step of the method; of a stage only where it is counted
    operators: float = 0.0  # of a step, where the part is counted
    counted: bool = False  # seconds by counts of operations, see `counting`; else a step was timed


def parameters(trainable: Trainable) -> dict[str, int]:
    """How many numbers each net learns."""
    return {name: sum(p.numel() for p in net.parameters()) for name, net in trainable.modules().items()}


def bytes_of(nets: dict[str, int]) -> int:
    """Of the files of networks with so many parameters: weights, two Adam moments, the average."""
    return 4 * 4 * sum(nets.values())


def dry_run(
    name: str, trainable: Trainable, data: Dataset, again: Callable[[Any], Trainable], *, quick: bool = False
) -> Part:
    """Time a few steps of a stage or method. again: builds it with another configuration.

    quick: where a step of two images takes long, that one step is all, and its operations are counted as it is timed:
    a suite has many rows. Work that is due every n-th step only may then be in it or not.
    """
    nets = parameters(trainable)
    files = bytes_of(nets)
    cfg = trainable.cfg
    if quick:
        few, seconds, flops = single_step(trainable, data)
        if seconds > SLOW_S:
            in_all = cfg.batch / few
            return Part(name, nets, cfg.steps, seconds * in_all * cfg.steps, files, flops=flops * in_all)
    small = again(replace(cfg, batch=min(cfg.batch, trainable.dry_run_batch)))
    flops = step_flops(small, data) * (cfg.batch / small.cfg.batch) if isinstance(trainable, Method) else 0.0
    seconds = seconds_a_step(small, data, again, cfg)
    return Part(name, nets, cfg.steps, seconds * cfg.steps, files, flops=flops)


def single_step(trainable: Trainable, data: Dataset) -> tuple[int, float, float]:
    """A step of few images in the middle of the run: their number, its seconds and operations. It changes weights."""
    cfg, together = trainable.cfg, type(trainable).inseparable(trainable.cfg) if isinstance(trainable, Method) else 1
    few = min(cfg.batch, math.lcm(QUICK_BATCH, together))
    trainable.cfg = replace(cfg, batch=few)
    try:
        clock, middle = _Clock(trainable, data), cfg.steps // 2 + 1
        with Flops() as counter:
            try:
                clock.measure(middle)  # first calls take longer
            except (IndexError, RuntimeError, ValueError):  # what the first step has to make is not there
                clock.measure(0)
                clock.measure(middle)
            counter.total = 0
            seconds = clock.measure(middle)
    finally:
        trainable.cfg = cfg
    return few, seconds, float(counter.total)


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


def timed_step(trainable: Trainable, data: Dataset, expected_s: float) -> float:
    """Seconds of a step on average over a run, where it is expected to be quick. Weights change."""
    return mean_step(_Clock(trainable, data), steps=4 if expected_s < QUICK_S / 2 else 2)


def mean_step(probe: Probe, steps: int = 1) -> float:
    """What a step takes on average over a run: an ordinary step's, and the share of what is due every n-th step only.

    steps: how many ordinary ones are measured, of quick ones; half as many of each period. The least counts: a machine
    pauses now and then. What a period's work takes is separated from that of shorter periods that are due at the same
    steps.
    """
    n_steps = probe.trainable.cfg.steps
    middle = n_steps // 2 + 1  # a method may begin with something cheaper
    if probe.trainable.steps_alike:
        only = probe.measure(middle)
        if probe.exact or only > LONGEST_STEP_S:
            return only
    first = probe.measure(0)  # all that is periodic is due, and its period seen
    if probe.exact or first > LONGEST_STEP_S:
        steps = 1  # a long step scatters little, and repeating it would take minutes
    else:
        probe.measure(middle)  # first calls take longer
    ordinary = probe.least(islice((t for t in count(middle) if not probe.due(t)), steps))
    extra: dict[int, float] = {}
    for n in sorted(probe.periods):
        near = max(0, middle // n - 8) * n
        multiples = [t for t in range(near, min(n_steps, near + 17 * n), n) if t] or [0]  # the first may be another
        alone = min(multiples, key=lambda t: (len(probe.due(t)), abs(t - middle)))
        alike = [t for t in multiples if probe.due(t) == probe.due(alone)]
        others = sum(extra.get(other, 0.0) for other in probe.due(alone))
        extra[n] = max(0.0, probe.least(alike[: max(1, steps // 2)]) - ordinary - others)
    return ordinary + sum(amount * math.ceil(n_steps / n) / n_steps for n, amount in extra.items())


class Probe:
    """Takes single steps and measures them; finds out what is done only every n-th step."""

    exact: ClassVar[bool] = False  # the same step takes the same whenever it is measured

    def __init__(self, trainable: Trainable, data: Dataset) -> None:
        self.trainable, self.stream = trainable, stream_for(trainable, data, seed=0)
        self.periods: set[int] = set()  # the n > 1 of which a method asks whether t is a multiple

    def due(self, t: int) -> list[int]:
        """The periods whose work is done at step t."""
        return [n for n in self.periods if t % n == 0]

    def least(self, times: Iterable[int]) -> float:
        """What the quickest of these steps takes: another process only slows one."""
        return min(self.measure(t) for t in times)

    def measure(self, t: int) -> float:
        """What step t takes."""
        raise NotImplementedError

    def _step(self, t: int) -> None:
        take_step(self.trainable, self.stream, _StepNumber(t, self.periods))


def take_step(trainable: Trainable, stream: Stream, t: int) -> None:
    """Step t of a run, without what the training loop does around it."""
    trainable._step = int(t)
    seed_step(0, int(t))
    found = trainable.step(stream, t)
    if not isinstance(found, Mapping) or not all(
        isinstance(one, torch.Tensor) and one.numel() == 1 for one in found.values()
    ):
        raise ConfigError(
            f"{type(trainable).__module__}: `step` returned {_kinds(found)}",
            "the log takes the mean of what it returns",
            'return the losses by name, each a tensor of one number: {"D": loss_D, "G": loss_G}',
        )


def _kinds(found: Any) -> str:
    """What a step returned, by types."""
    if not isinstance(found, Mapping):
        return type(found).__name__
    return ", ".join(f"{name}: {type(one).__name__}" for name, one in found.items())


class _Clock(Probe):
    """Seconds; see `clock`."""

    def measure(self, t: int) -> float:
        return step_seconds(lambda: self._step(t), self.trainable.device)


class _Operations(Probe):
    """Floating-point operations: products and sums of matrix products and convolutions, forward and backward."""

    exact: ClassVar[bool] = True

    def measure(self, t: int) -> float:
        with Flops() as counter:
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


class Flops(TorchDispatchMode):
    """Adds up what torch's own formulas say of every operation. torch's counter cannot follow autograd.grad."""

    def __init__(self) -> None:
        super().__init__()
        from torch.utils.flop_counter import flop_registry  # some tenths of a second to import

        self.total, self.formulas = 0, flop_registry

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing here is compiled: torch.compile need not be loaded, and a call costs less."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = self.call(func, args, kwargs or {})
        if func is torch.ops.aten.convolution_backward.default and args[9] > 1:
            self.total += _grouped_backward_flops(*args)
        elif (formula := self.formulas.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The operation's output."""
        return func(*args, **kwargs)


def _grouped_backward_flops(gradient: Any, x: Any, weight: Any, *rest: Any) -> int:
    """Of a grouped convolution's backward pass: as many as forward for each of the gradients of x and of the weight.

    torch's formula takes the weight's gradient for that of a convolution without groups.
    """
    transposed, output_mask = rest[4], rest[7]
    places = x if transposed else gradient  # one product with a whole kernel for each of its entries
    return 2 * places.numel() * weight[0].numel() * sum(output_mask[:2])
