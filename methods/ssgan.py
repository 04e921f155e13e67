"""SS-GAN (Chen, Zhai, Ritter, Lucic, Houlsby; CVPR 2019, arXiv 1811.11212): self-supervision by rotation.

D also says by which quarter turn an image was rotated. On real images that keeps its features useful when the game
changes; on generated ones it asks G for images whose upright side can be told. Symbols are the paper's: x^r is x
turned by r, Q_D D's answer about r.

  L_D = V_D - beta  E_x E_r [log Q_D(r | x^r)],    L_G = V_G - alpha E_x~ E_r [log Q_D(r | x~^r)]
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeFloat, PositiveInt
from benchmark.nn.augment import quarter_turns
from benchmark.nn.backbones import Discriminator, build_plain
from benchmark.nn.losses import adversarial, cross_entropy
from benchmark.nn.sndcgan import SNDCGANDiscriminator
from benchmark.nn.spectral_norm import spectral_norm
from benchmark.training import Dataset, GANConfig, Method, Sample, Stream, build_recipes
from methods.recipes import ssgan

N_TURNS = 4  # 0, 90, 180 and 270 degrees


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [C] the authors' code, google/compare_gan; [M] kwotsin/mimicry's baseline; [ours] chosen here."""

    backbone: Literal["resnet", "sndcgan"] = "resnet"  # SNGAN's residual networks or its plain ones [P]
    loss: Literal["hinge", "non_saturating"] = "hinge"  # [P]
    z_dim: PositiveInt = 128  # of the latent [P]
    width: PositiveInt | None = None  # channels of the narrowest hidden layer; None: the published one
    beta: NonNegativeFloat = 1.0  # of the rotation loss on real images, for D [P]
    alpha: NonNegativeFloat = 0.2  # of the rotation loss on generated images, for G [P]
    linear_decay: bool = False  # both learning rates fall linearly to 0 [M: on CIFAR-10 and STL-10]


class RotationDiscriminator(nn.Module):
    """An SNGAN discriminator with a second linear layer on the features before its last: the quarter turn's logits."""

    def __init__(self, D: Discriminator) -> None:
        super().__init__()
        self.D = D
        dim = math.prod(D.feature_shape(D.n_layers)) if isinstance(D, SNDCGANDiscriminator) else D.dim
        head = nn.Linear(dim, N_TURNS)
        nn.init.normal_(head.weight, std=0.02)  # [C]
        nn.init.zeros_(head.bias)
        self.rotation = spectral_norm(head)

    def phi(self, x: Tensor) -> Tensor:
        """Images [N, C, S, S] in [-1, 1] -> what both linear layers read, [N, d]."""
        if isinstance(self.D, SNDCGANDiscriminator):
            return self.D.features(x, self.D.n_layers).flatten(1)
        return self.D.features(x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, C, S, S] in [-1, 1] -> logits of being real [N] and of the four quarter turns [N, 4]."""
        phi = self.phi(x)
        return self.D.linear(phi).squeeze(1), self.rotation(phi)


class SSGAN(Method):
    """SS-GAN: the discriminator also predicts the rotation of an image (quarter turns); unconditional."""

    cfg: Config
    D: RotationDiscriminator

    def __init__(self, cfg: Config, data: Dataset) -> None:
        self.linear_decay = cfg.linear_decay
        self.G, D = build_plain(cfg.backbone, data.resolution, data.channels, cfg.z_dim, cfg.width)
        self.D = RotationDiscriminator(D)
        self.loss_D, self.loss_G = adversarial(cfg.loss)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    @staticmethod
    def inseparable(cfg: Config) -> int:
        """A quarter of each rank's share is rotated."""
        return N_TURNS

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on fresh images, then one of G. Rotated images take no part in the GAN's loss."""
        cfg = self.cfg
        for _ in range(cfg.n_dis):
            x = next(stream).images  # [B, C, S, S]
            with torch.no_grad():
                x_fake = self.G(self.z(len(x)))
            loss_D, turn_D = self.D_losses(x, x_fake)
            self.update(loss_D + cfg.beta * turn_D, self.opt_D)

        loss_G, turn_G = self.G_losses(self.G(self.z(len(x))))
        self.update(loss_G + cfg.alpha * turn_G, self.opt_G)  # D and its new layer stay as they are
        return {"D": loss_D, "G": loss_G, "turn_D": turn_D, "turn_G": turn_G}

    def D_losses(self, x: Tensor, x_fake: Tensor) -> tuple[Tensor, Tensor]:
        """V_D and -E log Q_D(r | x^r): turns are learned from real images alone. One call of D, as in the code."""
        x_r, r = rotated(x)
        logits, turns = self.D(torch.cat([x, x_fake, x_r]))
        real, fake, _ = logits.split([len(x), len(x_fake), len(x_r)])
        return self.loss_D(real, fake), cross_entropy(turns[-len(r) :], r)

    def G_losses(self, x_fake: Tensor) -> tuple[Tensor, Tensor]:
        """V_G and -E log Q_D(r | x~^r) of generated images."""
        x_r, r = rotated(x_fake)
        logits, turns = self.D(torch.cat([x_fake, x_r]))
        return self.loss_G(logits[: len(x_fake)]), cross_entropy(turns[-len(r) :], r)

    def z(self, n: int) -> Tensor:
        """Latents [n, z_dim], standard normal."""
        return self.normal(n, self.cfg.z_dim)

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Unconditional: there are no conditions."""
        return Sample(G(self.z(n)), None)


def rotated(x: Tensor) -> tuple[Tensor, Tensor]:
    """The last quarter of a batch (at least one image), each in all four turns, and their numbers r = 0 ... 3 [C].

    On several ranks it is the last quarter of each one's share: as many images in all.
    x [B, C, S, S] -> x^r [4 * max(1, B // 4), C, S, S], r [4 * max(1, B // 4)] int64.
    """
    few = x[-max(1, len(x) // N_TURNS) :]
    r = torch.arange(N_TURNS, device=x.device).repeat_interleave(len(few))
    return torch.cat([quarter_turns(few, k) for k in range(N_TURNS)]), r


RECIPES = build_recipes(Config, ssgan.RECIPES)
