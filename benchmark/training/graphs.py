"""CUDA graphs of a step: its kernels are recorded once and launched together, from batches at fixed addresses.

Random numbers stay those of the seed: torch registers the device's generator with the graph, and a replay draws from
the state that the loop's `manual_seed` has given it. The host's decisions are repeated as they were recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from benchmark.data.stream import Batch

WARM_UPS = 3  # runs before the recording, in which libraries choose kernels and allocate their workspaces


class Graphs:
    """Records steps on a CUDA device. Their graphs share memory: no more than one is replayed at a time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()

    def record(
        self, run: Callable[[list[Batch]], dict[str, Tensor]], batches: list[Batch]
    ) -> Callable[[list[Batch]], dict[str, Tensor]]:
        """A step that replays what `run` launches. The state is as after `WARM_UPS` steps; the caller puts it back.

        What a replay returns lies at fixed addresses, too, and is overwritten by the next one.
        """
        places = [fixed(batch) for batch in batches]
        side, present = torch.cuda.Stream(self.device), torch.cuda.current_stream(self.device)
        side.wait_stream(present)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                run(places)
        present.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            scalars = run(places)

        def replay(batches: list[Batch]) -> dict[str, Tensor]:
            for place, batch in zip(places, batches, strict=True):
                fill(place, batch)
            graph.replay()
            return scalars

        return replay


def fixed(batch: Batch) -> Batch:
    """A copy of a batch, in the same memory order, for later ones to be written into."""
    labels, attributes = (None if y is None else y.clone() for y in (batch.labels, batch.attributes))
    return Batch(batch.images.clone(memory_format=torch.preserve_format), labels, attributes, batch.index.clone())


def fill(place: Batch, batch: Batch) -> None:
    """Write a batch into the tensors of another, which has the same shapes."""
    for field in fields(batch):
        mine, theirs = getattr(place, field.name), getattr(batch, field.name)
        if mine is not None:
            mine.copy_(theirs, non_blocking=True)
