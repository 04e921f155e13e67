"""The conditional GAN's recipes. [P] the projection paper; [C] its authors' code; [ours] chosen here."""

from __future__ import annotations

_CIFAR = {  # cGAN-PD on SNGAN's nets and schedule [C]
    "steps": 50_000,
    "batch": 64,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.0, 0.9),
    "n_dis": 5,
    "g_batch": 2,
    "flip": True,
    "ema_half_life_images": 0,
    "log_every": 500,
    "checkpoint_every": 2500,
}
# The supervised baseline of latent-space conditioning (Durall et al., VISAPP 2021, fig. 7), whose settings are not
# published: SNGAN's for the plain nets (Miyato et al. 2018, table 3), and 50,000 steps [ours].
_MNIST = {
    "conditioning": "concatenation",
    "backbone": "sndcgan",
    "steps": 50_000,
    "batch": 64,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.5, 0.999),
    "linear_decay": False,
    "ema_half_life_images": 0,
    "log_every": 500,
    "checkpoint_every": 2500,
}
_SMALL = {  # the plain nets of SNGAN's small recipe [ours]
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
