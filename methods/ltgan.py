"""LT-GAN (Patel, Kumari, Singh, Krishnamurthy; WACV 2021, arXiv 2010.09893).

A GAN whose generator must make latent moves recognisable: an auxiliary network A sees how D's features change from
G(z) to G(z + eps) for two latents z, and says whether the same eps moved both. G and A learn together to make that
answerable; D only plays the GAN. Symbols are the paper's: E an inner layer of D, delta the change of features.

  T_eps(G(z)) = G(z + eps),  delta(z, eps) = E(G(z + eps)) - E(G(z))
  L_A = BCE(A([delta(z_1, eps_1), delta(z_2, eps_2)]), eps_1 = eps_2),   min_{G, A} L_G + lambda L_A,   min_D L_D

The copies of the paper that could be read have lost most of its inline numbers: sigma_eps, lambda, the warm-up, the
pooling, A's width. What replaces them here is marked [ours].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from benchmark.core import distributed
from benchmark.core.config import STRICT, NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from benchmark.core.errors import ConfigError
from benchmark.nn.augment import random_flip, random_shift
from benchmark.nn.losses import adversarial, binary_cross_entropy_with_logits, mse_loss, r1
from benchmark.nn.tapped import TAPPED, Code, another_one, auxiliary
from benchmark.training import Batch, Dataset, GANConfig, Measurement, Method, Picture, Sample, Stream, build_recipes
from benchmark.training.moves import accuracy_of_moves, grid_of_moves
from methods.recipes import ltgan


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [C] the code bases whose settings the paper keeps: compare_gan, BigGAN-PyTorch; [ours] chosen here."""

    backbone: Literal["sndcgan", "resnet", "biggan", "stylegan2"] = "sndcgan"  # [P] sec. 4.1; resnet is SNGAN's
    loss: Literal["hinge", "non_saturating"] = "hinge"  # [P] eq. 2; StyleGAN's is eq. 1
    z_dim: PositiveInt = 128  # of the latent [C]
    width: PositiveInt | None = None  # of the networks (their `base`, `width`, `ch`); None: the published one
    conditional: bool = False  # class-conditional BigGAN; both images of a pair have one class [P]
    biggan: Literal["imagenet", "cifar10"] = "cifar10"  # which of BigGAN-PyTorch's networks [C]
    adam_eps: PositiveFloat = 1e-8  # of G's and D's Adam; 1e-6 on ImageNet [C]

    sigma_z: PositiveFloat = 1.0  # std of z, sec. 3.2; a standard normal [ours: value lost]
    sigma_eps: PositiveFloat = 0.5  # std of eps, below sigma_z [P]; the value: [ours: lost, mid of a sweep 0.1 to 1]
    lambda_lt: NonNegativeFloat = 1.0  # lambda; 0: no A, D sees no moved image, the plain GAN [ours: value lost]
    n_eps: Annotated[int, Field(ge=2)] = 2  # distinct eps in a batch, repeated along it [P] sec. 4.1
    warmup: Probability = 0.05  # share of the steps before the task begins; some [P]; how many [ours: lost]
    g_batch: PositiveInt = 2  # G's batch in batches of D [P] supplement 9; the paper's baselines have 1
    adv_on_moved: bool = False  # G's adversarial loss on G(z + eps), too [ours: the paper does not say]

    layer: PositiveInt = 5  # E: convolution of SNDCGAN [P], block of resnet, side of StyleGAN2's map; BigGAN: the last
    pool: PositiveInt | None = None  # kernel and stride of E's average pool; None: 2 x 2 are left [ours: lost]
    aux: Literal["mlp", "linear", "conv"] = "mlp"  # A; the linear one cannot learn the task [P] supplement 7
    hidden: PositiveInt | None = None  # width of A's hidden layer; None: min(d, 1024), d = len(delta) [ours: lost]
    lr_A: PositiveFloat = 1e-3  # Adam's "default" step size; its betas are 0.9, 0.999 [P]
    aux_images: Annotated[int, Field(ge=2)] = 25_000  # for each point of the curve of A's accuracy [P] sec. 5

    lambda_cr: NonNegativeFloat = 0.0  # consistency of D on real images; in CR + LT it is CR-GAN's 10
    shift_px: PositiveInt = 4  # largest shift of that consistency's augmentation [P] supplement 9
    r1_gamma: NonNegativeFloat = 0.0  # R1 penalty of weight gamma / 2 at every step, for StyleGAN
    mixing: Probability = 0.9  # of batches made of two latents an image, StyleGAN2 only [C]
    mapping_layers: PositiveInt = 8  # of StyleGAN2's mapping network [P] supplement 9.4


class LTGAN(Method):
    """LT-GAN: a generator whose latent moves an auxiliary network can tell apart; four backbones, CR as an option."""

    cfg: Config
    D: nn.Module

    @classmethod
    def version_of(cls, cfg: Config) -> int:
        """2 where styles are mixed: an image without mixing is made of one latent since, before of one of two drawn."""
        return 2 if cfg.backbone == "stylegan2" and cfg.mixing else 1

    def __init__(self, cfg: Config, data: Dataset) -> None:
        _check(cfg, data)
        self.net = TAPPED[cfg.backbone].of(cfg, data)
        self.conditioning = "class" if cfg.conditional else "none"
        self.n_labels = self.net.n_classes
        self.default_conditions = "uniform classes" if cfg.conditional else "nothing"
        self.flip_ok = data.flip_ok
        self.G, self.D = self.net.nets()
        self.z_dim = getattr(self.G, "z_dim", cfg.z_dim)  # BigGAN's is a multiple of its chunks
        self.loss_D, self.loss_G = adversarial(cfg.loss)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas, eps=cfg.adam_eps)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas, eps=cfg.adam_eps)
        if cfg.lambda_lt:
            self.A = auxiliary(cfg.aux, self._feature_shape(data), cfg.hidden)
            self.opt_A = self.adam(self.A, cfg.lr_A, (0.9, 0.999))

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """Algorithm 1: n_dis updates of D, then one of G, and of A once the warm-up is over."""
        cfg, task_on = self.cfg, self.task_on(t)
        for _ in range(cfg.n_dis):
            batch = next(stream)
            code = self.code(len(batch.images))
            if task_on:  # half of these images are moved ones [P says that D sees them; the share is ours]
                code = self.half_moved(code)
            with torch.no_grad():
                x_fake = self.net.generate(self.G, code)
            losses = self.terms_of_D(batch, x_fake, code.y)
            self.update(torch.stack(list(losses.values())).sum(), self.opt_D)

        code = self.code(cfg.g_batch * len(batch.images))
        if not task_on:
            loss_G = self.loss_G(self.score(self.net.generate(self.G, code), code.y))
            self.update(loss_G, self.opt_G)
            return {**losses, "G": loss_G}

        eps, which = self.moves(len(code), cfg.sigma_eps)
        both = code.then(code.moved(eps[which]))
        x, x_moved = self.net.generate(self.G, both).chunk(2)  # G(z), T_eps(G(z)), in one pass
        loss_G = self.loss_G(self.score(x, code.y))
        if cfg.adv_on_moved:
            loss_G = (loss_G + self.loss_G(self.score(x_moved, code.y))) / 2
        loss_A, right = self.L_A(self.delta(x, x_moved), which)
        self.update(loss_G + cfg.lambda_lt * loss_A, self.opt_G, self.opt_A)  # eq. 6; D stays as it is
        return {**losses, "G": loss_G, "A": loss_A, "A_right": right}

    def task_on(self, t: int) -> bool:
        """Whether step t (from 0) is past the warm-up."""
        return self.cfg.lambda_lt > 0 and t >= int(self.cfg.warmup * self.cfg.steps)

    def terms_of_D(self, batch: Batch, x_fake: Tensor, y_fake: Tensor | None) -> dict[str, Tensor]:
        """D's loss, term by term, weighted: adversarial; CR on real images; R1. None of them is L_A."""
        cfg, x = self.cfg, batch.images
        y = batch.labels if cfg.conditional else None
        on_x = self.score(x, y)
        losses = {"D": self.loss_D(on_x, self.score(x_fake, y_fake))}
        if cfg.lambda_cr:
            losses["CR"] = cfg.lambda_cr * mse_loss(self.score(self.T(x), y), on_x)  # || D(x) - D(T(x)) ||^2
        if cfg.r1_gamma:
            losses["R1"] = cfg.r1_gamma / 2 * r1(lambda images: self.score(images, y), x)
        return losses

    def T(self, x: Tensor) -> Tensor:
        """The augmentation of CR: mirrored at random where the labels allow it, then shifted by a few pixels [P]."""
        x = random_flip(x) if self.flip_ok else x
        return random_shift(x, min(self.cfg.shift_px, x.shape[-1] - 1))

    def score(self, x: Tensor, y: Tensor | None) -> Tensor:
        """D's logits [N]."""
        return self.net.score(self.D, x, y)

    def E(self, x: Tensor) -> Tensor:
        """Features of images at the tapped layer of D, averaged over windows: [N, d, h, w]."""
        f = self.net.tap(self.D, x)
        window = min(self.cfg.pool or max(1, f.shape[-1] // 2), f.shape[-1])
        return avg_pool2d(f, window) if window > 1 else f

    def delta(self, x: Tensor, x_moved: Tensor) -> Tensor:
        """delta(z, eps) = E(G(z + eps)) - E(G(z)), eq. 4: [N, d, h, w]. Gradients run through both images."""
        of_x, of_moved = self.E(torch.cat([x, x_moved])).chunk(2)
        return of_moved - of_x

    def L_A(self, delta: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """The auxiliary loss, eq. 5, and the share of right answers."""
        logits, same = self.compare(delta, which)
        return binary_cross_entropy_with_logits(logits, same), ((logits > 0) == (same > 0)).float().mean()

    def compare(self, delta: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Every change paired with another one: A's logits [N] and the truth [N] float, 1 where one eps made both.

        which: the number of the eps of each image [N]; numbers are compared, never the values of eps.
        """
        other, which_of_other = another_one(delta, which)
        return self.A(torch.cat([delta, other], 1)).squeeze(1), (which == which_of_other).float()

    def code(self, n: int, mix: bool = True) -> Code:
        """n codes with z ~ N(0, sigma_z^2); without mixing of one latent each, so that every number of z matters."""
        z = self.cfg.sigma_z * self.normal(n, self.net.n_styles if mix else 1, self.z_dim)
        return self.net.code(z, self.G, mix)

    def moves(self, n: int, sigma: float) -> tuple[Tensor, Tensor]:
        """n_eps moves eps ~ N(0, sigma^2) [n_eps, K, z_dim], and which of them each image has [n]: 0, 1, 0, 1, ...

        The moves are those of the whole batch, the same on every rank.
        """
        eps = distributed.broadcast(sigma * self.normal(self.cfg.n_eps, self.net.n_styles, self.z_dim))
        return eps, self.places(n) % self.cfg.n_eps

    def half_moved(self, code: Code) -> Code:
        """The second half of the codes moved: D's batch stays as large as it was."""
        eps, which = self.moves(len(code), self.cfg.sigma_eps)
        in_second_half = self.places(len(code)) >= len(code) * distributed.world() // 2
        return code.moved(eps[which] * in_second_half[:, None, None])

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images of plain latents, one style each; of the requested classes, or of uniform ones, if G has classes."""
        code = self.code(n, mix=False)
        if conditions is not None and self.cfg.conditional:
            code = replace(code, y=conditions.to(self.device))
        return Sample(self.net.generate(G, code).clamp(-1, 1), code.y)

    def measurements(self, G: nn.Module, data: Dataset) -> Iterator[Measurement]:
        """A's accuracy at the size of moves it was trained with, and its curve over other sizes [P] sec. 5."""
        cfg = self.cfg
        if cfg.lambda_lt:
            answers, nets, sigmas = partial(self.answers, G), (G, self.D, self.A), (cfg.sigma_eps, cfg.sigma_z)
            yield accuracy_of_moves(answers, nets, cfg.aux_images, cfg.n_eps, *sigmas)

    def answers(self, G: nn.Module, sigma: float, n: int) -> tuple[Tensor, Tensor]:
        """A's logits [n] and the truth [n] for n images of generator G and moves of size sigma."""
        code = self.code(n)
        eps, which = self.moves(n, sigma)
        x, x_moved = self.net.generate(G, code.then(code.moved(eps[which]))).chunk(2)
        return self.compare(self.delta(x, x_moved), which)

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[Picture]:
        """Every row another z, every column the same eps: what the task wants to look alike down a column."""
        code, eps = self.code(8, mix=False), self.cfg.sigma_eps * self.normal(5, 1, self.z_dim)
        yield "moves", grid_of_moves(lambda codes: self.net.generate(G, codes), code, eps)

    @torch.no_grad()
    def _feature_shape(self, data: Dataset) -> torch.Size:
        """(d, h, w) of E's output."""
        self.D.eval()  # spectral norm's vectors stay as they are
        shape = self.E(torch.zeros(2, data.channels, data.resolution, data.resolution)).shape[1:]
        self.D.train()
        return shape


def _check(cfg: Config, data: Dataset) -> None:
    """Settings that cannot be meant."""
    if cfg.sigma_eps >= cfg.sigma_z:
        raise ConfigError(
            f"sigma_eps = {cfg.sigma_eps}",
            f"a move must be smaller than the latent it moves, whose sigma_z is {cfg.sigma_z}",
            f"set sigma_eps below {cfg.sigma_z}",
        )
    if cfg.conditional and cfg.backbone != "biggan":
        what = f"the {cfg.backbone} networks take no class"
        raise ConfigError("conditional = true", what, "set backbone=biggan or conditional=false")
    if cfg.conditional and data.conditioning != "class":
        raise ConfigError("conditional = true", f"{data.name} has no classes", "set conditional=false")


RECIPES = build_recipes(Config, ltgan.RECIPES)
