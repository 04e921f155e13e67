"""Where the time of a training step goes, by kind of work: what bounds a step whose convolutions do not.

    python tests/tools/step_parts.py [--dataset digits] [--steps 20] [METHOD ...]

One thread. The shares are of the operators' own time as torch's profiler sees it. What a step takes beyond them is
`Python`: its lines, autograd's bookkeeping, the launch of each operator. The time of a step is taken without the
profiler. These are times on the clock: run it where nothing else does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from bench_steps import build
from torch.profiler import ProfilerActivity, profile

from benchmark.core.allocator import keep_freed_memory
from benchmark.core.registry import method_names
from benchmark.core.seeds import seed_step
from benchmark.training.loop import stream_for

KINDS = {  # the first whose part is in the operator's name
    "convolutions, products": ("conv", "mkldnn", "::mm", "addmm", "bmm", "::linear", "addmv", "::mv", "::dot"),
    "batch norm": ("batch_norm",),
    "resampling": ("pool", "upsample", "grid_sampler", "interpolate", "::pad", "reflection"),
    "optimisers": ("adam", "foreach", "lerp"),
    "copies, layout": (
        *("copy", "::cat", "contiguous", "clone", "index", "gather", "stack", "flip", "roll", "fill", "zero"),
    ),
    "random numbers": ("rand", "normal", "uniform", "bernoulli", "philox"),
    "pointwise, sums": ("",),
}


def kind_of(operator: str) -> str:
    """The kind of work of an operator, by its name in the profile."""
    return next(kind for kind, parts in KINDS.items() if any(part in operator for part in parts))


def parts_of(name: str, dataset: str, steps: int) -> dict[str, float]:
    """The share of a step's time by kind."""
    with tempfile.TemporaryDirectory() as folder:
        method, data = build(name, dataset, Path(folder))
        stream = stream_for(method, data, seed=0)
        first = method.cfg.steps // 2 + 1

        def run(t: int) -> float:
            method._step = t
            seed_step(0, t)
            began = time.perf_counter()
            method.step(stream, t)
            return time.perf_counter() - began

        for t in range(first, first + 3):  # warming up
            run(t)
        times = [run(first + 3 + t) for t in range(steps)]
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as seen:
            for t in range(steps):
                run(first + 3 + t)
    step = statistics.mean(times)
    spent: dict[str, float] = defaultdict(float)
    for event in seen.key_averages():
        if event.key.startswith("aten::") or "mkldnn" in event.key:
            spent[kind_of(event.key)] += event.self_cpu_time_total / 1e6 / steps
    shares = {kind: spent[kind] / step for kind in KINDS}
    scale = min(1.0, 1.0 / max(1e-9, sum(shares.values())))  # the profiler's own cost can exceed the step
    shares = {kind: share * scale for kind, share in shares.items()}
    return {**shares, "Python": 1 - sum(shares.values())}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=method_names())
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the loop does
    columns = [*(kind.capitalize() for kind in KINDS), "Python"]
    print(f"| Method on {arguments.dataset} | {' | '.join(columns)} |")
    print("|:--" + "|--:" * len(columns) + "|")
    for name in arguments.methods:
        cells = [f"{100 * share:.0f} %" for share in parts_of(name, arguments.dataset, arguments.steps).values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
