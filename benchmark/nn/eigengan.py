"""EigenGAN's generator, and InfoSCC-GAN's, which adds a linear mapper of labels and noise in front of it.

Sources: He, Kan, Shan, "EigenGAN: Layer-Wise Eigen-Learning for GANs" (ICCV 2021), sec. 3.1-3.2;
Kinakh et al., "InfoSCC-GAN" (2021), sec. 2 and Fig. 1. The layer table is the published code's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.nn.precision import in_float32


def n_doublings(side: int) -> int:
    """How often a 4 x 4 map doubles to reach `side`. Raises ConfigError unless side is a power of two, at least 8."""
    if side < 8 or side & (side - 1):
        raise ConfigError(
            f"image side {side}",
            "these networks double a 4 x 4 map, so the side must be 8, 16, 32, ...",
            "use such a side",
        )
    return int(math.log2(side)) - 2


class Subspace(nn.Module):
    """One layer's linear subspace, phi(z) = U^T (L * z) + mu (EigenGAN eq. 3).

    U: n_basis orthonormal directions, each a map [C, H, W]. L: importance of each. mu: origin.
    A map is stored flat in (H, W, C) order, so that phi is born in channels_last memory and no convolution reorders it.
    """

    def __init__(self, n_basis: int, channels: int, side: int) -> None:
        super().__init__()
        self.shape = (side, side, channels)
        size = side * side * channels
        self.U = nn.Parameter(nn.init.orthogonal_(torch.empty(n_basis, size)))  # rows orthonormal
        self.L = nn.Parameter(torch.arange(3.0 * n_basis, 0.0, -3.0))  # 18, 15, ..., 3 for 6 directions
        self.mu = nn.Parameter(torch.zeros(size))

    def forward(self, z: Tensor) -> Tensor:
        """Points of the subspace: z [N, n_basis] -> [N, C, H, W]."""
        return self._maps(torch.addmm(self.mu, self.L * z, self.U))

    def through(self, conv: nn.Conv2d | nn.ConvTranspose2d, z: Tensor) -> Tensor:
        """conv(phi(z)): z [N, n_basis] -> [N, C', H', W'].

        Both are linear, so the convolution is applied to the n_basis + 1 maps (L * U and mu) instead of the N maps of
        the batch, and the batch is mixed from the results: the same sum in another order.
        """
        maps = self._maps(torch.cat([self.L[:, None] * self.U, self.mu[None]]))  # [n_basis + 1, C, H, W]
        if isinstance(conv, nn.ConvTranspose2d):
            maps = F.conv_transpose2d(maps, conv.weight, None, conv.stride, conv.padding, conv.output_padding)  # type: ignore[arg-type]
        else:
            maps = F.conv2d(maps, conv.weight, None, conv.stride, conv.padding)
        if conv.bias is not None:  # once, with the origin
            maps = torch.cat([maps[:-1], maps[-1:] + conv.bias[:, None, None]])
        channels, *sides = maps.shape[1:]
        flat = maps.permute(0, 2, 3, 1).reshape(len(maps), -1)
        return torch.addmm(flat[-1], z, flat[:-1]).view(len(z), *sides, channels).permute(0, 3, 1, 2)

    @in_float32
    def orthogonality(self) -> Tensor:
        """Mean over the n_basis^2 entries of (U U^T - I)^2; a scalar, 0 when the directions are orthonormal."""
        gram = self.U @ self.U.T  # [n_basis, n_basis]
        return (gram - torch.eye(len(gram), device=gram.device, dtype=gram.dtype)).square().mean()

    def _maps(self, flat: Tensor) -> Tensor:
        return flat.view(len(flat), *self.shape).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """Doubles the side of the features while a subspace is added before each of its two convolutions.

    The 1 x 1 and the stride-1 3 x 3 transposed convolutions of the published table have as many channels in as out;
    there they are ordinary convolutions with the kernel turned round, and equally initialised.
    """

    def __init__(self, c_in: int, c_out: int, side: int, n_basis: int) -> None:
        super().__init__()
        self.subspace = Subspace(n_basis, c_in, side)
        self.s1 = nn.Conv2d(c_in, c_in, 1)
        self.s2 = nn.ConvTranspose2d(c_in, c_out, 3, stride=2, padding=1, output_padding=1)
        self.f1 = nn.ConvTranspose2d(c_in, c_out, 3, stride=2, padding=1, output_padding=1)
        self.f2 = nn.Conv2d(c_out, c_out, 3, padding=1)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """h [N, c_in, H, W], z [N, n_basis] -> [N, c_out, 2H, 2W]."""
        h = self.f1(F.leaky_relu(h + self.subspace.through(self.s1, z), 0.2))
        return self.f2(F.leaky_relu(h + self.subspace.through(self.s2, z), 0.2))


class EigenGenerator(nn.Module):
    """EigenGAN's generator; with n_labels > 0, InfoSCC-GAN's (mapper + EigenGAN).

    side, channels: of the images; side is a power of two, at least 8. n_labels: length of y; 0 = unconditional: the
    mapper is absent and eps feeds the first layer directly, as in EigenGAN. base: channels at the finest scale, doubled
    at each coarser one up to max_width. n_basis: directions of each subspace. eps_dim: length of the Gaussian eps.
    noise_dim: length of the mapper's output (unused when n_labels = 0).
    No normalisation; PyTorch's default initialisation but for the subspaces. Raises ConfigError for another side.
    """

    def __init__(
        self,
        side: int,
        channels: int = 3,
        n_labels: int = 0,
        base: int = 16,
        max_width: int = 512,
        n_basis: int = 6,
        eps_dim: int = 512,
        noise_dim: int = 512,
    ) -> None:
        super().__init__()
        n = n_doublings(side)
        widths = [min(max_width, base * 2 ** (n - i)) for i in range(n + 1)]
        self.side, self.channels, self.n_labels = side, channels, n_labels
        self.n_basis, self.eps_dim = n_basis, eps_dim
        if n_labels:
            self.y_fc = nn.Linear(n_labels, n_labels)
            self.concat_fc = nn.Linear(n_labels + eps_dim, noise_dim)
        self.fc = nn.Linear(noise_dim if n_labels else eps_dim, widths[0] * 4 * 4)
        self.blocks = nn.ModuleList(_Block(widths[i], widths[i + 1], 4 * 2**i, n_basis) for i in range(n))
        self.out = nn.Conv2d(widths[-1], channels, 7, padding=3)

    @property
    def n_layers(self) -> int:
        """K, the number of subspaces: log2(side) - 2."""
        return len(self.blocks)

    def forward(self, y: Tensor | None, eps: Tensor, zs: Tensor | Sequence[Tensor]) -> Tensor:
        """Images [N, C, S, S] in [-1, 1].

        y: [N, n_labels], one-hot or 0/1 attributes; None when n_labels = 0. eps: [N, eps_dim], standard normal.
        zs: [N, K, n_basis] or K tensors [N, n_basis], standard normal, the coarsest layer first.
        """
        assert (y is None) == (self.n_labels == 0), "y is given exactly when the generator has labels"
        layers = zs.unbind(1) if isinstance(zs, Tensor) else zs
        assert len(layers) == self.n_layers, f"{len(layers)} layers of z for {self.n_layers} subspaces"
        if y is not None:  # the mapper: two linear maps with nothing between them, as published
            eps = self.concat_fc(torch.cat([self.y_fc(y.to(eps.dtype)), eps], 1))
        h = self.fc(eps).view(len(eps), -1, 4, 4)
        for block, z in zip(self.blocks, layers):
            h = block(h, z)
        return torch.tanh(self.out(F.leaky_relu(h, 0.2)))

    def orthogonality(self) -> Tensor:
        """R_orth of InfoSCC-GAN: mean over layers and entries of (U U^T - I)^2; a scalar."""
        return torch.stack([block.subspace.orthogonality() for block in self.blocks]).mean()  # type: ignore[union-attr, operator]
