"""Encoders, the projector and the judge."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from benchmark.nn.encoders import Projector, conv_encoder, resnet18_encoder, resnet50_encoder
from benchmark.nn.judge import JudgeNet


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 28, 64])
def test_conv_encoder(channels: int, side: int) -> None:
    encoder = conv_encoder(channels)
    assert encoder.dim == 128
    assert [m.out_channels for m in encoder.modules() if isinstance(m, nn.Conv2d)] == [16, 32, 64, 128]
    assert encoder(torch.zeros(2, channels, side, side)).shape == (2, 128)
    assert encoder.eval()(torch.zeros(1, channels, side, side)).shape == (1, 128)
    assert conv_encoder(channels, width=4).dim == 32


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("make", "dim"), [(resnet18_encoder, 512), (resnet50_encoder, 2048)])
def test_resnet_encoders(make, dim: int, channels: int) -> None:  # type: ignore[no-untyped-def]
    encoder = make(channels).eval()
    assert encoder.dim == dim
    assert encoder(torch.zeros(1, channels, 32, 32)).shape == (1, dim)  # one image keeps its axis
    assert not any(isinstance(m, nn.Linear) for m in encoder.modules())


@pytest.mark.parametrize("channels", [1, 3])
def test_the_stem_for_small_images_shrinks_nothing(channels: int) -> None:
    """He et al.'s ResNet-18 with a 3 x 3 convolution: 4 x 4 places of 32 px are left before the mean, not one."""
    encoder, plain = resnet18_encoder(channels, "cifar").eval(), resnet18_encoder(channels).eval()
    x, places = torch.zeros(1, channels, 32, 32), []
    for net in (encoder.net, plain.net):
        net.layer4.register_forward_hook(lambda _, __, out: places.append(tuple(out.shape[2:])))  # type: ignore[union-attr]
    assert encoder(x).shape == (1, 512)
    plain(x)
    assert places == [(4, 4), (1, 1)]
    count = sum(p.numel() for p in encoder.parameters())
    assert count == {3: 11_168_832, 1: 11_168_832 - 2 * 64 * 9}[channels]  # ResNet-18 without its head, 3 x 3 stem


def test_projector() -> None:
    projector = Projector(16)
    assert projector(torch.zeros(2, 16)).shape == (2, 128)
    assert [tuple(p.shape) for p in projector.parameters()] == [(16, 16), (16,), (128, 16), (128,)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 16, 32, 48, 64])
def test_judge_shapes(channels: int, side: int) -> None:
    judge, x = JudgeNet(side, channels, n_outputs=5).eval(), torch.randn(2, channels, side, side)
    assert judge.dim == 128
    assert judge.features(x).shape == (2, 128)
    assert judge(x).shape == (2, 5)
    assert judge.blocks(judge.stem(x)).shape[-1] <= 8
    assert torch.equal(judge(x), judge.head(judge.features(x)))  # no dropout in evaluation


def test_judge_drops_features_in_training_only() -> None:
    judge, x = JudgeNet(16, 1, 3, width=4), torch.randn(4, 1, 16, 16)
    assert not torch.equal(judge(x), judge(x))
    judge.eval()
    assert torch.equal(judge(x), judge(x))


def test_judge_learns_digits() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1  # [1797, 1, 8, 8]
    y = torch.tensor(digits.target)
    judge = JudgeNet(8, 1, 10, width=16)
    optimiser = torch.optim.Adam(judge.parameters(), lr=3e-3)
    for _ in range(4):
        for rows in torch.randperm(1200).split(50):
            optimiser.zero_grad()
            F.cross_entropy(judge(x[rows]), y[rows]).backward()
            optimiser.step()
    judge.eval()
    with torch.no_grad():
        assert (judge(x[1200:]).argmax(1) == y[1200:]).float().mean() > 0.9  # the held-out writers
