"""R3GAN's networks: published parameter counts, initial values, and their parts against their definitions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.core.errors import ConfigError
from benchmark.nn.r3gan import (
    GAIN,
    Block,
    ClassEmbedding,
    DiscriminativeBasis,
    Down,
    GenerativeBasis,
    R3GANDiscriminator,
    R3GANGenerator,
    Up,
    stage_widths,
)


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def count(widths: list[int], group: int = 16) -> int:
    """What both networks have, layer by layer: two blocks a stage, transitions where widths change, 3 channels."""
    blocks = sum(2 * (2 * w * 2 * w + 9 * group * 2 * w + 2 * 2 * w) for w in widths)  # the last term: the biases
    return blocks + sum(a * b for a, b in itertools.pairwise(widths) if a != b) + 3 * widths[-1] + 16 * widths[0]


@pytest.mark.parametrize(
    ("side", "n_classes", "widths", "G", "D"),
    [
        (256, 0, [768] * 4 + [384, 192, 96], 23_057_952, 23_009_568),  # the paper's table 1: 23.058M and 23.010M
        (32, 10, [768] * 4, 20_781_952, 21_280_512),  # CIFAR-10: the same by the table of layers
    ],
)
def test_parameter_counts(side: int, n_classes: int, widths: list[int], G: int, D: int) -> None:
    with torch.device("meta"):
        found_G = n_parameters(R3GANGenerator(side, n_classes=n_classes))
        found_D = n_parameters(R3GANDiscriminator(side, n_classes=n_classes))
    z = 64
    of_G = (2 * z if n_classes else z) * widths[0] + n_classes * z
    of_D = widths[0] * (widths[0] if n_classes else 1) + n_classes * widths[0]
    assert found_G == count(widths) + of_G == G
    assert found_D == count(widths) + of_D == D


def test_widths_of_the_published_settings() -> None:
    assert stage_widths(256, 768, 24_576) == [768, 768, 768, 768, 384, 192, 96]  # FFHQ-256
    assert stage_widths(64, 768, 24_576) == [768, 768, 768, 768, 384]  # FFHQ-64
    assert stage_widths(32, 768, 24_576) == [768] * 4  # CIFAR-10
    assert stage_widths(64, 1536, 64 * 1536) == [1536] * 5  # ImageNet-64


@pytest.mark.parametrize(("side", "base"), [(24, 512), (4, 512), (64, 32)])
def test_sizes_that_there_are_not(side: int, base: int) -> None:
    with pytest.raises(ConfigError, match="R3GAN networks"):
        R3GANGenerator(side, width=8, base=base, group_width=8)


def test_groups_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="group_width = 16 for a stage of 12 channels"):
        R3GANDiscriminator(16, width=12)


def small_G(side: int = 16, channels: int = 3, n_classes: int = 0) -> R3GANGenerator:
    return R3GANGenerator(side, channels, 6, 16, 4 * side, group_width=8, n_classes=n_classes)


def small_D(side: int = 16, channels: int = 3, n_classes: int = 0) -> R3GANDiscriminator:
    return R3GANDiscriminator(side, channels, 16, 4 * side, group_width=8, n_classes=n_classes)


@pytest.mark.parametrize("side", [8, 16, 32])
@pytest.mark.parametrize("n_classes", [0, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(side: int, n_classes: int, channels: int) -> None:
    y = torch.tensor([0, 4, 2]) if n_classes else None
    x = small_G(side, channels, n_classes)(torch.randn(3, 6), y)
    assert x.shape == (3, channels, side, side)
    assert small_D(side, channels, n_classes)(x, y).shape == (3,)


def test_a_block_begins_as_the_identity_and_learns_to_leave_it() -> None:
    block = Block(16, 2, 8, n_blocks=8)
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(x), x)
    block(x).square().sum().backward()
    last = block.layers[-1].weight
    assert last.grad is not None
    assert bool(last.grad.any())


def test_initial_scales() -> None:
    """Fan-in initialisation with Fix-up's factor L^(-1/4); fan-in of a grouped layer is that of its group."""
    torch.manual_seed(0)
    block = Block(128, 2, 16, n_blocks=16)
    first, _, grouped, _, last = block.layers
    expected = math.sqrt(2 / 1.04) * 16**-0.25
    assert pytest.approx(math.sqrt(2 / 1.04)) == GAIN
    assert first.weight.std().item() == pytest.approx(expected / math.sqrt(128), rel=0.02)
    assert grouped.weight.std().item() == pytest.approx(expected / math.sqrt(16 * 9), rel=0.02)
    assert grouped.groups == 16
    assert not last.weight.any()
    assert all(conv.bias is None for conv in (first, grouped, last))
    assert ClassEmbedding(400, 300).weight.std().item() == pytest.approx(1 / 20, rel=0.02)
    embed = R3GANDiscriminator(8, width=64, base=512, n_classes=100).embed
    assert embed is not None
    assert embed.weight.std().item() == pytest.approx(1 / math.sqrt(100 * 64), rel=0.05)
    assert DiscriminativeBasis(512, 1).basis.std().item() == pytest.approx(1 / 4, rel=0.03)  # of 16 places a channel


def test_the_networks_begin_with_the_variance_of_their_input() -> None:
    """No layer of the path without blocks changes the mean square by itself."""
    torch.manual_seed(0)
    x = R3GANGenerator(16, 3, 64, 64, 1024, group_width=16)(torch.randn(400, 64))
    assert 0.2 < x.square().mean().item() < 2
    d = R3GANDiscriminator(16, 3, 64, 1024, group_width=16)(torch.randn(400, 3, 16, 16))
    assert bool(torch.isfinite(d).all())
    assert 0.01 < d.square().mean().item() < 2


def test_the_bases_by_their_definitions() -> None:
    z, generative = torch.randn(3, 5), GenerativeBasis(5, 7)
    x = generative(z)
    assert torch.allclose(x[2, 4], generative.basis[4] * (generative.linear.weight[4] @ z[2]), atol=1e-6)
    basis = DiscriminativeBasis(7, 2)
    depthwise = F.conv2d(x, basis.basis[:, None], groups=7).flatten(1)
    assert torch.allclose(basis(x), depthwise @ basis.linear.weight.T, atol=1e-5)


def test_resampling_keeps_the_mean_and_is_without_a_layer_at_equal_widths() -> None:
    x = torch.full((1, 4, 8, 8), 3.0)
    assert torch.allclose(Up(4, 4)(x)[:, :, 2:-2, 2:-2], torch.tensor(3.0))
    assert torch.allclose(Down(4, 4)(x)[:, :, 1:-1, 1:-1], torch.tensor(3.0))
    assert n_parameters(Up(4, 4)) == n_parameters(Down(4, 4)) == 0
    assert n_parameters(Up(4, 6)) == n_parameters(Down(4, 6)) == 24


def test_a_class_enters_both_networks() -> None:
    G, D = small_G(n_classes=3), small_D(n_classes=3)
    z, x = torch.randn(2, 6), torch.randn(2, 3, 16, 16)
    y, other = torch.tensor([0, 1]), torch.tensor([2, 1])
    assert torch.equal((G(z, y) != G(z, other)).flatten(1).any(1), y != other)
    assert torch.equal(D(x, y) != D(x, other), y != other)
    assert D.embed is not None
    assert torch.allclose(D(x, y), (D.layers(x) * D.embed.weight[y]).sum(1))  # projection
    with pytest.raises(AssertionError, match="a class is given exactly where"):
        G(z)
