"""How fast this CPU computes: what turns counted work into seconds, measured once in a process.

Rates are the best that single operations reach. A step of a small GAN is timed, too, and tells how far training stays
behind them. See `clock` for why other processes change this little.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from benchmark.runs.clock import TWO_THREADS, processor_seconds, wall_seconds
from benchmark.runs.counting import Counting, Uncomputed, Work

REPEATS = 6  # of a measurement, of which the least counts
SIDE, WIDTH, BATCH = 16, 32, 32  # pixels, channels and images of the reference step: about a small recipe's
TIMED_S = 0.25  # a part whose step takes less is timed, a longer one counted
CPU = torch.device("cpu")


def cpu_counting(timed_s: float = TIMED_S) -> Counting:
    """Counting on this CPU, by the number of threads that torch has when it is called.

    timed_s: see `Counting.timed_s`.
    """
    return Counting(seconds_here, timed_s)


def seconds_here(work: Work) -> float:
    """Seconds of the work on this CPU, by the present number of threads."""
    return _at_best(work) * _behind() * _share(torch.get_num_threads())


def _at_best(work: Work) -> float:
    """Seconds by one thread, at the rates of single operations."""
    flop_s, entry_s, operator_s = _rates()
    return work.flops * flop_s + work.entries * entry_s + work.operators * operator_s


@cache
def _rates() -> tuple[float, float, float]:
    """Seconds of a floating-point operation in a convolution, of an entry read or written, and of an operator."""
    layer = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.ones(4, 64, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
    large, small = torch.ones(1 << 18, requires_grad=True), torch.ones(8, requires_grad=True)

    def convolution() -> object:
        return torch.autograd.grad(layer(x).sum(), [x, *layer.parameters()])

    def chain(start: Tensor) -> object:
        y = start
        for _ in range(8):
            y = nn.functional.leaky_relu(2 * y + start, 0.2)
        return torch.autograd.grad(y.sum(), start)

    return (
        _least(convolution) / _work(convolution).flops,
        _least(lambda: chain(large)) / _work(lambda: chain(large)).entries,
        _least(lambda: chain(small)) / _work(lambda: chain(small)).operators,
    )


@cache
def _behind() -> float:
    """How many times longer than at these rates a step of training takes."""
    work = _work(_reference_step())
    return max(1.0, _least(_reference_step()) / _at_best(work))


@cache
def _share(threads: int) -> float:
    """Time by so many threads over that by one."""
    if threads <= 2:
        return TWO_THREADS if threads == 2 else 1.0
    step = _reference_step()
    return min(1.0, min(wall_seconds(step, CPU) for _ in range(REPEATS)) / _least(step))


def _work(step: Callable[[], object]) -> Work:
    with Uncomputed() as counter:
        step()
    return counter.work


def _least(step: Callable[[], object]) -> float:
    """Seconds of the quickest of some calls; the first one, which prepares, is not among them."""
    step()
    return min(processor_seconds(step) for _ in range(REPEATS))


def _reference_step() -> Callable[[], object]:
    """A step of a small convolutional GAN: D on real and generated images, then G, each by Adam."""
    D = nn.Sequential(
        nn.Conv2d(3, WIDTH, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, stride=2, padding=1),
        nn.BatchNorm2d(2 * WIDTH),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * WIDTH, 1, SIDE // 2),
    )
    G = nn.Sequential(
        nn.ConvTranspose2d(64, 2 * WIDTH, SIDE // 2),
        nn.BatchNorm2d(2 * WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(WIDTH, 3, 3, padding=1),
        nn.Tanh(),
    )
    nets = [net.to(memory_format=torch.channels_last) for net in (D, G)]
    of_D, of_G = (torch.optim.Adam(net.parameters(), fused=True) for net in nets)
    images, softplus = torch.rand(BATCH, 3, SIDE, SIDE), nn.functional.softplus

    def descend(optimiser: torch.optim.Optimizer, net: nn.Module, loss: Tensor) -> None:
        parameters = list(net.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
            parameter.grad = gradient.contiguous(memory_format=torch.channels_last) if gradient.ndim == 4 else gradient
        optimiser.step()

    def step() -> None:
        z = torch.randn(BATCH, 64, 1, 1)
        generated = G(z)
        descend(of_D, D, softplus(-D(images)).mean() + softplus(D(generated.detach())).mean())
        descend(of_G, G, softplus(-D(G(z))).mean())

    return step
