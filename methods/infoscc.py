"""InfoSCC-GAN (Kinakh, Drozdova, Quetant, Golling, Voloshynovskiy; NeurIPS 2021 workshop, arXiv 2112.09653).

A generator whose class control comes from a frozen classifier over a frozen contrastive encoder, asked every n-th
step, while the discriminator never sees a label. Symbols are the paper's: E encoder, C classifier, G the mapper with
the EigenGAN generator, D discriminator, y labels, eps the Gaussian of the mapper, z_1..z_K the layers' own latents.

  stage 1  E   contrast two views of each image                            `benchmark.training.stages.simclr`
  stage 2  C   linear, on E's embeddings                                   `Classifier`
  stage 3  G   adversarial, and every n_cls-th step  min_G CE(C(E(G(y)))), y)    `InfoSCC.step`
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize, one_hot

from benchmark.core.config import STRICT, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability
from benchmark.core.errors import ConfigError
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Batch, Stream
from benchmark.nn.augment import DiffAugment
from benchmark.nn.discriminators import GlobalDiscriminator, PatchDiscriminator
from benchmark.nn.eigengan import EigenGenerator
from benchmark.nn.losses import adversarial, r1
from benchmark.training.artifacts import ArtifactStore, computation
from benchmark.training.method import Embedding, GANConfig, Grid, Measurement, Method, Sample, Stage, TrainConfig
from benchmark.training.stages.clustering import cluster_measurements
from benchmark.training.stages.simclr import SimCLR, SimCLRConfig, encode, recipe
from benchmark.training.traversals import SCALE, traversals


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifierConfig(TrainConfig):
    """Stage 2; defaults from the authors' configuration files."""

    lr: PositiveFloat = 3e-4  # Adam's step size
    weight_decay: NonNegativeFloat = 1e-6  # as an L2 term inside Adam
    seed: NonNegativeInt = 0  # of the classifier itself: runs with other seeds share it


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """Settings of all three stages. [P] paper, [C] the authors' code, [ours] chosen here."""

    encoder: SimCLRConfig  # stage 1
    classifier: ClassifierConfig  # stage 2
    labels: Literal["classes", "attributes", "clusters"] | None = None  # what y is; None: what the dataset has
    n_clusters: Annotated[int, Field(ge=2, le=64)] = (
        10  # k of k-means on E's embeddings, for labels = clusters [C: 3 to 15]
    )
    discriminator: Literal["global", "patch"] = "global"  # the ablation's two networks [P]
    loss: Literal["hinge", "non_saturating", "lsgan", "lsgan4"] = "hinge"  # lsgan4: the published "LSGAN" [C]
    n_cls: NonNegativeInt = 2  # classification step every n_cls-th step; 0: never [C]
    r1_every: PositiveInt = 16  # R1 step every so many steps [C]
    r1_weight: NonNegativeFloat = 10.0  # not multiplied by r1_every, no 1/2 [C]
    orth_weight: NonNegativeFloat = 100.0  # of R_orth in G's adversarial step [C]
    augment: Probability = 0.6  # of each DiffAugment operation, on a whole batch [C]
    base: PositiveInt = 16  # channels of G's last and D's first block [C]
    max_width: PositiveInt = 512  # most channels of a block [C]
    n_basis: PositiveInt = 6  # dimensions of each layer's subspace [P]
    eps_dim: PositiveInt = 512  # of the mapper's Gaussian [C: z_size]
    noise_dim: PositiveInt = 512  # of the mapper's output [C: noise_size]
    patch_width: PositiveInt = 64  # ndf of the patch discriminator [C: history]
    patch_layers: PositiveInt = 6  # n_layers of the patch discriminator [C: history]


LOSSES = {  # the paper's names; its hinge is the variant whose generator side stops at 1 [C]
    "hinge": "hinge_v1",
    "non_saturating": "non_saturating",
    "lsgan": "lsgan",
    "lsgan4": "lsgan4",
}


class Classifier(Stage):
    """Stage 2: a linear classifier C on the frozen encoder's embeddings of the training images."""

    cfg: ClassifierConfig
    name: ClassVar[str] = "Classifier"

    def __init__(self, cfg: ClassifierConfig, data: Dataset, *, embeddings: Any, clusters: Any = None) -> None:
        h = embeddings["h"]  # [N, d]
        y = _label_table(data, clusters).to(h.device)  # [N] classes or [N, A] attributes
        self.table = h, y  # a tuple, not two tensors of the state: it would be in every checkpoint
        n_labels = len(clusters["centres"]) if clusters else data.n_labels
        self.C = nn.Linear(h.shape[1], n_labels)
        self.opt = self.adam(self.C, cfg.lr, (0.9, 0.999), weight_decay=cfg.weight_decay)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """L2: cross-entropy for one label an image, its binary form averaged over attributes."""
        index, (h, y) = next(stream).index, self.table
        loss = label_loss(self.C(h[index]), y[index])
        self.update(loss, self.opt)
        return {"classifier": loss}

    def product(self) -> nn.Module:
        """C: embeddings [N, d] to logits [N, A]."""
        return self.C


def label_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy for classes y [N] int64; mean binary cross-entropy for attributes y [N, A] in {0, 1}."""
    return cross_entropy(logits, y) if y.ndim == 1 else binary_cross_entropy_with_logits(logits, y)


def _label_table(data: Dataset, clusters: Any) -> Tensor:
    """Every training image's label."""
    if clusters is not None:
        return clusters["labels"]
    if data.train.labels is not None:
        return torch.tensor(data.train.labels)
    return torch.tensor(data.train.attributes, dtype=torch.float32)


@computation("methods.infoscc", "cluster")
def cluster(data: Dataset, embeddings: Any, k: int) -> dict[str, Tensor]:
    """The paper's own attribute selection: k-means on E's embeddings. {"labels": [N] int64, "centres": [k, d]}.

    The authors name no algorithm; ours is k-means on unit-length h (the contrastive loss compares directions),
    k-means++ with 10 restarts.
    """
    h = normalize(embeddings["h"]).cpu().numpy()
    if k > len(h):
        raise ConfigError(f"n_clusters = {k}", f"{data.name} has {len(h)} training images", "choose fewer clusters")
    found = KMeans(k, n_init=10, random_state=0).fit(h)
    return {"labels": torch.tensor(found.labels_).long(), "centres": torch.tensor(found.cluster_centers_)}


class InfoSCC(Method):
    """InfoSCC-GAN: EigenGAN generator steered by a frozen contrastive encoder and classifier every n-th step."""

    cfg: Config
    G: EigenGenerator
    D: nn.Module
    n_labels: int  # A: classes, attributes or clusters

    @staticmethod
    def stages(artifacts: ArtifactStore, cfg: Config) -> dict[str, Any]:
        """Stages 1 and 2: the encoder, then the classifier on its embeddings."""
        _conditioning(cfg, artifacts.data)  # a mistake is reported before the encoder is trained
        encoder = artifacts.train(SimCLR, cfg.encoder)
        embeddings = artifacts.compute(encode, encoder=encoder)
        clusters = (
            artifacts.compute(cluster, embeddings=embeddings, k=cfg.n_clusters) if cfg.labels == "clusters" else None
        )
        classifier = artifacts.train(Classifier, cfg.classifier, embeddings=embeddings, clusters=clusters)
        return {"E": encoder, "C": classifier, "clusters": clusters}

    def __init__(self, cfg: Config, data: Dataset, E: nn.Module, C: nn.Linear, clusters: Any = None) -> None:
        self.E, self.C, self.n_labels = E, C, int(C.out_features)
        self.conditioning = _conditioning(cfg, data)
        self.default_conditions = {
            "class": "uniform classes",
            "cluster": "uniform clusters",
            "attributes": "attributes by fair coins",
        }[self.conditioning]
        self.cluster_labels = clusters["labels"].to(self.device) if clusters else None
        side, channels = data.resolution, data.channels
        self.G = EigenGenerator(
            side, channels, self.n_labels, cfg.base, cfg.max_width, cfg.n_basis, cfg.eps_dim, cfg.noise_dim
        )
        if cfg.discriminator == "global":
            self.D = GlobalDiscriminator(side, channels, cfg.base, cfg.max_width)
        else:
            self.D = PatchDiscriminator(side, channels, cfg.patch_width, cfg.patch_layers)
        self.loss_D, self.loss_G = adversarial(LOSSES[cfg.loss])
        self.T = DiffAugment(p=cfg.augment)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)  # one Adam for all of G's losses: they share moments [C]
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """Stage 3, one step: its terms are separate optimiser steps, in this order [C]."""
        cfg, losses = self.cfg, {}
        x, y_real = self.labelled(next(stream))  # [B, C, S, S], labels of the real images

        if cfg.n_cls and t % cfg.n_cls == 0:  # a) the classification term, every n-th step
            loss_cls = label_loss(self.C(self.E(self.generate(self.G, y_real))), y_real)
            self.update(loss_cls, self.opt_G)
            losses["class"] = loss_cls

        for i in range(cfg.n_dis):  # b) D tells real from generated; it sees no label
            if i:
                x, y_real = self.labelled(next(stream))
            with torch.no_grad():
                x_fake = self.generate(self.G, self.labels_of_fakes(y_real))
            loss_D = self.loss_D(self.D(self.T(x)), self.D(self.T(x_fake)))
            self.update(loss_D, self.opt_D)
        losses["D"] = loss_D

        if t % cfg.r1_every == 0 and cfg.r1_weight:  # c) gradient penalty on real images
            penalty = r1(lambda images: self.D(self.T(images)), x)
            self.update(cfg.r1_weight * penalty, self.opt_D)
            losses["R1"] = penalty

        x_fake = self.generate(self.G, self.labels_of_fakes(y_real))  # d) G fools D; its subspaces stay orthogonal
        loss_G, orth = self.loss_G(self.D(self.T(x_fake))), self.G.orthogonality()
        self.update(loss_G + cfg.orth_weight * orth, self.opt_G)
        return {**losses, "G": loss_G, "orth": orth}

    def labelled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A batch's images and labels y: classes or clusters [B] int64, attributes [B, A] float."""
        if self.cluster_labels is not None:
            return batch.images, self.cluster_labels[batch.index]
        y = batch.labels if self.conditioning == "class" else batch.attributes
        assert y is not None, "the dataset has the labels its conditioning says"
        return batch.images, y

    def labels_of_fakes(self, y_real: Tensor) -> Tensor:
        """Labels to generate for D's and G's steps: uniform classes; for attributes the real batch's own [C]."""
        if y_real.ndim == 1:
            return torch.randint(self.n_labels, y_real.shape, device=self.device)
        return y_real

    def generate(self, G: nn.Module, y: Tensor) -> Tensor:
        """G(y, eps, z_1..z_K) with fresh latents: images [N, C, S, S] in [-1, 1]."""
        cfg, n = self.cfg, len(y)
        return G(self.code(y), self.normal(n, cfg.eps_dim), self.normal(n, self.G.n_layers, cfg.n_basis))

    def code(self, y: Tensor) -> Tensor:
        """What the mapper reads: one-hot classes or the attribute vector, [N, A] float."""
        return one_hot(y, self.n_labels).float() if y.ndim == 1 else y.float()

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images of the asked labels; by default of uniform classes, or of attributes from fair coins [C]."""
        if conditions is None and self.conditioning == "attributes":
            conditions = torch.randint(2, (n, self.n_labels), device=self.device)
        elif conditions is None:
            conditions = torch.randint(self.n_labels, (n,), device=self.device)
        conditions = conditions.to(self.device)
        return Sample(self.generate(G, conditions), conditions)

    @torch.no_grad()
    def own_classifier(self, images: Tensor) -> Tensor:
        """C(E(images)): the classifier G was trained against."""
        return self.C(self.E(images))

    def measurements(self, G: nn.Module, data: Dataset) -> Iterator[Measurement]:
        """How far the clusters of the encoder's features are the dataset's classes."""
        if self.cluster_labels is not None:
            yield from cluster_measurements(self.cluster_labels, data)

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[tuple[str, Grid | Embedding]]:
        """The poster's "L0 D1" traversals, one for each layer and dimension, and the encoder's embedding."""
        y = self.sample(G, 8).conditions
        assert y is not None
        y = torch.arange(8, device=self.device) % self.n_labels if y.ndim == 1 else y
        eps = SCALE * self.normal(8, self.cfg.eps_dim)
        zs = SCALE * self.normal(8, self.G.n_layers, self.cfg.n_basis)
        yield from traversals(lambda moved: G(self.code(y), eps, moved), zs)
        h = encode(data, self.E, split="test")["h"][:1000]
        labels = data.test.labels if data.test.labels is not None else data.test.attributes
        names = list(data.class_names if data.test.labels is not None else data.attribute_names)
        if labels is not None:
            yield "encoder_tsne", Embedding(h, torch.tensor(labels[: len(h)]), names)


def _conditioning(cfg: Config, data: Dataset) -> Any:
    """What y is, checked against what the dataset has."""
    if cfg.labels == "clusters":
        return "cluster"
    wanted = {"classes": "class", "attributes": "attributes", None: data.conditioning}[cfg.labels]
    if wanted == "none" or wanted != data.conditioning:
        found = "no labels" if data.conditioning == "none" else f"labels of kind {data.conditioning!r}"
        raise ConfigError(
            f"labels = {cfg.labels}",
            f"{data.name} has {found}",
            ("" if data.conditioning == "none" else "leave labels unset to use them, or ")
            + "set labels=clusters to use clusters of the encoder's embeddings",
        )
    return wanted


_AFHQ = Config(
    steps=200_000,
    batch=32,
    log_every=500,
    checkpoint_every=5000,
    encoder=recipe("paper", "afhq"),
    classifier=ClassifierConfig(steps=11_600, batch=256),  # 200 epochs of 58 batches
)
_CELEBA = Config(
    steps=200_000,  # 5 attributes; the 10 and 15 attribute checkpoints are of 500,000 steps
    batch=64,
    log_every=500,
    checkpoint_every=5000,
    encoder=recipe("paper", "celeba"),
    classifier=ClassifierConfig(steps=636, batch=256),  # one epoch of 636 batches, as the 5-attribute run [C: history]
)
_SMALL = Config(  # sized for two cores: the rules of the paper, fewer and narrower steps [ours]
    steps=4000,
    batch=32,
    lr_G=5e-4,  # [ours] five times the paper's for a fiftieth of its steps
    lr_D=5e-4,
    r1_weight=1.0,  # [ours] the penalty is a sum over pixels, of which there are a hundredth
    ema_half_life_images=5000,
    base=8,
    eps_dim=128,
    noise_dim=128,
    patch_width=32,
    patch_layers=3,  # a 2 x 2 map at 32 px, the paper's at 256
    encoder=recipe("small", "default"),
    classifier=ClassifierConfig(steps=1000, batch=256, lr=1e-2),
)

RECIPES = {
    "paper": {"afhq": _AFHQ, "celeba": _CELEBA},
    "small": {
        "default": _SMALL,
        "digits": replace(
            _SMALL, steps=3000, base=16, patch_layers=2, encoder=recipe("small", "digits")
        ),  # 16 px: a 2 x 2 map
        # Independent attributes are learned one after the other: the classifier is asked every step, as the authors do
        # with 40 attributes [C: history], and D is held back by the paper's R1 [ours: measured, see docs/results.md]
        "shapes": replace(
            _SMALL,
            steps=3000,
            n_cls=1,
            r1_weight=10.0,
            base=16,
            patch_layers=2,
            encoder=recipe("small", "shapes"),
            classifier=ClassifierConfig(steps=1000, batch=256, lr=3e-3),
        ),
        "shapes_class": replace(_SMALL, base=16, patch_layers=2, encoder=recipe("small", "shapes")),
    },
}
