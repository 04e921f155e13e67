"""The conditional GAN's recipes. [P] the projection paper; [C] its authors' code; [ours] chosen here."""

from __future__ import annotations

from methods.recipes.code_bases import SNDCGAN, SNGAN_CIFAR10

_CIFAR = {  # cGAN-PD on SNGAN's networks and schedule [C]
    **SNGAN_CIFAR10,
    "steps": 50_000,
    "flip": True,  # [ours] as in SNGAN's recipe
    "log_every": 500,
    "checkpoint_every": 2500,
}
# The supervised baseline of latent-space conditioning (Durall et al., VISAPP 2021, fig. 7), whose settings are not
# published: compare_gan's for the plain networks, and 50,000 steps [ours].
_MNIST = {
    **SNDCGAN,
    "conditioning": "concatenation",
    "backbone": "sndcgan",
    "steps": 50_000,
    "linear_decay": False,
    "log_every": 500,
    "checkpoint_every": 2500,
}
_SMALL = {  # the plain networks of SNGAN's small recipe [ours]
    "conditioning": "concatenation",
    "backbone": "sndcgan",
    "width": 16,
    "z_dim": 64,
    "steps": 2000,
    "batch": 32,
    "lr_G": 1e-3,  # at 5e-4 the maps' part in D is learned too late
    "lr_D": 1e-3,
    "betas": (0.5, 0.999),
    "flip": True,
    "ema_half_life_images": 5000,
}

RECIPES = {
    "paper": {"cifar10": _CIFAR, "cifar10_jpeg": _CIFAR, "mnist": _MNIST, "fashion_mnist": _MNIST},
    "small": {"default": _SMALL, "shapes": {**_SMALL, "steps": 3000}},
}
