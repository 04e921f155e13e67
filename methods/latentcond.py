"""Latent space conditioning (Durall, Ho, Pfreundt, Keuper; VISAPP 2021): a generator steered by features, no labels.

A frozen network E turns an image into features f; the generator gets [z ; f]. The discriminator never sees f: it gets
couples of images, and which couples are true is read off the feature space of the batch. Symbols are the paper's.

  Algorithm 1   for every x_i of a batch, its nearest and its farthest image by L1 between features    `couples`
  eq. 2-4       adv = [x_i, G(z_i, f_i)] false, same = [x_i, x_nearest(i)] true, diff = [x_i, x_farthest(i)] false
  Algorithm 2   G fools D with adv couples in every step, D learns all three in every n-th               `step`

Algorithm 2 as printed ascends the same L_adv for both networks, which would make G help D; here G descends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from benchmark.core.config import STRICT, NonNegativeFloat, NonNegativeInt, PositiveInt
from benchmark.core.errors import ConfigError
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Batch, Stream, to_float
from benchmark.metrics.neighbours import chance_agreement, neighbour_agreement
from benchmark.nn.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from benchmark.nn.sngan import SNGANDiscriminator, SNGANGenerator
from benchmark.training.artifacts import ArtifactStore, computation
from benchmark.training.method import Embedding, GANConfig, Grid, Measurement, Method, Sample
from benchmark.training.stages.encoders import (
    FeatureConfig,
    FeatureNet,
    image_encoder,
    map_features,
    pooled_features,
    split_of,
)
from benchmark.training.stages.pretext import AttributeClassifierConfig, RotNetConfig

FAR_SHARE = 0.1  # of a batch, among which far_mode = "random" draws [ours]
N_TARGETS = 5  # nearest training images that a sample is compared with [ours: the farthest rank of the paper's table 2]
TABLE_2 = (1, 2, 5)  # ranks of neighbours [P]
TABLE_2_IMAGES = 2000  # whose neighbours are looked for [ours: the paper does not say]
CACHE = 2**28  # numbers in a table of feature maps: larger ones are computed batch by batch


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [ours] chosen here, mostly because the paper is silent."""

    features: FeatureConfig  # E and its layer: of the neighbours, and of what G is given
    f_source: Literal["mean", "map"] = "mean"  # G's f: E's maps averaged over places, or laid flat [ours]
    f_dim: NonNegativeInt = 128  # at most so many principal components of it; 0: all as they are [ours]
    pairing: Literal["couples", "single", "naive"] = "couples"  # D(x, x') [P]; D(x), the baseline; D(x, f), Fig. 1's
    adv_weight: NonNegativeFloat = 1.0  # lambda_a; 0 leaves the term out of D's loss [ours: values not given]
    same_weight: NonNegativeFloat = 1.0  # lambda_s
    diff_weight: NonNegativeFloat = 1.0  # lambda_d
    adv_real: Literal["anchor", "nearest"] = "anchor"  # first image of an adv couple; nearest: no prize for copies
    oracle_pairs: bool = False  # ablation: true classes decide which neighbours are right; no longer label-free
    neighbour_pool: Literal["batch", "bank"] = "batch"  # where neighbours are looked for [P]; bank: all training images
    far_mode: Literal["max", "random"] = "max"  # the farthest [P], or one of the farthest 10 % of the batch
    loss: Literal["bce", "hinge"] = "bce"  # eq. 2-5 are cross-entropies [P]
    g_loss: Literal["ns", "minimax"] = "ns"  # min -log D(adv), or the printed min log(1 - D(adv)), which saturates
    g_steps_per_d: PositiveInt = 1  # Algorithm 2's n; SNGAN's n_dis is the reverse, so never both > 1
    backbone: Literal["sndcgan", "resnet"] = "sndcgan"  # SNGAN's plain or residual nets; the paper does not say which
    z_dim: PositiveInt = 128  # of the noise [ours]
    width: PositiveInt | None = None  # channels of the narrowest hidden layer; None: the backbone's


# What D minimises of the logits l of true and of false couples, entry by entry
LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "bce": (lambda l: softplus(-l), softplus),  # -log D, -log(1 - D) with D = sigmoid(l)
    "hinge": (lambda l: relu(1 - l), lambda l: relu(1 + l)),
}


class Couples(NamedTuple):
    """Algorithm 1's output: a batch of anchors, their neighbours, their features."""

    x: Tensor  # [B, C, S, S] anchors
    near: Tensor  # [B, C, S, S] "real correct"
    far: Tensor  # [B, C, S, S] "real wrong"
    f: Tensor  # [B, f_dim] what G is given
    logs: dict[str, Tensor]  # how good the couples are


def distances(f: Tensor) -> Tensor:
    """P_ij = sum_k |f_ik - f_jk| for features [B, d], [B, B] (Algorithm 1, line 3)."""
    return torch.cdist(f, f, p=1)


def neighbours(P: Tensor, far_mode: str = "max") -> tuple[Tensor, Tensor]:
    """The nearest and the farthest other row of each row of distances [B, B]: indices [B], [B].

    A row is never its own neighbour: of a couple of equal images D would only learn that equal pixels are true.
    Among equal distances the first row is taken. far_mode "random": one of the farthest 10 %, drawn.
    """
    itself = torch.eye(len(P), dtype=torch.bool, device=P.device)
    near = P.masked_fill(itself, torch.inf).argmin(1)
    P_far = P.masked_fill(itself, -torch.inf)
    if far_mode == "max":
        return near, P_far.argmax(1)
    farthest = P_far.topk(max(1, int(FAR_SHARE * len(P))), dim=1).indices  # [B, k]
    return near, farthest.gather(1, torch.randint(farthest.shape[1], (len(P), 1), device=P.device)).squeeze(1)


def steered_by_labels(P: Tensor, y: Tensor) -> Tensor:
    """Distances [B, B] moved so that every image of another class y is farther than every one of the same class."""
    return P + (y[:, None] != y[None, :]) * (P.max() + 1)


@computation("methods.latentcond", "bank_neighbours")
def bank_neighbours(data: Dataset, f: dict[str, Tensor]) -> dict[str, Tensor]:
    """`neighbours` over the whole training split: {"near": [N], "far": [N]} int64. A computation."""
    table, near, far = f["f"], [], []
    for rows in torch.arange(len(table), device=table.device).split(512):
        P = torch.cdist(table[rows], table, p=1)  # [512, N]
        own = rows[:, None]
        near.append(P.scatter(1, own, torch.inf).argmin(1))
        far.append(P.scatter(1, own, -torch.inf).argmax(1))
    return {"near": torch.cat(near), "far": torch.cat(far)}


@computation("methods.latentcond", "reduction")
def reduction(data: Dataset, table: dict[str, Tensor], f_dim: int) -> dict[str, Tensor]:
    """How features become G's f: {"mean": [d], "std": [d], "axes": [d, f_dim], "f": [N, f_dim]}. A computation.

    Every dimension is standardised over the training split, so that f is of the noise's size and does not drown it;
    then come the first f_dim principal components, scaled by one factor to a mean square of 1. All [ours].
    """
    (h,) = table.values()
    mean, std = h.mean(0), h.std(0, correction=0)
    std = torch.where(std > 0, std, 1.0)  # a unit that never fires stays 0
    h = (h - mean) / std
    if f_dim and f_dim < h.shape[1]:
        axes = principal_axes(h, f_dim)
        axes = axes / (h @ axes).square().mean().sqrt().clamp(min=1e-12)
    else:
        axes = torch.eye(h.shape[1], device=h.device)
    return {"mean": mean, "std": std, "axes": axes, "f": h @ axes}


def principal_axes(h: Tensor, n: int) -> Tensor:
    """The first n principal axes of centred rows [N, d]: orthonormal columns [d, min(n, N, d)]."""
    if len(h) < h.shape[1]:
        return torch.linalg.svd(h, full_matrices=False).Vh[:n].T.contiguous()
    return torch.linalg.eigh(h.T @ h).eigenvectors.flip(1)[:, :n].contiguous()  # eigenvalues come in rising order


class LatentCond(Method):
    """Latent-conditioned SNGAN: G gets an image's features, D couples of images that a feature space calls alike."""

    cfg: Config
    D: nn.Module
    conditioning = "latent"

    @staticmethod
    def stages(artifacts: ArtifactStore, cfg: Config) -> dict[str, Any]:
        """E, its features of the training images, and what reduces them to G's f."""
        _check(cfg, artifacts.data)
        E = image_encoder(artifacts, cfg.features)
        wanted = cfg.neighbour_pool == "bank" or cfg.f_source == "map"
        maps = artifacts.compute(map_features, encoder=E) if wanted or _n_features(E, artifacts.data) <= CACHE else None
        table = maps if cfg.f_source == "map" else artifacts.compute(pooled_features, encoder=E)
        return {
            "E": E,
            "maps": maps,
            "reduced": artifacts.compute(reduction, table=table, f_dim=cfg.f_dim),
            "bank": artifacts.compute(bank_neighbours, f=maps) if cfg.neighbour_pool == "bank" else None,
        }

    def __init__(self, cfg: Config, data: Dataset, E: FeatureNet, maps: Any, reduced: Any, bank: Any) -> None:
        self.E = E
        # tuples and dictionaries are not part of the state: they are found again, not saved in every checkpoint
        self.maps = (maps["f"],) if maps else None  # [N, c * h * w]
        self.bank_neighbours = (bank["near"], bank["far"]) if bank else None  # [N], [N]
        self.reduced = {name: reduced[name] for name in ("mean", "std", "axes")}
        self.training_f = (reduced["f"],)  # [N, f_dim]
        self.data = data
        self.banks = {(data.sha256, "train"): reduced["f"]}  # f of every split that was conditioned on
        self.condition_on(data, "train")
        side, channels, f_dim = data.resolution, data.channels, reduced["f"].shape[1]
        seen_by_D = {"couples": 2 * channels, "single": channels, "naive": channels + f_dim}[cfg.pairing]
        if cfg.backbone == "sndcgan":
            self.G: nn.Module = SNDCGANGenerator(side, channels, cfg.z_dim + f_dim, cfg.width or 64)
            self.D = SNDCGANDiscriminator(side, seen_by_D, cfg.width or 64)
        else:
            self.G = SNGANGenerator(side, channels, cfg.z_dim + f_dim, cfg.width)
            self.D = SNGANDiscriminator(side, seen_by_D, cfg.width)
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """Algorithm 2: D in every n-th step (n_dis times where the ratio is SNGAN's), then G on the same couples."""
        cfg, losses = self.cfg, {}
        c = self.couples(next(stream), stream)
        if t % cfg.g_steps_per_d == 0:
            for i in range(cfg.n_dis):
                c = c if i == 0 else self.couples(next(stream), stream)
                with torch.no_grad():
                    x_fake = self.generate(self.G, c.f)
                losses["D"], logits = self.loss_D(c, x_fake)
                self.update(losses["D"], self.opt_D)
        else:
            logits = {}
        x_fake = self.generate(self.G, c.f)
        losses["G"] = self.loss_G(self.D(self.adv(c, x_fake)))
        self.update(losses["G"], self.opt_G)
        return {**losses, **{f"logit_{name}": logit.mean() for name, logit in logits.items()}, **c.logs}

    def couples(self, batch: Batch, stream: Stream) -> Couples:
        """Algorithm 1 on a batch, or its neighbours in the whole training split where the pool is the bank."""
        x, index = batch.images, batch.index
        f = self.training_f[0][index]
        if self.bank_neighbours:
            near, far = (stream.pick(table[index]) for table in self.bank_neighbours)
            return Couples(x, near.images, far.images, f, self.quality(batch, near, far))
        f_map = self.maps[0][index] if self.maps else self.E.maps(x).flatten(1)  # [B, d], E(x)
        P = distances(f_map)
        if self.cfg.oracle_pairs and batch.labels is not None:
            P = steered_by_labels(P, batch.labels)
        near, far = (_rows(batch, rows) for rows in neighbours(P, self.cfg.far_mode))
        return Couples(x, near.images, far.images, f, self.quality(batch, near, far))

    def loss_D(self, c: Couples, x_fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 5 as D minimises it, and the logits of each kind of couple."""
        cfg = self.cfg
        true, false = LOSSES[cfg.loss]
        if cfg.pairing == "couples":
            terms = {
                "adv": (cfg.adv_weight, false, self.adv(c, x_fake)),  # eq. 2
                "same": (cfg.same_weight, true, torch.cat([c.x, c.near], 1)),  # eq. 3
                "diff": (cfg.diff_weight, false, torch.cat([c.x, c.far], 1)),  # eq. 4
            }
        else:  # the minimax loss of eq. 1, on images, or on images beside f
            terms = {"adv": (1.0, false, self.adv(c, x_fake)), "real": (1.0, true, self.beside(c.x, c.f))}
        active = {name: term for name, term in terms.items() if term[0]}
        # one pass for all couples: D has no batch norm, so they do not see each other
        logits = dict(zip(active, self.D(torch.cat([x for _, _, x in active.values()])).chunk(len(active))))
        loss = sum(weight * side(logits[name]).mean() for name, (weight, side, _) in active.items())
        assert isinstance(loss, Tensor)
        return loss, logits

    def loss_G(self, l_adv: Tensor) -> Tensor:
        """G's side of eq. 2, from D's logits of adv couples [B]: G descends log(1 - D), or ascends log D."""
        if self.cfg.loss == "hinge":
            return -l_adv.mean()
        return softplus(-l_adv).mean() if self.cfg.g_loss == "ns" else -softplus(l_adv).mean()

    def adv(self, c: Couples, x_fake: Tensor) -> Tensor:
        """What D sees of generated images: beside a real image [B, 2C, S, S]; alone; or beside f."""
        if self.cfg.pairing == "couples":
            return torch.cat([c.x if self.cfg.adv_real == "anchor" else c.near, x_fake], 1)
        return self.beside(x_fake, c.f)

    def beside(self, x: Tensor, f: Tensor) -> Tensor:
        """x for the baseline's D; x with f as constant maps, [B, C + f_dim, S, S], for the naive one."""
        if self.cfg.pairing == "single":
            return x
        return torch.cat([x, f[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)

    def quality(self, anchors: Batch, near: Batch, far: Batch) -> dict[str, Tensor]:
        """For the log alone: do near images share the anchor's label, do far ones not; how varied are the far ones."""
        hit = torch.zeros(len(self.data.train), device=self.device).index_fill_(0, far.index, 1.0)
        logs = {"far_distinct": hit.sum() / len(far.index)}  # share; small: one outlier is everyone's farthest
        y, y_near, y_far = (b.labels if b.labels is not None else b.attributes for b in (anchors, near, far))
        if y is not None and y_near is not None and y_far is not None:
            logs["nn_label_agreement"] = (y == y_near).float().mean()
            logs["far_label_disagreement"] = (y != y_far).float().mean()
        return logs

    def generate(self, G: nn.Module, f: Tensor) -> Tensor:
        """G([z ; f]) with fresh noise: images [N, C, S, S] in [-1, 1]."""
        return G(torch.cat([self.normal(len(f), self.cfg.z_dim), f], 1))

    @torch.no_grad()
    def condition_on(self, data: Dataset, split: str) -> None:
        """From now on `conditions` are rows of this split; E and the reduction stay those of the training.

        Raises ConfigError for images that E or, with f_source = map, the reduction cannot take.
        """
        known = (data.sha256, split)
        if known not in self.banks:
            self.banks[known] = self.reduce(data, split)
        self.bank = (self.banks[known],)  # [M, f_dim], in a tuple: it is not part of the state
        self.n_labels = len(self.bank[0])
        self.default_conditions = f"features of {data.name}'s {split} images, uniformly"

    def reduce(self, data: Dataset, split: str) -> Tensor:
        """f of every image of a split, [M, f_dim]."""
        features = map_features if self.cfg.f_source == "map" else pooled_features
        (h,) = features(data, self.E, split).values()
        mean, std, axes = (self.reduced[name] for name in ("mean", "std", "axes"))
        if h.shape[1] != len(mean):
            raise ConfigError(
                f"features of {data.name}: {h.shape[1]} numbers",
                f"G was trained on {len(mean)}: f_source = map keeps places, so the side must be equal",
                f"prepare {data.name} at {self.data.resolution} px, or train with f_source=mean",
            )
        return (h.to(self.device) - mean) / std @ axes

    def condition_features(self) -> Tensor:
        """f of every image of the bank, [M, f_dim]."""
        return self.bank[0]

    @torch.no_grad()
    def targets(self, conditions: Tensor | None) -> Tensor | None:
        """The training images [N, k] whose f is nearest by L1 to those of the asked rows [N], the image itself apart.

        k is 5 [ours], or as many others as there are.
        """
        if conditions is None:
            return None
        (bank,), (f,) = self.bank, self.training_f
        own = bank is f  # its rows are training images: none is its own target
        found = []
        for rows in conditions.to(self.device).split(512):
            P = torch.cdist(bank[rows], f, p=1)  # [512, N]
            P = P.scatter(1, rows[:, None], torch.inf) if own else P
            found.append(P.topk(min(N_TARGETS, len(f) - own), dim=1, largest=False).indices)
        return torch.cat(found)

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images for the features of the asked rows of the bank [n]; by default of rows drawn with replacement."""
        if conditions is None:
            conditions = torch.randint(self.n_labels, (n,), device=self.device)
        conditions = conditions.to(self.device)
        return Sample(self.generate(G, self.bank[0][conditions]), conditions)

    def measurements(self, G: nn.Module, data: Dataset) -> Iterator[Measurement]:
        """Does the k-th neighbour show an image's class, in the features G is given? Table 2, by L1 [P]."""
        (f,) = self.training_f
        if data.train.labels is None or len(f) <= max(TABLE_2):
            return
        rows = np.random.default_rng(0).permutation(len(f))[:TABLE_2_IMAGES]
        found = neighbour_agreement(f, data.train.labels, TABLE_2, queries=rows)
        protocol = {"space": "f", "metric": "l1", "queries": len(rows), "among": len(f)}
        chance = {"chance": chance_agreement(data.train.labels)}
        for k, share in found.items():
            name = f"Class of neighbour {k}"
            yield Measurement(f"neighbour_{k}", name, share, "higher", protocol | {"rank": k}, chance)

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[tuple[str, Grid | Embedding]]:
        """Held-out images beside seven images generated from their features, and the features themselves."""
        self.condition_on(data, "test")
        test, rows = split_of(data, "test"), torch.arange(min(8, len(data.test)))
        real = to_float(torch.tensor(test.images[: len(rows)]).permute(0, 3, 1, 2)).to(self.device)
        fake = self.sample(G, 7 * len(rows), rows.repeat_interleave(7)).images
        grid = torch.cat([real[:, None], fake.view(len(rows), 7, *fake.shape[1:])], 1)
        names = [f"test image {row}" for row in rows.tolist()]
        yield "latent_codes", Grid(grid, names, ["real", *(f"G(z{k}, f)" for k in range(1, 8))])
        if test.labels is not None:
            labels = torch.tensor(test.labels[:1000])
            yield "latent_tsne", Embedding(self.bank[0][:1000], labels, list(data.class_names))
        self.condition_on(data, "train")


def _rows(batch: Batch, rows: Tensor) -> Batch:
    """Rows [B] of a batch, as a batch."""
    return Batch(
        batch.images[rows],
        None if batch.labels is None else batch.labels[rows],
        None if batch.attributes is None else batch.attributes[rows],
        batch.index[rows],
    )


def _n_features(E: FeatureNet, data: Dataset) -> int:
    """How many numbers the feature maps of the training images are."""
    with torch.no_grad():
        one = E.maps(torch.zeros(1, data.channels, data.resolution, data.resolution, device=E.device))
    return one.numel() * len(data.train)


def _check(cfg: Config, data: Dataset) -> None:
    """Mistakes that can be seen before anything is trained. Raises ConfigError."""
    if cfg.flip:
        raise ConfigError(
            "flip = true", "features are of the images as they are; a mirrored image is another one", "set flip=false"
        )
    if cfg.g_steps_per_d > 1 and cfg.n_dis > 1:
        raise ConfigError(
            f"g_steps_per_d = {cfg.g_steps_per_d} with n_dis = {cfg.n_dis}",
            "one says that G is updated more often, the other that D is",
            "leave one of them at 1",
        )
    if cfg.loss == "hinge" and cfg.g_loss == "minimax":
        raise ConfigError("g_loss = minimax with loss = hinge", "minimax is of cross-entropies", "set loss=bce")
    if cfg.pairing == "couples" and not (cfg.adv_weight or cfg.same_weight or cfg.diff_weight):
        raise ConfigError("adv_weight, same_weight, diff_weight", "all are 0: D has nothing to learn", "raise one")
    if cfg.oracle_pairs and data.train.labels is None:
        raise ConfigError("oracle_pairs = true", f"{data.name} has no classes", "set oracle_pairs=false")
    if cfg.neighbour_pool == "bank" and (cfg.oracle_pairs or cfg.far_mode != "max"):
        raise ConfigError(
            "neighbour_pool = bank",
            "the bank keeps one nearest and one farthest image, without labels",
            "set far_mode=max and oracle_pairs=false, or neighbour_pool=batch",
        )


def _paper(features: FeatureConfig, **changes: Any) -> Config:
    """SNGAN's own setting, since the paper changes only G's input and D's couples; the length is [ours]."""
    sngan = {"steps": 100_000, "batch": 64, "lr_G": 2e-4, "lr_D": 2e-4, "betas": (0.5, 0.999)}
    logs = {"ema_half_life_images": 0, "log_every": 500, "checkpoint_every": 2500}
    return Config(features=features, **{**sngan, **logs, **changes})


# 200 epochs of 50,000 images in batches of 128, four rotations each [C of RotNet]
_ROTNET = FeatureConfig(
    name="rotnet", layer=2, rotnet=RotNetConfig(steps=78_000, batch=128, log_every=500, checkpoint_every=5000)
)
# supervised: CelebA's runs are not free of labels [P]
_CELEBA = FeatureConfig(
    name="classifier",
    classifier=AttributeClassifierConfig(width=32, steps=25_000, batch=128, log_every=500, checkpoint_every=5000),
)
_ALEXNET = FeatureConfig(name="alexnet", layer=5, input_px=64)  # untrained [P]; layer and side [ours]
_SMALL = Config(  # sized for a CPU: 32 px, four minutes on one core [ours]
    features=FeatureConfig(name="simclr"),  # the suite's: photographs need a trained E
    f_dim=64,
    z_dim=64,
    width=16,
    steps=400,
    batch=64,
    lr_G=2e-4,
    lr_D=2e-4,
    betas=(0.5, 0.999),
    ema_half_life_images=5000,
)
_SMALL_16 = replace(_SMALL, steps=1000)  # 16 px: a quarter of the cost a step; agreement is flat from 500 steps on

RECIPES = {
    "paper": {
        "mnist": _paper(_ALEXNET),
        "cifar10": _paper(_ROTNET),
        "cifar10_jpeg": _paper(_ROTNET),
        "celeba": _paper(_CELEBA, backbone="resnet", betas=(0.0, 0.9)),  # its plans add blocks for 64 and 128 px [P]
    },
    "small": {
        "default": _SMALL,
        "mnist": replace(_SMALL, features=_ALEXNET),
        "fashion_mnist": replace(_SMALL, features=_ALEXNET),
        "digits": replace(_SMALL_16, features=_ALEXNET),
        "shapes": _SMALL_16,
        "shapes_class": _SMALL_16,
    },
}
