"""What is missing in generated scenes: areas of object classes, by a segmentation network, in two sets of images.

Source: Bau et al., "Seeing What a GAN Cannot Generate" (ICCV 2019), sec. 3.1: the Frechet Segmentation Distance is the
Frechet distance between Gaussians fitted to the areas that each object class covers in each image. A segmenter is
anything that follows `Segmenter`; none comes with the suite.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmark.metrics.checks import Array, Float64, MetricError, row_pair
from benchmark.metrics.corruptions import image_array
from benchmark.metrics.frechet import frechet_distance

SUM_TOLERANCE = 1e-2  # per cent; float32 rows of hundreds of classes add up to 100 well within it


class Segmenter(Protocol):
    """A frozen network that names the class of every pixel. Images come on the CPU; it moves them where it runs.

    name: for column headings. identity: the provenance of its numbers, JSON-able (weights, input size).
    n_classes: classes it may name, its "unlabelled" one, if it has one, included.
    """

    name: str
    identity: dict[str, Any]
    n_classes: int

    def __call__(self, images: Tensor) -> Tensor:
        """Classes [N, H, W] integers in [0, n_classes) of uint8 images [N, C, H, W]."""


class Omission(NamedTuple):
    """Mean area of one class in real and in generated images."""

    label: int  # the class
    real: float  # per cent of the image, 0 .. 100
    fake: float

    @property
    def missing(self) -> float:
        """Percentage points that the generated images lack; negative where they have too much."""
        return self.real - self.fake


def area_fractions(segmenter: Segmenter, images: np.ndarray, batch: int = 32, progress: bool = False) -> Float64:
    """Area of each class in each image, in per cent: [N, n_classes], rows add up to 100.

    images: uint8 (N, H, W, C), C = 1 or 3; a memory map is read in pieces. batch: images segmented at once; it changes
    nothing for a segmenter that looks at each image alone. progress: draw a bar.
    Source: Bau et al., 2019, sec. 3.1; per cent rather than pixels, so that the images' size does not scale it [ours].
    Raises MetricError for other images, and when the segmenter returns other than integers [N, H, W] in [0, n_classes).
    """
    images = image_array("images", images)
    if batch < 1:
        raise MetricError(f"area_fractions: batch = {batch}", "a batch holds at least one image")
    fractions = np.empty((len(images), segmenter.n_classes))
    for start in tqdm(range(0, len(images), batch), desc=segmenter.name, unit="batch", disable=not progress):
        chunk = torch.from_numpy(np.array(images[start : start + batch]).transpose(0, 3, 1, 2))
        with torch.no_grad():
            maps = _checked_maps(segmenter, segmenter(chunk), len(chunk))
        fractions[start : start + batch] = _areas(maps, segmenter.n_classes)
    return fractions


def frechet_segmentation_distance(real_fractions: Array, fake_fractions: Array) -> float:
    """Frechet Segmentation Distance between areas [N, C] and [M, C] in per cent. In [0, inf), lower is better.

    real_fractions, fake_fractions: of `area_fractions` with one segmenter; N, M >= 2. Symmetric in its arguments.
    Biased upwards by about 1/n, like every Frechet distance: compare only values of equal N, equal M and one segmenter.
    Blind to where an object is and how it looks. Unit: square percentage points.
    Source: Bau et al., 2019, sec. 3.1, with the formula of Heusel et al., 2017, eq. 6, in float64.
    Raises MetricError for a wrong dtype, shape or number of classes, NaN, fewer than two images, or rows that are not
    areas in per cent.
    """
    return frechet_distance(*_area_pair(real_fractions, fake_fractions))


def omissions(real_fractions: Array, fake_fractions: Array) -> list[Omission]:
    """Mean area of each class in real and in generated images, the most omitted class first.

    real_fractions, fake_fractions: of `area_fractions` with one segmenter [N, C] and [M, C]. Sorted by the percentage
    points that are missing, falling; equal ones by class. A class that covers little can be left out altogether and
    still be far down the list: look at the ratio of both areas as well.
    Source: the class-wise comparison of Bau et al., 2019, sec. 3.1; the order is ours.
    Raises MetricError as `frechet_segmentation_distance`.
    """
    real, fake = _area_pair(real_fractions, fake_fractions)
    means = zip(real.mean(axis=0), fake.mean(axis=0))
    found = [Omission(label, float(r), float(f)) for label, (r, f) in enumerate(means)]
    return sorted(found, key=lambda omission: -omission.missing)  # stable: equal ones stay in the order of classes


def _areas(maps: Tensor, n_classes: int) -> Float64:
    """Per cent of each map [n, H, W] that each class covers: [n, n_classes]."""
    n = len(maps)
    rows = maps.reshape(n, -1).long() + n_classes * torch.arange(n, device=maps.device)[:, None]
    counts = torch.bincount(rows.reshape(-1), minlength=n * n_classes).reshape(n, n_classes)
    return 100 * counts.cpu().numpy() / rows.shape[1]


def _checked_maps(segmenter: Segmenter, maps: Tensor, n: int) -> Tensor:
    if not isinstance(maps, Tensor) or maps.ndim != 3 or len(maps) != n or 0 in maps.shape:
        shape = list(getattr(maps, "shape", []))
        raise MetricError(
            f"{segmenter.name}: class maps of shape {shape}", f"[{n}, H, W] is needed: a class for each pixel"
        )
    if maps.is_floating_point() or maps.is_complex() or maps.dtype == torch.bool:
        raise MetricError(
            f"{segmenter.name}: class maps of dtype {maps.dtype}", "classes are integers", "take the argmax of logits"
        )
    low, high = int(maps.min()), int(maps.max())
    if low < 0 or high >= segmenter.n_classes:
        raise MetricError(
            f"{segmenter.name}: classes {low} to {high}",
            f"n_classes is {segmenter.n_classes}",
            "give pixels without a class a number of their own",
        )
    return maps


def _area_pair(real: Array, fake: Array) -> tuple[Float64, Float64]:
    real, fake = row_pair(real, fake)
    for name, rows in (("real", real), ("fake", fake)):
        sums = rows.sum(axis=1)
        if rows.min() < 0 or np.abs(sums - 100).max() > SUM_TOLERANCE:
            raise MetricError(
                f"{name} areas: from {rows.min():.4g}, rows adding up to {sums.min():.4g} .. {sums.max():.4g}",
                "the areas of an image's classes are 0 or more per cent and add up to 100",
                "make them with area_fractions",
            )
    return real, fake
