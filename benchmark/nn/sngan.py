"""SNGAN's residual generator and discriminator.

Sources: Miyato et al., "Spectral Normalization for GANs" (ICLR 2018), appendix B, tables 4-6; the widths of sides 48 to
128, the initialisation and the nearest-neighbour doubling follow the authors' code (pfnet-research/sngan_projection).
Rectifiers are out of place: a shortcut sees the block's input, not its rectified copy.
With classes they are the networks of Miyato and Koyama, "cGANs with projection discriminator" (ICLR 2018), eq. 3.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn.conditional import class_norm, look_up
from benchmark.nn.resample import conv_pooled, upsampled_conv
from benchmark.nn.spectral_norm import spectral_norm

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Plan:
    """Widths for one image side, as multiples of the net's `width`."""

    start: int  # side of the generator's first map
    G: tuple[int, ...]  # the first map, then each block; every block doubles the side
    D: tuple[int, ...]  # each block
    D_halvings: int  # the first so many blocks of D halve the side
    width_G: int  # the paper's width: channels of G's last block
    width_D: int  # the paper's width: channels of D's first block


PLANS = {
    16: Plan(4, (1, 1, 1), (1, 1, 1), 2, 256, 128),  # ours: the plan of 32 with one block less in each net
    32: Plan(4, (1, 1, 1, 1), (1, 1, 1, 1), 2, 256, 128),
    48: Plan(6, (8, 4, 2, 1), (1, 2, 4, 8, 16), 4, 64, 64),
    64: Plan(4, (16, 8, 4, 2, 1), (1, 2, 4, 8, 16), 5, 64, 64),
    128: Plan(4, (16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5, 64, 64),
}


def plan(side: int) -> Plan:
    """The widths for an image side. Raises ConfigError for a side without a plan."""
    if side not in PLANS:
        raise ConfigError(
            f"image side {side} for SNGAN's residual networks",
            f"their layers are defined for the sides {', '.join(map(str, PLANS))}",
            "prepare the dataset at one of these sides, or use the sndcgan networks",
        )
    return PLANS[side]


def _init(layer: Layer, gain: float) -> Layer:
    """Xavier-uniform weights of that gain, zero bias."""
    nn.init.xavier_uniform_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _spectral(layer: Layer) -> Layer:
    """The layer itself, now with spectral norm on its weight."""
    spectral_norm(layer)
    return layer


def _conv3(c_in: int, c_out: int, gain: float = math.sqrt(2)) -> nn.Conv2d:
    return _init(nn.Conv2d(c_in, c_out, 3, padding=1), gain)


def _conv1(c_in: int, c_out: int) -> nn.Conv2d:
    return _init(nn.Conv2d(c_in, c_out, 1), 1.0)


def _embedding(n_classes: int, dim: int) -> nn.Embedding:
    """Rows of the classes, Xavier-uniform, with spectral norm on the table."""
    table = nn.Embedding(n_classes, dim)
    nn.init.xavier_uniform_(table.weight)
    spectral_norm(table)
    return table


class _GBlock(nn.Module):
    """BN-ReLU-double-conv-BN-ReLU-conv plus double-1x1: [N, c_in, H, W] -> [N, c_out, 2H, 2W]."""

    def __init__(self, c_in: int, c_out: int, n_classes: int = 0) -> None:
        super().__init__()
        self.bn1, self.bn2 = class_norm(c_in, n_classes), class_norm(c_out, n_classes)
        self.conv1, self.conv2 = _conv3(c_in, c_out), _conv3(c_out, c_out)
        self.shortcut = _conv1(c_in, c_out)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = upsampled_conv(F.relu(self.bn1(x, y)), self.conv1)
        h = self.conv2(F.relu(self.bn2(h, y)))
        return h + F.interpolate(self.shortcut(x), scale_factor=2)  # a 1 x 1 convolution commutes with the doubling


class _DBlock(nn.Module):
    """ReLU-conv-ReLU-conv-[mean pool] plus [mean pool]-1x1; spectral norm on all three.

    The hidden width is c_in. first: the block that sees pixels; it has no leading ReLU and its hidden width is c_out.
    """

    def __init__(self, c_in: int, c_out: int, halve: bool, first: bool = False) -> None:
        super().__init__()
        hidden = c_out if first else c_in
        self.halve, self.first = halve, first
        self.conv1 = _spectral(_conv3(c_in, hidden))
        self.conv2 = _spectral(_conv3(hidden, c_out))
        self.shortcut = _spectral(_conv1(c_in, c_out)) if halve or c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.first else F.relu(x))
        if not self.halve:
            return self.conv2(F.relu(h)) + self.shortcut(x)
        # A 1 x 1 convolution commutes with the mean.
        return conv_pooled(F.relu(h), self.conv2) + self.shortcut(F.avg_pool2d(x, 2))


class SNGANGenerator(nn.Module):
    """SNGAN's residual generator.

    side: 16, 32, 48, 64 or 128. width: channels of the last block; None = the paper's (256 up to side 32, else 64).
    n_classes: the blocks' normalisations have a gain and a shift for each; 0: plain, y is not read.
    Raises ConfigError for another side.
    """

    def __init__(
        self, side: int, channels: int = 3, z_dim: int = 128, width: int | None = None, *, n_classes: int = 0
    ) -> None:
        super().__init__()
        layout = plan(side)
        self.side, self.channels, self.z_dim, self.start = side, channels, z_dim, layout.start
        widths = [multiple * (width or layout.width_G) for multiple in layout.G]
        self.linear = _init(nn.Linear(z_dim, widths[0] * layout.start**2), 1.0)
        self.blocks = nn.Sequential(*(_GBlock(a, b, n_classes) for a, b in itertools.pairwise(widths)))
        self.bn = nn.BatchNorm2d(widths[-1])
        self.out = _conv3(widths[-1], channels, gain=1.0)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z [N, z_dim], y [N] int64 or [N, n_classes] float as in `look_up` -> images [N, C, S, S] in [-1, 1]."""
        h = self.linear(z).view(len(z), -1, self.start, self.start)
        for block in self.blocks:
            h = block(h, y)
        return torch.tanh(self.out(F.relu(self.bn(h))))


class SNGANDiscriminator(nn.Module):
    """SNGAN's residual discriminator: spectral norm on every layer, sum over positions, one logit.

    side: 16, 32, 48, 64 or 128. width: channels of the first block; None = the paper's (128 up to side 32, else 64).
    channels: of the input; more than an image's where it comes with maps of its label.
    n_classes: the logit gets the projection <embedding of y, features>; 0: it does not, y is not read.
    Raises ConfigError for another side.
    """

    def __init__(self, side: int, channels: int = 3, width: int | None = None, *, n_classes: int = 0) -> None:
        super().__init__()
        layout = plan(side)
        self.side, self.channels = side, channels
        widths = [channels] + [multiple * (width or layout.width_D) for multiple in layout.D]
        self.blocks = nn.Sequential(
            *(
                _DBlock(widths[k], widths[k + 1], halve=k < layout.D_halvings, first=k == 0)
                for k in range(len(layout.D))
            )
        )
        self.dim = widths[-1]  # length of the pooled features
        self.linear = _spectral(_init(nn.Linear(self.dim, 1), 1.0))  # pfnet's has no bias at 32 px
        self.embed = _embedding(n_classes, self.dim) if n_classes else None

    def features(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> features [N, dim], the sum over positions before the last layer."""
        return F.relu(self.blocks(x)).sum((2, 3))

    def head(self, phi: Tensor, y: Tensor | None = None) -> Tensor:
        """Features phi [N, dim], y [N] int64 or [N, n_classes] float as in `look_up` -> logits [N]."""
        logits = self.linear(phi).squeeze(1)
        if self.embed is None:
            return logits
        assert y is not None, "a discriminator of classes is told a class"
        return logits + (look_up(self.embed.weight, y) * phi).sum(1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images [N, C, S, S] in [-1, 1], y as in `head` -> logits [N]."""
        return self.head(self.features(x), y)
