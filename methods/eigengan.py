"""EigenGAN (He, Kan, Shan; ICCV 2021, arXiv 2104.12476): InfoSCC-GAN's unconditional baseline.

Each layer of the generator adds a point of a learned linear subspace, phi_i(z_i) = U_i L_i z_i + mu_i, whose
orthonormal directions become interpretable moves. Losses and schedule are those of InfoSCC-GAN's code, which grew from
a port of this method, so that the two differ in the conditioning alone: no mapper, no encoder, no classifier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeFloat, PositiveInt, Probability
from benchmark.nn.augment import DiffAugment, host_decides
from benchmark.nn.discriminators import GlobalDiscriminator, PatchDiscriminator
from benchmark.nn.eigengan import EigenGenerator
from benchmark.nn.losses import adversarial, r1
from benchmark.training import Dataset, GANConfig, Method, Picture, Sample, Stream
from benchmark.training.traversals import SCALE, traversals


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper, [C] InfoSCC-GAN's code, whose settings the comparison shares, [ours] chosen here."""

    discriminator: Literal["global", "patch"] = "global"  # as InfoSCC-GAN's ablation [C]
    loss: Literal["hinge", "non_saturating", "lsgan", "lsgan4"] = "hinge"  # hinge: stops at 1 for G too [P]
    r1_every: PositiveInt = 16  # R1 step every so many steps [C; P: 3, three times as strong]
    r1_weight: NonNegativeFloat = 10.0  # no 1/2, not multiplied by r1_every [C]
    orth_weight: NonNegativeFloat = 100.0  # of R_orth, nearly P's half squared norm summed over layers [C]
    augment: Probability = 0.6  # of each DiffAugment operation, on a whole batch [C; P: none]
    base: PositiveInt = 16  # channels of G's last and D's first block [P]
    max_width: PositiveInt = 512  # most channels of a block [P]
    n_basis: PositiveInt = 6  # dimensions of each layer's subspace [P]
    eps_dim: PositiveInt = 512  # of the Gaussian at G's bottom [P]
    patch_width: PositiveInt = 64  # ndf of the patch discriminator [C: history]
    patch_layers: PositiveInt = 6  # n_layers of the patch discriminator [C: history]


LOSSES = {"hinge": "hinge_v1", "non_saturating": "non_saturating", "lsgan": "lsgan", "lsgan4": "lsgan4"}


class EigenGAN(Method):
    """EigenGAN: unconditional generator with an orthogonal linear subspace in every layer; InfoSCC-GAN's baseline."""

    cfg: Config
    G: EigenGenerator
    D: nn.Module

    @staticmethod
    def uncapturable(cfg: Config) -> str:
        """Why a step cannot be captured: DiffAugment's coins."""
        return host_decides(cfg.augment)

    def __init__(self, cfg: Config, data: Dataset) -> None:
        side, channels = data.resolution, data.channels
        self.G = EigenGenerator(side, channels, 0, cfg.base, cfg.max_width, cfg.n_basis, cfg.eps_dim)
        if cfg.discriminator == "global":
            self.D = GlobalDiscriminator(side, channels, cfg.base, cfg.max_width)
        else:
            self.D = PatchDiscriminator(side, channels, cfg.patch_width, cfg.patch_layers)
        self.loss_D, self.loss_G = adversarial(LOSSES[cfg.loss])
        self.T = DiffAugment(p=cfg.augment)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """D, now and then its gradient penalty, then G with its orthogonality term."""
        cfg, losses = self.cfg, {}
        x = next(stream).images  # [B, C, S, S]

        for i in range(cfg.n_dis):
            if i:
                x = next(stream).images
            with torch.no_grad():
                x_fake = self.generate(self.G, len(x))
            loss_D = self.loss_D(self.D(self.T(x)), self.D(self.T(x_fake)))
            self.update(loss_D, self.opt_D)
        losses["D"] = loss_D

        if t % cfg.r1_every == 0 and cfg.r1_weight:
            penalty = r1(lambda images: self.D(self.T(images)), x)
            self.update(cfg.r1_weight * penalty, self.opt_D)
            losses["R1"] = penalty

        loss_G, orth = self.loss_G(self.D(self.T(self.generate(self.G, len(x))))), self.G.orthogonality()
        self.update(loss_G + cfg.orth_weight * orth, self.opt_G)
        return {**losses, "G": loss_G, "orth": orth}

    def generate(self, G: nn.Module, n: int) -> Tensor:
        """G(eps, z_1..z_K) with fresh latents: images [n, C, S, S] in [-1, 1]."""
        return G(None, self.normal(n, self.cfg.eps_dim), self.normal(n, self.G.n_layers, self.cfg.n_basis))

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Unconditional: there are no conditions."""
        return Sample(self.generate(G, n), None)

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[Picture]:
        """One traversal for each layer and dimension."""
        eps = SCALE * self.normal(8, self.cfg.eps_dim)
        zs = SCALE * self.normal(8, self.G.n_layers, self.cfg.n_basis)
        yield from traversals(lambda moved: G(None, eps, moved), zs)


_SMALL = Config(  # InfoSCC-GAN's of the same name
    steps=4000,
    batch=32,
    lr_G=5e-4,
    lr_D=5e-4,
    r1_weight=1.0,
    ema_half_life_images=5000,
    base=8,
    eps_dim=128,
    patch_width=32,
    patch_layers=3,
)

RECIPES = {  # InfoSCC-GAN's budget on each dataset
    "paper": {
        "afhq": Config(steps=200_000, batch=32, log_every=500, checkpoint_every=5000),
        "celeba": Config(steps=200_000, batch=64, log_every=500, checkpoint_every=5000),
    },
    "small": {
        "default": _SMALL,
        "digits": replace(_SMALL, steps=3000, base=16, patch_layers=2),
        "shapes": replace(_SMALL, steps=3000, r1_weight=10.0, base=16, patch_layers=2),
        "shapes_class": replace(_SMALL, base=16, patch_layers=2),
    },
}
