"""From an image file of any kind to uint8 bytes of one size: the only place where pixels are changed."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from benchmark.data.cards import DatasetCard

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
# What files with the endings of images are. Pillow's other readers stay unused:
# some start other programs.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 2**26  # of an image: 8,192 x 8,192 take up to 0.9 GB while they are decoded and converted
MAX_FILE_BYTES = 2**28  # of an image's file, also inside an archive that inflates it
LARGE_PIXELS = 2**23  # from here on images are decoded one at a time
_one_large = threading.Lock()

# `open_image` refuses such images by itself, earlier than Pillow and as an error.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

EXIF_ORIENTATION = 0x0112
WIDE_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes of grey with more than 8 bits


def open_image(file: Any, size_bytes: int) -> Image.Image:
    """An image, not yet decoded, of a path or an open file.

    Raises ValueError for an empty file, and for one too large to be decoded safely; Pillow raises its own errors.
    """
    if size_bytes == 0:
        raise ValueError("the file is empty (0 bytes)")
    if size_bytes > MAX_FILE_BYTES:
        raise ValueError(f"the file has {size_bytes:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(f"it has more than {MAX_PIXELS:,} pixels; scale it down") from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ValueError(
            f"it has {image.width:,} x {image.height:,} pixels; at most {MAX_PIXELS:,} are read: scale it down"
        )
    return image


def to_array(image: Image.Image, card: DatasetCard) -> tuple[np.ndarray, list[str]]:
    """An image as the dataset config wants it: uint8 [H, W, C], and the kinds of conversion it needed.

    Order: first frame, EXIF orientation, grey or RGB, crop, pad, resize.
    Raises ValueError for pixels whose range is not defined; Pillow raises its own errors for broken files.
    """
    if image.width * image.height >= LARGE_PIXELS:
        with _one_large:
            return _to_array(image, card)
    return _to_array(image, card)


def _to_array(image: Image.Image, card: DatasetCard) -> tuple[np.ndarray, list[str]]:
    done: list[str] = []
    image = decoded(image, card.channels, done)
    if card.crop == "center" and image.width != image.height:
        image = _central_square(image)
    if card.pad:
        image = ImageOps.expand(image, border=card.pad, fill=0)
    size = (card.resolution, card.resolution)
    if image.size != size:
        image = image.resize(size, FILTERS[card.filter])
        done.append("resized")
    return np.asarray(image).reshape(*size, card.channels), done


def decoded(image: Image.Image, channels: int, done: list[str]) -> Image.Image:
    """The first frame, upright, as 8-bit grey (channels = 1) or RGB; what it took is added to `done`.

    Raises as `to_array`.
    """
    if getattr(image, "is_animated", False):
        done.append("first frame of several")
    image.load()
    if _is_turned(image):
        image = ImageOps.exif_transpose(image)
        done.append("EXIF orientation")
    return _to_mode(image, "L" if channels == 1 else "RGB", done)


def _is_turned(image: Image.Image) -> bool:
    """Does the EXIF block say that the image is turned or mirrored? One that cannot be read says nothing."""
    try:
        return image.getexif().get(EXIF_ORIENTATION) in range(2, 9)
    except Exception:  # Pillow's parser raises many kinds; the pixels are good all the same
        return False


def _central_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _to_mode(image: Image.Image, mode: str, done: list[str]) -> Image.Image:
    """`image` as "L" or "RGB"; transparent pixels are laid on white."""
    if image.mode in WIDE_GREY:
        image = _to_8_bits(image)
        done.append("16-bit grey -> 8-bit")
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is not defined; save it as 8-bit")
    if image.mode == "P":
        done.append("palette")
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        done.append("alpha -> on white")
        return image.convert(mode)
    if image.mode not in ("P", mode):
        done.append(f"{'grey' if image.mode in ('L', '1') else image.mode} -> {'grey' if mode == 'L' else mode}")
    return image if image.mode == mode else image.convert(mode)


def _to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits: 65535 becomes 255 (Pillow's own conversion would clip at 255)."""
    wide = np.asarray(image)
    if wide.min() < 0 or wide.max() > 65535:
        raise ValueError("its grey values do not fit 16 bits; save it as 8-bit or 16-bit")
    return Image.fromarray(((wide.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))


def explain(error: Exception) -> str:
    """Why an image could not be read, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or its header is damaged"
    return str(error) or type(error).__name__
