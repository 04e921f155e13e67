"""Images after a passage through JPEG: what a protocol scores that keeps both sets of images as JPEG files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def jpeg_coded(images: np.ndarray, quality: int) -> np.ndarray:
    """uint8 images (N, H, W, C), C = 1 or 3, written as JPEG and read back: the same shape and type.

    quality: Pillow's, 1 to 95; colour is subsampled 4:2:0, its default.
    """
    coded = np.empty_like(images)
    for i, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "JPEG", quality=quality)
        coded[i] = np.asarray(Image.open(file)).reshape(image.shape)
    return coded


class JpegImages:
    """Stored images that are coded when they are read: a whole split of photographs need not fit into memory.

    It answers to the part of numpy's interface by which stored images are read.
    """

    def __init__(self, images: np.ndarray, quality: int) -> None:
        self.images, self.quality = images, quality
        self.shape, self.dtype, self.ndim = images.shape, images.dtype, images.ndim

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Coded images (n, H, W, C) of a slice or of row numbers."""
        return jpeg_coded(np.asarray(self.images[rows]), self.quality)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)
