"""Every kind of picture file becomes the bytes one expects."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchmark.data.cards import card_with, find_card
from benchmark.data.images import to_array

RGB = card_with(find_card("shapes_class"), {"resolution": 16})
GREY = card_with(RGB, {"channels": 1})


def stored(image, kind="PNG", **options):
    """The picture as it comes back from a file of this kind."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def solid(mode, colour, size=(16, 16)):
    return Image.new(mode, size, colour)


def test_rgb_of_the_right_size_is_left_alone():
    pixels = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype=np.uint8)
    array, done = to_array(stored(Image.fromarray(pixels)), RGB)
    np.testing.assert_array_equal(array, pixels)
    assert array.dtype == np.uint8
    assert done == []


@pytest.mark.parametrize(
    ("image", "kind", "expected", "conversion"),
    [
        (solid("L", 100), "PNG", (100, 100, 100), "grey -> RGB"),
        (solid("1", 1), "PNG", (255, 255, 255), "grey -> RGB"),
        (solid("CMYK", (0, 255, 255, 0)), "TIFF", (255, 0, 0), "CMYK -> RGB"),
        (solid("RGBA", (255, 0, 0, 0)), "PNG", (255, 255, 255), "alpha -> on white"),
        (solid("RGBA", (255, 0, 0, 255)), "PNG", (255, 0, 0), "alpha -> on white"),
        (solid("LA", (0, 0)), "PNG", (255, 255, 255), "alpha -> on white"),
        (solid("RGB", (10, 200, 30)).quantize(4), "PNG", (10, 200, 30), "palette"),
    ],
)
def test_modes(image, kind, expected, conversion):
    array, done = to_array(stored(image, kind), RGB)
    assert tuple(array[8, 8]) == expected
    assert conversion in done


def test_rgb_becomes_grey_by_luma():
    array, done = to_array(stored(solid("RGB", (255, 0, 0))), GREY)
    assert array.shape == (16, 16, 1)
    assert array[0, 0, 0] == 76  # 0.299 * 255, ITU-R 601-2
    assert done == ["RGB -> grey"]


def test_half_transparent_is_blended_with_white():
    array, _ = to_array(stored(solid("RGBA", (0, 0, 0, 128))), RGB)
    assert abs(int(array[0, 0, 0]) - 127) <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    array, done = to_array(stored(Image.fromarray(ramp), kind), GREY)
    np.testing.assert_array_equal(array[..., 0].ravel(), np.arange(256))
    assert "16-bit grey -> 8-bit" in done


def test_floating_point_pixels_are_refused():
    with pytest.raises(ValueError, match="range is not defined"):
        to_array(stored(Image.fromarray(np.ones((16, 16), np.float32)), "TIFF"), GREY)


def test_exif_orientation_is_applied():
    picture = solid("RGB", "black")
    picture.paste("white", (0, 0, 16, 4))  # a white bar at the top of the stored pixels
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to see it"
    array, done = to_array(stored(picture, "PNG", exif=exif), RGB)
    assert array[8, 14, 0] == 255, "the bar is at the right now"
    assert array[2, 2, 0] == 0
    assert "EXIF orientation" in done


def test_first_frame_of_an_animation():
    frames = [solid("RGB", "red"), solid("RGB", "blue")]
    array, done = to_array(stored(frames[0], "GIF", save_all=True, append_images=frames[1:]), RGB)
    assert tuple(array[0, 0]) == (255, 0, 0)
    assert "first frame of several" in done


def test_crop_none_squashes_and_crop_center_cuts():
    wide = solid("RGB", "black", (48, 16))
    wide.paste("white", (0, 0, 16, 16))  # white, black, black
    squashed, _ = to_array(wide, card_with(RGB, {"filter": "box"}))
    assert squashed[8, 2, 0] == 255
    assert squashed[8, 12, 0] == 0
    cut, done = to_array(wide, card_with(RGB, {"crop": "center"}))
    assert cut.max() == 0
    assert done == [], "the central square already has the size"


def test_padding_keeps_pixels():
    digit = np.random.default_rng(0).integers(256, size=(28, 28), dtype=np.uint8)
    array, done = to_array(Image.fromarray(digit), card_with(GREY, {"resolution": 32, "pad": 2}))
    np.testing.assert_array_equal(array[2:-2, 2:-2, 0], digit)
    assert array[:2].max() == array[-2:].max() == array[:, :2].max() == array[:, -2:].max() == 0
    assert done == []


@pytest.mark.parametrize("size", [(1, 1), (1, 97), (97, 1), (33, 57)])
def test_odd_sizes_are_resized(size):
    array, done = to_array(stored(solid("RGB", (9, 8, 7), size)), RGB)
    assert array.shape == (16, 16, 3)
    assert (array == (9, 8, 7)).all()
    assert "resized" in done


def test_shrinking_averages_over_all_pixels():
    """Nothing aliases: a fine checkerboard becomes grey."""
    board = np.indices((128, 128)).sum(0) % 2 * 255
    for name in ("bicubic", "lanczos", "bilinear", "box"):
        array, _ = to_array(Image.fromarray(board.astype(np.uint8)), card_with(GREY, {"filter": name}))
        assert np.abs(array.astype(int) - 128).max() <= 3, name
