"""FastGAN's generator: the authors' sizes, what skip-layer excitation scales, gates and noise."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.core.errors import ConfigError
from benchmark.nn.fastgan import FastGANGenerator, Noise, SkipExcitation, UpBlock, excitations


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("side", "lite", "published"), [(256, False, 105_684_175), (512, True, 79_522_531)])
def test_parameter_counts_are_the_authors(side: int, lite: bool, published: int) -> None:
    """Counted in autonomousvision/projected-gan."""
    with torch.device("meta"):
        assert n_parameters(FastGANGenerator(side, lite=lite)) == published


@pytest.mark.parametrize(("side", "channels"), [(16, 1), (32, 3), (64, 3)])
def test_images_of_every_side(side: int, channels: int) -> None:
    G = FastGANGenerator(side, channels, z_dim=8, width=4)
    assert G(torch.randn(2, 8)).shape == (2, channels, side, side)


def test_a_map_is_scaled_by_the_one_sixteen_times_smaller() -> None:
    assert excitations(512) == {64: 4, 128: 8, 256: 16, 512: 32}
    assert excitations(64) == {64: 4}
    assert excitations(32) == {32: 4}, "below 64 px the authors have no network: the last map, by the first"


def test_only_the_direction_of_a_latent_counts() -> None:
    G = FastGANGenerator(16, 1, z_dim=8, width=4).eval()
    z = torch.randn(3, 8)
    assert torch.allclose(G(z), G(5 * z), atol=1e-5)


def test_noise_has_no_effect_before_it_is_learned_and_is_equal_in_all_channels() -> None:
    noise, x = Noise(), torch.randn(2, 3, 8, 8)
    assert torch.equal(noise(x), x)
    nn.init.constant_(noise.weight, 0.5)
    added = (noise(x) - x).detach()
    assert torch.allclose(added[:, :1].expand(-1, 3, -1, -1), added, atol=1e-6)
    assert float(added.std()) == pytest.approx(0.5, rel=0.2)


def test_a_block_doubles_the_side_and_lite_has_one_convolution_and_no_noise() -> None:
    def count(block: nn.Module, kind: type[nn.Module]) -> int:
        return sum(isinstance(module, kind) for module in block.modules())

    whole, lite = UpBlock(4, 6), UpBlock(4, 6, lite=True)
    assert [count(whole, kind) for kind in (nn.Conv2d, nn.BatchNorm2d, Noise)] == [2, 2, 2]
    assert [count(lite, kind) for kind in (nn.Conv2d, nn.BatchNorm2d, Noise)] == [1, 1, 0]
    for block in (whole, lite):
        assert block(torch.randn(2, 4, 4, 4)).shape == (2, 6, 8, 8)


def test_excitation_scales_each_channel_by_a_factor_between_0_and_1() -> None:
    excitation = SkipExcitation(3, 5)
    small, large = torch.randn(2, 3, 8, 8), torch.rand(2, 5, 16, 16) + 1
    factors = (excitation(small, large) / large).detach()
    assert torch.allclose(factors, factors.mean((2, 3), keepdim=True).expand_as(factors), atol=1e-6)
    assert float(factors.min()) > 0
    assert float(factors.max()) < 1
    assert not torch.equal(excitation(-small, large), excitation(small, large)), "the small map decides them"


@pytest.mark.parametrize("side", [8, 48, 1024])
def test_other_sides_are_refused(side: int) -> None:
    with pytest.raises(ConfigError, match=f"image side {side}"):
        FastGANGenerator(side)
