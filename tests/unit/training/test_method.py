"""`update` moves exactly what it should; configuration, seeds and construction."""

from __future__ import annotations

import copy
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

import methods
from benchmark.__main__ import main
from benchmark.core import distributed
from benchmark.core.config import STRICT, build
from benchmark.core.errors import ConfigError
from benchmark.core.seeds import derive_seed, seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.training.method import GANConfig, MethodFile, Stage, TrainConfig, construct, find_method
from methods.sngan import SNGAN

CPU = torch.device("cpu")


class Two(Stage):
    """Two nets in a row, one optimiser each."""

    def __init__(self, cfg: TrainConfig, data: Dataset) -> None:
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 1, 3)
        self.frozen = nn.Conv2d(1, 1, 1).requires_grad_(False)
        self.opt_first, self.opt_second = (
            self.adam(self.first, 0.1, (0.9, 0.99)),
            self.adam(self.second, 0.1, (0.9, 0.99)),
        )


@pytest.fixture
def two() -> Two:
    return construct(Two, TrainConfig(steps=10, batch=2), Dataset.tiny(find_card("digits")), CPU, seed=3)


def test_update_moves_the_parameters_of_the_given_optimiser_alone(two: Two) -> None:
    before = {name: copy.deepcopy(net.state_dict()) for name, net in two.modules().items()}
    two.update(two.second(two.first(torch.randn(2, 1, 8, 8))).square().mean(), two.opt_first)
    assert not torch.equal(two.first.weight, before["first"]["weight"])
    assert torch.equal(two.second.weight, before["second"]["weight"])
    assert all(p.grad is None for net in (two.first, two.second) for p in net.parameters())


def test_update_equals_a_plain_step_of_adam(two: Two) -> None:
    """Through a loss, against torch's unfused Adam on a copy."""
    x = torch.randn(2, 1, 8, 8)
    first, second = copy.deepcopy(two.first), copy.deepcopy(two.second)
    plain = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.1, betas=(0.9, 0.99), foreach=False)
    for _ in range(3):
        two.update(two.second(two.first(x)).square().mean(), two.opt_first, two.opt_second)
        plain.zero_grad()
        second(first(x)).square().mean().backward()
        plain.step()
    for mine, theirs in zip([*two.first.parameters(), *two.second.parameters()], plain.param_groups[0]["params"]):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_a_gradient_in_another_memory_order_reaches_the_right_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused optimisers read memory, not indices: autograd or an all-reduce may hand over another order."""
    net = nn.Conv2d(4, 4, 3, bias=False).to(memory_format=torch.channels_last)
    before, gradient = net.weight.detach().clone(), torch.randn(4, 4, 3, 3)
    stage = construct(Two, TrainConfig(steps=1, batch=2), Dataset.tiny(find_card("digits")), CPU, seed=0)
    monkeypatch.setattr(distributed, "mean_gradients", lambda _: [gradient])
    assert gradient.stride() != net.weight.stride()
    stage.update(net.weight.sum(), torch.optim.Adam(net.parameters(), lr=0.1, fused=True))
    assert torch.allclose(net.weight, before - 0.1 * gradient.sign(), atol=1e-4)  # Adam's first step
    assert net.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_parameter_the_loss_does_not_reach_keeps_its_value(two: Two) -> None:
    before = two.second.weight.detach().clone()
    two.update(two.first(torch.randn(2, 1, 8, 8)).mean(), two.opt_first, two.opt_second)
    assert torch.equal(two.second.weight, before)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_the_first_step_with_a_bad_loss_is_remembered(bad: float, two: Two) -> None:
    for step, factor in ((4, 1.0), (5, bad), (6, bad)):
        two._step = step
        two.note_finite(torch.tensor(factor))
    assert int(two.first_bad_step) == 5


def test_state_is_what_is_trained(two: Two) -> None:
    assert set(two.modules()) == {"first", "second"}
    assert set(two.optimisers()) == {"opt_first", "opt_second"}
    assert set(two.state_dict()) == {"first", "second", "opt_first", "opt_second", "first_bad_step"}


def test_weights_are_a_function_of_the_seed(two: Two) -> None:
    cfg, data = TrainConfig(steps=10, batch=2), Dataset.tiny(find_card("digits"))
    torch.randn(5)  # the state of the global generator does not matter
    assert torch.equal(construct(Two, cfg, data, CPU, seed=3).first.weight, two.first.weight)
    assert not torch.equal(construct(Two, cfg, data, CPU, seed=4).first.weight, two.first.weight)


def test_mix_gives_distinct_well_spread_numbers() -> None:
    numbers = {derive_seed(seed, t, rank) for seed in range(20) for t in range(200) for rank in range(4)}
    assert len(numbers) == 20 * 200 * 4
    assert all(0 <= number < 2**63 for number in numbers)
    assert derive_seed(0, 1) != derive_seed(1, 0)
    assert derive_seed(0) != derive_seed(0, 0)
    ones = statistics.mean(bin(number).count("1") for number in numbers)
    assert abs(ones - 31.5) < 0.2  # half of 63 bits


def test_a_step_is_seeded_by_seed_step_and_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(seed: int, t: int, rank: int = 0) -> list[float]:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        seed_step(seed, t)
        return torch.rand(3).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert draw(1, 2) != draw(1, 3) != draw(2, 2) != draw(1, 2, rank=1)
    assert draw(1, 2) != draw(1, 2, rank=1)


def test_find_method_asks_for_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    import methods.sngan

    class Other(SNGAN):
        __module__ = "methods.sngan"

    monkeypatch.setattr(methods.sngan, "Other", Other, raising=False)
    with pytest.raises(ConfigError, match="defines 2 subclasses of Method"):
        find_method("sngan")


def test_recipes_are_looked_up_by_dataset() -> None:
    file: MethodFile = find_method("infoscc")
    assert file.recipe("paper", "afhq").steps == 200_000
    assert file.default_recipe("celeba", "paper") == "paper"
    assert file.default_recipe("digits", "paper") == "small"
    with pytest.raises(ConfigError, match="has no settings for 'digits'"):
        file.recipe("paper", "digits")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Wider(GANConfig):
    pass


@pytest.mark.parametrize(
    ("key", "value"), [("betas", [0.5, 1.0]), ("n_dis", 0), ("ema_half_life_images", -1.0), ("lr_D", 0.0), ("batch", 0)]
)
def test_gan_settings_have_ranges(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        build(Wider, {"steps": 1, "batch": 1, key: value})


def test_integers_are_taken_where_adam_wants_floats() -> None:
    cfg = build(Wider, {"steps": 1, "batch": 1, "betas": [0, 0.9]})
    assert cfg.betas == (0.0, 0.9)
    assert all(type(beta) is float for beta in cfg.betas)
    loss: Tensor = torch.nn.Parameter(torch.zeros(1))
    torch.optim.Adam([loss], betas=cfg.betas)


HEAD = "from benchmark.training import GANConfig, Method\n\nclass Config(GANConfig): ...\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("import os\n\nnothing_is_called_so()\n", ["broken.py, line 3", "NameError", "nothing_is_called_so"]),
        ("x = 1\ndef f(:\n", ["broken.py, line 2", "SyntaxError"]),
        ("\nfrom benchmark.training import Nothing\n", ["broken.py, line 2", "ImportError", "Nothing"]),
        (f"{HEAD}RECIPES = {{'small': {{'default': Config(steps=-1)}}}}\n", ["broken.py, line 4"]),
        (f"{HEAD}class Broken(Method): ...\n", ["broken.py: no RECIPES"]),
    ],
)
def test_a_method_file_that_cannot_be_imported_is_named_with_its_line(
    text: str, parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.setattr("methods.__path__", [*methods.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "methods.broken", raising=False)
    assert main(["run", "--method", "broken", "--device", "cpu", "--results", str(tmp_path / "r")]) == 2
    message = capsys.readouterr().err
    for part in parts:
        assert part in message
    assert "Traceback" not in message
    assert len(message.splitlines()) < 6
    sys.modules.pop("methods.broken", None)
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "cannot be used: " in shown or "  broken " in shown
    assert "\n  sngan " in shown, "the others are still listed"
