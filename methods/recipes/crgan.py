"""CR-GAN's recipes. [P] papers; [C] compare_gan and BigGAN-PyTorch; [ours] chosen here."""

from __future__ import annotations

from benchmark.training import half_life

_SNDCGAN = {  # compare_gan's SNDCGAN [C]; 200,000 steps as in LT-GAN's comparison with CR-GAN
    "steps": 200_000,
    "batch": 64,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.5, 0.999),
    "ema_half_life_images": 0,
    "log_every": 500,
    "checkpoint_every": 5000,
}
_BIGGAN = {  # BigGAN-PyTorch's CIFAR-10 settings [C]
    **_SNDCGAN,
    "backbone": "biggan",
    "conditional": True,
    "steps": 125_000,  # [ours] 500 passes over the training images, of 4 x 50 a step
    "batch": 50,
    "betas": (0.0, 0.999),
    "n_dis": 4,
    "ema_half_life_images": half_life(0.9999, 50),
    "ema_start_steps": 1000,
}
_STL = {  # SNGAN's residual networks; 200,000 steps and 4 px as LT-GAN has it on CIFAR-10 [ours: no paper has this row]
    **_SNDCGAN,
    "backbone": "resnet",
    "betas": (0.0, 0.9),
    "n_dis": 5,
    "shift": 4 / 48,
}
_IMAGENET = {  # CR-BigGAN: the term on BigGAN-PyTorch's bs256x8 [C]; CR-GAN's own code base is compare_gan
    **_BIGGAN,
    "biggan": "imagenet",
    "steps": 250_000,  # as LT-GAN's BigGAN on ImageNet, so that their rows have one budget
    "batch": 2048,
    "n_dis": 1,
    "z_dim": 120,
    "lr_G": 1e-4,
    "lr_D": 4e-4,
    "adam_eps": 1e-6,
    "flip": True,  # [ours]
    "ema_half_life_images": half_life(0.9999, 2048),
    "ema_start_steps": 20_000,
}
_SMALL = {  # sized for two cores [ours]
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
        "cifar10": _SNDCGAN,
        "cifar10_jpeg": _SNDCGAN,
        "celeba_hq": {**_SNDCGAN, "steps": 100_000, "shift": 4 / 128},  # 4 px here, too, in LT-GAN's comparison
        "stl10": _STL,
        "imagenet128": _IMAGENET,
    },
    "paper_biggan": {"cifar10": _BIGGAN, "cifar10_jpeg": _BIGGAN},
    "small": {"default": _SMALL, "digits": _SMALL_RESNET, "shapes": _SMALL_RESNET, "shapes_class": _SMALL_RESNET},
}
