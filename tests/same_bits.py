"""Do two revisions give the same bits? `python tests/same_bits.py REV [--suite smoke]`, or `make same REV=...`.

Runs a suite with the code of a git revision and with the present tree, each into an empty results folder on this
machine, and compares what the records say of weights, samples and values. A refactoring must change none of them.
Exit status: 0 the same, 1 something differs or a run failed, 2 the revision cannot be had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Run both, compare, print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("--suite", default="smoke")
    parser.add_argument("--workers", default="1")
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        added = subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", tree, wanted.revision], check=False)
        if added.returncode:
            return 2
        try:
            there = records(tree, wanted.suite, Path(folder) / "there", wanted.workers)
            here = records(ROOT, wanted.suite, Path(folder) / "here", wanted.workers)
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=False)
    lines = differences(there, here)
    print("\n".join(lines) or f"{len(here)} runs: the same bits as {wanted.revision}")
    return 1 if lines else 0


def records(tree: Path, suite: str, results: Path, workers: str) -> dict[str, dict[str, Any]]:
    """Run a suite with the code of a tree. Its records by run; a setting that changed gives a run another name."""
    command = [sys.executable, "-m", "benchmark", "suite", suite, "--device", "cpu", "--quiet", "--workers", workers]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree)}
    subprocess.run([*command, "--results", results], cwd=tree, env=environment, check=False)
    return {path.stem: json.loads(path.read_text()) for path in sorted((results / "records").glob("*.json"))}


def differences(there: dict[str, dict[str, Any]], here: dict[str, dict[str, Any]]) -> list[str]:
    """What the records of two revisions say differently, a line each."""
    if not there or not here:
        return ["one of the two revisions made no record"]
    lines = [f"{run}: only {'there' if run in there else 'here'}" for run in sorted(there.keys() ^ here.keys())]
    for run in sorted(there.keys() & here.keys()):
        old, new = there[run]["result"], here[run]["result"]
        if old is None or new is None:
            lines.append(f"{run}: failed")
            continue
        for key in ("weights_sha256", "samples_sha256"):
            if old[key] != new[key]:
                lines.append(f"{run}: {key} {old[key][:12]} there, {new[key][:12]} here")
        values = {value["id"]: value["value"] for value in old["values"]}
        for value in new["values"]:
            if value["id"] in values and values[value["id"]] != value["value"]:
                lines.append(f"{run}: {value['id']} {values[value['id']]!r} there, {value['value']!r} here")
    return lines


if __name__ == "__main__":
    sys.exit(main())
