"""InfoSCC-GAN (Kinakh, Drozdova, Quetant, Golling, Voloshynovskiy; NeurIPS 2021 workshop, arXiv 2112.09653).

A generator whose class control comes from a frozen classifier over a frozen contrastive encoder, used every n-th
step, while the discriminator never sees a label. Symbols are the paper's: E encoder, C classifier, G the mapper with
the EigenGAN generator, D discriminator, y labels, eps the Gaussian of the mapper, z_1..z_K the layers' own latents.

  stage 1  E   contrast two views of each image                            `benchmark.training.stages.simclr`
  stage 2  C   linear, on E's embeddings    min_C CE(C(E(x)), y)           `...stages.classifier.LinearClassifier`
  stage 3  G   adversarial, and every n_cls-th step  min_G CE(C(E(G(y))), y)     `InfoSCC.step`
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import one_hot

from benchmark.core.config import STRICT, NonNegativeFloat, NonNegativeInt, PositiveInt, Probability
from benchmark.core.errors import ConfigError
from benchmark.nn.augment import DiffAugment, host_decides
from benchmark.nn.discriminators import GlobalDiscriminator, PatchDiscriminator
from benchmark.nn.eigengan import EigenGenerator
from benchmark.nn.losses import adversarial, label_loss, r1
from benchmark.training import (
    ArtifactStore,
    Batch,
    Conditioning,
    Dataset,
    Embedding,
    GANConfig,
    Measurement,
    Method,
    Picture,
    Sample,
    Stream,
    build_recipes,
)
from benchmark.training.embeddings import real_and_generated
from benchmark.training.stages.classifier import LinearClassifier, LinearClassifierConfig, label_table
from benchmark.training.stages.clustering import cluster, cluster_measurements
from benchmark.training.stages.simclr import SimCLR, SimCLRConfig, encode
from benchmark.training.traversals import SCALE, explorations, traversals
from methods.recipes import infoscc


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """Settings of all three stages. [P] paper, [C] the authors' code, [ours] chosen here."""

    encoder: SimCLRConfig  # stage 1
    classifier: LinearClassifierConfig  # stage 2
    labels: Literal["classes", "attributes", "clusters"] | None = None  # what y is; None: what the dataset has
    n_clusters: Annotated[int, Field(ge=2, le=64)] = 10  # k of k-means on E's embeddings, for clusters [C: 3 to 15]
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


SHOWN = 20  # labels of a grid over y, at most

LOSSES = {  # the paper's names; its hinge is the variant whose generator side stops at 1 [C]
    "hinge": "hinge_v1",
    "non_saturating": "non_saturating",
    "lsgan": "lsgan",
    "lsgan4": "lsgan4",
}


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
        h = artifacts.compute(encode, encoder=encoder)
        clusters = artifacts.compute(cluster, embeddings=h, k=cfg.n_clusters) if cfg.labels == "clusters" else None
        classifier = artifacts.train(LinearClassifier, cfg.classifier, embeddings=h, clusters=clusters)
        return {"E": encoder, "C": classifier, "clusters": clusters}

    @staticmethod
    def uncapturable(cfg: Config) -> str:
        """Why a step cannot be captured: DiffAugment's coins."""
        return host_decides(cfg.augment)

    def __init__(self, cfg: Config, data: Dataset, E: Any = None, C: Any = None, clusters: Any = None) -> None:
        self.E, self.C = E, C  # None: to sample from a trained G alone
        self.conditioning = _conditioning(cfg, data)
        self.n_labels = _n_labels(cfg, data) if C is None else int(C.out_features)
        self.default_conditions = {
            "class": "uniform classes",
            "cluster": "uniform clusters",
            "attributes": "attributes by fair coins",
        }[self.conditioning]
        self.cluster_labels = clusters["labels"].to(self.device) if clusters else None
        side, channels, G_dims = data.resolution, data.channels, (cfg.n_basis, cfg.eps_dim, cfg.noise_dim)
        self.G = EigenGenerator(side, channels, self.n_labels, cfg.base, cfg.max_width, *G_dims)
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

        for i in range(cfg.n_dis):  # b) D separates real and generated; it sees no label
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
        return G(self.code(y), *self.latents(len(y)))

    def latents(self, n: int) -> tuple[Tensor, Tensor]:
        """eps [n, d] and z_1..z_K [n, K, n_basis] for n images."""
        return self.normal(n, self.cfg.eps_dim), self.normal(n, self.G.n_layers, self.cfg.n_basis)

    def code(self, y: Tensor) -> Tensor:
        """What the mapper reads: one-hot classes or the attribute vector, [N, A] float."""
        return one_hot(y, self.n_labels).float() if y.ndim == 1 else y.float()

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images of the requested labels; by default of uniform classes, or of attributes from fair coins [C]."""
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

    def training_clusters(self) -> Tensor | None:
        """Of E's embeddings, with labels = clusters."""
        return self.cluster_labels

    def measurements(self, G: nn.Module, data: Dataset) -> Iterator[Measurement]:
        """How far the clusters of the encoder's features are the dataset's classes."""
        if self.cluster_labels is not None:
            yield from cluster_measurements(self.cluster_labels, data)

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[Picture]:
        """Traversals as the poster's "L0 D1", the encoder's embedding, grids over each input, real and generated."""
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
        if self.conditioning == "cluster":
            names = [f"cluster {k}" for k in range(self.n_labels)]
        shown, shown_names = torch.eye(self.n_labels, device=self.device)[:SHOWN], names[:SHOWN]
        if self.conditioning == "attributes":  # each alone, and none of them
            shown, shown_names = torch.cat([shown, torch.zeros_like(shown[:1])]), [*shown_names, "none"]
        yield from explorations(G, shown, shown_names, self.latents)
        y_real = label_table(data) if self.cluster_labels is None else self.cluster_labels
        yield "real_generated_tsne", real_and_generated(data, self.E, y_real, names, partial(self.sample, G))


def _n_labels(cfg: Config, data: Dataset) -> int:
    """A, as C has it."""
    return cfg.n_clusters if cfg.labels == "clusters" else data.n_labels


def _conditioning(cfg: Config, data: Dataset) -> Conditioning:
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
    return wanted  # type: ignore[return-value]


RECIPES = build_recipes(Config, infoscc.RECIPES)
