"""Pillow's bicubic resize of 8-bit images, which FD-DINOv2 and CMMD are defined with. The result is rounded, too."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PIL_BICUBIC = "PIL bicubic, antialiased, uint8"


def pil_bicubic(images: Tensor, side: int) -> Tensor:
    """uint8 [N, 3, H, W] -> float32 [N, 3, side, side] with whole numbers 0..255, on the images' device."""
    stored = images.permute(0, 2, 3, 1).cpu().contiguous().numpy()
    if stored.shape[1:3] != (side, side):
        shape = (side, side)
        stored = np.stack([np.asarray(Image.fromarray(one).resize(shape, Image.Resampling.BICUBIC)) for one in stored])
    return torch.from_numpy(stored).to(images.device).permute(0, 3, 1, 2).float()


def centre_square(images: Tensor) -> Tensor:
    """The largest centred square of images [N, C, H, W]."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, :, top : top + side, left : left + side]
