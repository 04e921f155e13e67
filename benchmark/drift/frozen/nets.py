"""The two tiny networks of the metric test, rebuilt from frozen weights.

They are written in plain torch on purpose: the test is whether torch and the suite's pipeline still give the same
numbers, and a change of one of the suite's networks must not hide that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TinyGenerator(nn.Module):
    """Latents [N, 8] -> images [N, 3, 16, 16] in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8 * 4 * 4)
        self.hidden = nn.Conv2d(8, 8, 3, padding=1)
        self.colour = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Two nearest-neighbour upsamplings, each before a convolution."""
        h = F.relu(self.linear(z)).unflatten(1, (8, 4, 4))
        h = F.relu(self.hidden(F.interpolate(h, scale_factor=2)))
        return torch.tanh(self.colour(F.interpolate(h, scale_factor=2)))


class TinyJudge(nn.Module):
    """Images [N, 3, 32, 32] in [-1, 1] -> features [N, 12] and logits [N, 10]."""

    dim = 12

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, self.dim, 3, stride=2, padding=1)
        self.second = nn.Conv2d(self.dim, self.dim, 3, stride=2, padding=1)
        self.head = nn.Linear(self.dim, 10)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features of the second convolution."""
        return F.relu(self.second(F.relu(self.first(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.features(x))


def with_weights(net: nn.Module, prefix: str, stored: Mapping[str, np.ndarray]) -> nn.Module:
    """The net with the arrays named `prefix.`... as its weights, in eval mode."""
    own = {name.removeprefix(f"{prefix}."): array for name, array in stored.items() if name.startswith(f"{prefix}.")}
    net.load_state_dict({name: torch.from_numpy(array) for name, array in own.items()}, assign=True)
    return net.eval().requires_grad_(False)
