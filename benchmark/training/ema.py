"""The average generator: an exponential moving average of its weights over training."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class EMA:
    """Exponential moving average of a network's parameters; its buffers are copied [ours: BigGAN's code averages them].

    Source: beta = 0.5^(batch / half-life), the half-life counted in images (Karras et al. 2018; InfoSCC-GAN's code).
    Until start_step it is a copy of the network (BigGAN's code).
    """

    net: nn.Module
    beta: float
    start_step: int = 0

    @classmethod
    def of(cls, net: nn.Module, batch: int, half_life_images: float, start_step: int = 0) -> EMA:
        """Start an average at the network's present weights."""
        return cls(copy.deepcopy(net).requires_grad_(False).eval(), 0.5 ** (batch / half_life_images), start_step)

    @torch.no_grad()
    def update(self, live: nn.Module, t: int, factor: float = 1.0) -> None:
        """Move the average towards the live network after step t. factor: of the half-life; 0 makes it a copy."""
        weight = 1.0
        if t >= self.start_step and factor > 0:
            weight = 1 - (self.beta if factor == 1 else self.beta ** (1 / factor))
        torch._foreach_lerp_(list(self.net.parameters()), list(live.parameters()), weight)
        if buffers := list(self.net.buffers()):
            torch._foreach_copy_(buffers, list(live.buffers()))
