"""Areas of classes and their Frechet distance: closed forms, a toy segmenter, an object that generated images lack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import benchmark.metrics.segmentation
from benchmark.metrics.checks import MetricError
from benchmark.metrics.segmentation import (
    Omission,
    Segmenter,
    area_fractions,
    frechet_segmentation_distance,
    omissions,
)

COLOURS = ((40, 40, 40), (220, 30, 30), (30, 220, 30), (30, 30, 220))  # ground, red, green, blue
GROUND, RED, GREEN, BLUE = range(4)


class NearestColour:
    """The class of a pixel is the nearest of the given colours."""

    name = "nearest-colour"
    n_classes = len(COLOURS)
    identity = {"segmenter": name, "colours": COLOURS}

    def __call__(self, images: Tensor) -> Tensor:
        offsets = images.float()[:, None] - torch.tensor(COLOURS)[None, :, :, None, None]  # [N, classes, 3, H, W]
        return offsets.square().sum(2).argmin(1)


def scenes(n: int, seed: int, absent: int | None = None) -> np.ndarray:
    """Pictures of a red, a green and a blue bar of random height, 20 x 20, slightly noisy; `absent` is left out."""
    rng = np.random.default_rng(seed)
    images = np.tile(np.array(COLOURS[GROUND], np.int64), (n, 20, 20, 1))
    for image, heights in zip(images, rng.integers(8, 13, (n, 3))):
        for colour, height in zip((RED, GREEN, BLUE), heights):
            if colour != absent:
                image[:height, 6 * colour - 5 : 6 * colour] = COLOURS[colour]
    return (images + rng.integers(-20, 21, images.shape)).astype(np.uint8)


SEGMENTER: Segmenter = NearestColour()


def areas(n: int, seed: int, absent: int | None = None) -> np.ndarray:
    return area_fractions(SEGMENTER, scenes(n, seed, absent))


def check_areas() -> None:
    """Two images of 4 x 5 pixels with known counts."""
    images = np.full((2, 4, 5, 3), COLOURS[GROUND], np.uint8)
    images[0, :2] = COLOURS[BLUE]  # 10 of 20
    images[1, 0, 0] = COLOURS[RED]
    images[1, 3, 1:] = COLOURS[GREEN]
    assert area_fractions(SEGMENTER, images).tolist() == [[50, 0, 0, 50], [75, 5, 20, 0]]


def test_areas_by_hand() -> None:
    check_areas()


def test_shares_instead_of_per_cent_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = benchmark.metrics.segmentation._areas
    monkeypatch.setattr(benchmark.metrics.segmentation, "_areas", lambda maps, k: inner(maps, k) / 100)
    with pytest.raises(AssertionError):
        check_areas()
    real = area_fractions(SEGMENTER, scenes(5, 0))
    with pytest.raises(MetricError, match="add up to 100"):
        frechet_segmentation_distance(real, real)


def test_areas_of_one_image_reaching_another_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = benchmark.metrics.segmentation._areas
    mutant = lambda maps, k: np.tile(inner(maps, k).mean(0), (len(maps), 1))  # noqa: E731
    monkeypatch.setattr(benchmark.metrics.segmentation, "_areas", mutant)
    with pytest.raises(AssertionError):
        check_areas()


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batches_change_nothing(batch: int) -> None:
    images = scenes(20, 1)
    found = area_fractions(SEGMENTER, images, batch, progress=batch == 7)
    assert np.array_equal(found, area_fractions(SEGMENTER, images))
    assert found.dtype == np.float64
    assert found.sum(axis=1) == pytest.approx(100)


def test_the_bars_are_found() -> None:
    """Bars 5 wide and 8 to 12 high in 20 x 20: 12.5 % on average."""
    assert areas(200, 2).mean(axis=0) == pytest.approx([62.5, 12.5, 12.5, 12.5], abs=0.5)


def test_equal_sets_have_distance_zero() -> None:
    rows = areas(60, 3)
    assert frechet_segmentation_distance(rows, rows[::-1]) == pytest.approx(0, abs=1e-9)


def test_a_shift_of_area_is_its_square() -> None:
    rows = areas(60, 4)
    shifted = rows + np.array([-3.0, 0, 0, 3.0])  # from ground to blue: covariances stay
    assert frechet_segmentation_distance(rows, shifted) == pytest.approx(18, rel=1e-6)
    assert frechet_segmentation_distance(shifted, rows) == pytest.approx(18, rel=1e-6)


def test_a_class_that_varies_more_is_its_spread() -> None:
    """Areas (a, 100 - a) with standard deviations s and t: (s - t)^2 for each of two opposite classes."""
    a = np.random.default_rng(5).normal(size=400)
    a = (a - a.mean()) / a.std(ddof=1)

    def pair(sd: float) -> np.ndarray:
        return np.stack([50 + sd * a, 50 - sd * a], axis=1)

    assert frechet_segmentation_distance(pair(2.0), pair(5.0)) == pytest.approx(2 * 9, rel=1e-6)


@pytest.mark.parametrize("absent", [RED, GREEN, BLUE])
def test_a_dropped_object_comes_first(absent: int) -> None:
    real, fake = areas(150, 6), areas(150, 7, absent)
    found = omissions(real, fake)
    assert found[0].label == absent
    assert found[0].real == pytest.approx(12.5, abs=0.5)
    assert found[0].fake == pytest.approx(0, abs=0.2)
    assert found[0].missing > 12 > 1 > abs(found[1].missing)
    assert found[-1].label == GROUND  # it covers what the object left
    assert found[-1].missing < -12
    floor = frechet_segmentation_distance(real, areas(150, 8))
    assert frechet_segmentation_distance(real, fake) > 100 * floor
    exchanged = omissions(fake, real)
    assert exchanged[-1].label == absent  # what is real and what is generated matters
    assert exchanged[0].label == GROUND


def test_omissions_by_hand() -> None:
    real = np.array([[10.0, 20, 30, 40], [30, 20, 10, 40]])
    fake = np.array([[25.0, 25, 12, 38], [25, 25, 12, 38]])
    assert omissions(real, fake) == [
        Omission(2, 20.0, 12.0),
        Omission(3, 40.0, 38.0),
        Omission(0, 20.0, 25.0),
        Omission(1, 20.0, 25.0),
    ]


class Wrong:
    """A segmenter that returns what it is given."""

    name, n_classes, identity = "wrong", 3, {}

    def __init__(self, maps: Any) -> None:
        self.maps = maps

    def __call__(self, images: Tensor) -> Tensor:
        return self.maps


@pytest.mark.parametrize(
    ("maps", "what"),
    [
        (torch.zeros(2, 4, 4), "dtype torch.float32"),
        (torch.zeros(2, 4, 4, dtype=torch.bool), "dtype torch.bool"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.long), "shape"),
        (torch.zeros(1, 4, 4, dtype=torch.long), "shape"),
        (np.zeros((2, 4, 4), int), "shape"),
        (torch.full((2, 4, 4), 3), "classes 3 to 3"),
        (torch.full((2, 4, 4), -1), "classes -1 to -1"),
    ],
)
def test_what_a_segmenter_may_not_return(maps: Any, what: str) -> None:
    with pytest.raises(MetricError, match=f"wrong: .*{what}"):
        area_fractions(Wrong(maps), np.zeros((2, 4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("images", "batch", "what"),
    [
        (np.zeros((2, 4, 4, 3)), 1, "float64"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), 1, "torch.uint8"),
        (np.zeros((2, 3, 4, 4), np.uint8), 1, "shape"),
        (np.zeros((0, 4, 4, 3), np.uint8), 1, "shape"),
        (np.zeros((2, 4, 4, 3), np.uint8), 0, "batch = 0"),
    ],
)
def test_which_images_are_refused(images: Any, batch: int, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        area_fractions(SEGMENTER, images, batch)


@pytest.mark.parametrize("metric", [frechet_segmentation_distance, omissions])
@pytest.mark.parametrize(
    ("fake", "what"),
    [
        (np.full((3, 2), 50), "dtype"),
        (np.full((3, 3), 100 / 3), "dimensions"),
        (np.full(3, 50.0), "shape"),
        (np.full((1, 2), 50.0), "1 rows"),
        (np.full((3, 2), np.nan), "NaN"),
        (np.full((3, 2), 0.5), "rows adding up to 1 .. 1"),
        (np.tile([-10.0, 110.0], (3, 1)), "from -10"),
    ],
)
def test_which_areas_are_refused(metric: Any, fake: np.ndarray, what: str) -> None:
    real = np.full((3, 2), 50.0)
    with pytest.raises(MetricError, match=what):
        metric(real, fake)
    with pytest.raises(MetricError, match=what):
        metric(fake, real)
