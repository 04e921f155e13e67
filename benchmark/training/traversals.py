"""Images of what one part of a generator's input does, the others held still."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from benchmark.training.measurements import Grid, Picture

SCALE = 0.7  # of the latents that are held: closer to the mean than samples are (InfoSCC-GAN's figures)


def traversals(draw: Callable[[Tensor], Tensor], zs: Tensor, columns: int = 9) -> Iterator[Picture]:
    """One grid for each layer and dimension, named as on InfoSCC-GAN's poster ("L0_D1").

    draw: generates images [rows, C, S, S] from all layers' latents [rows, K, n_basis].
    zs: the latents that are held. The moved one goes from -4 to 4.
    """
    rows, n_layers, n_basis = zs.shape
    offsets = torch.linspace(-4, 4, columns).tolist()
    for layer in range(n_layers):
        for dim in range(n_basis):
            images = []
            for offset in offsets:
                moved = zs.clone()
                moved[:, layer, dim] = offset
                images.append(draw(moved))
            names = [f"sample {i}" for i in range(rows)], [f"{offset:+.0f}" for offset in offsets]
            yield f"traversals/L{layer}_D{dim}", Grid(torch.stack(images, 1), *names)


def explorations(
    draw: Callable[[Tensor, Tensor, Tensor], Tensor],
    y: Tensor,
    names: Sequence[str],
    latents: Callable[[int], tuple[Tensor, Tensor]],
    n: int = 7,
) -> Iterator[Picture]:
    """InfoSCC-GAN's grids over eps, over eps and all z_i, and over y, whatever else G reads held still in each.

    draw: generates images [N, C, S, S] of labels [N, A], eps [N, d] and all layers' z [N, K, n_basis].
    y: labels to show [M, A], with their names; the first one is held in the first two grids.
    latents: draws eps and z for so many images.
    A row of the third grid has one eps and one z; the authors' has one of each for 49 random labels [code].
    """
    eps, zs = latents(n * n)
    held = y[:1].expand(n * n, -1)
    for name, moved in (("explore_eps", zs[:1].expand_as(zs)), ("explore_eps_zs", zs)):
        images = draw(held, eps, moved).unflatten(0, (n, n))
        yield name, Grid(images, [names[0]] * n, [""] * n)
    rows = [draw(y, eps[i : i + 1].expand(len(y), -1), zs[i : i + 1].expand(len(y), -1, -1)) for i in range(n)]
    yield "explore_y", Grid(torch.stack(rows), [f"sample {i}" for i in range(n)], list(names))
