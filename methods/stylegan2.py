"""StyleGAN2 (Karras, Laine, Aittala, Hellsten, Lehtinen, Aila; CVPR 2020, arXiv 1912.04958), unconditional.

A mapping network turns z into styles w, which scale the weights of a synthesis network's convolutions. Losses are
non-saturating; D is held back by R1 on real images and G kept smooth by path length regularisation, both only every so
many steps ("lazily", section 3.1). Symbols are the paper's: f mapping, w styles, J_w the Jacobian of the synthesis
network, a the running mean of path lengths.
"""

from __future__ import annotations

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, Beta, NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from benchmark.nn.losses import adversarial, lazy_adam, path_length_penalty, r1
from benchmark.nn.precision import in_float32
from benchmark.nn.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from benchmark.training import Dataset, GANConfig, Method, Sample, Stream, build_recipes
from methods.recipes import stylegan2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [C] the authors' later code, NVlabs/stylegan2-ada-pytorch, without augmentation; [ours] chosen here.

    The defaults are the code's automatic settings, but for the R1 weight and the average's half-life, which it
    computes from side and batch, and the average's slow start, which is left out.
    """

    lr_G: PositiveFloat = 2.5e-3  # before the correction for lazy regularisation [C]
    lr_D: PositiveFloat = 2.5e-3  # the same [C]
    betas: tuple[Beta, Beta] = (0.0, 0.99)  # the same [P]
    z_dim: PositiveInt = 512  # of the latent [P]
    w_dim: PositiveInt = 512  # of a style [P]
    mapping_layers: PositiveInt = 2  # of f [C]; 8 [P]
    base: PositiveInt = 16384  # a map of side r has min(base / r, max_width) channels [C]
    max_width: PositiveInt = 512  # most channels of a map [P]
    mbstd_group: PositiveInt = 4  # images of a minibatch standard deviation [C]
    residual: bool = True  # shortcuts in D [P]; none on CIFAR-10 [C]
    mixing: Probability = 0.9  # of two styles in one image while training [P]
    r1_weight: NonNegativeFloat = 0.1  # gamma; R1 counts gamma / 2 [C: 0.0002 * side^2 / batch]
    r1_every: PositiveInt = 16  # R1 step every so many steps [P]
    pl_weight: NonNegativeFloat = 2.0  # of path length regularisation [C]
    pl_every: PositiveInt = 4  # path length step every so many steps [C]
    pl_decay: Probability = 0.01  # part of a new batch in the mean length a [C]
    pl_shrink: PositiveInt = 2  # path lengths are taken on so small a part of a batch [C]


class StyleGAN2(Method):
    """StyleGAN2: modulated convolutions, skip generator, residual discriminator, lazy R1 and path lengths."""

    cfg: Config
    G: StyleGAN2Generator
    D: StyleGAN2Discriminator
    a: Tensor  # [] running mean of path lengths

    def __init__(self, cfg: Config, data: Dataset) -> None:
        side, channels = data.resolution, data.channels
        self.G = StyleGAN2Generator(side, channels, cfg.z_dim, cfg.w_dim, cfg.mapping_layers, cfg.base, cfg.max_width)
        self.D = StyleGAN2Discriminator(
            side, channels, cfg.base, cfg.max_width, mbstd_group=cfg.mbstd_group, residual=cfg.residual
        )
        self.a = torch.zeros((), device=self.device)
        self.loss_D, self.loss_G = adversarial("non_saturating")
        # Corrected even where a weight is 0, as in the code: settings then differ by the regulariser alone.
        self.opt_G = self.adam(self.G, *lazy_adam(cfg.lr_G, cfg.betas, cfg.pl_every))
        self.opt_D = self.adam(self.D, *lazy_adam(cfg.lr_D, cfg.betas, cfg.r1_every))

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """G, its path lengths, D, its R1: separate optimiser steps in this order, each with fresh latents [C]."""
        cfg, losses = self.cfg, {}
        x = next(stream).images  # [B, C, S, S]
        n = len(x)

        loss_G = self.loss_G(self.D(self.G.synthesis(self.styles(n))))
        self.update(loss_G, self.opt_G)

        if cfg.pl_weight and t % cfg.pl_every == 0:
            losses["PL"] = self.path_length_penalty(max(1, n // cfg.pl_shrink))
            self.update(cfg.pl_every * cfg.pl_weight * losses["PL"], self.opt_G)

        for k in range(cfg.n_dis):
            x = next(stream).images if k else x
            with torch.no_grad():
                x_fake = self.G.synthesis(self.styles(n))
            loss_D = self.loss_D(self.D(x), self.D(x_fake))
            self.update(loss_D, self.opt_D)

        if cfg.r1_weight and t % cfg.r1_every == 0:
            losses["R1"] = r1(self.D, x)
            self.update(cfg.r1_every * cfg.r1_weight / 2 * losses["R1"], self.opt_D)
        return {"D": loss_D, "G": loss_G, **losses}

    def styles(self, n: int) -> Tensor:
        """Styles of n images while training, [n, n_ws, w_dim]: w = f(z), mixed with those of other latents."""
        w = self.G.map(self.z(n))
        if not self.cfg.mixing:
            return self.G.repeat(w)
        return self.G.mix(w, self.G.map(self.z(n)), self.G.draw_crossover(self.cfg.mixing))

    @in_float32
    def path_length_penalty(self, n: int) -> Tensor:
        """mean (|| J_w^T y || - a)^2 of n images (eq. 4); a moves towards the mean length."""
        ws = self.styles(n)
        penalty, a = path_length_penalty(self.G.synthesis(ws), ws, self.a, self.cfg.pl_decay)
        self.a.copy_(a)
        return penalty

    def z(self, n: int) -> Tensor:
        """Latents [n, z_dim], standard normal."""
        return self.normal(n, self.cfg.z_dim)

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Unconditional: there are no conditions. One style an image, fresh noise, no truncation."""
        return Sample(G(self.z(n)).clamp(-1, 1), None)


RECIPES = build_recipes(Config, stylegan2.RECIPES)
