"""Networks whose inner maps serve as image features: AlexNet without training, and the NIN of rotation prediction.

Sources: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks" (2012), in the
single-tower form and with the initialisation of facebookresearch/deepcluster (Caron et al., ECCV 2018); Gidaris et al.,
"Unsupervised Representation Learning by Predicting Image Rotations" (ICLR 2018) and its code,
gidariss/FeatureLearningRotNet.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# AlexNet: (channels, kernel, stride, padding) of the five convolutions; a 3 x 3 maximum of stride 2 follows these
_ALEXNET = ((96, 11, 4, 2), (256, 5, 1, 2), (384, 3, 1, 1), (384, 3, 1, 1), (256, 3, 1, 1))
_POOLED = (1, 2, 5)

# NIN: widths of each block's three convolutions, and the kernel of the first; the other two are 1 x 1
_NIN = (((192, 160, 96), 5), ((192, 192, 192), 5), ((192, 192, 192), 3), ((192, 192, 192), 3))


def untrained_alexnet(layer: int = 5, seed: int = 0) -> nn.Sequential:
    """AlexNet's convolutions up to the ReLU of the layer-th, never trained: images [N, 3, H, W] -> maps [N, C, h, w].

    layer: 1 to 5. seed: of the weights N(0, 2 / (k^2 c_out)), biases 0; it decides the whole network.
    At 224 px the maps have sides 55, 27, 13, 13, 13; at 64 px 15, 7, 3, 3, 3.
    """
    assert 1 <= layer <= len(_ALEXNET)
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    c_in = 3
    with torch.device("cpu"):  # one generator, so one network, whatever the device
        for number, (c_out, kernel, stride, padding) in enumerate(_ALEXNET[:layer], start=1):
            conv = nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=padding)
            nn.init.normal_(conv.weight, std=math.sqrt(2 / (kernel**2 * c_out)), generator=generator)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
            layers += [conv, nn.ReLU()]
            if number in _POOLED and number < layer:
                layers.append(nn.MaxPool2d(3, stride=2))
            c_in = c_out
    return nn.Sequential(*layers)


class NIN(nn.Module):
    """Network in network of four blocks, as rotation prediction trains it.

    Block 1 ends with a 3 x 3 maximum of stride 2, block 2 with a 3 x 3 mean of stride 2: 32 px become 8 x 8 maps, and
    `blocks[:2]` gives the feature the authors found best. divisor: every width is divided by it (1: published).
    """

    def __init__(self, channels: int, n_outputs: int = 4, divisor: int = 1) -> None:
        super().__init__()
        blocks = []
        c_in = channels
        for number, (widths, kernel) in enumerate(_NIN, start=1):
            block: list[nn.Module] = []
            for c_out, k in zip(widths, (kernel, 1, 1)):
                c_out = max(1, c_out // divisor)
                block += [_conv(c_in, c_out, k), nn.BatchNorm2d(c_out), nn.ReLU()]
                c_in = c_out
            if number == 1:
                block.append(nn.MaxPool2d(3, stride=2, padding=1))
            elif number == 2:
                block.append(nn.AvgPool2d(3, stride=2, padding=1))
            blocks.append(nn.Sequential(*block))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(c_in, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> logits [N, n_outputs]."""
        return self.head(self.blocks(x).mean((2, 3)))


def _conv(c_in: int, c_out: int, kernel: int) -> nn.Conv2d:
    """A convolution that keeps the side; weights N(0, 2 / (k^2 c_out)), no bias: batch norm has it."""
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / (kernel**2 * c_out)))
    return conv
