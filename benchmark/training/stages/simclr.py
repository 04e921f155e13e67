"""SimCLR (Chen et al. 2020), the suite's self-supervised encoder: stage 1 of InfoSCC-GAN, features for other methods.

Two random views of an image are each other's positive among all views of the batch; the encoder's pooled output h is
what others use, the projection z serves the contrastive loss alone.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import (
    STRICT,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    added,
)
from benchmark.core.registry import recipes_of
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream, images_to_float
from benchmark.nn.augment import SimCLRViews
from benchmark.nn.encoders import Projector, Stem, conv_encoder, resnet18_encoder, resnet50_encoder
from benchmark.nn.losses import nt_xent
from benchmark.training.artifacts import computation
from benchmark.training.config import TrainConfig
from benchmark.training.method import Stage


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SimCLRConfig(TrainConfig):
    """Settings of the contrastive encoder; defaults are InfoSCC-GAN's (configuration files of its code)."""

    net: Literal["conv", "resnet18", "resnet50"] = "resnet50"  # paper: ResNet-50, random initialisation
    stem: Stem = added("imagenet")  # of the residual networks; cifar: for images of 32 pixels (Chen et al., B.9)
    width: PositiveInt = 16  # first width of the `conv` encoder, whose h has 8 x width values [ours]
    z_dim: PositiveInt = 128  # width of the projection
    tau: PositiveFloat = 0.5  # temperature of the softmax over similarities
    lr: PositiveFloat = 3e-4  # Adam's step size
    weight_decay: NonNegativeFloat = 1e-4  # as an L2 term inside Adam
    epoch_steps: NonNegativeInt = 0  # steps of an epoch for the cosine schedule, and its T_max; 0: constant rate
    constant_epochs: NonNegativeInt = 10  # epochs before the schedule starts
    crop_scale: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.08, 1.0)  # area
    jitter: NonNegativeFloat = 0.8  # strength of the colour jitter, applied with probability 0.8
    grayscale: Probability = 0.2  # probability of dropping colour
    blur: bool = True  # Gaussian blur with probability 1/2
    seed: NonNegativeInt = 0  # of the encoder itself: runs with other seeds share it


class SimCLR(Stage):
    """The encoder E trained by contrasting two views of each image."""

    cfg: SimCLRConfig
    name: ClassVar[str] = "SimCLR"
    version: ClassVar[int] = 1

    def __init__(self, cfg: SimCLRConfig, data: Dataset) -> None:
        encoders: dict[str, Any] = {"resnet18": resnet18_encoder, "resnet50": resnet50_encoder}
        if cfg.net == "conv":
            self.encoder = conv_encoder(data.channels, cfg.width)
        else:
            self.encoder = encoders[cfg.net](data.channels, cfg.stem)
        self.projector = Projector(self.encoder.dim, cfg.z_dim)
        self.opt = self.adam([self.encoder, self.projector], cfg.lr, (0.9, 0.999), weight_decay=cfg.weight_decay)
        self.views = SimCLRViews(
            data.resolution,
            crop_scale=cfg.crop_scale,
            jitter=cfg.jitter,
            grayscale_p=cfg.grayscale if data.channels == 3 else 0.0,
            flip=cfg.flip and data.flip_ok,
            blur=cfg.blur,
        )

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """One contrastive step on the 2B views of B images."""
        x = next(stream).images  # [B, C, S, S]
        h = self.encoder(torch.cat(self.views(x)))  # [2B, d]
        z_i, z_j = self.projector(h).chunk(2)  # [B, z_dim] each
        loss = nt_xent(z_i, z_j, self.cfg.tau)  # Chen et al. 2020, eq. 1
        self.update(loss, self.opt)
        return {"contrastive": loss}

    def lr_factor(self, t: int) -> float:
        """Cosine stepped once an epoch after the constant ones, with T_max in batches: as the authors' code has it."""
        if not self.cfg.epoch_steps:
            return 1.0
        epochs = max(0, t // self.cfg.epoch_steps - self.cfg.constant_epochs)
        return 0.5 * (1 + math.cos(math.pi * epochs / self.cfg.epoch_steps))

    def product(self) -> nn.Module:
        """The encoder: images [N, C, S, S] in [-1, 1] to h [N, d]."""
        return self.encoder


@computation("benchmark.simclr", "encode")
@torch.no_grad()
def encode(data: Dataset, encoder: nn.Module, split: str = "train", batch: int = 256) -> dict[str, Tensor]:
    """h of every image of a split, without augmentation: {"h": [N, d]}. A computation."""
    device = next(encoder.parameters()).device
    images = data.split(split).images  # [N, S, S, C] uint8
    h = [encoder(images_to_float(images[i : i + batch], device)) for i in range(0, len(images), batch)]
    return {"h": torch.cat(h)}


_SMALL = SimCLRConfig(net="conv", steps=500, batch=128, blur=False, lr=1e-3, flip=True)  # minutes on a CPU
RECIPES = {
    "paper": {
        # 200 epochs of the authors' 80 % split: 403 and 1266 batches an epoch
        "afhq": SimCLRConfig(steps=80_600, batch=32, epoch_steps=403, flip=True, log_every=403, checkpoint_every=4030),
        "celeba": SimCLRConfig(
            steps=253_200, batch=128, epoch_steps=1266, flip=True, log_every=1266, checkpoint_every=12_660
        ),
    },
    "small": {
        "default": _SMALL,
        # What a view must keep, the encoder learns: crops of 8 % of a 16 px digit hold no digit [ours]
        "digits": replace(_SMALL, crop_scale=(0.3, 1.0)),
        # Colour, size and frame are the labels here: views keep most of each [ours]
        "shapes": replace(_SMALL, crop_scale=(0.5, 1.0), jitter=0.2, grayscale=0.0),
        "shapes_class": replace(_SMALL, crop_scale=(0.5, 1.0), jitter=0.2, grayscale=0.0),
    },
}


def recipe(name: str, dataset: str) -> SimCLRConfig:
    """The encoder of a recipe for a dataset: the one that the metrics share with the methods that need an encoder."""
    rows, dataset = RECIPES.get(name, {}), recipes_of(dataset)
    return rows.get(dataset) or rows.get("default") or RECIPES["small"].get(dataset, _SMALL)
