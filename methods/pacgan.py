"""PacGAN (Lin, Khetan, Fanti, Oh; NeurIPS 2018, arXiv 1712.04086): the discriminator judges m samples at once.

A packed discriminator D(x_1, ..., x_m) sees m real or m generated samples side by side, so that a generator with fewer
modes than the data is found out by how alike its samples are. Everything else is the plain GAN: the nets are those of
Self-Conditioned GAN (Liu et al., CVPR 2020), whose tables have it as PacGAN2, PacGAN3 and PacGAN4.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT
from benchmark.core.errors import ConfigError
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.losses import adversarial, r1
from benchmark.nn.selfcond import build_nets
from benchmark.training.method import Method, Sample
from benchmark.training.plain_gan import PlainGANConfig, plain_recipes


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(PlainGANConfig):
    """Beside the setting of Self-Conditioned GAN's code. [P] paper."""

    m: Annotated[int, Field(ge=1, le=16)] = 2  # degree of packing: samples a judgement [P]; 1 is the plain GAN


class PacGAN(Method):
    """PacGAN: the discriminator judges packs of m samples, which shows it missing modes; images or 2-D points."""

    cfg: Config
    accepts: ClassVar[tuple[str, ...]] = ("images", "points")

    def __init__(self, cfg: Config, data: Dataset) -> None:
        if cfg.batch < cfg.m:
            raise ConfigError(f"m = {cfg.m}", f"a batch of {cfg.batch} holds no pack", f"choose batch >= {cfg.m}")
        nets = build_nets(cfg.backbone, data, cfg.z_dim, pack=cfg.m, width_G=cfg.width_G, width_D=cfg.width_D)
        self.G, self.D = nets
        self.loss_D, self.loss_G = adversarial("non_saturating")
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on fresh packs, then one of G on the last of its own."""
        cfg, losses = self.cfg, {}
        for _ in range(cfg.n_dis):
            x = next(stream).images  # [B, C, S, S], or points [B, 2]
            if cfg.pixel_noise:
                x = x + cfg.pixel_noise * torch.rand_like(x)
            x, x_fake = self.packed(x), self.packed(self.G(self.normal(len(x), cfg.z_dim)))
            loss_D = losses["D"] = self.loss_D(self.D(x), self.D(x_fake.detach()))
            if cfg.r1_weight:
                losses["R1"] = r1(self.D, x)
                loss_D = loss_D + cfg.r1_weight * losses["R1"]
            self.update(loss_D, self.opt_D)

        losses["G"] = self.loss_G(self.D(x_fake))
        self.update(losses["G"], self.opt_G)
        return losses

    def packed(self, x: Tensor) -> Tensor:
        """m samples a row: [B, C, S, S] -> [B // m, m C, S, S], points [B, 2] -> [B // m, 2 m]; a rest is left out.

        Samples of a batch are independent, so neighbours make a pack. The number of samples a step is the batch,
        whatever m is: rows of one table see equally many [ours].
        """
        m = self.cfg.m
        return x[: len(x) // m * m].reshape(len(x) // m, m * x.shape[1], *x.shape[2:])

    def lr_factor(self, t: int) -> float:
        """Constant [C], or linear to zero over the run [ours]."""
        return self.cfg.lr_factor(t)

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Unconditional: nothing is asked."""
        return Sample(G(self.normal(n, self.cfg.z_dim)), None)


RECIPES = plain_recipes(Config)
