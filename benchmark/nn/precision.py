"""Number formats of arithmetic: what a training step may use, what must be float32, what this machine is fast in.

A training step computes in float32, in TF32 or under bfloat16 autocast (`training_precision`). Weights, their
optimisers' state, losses, penalties, spectral norms and statistics are float32 in each (`in_float32`). Feature passes
leave nothing to the run around them (`exact_float32`): the same image gives the same features.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from benchmark.core.engine import Precision

P = ParamSpec("P")
R = TypeVar("R")

# ---- a training step ------------------------------------------------------------------------------------------------


@contextmanager
def training_precision(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run a training step in this precision; afterwards every switch is as it was, after an exception, too.

    fp32, tf32: CUDA's matrix products and convolutions use float32 or may use TF32, whatever torch's defaults are (for
    convolutions, TF32); elsewhere nothing is changed. bf16: autocast to bfloat16, the rest in float32. Its cache of
    cast weights is off: weights change within a step.
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(_tf32(precision == "tf32"))
        if precision == "bf16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16, cache_enabled=False))
        yield


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """CUDA's switches alone: `set_float32_matmul_precision` would change products on the CPU, too.

    The older ones, which set the newer: reading an older one after a newer was set raises an exception.
    """
    restore = _precision_switches()
    try:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
        yield
    finally:
        restore()


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """The function, computed outside of autocast on arguments that are float32 at least.

    Arguments that are tensors of a shorter format are converted, and gradients run through the conversion. Where no
    autocast is on, the call is the function's own. Networks that the function calls run in float32, too. Backward
    passes take the mode that they are called in: `in_float32(torch.autograd.grad)`.
    """

    @functools.wraps(function)
    def wide(*args: P.args, **kwargs: P.kwargs) -> R:
        kind = next((kind for kind in ("cuda", "cpu") if torch.is_autocast_enabled(kind)), None)
        if kind is None:
            return function(*args, **kwargs)
        widened: Any = [_widened(value) for value in args]
        named: Any = {name: _widened(value) for name, value in kwargs.items()}
        with torch.autocast(kind, enabled=False):
            return wide(*widened, **named)

    return wide


def at_least_float32(x: Tensor) -> Tensor:
    """x itself, or float32 where autocast made it shorter. Gradients run through."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _widened(value: Any) -> Any:
    return at_least_float32(value) if isinstance(value, Tensor) else value


# ---- what a device is fast in ---------------------------------------------------------------------------------------


def precision_note(precision: Precision, device: torch.device) -> str | None:
    """What a user should know of a precision that gains nothing on this device; None where there is nothing to say."""
    if precision == "bf16" and not fast_bf16(device):
        what = "this CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
        needed = "AVX512_BF16 or AMX" if device.type == "cpu" else "compute capability 8.0"
        return f"precision bf16 gains nothing here: {what} computes bfloat16 in float32, without {needed}"
    if precision == "tf32" and device.type == "cpu":
        return "precision tf32 is fp32 here: TF32 is a format of GPUs"
    if precision == "tf32" and not _has_tf32(device):
        return f"precision tf32 is fp32 here: {torch.cuda.get_device_name(device)} has no TF32"
    return None


def fast_bf16(device: torch.device) -> bool:
    """Does the device multiply bfloat16 numbers by instructions of its own?"""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and native_bf16()


def native_bf16() -> bool:
    """Does this CPU have instructions for products of bfloat16 numbers (AVX512_BF16, AMX, or Arm's BF16)?"""
    return bool(_cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16", "arm_bf16"})


def _cpu_flags() -> set[str]:
    """What the CPU says that it can do, as torch or Linux knows it; empty on systems where neither does."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    return _flags_of(_text(Path("/proc/cpuinfo")))


def _flags_of(cpuinfo: str) -> set[str]:
    """The flags of the first processor of a /proc/cpuinfo: `flags` on x86, `Features` on Arm."""
    for line in cpuinfo.splitlines():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(values.split())
    return set()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _has_tf32(device: torch.device) -> bool:
    return torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 0)


# ---- feature passes -------------------------------------------------------------------------------------------------


@contextmanager
def exact_float32(device_type: str = "cpu") -> Iterator[None]:
    """Run in plain float32 on deterministic kernels: no TF32, no bfloat16, no autocast; then restore all of it."""
    cudnn = torch.backends.cudnn
    kernels, restore = (cudnn.benchmark, cudnn.deterministic), _precision_switches()
    try:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = False, True, False
        torch.set_float32_matmul_precision("highest")
        for switch in _newer_switches():
            switch.fp32_precision = "ieee"
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = kernels
        restore()


def _precision_switches() -> Callable[[], None]:
    """Remember every switch of float32 precision; the function returned puts them back.

    torch has an older set and, since 2.9, a newer one; reading the older raises once the newer was used against it.
    """
    newer = [(switch, switch.fp32_precision) for switch in _newer_switches()]
    matmul, conv = _read(torch.get_float32_matmul_precision), _read(lambda: torch.backends.cudnn.allow_tf32)

    def restore() -> None:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if conv is not None:
            torch.backends.cudnn.allow_tf32 = conv
        for switch, value in newer:
            switch.fp32_precision = value

    return restore


def _read(switch: Callable[[], Any]) -> Any:
    """The value of an older switch, or None where a newer one overrules it."""
    try:
        return switch()
    except RuntimeError:
        return None


def _newer_switches() -> list[Any]:
    backends: Any = torch.backends
    if not hasattr(backends.cudnn, "conv"):
        return []
    return [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul, backends.mkldnn.conv]
