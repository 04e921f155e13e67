"""StyleGAN2's regularisers and their lazy schedule against closed forms."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.nn.losses import lazy_adam, path_lengths, r1
from benchmark.training.loop import stream_for
from benchmark.training.method import construct
from methods.recipes.stylegan2 import automatic
from methods.stylegan2 import RECIPES, Config, StyleGAN2

CPU = torch.device("cpu")
TINY = replace(RECIPES["small"]["digits"], batch=8, steps=20, base=64, max_width=8, z_dim=8, w_dim=8)


def digits() -> Dataset:
    return Dataset.tiny(find_card("digits"))


def built(cls: type[StyleGAN2] = StyleGAN2, **settings: Any) -> StyleGAN2:
    return construct(cls, replace(TINY, **settings), digits(), CPU, 0)


def trained(method: StyleGAN2, last: int, first: int = 0, position: int = 0) -> dict[str, Tensor]:
    """The scalars of steps first..last-1."""
    seen: dict[str, Tensor] = {}
    stream = stream_for(method, digits(), seed=1)
    stream.position = position
    for t in range(first, last):
        seed_step(1, t)
        seen |= method.step(stream, t)
    return seen


# ---- path lengths ---------------------------------------------------------------------------------------------------


def test_path_lengths_of_a_linear_map() -> None:
    """images = A w: the expected square is |A|^2 / (H W), shared by the layers that read w."""
    torch.manual_seed(0)
    A, n_ws = torch.randn(2 * 4 * 4, 5), 3
    ws = torch.randn(4000, n_ws, 5, requires_grad=True)
    lengths = path_lengths((ws.sum(1) @ A.T).view(-1, 2, 4, 4), ws)
    assert lengths.shape == (4000,)
    assert lengths.square().mean().item() == pytest.approx(A.square().sum().item() / 16, rel=0.05)
    one_layer = path_lengths((ws[:, 0] @ A.T).view(-1, 2, 4, 4), ws)  # the other two have no gradient
    assert one_layer.square().mean().item() == pytest.approx(A.square().sum().item() / 16 / n_ws, rel=0.05)


def test_the_penalty_is_the_squared_distance_to_the_mean_length() -> None:
    method = built(pl_decay=0.25)
    method.a.fill_(0.5)
    torch.manual_seed(3)
    penalty = method.path_length_penalty(4)
    torch.manual_seed(3)
    ws = method.styles(4)
    lengths = path_lengths(method.G.synthesis(ws), ws)
    assert method.a.item() == pytest.approx(0.75 * 0.5 + 0.25 * lengths.mean().item(), rel=1e-5)
    assert penalty.item() == pytest.approx((lengths - method.a).square().mean().item(), rel=1e-4)
    assert not method.a.requires_grad


def test_the_penalty_pulls_lengths_towards_their_mean() -> None:
    """A few steps on it alone lessen the spread; with its sign turned they do not."""

    def spread_after(sign: float) -> tuple[float, float]:
        method = built(lr_G=1e-2, mixing=0.0)
        torch.manual_seed(0)
        ws = method.G.repeat(method.G.map(method.z(16)))
        method.a = path_lengths(method.G.synthesis(ws), ws).mean().detach() / 2  # shorter than they are
        spreads = []
        for _ in range(8):
            torch.manual_seed(1)
            ws = method.G.repeat(method.G.map(method.z(16)))
            loss = (path_lengths(method.G.synthesis(ws), ws) - method.a).square().mean()
            method.update(sign * loss, method.opt_G)
            spreads.append(loss.item())
        return spreads[0], spreads[-1]

    first, last = spread_after(1.0)
    assert last < 0.7 * first
    first, last = spread_after(-1.0)
    assert last > first


# ---- the lazy schedule ----------------------------------------------------------------------------------------------


def test_lazy_adam() -> None:
    lr, betas = lazy_adam(0.0025, (0.0, 0.99), 16)
    assert lr == pytest.approx(0.0025 * 16 / 17)
    assert betas == pytest.approx((0.0, 0.99 ** (16 / 17)))
    method = built(pl_every=4, r1_every=16)
    assert method.opt_G.param_groups[0]["lr"] == pytest.approx(0.002)
    assert method.opt_D.param_groups[0]["betas"] == pytest.approx(betas)


def test_regularisers_come_every_so_many_steps_with_their_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    """k steps apart and k times as heavy: the mean over steps is gamma / 2 and the weight, as if at every step."""
    method, updates = built(r1_every=8, r1_weight=0.3, pl_every=4, pl_weight=2.0), []
    monkeypatch.setattr(method, "update", lambda loss, *_: updates.append(float(loss.detach())))
    stream = stream_for(method, digits(), seed=1)
    factors = {"PL": [], "R1": []}  # type: dict[str, list[float]]
    for t in range(16):
        updates.clear()
        losses = method.step(stream, t)
        expected = ["G", *(["PL"] if t % 4 == 0 else []), "D", *(["R1"] if t % 8 == 0 else [])]
        assert len(updates) == len(expected)
        for name, total in zip(expected, updates):
            if name in factors:
                factors[name].append(total / losses[name].item())
    assert factors["R1"] == pytest.approx([8 * 0.3 / 2] * 2, rel=1e-4)
    assert factors["PL"] == pytest.approx([4 * 2.0] * 4, rel=1e-4)
    assert sum(factors["R1"]) / 16 == pytest.approx(0.3 / 2, rel=1e-4)


def test_a_weight_of_zero_leaves_the_regulariser_out() -> None:
    assert set(trained(built(r1_weight=0.0, pl_weight=0.0), 1)) == {"D", "G"}
    assert set(trained(built(pl_weight=2.0), 1)) == {"D", "G", "PL", "R1"}


def test_r1_reaches_every_convolution_of_D() -> None:
    """Its second derivative passes the filter, the minibatch statistics and the square roots."""
    method = built()
    gradients = torch.autograd.grad(
        r1(method.D, torch.randn(4, 1, 16, 16)), list(method.D.parameters()), allow_unused=True
    )
    for (name, parameter), gradient in zip(method.D.named_parameters(), gradients):
        if parameter.ndim == 4:
            assert gradient is not None, name
            assert torch.isfinite(gradient).all(), name
            assert gradient.abs().sum() > 0, name


# ---- training -------------------------------------------------------------------------------------------------------


def test_the_mean_length_survives_a_kill() -> None:
    whole, killed, resumed = (built(pl_weight=2.0) for _ in range(3))
    trained(whole, 6)
    trained(killed, 3)
    resumed.load_state_dict(copy.deepcopy(killed.state_dict()))
    trained(resumed, 6, first=3, position=24)
    assert whole.a > 0
    assert torch.equal(whole.a, resumed.a)
    for p, q in zip(whole.G.parameters(), resumed.G.parameters()):
        assert torch.equal(p, q)


def test_training_shows_G_mixed_styles_and_sampling_does_not() -> None:
    torch.manual_seed(0)
    ws = torch.stack([built(mixing=1.0).styles(2) for _ in range(3)])
    assert (ws[:, :, 0] != ws[:, :, -1]).any(-1).all()
    plain = built(mixing=0.0).styles(2)
    assert torch.equal(plain, plain[:, :1].expand_as(plain))
    method = built(mixing=1.0)
    torch.manual_seed(5)
    sample = method.sample(method.G, 3).images
    torch.manual_seed(5)
    assert torch.equal(sample, method.G(method.z(3)).clamp(-1, 1))


def test_automatic_settings() -> None:
    """Of 128 px with 32 images: the code's formulas by hand."""
    cfg = Config(**automatic(128, 32))
    assert cfg.r1_weight == pytest.approx(0.1024)
    assert cfg.ema_half_life_images == 10_000
    assert cfg.steps == 781_250
    assert (Config(steps=1, batch=1).lr_G, Config(steps=1, batch=1).betas) == (2.5e-3, (0.0, 0.99))
