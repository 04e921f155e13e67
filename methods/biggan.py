"""BigGAN (Brock, Donahue, Simonyan; ICLR 2019, arXiv 1809.11096): class-conditional, or with one constant label.

Residual networks under spectral norm; classes enter G through its normalisations and D through a projection,
D(x, y) = psi(phi(x)) + <e_y, phi(x)>. IC-GAN (Casanova et al., NeurIPS 2021) trains the same networks as its baselines:
its unconditional BigGAN is this one with a label that never changes.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import STRICT, NonNegativeInt, PositiveFloat, PositiveInt
from benchmark.core.errors import ConfigError
from benchmark.nn.augment import DiffAugment
from benchmark.nn.biggan import BigGANDiscriminator, BigGANGenerator
from benchmark.nn.losses import adversarial
from benchmark.training import Batch, Dataset, GANConfig, Method, Sample, Stream, build_recipes
from methods.recipes import biggan


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [C] the authors' BigGAN-PyTorch; [I] IC-GAN's code, which builds on it; [ours] chosen here."""

    conditional: bool = True  # on the data's classes, where it has them; False: one constant label [I]
    fake_classes: Literal["uniform", "training"] = "uniform"  # of D's and G's images: uniform [C], or as in the data
    z_dim: PositiveInt = 120  # of the latent; a hierarchical one is cut to equal parts [P]
    ch: PositiveInt = 64  # unit of the networks' widths [P]
    hierarchical: bool = True  # every block reads its own part of z [P]
    class_embedding: NonNegativeInt = 128  # shared by G's blocks [P]; 0: tables of their own [C: CIFAR-10]
    attention: bool = True  # at side 64 of 128 and 256 pixels [P], at 32 of 64 [I]
    init: Literal["orthogonal", "normal"] = "orthogonal"  # [P]; normal: N(0, 0.02^2) [C: CIFAR-10]
    sn_eps: PositiveFloat = 1e-6  # of the spectral norms [C]
    adam_eps: PositiveFloat = 1e-6  # [C]
    translation: bool = False  # DiffAugment's random shift of all that D sees, DA(d) [I]


class BigGAN(Method):
    """BigGAN: conditional on classes by projection where there are any, else with a constant label; hinge loss."""

    cfg: Config
    G: BigGANGenerator
    D: BigGANDiscriminator

    def __init__(self, cfg: Config, data: Dataset) -> None:
        if cfg.hierarchical and not cfg.class_embedding:
            raise ConfigError(
                "class_embedding = 0 with a hierarchical latent",
                "a block's own table of classes leaves no place for its part of the latent",
                "set hierarchical=false, or a class_embedding of 128",
            )
        if cfg.conditional and data.conditioning == "class":
            assert data.train.labels is not None, "the dataset has the labels its conditioning says"
            self.conditioning, self.n_labels, self.default_conditions = "class", data.n_classes, "uniform classes"
            self.training = (torch.tensor(data.train.labels, device=self.device),)  # in a tuple: not in checkpoints
        n_classes = self.n_labels or 1  # ours: a table of the constant label alone, not of the 1,000 of [I]
        nets: dict[str, Any] = {
            "n_classes": n_classes,
            "attention": cfg.attention,
            "init": cfg.init,
            "sn_eps": cfg.sn_eps,
        }
        side, channels = data.resolution, data.channels
        self.G = BigGANGenerator(
            side,
            channels,
            cfg.z_dim,
            cfg.ch,
            class_embedding=cfg.class_embedding,
            hierarchical=cfg.hierarchical,
            **nets,
        )
        self.D = BigGANDiscriminator(side, channels, cfg.ch, **nets)
        self.loss_D, self.loss_G = adversarial("hinge")
        self.T = DiffAugment(("translation",), p=float(cfg.translation))
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas, eps=cfg.adam_eps)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas, eps=cfg.adam_eps)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on fresh images, then one of G."""
        for _ in range(self.cfg.n_dis):
            batch = next(stream)
            x, y = batch.images, self.classes(batch)  # [B, C, S, S], [B]
            y_fake = self.classes_of_fakes(len(x))
            with torch.no_grad():
                x_fake = self.G(self.z(len(x)), y_fake)
            # One pass of D for both [C]: it has no batch normalisation, and its spectral norm advances once a step.
            logits = self.D(self.T(torch.cat([x, x_fake])), torch.cat([y, y_fake]))
            loss_D = self.loss_D(*logits.chunk(2))
            self.update(loss_D, self.opt_D)

        y_fake = self.classes_of_fakes(len(x))
        loss_G = self.loss_G(self.D(self.T(self.G(self.z(len(x)), y_fake)), y_fake))
        self.update(loss_G, self.opt_G)
        return {"D": loss_D, "G": loss_G}

    def z(self, n: int) -> Tensor:
        """Latents [n, G.z_dim], standard normal."""
        return self.normal(n, self.G.z_dim)

    def classes(self, batch: Batch) -> Tensor:
        """Classes of the real images, [B] int64; zeros where the label is constant."""
        return batch.labels if self.conditioning == "class" else torch.zeros_like(batch.index)  # type: ignore[return-value]

    def classes_of_fakes(self, n: int) -> Tensor:
        """Classes to generate in training, [n] int64."""
        if self.conditioning == "class" and self.cfg.fake_classes == "training":
            (labels,) = self.training
            return labels[torch.randint(len(labels), (n,), device=self.device)]
        return torch.randint(self.n_labels or 1, (n,), device=self.device)

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images of the requested classes, by default uniform ones; with a constant label there are no conditions."""
        if self.conditioning == "none":
            return Sample(G(self.z(n), torch.zeros(n, dtype=torch.int64, device=self.device)), None)
        if conditions is None:
            conditions = torch.randint(self.n_labels, (n,), device=self.device)
        conditions = conditions.to(self.device)
        return Sample(G(self.z(n), conditions), conditions)


RECIPES = build_recipes(Config, biggan.RECIPES)
