"""Steerability: is there one direction in latent space that shifts, zooms or brightens every image?

Source: Plumerault, Le Borgne, Hudelot, "Controlling Generative Models with Continuous Factors of Variations" (ICLR
2020). `steering_directions` finds the direction, `steer` walks along it and measures the images. The paper
measures with a saliency network; none is at hand here, so that the measures below are ours: they take the object of an
image for what differs from its border. They fit images of one object on a plain ground, and no others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from benchmark.core.seeds import derive_seed
from benchmark.metrics.checks import Array, Float64, MetricError, as_numpy
from benchmark.nn.precision import exact_float32

Generate = Callable[[Tensor], Tensor]  # latents [N, d] -> float images [N, C, H, W] in [-1, 1]
Measure = Callable[[Tensor], Float64]  # such images -> [N]; NaN where an image has no value
Distance = Callable[[Tensor, Tensor], Tensor]  # two sets of such images -> [N]
Transform = Literal["shift_x", "shift_y", "zoom", "brightness"]

OBJECT_CONTRAST = 0.1  # of [-1, 1]: an image whose strongest contrast is below it has no object
SMALLEST_OBJECT = 0.02  # of the image's area; smaller ones have no barycentre, as in the paper
LUMA = (0.299, 0.587, 0.114)  # Rec. 601
ALPHAS = tuple(float(a) for a in range(-5, 6))


# ---- what a transform does to an image, and how it is seen ----------------------------------------------------------


def transformed(images: Tensor, transform: Transform, t: float) -> tuple[Tensor, Tensor]:
    """Images [N, C, H, W] after a transform of size t, and a mask [1, 1, H, W]: 1 where it is known what they show.

    shift_x, shift_y: by t of the side, right or down. zoom: enlarged 1 + t times about the centre, t > -1. brightness:
    t added, clipped to [-1, 1]. t = 0 changes nothing. Bilinear. Source: Plumerault et al., 2020.
    Raises MetricError for an unknown transform and for a zoom of t <= -1.
    """
    if transform == "brightness":
        return (images + t).clamp(-1, 1), torch.ones_like(images[:1, :1])
    if transform not in ("shift_x", "shift_y", "zoom") or (transform == "zoom" and t <= -1):
        raise MetricError(f"transform {transform!r} of {t:g}", f"known: {', '.join(MEASURES)}; a zoom has t > -1")
    zoom = 1 + t if transform == "zoom" else 1.0
    x, y = (2 * t if transform == axis else 0.0 for axis in ("shift_x", "shift_y"))  # sides are 2 long here
    matrix = torch.tensor([[[1 / zoom, 0, -x], [0, 1 / zoom, -y]]], dtype=images.dtype, device=images.device)
    grid = F.affine_grid(matrix, [1, 1, *images.shape[2:]], align_corners=False)  # where each pixel comes from
    moved = F.grid_sample(images, grid.expand(len(images), -1, -1, -1), padding_mode="border", align_corners=False)
    return moved, (grid.abs() <= 1).all(dim=-1)[:, None].to(images.dtype)


def luminance(images: Tensor) -> Float64:
    """Mean luma (Rec. 601) of images [N, C, H, W] in [-1, 1], C = 1 or 3: [N] in [-1, 1]. Errors as `area`."""
    return _luma(images).mean((1, 2)).cpu().numpy()


def area(images: Tensor) -> Float64:
    """Share of an image that its object covers, [N] in [0, 1]; NaN for an image without contrast.

    images: floats [N, C, H, W] in [-1, 1], C = 1 or 3. The ground is the median luma of the image's outermost pixels;
    the object is every pixel whose luma is away from it, up or down, by half the image's largest such contrast or more.
    An image whose largest contrast is below 0.1 has no object. Ours, in place of a saliency network.
    Raises MetricError for other dtypes or shapes, and NaN.
    """
    return _object(images)[0]


def barycentre_x(images: Tensor) -> Float64:
    """Horizontal place of the object, weighted with its contrast: [N], 0 the left edge, 1 the right one.

    images and errors as `area`. NaN for an image without contrast or whose object covers less than 2 % (the paper's
    limit).
    """
    return _object(images)[1]


def barycentre_y(images: Tensor) -> Float64:
    """Vertical place of the object: [N], 0 the upper edge, 1 the lower one. Otherwise as `barycentre_x`."""
    return _object(images)[2]


MEASURES: dict[str, Measure] = {
    "shift_x": barycentre_x,
    "shift_y": barycentre_y,
    "zoom": area,
    "brightness": luminance,
}


# ---- walking along it ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Steerability:
    """What a measure does along a direction; K steps alpha, n latents."""

    spearman: float  # of alpha and the measure over all images, in [-1, 1]; 1: always more of it
    spearman_within: float  # mean over latents of the same for each one's own K images: the start left out of account
    alphas: tuple[float, ...]  # [K]
    mean: Float64  # [K], the measure's mean at each alpha; NaN where no image has a value
    spread: Float64  # [K], its standard deviation over latents (n - 1); smaller: more precise control
    drift: Float64 | None  # [K], mean distance to the image that was not moved; None without a distance
    n: int  # latents
    n_without_value: int  # images, of n K, in which the measure is NaN: left out


def steer(
    generate: Generate,
    u: Array,
    measure: Measure,
    alphas: Sequence[float] = ALPHAS,
    *,
    n: int = 100,
    distance: Distance | None = None,
    batch: int = 64,
    device: torch.device | str = "cpu",
    seed: int = 0,
    progress: bool = False,
) -> Steerability:
    """A measure of images along u: every latent z_0 is moved to <u, z> = alpha. Higher `spearman`: more steerable.

    generate: float images [N, C, H, W] in [-1, 1] of standard normal latents [N, d] on `device`. u: direction [d], of
    any length but 0. measure: one of `MEASURES`, or any function of images to [N]. alphas: three or more, increasing;
    in standard deviations of the latent. n: latents; each is moved to every alpha. distance: of two sets of images
    (LPIPS), for the drift. batch: images at once. seed: of the latents. Torch's global state is left as it was.
    The sign tells the direction: from a measure that falls, -1.
    Source: Plumerault et al., 2020 (z_0 - <z_0, u> u + alpha u, the spread); rank correlations and drift are ours.
    Raises MetricError for a bad u, alphas or counts, images of a wrong kind, NaN in images, a measure that has no value
    in most images, or one that is the same in all.
    """
    axis, alphas = _checked_direction(u), _checked_alphas(alphas)
    if n < 2 or batch < 1:
        raise MetricError(f"steer: n = {n}, batch = {batch}", "two latents and a batch of one at least are needed")
    unit = torch.from_numpy(axis).to(device)
    z0 = (
        torch.randn(n, len(axis), generator=torch.Generator().manual_seed(derive_seed(seed, 0x57F0)))
        .double()
        .to(device)
    )
    values, drifts = np.empty((n, len(alphas))), np.empty((n, len(alphas)))
    bar = tqdm(total=n * len(alphas), desc="steer", unit="image", disable=not progress)
    with torch.no_grad(), seeded(derive_seed(seed, 0x57F1)), exact_float32(torch.device(device).type), bar:
        for start in range(0, n, batch):
            z = z0[start : start + batch]
            rows = slice(start, start + len(z))
            unmoved = images_of(generate, z.float()) if distance is not None else None
            for k, alpha in enumerate(alphas):
                images = images_of(generate, (z + (alpha - z @ unit)[:, None] * unit).float())
                values[rows, k] = _checked_measure(measure(images), len(z))
                if distance is not None and unmoved is not None:
                    drifts[rows, k] = distance(unmoved, images).double().cpu().numpy()
                bar.update(len(z))
    return _summary(values, alphas, drifts.mean(axis=0) if distance is not None else None)


def _summary(values: Float64, alphas: tuple[float, ...], drift: Float64 | None) -> Steerability:
    there = np.isfinite(values)  # [n, K]
    if there.sum() < values.size / 2:
        raise MetricError(
            f"steer: {values.size - there.sum()} of {values.size} images have no value of the measure",
            "it finds no object in them",
            "look at the images, or use another measure",
        )
    if np.ptp(values[there]) == 0:
        raise MetricError(
            "steer: the measure is the same in all images",
            "the generator ignores its latents, or the measure is blind to what changes",
        )
    steps = np.broadcast_to(np.array(alphas), values.shape)
    within = [_spearman(steps[i, there[i]], values[i, there[i]]) for i in range(len(values))]
    counts = there.sum(axis=0)
    filled = np.where(there, values, 0.0)
    mean = np.where(counts > 0, filled.sum(axis=0) / counts.clip(min=1), np.nan)
    squares = np.where(there, (values - mean) ** 2, 0.0).sum(axis=0)
    return Steerability(
        spearman=_spearman(steps[there], values[there]),
        spearman_within=float(np.mean(within)),
        alphas=alphas,
        mean=mean,
        spread=np.where(counts > 1, np.sqrt(squares / (counts - 1).clip(min=1)), np.nan),
        drift=drift,
        n=len(values),
        n_without_value=int(values.size - there.sum()),
    )


def _spearman(steps: np.ndarray, values: np.ndarray) -> float:
    """0 where it is undefined: a measure that does not move, or fewer than two values, is not steered."""
    if len(values) < 2 or np.ptp(values) == 0:
        return 0.0
    from scipy.stats import spearmanr  # half a second to import

    return float(spearmanr(steps, values).statistic)


# ---- checks, and what finding and walking share ----------------------------------------------------------------------


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators, seeded for a generator that draws noise; then as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def images_of(generate: Generate, z: Tensor) -> Tensor:
    """Images of latents z [N, d], checked. Raises MetricError for images of a wrong kind, and NaN."""
    return _checked_images(generate(z), len(z))


def _checked_images(images: Tensor, n: int | None = None) -> Tensor:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise MetricError(f"steerability of {kind} images", "float tensors in [-1, 1] are needed", "x / 127.5 - 1")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape or len(images) != (n or len(images)):
        raise MetricError(
            f"steerability of images {list(images.shape)}", f"[{n or 'N'}, C, H, W] with C = 1 or 3 is needed"
        )
    if min(images.shape[2:]) < 4:
        raise MetricError(f"steerability of images {list(images.shape)}", "4 px a side are needed to see a move")
    if not bool(images.isfinite().all()):
        raise MetricError("steerability: NaN or infinity in the images", "the generator left the range of floats")
    return images


def _luma(images: Tensor) -> Tensor:
    """[N, H, W] float64."""
    images = _checked_images(images).detach().double()
    if images.shape[1] == 1:
        return images[:, 0]
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(1)


def _object(images: Tensor) -> tuple[Float64, Float64, Float64]:
    """Area, horizontal and vertical place of each image's object, [N] each. NaN: none."""
    luma = _luma(images)
    height, width = luma.shape[1:]
    border = torch.ones(height, width, dtype=torch.bool, device=luma.device)
    border[1:-1, 1:-1] = False
    contrast = (luma - luma[:, border].median(dim=1).values[:, None, None]).abs()
    strongest = contrast.amax((1, 2))
    weight = contrast * (contrast >= strongest[:, None, None] / 2)  # 0 outside the object
    covered = (weight > 0).double().mean((1, 2))
    visible = strongest >= OBJECT_CONTRAST
    total = torch.where(visible, weight.sum((1, 2)), 1.0)
    x, y = ((torch.arange(side, dtype=luma.dtype, device=luma.device) + 0.5) / side for side in (width, height))
    places = (weight.sum(1) * x).sum(1) / total, (weight.sum(2) * y).sum(1) / total
    large = visible & (covered >= SMALLEST_OBJECT)
    columns = torch.where(visible, covered, torch.nan), *(torch.where(large, place, torch.nan) for place in places)
    share, across, down = (column.cpu().numpy() for column in columns)
    return share, across, down


def _checked_direction(u: Array) -> Float64:
    axis = as_numpy("direction", u)
    if axis.ndim != 1 or not np.issubdtype(axis.dtype, np.floating):
        raise MetricError(f"direction: {axis.dtype} {list(axis.shape)}", "floats [d] are needed")
    axis = axis.astype(np.float64)
    length = np.linalg.norm(axis)
    if not (np.isfinite(length) and length > 0):
        raise MetricError(f"direction of length {length:g}", "it has to point somewhere")
    return axis / length


def _checked_alphas(alphas: Sequence[float]) -> tuple[float, ...]:
    steps = tuple(float(alpha) for alpha in alphas)
    if len(steps) < 3 or not all(a < b for a, b in pairwise(steps)) or not all(map(math.isfinite, steps)):
        raise MetricError(f"alphas {steps}", "three or more are needed, finite and increasing", "use -5, -4, ..., 5")
    return steps


def _checked_measure(values: Float64, n: int) -> Float64:
    values = np.asarray(as_numpy("measure", values), dtype=np.float64)
    if values.shape != (n,):
        raise MetricError(f"measure: shape {list(values.shape)}", f"[{n}] is needed: a value for each image")
    return values
