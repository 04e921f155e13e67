"""SS-GAN's rotations and its two rotation losses."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.nn.augment import quarter_turns
from benchmark.training.loop import stream_for
from benchmark.training.method import construct
from methods.ssgan import RECIPES, SSGAN, rotated

CPU = torch.device("cpu")
TINY = replace(RECIPES["small"]["default"], batch=8, steps=20, width=2, z_dim=4)


def digits() -> Dataset:
    return Dataset.tiny(find_card("digits"))


def built(cls: type[SSGAN] = SSGAN, **settings: Any) -> SSGAN:
    return construct(cls, replace(TINY, **settings), digits(), CPU, 0)


def pictures(n: int = 8) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(n, 1, 16, 16), torch.rand(n, 1, 16, 16)


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_a_turn_and_its_reverse_are_the_identity(k: int) -> None:
    x = torch.rand(2, 3, 5, 5)
    assert torch.equal(quarter_turns(quarter_turns(x, k), -k), x)
    assert torch.equal(quarter_turns(x, k), quarter_turns(x, k + 4))
    assert torch.equal(quarter_turns(x, k), x) == (k == 0)


def test_a_quarter_turn_is_counter_clockwise() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
    assert quarter_turns(x, 1).flatten().tolist() == [2, 4, 1, 3]


@pytest.mark.parametrize(("n", "few"), [(8, 2), (9, 2), (3, 1), (1, 1)])
def test_the_last_quarter_is_shown_in_all_turns(n: int, few: int) -> None:
    x, _ = pictures(n)
    x_r, r = rotated(x)
    assert r.tolist() == [k for k in range(4) for _ in range(few)]
    for image, k, source in zip(x_r, r.tolist(), list(x[-few:]) * 4):
        assert torch.equal(image, quarter_turns(source[None], k)[0])


class Recording(nn.Module):
    """D that says each image's mean, and nothing about its turn; keeps what it is shown."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.seen = x
        return x.flatten(1).mean(1), torch.zeros(len(x), 4)


def test_the_gan_loss_is_of_upright_images() -> None:
    method, D = built(), Recording()
    method.D = D  # type: ignore[assignment]
    x, x_fake = pictures()
    loss_D, turn = method.D_losses(x, x_fake)
    assert len(D.seen) == 8 + 8 + 4 * 2
    assert loss_D.item() == pytest.approx(method.loss_D(x.flatten(1).mean(1), x_fake.flatten(1).mean(1)).item())
    assert turn.item() == pytest.approx(math.log(4))
    loss_G, turn = method.G_losses(x_fake)
    assert len(D.seen) == 8 + 4 * 2
    assert loss_G.item() == pytest.approx(-x_fake.mean().item())
    assert turn.item() == pytest.approx(math.log(4))


def head_moves_with_fakes(cls: type[SSGAN]) -> bool:
    """Whether the rotation loss of D's step depends on generated images."""
    losses = []
    for seed in (1, 2):
        method = built(cls)
        x, _ = pictures()
        torch.manual_seed(seed)
        losses.append(method.D_losses(x, torch.rand(8, 1, 16, 16))[1].item())
    return losses[0] != pytest.approx(losses[1], abs=1e-7)


def test_the_head_learns_from_real_images_alone() -> None:
    class Leaking(SSGAN):
        """Trains the head on turned fakes, too."""

        def D_losses(self, x: Tensor, x_fake: Tensor) -> tuple[Tensor, Tensor]:
            loss_D, turn = super().D_losses(x, x_fake)
            x_r, r = rotated(x_fake)
            return loss_D, turn + cross_entropy(self.D(x_r)[1], r)

    assert not head_moves_with_fakes(SSGAN)
    assert head_moves_with_fakes(Leaking)


def test_the_generator_step_leaves_D_alone() -> None:
    method = built()
    before = copy.deepcopy(dict(method.D.named_parameters()))
    loss, turn = method.G_losses(method.G(method.z(8)))
    method.update(loss + turn, method.opt_G)
    assert all(torch.equal(p, before[name]) for name, p in method.D.named_parameters())


def test_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 on real images in D, 0.2 on generated ones in G."""
    method, totals = built(), []
    monkeypatch.setattr(method, "update", lambda loss, *_: totals.append(loss.item()))
    seed_step(0, 0)
    losses = method.step(stream_for(method, digits(), seed=0), 0)
    assert totals == pytest.approx(
        [
            (losses["D"] + losses["turn_D"]).item(),
            (losses["G"] + 0.2 * losses["turn_G"]).item(),
        ]
    )


def accuracy_after(n_steps: int, sign: float) -> float:
    """Of the turn of arrows, by a D trained on that alone."""
    torch.manual_seed(0)
    method = built(lr_D=2e-3)
    x = torch.zeros(32, 1, 16, 16)
    x[:, :, :8] = torch.rand(32, 1, 8, 16) + 0.5  # bright above, dark below
    for _ in range(n_steps):
        x_r, r = rotated(x)
        method.update(sign * cross_entropy(method.D(x_r)[1], r), method.opt_D)
    x_r, r = rotated(x)
    return (method.D(x_r)[1].argmax(1) == r).float().mean().item()


def test_D_learns_to_tell_turns() -> None:
    assert accuracy_after(40, 1.0) > 0.9
    assert accuracy_after(40, -1.0) < 0.5


@pytest.mark.parametrize("backbone", ["resnet", "sndcgan"])
def test_the_head_is_spectrally_normed_and_reads_what_the_logit_reads(backbone: str) -> None:
    method = built(backbone=backbone)
    x, _ = pictures()
    logits, turns = method.D(x)
    assert logits.shape == (8,)
    assert turns.shape == (8, 4)
    weight = method.D.rotation.weight
    assert isinstance(weight, Tensor)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=0.05)
    assert weight.shape[1] == method.D.phi(x).shape[1]
