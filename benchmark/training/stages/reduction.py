"""How features of images become the short vector f that a generator is given (latent-conditioned SNGAN)."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.data.prepared import Dataset
from benchmark.training.artifacts import computation


@computation("methods.latentcond", "reduction")
def reduction(data: Dataset, table: dict[str, Tensor], f_dim: int) -> dict[str, Tensor]:
    """How features become G's f: {"mean": [d], "std": [d], "axes": [d, f_dim], "f": [N, f_dim]}. A computation.

    table: {any name: [N, d]}, features of the training images. f_dim: 0, or d or more, keeps every dimension.
    Every dimension is standardised over the training split, so that f is of the noise's size and does not drown it;
    then come the first f_dim principal components, scaled by one factor to a mean square of 1. All [ours].
    """
    (h,) = table.values()
    mean, std = h.mean(0), h.std(0, correction=0)
    std = torch.where(std > 0, std, 1.0)  # a unit that never fires stays 0
    h = (h - mean) / std
    if f_dim and f_dim < h.shape[1]:
        axes = principal_axes(h, f_dim)
        axes = axes / (h @ axes).square().mean().sqrt().clamp(min=1e-12)
    else:
        axes = torch.eye(h.shape[1], device=h.device)
    return {"mean": mean, "std": std, "axes": axes, "f": h @ axes}


def principal_axes(h: Tensor, n: int) -> Tensor:
    """The first n principal axes of centred rows [N, d]: orthonormal columns [d, min(n, N, d)]."""
    if len(h) < h.shape[1]:
        return torch.linalg.svd(h, full_matrices=False).Vh[:n].T.contiguous()
    return torch.linalg.eigh(h.T @ h).eigenvectors.flip(1)[:, :n].contiguous()  # eigenvalues come in rising order
