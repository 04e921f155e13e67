"""What a step costs where timing it takes too long, or the device is not here: by counts of its operations.

The networks run on real tensors, so that whatever depends on values works. Only convolutions and matrix products, which
are nearly all of the work, are counted in place of computed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from benchmark.data.prepared import Dataset
from benchmark.runs.dry_run import QUICK_BATCH, SLOW_S, Flops, Part, parameters, take_step
from benchmark.training.loop import stream_for
from benchmark.training.method import Method, Trainable

_ATEN = torch.ops.aten
_COUNTED = {  # operations whose output is not computed
    _ATEN.convolution.default,
    _ATEN.convolution_backward.default,
    _ATEN.mm.default,
    _ATEN.addmm.default,
    _ATEN.bmm.default,
    _ATEN.baddbmm.default,
}
_CONSTANT = 0.01  # of outputs that are not computed: zeros would make norms 0, and their quotients not a number


@dataclass(frozen=True)
class Work:
    """Floating-point operations, and the number of operators that compute them."""

    flops: float
    operators: float


@dataclass(frozen=True)
class Counting:
    """How counted work becomes seconds.

    seconds: time of a step's work. from_s: parts whose step of two images takes less are timed instead.
    """

    seconds: Callable[[Work], float]
    from_s: float = 0.0


class Uncomputed(Flops):
    """Counts operations and operators; the outputs of convolutions and matrix products are constants."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0

    @property
    def work(self) -> Work:
        """What was counted."""
        return Work(float(self.total), float(self.operators))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators += 1
        return super().__torch_dispatch__(func, types, args, kwargs)

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The operation's output: of the right shape and layout, where it is not computed."""
        if func not in _COUNTED:
            return super().call(func, args, kwargs)
        device = next(a.device for a in args if isinstance(a, Tensor))
        shapes = func(*tree_map_only(Tensor, lambda t: t.to("meta"), args), **kwargs)
        return tree_map_only(Tensor, lambda t: _constant(t, device), shapes)


def _constant(shape: Tensor, device: torch.device) -> Tensor:
    return torch.empty_strided(shape.size(), shape.stride(), dtype=shape.dtype, device=device).fill_(_CONSTANT)


def counted_part(name: str, trainable: Trainable, data: Dataset, counting: Counting) -> Part | None:
    """A part by the work of a step of few images in the middle of the run; None where that is quick enough to time.

    Operations grow with the batch, operators do not. Work that is due every n-th step only may be in it or not.
    Weights change.
    """
    cfg = trainable.cfg
    together = type(trainable).inseparable(cfg) if isinstance(trainable, Method) else 1
    few = min(cfg.batch, math.lcm(QUICK_BATCH, together))
    work = _work_of_step(trainable, data, few)
    if counting.seconds(work) < counting.from_s:
        return None
    nets = parameters(trainable)
    step = Work(work.flops * cfg.batch / few, work.operators)
    seconds = counting.seconds(step) * cfg.steps
    files = 16 * sum(nets.values())
    return Part(name, nets, cfg.steps, seconds, files, flops=step.flops, operators=step.operators, counted=True)


def _work_of_step(trainable: Trainable, data: Dataset, few: int) -> Work:
    cfg = trainable.cfg
    trainable.cfg, middle = replace(cfg, batch=few), cfg.steps // 2 + 1
    try:
        stream = stream_for(trainable, data, seed=0)
        try:
            with Uncomputed() as counter:
                take_step(trainable, stream, middle)
        except (IndexError, RuntimeError, ValueError):  # what the first step has to make is not there
            with Uncomputed():
                take_step(trainable, stream, 0)
            with Uncomputed() as counter:
                take_step(trainable, stream, middle)
    finally:
        trainable.cfg = cfg
    return counter.work


def cpu_counting() -> Counting:
    """Counting on this CPU, at the rate that it reaches in a convolution of a GAN's usual size, measured now."""
    rate = _cpu_rate()
    return Counting(lambda work: work.flops / rate, from_s=SLOW_S)


def _cpu_rate() -> float:
    """FLOP/s of a 3 x 3 convolution, forward and backward: the best of ten, since another process only slows one."""
    layer = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.ones(4, 64, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
    times = []
    with Flops() as counter:
        layer(x).sum().backward()
    for _ in range(10):
        began = time.perf_counter()
        layer(x).sum().backward()
        times.append(time.perf_counter() - began)
    return counter.total / min(times)
