"""What both regression tests share: exit statuses, errors, environments, and what accepting a baseline needs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic.dataclasses
import torch
from pydantic import Field

from benchmark.core import paths
from benchmark.core.config import STRICT
from benchmark.core.environment import cpu_kind, environment, git
from benchmark.core.errors import UserError

BASELINES = paths.BASELINES
# What a baseline belongs to: code and data, but no baselines. git pathspecs.
CODE = ("benchmark", "methods", "datasets", "pyproject.toml", "requirements.lock", ":!benchmark/drift/baselines")

PASSED, REGRESSION, USAGE, INCOMPARABLE, NO_BASELINE, INCONCLUSIVE = 0, 1, 2, 3, 4, 5
_WORST_FIRST = (USAGE, INCOMPARABLE, REGRESSION, NO_BASELINE, INCONCLUSIVE, PASSED)


Finite = Annotated[float, Field(allow_inf_nan=False)]


class DriftError(UserError):
    """A baseline that is not whole, or a comparison that cannot be made."""

    exit_code = USAGE


class BaselineMissing(UserError):
    """There is nothing to compare with."""

    exit_code = NO_BASELINE


def worst(codes: Sequence[int], allow_inconclusive: bool = False) -> int:
    """The exit status of several: bad input, incomparable, regression, no baseline, inconclusive, in this order.

    allow_inconclusive: let what could not be decided pass.
    """
    counted = {PASSED if allow_inconclusive and code == INCONCLUSIVE else code for code in codes}
    return next(code for code in _WORST_FIRST if code in counted | {PASSED})


# ---- environments ---------------------------------------------------------------------------------------------------


def gate_environment() -> dict[str, Any]:
    """The environment of a record, with the processor's exact kind: kernels are chosen by it, and round by it."""
    return environment() | {"kernels": torch.backends.cpu.get_cpu_capability(), "cpu_kind": cpu_kind()}


def other_environment(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two environments that may move the last bits of a number: processor and libraries."""
    pairs = {key: (old.get(key), new.get(key)) for key in ("cpu", "cpu_kind", "kernels")}
    before, now = old.get("libraries", {}), new.get("libraries", {})
    pairs |= {name: (before.get(name), now.get(name)) for name in sorted({*before, *now})}
    return [f"{name} {was} -> {has}" for name, (was, has) in pairs.items() if was != has]


# ---- accepting ------------------------------------------------------------------------------------------------------


@pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)
class Accepted:
    """One acceptance of a baseline: why, at which commit, and what it changed (old and new)."""

    reason: Annotated[str, Field(min_length=1)]
    commit: str
    changed: dict[str, tuple[Any, Any]]


def require_reason(reason: str, commit: Callable[[], str]) -> str:
    """The commit of an acceptance. Raises DriftError without a reason, and what `commit` raises."""
    if not reason.strip():
        raise DriftError("a baseline without a reason", "who finds it later must know why it moved", 'REASON="..."')
    return commit()


def clean_commit(root: Path = paths.CHECKOUT) -> str:
    """The checkout's commit. Raises DriftError outside of one, or when code or dataset configs differ from it."""
    try:
        head = git("rev-parse", "--short=12", "HEAD", root=root)
        status = git("status", "--porcelain", "--", *CODE, root=root)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriftError("git cannot report the commit", str(error), "run in a checkout with git") from None
    if head.returncode or status.returncode:
        raise DriftError(f"{root}: not a git checkout", "a baseline belongs to a commit", "run in a checkout")
    if changes := status.stdout.splitlines():
        shown = ", ".join(line[3:] for line in changes[:5]) + (" ..." if len(changes) > 5 else "")
        raise DriftError(f"the tree has changes: {shown}", "a baseline belongs to a commit", "commit them first")
    return head.stdout.strip()
