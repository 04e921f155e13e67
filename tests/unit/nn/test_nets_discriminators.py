"""InfoSCC-GAN's discriminators: published sizes, output maps, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.core.errors import ConfigError
from benchmark.nn.discriminators import GlobalDiscriminator, PatchDiscriminator, patch_map_side


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("side", "published"), [(256, 13_635_601), (128, 8_915_985), (64, 2_229_777), (32, 557_841)])
def test_global_parameter_counts(side: int, published: int) -> None:
    with torch.device("meta"):
        assert n_parameters(GlobalDiscriminator(side)) == published


@pytest.mark.parametrize(("n_layers", "published"), [(3, 2_765_633), (6, 15_351_617)])
def test_patch_parameter_counts(n_layers: int, published: int) -> None:
    with torch.device("meta"):
        assert n_parameters(PatchDiscriminator(256, n_layers=n_layers)) == published


@pytest.mark.parametrize("side", [8, 16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_global_gives_one_logit_an_image(side: int, channels: int) -> None:
    D = GlobalDiscriminator(side, channels, base=2)
    assert D(torch.zeros(3, channels, side, side)).shape == (3,)
    assert D(torch.zeros(1, channels, side, side)).shape == (1,)


MAPS = {
    256: {2: 62, 3: 30, 4: 14, 5: 6, 6: 2},
    128: {2: 30, 3: 14, 4: 6, 5: 2},
    64: {2: 14, 3: 6, 4: 2},
    32: {2: 6, 3: 2},
    16: {1: 6, 2: 2},
}


@pytest.mark.parametrize(("side", "n_layers", "h"), [(s, n, h) for s, row in MAPS.items() for n, h in row.items()])
def test_patch_maps_have_the_tabulated_sides(side: int, n_layers: int, h: int) -> None:
    assert patch_map_side(side, n_layers) == h
    with torch.device("meta"):
        D = PatchDiscriminator(side, 3, ndf=2, n_layers=n_layers)
        assert D(torch.zeros(2, 3, side, side)).shape == (2, h, h)


@pytest.mark.parametrize("side", range(6, 40))
def test_patch_map_side_is_what_the_net_gives(side: int) -> None:
    with torch.device("meta"):
        for n_layers in (n for n in range(1, 5) if patch_map_side(side, n) > 0):
            h = patch_map_side(side, n_layers)
            assert PatchDiscriminator(side, 1, 2, n_layers)(torch.zeros(2, 1, side, side)).shape == (2, h, h)


@pytest.mark.parametrize(("side", "n_layers", "largest"), [(128, 6, 5), (64, 5, 4), (32, 4, 3), (16, 3, 2), (32, 0, 3)])
def test_an_empty_map_is_refused_with_the_largest_depth_that_fits(side: int, n_layers: int, largest: int) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)n_layers {n_layers} .*side {side}.*largest n_layers .* is {largest}$"):
        PatchDiscriminator(side, n_layers=n_layers)


def test_a_side_too_small_for_any_patch_depth_is_refused() -> None:
    with pytest.raises(ConfigError, match="smallest side that fits is 6"):
        PatchDiscriminator(5, n_layers=1)


def test_global_refuses_other_sides() -> None:
    with pytest.raises(ConfigError, match="28"):
        GlobalDiscriminator(28)


def test_only_the_patch_net_has_batch_normalisation() -> None:
    def norms(net: nn.Module) -> int:
        return sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())

    assert norms(GlobalDiscriminator(16)) == 0
    assert norms(PatchDiscriminator(64, n_layers=3)) == 3  # all but the first and the last of its five convolutions
