"""R3GAN's generator and discriminator: residual networks without normalisation, mirror images of each other.

Source: Huang, Gokaslan, Kuleshov, Tompkin, "The GAN is dead; long live the GAN! A Modern GAN Baseline" (NeurIPS 2024,
arXiv 2501.05441), its configuration E [P]. Widths, initial values, the layers at 4 x 4 and the way a class enters are
those of the authors' code, brownvc/R3GAN, marked [C]. There, the finer stages compute in bfloat16; here
the run's precision decides.

Every stage, one for each map side from 4 up, is a transition and some residual blocks. A block is 1 x 1 up to twice the
width, 3 x 3 in groups, 1 x 1 back: an inverted bottleneck with most of its width where the grouped convolution is.
Nothing has a bias but the two activations inside a block.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn.stylegan2 import Lowpass

SLOPE = 0.2  # of the leaky ReLU [C]
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # a layer's gain that keeps the second moment behind it (He et al. 2015)


def stage_widths(side: int, width: int, base: int) -> list[int]:
    """Channels of each stage from map side 4 to the image's: min(width, base / side).

    Raises ConfigError unless the side is a power of two from 8 on and the finest stage has a channel.
    """
    if side < 8 or side & (side - 1):
        near = 2 ** max(3, round(math.log2(max(side, 1))))
        raise ConfigError(
            f"image side {side} for the R3GAN networks",
            "they double a 4 x 4 map up to it, so it must be a power of two from 8 on",
            f"prepare the dataset at side {near}",
        )
    if base < side:
        raise ConfigError(
            f"base = {base} for the R3GAN networks at side {side}",
            "the finest stage has base / side channels, which would be none",
            f"give at least {side}",
        )
    return [min(width, base // (4 << k)) for k in range(side.bit_length() - 2)]


def scaled(weight: Tensor, gain: float = 1.0) -> nn.Parameter:
    """A weight of this shape, normal with standard deviation gain / sqrt(fan-in) [C]."""
    return nn.Parameter(torch.randn_like(weight) * (gain / math.sqrt(weight[0].numel())))


def convolution(c_in: int, c_out: int, kernel: int = 1, *, groups: int = 1, gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the side, without bias, with weights as in `scaled`."""
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False)
    conv.weight = scaled(conv.weight, gain)
    return conv


def linear(n_in: int, n_out: int) -> nn.Linear:
    """A linear layer without bias, with weights as in `scaled`."""
    layer = nn.Linear(n_in, n_out, bias=False)
    layer.weight = scaled(layer.weight)
    return layer


class BiasedLeaky(nn.Module):
    """Leaky ReLU of x plus one learned number for each channel, zero at first [C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        return F.leaky_relu(x + self.bias.to(x.dtype)[:, None, None], SLOPE)  # a map keeps its format under autocast


class Block(nn.Module):
    """x + W3 a(W2 * a(W1 x)): 1 x 1 to `expansion` times the width, 3 x 3 in groups, 1 x 1 back.

    n_blocks: of the whole network, L. As in Fix-up (Zhang et al. 2019) W3 is zero at first, so that a block begins as
    the identity, and the other two layers are scaled by L^(-1 / (2 m - 2)) for m = 3 layers: L^(-1/4) [P][C].
    """

    def __init__(self, width: int, expansion: int, group_width: int, n_blocks: int) -> None:
        super().__init__()
        inner = expansion * width
        if inner % group_width:
            raise ConfigError(
                f"group_width = {group_width} for a stage of {width} channels",
                f"{expansion} x {width} channels do not divide into groups of {group_width}",
                f"choose a divisor of {inner}",
            )
        gain = GAIN * n_blocks ** (-1 / 4)
        self.layers = nn.Sequential(
            convolution(width, inner, gain=gain),
            BiasedLeaky(inner),
            convolution(inner, inner, 3, groups=inner // group_width, gain=gain),
            BiasedLeaky(inner),
            convolution(inner, width, gain=0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, H, W] -> [N, width, H, W]."""
        return x + self.layers(x)


class Up(nn.Module):
    """Doubles the side; a 1 x 1 convolution before it where the widths differ."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = convolution(c_in, c_out) if c_in != c_out else nn.Identity()
        self.lowpass = Lowpass()

    def forward(self, x: Tensor) -> Tensor:
        """[N, c_in, H, W] -> [N, c_out, 2H, 2W]."""
        return self.lowpass.upsample(self.conv(x))


class Down(nn.Module):
    """Halves the side; a 1 x 1 convolution after it where the widths differ."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.lowpass = Lowpass()
        self.conv = convolution(c_in, c_out) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[N, c_in, H, W] -> [N, c_out, H / 2, W / 2]."""
        return self.conv(self.lowpass.downsample(x))


class GenerativeBasis(nn.Module):
    """[N, n_in] -> [N, C, 4, 4]: a learned 4 x 4 pattern for each channel, times a linear map of the input [C]."""

    def __init__(self, n_in: int, channels: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(channels, 4, 4))
        self.linear = linear(n_in, channels)

    def forward(self, z: Tensor) -> Tensor:
        """[N, n_in] -> [N, C, 4, 4]."""
        x = self.basis * self.linear(z)[:, :, None, None]
        return x.contiguous(memory_format=torch.channels_last)


class DiscriminativeBasis(nn.Module):
    """[N, C, 4, 4] -> [N, n_out]: each channel's inner product with a learned 4 x 4 pattern, then a linear map [C]."""

    def __init__(self, channels: int, n_out: int) -> None:
        super().__init__()
        self.basis = scaled(torch.empty(channels, 4, 4))
        self.linear = linear(channels, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, 4, 4] -> [N, n_out]."""
        return self.linear((x * self.basis).sum((2, 3)))


class ClassEmbedding(nn.Module):
    """A learned vector for each class, [N] int64 -> [N, dim]; normal with standard deviation gain / sqrt(classes).

    A linear map of the one-hot class is what the code has: hence its fan-in.
    """

    def __init__(self, n_classes: int, dim: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_classes, dim) * (gain / math.sqrt(n_classes)))

    def forward(self, y: Tensor) -> Tensor:
        """[N] int64 -> [N, dim]."""
        return F.embedding(y, self.weight)


def stages(
    widths: list[int], change: type[Up] | type[Down], blocks: int, expansion: int, group_width: int
) -> list[nn.Module]:
    """The layers between the first and the last: `blocks` blocks of each width, and a change of the side before them.

    widths: of the stages in order. change: what leads from one stage to the next.
    """
    n_blocks = blocks * len(widths)
    layers: list[nn.Module] = []
    for k, c in enumerate(widths):
        layers += [change(widths[k - 1], c)] if k else []
        layers += [Block(c, expansion, group_width, n_blocks) for _ in range(blocks)]
    return layers


class R3GANGenerator(nn.Module):
    """R3GAN's generator.

    side: a power of two from 8 on. A stage at map side r has min(width, base / r) channels and `blocks` blocks.
    group_width: channels of a group of the 3 x 3 convolutions. n_classes 0: unconditional; else an embedding of the
    class, as long as z, is concatenated with z. Images are not squashed: the last layer is linear.
    Raises ConfigError for another side, a base less than the side, or groups that do not fit.
    """

    def __init__(
        self,
        side: int,
        channels: int = 3,
        z_dim: int = 64,
        width: int = 768,
        base: int = 24576,
        *,
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        n_classes: int = 0,
    ) -> None:
        super().__init__()
        widths = stage_widths(side, width, base)
        self.embed = ClassEmbedding(n_classes, z_dim) if n_classes else None
        basis = GenerativeBasis(2 * z_dim if n_classes else z_dim, widths[0])
        inner = stages(widths, Up, blocks, expansion, group_width)
        self.layers = nn.Sequential(basis, *inner, convolution(widths[-1], channels))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z [N, z_dim] (and classes y [N] int64) -> images [N, C, S, S], about [-1, 1] and not clamped."""
        assert (y is None) == (self.embed is None), "a class is given exactly where the network was built for one"
        return self.layers(z if self.embed is None else torch.cat([z, self.embed(y)], 1))


class R3GANDiscriminator(nn.Module):
    """R3GAN's discriminator: the generator's stages in reverse; arguments as there.

    With classes, D(x, y) = <e_y, phi(x)>: phi has as many entries as the last stage has channels [C].
    """

    def __init__(
        self,
        side: int,
        channels: int = 3,
        width: int = 768,
        base: int = 24576,
        *,
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        n_classes: int = 0,
    ) -> None:
        super().__init__()
        widths = stage_widths(side, width, base)[::-1]  # from the image's side down
        last = widths[-1]
        first = convolution(channels, widths[0])
        inner = stages(widths, Down, blocks, expansion, group_width)
        self.layers = nn.Sequential(first, *inner, DiscriminativeBasis(last, last if n_classes else 1))
        self.embed = ClassEmbedding(n_classes, last, gain=1 / math.sqrt(last)) if n_classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images [N, C, S, S] (and classes y [N] int64) -> logits [N]."""
        assert (y is None) == (self.embed is None), "a class is given exactly where the network was built for one"
        phi = self.layers(x)
        return phi.squeeze(1) if self.embed is None else (phi * self.embed(y)).sum(1)
