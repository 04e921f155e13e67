"""Self-Conditioned GAN (Liu, Bau, Yang, Zhu, Torralba; CVPR 2020, arXiv 2006.10728).

A class-conditional GAN whose classes are clusters of the training images in the discriminator's own feature space,
found again every T steps, so that the generator has to cover all of them. Symbols are the paper's: pi_c the c-th of k
clusters, P_pi their frequencies, D_f the last hidden layer of D, D(x, c) the c-th logit of D's linear head,
rho the permutation that gives new clusters the names of old ones, X_s the images that are clustered.

  min_G max_D  E_{c ~ P_pi} [ E_{x in pi_c} log sigma(D(x, c)) + E_z log(1 - sigma(D(G(z, c), c))) ]      (eq. 2)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from benchmark.core import distributed
from benchmark.core.config import STRICT, PositiveInt, added
from benchmark.core.errors import ConfigError
from benchmark.data.prepared import Dataset, Split
from benchmark.data.stream import in_order
from benchmark.nn.losses import adversarial, r1
from benchmark.nn.precision import in_float32
from benchmark.nn.selfcond import build_nets
from benchmark.training import ArtifactStore, Batch, Conditioning, Measurement, Method, Picture, Sample, Stream
from benchmark.training.plain_gan import PlainGANConfig, noised, plain_recipes
from benchmark.training.stages.clustering import (
    cluster_grid,
    cluster_measurements,
    encoder_clusters,
    follow_batch,
    k_means,
    match,
    means_or_random,
    nearest_centre,
    possible_clusters,
)
from benchmark.training.stages.encoders import FeatureConfig
from methods.recipes.selfcond import OWN

CHUNK = 1000  # images D sees at once while they are clustered
PARTITIONS = ("clusters", "fixed", "encoder")  # labels that are one cluster an image, until it is clustered again


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(PlainGANConfig):
    """Defaults are those of CIFAR-10 and Stacked-MNIST. [P] paper, [C] the authors' code, [ours] chosen here."""

    labels: Literal["clusters", "fixed", "online", "encoder", "random", "classes", "none"] = "clusters"  # see SelfCond
    k: Annotated[int, Field(ge=1)] = 100  # clusters, or random labels [P]
    T: PositiveInt = 25_000  # steps between re-clusterings [C]
    n_s: PositiveInt = 25_000  # training images that are clustered, the same ones each time [C]
    restarts: PositiveInt = 10  # of the first k-means, each from its own k-means++ start [C]
    mean_init: bool = True  # later ones start at the mean new feature of each old cluster; else as the first [P]
    matching: bool = True  # new clusters take the names of the old ones they share most images with [P: eq. 7]
    features: Literal["flat", "summed"] = "flat"  # D_f for k-means: all positions of its map, or their sum [C]
    encoder: FeatureConfig | None = added(None)  # of labels = encoder; None: the suite's contrastive encoder


class SelfCond(Method):
    """Self-Conditioned GAN: conditions are clusters of the discriminator's features, found again every T steps.

    labels: where c comes from. `clusters`: the paper's. `fixed`: clusters in the random-initialised D, kept. `online`:
    centres that follow each batch. `encoder`: clusters in a frozen encoder's features, kept (Logo-GAN, Sage et al.,
    CVPR 2018). Its controls: `random` labels, fresh in each batch; the dataset's `classes`; `none`, unconditional.
    """

    cfg: Config
    accepts: ClassVar[tuple[str, ...]] = ("images", "points")

    @staticmethod
    def stages(artifacts: ArtifactStore, cfg: Config) -> dict[str, Any]:
        """With labels = encoder: the clusters, which stay."""
        if cfg.labels != "encoder":
            return {}
        found = encoder_clusters(artifacts, cfg.encoder or FeatureConfig(), cfg.k, cfg.n_s, cfg.restarts)
        return {"clusters": found["labels"]}

    @staticmethod
    def uncapturable(cfg: Config) -> str:
        """Why a step cannot be captured: the clustering, and the centres that follow each batch."""
        return "a step clusters images on the host" if cfg.labels in ("clusters", "fixed", "online") else ""

    def __init__(self, cfg: Config, data: Dataset, clusters: Tensor | None = None) -> None:
        self.data, self.linear_decay = data, cfg.linear_decay
        self.conditioning, self.n_labels = _conditions(cfg, data)
        self.default_conditions = {
            "classes": "uniform classes",
            "random": "uniform labels",
            "none": "nothing",
        }.get(cfg.labels, "clusters by their frequency in the training split")
        nets = build_nets(cfg.backbone, data, cfg.z_dim, self.n_labels, width_G=cfg.width_G, width_D=cfg.width_D)
        self.G, self.D = nets
        self.loss_D, self.loss_G = adversarial("non_saturating")
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

        k, n = max(self.n_labels, 1), len(data.train)
        self.frequencies = torch.full((k,), 1 / k)  # P_pi; of uniform labels where they are no clusters
        if cfg.labels in ("clusters", "fixed", "online"):
            self.X_s = torch.randperm(n)[: cfg.n_s].sort().values  # rows of the training split
            self.pi = torch.zeros(n, dtype=torch.int64)  # every training image's cluster
            self.centres = torch.zeros(k, 0)  # in the space of D_f at the last clustering
            self.changed = torch.zeros(())  # share of images whose cluster changed then
        if clusters is not None:
            self.pi, self.frequencies = clusters, torch.bincount(clusters, minlength=k) / n

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """One iteration of the paper's algorithm 1, on minibatches."""
        cfg, losses = self.cfg, {}
        if self.clustering_is_due(t):
            self.recluster(first=t == 0)

        for _ in range(cfg.n_dis):
            batch = next(stream)
            x = noised(batch.images, cfg.pixel_noise)  # [B, C, S, S], or points [B, 2]
            c = self.conditions_of(batch)  # [B], of real and generated images alike: the batch's own draw from P_pi [C]
            x_fake = self.G(self.normal(len(x), cfg.z_dim), c)  # the G step's as well, with the same z [C]
            loss_D = self.loss_D(self.logits(x, c), self.logits(x_fake.detach(), c))
            losses["D"] = loss_D
            if cfg.r1_weight:
                losses["R1"] = r1(lambda images, c=c: self.logits(images, c), x)  # type: ignore[misc]
                loss_D = loss_D + cfg.r1_weight * losses["R1"]
            self.update(loss_D, self.opt_D)

        loss_G = self.loss_G(self.logits(x_fake, c))  # non-saturating
        self.update(loss_G, self.opt_G)
        if cfg.labels == "clusters":
            losses["changed"] = self.changed
        return {**losses, "G": loss_G}

    def logits(self, x: Tensor, c: Tensor | None) -> Tensor:
        """D(x, c) = w_c . D_f(x) + b_c for each image, [B]."""
        every = self.D(x)  # [B, k]
        return every.squeeze(1) if c is None else every.gather(1, c[:, None]).squeeze(1)

    def conditions_of(self, batch: Batch) -> Tensor | None:
        """c of a batch's real images, [B] int64."""
        labels = self.cfg.labels
        if labels == "none":
            return None
        if labels == "classes":
            return batch.labels
        if labels == "random":
            return torch.randint(self.n_labels, batch.index.shape, device=self.device)
        return self.follow(batch.images) if labels == "online" else self.pi[batch.index]

    # ---- the partition pi ------------------------------------------------------------------------------------------

    def clustering_is_due(self, t: int) -> bool:
        """At the first step, with the random-initialised D; for the paper's method every T steps after it."""
        if self.cfg.labels == "clusters":
            return t % self.cfg.T == 0
        return self.cfg.labels in ("fixed", "online") and t == 0

    @in_float32
    def recluster(self, first: bool) -> None:
        """Replace the partition. Rank 0 decides: k-means starts at random, and the ranks draw different numbers.

        Every training image is labelled here once, unmirrored and without noise. The authors keep a copy of D and label
        each batch with it: the same labels but for their augmentation, at the price of a pass of D a step [ours].
        """
        found = [part.cpu() for part in self.partition(first)] if distributed.is_main() else None
        pi, self.centres = (part.to(self.device) for part in distributed.agree(found))
        self.changed = (pi != self.pi).float().mean()
        self.pi = pi
        self.frequencies = torch.bincount(pi, minlength=self.n_labels) / len(pi)

    @distributed.alone()
    @torch.no_grad()
    def partition(self, first: bool) -> tuple[Tensor, Tensor]:
        """Cluster X_s by the present D_f: every training image's cluster [N], the centres [k, d]."""
        cfg, k = self.cfg, self.n_labels
        f = torch.cat(list(self.features(self.X_s)))  # [n_s, d]
        old = self.pi[self.X_s]
        start = None if first or not cfg.mean_init else means_or_random(f, old, k)  # eq. 6
        new, centres = k_means(f, k, start, cfg.restarts)
        if cfg.matching and not first:
            rho = match(new, old, k)  # eq. 7
            new, centres = rho[new], centres[rho.argsort()]
        if len(self.X_s) == len(self.pi):
            return new, centres
        pi = torch.cat([nearest_centre(f, centres) for f in self.features(torch.arange(len(self.pi)))])
        return pi.index_copy(0, self.X_s, new), centres

    def features(self, rows: Tensor) -> Iterator[Tensor]:
        """D_f of these training images, D in evaluation mode: parts [<= CHUNK, d]."""
        self.D.eval()
        for part in rows.cpu().split(CHUNK):
            images = Split("train", self.data.train.images[part.numpy()])
            (batch,) = in_order(images, len(part), self.device)
            yield self.D.features(batch.images, self.cfg.features == "summed")
        self.D.train()

    @in_float32
    @torch.no_grad()
    def follow(self, x: Tensor) -> Tensor:
        """labels = online: clusters [B] of a batch in the present D_f; the centres follow it."""
        self.D.eval()
        f = self.D.features(x, self.cfg.features == "summed")
        self.D.train()
        c, self.centres, self.frequencies = follow_batch(f, self.centres, self.frequencies, len(self.X_s))
        return c

    # ---- generating ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """G(z, c) with c from P_pi of all training images [ours; C: X_s]; of classes and random labels uniform [C]."""
        if self.conditioning == "none":
            return Sample(G(self.normal(n, self.cfg.z_dim), None), None)
        c = torch.multinomial(self.frequencies, n, replacement=True) if conditions is None else conditions
        c = c.to(self.device)
        return Sample(G(self.normal(n, self.cfg.z_dim), c), c)

    def sampling_state(self) -> dict[str, Any]:
        """P_pi, which training finds."""
        return {"frequencies": self.frequencies}

    def training_clusters(self) -> Tensor | None:
        """pi; random labels are no clusters."""
        return self.pi if self.cfg.labels in PARTITIONS else None

    def measurements(self, G: nn.Module, data: Dataset) -> Iterator[Measurement]:
        """How far the clusters are the dataset's classes."""
        if self.cfg.labels in PARTITIONS:
            yield from cluster_measurements(self.pi, data)

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[Picture]:
        """The largest clusters: training images above generated ones (as the paper's figures of clusters)."""
        if self.cfg.labels in PARTITIONS and not data.is_points:
            pi, P_pi = self.pi, self.frequencies
            yield "clusters", cluster_grid(pi, P_pi, self.data, lambda c: self.sample(G, len(c), c).images)


def _conditions(cfg: Config, data: Dataset) -> tuple[Conditioning, int]:
    """What c is and how many there are, checked against what the dataset has."""
    if cfg.labels == "none":
        return "none", 0
    if cfg.labels == "classes":
        if data.conditioning != "class":
            raise ConfigError("labels = classes", f"{data.name} has no classes", "set labels=clusters")
        return "class", data.n_classes
    return "cluster", cfg.k if cfg.labels == "random" else possible_clusters(data, cfg.k, cfg.n_s)


RECIPES = plain_recipes(Config, **OWN)
