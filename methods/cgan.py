"""Conditional GAN, by concatenation (Mirza, Osindero 2014, arXiv 1411.1784) or projection (Miyato, Koyama; ICLR 2018).

Concatenation: G reads [z, y], D reads the image with one constant map for each entry of the one-hot y.
Projection: G's normalisations have a gain and a shift for each class, and D(x, y) = psi(phi(x)) + <e_y, phi(x)>,
the form that the log-ratio of two softmax classifiers takes (arXiv 1802.05637, eq. 3).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeInt, PositiveInt, Probability
from benchmark.core.errors import ConfigError
from benchmark.data.labels import Labels
from benchmark.nn.backbones import build_plain
from benchmark.nn.losses import adversarial
from benchmark.nn.sngan import SNGANDiscriminator, SNGANGenerator
from benchmark.training import Dataset, GANConfig, Method, Sample, Stream, build_recipes
from methods.recipes import cgan


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] the projection paper; [C] its authors' code; [ours] chosen here. Concatenation has no settings to follow."""

    conditioning: Literal["concatenation", "projection"] = "projection"  # how y enters both networks
    backbone: Literal["resnet", "sndcgan"] = "resnet"  # residual networks [P], or plain ones; projection has the first
    loss: Literal["hinge", "non_saturating"] = "hinge"  # [P] eq. 15, 16
    z_dim: PositiveInt = 128  # of the latent, without y [P]
    width: PositiveInt | None = None  # channels of the narrowest hidden layer; None: the paper's
    g_batch: PositiveInt = 1  # G's batch in batches of D; 2 on CIFAR-10 [C]
    linear_decay: bool = True  # both learning rates fall linearly to 0 [C]
    label_noise: Probability = 0.0  # share of the training labels that name another class
    noise_seed: NonNegativeInt = 0  # of the choice of these labels: equal seeds, equal labels, for every method


class CGAN(Method):
    """Conditional GAN: labels by concatenation (Mirza and Osindero) or projection (cGAN-PD), spectral norm in D."""

    cfg: Config
    D: nn.Module

    def __init__(self, cfg: Config, data: Dataset) -> None:
        self.labels = Labels(data, self.device, cfg.label_noise, cfg.noise_seed)
        self.conditioning, self.n_labels = self.labels.kind, self.labels.n
        self.default_conditions, self.linear_decay = self.labels.default_conditions, cfg.linear_decay
        side, channels, n = data.resolution, data.channels, self.labels.n
        if cfg.conditioning == "projection":
            if cfg.backbone != "resnet":
                raise ConfigError(
                    "conditioning = projection with the sndcgan networks",
                    "their discriminator pools no features to project on",
                    "set backbone=resnet, or conditioning=concatenation",
                )
            self.G: nn.Module = SNGANGenerator(side, channels, cfg.z_dim, cfg.width, n_classes=n)
            self.D = SNGANDiscriminator(side, channels, cfg.width, n_classes=n)
        else:
            nets = build_plain(cfg.backbone, side, channels, cfg.z_dim + n, cfg.width, channels_D=channels + n)
            self.G, self.D = nets
        self.loss_D, self.loss_G = adversarial(cfg.loss)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on fresh images, then one of G; generated images are of labels drawn for them."""
        for _ in range(self.cfg.n_dis):
            batch = next(stream)
            x, y = batch.images, self.labels.of(batch)  # [B, C, S, S], [B] or [B, A]
            y_fake = self.labels.draw(len(x))
            with torch.no_grad():
                x_fake = self.generate(self.G, y_fake)
            loss_D = self.loss_D(self.discriminate(x, y), self.discriminate(x_fake, y_fake))
            self.update(loss_D, self.opt_D)

        y_fake = self.labels.draw(self.cfg.g_batch * len(x))
        loss_G = self.loss_G(self.discriminate(self.generate(self.G, y_fake), y_fake))
        self.update(loss_G, self.opt_G)
        return {"D": loss_D, "G": loss_G}

    def generate(self, G: nn.Module, y: Tensor) -> Tensor:
        """G(z, y) with fresh standard normal z: images [N, C, S, S] in [-1, 1]."""
        z = self.normal(len(y), self.cfg.z_dim)
        if self.cfg.conditioning == "projection":
            return G(z, self.labels.index(y))
        return G(torch.cat([z, self.labels.vector(y)], 1))

    def discriminate(self, x: Tensor, y: Tensor) -> Tensor:
        """D(x, y) for images [N, C, S, S] and labels: logits [N]."""
        if self.cfg.conditioning == "projection":
            return self.D(x, self.labels.index(y))
        maps = self.labels.vector(y)[:, :, None, None].expand(-1, -1, *x.shape[2:])  # [N, n, S, S]
        return self.D(torch.cat([x, maps], 1).contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images of the requested labels; by default of uniform classes, or of training images' attributes."""
        conditions = self.labels.draw(n) if conditions is None else conditions.to(self.device)
        return Sample(self.generate(G, conditions), conditions.long())


RECIPES = build_recipes(Config, cgan.RECIPES)
