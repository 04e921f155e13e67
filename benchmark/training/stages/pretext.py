"""Encoders trained beside SimCLR: by predicting rotations, without labels, and by supervised classification.

RotNet: Gidaris et al. (ICLR 2018); every image is seen in its four rotations, and the net says which is which.
AttributeClassifier: a plain classifier. A method that uses its features is NOT free of labels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from benchmark.core.config import (
    STRICT,
    Beta,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)
from benchmark.core.errors import ConfigError
from benchmark.data.noise import noisy_labels
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.encoders import Encoder, conv_encoder
from benchmark.nn.features import NIN
from benchmark.training.method import Stage, TrainConfig

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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AttributeClassifierConfig(TrainConfig):
    """A supervised encoder [ours]: the latent-conditioning paper says of its own only that it is a classifier."""

    width: PositiveInt = 16  # first width; the last maps have 8 times as many channels
    lr: PositiveFloat = 1e-3  # AdamW's step size at the start; falls to 0 linearly
    weight_decay: NonNegativeFloat = 1e-2  # AdamW's
    label_noise: Probability = 0.0  # share of training labels replaced by another class
    noise_seed: NonNegativeInt = 0  # of the noisy labels: the same for every method of a comparison
    seed: NonNegativeInt = 0  # of the encoder itself: runs with other seeds share it


class AttributeClassifier(Stage):
    """A classifier of the dataset's classes or attributes: four convolutions, global mean, a linear layer."""

    cfg: AttributeClassifierConfig
    name: ClassVar[str] = "AttributeClassifier"
    version: ClassVar[int] = 1

    def __init__(self, cfg: AttributeClassifierConfig, data: Dataset) -> None:
        self.table = (label_table(data, cfg.label_noise, cfg.noise_seed).to(self.device),)  # a tuple: no state
        self.net = LabelledEncoder(conv_encoder(data.channels, cfg.width), data.n_labels)
        self.opt = torch.optim.AdamW(self.net.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay, fused=True)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """One supervised update."""
        batch = next(stream)
        logits, y = self.net(batch.images), self.table[0][batch.index]
        loss = cross_entropy(logits, y) if y.ndim == 1 else binary_cross_entropy_with_logits(logits, y)
        self.update(loss, self.opt)
        return {"classifier": loss}

    def lr_factor(self, t: int) -> float:
        """Linear to zero."""
        return 1 - t / self.cfg.steps

    def product(self) -> nn.Module:
        """The net: images [N, C, S, S] in [-1, 1] to logits [N, n_labels]; `encoder` is what gives features."""
        return self.net


class LabelledEncoder(nn.Module):
    """An encoder with a linear head."""

    def __init__(self, encoder: Encoder, n_outputs: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.dim, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> logits [N, n_outputs]."""
        return self.head(self.encoder(x))


def label_table(data: Dataset, noise: float, noise_seed: int) -> Tensor:
    """Every training image's classes [N] int64 or attributes [N, A] float32, with noise where it is asked for.

    Raises ConfigError for data without labels, and for noise on attributes: "another class" means nothing there.
    """
    labels = data.train.labels
    if labels is None and data.train.attributes is None:
        raise ConfigError(
            "the feature extractor `classifier`",
            f"{data.name} has no labels to learn",
            "use an extractor without labels: simclr, rotnet or alexnet",
        )
    if labels is None:
        if noise:
            raise ConfigError(
                f"label_noise = {noise:g}", f"{data.name} has attributes, noise is for classes", "set label_noise=0"
            )
        return torch.tensor(data.train.attributes, dtype=torch.float32)
    if noise:
        labels = noisy_labels(labels, noise, data.n_classes, noise_seed)
    return torch.tensor(labels).long()
