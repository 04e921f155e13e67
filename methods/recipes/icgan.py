"""IC-GAN's recipes. [P] paper; [C] the authors' code and its configuration files; [ours] chosen here.

The weights of f are files that the user gives. The authors stop when FID has not fallen for 50 epochs, at most 3,000;
here the steps are fixed [ours]: D sees 1.28e8 images of ImageNet at side 64, 5.12e8 above, and 3.84e7 of COCO-Stuff.
Batches are the authors' effective ones, over all their GPUs.
"""

from __future__ import annotations

from typing import Any

from benchmark.training import half_life
from benchmark.training.stages.encoders import FeatureConfig
from benchmark.training.stages.simclr import SimCLRConfig, recipe
from methods.recipes.code_bases import BIGGAN_CIFAR10

_SWAV = FeatureConfig(name="resnet50", weights="swav_800ep_pretrain.pth.tar")
_SUPERVISED = FeatureConfig(name="resnet50", weights="resnet50-19c8e357.pth")
_LONG_TAIL = FeatureConfig(name="resnet50", weights="resnet50_imagenet_lt.pth")  # trained on ImageNet-LT by the user

_IMAGENET_64 = {
    "features": _SWAV,
    "steps": 500_000,
    "batch": 256,
    "flip": True,
    "ema_half_life_images": half_life(0.9999, 256),
    "ema_start_steps": 20_000,
    "log_every": 500,
    "checkpoint_every": 5000,
}
_IMAGENET_128 = {
    **_IMAGENET_64,
    "steps": 250_000,
    "batch": 2048,
    "ema_half_life_images": half_life(0.9999, 2048),
    "lr_G": 4e-5,
    "ch": 96,
}
_IMAGENET_256 = {**_IMAGENET_128, "steps": 125_000, "lr_G": 1e-4, "n_dis": 2, "ch": 64}  # "half capacity"
_IMAGENET_256_WIDE = {**_IMAGENET_128, "flip_instances": False}
_COCO = {
    **_IMAGENET_64,
    "steps": 150_000,
    "lr_D": 4e-4,
    "ch": 48,
    "k": 5,
    "translation": True,
    "n_instances": 0,
    "checkpoint_every": 2500,
}
_LT = {
    **_IMAGENET_64,
    "features": _LONG_TAIL,
    "class_conditional": True,
    "balance_classes": True,
    "n_instances": 0,
    "steps": 100_000,
    "batch": 128,
    "ema_half_life_images": half_life(0.9999, 128),
    "n_dis": 2,
    "k": 5,
    "flip_instances": False,
    "translation": True,
}
_COCO_STYLEGAN2 = {
    "features": _SWAV,
    "backbone": "stylegan2",
    "loss": "non_saturating",
    "steps": 390_625,  # 25 million images, StyleGAN2's automatic length [ours]
    "batch": 64,
    "lr_G": 2.5e-3,
    "lr_D": 2.5e-3,
    "betas": (0.0, 0.99),
    "adam_eps": 1e-8,
    "r1_weight": 0.05,
    "pl_weight": 2.0,
    "k": 5,
    "n_instances": 0,
    "z_dim": 512,
    "flip": True,
    "ema_half_life_images": 20_000,
    "log_every": 500,
    "checkpoint_every": 2500,
}
_CIFAR = {  # ours: BigGAN's published CIFAR-10 settings with IC-GAN's rules for a data set of this size
    **BIGGAN_CIFAR10,
    "features": FeatureConfig(
        encoder=SimCLRConfig(
            net="resnet18", stem="cifar", steps=50_000, batch=256, blur=False, flip=True, log_every=500
        )
    ),
    "steps": 125_000,
    "k": 5,
    "translation": True,
    "z_dim": 120,
    "attention": False,
    "init": "normal",
    "sn_eps": 1e-8,
    "adam_eps": 1e-8,
    "flip": True,
    "log_every": 500,
    "checkpoint_every": 2500,
}
_SMALL = {  # sized for two cores [ours]
    "features": FeatureConfig(encoder=recipe("small", "default")),
    "steps": 600,  # four CPU minutes at 32 px
    "batch": 32,
    "lr_G": 2e-4,
    "lr_D": 8e-4,  # four times G's, as on COCO-Stuff [C]: at equal rates this narrow D stays at chance
    "n_dis": 2,
    "k": 5,  # no translation: in so few steps D does not learn the images by heart
    "z_dim": 64,
    "instance_embedding": 64,
    "class_embedding": 64,
    "ch": 8,
    "attention": False,
    "init": "normal",
    "flip": True,
    "ema_half_life_images": 5000,
    "ema_start_steps": 200,
}


def _small(dataset: str, **changes: Any) -> dict[str, Any]:
    """The small recipe with the suite's encoder for a dataset."""
    return {**_SMALL, "features": FeatureConfig(encoder=recipe("small", dataset)), **changes}


RECIPES = {
    "paper": {
        "imagenet64": _IMAGENET_64,
        "imagenet128": _IMAGENET_128,
        "imagenet256": _IMAGENET_256,
        "imagenet_lt64": {**_LT, "lr_G": 1e-5, "lr_D": 1e-3, "n_dis": 1},
        "imagenet_lt128": _LT,
        "imagenet_lt256": _LT,
        "coco_stuff128": _COCO,
        "coco_stuff256": {**_COCO, "lr_D": 1e-4},
        "cifar10": _CIFAR,
        "cifar10_jpeg": _CIFAR,
    },
    "paper_wide": {"imagenet256": _IMAGENET_256_WIDE},
    "paper_class": {
        "imagenet64": {**_IMAGENET_64, "features": _SUPERVISED, "class_conditional": True},
        "imagenet128": {**_IMAGENET_128, "features": _SUPERVISED, "class_conditional": True},
        "imagenet256": {**_IMAGENET_256, "features": _SUPERVISED, "class_conditional": True},
    },
    "paper_class_wide": {"imagenet256": {**_IMAGENET_256_WIDE, "features": _SUPERVISED, "class_conditional": True}},
    "paper_stylegan2": {
        "coco_stuff128": _COCO_STYLEGAN2,
        "coco_stuff256": {
            **_COCO_STYLEGAN2,
            "steps": 781_250,
            "batch": 32,
            "lr_G": 3e-3,
            "lr_D": 3e-3,
            "r1_weight": 0.5,
            "ema_half_life_images": 10_000,
        },
    },
    "small": {
        "default": _SMALL,
        "digits": _small("digits", steps=1600),
        "shapes": _small("shapes", steps=1600),
        "cifar10_jpeg": _small("cifar10_jpeg", steps=1200),
    },
}
