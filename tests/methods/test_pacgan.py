"""PacGAN and DCGAN: what is packed with what, and that a pack of one is the plain GAN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.training.loop import stream_for
from benchmark.training.method import Method, construct, find_method

CPU = torch.device("cpu")


def built(name: str, dataset: str = "ring2d", **changes: Any) -> tuple[Any, Dataset]:
    data = Dataset.tiny(find_card(dataset))
    cfg = replace(find_method(name).recipe("small", dataset), batch=12, width_G=4, width_D=4, **changes)
    return construct(find_method(name).cls, cfg, data, CPU, 0), data


def steps(method: Method, data: Dataset, n: int) -> list[dict[str, Tensor]]:
    stream, logged = stream_for(method, data, 0), []
    for t in range(n):
        method._step = t
        seed_step(0, t)
        logged.append(method.step(stream, t))
    return logged


@pytest.mark.parametrize("m", [2, 3, 4])
def test_a_pack_holds_whole_samples_side_by_side(m: int) -> None:
    method, _ = built("pacgan", "digits", m=m)
    x = torch.randn(12, 1, 16, 16).contiguous(memory_format=torch.channels_last)
    packs = method.judged(x)
    assert packs.shape == (12 // m, m, 16, 16)
    for i in range(12):
        assert torch.equal(packs[i // m, i % m], x[i, 0])
    points = torch.randn(13, 2)
    packs = method.judged(points)  # 13 = 12 and a rest
    assert packs.shape == (13 // m, 2 * m)
    assert torch.equal(packs.reshape(-1, 2), points[: 13 // m * m])


@pytest.mark.parametrize("dataset", ["ring2d", "digits", "shapes"])
def test_only_the_first_layer_of_D_grows(dataset: str) -> None:
    """G is the plain one; D's first layer takes m times the channels."""
    plain, data = built("dcgan", dataset)
    packed, _ = built("pacgan", dataset, m=3)

    def shapes(net: Any) -> list[torch.Size]:
        return [p.shape for p in net.parameters()]

    assert shapes(plain.G) == shapes(packed.G)
    first, first_packed = shapes(plain.D)[0], shapes(packed.D)[0]
    assert first_packed[1] == 3 * first[1]
    assert shapes(plain.D)[1:] == shapes(packed.D)[1:]
    assert all(bool(torch.isfinite(loss)) for loss in steps(packed, data, 2)[-1].values())


def test_a_pack_of_one_is_the_plain_gan() -> None:
    """The same bits after the same steps; with two to a pack they differ."""
    plain, data = built("dcgan")
    single, _ = built("pacgan", m=1)
    double, _ = built("pacgan", m=2)
    for method in (plain, single, double):
        steps(method, data, 3)
    assert all(torch.equal(p, q) for p, q in zip(plain.G.parameters(), single.G.parameters()))
    assert not all(torch.equal(p, q) for p, q in zip(plain.G.parameters(), double.G.parameters()))


def test_a_batch_without_a_pack_is_refused() -> None:
    with pytest.raises(ConfigError, match="m = 16"):
        built("pacgan", m=16)


def test_the_losses_are_cross_entropies_of_real_and_generated() -> None:
    """At step 0, from the nets before it moved; G's loss meets the D that has moved."""
    method, data = built("dcgan")
    twin, _ = built("dcgan")
    x = next(stream_for(twin, data, 0)).images
    seed_step(0, 0)
    x_fake = twin.G(twin.normal(len(x), twin.cfg.z_dim))
    losses = steps(method, data, 1)[0]
    torch.testing.assert_close(losses["D"], softplus(-twin.D(x)).mean() + softplus(twin.D(x_fake)).mean())
    torch.testing.assert_close(losses["G"], softplus(-method.D(x_fake)).mean())


@pytest.mark.parametrize("name", ["dcgan", "pacgan"])
def test_the_penalty_and_the_decay_are_settings(name: str) -> None:
    method, data = built(name, r1_weight=10.0, linear_decay=False)
    assert "R1" in steps(method, data, 1)[0]
    assert method.lr_factor(5000) == 1
    method, data = built(name, linear_decay=True)
    assert "R1" not in steps(method, data, 1)[0]
    assert method.lr_factor(method.cfg.steps // 2) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["dcgan", "pacgan", "selfcond"])
def test_rows_of_one_table_have_the_same_budget(name: str) -> None:
    """The points' recipes differ in nothing but what the methods are about."""
    shared = ("steps", "batch", "lr_G", "lr_D", "betas", "n_dis", "width_G", "width_D", "z_dim", "linear_decay")
    for recipe in ("small", "paper"):
        for dataset in ("ring2d", "grid2d"):
            mine, plain = (find_method(n).recipe(recipe, dataset) for n in (name, "dcgan"))
            assert [getattr(mine, key) for key in shared] == [getattr(plain, key) for key in shared]
