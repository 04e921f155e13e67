"""PacGAN (Lin, Khetan, Fanti, Oh; NeurIPS 2018, arXiv 1712.04086): the discriminator judges m samples at once.

A packed discriminator D(x_1, ..., x_m) sees m real or m generated samples side by side, so that a generator with fewer
modes than the data is found out by how alike its samples are:

  min_D  -E log sigma(D(x_1, ..., x_m)) - E log(1 - sigma(D(G(z_1), ..., G(z_m))))

Everything else is the plain GAN (`benchmark.training.plain_gan.PlainGAN.step`): the networks are those of
Self-Conditioned GAN (Liu et al., CVPR 2020), whose tables have it as PacGAN2, PacGAN3 and PacGAN4.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from benchmark.core.config import STRICT
from benchmark.core.errors import ConfigError
from benchmark.training import Dataset, Method
from benchmark.training.plain_gan import PlainGAN, PlainGANConfig, plain_recipes


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(PlainGANConfig):
    """In addition to the setting of Self-Conditioned GAN's code. [P] paper."""

    m: Annotated[int, Field(ge=1, le=16)] = 2  # degree of packing: samples a judgement [P]; 1 is the plain GAN


class PacGAN(PlainGAN, Method):
    """PacGAN: the discriminator judges packs of m samples, which shows it missing modes; images or 2-D points."""

    cfg: Config

    @staticmethod
    def inseparable(cfg: Config) -> int:
        """A pack lies on one rank, and none is lost: with several ranks there is no rest to leave out."""
        return cfg.m

    def __init__(self, cfg: Config, data: Dataset) -> None:
        if cfg.batch < cfg.m:
            raise ConfigError(f"m = {cfg.m}", f"a batch of {cfg.batch} holds no pack", f"choose batch >= {cfg.m}")
        self.build(data, pack=cfg.m)

    def judged(self, x: Tensor) -> Tensor:
        """m samples a row: [B, C, S, S] -> [B // m, m C, S, S], points [B, 2] -> [B // m, 2 m]; a rest is left out.

        Samples of a batch are independent, so neighbours make a pack. The number of samples a step is the batch,
        whatever m is: rows of one table see equally many [ours].
        """
        m = self.cfg.m
        return x[: len(x) // m * m].reshape(len(x) // m, m * x.shape[1], *x.shape[2:])


RECIPES = plain_recipes(Config)
