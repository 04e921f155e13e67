"""A passage through JPEG: what Pillow's own files hold, image by image, and only where it is read."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchmark.data.jpeg import JpegImages, jpeg_coded

RNG = np.random.default_rng(0)
SMOOTH = np.kron(RNG.integers(256, size=(5, 8, 8, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)  # (5, 32, 32, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_what_a_file_of_that_quality_holds(channels: int) -> None:
    images = np.ascontiguousarray(SMOOTH[..., :channels])
    coded = jpeg_coded(images, 75)
    assert (coded.shape, coded.dtype) == (images.shape, np.uint8)
    for image, found in zip(images, coded):
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "JPEG", quality=75)
        assert np.array_equal(np.asarray(Image.open(file)).reshape(image.shape), found)
    assert not np.array_equal(coded, images)


def test_a_higher_quality_changes_less() -> None:
    error = [np.abs(jpeg_coded(SMOOTH, q).astype(int) - SMOOTH).mean() for q in (30, 75, 95)]
    assert error == sorted(error, reverse=True)


def test_images_are_coded_when_they_are_read() -> None:
    lazy = JpegImages(SMOOTH, 75)
    whole = jpeg_coded(SMOOTH, 75)
    assert (len(lazy), lazy.shape, lazy.dtype, lazy.ndim) == (5, SMOOTH.shape, np.uint8, 4)
    assert np.array_equal(lazy[1:3], whole[1:3])
    assert np.array_equal(lazy[np.array([4, 0])], whole[[4, 0]])
    assert np.array_equal(np.asarray(lazy), whole)
