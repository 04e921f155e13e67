"""RotNet, an encoder trained without labels to predict rotations (Gidaris et al., ICLR 2018).

Every image is seen in its four rotations, and the net says which is which.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.core.config import STRICT, Beta, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.features import NIN
from benchmark.training.config import TrainConfig
from benchmark.training.method import Stage

# Of the run's length: where the learning rate falls, and to which share of it [C: epochs 60, 120, 160 of 200]
_ROTNET_RATES = ((0.8, 0.008), (0.6, 0.04), (0.3, 0.2))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RotNetConfig(TrainConfig):
    """Rotation prediction; defaults are of the authors' configuration for CIFAR-10."""

    divisor: PositiveInt = 1  # every width of the net is divided by it; 1: published
    lr: PositiveFloat = 0.1  # SGD's step size at the start
    momentum: Beta = 0.9  # SGD's, Nesterov
    weight_decay: NonNegativeFloat = 5e-4  # as an L2 term
    seed: NonNegativeInt = 0  # of the encoder itself: runs with other seeds share it


class RotNet(Stage):
    """An encoder trained to say by which multiple of 90 degrees an image was turned."""

    cfg: RotNetConfig
    name: ClassVar[str] = "RotNet"
    version: ClassVar[int] = 1

    def __init__(self, cfg: RotNetConfig, data: Dataset) -> None:
        self.net = NIN(data.channels, n_outputs=4, divisor=cfg.divisor)
        self.opt = torch.optim.SGD(
            self.net.parameters(), lr=cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay, nesterov=True
        )

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """One update on the four rotations of each image."""
        x = next(stream).images  # [B, C, S, S]
        turned, y = rotations(x)  # [4B, C, S, S], [4B]
        logits = self.net(turned)
        loss = cross_entropy(logits, y)
        self.update(loss, self.opt)
        return {"rotation": loss, "rotation_accuracy": (logits.argmax(1) == y).float().mean()}

    def lr_factor(self, t: int) -> float:
        """The authors' steps, at the same shares of the run."""
        return next((factor for begin, factor in _ROTNET_RATES if t >= begin * self.cfg.steps), 1.0)

    def product(self) -> nn.Module:
        """The net; `blocks[:2]` is the feature."""
        return self.net


def rotations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Images [B, C, S, S] turned by 0, 90, 180 and 270 degrees, [4B, C, S, S], and these numbers 0..3, [4B]."""
    y = torch.arange(4, device=x.device).repeat_interleave(len(x))
    return torch.cat([torch.rot90(x, k, (2, 3)) for k in range(4)]), y
