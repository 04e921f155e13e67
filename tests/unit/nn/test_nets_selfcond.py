"""Nets of Self-Conditioned GAN: published parameter counts, shapes, and where the condition enters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.core.errors import ConfigError
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.nn.selfcond import (
    DCGANGenerator,
    DeepDiscriminator,
    Maxout,
    PointDiscriminator,
    PointGenerator,
    ResidualBlock,
    ResidualDiscriminator,
    ResidualGenerator,
    ShallowDiscriminator,
    build_nets,
)


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("net", "published"),
    [
        (lambda: PointGenerator(2, 2, 50), 500_802),
        (lambda: PointDiscriminator(2, 50), 415_050),
        (lambda: DCGANGenerator(32, 3, 128, 100), 5_935_107),  # 5.94 M
        (lambda: ShallowDiscriminator(32, 3, 100), 2_963_364),  # 2.96 M
        (lambda: DeepDiscriminator(32, 3, 100), 3_746_980),  # 3.75 M
    ],
)
def test_parameter_counts(net: Any, published: int) -> None:
    with torch.device("meta"):
        assert n_parameters(net()) == published


def test_the_layers_that_k_means_sees() -> None:
    """D_f: 200, 2048, 8192, 16384 numbers; summed over places 512 or 1024."""
    with torch.device("meta"):
        for D, x, flat, summed in (
            (PointDiscriminator(2, 50), torch.empty(2, 2), 200, 200),
            (ShallowDiscriminator(32, 3, 100), torch.empty(2, 3, 32, 32), 2048, 512),
            (DeepDiscriminator(32, 3, 100), torch.empty(2, 3, 32, 32), 8192, 512),
            (ResidualDiscriminator(128, 3, 100), torch.empty(2, 3, 128, 128), 16_384, 1024),
        ):
            assert D.features(x).shape == (2, flat)
            assert D.features(x, summed=True).shape == (2, summed)


@pytest.mark.parametrize("side", [8, 16, 32, 64])
@pytest.mark.parametrize("n_labels", [0, 3])
@pytest.mark.parametrize("backbone", ["shallow", "deep", "resnet2"])
def test_shapes_and_range(backbone: Any, side: int, n_labels: int) -> None:
    data = Dataset.tiny(find_card("digits"))
    data.resolution = side
    G, D = build_nets(backbone, data, 5, n_labels, pack=2, width_G=2, width_D=2)
    c = torch.tensor([0, 2]) if n_labels else None
    x = G(torch.randn(2, 5), c)
    assert x.shape == (2, 1, side, side)
    assert x.abs().max() <= 1
    assert D(torch.cat([x, x], 1)).shape == (2, max(n_labels, 1))


@pytest.mark.parametrize("side", [4, 24, 48])
def test_other_sides_are_refused(side: int) -> None:
    with pytest.raises(ConfigError, match=f"image side {side}"):
        DCGANGenerator(side, 1, 5, 0)


def test_points_and_images_are_not_confused() -> None:
    with pytest.raises(ConfigError, match="holds images"):
        build_nets("mlp", Dataset.tiny(find_card("digits")), 2)
    with pytest.raises(ConfigError, match="holds points"):
        build_nets("shallow", Dataset.tiny(find_card("ring2d")), 2)
    G, D = build_nets("mlp", Dataset.tiny(find_card("ring2d")), 2, 4, pack=3, width_G=8, width_D=6)
    assert G(torch.randn(5, 2), torch.zeros(5).long()).shape == (5, 2)
    assert D(torch.randn(5, 6)).shape == (5, 4)


def test_D_is_linear_in_its_features_with_a_row_a_condition() -> None:
    """D(x, c) = w_c . D_f(x) + b_c."""
    torch.manual_seed(0)
    D, x = DeepDiscriminator(16, 1, 7, width=2), torch.randn(3, 1, 16, 16)
    for c in range(7):
        expected = D.features(x) @ D.head.weight[c] + D.head.bias[c]
        torch.testing.assert_close(D(x)[:, c], expected)


def test_the_shallow_D_does_not_see_contrast() -> None:
    """Its first normalisation is of real or of generated images alone: half the contrast is the same to it.

    The deep one sees it, which is why the small image recipes have that one.
    """
    torch.manual_seed(0)
    x = torch.randn(8, 1, 16, 16)
    shallow, deep = ShallowDiscriminator(16, 1, 3, width=4), DeepDiscriminator(16, 1, 3, width=4)
    torch.testing.assert_close(shallow(x / 2), shallow(x), atol=1e-3, rtol=1e-2)
    assert not torch.allclose(deep(x / 2), deep(x), atol=1e-3, rtol=1e-2)


def test_the_condition_has_unit_length() -> None:
    """A longer row of the table changes nothing; another row does."""
    torch.manual_seed(0)
    G = PointGenerator(2, 2, 3, width=8).eval()
    z, c = torch.randn(4, 2), torch.tensor([0, 1, 2, 0])
    before = G(z, c)
    with torch.no_grad():
        G.condition.embedding.weight.mul_(5)
    torch.testing.assert_close(G(z, c), before)
    assert not torch.allclose(G(z, c.roll(1)), before)


def test_maxout_is_the_largest_of_its_pieces() -> None:
    torch.manual_seed(0)
    layer, x = Maxout(3, 4, 5), torch.randn(6, 3)
    pieces = [
        F.linear(x, layer.linear.weight[4 * i : 4 * i + 4], layer.linear.bias[4 * i : 4 * i + 4]) for i in range(5)
    ]
    torch.testing.assert_close(layer(x), torch.stack(pieces).max(0).values)


def test_a_residual_block_adds_a_tenth() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(3, 3), torch.randn(2, 3, 4, 4)
    h = block.conv_1(F.leaky_relu(block.conv_0(F.leaky_relu(x, 0.2)), 0.2))
    torch.testing.assert_close(block(x), x + 0.1 * h)
    assert ResidualBlock(4, 6).conv_0.out_channels == 4  # the smaller of the two


def test_the_residual_pair_has_two_blocks_a_side() -> None:
    with torch.device("meta"):
        G, D = ResidualGenerator(128, 3, 256, 100), ResidualDiscriminator(128, 3, 100)
    for net in (G, D):
        assert sum(isinstance(m, ResidualBlock) for m in net.modules()) == 12
    widths = [m.conv_1.out_channels for m in G.modules() if isinstance(m, ResidualBlock)]
    assert widths[::2] == widths[1::2] == [1024, 1024, 512, 256, 128, 64]
    assert [m.conv_1.out_channels for m in D.modules() if isinstance(m, ResidualBlock)][1::2] == [
        128, 256, 512, 1024, 1024, 1024,
    ]  # fmt: skip
