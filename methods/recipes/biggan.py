"""BigGAN's recipes. [P] paper; [C] the authors' BigGAN-PyTorch; [I] IC-GAN's code; [ours] chosen here."""

from __future__ import annotations

from typing import Any

from benchmark.training import half_life
from methods.recipes.code_bases import BIGGAN_CIFAR10


def _published(*, steps: int, batch: int, **settings: Any) -> dict[str, Any]:
    """A published setting: betas (0, 0.999) and an average of decay 0.9999 a step, from step 20,000 on [C]."""
    return {
        "steps": steps,
        "batch": batch,
        "betas": (0.0, 0.999),
        "ema_half_life_images": half_life(0.9999, batch),
        "ema_start_steps": 20_000,
        "log_every": 500,
        "checkpoint_every": 2500,
        **settings,
    }


_CIFAR = {
    **BIGGAN_CIFAR10,
    "steps": 125_000,  # [ours] 500 passes over 50,000 images, of which a step's four D updates take 200
    "flip": True,  # [ours] the code mirrors CIFAR-10 only on request
    "z_dim": 128,
    "hierarchical": False,
    "class_embedding": 0,
    "init": "normal",
    "sn_eps": 1e-8,
    "adam_eps": 1e-8,
    "log_every": 500,
    "checkpoint_every": 2500,
}
# IC-GAN's baselines [I]. They stop when the training FID stalls; how long that took is not published, so every number
# of steps below is ours: D sees as many images as that of the IC-GAN it is compared with, about 100 passes over
# ImageNet at side 64, 400 above, 500 over COCO-Stuff and 110 or 220 over ImageNet-LT. Batches are over all GPUs.
_IMAGENET64 = _published(steps=500_000, batch=256, lr_G=1e-4, lr_D=1e-4, flip=True)
_IMAGENET128 = _published(steps=250_000, batch=2048, lr_G=1e-4, lr_D=4e-4, flip=True, ch=96)
_IMAGENET256 = {**_IMAGENET128, "ch": 64, "flip": False}  # the "half capacity" networks
_COCO128 = _published(
    steps=75_000, batch=256, lr_G=1e-4, lr_D=4e-4, n_dis=2, flip=True, ch=48, translation=True, conditional=False
)
_COCO256 = {**_COCO128, "lr_D": 1e-4}
_LT64 = _published(
    steps=100_000, batch=128, lr_G=1e-5, lr_D=1e-3, flip=True, translation=True, fake_classes="training"
)  # fake_classes: ours; uniform ones would make rare classes common for D
_LT128 = {**_LT64, "lr_G": 1e-4, "lr_D": 1e-4, "n_dis": 2}

_SMALL = {  # the pattern of the CIFAR-10 networks with a hierarchical latent, sized for two cores [ours]
    "steps": 900,
    "batch": 32,
    "lr_G": 2e-4,
    "lr_D": 8e-4,  # at equal rates this narrow D stays at chance, and G ignores z: FD-judge 6.3 on digits, not 0.9
    "n_dis": 2,
    "betas": (0.0, 0.999),
    "flip": True,
    "ema_half_life_images": 5000,
    "ema_start_steps": 200,
    "z_dim": 64,
    "ch": 8,
    "class_embedding": 32,
    "init": "normal",
}

RECIPES = {
    "paper": {
        "cifar10": _CIFAR,
        "cifar10_jpeg": _CIFAR,
        "imagenet64": _IMAGENET64,
        "imagenet128": _IMAGENET128,
        "imagenet256": _IMAGENET256,
        "coco_stuff128": _COCO128,
        "coco_stuff256": _COCO256,
        "imagenet_lt64": _LT64,
        "imagenet_lt128": _LT128,
        "imagenet_lt256": _LT128,
    },
    "small": {"default": _SMALL, "digits": {**_SMALL, "steps": 1500}, "shapes": {**_SMALL, "steps": 1500}},
}
