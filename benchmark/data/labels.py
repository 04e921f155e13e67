"""The labels a supervised GAN trains on: classes or attributes, some of them wrong on purpose."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmark.core.errors import ConfigError
from benchmark.data.noise import noisy_labels
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Batch


class Labels:
    """Labels y of the training images, as the networks read them. It belongs to no checkpoint: it has no state.

    y: classes [N] int64, or attributes [N, A] float in {0, 1}. noise: share of wrong classes, see `noisy_labels`.
    Raises ConfigError for data without labels, or noise on attributes.
    """

    kind: Literal["class", "attributes"]
    n: int  # classes or attributes
    default_conditions: str  # what `draw` gives, in words

    def __init__(self, data: Dataset, device: torch.device, noise: float = 0.0, noise_seed: int = 0) -> None:
        if data.conditioning not in ("class", "attributes"):
            raise ConfigError(
                f"a conditional GAN on {data.name}",
                f"{data.name} has no labels",
                "use an unconditional method: --method sngan or --method biggan",
            )
        if noise and data.conditioning != "class":
            raise ConfigError(f"label_noise = {noise}", f"{data.name} has attributes, not classes", "set label_noise=0")
        self.n, self.device = data.n_labels, device
        if data.conditioning == "class":
            assert data.train.labels is not None, "the dataset has the labels its conditioning says"
            labels = noisy_labels(data.train.labels, noise, self.n, noise_seed) if noise else data.train.labels
            self.kind, self.default_conditions = "class", "uniform classes"
            self.table = torch.tensor(labels, device=device)  # [N] int64, a row for each training image
        else:
            self.kind, self.default_conditions = "attributes", "attributes of training images drawn uniformly"
            self.table = torch.tensor(data.train.attributes, dtype=torch.float32, device=device)  # [N, A]

    def of(self, batch: Batch) -> Tensor:
        """y of a batch of training images."""
        return self.table[batch.index]

    def draw(self, n: int) -> Tensor:
        """y to generate: uniform classes, or the attributes of random training images, which occur together (ours)."""
        if self.kind == "class":
            return torch.randint(self.n, (n,), device=self.device)
        return self.table[torch.randint(len(self.table), (n,), device=self.device)]

    def vector(self, y: Tensor) -> Tensor:
        """y as a vector [N, n] float: one-hot, or the attributes as they are."""
        return one_hot(y, self.n).float() if self.kind == "class" else y.float()

    def index(self, y: Tensor) -> Tensor:
        """y as a table of embeddings reads it (`conditional.look_up`): classes, or attributes as -1 and 1 (ours).

        With -1 for an absent attribute its embedding is subtracted, so that G is conditioned on absence as well.
        """
        return y if self.kind == "class" else 2 * y.float() - 1
