"""Projected GAN (Sauer, Chitta, Mueller, Geiger; NeurIPS 2021, arXiv 2111.01007), with FastGAN's generator.

Discriminators never see an image, only random projections of a frozen classifier's maps. L_l are the maps at four
scales, P_l their fixed random mixtures across channels and scales, D_l one discriminator a scale, T the augmentation:

  min_G max_{D_l}  sum_l  E_x log D_l(P_l(x))  +  E_z log(1 - D_l(P_l(G(z))))          (here as hinge losses)

The classifier is EfficientNet-Lite0, which learned from ImageNet. A distance in its features is what G was trained to
lower, so tables mark it and rank nothing by it.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, Beta, PositiveFloat, PositiveInt, Probability
from benchmark.nn.augment import DiffAugment, host_decides
from benchmark.nn.fastgan import FastGANGenerator
from benchmark.nn.losses import hinge_D, hinge_G
from benchmark.nn.projected import Lite0Maps, MultiScaleDiscriminator, RandomProjection, check_side
from benchmark.training import ArtifactStore, Dataset, GANConfig, Method, Sample, Stream, build_recipes
from benchmark.training.stages.pyramid import PyramidConfig, feature_pyramid
from methods.recipes import projectedgan

POLICY = ("brightness", "saturation", "contrast", "translation", "cutout")  # "color,translation,cutout" [C]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [C] the authors' code, autonomousvision/projected-gan, `--cfg=fastgan`; [ours] chosen here."""

    features: PyramidConfig = PyramidConfig()  # L and P
    lr_G: PositiveFloat = 2e-4  # Adam's step size [C]
    lr_D: PositiveFloat = 2e-4  # the same [C]
    betas: tuple[Beta, Beta] = (0.0, 0.99)  # Adam's moment decay rates [C]
    z_dim: PositiveInt = 256  # of the latent [C]
    width: PositiveInt = 128  # channels of G's map at 128 px (ngf); at 4 px sixteen times as many [C]
    lite: bool = False  # one convolution a block of G, and no noise: the code's `fastgan_lite` [C]
    augment: Probability = 1.0  # of each DiffAugment operation, on a whole batch [C]
    cutout: PositiveFloat = 0.2  # side of DiffAugment's square, as a share of the image's [C]; 0.5 in DiffAugment


class ProjectedGAN(Method):
    """Projected GAN: FastGAN's generator against discriminators on randomly mixed features of a frozen classifier."""

    cfg: Config
    G: FastGANGenerator
    D: MultiScaleDiscriminator

    @staticmethod
    def stages(artifacts: ArtifactStore, cfg: Config) -> dict[str, Any]:
        """L, the frozen classifier."""
        check_side(artifacts.data.resolution, cfg.features.input_px)
        return {"L": feature_pyramid(artifacts, cfg.features)}

    @staticmethod
    def uncapturable(cfg: Config) -> str:
        """Why a step cannot be captured: DiffAugment's coins."""
        return host_decides(cfg.augment)

    def __init__(self, cfg: Config, data: Dataset, L: Lite0Maps | None = None) -> None:
        self.L = L  # None: to sample from a trained G alone
        self.G = FastGANGenerator(data.resolution, data.channels, cfg.z_dim, cfg.width, cfg.lite)
        f = cfg.features
        self.P = RandomProjection(f.width, f.kernel, f.mixing)  # drawn by the run's seed [C]
        self.P.to(memory_format=torch.channels_last)
        self.D = MultiScaleDiscriminator(self.P, max(data.resolution, f.input_px), f.width, f.n_scales)
        self.T = DiffAugment(POLICY, cfg.augment, cfg.cutout)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """G, then n_dis times D with fresh latents [C]. Losses are sums over the scales [P]."""
        x = next(stream).images  # [B, C, S, S]
        scales = self.D(self.projected(self.G(self.z(len(x)))))
        loss_G = torch.stack([hinge_G(fake) for fake in scales]).sum()
        self.update(loss_G, self.opt_G)

        for i in range(self.cfg.n_dis):
            x = next(stream).images if i else x
            with torch.no_grad():
                P_fake = self.projected(self.G(self.z(len(x))))
                P_real = self.projected(x)
            pairs = zip(self.D(P_real), self.D(P_fake))  # two passes: batch norm must not mix them [C]
            loss_D = torch.stack([hinge_D(real, fake) for real, fake in pairs]).sum()
            self.update(loss_D, self.opt_D)
        return {"D": loss_D, "G": loss_G}

    def projected(self, x: Tensor) -> list[Tensor]:
        """P_1(T(x)) ... P_4(T(x)) of images [N, C, S, S]; gradients pass through to the images."""
        assert self.L is not None, "loaded to sample only"
        return self.P(self.L(self.T(x)))

    def z(self, n: int) -> Tensor:
        """Latents [n, z_dim], standard normal."""
        return self.normal(n, self.cfg.z_dim)

    def state_dict(self) -> dict[str, Any]:
        """With P: it is never trained, but a run that continues needs the very projection it began with."""
        return super().state_dict() | {"P": self.P.state_dict()}

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Unconditional: there are no conditions. Fresh noise in every image."""
        return Sample(G(self.z(n)).clamp(-1, 1), None)


RECIPES = build_recipes(Config, projectedgan.RECIPES)
