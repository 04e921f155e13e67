"""The settings that every trained thing, and every GAN, has; and how a table of recipes becomes configurations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, Beta, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainConfig:
    """What the training loop itself reads; the base of every stage's and method's configuration."""

    steps: PositiveInt  # iterations of `step`; one generator update each for a GAN
    batch: PositiveInt  # images a step draws, over all ranks together
    flip: bool = False  # mirror training images with probability 1/2, where the dataset's labels allow it
    log_every: PositiveInt = 50  # steps between lines of the log, each the mean since the last
    checkpoint_every: PositiveInt = 1000  # steps between checkpoints


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GANConfig(TrainConfig):
    """The settings every GAN has."""

    lr_G: PositiveFloat = 1e-4  # Adam's step size, generator
    lr_D: PositiveFloat = 1e-4  # Adam's step size, discriminator
    betas: tuple[Beta, Beta] = (0.5, 0.99)  # Adam's moment decay rates
    n_dis: PositiveInt = 1  # discriminator updates a step
    ema_half_life_images: NonNegativeFloat = 10_000  # half-life of the average generator, in images; 0: no average
    ema_start_steps: NonNegativeInt = 0  # until this step the average is a copy

    @property
    def images_a_step(self) -> int:
        """Real images that the discriminator's updates of a step are given: what budgets, costs and curves count.

        A method may draw more: R3GAN's generator is compared with further real images.
        """
        return self.batch * self.n_dis


def half_life(decay: float, batch: int) -> float:
    """Images after which an average that keeps `decay` of itself at each step, of `batch` images, has lost half."""
    return batch * math.log(0.5) / math.log(decay)


C = TypeVar("C", bound=GANConfig)
Table = Mapping[str, Mapping[str, Mapping[str, Any]]]


def build_recipes(config: type[C], table: Table) -> dict[str, dict[str, C]]:
    """A method's recipes, from a table in `methods/recipes/`.

    table: {recipe: {dataset or "default": settings}}; settings name the fields of `config` that differ from its
    defaults. Raises pydantic's ValidationError for a field that there is not, or a value out of its range.
    """
    return {
        recipe: {dataset: config(**settings) for dataset, settings in rows.items()} for recipe, rows in table.items()
    }
