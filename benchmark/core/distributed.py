"""The few collective operations a run needs; with one process each is a no-op.

Started by `torchrun`, every rank computes on its share of the batch and gradients are averaged in `Trainable.update`.
Networks are not wrapped in DistributedDataParallel: calling a sub-method of a wrapped network (`D.features`) bypasses
its gradient averaging, and ranks drift apart silently.

A method must not change with the number of ranks. What looks at a batch as a whole (neighbours, negatives, batch
statistics) calls `gather` or `total`; what is decided once for a whole batch passes `broadcast`. Gradients run through
`gather` and `total`, any number of times: R1 differentiates twice. Their backward pass is a collective operation, too,
so every rank must compute the same graph and differentiate it. What results is the gradient of the ranks' summed
losses; averaged over the ranks, that of the whole batch's mean loss.

A rank that is lost ends the others (`heartbeat.py`): usually at once, at the latest after `LOST_AFTER_S`. What one rank
does alone, the others wait for in `barrier` or `agree`, for hours if need be. All other operations are reached by every
rank at about the same time; they fail after `TOGETHER_MIN`, which only ranks that live but disagree can exceed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.heartbeat import Heartbeat, RankLost, end_process

T = TypeVar("T")

TOGETHER_MIN = 30  # of a collective operation of training; also until every rank has joined the group

_heartbeat: Heartbeat | None = None
_patient: dist.ProcessGroup | None = None  # for barriers, where the others may work for days; None: the default group
_groups_started = 0
_alone = False


def start(device: torch.device) -> None:
    """Join the process group when `torchrun` started this process, and watch the other ranks from then on.

    Raises UserError when the other ranks do not join within `TOGETHER_MIN`.
    """
    global _heartbeat, _patient, _groups_started
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        return
    # Host tensors have a backend of their own: the device is not waited for when a decision is shared.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=timedelta(minutes=TOGETHER_MIN))
        _groups_started += 1
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        _heartbeat = Heartbeat(rank(), world(), f"gantlet/{attempt}/{_groups_started}")
        group = dist.new_group(backend="gloo", timeout=timedelta(days=365))
        assert isinstance(group, dist.ProcessGroup)  # every rank is in it
        _patient = group
    except RuntimeError as error:
        raise UserError(
            f"rank {os.environ.get('RANK', '?')} of {os.environ['WORLD_SIZE']} could not join the others",
            str(error).strip().splitlines()[0],
            "see what the other ranks printed, and check that MASTER_ADDR and MASTER_PORT are reachable from here",
        ) from error


def stop() -> None:
    """Leave the process group. Within an exception the others are told that this rank has failed."""
    global _heartbeat, _patient
    if _heartbeat is not None:
        _heartbeat.stop(failed=sys.exc_info()[0] is not None)
    _heartbeat = _patient = None
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _together() -> Iterator[None]:
    """A collective operation: if it fails because of another rank, this process ends and names that rank."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if _heartbeat is None or not any(sign in text for sign in _OF_ANOTHER_RANK):
            raise
        if "Timed out" in text or "timeout" in text:
            stuck = f"rank {rank()} waited {TOGETHER_MIN} min for the others, which are alive but did not follow"
            end_process(RankLost(stuck, text.strip().splitlines()[0], "start again; report it if it happens twice"))
        _heartbeat.end_after(error)


_OF_ANOTHER_RANK = ("onnection", "peer", "remote process", "Timed out", "timeout")  # in messages of gloo and NCCL


def _shared() -> bool:
    """Whether the collective operations have anyone to talk to."""
    return dist.is_initialized() and not _alone


@contextmanager
def alone() -> Iterator[None]:
    """Work that rank 0 does by itself: inside, everything behaves as in a single process."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


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
    """Wait until every rank is here, however long one of them works alone."""
    if _shared():
        with _together():
            dist.barrier(group=_patient)


def agree(value: Any) -> Any:
    """Rank 0's value, on every rank, however long rank 0 works for it."""
    if not _shared():
        return value
    box = [value]
    with _together():
        dist.broadcast_object_list(box, src=0, group=_patient)
    return box[0]


def by_main(work: Callable[[], T]) -> T | None:
    """What rank 0 returns for this work, which it does alone; None on the others, which wait.

    A UserError of rank 0 is raised on every rank, so that none waits for work that has failed. Any other error ends
    rank 0, and thereby the others.
    """
    done, problem = None, None
    if is_main():
        try:
            with alone():
                done = work()
        except UserError as error:
            problem = error
    problem = agree(problem)
    if problem is not None:
        raise problem
    return done


def mean_gradients(gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Average gradients over the ranks; those that are None on every rank stay so."""
    if not _shared():
        return gradients
    averaged = iter(means([g for g in gradients if g is not None]))
    return [None if g is None else next(averaged) for g in gradients]


def means(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The means of several tensors over the ranks, in one all-reduce of their concatenation. Not differentiable."""
    if not _shared() or not tensors:
        return tensors
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with _together():
        dist.all_reduce(flat)
    flat /= world()
    return [part.view_as(tensor) for part, tensor in zip(flat.split([t.numel() for t in tensors]), tensors)]


class _Total(torch.autograd.Function):
    """The sum over the ranks, and the sum of its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        summed = x.clone(memory_format=torch.contiguous_format)
        with _together():
            dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Total.apply(gradients[0])


class _Gather(torch.autograd.Function):
    """The rows of all ranks; a row's gradient is the sum of what every rank finds for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x, ctx.own = x.contiguous(), own_rows(len(x))
        parts = [torch.empty_like(x) for _ in range(world())]
        with _together():
            dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Total.apply(gradients[0])[ctx.own]


def total(x: Tensor) -> Tensor:
    """The sum of the ranks' tensors, which have one shape; differentiable any number of times."""
    return _Total.apply(x) if _shared() else x


def gather(x: Tensor) -> Tensor:
    """The rows of all ranks [ranks * N, ...], rank 0's first, for x [N, ...]; differentiable any number of times.

    N is the same on every rank. `own_rows(N)` are this rank's.
    """
    return _Gather.apply(x) if _shared() else x


def own_rows(n: int) -> slice:
    """Where this rank's n rows lie among those of all ranks."""
    start = rank() * n if _shared() else 0
    return slice(start, start + n)


def broadcast(x: Tensor) -> Tensor:
    """Rank 0's tensor, on every rank: for what is drawn once for a whole batch. Not differentiable."""
    if not _shared():
        return x
    x = x.clone(memory_format=torch.contiguous_format)
    with _together():
        dist.broadcast(x, src=0)
    return x


def largest(value: Tensor) -> Tensor:
    """The largest of the ranks' values, entry by entry. Not differentiable."""
    if _shared():
        value = value.clone()
        with _together():
            dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return value


def anyone(value: bool) -> bool:
    """Whether the value is true on any rank; every rank gets the same answer."""
    return bool(largest(torch.tensor(int(value)))) if _shared() else value


def local_rank() -> int:
    """This process's number on its machine, which is its GPU's."""
    return int(os.environ.get("LOCAL_RANK", 0))
