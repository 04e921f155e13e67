"""SS-GAN's recipes. [C] compare_gan; [M] kwotsin/mimicry's baseline; [ours] chosen here."""

from __future__ import annotations

from methods.recipes.code_bases import SNDCGAN

_CIFAR = {  # mimicry's settings for all its models on CIFAR-10 [M]
    "steps": 100_000,
    "batch": 64,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.0, 0.9),
    "n_dis": 5,
    "linear_decay": True,
    "ema_half_life_images": 0,
    "log_every": 500,
    "checkpoint_every": 2500,
}
_SNDCGAN = {
    **SNDCGAN,
    "backbone": "sndcgan",
    "steps": 200_000,  # as in LT-GAN's comparison with SS-GAN
    "linear_decay": False,
    "log_every": 500,
    "checkpoint_every": 2500,
}
_SMALL = {  # sized for two cores [ours]
    "backbone": "sndcgan",
    "width": 16,
    "z_dim": 64,
    "steps": 1000,
    "batch": 32,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.5, 0.999),
    "flip": True,
    "ema_half_life_images": 5000,
}
# SNGAN's at 16 px [ours]
_SMALL_RESNET = {**_SMALL, "backbone": "resnet", "width": 32, "betas": (0.0, 0.9), "steps": 1200}

RECIPES = {
    "paper": {
        "cifar10": _CIFAR,
        "cifar10_jpeg": _CIFAR,
        "stl10": _CIFAR,
        "celeba": {**_CIFAR, "n_dis": 2, "linear_decay": False},  # at 128 px [M]
        "celeba_hq": {**_SNDCGAN, "steps": 100_000},
    },
    "paper_sndcgan": {"cifar10": _SNDCGAN, "cifar10_jpeg": _SNDCGAN},
    "small": {"default": _SMALL, "digits": _SMALL_RESNET, "shapes": _SMALL_RESNET, "shapes_class": _SMALL_RESNET},
}
