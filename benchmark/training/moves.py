"""What is measured and shown of LT-GAN's moves of the latent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmark.metrics.auxiliary import auxiliary_curve
from benchmark.nn.tapped import Code
from benchmark.training.measurements import Grid, Measurement

SIGMAS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)  # test sizes of moves, in sigma_eps [ours]
CHUNK = 16  # images that share their moves at evaluation: the scatter comes from the moves, so many small ones [ours]


def accuracy_of_moves(
    answers: Callable[[float, int], tuple[Tensor, Tensor]],
    nets: Sequence[nn.Module],
    n_images: int,
    n_eps: int,
    sigma_eps: float,
    sigma_z: float,
) -> Measurement:
    """A's accuracy at the size of moves it was trained with, and its curve over 0.1 to 8 times that size.

    answers: (sigma, n) -> A's logits [n] of "the same move" and the truth [n], for n images and moves of that size.
    nets: G, D and A, which are in eval mode meanwhile. n_images: for each point of the curve. n_eps: moves of a batch.
    sigma_eps, sigma_z: standard deviations of moves and latents in training.
    Source: Patel et al., "LT-GAN" (WACV 2021), sec. 5.
    """
    trained = [net.training for net in nets]
    for net in nets:
        net.eval()
    how = {"n_images": n_images, "chunk": CHUNK, "seed": 0}
    curve = auxiliary_curve(answers, [m * sigma_eps for m in SIGMAS], **how)
    for net, was in zip(nets, trained):
        net.train(was)
    at_training = curve[SIGMAS.index(1.0)]
    return Measurement(
        id="aux_accuracy",
        name="A's accuracy",
        value=at_training.accuracy,
        better="higher",
        protocol={**how, "n_eps": n_eps, "sigma": "as in training"},
        details={
            "sigma_eps": sigma_eps,
            "sigma_z": sigma_z,
            "standard_error": at_training.plain()["standard_error"],
            "curve": [point.plain() for point in curve],
        },
    )


def grid_of_moves(generate: Callable[[Code], Tensor], code: Code, eps: Tensor) -> Grid:
    """Every row another z, every column the same eps: what the task wants to look alike down a column.

    generate: images [N, C, S, S] of codes. code: of N images. eps: moves [m, K, z_dim].
    """
    columns = [generate(code), *(generate(code.moved(e)) for e in eps)]
    names = ["G(z)", *(f"z + eps {k + 1}" for k in range(len(eps)))]
    return Grid(torch.stack(columns, 1).clamp(-1, 1), [f"z {k + 1}" for k in range(len(code))], names)
