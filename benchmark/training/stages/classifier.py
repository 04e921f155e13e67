"""Classifiers that methods use: a supervised encoder, and a linear classifier on a frozen encoder's embeddings.

A method that uses either on the dataset's labels is NOT free of labels.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability
from benchmark.core.errors import ConfigError
from benchmark.data.noise import noisy_labels
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.encoders import Encoder, conv_encoder
from benchmark.nn.losses import label_loss
from benchmark.training.config import TrainConfig
from benchmark.training.method import Stage


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
    linear_decay = True

    def __init__(self, cfg: AttributeClassifierConfig, data: Dataset) -> None:
        self.table = (label_table(data, cfg.label_noise, cfg.noise_seed).to(self.device),)  # a tuple: no state
        self.net = LabelledEncoder(conv_encoder(data.channels, cfg.width), data.n_labels)
        self.opt = torch.optim.AdamW(self.net.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay, fused=True)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """One supervised update."""
        batch = next(stream)
        logits, y = self.net(batch.images), self.table[0][batch.index]
        loss = label_loss(logits, y)
        self.update(loss, self.opt)
        return {"classifier": loss}

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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinearClassifierConfig(TrainConfig):
    """Stage 2 of InfoSCC-GAN; defaults from the authors' configuration files."""

    lr: PositiveFloat = 3e-4  # Adam's step size
    weight_decay: NonNegativeFloat = 1e-6  # as an L2 term inside Adam
    seed: NonNegativeInt = 0  # of the classifier itself: runs with other seeds share it


class LinearClassifier(Stage):
    """A linear classifier C on the embeddings of the training images by a frozen encoder.

    embeddings: {"h": [N, d]}. clusters: what to learn in place of the dataset's labels, as
    `clustering.cluster` finds them; None: classes or attributes.
    """

    cfg: LinearClassifierConfig
    name: ClassVar[str] = "Classifier"

    def __init__(self, cfg: LinearClassifierConfig, data: Dataset, *, embeddings: Any, clusters: Any = None) -> None:
        h = embeddings["h"]  # [N, d]
        y = (label_table(data) if clusters is None else clusters["labels"]).to(h.device)  # [N] or [N, A]
        self.table = h, y  # a tuple, not two tensors of the state: it would be in every checkpoint
        n_labels = len(clusters["centres"]) if clusters else data.n_labels
        self.C = nn.Linear(h.shape[1], n_labels)
        self.opt = self.adam(self.C, cfg.lr, (0.9, 0.999), weight_decay=cfg.weight_decay)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """Cross-entropy for one label an image, its binary form averaged over attributes (InfoSCC-GAN's L2)."""
        index, (h, y) = next(stream).index, self.table
        loss = label_loss(self.C(h[index]), y[index])
        self.update(loss, self.opt)
        return {"classifier": loss}

    def product(self) -> nn.Module:
        """C: embeddings [N, d] to logits [N, A]."""
        return self.C


def label_table(data: Dataset, noise: float = 0.0, noise_seed: int = 0) -> Tensor:
    """Every training image's classes [N] int64 or attributes [N, A] float32, with noise where that is set.

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
