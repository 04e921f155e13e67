"""What the tests of the harness share: tiny settings, the command line, what a run leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

TESTS = Path(__file__).parent
ROOT = TESTS.parent

JUDGED = ["eval.judge.steps=5", "eval.judge.width=8", "eval.n_fake=100", "eval.encoder=null", "eval.recall_images=20",
          "eval.metrics=all"]  # fmt: skip
TINY = [*JUDGED, "steps=12", "batch=8", "checkpoint_every=4", "log_every=2"]  # any method
DIGITS = ["data.source.test_share=0.8"]  # few training images: short feature passes
INFOSCC = [*TINY, *DIGITS, "base=4", "max_width=16", "encoder.width=4",
           "encoder.steps=6", "encoder.batch=16", "encoder.checkpoint_every=2", "encoder.log_every=1",
           "classifier.steps=5", "classifier.batch=32", "classifier.checkpoint_every=2"]  # fmt: skip
TSNE = ["eval.encoder={net: conv, steps: 2, batch: 16}", "eval.chamfer_points=100", "eval.tsne_seeds=1"]


def run_arguments(results: Path, settings: list[str], *, method: str = "infoscc", dataset: str = "digits") -> list[str]:
    """Arguments of `python -m benchmark` for a run with seed 0 on the CPU."""
    what = ["--method", method, "--dataset", dataset, "--device", "cpu", "--quiet"]
    without_tsne = [item for item in settings if item != "eval.encoder=null" or not set(TSNE) & set(settings)]
    return ["run", *what, "--results", str(results), "--set", *without_tsne]


def environment(**more: str) -> dict[str, str]:
    """Of a sub-process: one thread, no GPU, the package of this checkout."""
    mine = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    return os.environ | mine | more


@dataclass(frozen=True)
class Outcome:
    """What a finished run leaves that must not depend on how often it was killed."""

    result: dict[str, Any]
    log: list[str]
    generator: dict[str, torch.Tensor]
    record: dict[str, Any]
    folder: Path

    def same_as(self, other: Outcome) -> None:
        """Assert equality, bit for bit."""
        assert self.log == other.log
        assert list(self.generator) == list(other.generator)
        for name, tensor in self.generator.items():
            assert torch.equal(tensor, other.generator[name]), name
        assert self.result == other.result


def outcome(results: Path) -> Outcome:
    """Of the one run in a results folder."""
    (path,) = (results / "records").glob("*.json")
    (folder,) = {config.parent for config in results.glob("runs/*/*/*/config.yaml")}
    record = json.loads(path.read_text())
    generator = torch.load(folder / "generator.pt", weights_only=True)
    return Outcome(record["result"], (folder / "log.jsonl").read_text().splitlines(), generator, record, folder)


@dataclass(frozen=True)
class Finished:
    """A run that nothing disturbed."""

    results: Path
    arguments: list[str]
    stdout: str
    stderr: str

    @property
    def outcome(self) -> Outcome:
        """What it left."""
        return outcome(self.results)

    def seeded(self, results: Path) -> Path:
        """Make another results folder that has the prepared data, and nothing else."""
        shutil.copytree(self.results / "artifacts" / "data", results / "artifacts" / "data")
        return results

    def copied(self, results: Path) -> Path:
        """Copy the whole results folder, to be changed."""
        shutil.copytree(self.results, results)
        return results


def finish_run(folder: Path) -> Finished:
    """Run InfoSCC-GAN with tiny settings on digits by `python -m benchmark run`."""
    arguments = run_arguments(folder / "results", INFOSCC)
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *arguments],
        capture_output=True, text=True, cwd=folder, env=environment(), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Finished(folder / "results", arguments, done.stdout, done.stderr)


@dataclass
class Ended:
    """How a process of the server ended."""

    status: int  # exit status, or minus the number of the signal that ended it
    stdout: str
    stderr: str
    cpu_s: float = 0.0  # seconds of processor time


def killed(ended: Ended) -> None:
    """Assert that SIGKILL ended a process."""
    assert ended.status == -signal.SIGKILL, ended


class RunServer:
    """Runs command lines in forks of one process that has imported everything (`doomed_runs.py`)."""

    def __enter__(self) -> RunServer:
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "doomed_runs.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def start(
        self,
        arguments: list[str],
        folder: Path,
        *,
        at: str = "",
        do: str = "kill",
        after_s: float = 0.0,
        pictures: bool = False,
    ) -> int:
        """Start a command line; returns its process id.

        at: the point at which something happens to it (`doomed_runs.POINTS`). do: "kill"; "leave": it is
        sent SIGUSR2; or "pause": it writes `folder/reached` and goes on when `folder/go` is there. after_s: it is
        killed, or asked to leave, after these seconds of processor time; 0 leaves it alone. pictures: it draws its
        figures, too.
        """
        folder.mkdir(parents=True, exist_ok=True)
        order = {
            "arguments": arguments,
            "folder": str(folder),
            "at": at,
            "do": do,
            "after_s": after_s,
            "pictures": pictures,
        }
        return self._ask(order)["pid"]

    def wait(self, pid: int) -> Ended:
        """Wait for the end of a started process."""
        return Ended(**self._ask({"wait": pid}))

    def run(self, arguments: list[str], folder: Path, **how: Any) -> Ended:
        """Start, and wait."""
        return self.wait(self.start(arguments, folder, **how))

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())
