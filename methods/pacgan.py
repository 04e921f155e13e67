"""PacGAN (Lin, Khetan, Fanti, Oh; NeurIPS 2018, arXiv 1712.04086): the discriminator judges m samples at once.

A packed discriminator D(x_1, ..., x_m) sees m real or m generated samples side by side, so that a generator with fewer
modes than the data is found out by how alike its samples are. Everything else is the plain GAN: the nets are those of
Self-Conditioned GAN (Liu et al., CVPR 2020), whose tables have it as PacGAN2, PacGAN3 and PacGAN4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.config import STRICT
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.errors import ConfigError
from benchmark.losses import adversarial, r1
from benchmark.method import Beta, GANConfig, Method, NonNegativeFloat, PositiveInt, Sample, half_life
from benchmark.nets.selfcond import BackboneName, build_nets


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper, [C] the code of Self-Conditioned GAN for this baseline, [ours] chosen here."""

    m: Annotated[int, Field(ge=1, le=16)] = 2  # degree of packing: samples a judgement [P]; 1 is the plain GAN
    betas: tuple[Beta, Beta] = (0.0, 0.99)  # Adam's moment decay rates [C]
    ema_half_life_images: NonNegativeFloat = 0  # no average where G has batch normalisation [C]
    backbone: BackboneName = "shallow"  # nets: mlp for points, shallow or deep for 32 px, resnet2 for 128 px
    width_G: PositiveInt | None = None  # channels of G's last (mlp: of each) hidden layer; None: the published
    width_D: PositiveInt | None = None  # channels of D's first (mlp: of each) hidden layer; None: the published
    z_dim: PositiveInt = 128  # of the latent [C]
    r1_weight: NonNegativeFloat = 0.0  # of the gradient penalty on real packs, every step, no 1/2 [C]
    pixel_noise: NonNegativeFloat = 0.0  # uniform in [0, this) added to real images; a grey level is 1/127.5 [C]
    linear_decay: bool = False  # both learning rates fall linearly to 0; the authors' stay, for many more steps [ours]


class PacGAN(Method):
    """PacGAN: the discriminator judges packs of m samples, which shows it missing modes; images or 2-D points."""

    cfg: Config
    kinds: ClassVar[tuple[str, ...]] = ("images", "points")

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
        return 1 - t / self.cfg.steps if self.cfg.linear_decay else 1.0

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, asked: Tensor | None = None) -> Sample:
        """Unconditional: nothing is asked."""
        return Sample(G(self.normal(n, self.cfg.z_dim)), None)


_STACKED = Config(
    steps=390_000,  # 250 epochs [C: default]
    batch=64,
    log_every=500,
    checkpoint_every=5000,
)
_CIFAR = replace(
    _STACKED,
    steps=195_000,  # 250 epochs [C: default]
    backbone="deep",
    flip=True,
    pixel_noise=1 / 128,
)
_IMAGENET = Config(
    steps=2_500_000,  # 250 epochs [C: default]
    batch=128,
    backbone="resnet2",
    z_dim=256,
    r1_weight=10.0,  # of the unconditional networks; the self-conditioned ones have 0.1 [C]
    ema_half_life_images=half_life(0.999, 128),  # [C]
    flip=True,
    pixel_noise=1 / 128,
    log_every=500,
    checkpoint_every=5000,
)
_POINTS = Config(
    steps=100_000,
    batch=100,
    betas=(0.8, 0.999),
    backbone="mlp",
    z_dim=2,
    log_every=500,
    checkpoint_every=10_000,
)
_SMALL = Config(  # sized for two cores [ours]
    steps=2500,
    batch=32,
    backbone="deep",  # shallow normalises real and generated batches apart and misses a wrong contrast [ours: measured]
    lr_G=2e-4,
    lr_D=2e-4,
    betas=(0.5, 0.99),
    width_G=16,
    width_D=16,
    z_dim=64,
    flip=True,
)
_SMALL_POINTS = replace(  # a third of the width, a twenty-fifth of the steps, ten times the rate at first [ours]
    _POINTS,
    steps=4000,
    batch=256,  # batch normalisation with 100 points moves the modes by several standard deviations in so short a run
    lr_G=1e-3,
    lr_D=1e-3,
    linear_decay=True,
    width_G=128,
    width_D=64,
    log_every=50,
    checkpoint_every=2000,
)

RECIPES = {
    "paper": {
        "cifar10": _CIFAR,
        "stacked_mnist": _STACKED,
        "imagenet128": _IMAGENET,
        "places365": replace(_IMAGENET, steps=3_500_000),
        "ring2d": _POINTS,
        "grid2d": _POINTS,
    },
    "small": {
        "default": _SMALL,
        "digits": replace(_SMALL, steps=3000),  # 16 px
        "ring2d": _SMALL_POINTS,
        "grid2d": _SMALL_POINTS,
    },
}
