"""Settings of published code that several methods start from, without steps: their number is each paper's own.

Each is what that code runs its own recipe with. Names are those of the fields of `GANConfig`; a recipe adds its
networks, its steps, and what it changes.
"""

from __future__ import annotations

from typing import Any

from benchmark.training import half_life

# google/compare_gan, its SNDCGAN on CelebA-HQ at 128 px: one update of D a step, constant rates, no average
SNDCGAN: dict[str, Any] = {
    "batch": 64,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.5, 0.999),
    "ema_half_life_images": 0,
}

# SNGAN's residual networks on CIFAR-10, and those of the projection discriminator (pfnet-research/sngan_projection):
# five updates of D a step; G learns from twice the batch
SNGAN_CIFAR10: dict[str, Any] = {
    "batch": 64,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.0, 0.9),
    "n_dis": 5,
    "g_batch": 2,
    "ema_half_life_images": 0,
}

# ajbrock/BigGAN-PyTorch, CIFAR-10: launch_cifar_ema
BIGGAN_CIFAR10: dict[str, Any] = {
    "batch": 50,
    "lr_G": 2e-4,
    "lr_D": 2e-4,
    "betas": (0.0, 0.999),
    "n_dis": 4,
    "ema_half_life_images": half_life(0.9999, 50),
    "ema_start_steps": 1000,
}

# ajbrock/BigGAN-PyTorch, ImageNet at 128 px: launch_BigGAN_bs256x8, a batch of 2,048 over all GPUs
BIGGAN_BS256X8: dict[str, Any] = {
    "batch": 2048,
    "lr_G": 1e-4,
    "lr_D": 4e-4,
    "betas": (0.0, 0.999),
    "adam_eps": 1e-6,
    "n_dis": 1,
    "z_dim": 120,
    "ema_half_life_images": half_life(0.9999, 2048),
    "ema_start_steps": 20_000,
}
