"""Every method file: its recipes build, its steps are sound, it continues to the same bits, it samples what is asked.

A file dropped into `methods/` is tested the moment it is there.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import JUDGED
from torch import Tensor, nn

import benchmark.runs.run
import methods
from benchmark.__main__ import main
from benchmark.core.config import build, to_dict
from benchmark.core.errors import ConfigError
from benchmark.core.registry import method_names
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card, list_cards
from benchmark.data.prepared import Dataset
from benchmark.evaluation.latents import LatentSpace
from benchmark.runs.plan import DryRun
from benchmark.training.loop import stream_for
from benchmark.training.method import Method, MethodFile, construct, find_method

CPU = torch.device("cpu")
EMBEDDED = ("digits", "shapes")  # a grey one with classes, a coloured one with attributes
CASES = [
    (name, dataset)
    for name in method_names()
    for dataset in (*EMBEDDED, *(("ring2d",) if "points" in find_method(name).cls.accepts else ()))
]
LARGE_SIDE = 48  # pixels: nets for larger pictures take many seconds to build


def recipe_case(name: str, recipe: str, dataset: str) -> Any:
    """A parameter of the test of recipes; those with large nets are slow."""
    large = dataset in list_cards() and recipe != "small" and find_card(dataset).resolution > LARGE_SIDE
    return pytest.param(name, recipe, dataset, marks=[pytest.mark.slow] if large else [])


RECIPES = [
    recipe_case(name, recipe, dataset)
    for name in method_names()
    for recipe, rows in find_method(name).RECIPES.items()
    for dataset in rows
]


class Unrehearsed(DryRun):
    """Hands out untrained stages without timing any step: building costs no training."""

    def train(self, stage: Any, cfg: Any, **inputs: Any) -> nn.Module:
        product = construct(stage, cfg, self.data, self.device, 0, **inputs).product().requires_grad_(False).eval()
        self._keys.append((product, str(len(self._keys))))
        return product


def tiny_data(dataset: str) -> Dataset:
    """Random pictures of a card's shape; the small recipes' card where the dataset is `default`."""
    return Dataset.tiny(find_card("digits" if dataset == "default" else dataset))


def built(file: MethodFile, cfg: Any, data: Dataset, folder: Path) -> tuple[Method, dict[str, Any]]:
    """A method with untrained stages, and these stages."""
    stages = file.cls.stages(Unrehearsed(data, folder, CPU), cfg)
    return construct(file.cls, cfg, data, CPU, 0, **stages), stages


def small(file: MethodFile, dataset: str) -> Any:
    """The method's small recipe with a batch of 8."""
    return replace(file.recipe("small", dataset), batch=8, steps=100)


def frozen_nets(stages: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Copies of what every network among the stages holds."""
    return {k: copy.deepcopy(v.state_dict()) for k, v in stages.items() if isinstance(v, nn.Module)}


def take_steps(method: Method, data: Dataset, first: int, last: int) -> tuple[dict[str, Tensor], Any]:
    """Steps first..last-1 on a stream that has been drawn from as often as it would have been."""
    stream = stream_for(method, data, seed=5)
    stream.position = getattr(method, "position", 0)
    losses: dict[str, Tensor] = {}
    for t in range(first, last):
        method._step = t
        seed_step(5, t)
        losses |= method.step(stream, t)
    return losses, stream.position


def check_method_file(file: MethodFile, dataset: str, folder: Path) -> None:
    """All that the harness asks of a method, on one dataset's shape."""
    data = tiny_data(dataset)
    cfg = replace(small(file, dataset), n_dis=2)
    method, stages = built(file, cfg, data, folder)
    before = frozen_nets(stages)
    weights = {k: [p.clone() for p in net.parameters()] for k, net in method.modules().items()}

    losses, drawn = take_steps(method, data, 0, 3)
    assert losses, "a step returns scalars to log"
    for name, loss in losses.items():
        assert loss.shape == (), name
        assert bool(torch.isfinite(loss)), name
    assert int(method.first_bad_step) == -1
    more = cfg.batch if file.name == "r3gan" else 0  # its generator is compared with real images, too
    assert drawn == 3 * (cfg.images_a_step + more), "as many fresh images as records and equal budgets say"
    for name, net in method.modules().items():
        assert any(not torch.equal(p, w) for p, w in zip(net.parameters(), weights[name])), f"{name} learns"
        for parameter_name, parameter in net.named_parameters():
            assert parameter.grad is None, f"{name}.{parameter_name}: no gradient is left for another step"
    for name, old in before.items():
        for key, tensor in stages[name].state_dict().items():
            assert torch.equal(tensor, old[key]), f"{name}.{key}: what another stage made stays as it was"

    twin, _ = built(file, cfg, data, folder)
    twin.load_state_dict(copy.deepcopy(method.state_dict()))
    for thing in (method, twin):
        thing.position = drawn  # type: ignore[attr-defined]
        take_steps(thing, data, 3, 5)
    for name, net in method.modules().items():
        for key, tensor in net.state_dict().items():
            assert torch.equal(tensor, getattr(twin, name).state_dict()[key]), f"{name}.{key} after resuming"
    check_samples(method, data)
    check_latents(method, data)


def shape_of(data: Dataset, n: int) -> tuple[int, ...]:
    """Of n generated images or points."""
    return (n, 2) if data.is_points else (n, data.channels, data.resolution, data.resolution)


def check_samples(method: Method, data: Dataset) -> None:
    """`sample` is a function of the seed and of what is asked."""
    G = copy.deepcopy(method.G).eval()
    torch.manual_seed(1)
    sample = method.sample(G, 6)
    assert sample.images.dtype == torch.float32
    assert bool(torch.isfinite(sample.images).all())
    assert sample.images.shape == shape_of(data, 6)
    if not data.is_points:
        assert float(sample.images.min()) >= -1
        assert float(sample.images.max()) <= 1
    assert not sample.images.requires_grad
    torch.manual_seed(1)
    assert torch.equal(method.sample(G, 6).images, sample.images)
    torch.manual_seed(2)
    assert not torch.equal(method.sample(G, 6).images, sample.images)
    assert method.default_conditions, "what is drawn is recorded with every number"
    assert (method.default_conditions == "nothing") is (method.conditioning == "none")
    if method.conditioning == "none":
        assert sample.conditions is None
        return
    assert method.n_labels > 0
    assert sample.conditions is not None
    assert sample.conditions.dtype == torch.int64
    attributes = method.conditioning == "attributes"
    assert sample.conditions.shape == ((6, method.n_labels) if attributes else (6,))
    assert int(sample.conditions.min()) >= 0
    assert int(sample.conditions.max()) < (2 if attributes else method.n_labels)
    conditions = torch.zeros_like(sample.conditions)
    assert torch.equal(method.sample(G, 6, conditions).conditions, conditions)  # type: ignore[arg-type]
    own = method.own_classifier(sample.images)
    assert own is None or own.shape == (6, method.n_labels)
    if method.conditioning in ("instance", "latent"):
        check_instances(method, G, data)


def check_latents(method: Method, data: Dataset) -> None:
    """Images are a function of the latents, all else held: what path lengths and directions are measured on."""
    space = LatentSpace(method, copy.deepcopy(method.G).eval())
    z = space.draw(4)
    images = space.images(z)
    assert images.shape == shape_of(data, 4)
    assert torch.equal(space.images(z), images)
    assert not torch.equal(space.images(-z), images)
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(space.images(z).sum(), z)
    assert bool(gradient.any())
    assert gradient.shape == (4, space.dim)


def check_instances(method: Method, G: nn.Module, data: Dataset) -> None:
    """A method conditioned on images can be asked for those of another split, and comes back to its own."""

    def asked_for(row: int) -> Tensor:
        torch.manual_seed(3)
        return method.sample(G, 4, torch.full((4,), row, dtype=torch.int64)).images

    assert method.n_labels == len(data.train)
    own, last = asked_for(0), len(data.test) - 1
    method.condition_on(data, "test")
    assert method.n_labels == len(data.test)
    other = asked_for(last)
    assert other.shape == own.shape
    assert not torch.equal(other, own), "the images asked for decide what is shown"
    method.condition_on(data, "train")
    assert torch.equal(asked_for(0), own)
    targets = method.targets(torch.zeros(4, dtype=torch.int64))
    assert targets is not None, "the images that samples are to be like"
    assert targets.ndim == 2
    assert targets.shape[0] == 4
    assert 0 <= int(targets.min()) <= int(targets.max()) < len(data.train)


@pytest.mark.parametrize(("name", "dataset"), CASES)
def test_method_file(name: str, dataset: str, tmp_path: Path) -> None:
    check_method_file(find_method(name), dataset, tmp_path)


@pytest.mark.parametrize("name", method_names())
def test_the_docstring_says_what_it_is(name: str) -> None:
    summary = find_method(name).summary
    assert 20 < len(summary) <= 120
    assert summary.endswith(".")


@pytest.mark.parametrize(("name", "recipe", "dataset"), RECIPES)
def test_every_recipe_builds(name: str, recipe: str, dataset: str, tmp_path: Path) -> None:
    file = find_method(name)
    assert dataset == "default" or dataset in list_cards(), "a row is named as a card"
    cfg = file.recipe(recipe, dataset)
    assert isinstance(cfg, file.Config)
    assert build(file.Config, to_dict(cfg)) == cfg, "a recipe survives being written down"
    data = tiny_data(dataset)
    data.train.images, data.test.images = data.train.images[:2], data.test.images[:2]
    for split in (data.train, data.test):
        split.labels = None if split.labels is None else split.labels[:2]
        split.attributes = None if split.attributes is None else split.attributes[:2]
    method, _ = built(file, cfg, data, tmp_path)
    images = method.sample(method.G.eval(), 2).images
    assert images.shape == shape_of(data, 2)


# ---- sampling without the data --------------------------------------------------------------------------------------

VARIANTS: dict[str, list[dict[str, Any]]] = {  # beside the small recipe: whatever decides how samples are drawn
    "acgan": [{"label_noise": 0.3}],
    "biggan": [{"conditional": False}, {"fake_classes": "training"}],
    "cgan": [{"conditioning": "projection", "backbone": "resnet"}, {"backbone": "resnet"}],
    "crgan": [{"backbone": "biggan", "conditional": True}],
    "icgan": [
        {"class_conditional": True},
        {"class_conditional": True, "balance_classes": True},
        {"backbone": "stylegan2", "loss": "non_saturating", "base": 64, "max_width": 8, "w_dim": 8, "n_instances": 0},
    ],
    "infoscc": [{"labels": "clusters", "n_clusters": 4}],
    "latentcond": [{"f_dim": 0, "backbone": "resnet"}, {"pairing": "naive", "f_source": "map"}],
    "ltgan": [
        {"backbone": "biggan", "conditional": True},
        {"backbone": "stylegan2", "layer": 8, "loss": "non_saturating", "width": 4},
    ],
    "pacgan": [{"m": 3}],
    "selfcond": [{"labels": labels} for labels in ("fixed", "online", "encoder", "random", "classes", "none")],
    "projectedgan": [{"lite": True}],
}


def sampling_cases() -> list[Any]:
    """Every method on every kind of data that it takes, its variants on classes."""
    plain = [(name, dataset, {}) for name, dataset in CASES]
    more = [(name, "digits", changes) for name, every in VARIANTS.items() for changes in every]
    return [
        pytest.param(*case, id="-".join([*case[:2], *(f"{key}={value}" for key, value in case[2].items())]))
        for case in plain + more
    ]


def samples(method: Method, state: dict[str, Tensor], given: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Images of these weights, for conditions as the method draws them or for given ones, and the conditions."""
    G = copy.deepcopy(method.G).eval()
    G.load_state_dict(state)
    torch.manual_seed(11)
    sample = method.sample(G, 9, given)
    return sample.images, sample.conditions


def check_sampling_without_data(file: MethodFile, dataset: str, changes: dict[str, Any], folder: Path) -> None:
    """From what a run can save, and the data's outline, come the same bits as from the method that was trained."""
    data = tiny_data(dataset)
    cfg = replace(small(file, dataset), **changes)
    trained, _ = built(file, cfg, data, folder)
    take_steps(trained, data, 0, 3)
    torch.save(trained.sampling_state(), folder / "sampling.pt")
    state = torch.load(folder / "sampling.pt", weights_only=True)

    method = file.cls.for_sampling(cfg, Dataset.from_outline(data.outline()), CPU, state)
    for name in ("conditioning", "n_labels", "n_paired_classes", "default_conditions", "cfg", "device"):
        assert getattr(method, name) == getattr(trained, name), name
    weights = trained.G.state_dict()
    if method.conditioning in ("instance", "latent"):
        with pytest.raises(ConfigError, match="loaded without its encoder"):
            method.condition_on(data, "test")
    images, conditions = samples(method, weights, None)
    expected, drawn = samples(trained, weights, None)
    assert torch.equal(images, expected)
    assert (conditions is None) == (drawn is None)
    if conditions is None or drawn is None:
        return
    assert torch.equal(conditions, drawn)
    if method.n_paired_classes:  # an instance and the class to show it in
        pairs = torch.stack([drawn, torch.arange(len(drawn)) % method.n_paired_classes], 1)
        assert torch.equal(samples(method, weights, pairs)[0], samples(trained, weights, pairs)[0])
        assert not torch.equal(samples(method, weights, pairs)[0], samples(method, weights, pairs.flip(0))[0])
    given = drawn.flip(0) if drawn.ndim == 1 else 1 - drawn
    assert torch.equal(samples(method, weights, given)[0], samples(trained, weights, given)[0])


@pytest.mark.parametrize(("name", "dataset", "changes"), sampling_cases())
def test_a_trained_generator_is_sampled_without_the_data(
    name: str, dataset: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    check_sampling_without_data(find_method(name), dataset, changes, tmp_path)


def test_a_method_that_keeps_what_it_learned_to_draw_to_itself_is_caught(tmp_path: Path) -> None:
    file = find_method("selfcond")

    class Forgetful(file.cls):  # type: ignore[name-defined, misc]
        def sampling_state(self) -> dict[str, Any]:
            return {}

    with pytest.raises(AssertionError):
        check_sampling_without_data(replace(file, cls=Forgetful), "digits", {}, tmp_path)


# ---- files that are dropped in, and mistakes that are caught --------------------------------------------------------

TOY = '''"""A toy method, as a user would drop it into the folder."""

from __future__ import annotations

import torch
from pydantic.dataclasses import dataclass
from torch import nn

from benchmark.nn.losses import adversarial
from benchmark.training import STRICT, GANConfig, Method, PositiveInt, Sample


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config(GANConfig):
    z_dim: PositiveInt = 4  # of the latent


class Toy(Method):
    """Toy: a linear generator against a linear discriminator."""

    def __init__(self, cfg, data):
        shape = (data.channels, data.resolution, data.resolution)
        size = shape[0] * shape[1] * shape[2]
        self.G = nn.Sequential(nn.Linear(cfg.z_dim, size), nn.Tanh(), nn.Unflatten(1, shape))
        self.D = nn.Sequential(nn.Flatten(), nn.Linear(size, 1))
        self.opt_G, self.opt_D = self.adam(self.G, cfg.lr_G, cfg.betas), self.adam(self.D, cfg.lr_D, cfg.betas)
        self.loss_D, self.loss_G = adversarial("hinge")

    def step(self, stream, t):
        for _ in range(self.cfg.n_dis):
            x = next(stream).images
            loss_D = self.loss_D(self.D(x), self.D(self.sample(self.G, len(x)).images))
            self.update(loss_D, self.opt_D)
        loss_G = self.loss_G(self.D(self.G(self.normal(len(x), self.cfg.z_dim))))
        self.update(loss_G, self.opt_G)
        return {"D": loss_D, "G": loss_G}

    @torch.no_grad()
    def sample(self, G, n, conditions=None):
        return Sample(G(self.normal(n, self.cfg.z_dim)), None)


RECIPES = {"small": {"default": Config(steps=10, batch=8)}}
'''


def test_a_new_file_is_found_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    assert "toy" in method_names()
    file = find_method("toy")
    assert file.summary.startswith("Toy: a linear generator")
    for dataset in EMBEDDED:
        check_method_file(file, dataset, tmp_path)
    monkeypatch.setattr(benchmark.runs.run, "save_pictures", lambda *_, **__: None)
    words = ["run", "--method", "toy", "--device", "cpu", "--quiet", "--results", str(tmp_path / "results")]
    assert main([*words, "--set", *JUDGED]) == 0
    assert "toy on digits, recipe small, seed 0: done" in capsys.readouterr().out


def test_a_changed_file_is_named_where_an_earlier_result_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run's name has its settings, not the code of its method: `version` tells two codes apart."""
    file = tmp_path / "toy.py"
    file.write_text(TOY)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    monkeypatch.setattr(benchmark.runs.run, "save_pictures", lambda *_, **__: None)
    words = ["run", "--method", "toy", "--device", "cpu", "--quiet", "--results", str(tmp_path / "results")]
    words += ["--set", *JUDGED]
    assert main(words) == 0
    capsys.readouterr()
    file.write_text(TOY.replace("Toy: a linear generator", "Toy: another wording of the generator"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(words) == 0
    assert [str(one.message) for one in caught if "toy" in str(one.message)] == []
    assert "nothing was trained" in capsys.readouterr().out
    file.write_text(TOY.replace('adversarial("hinge")', 'adversarial("non_saturating")'))
    with pytest.warns(UserWarning, match=r"raise `version` in methods/toy.py: that file has changed since .*json"):
        assert main(words) == 0
    for record in (tmp_path / "results/records").iterdir():
        record.unlink()
    with pytest.warns(UserWarning, match="has changed since this run was begun; it goes on with the present code"):
        assert main(words) == 0


def test_a_step_that_returns_no_losses_is_named_by_the_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mute.py").write_text(TOY.replace('return {"D": loss_D, "G": loss_G}', "return None"))
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    words = ["run", "--method", "mute", "--device", "cpu", "--quiet", "--results", str(tmp_path / "results")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "methods.mute: `step` returned NoneType" in error
    assert 'return the losses by name, each a tensor of one number: {"D": loss_D, "G": loss_G}' in error


def test_images_that_are_not_finite_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoiled = TOY.replace(
        "Sample(G(self.normal(n, self.cfg.z_dim)), None)", "Sample(G(self.normal(n, 4)) * spoil(), None)"
    )
    (tmp_path / "nan.py").write_text(spoiled + "\n\ndef spoil():\n    return float('nan')\n")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    words = ["run", "--method", "nan", "--device", "cpu", "--quiet", "--results", str(tmp_path / "results")]
    assert main([*words, "--set", *JUDGED]) == 1
    assert "NaN or infinity" in capsys.readouterr().err


def test_a_leaking_method_is_caught(tmp_path: Path) -> None:
    """The checks above can fail: a method that leaves D's gradients behind does."""
    file = find_method("sngan")

    class Leaking(file.cls):  # type: ignore[name-defined, misc]
        def step(self, stream: Any, t: int) -> dict[str, Tensor]:
            losses = super().step(stream, t)
            self.D(self.G(self.normal(2, self.cfg.z_dim))).mean().backward()
            return losses

    with pytest.raises(AssertionError, match="no gradient is left"):
        check_method_file(replace(file, cls=Leaking), "digits", tmp_path)


def test_a_method_that_touches_a_frozen_net_is_caught(tmp_path: Path) -> None:
    file = find_method("infoscc")

    class Touching(file.cls):  # type: ignore[name-defined, misc]
        def step(self, stream: Any, t: int) -> dict[str, Tensor]:
            self.C.bias.data += 1e-3
            return super().step(stream, t)

    with pytest.raises(AssertionError, match="stays as it was"):
        check_method_file(replace(file, cls=Touching), "digits", tmp_path)
