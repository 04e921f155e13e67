"""The CIFAR residual networks: published sizes, shortcuts without parameters, a hand-made block."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.nn.resnet_cifar import CifarResNet, _Block


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def from_the_layer_table(n: int, channels: int = 3, n_classes: int = 10) -> int:
    """1 + 2n convolutions to 16 channels, 2n to 32, 2n to 64, 2 BatchNorm values a channel; a linear layer."""
    convolutions = [(channels, 16)] + 2 * n * [(16, 16)]
    convolutions += [(16, 32)] + (2 * n - 1) * [(32, 32)] + [(32, 64)] + (2 * n - 1) * [(64, 64)]
    return sum(9 * a * b + 2 * b for a, b in convolutions) + 64 * n_classes + n_classes


@pytest.mark.parametrize(
    ("depth", "count", "published"), [(20, 269_722, 0.27), (56, 853_018, 0.85), (32, 464_154, 0.46)]
)
def test_parameter_counts_are_the_published_ones(depth, count, published):
    found = n_parameters(CifarResNet(depth, 3, 10))
    assert found == count == from_the_layer_table((depth - 2) // 6)
    assert round(found / 1e6, 2) == published  # millions, He et al. 2016, table 6


def test_shortcuts_with_parameters_would_be_noticed():
    """Option B (1 x 1 convolutions with BatchNorm where the width changes) is 2,752 parameters more."""
    net = CifarResNet(20, 3, 10)
    option_b = n_parameters(net) + sum(a * b + 2 * b for a, b in ((16, 32), (32, 64)))
    assert option_b - from_the_layer_table(3) == 2752


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_the_depth_is_the_number_of_weighted_layers(depth):
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in CifarResNet(depth, 3, 10).modules()) == depth


@pytest.mark.parametrize("depth", [18, 2, 21])
def test_other_depths_do_not_exist(depth):
    with pytest.raises(AssertionError, match="6n"):
        CifarResNet(depth, 3, 10)


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(1, 8, 8), (3, 32, 32), (3, 9, 15), (1, 28, 28), (3, 64, 64)]
)
def test_any_side_from_8_and_either_colour(channels, height, width):
    net = CifarResNet(8, channels, 7).eval()
    x = torch.randn(3, channels, height, width)
    with torch.no_grad():
        assert net.features(x).shape == (3, net.dim)
        torch.testing.assert_close(net(x), net.head(net.features(x)))
    assert net(x).shape == (3, 7)


def test_the_side_is_halved_twice():
    places = []
    net = CifarResNet(20, 3, 10)
    for block in net.blocks:
        block.register_forward_hook(lambda _m, _i, out: places.append(tuple(out.shape[1:])))
    net(torch.randn(2, 3, 32, 32))
    assert places == 3 * [(16, 32, 32)] + 3 * [(32, 16, 16)] + 3 * [(64, 8, 8)]


def test_smaller_images_are_refused():
    with pytest.raises(AssertionError, match="8 are needed"):
        CifarResNet(8, 3, 10)(torch.randn(2, 3, 7, 32))


def test_a_block_that_adds_nothing_is_its_shortcut():
    """With the last BatchNorm at zero only the shortcut is left: every second pixel, then zero channels."""
    block = _Block(4, 6, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 4, 7, 8)
    out = block(x)
    assert out.shape == (2, 6, 4, 4)
    assert torch.equal(out[:, :4], x[:, :, ::2, ::2])
    assert not out[:, 4:].any()


def test_a_block_against_its_equation():
    torch.manual_seed(0)
    block = _Block(4, 4, stride=1).eval()
    x = torch.randn(2, 4, 8, 8)
    scale = (1 + block.bn1.eps) ** -0.5  # BatchNorm before any training: mean 0, variance 1
    h = F.relu(F.conv2d(x, block.conv1.weight, padding=1) * scale)
    expected = F.relu(F.conv2d(h, block.conv2.weight, padding=1) * scale + x)
    torch.testing.assert_close(block(x), expected)
    without_shortcut = F.relu(F.conv2d(h, block.conv2.weight, padding=1) * scale)
    assert (without_shortcut - expected).abs().max() > 0.1


def test_initial_weights_keep_the_variance():
    """He et al. 2015: variance 2 / (9 c_in)."""
    torch.manual_seed(0)
    conv = CifarResNet(8, 3, 10).blocks[-1].conv1  # 64 <- 32: fan-in and fan-out differ
    assert float(conv.weight.detach().var()) == pytest.approx(2 / (9 * 32), rel=0.05)
