"""IC-GAN, instance-conditioned GAN (Casanova, Careil, Verbeek, Drozdzal, Romero-Soriano; NeurIPS 2021, 2109.05070).

The data density as a mixture of overlapping neighbourhoods, one around each training image: p(x) = 1/M sum_i p(x|h_i).
A frozen encoder f gives each image x_i its instance feature h_i = f(x_i) / |f(x_i)|; A_i are the k images nearest to
it, x_i itself left out. G draws from p(. | h_i); D tells pairs apart: a real one is (x_n, h_i) with a neighbour x_n of
x_i, a generated one is (G(z, h_j), h_j), with i and j drawn independently.

  min_G max_D   E_{i, x_n ~ U(A_i)} log D(x_n, h_i)  +  E_{j, z} log(1 - D(G(z, h_j), h_j))         (eq. 2)

With classes (CC-IC-GAN): D(x_n, y_n, h_i) and G(z, y_m, h_j), y_n the label of the neighbour that is shown, y_m the
label of a random neighbour of x_j.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core.config import (
    STRICT,
    Beta,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)
from benchmark.core.errors import ConfigError
from benchmark.nn.augment import DiffAugment
from benchmark.nn.biggan import BigGANDiscriminator, BigGANGenerator
from benchmark.nn.losses import adversarial, lazy_adam, path_length_penalty, r1
from benchmark.nn.precision import in_float32
from benchmark.nn.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from benchmark.training import ArtifactStore, Dataset, GANConfig, Method, Sample, Stream, build_recipes
from benchmark.training.instances import InstanceConditioned, Instances, find_instances
from benchmark.training.stages.encoders import FeatureConfig, image_encoder
from methods.recipes import icgan


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [C] the authors' code and its configuration files; [ours] chosen here.

    `flip` is the paper's DA(d): it mirrors the real images, whichever features come with them.
    """

    features: FeatureConfig  # f; the paper's are SwAV's ResNet-50 and, with classes, a supervised one
    k: PositiveInt = 50  # images of a neighbourhood A_i, x_i not among them [C]
    class_conditional: bool = False  # CC-IC-GAN
    flip_instances: bool = True  # DA(i): h of the mirrored x_i with probability 1/2, where mirroring keeps labels [P]
    translation: bool = False  # DiffAugment's random shift of all that D sees [C: up to 120,000 training images]
    n_instances: NonNegativeInt = 1000  # k-means instances that samples are drawn for [P]; 0: all training images
    balance_classes: bool = False  # samples: uniform class, an image of it, its neighbour as instance [C: ImageNet-LT]
    backbone: Literal["biggan", "stylegan2"] = "biggan"  # [P]
    loss: Literal["hinge", "non_saturating"] = "hinge"  # [C] hinge with BigGAN, non-saturating with StyleGAN2
    betas: tuple[Beta, Beta] = (0.0, 0.999)  # Adam's moment decay rates [C]
    adam_eps: PositiveFloat = 1e-6  # [C]
    z_dim: PositiveInt = 120  # of the latent; BigGAN's is cut to a multiple of its parts [C]
    instance_embedding: PositiveInt = 512  # length of e_h in BigGAN's generator [C]
    class_embedding: PositiveInt = 128  # length of e_y in BigGAN's generator [C]
    ch: PositiveInt = 64  # unit of BigGAN's widths [C]
    attention: bool = True  # BigGAN's self-attention at its published place [C]
    init: Literal["orthogonal", "normal"] = "orthogonal"  # of BigGAN's weights; normal: N(0, 0.02^2) [C]
    sn_eps: PositiveFloat = 1e-6  # of BigGAN's spectral norms [C]
    base: PositiveInt = 16_384  # StyleGAN2: a map of side r has base / r channels [C]
    max_width: PositiveInt = 512  # StyleGAN2: most channels of a map [C]
    w_dim: PositiveInt = 512  # StyleGAN2: of the style [C]
    mixing: Probability = 0.9  # StyleGAN2: share of batches with two styles an image [C]
    r1_weight: NonNegativeFloat = 0.0  # gamma; R1 counts gamma / 2 [C: with StyleGAN2]
    r1_every: PositiveInt = 16  # R1 step every so many steps [C]
    pl_weight: NonNegativeFloat = 0.0  # StyleGAN2: of path length regularisation [C: 2]
    pl_every: PositiveInt = 4  # path length step every so many steps [C]
    pl_decay: Probability = 0.01  # part of a new batch in the mean length a [C]
    pl_shrink: PositiveInt = 2  # path lengths are taken on so small a part of a batch [C]


Pairs = tuple[Tensor, Tensor, Tensor | None]  # images [B, C, S, S], instance features [B, d], classes [B]


class ICGAN(InstanceConditioned, Method):
    """IC-GAN: G and D are conditioned on an instance's features; its neighbours are real; with classes, too."""

    cfg: Config
    G: BigGANGenerator | StyleGAN2Generator
    D: BigGANDiscriminator | StyleGAN2Discriminator
    conditioning = "instance"

    @staticmethod
    def stages(artifacts: ArtifactStore, cfg: Config) -> dict[str, Any]:
        """f, the features of the training images and of their mirror images, neighbourhoods, k-means instances."""
        _check(cfg, artifacts.data)  # a mistake is reported before an encoder is trained
        f = image_encoder(artifacts, cfg.features)
        mirrored, classes = cfg.flip_instances and artifacts.data.flip_ok, cfg.class_conditional
        return {"f": f, "instances": find_instances(artifacts, f, cfg.k, cfg.n_instances, mirrored, classes)}

    def __init__(self, cfg: Config, data: Dataset, f: Any, instances: Instances) -> None:
        self.remember(data, f, instances, balanced=cfg.balance_classes)
        self.G, self.D = _nets(cfg, data, instance_dim=instances.h.shape[1])
        self.loss_D, self.loss_G = adversarial(cfg.loss)
        self.T = DiffAugment(("translation",), p=1.0 if cfg.translation else 0.0)
        self.a = torch.zeros((), device=self.device)  # running mean of path lengths
        G_options, D_options = (cfg.lr_G, cfg.betas), (cfg.lr_D, cfg.betas)
        if cfg.backbone == "stylegan2":  # its regularisers take optimiser steps of their own
            G_options, D_options = lazy_adam(*G_options, cfg.pl_every), lazy_adam(*D_options, cfg.r1_every)
        self.opt_G = self.adam(self.G, *G_options, eps=cfg.adam_eps)
        self.opt_D = self.adam(self.D, *D_options, eps=cfg.adam_eps)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on instances and neighbours of its own, then one of G.

        The order is that of BigGAN's networks; with StyleGAN2's the authors' code updates G first [ours].
        """
        cfg, losses = self.cfg, {}
        for _ in range(cfg.n_dis):
            real = x_n, h_i, y_n = self.real(stream)
            with torch.no_grad():
                fake = self.fake(len(x_n))
            loss_D = self.loss_D(*self.logits_of_both(real, fake))
            self.update(loss_D, self.opt_D)

        if cfg.r1_weight and t % cfg.r1_every == 0:
            losses["R1"] = r1(lambda x: self.logits(x, h_i, y_n), x_n)
            self.update(cfg.r1_every * cfg.r1_weight / 2 * losses["R1"], self.opt_D)

        x_fake, h_j, y_m = self.fake(len(x_n))
        loss_G = self.loss_G(self.logits(x_fake, h_j, y_m))
        self.update(loss_G, self.opt_G)

        if cfg.pl_weight and t % cfg.pl_every == 0:
            losses["PL"] = self.path_length_penalty(max(1, len(x_n) // cfg.pl_shrink))
            self.update(cfg.pl_every * cfg.pl_weight * losses["PL"], self.opt_G)
        return {"D": loss_D, "G": loss_G, **losses}

    def real(self, stream: Stream) -> Pairs:
        """Real pairs: a neighbour x_n of each instance x_i, drawn anew each time; h_i; the neighbour's class y_n."""
        i = next(stream).index  # [B], every training image once an epoch
        n = self.neighbour(i)
        return stream.pick(n).images, self.features_of(i), self.class_of(n)

    def fake(self, n: int) -> Pairs:
        """Generated images for instances x_j drawn uniformly from all training images; h_j; y_m."""
        j = torch.randint(len(self.instances.h), (n,), device=self.device)
        h_j, y_m = self.features_of(j), self.class_of(self.neighbour(j))
        return self.generate(self.G, h_j, y_m), h_j, y_m

    def neighbour(self, i: Tensor) -> Tensor:
        """A random member of each A_i: rows [B] of training images."""
        return self.one_of(self.instances.A[i])

    def features_of(self, i: Tensor) -> Tensor:
        """h_i [B, d]; with DA(i), that of the mirrored image with probability 1/2, whatever its neighbours show."""
        h = self.instances.h[i]
        if self.instances.h_mirrored is None:
            return h
        mirrored = torch.rand(len(i), 1, device=self.device) < 0.5
        return torch.where(mirrored, self.instances.h_mirrored[i], h)

    def logits(self, x: Tensor, h: Tensor, y: Tensor | None) -> Tensor:
        """D(T(x), y, h) [B]; T is the translation, or nothing."""
        return self.D(self.T(x), y, h) if isinstance(self.D, BigGANDiscriminator) else self.D(self.T(x), h)

    def logits_of_both(self, real: Pairs, fake: Pairs) -> tuple[Tensor, Tensor]:
        """Logits of real and of generated pairs [B] each; BigGAN's D, which sees images singly, in one pass [C]."""
        if not isinstance(self.D, BigGANDiscriminator):  # its minibatch statistics must not mix the two
            return self.logits(*real), self.logits(*fake)
        x, h = torch.cat([real[0], fake[0]]), torch.cat([real[1], fake[1]])
        y = None if real[2] is None or fake[2] is None else torch.cat([real[2], fake[2]])
        logits_real, logits_fake = self.logits(x, h, y).chunk(2)
        return logits_real, logits_fake

    def generate(self, G: Any, h: Tensor, y: Tensor | None) -> Tensor:
        """G(z, y, h) with fresh z: images [N, C, S, S], of StyleGAN2 not clamped."""
        if isinstance(G, StyleGAN2Generator):
            return G.synthesis(self.styles(G, h))
        return G(self.normal(len(h), G.z_dim), y, h)

    def styles(self, G: StyleGAN2Generator, h: Tensor) -> Tensor:
        """Styles [N, n_ws, w_dim] of instances; while training, mixed with those of other latents."""
        w = G.map(self.normal(len(h), G.z_dim), h)
        if not (G.training and self.cfg.mixing):
            return G.repeat(w)
        return G.mix(w, G.map(self.normal(len(h), G.z_dim), h), G.draw_crossover(self.cfg.mixing))

    @in_float32
    def path_length_penalty(self, n: int) -> Tensor:
        """mean (|| J_w^T y || - a)^2 of n images (StyleGAN2, eq. 4); a moves towards the mean length."""
        assert isinstance(self.G, StyleGAN2Generator)
        h = self.features_of(torch.randint(len(self.instances.h), (n,), device=self.device))
        ws = self.styles(self.G, h)
        penalty, a = path_length_penalty(self.G.synthesis(ws), ws, self.a, self.cfg.pl_decay)
        self.a.copy_(a)
        return penalty

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images for the requested instances, rows of the bank; by default those that `default_conditions` says.

        With classes, each image is given that of a random one of its instance's `targets`, or the requested one: a
        pair of an instance of one class and another class is the paper's class swap.
        """
        j, y = self.draw(n) if conditions is None else self.requested(conditions)
        images = self.generate(G, self.bank.f[j], y).clamp(-1, 1)
        return Sample(images, j if conditions is None else conditions.to(self.device), y)


def _check(cfg: Config, data: Dataset) -> None:
    """Raises ConfigError for settings that do not go together, or not with these data."""
    if cfg.class_conditional and data.conditioning != "class":
        raise ConfigError("class_conditional = true", f"{data.name} has no classes", "set class_conditional=false")
    if cfg.class_conditional and cfg.backbone != "biggan":
        what = f"class_conditional = true with backbone = {cfg.backbone}"
        raise ConfigError(what, "the class-conditional model is defined for BigGAN's networks", "set backbone=biggan")
    if cfg.pl_weight and cfg.backbone != "stylegan2":
        what, mend = (
            f"pl_weight = {cfg.pl_weight:g} with backbone = {cfg.backbone}",
            "set pl_weight=0, or backbone=stylegan2",
        )
        raise ConfigError(what, "path lengths are those of StyleGAN2's styles", mend)
    if cfg.balance_classes and not cfg.class_conditional:
        raise ConfigError(
            "balance_classes = true", "the model is not given classes", "set class_conditional=true as well"
        )


def _nets(cfg: Config, data: Dataset, instance_dim: int) -> tuple[Any, Any]:
    """G and D of the backbone."""
    side, channels = data.resolution, data.channels
    if cfg.backbone == "stylegan2":
        widths = (cfg.base, cfg.max_width)
        G: Any = StyleGAN2Generator(side, channels, cfg.z_dim, cfg.w_dim, 2, *widths, condition_dim=instance_dim)
        return G, StyleGAN2Discriminator(side, channels, *widths, condition_dim=instance_dim)
    told: Any = {"n_classes": data.n_classes if cfg.class_conditional else 0, "instance_dim": instance_dim}
    embeddings: Any = {"class_embedding": cfg.class_embedding, "instance_embedding": cfg.instance_embedding}
    both: Any = {"attention": cfg.attention, "init": cfg.init, "sn_eps": cfg.sn_eps}
    G = BigGANGenerator(side, channels, cfg.z_dim, cfg.ch, **told, **embeddings, **both)
    return G, BigGANDiscriminator(side, channels, cfg.ch, **told, **both)


RECIPES = build_recipes(Config, icgan.RECIPES)
