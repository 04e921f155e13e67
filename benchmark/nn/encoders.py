"""Image encoders for contrastive learning, and the projector that is trained on top of them.

Sources: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (ICML 2020), sec. 2.1;
Kinakh et al., "InfoSCC-GAN" (2021), sec. 2.1: ResNet-50 up to the global average pool, random initialisation.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn


class Encoder(nn.Module):
    """A net from images [N, C, H, W] in [-1, 1] to features [N, dim]."""

    def __init__(self, net: nn.Module, dim: int) -> None:
        super().__init__()
        self.net, self.dim = net, dim

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] -> features [N, dim]; N = 1 keeps its axis."""
        return self.net(x).flatten(1)


def conv_encoder(channels: int, width: int = 16) -> Encoder:
    """A small encoder for images of 16 to 64 pixels (ours): four 3 x 3 convolutions of stride 1, 2, 2, 2, global mean.

    width: channels of the first layer; they double to 8 * width = dim.
    """
    layers: list[nn.Module] = []
    c_in = channels
    for k, stride in enumerate((1, 2, 2, 2)):
        c_out = width * 2**k
        conv = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)  # BatchNorm has the bias
        layers += [conv, nn.BatchNorm2d(c_out), nn.ReLU()]
        c_in = c_out
    return Encoder(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1)), c_in)


Stem = Literal["imagenet", "cifar"]  # a 7 x 7 convolution of stride 2 and a max pool, or a 3 x 3 one of stride 1


def resnet18_encoder(channels: int, stem: Stem = "imagenet") -> Encoder:
    """ResNet-18 up to its global average pool, random initialisation; dim 512.

    stem: ImageNet's shrinks images four times before the first block, which leaves one place of 32 px; CIFAR's does not
    (SimCLR, appendix B.9).
    """
    from torchvision.models import resnet18  # two seconds to import, and the small recipes need none of it

    return _without_head(resnet18(weights=None), channels, 512, stem)


def resnet50_encoder(channels: int, stem: Stem = "imagenet") -> Encoder:
    """ResNet-50 up to its global average pool, random initialisation; dim 2048. stem: as of `resnet18_encoder`."""
    from torchvision.models import resnet50  # as above

    return _without_head(resnet50(weights=None), channels, 2048, stem)


def _without_head(net: nn.Module, channels: int, dim: int, stem: Stem) -> Encoder:
    net.fc = nn.Identity()
    if stem == "cifar":
        net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's
        net.maxpool = nn.Identity()
    elif channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's
    return Encoder(net, dim)


class Projector(nn.Sequential):
    """SimCLR's projection head (sec. 4.2): Linear dim -> dim, ReLU, Linear dim -> out_dim; [N, dim] -> [N, out_dim]."""

    def __init__(self, dim: int, out_dim: int = 128) -> None:
        super().__init__(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, out_dim))
