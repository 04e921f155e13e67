"""Spectral norm: a layer's weight divided by its largest singular value, which one step of power iteration follows.

Source: Miyato et al., "Spectral Normalization for GANs" (ICLR 2018), algorithm 1.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

from benchmark.nn.precision import in_float32

Layer = TypeVar("Layer", bound=nn.Module)


class _SpectralNorm(parametrizations._SpectralNorm):
    """torch's own, in float32 under autocast, too: in bfloat16 the weight would be off by up to 1 part in 256."""

    forward = in_float32(parametrizations._SpectralNorm.forward)

    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        """As torch's. weight_mat: [rows, columns].

        Compiled by torch 2.15, the product with a single row is computed late, from the weight that the optimiser has
        changed by then; a copy with strides of its own is made at once.
        """
        if torch.compiler.is_compiling() and len(weight_mat) == 1:
            n = weight_mat.shape[1]
            weight_mat = weight_mat.clone().as_strided((1, n), (n, 1))
        super()._power_method(weight_mat, n_power_iterations)


def spectral_norm(layer: Layer, eps: float = 1e-12) -> Layer:
    """The layer itself, whose weight is from now on divided by its largest singular value.

    layer: linear, convolution or table. eps: the least length by which a singular vector is divided. Buffers, random
    numbers and names in a checkpoint are those of `torch.nn.utils.parametrizations.spectral_norm`.
    """
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    dim = 1 if isinstance(layer, transposed) else 0  # of the outputs
    weight = layer.weight
    assert isinstance(weight, Tensor)
    register_parametrization(layer, "weight", _SpectralNorm(weight, eps=eps, dim=dim))
    return layer
