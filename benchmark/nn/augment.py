"""Image augmentation inside the training step: on the device, a whole batch at once, drawn per sample.

Images are float tensors [N, C, H, W] in [-1, 1], C = 1 or 3. All randomness is PyTorch's global one. Decisions that
concern the whole batch are drawn from the CPU's generator, so that the device is never waited for, and are rank 0's.
Shifts gather pixels rather than call grid_sample, which has no second derivative: R1 differentiates through them twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.core import distributed
from benchmark.core.errors import ConfigError, suggest
from benchmark.nn.precision import in_float32


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    """One number a sample, [N, 1, 1, 1]."""
    return torch.rand(len(x), 1, 1, 1, device=x.device, dtype=x.dtype) * (high - low) + low


def _happens(x: Tensor, p: float) -> Tensor:
    """One coin a sample, [N, 1, 1, 1], true with probability p."""
    return torch.rand(len(x), 1, 1, 1, device=x.device) < p


# ---- shifts ---------------------------------------------------------------------------------------------------------


def _random_offset(x: Tensor, max_px: int) -> Tensor:
    """One whole offset a sample, [N, 1], from -max_px to max_px."""
    return torch.randint(-max_px, max_px + 1, (len(x), 1), device=x.device)


def _sources(offset: Tensor, size: int) -> Tensor:
    """Where each output row (or column) comes from: [N, size]; may lie outside 0 ... size - 1."""
    return torch.arange(size, device=offset.device) - offset


def _gather(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """x[n, :, rows[n, i], cols[n, j]] for rows [N, H] and cols [N, W], as [N, C, H, W]."""
    n, c, h, w = x.shape
    place = (rows[:, :, None] * w + cols[:, None, :]).view(n, h * w, 1).expand(-1, -1, c)
    pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, c)  # a view in channels_last memory
    return pixels.gather(1, place).view(n, h, w, c).permute(0, 3, 1, 2)


def _shift_zero(x: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
    """Shift each sample down by dy and right by dx pixels ([N, 1] each); zeros (mid-grey) come in."""
    h, w = x.shape[2:]
    rows, cols = _sources(dy, h), _sources(dx, w)
    inside = ((rows >= 0) & (rows < h))[:, None, :, None] & ((cols >= 0) & (cols < w))[:, None, None, :]
    return _gather(x, rows.clamp(0, h - 1), cols.clamp(0, w - 1)) * inside


def random_shift(x: Tensor, max_px: int) -> Tensor:
    """Shift each sample by whole pixels, uniform in -max_px ... max_px on each axis; the border is reflected.

    Differentiable. The shift of consistency regularisation (Zhang et al. 2020; StudioGAN pads so).
    max_px must be smaller than the side.
    """
    h, w = x.shape[2:]
    assert 0 <= max_px < min(h, w), f"a shift of {max_px} px cannot be reflected in {h} x {w} pixels"
    rows, cols = _sources(_random_offset(x, max_px), h), _sources(_random_offset(x, max_px), w)
    return _gather(x, _reflect(rows, h), _reflect(cols, w))


def _reflect(index: Tensor, size: int) -> Tensor:
    """Indices up to size - 1 beyond either end, mirrored at the first and the last pixel."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


# ---- DiffAugment ----------------------------------------------------------------------------------------------------


def _brightness(x: Tensor) -> Tensor:
    return x + _uniform(x, -0.5, 0.5)


def _saturation(x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x  # grey has none
    grey = x.mean(1, keepdim=True)
    return torch.lerp(grey, x, _uniform(x, 0.0, 2.0))


def _contrast(x: Tensor) -> Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, _uniform(x, 0.5, 1.5))


def _translation(x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    return _shift_zero(x, _random_offset(x, int(h / 8 + 0.5)), _random_offset(x, int(w / 8 + 0.5)))


def _cutout(x: Tensor, share: float = 0.5) -> Tensor:
    """A square, its side this share of the image's, its centre anywhere in it, becomes zero (mid-grey)."""
    h, w = x.shape[2:]
    return x * ~(_span(x, h, share)[:, None, :, None] & _span(x, w, share)[:, None, None, :])


def _span(x: Tensor, size: int, share: float) -> Tensor:
    """[N, size], true on a stretch of share * size around a random place."""
    length = int(size * share + 0.5)
    start = torch.randint(0, size + 1 - length % 2, (len(x), 1), device=x.device) - length // 2
    place = torch.arange(size, device=x.device)
    return (place >= start) & (place < start + length)


DIFFAUGMENT_OPS: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": _brightness,
    "saturation": _saturation,
    "contrast": _contrast,
    "translation": _translation,
    "cutout": _cutout,
}


def host_decides(p: float) -> str:
    """Why no step with DiffAugment of this probability can be captured, in words; empty where it can be."""
    return f"the host draws which of DiffAugment's operations happen, with probability {p:g}" if 0 < p < 1 else ""


class DiffAugment:
    """Differentiable augmentation of what the discriminator sees (Zhao et al. 2020, sec. 3).

    ops: applied in the order given. p: probability of each op, drawn anew in each call for the whole batch, as in
    InfoSCC-GAN's code; an op's strength is drawn per sample. p = 1 is the original method.
    Strengths: brightness -0.5 ... 0.5 added, saturation 0 ... 2 and contrast 0.5 ... 1.5 times, translation up to 1/8
    of the side. cutout: of its square's side, as a share of the image's; 1/2 is the original method. The result may
    leave [-1, 1]; it is not clipped, which would stop gradients.
    Raises ConfigError for an op that is not known, and for a probability or a share outside its range.
    """

    def __init__(self, ops: tuple[str, ...] = tuple(DIFFAUGMENT_OPS), p: float = 0.6, cutout: float = 0.5) -> None:
        for name in ops:
            if name not in DIFFAUGMENT_OPS:
                raise ConfigError(f"DiffAugment op {name!r}", "no op has this name", suggest(name, DIFFAUGMENT_OPS))
        if not 0 <= p <= 1:
            raise ConfigError(f"DiffAugment p = {p}", "it is a probability", "give a number from 0 to 1")
        if not 0 < cutout <= 1:
            raise ConfigError(f"DiffAugment cutout = {cutout}", "it is a share of the side", "give a number up to 1")
        self.ops, self.p, self.cutout = ops, p, cutout

    @in_float32  # strengths are drawn in the images' format
    def __call__(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] -> augmented images of the same shape."""
        for name, happens in zip(self.ops, self._decisions(x.device)):
            if happens:
                x = _cutout(x, self.cutout) if name == "cutout" else DIFFAUGMENT_OPS[name](x)
        return x

    def _decisions(self, device: torch.device) -> list[bool]:
        """Which ops happen in this call.

        Where they are certain no coin is looked at. On the CPU they are drawn all the same: what is drawn after them
        comes from the same generator.
        """
        if 0 < self.p < 1:
            coins = distributed.broadcast(torch.rand(len(self.ops), device="cpu"))
            return [coin < self.p for coin in coins.tolist()]
        if device.type == "cpu":
            torch.rand(len(self.ops))
        return [self.p == 1] * len(self.ops)


# ---- SimCLR ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SimCLRViews:
    """Two random views of each image, each drawn per sample (Chen et al. 2020, appendix A).

    Crop, flip, colour jitter, greyscale, blur, in this order. Jitter's parts come in an order drawn per call, where
    torchvision draws it per image (ours: a batch is then a handful of device operations). Grey images get brightness
    and contrast only. Differs from torchvision's crop in one way: a crop that would leave the image is cut to its side,
    not drawn again.
    """

    side: int  # side of the views, pixels
    crop_scale: tuple[float, float] = (0.08, 1.0)  # area of the crop, as a part of the image's
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width / height of the crop, log-uniform
    flip: bool = True  # mirror left to right with probability 1/2
    jitter: float = 0.8  # strength of brightness, contrast and saturation; hue gets a quarter of it, in turns
    jitter_p: float = 0.8  # probability of jitter
    grayscale_p: float = 0.2  # probability of greyscale
    blur: bool = True  # Gaussian blur with probability 1/2; a kernel of one pixel (side < 20) leaves it out
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # standard deviation of the blur, pixels

    @torch.no_grad()
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, C, H, W] in [-1, 1] -> two views [N, C, side, side] in [-1, 1]."""
        x = self._crop_and_flip(torch.cat([x, x]))
        x = (x + 1) / 2  # colours are changed in [0, 1]
        if self.jitter:
            x = torch.where(_happens(x, self.jitter_p), self._jittered(x), x)
        if x.shape[1] == 3 and self.grayscale_p:
            x = torch.where(_happens(x, self.grayscale_p), _grey(x), x)
        if self.blur:
            x = self._blurred(x)
        first, second = (x * 2 - 1).chunk(2)
        return first, second

    def _crop_and_flip(self, x: Tensor) -> Tensor:
        """Random resized crop and flip, as one bilinear resampling."""
        n = len(x)
        area = _uniform(x, *self.crop_scale).view(n)
        ratio = _uniform(x, math.log(self.crop_ratio[0]), math.log(self.crop_ratio[1])).view(n).exp()
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)  # 1 = the whole side
        shift_x = (1 - width) * _uniform(x, -1, 1).view(n)
        shift_y = (1 - height) * _uniform(x, -1, 1).view(n)
        if self.flip:
            width = torch.where(_happens(x, 0.5).view(n), -width, width)
        zero = torch.zeros_like(width)
        theta = torch.stack([width, zero, shift_x, zero, height, shift_y], 1).view(n, 2, 3)
        grid = F.affine_grid(theta, [n, x.shape[1], self.side, self.side], align_corners=False)
        view = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
        return view.clamp(-1, 1)  # interpolation rounds

    def _jittered(self, x: Tensor) -> Tensor:
        """Brightness, contrast, saturation and hue of images in [0, 1], in random order."""
        low, high = max(0.0, 1 - self.jitter), 1 + self.jitter

        def brightness(x: Tensor) -> Tensor:
            return (x * _uniform(x, low, high)).clamp(0, 1)

        def contrast(x: Tensor) -> Tensor:
            mean = _grey(x).mean((1, 2, 3), keepdim=True)
            return torch.lerp(mean, x, _uniform(x, low, high)).clamp(0, 1)

        def saturation(x: Tensor) -> Tensor:
            return torch.lerp(_grey(x), x, _uniform(x, low, high)).clamp(0, 1)

        def hue(x: Tensor) -> Tensor:
            largest = min(0.5, self.jitter / 4)
            return _turn_hue(x, _uniform(x, -largest, largest))

        ops = [brightness, contrast] + [saturation, hue] * (x.shape[1] == 3)
        for k in distributed.broadcast(torch.randperm(len(ops), device="cpu")).tolist():
            x = ops[k](x)
        return x

    def _blurred(self, x: Tensor) -> Tensor:
        """Gaussian blur of half the samples, kernel of 2 * int(side / 20) + 1 pixels (InfoSCC-GAN's code)."""
        radius = int(0.05 * self.side)
        if radius == 0:
            return x
        n, c, h, w = x.shape
        place = torch.arange(-radius, radius + 1, device=x.device)  # [k]
        sigma = _uniform(x, *self.blur_sigma).view(n, 1)
        kernel = torch.softmax(-0.5 * (place / sigma).square(), 1)  # [N, k], sums to 1
        kernel = torch.where(_happens(x, 0.5).view(n, 1), kernel, (place == 0).to(x.dtype))
        kernel = kernel.repeat_interleave(c, 0)[:, None]  # [N * C, 1, k]: one group a channel of a sample
        x = x.reshape(1, n * c, h, w)
        x = F.conv2d(F.pad(x, (radius, radius, 0, 0), "reflect"), kernel[:, :, None, :], groups=n * c)
        x = F.conv2d(F.pad(x, (0, 0, radius, radius), "reflect"), kernel[:, :, :, None], groups=n * c)
        return x.view(n, c, h, w).clamp(0, 1)


def _grey(x: Tensor) -> Tensor:
    """Luma of [N, C, H, W] (ITU-R BT.601 weights, as torchvision's greyscale), [N, 1, H, W]."""
    if x.shape[1] == 1:
        return x
    r, g, b = x.unbind(1)
    return (0.2989 * r + 0.587 * g + 0.114 * b)[:, None]


def _turn_hue(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of RGB images in [0, 1] by `turn` [N, 1, 1, 1] turns, HSV value and saturation kept."""
    r, g, b = x.unbind(1)
    value = x.amax(1)  # [N, H, W]
    chroma = value - x.amin(1)
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    sixth = torch.where(value == r, (g - b) / safe, torch.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4))
    sixth = sixth + 6 * turn[:, 0]  # hue in sixths of a turn

    def channel(offset: float) -> Tensor:  # a trapezoid of the hue: 0 where this channel is the largest
        k = (sixth + offset) % 6
        return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)

    return torch.stack([channel(5), channel(3), channel(1)], 1)


# ---- flips and quarter turns ----------------------------------------------------------------------------------------


def random_flip(x: Tensor) -> Tensor:
    """Each sample mirrored left to right with probability 1/2."""
    return torch.where(_happens(x, 0.5), x.flip(3), x)


def quarter_turns(x: Tensor, k: int) -> Tensor:
    """All samples turned by k * 90 degrees, counter-clockwise; sides must be equal. k = 0 is the identity, mod 4."""
    return x.rot90(k, (2, 3)).contiguous(memory_format=torch.channels_last)
