"""What a captured step reads and writes, at fixed addresses: state, batches, learning rates, the number of the step."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.core.errors import ConfigError
from benchmark.data.stream import Batch, Stream
from benchmark.training.method import Trainable


class Held:
    """The tensors of a trainable's state, which a capture knows by their addresses in memory.

    Making one gives every optimiser the moments that its first step would have begun with.
    Raises ConfigError for an optimiser that cannot be captured.
    """

    def __init__(self, trainable: Trainable) -> None:
        self.trainable, device = trainable, trainable.device
        for name, optimiser in trainable.optimisers().items():
            _begin(name, optimiser)
        self.attributes = {name: value for name, value in vars(trainable).items() if isinstance(value, Tensor)}
        self.optimiser_states = {name: optimiser.state for name, optimiser in trainable.optimisers().items()}
        self.moments = {
            name: {p: dict(state) for p, state in optimiser.state.items()}
            for name, optimiser in trainable.optimisers().items()
        }
        self.t = torch.zeros((), dtype=torch.int64, device=device)
        # A GPU's kernel reads a float32; the CPU's a number of any precision, as it reads Python's.
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        groups = [group for optimiser in trainable.optimisers().values() for group in optimiser.param_groups]
        self.rates = [torch.zeros((), dtype=dtype, device=device) for _ in groups]

    def tensors(self) -> list[Tensor]:
        """All that a step may change."""
        nets = [tensor for net in self.trainable.modules().values() for tensor in (*net.parameters(), *net.buffers())]
        moments = [m for states in self.moments.values() for state in states.values() for m in state.values()]
        return [*self.attributes.values(), *nets, *moments]

    def replaced(self) -> list[str]:
        """Names of attributes that are another tensor than before."""
        now = {name: value for name, value in vars(self.trainable).items() if isinstance(value, Tensor)}
        return [name for name in {**self.attributes, **now} if now.get(name) is not self.attributes.get(name)]

    @torch.no_grad()
    def reclaim(self) -> None:
        """Where a state was loaded, other tensors hold it: copy them to where captures look, and put those back."""
        for name in self.replaced():
            self.attributes[name].copy_(getattr(self.trainable, name))
            setattr(self.trainable, name, self.attributes[name])
        for name, optimiser in self.trainable.optimisers().items():
            if optimiser.state is self.optimiser_states[name]:
                continue
            for parameter, moments in self.moments[name].items():
                loaded = optimiser.state.get(parameter, {})
                for key, tensor in moments.items():
                    tensor.copy_(loaded[key]) if key in loaded else tensor.zero_()
                optimiser.state[parameter] = dict(moments)
            self.optimiser_states[name] = optimiser.state

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Put the state back afterwards, and torch's random numbers."""
        device = self.trainable.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
            before = [(tensor, tensor.clone()) for tensor in self.tensors()]
            try:
                with torch.enable_grad():
                    yield
            finally:
                for name, tensor in self.attributes.items():
                    setattr(self.trainable, name, tensor)
                for tensor, value in before:
                    tensor.copy_(value)

    @contextmanager
    def in_place(self, t: int) -> Iterator[None]:
        """The number of the step and the learning rates as tensors at fixed addresses, for the time of a step."""
        groups = [group for optimiser in self.trainable.optimisers().values() for group in optimiser.param_groups]
        numbers = [group["lr"] for group in groups]
        before = self.trainable._step
        self.t.fill_(t)
        for group, rate, number in zip(groups, self.rates, numbers):
            group["lr"] = rate.fill_(number)
        self.trainable._step = self.t
        self.trainable.descend = adam_in_place  # type: ignore[method-assign]
        try:
            yield
        finally:
            del self.trainable.descend
            self.trainable._step = before
            for group, number in zip(groups, numbers):
                group["lr"] = number


def _begin(name: str, optimiser: torch.optim.Optimizer) -> None:
    """The moments that the first step would make. Raises ConfigError for another optimiser than `Trainable.adam`'s."""
    if type(optimiser) is not torch.optim.Adam:
        raise ConfigError(f"the optimiser {name}", f"it is {type(optimiser).__name__}, and only Adam can be captured")
    for group in optimiser.param_groups:
        if not group["fused"] or group["amsgrad"] or group["weight_decay"] or group["maximize"]:
            raise ConfigError(f"the optimiser {name}", "only fused Adam without further options can be captured")
        for parameter in group["params"]:
            if not optimiser.state[parameter]:
                optimiser.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                }


@torch.no_grad()
def adam_in_place(
    optimisers: Sequence[torch.optim.Optimizer], parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> None:
    """As `Trainable.descend`, by the same kernel, from learning rates that are tensors.

    torch's own `step` looks at the gradients that parameters hold: within torch.compile it breaks the graph.
    """
    place = 0
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            found = gradients[place : place + len(group["params"])]
            place += len(found)
            moved = [p for p, gradient in zip(group["params"], found) if gradient is not None]
            states = [optimiser.state[p] for p in moved]
            steps = [state["step"] for state in states]
            averages, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
            gradients_of_moved = [gradient for gradient in found if gradient is not None]
            _fused_adam(moved, gradients_of_moved, averages, squares, steps, group["lr"], *group["betas"], group["eps"])


# torch's operator has no shape function for rates that are tensors, and no compiler takes it: ours is taken as a whole.
@torch.library.custom_op(
    "gantlet::fused_adam",
    mutates_args=("parameters", "averages", "squares", "steps"),
    schema="(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] averages, Tensor(c!)[] squares, "
    "Tensor(d!)[] steps, Tensor lr, float beta1, float beta2, float eps) -> ()",
)
def _fused_adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    lr: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    """A step of Adam, in place. A rate of 0 moves nothing but the moments."""
    torch._foreach_add_(steps, 1)
    torch._fused_adam_(
        parameters,
        gradients,
        averages,
        squares,
        [],
        steps,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=eps,
        amsgrad=False,
        maximize=False,
    )


@_fused_adam.register_fake
def _(*_: Any) -> None:
    return None


class Served:
    """A stream whose next batches were drawn before the step. Rows that the step picks itself are the stream's."""

    def __init__(self, batches: Sequence[Batch], stream: Stream) -> None:
        self.batches, self.stream, self.drawn = batches, stream, 0

    def __next__(self) -> Batch:
        self.drawn += 1
        return self.batches[self.drawn - 1]

    def pick(self, index: Tensor) -> Batch:
        """As `Stream.pick`."""
        return self.stream.pick(index)


class Counted:
    """A stream that counts the batches drawn from it."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.drawn = stream, 0

    def __next__(self) -> Batch:
        self.drawn += 1
        return next(self.stream)

    def pick(self, index: Tensor) -> Batch:
        """As `Stream.pick`."""
        return self.stream.pick(index)


def host_randomness(graph: bool) -> tuple[Any, ...]:
    """The states of the generators that no capture can seed: Python's, numpy's, and for a graph the CPU's of torch."""
    _, keys, place, *_ = np.random.get_state()  # noqa: NPY002 -- the global generator is what is looked for
    own = torch.get_rng_state().tolist() if graph else []
    return random.getstate(), np.asarray(keys).tobytes(), place, own
