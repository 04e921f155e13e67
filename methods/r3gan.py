"""R3GAN (Huang, Gokaslan, Kuleshov, Tompkin; NeurIPS 2024, arXiv 2501.05441): a regularised relativistic GAN.

D compares each real image x with a generated one G(z), and is kept smooth on both by zero-centred gradient penalties:

  RpGAN  min_D E f(D(x) - D(G(z))),  min_G E f(D(G(z)) - D(x))        with f(t) = log(1 + e^-t)
  R1     gamma / 2  E_x || grad_x D(x) ||^2                           R2: the same on generated images

The networks (`benchmark.nn.r3gan`) are residual, without normalisation, styles, noise or minibatch statistics. Early in
training, while little is learned, gamma, the learning rate, Adam's beta2, the average generator's half-life and the
probability of augmentation move along a cosine from a first to a last value.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, Beta, NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from benchmark.nn.ada import augment
from benchmark.nn.losses import adversarial, gradient_penalty, relativistic
from benchmark.nn.precision import at_least_float32, in_float32
from benchmark.nn.r3gan import R3GANDiscriminator, R3GANGenerator
from benchmark.training import Batch, Dataset, GANConfig, Method, Sample, Stream, build_recipes
from methods.recipes import r3gan


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [C] the authors' code, brownvc/R3GAN; [ours] chosen here. Defaults are those of CIFAR-10 in [C].

    Two numbers are the first and the last value of what is annealed over `anneal_images`; lr_G and lr_D, the second of
    `betas` and `ema_half_life_images` have theirs in fields of their own.
    """

    lr_G: PositiveFloat = 2e-4  # at first [C]
    lr_D: PositiveFloat = 2e-4  # at first [C]
    lr_end: PositiveFloat = 0.25  # of both, at last, as a part of the first: 5e-5 [C]
    betas: tuple[Beta, Beta] = (0.0, 0.9)  # at first [C]
    beta2_end: Beta = 0.99  # at last [C]
    ema_half_life_images: NonNegativeFloat = 5_000_000  # at last; 0 at first, where the average is a copy [P][C]
    gamma: tuple[NonNegativeFloat, NonNegativeFloat] = (0.05, 0.005)  # weight of R1 and R2 [C]
    augment: tuple[Probability, Probability] = (0.0, 0.55)  # p of the augmentation of what D sees [C]
    anneal_images: PositiveInt = 20_000_000  # images, a batch a step, until the last values are reached [C]
    loss: Literal["relativistic", "non_saturating"] = "relativistic"  # RpGAN, or the plain GAN of its ablation [P]
    r1: bool = True  # R1, on real images [P]
    r2: bool = True  # R2, on generated images; off in the ablation [P]
    conditional: bool = True  # on the data's classes, where it has them [C: CIFAR-10, ImageNet]
    z_dim: PositiveInt = 64  # of the latent, and of G's class embedding [C]
    width: PositiveInt = 768  # most channels of a stage [C]
    base: PositiveInt = 24_576  # a stage at map side r has min(width, base / r) channels [C: FFHQ's fine stages]
    blocks: PositiveInt = 2  # residual blocks of a stage [C]
    expansion: PositiveInt = 2  # width inside a block, in widths of its stage [C]
    group_width: PositiveInt = 16  # channels of a group of the 3 x 3 convolutions [C]


def annealed(first: float, last: float, progress: float) -> float:
    """From `first` at progress 0 along half a cosine to `last` at progress 1, and there it stays [C]."""
    return last + (first - last) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


class R3GAN(Method):
    """R3GAN: relativistic pairing loss with R1 and R2 on simple residual networks; on classes, where there are any."""

    cfg: Config
    G: R3GANGenerator
    D: R3GANDiscriminator
    dry_run_batch = 1  # a step of the published networks takes a CPU seconds an image
    steps_alike = True  # but for the first one, in which nothing is augmented yet

    @staticmethod
    def uncapturable(cfg: Config) -> str:
        """Why a step cannot be captured: what it anneals."""
        return "a step computes gamma, the augmentation and Adam's beta2 from its number"

    def __init__(self, cfg: Config, data: Dataset) -> None:
        if cfg.conditional and data.conditioning == "class":
            self.conditioning, self.n_labels, self.default_conditions = "class", data.n_classes, "uniform classes"
        side, channels, n = data.resolution, data.channels, self.n_labels
        blocks, expansion, group_width = cfg.blocks, cfg.expansion, cfg.group_width
        self.G = R3GANGenerator(
            side, channels, cfg.z_dim, cfg.width, cfg.base,
            blocks=blocks, expansion=expansion, group_width=group_width, n_classes=n,
        )  # fmt: skip
        self.D = R3GANDiscriminator(
            side, channels, cfg.width, cfg.base,
            blocks=blocks, expansion=expansion, group_width=group_width, n_classes=n,
        )  # fmt: skip
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, then one of G; each on fresh real images, latents and augmentations [C]."""
        cfg, now = self.cfg, self.progress(t)
        gamma, p = annealed(*cfg.gamma, now), annealed(*cfg.augment, now)
        self.set_beta2(annealed(cfg.betas[1], cfg.beta2_end, now))
        judged = in_float32(self.judged) if cfg.r1 or cfg.r2 else self.judged  # penalties share this pass of D
        losses: dict[str, Tensor] = {}

        for _ in range(cfg.n_dis):
            x, y = self.labelled(next(stream))  # [B, C, S, S], [B] or None
            with torch.no_grad():
                x_fake = at_least_float32(self.G(self.z(len(x)), y))  # a pair shares its class
            # Penalties are of gradients at the images themselves, through the augmentation [C].
            x, x_fake = x.requires_grad_(), x_fake.requires_grad_()
            d_real, d_fake = judged(x, y, p), judged(x_fake, y, p)
            losses["D"] = loss_D = self.loss_D(d_real, d_fake)
            if cfg.r1:
                losses["R1"] = gradient_penalty(d_real, x)
                loss_D = loss_D + gamma / 2 * losses["R1"]
            if cfg.r2:
                losses["R2"] = gradient_penalty(d_fake, x_fake)
                loss_D = loss_D + gamma / 2 * losses["R2"]
            self.update(loss_D, self.opt_D)

        x, y = self.labelled(next(stream))
        with torch.no_grad():  # D(x) has no gradient for G
            d_real = self.judged(x, y, p)
        d_fake = self.judged(self.G(self.z(len(x)), y), y, p)
        losses["G"] = self.loss_G(d_real, d_fake)
        self.update(losses["G"], self.opt_G)
        return losses

    def judged(self, x: Tensor, y: Tensor | None, p: float) -> Tensor:
        """D's logits [B] of images [B, C, S, S], each augmented with probability p."""
        return self.D(augment(x, p), y)

    def loss_D(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """f(D(x) - D(G(z))), or the plain GAN's loss. Logits of pairs, [B] each."""
        if self.cfg.loss == "relativistic":
            return relativistic(higher=d_real, lower=d_fake)
        return adversarial(self.cfg.loss).D(d_real, d_fake)

    def loss_G(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """f(D(G(z)) - D(x)), or the plain GAN's loss, in which D(x) has no part."""
        if self.cfg.loss == "relativistic":
            return relativistic(higher=d_fake, lower=d_real)
        return adversarial(self.cfg.loss).G(d_fake)

    def progress(self, t: int) -> float:
        """How far annealing has come at step t, from 0; 1 and more: it has ended. A step counts one batch [C]."""
        return t * self.cfg.batch / self.cfg.anneal_images

    def lr_factor(self, t: int) -> float:
        """Of both learning rates at step t."""
        return annealed(1.0, self.cfg.lr_end, self.progress(t))

    def ema_factor(self, t: int) -> float:
        """Of the average's half-life after step t."""
        return annealed(0.0, 1.0, self.progress(t))

    def set_beta2(self, beta2: float) -> None:
        """Give both optimisers this decay rate of second moments."""
        for optimiser in (self.opt_G, self.opt_D):
            for group in optimiser.param_groups:
                group["betas"] = (self.cfg.betas[0], beta2)

    def labelled(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """A batch's images and, for networks on classes, its classes [B] int64."""
        return batch.images, batch.labels if self.n_labels else None

    def z(self, n: int) -> Tensor:
        """Latents [n, z_dim], standard normal."""
        return self.normal(n, self.cfg.z_dim)

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images of the given classes, by default uniform ones; without classes there are no conditions."""
        if not self.n_labels:
            return Sample(G(self.z(n)).clamp(-1, 1), None)
        if conditions is None:
            conditions = torch.randint(self.n_labels, (n,), device=self.device)
        conditions = conditions.to(self.device)
        return Sample(G(self.z(n), conditions).clamp(-1, 1), conditions)


RECIPES = build_recipes(Config, r3gan.RECIPES)
