"""The evaluation networks that come with the suite, as they were trained: once, longer than a local one.

They learn from the held-out split alone, and share neither seed nor augmentation with any network of a method.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.augment import random_shift
from benchmark.nn.judge import JudgeNet
from benchmark.nn.losses import label_loss
from benchmark.training.config import TrainConfig
from benchmark.training.method import Stage
from benchmark.training.stages.simclr import SimCLR

SEED = 15_485_863  # unlike any encoder's or classifier's


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifierRecipe(TrainConfig):
    """How a published classifier is trained [ours]: longer than a local one, with stronger augmentation."""

    batch: PositiveInt = 128  # images an update
    log_every: PositiveInt = 200
    flip: bool = True  # mirrored where the dataset allows it
    width: PositiveInt = 16  # first width of its network
    lr: PositiveFloat = 4e-3  # AdamW's largest step size
    warmup: NonNegativeInt = 200  # steps over which the step size rises; it then falls to 0 along a cosine
    weight_decay: NonNegativeFloat = 2e-2  # AdamW's
    shift: NonNegativeInt = 2  # largest shift in pixels, each way
    degrees: NonNegativeFloat = 0.0  # largest rotation, each way
    zoom: NonNegativeFloat = 0.0  # largest change of scale, as a share, each way
    cutout: Probability = 0.0  # side of the square that is cut out, as a share of the image's; 0: none
    seed: NonNegativeInt = SEED


class PublishedClassifier(Stage):
    """The evaluation classifier as it is published, trained on the held-out split."""

    cfg: ClassifierRecipe
    name: ClassVar[str] = "PublishedClassifier"
    version: ClassVar[int] = 1
    split: ClassVar[Literal["train", "test"]] = "test"

    def __init__(self, cfg: ClassifierRecipe, data: Dataset) -> None:
        self.net = JudgeNet(data.resolution, data.channels, data.n_labels, cfg.width)
        self.opt = torch.optim.AdamW(self.net.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay, fused=True)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """One supervised update."""
        batch = next(stream)
        y = batch.labels if batch.labels is not None else batch.attributes
        assert y is not None, "it is made for labelled data only"
        images = augmented(batch.images, self.cfg)
        with torch.autocast(images.device.type, torch.bfloat16):  # twice as fast; the weights are float32
            logits = self.net(images)
        loss = label_loss(logits.float(), y)
        self.update(loss, self.opt)
        return {"classifier": loss}

    def lr_factor(self, t: int) -> float:
        """Linear warm-up, then a cosine to 0."""
        if t < self.cfg.warmup:
            return (t + 1) / self.cfg.warmup
        return 0.5 * (1 + math.cos(math.pi * (t - self.cfg.warmup) / max(1, self.cfg.steps - self.cfg.warmup)))

    def product(self) -> nn.Module:
        """The network: `features` [N, d] and logits [N, n_labels] of images in [-1, 1]."""
        return self.net


class PublishedEncoder(SimCLR):
    """The contrastive encoder as it is published: it learns from the held-out split, unlike any method's own."""

    name: ClassVar[str] = "PublishedEncoder"
    version: ClassVar[int] = 1
    split: ClassVar[Literal["train", "test"]] = "test"


def augmented(x: Tensor, cfg: ClassifierRecipe) -> Tensor:
    """Images [N, C, S, S] shifted, turned, scaled and partly cut out, each on its own."""
    x = random_shift(x, cfg.shift)
    if cfg.degrees or cfg.zoom:
        x = turned(x, cfg.degrees, cfg.zoom)
    return cut_out(x, cfg.cutout) if cfg.cutout else x


def turned(x: Tensor, degrees: float, zoom: float) -> Tensor:
    """Images turned about their middle by up to `degrees`, scaled by up to a share `zoom`; the border is repeated."""
    n = len(x)
    angle = (2 * torch.rand(n, device=x.device) - 1) * math.radians(degrees)
    scale = 1 + (2 * torch.rand(n, device=x.device) - 1) * zoom
    cos, sin, none = torch.cos(angle) * scale, torch.sin(angle) * scale, torch.zeros_like(angle)
    theta = torch.stack([cos, -sin, none, sin, cos, none], 1).view(n, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def cut_out(x: Tensor, share: float) -> Tensor:
    """Images with a square of mid-grey, its middle anywhere (DeVries and Taylor 2017)."""
    side = x.shape[2]
    half = side * share / 2
    middle = torch.rand(len(x), 2, 1, device=x.device) * side
    inside = (torch.arange(side, device=x.device) + 0.5 - middle).abs() < half  # [N, 2, S]
    return x * ~(inside[:, 0, None, :, None] & inside[:, 1, None, None, :])
