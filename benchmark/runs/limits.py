"""Bounds of settings, checked before anything is allocated: what no machine can do, and what this one cannot hold.

The memory is a lower bound, of the images alone: a run that passes may still need more than there is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from benchmark.core.config import flatten
from benchmark.core.errors import ConfigError

LARGEST = 2**31 - 1  # of any whole number in the settings: sizes and step counts lie far below it
LARGEST_SEED = 2**63 - 1  # what torch takes
MOST_THREADS = 4096


def require_within_limits(plain: dict[str, Any], changes: dict[str, Any], seed: int) -> None:
    """Raise ConfigError for a seed or a setting out of bounds, or for images that this machine's memory cannot hold.

    plain: all settings of a run, `Resolved.plain`. changes: those that the user gave. A recipe's own number of
    generated images is not held against this machine: it may be planned here before it goes to a larger one.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"seed {seed}", "a seed is not negative, and below 2^63", "use 0, 1, 2, ...")
    settings = {**plain["config"], "eval": plain["eval"], "data": plain["data"]}
    for key, value in _numbers(settings):
        if abs(value) > LARGEST:
            raise ConfigError(f"{key} = {value}", f"at most {LARGEST} is allowed", "choose a smaller value")
    side, channels = plain["data"]["resolution"], plain["data"]["channels"]
    pixels, has = 4 * side * side * channels, memory_bytes()
    counts = [(key, n, 1) for key, n in _numbers(settings) if key.split(".")[-1] == "batch"]
    counts += [("eval.n_fake", n, 4) for key, n in _numbers(changes) if key == "eval.n_fake"]
    for key, n, parts in counts:  # generated images are kept as bytes, batches as floats
        if (needed := n * pixels // parts) > has:
            raise ConfigError(
                f"{key} = {n}",
                f"the images of {side} px alone take {needed / 1e9:.1f} GB, and this machine has {has / 1e9:.1f} GB",
                "choose a smaller value",
            )


def require_threads(threads: int | None) -> None:
    """Raise ConfigError for a number of threads that is not from 1 to `MOST_THREADS`."""
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ConfigError(
            f"threads = {threads}", f"it is a number from 1 to {MOST_THREADS}", "use at most the number of cores"
        )


def memory_bytes() -> int:
    """The main memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _numbers(settings: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Whole numbers among the settings with their keys, those in lists too."""
    for key, value in flatten(settings).items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int) and not isinstance(one, bool):
                yield key, one
