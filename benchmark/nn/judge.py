"""The harness's own classifier: it scores whether an image is what it was to be, and no method trains against it.

Residual blocks, batch normalisation and dropout, so that it shares no architecture with the encoders the methods use.
"""

from __future__ import annotations

import itertools
import math

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.nn.resample import StridedPointwise

N_STACKED, N_DIGITS = 3, 10  # channels of stacked digits, and the digits each may show


class _Residual(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al. 2016, Fig. 2), the first with the stride."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(StridedPointwise(c_in, c_out, stride), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + self.shortcut(x))


class JudgeNet(nn.Module):
    """A residual classifier (ours).

    side, channels: of the images. n_outputs: classes, or attributes. width: channels at full size; they double at each
    halving up to dim = 4 * width. The side is halved twice, or more often until it is 8 or less.
    dropout: probability of dropping a feature before the head.
    """

    def __init__(self, side: int, channels: int, n_outputs: int, width: int = 32, dropout: float = 0.25) -> None:
        super().__init__()
        n_halvings = max(2, math.ceil(math.log2(side / 8)))
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        widths = [width * min(2**k, 4) for k in range(n_halvings + 1)]
        self.blocks = nn.Sequential(
            _Residual(width, width, stride=1), *(_Residual(a, b, stride=2) for a, b in itertools.pairwise(widths))
        )
        self.dim = widths[-1]
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.dim, n_outputs)

    def features(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> features [N, dim], the mean over positions of the last block."""
        return self.blocks(self.stem(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> logits [N, n_outputs]."""
        return self.head(self.dropout(self.features(x)))


class StackedJudgeNet(nn.Module):
    """One digit classifier for the three channels of stacked digits (ours).

    The digits of an image are independent, so its joint logits are the sums l0[a] + l1[b] + l2[c] of its channels'
    logits: their softmax is the product of the three, and the cross entropy over the 1000 classes a * 100 + b * 10 + c
    is the sum of the three digits'. A network of 1000 free outputs would see a tenth of each digit's examples a class.
    """

    def __init__(self, side: int, width: int = 32, dropout: float = 0.25) -> None:
        super().__init__()
        self.digit = JudgeNet(side, 1, N_DIGITS, width, dropout)
        self.dim = N_STACKED * self.digit.dim

    def features(self, x: Tensor) -> Tensor:
        """Images [N, 3, S, S] in [-1, 1] -> features [N, dim] of the channels, side by side."""
        n, _, height, width = x.shape
        return self.digit.features(x.reshape(n * N_STACKED, 1, height, width)).reshape(n, self.dim)

    def head(self, features: Tensor) -> Tensor:
        """Features [N, dim] -> joint logits [N, 1000]."""
        a, b, c = self.digit.head(features.unflatten(1, (N_STACKED, self.digit.dim))).unbind(1)  # [N, 10] each
        return (a[:, :, None, None] + b[:, None, :, None] + c[:, None, None, :]).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, 3, S, S] in [-1, 1] -> joint logits [N, 1000]."""
        return self.head(self.digit.dropout(self.features(x)))
