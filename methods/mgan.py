"""MGAN (Hoang, Nguyen, Le, Phung; ICLR 2018, arXiv 1708.02556): K generators that a classifier keeps apart.

The generators share all layers but the first. An image comes from one of them, drawn uniformly: pi_k = 1 / K. D says
whether an image is real, C which generator made it, and D and C share all layers but the last:

  min_{G, C} max_D  E_x log D(x) + E_{x ~ G} log(1 - D(x)) - beta sum_k pi_k E_{x ~ G_k} log C_k(x)

The last term is the diversity: the generators help C, so that they move apart. Self-Conditioned GAN (Liu et al., CVPR
2020) has it as a row of its tables; networks, batches and lengths are therefore those of that paper's plain GAN, and
what is MGAN's own is [P] of its paper or [C] of its code, qhoangdl/MGAN.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core import distributed
from benchmark.core.config import STRICT
from benchmark.nn.losses import cross_entropy, r1
from benchmark.nn.selfcond import MixtureGenerator
from benchmark.training import Dataset, Grid, Method, NonNegativeFloat, Picture, Sample, Stream
from benchmark.training.plain_gan import PlainGAN, PlainGANConfig, noised, plain_recipes

ROWS = 10  # generators shown at most, and images of each


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(PlainGANConfig):
    """MGAN's own settings, with those of Self-Conditioned GAN's plain GAN. [P] paper, [C] its code, [ours]."""

    K: Annotated[int, Field(ge=1)] = 10  # generators [C: CIFAR-10]
    beta: NonNegativeFloat = 0.01  # weight of the diversity in the generators' loss [C: CIFAR-10]


class MGAN(PlainGAN, Method):
    """MGAN: K generators that share all but the first layer, kept apart by a classifier; images or 2-D points."""

    cfg: Config

    def __init__(self, cfg: Config, data: Dataset) -> None:
        self.build(data)
        self.G = MixtureGenerator(self.G, cfg.K)
        self.D.head = nn.Linear(self.D.head.in_features, 1 + cfg.K)  # D's logit, then C's of each generator
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)  # D and C have one loss and one optimiser [C]

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D and C, each on fresh images, then one of the generators on the last of their latents."""
        cfg, losses = self.cfg, {}
        for _ in range(cfg.n_dis):
            x = noised(next(stream).images, cfg.pixel_noise)  # [B, C, S, S], or points [B, 2]
            k = self.generators(len(x))  # [B]
            z = self.normal(len(x), cfg.z_dim)  # one for each image [ours: the code's generators share theirs]
            x_fake = self.G(z, k)  # the generators' step has the same latents [C]
            fake = self.D(x_fake.detach())  # [B, 1 + K]
            losses["D"] = self.loss_D(self.D(x)[:, 0], fake[:, 0])
            losses["C"] = diversity(fake, k)  # weight 1 here: beta is the generators' alone [C]
            loss = losses["D"] + losses["C"]
            if cfg.r1_weight:
                losses["R1"] = r1(lambda images: self.D(images)[:, 0], x)
                loss = loss + cfg.r1_weight * losses["R1"]
            self.update(loss, self.opt_D)

        fake = self.D(x_fake)
        losses["G"] = self.loss_G(fake[:, 0])  # non-saturating
        self.update(losses["G"] + cfg.beta * diversity(fake, k), self.opt_G)
        return losses

    def generators(self, n: int) -> Tensor:
        """Which generator makes each of n images, [n]: uniform, every one as often as n allows.

        The authors draw a small batch of each generator. Here n is the plain GAN's batch, whatever K is, so that all
        rows of a table show D equally many images [ours].
        """
        first = distributed.broadcast(torch.randint(self.cfg.K, (1,), device=self.device))
        return (first + self.places(n)) % self.cfg.K

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Each image from a generator drawn uniformly [P]; there are no conditions."""
        k = torch.randint(self.cfg.K, (n,), device=self.device)
        return Sample(G(self.normal(n, self.cfg.z_dim), k), None)

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[Picture]:
        """Images of the first generators, a row each, all rows from the same latents."""
        if data.is_points:
            return
        rows, z = min(self.cfg.K, ROWS), self.normal(ROWS, self.cfg.z_dim)
        of_each = [G(z, torch.full((ROWS,), k, device=self.device)) for k in range(rows)]
        yield "generators", Grid(torch.stack(of_each), [f"generator {k}" for k in range(rows)], [""] * ROWS)


def diversity(logits: Tensor, k: Tensor) -> Tensor:
    """-sum_k pi_k E log C_k(x), from D's and C's logits [N, 1 + K] of images of the generators k [N]; log K by chance.

    A mean over images: generator k makes a share pi_k of them.
    """
    return cross_entropy(logits[:, 1:], k)


RECIPES = plain_recipes(
    Config,
    points={"K": 50, "beta": 0.125},  # K as the clusters of Self-Conditioned GAN there; beta [ours]
    small={"K": 8},  # four images of each in a batch
)
