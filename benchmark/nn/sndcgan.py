"""SNDCGAN: the DCGAN-like generator and spectrally normalised discriminator.

Sources: Miyato et al., "Spectral Normalization for GANs" (ICLR 2018), appendix B, table 3; where the discriminator's
width doubles (on its stride-2 convolutions), the slope 0.1 and the initialisation are those of google/compare_gan,
which CR-GAN and LT-GAN build on.
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn.spectral_norm import spectral_norm

Layer = TypeVar("Layer", nn.Conv2d, nn.ConvTranspose2d, nn.Linear)

# (width as a multiple of base, kernel, stride) of the discriminator's seven convolutions
_D_LAYERS = ((1, 3, 1), (2, 4, 2), (2, 3, 1), (4, 4, 2), (4, 3, 1), (8, 4, 2), (8, 3, 1))


def _start(side: int) -> int:
    """Side of the coarsest map, an eighth of the image's."""
    if side < 8 or side % 8:
        raise ConfigError(
            f"image side {side} for the SNDCGAN networks",
            "they halve it three times, so it must be a multiple of 8",
            f"prepare the dataset at side {max(8, 8 * round(side / 8))}",
        )
    return side // 8


def _init(layer: Layer) -> Layer:
    """Weights N(0, 0.02^2), zero bias."""
    nn.init.normal_(layer.weight, std=0.02)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class SNDCGANGenerator(nn.Module):
    """SNDCGAN's generator: linear, three transposed convolutions that double the side, one 3 x 3 convolution.

    side: a multiple of 8. base: channels of the last hidden layer (the paper's is 64), the first has 8 * base.
    Batch normalisation after the linear layer is per channel; compare_gan's is per unit of the flat vector.
    Raises ConfigError for another side.
    """

    def __init__(self, side: int, channels: int = 3, z_dim: int = 128, base: int = 64) -> None:
        super().__init__()
        self.side, self.channels, self.z_dim, self.start = side, channels, z_dim, _start(side)
        self.linear = _init(nn.Linear(z_dim, 8 * base * self.start**2))
        layers: list[nn.Module] = [nn.BatchNorm2d(8 * base), nn.ReLU()]
        for width in (4 * base, 2 * base, base):
            layers += [_init(nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1))]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        self.net = nn.Sequential(*layers, _init(nn.Conv2d(base, channels, 3, padding=1)))

    def forward(self, z: Tensor) -> Tensor:
        """z [N, z_dim] -> images [N, C, S, S] in [-1, 1]."""
        return torch.tanh(self.net(self.linear(z).view(len(z), -1, self.start, self.start)))


class SNDCGANDiscriminator(nn.Module):
    """SNDCGAN's discriminator: seven convolutions, LeakyReLU 0.1, a linear layer; spectral norm on each.

    side: a multiple of 8. channels: of the input; more than an image's for a discriminator of pairs.
    base: channels of the first layer (the paper's is 64), the last has 8 * base. Raises ConfigError for another side.
    """

    def __init__(self, side: int, channels: int = 3, base: int = 64) -> None:
        super().__init__()
        start = _start(side)
        self.side, self.channels, self.base = side, channels, base
        widths = [channels] + [base * multiple for multiple, _, _ in _D_LAYERS]
        self.convs = nn.ModuleList(
            spectral_norm(_init(nn.Conv2d(widths[k], widths[k + 1], kernel, stride=stride, padding=1)))
            for k, (_, kernel, stride) in enumerate(_D_LAYERS)
        )
        self.linear = spectral_norm(_init(nn.Linear(widths[-1] * start**2, 1)))

    @property
    def n_layers(self) -> int:
        """How many layers `features` can return: the seven convolutions."""
        return len(self.convs)

    def feature_shape(self, layer: int) -> tuple[int, int, int]:
        """(C, H, W) of `features(x, layer)`. Raises ConfigError unless layer is 1 to 7."""
        self._check(layer)
        n_halvings = sum(stride == 2 for _, _, stride in _D_LAYERS[:layer])
        return self.base * _D_LAYERS[layer - 1][0], self.side >> n_halvings, self.side >> n_halvings

    def features(self, x: Tensor, layer: int) -> Tensor:
        """Output of the layer-th convolution and its activation, [N, C, H, W]; the first is 1.

        x: images [N, C, S, S] in [-1, 1]. Raises ConfigError unless layer is 1 to 7.
        """
        self._check(layer)
        for conv in self.convs[:layer]:
            x = F.leaky_relu(conv(x), 0.1)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> logits [N]."""
        return self.linear(self.features(x, self.n_layers).flatten(1)).squeeze(1)

    def _check(self, layer: int) -> None:
        if not 1 <= layer <= self.n_layers:
            raise ConfigError(
                f"layer {layer} of the SNDCGAN discriminator", f"it has {self.n_layers}", "give a number from 1 to 7"
            )
