"""Perceptual path length: how much does an image change along a path between two latents?

    PPL = E[ d(G(path(t)), G(path(t + eps))) / eps^2 ]

Source: Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks" (CVPR 2019),
sec. 4.1 (StyleGAN); without the ends of the distribution, as its official code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from benchmark.core.seeds import derive_seed
from benchmark.metrics.checks import Float64, MetricError
from benchmark.nn.precision import exact_float32

Generate = Callable[[Tensor], Tensor]  # latents [N, ...] -> float images [N, C, H, W] in [-1, 1]
Distance = Callable[[Tensor, Tensor], Tensor]  # two sets of such images -> [N]

LARGEST_PX = 256  # larger images are averaged down to it, as in StyleGAN's code
MIN_PAIRS = 10


@dataclass(frozen=True)
class PathLength:
    """Squared perceptual speed along paths, in units of the distance for a whole path; lower is smoother."""

    mean: float  # of the pairs that are kept
    sd: float  # of one kept pair (n - 1); the standard error of the mean is sd / sqrt(n)
    n: int  # kept pairs
    raw: Float64  # [n_pairs], in the order they were drawn, none left out
    cut: tuple[float, float]  # lowest and highest value that is kept


def path_length(
    generate: Generate,
    draw: Callable[[int], Tensor],
    distance: Distance,
    n_pairs: int,
    space: Literal["z", "w"] = "z",
    mapping: Callable[[Tensor], Tensor] | None = None,
    sampling: Literal["full", "end"] = "full",
    eps: float = 1e-4,
    trim: tuple[float, float] | None = (1.0, 99.0),
    batch: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> PathLength:
    """Mean of d(image at t, image at t + eps) / eps^2 over paths between random latents. In [0, inf), lower is better.

    generate: images of latents, of those that `mapping` returns where one is given; float images [N, C, H, W] in
        [-1, 1]. Both images of a pair are in one call, the first halves [:N/2] at t, the others at t + eps: noise that
        is not part of the latent must be the same for both. Never rounded to uint8: a step of 1e-4 changes a pixel
        by far less than one grey level, and what rounding leaves, divided by 1e-8, is the size of the result.
    draw: n -> latents [n, ...] on the generator's device. It may read torch's global generator, which is seeded here.
    distance: LPIPS with VGG's features in the paper; any function of two sets of images. Values of different distances
        are not comparable, nor are those of different sides; images above 256 px are averaged down first.
    space: "z": along the great circle, norms in proportion (ours: a generator that normalises z does not see them;
        one that does not sees norms it knows). "w": along the straight line between mapping(z0) and mapping(z1).
    sampling: "full": t uniform in [0, 1); "end": t = 0.
    trim: percentiles outside of which pairs are left out, the bounds rounded outwards; None keeps all.
    batch: pairs at once. seed: of latents and t. Torch's global state is left as it was. progress: draw a bar.
    Source: StyleGAN, sec. 4.1; its code used 100,000 pairs. Unlike it, faces are not cropped here (ours).
    Raises MetricError for settings out of range, latents of other shapes or drawn equal, images that are not float
    [N, C, H, W], and NaN in images or distances.
    """
    _check_settings(n_pairs, space, mapping, sampling, eps, trim, batch)
    parts = []
    with torch.no_grad(), _seeded(derive_seed(seed, 0x99D0)):
        ts = torch.Generator().manual_seed(derive_seed(seed, 0x99D1))
        for start in tqdm(range(0, n_pairs, batch), desc="path length", unit="batch", disable=not progress):
            n = min(batch, n_pairs - start)
            t = torch.rand(n, generator=ts, dtype=torch.float64) if sampling == "full" else torch.zeros(n).double()
            latents = _steps(draw(n), draw(n), t, eps, space, mapping)
            parts.append(_distances(generate, distance, latents, n) / eps**2)
    return _trimmed(np.concatenate(parts), trim)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation of rows [N, d], d >= 2, at t [N]: a at 0, b at 1. Norms go from |a| to |b| linearly.

    The directions follow Shoemake, 1985; norms are ours. In the precision of its arguments.
    Raises MetricError for fewer than two dimensions, or rows that are zero or exactly opposite.
    """
    if a.ndim != 2 or a.shape != b.shape or a.shape[1] < 2:
        raise MetricError(
            f"slerp of {list(a.shape)} and {list(b.shape)}",
            "a great circle runs between vectors [N, d] of two dimensions or more",
            "measure in w, along straight lines",
        )
    norm_a, norm_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    unit_a, unit_b = a / norm_a, b / norm_b
    # arccos of the product loses half the digits between near directions; this does not
    angle = 2 * torch.atan2((unit_a - unit_b).norm(dim=1, keepdim=True), (unit_a + unit_b).norm(dim=1, keepdim=True))
    if not bool((angle < math.pi - 1e-6).all()):  # NaN for a zero vector
        raise MetricError(
            "slerp: zero or opposite latents", "no great circle between them is the shortest", "check draw"
        )
    t = t.to(a)[:, None]
    small = angle < 1e-6  # a straight line there, where the quotient of sines is 0 / 0
    at_a = torch.where(small, 1 - t, torch.sin((1 - t) * angle) / torch.sin(angle))
    at_b = torch.where(small, t, torch.sin(t * angle) / torch.sin(angle))
    return (at_a * unit_a + at_b * unit_b) * torch.lerp(norm_a, norm_b, t)


def _check_settings(
    n_pairs: int, space: str, mapping: Any, sampling: str, eps: float, trim: tuple[float, float] | None, batch: int
) -> None:
    if n_pairs < MIN_PAIRS:
        raise MetricError(f"path length: {n_pairs} pairs", f"at least {MIN_PAIRS} are needed", "the paper has 100,000")
    if space not in ("z", "w") or sampling not in ("full", "end"):
        raise MetricError(f"path length in {space!r}, {sampling!r}", "space is z or w, sampling full or end")
    if space == "w" and mapping is None:
        raise MetricError("path length in w without a mapping", "w is what the mapping network returns", "measure in z")
    if not 0 < eps < 1:
        raise MetricError(f"path length: eps = {eps:g}", "it is a small part of a path", "use 1e-4")
    if trim is not None and not 0 <= trim[0] < trim[1] <= 100:
        raise MetricError(f"path length: trim = {trim}", "percentiles rise from 0 to 100", "use (1, 99) or None")
    if batch < 1:
        raise MetricError(f"path length: batch = {batch}", "a batch holds at least one pair")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's global generators, seeded; then as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _steps(z0: Tensor, z1: Tensor, t: Tensor, eps: float, space: str, mapping: Any) -> Tensor:
    """Latents at t, then at t + eps: [2n, ...], in the precision of z.

    Interpolated in float64: a difference of 1e-4 keeps three digits of float32, one of the other rounding errors.
    """
    _check_latents(z0, z1, len(t))
    if space == "w":
        z0, z1 = mapping(z0), mapping(z1)
    both = torch.cat([t, t + eps]).to(z0.device)
    a, b = (torch.cat([z, z]).double() for z in (z0, z1))
    path = slerp(a, b, both) if space == "z" else torch.lerp(a, b, both.reshape(-1, *[1] * (a.ndim - 1)))
    path = path.to(z0.dtype)
    return mapping(path) if space == "z" and mapping is not None else path


def _check_latents(z0: Tensor, z1: Tensor, n: int) -> None:
    for z in (z0, z1):
        if not isinstance(z, Tensor) or not z.is_floating_point() or z.ndim < 2 or len(z) != n:
            what = f"{z.dtype} {list(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
            raise MetricError(f"draw({n}) gave {what}", f"float latents [{n}, ...] are needed")
    if z0.shape == z1.shape and bool((z0 == z1).all()):
        raise MetricError(
            "draw gave the same latents twice",
            "a path between equal ends has no length",
            "do not seed anew in each call of draw",
        )


def _distances(generate: Generate, distance: Distance, latents: Tensor, n: int) -> Float64:
    """Distance of the two images of each pair, [n]."""
    with exact_float32(latents.device.type):  # bfloat16 or TF32 would drown a step of 1e-4
        images = generate(latents)
        _check_float_images(images, 2 * n)
        if images.shape[-1] // LARGEST_PX > 1:
            images = F.avg_pool2d(images, images.shape[-1] // LARGEST_PX)
        values = distance(images[:n], images[n:])
    if not isinstance(values, Tensor) or values.shape != (n,):
        raise MetricError("distance: wrong shape", f"[{n}] is needed: a value for each pair of images")
    values = values.double().cpu()
    if not bool(values.isfinite().all()):
        raise MetricError("distances: NaN or infinity", "the distance left the range of floats", "look at the samples")
    return values.numpy()


def _check_float_images(images: Tensor, n: int) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) != n or 0 in images.shape:
        what = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise MetricError(f"generate gave {what}", f"images [{n}, C, H, W] are needed: one for each latent")
    if not images.is_floating_point():
        raise MetricError(
            f"generate gave {images.dtype} images",
            "rounded images hide a step of 1e-4, or blow it up by a grey level divided by 1e-8",
            "return the generator's float output",
        )
    if not bool(images.isfinite().all()):
        raise MetricError("generated images: NaN or infinity", "the generator left the range of floats")


def _trimmed(raw: Float64, trim: tuple[float, float] | None) -> PathLength:
    lowest, highest = trim or (0.0, 100.0)
    low = float(np.percentile(raw, lowest, method="lower"))
    high = float(np.percentile(raw, highest, method="higher"))
    kept = raw[(low <= raw) & (raw <= high)]
    return PathLength(float(kept.mean()), float(kept.std(ddof=1)), len(kept), raw, (low, high))
