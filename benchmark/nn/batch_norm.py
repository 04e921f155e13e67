"""Batch normalisation by the statistics of the whole batch, which all ranks share.

Source: Ioffe and Szegedy, "Batch Normalization" (ICML 2015), algorithm 1. torch's SyncBatchNorm does the same on GPUs
alone, and cannot be differentiated twice, as R1 does.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.core import distributed
from benchmark.nn.precision import in_float32


def normalise_over_ranks(net: nn.Module) -> None:
    """Let every batch norm of a network normalise by the batch of all ranks, and average running statistics over it.

    The modules stay what they are: their class, parameters and buffers, and with them the names in a checkpoint. In
    evaluation mode, in one process, and in what rank 0 does alone they compute what they did.
    """
    if distributed.world() == 1:
        return
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(self: _BatchNorm, x: Tensor, *condition: Any) -> Tensor:
    """x [N, C, ...] -> the same shape. condition: what a subclass may be called with, and takes no notice of."""
    if not self.training or distributed.world() == 1:
        return type(self).forward(self, x, *condition)
    self._check_input_dim(x)
    mean, variance, n = moments(x)
    if self.running_mean is not None:
        _move_running_statistics(self, mean, variance * (n / (n - 1)))
    per_channel = (1, -1, *[1] * (x.ndim - 2))
    scale = (variance + self.eps).rsqrt()
    if self.weight is not None:
        scale = scale * self.weight
    y = (x - mean.view(per_channel)) * scale.view(per_channel)
    y = y if self.bias is None else y + self.bias.view(per_channel)
    return y.to(x.dtype)  # under autocast as torch's: statistics are float32, maps are not


@in_float32
def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [C] and biased variance [C] of the channels over the batch of all ranks, and the number of values [1].

    x: this rank's share [N, C, ...]. One collective operation: means and variances of the shares are combined, which
    loses no digits where a sum of squares would (Chan et al. 1979).
    """
    channels = x.shape[1]
    variance, mean = torch.var_mean(x, [d for d in range(x.ndim) if d != 1], correction=0)
    count = x.new_full((1,), x.numel() // channels)
    every = distributed.gather(torch.cat([mean, variance, count])[None])  # [ranks, 2 C + 1]
    means, variances, counts = every.split([channels, channels, 1], 1)
    counts = counts.detach()
    n = counts.sum(0)
    mean = (counts * means).sum(0) / n
    return mean, (counts * (variances + (means - mean).square())).sum(0) / n, n


@torch.no_grad()
def _move_running_statistics(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """As torch does: by the momentum, or to the mean of all batches where there is none."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    momentum = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance, momentum)
