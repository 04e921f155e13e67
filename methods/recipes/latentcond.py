"""Latent-conditioned SNGAN's recipes. [P] paper; [C] RotNet's code; [ours] chosen here."""

from __future__ import annotations

from benchmark.training.stages.classifier import AttributeClassifierConfig
from benchmark.training.stages.encoders import FeatureConfig
from benchmark.training.stages.rotnet import RotNetConfig

_SNGAN = {  # SNGAN's own setting, since the paper changes only G's input and D's couples; the length is [ours]
    "steps": 100_000,
    "batch": 64,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.5, 0.999),
    "ema_half_life_images": 0,
    "log_every": 500,
    "checkpoint_every": 2500,
}
# 200 epochs of 50,000 images in batches of 128, four rotations each [C of RotNet]
_ROTNET = FeatureConfig(
    name="rotnet", layer=2, rotnet=RotNetConfig(steps=78_000, batch=128, log_every=500, checkpoint_every=5000)
)
# supervised: CelebA's runs are not free of labels [P]
_CELEBA = FeatureConfig(
    name="classifier",
    classifier=AttributeClassifierConfig(width=32, steps=25_000, batch=128, log_every=500, checkpoint_every=5000),
)
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
        "mnist": {**_SNGAN, "features": _ALEXNET},
        "cifar10": {**_SNGAN, "features": _ROTNET},
        "cifar10_jpeg": {**_SNGAN, "features": _ROTNET},
        # its plans add blocks for 64 and 128 px [P]
        "celeba": {**_SNGAN, "features": _CELEBA, "backbone": "resnet", "betas": (0.0, 0.9)},
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
