"""FastGAN's generator, as Projected GAN trains it: gated convolutions with noise, and skip-layer excitation.

Sources: Liu, Zhu, Song, Elgammal, "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image
Synthesis" (ICLR 2021, arXiv 2101.04775), sec. 3.1; the widths, the spectral normalisation of every convolution and the
linear last layer are those of Projected GAN's code, autonomousvision/projected-gan [C]. PyTorch's default
initialisation everywhere [C].
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn.spectral_norm import spectral_norm

START = 4  # side of the first map
WIDTHS = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25, 1024: 0.125}  # by a map's side, x `width` [C]


def excitations(side: int) -> dict[int, int]:
    """The maps that are scaled, channel by channel, by a function of a smaller map: {their side: that map's side}.

    A map is scaled by the one sixteen times smaller: 64 by 4, 128 by 8, 256 by 16, 512 by 32 (FastGAN, sec. 3.1) [C].
    Images of 32 px and less, for which the code has no network, have the last map scaled by the first [ours].
    """
    pairs = {16 * small: small for small in (4, 8, 16, 32) if 16 * small <= side}
    return pairs or {side: START}


class GLU(nn.Module):
    """Gated linear unit: [N, 2C, H, W] -> [N, C, H, W], the first half times the sigmoid of the second."""

    def forward(self, x: Tensor) -> Tensor:
        """x [N, 2C, H, W] -> [N, C, H, W]."""
        return F.glu(x, dim=1)


class Noise(nn.Module):
    """x + w e with one learned w, 0 at the start, and e ~ N(0, 1) drawn anew for each place, equal in all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> [N, C, H, W]."""
        n, _, h, w = x.shape
        return x + self.weight * torch.randn(n, 1, h, w, device=x.device, dtype=x.dtype)


def _conv(c_in: int, c_out: int, kernel: int, padding: int = 0, bias: bool = False) -> nn.Module:
    return spectral_norm(nn.Conv2d(c_in, c_out, kernel, padding=padding, bias=bias))


def _gated(c_in: int, c_out: int, noise: bool) -> list[nn.Module]:
    """3 x 3 convolution, noise, batch norm, GLU."""
    conv = _conv(c_in, 2 * c_out, 3, padding=1)
    return [conv, *([Noise()] if noise else []), nn.BatchNorm2d(2 * c_out), GLU()]


class UpBlock(nn.Sequential):
    """Nearest-neighbour enlargement by 2, then two gated convolutions with noise; lite: one without noise [C]."""

    def __init__(self, c_in: int, c_out: int, lite: bool = False) -> None:
        first = _gated(c_in, c_out, noise=not lite)
        second = [] if lite else _gated(c_out, c_out, noise=True)
        super().__init__(nn.Upsample(scale_factor=2, mode="nearest"), *first, *second)


class SkipExcitation(nn.Module):
    """Skip-layer excitation: the channels of a large map times factors in (0, 1) computed from a small one.

    The small map is averaged to 4 x 4, a 4 x 4 convolution makes it one vector (FastGAN, eq. 1); swish between [C].
    """

    def __init__(self, c_small: int, c_large: int) -> None:
        super().__init__()
        self.factors = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), _conv(c_small, c_large, 4), nn.SiLU(), _conv(c_large, c_large, 1), nn.Sigmoid()
        )

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        """small [N, c_small, h, w], large [N, c_large, H, W] -> [N, c_large, H, W]."""
        return large * self.factors(small)


class FastGANGenerator(nn.Module):
    """z [N, z_dim] -> images [N, channels, side, side]; not clamped, because the last layer is linear [C].

    z is first scaled to mean square 1. width: channels of a 128 px map (the code's ngf, 128). lite: the code's
    `fastgan_lite`. Raises ConfigError for a side that is no power of 2 from 16 to 512.
    """

    def __init__(self, side: int, channels: int = 3, z_dim: int = 256, width: int = 128, lite: bool = False) -> None:
        super().__init__()
        if side not in WIDTHS or not 16 <= side <= 512:
            raise ConfigError(
                f"image side {side} for FastGAN's generator",
                "its maps double from 4 pixels on",
                "prepare the dataset at 16, 32, 64, 128, 256 or 512 px",
            )
        self.side, self.z_dim = side, z_dim
        self.sides = [START * 2**k for k in range((side // START).bit_length())]
        widths = {s: max(1, int(WIDTHS[s] * width)) for s in self.sides}
        self.first = nn.Sequential(
            spectral_norm(nn.ConvTranspose2d(z_dim, 2 * widths[START], START, bias=False)),
            nn.BatchNorm2d(2 * widths[START]),
            GLU(),
        )
        self.blocks = nn.ModuleDict({str(b): UpBlock(widths[a], widths[b], lite) for a, b in pairwise(self.sides)})
        self.sources = excitations(side)
        self.excitation = nn.ModuleDict(
            {str(large): SkipExcitation(widths[small], widths[large]) for large, small in self.sources.items()}
        )
        self.last = _conv(widths[side], channels, 3, padding=1, bias=True)

    def forward(self, z: Tensor) -> Tensor:
        """z [N, z_dim] -> images [N, channels, side, side]."""
        z = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        maps = {START: self.first(z[:, :, None, None])}
        for s in self.sides[1:]:
            x = self.blocks[str(s)](maps[s // 2])
            maps[s] = self.excitation[str(s)](maps[self.sources[s]], x) if s in self.sources else x
        return self.last(maps[self.side])
