"""What a step asks of the library: its operators, and the time that its convolutions and matrix products need alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
CONVOLUTIONS = {aten.convolution.default, aten.convolution_backward.default}
PRODUCTS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}
LAYOUTS: tuple[torch.memory_format | None, ...] = (
    None,
    torch.contiguous_format,
    torch.channels_last,
)  # None: as called

Signature = tuple[Any, tuple[Any, ...], tuple[tuple[str, Any], ...]]  # an operator, its arguments, its options


class Operators(TorchDispatchMode):
    """Counts the operators below autograd while the context lasts, backward passes included.

    total: all of them, views too. flops: of those that torch's own counter knows. kernels: how often each convolution
    and matrix product was called, by operator, shapes and memory order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total, self.flops = 0, 0
        self.by_name: Counter[str] = Counter()
        self.kernels: Counter[Signature] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.total += 1
        self.by_name[str(func)] += 1
        if (flops := flop_registry.get(func._overloadpacket)) is not None:
            self.flops += flops(*args, **kwargs, out_val=out)
        if func in CONVOLUTIONS or func in PRODUCTS:
            options = tuple(sorted((name, _outline(value)) for name, value in kwargs.items()))
            self.kernels[func, tuple(_outline(value) for value in args), options] += 1
        return out


def _outline(value: Any) -> Any:
    """An argument as it decides the cost, hashable: of a tensor the shape, the strides and the type."""
    if isinstance(value, Tensor):
        return Tensor, tuple(value.shape), tuple(value.stride()), value.dtype
    return tuple(value) if isinstance(value, list) else value


class Alone:
    """The processor's seconds that kernels need alone, each the fastest of several calls, measured once."""

    def __init__(self, repeats: int = 7) -> None:
        self.repeats = repeats
        self.known: dict[Signature, float] = {}

    def seconds(self, kernels: Counter[Signature]) -> float:
        """Of all these calls together, each in the fastest of the memory orders."""
        return sum(n * self._best(signature) for signature, n in kernels.items())

    def _best(self, signature: Signature) -> float:
        if signature not in self.known:
            layouts = LAYOUTS if signature[0] in CONVOLUTIONS else LAYOUTS[:1]
            self.known[signature] = min(self._fastest(signature, layout) for layout in layouts)
        return self.known[signature]

    def _fastest(self, signature: Signature, layout: torch.memory_format | None) -> float:
        operator, arguments, options = signature
        inputs = [_like(value, layout) for value in arguments]
        named = {name: _like(value, None) for name, value in options}

        def call() -> Any:
            return operator(*inputs, **named)

        with torch.no_grad():
            call()
            return min(_timed(call) for _ in range(self.repeats))


def _timed(call: Callable[[], Any]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _like(value: Any, layout: torch.memory_format | None) -> Any:
    """A tensor of that outline, of random numbers; other arguments as they are."""
    if not (isinstance(value, tuple) and value[:1] == (Tensor,)):
        return list(value) if isinstance(value, tuple) else value
    _, shape, stride, dtype = value
    if layout is not None and len(shape) == 4:
        return torch.randn(shape, dtype=dtype).contiguous(memory_format=layout)
    x = torch.empty_strided(shape, stride, dtype=dtype)
    x.as_strided((x.untyped_storage().nbytes() // x.itemsize,), (1,)).normal_()  # an expanded tensor has less memory
    return x
