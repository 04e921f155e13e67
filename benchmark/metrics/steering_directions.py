"""The direction in latent space along which images undergo a transform, as steerability looks for it.

Source: Plumerault, Le Borgne, Hudelot, "Controlling Generative Models with Continuous Factors of Variations" (ICLR
2020). Stage 1 moves single latents until their images are the transformed ones; stage 2 fits one direction to all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from benchmark.core.seeds import derive_seed
from benchmark.metrics.checks import Float64, MetricError
from benchmark.metrics.steerability import Generate, Transform, images_of, seeded, transformed
from benchmark.nn.precision import exact_float32


@dataclass(frozen=True)
class SteerSettings:
    """How a direction is looked for. Sizes are for small images and a minute; the paper's are larger."""

    n_trajectories: int = 32  # latents that are moved
    largest: float = 0.5  # size of the last target, to both sides
    n_targets: int = 5  # on each side; target k is the transform of size k / n_targets * largest
    iterations: int = 50  # of Adam for each target, which starts where the last one ended
    lr: float = 0.01  # of Adam; its state is new for each target
    blur: float = 3.0  # standard deviation in pixels: what differs in details only counts little
    drop: float = 0.1  # share of latents that reproduce their target worst, which are not fitted
    ridge: float = 0.1  # weight of |u|^2, added to the mean squared error of t
    map: Literal["identity", "increasing"] = "identity"  # g; "increasing": piecewise linear, as in the paper
    knots: int = 11  # of the increasing map, over [-5, 5]
    epochs: int = 100  # of Adam for the increasing map
    batch: int = 32  # of the same
    map_lr: float = 0.01  # of the same (ours)


@dataclass(frozen=True)
class Direction:
    """A direction in latent space for a transform."""

    u: Float64 = field(repr=False)  # [d], unit length, towards larger t
    transform: str
    r2: float  # share of the variance of t that g(<u, z_t>) - g(<u, z_0>) explains, of the kept latents; 1: all
    error: float  # mean squared error of blurred images at the kept latents, the images' scale squared
    error_at_start: float  # the same before any latent moved: an `error` near it says that no latent does the transform
    n: int  # kept latents
    n_dropped: int


def learn_direction(
    generate: Generate,
    transform: Transform,
    z_dim: int,
    settings: SteerSettings | None = None,
    *,
    device: torch.device | str = "cpu",
    seed: int = 0,
    progress: bool = False,
) -> Direction:
    """Direction u in latent space along which images undergo `transform`. A direction without a measure of its worth.

    generate: differentiable; float images [N, C, H, W] in [-1, 1], C = 1 or 3, of standard normal latents [N, d],
        d = z_dim, on `device`; each image from its own latent alone. Its parameters get no gradients.
    Stage 1: from z_0, latents of norm sqrt(d) at most, Adam looks for z_t whose image is the transformed image of z_0,
    for growing t to both sides; squared errors of blurred images where the transform says what is to be seen. Stage 2:
    the worst latents are dropped and t = g(<u, z_t>) - g(<u, z_0>) is fitted; with the identity for g that is a ridge
    regression, with an increasing g it goes on from there. `settings`: see `SteerSettings`; None: its defaults.
    seed: of the latents. Torch's global state is left as it was. progress: draw a bar.
    Source: Plumerault et al., 2020 (Adam, 0.01, 50 steps; 10 % dropped) and their code (blur of 3 pixels).
    Ours: the sizes, the difference masked before it is blurred as after, the ridge as the default and as g's start.
    Adam moves every coordinate about as fast, so that stage 1 leans towards a direction's signs: where one oblique
    direction does all, the ridge's u has a cosine of 0.8 to 0.9 with it, an increasing g's one of 0.98, of 0.8 for a
    zoom (measured on toys).
    Raises MetricError for settings out of range, images of a wrong kind, NaN, and a generator that ignores its latents.
    """
    settings = settings or SteerSettings()
    _check_settings(settings, z_dim)
    generator = torch.Generator().manual_seed(derive_seed(seed, 0x57EE))
    z0 = _clipped(torch.randn(settings.n_trajectories, z_dim, generator=generator)).to(device)
    with seeded(derive_seed(seed, 0x57EF)), torch.enable_grad(), exact_float32(torch.device(device).type):
        points = _trajectories(generate, transform, z0, settings, progress)
        kept = points.keep_best(settings.drop)
        u = _ridge_direction(kept, settings.ridge)
        u, predicted = (u, kept.project(u)) if settings.map == "identity" else _increasing_map(kept, u, settings)
    length = float(np.linalg.norm(u))
    r2 = 1 - float(((kept.t - predicted) ** 2).sum() / ((kept.t - kept.t.mean()) ** 2).sum())
    error, before = float(kept.error.mean()), float(kept.error_at_start.mean())
    return Direction(u / length, transform, r2, error, before, len(kept.t), len(points.t) - len(kept.t))


@dataclass(frozen=True)
class _Points:
    """What stage 1 found: n latents and where they started."""

    z0: Float64  # [n, d]
    z: Float64  # [n, d]
    t: Float64  # [n]
    error: Float64  # [n]
    error_at_start: Float64  # [n]

    def keep_best(self, drop: float) -> _Points:
        rows = np.sort(np.argsort(self.error, kind="stable")[: len(self.t) - round(drop * len(self.t))])
        return _Points(self.z0[rows], self.z[rows], self.t[rows], self.error[rows], self.error_at_start[rows])

    def project(self, u: Float64) -> Float64:
        return (self.z - self.z0) @ u


def _trajectories(
    generate: Generate, transform: Transform, z0: Tensor, settings: SteerSettings, progress: bool
) -> _Points:
    """Stage 1: all trajectories at once, target by target, first to one side and then to the other."""
    x0 = images_of(generate, z0).detach()
    columns: list[list[np.ndarray]] = []
    sizes = [settings.largest * (k + 1) / settings.n_targets for k in range(settings.n_targets)]
    with tqdm(total=2 * len(sizes), desc=f"direction: {transform}", unit="target", disable=not progress) as bar:
        for sign in (1, -1):
            z = z0
            for t in (sign * size for size in sizes):
                target, mask = transformed(x0, transform, t)
                z, error = _reach(generate, z, target, mask, settings)
                at_start = _errors(x0, target, mask, settings.blur)
                parts = (z0, z, torch.full((len(z),), t), error, at_start)
                columns.append([part.detach().double().cpu().numpy() for part in parts])
                bar.update()
    return _Points(*(np.concatenate(parts) for parts in zip(*columns)))


def _reach(
    generate: Generate, z: Tensor, target: Tensor, mask: Tensor, settings: SteerSettings
) -> tuple[Tensor, Tensor]:
    """Latents whose images come near the targets, and how near."""
    z = z.clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=settings.lr)
    for _ in range(settings.iterations):
        loss = _errors(images_of(generate, z), target, mask, settings.blur).sum()  # each latent has its own gradient
        z.grad = _gradient(loss, z)
        adam.step()
        z.data = _clipped(z.data)
    with torch.no_grad():
        return z.detach(), _errors(images_of(generate, z), target, mask, settings.blur)


def _gradient(loss: Tensor, z: Tensor) -> Tensor:
    """Of the latents alone: the generator's parameters keep theirs."""
    gradient = torch.autograd.grad(loss, z, allow_unused=True)[0] if loss.requires_grad else None
    if gradient is None or not bool(gradient.any()):
        raise MetricError(
            "steerability: the images do not depend on the latents",
            "the generator ignores them, or it was run without gradients",
            "pass a differentiable generate(z)",
        )
    if not bool(gradient.isfinite().all()):
        raise MetricError("steerability: NaN or infinity in the gradient", "the generator left the range of floats")
    return gradient


def _errors(images: Tensor, target: Tensor, mask: Tensor, sigma: float) -> Tensor:
    """Mean squared blurred difference where the mask is 1, [N]. What lies outside must not leak in by the blur."""
    difference = mask * (images - target)
    if sigma > 0:
        difference = mask * _blurred(difference, sigma)
    return difference.square().mean((1, 2, 3)) / mask.mean()


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of images [N, C, H, W]; at an edge the weights of the pixels that are there add up to 1.

    As products with a matrix for each side: twenty times as fast as a convolution with a kernel of 19 pixels.
    """
    down, across = (_blur_matrix(side, sigma, images) for side in images.shape[2:])
    return down @ images @ across.T


def _blur_matrix(side: int, sigma: float, like: Tensor) -> Tensor:
    """[side, side], rows that add up to 1."""
    place = torch.arange(side, dtype=like.dtype, device=like.device)
    return torch.softmax(-((place[:, None] - place) ** 2) / (2 * sigma**2), dim=1)


def _clipped(z: Tensor) -> Tensor:
    """Norms of sqrt(d) at most: where normal latents lie."""
    return z * (math.sqrt(z.shape[1]) / z.norm(dim=1, keepdim=True)).clamp(max=1)


def _ridge_direction(points: _Points, weight: float) -> Float64:
    """Stage 2 with the identity for g: t = <u, z_t - z_0>."""
    from sklearn.linear_model import Ridge  # a second to import, and only this needs it

    u = Ridge(alpha=weight * len(points.t), fit_intercept=False).fit(points.z - points.z0, points.t).coef_
    if not np.linalg.norm(u) > 0:
        raise MetricError("steerability: no direction", "no latent moved", "look at the generator's gradients")
    return np.asarray(u, dtype=np.float64)


class _Increasing(nn.Module):
    """g: increasing, piecewise linear between knots on [-5, 5], its first and last pieces going on outside."""

    left: Tensor  # [knots - 1], where each piece begins

    def __init__(self, knots: int, slope: float) -> None:
        super().__init__()
        self.register_buffer("left", torch.linspace(-5, 5, knots, dtype=torch.float64)[:-1])
        self.width = 10 / (knots - 1)
        raw = math.log(math.expm1(slope))  # softplus(raw) = slope
        self.raw = nn.Parameter(torch.full((knots - 1,), raw, dtype=torch.float64))

    def forward(self, s: Tensor) -> Tensor:
        """g(s) for s [n]; g's constant is of no account."""
        steps = s[:, None] - self.left  # how far into each piece
        low = torch.zeros_like(self.left)
        high = torch.full_like(self.left, self.width)
        low[0], high[-1] = -torch.inf, torch.inf
        return (F.softplus(self.raw) * steps.clamp(low, high)).sum(1)


def _increasing_map(points: _Points, u: Float64, settings: SteerSettings) -> tuple[Float64, Float64]:
    """Stage 2 with an increasing g, from the ridge's u: the direction, and what it says of each t."""
    slope = float(np.linalg.norm(u))
    direction = nn.Parameter(torch.from_numpy(u / slope))
    g = _Increasing(settings.knots, slope)
    z0, z, t = (torch.from_numpy(a) for a in (points.z0, points.z, points.t))
    adam = torch.optim.Adam([direction, *g.parameters()], lr=settings.map_lr)

    def predicted(rows: Tensor | slice) -> Tensor:
        unit = direction / direction.norm()  # the scale is g's
        return g(z[rows] @ unit) - g(z0[rows] @ unit)

    for _ in range(settings.epochs):
        for rows in torch.randperm(len(t)).split(settings.batch):
            adam.zero_grad()
            (predicted(rows) - t[rows]).square().mean().backward()
            adam.step()
    with torch.no_grad():
        return direction.numpy().copy(), predicted(slice(None)).numpy()


def _check_settings(settings: SteerSettings, z_dim: int) -> None:
    sizes = (settings.n_targets, settings.iterations, settings.epochs, settings.batch, settings.knots - 1)
    in_range = (
        settings.n_trajectories >= 2
        and min(sizes) >= 1
        and 0 < settings.largest < 1
        and min(settings.lr, settings.map_lr) > 0
        and min(settings.blur, settings.ridge) >= 0
        and 0 <= settings.drop < 0.9
        and settings.map in ("identity", "increasing")
    )
    if not in_range:
        raise MetricError(f"steerability: {settings}", "a setting is out of range", "see SteerSettings")
    if z_dim < 1:
        raise MetricError(f"steerability: z_dim = {z_dim}", "a latent has a dimension at least")
