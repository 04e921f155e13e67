"""The consistency terms of CR-GAN, bCR, zCR and ICR."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from benchmark.core.errors import ConfigError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.nn.augment import random_flip
from benchmark.nn.biggan import BigGANGenerator
from benchmark.training.loop import stream_for
from benchmark.training.method import construct, find_method
from methods.crgan import CRGAN, RECIPES

CPU = torch.device("cpu")
TINY = replace(RECIPES["small"]["default"], batch=8, steps=20, width=2, z_dim=4)


def data_of(card: str = "digits") -> Dataset:
    return Dataset.tiny(find_card(card))


def built(cls: type[CRGAN] = CRGAN, card: str = "digits", **settings: Any) -> CRGAN:
    return construct(cls, replace(TINY, **settings), data_of(card), CPU, 0)


class Unmoved(CRGAN):
    """T is the identity."""

    def T(self, x: Tensor) -> Tensor:
        return x


class Blank(CRGAN):
    """T(x) is an empty image, for which a linear D without bias says 0."""

    def T(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Linear(nn.Module):
    """D(x) = <w, x>."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(-1, 1, 256))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.w


def terms(method: CRGAN, x: Tensor, x_fake: Tensor, x_moved: Tensor | None = None) -> Tensor:
    return method.judged(x, None, x_fake, x_moved, None)[2]


def pictures(n: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(n, 1, 16, 16), torch.rand(n, 1, 16, 16), torch.rand(n, 1, 16, 16)


@pytest.mark.parametrize("consistency", ["cr", "bcr"])
def test_zero_when_T_is_the_identity(consistency: str) -> None:
    """All images pass D in one call: spectral norm advances between calls, and with it the logit of one image."""

    class InTurn(Unmoved):
        """Shows D one set of images after the other."""

        def logits(self, x: Tensor, y: Tensor | None) -> Tensor:
            return torch.cat([super(InTurn, self).logits(part, y) for part in x.split(4)])

    x, x_fake, _ = pictures()
    unmoved, in_turn, moved = (
        terms(built(cls, consistency=consistency), x, x_fake) for cls in (Unmoved, InTurn, CRGAN)
    )
    assert unmoved.item() < 1e-12
    assert in_turn.item() > 100 * unmoved.item()
    assert moved.item() > in_turn.item()


def test_zero_when_the_latent_does_not_move() -> None:
    x, x_fake, x_moved = pictures()
    method = built(consistency="zcr")
    assert terms(method, x, x_fake, x_fake).item() < 1e-10
    assert terms(method, x, x_fake, x_moved).item() > 1e-8


@pytest.mark.parametrize(
    ("consistency", "weights"),
    [("cr", (3.0, 0, 0)), ("bcr", (3.0, 5.0, 0)), ("zcr", (0, 0, 7.0)), ("icr", (3.0, 5.0, 7.0))],
)
def test_values_by_hand(consistency: str, weights: tuple[float, float, float]) -> None:
    """With D linear and T blank: lambda_real mean D(x)^2 + lambda_fake mean D(x~)^2 + lambda_dis mean D(x~ - x~')^2."""
    method = built(Blank, consistency=consistency, lambda_real=3.0, lambda_fake=5.0, lambda_dis=7.0)
    method.D = D = Linear()
    x, x_fake, x_moved = pictures()
    squares = [D(image).square().mean().item() for image in (x, x_fake, x_fake - x_moved)]
    by_hand = sum(weight * square for weight, square in zip(weights, squares))
    D_x, D_fake, found = method.judged(x, None, x_fake, x_moved if "latent" in method.terms else None, None)
    assert found.item() == pytest.approx(by_hand, rel=1e-5)
    assert torch.allclose(D_x, D(x), atol=1e-5)
    assert torch.allclose(D_fake, D(x_fake), atol=1e-5)


def gradient_of_blank(cls: type[CRGAN]) -> Tensor:
    method = built(cls)
    method.D = D = Linear()
    x, x_fake, _ = pictures()
    (gradient,) = torch.autograd.grad(terms(method, x, x_fake), D.w, allow_unused=True)
    return gradient


def test_the_gradient_passes_through_the_logit_of_the_plain_image() -> None:
    """T(x) blank: all of the gradient comes from D(x). A term that took D(x) as a constant would have none."""

    class Detached(Blank):
        """Teaches D(T(x)) alone."""

        def logits(self, x: Tensor, y: Tensor | None) -> Tensor:
            joint = super().logits(x, y)
            return torch.cat([joint[: len(x) // 3].detach(), joint[len(x) // 3 :]])  # x, x~, T(x)

    x, _, _ = pictures()
    by_hand = 10 * 2 * (Linear()(x)[:, None] * x.flatten(1)).mean(0)
    assert torch.allclose(gradient_of_blank(Blank), by_hand, rtol=1e-4, atol=1e-3)
    assert gradient_of_blank(Detached).abs().max() == 0


def test_the_generator_spreads_with_the_latent() -> None:
    """zCR's term in G has a minus: steps on it alone push G(z) and G(z + Delta) apart; a plus pulls them together."""

    def distance_after(sign: float) -> tuple[float, float]:
        method = built(consistency="zcr", sigma=0.5, lr_G=2e-3)
        spreads = []
        for _ in range(12):
            torch.manual_seed(0)
            x, moved = method.pair(16, None)
            assert moved is not None
            spread = mse_loss(x, moved)
            method.update(-sign * spread, method.opt_G)
            spreads.append(spread.item())
        return spreads[0], spreads[-1]

    first, last = distance_after(1.0)
    assert last > 1.1 * first
    first, last = distance_after(-1.0)
    assert last < first


@pytest.mark.parametrize("consistency", ["cr", "bcr", "zcr", "icr"])
def test_a_step_is_the_gan_and_its_terms(consistency: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, totals = built(consistency=consistency), []
    monkeypatch.setattr(method, "update", lambda loss, *_: totals.append(loss.item()))
    seed_step(0, 0)
    losses = method.step(stream_for(method, data_of(), seed=0), 0)
    latent = consistency in ("zcr", "icr")
    assert set(losses) == {"D", "G", "consistency"} | ({"spread"} if latent else set())
    spread = losses["spread"].item() if latent else 0.0
    assert totals == pytest.approx(
        [(losses["D"] + losses["consistency"]).item(), losses["G"].item() - 0.5 * spread], rel=1e-5
    )


def test_T_mirrors_only_where_labels_allow_it() -> None:
    x = torch.arange(16.0).expand(64, 1, 16, 16)
    for card, mirrored in (("digits", False), ("shapes", True)):
        method = built(card=card, shift=0.0)
        assert method.flip_ok is mirrored
        torch.manual_seed(0)
        y = method.T(x if card == "digits" else x.expand(-1, 3, -1, -1))
        flipped = (y[:, 0, 0, 0] == 15).float().mean().item()
        assert 0.3 < flipped < 0.7 if mirrored else flipped == 0


def test_T_shifts_by_at_most_an_eighth_of_the_side() -> None:
    method = built()
    x = torch.arange(16.0).view(1, 1, 1, 16).expand(200, 1, 16, 16)
    torch.manual_seed(0)
    offsets = (method.T(x)[:, 0, 0, 8] - 8).unique().tolist()
    assert offsets == [-2, -1, 0, 1, 2]


def test_random_flip_mirrors_about_half() -> None:
    torch.manual_seed(0)
    x = torch.rand(400, 1, 4, 4)
    y = random_flip(x)
    mirrored, same = (y == x.flip(3)).flatten(1).all(1), (y == x).flatten(1).all(1)
    assert (mirrored | same).all()
    assert 0.4 < mirrored.float().mean() < 0.6


def test_conditional_biggan() -> None:
    method = built(backbone="biggan", conditional=True, consistency="icr")
    assert (method.conditioning, method.n_labels, method.default_conditions) == ("class", 10, "uniform classes")
    assert isinstance(method.G, BigGANGenerator)
    seed_step(0, 0)
    assert all(torch.isfinite(v) for v in method.step(stream_for(method, data_of(), seed=0), 0).values())
    conditions = torch.tensor([3, 1])
    assert torch.equal(method.sample(method.G, 2, conditions).conditions, conditions)  # type: ignore[arg-type]


def test_classes_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="take no classes"):
        built(conditional=True)
    with pytest.raises(ConfigError, match="has no classes"):
        built(conditional=True, backbone="biggan", card="shapes")


@pytest.mark.parametrize("backbone", ["resnet", "biggan"])
def test_other_nets(backbone: str) -> None:
    method = built(backbone=backbone)
    seed_step(0, 0)
    assert all(torch.isfinite(v) for v in method.step(stream_for(method, data_of(), seed=0), 0).values())


# ---- recipes of large images -----------------------------------------------------------------------------------------


def test_cr_biggan_on_imagenet_trains_as_lt_gans_biggan() -> None:
    """BigGAN-PyTorch's settings, so that rows of CR and of LT differ in their terms alone; here at two channels."""
    cfg, baseline = RECIPES["paper"]["imagenet128"], find_method("ltgan").recipe("paper", "imagenet128")
    shared = ("steps", "batch", "n_dis", "lr_G", "lr_D", "betas", "adam_eps", "biggan", "z_dim", "flip", "loss",
              "ema_half_life_images", "ema_start_steps")  # fmt: skip
    assert [getattr(cfg, name) for name in shared] == [getattr(baseline, name) for name in shared]
    method = construct(CRGAN, replace(cfg, width=2), replace(data_of("cifar10"), resolution=128), CPU, 0)
    assert isinstance(method.G, BigGANGenerator)
    assert (method.z_dim, method.G.slot) == (120, 20), "a part of z for each of five blocks and the first layer"
    assert method.opt_G.param_groups[0]["eps"] == method.opt_D.param_groups[0]["eps"] == 1e-6
    assert method.max_shift_px == 16
    assert method.z(2).shape == (2, 120)


def test_stl10_has_sngans_residual_networks_and_four_pixels() -> None:
    """4,878,083 and 10,141,441 parameters at 48 px."""
    cfg = RECIPES["paper"]["stl10"]
    method = construct(CRGAN, cfg, data_of("stl10"), torch.device("meta"), 0)
    sizes = [sum(p.numel() for p in net.parameters()) for net in (method.G, method.D)]
    assert (sizes, method.max_shift_px) == ([4_878_083, 10_141_441], 4)
