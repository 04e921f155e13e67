"""Latent-conditioned SNGAN's recipes. [P] paper; [C] code of SNGAN or RotNet; [ours] chosen here.

The paper changes G's input and D's pairs of images and leaves SNGAN as it is, but names neither SNGAN's networks nor
its settings. Here they are those of the networks that are taken: compare_gan's for the plain ones, mimicry's for the
residual ones, which alone have blocks to add for 64 and 128 px [P]. Algorithm 2 taken literally has at most one update
of D for one of G, as the plain networks do; the residual ones learn by SNGAN's own ratio.
"""

from __future__ import annotations

from typing import Any

from benchmark.training.stages.classifier import AttributeClassifierConfig
from benchmark.training.stages.encoders import FeatureConfig
from benchmark.training.stages.rotnet import RotNetConfig
from methods.recipes.code_bases import SNDCGAN

_PLAIN: dict[str, Any] = {
    **SNDCGAN,
    "steps": 100_000,  # [ours]
    "log_every": 500,
    "checkpoint_every": 2500,
}
_RESIDUAL: dict[str, Any] = {  # [C] mimicry at 32 and 64 px: five updates of D a step, rates that fall to 0
    **_PLAIN,
    "backbone": "resnet",
    "betas": (0.0, 0.9),
    "n_dis": 5,
    "linear_decay": True,
}
_RESIDUAL_128 = {**_RESIDUAL, "n_dis": 2, "linear_decay": False}  # [C] mimicry's CelebA at 128 px
# 200 epochs of 50,000 images in batches of 128, four rotations each [C of RotNet]
_ROTNET = FeatureConfig(
    name="rotnet", layer=2, rotnet=RotNetConfig(steps=78_000, batch=128, log_every=500, checkpoint_every=5000)
)


def _classifier(steps: int) -> FeatureConfig:
    """The last convolution of a classifier of the labels: CelebA's runs are not free of labels [P]."""
    settings = AttributeClassifierConfig(width=32, steps=steps, batch=128, log_every=500, checkpoint_every=5000)
    return FeatureConfig(name="classifier", classifier=settings)


_FACES = _classifier(25_000)  # 18 epochs of 182,637 images [ours]
_HAIR = _classifier(5000)  # far fewer images have one of the five colours alone, and equally many have each [ours]
_ALEXNET = FeatureConfig(name="alexnet", layer=5, input_px=64)  # untrained [P]; layer and side [ours]
_SMALL = {  # sized for a CPU: 32 px, four minutes on one core [ours]
    "features": FeatureConfig(name="simclr"),  # the suite's: photographs need a trained E
    "f_dim": 64,
    "z_dim": 64,
    "width": 16,
    "steps": 400,
    "batch": 64,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.5, 0.999),
    "ema_half_life_images": 5000,
}
_SMALL_16 = {**_SMALL, "steps": 1000}  # 16 px: a quarter of the cost a step; agreement is flat from 500 steps on

RECIPES = {
    "paper": {
        "mnist": {**_PLAIN, "features": _ALEXNET},
        "cifar10": {**_PLAIN, "features": _ROTNET},
        "cifar10_jpeg": {**_PLAIN, "features": _ROTNET},
        "celeba": {**_RESIDUAL_128, "features": _FACES},
        "celeba_gender32": {**_RESIDUAL, "features": _FACES},
        "celeba_gender64": {**_RESIDUAL, "features": _FACES},
        "celeba_gender128": {**_RESIDUAL_128, "features": _FACES},
        "celeba_hair32": {**_RESIDUAL, "features": _HAIR},
        "celeba_hair64": {**_RESIDUAL, "features": _HAIR},
    },
    "small": {
        "default": _SMALL,
        "mnist": {**_SMALL, "features": _ALEXNET},
        "fashion_mnist": {**_SMALL, "features": _ALEXNET},
        "digits": {**_SMALL_16, "features": _ALEXNET},
        "shapes": _SMALL_16,
        "shapes_class": _SMALL_16,
    },
}
