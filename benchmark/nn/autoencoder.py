"""A convolutional autoencoder [ours], whose code represents an image where images are to be clustered without labels.

Sage et al., "Logo Synthesis and Manipulation with Clustered Generative Adversarial Networks" (CVPR 2018), cluster an
autoencoder's codes; the layers of theirs are not known here. These mirror each other and halve the side down to 4, as
the discriminators of `benchmark.nn.selfcond` do.
"""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.nn.selfcond import halvings


class Autoencoder(nn.Module):
    """Images [N, C, S, S] -> code [N, code_dim, 1, 1] -> images.

    `layers` are the encoder's, one a halving and the last to the code; the code is linear in the layer before it.
    side: a power of two of at least 8. width: channels of the first layer, doubled in each later one up to eight times.
    """

    def __init__(self, side: int, channels: int, width: int = 32, code_dim: int = 128) -> None:
        super().__init__()
        widths = [width * min(2**i, 8) for i in range(halvings(side, "autoencoder"))]
        inputs = [channels, *widths[:-1]]
        down = [_block(nn.Conv2d(n, m, 4, stride=2, padding=1, bias=False), m) for n, m in zip(inputs, widths)]
        self.layers = nn.ModuleList([*down, nn.Conv2d(widths[-1], code_dim, 4)])  # side 4 to side 1
        up = [_block(nn.ConvTranspose2d(code_dim, widths[-1], 4, bias=False), widths[-1])]
        for n, m in zip(widths[:0:-1], widths[-2::-1]):
            up.append(_block(nn.ConvTranspose2d(n, m, 4, stride=2, padding=1, bias=False), m))
        self.decoder = nn.Sequential(*up, nn.ConvTranspose2d(widths[0], channels, 4, stride=2, padding=1), nn.Tanh())

    def code(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> codes [N, code_dim, 1, 1]."""
        for layer in self.layers:
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> their reconstructions, likewise."""
        return self.decoder(self.code(x))


def _block(conv: nn.Module, width: int) -> nn.Sequential:
    """A convolution with batch normalisation, which has the bias, and ReLU."""
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())
