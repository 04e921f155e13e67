"""Batches of training images: a pure function of (seed, images drawn), so that resuming needs no random state.

Image number `p` of a run, counted over all ranks, is entry `p mod N` of the permutation of epoch `p div N`; whether it
is mirrored is drawn with the permutation. The batch size and the number of ranks change nothing of that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.core import distributed
from benchmark.core.environment import n_cores
from benchmark.core.errors import UserError
from benchmark.data.prepared import Split

MEMORY_SHARE = 0.25  # of the free memory that the images of one split may take, by the runs of all cores together
PERMUTATION, FLIP = 0, 1  # streams of random numbers of an epoch


def to_float(images: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Float in [-1, 1] as uint8, rounded to the nearest level; what lies outside is clamped. Inverse of `to_float`."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def images_to_float(images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """Stored images (N, H, W, C) uint8 as networks see them: float32 [N, C, H, W] in [-1, 1] on the device.

    The bytes are copied and moved, and become floats on the device. In memory they stay channels last.
    """
    return to_float(torch.tensor(images).permute(0, 3, 1, 2).to(device))


def images_to_uint8(images: torch.Tensor) -> np.ndarray:
    """Images [N, C, H, W] in [-1, 1] as they are stored: uint8 (N, H, W, C). Inverse of `images_to_float`."""
    return to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()


@dataclass
class Batch:
    """One rank's share of a batch, on the device."""

    images: torch.Tensor  # float32 [B, C, H, W] in [-1, 1], channels_last; 2-D points [B, 2] as they are
    labels: torch.Tensor | None  # int64 [B]
    attributes: torch.Tensor | None  # float32 [B, A], 0 or 1
    index: torch.Tensor  # int64 [B], rows of the split

    def rows(self, which: torch.Tensor) -> Batch:
        """Some of its images, int64 [B'], as a batch."""
        labels, attributes = (None if y is None else y[which] for y in (self.labels, self.attributes))
        return Batch(self.images[which], labels, attributes, self.index[which])

    def of_all_ranks(self) -> Batch:
        """The whole batch, of which this is a share, in the order in which one process would draw it."""
        if distributed.world() == 1:
            return self
        images = distributed.gather(self.images).contiguous(memory_format=_layout(self.images))
        labels, attributes = (None if y is None else distributed.gather(y) for y in (self.labels, self.attributes))
        return Batch(images, labels, attributes, distributed.gather(self.index))


def _layout(images: torch.Tensor) -> torch.memory_format:
    """How a batch lies in memory: images channels last, points as they are."""
    return torch.channels_last if images.ndim == 4 else torch.contiguous_format


class Stream:
    """Endless batches of one split.

    split: a prepared split. Images that take less than a quarter of the free memory move to the device once, as
        uint8; others are gathered from the disk batch by batch.
    batch: images a batch over all ranks together; rank r gets the r-th contiguous share.
    seed: at least 0; with the position it fixes every batch.
    flip: mirror each drawn image left-right with probability 1/2.
    Raises UserError when `world` does not divide `batch`, or the split is empty.
    """

    def __init__(
        self, split: Split, batch: int, device: torch.device | str, seed: int, flip: bool, rank: int = 0, world: int = 1
    ) -> None:
        if batch <= 0 or batch % world:
            raise UserError(
                f"batch {batch} cannot be shared by {world} processes",
                "each takes the same number of images",
                f"choose a batch that is a multiple of {world}",
            )
        if len(split) == 0:
            raise UserError(f"the {split.name} split is empty", mend="prepare the data set again")
        self.position = 0  # images drawn so far, by all ranks together; set it to resume
        self._rows = _Rows(split, torch.device(device))
        self._n, self._batch, self._seed, self._flip, self._rank, self._world = (
            len(split),
            batch,
            seed,
            flip,
            rank,
            world,
        )
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # the one or few epochs that the last batch touched

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Batch:
        share = self._batch // self._world
        start = self.position + self._rank * share
        index, flip = self._draw(np.arange(start, start + share))
        self.position += self._batch
        return self._rows.batch(index, flip if self._flip else None)

    def pick(self, index: torch.Tensor) -> Batch:
        """The images of these rows, int64 [B] on the stream's device; mirrored at random where the stream mirrors.

        What is mirrored comes from torch's global generator, which the loop seeds for every step.
        """
        flip = torch.rand(len(index), device=index.device) < 0.5 if self._flip else None
        return self._rows.of(index, flip)

    def _draw(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row (int64 [B]) and mirroring (bool [B]) of each position."""
        epochs, offsets = np.divmod(positions, self._n)
        wanted = np.unique(epochs)
        self._epochs = {e: self._epochs.get(e) or self._epoch(e) for e in map(int, wanted)}
        index, flip = np.empty(len(positions), np.int64), np.empty(len(positions), bool)
        for e, (permutation, flips) in self._epochs.items():
            here = epochs == e
            index[here], flip[here] = permutation[offsets[here]], flips[offsets[here]]
        return index, flip

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The permutation (int64 [N]) of an epoch and the mirroring (bool [N]) of its entries."""
        order, mirror = (_generator(self._seed, epoch, stream) for stream in (PERMUTATION, FLIP))
        return order.permutation(self._n), mirror.random(self._n) < 0.5


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, stream])))


def in_order(split: Split, batch: int, device: torch.device | str) -> Iterator[Batch]:
    """Every image of a split once, in order, unmirrored; the last batch may be smaller."""
    rows = _Rows(split, torch.device(device), keep=False)
    for start in range(0, len(split), batch):
        yield rows.batch(np.arange(start, min(start + batch, len(split))), None)


class _Rows:
    """Gathers rows of a split into batches on a device."""

    def __init__(self, split: Split, device: torch.device, keep: bool = True) -> None:
        self.device = device
        self.images = split.images  # uint8 [N, H, W, C], or float32 [N, 2] points
        self.resident: torch.Tensor | None = None  # the same on the device
        if keep and split.images.nbytes < MEMORY_SHARE * _free_bytes(device):
            self.resident = torch.from_numpy(np.array(split.images)).to(device)
        self.labels = None if split.labels is None else torch.from_numpy(np.array(split.labels)).to(device)
        self.attributes = None
        if split.attributes is not None:
            self.attributes = torch.from_numpy(np.array(split.attributes)).to(device).float()

    def batch(self, index: np.ndarray, flip: np.ndarray | None) -> Batch:
        """index: int64 [B]; flip: bool [B] or None for no mirroring."""
        rows = self._move(torch.from_numpy(index))
        stored = self.resident[rows] if self.resident is not None else self._from_disk(index)
        return self._served(rows, stored, None if flip is None else self._move(torch.from_numpy(flip)))

    def of(self, rows: torch.Tensor, flip: torch.Tensor | None) -> Batch:
        """The same for rows [B] and mirroring [B] that lie on the device already."""
        stored = self.resident[rows] if self.resident is not None else self._from_disk(rows.cpu().numpy())
        return self._served(rows, stored, flip)

    def _from_disk(self, index: np.ndarray) -> torch.Tensor:
        return self._move(torch.from_numpy(_gather(self.images, index)))

    def _served(self, rows: torch.Tensor, images: torch.Tensor, flip: torch.Tensor | None) -> Batch:
        """images: as stored, [B, H, W, C] or points [B, 2]."""
        if images.ndim == 4:
            if flip is not None:
                images = torch.where(flip.view(-1, 1, 1, 1), images.flip(2), images)
            images = to_float(images.permute(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
        return Batch(
            images=images,
            labels=None if self.labels is None else self.labels[rows],
            attributes=None if self.attributes is None else self.attributes[rows],
            index=rows,
        )

    def _move(self, tensor: torch.Tensor) -> torch.Tensor:
        """To the device, without making the host wait for it."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)


def _gather(images: np.ndarray, index: np.ndarray) -> np.ndarray:
    """`images[index]`, read from the disk front to back."""
    order = np.argsort(index)
    gathered = np.empty((len(index), *images.shape[1:]), images.dtype)
    gathered[order] = images[index[order]]
    return gathered


def _free_bytes(device: torch.device) -> int:
    """Free memory of the device; on a CPU this run's part of the host's, as one may run on each core."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return _free_host_bytes() // n_cores()


def _free_host_bytes() -> int:
    """Memory that Linux says is available; elsewhere a cautious 4 GiB."""
    try:
        with open("/proc/meminfo") as file:
            kilobytes = next(line.split()[1] for line in file if line.startswith("MemAvailable"))
        return int(kilobytes) * 1024
    except (OSError, StopIteration, ValueError):
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, AttributeError):
            return 4 * 2**30
