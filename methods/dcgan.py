"""DCGAN (Radford, Metz, Chintala; ICLR 2016, arXiv 1511.06434): the plain GAN of several papers' tables.

The loss is that of Goodfellow et al. (2014) with the non-saturating generator. The nets are those of Self-Conditioned
GAN (Liu et al., CVPR 2020) without its condition: this is the row "GAN" of its tables, for points in the plane too.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.losses import adversarial, r1
from benchmark.nn.selfcond import build_nets
from benchmark.training.method import Method, Sample
from benchmark.training.plain_gan import PlainGANConfig, plain_recipes


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(PlainGANConfig):
    """Nothing of its own: the setting of Self-Conditioned GAN's unconditional baseline."""


class DCGAN(Method):
    """DCGAN: the plain unconditional GAN, cross-entropy with the non-saturating generator; images or 2-D points."""

    cfg: Config
    accepts: ClassVar[tuple[str, ...]] = ("images", "points")
    default_conditions: str = "nothing"

    def __init__(self, cfg: Config, data: Dataset) -> None:
        self.G, self.D = build_nets(cfg.backbone, data, cfg.z_dim, width_G=cfg.width_G, width_D=cfg.width_D)
        self.loss_D, self.loss_G = adversarial("non_saturating")
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on fresh images, then one of G on the last of their latents."""
        cfg, losses = self.cfg, {}
        for _ in range(cfg.n_dis):
            x = next(stream).images  # [B, C, S, S], or points [B, 2]
            if cfg.pixel_noise:
                x = x + cfg.pixel_noise * torch.rand_like(x)
            x_fake = self.G(self.normal(len(x), cfg.z_dim))
            loss_D = losses["D"] = self.loss_D(self.D(x), self.D(x_fake.detach()))
            if cfg.r1_weight:
                losses["R1"] = r1(self.D, x)
                loss_D = loss_D + cfg.r1_weight * losses["R1"]
            self.update(loss_D, self.opt_D)

        losses["G"] = self.loss_G(self.D(x_fake))
        self.update(losses["G"], self.opt_G)
        return losses

    def lr_factor(self, t: int) -> float:
        """Constant [C], or linear to zero over the run [ours]."""
        return self.cfg.lr_factor(t)

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Unconditional: nothing is asked."""
        return Sample(G(self.normal(n, self.cfg.z_dim)), None)


RECIPES = plain_recipes(Config)
