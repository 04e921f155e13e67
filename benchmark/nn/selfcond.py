"""The networks of Self-Conditioned GAN: an MLP pair for points in the plane, two DCGAN-like pairs, a residual pair.

Sources: Liu, Bau, Yang, Zhu, Torralba, "Diverse Image Generation via Self-Conditioned GANs" (CVPR 2020), appendix, and
its published code [C]; the residual pair, the class code of the generators and their names are those of Mescheder,
Geiger, Nowozin, "Which Training Methods for GANs do actually Converge?" (ICML 2018). The MLP pair is that of PacGAN
(Lin, Khetan, Fanti, Oh; NeurIPS 2018). PyTorch's default initialisation everywhere, no spectral normalisation.

Every generator takes (z, c) and reads the condition c in its first layer only; with n_labels = 0 it takes z alone.
Every discriminator has `maps` (or `features`) and a linear head of one output a condition: D(x, c) is its c-th logit.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.data.prepared import Dataset

BackboneName = Literal["mlp", "shallow", "deep", "resnet2"]

WIDTHS: dict[str, tuple[int, int]] = {  # (G's, D's) of the paper, see each class [C]
    "mlp": (400, 200),
    "shallow": (64, 64),
    "deep": (64, 64),
    "resnet2": (64, 64),
}


class Condition(nn.Module):
    """Joins a latent with its condition: (z, e_c / |e_c|), e a learned table; with n_labels = 0 it is z alone."""

    def __init__(self, n_labels: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_labels, dim) if n_labels else None
        self.dim = dim if n_labels else 0

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        """z [N, d], c [N] int64 or None -> [N, d + dim]."""
        if self.embedding is None:
            return z
        assert c is not None, "a conditional generator needs a condition"
        return torch.cat([z, F.normalize(self.embedding(c), dim=1)], 1)


class Discriminator(nn.Module):
    """A body that gives features, and a linear head with one logit a condition (one in all with n_labels = 0)."""

    body: nn.Module
    head: nn.Linear

    def maps(self, x: Tensor) -> Tensor:
        """Inputs [N, ...] -> the last hidden layer D_f: [N, d], or maps [N, C, h, w] for images."""
        return self.body(x)

    def features(self, x: Tensor, summed: bool = False) -> Tensor:
        """D_f(x) as vectors [N, d]; summed: over all positions of a map, [N, C]."""
        maps = self.maps(x)
        return maps.flatten(2).sum(2) if summed and maps.ndim == 4 else maps.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1], or points [N, 2] -> logits [N, n_labels]; D(x, c) is column c."""
        return self.head(self.features(x))


class Maxout(nn.Module):
    """The largest of `pieces` linear functions, for each of `units` outputs (Goodfellow et al. 2013)."""

    def __init__(self, n_in: int, units: int, pieces: int) -> None:
        super().__init__()
        self.units, self.pieces = units, pieces
        self.linear = nn.Linear(n_in, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_in] -> [N, units]."""
        return self.linear(x).view(len(x), self.pieces, self.units).amax(1)  # over the slow axis: vectorised


class PointGenerator(nn.Module):
    """Four hidden layers of `width` units with batch normalisation and ReLU; no bound on the output [C].

    The paper's: width 400, z_dim 2, 500,802 parameters for 50 conditions.
    """

    def __init__(self, dims: int, z_dim: int, n_labels: int, width: int = 400, embedding_dim: int = 32) -> None:
        super().__init__()
        self.condition = Condition(n_labels, embedding_dim)
        layers: list[nn.Module] = []
        n_in = z_dim + self.condition.dim
        for _ in range(4):
            layers += [nn.Linear(n_in, width), nn.BatchNorm1d(width), nn.ReLU()]
            n_in = width
        self.net = nn.Sequential(*layers, nn.Linear(width, dims))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z [N, z_dim], c [N] -> points [N, dims]."""
        return self.net(self.condition(z, c))


class PointDiscriminator(Discriminator):
    """Three maxout layers of `width` units with five pieces [C]: 415,050 parameters for width 200 and 50 conditions."""

    def __init__(self, dims: int, n_labels: int, width: int = 200) -> None:
        super().__init__()
        self.body = nn.Sequential(Maxout(dims, width, 5), Maxout(width, width, 5), Maxout(width, width, 5))
        self.head = nn.Linear(width, max(n_labels, 1))


def halvings(side: int, backbone: str) -> int:
    """How often a side is halved to reach 4. Raises ConfigError unless it is 8, 16, 32 ..."""
    n = (side // 4).bit_length() - 1
    if n < 1 or 4 << n != side:
        raise ConfigError(
            f"image side {side} for the networks {backbone!r}",
            "they halve it until it is 4",
            "prepare the dataset at a side of 8, 16, 32, 64, 128 or 256 pixels",
        )
    return n


class DCGANGenerator(nn.Module):
    """Linear, transposed 4 x 4 convolutions that double the side, one 3 x 3 convolution; both 32 px pairs have it [C].

    side: a power of two; the published one is 32, another has a block fewer or more [ours]. width: channels of the last
    hidden layer (64), doubled towards the coarse end up to eight times. Raises ConfigError for another side.
    """

    def __init__(
        self, side: int, channels: int, z_dim: int, n_labels: int, width: int = 64, embedding_dim: int = 256
    ) -> None:
        super().__init__()
        n = halvings(side, "shallow or deep")
        widths = [width * min(2**i, 8) for i in reversed(range(n + 1))]  # 512, 256, 128, 64 at side 32
        self.condition = Condition(n_labels, embedding_dim)
        self.start = widths[0]
        self.linear = nn.Linear(z_dim + self.condition.dim, 16 * widths[0])  # no activation
        layers: list[nn.Module] = []
        for i in range(n):
            layers += [nn.ConvTranspose2d(widths[i], widths[i + 1], 4, stride=2, padding=1)]
            layers += [nn.BatchNorm2d(widths[i + 1]), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z [N, z_dim], c [N] -> images [N, C, S, S] in [-1, 1]."""
        return torch.tanh(self.net(self.linear(self.condition(z, c)).view(len(z), self.start, 4, 4)))


class ShallowDiscriminator(Discriminator):
    """One 4 x 4 convolution of stride 2 a halving, down to side 2; batch normalisation, LeakyReLU 0.2 (Stacked-MNIST).

    side: a power of two; the published one is 32, another has a layer fewer or more [ours]. channels: of the input,
    all packed images together. width: of the first layer (64), doubled in each later one up to eight times.
    """

    def __init__(self, side: int, channels: int, n_labels: int, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = channels
        for i in range(halvings(side, "shallow") + 1):
            n_out = width * min(2**i, 8)
            layers += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.LeakyReLU(0.2)]
            n_in = n_out
        self.body = nn.Sequential(*layers)  # [N, 512, 2, 2] at side 32
        self.head = nn.Linear(4 * n_in, max(n_labels, 1))


class DeepDiscriminator(Discriminator):
    """A 3 x 3 and a 4 x 4 stride-2 convolution a halving, one more 3 x 3; no normalisation, LeakyReLU 0.1 (CIFAR-10).

    Arguments as ShallowDiscriminator's. Down to side 4.
    """

    def __init__(self, side: int, channels: int, n_labels: int, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in, n = channels, halvings(side, "deep")
        for i in range(n):
            n_out = width * min(2**i, 8)
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.LeakyReLU(0.1)]
            layers += [nn.Conv2d(n_out, n_out, 4, stride=2, padding=1), nn.LeakyReLU(0.1)]
            n_in = n_out
        n_out = width * min(2**n, 8)
        layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*layers)  # [N, 512, 4, 4] at side 32
        self.head = nn.Linear(16 * n_out, max(n_labels, 1))


class ResidualBlock(nn.Module):
    """x + 0.1 f(x), f two 3 x 3 convolutions, each after LeakyReLU 0.2; a 1 x 1 shortcut where the width changes.

    The hidden width is the smaller of the two (Mescheder et al. 2018, code).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        hidden = min(n_in, n_out)
        self.conv_0 = nn.Conv2d(n_in, hidden, 3, padding=1)
        self.conv_1 = nn.Conv2d(hidden, n_out, 3, padding=1)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_in, H, W] -> [N, n_out, H, W]."""
        h = self.conv_1(F.leaky_relu(self.conv_0(F.leaky_relu(x, 0.2)), 0.2))
        return self.shortcut(x) + 0.1 * h


def _residual_widths(side: int, width: int) -> list[int]:
    """Channels at side 4, 8, ..., side: `width` at full size, doubled with each halving up to sixteen times."""
    n = halvings(side, "resnet2")
    return [width * min(2**i, 16) for i in reversed(range(n + 1))]  # 1024, 1024, 512, 256, 128, 64 at side 128


class ResidualGenerator(nn.Module):
    """The residual pair, resnet2: two blocks at each side, nearest-neighbour doubling between sides, no normalisation.

    side: a power of two; the published one is 128. width: channels at full size (64). Raises ConfigError otherwise.
    """

    def __init__(
        self, side: int, channels: int, z_dim: int, n_labels: int, width: int = 64, embedding_dim: int = 256
    ) -> None:
        super().__init__()
        widths = _residual_widths(side, width)
        self.condition = Condition(n_labels, embedding_dim)
        self.start = widths[0]
        self.linear = nn.Linear(z_dim + self.condition.dim, 16 * widths[0])
        blocks: list[nn.Module] = [ResidualBlock(widths[0], widths[0]), ResidualBlock(widths[0], widths[0])]
        for n_in, n_out in pairwise(widths):
            blocks += [nn.Upsample(scale_factor=2), ResidualBlock(n_in, n_out), ResidualBlock(n_out, n_out)]
        self.net = nn.Sequential(*blocks, nn.LeakyReLU(0.2), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """z [N, z_dim], c [N] -> images [N, C, S, S] in [-1, 1]."""
        return torch.tanh(self.net(self.linear(self.condition(z, c)).view(len(z), self.start, 4, 4)))


class ResidualDiscriminator(Discriminator):
    """The residual pair, resnet2: the generator mirrored.

    Mean pooling (3 x 3, stride 2) between pairs of blocks, the second of which widens.
    """

    def __init__(self, side: int, channels: int, n_labels: int, width: int = 64) -> None:
        super().__init__()
        widths = _residual_widths(side, width)[::-1]
        blocks: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1)]
        for n_in, n_out in zip(widths, [*widths[1:], widths[-1]]):
            if len(blocks) > 1:
                blocks += [nn.AvgPool2d(3, stride=2, padding=1)]
            blocks += [ResidualBlock(n_in, n_in), ResidualBlock(n_in, n_out)]
        self.body = nn.Sequential(*blocks, nn.LeakyReLU(0.2))  # [N, 1024, 4, 4]
        self.head = nn.Linear(16 * widths[-1], max(n_labels, 1))


class MixtureGenerator(nn.Module):
    """MGAN's K generators: each has a first linear layer of its own, and they share what follows it.

    single: a generator of this module without conditions; what follows its first layer becomes the shared part. Its
    batch normalisation sees the images of all generators together, because a batch holds few of each [ours].
    """

    def __init__(self, single: nn.Module, n: int) -> None:
        super().__init__()
        layer: nn.Linear = single.net[0] if isinstance(single, PointGenerator) else single.linear  # type: ignore
        self.n = n
        self.first = nn.Linear(layer.in_features, n * layer.out_features)  # n layers in one matrix product
        if isinstance(single, PointGenerator):
            single.net[0] = nn.Identity()
        else:
            single.linear = nn.Identity()
        self.shared = single

    def forward(self, z: Tensor, k: Tensor) -> Tensor:
        """z [N, z_dim], the generator of each row k [N] in 0..n-1 -> images [N, C, S, S] in [-1, 1], or points."""
        every = self.first(z).view(len(z), self.n, -1)  # [N, n, hidden]
        return self.shared(torch.take_along_dim(every, k[:, None, None], 1).squeeze(1))


def build_nets(
    backbone: BackboneName,
    data: Dataset,
    z_dim: int,
    n_labels: int = 0,
    pack: int = 1,
    width_G: int | None = None,
    width_D: int | None = None,
) -> tuple[nn.Module, Discriminator]:
    """A generator, and a discriminator of `pack` samples at once, for a dataset's shape.

    n_labels: conditions, 0 for none. width_G, width_D: see the classes; None: the paper's.
    Raises ConfigError when the backbone is for points and the data are images, or vice versa.
    """
    if (backbone == "mlp") != data.is_points:
        kind, mend = ("points", "mlp") if data.is_points else ("images", "shallow")
        raise ConfigError(f"backbone = {backbone}", f"{data.name} holds {kind}", f"set backbone={mend}")
    width_G, width_D = width_G or WIDTHS[backbone][0], width_D or WIDTHS[backbone][1]
    side, channels = data.resolution, data.channels
    if backbone == "mlp":
        return (
            PointGenerator(channels, z_dim, n_labels, width_G),
            PointDiscriminator(pack * channels, n_labels, width_D),
        )
    if backbone == "resnet2":
        return (
            ResidualGenerator(side, channels, z_dim, n_labels, width_G),
            ResidualDiscriminator(side, pack * channels, n_labels, width_D),
        )
    D = ShallowDiscriminator if backbone == "shallow" else DeepDiscriminator
    return (
        DCGANGenerator(side, channels, z_dim, n_labels, width_G),
        D(side, pack * channels, n_labels, width_D),
    )
