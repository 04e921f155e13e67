"""Losses that several methods share: adversarial ones by name, of labels, gradient penalties, SimCLR's contrastive one.

Logits are raw discriminator outputs of any shape, [N] or maps [N, h, w]; every loss averages over all their entries.
All compute in float32, under autocast, too; the networks that a penalty calls do so as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.core import distributed
from benchmark.core.errors import ConfigError, suggest
from benchmark.nn.precision import in_float32


class Adversarial(NamedTuple):
    """A pair of losses: `D(real_logits, fake_logits)` for the discriminator, `G(fake_logits)` for the generator."""

    D: Callable[[Tensor, Tensor], Tensor]
    G: Callable[[Tensor], Tensor]


@in_float32
def hinge_D(real: Tensor, fake: Tensor) -> Tensor:
    """mean relu(1 - D(x)) + mean relu(1 + D(x~)) (Lim and Ye 2017; SNGAN eq. 16)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


@in_float32
def hinge_G(fake: Tensor) -> Tensor:
    """-mean D(x~) (SNGAN eq. 17)."""
    return -fake.mean()


@in_float32
def hinge_v1_G(fake: Tensor) -> Tensor:
    """mean relu(1 - D(x~)), no gradient where D(x~) > 1 (the "hinge" of InfoSCC-GAN; "hinge_v1" in EigenGAN's code)."""
    return F.relu(1 - fake).mean()


@in_float32
def non_saturating_D(real: Tensor, fake: Tensor) -> Tensor:
    """mean softplus(-D(x)) + mean softplus(D(x~)): cross-entropy (Goodfellow et al. 2014, eq. 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


@in_float32
def non_saturating_G(fake: Tensor) -> Tensor:
    """mean softplus(-D(x~)), that is -log sigmoid(D(x~)) (Goodfellow et al. 2014, sec. 3)."""
    return F.softplus(-fake).mean()


# What a discriminator of pairs minimises of the logits l of true and of false ones, entry by entry
TRUE_AND_FALSE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "bce": (in_float32(lambda l: F.softplus(-l)), in_float32(F.softplus)),  # -log D, -log(1 - D) with D = sigmoid(l)
    "hinge": (in_float32(lambda l: F.relu(1 - l)), in_float32(lambda l: F.relu(1 + l))),
}


@in_float32
def lsgan_D(real: Tensor, fake: Tensor) -> Tensor:
    """mean (1 - D(x))^2 + mean D(x~)^2 (Mao et al. 2017, eq. 2 with a = 0, b = 1, without its factor 1/2)."""
    return (1 - real).square().mean() + fake.square().mean()


@in_float32
def lsgan_G(fake: Tensor) -> Tensor:
    """mean (1 - D(x~))^2 (Mao et al. 2017, eq. 2 with c = 1, without its factor 1/2)."""
    return (1 - fake).square().mean()


@in_float32
def lsgan4_D(real: Tensor, fake: Tensor) -> Tensor:
    """mean (1 - D(x))^4 + mean D(x~)^4: what InfoSCC-GAN's published code computes under the name LSGAN."""
    return (1 - real).pow(4).mean() + fake.pow(4).mean()


@in_float32
def lsgan4_G(fake: Tensor) -> Tensor:
    """mean (1 - D(x~))^4: what InfoSCC-GAN's published code computes under the name LSGAN."""
    return (1 - fake).pow(4).mean()


@in_float32
def relativistic(higher: Tensor, lower: Tensor) -> Tensor:
    """mean softplus(lower_i - higher_i): -log sigmoid of each pair's difference, so low where every `higher_i` wins.

    The relativistic pairing loss, RpGAN (Jolicoeur-Martineau 2019; Huang et al. 2024, with f(t) = -log(1 + e^-t)).
    Logits of pairs, [N] each, real and generated row by row. D's loss has the real ones as `higher`, G's the generated
    ones: the form that does not saturate, as in R3GAN's code.
    """
    return F.softplus(lower - higher).mean()


# InfoSCC-GAN's published grid (2 discriminators x 3 losses) is hinge_v1, non_saturating and lsgan4.
ADVERSARIAL: dict[str, Adversarial] = {
    "hinge": Adversarial(hinge_D, hinge_G),
    "hinge_v1": Adversarial(hinge_D, hinge_v1_G),
    "non_saturating": Adversarial(non_saturating_D, non_saturating_G),
    "lsgan": Adversarial(lsgan_D, lsgan_G),
    "lsgan4": Adversarial(lsgan4_D, lsgan4_G),
}


def adversarial(name: str) -> Adversarial:
    """The discriminator's and the generator's loss of that name. Raises ConfigError for a name that is not known."""
    if name not in ADVERSARIAL:
        raise ConfigError(f"adversarial loss {name!r}", "no loss has this name", suggest(name, ADVERSARIAL))
    return ADVERSARIAL[name]


mse_loss = in_float32(F.mse_loss)
cross_entropy = in_float32(F.cross_entropy)
binary_cross_entropy_with_logits = in_float32(F.binary_cross_entropy_with_logits)


@in_float32
def label_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy for classes y [N] int64; mean binary cross-entropy for attributes y [N, A] float in {0, 1}.

    logits: [N, n_classes] or [N, A].
    """
    return F.cross_entropy(logits, y) if y.ndim == 1 else F.binary_cross_entropy_with_logits(logits, y)


@in_float32
def r1(D: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """mean_i || grad_x sum D(x_i) ||^2, a differentiable scalar (Mescheder et al. 2018, eq. 9, without gamma / 2).

    D: images to logits [N] or maps [N, h, w], a map's entries summed; may hold an augmentation.
    x: real images [N, C, H, W].
    """
    x = x.detach().requires_grad_()
    return gradient_penalty(D(x), x)


@in_float32
def gradient_penalty(logits: Tensor, x: Tensor) -> Tensor:
    """mean_i || grad_x D(x_i) ||^2 of logits that were computed from images x [N, C, H, W] that require a gradient.

    On real images it is R1, on generated ones R2 (Roth et al. 2017; Mescheder et al. 2018, without the factor
    gamma / 2). It shares the pass of D with the adversarial loss, which the caller runs `in_float32`: so are x and the
    logits. A map's entries [N, h, w] are summed.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


@in_float32
def nt_xent(z_i: Tensor, z_j: Tensor, tau: float) -> Tensor:
    """NT-Xent, SimCLR's contrastive loss: cross-entropy of finding the other view (Chen et al. 2020, eq. 1).

    z_i, z_j: projections of two views [B, d], row by row of the same images, of any length. tau: temperature.
    Candidates are the views of the whole batch, n images over all ranks, and gradients reach them all: each anchor has
    2n - 1 logits, cosine similarity / tau, of which one is its positive. The mean is over this rank's 2B anchors.
    """
    z = F.normalize(torch.cat([z_i, z_j]), dim=1)  # [2B, d]
    every, n = z, len(z_i) * distributed.world()
    if n > len(z_i):
        every = torch.cat([distributed.gather(views) for views in z.chunk(2)])  # [2n, d], as one rank would have them
    own = distributed.own_rows(len(z_i))
    images = torch.arange(own.start, own.stop, device=z.device)
    itself, positive = torch.cat([images, images + n]), torch.cat([images + n, images])  # [2B] columns
    logits = (z @ every.T / tau).scatter(1, itself[:, None], -torch.inf)  # an anchor is not its own candidate
    return F.cross_entropy(logits, positive)


@in_float32
def path_lengths(images: Tensor, ws: Tensor) -> Tensor:
    """|| J_w^T y || of each image, [N], differentiable (Karras et al. 2020, StyleGAN2, eq. 4).

    images [N, C, H, W], a differentiable function of the styles ws [N, n_ws, w_dim]; J_w is its Jacobian and y a random
    image. As in their code y ~ N(0, I / (H W)), so that lengths do not grow with the resolution, and squared lengths
    are averaged over the n_ws layers. The caller computes the images `in_float32`.
    """
    y = torch.randn_like(images) / (images.shape[2] * images.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


@in_float32
def path_length_penalty(images: Tensor, ws: Tensor, a: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """mean (|| J_w^T y || - a)^2 (Karras et al. 2020, StyleGAN2, eq. 4), and the running mean a [] that it was taken
    from, moved by `decay` towards the mean length of all ranks. images, ws: as in `path_lengths`.
    """
    lengths = path_lengths(images, ws)  # [n]
    (mean,) = distributed.means([lengths.detach().mean()])
    a = a.lerp(mean, decay)
    return (lengths - a).square().mean(), a


def lazy_adam(lr: float, betas: tuple[float, float], every: int) -> tuple[float, tuple[float, float]]:
    """Adam's step size and decay rates when a regulariser takes an optimiser step of its own every so many steps.

    k steps become k + 1: with c = k / (k + 1) the step size is c * lr and the rates are beta^c (Karras et al. 2020,
    StyleGAN2, appendix B). The regulariser is then multiplied by k.
    """
    c = every / (every + 1)
    return c * lr, (betas[0] ** c, betas[1] ** c)
