"""scikit-learn on one thread: the same bits on every number of cores, and no waiting where runs share a machine.

Its k-means adds the threads' partial sums in the order in which they end, so that three threads or more give other bits
from one call to the next. Its t-SNE's threads meet at every step: two of them next to two busy processes took ten times
the processor time of one (measured). scikit-learn has an OpenMP of its own: `torch.set_num_threads` does not reach it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit OpenMP and BLAS to one thread. Import scikit-learn before: a library that is loaded later has no limit."""
    with threadpool_limits(1):
        yield
