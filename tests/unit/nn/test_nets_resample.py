"""The strided 1 x 1 convolution: the values of a plain one, and a process that survives its backward pass."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from helpers import environment

from benchmark.nn.judge import JudgeNet
from benchmark.nn.resample import StridedPointwise

# Forty steps of a narrow judge in channels-last order, as training and R1 take them. Corrupted memory ends a process
# at some later allocation, so that it must be a process of its own. ONEDNN_MAX_CPU_ISA makes a newer CPU choose the
# kernels of an older one; on a CPU of that kind it changes nothing.
STEPS = """
import sys, torch
from benchmark.nn.judge import JudgeNet
torch.set_num_threads(1)
for i in range(40):
    net = JudgeNet(16, 1, 10, width=int(sys.argv[1])).to(memory_format=torch.channels_last)
    x = torch.randn(16, 1, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    torch.autograd.grad(slope.square().sum(), [p for p in net.parameters() if p.requires_grad], allow_unused=True)
    net(x).square().sum().backward()
print("alive")
"""


@pytest.mark.parametrize("width", [1, 2, 3, 4, 6])
def test_a_narrow_judge_trains_on_a_cpu_without_avx512(width: int):
    old_cpu = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    done = subprocess.run(
        [sys.executable, "-c", STEPS, str(width)],
        capture_output=True,
        text=True,
        env=environment(**old_cpu),
        timeout=120,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr


@pytest.mark.parametrize("c_in", [3, 8])
def test_it_computes_what_a_plain_convolution_does(c_in: int):
    torch.manual_seed(0)
    layer = StridedPointwise(c_in, 5, stride=2).to(memory_format=torch.channels_last)
    x = torch.randn(2, c_in, 7, 7).contiguous(memory_format=torch.channels_last)
    expected = torch.einsum("oi,nihw->nohw", layer.weight[:, :, 0, 0], x[:, :, ::2, ::2])
    torch.testing.assert_close(layer(x), expected)


def test_the_judge_uses_it_in_every_shortcut():
    strided = [m for m in JudgeNet(32, 3, 10, width=4).modules() if isinstance(m, torch.nn.Conv2d)]
    pointwise = [m for m in strided if m.kernel_size == (1, 1)]
    assert pointwise
    assert all(isinstance(m, StridedPointwise) for m in pointwise)
