"""Seeds that are functions of other numbers: no random state has to be saved or passed on."""

from __future__ import annotations

from functools import cache

import torch

from benchmark.core import distributed

_MASK = (1 << 64) - 1


def seed_step(seed: int, t: int) -> None:
    """Seed every random draw of step t as a function of (seed, step, rank): resuming needs no random state."""
    own = derive_seed(seed, t, distributed.rank())
    if _accelerated():
        torch.manual_seed(own)
    else:  # without a device there is one generator; torch's function would format the call stack to seed it later
        torch.default_generator.manual_seed(own)


@cache
def _accelerated() -> bool:
    return torch.accelerator.is_available()


def derive_seed(*numbers: int) -> int:
    """One well-spread 63-bit number from several small ones (splitmix64, Steele et al. 2014, chained)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1
