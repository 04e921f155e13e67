"""Generators and discriminators by the backbone's name, for the methods that differ in their losses alone.

Networks are made in the order G, D: with a given seed the order decides their initial weights.
"""

from __future__ import annotations

from typing import Any, Literal

from benchmark.nn.biggan import BigGANDiscriminator, BigGANGenerator
from benchmark.nn.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from benchmark.nn.sngan import SNGANDiscriminator, SNGANGenerator

PlainBackbone = Literal["resnet", "sndcgan"]  # SNGAN's residual networks, its plain ones
BigGANVariant = Literal["imagenet", "cifar10"]
Generator = SNGANGenerator | SNDCGANGenerator
Discriminator = SNGANDiscriminator | SNDCGANDiscriminator


def build_plain(
    name: PlainBackbone,
    side: int,
    channels: int,
    z_dim: int,
    width: int | None = None,
    *,
    channels_D: int | None = None,
) -> tuple[Generator, Discriminator]:
    """SNGAN's unconditional networks: G [N, z_dim] -> [N, C, S, S], D [N, channels_D, S, S] -> logits [N].

    width: channels of the narrowest hidden layer; None: the published ones. channels_D: of what D sees, where that is
    more than an image. Raises ConfigError for a side that the networks do not have.
    """
    channels_D = channels if channels_D is None else channels_D
    if name == "resnet":
        return SNGANGenerator(side, channels, z_dim, width), SNGANDiscriminator(side, channels_D, width)
    base = width or 64
    return SNDCGANGenerator(side, channels, z_dim, base), SNDCGANDiscriminator(side, channels_D, base)


def build_biggan(
    variant: BigGANVariant, side: int, channels: int, z_dim: int, n_classes: int, ch: int | None = None
) -> tuple[BigGANGenerator, BigGANDiscriminator]:
    """BigGAN's networks as BigGAN-PyTorch has them for a dataset; n_classes 0: unconditional.

    imagenet: attention, a part of the latent for each block, one class embedding, orthogonal start. cifar10: none of
    these, a table of classes in each normalisation, start N(0, 0.02^2). ch: unit of the widths; None: 96 or 64.
    """
    rich = variant == "imagenet"
    ch = ch or (96 if rich else 64)
    both: dict[str, Any] = {
        "n_classes": n_classes,
        "attention": rich,
        "init": "orthogonal" if rich else "normal",
        "sn_eps": 1e-6 if rich else 1e-8,
    }
    G = BigGANGenerator(side, channels, z_dim, ch, hierarchical=rich, class_embedding=128 if rich else 0, **both)
    return G, BigGANDiscriminator(side, channels, ch, **both)
