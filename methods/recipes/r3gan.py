"""R3GAN's recipes. [P] paper; [C] the authors' code, brownvc/R3GAN; [ours] chosen here."""

from __future__ import annotations

from typing import Any

# The code trains until it is stopped. The paper's table of settings has 250 million images for CIFAR-10 and 1,000
# million for ImageNet, as the code's issue 18 quotes it and the authors confirm there.
_CIFAR: dict[str, Any] = {
    "steps": 250_000_000 // 512,  # [P]
    "batch": 512,  # [C]
    "flip": True,  # [C]
    "log_every": 500,
    "checkpoint_every": 5000,
}
_IMAGENET64: dict[str, Any] = {
    "steps": 1_000_000_000 // 4096,  # [P]
    "batch": 4096,  # [C]
    "flip": True,  # [C]
    "width": 1536,  # the five stages all have it [C]
    "base": 64 * 1536,
    "group_width": 32,  # 96 groups of twice the width [C]
    "gamma": (1.0, 0.1),  # [C]
    "augment": (0.0, 0.4),  # [C]
    "anneal_images": 200_000_000,  # [C]
    "ema_half_life_images": 50_000_000,  # [C]
    "log_every": 500,
    "checkpoint_every": 2500,
}
# The paper's Stacked-MNIST settings are not in the code. CIFAR-10's without classes, which would give the modes away,
# without augmentation, which would turn and mirror digits, and for a tenth of the images [ours].
_STACKED: dict[str, Any] = {
    **_CIFAR,
    "steps": 25_000_000 // 512,
    "flip": False,
    "conditional": False,
    "augment": (0.0, 0.0),
    "anneal_images": 2_000_000,
    "ema_half_life_images": 500_000,
}
_SMALL: dict[str, Any] = {  # sized for two cores [ours]
    "steps": 1200,
    "batch": 16,
    "flip": True,
    "lr_G": 1e-3,
    "lr_D": 1e-3,
    "gamma": (0.5, 0.05),
    "augment": (0.0, 0.0),
    "anneal_images": 16_000,
    "ema_half_life_images": 1000,
    "z_dim": 32,
    "width": 32,
    "base": 512,
    "blocks": 1,
    "group_width": 16,
}

RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {"cifar10": _CIFAR, "cifar10_jpeg": _CIFAR, "imagenet64": _IMAGENET64, "stacked_mnist": _STACKED},
    "small": {
        "default": _SMALL,
        "digits": {**_SMALL, "steps": 2500},
        "shapes": {**_SMALL, "steps": 2500},
        "shapes_class": {**_SMALL, "steps": 2500},
        "stacked_digits": {**_SMALL, "conditional": False},  # its classes would give the modes away
    },
}
