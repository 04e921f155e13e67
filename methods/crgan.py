"""Consistency regularisation: CR-GAN and its improved forms, on the networks of SNGAN and BigGAN.

Zhang, Zhang, Odena, Lee; ICLR 2020, arXiv 1910.12027 (CR-GAN) and Zhao, Singh, Lee, Zhang, Odena, Zhang; AAAI 2021,
arXiv 2002.04724 (bCR, zCR, ICR). D is trained to answer alike for an image and its augmented copy. T: augmentation,
Delta: a small move of the latent.

  CR   D: lambda_real (D(x) - D(T(x)))^2
  bCR  D: CR + lambda_fake (D(G(z)) - D(T(G(z))))^2
  zCR  D: lambda_dis (D(G(z)) - D(G(z + Delta)))^2        G: -lambda_gen (G(z) - G(z + Delta))^2
  ICR  bCR and zCR
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeFloat, PositiveFloat, PositiveInt, Probability, added
from benchmark.core.errors import ConfigError
from benchmark.nn.augment import random_flip, random_shift
from benchmark.nn.backbones import BigGANVariant, build_biggan, build_plain
from benchmark.nn.losses import adversarial, mse_loss
from benchmark.training import Dataset, GANConfig, Method, Sample, Stream, build_recipes
from methods.recipes import crgan


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] papers; [S] StudioGAN's settings of CR and ICR; [C] compare_gan and BigGAN-PyTorch; [ours] chosen here."""

    consistency: Literal["cr", "bcr", "zcr", "icr"] = "cr"  # which of the terms above [P]
    backbone: Literal["sndcgan", "resnet", "biggan"] = "sndcgan"  # [P]
    conditional: bool = False  # class-conditional BigGAN [P]
    loss: Literal["hinge", "non_saturating"] = "hinge"  # [P]
    biggan: BigGANVariant = added("cifar10")  # which of BigGAN-PyTorch's networks [C]
    adam_eps: PositiveFloat = added(1e-8)  # of G's and D's Adam; 1e-6 on ImageNet [C]
    z_dim: PositiveInt = 128  # of the latent [C]
    width: PositiveInt | None = None  # channels of the narrowest hidden layer (BigGAN's ch); None: the published ones
    lambda_real: NonNegativeFloat = 10.0  # CR's weight [P]
    lambda_fake: NonNegativeFloat = 10.0  # of bCR's term on generated images [S]
    lambda_dis: NonNegativeFloat = 20.0  # of zCR's term in D [S]
    lambda_gen: NonNegativeFloat = 0.5  # of zCR's term in G [S]
    sigma: PositiveFloat = 0.05  # standard deviation of Delta [S]
    shift: Probability = 0.125  # T's largest shift as a part of the side: 4 px at 32 [S]


TERMS: dict[str, set[str]] = {  # what D is to be consistent about
    "cr": {"real"},
    "bcr": {"real", "fake"},
    "zcr": {"latent"},
    "icr": {"real", "fake", "latent"},
}


class CRGAN(Method):
    """CR-GAN: D answers alike for an image and its augmented copy; balanced (bCR), latent (zCR) and improved (ICR)."""

    cfg: Config
    D: nn.Module

    def __init__(self, cfg: Config, data: Dataset) -> None:
        self.terms, self.max_shift_px, self.flip_ok = TERMS[cfg.consistency], _max_shift(cfg, data), data.flip_ok
        if cfg.conditional:
            _check_classes(cfg, data)
            self.conditioning, self.n_labels, self.default_conditions = "class", data.n_classes, "uniform classes"
        self.G, self.D = _nets(cfg, data, self.n_labels)
        self.loss_D, self.loss_G = adversarial(cfg.loss)
        self.z_dim = getattr(self.G, "z_dim", cfg.z_dim)  # BigGAN's is a multiple of its chunks
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas, eps=cfg.adam_eps)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas, eps=cfg.adam_eps)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on fresh images, then one of G."""
        for _ in range(self.cfg.n_dis):
            batch = next(stream)
            n, y_fake = len(batch.images), self.labels(len(batch.images))
            with torch.no_grad():
                x_fake, x_moved = self.pair(n, y_fake)
            D_x, D_fake, consistency = self.judged(batch.images, batch.labels, x_fake, x_moved, y_fake)
            loss_D = self.loss_D(D_x, D_fake)
            self.update(loss_D + consistency, self.opt_D)
        losses = {"D": loss_D, "consistency": consistency}

        y_fake = self.labels(n)
        x_fake, x_moved = self.pair(n, y_fake)
        loss_G = total = self.loss_G(self.logits(x_fake, y_fake))
        if x_moved is not None:  # zCR: other latents, other images
            losses["spread"] = mse_loss(x_fake, x_moved)
            total = loss_G - self.cfg.lambda_gen * losses["spread"]
        self.update(total, self.opt_G)
        return {**losses, "G": loss_G}

    def judged(
        self, x: Tensor, y: Tensor | None, x_fake: Tensor, x_moved: Tensor | None, y_fake: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """D(x), D(G(z)) and the weighted consistency terms. Gradients pass through both logits of each term.

        All images go through D in one call, so that spectral norm divides by the same singular values: with T the
        identity the terms on images are zero.
        """
        cfg, zero = self.cfg, x.new_zeros(())
        views = {"x": (x, y), "G(z)": (x_fake, y_fake)}
        if "real" in self.terms:
            views["T(x)"] = (self.T(x), y)
        if "fake" in self.terms:
            views["T(G(z))"] = (self.T(x_fake), y_fake)
        if x_moved is not None:
            views["G(z + Delta)"] = (x_moved, y_fake)
        images, labels = zip(*views.values())
        joint = self.logits(torch.cat(images), torch.cat(labels) if self.conditioning == "class" else None)
        D = dict(zip(views, joint.chunk(len(views))))

        real = cfg.lambda_real * mse_loss(D["x"], D["T(x)"]) if "T(x)" in D else zero
        fake = cfg.lambda_fake * mse_loss(D["G(z)"], D["T(G(z))"]) if "T(G(z))" in D else zero
        latent = cfg.lambda_dis * mse_loss(D["G(z)"], D["G(z + Delta)"]) if "G(z + Delta)" in D else zero
        return D["x"], D["G(z)"], real + fake + latent

    def T(self, x: Tensor) -> Tensor:
        """The augmentation: mirrored with probability 1/2 where the labels allow it, shifted, the border reflected."""
        return random_shift(random_flip(x) if self.flip_ok else x, self.max_shift_px)

    def pair(self, n: int, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """G(z) and, for zCR, G(z + Delta) [n, C, S, S]; in one call, that G's batch norm treats them alike [ours]."""
        z = self.z(n)
        if "latent" not in self.terms:
            return self.generate(self.G, z, y), None
        moved = z + self.cfg.sigma * self.z(n)
        x, x_moved = self.generate(self.G, torch.cat([z, moved]), None if y is None else torch.cat([y, y])).chunk(2)
        return x, x_moved

    def logits(self, x: Tensor, y: Tensor | None) -> Tensor:
        """D(x), or D(x, y) where it is told classes: [N]."""
        return self.D(x) if y is None else self.D(x, y)

    def generate(self, G: nn.Module, z: Tensor, y: Tensor | None) -> Tensor:
        """G(z), or G(z, y): images [N, C, S, S] in [-1, 1]."""
        return G(z) if y is None else G(z, y)

    def z(self, n: int) -> Tensor:
        """Latents [n, z_dim], standard normal."""
        return self.normal(n, self.z_dim)

    def labels(self, n: int) -> Tensor | None:
        """Uniform classes [n], or None without conditioning."""
        return torch.randint(self.n_labels, (n,), device=self.device) if self.n_labels else None

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images of the requested classes, by default uniform ones; without conditioning there are none."""
        conditions = self.labels(n) if conditions is None else conditions.to(self.device)
        return Sample(self.generate(G, self.z(n), conditions), conditions)


def _max_shift(cfg: Config, data: Dataset) -> int:
    """T's largest shift in pixels; smaller than the side, or it could not be reflected."""
    return min(int(cfg.shift * data.resolution), data.resolution - 1)


def _check_classes(cfg: Config, data: Dataset) -> None:
    """Classes are there and the networks can take them. Raises ConfigError."""
    if cfg.backbone != "biggan":
        raise ConfigError("conditional = true", f"the {cfg.backbone} networks take no classes", "set backbone=biggan")
    if data.conditioning != "class":
        raise ConfigError("conditional = true", f"{data.name} has no classes", "set conditional=false")


def _nets(cfg: Config, data: Dataset, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """G and D; BigGAN's as its authors' code has them for CIFAR-10 or ImageNet."""
    side, channels = data.resolution, data.channels
    if cfg.backbone == "biggan":
        return build_biggan(cfg.biggan, side, channels, cfg.z_dim, n_classes, cfg.width)
    return build_plain(cfg.backbone, side, channels, cfg.z_dim, cfg.width)


RECIPES = build_recipes(Config, crgan.RECIPES)
