"""Residual networks for small images: ResNet-20 to ResNet-56 of He et al. (2016), the classifiers behind CAS.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), sec. 4.2: three stages of 16,
32 and 64 channels, n blocks of two 3 x 3 convolutions each, shortcuts without parameters, depth 6n + 2.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Depth = Literal[8, 14, 20, 32, 44, 56]  # 6n + 2; the paper has 20 to 56 (110 needs a warm-up); 8 and 14 are ours

STAGES = (16, 32, 64)  # channels; the side is halved before the second and the third
MIN_SIDE = 8  # pixels; the last stage then sees 2 x 2


class _Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al. 2016, Fig. 2), the first with the stride."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)  # BatchNorm has the bias
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.stride, self.more_channels = stride, c_out - c_in

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """Option A: every stride-th pixel, and zeros for the channels that are new. No parameters."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more_channels))


class CifarResNet(nn.Module):
    """A residual classifier of depth 6n + 2 for images of any side from 8 pixels.

    depth: weighted layers; 20 and 56 are the published ones that CAS uses. channels: 1 or 3. n_classes: logits.
    Convolutions start from He et al. (2015), normal with variance 2 / fan-in, as the paper says; the linear layer from
    PyTorch's default [ours].
    """

    def __init__(self, depth: Depth, channels: int, n_classes: int) -> None:
        super().__init__()
        n_blocks, rest = divmod(depth - 2, 6)
        assert (n_blocks > 0, rest) == (True, 0), f"depth {depth} is not 6n + 2"
        self.dim = STAGES[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, STAGES[0], 3, padding=1, bias=False), nn.BatchNorm2d(STAGES[0]), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        c_in = STAGES[0]
        for stage, c_out in enumerate(STAGES):
            for b in range(n_blocks):
                blocks.append(_Block(c_in, c_out, stride=2 if stage and b == 0 else 1))
                c_in = c_out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(self.dim, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1], sides of 8 pixels or more -> features [N, 64], the mean over positions."""
        assert min(x.shape[2:]) >= MIN_SIDE, f"images of {x.shape[3]} x {x.shape[2]} px; {MIN_SIDE} are needed"
        return self.blocks(self.stem(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1] -> logits [N, n_classes]."""
        return self.head(self.features(x))
