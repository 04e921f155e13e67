"""SNGAN (Miyato, Kataoka, Koyama, Yoshida; ICLR 2018, arXiv 1802.05957): the unconditional baseline of several papers.

The discriminator's weights are divided by their largest singular value, W / sigma(W), which bounds its Lipschitz
constant by that of its activations; losses and nets are otherwise plain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, PositiveInt
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.losses import adversarial
from benchmark.nn.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from benchmark.nn.sngan import SNGANDiscriminator, SNGANGenerator
from benchmark.training.method import GANConfig, Method, Sample


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper, appendix; [S] the SNDCGAN of compare_gan, which LT-GAN and CR-GAN build on; [ours] chosen here."""

    backbone: Literal["resnet", "sndcgan"] = "resnet"  # the paper's residual nets, or its plain ones
    loss: Literal["hinge", "non_saturating"] = "hinge"  # [P] eq. 16, 17
    z_dim: PositiveInt = 128  # of the latent [P]
    width: PositiveInt | None = None  # channels of the narrowest hidden layer; None: the paper's
    g_batch: PositiveInt = 1  # G's batch in batches of D; 2 on CIFAR-10 [P]
    linear_decay: bool = True  # both learning rates fall linearly to 0 [P]


class SNGAN(Method):
    """SNGAN: spectrally normalised discriminator, residual (ResNet) or plain (SNDCGAN) nets; unconditional baseline."""

    cfg: Config
    D: nn.Module

    def __init__(self, cfg: Config, data: Dataset) -> None:
        side, channels = data.resolution, data.channels
        if cfg.backbone == "resnet":
            self.G = SNGANGenerator(side, channels, cfg.z_dim, cfg.width)
            self.D = SNGANDiscriminator(side, channels, cfg.width)
        else:
            self.G = SNDCGANGenerator(side, channels, cfg.z_dim, cfg.width or 64)
            self.D = SNDCGANDiscriminator(side, channels, cfg.width or 64)
        self.loss_D, self.loss_G = adversarial(cfg.loss)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on fresh images, then one of G."""
        for _ in range(self.cfg.n_dis):
            x = next(stream).images  # [B, C, S, S]
            with torch.no_grad():
                x_fake = self.G(self.z(len(x)))
            loss_D = self.loss_D(self.D(x), self.D(x_fake))  # eq. 16
            self.update(loss_D, self.opt_D)

        loss_G = self.loss_G(self.D(self.G(self.z(self.cfg.g_batch * len(x)))))  # eq. 17
        self.update(loss_G, self.opt_G)
        return {"D": loss_D, "G": loss_G}

    def lr_factor(self, t: int) -> float:
        """Linear to zero over the run [P]."""
        return 1 - t / self.cfg.steps if self.cfg.linear_decay else 1.0

    def z(self, n: int) -> Tensor:
        """Latents [n, z_dim], standard normal."""
        return self.normal(n, self.cfg.z_dim)

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Unconditional: nothing is asked."""
        return Sample(G(self.z(n)), None)


_CIFAR = Config(
    steps=50_000,
    batch=64,
    lr_G=2e-4,
    lr_D=2e-4,
    betas=(0.0, 0.9),
    n_dis=5,
    g_batch=2,
    flip=True,
    ema_half_life_images=0,
    log_every=500,
    checkpoint_every=2500,
)
_CELEBA = Config(  # mimicry's CelebA-128: two D updates a step, no decay
    steps=100_000,
    batch=64,
    lr_G=2e-4,
    lr_D=2e-4,
    betas=(0.0, 0.9),
    n_dis=2,
    linear_decay=False,
    flip=True,
    ema_half_life_images=0,
    log_every=500,
    checkpoint_every=2500,
)
_SMALL = Config(
    backbone="sndcgan",
    width=16,
    z_dim=64,
    steps=4000,
    batch=32,
    lr_G=2e-4,
    lr_D=2e-4,
    betas=(0.5, 0.999),
    flip=True,
    ema_half_life_images=5000,
)

# On a thousand digits at 16 px the plain nets lose most modes (FD-judge 181 after 1,200 steps, one class seen), the
# residual ones do not (26, ten classes) [ours: measured].
_SMALL_RESNET = replace(_SMALL, backbone="resnet", width=32, betas=(0.0, 0.9), steps=1500)

RECIPES = {
    "paper": {"cifar10": _CIFAR, "cifar10_jpeg": _CIFAR, "celeba": _CELEBA},
    "small": {
        "default": _SMALL,
        "digits": _SMALL_RESNET,
        "shapes": _SMALL_RESNET,
        "shapes_class": _SMALL_RESNET,
    },
}
