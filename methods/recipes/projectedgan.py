"""Projected GAN's recipes. [P] paper; [C] the authors' code, autonomousvision/projected-gan; [ours] chosen here."""

from __future__ import annotations

from typing import Any

from benchmark.training.stages.pyramid import PyramidConfig

_PAPER: dict[str, Any] = {
    "steps": 156_250,  # 10 million images: the code's example [C]; the paper trains on each dataset as long as it helps
    "batch": 64,  # the code's example [C]
    "flip": True,  # the code's example [C]
    # The code's half-life, batch * 10,000 / 32 images, without its slow start, in which the average follows closely.
    "ema_half_life_images": 20_000,
    "log_every": 500,
    "checkpoint_every": 5000,
}
_SMALL: dict[str, Any] = {  # sized for one core, a quarter of a second a step: five minutes [ours]
    "steps": 1200,
    "batch": 16,
    "z_dim": 64,
    "width": 8,
    # Images are enlarged to 64 px, the smallest side from which four maps can be taken: at the authors' 224 px a step
    # takes twelve times as long.
    "features": PyramidConfig(input_px=64, width=16),
    "flip": True,
    "ema_half_life_images": 1000,
}

RECIPES = {
    "paper": {
        "afhq": _PAPER,  # the paper trains on each of its three animals by itself, at 512 px [P]
        "celeba_hq": _PAPER,  # not in the paper: its settings are the same for every dataset
    },
    "small": {"default": _SMALL},
}
