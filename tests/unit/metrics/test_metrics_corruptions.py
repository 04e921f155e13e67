"""Control rows: each damage by its definition, and that a Frechet distance orders them by their strength."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

import benchmark.metrics.corruptions
from benchmark.metrics.checks import MetricError
from benchmark.metrics.corruptions import (
    CORRUPTIONS,
    NEEDS_LABELS,
    blur,
    drop_classes,
    duplicates,
    halves,
    noise,
)
from benchmark.metrics.frechet import frechet_distance

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (300, 16, 12, 3), dtype=np.uint8)
LABELS = np.arange(300) % 5
GREY = np.full((300, 16, 12, 3), 128, np.uint8)

DIGITS = load_digits()
PICTURES = np.rint(DIGITS.images * 255 / 16).astype(np.uint8)[..., None].repeat(4, 1).repeat(4, 2)  # 32 x 32


def features(images: np.ndarray) -> np.ndarray:
    """Mean grey level of every 2 x 2 pixels: [N, 256]."""
    n, h, w, c = images.shape
    return images.reshape(n, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4), dtype=np.float64).reshape(n, -1)


# ---- a metric orders the controls ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def distances() -> dict[str, float]:
    """Frechet distance of every control row from the other half of the digits; "floor": undamaged."""
    a, b = halves(len(PICTURES), 0)
    real, labels = features(PICTURES[a]), DIGITS.target[b]
    rows = {name: damage(PICTURES[b], labels, 0) for name, damage in CORRUPTIONS.items()}
    return {name: frechet_distance(real, features(images)) for name, images in {"floor": PICTURES[b], **rows}.items()}


@pytest.mark.parametrize(
    "ladder",
    [
        ["floor", "noise 5", "noise 15", "noise 40"],
        ["floor", "blur 0.5 px", "blur 1 px", "blur 2 px"],
        ["floor", "100 distinct", "10 distinct"],
        ["floor", "half of the classes"],
    ],
)
def test_more_damage_is_farther(distances: dict[str, float], ladder: list[str]) -> None:
    found = [distances[name] for name in ladder]
    assert all(1.05 * a < b for a, b in itertools.pairwise(found)), found


def test_every_row_is_on_a_ladder(distances: dict[str, float]) -> None:
    assert set(distances) == {"floor", *CORRUPTIONS}
    assert set(CORRUPTIONS) >= NEEDS_LABELS


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_rows_are_repeatable_images_and_leave_the_real_ones_alone(name: str) -> None:
    before = IMAGES.copy()
    labels = LABELS if name in NEEDS_LABELS else None
    first, again = (CORRUPTIONS[name](IMAGES, labels, 3) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.dtype == np.uint8
    assert first.shape[1:] == IMAGES.shape[1:]
    assert len(first) == (120 if name in NEEDS_LABELS else 300)  # 2 of 5 classes
    assert np.array_equal(IMAGES, before)
    assert not np.shares_memory(first, IMAGES)
    assert first.shape != IMAGES.shape or not np.array_equal(first, IMAGES)


@pytest.mark.parametrize("name", sorted(NEEDS_LABELS))
def test_rows_about_classes_need_them(name: str) -> None:
    with pytest.raises(MetricError, match="no labels"):
        CORRUPTIONS[name](IMAGES, None, 0)


def test_the_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CORRUPTIONS["noise 5"] = noise  # type: ignore[index]


# ---- noise -----------------------------------------------------------------------------------------------------------


def check_noise(damage: Callable[[np.ndarray, float, int], np.ndarray]) -> None:
    """Of 172,800 grey pixels: mean and standard deviation known to 0.2 % of sigma, rounding adds a variance of 1/12."""
    added = damage(GREY, 12.0, 5).astype(float) - 128
    assert abs(added.mean()) < 0.1
    assert added.std() == pytest.approx(np.sqrt(144 + 1 / 12), rel=0.01)
    flat = added.reshape(300, -1)
    assert np.unique(flat, axis=0).shape == flat.shape  # each image has noise of its own
    channels = added.reshape(-1, 3)
    assert np.abs(np.corrcoef(channels.T) - np.eye(3)).max() < 0.02  # and each channel


def test_noise_has_the_spread_it_names() -> None:
    check_noise(noise)


@pytest.mark.parametrize(
    "mutant",
    [
        lambda x, sigma, seed: noise(x, sigma / 255, seed),  # sigma of [0, 1] images
        lambda x, sigma, seed: noise(x, 2 * sigma, seed),  # of [-1, 1] images
        lambda x, sigma, seed: np.repeat(noise(x[:1], sigma, seed), len(x), 0),  # one noise for all
        lambda x, sigma, seed: np.repeat(noise(x[..., :1], sigma, seed), 3, 3),  # one for all channels
        lambda x, sigma, seed: np.floor(x + np.random.default_rng(seed).normal(0, sigma, x.shape)).astype(np.uint8),
    ],
)
def test_wrong_noise_is_caught(mutant: Any) -> None:
    with pytest.raises(AssertionError):
        check_noise(mutant)


def test_noise_is_clipped_not_wrapped() -> None:
    black, white = np.zeros_like(GREY[:4]), np.full_like(GREY[:4], 255)
    assert noise(black, 20.0, 0).max() < 128 < noise(white, 20.0, 0).min()


def test_no_noise_no_blur_change_nothing() -> None:
    assert np.array_equal(noise(IMAGES, 0, 0), IMAGES)
    assert np.array_equal(blur(IMAGES, 0), IMAGES)


def test_another_seed_is_another_noise() -> None:
    assert not np.array_equal(noise(GREY, 5.0, 0), noise(GREY, 5.0, 1))


@pytest.mark.parametrize("damage", [lambda x: noise(x, 9.0, 1), lambda x: blur(x, 0.8)])
def test_pieces_change_nothing(damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = damage(IMAGES)
    monkeypatch.setattr(benchmark.metrics.corruptions, "CHUNK_BYTES", 8 * 16 * 12 * 3 * 7)  # seven images
    assert np.array_equal(damage(IMAGES), whole)


# ---- blur ------------------------------------------------------------------------------------------------------------


def check_blur() -> None:
    """A bright point becomes the product of two Gaussians; nothing reaches another image or channel."""
    image = np.zeros((3, 21, 21, 3), np.uint8)
    image[1, 10, 10, 1] = 255
    found = blur(image, 1.0).astype(float)
    bell = np.exp(-0.5 * (np.arange(21) - 10.0) ** 2)
    bell /= bell.sum()
    assert np.abs(found[1, :, :, 1] - 255 * np.outer(bell, bell)).max() <= 0.51  # rounding
    found[1, :, :, 1] = 0
    assert not found.any()


def test_blur_spreads_a_point() -> None:
    check_blur()


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 3), (1,)])
def test_blur_along_other_axes_is_caught(axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = lambda x, sigma, **options: gaussian_filter(x, sigma, **{**options, "axes": axes})  # noqa: E731
    monkeypatch.setattr(benchmark.metrics.corruptions, "gaussian_filter", mutant)
    with pytest.raises(AssertionError):
        check_blur()


def test_blur_agrees_with_pillow_inside() -> None:
    """Pillow's Gaussian is made of boxes: near, not equal. Half the width would be far off."""
    smooth = blur(IMAGES[:1].repeat(3, 1).repeat(3, 2), 1.0)
    pillow = np.asarray(Image.fromarray(smooth[0]).filter(ImageFilter.GaussianBlur(2.0))).astype(float)
    inside = np.s_[6:-6, 6:-6]
    near, far = (np.abs(blur(smooth, sigma)[0] - pillow)[inside].mean() for sigma in (2.0, 1.0))
    assert near < 1.5 < 5 < far


def test_blur_keeps_a_flat_image() -> None:
    assert np.array_equal(blur(GREY, 3.0), GREY)


# ---- fewer classes, fewer images -------------------------------------------------------------------------------------


def test_only_the_kept_classes_are_left() -> None:
    assert np.array_equal(drop_classes(IMAGES, LABELS, 2), IMAGES[LABELS < 2])
    assert np.array_equal(drop_classes(IMAGES, torch.from_numpy(LABELS + 7), 1), IMAGES[LABELS == 0])
    assert np.array_equal(drop_classes(IMAGES, LABELS, 5), IMAGES)


def rows_of(images: np.ndarray) -> np.ndarray:
    """Row of IMAGES that each image is."""
    known = {image.tobytes(): row for row, image in enumerate(IMAGES)}
    return np.array([known[image.tobytes()] for image in images])


def check_duplicates(damage: Callable[[np.ndarray, int, int], np.ndarray]) -> None:
    rows, counts = np.unique(rows_of(damage(IMAGES, 7, 0)), return_counts=True)
    assert len(rows) == 7
    assert sorted(counts) == [42, 43, 43, 43, 43, 43, 43]  # 300 = 6 x 43 + 42


def test_few_images_repeated_equally_often() -> None:
    check_duplicates(duplicates)
    assert sorted(rows_of(duplicates(IMAGES, 300, 0))) == list(range(300))
    assert len(set(rows_of(duplicates(IMAGES, 1, 0)))) == 1
    first = rows_of(duplicates(IMAGES, 7, 0))
    assert len(set(first[:60])) == 7, "mixed: any part of them shows all"
    assert set(first) != set(rows_of(duplicates(IMAGES, 7, 1)))


@pytest.mark.parametrize(
    "mutant",
    [
        lambda x, k, seed: duplicates(x, k - 1, seed),
        lambda x, k, seed: x[np.random.default_rng(seed).integers(0, k, len(x))],  # not equally often
        lambda x, k, seed: duplicates(x, k, seed)[:-1],
    ],
)
def test_wrong_duplicates_are_caught(mutant: Any) -> None:
    with pytest.raises(AssertionError):
        check_duplicates(mutant)


@pytest.mark.parametrize("n", [2, 3, 100, 101])
def test_halves_are_disjoint_and_equal(n: int) -> None:
    a, b = halves(n, 1)
    assert len(a) == len(b) == n // 2
    both = np.concatenate([a, b])
    assert len(np.unique(both)) == n // 2 * 2
    assert both.min() >= 0
    assert both.max() < n
    assert (np.diff(a) > 0).all()
    assert np.array_equal(a, halves(n, 1)[0])
    if n >= 100:
        assert not np.array_equal(a, halves(n, 2)[0])
        assert 0.3 < (a < n / 2).mean() < 0.7, "drawn, not cut in the middle"


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda x: noise(x, 5.0, 0),
        lambda x: blur(x, 1.0),
        lambda x: drop_classes(x, np.arange(len(x)), 1),
        lambda x: duplicates(x, 1, 0),
    ],
)
@pytest.mark.parametrize(
    ("images", "what"),
    [
        (IMAGES / 255, "float64"),
        (torch.from_numpy(IMAGES), "torch.uint8"),
        (IMAGES[0], "shape"),
        (IMAGES[:0], "shape"),
        (IMAGES.transpose(0, 3, 1, 2), "shape"),
    ],
)
def test_which_images_are_refused(damage: Any, images: Any, what: str) -> None:
    with pytest.raises(MetricError, match=what):
        damage(images)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: noise(IMAGES, -1.0, 0), "noise: sigma = -1"),
        (lambda: noise(IMAGES, float("nan"), 0), "noise: sigma = nan"),
        (lambda: blur(IMAGES, float("inf")), "blur: sigma = inf"),
        (lambda: drop_classes(IMAGES, LABELS, 0), "n_keep = 0"),
        (lambda: drop_classes(IMAGES, LABELS, 6), "n_keep = 6"),
        (lambda: drop_classes(IMAGES, LABELS * 0, 1), "all are 0"),
        (lambda: drop_classes(IMAGES, LABELS[:-1], 1), "labels: shape"),
        (lambda: drop_classes(IMAGES, LABELS * 1.0, 1), "labels: dtype"),
        (lambda: duplicates(IMAGES, 0, 0), "n_distinct = 0"),
        (lambda: duplicates(IMAGES, 301, 0), "n_distinct = 301"),
        (lambda: halves(1, 0), "halves of 1"),
    ],
)
def test_what_is_refused(call: Callable[[], Any], what: str) -> None:
    with pytest.raises(MetricError, match=what):
        call()
