"""DCGAN (Radford, Metz, Chintala; ICLR 2016, arXiv 1511.06434): the plain GAN of several papers' tables.

The loss is that of Goodfellow et al. (2014) with the non-saturating generator:

  min_D  -E log sigma(D(x)) - E log(1 - sigma(D(G(z))))          min_G  -E log sigma(D(G(z)))

The networks are those of Self-Conditioned GAN (Liu et al., CVPR 2020) without its condition: this is the row "GAN" of
its tables, for points in the plane too. The step is shared with PacGAN: `benchmark.training.plain_gan.PlainGAN.step`.
"""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT
from benchmark.training import Dataset, Method
from benchmark.training.plain_gan import PlainGAN, PlainGANConfig, plain_recipes


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(PlainGANConfig):
    """Nothing of its own: the setting of Self-Conditioned GAN's unconditional baseline."""


class DCGAN(PlainGAN, Method):
    """DCGAN: the plain unconditional GAN, cross-entropy with the non-saturating generator; images or 2-D points."""

    cfg: Config

    def __init__(self, cfg: Config, data: Dataset) -> None:
        self.build(data)


RECIPES = plain_recipes(Config)
