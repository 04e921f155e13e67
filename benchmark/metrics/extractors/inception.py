"""The Inception v3 of the FID and the two resizes that go with its name, made fast on a CPU.

Four things make it fast, none of which moves a feature by more than rounding (1e-6 of the largest): batch norms are
folded into the convolutions before them, layers run channels_last, both resizes are separable, and threads share out
images, not the sums of a layer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmark.metrics.extractors.base import Extractor, load_weights, three_channels
from benchmark.metrics.extractors.weights import Weights

SIDE = 299  # px of the net's input
CPU_SLICE = 8  # images of Inception at once on a CPU: the maps of 64 fall out of its caches, 14 % slower


def inception_net() -> nn.Sequential:
    """torch-fidelity's FID-Inception as a chain of its blocks, named as in its weights file, without values.

    Input [N, 3, 299, 299] in [-1, 1]; `net[:-1]` gives pool3 [N, 2048]; `fc` the 1008 logits.
    """
    from torch_fidelity import feature_extractor_inceptionv3 as blocks

    conv = blocks.BasicConv2d
    with torch.device("meta"):
        return nn.Sequential(
            OrderedDict(
                Conv2d_1a_3x3=conv(3, 32, kernel_size=3, stride=2),
                Conv2d_2a_3x3=conv(32, 32, kernel_size=3),
                Conv2d_2b_3x3=conv(32, 64, kernel_size=3, padding=1),
                MaxPool_1=nn.MaxPool2d(kernel_size=3, stride=2),
                Conv2d_3b_1x1=conv(64, 80, kernel_size=1),
                Conv2d_4a_3x3=conv(80, 192, kernel_size=3),
                MaxPool_2=nn.MaxPool2d(kernel_size=3, stride=2),
                Mixed_5b=blocks.InceptionA(192, pool_features=32),
                Mixed_5c=blocks.InceptionA(256, pool_features=64),
                Mixed_5d=blocks.InceptionA(288, pool_features=64),
                Mixed_6a=blocks.InceptionB(288),
                Mixed_6b=blocks.InceptionC(768, channels_7x7=128),
                Mixed_6c=blocks.InceptionC(768, channels_7x7=160),
                Mixed_6d=blocks.InceptionC(768, channels_7x7=160),
                Mixed_6e=blocks.InceptionC(768, channels_7x7=192),
                Mixed_7a=blocks.InceptionD(768),
                Mixed_7b=blocks.InceptionE_1(1280),
                Mixed_7c=blocks.InceptionE_2(2048),
                AvgPool=nn.AdaptiveAvgPool2d(1),
                Flatten=nn.Flatten(),
                fc=nn.Linear(2048, 1008),
            )
        )


def fold_batch_norms(net: nn.Module) -> nn.Module:
    """Scale and shift each convolution of a net in eval mode as the batch norm behind it would; in place.

    A pair is a module with children `conv` and `bn`, applied in this order, as torch-fidelity's blocks have it.
    """
    blocks: list[Any] = [m for m in net.modules() if hasattr(m, "conv") and isinstance(getattr(m, "bn", 0), nn.Module)]
    for block in blocks:
        block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
    return net


def on_threads(function: Callable[[Tensor], Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
    """function(part) of each part, in order: as many parts at once as torch has threads, each on one thread.

    Threads that share a layer wait for one another some hundred times an image, and a busy machine makes them wait
    long; threads with parts of their own never do. `function` may not draw random numbers.
    """
    n = torch.get_num_threads()
    if n == 1 or len(parts) < n:
        return [function(part) for part in parts]
    try:
        with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, parts))
    finally:
        torch.set_num_threads(n)  # the workers' 1 would else be the number of every later thread


def tf1_resize(images: Tensor, side: int = SIDE) -> Tensor:
    """uint8 [N, 3, H, W] -> float32 [N, 3, side, side] in [0, 255]: TensorFlow 1's bilinear, corners not aligned.

    The operations of torch-fidelity's resize in its order, so equal to the last bit; but rows are widened before they
    are repeated, a tenth of the work for small images.
    """
    x = images.contiguous(memory_format=torch.channels_last).float()
    for axis in (3, 2):
        low, high, share = _tf1_neighbours(images.shape[axis], side, axis, images.device)
        left = x.index_select(axis, low)
        x = x.index_select(axis, high).sub_(left).mul_(share).add_(left)  # left + (right - left) * share
    return x


def _tf1_neighbours(side: int, wanted: int, axis: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel of an output axis: the input pixel at or before it, the next one, and the next one's share."""
    at = torch.arange(wanted, dtype=torch.float32, device=device) * torch.tensor(side / wanted, dtype=torch.float32)
    low = at.long()
    return low, (low + 1).clamp_max(side - 1), (at - low).view([-1 if k == axis else 1 for k in range(4)])


def clean_resize(images: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] -> float32 [N, 3, 299, 299] in [0, 255]: clean-fid's antialiased bicubic, clipped.

    Pillow's resize of floats is linear, first along rows, then along columns: here as two matrix products with the
    kernels that Pillow itself gives for unit impulses. Equal to Pillow's to float32 rounding, 30 times faster.
    """
    tall, wide = (torch.from_numpy(_pillow_kernel(side)).to(images.device) for side in images.shape[2:])
    return (tall.T @ (images.float() @ wide)).clamp_(0, 255)


@lru_cache(maxsize=8)
def _pillow_kernel(side: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(side, 299): row i is Pillow's bicubic resize of a line of `side` pixels of which only pixel i is 1."""
    from PIL import Image

    impulses = Image.fromarray(np.eye(side, dtype=np.float32))
    return np.array(impulses.resize((SIDE, side), Image.Resampling.BICUBIC))


class InceptionExtractor(Extractor):
    """Inception v3 of the FID (Heusel et al., 2017): pool3 (2048) and the 1008 logits without bias.

    The graph is torch-fidelity's. clean=False: its TensorFlow 1 bilinear resize to 299 x 299 (Obukhov et al., 2020);
    clean=True: clean-fid's antialiased bicubic on floats (Parmar et al., 2022). Batch norms are folded into the
    convolutions: features move by 1e-6 of the largest, and the FID by less than its own rounding.
    Raises WeightsError when the file does not hold this net's weights.
    """

    dim = 2048

    def __init__(self, weights: Weights, *, clean: bool = False, device: torch.device | str = "cpu") -> None:
        self.name = "inception-clean" if clean else "inception"
        self._resize = clean_resize if clean else tf1_resize
        self.identity = {
            "extractor": self.name,
            "input_px": SIDE,
            "resize": "PIL bicubic, antialiased, float32, clipped (clean-fid)" if clean else "TensorFlow 1 bilinear",
            "scale": "(x - 128) / 128",
            "layer": "pool3 (2048); logits without bias (1008)",
            "weights": weights.identity(),
        }
        super().__init__(fold_batch_norms(load_weights(self.name, inception_net().eval(), weights)), device)

    def _forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.device.type == "cpu":
            pooled = torch.cat(on_threads(self._pool3, images.split(CPU_SLICE)))
        else:
            pooled = self._pool3(images)
        return pooled, pooled @ self.net.fc.weight.T

    @torch.no_grad()  # said again, because each thread has a mode of its own
    def _pool3(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.net[:-1](self._prepare(images))  # [N, 2048]
        return pooled

    def _prepare(self, images: Tensor) -> Tensor:
        x = self._resize(three_channels(images)).sub_(128).div_(128)  # [N, 3, 299, 299]
        return x.contiguous(memory_format=torch.channels_last)
