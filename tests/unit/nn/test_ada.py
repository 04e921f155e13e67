"""The augmentation of StyleGAN2-ADA: the filter's closed forms, known maps of images, and what p does."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmark.nn import ada
from benchmark.nn.losses import gradient_penalty


def smooth(n: int = 3, channels: int = 3, side: int = 32) -> Tensor:
    """Images of a few low frequencies, so that resampling loses little."""
    torch.manual_seed(0)
    place = (torch.arange(side) + 0.5) / side * math.pi
    waves = torch.stack([(k * place).cos() for k in range(4)])  # [4, side]
    return torch.einsum("nckl,ky,lx->ncyx", torch.randn(n, channels, 4, 4) / 8, waves, waves)


def mapped(x: Tensor, A: list[list[float]], b: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    return ada.resampled(x, torch.tensor(A).expand(len(x), 2, 2), torch.tensor(b).expand(len(x), 2))


def test_the_filter_is_orthogonal_to_its_even_shifts() -> None:
    h = torch.tensor(ada.SYM6, dtype=torch.float64)
    assert h.sum().item() == pytest.approx(math.sqrt(2), abs=1e-9)
    for k in range(6):
        assert (h[2 * k :] * h[: len(h) - 2 * k]).sum().item() == pytest.approx(float(k == 0), abs=1e-9)


@pytest.mark.parametrize("side", [8, 16])
def test_the_identity_gives_the_image_back(side: int) -> None:
    x = torch.rand(2, 3, side, side) * 2 - 1
    assert torch.allclose(mapped(x, [[1.0, 0.0], [0.0, 1.0]]), x, atol=1e-5)


def test_a_whole_shift_moves_pixels_and_mirrors_the_border() -> None:
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    y = mapped(x, [[1.0, 0.0], [0.0, 1.0]], (3.0, -2.0))  # the result's (0, 0) shows x at column 3, row -2
    assert torch.allclose(y[:, :, 2:, :13], x[:, :, :-2, 3:], atol=1e-5)
    assert torch.allclose(y[:, :, 0, :13], x[:, :, 2, 3:], atol=1e-5)  # mirrored at row 0


@pytest.mark.parametrize(
    ("A", "expected"),
    [
        ([[-1.0, 0.0], [0.0, 1.0]], lambda x: x.flip(3)),
        ([[0.0, 1.0], [-1.0, 0.0]], lambda x: x.rot90(-1, (2, 3))),
        ([[-1.0, 0.0], [0.0, -1.0]], lambda x: x.rot90(2, (2, 3))),
    ],
)
def test_mirroring_and_turning(A: list[list[float]], expected: object) -> None:
    """Up to the filter's own asymmetry, which moves a mirrored image by a fraction of a pixel."""
    x = smooth()
    y = mapped(x, A)
    assert (y - expected(x)).abs().mean() < 0.1 * x.std()  # type: ignore[operator]
    assert (y - x).abs().mean() > 0.3 * x.std()


def test_scaling_reads_from_nearer_the_centre() -> None:
    x = smooth(side=32)
    y = mapped(x, [[0.5, 0.0], [0.0, 0.5]])  # twice as large
    centre = torch.nn.functional.interpolate(x[:, :, 8:24, 8:24], scale_factor=2, mode="bilinear")
    assert (y - centre)[:, :, 4:-4, 4:-4].abs().mean() < 0.1 * x.std()


@pytest.mark.parametrize("channels", [1, 3])
def test_p_is_the_share_of_images_that_an_operation_changes(channels: int) -> None:
    x = smooth(1, channels, 8).expand(4000, -1, -1, -1)
    assert ada.augment(x, 0.0) is x
    torch.manual_seed(1)
    changed = (ada.cut_out(x, 0.3) != x).flatten(1).any(1).float().mean()
    assert changed.item() == pytest.approx(0.3, abs=0.03)
    A, b = ada.affine(x, 0.2)
    plain = torch.isclose(A, torch.eye(2)).flatten(1).all(1) & (b == 0).all(1)
    # 3 operations that always act, mirror and quarter turns and whole shifts that may draw the identity, turns
    expected = 0.8**3 * (1 - 0.2 / 2) * (1 - 0.2 * 3 / 4) * (1 - 0.2 * (1 - 1 / 9)) * 0.8
    assert plain.float().mean().item() == pytest.approx(expected, abs=0.03)
    colours = (ada.recoloured(x, 0.2) - x).abs().flatten(1).amax(1) < 1e-6
    grey = 0.8 * 0.8 * (1 - 0.2 / 2)  # brightness, contrast, luma flip
    assert colours.float().mean().item() == pytest.approx(grey if channels == 1 else grey * 0.8**2, abs=0.03)


def test_colours_by_their_matrices() -> None:
    """Luma flip, hue and saturation against the matrices I - 2 v v^T, a turn around v, v v^T + s (I - v v^T)."""
    torch.manual_seed(5)
    x = smooth(500)
    y = ada.recoloured(x, 1.0)
    v = torch.full((3,), 1 / math.sqrt(3))
    chroma = lambda image: image - torch.einsum("c,d,ndyx->ncyx", v, v, image)  # noqa: E731
    X, Y = chroma(x).flatten(2), chroma(y).flatten(2)  # [N, 3, M]
    ratio = Y.norm(dim=1) / X.norm(dim=1).clamp(min=1e-6)  # contrast x saturation: one number for an image
    assert torch.allclose(ratio, ratio.median(1, keepdim=True).values.expand_as(ratio), rtol=1e-2)
    cosine = (X * Y).sum(1) / (X.norm(dim=1) * Y.norm(dim=1)).clamp(min=1e-9)  # so is the angle
    assert torch.allclose(cosine, cosine.median(1, keepdim=True).values.expand_as(cosine), atol=1e-2)
    assert cosine.median(1).values.abs().mean().item() == pytest.approx(2 / math.pi, abs=0.05)  # a uniform angle
    luma = (y.mean(1).flatten(1) - y.mean(1).flatten(1)[:, :1]) / (x.mean(1).flatten(1) - x.mean(1).flatten(1)[:, :1])
    contrast = luma[:, 1:].median(1).values
    assert (contrast < 0).float().mean().item() == pytest.approx(0.5, abs=0.07)  # flipped or not
    assert contrast.abs().log2().std().item() == pytest.approx(ada.CONTRAST_OCTAVES, abs=0.05)


def test_a_penalty_goes_through_it_twice() -> None:
    x = torch.randn(4, 3, 8, 8, requires_grad=True)
    w = torch.randn(3, 8, 8, requires_grad=True)
    torch.manual_seed(2)
    penalty = gradient_penalty((w * ada.augment(x, 0.8)).sum((1, 2, 3)), x)
    (gradient,) = torch.autograd.grad(penalty, w)
    assert bool(torch.isfinite(gradient).all())
    assert bool(gradient.any())
    torch.manual_seed(2)
    eps = 1e-2 * torch.randn_like(w)
    higher, lower = (gradient_penalty(((w + s * eps) * _seeded(x)).sum((1, 2, 3)), x).item() for s in (1.0, -1.0))
    assert (higher - lower) / 2 == pytest.approx((gradient * eps).sum().item(), rel=1e-3)


def _seeded(x: Tensor) -> Tensor:
    torch.manual_seed(2)
    return ada.augment(x, 0.8)
