"""Augmentation: identity, ranges, per-sample draws, gradients, agreement with torchvision."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.functional as TF
from torch import Tensor

from benchmark.core.errors import ConfigError
from benchmark.nn import augment
from benchmark.nn.augment import DIFFAUGMENT_OPS, DiffAugment, SimCLRViews, random_shift


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def images(n: int = 16, channels: int = 3, side: int = 16) -> Tensor:
    return torch.rand(n, channels, side, side) * 2 - 1


def same(n: int = 16, channels: int = 3, side: int = 16) -> Tensor:
    """One image n times."""
    return images(1, channels, side).expand(n, -1, -1, -1)


def n_distinct(x: Tensor) -> int:
    return len(x.flatten(1).unique(dim=0))


# ---- DiffAugment ----------------------------------------------------------------------------------------------------


def test_diffaugment_with_p_0_is_the_identity() -> None:
    x = images()
    assert torch.equal(DiffAugment(p=0.0)(x), x)


@pytest.mark.parametrize("channels", [1, 3])
def test_diffaugment_keeps_shape_and_gradient(channels: int) -> None:
    x = images(channels=channels).requires_grad_()
    y = DiffAugment(p=1.0)(x)
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert (gradient.flatten(1).abs().sum(1) > 0).all()
    assert not torch.equal(y, x)


@pytest.mark.parametrize("op", [op for op in DIFFAUGMENT_OPS if op != "saturation"])
def test_each_op_is_drawn_per_sample(op: str) -> None:
    assert n_distinct(DiffAugment((op,), p=1.0)(same(32))) > 8
    assert n_distinct(DiffAugment((op,), p=1.0)(same(32, channels=1))) > 8


def test_saturation_is_drawn_per_sample_and_skips_grey_images() -> None:
    x, grey = same(), same(channels=1)
    y = DiffAugment(("saturation",), p=1.0)(x)
    assert n_distinct(y) > 8
    assert torch.allclose(y.mean(1), x.mean(1), atol=1e-6)
    assert torch.equal(DiffAugment(("saturation",), p=1.0)(grey), grey)


def test_each_op_falls_on_the_whole_batch_with_probability_p() -> None:
    x, T = images(8), DiffAugment(("brightness",), p=0.6)
    changed = []
    for _ in range(1000):
        different = (T(x) != x).flatten(1).any(1)
        assert different.all() or not different.any()
        changed.append(different.all().item())
    assert sum(changed) / 1000 == pytest.approx(0.6, abs=0.05)


def test_brightness_adds_up_to_one_half() -> None:
    x = images(500, side=4)
    added = (DiffAugment(("brightness",), p=1.0)(x) - x).flatten(1)
    assert torch.allclose(added, added[:, :1].expand_as(added), atol=1e-6)
    assert -0.5 <= added.min() < -0.45
    assert 0.45 < added.max() <= 0.5


def test_contrast_keeps_the_mean() -> None:
    x = images(500, side=4)
    y = DiffAugment(("contrast",), p=1.0)(x)
    assert torch.allclose(y.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-5)
    gain = y.std((1, 2, 3)) / x.std((1, 2, 3))
    assert 0.5 <= gain.min() < 0.55
    assert 1.45 < gain.max() <= 1.5001


def test_translation_moves_an_eighth_of_the_side_and_brings_in_zeros() -> None:
    x = torch.zeros(400, 1, 16, 16)
    x[:, :, 8, 8] = 1
    y = DiffAugment(("translation",), p=1.0)(x)
    assert torch.equal(y.sum((1, 2, 3)), torch.ones(400))
    n, _, row, col = y.nonzero(as_tuple=True)
    assert torch.equal(n, torch.arange(400))
    assert set(row.tolist()) == set(col.tolist()) == {6, 7, 8, 9, 10}
    assert len({*zip(row.tolist(), col.tolist())}) == 25
    zeros = (DiffAugment(("translation",), p=1.0)(torch.ones(50, 3, 16, 16)) == 0).sum((1, 2, 3)) / 3
    assert zeros.max() == 256 - 14 * 14


def test_cutout_is_a_square_of_half_the_side() -> None:
    kept = DiffAugment(("cutout",), p=1.0)(torch.ones(500, 3, 16, 16))
    holes = (kept == 0).sum((1, 2, 3)) / 3
    assert holes.max() == 8 * 8
    assert 0 <= holes.min() < 32  # the centre may lie at the border
    assert torch.equal(kept[:, 0], kept[:, 1])


def test_the_square_of_cutout_has_the_side_that_is_requested() -> None:
    """Projected GAN's is a fifth of the image's: 3.2 px of 16, rounded to 3."""
    kept = DiffAugment(("cutout",), p=1.0, cutout=0.2)(torch.ones(500, 1, 16, 16))
    holes = (kept == 0).sum((1, 2, 3))
    assert holes.max() == 3 * 3
    assert holes.min() == 2 * 2  # at a corner
    with pytest.raises(ConfigError, match="cutout = 0"):
        DiffAugment(cutout=0.0)


def test_diffaugment_has_a_second_derivative() -> None:
    x = images(2, side=8).double().requires_grad_()

    def f(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return DiffAugment(p=1.0)(x)

    assert torch.autograd.gradcheck(f, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, x, fast_mode=True)


def test_diffaugment_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cutout'"):
        DiffAugment(("cutoff",))
    with pytest.raises(ConfigError, match="probability"):
        DiffAugment(p=1.5)


# ---- shifts ---------------------------------------------------------------------------------------------------------


def test_random_shift_is_a_crop_of_the_reflected_image() -> None:
    x = images(64, side=8)
    y = random_shift(x, 3)
    padded = torch.nn.functional.pad(x, (3, 3, 3, 3), "reflect")
    seen = set()
    for before, after in zip(padded, y):
        crops = {(i, j): before[:, i : i + 8, j : j + 8] for i in range(7) for j in range(7)}
        places = [place for place, crop in crops.items() if torch.equal(crop, after)]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 20
    assert torch.equal(random_shift(x, 0), x)
    with pytest.raises(AssertionError, match="cannot be reflected"):
        random_shift(x, 8)


def test_random_shift_passes_gradients() -> None:
    x = images().requires_grad_()
    (gradient,) = torch.autograd.grad(random_shift(x, 2).sum(), x)
    assert gradient.sum().item() == pytest.approx(x.numel(), rel=1e-5)  # each output pixel has one source


# ---- SimCLR ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 32, 64])
def test_views_keep_shape_and_range_and_differ_per_sample(channels: int, side: int) -> None:
    a, b = SimCLRViews(side)(same(16, channels, side))
    for view in (a, b):
        assert view.shape == (16, channels, side, side)
        assert view.isfinite().all()
        assert view.abs().max() <= 1 + 1e-6
        assert n_distinct(view) == 16
    assert not any(torch.equal(first, second) for first, second in zip(a, b))


def test_views_are_reproduced_by_the_seed() -> None:
    x, views = images(side=32), []
    for _ in range(2):
        torch.manual_seed(5)
        views.append(torch.cat(SimCLRViews(32)(x)))
    assert torch.equal(*views)


def test_views_without_any_augmentation_are_the_image() -> None:
    x = images()
    plain = SimCLRViews(16, crop_scale=(1, 1), crop_ratio=(1, 1), flip=False, jitter=0, grayscale_p=0, blur=False)
    for view in plain(x):
        assert torch.allclose(view, x, atol=1e-5)


def test_flip_alone_mirrors_about_half_of_the_samples() -> None:
    x = images(400, side=8)
    flip = SimCLRViews(8, crop_scale=(1, 1), crop_ratio=(1, 1), jitter=0, grayscale_p=0, blur=False)
    view = flip(x)[0]
    mirrored = torch.stack([torch.allclose(v, i.flip(2), atol=1e-4) * torch.ones(()) for v, i in zip(view, x)])
    kept = torch.stack([torch.allclose(v, i, atol=1e-4) * torch.ones(()) for v, i in zip(view, x)])
    assert torch.equal(mirrored + kept, torch.ones(400))
    assert mirrored.mean().item() == pytest.approx(0.5, abs=0.1)


def test_crops_cover_the_asked_area_and_lie_inside() -> None:
    # The picture is its own coordinates, so the range of a view is the extent of its crop.
    at = (torch.arange(64) + 0.5) / 32 - 1
    x = torch.stack(torch.meshgrid(at, at, indexing="ij")).expand(500, 2, 64, 64)
    crop = SimCLRViews(64, crop_scale=(0.25, 0.5), flip=False, jitter=0, blur=False)
    view = crop(x)[0]
    height, width = ((view.amax((2, 3)) - view.amin((2, 3))) / 2 * 64 / 63).unbind(1)
    area, ratio = height * width, width / height
    assert 0.23 < area.min() < 0.28
    assert 0.46 < area.max() < 0.52
    assert 0.72 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.4
    assert ((view[:, :, :, 1:] - view[:, :, :, :-1])[:, 1] > 0).float().mean() > 0.97  # no padding is seen


def test_grayscale_probability_and_weights() -> None:
    grey = SimCLRViews(8, crop_scale=(1, 1), crop_ratio=(1, 1), flip=False, jitter=0, grayscale_p=0.2, blur=False)
    x = images(1000, side=8)
    view = grey(x)[0]
    is_grey = (view[:, 0] == view[:, 1]).flatten(1).all(1)
    assert is_grey.float().mean().item() == pytest.approx(0.2, abs=0.04)
    assert torch.allclose(view[is_grey][:, :1], TF.rgb_to_grayscale(x[is_grey]), atol=1e-3)


def test_jitter_falls_on_its_share_of_the_samples() -> None:
    jitter = SimCLRViews(8, crop_scale=(1, 1), crop_ratio=(1, 1), flip=False, grayscale_p=0, blur=False)
    x = images(1000, side=8)
    changed = ((jitter(x)[0] - x).abs() > 1e-4).flatten(1).any(1)
    assert changed.float().mean().item() == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.0, 0.1, 0.45])
def test_hue_agrees_with_torchvision(turn: float) -> None:
    x = torch.rand(4, 3, 8, 8)
    x[0] = 0.3  # grey has no hue
    ours = augment._turn_hue(x, torch.full((4, 1, 1, 1), turn))
    assert torch.allclose(ours, TF.adjust_hue(x, turn), atol=1e-5)


def test_blur_agrees_with_torchvision_on_half_of_the_samples() -> None:
    x = images(200, side=40)
    blur = SimCLRViews(
        40, crop_scale=(1, 1), crop_ratio=(1, 1), flip=False, jitter=0, grayscale_p=0, blur_sigma=(1.5, 1.5)
    )
    view = blur(x)[0]
    blurred = TF.gaussian_blur(x, [5, 5], [1.5, 1.5])  # 2 * int(0.05 * 40) + 1 = 5
    is_blurred = (view - blurred).abs().amax((1, 2, 3)) < 1e-4
    is_kept = (view - x).abs().amax((1, 2, 3)) < 1e-4
    assert (is_blurred ^ is_kept).all()
    assert is_blurred.float().mean().item() == pytest.approx(0.5, abs=0.15)


def test_views_carry_no_gradient() -> None:
    assert not any(view.requires_grad for view in SimCLRViews(16)(images().requires_grad_()))
