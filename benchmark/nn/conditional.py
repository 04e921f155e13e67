"""Batch normalisation whose gain and shift depend on a condition, and the tables of class embeddings.

Sources: de Vries et al., "Modulating early visual processing by language" (NIPS 2017), sec. 3.1, for the idea; the
table of classes follows Miyato and Koyama, "cGANs with projection discriminator" (ICLR 2018), sec. 5, the linear form
Brock et al., "Large scale GAN training" (ICLR 2019), appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def look_up(table: Tensor, y: Tensor) -> Tensor:
    """Rows of a table [A, d]: those of the classes y [N] int64, or sums weighted by y [N, A] float; [N, d].

    The second form serves attributes (ours; a one-hot y gives the row of its class).
    """
    return F.embedding(y, table) if y.ndim == 1 else y.to(table.dtype) @ table


def _modulated(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """(1 + gain) x + shift for x [N, C, H, W], gain and shift [N, C]."""
    return torch.addcmul(shift[:, :, None, None], x, 1 + gain[:, :, None, None])


class ClassNorm(nn.Module):
    """(1 + g_y) BN(x) + b_y with a row of two tables for each class y; at the start g ~ N(0, 0.02^2) and b = 0."""

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(n_features, affine=False)
        self.gain, self.shift = nn.Embedding(n_classes, n_features), nn.Embedding(n_classes, n_features)
        nn.init.normal_(self.gain.weight, std=0.02)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x [N, C, H, W], y [N] int64 or [N, A] float as in `look_up` -> [N, C, H, W]."""
        return _modulated(self.bn(x), look_up(self.gain.weight, y), look_up(self.shift.weight, y))


class LinearNorm(nn.Module):
    """(1 + W_g c) BN(x) + W_b c for a condition vector c.

    gain, shift: bias-free linear layers [dim of c] -> [n_features], made, and normed if at all, by the caller.
    """

    def __init__(self, n_features: int, gain: nn.Module, shift: nn.Module) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(n_features, affine=False)
        self.gain, self.shift = gain, shift

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """x [N, C, H, W], c [N, dim] -> [N, C, H, W]."""
        return _modulated(self.bn(x), self.gain(c), self.shift(c))


class Norm(nn.BatchNorm2d):
    """Batch normalisation that takes no notice of the condition it is given."""

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """x [N, C, H, W] -> [N, C, H, W]."""
        return super().forward(x)


def class_norm(n_features: int, n_classes: int) -> nn.Module:
    """`ClassNorm`, or for 0 classes plain batch normalisation; either is called with (x, y)."""
    return ClassNorm(n_features, n_classes) if n_classes else Norm(n_features)
