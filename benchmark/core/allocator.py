"""Memory that a training step frees is kept for the next one.

A step on a CPU frees what it allocated, some tens of megabytes in tensors of every size. glibc gives the top of its
heap, and every large block, back to the kernel, which has to clear each page anew for the next step: hundreds to
thousands of page faults a step, 4 to 10 % of a small recipe's time.
"""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # parameters of mallopt(3)
KEPT = 256 << 20  # bytes of freed memory that stay with the process at most
GROWTH = 16 << 20  # bytes by which the heap grows at a time
LARGE = 32 << 20  # bytes from which a block comes from the kernel and goes back to it; glibc's largest


def keep_freed_memory() -> bool:
    """Let this process keep up to 256 MiB of what it frees, from now on; whether it does: only glibc has the call.

    No value that is computed depends on it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(MMAP_THRESHOLD, LARGE), mallopt(TRIM_THRESHOLD, KEPT), mallopt(TOP_PAD, GROWTH)])
