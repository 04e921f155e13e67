"""Control rows: known damage done to real images, so that a table shows what its metrics can and cannot see.

Noise and blur lower the quality of every image, fewer classes and repeated images lower the diversity of a set whose
images are all real. The two halves of a real set give each metric's floor. Images are uint8 (N, H, W, C) throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmark.metrics.checks import Array, Float64, Int64, MetricError
from benchmark.metrics.clusters import integers

CHUNK_BYTES = 64 * 2**20  # of the float64 images held at once

Images = np.ndarray[Any, np.dtype[np.uint8]]


class Corruption(Protocol):
    """A damage of fixed strength."""

    def __call__(self, images: Images, labels: Array | None, seed: int) -> Images:
        """Damaged images of uint8 (N, H, W, C). labels: classes [N]; only those in NEEDS_LABELS look at them."""


def noise(images: Images, sigma_grey_levels: float, seed: int) -> Images:
    """Images with Gaussian noise on each pixel and channel, rounded and clipped to 0..255. The same shape.

    images: uint8 (N, H, W, C). sigma_grey_levels: standard deviation, of 256 levels; clipping makes it smaller in black
    and white areas. seed: of the noise. Raises MetricError for other images or a sigma that is negative or not finite.
    """
    images, sigma = image_array("images", images), _severity("noise", sigma_grey_levels)
    rng = np.random.default_rng(seed)
    return _in_chunks(images, lambda x: x + sigma * rng.standard_normal(x.shape))


def blur(images: Images, sigma_px: float) -> Images:
    """Images blurred by a Gaussian over rows and columns, each channel for itself, the border mirrored. The same shape.

    images: uint8 (N, H, W, C). sigma_px: standard deviation in pixels, so a sharper damage in a smaller image; the
    kernel ends at four of them. Raises MetricError for other images or a sigma that is negative or not finite.
    """
    images, sigma = image_array("images", images), _severity("blur", sigma_px)
    return _in_chunks(images, lambda x: gaussian_filter(x, sigma, axes=(1, 2), mode="reflect", truncate=4.0))


def drop_classes(images: Images, labels: Array, n_keep: int) -> Images:
    """The images of n_keep classes, in their order: every image is real, but whole modes are missing.

    images: uint8 (N, H, W, C). labels: classes [N]; those with the lowest numbers are kept. Fewer images than given
    come back, and a Frechet distance depends on their number: damage more than are needed and take the first ones.
    Raises MetricError for other images or labels, labels of a single class, or n_keep outside 1..number of classes.
    """
    images = image_array("images", images)
    values = integers("labels", labels, len(images))
    classes = np.unique(values)
    if len(classes) < 2:
        raise MetricError(f"labels: all are {classes[0]}", "there is no class to drop")
    if not 1 <= n_keep <= len(classes):
        raise MetricError(f"drop_classes: n_keep = {n_keep}", f"the images show {len(classes)} classes")
    return images[np.isin(values, classes[:n_keep])]


def duplicates(images: Images, n_distinct: int, seed: int) -> Images:
    """As many images as given, but only n_distinct different rows, equally often (to one), in random order.

    images: uint8 (N, H, W, C). seed: of the choice and the order. Mode collapse on real images.
    Raises MetricError for other images or n_distinct outside 1..N.
    """
    images = image_array("images", images)
    n = len(images)
    if not 1 <= n_distinct <= n:
        raise MetricError(f"duplicates: n_distinct = {n_distinct}", f"there are {n} images", "give more images")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(n)[:n_distinct]
    return images[rng.permutation(np.resize(chosen, n))]


def halves(n: int, seed: int) -> tuple[Int64, Int64]:
    """Two disjoint sets of n // 2 rows out of n each, in rising order: real against real is every metric's floor.

    n: rows, 2 or more; of an odd number one is left out. seed: of the draw. Raises MetricError for fewer.
    """
    if n < 2:
        raise MetricError(f"halves of {n} rows", "each half has at least one")
    rows = np.random.default_rng(seed).permutation(n)
    return np.sort(rows[: n // 2]), np.sort(rows[n // 2 : n // 2 * 2])


def _noise(images: Images, labels: Array | None, seed: int, *, sigma: float) -> Images:
    return noise(images, sigma, seed)


def _blur(images: Images, labels: Array | None, seed: int, *, sigma: float) -> Images:
    return blur(images, sigma)


def _half_of_the_classes(images: Images, labels: Array | None, seed: int) -> Images:
    if labels is None:
        raise MetricError("half of the classes: no labels", "a class can be dropped only where classes are known")
    classes = np.unique(integers("labels", labels))
    return drop_classes(images, labels, max(1, len(classes) // 2))


def _repeated(images: Images, labels: Array | None, seed: int, *, n_distinct: int) -> Images:
    return duplicates(images, n_distinct, seed)


# Strengths [ours]: for 32 px images noise and blur go from barely visible to plain.
CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        "noise 5": partial(_noise, sigma=5.0),
        "noise 15": partial(_noise, sigma=15.0),
        "noise 40": partial(_noise, sigma=40.0),
        "blur 0.5 px": partial(_blur, sigma=0.5),
        "blur 1 px": partial(_blur, sigma=1.0),
        "blur 2 px": partial(_blur, sigma=2.0),
        "half of the classes": _half_of_the_classes,
        "100 distinct": partial(_repeated, n_distinct=100),
        "10 distinct": partial(_repeated, n_distinct=10),
    }
)
NEEDS_LABELS = frozenset({"half of the classes"})  # for data without classes these rows are left out


def image_array(name: str, images: Any) -> Images:
    """Stored images, checked: uint8 (N, H, W, C) with N >= 1 and C 1 or 3. A memory map stays one.

    Raises MetricError for tensors, floats and other shapes.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        kind = getattr(images, "dtype", type(images).__name__)
        raise MetricError(f"{name}: {kind} given", "stored images are needed: a uint8 numpy array (N, H, W, C)")
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise MetricError(f"{name}: shape {images.shape}", "(N, H, W, C) with N >= 1 and C = 1 or 3 is needed")
    return images


def _severity(what: str, sigma: float) -> float:
    if not (math.isfinite(sigma) and sigma >= 0):
        raise MetricError(f"{what}: sigma = {sigma}", "a standard deviation is finite and 0 or more")
    return float(sigma)


def _in_chunks(images: Images, damage: Callable[[Float64], Float64]) -> Images:
    """Apply `damage` to float64 pieces (n, H, W, C), in order; round and clip to uint8."""
    damaged = np.empty(images.shape, np.uint8)
    n = max(1, CHUNK_BYTES // (8 * math.prod(images.shape[1:])))
    for start in range(0, len(images), n):
        piece = damage(images[start : start + n].astype(np.float64))
        damaged[start : start + n] = np.rint(piece).clip(0, 255)
    return damaged
