"""What LT-GAN's task needs of a backbone: what a generator reads, where a discriminator is tapped, the network A.

Source: Patel et al., "LT-GAN" (WACV 2021) [P]: section 4.1, supplements 7 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from benchmark.core import distributed
from benchmark.core.errors import ConfigError
from benchmark.data.prepared import Dataset
from benchmark.nn.backbones import BigGANVariant, build_biggan, build_plain
from benchmark.nn.sngan import SNGANDiscriminator, SNGANGenerator
from benchmark.nn.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator


@dataclass(frozen=True)
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


@dataclass
class SNDCGAN:
    """Plain convolutional networks; E is the layer-th convolution with its activation."""

    side: int  # pixels of an image
    channels: int  # of an image
    z_dim: int  # of a latent
    n_classes: int = 0  # of BigGAN; 0: unconditional
    width: int | None = None  # of the networks (their `base`, `width`, `ch`); None: the published one
    layer: int = 5  # where D is tapped: see the classes
    biggan: BigGANVariant = "cifar10"  # which of BigGAN's networks
    mixing: float = 0.9  # share of StyleGAN2's batches made of two latents an image
    mapping_layers: int = 8  # of StyleGAN2's mapping network

    @classmethod
    def of(cls, cfg: Any, data: Dataset) -> Self:
        """For a dataset's shape. cfg: LT-GAN's configuration, whose settings have the names of the fields."""
        return cls(
            data.resolution,
            data.channels,
            cfg.z_dim,
            data.n_classes if cfg.conditional else 0,
            cfg.width,
            cfg.layer,
            cfg.biggan,
            cfg.mixing,
            cfg.mapping_layers,
        )

    @property
    def n_styles(self) -> int:
        """Latents an image is made of."""
        return 1

    def nets(self) -> tuple[nn.Module, nn.Module]:
        """G and D."""
        return build_plain("sndcgan", self.side, self.channels, self.z_dim, self.width)

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
        return D.features(x, self.layer)


class ResNet(SNDCGAN):
    """SNGAN's residual networks; E is the layer-th block, rectified."""

    def nets(self) -> tuple[nn.Module, nn.Module]:
        """G and D, of which D is made first. Raises ConfigError when D has fewer blocks than `layer`."""
        D = SNGANDiscriminator(self.side, self.channels, self.width)
        if self.layer > len(D.blocks):
            raise ConfigError(f"layer = {self.layer}", f"D has {len(D.blocks)} blocks", f"set layer={len(D.blocks)}")
        return SNGANGenerator(self.side, self.channels, self.z_dim, self.width), D

    def tap(self, D: Any, x: Tensor) -> Tensor:
        """The block's sum is linear; what the next layer reads is its rectified copy."""
        return relu(D.blocks[: self.layer](x))


class BigGAN(SNDCGAN):
    """BigGAN's networks, class-conditional or not; E is the last map before the sum over positions."""

    def nets(self) -> tuple[nn.Module, nn.Module]:
        """G and D."""
        return build_biggan(self.biggan, self.side, self.channels, self.z_dim, self.n_classes, self.width)

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
    """StyleGAN2's networks, which replace the paper's StyleGAN, without its progressive growing.

    E is D's map of side `layer`.
    """

    @property
    def n_styles(self) -> int:
        """Two latents an image in training where styles are mixed: each has its own eps [P] supplement 9.4."""
        return 2 if self.mixing else 1

    def nets(self) -> tuple[nn.Module, nn.Module]:
        """G and D. width: of the maps at side 32 and below, halved at each doubling above.

        Raises ConfigError when D has no map of side `layer`.
        """
        widths = (32 * self.width, self.width) if self.width else (16384, 512)
        G = StyleGAN2Generator(self.side, self.channels, self.z_dim, self.z_dim, self.mapping_layers, *widths)
        D = StyleGAN2Discriminator(self.side, self.channels, *widths)
        D.feature_shape(self.layer)
        return G, D

    def code(self, z: Tensor, G: Any, mix: bool) -> Code:
        """The noise maps and, where styles are mixed, the layer at which the second one takes over."""
        return Code(z, None, G.draw_crossover(self.mixing if mix else 0.0), G.draw_noise(len(z)))

    def generate(self, G: Any, code: Code) -> Tensor:
        """G(z_1 + eps_1, z_2 + eps_2) with the noise maps of the pair."""
        return G.synthesis(G.mix(G.map(code.z[:, 0]), G.map(code.z[:, -1]), code.crossover), code.noise)


TAPPED: dict[str, type[SNDCGAN]] = {"sndcgan": SNDCGAN, "resnet": ResNet, "biggan": BigGAN, "stylegan2": StyleGAN2}


def auxiliary(kind: str, shape: torch.Size, hidden: int | None) -> nn.Module:
    """A: two changes of features side by side, [N, 2d, h, w], to the logit of "the same eps", [N, 1].

    shape: (d, h, w) of one change. [P] supplement 7: one linear layer, two with ReLU between, or convolution, batch
    norm, linear; the convolution's size and its ReLU are ours. hidden: width of the hidden layer; None: min(size, 1024)
    of "mlp", d of "conv".
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


def another_one(*of_images: Tensor) -> tuple[Tensor, ...]:
    """For each image another one's rows of the same tensors [N, ...], by a random `derangement` of the whole batch.

    On several ranks the other image may be another rank's: how often two images of a pair share a move depends on how
    many there are to choose from. Gradients run through both.
    """
    n = len(of_images[0])
    p = distributed.broadcast(derangement(n * distributed.world(), of_images[0].device))[distributed.own_rows(n)]
    return tuple(distributed.gather(rows)[p] for rows in of_images)


def derangement(n: int, device: torch.device) -> Tensor:
    """A random permutation of n >= 2 without fixed points: a random cycle through all of them, [n] int64.

    An image paired with itself would be a pair with the same eps that needs no look at the image [ours].
    """
    order = torch.randperm(n, device=device)
    p = torch.empty_like(order)
    p[order] = order.roll(1)
    return p
