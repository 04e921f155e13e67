"""Scores during training, on few images: they show a collapse, and how much the last step's luck weighs.

A final score is of one step; GANs drift on. Snapshots give the best, the last and the mean of the last ones. They use
the same reference and extractor as the evaluation, but fewer images, so that their values are no column of its own.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from benchmark import distributed
from benchmark.evaluate import (
    EvalConfig,
    build_extractor,
    build_judge,
    generate,
    protocol_of,
    reference_of,
    standing_statistics,
)
from benchmark.files import write_text
from benchmark.method import Method
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.store import FeatureStore
from benchmark.protocols import labelled
from benchmark.records import Value
from benchmark.scores import metric_names

if TYPE_CHECKING:
    from benchmark.artifacts import Job

FILE = "snapshots.jsonl"
LATE = 3  # last snapshots whose mean is given


def snapshot_steps(cfg: EvalConfig, steps: int) -> set[int]:
    """Steps after which a snapshot is scored: evenly spaced, the last step among them."""
    return {round(steps * (i + 1) / cfg.snapshots) for i in range(cfg.snapshots)}


class Snapshots:
    """Scores the generator of a run in training; one JSON line each in the run's folder.

    A run that is resumed forgets lines of steps that it will take again.
    """

    def __init__(self, method: Method, cfg: EvalConfig, job: Job, folder: Path) -> None:
        self.method, self.cfg, self.job = method, cfg, job
        self.path = folder / FILE
        self.steps = snapshot_steps(cfg, method.cfg.steps) if not job.data.points else set()
        judge = build_judge(cfg, job) if self.steps else None
        self.extractor = build_extractor(cfg.extractors[0], cfg, judge, job) if self.steps else None

    def begin(self, step: int) -> None:
        """Start, or continue after this step."""
        if self.steps and distributed.is_main() and self.path.exists():
            kept = [line for line in self._lines() if line["step"] <= step]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def __call__(self, step: int, G: nn.Module) -> None:
        """Score generator G after a step; every rank calls, rank 0 works."""
        if step not in self.steps:
            return
        if distributed.is_main():
            with distributed.alone():
                line = {"step": step, "fd": self._fd(G)}
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")
        distributed.barrier()

    def values(self) -> list[Value]:
        """Best, mean of the last ones, and the curve; none without snapshots."""
        if not self.steps:
            return []
        assert self.extractor is not None
        lines = [line for line in self._lines() if line["fd"] is not None]
        key = self.extractor.name.replace("-", "_")
        name = metric_names(self.extractor.name)[f"fd_{key}"]
        protocol = protocol_of(self.job.data, self.cfg, self.cfg.snapshot_images)
        protocol |= {"extractor": self.extractor.identity, "snapshots": self.cfg.snapshots}
        details = {"curve": lines}
        late = [line["fd"] for line in lines[-LATE:]]
        found = {
            f"fd_best_{key}": (f"{name}, best snapshot", min((line["fd"] for line in lines), default=None)),
            f"fd_late_{key}": (f"{name}, last {LATE} snapshots", float(np.mean(late)) if late else None),
        }
        return [
            Value(
                id,
                labelled(title, self.cfg.protocol),
                value,
                "lower",
                protocol,
                status="ok" if value is not None else "failed",
                reason="" if value is not None else "no snapshot has a finite score",
                details=details,
            )
            for id, (title, value) in found.items()
        ]

    def _fd(self, G: nn.Module) -> float | None:
        """Of a copy: running statistics are the training's own."""
        assert self.extractor is not None
        G = copy.deepcopy(G).eval()
        standing_statistics(self.method, G)
        fakes = generate(self.method, G, self.cfg.snapshot_images, self.cfg, self.job.data)
        reference = reference_of(self.job.data, self.cfg.reference)
        real = self.job.store.features(self.extractor, reference.images, sha256=reference.sha256)
        fake = FeatureStore(None).features(self.extractor, fakes.images)
        fd = frechet_distance(real.pooled, fake.pooled)
        return fd if np.isfinite(fd) else None

    def _lines(self) -> list[dict[str, Any]]:
        lines = []
        for text in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                lines.append(json.loads(text))
            except ValueError:
                break  # a line cut short by a kill
        return lines
