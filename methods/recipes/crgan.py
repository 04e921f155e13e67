"""CR-GAN's recipes. [P] papers; [C] compare_gan and BigGAN-PyTorch; [ours] chosen here."""

from __future__ import annotations

from methods.recipes.code_bases import BIGGAN_BS256X8, BIGGAN_CIFAR10, SNDCGAN

_SNDCGAN = {
    **SNDCGAN,
    "steps": 200_000,  # as in LT-GAN's comparison with CR-GAN
    "log_every": 500,
    "checkpoint_every": 5000,
}
_BIGGAN = {
    **_SNDCGAN,
    **BIGGAN_CIFAR10,
    "backbone": "biggan",
    "conditional": True,
    "steps": 125_000,  # [ours] 500 passes over the training images, of 4 x 50 a step
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
    **BIGGAN_BS256X8,
    "biggan": "imagenet",
    "steps": 250_000,  # as LT-GAN's BigGAN on ImageNet, so that their rows have one budget
    "flip": True,  # [ours]
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
