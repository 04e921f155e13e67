"""The judge: the harness's own classifier, which scores whether images show what was requested.

It learns from the held-out split alone, so it has seen no image a method trained on; it shares neither architecture
nor seed with any classifier a method uses. Its accuracy on the training split is the ceiling of every control accuracy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from benchmark.core.registry import recipes_of
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.augment import random_shift
from benchmark.nn.judge import JudgeNet, StackedJudgeNet
from benchmark.nn.losses import label_loss
from benchmark.training.config import TrainConfig
from benchmark.training.method import Stage


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JudgeConfig(TrainConfig):
    """Settings of the judge [ours]."""

    steps: PositiveInt = 1000  # updates
    batch: PositiveInt = 64  # images an update
    flip: bool = True  # mirrored where the dataset allows it
    width: PositiveInt = 32  # first width of its network
    lr: PositiveFloat = 1e-3  # AdamW's step size at the start; falls to 0 linearly
    weight_decay: NonNegativeFloat = 1e-2  # AdamW's
    shift: NonNegativeInt = 1  # largest shift in pixels of the training images, each way
    seed: NonNegativeInt = 7919  # unlike any encoder's or classifier's


_SMALL = JudgeConfig(width=16)  # a narrow net at 32 px: a minute on two cores
RECIPES = {
    "paper": {"default": JudgeConfig(steps=10_000)},
    "small": {
        "default": _SMALL,
        "digits": JudgeConfig(steps=500),
        "stacked_digits": JudgeConfig(steps=300, width=16),  # three digits an image: each step sees 192 of them
        "cifar10": replace(_SMALL, steps=2500),
        "cifar10_jpeg": replace(_SMALL, steps=2500),
    },
}


def recipe(name: str, dataset: str) -> JudgeConfig:
    """The judge of a recipe for a dataset."""
    rows = RECIPES.get(name, RECIPES["small"])
    return rows.get(recipes_of(dataset), rows["default"])


class Judge(Stage):
    """A classifier of the dataset's classes or attributes, trained on the held-out split."""

    cfg: JudgeConfig
    name: ClassVar[str] = "Judge"
    version: ClassVar[int] = 1
    split: ClassVar[Literal["train", "test"]] = "test"
    linear_decay = True

    def __init__(self, cfg: JudgeConfig, data: Dataset) -> None:
        assert not data.is_points, "the modes of points are told by their nearest centre; no judge is needed"
        self.net: JudgeNet | StackedJudgeNet
        if data.is_stacked:
            self.net = StackedJudgeNet(data.resolution, cfg.width)
        else:
            self.net = JudgeNet(data.resolution, data.channels, data.n_labels, cfg.width)
        self.opt = torch.optim.AdamW(self.net.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay, fused=True)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """One supervised update."""
        batch = next(stream)
        logits = self.net(random_shift(batch.images, self.cfg.shift))
        y = batch.labels if batch.labels is not None else batch.attributes
        assert y is not None, "the judge is made for labelled data only"
        loss = label_loss(logits, y)
        self.update(loss, self.opt)
        return {"judge": loss}

    def product(self) -> nn.Module:
        """The network: `features` [N, d] and logits [N, n_labels] of images in [-1, 1]."""
        return self.net
