"""An autoencoder, an encoder trained without labels to keep what an image is made of.

Logo-GAN-AE (Sage et al., CVPR 2018) clusters its codes; the networks and settings here are [ours].
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.autoencoder import Autoencoder
from benchmark.training.config import TrainConfig
from benchmark.training.method import Stage


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AutoencoderConfig(TrainConfig):
    """Reconstruction; every default is [ours]."""

    width: PositiveInt = 32  # channels of the first layer, at half the side; doubled up to eight times
    code_dim: PositiveInt = 128  # numbers that represent an image
    lr: PositiveFloat = 1e-3  # AdamW's step size at the start; falls to 0 linearly
    weight_decay: NonNegativeFloat = 1e-5  # AdamW's
    seed: NonNegativeInt = 0  # of the encoder itself: runs with other seeds share it


class AutoencoderStage(Stage):
    """An autoencoder trained to give each image back, by the mean squared error of its pixels."""

    cfg: AutoencoderConfig
    name: ClassVar[str] = "Autoencoder"
    version: ClassVar[int] = 1
    linear_decay = True

    def __init__(self, cfg: AutoencoderConfig, data: Dataset) -> None:
        self.net = Autoencoder(data.resolution, data.channels, cfg.width, cfg.code_dim)
        self.opt = torch.optim.AdamW(self.net.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay, fused=True)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """One update."""
        x = next(stream).images  # [B, C, S, S] in [-1, 1]
        loss = F.mse_loss(self.net(x), x)
        self.update(loss, self.opt)
        return {"reconstruction": loss}

    def product(self) -> nn.Module:
        """The net; `code` gives the features."""
        return self.net
