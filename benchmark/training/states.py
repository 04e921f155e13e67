"""Loading states strictly: what is missing, too much or of another shape is refused, never skipped.

torch is strict with networks. Its optimisers take a state without moments, and start them at zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


def require_entries(what: str, found: Any, needed: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Raise ValueError, with the names, unless a mapping has the needed entries and no others."""
    if not isinstance(found, Mapping):
        raise ValueError(f"{what} is a {type(found).__name__}")
    names = set(needed)
    missing, unexpected = names - set(found), set(found) - names - set(optional)
    problems = [
        f"{word} {', '.join(sorted(map(str, some)))}"
        for word, some in (("lacks", missing), ("has the unexpected", unexpected))
        if some
    ]
    if problems:
        raise ValueError(f"{what} {' and '.join(problems)}")


def checked_tensor(name: str, found: Any, own: Tensor) -> Tensor:
    """A stored tensor that takes the place of another. Raises ValueError for another shape or dtype.

    A size of 0 is one that the first steps find out: any takes its place.
    """
    if not isinstance(found, Tensor) or found.dtype != own.dtype or not _fits(found.shape, own.shape):
        kind = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"{name} is {kind} instead of {own.dtype} {list(own.shape)}")
    return found


def _fits(found: torch.Size, own: torch.Size) -> bool:
    return len(found) == len(own) and all(n in (0, m) for m, n in zip(found, own))


def load_optimiser(name: str, optimiser: torch.optim.Optimizer, state: Any) -> None:
    """Restore an optimiser. Raises ValueError for other groups, and for moments that do not fit the parameters.

    A parameter may have no moments, when no gradient has reached it yet; those that have some have the same ones.
    """
    require_entries(name, state, ("state", "param_groups"))
    for mine, theirs in zip(optimiser.param_groups, state["param_groups"], strict=True):
        require_entries(f"a group of {name}", theirs, mine, optional=("initial_lr",))
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    kinds: set[frozenset[str]] = set()
    for number, moments in state["state"].items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError(f"{name} has moments of parameter {number}, and there are {len(parameters)}")
        own = parameters[number].shape
        for key, value in moments.items():
            if isinstance(value, Tensor) and value.shape not in (own, torch.Size()):
                raise ValueError(f"{name}: {key} of parameter {number} is {list(value.shape)}, not {list(own)}")
        kinds.add(frozenset(moments))
    if len(kinds) > 1:
        raise ValueError(f"{name}: some parameters lack moments that others have")
    optimiser.load_state_dict(state)
