"""LT-GAN (Patel, Kumari, Singh, Krishnamurthy; WACV 2021, arXiv 2010.09893).

A GAN whose generator must make latent moves recognisable: an auxiliary network A sees how D's features change from
G(z) to G(z + eps) for two latents z, and says whether the same eps moved both. G and A learn together to make that
answerable; D only plays the GAN. Symbols are the paper's: E an inner layer of D, delta the change of features.

  T_eps(G(z)) = G(z + eps),  delta(z, eps) = E(G(z + eps)) - E(G(z))
  L_A = BCE(A([delta(z_1, eps_1), delta(z_2, eps_2)]), eps_1 = eps_2),   min_{G, A} L_G + lambda L_A,   min_D L_D

The copies of the paper that could be read have lost most of its inline numbers: sigma_eps, lambda, the warm-up, the
pooling, A's width. What stands for them here is marked [ours].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, mse_loss, relu

from benchmark.core.config import STRICT, NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from benchmark.core.errors import ConfigError
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Batch, Stream
from benchmark.metrics.auxiliary import auxiliary_curve
from benchmark.nn.augment import random_flip, random_shift
from benchmark.nn.biggan import BigGANDiscriminator, BigGANGenerator
from benchmark.nn.losses import adversarial, r1
from benchmark.nn.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from benchmark.nn.sngan import SNGANDiscriminator, SNGANGenerator
from benchmark.nn.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from benchmark.training.method import Embedding, GANConfig, Grid, Measurement, Method, Sample, half_life


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    """[P] paper; [C] the code bases whose settings the paper keeps: compare_gan, BigGAN-PyTorch; [ours] chosen here."""

    backbone: Literal["sndcgan", "resnet", "biggan", "stylegan2"] = "sndcgan"  # [P] sec. 4.1; resnet is SNGAN's
    loss: Literal["hinge", "non_saturating"] = "hinge"  # [P] eq. 2; StyleGAN's is eq. 1
    z_dim: PositiveInt = 128  # of the latent [C]
    width: PositiveInt | None = None  # of the nets (their `base`, `width`, `ch`); None: the published one
    conditional: bool = False  # class-conditional BigGAN; both images of a pair have one class [P]
    biggan: Literal["imagenet", "cifar10"] = "cifar10"  # which of BigGAN-PyTorch's nets; see `BigGAN` [C]
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


# ---- the nets the task is put on: what a generator reads, and where a discriminator is tapped ------------------------


@plain_dataclass(frozen=True)
class Code:
    """All that decides N images. A pair G(z), G(z + eps) differs in z alone: the rest is shared.

    z: latents [N, K, z_dim]; K = 2 where two styles are mixed, else 1. y: classes [N]. crossover: StyleGAN2's first
    layer of the second style []. noise: StyleGAN2's maps, one tensor [N, 1, s, s] a layer.
    """

    z: Tensor
    y: Tensor | None = None
    crossover: Tensor | None = None
    noise: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.z)

    def moved(self, eps: Tensor) -> Code:
        """The same with z + eps; eps [N, K, z_dim]."""
        return replace(self, z=self.z + eps)

    def then(self, other: Code) -> Code:
        """This code and its moved twin as one of 2N images: batch norm in G must see them together."""
        y = None if self.y is None or other.y is None else torch.cat([self.y, other.y])
        noise = [torch.cat(maps) for maps in zip(self.noise, other.noise)] if self.noise and other.noise else None
        return Code(torch.cat([self.z, other.z]), y, self.crossover, noise)


class SNDCGAN:
    """Plain convolutional nets; E is the layer-th convolution with its activation."""

    n_styles = 1

    def __init__(self, cfg: Config, data: Dataset) -> None:
        self.cfg, self.side, self.channels = cfg, data.resolution, data.channels
        self.n_classes = data.n_classes if cfg.conditional else 0

    def nets(self) -> tuple[nn.Module, nn.Module]:
        """G and D."""
        side, channels, cfg = self.side, self.channels, self.cfg
        return (
            SNDCGANGenerator(side, channels, cfg.z_dim, cfg.width or 64),
            SNDCGANDiscriminator(side, channels, cfg.width or 64),
        )

    def code(self, z: Tensor, G: nn.Module, mix: bool) -> Code:
        """z [N, K, z_dim] with everything else drawn. mix: as in training, with mixed styles where there are any."""
        return Code(z)

    def generate(self, G: nn.Module, code: Code) -> Tensor:
        """Images [N, C, S, S]."""
        return G(code.z[:, 0])

    def score(self, D: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
        """D's logits [N]."""
        return D(x)

    def tap(self, D: Any, x: Tensor) -> Tensor:
        """E(x): D's features [N, d, h, w]."""
        return D.features(x, self.cfg.layer)


class ResNet(SNDCGAN):
    """SNGAN's residual nets; E is the layer-th block, rectified."""

    def nets(self) -> tuple[nn.Module, nn.Module]:
        """G and D. Raises ConfigError when D has fewer blocks than `layer`."""
        side, channels, cfg = self.side, self.channels, self.cfg
        D = SNGANDiscriminator(side, channels, cfg.width)
        if cfg.layer > len(D.blocks):
            raise ConfigError(f"layer = {cfg.layer}", f"D has {len(D.blocks)} blocks", f"set layer={len(D.blocks)}")
        return SNGANGenerator(side, channels, cfg.z_dim, cfg.width), D

    def tap(self, D: Any, x: Tensor) -> Tensor:
        """The block's sum is linear; what the next layer reads is its rectified copy."""
        return relu(D.blocks[: self.cfg.layer](x))


class BigGAN(SNDCGAN):
    """BigGAN's nets, class-conditional or not; E is the last map before the sum over places.

    imagenet: attention, latents in chunks for each layer, one class embedding, orthogonal start. cifar10: none of
    these, a table of classes in each normalisation, start N(0, 0.02^2) [C].
    """

    def nets(self) -> tuple[nn.Module, nn.Module]:
        """G and D."""
        cfg, rich = self.cfg, self.cfg.biggan == "imagenet"
        ch = cfg.width or (96 if rich else 64)
        shared: dict[str, Any] = {
            "n_classes": self.n_classes,
            "attention": rich,
            "init": "orthogonal" if rich else "normal",
            "sn_eps": 1e-6 if rich else 1e-8,
        }
        embedding: dict[str, Any] = {"hierarchical": rich, "class_embedding": 128 if rich else 0}
        return (
            BigGANGenerator(self.side, self.channels, cfg.z_dim, ch, **embedding, **shared),
            BigGANDiscriminator(self.side, self.channels, ch, **shared),
        )

    def code(self, z: Tensor, G: nn.Module, mix: bool) -> Code:
        """Uniform classes."""
        return Code(z, torch.randint(self.n_classes, (len(z),), device=z.device) if self.n_classes else None)

    def generate(self, G: nn.Module, code: Code) -> Tensor:
        """Every chunk of a hierarchical z is moved; y stays."""
        return G(code.z[:, 0], code.y)

    def score(self, D: nn.Module, x: Tensor, y: Tensor | None) -> Tensor:
        """Projection on the class."""
        return D(x, y)

    def tap(self, D: Any, x: Tensor) -> Tensor:
        """[P] supplement 9.2: "just before sum pooling"; 9.5's seventh layer is the same place."""
        return D.maps(x)


class StyleGAN2(SNDCGAN):
    """StyleGAN2's nets, the modern stand-in for the paper's StyleGAN without its progressive growing."""

    @property
    def n_styles(self) -> int:  # type: ignore[override]
        """Two latents an image where styles are mixed: each has its own eps [P] supplement 9.4."""
        return 2 if self.cfg.mixing else 1

    def nets(self) -> tuple[nn.Module, nn.Module]:
        """G and D. width: of the maps at side 32 and below, halved at each doubling above.

        Raises ConfigError when D has no map of side `layer`.
        """
        cfg = self.cfg
        widths = (32 * cfg.width, cfg.width) if cfg.width else (16384, 512)
        G = StyleGAN2Generator(self.side, self.channels, cfg.z_dim, cfg.z_dim, cfg.mapping_layers, *widths)
        D = StyleGAN2Discriminator(self.side, self.channels, *widths)
        D.feature_shape(cfg.layer)
        return G, D

    def code(self, z: Tensor, G: Any, mix: bool) -> Code:
        """The noise maps and, where styles are mixed, the layer at which the second one takes over."""
        return Code(z, None, G.draw_crossover(self.cfg.mixing if mix else 0.0), G.draw_noise(len(z)))

    def generate(self, G: Any, code: Code) -> Tensor:
        """G(z_1 + eps_1, z_2 + eps_2) with the noise maps of the pair."""
        return G.synthesis(G.mix(G.map(code.z[:, 0]), G.map(code.z[:, -1]), code.crossover), code.noise)


BACKBONES = {"sndcgan": SNDCGAN, "resnet": ResNet, "biggan": BigGAN, "stylegan2": StyleGAN2}


# ---- the auxiliary task ----------------------------------------------------------------------------------------------


def derangement(n: int, device: torch.device) -> Tensor:
    """A random permutation of n >= 2 without fixed points: a random cycle through all of them, [n] int64.

    An image paired with itself would be a pair with the same eps that needs no look at the image [ours].
    """
    order = torch.randperm(n, device=device)
    p = torch.empty_like(order)
    p[order] = order.roll(1)
    return p


def auxiliary(kind: str, shape: torch.Size, hidden: int | None) -> nn.Module:
    """A: two changes of features side by side, [N, 2d, h, w], to the logit of "the same eps", [N, 1].

    shape: (d, h, w) of one change. [P] supplement 7: one linear layer, two with ReLU between, or convolution, batch
    norm, linear; the convolution's size and its ReLU are ours.
    """
    d, h, w = shape
    size = d * h * w
    if kind == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(2 * size, 1))
    if kind == "mlp":
        width = hidden or min(size, 1024)
        return nn.Sequential(nn.Flatten(), nn.Linear(2 * size, width), nn.ReLU(), nn.Linear(width, 1))
    width = hidden or d
    convolution = [nn.Conv2d(2 * d, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*convolution, nn.Flatten(), nn.Linear(width * h * w, 1))


class LTGAN(Method):
    """LT-GAN: a generator whose latent moves an auxiliary network can tell apart; four backbones, CR as an option."""

    cfg: Config
    D: nn.Module

    def __init__(self, cfg: Config, data: Dataset) -> None:
        _check(cfg, data)
        self.net = BACKBONES[cfg.backbone](cfg, data)
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
            if task_on:  # moved images are fakes like others: half of them [P says that D sees them; the share is ours]
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
        """Every change beside another one: A's logits [N] and the truth [N] float, 1 where one eps made both.

        which: the number of the eps of each image [N]; numbers are compared, never the values of eps.
        """
        p = derangement(len(delta), delta.device)
        same = (which == which[p]).float()
        return self.A(torch.cat([delta, delta[p]], 1)).squeeze(1), same

    def code(self, n: int, mix: bool = True) -> Code:
        """n codes with z ~ N(0, sigma_z^2)."""
        z = self.cfg.sigma_z * self.normal(n, self.net.n_styles, self.z_dim)
        return self.net.code(z, self.G, mix)

    def moves(self, n: int, sigma: float) -> tuple[Tensor, Tensor]:
        """n_eps moves eps ~ N(0, sigma^2) [n_eps, K, z_dim], and which of them each image has [n]: 0, 1, 0, 1, ..."""
        eps = sigma * self.normal(self.cfg.n_eps, self.net.n_styles, self.z_dim)
        return eps, torch.arange(n, device=self.device) % self.cfg.n_eps

    def half_moved(self, code: Code) -> Code:
        """The second half of the codes moved: D's batch stays as large as it was."""
        eps, which = self.moves(len(code), self.cfg.sigma_eps)
        in_second_half = torch.arange(len(code), device=self.device) >= len(code) // 2
        return code.moved(eps[which] * in_second_half[:, None, None])

    @torch.no_grad()
    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Images of plain latents, one style each; of the asked classes, or of uniform ones, where G has classes."""
        code = self.code(n, mix=False)
        if conditions is not None and self.cfg.conditional:
            code = replace(code, y=conditions.to(self.device))
        return Sample(self.net.generate(G, code).clamp(-1, 1), code.y)

    def measurements(self, G: nn.Module, data: Dataset) -> Iterator[Measurement]:
        """A's accuracy at the size of moves it was trained with, and its curve over other sizes [P] sec. 5."""
        if self.cfg.lambda_lt:
            yield self.auxiliary_accuracy(G)

    def auxiliary_accuracy(self, G: nn.Module) -> Measurement:
        """A's accuracy on images of generator G for moves of 0.1 to 8 times sigma_eps; G, D and A in eval mode."""
        cfg, trained = self.cfg, (G.training, self.D.training, self.A.training)
        for net in (G, self.D, self.A):
            net.eval()

        def judge(sigma: float, n: int) -> tuple[Tensor, Tensor]:
            code = self.code(n)
            eps, which = self.moves(n, sigma)
            x, x_moved = self.net.generate(G, code.then(code.moved(eps[which]))).chunk(2)
            return self.compare(self.delta(x, x_moved), which)

        how = {"n_images": cfg.aux_images, "chunk": CHUNK, "seed": 0}
        curve = auxiliary_curve(judge, [m * cfg.sigma_eps for m in SIGMAS], **how)
        for net, was in zip((G, self.D, self.A), trained):
            net.train(was)
        at_training = curve[SIGMAS.index(1.0)]
        return Measurement(
            id="aux_accuracy",
            name="A's accuracy",
            value=at_training.accuracy,
            better="higher",
            protocol={**how, "n_eps": cfg.n_eps, "sigma": "as in training"},
            details={
                "sigma_eps": cfg.sigma_eps,
                "sigma_z": cfg.sigma_z,
                "standard_error": at_training.plain()["standard_error"],
                "curve": [point.plain() for point in curve],
            },
        )

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[tuple[str, Grid | Embedding]]:
        """Every row another z, every column the same eps: what the task wants to look alike down a column."""
        n, n_moves = 8, 5
        code = self.code(n, mix=False)
        eps = self.cfg.sigma_eps * self.normal(n_moves, self.net.n_styles, self.z_dim)
        columns = [self.net.generate(G, code), *(self.net.generate(G, code.moved(e)) for e in eps)]
        names = ["G(z)", *(f"z + eps {k + 1}" for k in range(n_moves))]
        yield "moves", Grid(torch.stack(columns, 1).clamp(-1, 1), [f"z {k + 1}" for k in range(n)], names)

    @torch.no_grad()
    def _feature_shape(self, data: Dataset) -> torch.Size:
        """(d, h, w) of E's output."""
        self.D.eval()  # spectral norm's vectors stay as they are
        shape = self.E(torch.zeros(2, data.channels, data.resolution, data.resolution)).shape[1:]
        self.D.train()
        return shape


SIGMAS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)  # test sizes of moves, in sigma_eps [ours]
CHUNK = 16  # images that share their moves at evaluation: the scatter comes from the moves, so many small ones [ours]


def _check(cfg: Config, data: Dataset) -> None:
    """Settings that cannot be meant."""
    if cfg.sigma_eps >= cfg.sigma_z:
        raise ConfigError(
            f"sigma_eps = {cfg.sigma_eps}",
            f"a move must be smaller than the latent it moves, whose sigma_z is {cfg.sigma_z}",
            f"set sigma_eps below {cfg.sigma_z}",
        )
    if cfg.conditional and cfg.backbone != "biggan":
        raise ConfigError(
            "conditional = true", f"the {cfg.backbone} nets take no class", "set backbone=biggan or conditional=false"
        )
    if cfg.conditional and data.conditioning != "class":
        raise ConfigError("conditional = true", f"{data.name} has no classes", "set conditional=false")


_SNDCGAN = Config(  # [C] compare_gan's SNDCGAN; steps [P] sec. 4.1
    steps=200_000,
    batch=64,
    lr_G=2e-4,
    lr_D=2e-4,
    betas=(0.5, 0.999),
    pool=4,
    ema_half_life_images=0,
    log_every=500,
    checkpoint_every=5000,
)
_SNDCGAN_FACES = replace(_SNDCGAN, steps=100_000, layer=7, pool=8)  # CelebA-HQ 128 px [P]; the pool [ours]
_STL = replace(_SNDCGAN, backbone="resnet", layer=5, pool=3, betas=(0.0, 0.9), n_dis=5)  # nets [P]; Adam: SNGAN's
_BIGGAN = replace(  # [C] BigGAN-PyTorch's CIFAR-10 script
    _SNDCGAN,
    backbone="biggan",
    conditional=True,
    batch=50,
    n_dis=4,
    betas=(0.0, 0.999),
    pool=1,
    hidden=256,  # [ours] min(d, 1024) with d = 16,384 would make A eight times as large as D
    ema_half_life_images=half_life(0.9999, 50),
    ema_start_steps=1000,
)
_IMAGENET = replace(  # [C] BigGAN-PyTorch's bs256x8; the paper starts the task from its checkpoint
    _BIGGAN,
    biggan="imagenet",
    steps=250_000,  # [P]
    batch=2048,
    n_dis=1,
    z_dim=120,
    lr_G=1e-4,
    lr_D=4e-4,
    adam_eps=1e-6,
    flip=True,  # [ours]
    lambda_lt=0.5,  # [P] another one than on CIFAR-10; the value is ours
    warmup=0.4,  # 100,000 steps: the checkpoint that the code's authors advise for fine-tuning [ours: number lost]
    pool=2,
    hidden=None,
    ema_half_life_images=half_life(0.9999, 2048),
    ema_start_steps=20_000,
)
_STYLEGAN2 = Config(  # [C] rosinality's StyleGAN at 128 px; StyleGAN2's nets in place of progressive growing [ours]
    backbone="stylegan2",
    loss="non_saturating",
    steps=525_000,  # [P]
    batch=32,
    z_dim=512,
    lr_G=1.5e-3,
    lr_D=1.5e-3,
    betas=(0.0, 0.99),
    r1_gamma=10.0,
    flip=True,  # [ours]
    lambda_lt=0.5,  # [P] another one than SNDCGAN's; the value is ours
    warmup=0.17,  # [ours] 89,000 steps: when 128 px would have faded in
    layer=16,
    pool=8,
    ema_half_life_images=half_life(0.999, 32),
    log_every=500,
    checkpoint_every=5000,
)
_SMALL = Config(  # sized for two cores [ours]
    width=16,
    z_dim=64,
    steps=500,  # at 32 px; a quarter of the pixels leaves time for more
    batch=32,
    lr_G=2e-4,
    lr_D=2e-4,
    betas=(0.5, 0.999),
    flip=True,
    hidden=256,
    warmup=0.02,
    aux_images=2000,
    ema_half_life_images=5000,
)
# The plain nets lose modes on a thousand digits at 16 px (FD-judge 100 after 1,500 steps), the residual ones do not (25
# after 1,000): as for SNGAN itself [ours: measured]
_SMALL_RESNET = replace(_SMALL, backbone="resnet", width=32, betas=(0.0, 0.9), layer=3, batch=16, steps=1400)

RECIPES = {
    "paper": {
        "cifar10": _SNDCGAN,
        "cifar10_jpeg": _SNDCGAN,
        "stl10": _STL,
        "celeba_hq": _SNDCGAN_FACES,
        "celeba": _SNDCGAN_FACES,  # [ours] where CelebA-HQ is not at hand
        "imagenet128": _IMAGENET,
    },
    "paper_cr": {  # CR + LT
        "cifar10": replace(_SNDCGAN, lambda_cr=10.0),
        "cifar10_jpeg": replace(_SNDCGAN, lambda_cr=10.0),
        "celeba_hq": replace(_SNDCGAN_FACES, lambda_cr=10.0, warmup=0.1),  # [P] another warm-up than LT's; [ours]
    },
    "paper_biggan": {"cifar10": _BIGGAN, "cifar10_jpeg": _BIGGAN},
    "paper_biggan_cr": {
        "cifar10": replace(_BIGGAN, lambda_cr=10.0),
        "cifar10_jpeg": replace(_BIGGAN, lambda_cr=10.0),
    },
    "paper_stylegan2": {"celeba_hq": _STYLEGAN2},
    "small": {
        "default": _SMALL,
        "digits": _SMALL_RESNET,
        "shapes": _SMALL_RESNET,
        "shapes_class": _SMALL_RESNET,
    },
}
