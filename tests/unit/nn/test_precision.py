"""Precisions of a training step: what is switched, what stays float32, what a device is said to gain."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from benchmark.core.engine import PRECISIONS
from benchmark.nn import losses, precision
from benchmark.nn.ada import augment
from benchmark.nn.augment import DiffAugment
from benchmark.nn.eigengan import Subspace
from benchmark.nn.precision import (
    at_least_float32,
    exact_float32,
    in_float32,
    native_bf16,
    precision_note,
    training_precision,
)
from benchmark.nn.spectral_norm import spectral_norm
from benchmark.nn.stylegan2 import StyledConv, with_minibatch_std

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BF16 = torch.bfloat16


def switches() -> dict[str, Any]:
    """Everything global that a precision could leave behind."""
    backends: Any = torch.backends
    found: dict[str, Any] = {
        "cuda matmul": backends.cuda.matmul.allow_tf32,
        "cudnn": backends.cudnn.allow_tf32,
        "matmul": torch.get_float32_matmul_precision(),
        "cache": torch.is_autocast_cache_enabled(),
    }
    for kind in ("cpu", "cuda"):
        found[kind] = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    if hasattr(backends.cudnn, "conv"):
        for part in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul):
            found[str(part)] = part.fp32_precision
    return found


# ---- the step's context ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_afterwards_every_switch_is_as_it_was(name: Any, device: torch.device) -> None:
    if name == "bf16" and device == CUDA and not torch.cuda.is_available():
        pytest.skip("autocast of CUDA refuses to begin without one")
    before = switches()
    with training_precision(name, device):
        pass
    assert switches() == before
    with pytest.raises(ZeroDivisionError), training_precision(name, device):
        raise ZeroDivisionError
    assert switches() == before


def test_fp32_is_exact_whatever_torch_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch allows convolutions TF32 by default."""
    before = switches()
    with training_precision("fp32", CPU):
        assert switches() == before
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with training_precision("fp32", CUDA):
        assert not switches()["cudnn"]
        assert not switches()["cuda matmul"]
    assert switches()["cudnn"]


def test_tf32_switches_products_and_convolutions_of_cuda_alone() -> None:
    """As far as it goes without a GPU: the switches, not what a GPU makes of them."""
    before, on_cpu = switches(), torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    with training_precision("tf32", CPU):
        assert switches() == before
    with training_precision("tf32", CUDA):
        inside = switches()
        assert inside["cuda matmul"]
        assert inside["cudnn"]
        assert torch.backends.mkldnn.matmul.fp32_precision == on_cpu  # type: ignore[attr-defined]


def test_bf16_is_autocast_without_its_cache() -> None:
    with training_precision("bf16", CPU):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == BF16
        assert not torch.is_autocast_cache_enabled()
        layer, x = nn.Linear(3, 2, bias=False), torch.ones(1, 3)
        first = layer(x)
        assert first.dtype == BF16
        with torch.no_grad():
            layer.weight.zero_()
        assert not bool(layer(x).any()), "a changed weight is seen within the step"


def test_feature_passes_stay_float32_within_a_step() -> None:
    with training_precision("bf16", CPU), exact_float32("cpu"):
        assert nn.Linear(3, 2)(torch.ones(1, 3)).dtype == torch.float32


# ---- what stays float32 ---------------------------------------------------------------------------------------------


def test_in_float32_widens_arguments_and_turns_autocast_off() -> None:
    seen: list[Any] = []

    @in_float32
    def function(x: Tensor, words: str, *, y: Tensor, n: Tensor) -> Tensor:
        """What it does."""
        seen.extend([x.dtype, y.dtype, n.dtype, words, torch.is_autocast_enabled("cpu")])
        return x @ y

    x = torch.randn(2, 2, dtype=BF16, requires_grad=True)
    y, n = torch.randn(2, 2, dtype=torch.float64).to(BF16), torch.tensor(3)
    with training_precision("bf16", CPU):
        out = function(x, "text", y=y, n=n)
        assert torch.is_autocast_enabled("cpu"), "it is on again"
    assert seen == [torch.float32, torch.float32, torch.int64, "text", False]
    assert out.dtype == torch.float32
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.dtype == BF16
    assert torch.equal(gradient, y.float().sum(1).to(BF16).expand(2, 2))
    assert function.__doc__ == "What it does."


def test_without_autocast_in_float32_is_the_function_itself() -> None:
    given: list[Tensor] = []
    keep = in_float32(given.append)
    for dtype in (torch.float64, torch.float32, BF16):
        x = torch.zeros(2, dtype=dtype)
        keep(x)
        assert given[-1] is x
    assert at_least_float32(given[0]) is given[0]


def test_a_function_that_fails_leaves_autocast_on() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with training_precision("bf16", CPU):
        with pytest.raises(ZeroDivisionError):
            in_float32(fail)()
        assert torch.is_autocast_enabled("cpu")


def test_backward_passes_can_be_kept_float32() -> None:
    """Autocast also reaches the products of a backward pass that is called under it."""
    W = torch.randn(64, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    (exact,) = torch.autograd.grad(torch.mm(x, W).square().sum(), W)
    with training_precision("bf16", CPU):
        square_sum = in_float32(lambda: torch.mm(x, W).square().sum())
        (rough,) = torch.autograd.grad(square_sum(), W)
        (kept,) = in_float32(torch.autograd.grad)(square_sum(), W)
    assert torch.equal(kept, exact)
    assert not torch.allclose(rough, exact, rtol=1e-4)


PAIRS: list[Callable[[Tensor, Tensor], Tensor]] = [
    *(pair.D for pair in losses.ADVERSARIAL.values()),
    *(lambda real, fake, G=pair.G: G(fake) for pair in losses.ADVERSARIAL.values()),
    losses.relativistic,
    losses.mse_loss,
    lambda real, fake: losses.nt_xent(real.view(4, 8), fake.view(4, 8), 0.5),
    lambda real, fake: losses.label_loss(real.view(4, 8), torch.arange(4)),
    lambda real, fake: losses.label_loss(real.view(4, 8), torch.ones(4, 8)),
    lambda real, fake: losses.cross_entropy(real.view(4, 8), torch.arange(4)),
    lambda real, fake: losses.binary_cross_entropy_with_logits(real, torch.ones(32)),
    *(lambda real, fake, f=f: f(real).mean() for pair in losses.TRUE_AND_FALSE.values() for f in pair),
]


@pytest.mark.parametrize("loss", PAIRS)
def test_a_loss_of_short_logits_is_that_of_the_same_numbers_in_float32(loss: Callable[..., Tensor]) -> None:
    real, fake = torch.randn(2, 32, generator=torch.Generator().manual_seed(0)).to(BF16).unbind()
    with training_precision("bf16", CPU):
        found = loss(real, fake)
    assert found.dtype == torch.float32
    assert torch.equal(found, loss(real.float(), fake.float()))


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softplus(), nn.Flatten(), nn.Linear(8 * 36, 1), nn.Flatten(0))


def test_penalties_have_the_bits_of_float32() -> None:
    D, x = small_net(), torch.rand(4, 3, 8, 8)
    w = torch.randn(4, 2, 3, requires_grad=True)

    def lengths() -> Tensor:
        torch.manual_seed(1)
        images = in_float32(lambda: torch.einsum("nkc,chw->nchw", w.sin(), torch.ones(3, 8, 8)))()
        return losses.path_length_penalty(images, w, torch.zeros(()), 0.01)[0]

    expected, expected_lengths = losses.r1(D, x), lengths()
    with training_precision("bf16", CPU):
        found, found_lengths = losses.r1(D, x.to(BF16).float()), lengths()
        assert torch.equal(losses.r1(D, x), expected)
        assert not torch.equal(losses.r1.__wrapped__(D, x).float(), expected), "autocast does change a penalty"
    assert found.dtype == torch.float32
    assert torch.equal(found_lengths, expected_lengths)


def test_spectral_norms_run_outside_of_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU autocast leaves `mv` alone, CUDA's does not: what counts is whether it is on."""
    on: list[bool] = []

    def watched(W: Tensor, v: Tensor, plain: Callable[..., Tensor] = torch.mv) -> Tensor:
        on.append(torch.is_autocast_enabled("cpu"))
        return plain(W, v)

    ours, torchs = spectral_norm(nn.Linear(4, 3)), parametrizations.spectral_norm(nn.Linear(4, 3))
    monkeypatch.setattr(torch, "mv", watched)
    with training_precision("bf16", CPU):
        assert ours.weight.dtype == torch.float32
        assert len(on) == 3
        assert not any(on)
        _ = torchs.weight
    assert any(on), "torch's own runs under it"


@pytest.mark.parametrize(
    "layer", [nn.Linear(4, 3), nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3), nn.Embedding(5, 4)]
)
def test_our_spectral_norm_is_torchs(layer: nn.Module) -> None:
    twin = copy.deepcopy(layer)
    torch.manual_seed(0)
    ours = spectral_norm(layer, eps=1e-6)
    torch.manual_seed(0)
    torchs = parametrizations.spectral_norm(twin, eps=1e-6)
    for _ in range(2):
        assert torch.equal(ours.weight, torchs.weight)  # type: ignore[arg-type]
    for (name, mine), (other_name, other) in zip(ours.state_dict().items(), torchs.state_dict().items(), strict=True):
        assert name == other_name
        assert torch.equal(mine, other)
    copied = copy.deepcopy(ours)
    with torch.no_grad():
        ours.parametrizations.weight.original.zero_()  # type: ignore[union-attr]
    assert bool(copied.weight.any()), "a copy has a norm of its own"  # type: ignore[operator, union-attr]


def same_as_in_float32(function: Callable[[], Tensor]) -> bool:
    """Does autocast leave the bits of a function as they are?"""
    torch.manual_seed(2)
    expected = function()
    torch.manual_seed(2)
    with training_precision("bf16", CPU):
        return torch.equal(function(), expected)


def test_terms_that_need_digits_have_the_bits_of_float32() -> None:
    x = torch.rand(4, 3, 16, 16)
    subspace, styled = Subspace(6, 4, 8), StyledConv(5, 4, 4, double=False)
    with torch.no_grad():
        subspace.U += 0.01 * torch.randn_like(subspace.U)
    assert same_as_in_float32(lambda: augment(x, 1.0))
    assert same_as_in_float32(lambda: DiffAugment(p=1.0)(x))
    assert same_as_in_float32(subspace.orthogonality)
    assert same_as_in_float32(lambda: styled.demodulation(x[:, 0, 0, :4]))
    assert same_as_in_float32(lambda: with_minibatch_std(x, 4))
    assert not same_as_in_float32(lambda: subspace.U @ subspace.U.T), "autocast does change products"


# ---- what a device gains --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx512f", "avx512_bf16"}, True),
        ({"avx512_bf16": True, "amx_bf16": False}.keys() & {"avx512_bf16"}, True),
        ({"amx_tile", "amx_bf16"}, True),
        ({"asimd", "bf16"}, True),
        ({"avx2", "avx512f"}, False),
        (set(), False),
    ],
)
def test_native_bf16_follows_the_flags(flags: set[str], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: set(flags))
    assert native_bf16() is expected
    note = precision_note("bf16", CPU)
    assert (note is None) is expected
    assert note is None or "gains nothing here" in note


def test_flags_of_linux() -> None:
    x86 = "processor\t: 0\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n"
    assert precision._flags_of(x86) == {"fpu", "avx512_bf16"}
    assert precision._flags_of("Features\t: fp asimd bf16\n") == {"fp", "asimd", "bf16"}
    assert precision._flags_of("") == set()


def test_linux_and_torch_agree_on_this_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = precision._text(precision.Path("/proc/cpuinfo"))
    if not cpuinfo or not hasattr(torch.cpu, "get_capabilities"):
        pytest.skip("this system has one source only")
    by_torch = native_bf16()
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert native_bf16() is by_torch


def test_a_note_is_given_where_a_precision_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision_note("fp32", CPU) is None
    assert precision_note("tf32", CPU) == "precision tf32 is fp32 here: TF32 is a format of GPUs"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))
    monkeypatch.setattr(precision, "fast_bf16", lambda _: False)
    assert precision_note("tf32", CUDA) == "precision tf32 is fp32 here: Tesla T4 has no TF32"
    assert "Tesla T4" in str(precision_note("bf16", CUDA))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setattr(precision, "fast_bf16", lambda _: True)
    assert precision_note("tf32", CUDA) is None
    assert precision_note("bf16", CUDA) is None
    assert precision_note("fp32", CUDA) is None
