"""Every method under every precision: float32 keeps its bits, bfloat16 trains in the formats that it promises."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_methods import CASES, CPU, VARIANTS, built, small, take_steps, tiny_data
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.core.engine import Precision
from benchmark.nn import losses
from benchmark.nn.precision import training_precision
from benchmark.training.method import Method, find_method

# Of D's and G's loss at the first step, beside fp32's: 2 % of its size, and as much where it is near 0. Measured over
# all cases below, the largest difference is 0.43 of this (BigGAN on digits). Penalties have a test of their own
# (`tests/unit/nn/test_precision.py`): at that step they see weights that earlier updates have moved, and Adam's first
# move is the sign of a gradient, whatever its size.
RELATIVE, ABSOLUTE = 0.02, 0.02

Case = tuple[str, str, dict[str, Any]]

PENALISED: list[Case] = [  # every gradient penalty of every method that has one
    ("dcgan", "digits", {"r1_weight": 1.0}),
    ("eigengan", "digits", {}),
    ("icgan", "digits", {**VARIANTS["icgan"][2], "r1_weight": 1.0, "pl_weight": 2.0}),
    ("infoscc", "digits", {}),
    ("ltgan", "digits", {"r1_gamma": 1.0, "lambda_cr": 10.0, "warmup": 0.0}),
    ("mgan", "digits", {"r1_weight": 1.0}),
    ("r3gan", "shapes", {"augment": (0.5, 0.5)}),
    ("selfcond", "digits", {"r1_weight": 1.0, "labels": "online"}),
    ("stylegan2", "digits", {"r1_weight": 1.0, "pl_weight": 2.0}),
]
EVERY: list[Case] = [
    *((name, dataset, {}) for name, dataset in CASES if dataset != "shapes" or name == "latentcond"),
    *PENALISED,
    ("biggan", "digits", {"conditional": False}),
    ("crgan", "digits", {"backbone": "biggan", "conditional": True}),
    ("latentcond", "digits", {"pairing": "naive", "f_source": "map"}),
]
QUICK = ("infoscc", "sngan", "stylegan2", "latentcond")  # the others are slow ones
CASE = pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            one,
            id="-".join([one[0], one[1], *one[2]]),
            marks=[] if one[0] in QUICK and one[1] == "digits" else pytest.mark.slow,
        )
        for one in EVERY
    ],
)


def method_of(case: Case, folder: Path) -> tuple[Method, Any]:
    """The same method at each call, and its data."""
    name, dataset, changes = case
    file, data = find_method(name), tiny_data(dataset)
    return built(file, replace(small(file, dataset), **changes), data, folder)[0], data


def trained(
    case: Case, folder: Path, precision: Precision | None, steps: int
) -> tuple[Method, list[dict[str, Tensor]]]:
    """A method after so many steps, and what each one logged. None: outside of any context."""
    method, data = method_of(case, folder)
    return method, [one_step(method, data, t, precision) for t in range(steps)]


def one_step(method: Method, data: Any, t: int, precision: Precision | None) -> dict[str, Tensor]:
    """Step t, which continues where the stream was."""
    if precision is None:
        logged, method.position = take_steps(method, data, t, t + 1)  # type: ignore[attr-defined]
    else:
        with training_precision(precision, CPU):
            logged, method.position = take_steps(method, data, t, t + 1)  # type: ignore[attr-defined]
    return logged


def tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a state, by a name."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, dict):
        for key, value in state.items():
            yield from tensors(value, f"{name}.{key}")


def assert_same(one: Method, other: Method) -> None:
    """Bit for bit: weights, moments, all else that is saved."""
    theirs = dict(tensors(other.state_dict()))
    for name, tensor in tensors(one.state_dict()):
        assert torch.equal(tensor, theirs.pop(name)), name
    assert not theirs


def test_fp32_changes_no_bit(tmp_path: Path) -> None:
    case = EVERY[0]
    plain, within = trained(case, tmp_path, None, 2), trained(case, tmp_path, "fp32", 2)
    assert_same(plain[0], within[0])
    for a, b in zip(plain[1], within[1], strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a.keys() | b.keys())


@CASE
def test_bf16_trains_near_float32_and_resumes_to_the_same_bits(case: Case, tmp_path: Path) -> None:
    method, logged = trained(case, tmp_path, "bf16", 3)
    for name, tensor in tensors(method.state_dict()):
        assert tensor.dtype in (torch.float32, torch.int64), name
        assert bool(torch.isfinite(tensor).all()), name
    for step in logged:
        for name, loss in step.items():
            assert loss.dtype == torch.float32, name
            assert bool(torch.isfinite(loss)), name
    assert int(method.first_bad_step) == -1

    _, (exact,) = trained(case, tmp_path, "fp32", 1)
    for name in ("D", "G"):
        allowed = RELATIVE * exact[name].abs() + ABSOLUTE
        assert (logged[0][name] - exact[name]).abs() <= allowed, (name, logged[0][name], exact[name])

    killed, _ = trained(case, tmp_path, "bf16", 2)  # the same run again, and again from its state
    resumed, data = method_of(case, tmp_path)
    resumed.load_state_dict(copy.deepcopy(killed.state_dict()))
    resumed.position = killed.position  # type: ignore[attr-defined]
    one_step(resumed, data, 2, "bf16")
    assert_same(resumed, method)


# ---- which operation ran in which format ----------------------------------------------------------------------------

FORWARD = {"convolution", "addmm", "mm", "linear"}


class Observed(TorchDispatchMode):
    """The formats of convolutions and products, and of those in backward passes that are differentiated again."""

    def __init__(self) -> None:
        super().__init__()
        self.forward: set[torch.dtype] = set()  # of convolutions and matrix products
        self.norms: set[torch.dtype] = set()  # of power iterations
        self.penalties: set[torch.dtype] = set()  # of penalties' backward passes
        self.in_penalty = False

    def __torch_dispatch__(self, f: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, dtypes = f.overloadpacket.__name__, {x.dtype for x in args if isinstance(x, Tensor)}
        if name in FORWARD:
            self.forward |= dtypes
        if name in ("mv", "vdot"):
            self.norms |= dtypes
        if self.in_penalty and (name in FORWARD or name == "convolution_backward"):
            self.penalties |= dtypes
        return f(*args, **(kwargs or {}))


@contextmanager
def observed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Observed]:
    """What runs meanwhile. A penalty is known by its gradient, which is taken with a graph."""
    seen, plain = Observed(), torch.autograd.grad

    def grad(*args: Any, create_graph: bool = False, **options: Any) -> Any:
        seen.in_penalty = create_graph
        try:
            return plain(*args, create_graph=create_graph, **options)
        finally:
            seen.in_penalty = False

    monkeypatch.setattr(torch.autograd, "grad", grad)
    with seen:
        yield seen


def watched(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Observed:
    """The first step of a method in bfloat16."""
    method, data = method_of(case, folder)
    with observed(monkeypatch) as seen:
        one_step(method, data, 0, "bf16")
    return seen


@CASE
def test_networks_run_in_bf16_and_what_needs_digits_in_float32(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(case, tmp_path, monkeypatch)
    assert torch.bfloat16 in seen.forward
    assert seen.norms <= {torch.float32}
    assert seen.penalties <= {torch.float32}
    assert bool(seen.penalties) == (case in PENALISED or case[0] in ("r3gan", "eigengan", "infoscc", "stylegan2"))


@pytest.mark.parametrize("name", ["dcgan", "r3gan", "stylegan2"])
def test_a_penalty_under_autocast_is_caught(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = [case for case in PENALISED if case[0] == name]
    module = importlib.import_module("benchmark.training.plain_gan" if name == "dcgan" else f"methods.{name}")
    if name == "r3gan":
        monkeypatch.setattr(module, "in_float32", lambda function: function)
        monkeypatch.setattr(module, "gradient_penalty", losses.gradient_penalty.__wrapped__)  # type: ignore[attr-defined]
    else:
        monkeypatch.setattr(module, "r1", losses.r1.__wrapped__)  # type: ignore[attr-defined]
    seen = watched(case, tmp_path, monkeypatch)
    assert torch.bfloat16 in seen.penalties


def test_backward_passes_of_float32_parts_stay_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast reaches the products of a backward pass, too; convolutions follow their forward pass on a CPU."""
    on: list[bool] = []
    method, data = method_of(("sngan", "digits", {}), tmp_path)
    plain = torch.autograd.grad

    def grad(*args: Any, **options: Any) -> Any:
        on.append(torch.is_autocast_enabled("cpu"))
        return plain(*args, **options)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    one_step(method, data, 0, "bf16")
    assert on
    assert not any(on)
