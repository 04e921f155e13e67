"""Latent space conditioning (Durall, Ho, Pfreundt, Keuper; VISAPP 2021): a generator steered by features, no labels.

A frozen network E turns an image into features f; the generator gets [z ; f]. The discriminator never sees f: it gets
pairs of images, and which pairs are true is read off the feature space of the batch. Symbols are the paper's.

  Algorithm 1   for every x_i of a batch, its nearest and its farthest image by L1 between features    `couples`
  eq. 2-4       adv = [x_i, G(z_i, f_i)] false, same = [x_i, x_nearest(i)] true, diff = [x_i, x_farthest(i)] false
  Algorithm 2   G fools D with adv pairs in every step, D learns all three in every n-th                 `step`

Algorithm 2 as printed ascends the same L_adv for both networks, which would make G help D; here G descends it.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import softplus

from benchmark.core import distributed
from benchmark.core.config import STRICT, NonNegativeFloat, NonNegativeInt, PositiveInt, added
from benchmark.core.errors import ConfigError
from benchmark.nn.backbones import build_plain
from benchmark.nn.losses import TRUE_AND_FALSE
from benchmark.nn.precision import at_least_float32, in_float32
from benchmark.training import ArtifactStore, Batch, Dataset, GANConfig, Method, Sample, Stream, build_recipes
from benchmark.training.banks import FeatureConditioned, quality_of_pairs
from benchmark.training.stages.encoders import FeatureConfig, image_encoder, map_features, pooled_features
from benchmark.training.stages.neighbours import bank_neighbours
from benchmark.training.stages.reduction import reduction
from methods.recipes import latentcond

FAR_SHARE = 0.1  # of a batch, among which far_mode = "random" draws [ours]
CACHE = 2**28  # numbers in a table of feature maps: larger ones are computed batch by batch


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [ours] chosen here, mostly because the paper is silent."""

    features: FeatureConfig  # E and its layer: of the neighbours, and of what G is given
    f_source: Literal["mean", "map"] = "mean"  # G's f: E's maps averaged over positions, or laid flat [ours]
    f_dim: NonNegativeInt = 128  # at most so many principal components of it; 0: all as they are [ours]
    pairing: Literal["couples", "single", "naive"] = "couples"  # D(x, x') [P]; D(x), the baseline; D(x, f), Fig. 1's
    adv_weight: NonNegativeFloat = 1.0  # lambda_a; 0 leaves the term out of D's loss [ours: values not given]
    same_weight: NonNegativeFloat = 1.0  # lambda_s
    diff_weight: NonNegativeFloat = 1.0  # lambda_d
    adv_real: Literal["anchor", "nearest"] = "anchor"  # first image of an adv pair; nearest: no prize for copies
    oracle_pairs: bool = False  # ablation: true classes decide which neighbours are right; no longer label-free
    neighbour_pool: Literal["batch", "bank"] = "batch"  # where neighbours are looked for [P]; bank: all training images
    far_mode: Literal["max", "random"] = "max"  # the farthest [P], or one of the farthest 10 % of the batch
    loss: Literal["bce", "hinge"] = "bce"  # eq. 2-5 are cross-entropies [P]
    g_loss: Literal["ns", "minimax"] = "ns"  # min -log D(adv), or the printed min log(1 - D(adv)), which saturates
    g_steps_per_d: PositiveInt = 1  # Algorithm 2's n; SNGAN's n_dis is the reverse, so never both > 1
    backbone: Literal["sndcgan", "resnet"] = "sndcgan"  # SNGAN's plain or residual one; the paper does not say which
    z_dim: PositiveInt = 128  # of the noise [ours]
    width: PositiveInt | None = None  # channels of the narrowest hidden layer; None: the backbone's
    linear_decay: bool = added(False)  # both learning rates fall linearly to 0, as SNGAN's do


class Couples(NamedTuple):
    """Algorithm 1's output: a batch of anchors, their neighbours, their features."""

    x: Tensor  # [B, C, S, S] anchors
    near: Tensor  # [B, C, S, S] "real correct"
    far: Tensor  # [B, C, S, S] "real wrong"
    f: Tensor  # [B, f_dim] what G is given
    logs: dict[str, Tensor]  # how good the pairs are


def distances(f: Tensor, own: slice = slice(None)) -> Tensor:
    """P_ij = sum_k |f_ik - f_jk| for features [B, d], [B, B] (Algorithm 1, line 3); own: the rows i that are wanted."""
    return torch.cdist(f[own], f, p=1)


def neighbours(P: Tensor, far_mode: str = "max", first: int = 0) -> tuple[Tensor, Tensor]:
    """The nearest and the farthest other image of each row of distances [b, B]: indices [b], [b].

    An image is never its own neighbour: of a pair of equal images D would only learn that equal pixels are true.
    Among equal distances the first is taken. far_mode "random": one of the farthest 10 %, drawn. first: which image of
    the batch the first row is.
    """
    place = torch.arange(P.shape[1], device=P.device)
    itself = place == place[first : first + len(P), None]  # [b, B]
    near = P.masked_fill(itself, torch.inf).argmin(1)
    P_far = P.masked_fill(itself, -torch.inf)
    if far_mode == "max":
        return near, P_far.argmax(1)
    farthest = P_far.topk(max(1, int(FAR_SHARE * P.shape[1])), dim=1).indices  # [b, k]
    return near, farthest.gather(1, torch.randint(farthest.shape[1], (len(P), 1), device=P.device)).squeeze(1)


def steered_by_labels(P: Tensor, y: Tensor, own: slice = slice(None)) -> Tensor:
    """Distances moved so that every image of another class y [B] is farther than every one of the same class."""
    return P + (y[own, None] != y[None, :]) * (distributed.largest(P.max()) + 1)


class LatentCond(FeatureConditioned, Method):
    """Latent-conditioned SNGAN: G gets an image's features, D pairs of images with similar features."""

    cfg: Config
    D: nn.Module
    conditioning = "latent"

    @staticmethod
    def stages(artifacts: ArtifactStore, cfg: Config) -> dict[str, Any]:
        """E, its features of the training images, and what reduces them to G's f."""
        _check(cfg, artifacts.data)
        E = image_encoder(artifacts, cfg.features)
        wanted = cfg.neighbour_pool == "bank" or cfg.f_source == "map" or E.n_map_features(artifacts.data) <= CACHE
        maps = artifacts.compute(map_features, encoder=E) if wanted else None
        table = maps if cfg.f_source == "map" else artifacts.compute(pooled_features, encoder=E)
        return {
            "E": E,
            "maps": maps,
            "reduced": artifacts.compute(reduction, table=table, f_dim=cfg.f_dim),
            "bank": artifacts.compute(bank_neighbours, f=maps) if cfg.neighbour_pool == "bank" else None,
        }

    def __init__(self, cfg: Config, data: Dataset, E: Any, maps: Any, reduced: Any, bank: Any) -> None:
        self.linear_decay = cfg.linear_decay
        self.remember(data, E, reduced, laid_flat=cfg.f_source == "map")
        # tuples are not part of the state: they are found again, not saved in every checkpoint
        self.maps = (maps["f"],) if maps else None  # [N, c * h * w]
        self.bank_neighbours = (bank["near"], bank["far"]) if bank else None  # [N], [N]
        side, channels, f_dim = data.resolution, data.channels, reduced["f"].shape[1]
        seen_by_D = {"couples": 2 * channels, "single": channels, "naive": channels + f_dim}[cfg.pairing]
        nets = build_plain(cfg.backbone, side, channels, cfg.z_dim + f_dim, cfg.width, channels_D=seen_by_D)
        self.G, self.D = nets
        self.opt_G = self.adam(self.G, cfg.lr_G, cfg.betas)
        self.opt_D = self.adam(self.D, cfg.lr_D, cfg.betas)

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """Algorithm 2: D in every n-th step (n_dis times where the ratio is SNGAN's), then G on the same pairs."""
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

    @in_float32  # E, too: neighbours found in a batch are those of the stored features
    def couples(self, batch: Batch, stream: Stream) -> Couples:
        """Algorithm 1 on a batch, or its neighbours in the whole training split where the pool is the bank.

        The batch is that of all ranks: a rank has a share of the anchors, whose neighbours may come from another one.
        """
        x, index = batch.images, batch.index
        f = self.training_f[0][index]
        if self.bank_neighbours:
            near, far = (stream.pick(table[index]) for table in self.bank_neighbours)
            return Couples(x, near.images, far.images, f, quality_of_pairs(self.data, batch, near, far))
        every, own = batch.of_all_ranks(), distributed.own_rows(len(x))
        f_map = self.maps[0][every.index] if self.maps else distributed.gather(self.E.maps(x).flatten(1))
        P = distances(f_map, own)  # f_map: E(x), [B, d]
        if self.cfg.oracle_pairs and every.labels is not None:
            P = steered_by_labels(P, every.labels, own)
        near, far = (every.rows(rows) for rows in neighbours(P, self.cfg.far_mode, own.start))
        return Couples(x, near.images, far.images, f, quality_of_pairs(self.data, batch, near, far))

    def loss_D(self, c: Couples, x_fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 5 as D minimises it, and the logits of each kind of pair."""
        cfg = self.cfg
        true, false = TRUE_AND_FALSE[cfg.loss]
        if cfg.pairing == "couples":
            terms = {
                "adv": (cfg.adv_weight, false, self.adv(c, x_fake)),  # eq. 2
                "same": (cfg.same_weight, true, torch.cat([c.x, c.near], 1)),  # eq. 3
                "diff": (cfg.diff_weight, false, torch.cat([c.x, c.far], 1)),  # eq. 4
            }
        else:  # the minimax loss of eq. 1, on images, or on images with f
            terms = {"adv": (1.0, false, self.adv(c, x_fake)), "real": (1.0, true, self.beside(c.x, c.f))}
        active = {name: term for name, term in terms.items() if term[0]}
        # one pass for all pairs: D has no batch norm, so they do not see each other
        joint = at_least_float32(self.D(torch.cat([x for _, _, x in active.values()])))
        logits = dict(zip(active, joint.chunk(len(active))))
        loss = sum(weight * side(logits[name]).mean() for name, (weight, side, _) in active.items())
        assert isinstance(loss, Tensor)
        return loss, logits

    @in_float32
    def loss_G(self, l_adv: Tensor) -> Tensor:
        """G's side of eq. 2, from D's logits of adv pairs [B]: G descends log(1 - D), or ascends log D."""
        if self.cfg.loss == "hinge":
            return -l_adv.mean()
        return softplus(-l_adv).mean() if self.cfg.g_loss == "ns" else -softplus(l_adv).mean()

    def adv(self, c: Couples, x_fake: Tensor) -> Tensor:
        """What D sees of generated images: with a real image [B, 2C, S, S]; alone; or with f."""
        if self.cfg.pairing == "couples":
            return torch.cat([c.x if self.cfg.adv_real == "anchor" else c.near, x_fake], 1)
        return self.beside(x_fake, c.f)

    def beside(self, x: Tensor, f: Tensor) -> Tensor:
        """x for the baseline's D; x with f as constant maps, [B, C + f_dim, S, S], for the naive one."""
        if self.cfg.pairing == "single":
            return x
        return torch.cat([x, f[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)

    def generate(self, G: nn.Module, f: Tensor) -> Tensor:
        """G([z ; f]) with fresh noise: images [N, C, S, S] in [-1, 1]."""
        return G(torch.cat([self.normal(len(f), self.cfg.z_dim), f], 1))

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images for the features of the requested rows of the bank [n]; by default of rows drawn with replacement."""
        if conditions is None:
            conditions = self.bank.draw(n)
        conditions = conditions.to(self.device)
        return Sample(self.generate(G, self.bank.f[conditions]), conditions)


def _check(cfg: Config, data: Dataset) -> None:
    """Mistakes that can be seen before anything is trained. Raises ConfigError."""
    if cfg.flip:
        why = "features are of the images as they are; a mirrored image is another one"
        raise ConfigError("flip = true", why, "set flip=false")
    if cfg.g_steps_per_d > 1 and cfg.n_dis > 1:
        what = f"g_steps_per_d = {cfg.g_steps_per_d} with n_dis = {cfg.n_dis}"
        why = "one says that G is updated more often, the other that D is"
        raise ConfigError(what, why, "leave one of them at 1")
    if cfg.loss == "hinge" and cfg.g_loss == "minimax":
        raise ConfigError("g_loss = minimax with loss = hinge", "minimax is of cross-entropies", "set loss=bce")
    if cfg.pairing == "couples" and not (cfg.adv_weight or cfg.same_weight or cfg.diff_weight):
        raise ConfigError("adv_weight, same_weight, diff_weight", "all are 0: D has nothing to learn", "raise one")
    if cfg.oracle_pairs and data.train.labels is None:
        raise ConfigError("oracle_pairs = true", f"{data.name} has no classes", "set oracle_pairs=false")
    if cfg.neighbour_pool == "bank" and (cfg.oracle_pairs or cfg.far_mode != "max"):
        why = "the bank keeps one nearest and one farthest image, without labels"
        mend = "set far_mode=max and oracle_pairs=false, or neighbour_pool=batch"
        raise ConfigError("neighbour_pool = bank", why, mend)


RECIPES = build_recipes(Config, latentcond.RECIPES)
