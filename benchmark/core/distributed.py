"""The few collective operations a run needs; with one process each is a no-op.

Started by `torchrun`, every rank computes on its share of the batch and gradients are averaged in `Trainable.update`.
Networks are not wrapped in DistributedDataParallel: calling a sub-method of a wrapped network (`D.features`) bypasses
its gradient averaging, and ranks drift apart silently.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def start(device: torch.device) -> None:
    """Join the process group when `torchrun` started this process."""
    if "WORLD_SIZE" in os.environ and int(os.environ["WORLD_SIZE"]) > 1 and not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        # Rank 0 evaluates alone while the others wait at a barrier: hours in a large run.
        dist.init_process_group(backend, timeout=timedelta(days=1))


def stop() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


_alone = False


def _shared() -> bool:
    """Whether the collective operations have anyone to talk to."""
    return dist.is_initialized() and not _alone


@contextmanager
def alone() -> Iterator[None]:
    """Work that rank 0 does by itself: inside, everything behaves as in a single process."""
    global _alone
    _alone = True
    try:
        yield
    finally:
        _alone = False


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes share the run."""
    return dist.get_world_size() if _shared() else 1


def is_main() -> bool:
    """Whether this process is the one that writes files and prints."""
    return rank() == 0


def barrier() -> None:
    """Wait until every rank is here."""
    if _shared():
        dist.barrier()


def agree(value: Any) -> Any:
    """Rank 0's value, on every rank."""
    if not _shared():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def mean_gradients(gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Average gradients over the ranks, in one all-reduce of their concatenation."""
    present = [g for g in gradients if g is not None]
    if not _shared() or not present:
        return gradients
    flat = torch.cat([g.reshape(-1) for g in present])
    dist.all_reduce(flat)
    flat /= world()
    averaged = iter(flat.split([g.numel() for g in present]))
    return [None if g is None else next(averaged).view_as(g) for g in gradients]


def average_buffers(modules: Iterable[nn.Module]) -> None:
    """Make running statistics (batch norm) equal on every rank: each rank saw its own share of the images."""
    if not _shared():
        return
    for module in modules:
        for buffer in module.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= world()


def latest(value: Tensor) -> Tensor:
    """The largest of the ranks' values of an integer tensor."""
    if _shared():
        value = value.clone()
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return value


def local_rank() -> int:
    """This process's number on its machine, which is its GPU's."""
    return int(os.environ.get("LOCAL_RANK", 0))
