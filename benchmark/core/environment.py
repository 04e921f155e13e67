"""The machine and the code behind a number: versions, processor, git commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from benchmark.core import paths

_LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "torch-fidelity",
    "clean-fid",
    "pillow",
    "pandas",
)


def environment() -> dict[str, Any]:
    """What a difference between two machines' numbers could come from."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cpu": _cpu(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "gantlet": _version("gantlet"),
        "commit": _commit(),
    }


def n_cores() -> int:
    """Cores that this process may use: of a job on a shared machine, its own."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_kind() -> str:
    """Family, model and stepping where Linux tells them; many processors share a name."""
    facts = _cpu_facts()
    if not facts:
        return platform.machine()
    return "/".join(facts.get(key, "?") for key in ("cpu family", "model", "stepping"))


def git(*arguments: str, root: Path = paths.CHECKOUT, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Ask git about a checkout. Raises OSError without git, subprocess.TimeoutExpired when it takes too long."""
    return subprocess.run(["git", "-C", os.fspath(root), *arguments], capture_output=True, text=True, timeout=timeout)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    return _cpu_facts().get("model name") or platform.processor() or platform.machine()


def _cpu_facts() -> dict[str, str]:
    """What /proc/cpuinfo says of the first processor; empty where there is no such file."""
    try:
        lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, value in reversed(lines)}


def _commit() -> str | None:
    """The code's git commit, with `+changes` when the tree differs from it; None outside a checkout."""
    if not (paths.CHECKOUT / ".git").exists():
        return None
    try:
        head = git("rev-parse", "--short=12", "HEAD", timeout=10)
        changes = git("status", "--porcelain", "-uno", timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")) or None
