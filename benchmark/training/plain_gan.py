"""The setting of Self-Conditioned GAN's code (Liu et al., CVPR 2020), which its baselines share: one budget, one table.

The plain GAN, PacGAN and the self-conditioned one differ in what c is and in what D judges, in nothing else. What they
have in common stands here, so that a row of their table cannot come to differ from the next by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, Beta, NonNegativeFloat, PositiveInt
from benchmark.nn.selfcond import BackboneName
from benchmark.training.method import GANConfig, half_life


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PlainGANConfig(GANConfig):
    """Defaults are those of CIFAR-10 and Stacked-MNIST. [C] the authors' code, [ours] chosen here."""

    betas: tuple[Beta, Beta] = (0.0, 0.99)  # Adam's moment decay rates [C]
    ema_half_life_images: NonNegativeFloat = 0  # no average where G has batch normalisation [C]
    backbone: BackboneName = "shallow"  # nets: mlp for points, shallow or deep for 32 px, resnet2 for 128 px
    width_G: PositiveInt | None = None  # channels of G's last (mlp: of each) hidden layer; None: the published
    width_D: PositiveInt | None = None  # channels of D's first (mlp: of each) hidden layer; None: the published
    z_dim: PositiveInt = 128  # of the latent [C]
    r1_weight: NonNegativeFloat = 0.0  # of the gradient penalty on what D judges as real, every step, no 1/2 [C]
    pixel_noise: NonNegativeFloat = 0.0  # uniform in [0, this) added to real images; a grey level is 1/127.5 [C]
    linear_decay: bool = False  # both learning rates fall linearly to 0; the authors' stay, for many more steps [ours]

    def lr_factor(self, t: int) -> float:
        """Share of the learning rates that is left at step t: all of it [C], or linear to zero over the run [ours]."""
        return 1 - t / self.steps if self.linear_decay else 1.0


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
