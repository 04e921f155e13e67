"""Every method's step, captured whole, against the step as it is. No GPU is needed: torch.compile runs on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_methods import CPU, built, tiny_data
from torch import Tensor, nn
from torch._dynamo.backends.registry import lookup_backend

import benchmark.data.stream
from benchmark.core.errors import ConfigError
from benchmark.core.registry import method_names
from benchmark.core.seeds import seed_step
from benchmark.training.capture import CapturedStep, check_capture, stepper
from benchmark.training.loop import _learning_rates, _set_learning_rates, stream_for
from benchmark.training.method import Method, find_method
from benchmark.training.stages.encoders import FeatureConfig
from benchmark.training.stages.pyramid import PyramidConfig

STEPS = 20
ROUNDING = 1e-14  # of a gradient in double precision
STEP_OF_ROUNDING = 1e-9  # what Adam makes of it: lr * ROUNDING / eps, with lr <= 1e-3 and eps = 1e-8
# Settings in which a step can be captured, and small ones: of a method that is not here, those of its small recipe.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "acgan": [{"width": 4}],
    "biggan": [{"ch": 2}],
    "cgan": [{"width": 4}],
    "crgan": [{"width": 4}],
    "dcgan": [{"width_G": 4, "width_D": 4}],
    "eigengan": [{"augment": 1.0, "r1_every": 3, "r1_weight": 1.0}],
    "icgan": [{"ch": 2}],
    "infoscc": [{"augment": 0.0, "r1_every": 3, "r1_weight": 1.0, "n_cls": 2}],
    "latentcond": [{"width": 4, "features": FeatureConfig(name="pixels"), "g_steps_per_d": 2}],
    "ltgan": [{"width": 4, "warmup": 0.5}],
    "mgan": [{"width_G": 4, "width_D": 4}],
    "pacgan": [{"width_G": 4, "width_D": 4}],
    "projectedgan": [{"width": 4, "features": PyramidConfig(input_px=64, width=8, n_scales=2), "augment": 1.0}],
    "selfcond": [{"width_G": 4, "width_D": 4, "labels": "classes"}],
    "sngan": [{"width": 4}],
    "ssgan": [{"width": 4}],
    "stylegan2": [
        {
            "base": 64,
            "max_width": 8,
            "w_dim": 8,
            "z_dim": 8,
            "r1_every": 4,
            "pl_every": 2,
            "r1_weight": 1.0,
            "pl_weight": 1.0,
        }
    ],
}
VARIANTS = {"eigengan": 2, "infoscc": 4, "latentcond": 2, "ltgan": 2, "stylegan2": 3}  # of the others one
REFUSED = {  # by settings of their own
    "eigengan": ({}, "DiffAugment"),
    "infoscc": ({}, "DiffAugment"),
    "projectedgan": ({"augment": 0.5}, "DiffAugment"),
    "r3gan": ({}, "from its number"),
    "selfcond": ({}, "clusters images"),
}

QUICK = ("dcgan", "pacgan", "sngan", "selfcond")  # the others are slow ones


def configured(name: str, dataset: str = "digits", **changes: Any) -> Any:
    """A method's small recipe for a dataset, with a batch of 8 and so many steps."""
    return replace(find_method(name).recipe("small", dataset), batch=8, steps=STEPS, **changes)


def state_of(method: Method) -> dict[str, Tensor]:
    """Every tensor of a state, by a name."""
    found: dict[str, Tensor] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, part in value.items():
                add(f"{name}.{key}", part)

    add("state", method.state_dict())
    return found


def far_apart(eager: dict[str, Tensor], captured: dict[str, Tensor], tolerance: float) -> list[str]:
    """Names of tensors that differ by more than the tolerance, relative to the largest entry.

    Moments of parameters that no gradient has reached yet exist in a captured state alone, and are 0. Gradients that
    are 0 but for rounding, as of biases before a batch norm, are not compared where kernels differ, and neither are the
    steps that Adam makes of them.
    """

    def floor(name: str) -> float:
        return 0.0 if not tolerance else ROUNDING if name.startswith("state.opt") else STEP_OF_ROUNDING

    assert eager.keys() <= captured.keys()
    assert not any(bool(captured[name].any()) for name in captured.keys() - eager.keys())
    return [
        f"{name}: {float((captured[name] - value).abs().max()):.2g} of {float(value.abs().max()):.2g}"
        for name, value in eager.items()
        if value.numel()
        and not bool(((captured[name] - value).abs() <= tolerance * value.abs().max() + floor(name)).all())
    ]


@pytest.fixture
def double_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks, images, features and random numbers in float64."""
    with monkeypatch.context() as patched:
        patched.setattr(benchmark.data.stream, "to_float", lambda images: images.double() / 127.5 - 1)
        patched.setattr(Tensor, "float", Tensor.double)
        torch.set_default_dtype(torch.float64)
        yield
    torch.set_default_dtype(torch.float32)


def counting(name: str, graphs: list[Any]) -> Callable[..., Any]:
    """A backend of torch.compile that keeps the graphs it was given."""

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return lookup_backend(name)(graph, inputs)

    return backend


def of_one_precision(method: Method, stages: dict[str, Any]) -> Method:
    """The method, its stages in torch's default precision: weights that come from a file are float32."""
    for stage in stages.values():
        if isinstance(stage, nn.Module):
            stage.to(torch.get_default_dtype())
    return method


def compare_steps(
    name: str, changes: dict[str, Any], backend: str, folder: Path, tolerance: float, dataset: str = "digits"
) -> int:
    """Assert that each captured step, from the eager state, ends as the eager one. Returns the number of variants.

    Nothing is compiled after the first step. Until then torch may hand a graph to the backend twice: it does so once
    where inductor's caches are empty.
    """
    data, cfg, graphs = tiny_data(dataset), configured(name, dataset, **changes), []
    eager, captured = (of_one_precision(*built(find_method(name), cfg, data, folder)) for _ in range(2))
    stream, its_stream = stream_for(eager, data, 5), stream_for(captured, data, 5)
    step = stepper(captured, its_stream, "compile", counting(backend, graphs))
    assert isinstance(step, CapturedStep)
    rates, made = _learning_rates(eager), 0
    for t in range(STEPS):
        _set_learning_rates(rates, eager.lr_factor(t))
        captured.load_state_dict(copy.deepcopy(eager.state_dict()))
        eager._step = captured._step = t
        seed_step(5, t)
        losses = eager.step(stream, t)
        seed_step(5, t)
        its_losses = step(its_stream, t)
        losses = {loss: value.detach() for loss, value in losses.items()}
        apart = far_apart(losses, its_losses, tolerance) + far_apart(state_of(eager), state_of(captured), tolerance)
        assert not apart, (t, apart)
        assert stream.position == its_stream.position
        assert captured._step == t
        made = made or len(graphs)
        assert len(graphs) == made, "all are made before the first step"
    assert made >= len(step.captured)
    return len(step.captured)


CASES = [(name, changes) for name in method_names() for changes in SETTINGS.get(name, [{}])]


def capturable(name: str, changes: dict[str, Any]) -> bool:
    """Whether the method takes the option in these settings."""
    return not find_method(name).cls.uncapturable(configured(name, **changes))


@pytest.mark.parametrize(
    ("name", "changes"),
    [pytest.param(*case, marks=[] if case[0] in QUICK else pytest.mark.slow) for case in CASES if capturable(*case)],
)
def test_a_captured_step_is_the_step(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """Backend `eager` runs the captured graph by the same kernels: every bit is the same."""
    assert compare_steps(name, changes, "eager", tmp_path, 0.0) == VARIANTS.get(name, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), [case for case in CASES if capturable(*case)])
def test_a_step_of_compiled_kernels_is_the_step(
    name: str, changes: dict[str, Any], tmp_path: Path, double_precision: None
) -> None:
    """Inductor's kernels round otherwise. Adam divides gradients by their size, so small ones need double precision."""
    assert compare_steps(name, changes, "inductor", tmp_path, 1e-5) == VARIANTS.get(name, 1)


@pytest.mark.slow
def test_singular_vectors_of_three_rows_are_those_of_the_weight_before_the_step(
    tmp_path: Path, double_precision: None
) -> None:
    """A product with few rows is a sum that inductor computes where it is used, here after the optimiser's step."""
    assert compare_steps("biggan", {"ch": 2}, "inductor", tmp_path, 1e-5, "shapes_class") == 1


@pytest.mark.parametrize("name", [name for name in method_names() if name in REFUSED])
def test_what_cannot_be_captured_is_refused_by_name(name: str) -> None:
    changes, reason = REFUSED[name]
    file, cfg = find_method(name), configured(name, **changes)
    for capture in ("compile", "graph"):
        with pytest.raises(ConfigError, match=reason) as refused:
            check_capture(file.cls, cfg, torch.device("cuda"), capture)  # type: ignore[arg-type]
        assert f"--capture {capture} of {file.cls.__name__}" in str(refused.value)
        assert "--capture none" in str(refused.value)
    check_capture(file.cls, cfg, CPU, "none")


def test_every_refusal_is_tested() -> None:
    by_default = {name for name in method_names() if not capturable(name, {})}
    assert by_default <= set(REFUSED)
