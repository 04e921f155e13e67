"""What a step of each method costs beside its networks alone: hidden waste shows as a ratio well above 1.

    python tests/tools/bench_steps.py [--dataset digits] [--steps 20] [METHOD ...]

"Networks alone" replays the calls that one step makes to G, D and the other trained networks: each with the same
inputs, and where the step kept a graph, one backward pass through it. What the step adds is its losses, optimisers,
penalties of second order, random draws and the harness. "Kernels alone" runs the step's own convolutions and matrix
products by themselves, forward and backward, at their own shapes and in the fastest memory order: the share of the step
that they take is what remains if all else were free. Operators are those below autograd, views included. Times are of
the processor, one thread, the median over steps, of each step the faster of two; all are measured in turn, so that a
busy machine slows all. Stages are built but not trained: their cost is theirs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from own_kernels import Alone, Operators
from torch import Tensor, nn

from benchmark.core.allocator import keep_freed_memory
from benchmark.core.registry import method_names
from benchmark.core.seeds import seed_step
from benchmark.data.cards import card_with, find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.runs.plan import DryRun
from benchmark.runs.spec import SMALL_SIDES
from benchmark.training.loop import stream_for
from benchmark.training.method import Method, construct, find_method

CPU = torch.device("cpu")
ENTRIES = ("forward", "features", "maps", "head", "map", "synthesis")  # by which methods call their networks


@dataclass
class Call:
    """One call of a network during a step."""

    entry: Callable[..., Any]
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    with_graph: bool
    net: nn.Module


@contextmanager
def recorded(nets: list[nn.Module]) -> Iterator[list[Call]]:
    """The outermost calls of these networks while the context lasts."""
    calls: list[Call] = []
    depth = [0]
    patched: list[tuple[nn.Module, str]] = []

    def wrap(net: nn.Module, name: str) -> None:
        plain = getattr(net, name)

        def entry(*inputs: Any, **options: Any) -> Any:
            if not depth[0]:
                calls.append(Call(plain, _detached(inputs), options, torch.is_grad_enabled(), net))
            depth[0] += 1
            try:
                return plain(*inputs, **options)
            finally:
                depth[0] -= 1

        setattr(net, name, entry)
        patched.append((net, name))

    for net in nets:
        for name in ENTRIES:
            if callable(part := getattr(net, name, None)) and not isinstance(part, nn.Module):
                wrap(net, name)
    try:
        yield calls
    finally:
        for net, name in patched:
            delattr(net, name)


def _detached(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copies without history; floats ask for a gradient, as a generator's images do in its own step."""
    return tuple(
        value.detach().clone().requires_grad_(value.is_floating_point() and value.requires_grad)
        if isinstance(value, Tensor)
        else value
        for value in inputs
    )


def replay(calls: list[Call]) -> None:
    """Each call again, forward, and backward where the step could have gone backward."""
    for call in calls:
        with torch.set_grad_enabled(call.with_graph):
            out = call.entry(*call.inputs, **call.options)
        out = out if isinstance(out, Tensor) else out[0]
        if not (call.with_graph and out.requires_grad):
            continue
        wanted = [p for p in call.net.parameters() if p.requires_grad]
        wanted += [value for value in call.inputs if isinstance(value, Tensor) and value.requires_grad]
        torch.autograd.grad(out.sum(), wanted, allow_unused=True)


def build(name: str, dataset: str, folder: Path) -> tuple[Method, Dataset]:
    """A method with its small recipe on synthetic pictures, its stages untrained."""
    card = find_card(dataset)
    side = min(card.resolution, SMALL_SIDES.get(card.name, 32))
    data = Dataset.tiny(card if card.resolution == 1 else card_with(card, {"resolution": side}))
    file = find_method(name)
    cfg = file.recipe("small", dataset)
    return construct(file.cls, cfg, data, CPU, 0, **file.cls.stages(DryRun(data, folder, CPU, quiet=True), cfg)), data


@dataclass
class Cost:
    """What a step of a method costs: processor's seconds, operators, floating-point operations."""

    step: float
    networks: float  # alone, by `replay`
    kernels: float  # alone, by `own_kernels.Alone`
    operators: int
    flops: int

    def cells(self) -> list[str]:
        """As a row of the table."""
        return [
            f"{1000 * self.step:.1f}",
            f"{1000 * self.networks:.1f}",
            f"{self.step / self.networks:.2f}",
            f"{1000 * self.kernels:.1f}",
            f"{100 * self.kernels / self.step:.0f} %",
            f"{self.flops / self.step / 1e9:.0f}",
            f"{self.flops / self.kernels / 1e9:.0f}",
            f"{self.operators:,.0f}",
        ]


COLUMNS = (
    "Step, ms",
    "Networks alone, ms",
    "Ratio",
    "Kernels alone, ms",
    "Share of the step",
    "GFLOP/s",
    "attainable",
    "Operators",
    "Parameters of G",
    "of D",
)


def measure(name: str, dataset: str, steps: int) -> tuple[Cost, int, int]:
    """The cost of a step, parameters of G and D."""
    with tempfile.TemporaryDirectory() as folder:
        method, data = build(name, dataset, Path(folder))
        stream, nets = stream_for(method, data, seed=0), list(method.modules().values())
        alone, costs = Alone(), []
        middle = method.cfg.steps // 2 + 1  # a method may begin with something cheaper
        for k, t in enumerate((0, *range(middle, middle + steps + 1))):
            cost = cost_of(method, stream, nets, t, alone)
            if k >= 2:  # what happens once, and warming up, is over
                costs.append(cost)
    sizes = [sum(p.numel() for p in net.parameters()) for net in (method.G, method.D)]  # type: ignore[attr-defined]
    medians = (statistics.median(getattr(cost, field.name) for cost in costs) for field in fields(Cost))
    return Cost(*medians), sizes[0], sizes[1]


def cost_of(method: Method, stream: Stream, nets: list[nn.Module], t: int, alone: Alone) -> Cost:
    """The cost of step t: the step again and again, with the same random numbers."""
    method._step = t

    def step() -> float:
        seed_step(0, t)
        began = time.process_time()
        method.step(stream, t)
        return time.process_time() - began

    spent = min(step(), step())
    with recorded(nets) as calls:
        step()
    began = time.process_time()
    replay(calls)
    networks = time.process_time() - began
    with Operators() as operators:
        step()
    return Cost(spent, networks, alone.seconds(operators.kernels), operators.total, operators.flops)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=method_names())
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the loop does
    print(f"| Method on {arguments.dataset} | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name in arguments.methods:
        cost, n_G, n_D = measure(name, arguments.dataset, arguments.steps)
        print(f"| {name} | {' | '.join(cost.cells())} | {n_G:,} | {n_D:,} |", flush=True)


if __name__ == "__main__":
    main()
