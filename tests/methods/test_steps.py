"""How a step is put together: what each update minimises, on how many images, and that G is drawn to the real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.nn.losses import r1
from benchmark.training.loop import stream_for
from benchmark.training.method import Method, construct, find_method

CPU = torch.device("cpu")
DATA = Dataset.tiny(find_card("digits"))
Losses = dict[str, float]


def tiny(name: str, data: Dataset | None = None, stages: dict[str, Any] | None = None, **changes: Any) -> Method:
    """A method on 16-pixel digits with narrow networks."""
    file = find_method(name)
    cfg = replace(file.recipe("small", "digits"), **{"batch": 8, **changes})
    return construct(file.cls, cfg, data or DATA, CPU, 0, **(stages or {}))


class FakeEncoder(nn.Module):
    """Stands for InfoSCC-GAN's encoder: the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def infoscc(**changes: Any) -> Method:
    """InfoSCC-GAN with a linear classifier on the pixels."""
    return tiny("infoscc", stages={"E": FakeEncoder(), "C": nn.Linear(256, 10)}, **changes)


def updates(method: Method, t: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], Losses]:
    """The totals that step t would minimise, in order, and what it logs; nothing moves, so they can be compared."""
    torch.manual_seed(0)
    for net in method.modules().values():  # EigenGAN's bases begin orthogonal, its D nearly flat
        for p in net.parameters():
            p.data.add_(0.05 * torch.randn_like(p))
    totals: list[float] = []
    monkeypatch.setattr(method, "update", lambda loss, *_: totals.append(float(loss.detach())))
    seed_step(1, t)
    losses = method.step(stream_for(method, DATA, seed=1), t)
    return totals, {name: float(loss.detach()) for name, loss in losses.items()}


# (method, step, what its updates minimise)
TOTALS: list[Any] = [
    pytest.param(lambda: tiny("dcgan", r1_weight=0.7), 1, lambda x: [x["D"] + 0.7 * x["R1"], x["G"]], id="dcgan"),
    pytest.param(
        lambda: tiny("selfcond", r1_weight=0.7, labels="classes"), 1, lambda x: [x["D"] + 0.7 * x["R1"], x["G"]],
        id="selfcond",
    ),
    pytest.param(
        lambda: tiny("eigengan", r1_weight=0.7, r1_every=4, orth_weight=3.0), 4,
        lambda x: [x["D"], 0.7 * x["R1"], x["G"] + 3 * x["orth"]], id="eigengan, R1 is due",
    ),
    pytest.param(
        lambda: tiny("eigengan", r1_weight=0.7, r1_every=4, orth_weight=3.0), 5,
        lambda x: [x["D"], x["G"] + 3 * x["orth"]], id="eigengan, R1 is not due",
    ),
    pytest.param(
        lambda: infoscc(r1_weight=0.7, r1_every=4, orth_weight=3.0, n_cls=2), 4,
        lambda x: [x["class"], x["D"], 0.7 * x["R1"], x["G"] + 3 * x["orth"]], id="infoscc, all are due",
    ),
    pytest.param(
        lambda: infoscc(r1_weight=0.7, r1_every=4, orth_weight=3.0, n_cls=2), 5,
        lambda x: [x["D"], x["G"] + 3 * x["orth"]], id="infoscc, neither is due",
    ),
    pytest.param(
        lambda: tiny("acgan", class_weight=0.3), 1,
        lambda x: [x["D"] + 0.3 * x["class_D"], x["G"] + 0.3 * x["class_G"]], id="acgan",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "t", "expected"), TOTALS)
def test_updates_minimise_the_terms_with_their_signs_and_weights(
    make: Callable[[], Method], t: int, expected: Callable[[Losses], list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    totals, losses = updates(make(), t, monkeypatch)
    assert all(abs(loss) > 1e-5 for loss in losses.values()), "a term that is zero would hide its sign"
    assert totals == pytest.approx(expected(losses), rel=1e-5)


def test_lt_gans_r1_is_half_gamma_times_the_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    method = tiny("ltgan", r1_gamma=0.6)
    totals, losses = updates(method, 0, monkeypatch)
    assert totals[0] == pytest.approx(losses["D"] + losses["R1"] + losses.get("CR", 0.0), rel=1e-5)
    x = next(stream_for(method, DATA, seed=1)).images
    penalty = float(r1(lambda images: method.score(images, None), x).detach())  # type: ignore[attr-defined]
    assert losses["R1"] == pytest.approx(0.3 * penalty, rel=0.2), "the spectral norms have moved on a little"


@pytest.mark.parametrize("loss", ["hinge", "lsgan"])
def test_infoscc_takes_its_losses_from_the_papers_version(loss: str) -> None:
    """Its hinge stops at 1 on the generator's side as well; so does that of EigenGAN, its backbone."""
    logits = torch.tensor([-2.0, 0.5, 3.0])
    expected = {"hinge": torch.relu(1 - logits).mean(), "lsgan": ((logits - 1) ** 2).mean()}[loss]
    for method in (infoscc(loss=loss), tiny("eigengan", loss=loss)):
        assert float(method.loss_G(logits)) == pytest.approx(float(expected))  # type: ignore[attr-defined]


def test_cgan_judges_an_image_by_the_label_that_it_was_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """G's and D's labels of generated images are the same draw; G's update takes g_batch times as many."""
    method = tiny("cgan", g_batch=3)
    made: list[Tensor] = []
    judged: list[Tensor] = []
    generate, discriminate = method.generate, method.discriminate  # type: ignore[attr-defined]
    monkeypatch.setattr(method, "generate", lambda G, y: (made.append(y), generate(G, y))[1])
    monkeypatch.setattr(method, "discriminate", lambda x, y: (judged.append(y), discriminate(x, y))[1])
    stream = stream_for(method, DATA, seed=1)
    y_real = next(stream_for(method, DATA, seed=1)).labels
    assert y_real is not None
    method.step(stream, 0)
    assert [len(y) for y in made] == [8, 24]
    assert len(judged) == 3
    assert torch.equal(judged[0], y_real)
    assert torch.equal(judged[1], made[0])
    assert torch.equal(judged[2], made[1])
    assert not torch.equal(made[0], y_real), "labels of their own"


# ---- the direction of the game --------------------------------------------------------------------------------------


def drawn_to(name: str, level: int, n_steps: int, **changes: Any) -> float:
    """The mean pixel of what a method draws after some steps on images of one grey level, with a little noise."""
    noise = torch.randint(-5, 6, DATA.train.images.shape, generator=torch.Generator().manual_seed(0)).numpy()
    data = replace(DATA, train=replace(DATA.train, images=(level + noise).clip(0, 255).astype("uint8")))
    method = tiny(name, data, **changes)
    stream = stream_for(method, data, seed=1)
    for t in range(n_steps):
        seed_step(1, t)
        method.step(stream, t)
    torch.manual_seed(0)
    return float(method.sample(method.G.eval(), 64).images.mean())


@pytest.mark.parametrize("name", ["sngan", "crgan", "eigengan", "stylegan2"])
def test_the_generator_is_drawn_to_the_real_images(name: str) -> None:
    """With real and generated images exchanged it would be drawn away from them."""
    white, black = (drawn_to(name, level, 40, lr_G=2e-3, lr_D=2e-3) for level in (235, 20))
    assert white - black > 0.4
