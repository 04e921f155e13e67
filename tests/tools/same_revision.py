"""What both proofs need of git and this machine: the tree of a revision, its command line, what it gave before."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
THREADS = "1"  # of every process: how many there are can move a sum's last digit

_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "pillow", "matplotlib", "jinja2")


def commit_of(revision: str) -> str | None:
    """The commit that a revision names; None where git knows none."""
    command = ["git", "-C", ROOT, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """A temporary work tree of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        tree, git = Path(folder) / "tree", ["git", "-C", ROOT, "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", tree, commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=False)


def benchmark(tree: Path, arguments: Sequence[str], scratch: Path) -> subprocess.CompletedProcess[str]:
    """`python -m benchmark` with the code of a tree: one thread, no GPU, no network, no weights but those of packages.

    scratch: a folder for what processes of one tree share: compiled modules, and torch hub's, which stays empty.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("GANTLET_")}
    nowhere = "http://127.0.0.1:9"  # the port that discards: a download fails at once
    mine = {"PYTHONPATH": str(tree), "CUDA_VISIBLE_DEVICES": "", "TORCH_HOME": str(scratch / "hub")}
    mine |= {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(scratch / "compiled"),
    }  # a start is twice as fast
    mine |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), THREADS)
    mine |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere)
    command = [sys.executable, "-m", "benchmark", *arguments]
    return subprocess.run(command, cwd=tree, env=others | mine, capture_output=True, text=True, check=False)


def machine() -> str:
    """What the bits of a run depend on beside the code, in a few digits: CPU, threads, libraries."""
    cpu = platform.processor() or platform.machine()
    if (known := Path("/proc/cpuinfo")).exists():
        cpu = next((line for line in known.read_text().splitlines() if line.startswith("model name")), cpu)
    versions = [importlib.metadata.version(name) for name in _LIBRARIES]
    return digits([cpu, THREADS, platform.python_version(), *versions])


def digits(value: Any, *files: Path) -> str:
    """A short hash of a plain value and of files."""
    digest = hashlib.sha256(json.dumps(value).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def cache(*names: str) -> Path:
    """The file in which what a revision gave is kept."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "gantlet-same" / f"{'-'.join(names)}.json"


def keep(path: Path, items: Mapping[str, str]) -> None:
    """Write a manifest, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.with_suffix(f".{os.getpid()}.tmp")
    torn.write_text(json.dumps(items, indent=0, ensure_ascii=False))
    torn.replace(path)
