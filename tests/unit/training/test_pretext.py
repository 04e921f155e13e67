"""Rotation prediction and the supervised encoder: the published net, what a rotation is, what noise does to labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.noise import noisy_labels
from benchmark.data.prepared import Dataset
from benchmark.nn.features import NIN
from benchmark.training.loop import stream_for
from benchmark.training.method import construct
from benchmark.training.stages.classifier import AttributeClassifier, label_table
from benchmark.training.stages.encoders import small_classifier, small_rotnet
from benchmark.training.stages.rotnet import RotNet, RotNetConfig, rotations

CPU = torch.device("cpu")


def test_the_published_net() -> None:
    """Widths, sides and the number of parameters, counted by hand from the widths."""
    with torch.device("meta"):
        net = NIN(3)
        maps = [net.blocks[:k](torch.empty(2, 3, 32, 32)).shape for k in range(1, 5)]
    assert maps == [(2, 96, 16, 16), (2, 192, 8, 8), (2, 192, 8, 8), (2, 192, 8, 8)]  # conv2: 192 x 8 x 8
    block1 = 25 * 3 * 192 + 192 * 160 + 160 * 96 + 2 * (192 + 160 + 96)
    block2 = 25 * 96 * 192 + 2 * 192**2 + 2 * 3 * 192
    block34 = 9 * 192**2 + 2 * 192**2 + 2 * 3 * 192
    assert sum(p.numel() for p in net.parameters()) == block1 + block2 + 2 * block34 + 192 * 4 + 4
    assert sum(p.numel() for p in NIN(3, divisor=4).parameters()) < (block1 + block2 + 2 * block34) / 12


def test_rotations() -> None:
    x = torch.arange(8.0).view(2, 1, 2, 2)
    turned, y = rotations(x)
    assert y.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for k in range(4):
        assert torch.equal(torch.rot90(turned[y == k], -k, (2, 3)), x), "turned back it is the image"
    assert torch.equal(turned[y == 2], x.flip(2, 3))


def test_the_rate_falls_at_the_published_shares_of_the_run() -> None:
    stage = construct(RotNet, RotNetConfig(steps=200, batch=4, divisor=16), Dataset.tiny(find_card("digits")), CPU, 0)
    rates = [stage.lr_factor(t) * 0.1 for t in (0, 59, 60, 119, 120, 159, 160, 199)]
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004, 0.0008, 0.0008])


def trained(stage: type, cfg: object, data: Dataset, steps: int) -> tuple[float, float]:
    """The first and the last loss of some steps."""
    thing = construct(stage, cfg, data, CPU, 0)
    stream, losses = stream_for(thing, data, 0), []
    for t in range(steps):
        thing._step = t
        seed_step(0, t)
        losses.append(float(next(iter(thing.step(stream, t).values())).detach()))
    return losses[0], losses[-1]


def learnable() -> Dataset:
    """Pictures whose class is a bright row: a rotation and a class can both be seen."""
    data = Dataset.tiny(find_card("digits"))
    labels = np.arange(64) % 4
    images = np.zeros((64, 16, 16, 1), np.uint8)
    images[np.arange(64), labels + 1, :6] = 255
    data.train.images, data.train.labels = images, labels
    return data


def test_both_learn() -> None:
    data = learnable()
    first, last = trained(RotNet, replace(small_rotnet, divisor=8, batch=16), data, 15)
    assert last < 0.7 * first
    first, last = trained(AttributeClassifier, replace(small_classifier, width=4, batch=32, lr=1e-2), data, 25)
    assert last < 0.7 * first


def test_labels_attributes_and_their_noise() -> None:
    data = Dataset.tiny(find_card("digits"))
    assert torch.equal(label_table(data, 0.0, 0), torch.tensor(data.train.labels))
    shapes = Dataset.tiny(find_card("shapes"))
    assert label_table(shapes, 0.0, 0).dtype == torch.float32
    with pytest.raises(ConfigError, match="noise is for classes"):
        label_table(shapes, 0.2, 0)


def test_noisy_labels_are_the_shared_ones() -> None:
    data = Dataset.tiny(find_card("digits"))
    data.train.labels = np.arange(5000) % 10
    noisy = label_table(data, 0.4, 3)
    assert np.array_equal(noisy.numpy(), noisy_labels(data.train.labels, 0.4, 10, 3))
    changed = noisy.numpy() != data.train.labels
    assert changed.mean() == pytest.approx(0.4, abs=0.01), "every flip is to another class"
