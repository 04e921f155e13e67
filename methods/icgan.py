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

from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core import distributed
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
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream, to_float
from benchmark.nn.augment import DiffAugment
from benchmark.nn.biggan import BigGANDiscriminator, BigGANGenerator
from benchmark.nn.losses import adversarial, lazy_adam, path_lengths, r1
from benchmark.nn.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.method import GANConfig, Grid, Method, Sample, half_life
from benchmark.training.stages.encoders import FeatureConfig, FeatureNet, Prepare, pooled_features
from benchmark.training.stages.encoders import image_encoder as make_encoder
from benchmark.training.stages.neighbours import kmeans_instances, nearest_neighbours, nearest_rows, unit_features
from benchmark.training.stages.simclr import SimCLRConfig, recipe


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


@plain_dataclass(frozen=True)
class Instances:
    """The training images as instances. Not a tensor of the method: all of it is found again when a run resumes."""

    h: Tensor  # [N, d], unit features
    h_mirrored: Tensor | None  # [N, d], of the mirrored images; None: not used
    A: Tensor  # [N, k] int64, the neighbourhoods
    y: Tensor | None  # [N] int64, classes; None: not used
    drawn: Tensor  # [m] int64, the rows that samples are drawn for


@plain_dataclass(frozen=True)
class Bank:
    """The images that can be asked for."""

    h: Tensor  # [M, d], unit features
    drawn: Tensor  # [m] int64, the rows that are drawn when nothing is asked
    own: bool  # they are the training images


Pairs = tuple[Tensor, Tensor, Tensor | None]  # images [B, C, S, S], instance features [B, d], classes [B]


class ICGAN(Method):
    """IC-GAN: real images are neighbours of an instance whose frozen features condition both nets; with classes too."""

    cfg: Config
    G: BigGANGenerator | StyleGAN2Generator
    D: BigGANDiscriminator | StyleGAN2Discriminator
    conditioning = "instance"

    @staticmethod
    def stages(artifacts: ArtifactStore, cfg: Config) -> dict[str, Any]:
        """f, the features of the training images and of their mirror images, neighbourhoods, k-means instances."""
        _check(cfg, artifacts.data)  # a mistake is reported before an encoder is trained
        f = make_encoder(artifacts, cfg.features)
        h = artifacts.compute(pooled_features, encoder=f)
        mirrored = cfg.flip_instances and artifacts.data.flip_ok
        n = min(cfg.n_instances, max(1, len(artifacts.data.train) // 20))  # 20 images to a centroid, or more [ours]
        return {
            "f": f,
            "h": h,
            "h_mirrored": artifacts.compute(pooled_features, encoder=f, flip=True) if mirrored else None,
            "A": artifacts.compute(nearest_neighbours, h=h, k=cfg.k),
            "instances": artifacts.compute(kmeans_instances, h=h, n=n) if n else None,
        }

    def __init__(
        self, cfg: Config, data: Dataset, f: FeatureNet, h: Any, h_mirrored: Any, A: Any, instances: Any
    ) -> None:
        self.f, self.side, self.channels, self.sha256 = f, data.resolution, data.channels, data.sha256
        rows = torch.arange(len(h["h"])) if instances is None else instances["rows"]
        self.instances = Instances(
            h=unit_features(h["h"]),
            h_mirrored=None if h_mirrored is None else unit_features(h_mirrored["h"]),
            A=A["neighbours"],
            y=torch.tensor(data.train.labels) if cfg.class_conditional else None,
            drawn=rows.to(self.device),
        )
        self.condition_on(data, "train")
        n_classes = data.n_classes if cfg.class_conditional else 0
        self.G, self.D = _nets(cfg, data, instance_dim=self.instances.h.shape[1], n_classes=n_classes)
        self.loss_D, self.loss_G = adversarial(cfg.loss)
        self.T = DiffAugment(("translation",), p=1.0 if cfg.translation else 0.0)
        self.a = torch.zeros((), device=self.device)  # running mean of path lengths
        G_options, D_options = (cfg.lr_G, cfg.betas), (cfg.lr_D, cfg.betas)
        if cfg.backbone == "stylegan2":  # its regularisers take optimiser steps of their own
            G_options, D_options = lazy_adam(*G_options, cfg.pl_every), lazy_adam(*D_options, cfg.r1_every)
        self.opt_G = self.adam(self.G, *G_options, eps=cfg.adam_eps)
        self.opt_D = self.adam(self.D, *D_options, eps=cfg.adam_eps)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """n_dis updates of D, each on instances and neighbours of its own, then one of G."""
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

    def one_of(self, A: Tensor) -> Tensor:
        """A random entry of each row of A [B, k]: [B]."""
        return A.gather(1, torch.randint(A.shape[1], (len(A), 1), device=self.device)).squeeze(1)

    def features_of(self, i: Tensor) -> Tensor:
        """h_i [B, d]; with DA(i), that of the mirrored image with probability 1/2, whatever its neighbours show."""
        h = self.instances.h[i]
        if self.instances.h_mirrored is None:
            return h
        mirrored = torch.rand(len(i), 1, device=self.device) < 0.5
        return torch.where(mirrored, self.instances.h_mirrored[i], h)

    def class_of(self, n: Tensor) -> Tensor | None:
        """Classes y [B] of training images; None without them."""
        return None if self.instances.y is None else self.instances.y[n]

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

    def path_length_penalty(self, n: int) -> Tensor:
        """mean (|| J_w^T y || - a)^2 of n images (StyleGAN2, eq. 4); a moves towards the mean length of all ranks."""
        assert isinstance(self.G, StyleGAN2Generator)
        h = self.features_of(torch.randint(len(self.instances.h), (n,), device=self.device))
        ws = self.styles(self.G, h)
        lengths = path_lengths(self.G.synthesis(ws), ws)  # [n]
        (mean,) = distributed.mean_gradients([lengths.detach().mean()])
        assert mean is not None
        self.a = self.a.lerp(mean, self.cfg.pl_decay)
        return (lengths - self.a).square().mean()

    # ---- sampling ---------------------------------------------------------------------------------------------------

    def condition_on(self, data: Dataset, split: str) -> None:
        """Take instances from this split of this dataset, encoded by f; images of another side are resized first.

        Grey images are repeated for a model of colour images. Raises ConfigError for colour images otherwise.
        """
        if (data.sha256, split) == (self.sha256, "train"):
            self.bank = Bank(self.instances.h, self.instances.drawn, own=True)
        else:
            f = FeatureNet(self.f.identity, Prepare(self.channels, self.side), self.f, pooled=False).to(self.device)
            h = unit_features(pooled_features(data, f, split)["h"])
            self.bank = Bank(h, torch.arange(len(h), device=self.device), own=False)
        self.n_labels = len(self.bank.h)
        self.default_conditions = self._default_conditions(data.name, split)

    def _default_conditions(self, name: str, split: str) -> str:
        """In words, what `sample` draws."""
        where = f"the {split} split" if self.bank.own else f"the {split} split of {name}"
        if self.bank.own and self.cfg.balance_classes:
            return f"uniform classes of {where}, then an image, then one of its neighbours as instance"
        every = len(self.bank.drawn) == self.n_labels
        what = f"instances of {where}" if every else f"{len(self.bank.drawn)} k-means instances of {where}"
        labels = "; the class of a random neighbour" if self.cfg.class_conditional else ""
        return f"{what}, uniformly{labels}"

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images for the instances asked for, rows of the bank; by default those that `drawn` says.

        With classes, each image is given that of a random one of its instance's `targets`.
        """
        y = None
        if conditions is not None:
            j = conditions.to(self.device)
        elif self.bank.own and self.cfg.balance_classes:
            j, y = self.draw_by_class(n)
        else:
            j = self.bank.drawn[torch.randint(len(self.bank.drawn), (n,), device=self.device)]
        if y is None and self.instances.y is not None:
            y = self.class_of(self.one_of(self.targets(j)))
        return Sample(self.generate(G, self.bank.h[j], y).clamp(-1, 1), j)

    def draw_by_class(self, n: int) -> tuple[Tensor, Tensor]:
        """Instances and classes [n]: a uniform class, an image of it, and a neighbour of that as instance [C]."""
        assert self.instances.y is not None
        by_class = self.instances.y.argsort(stable=True)  # [N], the rows class by class
        present, counts = self.instances.y.unique(return_counts=True)
        c = torch.randint(len(present), (n,), device=self.device)
        place = (torch.rand(n, device=self.device) * counts[c]).long()
        x = by_class[(counts.cumsum(0) - counts)[c] + place]
        return self.neighbour(x), present[c]

    def condition_features(self) -> Tensor:
        """h of every image of the bank, [M, d]."""
        return self.bank.h

    @torch.no_grad()
    def targets(self, conditions: Tensor | None) -> Tensor:
        """The k training images [N, k] nearest to each instance asked for; of a training image its A_i."""
        assert conditions is not None, "an instance is asked for"
        if self.bank.own:
            return self.instances.A[conditions]
        return nearest_rows(self.bank.h[conditions], self.instances.h, self.instances.A.shape[1])[0]

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[tuple[str, Grid]]:
        """Instances with neighbours and samples; samples with the training images nearest to them in features."""
        j = self.instances.drawn[torch.randperm(len(self.instances.drawn), device=self.device)[:8]]  # [r]
        A, n = self.instances.A[j][:, :3], 5
        y = self.class_of(A[:, :1].expand(-1, n).flatten())
        x = self.generate(G, self.instances.h[j].repeat_interleave(n, 0), y).clamp(-1, 1)
        samples = x.unflatten(0, (len(j), n))  # [r, n, C, S, S]
        shown = torch.cat([self.photos(data, j[:, None]), self.photos(data, A), samples], 1)
        names = ["instance", *(f"neighbour {c + 1}" for c in range(A.shape[1])), *["sample"] * n]
        yield "instances", Grid(shown, [""] * len(j), names)

        rows, _ = nearest_rows(unit_features(self.f(samples[:, 0])), self.instances.h, min(6, len(self.instances.h)))
        shown = torch.cat([samples[:, :1], self.photos(data, rows)], 1)
        yield "nearest", Grid(shown, [""] * len(j), ["sample", *(f"nearest {c + 1}" for c in range(rows.shape[1]))])

    def photos(self, data: Dataset, rows: Tensor) -> Tensor:
        """Training images of these rows [r, c]: [r, c, C, S, S] in [-1, 1]."""
        x = torch.tensor(data.train.images[rows.flatten().cpu().numpy()])
        return to_float(x.permute(0, 3, 1, 2)).unflatten(0, rows.shape).to(self.device)


def _check(cfg: Config, data: Dataset) -> None:
    """Raises ConfigError for settings that do not go together, or not with these data."""
    if cfg.class_conditional and data.conditioning != "class":
        raise ConfigError("class_conditional = true", f"{data.name} has no classes", "set class_conditional=false")
    if cfg.class_conditional and cfg.backbone != "biggan":
        raise ConfigError(
            f"class_conditional = true with backbone = {cfg.backbone}",
            "the class-conditional model is defined for BigGAN's nets",
            "set backbone=biggan",
        )
    if cfg.pl_weight and cfg.backbone != "stylegan2":
        raise ConfigError(
            f"pl_weight = {cfg.pl_weight:g} with backbone = {cfg.backbone}",
            "path lengths are those of StyleGAN2's styles",
            "set pl_weight=0, or backbone=stylegan2",
        )
    if cfg.balance_classes and not cfg.class_conditional:
        raise ConfigError(
            "balance_classes = true", "the model is not given classes", "set class_conditional=true as well"
        )


def _nets(cfg: Config, data: Dataset, instance_dim: int, n_classes: int) -> tuple[Any, Any]:
    """G and D of the backbone."""
    side, channels = data.resolution, data.channels
    if cfg.backbone == "stylegan2":
        G = StyleGAN2Generator(
            side, channels, cfg.z_dim, cfg.w_dim, 2, cfg.base, cfg.max_width, condition_dim=instance_dim
        )
        return G, StyleGAN2Discriminator(side, channels, cfg.base, cfg.max_width, condition_dim=instance_dim)
    both: Any = {
        "n_classes": n_classes,
        "instance_dim": instance_dim,
        "attention": cfg.attention,
        "init": cfg.init,
        "sn_eps": cfg.sn_eps,
    }
    embeddings: Any = {"class_embedding": cfg.class_embedding, "instance_embedding": cfg.instance_embedding}
    return (
        BigGANGenerator(side, channels, cfg.z_dim, cfg.ch, **both, **embeddings),
        BigGANDiscriminator(side, channels, cfg.ch, **both),
    )


# ---- recipes --------------------------------------------------------------------------------------------------------
# The weights of f are files that the user gives. The authors stop when FID has not fallen for 50 epochs, at most 3,000;
# here the steps are fixed [ours]. Batches are the authors' effective ones, over all their GPUs.

_SWAV = FeatureConfig(name="resnet50", weights="swav_800ep_pretrain.pth.tar")
_SUPERVISED = FeatureConfig(name="resnet50", weights="resnet50-19c8e357.pth")
_LONG_TAIL = FeatureConfig(name="resnet50", weights="resnet50_imagenet_lt.pth")  # trained on ImageNet-LT by the user

_IMAGENET_64 = Config(
    features=_SWAV,
    steps=500_000,
    batch=256,
    flip=True,
    ema_half_life_images=half_life(0.9999, 256),
    ema_start_steps=20_000,
    log_every=500,
    checkpoint_every=5000,
)
_IMAGENET_128 = replace(
    _IMAGENET_64,
    steps=250_000,
    batch=2048,
    ema_half_life_images=half_life(0.9999, 2048),
    lr_G=4e-5,
    ch=96,
)
_IMAGENET_256 = replace(_IMAGENET_128, lr_G=1e-4, n_dis=2, ch=64)  # "half capacity"
_IMAGENET_256_WIDE = replace(_IMAGENET_128, flip_instances=False)
_COCO = replace(
    _IMAGENET_64, steps=150_000, lr_D=4e-4, ch=48, k=5, translation=True, n_instances=0, checkpoint_every=2500
)
_LT = replace(
    _IMAGENET_64,
    features=_LONG_TAIL,
    class_conditional=True,
    balance_classes=True,
    n_instances=0,
    steps=100_000,
    batch=128,
    ema_half_life_images=half_life(0.9999, 128),
    n_dis=2,
    k=5,
    flip_instances=False,
    translation=True,
)
_COCO_STYLEGAN2 = Config(
    features=_SWAV,
    backbone="stylegan2",
    loss="non_saturating",
    steps=390_625,  # 25 million images, StyleGAN2's automatic length [ours]
    batch=64,
    lr_G=2.5e-3,
    lr_D=2.5e-3,
    betas=(0.0, 0.99),
    adam_eps=1e-8,
    r1_weight=0.05,
    pl_weight=2.0,
    k=5,
    n_instances=0,
    z_dim=512,
    flip=True,
    ema_half_life_images=20_000,
    log_every=500,
    checkpoint_every=2500,
)
_CIFAR = Config(  # ours: BigGAN's published CIFAR-10 settings with IC-GAN's rules for a data set of this size
    features=FeatureConfig(
        encoder=SimCLRConfig(net="resnet18", steps=50_000, batch=256, blur=False, flip=True, log_every=500)
    ),
    steps=125_000,
    batch=50,
    lr_G=2e-4,
    lr_D=2e-4,
    n_dis=4,
    k=5,
    translation=True,
    z_dim=120,
    attention=False,
    init="normal",
    sn_eps=1e-8,
    adam_eps=1e-8,
    flip=True,
    ema_half_life_images=half_life(0.9999, 50),
    ema_start_steps=1000,
    log_every=500,
    checkpoint_every=2500,
)
_SMALL = Config(  # sized for two cores [ours]
    features=FeatureConfig(encoder=recipe("small", "default")),
    steps=600,  # four CPU minutes at 32 px
    batch=32,
    lr_G=2e-4,
    lr_D=8e-4,  # four times G's, as on COCO-Stuff [C]: at equal rates this narrow D stays at chance
    n_dis=2,
    k=5,  # no translation: in so few steps D does not learn the images by heart
    z_dim=64,
    instance_embedding=64,
    class_embedding=64,
    ch=8,
    attention=False,
    init="normal",
    flip=True,
    ema_half_life_images=5000,
    ema_start_steps=200,
)


def _small(dataset: str, **changes: Any) -> Config:
    """The small recipe with the suite's encoder for a dataset."""
    return replace(_SMALL, features=FeatureConfig(encoder=recipe("small", dataset)), **changes)


RECIPES = {
    "paper": {
        "imagenet64": _IMAGENET_64,
        "imagenet128": _IMAGENET_128,
        "imagenet256": _IMAGENET_256,
        "imagenet_lt64": replace(_LT, lr_G=1e-5, lr_D=1e-3, n_dis=1),
        "imagenet_lt128": _LT,
        "imagenet_lt256": _LT,
        "coco_stuff128": _COCO,
        "coco_stuff256": replace(_COCO, lr_D=1e-4),
        "cifar10": _CIFAR,
        "cifar10_jpeg": _CIFAR,
    },
    "paper_wide": {"imagenet256": _IMAGENET_256_WIDE},
    "paper_class": {
        "imagenet64": replace(_IMAGENET_64, features=_SUPERVISED, class_conditional=True),
        "imagenet128": replace(_IMAGENET_128, features=_SUPERVISED, class_conditional=True),
        "imagenet256": replace(_IMAGENET_256, features=_SUPERVISED, class_conditional=True),
    },
    "paper_class_wide": {"imagenet256": replace(_IMAGENET_256_WIDE, features=_SUPERVISED, class_conditional=True)},
    "paper_stylegan2": {
        "coco_stuff128": _COCO_STYLEGAN2,
        "coco_stuff256": replace(
            _COCO_STYLEGAN2,
            steps=781_250,
            batch=32,
            lr_G=3e-3,
            lr_D=3e-3,
            r1_weight=0.5,
            ema_half_life_images=10_000,
        ),
    },
    "small": {
        "default": _SMALL,
        "digits": _small("digits", steps=1600),
        "shapes": _small("shapes", steps=1600),
        "cifar10_jpeg": _small("cifar10_jpeg", steps=1200),
    },
}
