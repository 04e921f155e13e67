"""The augmentation of StyleGAN2-ADA (Karras et al., NeurIPS 2020, arXiv 2006.06676, appendix B), not adaptive here.

Every operation happens to an image with probability p, which the caller chooses at each step, and all of them can be
differentiated twice: gradient penalties go through them. With p < 1 the distribution of augmented images still
determines that of plain ones, so that G does not learn to generate augmented images (section 2.2).

The geometric operations are one affine map, resampled once. The image is enlarged twice by an orthogonal wavelet's
low-pass filter, read bilinearly, and reduced by the same filter; the identity then gives the image back. Beyond its
borders the image is mirrored without end, where the authors' code mirrors it once.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.nn.precision import in_float32

# The symlet of six vanishing moments ("sym6"; Daubechies 1992): unit length, orthogonal to its shifts by even numbers.
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
TAPS, BEFORE = len(SYM6), 5  # taps of the filter, and how many of them lie before its centre
SHIFT = 0.125  # part of the side: the largest whole shift, and the standard deviation of the other one
SCALE_OCTAVES = 0.2  # standard deviation of log2 of a scale, and of an aspect's
BRIGHTNESS, CONTRAST_OCTAVES, SATURATION_OCTAVES = 0.2, 0.5, 1.0  # standard deviations
CUTOUT = 0.5  # side of the square that is cut out, part of the image's


@in_float32  # positions are fractions of a pixel
def augment(x: Tensor, p: float, *, colour: float = 0.5) -> Tensor:
    """Images [N, C, H, H], C = 1 or 3, after random flips, turns, shifts, scalings, colours and cutout.

    p: probability of each operation on each image; 0 gives x back. colour: that of the colour operations, in p; 0.5 in
    R3GAN's code, 1 in StyleGAN2-ADA's. Randomness is torch's global one. The result may leave [-1, 1].
    """
    if p == 0:
        return x
    return cut_out(recoloured(resampled(x, *affine(x, p)), colour * p), p)


def _coin(n: int, p: float, device: torch.device) -> Tensor:
    """[n], true with probability p."""
    return torch.rand(n, device=device) < p


# ---- geometry -------------------------------------------------------------------------------------------------------


def affine(x: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """A random map of positions of the result to those of x: A [N, 2, 2] and b [N, 2], in pixels from the centre.

    In order: mirror, quarter turns, whole shift, scale, turn, aspect, turn, shift. The two turns have a probability of
    1 - sqrt(1 - p) each, so that one of them happens with probability p.
    """
    n, side, device = len(x), x.shape[2], x.device
    A, b = torch.eye(2, device=device).expand(n, 2, 2), torch.zeros(n, 2, device=device)

    def uniform(*shape: int) -> Tensor:  # in [-1, 1)
        return torch.rand(n, *shape, device=device) * 2 - 1

    def where(value: Tensor, p: float, identity: float = 0.0) -> Tensor:  # value [n, ...] or the identity
        coin = _coin(n, p, device).view(n, *[1] * (value.ndim - 1))
        return torch.where(coin, value, torch.full_like(value, identity))

    def turned(angle: Tensor) -> Tensor:  # [n] -> [n, 2, 2]
        c, s = angle.cos(), angle.sin()
        return torch.stack([c, s, -s, c], 1).view(n, 2, 2)

    def scaled(s_x: Tensor, s_y: Tensor) -> Tensor:
        return torch.diag_embed(torch.stack([s_x, s_y], 1))

    one, turn = torch.ones(n, device=device), 1 - math.sqrt(1 - p)
    A = A @ scaled(where(torch.where(uniform() < 0, -one, one), p, 1.0), one)
    A = A @ turned(where(torch.randint(4, (n,), device=device) * (math.pi / 2), p))
    b = b + (A @ where((uniform(2) * SHIFT * side).round(), p)[:, :, None]).squeeze(2)
    s = where((SCALE_OCTAVES * torch.randn(n, device=device)).exp2(), p, 1.0)
    A = A @ scaled(s, s) @ turned(where(uniform() * math.pi, turn))
    s = where((SCALE_OCTAVES * torch.randn(n, device=device)).exp2(), p, 1.0)
    A = A @ scaled(s, 1 / s) @ turned(where(uniform() * math.pi, turn))
    b = b + (A @ where(SHIFT * side * torch.randn(n, 2, device=device), p)[:, :, None]).squeeze(2)
    return A, b


def resampled(x: Tensor, A: Tensor, b: Tensor) -> Tensor:
    """x [N, C, H, H] whose value at place u of the result is that of x at A u + b.

    Positions: (x, y) in pixels from the centre; A [N, 2, 2], b [N, 2]. The value between pixels is that of the low-pass
    filter; so is the reduction, which keeps out aliases.
    """
    side = x.shape[2]
    fine = _enlarged(x)  # one period, [N, C, P, P]
    place = torch.arange(-BEFORE, 2 * side + TAPS - 2 - BEFORE, device=x.device) + 0.5 - side  # of the fine result
    u = torch.stack(torch.meshgrid(place, place, indexing="xy"), 2).view(-1, 2)  # [L * L, 2], columns x and y
    source = u @ A.transpose(1, 2) + 2 * b[:, None] + (side - 0.5)  # [N, L * L, 2], fractional indices of `fine`
    return _reduced(_bilinear(fine, source).unflatten(2, (len(place), len(place))))


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Indices of an endless mirroring at the first and the last of `size` pixels."""
    index = index.remainder(2 * size - 2)
    return torch.minimum(index, 2 * size - 2 - index)


@lru_cache
def _filter(device: torch.device, dtype: torch.dtype) -> Tensor:
    """[12], copied to the device once: a copy at every step would wait for a GPU."""
    with torch.inference_mode(False):  # else it could not be differentiated through later
        return torch.tensor(SYM6, device=device, dtype=dtype)


def _enlarged(x: Tensor) -> Tensor:
    """One period of the mirrored image, enlarged twice: [N, C, H, H] -> [N, C, P, P] with P = 4 (H - 1)."""
    n, c, side, _ = x.shape
    reach = TAPS // 4
    index = _mirrored(torch.arange(-reach, 2 * side - 2 + reach, device=x.device), side)
    x = x[:, :, index][:, :, :, index].reshape(n * c, 1, len(index), len(index))
    taps, first, period = math.sqrt(2) * _filter(x.device, x.dtype), 2 * reach + BEFORE, 4 * (side - 1)
    x = F.conv_transpose2d(x, taps.view(1, 1, TAPS, 1), stride=(2, 1))[:, :, first : first + period]
    x = F.conv_transpose2d(x, taps.view(1, 1, 1, TAPS), stride=(1, 2))[:, :, :, first : first + period]
    return x.view(n, c, period, period)


def _reduced(x: Tensor) -> Tensor:
    """The transpose of the enlargement, halved: [N, C, 2 H + 10, 2 H + 10] -> [N, C, H, H]."""
    n, c, size, _ = x.shape
    taps = _filter(x.device, x.dtype) / math.sqrt(2)
    x = F.conv2d(x.reshape(n * c, 1, size, size), taps.view(1, 1, TAPS, 1), stride=(2, 1))
    x = F.conv2d(x, taps.view(1, 1, 1, TAPS), stride=(1, 2))
    return x.view(n, c, *x.shape[2:])


def _bilinear(x: Tensor, places: Tensor) -> Tensor:
    """Values of the periodic x [N, C, P, P] at fractional indices [N, M, 2] (column, row): [N, C, M].

    By `gather`: torch's grid_sample has no second derivative.
    """
    n, c, size, _ = x.shape
    low = places.floor()
    w_x, w_y = (places - low).unbind(2)
    col, row = low.long().unbind(2)
    flat = x.reshape(n, c, size * size)

    def at(row: Tensor, col: Tensor) -> Tensor:
        index = row.remainder(size) * size + col.remainder(size)
        return flat.gather(2, index[:, None].expand(-1, c, -1))

    top = torch.lerp(at(row, col), at(row, col + 1), w_x[:, None])
    bottom = torch.lerp(at(row + 1, col), at(row + 1, col + 1), w_x[:, None])
    return torch.lerp(top, bottom, w_y[:, None])


# ---- colours and cutout ---------------------------------------------------------------------------------------------


def recoloured(x: Tensor, p: float) -> Tensor:
    """Brightness, contrast, luma flip, hue and saturation of images [N, C, H, W], each with probability p.

    Luma is the part along the grey axis (1, 1, 1); hue turns the rest around it and saturation scales it. Grey images
    have no such rest.
    """
    n, device = len(x), x.device

    def drawn(value: Tensor, identity: float) -> Tensor:  # [n] -> [n, 1, 1, 1]
        return torch.where(_coin(n, p, device), value, torch.full_like(value, identity)).view(n, 1, 1, 1)

    def normal(deviation: float) -> Tensor:
        return deviation * torch.randn(n, device=device)

    x = x + drawn(normal(BRIGHTNESS), 0.0)
    x = x * drawn(normal(CONTRAST_OCTAVES).exp2(), 1.0)
    luma = x.mean(1, keepdim=True)
    flip = drawn(torch.randint(2, (n,), device=device) * 2.0 - 1, 1.0)
    if x.shape[1] == 1:
        return flip * luma
    rest, angle = x - luma, drawn((torch.rand(n, device=device) * 2 - 1) * math.pi, 0.0)
    across = (rest.roll(1, 1) - rest.roll(-1, 1)) / math.sqrt(3)  # the cross product of the unit grey axis with `rest`
    rest = angle.cos() * rest + angle.sin() * across
    return flip * luma + drawn(normal(SATURATION_OCTAVES).exp2(), 1.0) * rest


def cut_out(x: Tensor, p: float) -> Tensor:
    """A square of half the side, its centre anywhere in the image, becomes zero (mid-grey) with probability p."""
    n, side, device = len(x), x.shape[2], x.device
    place = (torch.arange(side, device=device) + 0.5) / side
    inside = (place - torch.rand(2, n, 1, device=device)).abs() < CUTOUT / 2  # rows, then columns: [2, N, H]
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return x * ~(square & _coin(n, p, device).view(n, 1, 1, 1))
