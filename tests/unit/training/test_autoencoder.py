"""The autoencoder: its layers mirror each other, its code is what it is called, and it learns to give images back."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.nn.autoencoder import Autoencoder
from benchmark.training.loop import stream_for
from benchmark.training.method import construct
from benchmark.training.stages.autoencoder import AutoencoderConfig, AutoencoderStage


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (16, 3), (128, 3)])
def test_shapes_and_counts(side: int, channels: int) -> None:
    net = Autoencoder(side, channels, width=2, code_dim=6)
    x = torch.rand(2, channels, side, side) * 2 - 1
    code = net.code(x)
    assert code.shape == (2, 6, 1, 1)
    assert net(x).shape == x.shape
    assert float(net(x).detach().abs().max()) <= 1
    widths, n = [2 * min(2**i, 8) for i in range(side.bit_length() - 3)], 0
    for a, b in zip([channels, *widths], widths):  # down and up have the same convolutions
        n += 2 * 16 * a * b
    n += 2 * 16 * widths[-1] * 6 + 6  # to the code, with a bias, and back
    n += 2 * (sum(widths) + sum(widths))  # batch norms: after each layer down and before each layer up
    assert sum(p.numel() for p in net.parameters()) == n + channels  # the last layer has a bias


def test_the_code_is_linear_in_the_layer_before_it() -> None:
    net = Autoencoder(16, 1, width=2, code_dim=6)
    last = net.layers[-1]
    a, b = torch.randn(2, 3, 4, 4, 4)
    torch.testing.assert_close(last(a + b) + last(torch.zeros_like(a)), last(a) + last(b))


def test_a_side_that_is_no_power_of_two() -> None:
    with pytest.raises(ConfigError, match="image side 20"):
        Autoencoder(20, 1)


def test_it_learns_to_give_images_back() -> None:
    """Of images that one number decides, a code of two numbers keeps most."""
    data = Dataset.tiny(find_card("digits"))
    grey = torch.linspace(0, 255, 64).byte()
    data.train.images = grey[:, None, None, None].expand(64, 16, 16, 1).numpy().copy()
    cfg = AutoencoderConfig(steps=150, batch=32, width=2, code_dim=2, lr=1e-2)
    stage = construct(AutoencoderStage, cfg, data, torch.device("cpu"), 0)
    stream, losses = stream_for(stage, data, 0), []
    for t in range(cfg.steps):
        seed_step(0, t)
        losses.append(float(stage.step(stream, t)["reconstruction"].detach()))
    assert sum(losses[-10:]) < 0.1 * sum(losses[:10])
    assert isinstance(stage.product(), Autoencoder)
    assert stage.lr_factor(0) == 1 > stage.lr_factor(100) > 0
    x = next(stream).images
    torch.testing.assert_close(stage.step(stream, 0)["reconstruction"].shape, torch.Size([]))
    assert float(F.mse_loss(stage.net.eval()(x), x).detach()) < 0.2
