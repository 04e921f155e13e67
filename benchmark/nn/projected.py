"""Projected GAN's view of an image: maps of a frozen classifier, mixed at random, and a discriminator for each scale.

Source: Sauer, Chitta, Mueller, Geiger, "Projected GANs Converge Faster" (NeurIPS 2021, arXiv 2111.01007) [P], and its
code, autonomousvision/projected-gan [C]. L_1 ... L_4 are the classifier's maps at 1/4, 1/8, 1/16 and 1/32 of its input;
P_l(x) what the random convolutions make of them, at twice these sides; D_l the discriminator of P_l(x).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmark.core.errors import ConfigError
from benchmark.nn.spectral_norm import spectral_norm

LITE0_CHANNELS = (24, 40, 112, 320)  # of EfficientNet-Lite0's L_1 ... L_4
LITE0_ENDS = (3, 5, 11, 16)  # the blocks after which they are taken: the last of each side [C]
REDUCTION = 32  # the input's side over that of L_4
LAST_SIDE = 4  # of the convolution that gives D_l's logits [C]


class Lite0Maps(nn.Module):
    """EfficientNet-Lite0 up to its last block, frozen and always in eval mode.

    net: `efficientnet_lite_pytorch.EfficientNet`, whose batch norms are folded into its convolutions. px: smaller
    images are enlarged to this side by bilinear interpolation, larger ones stay as they are [C: 224]. Grey images are
    repeated to three channels [ours].
    """

    def __init__(self, net: Any, px: int) -> None:
        super().__init__()
        self.net, self.px = fold_batch_norms(net.eval()), px
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Lite0Maps:
        """Stays in eval mode: batch statistics would make an image's maps depend on its batch."""
        return super().train(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images [N, 1 or 3, S, S] in [-1, 1] -> L_1 ... L_4: [N, 24, s/4, s/4], ..., [N, 320, s/32, s/32]."""
        net = self.net
        x = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        if x.shape[-1] < self.px:
            x = F.interpolate(x, size=(self.px, self.px), mode="bilinear", align_corners=False)
        x = (127.5 * x + 0.5) / 128  # (pixel - 127) / 128, as the network was trained
        x = net._swish(net._bn0(net._conv_stem(x.contiguous(memory_format=torch.channels_last))))
        maps = []
        for number, block in enumerate(net._blocks, start=1):
            x = block(x)
            if number in LITE0_ENDS:
                maps.append(x)
        return maps


def fold_batch_norms(net: Any) -> Any:
    """Scale and shift each convolution that the maps need as the batch norm behind it would; in place.

    A quarter less time on a CPU; maps move by rounding, 1e-6 of the largest.
    """
    named = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
    pairs = [(block, *names) for block in net._blocks for names in named if hasattr(block, names[0])]
    for module, conv, norm in [(net, "_conv_stem", "_bn0"), *pairs]:
        if not isinstance(getattr(module, norm), nn.Identity):
            setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
            setattr(module, norm, nn.Identity())
    return net.to(memory_format=torch.channels_last)


def check_side(side: int, px: int) -> None:
    """Raise ConfigError for images whose maps do not halve evenly, or are too small for a discriminator."""
    seen = max(side, px)
    if seen % REDUCTION or seen < 2 * REDUCTION:
        raise ConfigError(
            f"features of images at {seen} px",
            f"four maps, each half the side of the one before, need a multiple of {REDUCTION} from {2 * REDUCTION} on",
            f"set features.input_px to {max(2 * REDUCTION, -(-seen // REDUCTION) * REDUCTION)}",
        )


Mixing = Literal["scale", "channel", "none"]


class RandomProjection(nn.Module):
    """Cross-channel and cross-scale mixing of the four maps by random convolutions that are never trained (sec. 3.2).

    CCM: a 1 x 1 convolution on each L_l, to width 2^(l-1) channels. CSM: from the smallest map up, add the one below,
    enlarge by 2 (bilinear), convolve; a U-Net whose four outputs are P_1 ... P_4. The initial weights, PyTorch's
    Kaiming-uniform ones, are the projection.

    width: channels of P_1 [C: 64]. kernel: of the CSM's convolutions, 3 [P] or 1 [C]. mixing: "scale" is the CCM and
    the CSM, "channel" the CCM alone, "none" neither.
    """

    def __init__(self, width: int = 64, kernel: int = 3, mixing: Mixing = "scale") -> None:
        super().__init__()
        self.ccm: nn.ModuleList | None = None
        self.csm: nn.ModuleList | None = None
        self.channels = list(LITE0_CHANNELS)
        if mixing != "none":
            mixed = [width * 2**k for k in range(len(LITE0_CHANNELS))]
            self.ccm = nn.ModuleList(nn.Conv2d(c, out, 1) for c, out in zip(LITE0_CHANNELS, mixed))
            self.channels = mixed
        if mixing == "scale":  # each stage halves the channels, the last keeps them [C]
            self.channels = [width, *mixed[:-1]]
            layers = (nn.Conv2d(c, out, kernel, padding=kernel // 2) for c, out in zip(mixed, self.channels))
            self.csm = nn.ModuleList(layers)
        self.requires_grad_(False)

    def sides(self, seen: int) -> list[int]:
        """Sides of P_1 ... P_4 for images that the classifier sees at `seen` px."""
        return [seen // divisor * (2 if self.csm else 1) for divisor in (4, 8, 16, 32)]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """L_1 ... L_4 -> P_1 ... P_4, [N, channels[l], h_l, w_l]."""
        mixed = list(maps) if self.ccm is None else [conv(x) for conv, x in zip(self.ccm, maps)]
        if self.csm is None:
            return mixed
        found: list[Tensor] = []
        for l in reversed(range(len(mixed))):
            x = mixed[l] + found[0] if found else mixed[l]
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            found.insert(0, self.csm[l](x))
        return found


LADDER = (1, 1, 2, 4, 8)  # channels of D_l over `width` at sides 128, 64, 32, 16 and 8, whatever the images' side [C]


class ScaleDiscriminator(nn.Sequential):
    """D_l: strided 4 x 4 convolutions with batch norm, then a 4 x 4 convolution to logits; all with spectral norm.

    channels, side: of P_l. width: see `LADDER`. start: where in the ladder P_l is. P_l is halved until the ladder's
    end [C], but never below 4 x 4: maps of small inputs get a shorter and narrower D_l [ours].
    """

    def __init__(self, channels: int, side: int, width: int, start: int) -> None:
        n_halvings = min(len(LADDER) - 1 - start, (side // LAST_SIDE).bit_length() - 1)
        widths = [channels, *(width * m for m in LADDER[start + 1 : start + 1 + n_halvings])]
        layers: list[nn.Module] = []
        for c_in, c_out in pairwise(widths):
            layers.append(spectral_norm(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1)))
            layers += [nn.BatchNorm2d(c_out), nn.LeakyReLU(0.2)]
        super().__init__(*layers, spectral_norm(nn.Conv2d(widths[-1], 1, LAST_SIDE, bias=False)))


class MultiScaleDiscriminator(nn.Module):
    """D_1 ... D_n, one for each of the first n outputs of a projection.

    projection: whose outputs they see. seen: side in px at which the classifier sees images. width: see `LADDER`.
    """

    def __init__(self, projection: RandomProjection, seen: int, width: int = 64, n_scales: int = 4) -> None:
        super().__init__()
        maps = list(zip(projection.channels, projection.sides(seen)))[:n_scales]
        start = 0 if projection.csm else 1  # without the CSM the maps are half as large [C]
        self.scales = nn.ModuleList(ScaleDiscriminator(c, side, width, start + l) for l, (c, side) in enumerate(maps))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """P_1, P_2, ... -> logits of each scale, [N, positions]."""
        return [scale(x).flatten(1) for scale, x in zip(self.scales, maps)]
