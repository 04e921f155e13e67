"""Pictures of what one latent dimension does, the others held still."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
