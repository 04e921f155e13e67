"""What Self-Conditioned GAN's recipes add to those of the plain GAN of its code, by the row's name. [C] that code."""

from __future__ import annotations

from typing import Any

OWN: dict[str, dict[str, Any]] = {
    "imagenet": {"T": 75_000, "n_s": 50_000, "r1_weight": 0.1},  # the authors' baselines have 10 [C]
    "points": {"k": 50, "T": 5000, "n_s": 10_000},
    "small": {"k": 20, "T": 300, "n_s": 5000},  # some 70 images a cluster of digits; as the published 25,000 of 195,000
    "small_digits": {"T": 375},
    "small_points": {"T": 200, "n_s": 5000},  # a twentieth of the run, as published
}
