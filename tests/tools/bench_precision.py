"""What a step of published networks costs in float32 and under bfloat16 autocast, on one thread of this CPU.

    python tests/tools/bench_precision.py [--batch N] [--rounds 5] [METHOD ...]

Images of 32 px, recipe `paper`, a batch with which a step takes some seconds; stages are built but not trained. The two
precisions take turns, so that a busy machine slows both, and each row has the least of its times. Steps of StyleGAN2
and InfoSCC-GAN differ: a plain one, and those with a penalty, are rows of their own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from benchmark.core.engine import Precision
from benchmark.core.seeds import seed_step
from benchmark.data.cards import card_with, find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.precision import precision_note, training_precision
from benchmark.runs.plan import DryRun
from benchmark.training.loop import stream_for
from benchmark.training.method import Method, construct, find_method

CPU = torch.device("cpu")
SIDE = 32
ROWS: dict[str, tuple[str, int, dict[str, int]]] = {  # the recipe's dataset, the batch, a step of each kind by number
    "infoscc": ("celeba", 64, {"plain": 1, "with class, R1": 0}),
    "biggan": ("cifar10", 4, {"plain": 1}),
    "sngan": ("cifar10", 4, {"plain": 1}),
    "stylegan2": ("cifar10", 4, {"plain": 1, "with R1": 16}),
}


def build(name: str, dataset: str, batch: int, folder: Path) -> tuple[Method, Dataset]:
    """A method with its paper recipe on synthetic pictures of 32 px, its stages untrained."""
    file, card = find_method(name), find_card(dataset)
    data = Dataset.tiny(card if card.resolution == SIDE else card_with(card, {"resolution": SIDE}))
    cfg = replace(file.recipe("paper", dataset), batch=batch)
    stages = file.cls.stages(DryRun(data, folder, CPU, quiet=True), cfg)
    return construct(file.cls, cfg, data, CPU, 0, **stages), data


def seconds(method: Method, stream: Stream, t: int, precision: Precision) -> float:
    """Processor time of step t."""
    method._step = t
    seed_step(0, t)
    began = time.process_time()
    with training_precision(precision, CPU):
        method.step(stream, t)
    return time.process_time() - began


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=list(ROWS))
    parser.add_argument("--batch", type=int, help="of every method")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(precision_note("bf16", CPU) or "This CPU multiplies bfloat16 numbers by instructions of its own.")
    print(f"| Method, {SIDE} px | Batch | Step | fp32, ms | bf16, ms | fp32 / bf16 |")
    print("|---|---|---|---|---|---|")
    for name in arguments.methods:
        dataset, batch, kinds = ROWS[name]
        batch = arguments.batch or batch
        with tempfile.TemporaryDirectory() as folder:
            method, data = build(name, dataset, batch, Path(folder))
            stream = stream_for(method, data, seed=0)
            for kind, t in kinds.items():
                found: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
                for _ in range(1 + arguments.rounds):  # the first is for warming up
                    for precision, times in found.items():
                        times.append(seconds(method, stream, t, precision))
                wide, short = (min(times[1:]) for times in found.values())
                row = [name, str(batch), kind, f"{1000 * wide:.0f}", f"{1000 * short:.0f}", f"{wide / short:.2f}"]
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
