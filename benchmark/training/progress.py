"""What a training says of itself while it runs: its log, one JSON line at a time, and lines of progress."""

from __future__ import annotations

import math
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark.core import distributed
from benchmark.core.files import JsonLines

LOG = "log.jsonl"
SAME_LOSS = 1e-5  # relative difference that the rounding of a sum of equal float32 numbers makes


class Log:
    """Means of the scalars over the steps since the last line and over ranks, one JSON line each.

    Between lines the host waits for no device.
    """

    def __init__(self, path: Path) -> None:
        self.lines = JsonLines(path)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def begin(self, step: int) -> None:
        """Drop the lines after the checkpoint that is resumed from: those steps are computed again."""
        if distributed.is_main():
            self.lines.keep(lambda line: line["step"] <= step)

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Add one step's scalars."""
        for name, value in scalars.items():
            value = value.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def sync(self) -> None:
        """Put the lines on the disk: before the checkpoint after which they are not written again."""
        if distributed.is_main():
            self.lines.sync()

    def state_dict(self) -> dict[str, Any]:
        """The sums since the last line, of every rank. Every rank calls."""
        return {
            "sums": {name: distributed.gather(total.reshape(1)) for name, total in self.sums.items()},
            "counts": self.counts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from sums that were kept; over another number of ranks from their mean."""
        same = all(len(totals) == distributed.world() for totals in state["sums"].values())
        for name, totals in state["sums"].items():
            self.sums[name] = totals[distributed.rank()] if same else totals.mean(0)
            self.counts[name] = int(state["counts"][name])

    def flush(self, step: int, images: int) -> dict[str, float]:
        """Write the means since the last line. Returns them. Every rank calls; each has seen its share of the batch."""
        totals = distributed.means(list(self.sums.values()))
        means = {name: float(total) / self.counts[name] for name, total in zip(self.sums, totals)}
        self.sums, self.counts = {}, {}
        if means and distributed.is_main():
            self.lines.append({"step": step, "images": images, **_finite(means)})
        return means


def stalled_since(folder: Path) -> int | None:
    """The logged step from which on the mean losses of D and G are the same to the end; None where they change.

    It is the sign of a dead discriminator: it gives every image the same logit, for example since the last ReLUs before
    the logit are all 0, and then neither network has a gradient. Both losses must stand still: in a run whose D was
    nearly dead its means differed by 3e-5 and more, and those of G by percents.
    """
    losses = [
        (line["step"], line["D"], line["G"])
        for line in JsonLines(folder / LOG).read()
        if line.get("D") is not None and line.get("G") is not None
    ]
    since = None
    for (step, *now), (_, *later) in pairwise(losses):
        alike = all(math.isclose(a, b, rel_tol=SAME_LOSS) for a, b in zip(now, later))
        since = (step if since is None else since) if alike else None
    return since


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: it becomes null."""
    return {name: value if abs(value) < float("inf") else None for name, value in values.items()}


class Reporter:
    """Progress as plain lines for logs: about one every ten seconds, and the last."""

    def __init__(self, label: str, total: int, enabled: bool, every_s: float = 10.0) -> None:
        self.label, self.total, self.enabled, self.every_s = label, total, enabled, every_s
        self.since = time.perf_counter()
        self.steps: int | None = None  # done when the last line was printed

    def report(self, done: int, losses: dict[str, float]) -> None:
        """Print a line when one is due."""
        now = time.perf_counter()
        if self.steps is None:
            self.steps = done
            return
        if not self.enabled or (now - self.since < self.every_s and done < self.total):
            return
        rate = (done - self.steps) / max(now - self.since, 1e-9)
        text = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
        print(f"{self.label}: step {done}/{self.total}  {rate:.1f} steps/s  {text}", flush=True)
        self.since, self.steps = now, done
