"""Plain float32 for feature passes: the same image gives the same features, whatever the run around it has set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


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
