"""What the set metrics cost on large sets: seconds and peak memory, each metric in a process of its own.

    python tests/tools/bench_memory.py [--n 50000] [--d 2048] [--limit-gb 6] [METRIC ...]

Two sets of random float32 features [n, d] stand for Inception's; the copy test takes n / 5 more as held-out images, the
neighbour agreement n / 25 queries. Peak memory is that of the whole process, Python, libraries and inputs included;
"empty" shows what is there before a metric begins. Exit status 1 if one needs more than the limit, or fails.
OMP_NUM_THREADS is one unless it is set.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
import torch

from benchmark.runs.device import peak_memory_mb

Features = np.ndarray
LABEL_CLASSES = 10


def run_empty(real: Features, fake: Features) -> object:
    import benchmark.metrics.nearest  # noqa: F401  # what all of them import

    return None


def run_frechet(real: Features, fake: Features) -> object:
    from benchmark.metrics.frechet import frechet_distance

    return frechet_distance(real, fake)


def run_kid(real: Features, fake: Features) -> object:
    from benchmark.metrics.kid import kid

    return kid(real, fake)


def run_chamfer(real: Features, fake: Features) -> object:
    from benchmark.metrics.chamfer import chamfer

    return chamfer(real, fake)


def run_prdc(real: Features, fake: Features) -> object:
    from benchmark.metrics.prdc import prdc

    return prdc(real, fake)


def run_copy_test(real: Features, fake: Features) -> object:
    from benchmark.metrics.copying import copy_test

    return copy_test(real, features(len(real) // 5, real.shape[1], seed=2), fake)


def run_agreement(real: Features, fake: Features) -> object:
    from benchmark.metrics.neighbours import neighbour_agreement

    rng = np.random.default_rng(3)
    labels = rng.integers(LABEL_CLASSES, size=len(real))
    return neighbour_agreement(real, labels, queries=rng.choice(len(real), max(1, len(real) // 25), replace=False))


METRICS: dict[str, Callable[[Features, Features], object]] = {
    "empty": run_empty,
    "frechet": run_frechet,
    "kid": run_kid,
    "chamfer": run_chamfer,
    "prdc": run_prdc,
    "copy_test": run_copy_test,
    "agreement": run_agreement,
}


def features(n: int, d: int, seed: int) -> Features:
    """Random rows [n, d] in float32, never held in float64."""
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def measure(name: str, n: int, d: int) -> None:
    """Run one metric in this process; print seconds of the clock, of the processor, and peak GB."""
    real, fake = features(n, d, seed=0), features(n, d, seed=1)
    began, spent = time.perf_counter(), time.process_time()
    METRICS[name](real, fake)
    seconds, processor = time.perf_counter() - began, time.process_time() - spent
    peak = peak_memory_mb(torch.device("cpu")) * 2**20 / 1e9
    print(f"{seconds:.1f} {processor:.1f} {peak:.2f}")


def main() -> int:
    """Print the table. 0 if every metric keeps within the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", nargs="*", metavar="METRIC", help=", ".join(METRICS))
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--limit-gb", type=float, default=6.0)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)  # how this script calls itself
    arguments = parser.parse_args()
    names = arguments.metrics or list(METRICS)
    if unknown := set(names) - set(METRICS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(METRICS)}")
    if arguments.alone:
        measure(names[0], arguments.n, arguments.d)
        return 0
    print(f"| Metric, 2 x {arguments.n:,} x {arguments.d} | Seconds | of the processor | Peak memory, GB |")
    print("|---|---|---|---|", flush=True)
    failed = False
    for name in names:
        call = [sys.executable, __file__, name, "--alone", "--n", str(arguments.n), "--d", str(arguments.d)]
        done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            print(f"| {name} | failed, status {done.returncode} | | |", flush=True)
            failed = True
            continue
        seconds, processor, peak = done.stdout.split()
        too_much = float(peak) > arguments.limit_gb
        failed |= too_much
        remark = f", more than {arguments.limit_gb:g}" if too_much else ""
        print(f"| {name} | {seconds} | {processor} | {peak}{remark} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
