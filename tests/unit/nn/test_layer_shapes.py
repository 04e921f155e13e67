"""Layers of every shape that the networks have, at small widths, on this CPU and as on one without AVX-512."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from helpers import TESTS, environment

# With these, glibc checks every block that is freed and fills new ones with garbage; elsewhere they change nothing.
CHECKED = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
CPUS: dict[str, dict[str, str]] = {
    "this": {},
    # oneDNN's and torch's own kernels for an older CPU; on a CPU of that kind it changes nothing
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}


def run(what: str, cpu: str) -> subprocess.CompletedProcess[str]:
    """Run the shapes in a process of its own, which corrupted memory ends."""
    return subprocess.run(
        [sys.executable, str(TESTS / "layer_shapes.py"), what],
        capture_output=True,
        text=True,
        env=environment(**CHECKED, **CPUS[cpu]),
    )


@pytest.mark.parametrize(
    ("what", "cpu"),
    [
        pytest.param("sweep", "avx2", marks=pytest.mark.slow),
        pytest.param("sweep", "this", marks=pytest.mark.slow),
        pytest.param("wide", "avx2", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_every_layer_is_right_at_small_widths(what: str, cpu: str) -> None:
    done = run(what, cpu)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'conv'" in done.stdout
    assert "'strided_pointwise'" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not torch.__version__.startswith("2.15."), reason="the fault was seen in torch 2.15")
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="the fault needs AVX2")
def test_the_sweep_finds_the_known_fault() -> None:
    """The strided 1 x 1 convolution without `StridedPointwise` ends the process: a fault of this kind is not missed."""
    assert run("known", "avx2").returncode != 0
