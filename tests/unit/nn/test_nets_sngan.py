"""SNGAN's and SNDCGAN's nets, and the folded convolutions they use."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.core.errors import ConfigError
from benchmark.nn.conditional import ClassNorm
from benchmark.nn.resample import conv_pooled, upsampled_conv
from benchmark.nn.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from benchmark.nn.sngan import SNGANDiscriminator, SNGANGenerator


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("side", "published_G", "published_D"),
    [
        (32, 4_276_739, 1_053_825),
        (48, 4_878_083, 10_141_441),
        (64, 12_220_675, 10_141_441),
        (128, 32_150_787, 29_017_857),
    ],
)
def test_sngan_parameter_counts(side: int, published_G: int, published_D: int) -> None:
    with torch.device("meta"):
        assert n_parameters(SNGANGenerator(side)) == published_G
        assert n_parameters(SNGANDiscriminator(side)) == published_D


def test_cgan_pd_parameter_counts() -> None:
    with torch.device("meta"):
        assert n_parameters(SNGANGenerator(32, n_classes=10)) == 4_304_387
        assert n_parameters(SNGANDiscriminator(32, n_classes=10)) == 1_055_105


@pytest.mark.parametrize(
    ("side", "base", "published_G", "published_D"),
    [
        (32, 64, 3_813_379, 5_860_865),
        (64, 64, 6_983_683, 5_885_441),
        (128, 64, 19_664_899, 5_983_745),
        (32, 16, 437_251, 368_513),
        (32, 32, 1_218_563, 1_468_161),
    ],
)
def test_sndcgan_parameter_counts(side: int, base: int, published_G: int, published_D: int) -> None:
    with torch.device("meta"):
        assert n_parameters(SNDCGANGenerator(side, base=base)) == published_G
        assert n_parameters(SNDCGANDiscriminator(side, base=base)) == published_D


@pytest.mark.parametrize("side", [16, 32, 48, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_sngan_shapes_and_range(side: int, channels: int) -> None:
    G, D = SNGANGenerator(side, channels, z_dim=5, width=2), SNGANDiscriminator(side, channels, width=2)
    x = G(torch.randn(2, 5))
    assert x.shape == (2, channels, side, side)
    assert x.abs().max() <= 1
    assert D(x).shape == (2,)
    assert D.features(x).shape == (2, D.dim)
    assert D(x[:1]).shape == (1,)


@pytest.mark.parametrize("side", [8, 16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_sndcgan_shapes_and_range(side: int, channels: int) -> None:
    G, D = SNDCGANGenerator(side, channels, z_dim=5, base=2), SNDCGANDiscriminator(side, channels, base=2)
    x = G(torch.randn(2, 5))
    assert x.shape == (2, channels, side, side)
    assert x.abs().max() <= 1
    assert D(x).shape == (2,)


def test_sndcgan_features_are_the_layers_of_the_discriminator() -> None:
    D = SNDCGANDiscriminator(32, base=64).eval()
    assert D.feature_shape(5) == (256, 8, 8)  # where LT-GAN taps it on CIFAR-10
    assert SNDCGANDiscriminator(128, base=64).feature_shape(7) == (512, 16, 16)  # and on CelebA-HQ
    D, x = SNDCGANDiscriminator(32, base=4).eval(), torch.randn(2, 3, 32, 32)
    for layer in range(1, 8):
        assert D.features(x, layer).shape == (2, *D.feature_shape(layer))
        if layer > 1:
            last = D.convs[layer - 1](D.features(x, layer - 1))
            assert torch.equal(D.features(x, layer), F.leaky_relu(last, 0.1))
    assert torch.equal(D(x), D.linear(D.features(x, 7).flatten(1)).squeeze(1))
    for layer in (0, 8):
        with pytest.raises(ConfigError, match=f"layer {layer}"):
            D.features(x, layer)


@pytest.mark.parametrize("make", [lambda: SNGANDiscriminator(32, width=8), lambda: SNDCGANDiscriminator(16, base=8)])
def test_spectral_norms_are_one(make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    D = make()
    for _ in range(20):
        D(torch.randn(2, 3, D.side, D.side))
    D.eval()  # in training mode each look at a weight would move it
    layers = [m for m in D.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) >= 8
    for layer in layers:
        assert 0.95 <= torch.linalg.matrix_norm(layer.weight.flatten(1), 2) <= 1.05


def test_evaluation_mode_leaves_the_spectral_norm_alone() -> None:
    D = SNGANDiscriminator(16, width=4).eval()
    x = torch.randn(2, 3, 16, 16)
    before = {name: value.clone() for name, value in D.state_dict().items()}
    assert torch.equal(D(x), D(x))
    assert all(torch.equal(before[name], value) for name, value in D.state_dict().items())


def test_sngan_initialisation() -> None:
    torch.manual_seed(0)
    G = SNGANGenerator(32, width=32)
    block: Any = G.blocks[0]
    # Xavier-uniform: U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out))
    for layer, gain, taps in ((block.conv1, math.sqrt(2), 9), (block.shortcut, 1.0, 1), (G.out, 1.0, 9)):
        fans = taps * (layer.weight.shape[0] + layer.weight.shape[1])
        bound = gain * math.sqrt(6 / fans)
        assert 0.9 * bound < layer.weight.abs().max() <= bound
        assert layer.bias is not None
        assert not layer.bias.any()
    assert SNDCGANGenerator(16).linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not SNDCGANGenerator(16).linear.bias.any()


def test_the_folded_convolutions_equal_the_pairs() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(3, 4, 3, padding=1).double(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    assert torch.allclose(upsampled_conv(x, conv), conv(F.interpolate(x, scale_factor=2, mode="nearest")), atol=1e-12)
    assert torch.allclose(conv_pooled(x, conv), F.avg_pool2d(conv(x), 2), atol=1e-12)


def test_the_residual_blocks_compute_the_published_table() -> None:
    """Doubling before both convolutions of G's block, mean pooling after both of D's, rectifiers out of place."""
    torch.manual_seed(0)
    block: Any = SNGANGenerator(16, width=4).blocks[0].eval()
    x = torch.randn(2, 4, 4, 4)
    up = lambda h: F.interpolate(h, scale_factor=2, mode="nearest")  # noqa: E731
    h = block.conv2(F.relu(block.bn2(block.conv1(up(F.relu(block.bn1(x)))))))
    assert torch.allclose(block(x), h + block.shortcut(up(x)), atol=1e-5)

    D_blocks: Any = SNGANDiscriminator(16, width=4).eval().blocks
    first, second, third = D_blocks
    pixels, x = torch.randn(2, 3, 16, 16), torch.randn(2, 4, 8, 8)
    pool = lambda h: F.avg_pool2d(h, 2)  # noqa: E731
    expected = pool(first.conv2(F.relu(first.conv1(pixels)))) + first.shortcut(pool(pixels))
    assert torch.allclose(first(pixels), expected, atol=1e-5)
    expected = pool(second.conv2(F.relu(second.conv1(F.relu(x))))) + pool(second.shortcut(x))
    assert torch.allclose(second(x), expected, atol=1e-5)
    assert torch.allclose(third(x), third.conv2(F.relu(third.conv1(F.relu(x)))) + x, atol=1e-6)


def test_the_conditional_nets() -> None:
    """A gain and a shift for each class in G's blocks; in D a projection on a normed table of classes."""
    torch.manual_seed(0)
    G = SNGANGenerator(16, 1, z_dim=5, width=4, n_classes=3)
    norms = [m for m in G.modules() if isinstance(m, ClassNorm)]
    assert len(norms) == 4  # two in each block; the last normalisation of the net is plain
    gains = torch.cat([norm.gain.weight.flatten() for norm in norms])
    assert gains.std().item() == pytest.approx(0.02, rel=0.3)
    assert not any(norm.shift.weight.any() for norm in norms)
    z, y = torch.randn(2, 5), torch.tensor([0, 2])
    G.eval()
    assert not torch.allclose(G(z, y), G(z, y.flip(0)))
    assert torch.allclose(G(z, y), G(z, F.one_hot(y, 3).float()), atol=1e-6)

    D, x = SNGANDiscriminator(16, 1, width=4, n_classes=3).eval(), torch.randn(2, 1, 16, 16)
    phi = D.features(x)
    assert D.embed is not None
    assert torch.linalg.matrix_norm(D.embed.weight, 2).item() == pytest.approx(1.0, abs=0.05)
    expected = D.linear(phi).squeeze(1) + (D.embed.weight[y] * phi).sum(1)
    assert torch.allclose(D(x, y), expected, atol=1e-5)
    with pytest.raises(AssertionError, match="told a class"):
        D(x)


def test_classes_leave_the_unconditional_nets_as_they_were() -> None:
    """Same names in the state, and the draws of a net without classes do not depend on the option."""
    G = SNGANGenerator(16, width=4)
    names = [name for name, _ in G.named_buffers() if name.startswith("blocks.0.bn1")]
    assert names == ["blocks.0.bn1.running_mean", "blocks.0.bn1.running_var", "blocks.0.bn1.num_batches_tracked"]
    assert SNGANDiscriminator(16, width=4).embed is None
    z = torch.randn(2, 128)
    assert torch.equal(G.eval()(z), G(z, torch.tensor([0, 1])))


def test_sides_without_a_plan_are_refused() -> None:
    with pytest.raises(ConfigError, match="16, 32, 48, 64, 128"):
        SNGANGenerator(40)
    with pytest.raises(ConfigError, match=r"(?s)multiple of 8.*side 32"):
        SNDCGANDiscriminator(30)


@pytest.mark.parametrize("net", [SNGANGenerator, SNGANDiscriminator, SNDCGANGenerator, SNDCGANDiscriminator])
def test_initialisation_comes_from_the_global_generator_alone(net) -> None:  # type: ignore[no-untyped-def]
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(net(16).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
