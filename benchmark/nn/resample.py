"""Convolutions joined with a doubling or a halving of the image; a strided 1 x 1 convolution that is safe on any CPU.

Both pairs are linear, so each is one convolution with a 4 x 4 kernel folded from the 3 x 3 one: 4 products instead of 9
for each output (doubling) or input (halving) pixel; the values are those of the pair but for rounding. Measured on one
CPU core, channels_last, batch 32: a forward and backward pass of an SNGAN net takes 0.8 to 1.0 of the time.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def _folded(weight: Tensor) -> Tensor:
    """[a, b, 3, 3] -> [a, b, 4, 4], the full convolution of each kernel with a 2 x 2 block of ones."""
    padded = F.pad(weight, (1, 1, 1, 1))
    rows = padded[:, :, 1:] + padded[:, :, :-1]
    return rows[..., 1:] + rows[..., :-1]


def upsampled_conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """conv(nearest-neighbour doubling of x) for a 3 x 3 convolution of padding 1: [N, C, H, W] -> [N, C', 2H, 2W]."""
    assert (conv.kernel_size, conv.padding) == ((3, 3), (1, 1))
    kernel = _folded(conv.weight.flip(2, 3).transpose(0, 1))
    return F.conv_transpose2d(x, kernel, conv.bias, stride=2, padding=1)


def conv_pooled(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """2 x 2 mean pooling of conv(x) for a 3 x 3 convolution of padding 1: [N, C, H, W] -> [N, C', H // 2, W // 2]."""
    assert (conv.kernel_size, conv.padding) == ((3, 3), (1, 1))
    return F.conv2d(x, _folded(conv.weight) / 4, conv.bias, stride=2, padding=1)


SAFE_CHANNELS = 8  # from so many input channels on, the kernel that `StridedPointwise` avoids is not chosen


class StridedPointwise(nn.Conv2d):
    """A 1 x 1 convolution of stride > 1 without bias: [N, c_in, H, W] -> [N, c_out, ceil(H / stride), ...].

    On a CPU with AVX2 but without AVX-512, torch 2.15 (oneDNN) writes outside of its buffers in the backward pass of
    such a layer in channels-last order with fewer than 8 input channels, and the process dies. Narrow inputs are
    therefore laid out contiguously on every CPU. `tests/unit/nn/test_nets_resample.py` runs this very layer.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__(c_in, c_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Images or maps [N, c_in, H, W]; the result's memory order is the input's, or contiguous for narrow ones."""
        if x.device.type != "cpu" or self.in_channels >= SAFE_CHANNELS:
            return super().forward(x)
        # a view of the matrix has no channels-last strides
        weight = self.weight.view(self.out_channels, self.in_channels)[:, :, None, None]
        return F.conv2d(x.contiguous(), weight, stride=self.stride)
