"""Images of walks through latent space: along a direction that moves images, and across the boundary of a label.

Rows are the first latents of a seed, none chosen; in a class-conditional generator each row has a class of its own.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmark.core.seeds import derive_seed
from benchmark.evaluation.context import EvaluationContext
from benchmark.evaluation.latents import LatentSpace
from benchmark.metrics.boundary import Boundary
from benchmark.metrics.steerability import ALPHAS
from benchmark.training.measurements import Grid

N_ROWS = 6  # latents of an image
DISTANCES = tuple(float(a) for a in range(-3, 4))  # from a boundary, in standard deviations of z [InterFaceGAN]


@torch.no_grad()
def edit_grid(context: EvaluationContext, boundary: Boundary) -> Grid:
    """Latents moved along a boundary's normal n to signed distances from it: z + (alpha - <n, z> - b) n.

    Source: Shen et al., "Interpreting the Latent Space of GANs" (CVPR 2020), sec. 3.
    """
    space, z, names = _start(context)
    normal = torch.from_numpy(boundary.normal).to(z)
    distance = z @ normal + boundary.intercept  # [n]
    return _walk(space, z, normal, [alpha - distance for alpha in DISTANCES], DISTANCES, names)


@torch.no_grad()
def steering_grid(context: EvaluationContext, u: np.ndarray) -> Grid:
    """Latents moved along a unit direction u [dim] to <u, z> = alpha: z + (alpha - <u, z>) u.

    Source: Plumerault et al., "Controlling Generative Models with Continuous Factors of Variations" (ICLR 2020).
    """
    space, z, names = _start(context)
    direction = torch.from_numpy(u).to(z)
    place = z @ direction  # [n]
    return _walk(space, z, direction, [alpha - place for alpha in ALPHAS], ALPHAS, names)


def _start(context: EvaluationContext) -> tuple[LatentSpace, Tensor, list[str]]:
    """The space, latents [n, dim] and the names of the rows."""
    method, data = context.method, context.data
    conditions, names = None, [f"z {k + 1}" for k in range(N_ROWS)]
    if method.conditioning == "class":
        n = min(N_ROWS, data.n_classes)
        classes = [k * data.n_classes // n for k in range(n)]
        conditions, names = torch.tensor(classes), [data.class_names[k] for k in classes]
    space = LatentSpace(method, context.G, conditions, seed=derive_seed(context.seed, 0x3A1))
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(context.seed, 0x3A2))
        return space, space.draw(len(names)), names


def _walk(
    space: LatentSpace, z: Tensor, axis: Tensor, steps: list[Tensor], alphas: tuple[float, ...], names: list[str]
) -> Grid:
    """One row a latent, one column a step; steps: how far each latent is moved along the axis, [n] each."""
    columns = [space.images(z + step[:, None] * axis) for step in steps]
    return Grid(torch.stack(columns, 1).clamp(-1, 1).cpu(), names, [f"{alpha:+g}" for alpha in alphas])
