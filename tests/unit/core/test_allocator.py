"""Freed memory stays with the process, so that the next step does not fault it in again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from benchmark.core.allocator import keep_freed_memory

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(2**18) for _ in range(40)]  # 40 MiB
    del tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if KEEP:
    assert keep_freed_memory()
for _ in range(5):
    n = faults_of_a_step()
print(n)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_a_step_faults_in_no_page_that_the_last_one_freed() -> None:
    def faults(keep: bool) -> int:
        program = FAULTS.replace("KEEP", str(keep))
        # glibc's thresholds move with what was freed before: fixed at their starting values, the comparison is certain
        fixed = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(128 << 10), "MALLOC_TRIM_THRESHOLD_": str(128 << 10)}
        return int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=fixed).stdout)

    assert faults(False) > 1000
    assert faults(True) < 100
