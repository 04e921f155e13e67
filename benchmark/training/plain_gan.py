"""The setting of Self-Conditioned GAN's code (Liu et al., CVPR 2020), which its baselines share: one budget, one table.

The plain GAN, PacGAN and the self-conditioned one differ in what c is and in what D judges, in nothing else; MGAN has
several generators and also a classifier of them. What they have in common is here, so that a row of their table
cannot come to differ from the next by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, Beta, NonNegativeFloat, PositiveInt
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.losses import adversarial, r1
from benchmark.nn.selfcond import BackboneName, build_nets
from benchmark.training.config import GANConfig, half_life
from benchmark.training.measurements import Sample
from benchmark.training.method import Trainable


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PlainGANConfig(GANConfig):
    """Defaults are those of CIFAR-10 and Stacked-MNIST. [C] the authors' code, [ours] chosen here."""

    betas: tuple[Beta, Beta] = (0.0, 0.99)  # Adam's moment decay rates [C]
    ema_half_life_images: NonNegativeFloat = 0  # no average where G has batch normalisation [C]
    backbone: BackboneName = "shallow"  # networks: mlp for points, shallow or deep for 32 px, resnet2 for 128 px
    width_G: PositiveInt | None = None  # channels of G's last (mlp: of each) hidden layer; None: the published
    width_D: PositiveInt | None = None  # channels of D's first (mlp: of each) hidden layer; None: the published
    z_dim: PositiveInt = 128  # of the latent [C]
    r1_weight: NonNegativeFloat = 0.0  # of the gradient penalty on what D judges as real, every step, no 1/2 [C]
    pixel_noise: NonNegativeFloat = 0.0  # uniform in [0, this) added to real images; a grey level is 1/127.5 [C]
    linear_decay: bool = False  # both learning rates fall linearly to 0; the authors' stay, for many more steps [ours]


def noised(x: Tensor, amount: float) -> Tensor:
    """Real images with the authors' noise, uniform in [0, amount); as they are where that is 0 [C]."""
    return x + amount * torch.rand_like(x) if amount else x


class PlainGAN(Trainable):
    """The plain unconditional GAN of that code, in the part of a `Method` that is to be inherited before it.

    Cross-entropy with the non-saturating generator (Goodfellow et al. 2014), images [B, C, S, S] or points [B, 2].
    A method that judges several samples at once says how in `judged`.
    """

    cfg: PlainGANConfig
    G: nn.Module
    accepts: ClassVar[tuple[str, ...]] = ("images", "points")

    def build(self, data: Dataset, pack: int = 1) -> None:
        """The networks, their losses and optimisers. pack: samples that D judges at once."""
        cfg = self.cfg
        self.linear_decay = cfg.linear_decay
        nets = build_nets(cfg.backbone, data, cfg.z_dim, pack=pack, width_G=cfg.width_G, width_D=cfg.width_D)
        self.G, self.D = nets
        self.loss_D, self.loss_G = adversarial("non_saturating")
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def judged(self, x: Tensor) -> Tensor:
        """What D is shown of samples x: one at a time."""
        return x

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on fresh images, then one of G on the last of their latents."""
        cfg, losses = self.cfg, {}
        for _ in range(cfg.n_dis):
            x = noised(next(stream).images, cfg.pixel_noise)  # [B, C, S, S], or points [B, 2]
            x, x_fake = self.judged(x), self.judged(self.G(self.normal(len(x), cfg.z_dim)))
            loss_D = losses["D"] = self.loss_D(self.D(x), self.D(x_fake.detach()))
            if cfg.r1_weight:
                losses["R1"] = r1(self.D, x)
                loss_D = loss_D + cfg.r1_weight * losses["R1"]
            self.update(loss_D, self.opt_D)

        losses["G"] = self.loss_G(self.D(x_fake))
        self.update(losses["G"], self.opt_G)
        return losses

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Unconditional: there are no conditions."""
        return Sample(G(self.normal(n, self.cfg.z_dim)), None)


C = TypeVar("C", bound=PlainGANConfig)


def plain_recipes(config: type[C], **own: Mapping[str, Any]) -> dict[str, dict[str, C]]:
    """The recipes, for a method's own configuration; `own` is what the method adds to a row, by the row's name.

    Rows: `imagenet`, `points`, `small`, `small_digits` (after `small`), `small_points` (after `points`).
    """
    stacked = config(
        steps=390_000,  # 250 epochs [C: default]
        batch=64,
        log_every=500,
        checkpoint_every=5000,
    )
    cifar = replace(
        stacked,
        steps=195_000,  # 250 epochs [C: default]
        backbone="deep",
        flip=True,
        pixel_noise=1 / 128,
    )
    imagenet = config(
        steps=2_500_000,  # 250 epochs [C: default]
        batch=128,
        backbone="resnet2",
        z_dim=256,
        r1_weight=10.0,  # of the networks without labels, or with classes [C]
        ema_half_life_images=half_life(0.999, 128),  # [C]
        flip=True,
        pixel_noise=1 / 128,
        log_every=500,
        checkpoint_every=5000,
    )
    imagenet = replace(imagenet, **own.get("imagenet", {}))
    points = config(
        steps=100_000,
        batch=100,
        betas=(0.8, 0.999),
        backbone="mlp",
        z_dim=2,
        log_every=500,
        checkpoint_every=10_000,
    )
    points = replace(points, **own.get("points", {}))
    small = config(  # sized for two cores [ours]
        steps=2500,
        batch=32,
        backbone="deep",  # shallow normalises real and generated batches apart: a wrong contrast is missed [measured]
        lr_G=2e-4,
        lr_D=2e-4,
        betas=(0.5, 0.99),
        width_G=16,
        width_D=16,
        z_dim=64,
        flip=True,
    )
    small = replace(small, **own.get("small", {}))
    small_points = replace(  # a third of the width, a twenty-fifth of the steps, ten times the rate at first [ours]
        points,
        steps=4000,
        batch=256,  # batch normalisation with 100 points moves the modes by several standard deviations in such a run
        lr_G=1e-3,
        lr_D=1e-3,
        linear_decay=True,
        width_G=128,
        width_D=64,
        log_every=50,
        checkpoint_every=2000,
        **own.get("small_points", {}),
    )
    return {
        "paper": {
            "cifar10": cifar,
            "stacked_mnist": stacked,
            "imagenet128": imagenet,
            "places365": replace(imagenet, steps=3_500_000),
            "ring2d": points,
            "grid2d": points,
        },
        "small": {
            "default": small,
            "digits": replace(small, steps=3000, **own.get("small_digits", {})),  # 16 px
            "ring2d": small_points,
            "grid2d": small_points,
        },
    }
