"""Every method file on two ranks: after a few steps both hold the same bits.

One launch of two processes serves all methods; each rank writes down a hash of every tensor that it would save.
torchrun ... test_two_ranks.py FOLDER     (writes FOLDER/<rank>.json: {method: {tensor: sha256} or {"error": text}})
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
import torch
import torch.distributed as dist
from helpers import environment
from test_methods import built, small, take_steps, tiny_data
from torch import Tensor

from benchmark.core import distributed
from benchmark.core.registry import method_names
from benchmark.training.method import MethodFile, find_method

N_STEPS = 4
SOON = {"T": 2, "r1_every": 2, "pl_every": 2, "warmup": 0.02}  # what comes rarely comes within these steps
MUTANTS = ("not_averaged", "own_labels")
TIMEOUT_S = 60  # of a collective that only one rank joined


def mutant(name: str) -> MethodFile:
    """A method with one of the mistakes that this file is there to find."""
    file = find_method("sngan")

    class NotAveraged(file.cls):  # type: ignore[name-defined, misc]
        """Every rank follows the gradient of its own share."""

        def update(self, loss: Tensor, *optimisers: torch.optim.Optimizer) -> None:
            with distributed.alone():
                super().update(loss, *optimisers)

    class OwnLabels(file.cls):  # type: ignore[name-defined, misc]
        """Every rank draws cluster labels for itself, as a k-means without a shared seed would."""

        def step(self, stream: Any, t: int) -> dict[str, Tensor]:
            self.labels = torch.randint(10, (64,))
            return super().step(stream, t)

    return replace(file, cls={"not_averaged": NotAveraged, "own_labels": OwnLabels}[name])


def tensors(state: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a nested state, by its path."""
    if isinstance(state, Tensor):
        yield path, state
    elif isinstance(state, (dict, list, tuple)):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from tensors(value, f"{path}.{key}" if path else str(key))


def hashes(file: MethodFile, folder: Path) -> dict[str, str]:
    """Train a little on random pictures; the hash of every tensor of the method's state."""
    data = tiny_data("digits")
    cfg = small(file, "digits")
    cfg = replace(cfg, **{key: value for key, value in SOON.items() if key in {f.name for f in fields(cfg)}})
    method, _ = built(file, cfg, data, folder)
    take_steps(method, data, 0, N_STEPS)
    distributed.average_buffers(method.modules().values())  # as the loop does before it saves
    return {
        path: hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()
        for path, tensor in tensors(method.state_dict())
    }


def run_all(folder: Path) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT_S))
    found: dict[str, dict[str, str]] = {}
    for name in [*method_names(), *MUTANTS]:
        try:
            file = mutant(name) if name in MUTANTS else find_method(name)
            found[name] = hashes(file, folder / f"artifacts{distributed.rank()}")
        except Exception:
            found[name] = {"error": traceback.format_exc()}
    (folder / f"{distributed.rank()}.json").write_text(json.dumps(found))
    distributed.stop()


Found = list[dict[str, dict[str, str]]]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the two ranks wrote down."""
    folder = tmp_path_factory.mktemp("ranks")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, __file__, str(folder)], capture_output=True, text=True, cwd=folder, env=environment(), timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def differing(ranks: Found, name: str) -> set[str]:
    """The tensors that are not the same on both ranks. Fails where a rank could not train."""
    first, second = (rank[name] for rank in ranks)
    for rank in (first, second):
        assert "error" not in rank, rank["error"]
    assert first.keys() == second.keys()
    assert any(path.startswith("G.") for path in first)
    assert any(path.startswith("opt_G.") for path in first), "the optimisers' moments are compared, too"
    return {path for path in first if first[path] != second[path]}


@pytest.mark.parametrize("name", method_names())
def test_two_ranks_end_with_the_same_bits(name: str, ranks: Found) -> None:
    assert not differing(ranks, name)


def test_gradients_that_are_not_averaged_are_caught(ranks: Found) -> None:
    differ = differing(ranks, "not_averaged")
    assert any(path.startswith("G.") for path in differ)
    assert any(path.startswith("D.") for path in differ)


def test_labels_that_each_rank_draws_for_itself_are_caught(ranks: Found) -> None:
    assert differing(ranks, "own_labels") == {"labels"}


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
