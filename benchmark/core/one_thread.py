"""Work on one thread, where its bits or its time depend on the number of threads.

scikit-learn has an OpenMP of its own, which `torch.set_num_threads` does not reach. Its k-means adds the partial sums
of its threads: one thread and two give other last bits (measured). Its t-SNE's threads meet at every step: on a busy
machine two took eleven times the processor time of one (measured, with libgomp's own waiting).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit OpenMP and BLAS to one thread. Import scikit-learn before: a library that is loaded later has no limit."""
    with threadpool_limits(1):
        yield


@contextmanager
def torch_on_one_thread() -> Iterator[None]:
    """Compute with torch by one thread on the CPU; afterwards by as many as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
