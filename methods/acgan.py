"""AC-GAN (Odena, Olah, Shlens; ICML 2017, arXiv 1610.09585) in the form that later suites train.

D has a second head C that names the label of an image. D and C learn from real images, G from C's opinion of its own:

  D, C   min  hinge_D + lambda CE(C(phi(x)), y)          G   min  hinge_G + lambda CE(C(phi(G(z, y))), y)

The original trains C on generated images, too, and has neither spectral norm nor the hinge loss.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeFloat, NonNegativeInt, PositiveInt, Probability
from benchmark.data.labels import Labels
from benchmark.nn.losses import adversarial, label_loss
from benchmark.nn.sngan import SNGANDiscriminator, SNGANGenerator
from benchmark.nn.spectral_norm import spectral_norm
from benchmark.training import Dataset, GANConfig, Method, Sample, Stream


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[S] StudioGAN, which trains this form; [ours] chosen here."""

    loss: Literal["hinge", "non_saturating"] = "hinge"  # [S]
    class_weight: NonNegativeFloat = 1.0  # lambda, of the label's loss in both updates [S]
    z_dim: PositiveInt = 128  # of the latent [ours: SNGAN's]
    width: PositiveInt | None = None  # channels of the narrowest hidden layer; None: SNGAN's
    label_noise: Probability = 0.0  # share of the training labels that name another class
    noise_seed: NonNegativeInt = 0  # of the choice of these labels: equal seeds, equal labels, for every method


class ACGAN(Method):
    """AC-GAN: a class head on the discriminator's features steers the generator; SNGAN's networks, hinge loss."""

    cfg: Config

    def __init__(self, cfg: Config, data: Dataset) -> None:
        self.labels = Labels(data, self.device, cfg.label_noise, cfg.noise_seed)
        self.conditioning, self.n_labels = self.labels.kind, self.labels.n
        self.default_conditions = self.labels.default_conditions
        side, channels, n = data.resolution, data.channels, self.labels.n
        self.G = SNGANGenerator(side, channels, cfg.z_dim, cfg.width, n_classes=n)
        self.D = SNGANDiscriminator(side, channels, cfg.width)
        self.C = spectral_norm(nn.Linear(self.D.dim, n))  # normed like every layer of D [ours]
        self.loss_D, self.loss_G = adversarial(cfg.loss)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam([self.D, self.C], cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D and C, each on fresh images, then one of G."""
        weight = self.cfg.class_weight
        for _ in range(self.cfg.n_dis):
            batch = next(stream)
            x, y = batch.images, self.labels.of(batch)  # [B, C, S, S], [B] or [B, A]
            with torch.no_grad():
                x_fake = self.generate(self.G, self.labels.draw(len(x)))
            phi, phi_fake = self.D.features(torch.cat([x, x_fake])).chunk(2)  # [B, dim] each
            loss_D = self.loss_D(self.D.head(phi), self.D.head(phi_fake))
            loss_C = label_loss(self.C(phi), y)  # of attributes: the mean over them [ours]
            self.update(loss_D + weight * loss_C, self.opt_D)

        y_fake = self.labels.draw(len(x))
        phi_fake = self.D.features(self.generate(self.G, y_fake))
        loss_G, loss_G_class = self.loss_G(self.D.head(phi_fake)), label_loss(self.C(phi_fake), y_fake)
        self.update(loss_G + weight * loss_G_class, self.opt_G)
        return {"D": loss_D, "G": loss_G, "class_D": loss_C, "class_G": loss_G_class}

    def generate(self, G: nn.Module, y: Tensor) -> Tensor:
        """G(z, y) with fresh standard normal z: images [N, C, S, S] in [-1, 1]."""
        return G(self.normal(len(y), self.cfg.z_dim), self.labels.index(y))

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images of the requested labels; by default of uniform classes, or of training images' attributes."""
        conditions = self.labels.draw(n) if conditions is None else conditions.to(self.device)
        return Sample(self.generate(G, conditions), conditions.long())

    @torch.no_grad()
    def own_classifier(self, images: Tensor) -> Tensor:
        """C's logits [N, n_labels], with the spectral norms held still: looking must not move the training."""
        nets: tuple[nn.Module, ...] = (self.D, self.C)
        training = [net.training for net in nets]
        for net in nets:
            net.eval()
        logits = self.C(self.D.features(images))
        for net, mode in zip(nets, training):
            net.train(mode)
        return logits


_CIFAR = Config(  # SNGAN's networks with StudioGAN's optimiser and schedule [S]
    steps=100_000,
    batch=64,
    lr_G=2e-4,
    lr_D=2e-4,
    betas=(0.5, 0.999),
    n_dis=5,
    flip=True,
    ema_half_life_images=0,
    log_every=500,
    checkpoint_every=2500,
)
_SMALL = Config(  # [ours]
    width=16,
    z_dim=64,
    steps=2000,
    batch=32,
    lr_G=5e-4,
    lr_D=5e-4,
    betas=(0.5, 0.999),
    flip=True,
    ema_half_life_images=5000,
)

RECIPES = {"paper": {"cifar10": _CIFAR, "cifar10_jpeg": _CIFAR}, "small": {"default": _SMALL}}
