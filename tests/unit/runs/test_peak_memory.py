"""A run's peak memory is its own, not that of the process that started it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from benchmark.runs.device import peak_memory_mb

CPU = torch.device("cpu")
MEASURED = """
import torch
from benchmark.runs.device import peak_memory_mb
before = peak_memory_mb(torch.device("cpu"))
held = torch.ones(2**26)
print(before, peak_memory_mb(torch.device("cpu")) - before)
"""


def test_it_is_of_the_process_itself() -> None:
    """On Linux, `ru_maxrss` of a new process begins with the peak of its parent, here more than 1,500 MB."""
    held = np.ones(1500 * 2**17)
    assert peak_memory_mb(CPU) > 1500
    printed = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True).stdout
    before, grown = map(float, printed.split())
    assert 50 < before < 1000
    assert 200 < grown < 300
    assert held[0] == 1
