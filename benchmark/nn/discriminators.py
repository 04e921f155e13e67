"""Discriminators of InfoSCC-GAN: EigenGAN's global one and pix2pix's patch one.

Sources: Kinakh et al., "InfoSCC-GAN" (2021), sec. 3 and the published code's layer table;
Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017), appendix 6.1.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn.eigengan import n_doublings


class GlobalDiscriminator(nn.Module):
    """One logit an image. No normalisation, LeakyReLU 0.2, PyTorch's default initialisation.

    side: a power of two, at least 8. base: channels at full size, doubled at each halving up to max_width.
    Raises ConfigError for another side.
    """

    def __init__(self, side: int, channels: int = 3, base: int = 16, max_width: int = 512) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, base, 7, padding=3), nn.LeakyReLU(0.2)]
        width = base
        for _ in range(n_doublings(side)):
            wider = min(2 * width, max_width)
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2)]
            layers += [nn.Conv2d(width, wider, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            width = wider
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Flatten()]  # [N, 16 * width]
        layers += [nn.Linear(16 * width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> logits [N]."""
        return self.net(x).squeeze(1)


def patch_map_side(side: int, n_layers: int) -> int:
    """Side of PatchDiscriminator's output map: n_layers halvings, then two 4 x 4 convolutions that each lose a row.

    Zero or less: no map is left.
    """
    return (side >> n_layers) - 2


class PatchDiscriminator(nn.Module):
    """A map of logits, each of which sees a part of the image; BatchNorm in all but the first and the last convolution.

    n_layers: convolutions of stride 2. Its receptive field is 34, 70, 142, 286, 574 pixels for n_layers 2 to 6; the
    published InfoSCC-GAN runs use 6 at side 256, where every logit sees the whole image.
    ndf: channels of the first layer, doubled in each later one up to eight times.
    Raises ConfigError when n_layers leaves no map.
    """

    def __init__(self, side: int, channels: int = 3, ndf: int = 64, n_layers: int = 3) -> None:
        super().__init__()
        if n_layers < 1 or patch_map_side(side, n_layers) < 1:
            fits = [n for n in range(1, 32) if patch_map_side(side, n) >= 1]
            raise ConfigError(
                f"patch_layers: n_layers {n_layers} of the patch discriminator, at image side {side}",
                "at least one layer is needed" if n_layers < 1 else "its map of logits would be empty",
                f"the largest n_layers that fits side {side} is {fits[-1]}"
                if fits
                else "the smallest side that fits is 6",
            )
        layers: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        width = ndf
        for k in range(1, n_layers + 1):
            wider, stride = ndf * min(2**k, 8), 2 if k < n_layers else 1
            layers += [nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=False)]  # BatchNorm has the bias
            layers += [nn.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
            width = wider
        layers += [nn.Conv2d(width, 1, 4, padding=1)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> maps of logits [N, h, w], h = w = patch_map_side(S, n_layers)."""
        return self.net(x).squeeze(1)
