"""What a step costs where timing it takes too long, or the device is not here: by counts of its operations.

The networks run on real tensors, so that whatever depends on values works. Convolutions and matrix products, which are
nearly all of the work, are counted in place of computed, and so is whatever else reads or makes a large tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from benchmark.data.prepared import Dataset
from benchmark.runs.dry_run import QUICK_BATCH, Flops, Probe, mean_step
from benchmark.training.method import Method, Trainable

_ATEN = torch.ops.aten
_COUNTED = {  # operations whose output is not computed, whatever its size
    _ATEN.convolution.default,
    _ATEN.convolution_backward.default,
    _ATEN.mm.default,
    _ATEN.addmm.default,
    _ATEN.bmm.default,
    _ATEN.baddbmm.default,
}
_CONSTANT = 0.01  # of outputs that are not computed: zeros would make norms 0, and their quotients not a number
LARGE = 1 << 16  # entries of a tensor from which on no operation on it is computed


@dataclass(frozen=True)
class Work:
    """What a step computes, in three numbers that decide how long it takes."""

    flops: float  # of convolutions and matrix products
    operators: float  # how many operations of any kind
    entries: float = 0.0  # of tensors that all other operations read and write

    def map(self, change: Callable[[str, float], float]) -> Work:
        """Each number changed. change: of its name and its value."""
        return Work(**{field.name: change(field.name, getattr(self, field.name)) for field in fields(self)})


@dataclass(frozen=True)
class Counting:
    """How counted work becomes seconds.

    seconds: time of a step's work. timed_s: a part whose step takes less is timed instead.
    """

    seconds: Callable[[Work], float]
    timed_s: float = 0.0


class Uncomputed(Flops):
    """Counts operations, operators and entries; what is large, a convolution or a matrix product gives constants."""

    def __init__(self) -> None:
        super().__init__()
        self.operators, self.entries = 0, 0

    @property
    def work(self) -> Work:
        """What was counted."""
        return Work(float(self.total), float(self.operators), float(self.entries))

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The operation's output: of the right shape, where it is not computed."""
        self.operators += 1
        kind = _kind(func)
        if kind == "counted":
            return _assumed(func, args, kwargs)
        if kind == "view":  # nothing is read
            return func(*args, **kwargs)
        inputs = _tensors((args, tuple(kwargs.values())))
        sizes = [x.numel() for x in inputs]
        self.entries += sum(sizes)
        large = max(sizes, default=0) >= LARGE
        if kind == "change":
            return _unchanged(func, args, kwargs) if large or _overlap(inputs) else func(*args, **kwargs)
        out = _assumed(func, args, kwargs) if large or _makes_large(args, kwargs) else func(*args, **kwargs)
        self.entries += out.numel() if isinstance(out, Tensor) else sum(x.numel() for x in _tensors(out))
        return out


@cache
def _kind(func: Any) -> Literal["counted", "change", "view", "new"]:
    """What an operation gives: what is never computed, arguments that it changes, parts of these, or new tensors."""
    if func in _COUNTED:
        return "counted"
    if func._schema.is_mutable:
        return "change"
    return "view" if any(value.alias_info for value in func._schema.returns) else "new"


def _tensors(value: Any) -> list[Tensor]:
    """The tensors among an operation's arguments or outputs, those in lists too."""
    if isinstance(value, Tensor):
        return [value]
    return [x for one in value for x in _tensors(one)] if isinstance(value, (list, tuple)) else []


def _each(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The arguments or outputs with each tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    return type(value)(_each(change, one) for one in value) if isinstance(value, (list, tuple)) else value


def _assumed(func: Any, args: Any, kwargs: Any) -> Any:
    """Constants in the shape of the output; computed where torch cannot tell the shape, and where it holds integers."""
    key = (func, _signature(args), _signature(tuple(kwargs.items())))
    if key not in _OUTPUTS:
        _OUTPUTS[key] = _output_shapes(func, args, kwargs)
    if (shapes := _OUTPUTS[key]) is None:
        return func(*args, **kwargs)
    inputs = _tensors((args, tuple(kwargs.values())))
    device = inputs[0].device if inputs else kwargs.get("device") or torch.device("cpu")
    return _each(lambda t: _constant(t, device), shapes)


_OUTPUTS: dict[Any, Any] = {}  # of operations on arguments of some shapes: torch takes long to tell them


def _signature(value: Any) -> Any:
    """What of an argument decides the shapes of outputs."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    return tuple([_signature(one) for one in value]) if isinstance(value, (list, tuple)) else (type(value), value)


def _output_shapes(func: Any, args: Any, kwargs: Any) -> Any:
    """The outputs without memory; None: their shapes depend on values, or their values are integers."""
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": torch.device("meta")}
    try:
        shapes = func(*_each(_shape, args), **{name: _each(_shape, value) for name, value in kwargs.items()})
    except (NotImplementedError, RuntimeError):
        return None
    return shapes if all(x.is_floating_point() for x in _tensors(shapes)) else None


def _shape(x: Tensor) -> Tensor:
    return torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device="meta")


def _makes_large(args: Any, kwargs: Any) -> bool:
    """Is there a size among the arguments that announces a large output?"""
    for sizes in (*args, *kwargs.values()):
        if isinstance(sizes, (list, tuple)) and sizes and isinstance(sizes[0], int) and math.prod(sizes) >= LARGE:
            return True
    return False


def _constant(shape: Tensor, device: torch.device) -> Tensor:
    """A small tensor is filled, a large one has one number for all of its entries."""
    if shape.numel() < LARGE:
        empty = torch.empty_strided(shape.size(), shape.stride(), dtype=shape.dtype, device=device)
        return empty.fill_(_CONSTANT)
    return torch.full((), _CONSTANT, dtype=shape.dtype, device=device).expand(shape.size())


def _overlap(tensors: Iterable[Tensor]) -> bool:
    """Do several entries of one share memory, as those of a large constant do?"""
    return any(0 in x.stride() and x.numel() > 1 for x in tensors)


def _unchanged(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation that changes its arguments returns, without the change."""
    returned = func._schema.returns
    if returned and not any(value.alias_info for value in returned):
        return _assumed(func, args, kwargs)
    changed = [
        kwargs[argument.name] if argument.name in kwargs else args[i]
        for i, argument in enumerate(func._schema.arguments)
        if argument.is_write and (argument.name in kwargs or i < len(args))
    ]
    return None if not returned else changed[0] if len(returned) == 1 else tuple(changed[: len(returned)])


class _Counted(Probe):
    """One number of the work of single steps; steps are counted once for all numbers."""

    exact: ClassVar[bool] = True
    number: str = "flops"

    def __init__(self, trainable: Trainable, data: Dataset) -> None:
        super().__init__(trainable, data)
        self.known: dict[int, Work] = {}

    def work(self, t: int) -> Work:
        """Of step t."""
        if t not in self.known:
            with Uncomputed() as counter:
                self._step(t)
            self.known[t] = counter.work
        return self.known[t]

    def measure(self, t: int) -> float:
        return float(getattr(self.work(t), self.number))

    def mean(self) -> Work:
        """Of a step, on average over a run."""
        numbers = {}
        for self.number in (field.name for field in fields(Work)):
            numbers[self.number] = mean_step(self)
        return Work(**numbers)


def counted_work(trainable: Trainable, data: Dataset) -> Work:
    """The work of a step, on average over a run. Weights change.

    Steps of few images are counted, of as many and of twice as many: what grows with the batch is separated from
    what is done for the weights.
    """
    cfg = trainable.cfg
    together = type(trainable).inseparable(cfg) if isinstance(trainable, Method) else 1
    few = min(cfg.batch, math.lcm(QUICK_BATCH, together))
    with _batch_of(trainable, few):
        probe = _Counted(trainable, data)
        mean = probe.mean()
    if few == cfg.batch:
        return mean
    twice, middle = min(cfg.batch, 2 * few), cfg.steps // 2 + 1
    with _batch_of(trainable, twice):
        double, single = _Counted(trainable, data).work(middle), probe.work(middle)
    more = (cfg.batch - few) / (twice - few)

    def whole(name: str, value: float) -> float:
        one, two = getattr(single, name), getattr(double, name)
        return value if name == "operators" or not one else value * (1 + more * max(0.0, two / one - 1))

    return mean.map(whole)


@contextmanager
def _batch_of(trainable: Trainable, batch: int) -> Iterator[None]:
    cfg = trainable.cfg
    trainable.cfg = replace(cfg, batch=batch)
    try:
        yield
    finally:
        trainable.cfg = cfg
