"""SNGAN (Miyato, Kataoka, Koyama, Yoshida; ICLR 2018, arXiv 1802.05957): the unconditional baseline of several papers.

The discriminator's weights are divided by their largest singular value, W / sigma(W), which bounds its Lipschitz
constant by that of its activations; losses and networks are otherwise plain.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, PositiveInt
from benchmark.nn.backbones import build_plain
from benchmark.nn.losses import adversarial
from benchmark.training import Dataset, GANConfig, Method, Sample, Stream, build_recipes
from methods.recipes import sngan


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper, appendix; [S] the SNDCGAN of compare_gan, which LT-GAN and CR-GAN build on; [ours] chosen here."""

    backbone: Literal["resnet", "sndcgan"] = "resnet"  # the paper's residual networks, or its plain ones
    loss: Literal["hinge", "non_saturating"] = "hinge"  # [P] eq. 16, 17
    z_dim: PositiveInt = 128  # of the latent [P]
    width: PositiveInt | None = None  # channels of the narrowest hidden layer; None: the paper's
    g_batch: PositiveInt = 1  # G's batch in batches of D; 2 on CIFAR-10 [P]
    linear_decay: bool = True  # both learning rates fall linearly to 0 [P]


class SNGAN(Method):
    """SNGAN: spectrally normalised discriminator, residual or plain (SNDCGAN) networks; unconditional baseline."""

    cfg: Config
    D: nn.Module

    def __init__(self, cfg: Config, data: Dataset) -> None:
        self.linear_decay = cfg.linear_decay
        self.G, self.D = build_plain(cfg.backbone, data.resolution, data.channels, cfg.z_dim, cfg.width)
        self.loss_D, self.loss_G = adversarial(cfg.loss)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on fresh images, then one of G."""
        for _ in range(self.cfg.n_dis):
            x = next(stream).images  # [B, C, S, S]
            with torch.no_grad():
                x_fake = self.G(self.z(len(x)))
            loss_D = self.loss_D(self.D(x), self.D(x_fake))  # eq. 16
            self.update(loss_D, self.opt_D)

        loss_G = self.loss_G(self.D(self.G(self.z(self.cfg.g_batch * len(x)))))  # eq. 17
        self.update(loss_G, self.opt_G)
        return {"D": loss_D, "G": loss_G}

    def z(self, n: int) -> Tensor:
        """Latents [n, z_dim], standard normal."""
        return self.normal(n, self.cfg.z_dim)

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Unconditional: there are no conditions."""
        return Sample(G(self.z(n)), None)


RECIPES = build_recipes(Config, sngan.RECIPES)
