"""BigGAN's generator and discriminator, conditioned on classes, on instance features, on both or on nothing.

Sources: Brock et al., "Large scale GAN training for high fidelity natural image synthesis" (ICLR 2019), appendix B;
the constants of initialisation and spectral norm, and the networks of side 32 and 64, follow the authors' PyTorch code
(BigGAN-PyTorch); conditioning on an instance follows Casanova et al., "Instance-conditioned GAN" (NeurIPS 2021),
appendix, and its code.

Notation: z latent, y class, h instance feature, c_j = [e_y, e_h, z_j] the condition of block j, phi pooled features.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn.conditional import ClassNorm, LinearNorm, Norm, look_up
from benchmark.nn.resample import conv_pooled, upsampled_conv
from benchmark.nn.spectral_norm import spectral_norm

Init = Literal["orthogonal", "normal"]
START = 4  # side of the generator's first map


@dataclass(frozen=True)
class Ladder:
    """Widths for one image side, as multiples of the networks' `ch`."""

    G: tuple[int, ...]  # the first map, then each block; every block doubles the side
    D: tuple[int, ...]  # each block
    D_halvings: int  # the first so many blocks of D halve the side
    attention: int | None  # side of the map that gets self-attention, in both networks


LADDERS = {
    16: Ladder((4, 4, 4), (4, 4, 4), 2, None),  # ours: the ladder of 32 with one block less in each net
    32: Ladder((4, 4, 4, 4), (4, 4, 4, 4), 2, None),
    64: Ladder((16, 16, 8, 4, 2), (1, 2, 4, 8, 16), 4, 32),
    128: Ladder((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5, 64),
    256: Ladder((16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), 6, 64),
}


def ladder(side: int) -> Ladder:
    """The widths for an image side. Raises ConfigError for a side without any."""
    if side not in LADDERS:
        raise ConfigError(
            f"image side {side} for BigGAN's networks",
            f"their layers are defined for the sides {', '.join(map(str, LADDERS))}",
            "prepare the dataset at one of these sides",
        )
    return LADDERS[side]


@dataclass(frozen=True)
class _Layers:
    """Makes layers with one initialisation and, but for plain tables, spectral norm of one eps.

    Biases keep PyTorch's own initialisation, as in the authors' code.
    """

    init: Init
    eps: float

    def conv(self, c_in: int, c_out: int, kernel: int = 3, bias: bool = True) -> nn.Conv2d:
        layer = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=bias)
        self._start(layer.weight)
        spectral_norm(layer, eps=self.eps)
        return layer

    def linear(self, d_in: int, d_out: int, bias: bool = True) -> nn.Linear:
        layer = nn.Linear(d_in, d_out, bias)
        self._start(layer.weight)
        spectral_norm(layer, eps=self.eps)
        return layer

    def table(self, n: int, d: int, normed: bool) -> nn.Embedding:
        layer = nn.Embedding(n, d)
        self._start(layer.weight)
        if normed:
            spectral_norm(layer, eps=self.eps)
        return layer

    def norm(self, n_features: int, condition_dim: int, n_tables: int) -> nn.Module:
        """Batch normalisation by a table of classes, by a condition vector, or plain; called with (x, condition)."""
        if n_tables:
            norm = ClassNorm(n_features, n_tables)
            self._start(norm.gain.weight)
            self._start(norm.shift.weight)
            return norm
        if condition_dim:
            gain, shift = (self.linear(condition_dim, n_features, bias=False) for _ in range(2))
            return LinearNorm(n_features, gain, shift)
        return Norm(n_features)

    def _start(self, weight: Tensor) -> None:
        if self.init == "orthogonal":
            nn.init.orthogonal_(weight)
        else:
            nn.init.normal_(weight, std=0.02)


class _Attention(nn.Module):
    """x + gamma * self-attention of x (Zhang et al., SAGAN, sec. 3); keys and values on the halved map."""

    def __init__(self, layers: _Layers, width: int) -> None:
        super().__init__()
        self.d_key, self.d_value = max(1, width // 8), max(1, width // 2)
        self.query = layers.conv(width, self.d_key, 1, bias=False)
        self.key = layers.conv(width, self.d_key, 1, bias=False)
        self.value = layers.conv(width, self.d_value, 1, bias=False)
        self.out = layers.conv(self.d_value, width, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2)  # [N, d_key, HW]
        key = F.max_pool2d(self.key(x), 2).flatten(2)  # [N, d_key, HW / 4]
        value = F.max_pool2d(self.value(x), 2).flatten(2)  # [N, d_value, HW / 4]
        attention = torch.softmax(query.transpose(1, 2) @ key, -1)  # [N, HW, HW / 4]
        mixed = value @ attention.transpose(1, 2)  # [N, d_value, HW]
        return x + self.gamma * self.out(mixed.view(len(x), self.d_value, *x.shape[2:]))


class _GBlock(nn.Module):
    """norm-ReLU-double-conv-norm-ReLU-conv plus double-1x1: [N, c_in, H, W] -> [N, c_out, 2H, 2W]."""

    def __init__(self, layers: _Layers, c_in: int, c_out: int, condition_dim: int, n_tables: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = layers.conv(c_in, c_out), layers.conv(c_out, c_out)
        self.shortcut = layers.conv(c_in, c_out, 1)
        self.norm1 = layers.norm(c_in, condition_dim, n_tables)
        self.norm2 = layers.norm(c_out, condition_dim, n_tables)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        h = upsampled_conv(F.relu(self.norm1(x, c)), self.conv1)
        h = self.conv2(F.relu(self.norm2(h, c)))
        return h + F.interpolate(self.shortcut(x), scale_factor=2)  # a 1 x 1 convolution commutes with the doubling


class _DBlock(nn.Module):
    """ReLU-conv-ReLU-conv-[mean pool] plus [mean pool]-1x1; the hidden width is c_out.

    first: the block that sees pixels; it has no leading ReLU.
    """

    def __init__(self, layers: _Layers, c_in: int, c_out: int, halve: bool, first: bool) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.conv1, self.conv2 = layers.conv(c_in, c_out), layers.conv(c_out, c_out)
        self.shortcut = layers.conv(c_in, c_out, 1) if halve or c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.conv1(x if self.first else F.relu(x)))
        if not self.halve:
            return self.conv2(h) + self.shortcut(x)
        return conv_pooled(h, self.conv2) + self.shortcut(F.avg_pool2d(x, 2))  # 1 x 1 commutes with the mean


class BigGANGenerator(nn.Module):
    """BigGAN's generator G(z, y, h).

    side: 16, 32, 64, 128 or 256. ch: unit of the ladder's widths.
    hierarchical: z is cut into one part for the first layer and one for each block; otherwise all of z goes into the
        first layer. `z_dim` of the built net is what the parts add up to, at most the requested one.
    n_classes: 0 for no classes; then y is not read. class_embedding: length of e_y, shared by all blocks and not
        spectrally normed; 0: each normalisation has its own table of classes (the authors' CIFAR-10 networks), which
        excludes a hierarchical z and instances.
    instance_dim: length of h, 0 for none; then h is not read. instance_embedding: length of e_h.
    attention: whether there is self-attention, at its published place.
    init: of the weights, orthogonal or N(0, 0.02^2). sn_eps: of the spectral norms [code: 1e-6, CIFAR-10 1e-8].
    Raises ConfigError for another side.
    """

    def __init__(
        self,
        side: int,
        channels: int = 3,
        z_dim: int = 120,
        ch: int = 64,
        *,
        n_classes: int = 0,
        instance_dim: int = 0,
        class_embedding: int = 128,
        instance_embedding: int = 512,
        hierarchical: bool = True,
        attention: bool = True,
        init: Init = "orthogonal",
        sn_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        steps, layers = ladder(side), _Layers(init, sn_eps)
        tables = bool(n_classes) and not class_embedding
        assert not (tables and (hierarchical or instance_dim)), "tables of classes leave no place for another condition"
        widths = [multiple * ch for multiple in steps.G]
        n_blocks = len(widths) - 1
        self.side, self.channels, self.hierarchical, self.tables = side, channels, hierarchical, tables
        self.n_classes, self.instance_dim = n_classes, instance_dim
        self.slot = z_dim // (n_blocks + 1) if hierarchical else z_dim
        self.z_dim = self.slot * (n_blocks + 1) if hierarchical else z_dim
        self.embed = layers.table(n_classes, class_embedding, normed=False) if n_classes and not tables else None
        self.instance = layers.linear(instance_dim, instance_embedding) if instance_dim else None
        condition_dim = (
            (class_embedding if n_classes else 0)
            + (instance_embedding if instance_dim else 0)
            + (self.slot if hierarchical else 0)
        )
        self.linear = layers.linear(self.slot, widths[0] * START**2)
        self.blocks = nn.ModuleList(
            _GBlock(layers, a, b, condition_dim, n_classes if tables else 0) for a, b in itertools.pairwise(widths)
        )
        place = steps.attention if attention else None
        self.attention = nn.ModuleDict(  # by the number of the block it follows
            {str(j): _Attention(layers, width) for j, width in enumerate(widths[1:]) if START * 2 ** (j + 1) == place}
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.out = layers.conv(widths[-1], channels)

    def forward(self, z: Tensor, y: Tensor | None = None, h: Tensor | None = None) -> Tensor:
        """Latents z [N, z_dim], classes y [N] int64, features h [N, instance_dim] -> images [N, C, S, S] in [-1, 1]."""
        z_0, *z_j = z.split(self.slot, 1)  # a flat z has one part
        shared = self._shared(y, h)
        x = self.linear(z_0).view(len(z), -1, START, START)
        for j, block in enumerate(self.blocks):
            c = [*shared, z_j[j]] if self.hierarchical else shared
            x = block(x, y if self.tables else torch.cat(c, 1) if c else None)
            if str(j) in self.attention:
                x = self.attention[str(j)](x)
        return torch.tanh(self.out(F.relu(self.norm(x))))

    def _shared(self, y: Tensor | None, h: Tensor | None) -> list[Tensor]:
        """[e_y, e_h], the part of the condition that all blocks see."""
        parts = []
        if self.embed is not None:
            assert y is not None, "a generator of classes needs a class"
            parts.append(look_up(self.embed.weight, y))
        if self.instance is not None:
            assert h is not None, "a generator of instances needs an instance"
            parts.append(self.instance(h))
        return parts


class BigGANDiscriminator(nn.Module):
    """BigGAN's discriminator: psi(phi(x)) + <V(y, h), phi(x)>, phi the sum of the last map over its positions.

    side: 16, 32, 64, 128 or 256. ch: unit of the ladder's widths. V is an embedding of y (n_classes > 0), a linear
    map of h (instance_dim > 0), or both, each on one half of phi (IC-GAN's code); without either there is no such term.
    attention, init, sn_eps: as for `BigGANGenerator`. Spectral norm on every layer, the embedding of y too.
    Raises ConfigError for another side.
    """

    def __init__(
        self,
        side: int,
        channels: int = 3,
        ch: int = 64,
        *,
        n_classes: int = 0,
        instance_dim: int = 0,
        attention: bool = True,
        init: Init = "orthogonal",
        sn_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        steps, layers = ladder(side), _Layers(init, sn_eps)
        self.side, self.channels, self.n_classes, self.instance_dim = side, channels, n_classes, instance_dim
        widths = [channels] + [multiple * ch for multiple in steps.D]
        self.blocks = nn.ModuleList(
            _DBlock(layers, a, b, halve=k < steps.D_halvings, first=k == 0)
            for k, (a, b) in enumerate(itertools.pairwise(widths))
        )
        place = steps.attention if attention else None
        self.attention = nn.ModuleDict(  # by the number of the block it follows
            {
                str(k): _Attention(layers, width)
                for k, width in enumerate(widths[1:])
                if k < steps.D_halvings and side // 2 ** (k + 1) == place
            }
        )
        self.dim = widths[-1]  # length of phi
        self.psi = layers.linear(self.dim, 1)
        part = self.dim // 2 if n_classes and instance_dim else self.dim
        self.embed = layers.table(n_classes, part, normed=True) if n_classes else None
        self.instance = layers.linear(instance_dim, part) if instance_dim else None

    def maps(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> the last rectified map [N, dim, s, s]."""
        for k, block in enumerate(self.blocks):
            x = block(x)
            if str(k) in self.attention:
                x = self.attention[str(k)](x)
        return F.relu(x)

    def features(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> phi [N, dim]."""
        return self.maps(x).sum((2, 3))

    def head(self, phi: Tensor, y: Tensor | None = None, h: Tensor | None = None) -> Tensor:
        """phi [N, dim], classes y [N] int64, features h [N, instance_dim] -> logits [N]."""
        logits, v = self.psi(phi).squeeze(1), []
        if self.embed is not None:
            assert y is not None, "a discriminator of classes is told a class"
            v.append(look_up(self.embed.weight, y))
        if self.instance is not None:
            assert h is not None, "a discriminator of instances is told an instance"
            v.append(self.instance(h))
        return logits + (torch.cat(v, 1) * phi).sum(1) if v else logits

    def forward(self, x: Tensor, y: Tensor | None = None, h: Tensor | None = None) -> Tensor:
        """Images [N, C, S, S] in [-1, 1], with y and h as in `head` -> logits [N]."""
        return self.head(self.features(x), y, h)
