"""Two ranks under torchrun, on the CPU: they end with equal weights, and share the work as one process would do it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import DIGITS, INFOSCC, TESTS, TINY, Finished, environment, outcome, run_arguments
from torch import Tensor, nn
from two_ranks import train_plain
from whole_batches import BATCH, numbers, results

from benchmark.core import distributed
from benchmark.nn.batch_norm import normalise_over_ranks
from benchmark.nn.losses import nt_xent
from benchmark.nn.stylegan2 import with_minibatch_std
from benchmark.training.progress import LOG
from methods.latentcond import distances, neighbours

PATCH = [*INFOSCC, "discriminator=patch", "patch_layers=2", "patch_width=4"]  # batch norm in D
CASES: dict[str, tuple[str, list[str]]] = {
    "global": ("infoscc", INFOSCC),
    "patch": ("infoscc", PATCH),
    "sngan": ("sngan", [*TINY, *DIGITS, "width=4"]),  # batch norm in G, spectral norm in D
}
REFUSED = {"packs": ("pacgan", [*TINY, *DIGITS, "m=2"])}
WHOLE = [
    "batch_norm_of_images",
    "batch_norm_of_points",
    "moments_of_unequal_shares",
    "minibatch_std",
    "contrastive",
    "pairs_of_moves",
    "sums",
    "simclr",
    "latentcond",
    "latentcond_uncached",
    "latentcond_oracle",
    "latentcond_bank",
]


@pytest.fixture(scope="module")
def two_ranks(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks left of several runs, one of them stopped and continued."""
    folder = tmp_path_factory.mktemp("two_ranks")

    def order(name: str, case: str, stop_at: int | None = None, extra: list[str] | None = None) -> dict[str, Any]:
        method, settings = (CASES | REFUSED)[case]
        results = folder / name
        if not results.exists():
            finished.seeded(results)
        replaced = [
            item for item in settings if not extra or item.split("=")[0] not in {e.split("=")[0] for e in extra}
        ]
        return {"arguments": run_arguments(results, [*replaced, *(extra or [])], method=method), "stop_at": stop_at}

    orders = {case: order(case, case) for case in CASES}
    orders["stopped"] = order("continued", "patch", stop_at=9)
    orders["continued"] = order("continued", "patch")
    orders["left"] = order("went_on", "sngan", stop_at=8) | {"do": "leave"}
    orders["went_on"] = order("went_on", "sngan")
    orders["odd"] = order("odd", "global", extra=["batch=7"])
    orders["torn_packs"] = order("odd", "packs", extra=["m=3"])
    orders["odd_encoder"] = order("odd", "global", extra=["encoder.batch=15", "eval.judge.batch=21"])
    (folder / "orders.json").write_text(json.dumps(orders))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(TESTS / "two_ranks.py"), str(folder)],
        capture_output=True, text=True, cwd=folder, env=environment(), timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    (folder / "stderr").write_text(done.stderr)
    return folder


def seen(folder: Path, name: str) -> list[dict[str, Any]]:
    """What the two ranks wrote down of a run."""
    return [json.loads((folder / f"{name}.{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("case", [*CASES, "continued"])
def test_ranks_end_with_equal_weights(case: str, two_ranks: Path) -> None:
    first, second = seen(two_ranks, case)
    assert first["status"] == second["status"] == 0
    assert set(first["weights"]) == {"G", "D"}
    assert first["weights"] == second["weights"]  # parameters and buffers
    assert first["average"] == second["average"] != []


@pytest.mark.parametrize("case", CASES)
def test_rank_0_alone_samples_scores_and_writes(case: str, two_ranks: Path) -> None:
    first, second = seen(two_ranks, case)
    assert (first["evaluations"], first["records"]) == (1, 1)
    assert "evaluations" not in second
    assert "records" not in second
    left = outcome(two_ranks / case)
    assert left.record["environment"]["ranks"] == 2
    assert [json.loads(line)["images"] for line in left.log] == [16, 32, 48, 64, 80, 96]  # over both ranks together


def test_a_run_of_two_ranks_continues_to_the_same_bits(two_ranks: Path) -> None:
    assert [rank["status"] for rank in seen(two_ranks, "stopped")] == [130, 130]
    outcome(two_ranks / "continued").same_as(outcome(two_ranks / "patch"))
    assert seen(two_ranks, "continued")[1]["weights"] == seen(two_ranks, "patch")[1]["weights"]


def test_ranks_that_are_asked_to_leave_at_different_steps_leave_together(two_ranks: Path) -> None:
    """The checkpoint is of the step in which the first was asked; continued, lines and weights are the same bits."""
    assert [rank["status"] for rank in seen(two_ranks, "left")] == [140, 140]
    assert [rank["saved_step"] for rank in seen(two_ranks, "left")] == [9, 9]
    outcome(two_ranks / "went_on").same_as(outcome(two_ranks / "sngan"))
    assert seen(two_ranks, "went_on")[1]["weights"] == seen(two_ranks, "sngan")[1]["weights"]


@pytest.mark.slow
def test_two_nodes_give_the_record_of_one_even_if_one_of_them_was_lost(two_ranks: Path, tmp_path: Path) -> None:
    """Two torchrun agents of one rank each. The second is killed at step 9; the same command then resumes the run."""
    shutil.copytree(two_ranks / "sngan" / "artifacts" / "data", tmp_path / "sngan" / "artifacts" / "data")
    method, settings = CASES["sngan"]
    order: dict[str, Any] = {"arguments": run_arguments(tmp_path / "sngan", settings, method=method), "stop_at": None}
    killed = two_nodes(tmp_path, {"sngan": order | {"stop_at": 9, "do": "kill"}})
    assert [status for status, _ in killed] == [1, 1]
    assert "rank 1 of 2 lost; rank 0 stops" in killed[0][1], killed
    assert not list((tmp_path / "sngan").glob("records/*"))
    resumed = two_nodes(tmp_path, {"sngan": order})
    assert [status for status, _ in resumed] == [0, 0], resumed
    outcome(tmp_path / "sngan").same_as(outcome(two_ranks / "sngan"))
    assert seen(tmp_path, "sngan")[1]["weights"] == seen(two_ranks, "sngan")[1]["weights"]
    assert [rank["local_rank"] for rank in seen(tmp_path, "sngan")] == [0, 0]  # each machine's first GPU
    assert [rank["local_rank"] for rank in seen(two_ranks, "sngan")] == [0, 1]


def two_nodes(folder: Path, orders: dict[str, Any]) -> list[tuple[int, str]]:
    """Exit status and errors of two torchrun agents that carry out orders together."""
    (folder / "orders.json").write_text(json.dumps({"runs_only": True} | orders))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", port]
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *shared, "--node-rank", str(node),
             str(TESTS / "two_ranks.py"), str(folder)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment(),
        )
        for node in (0, 1)
    ]  # fmt: skip
    errors = [node.communicate(timeout=120)[1] for node in nodes]
    return [(node.returncode, text) for node, text in zip(nodes, errors)]


def test_two_ranks_compute_what_one_process_does(two_ranks: Path, tmp_path: Path) -> None:
    """Gradients are averages over the whole batch, and reach the weights in the right order. So are logged losses."""
    one = train_plain(tmp_path)
    logs = [json.loads((folder / LOG).read_text()) for folder in (tmp_path, two_ranks / "plain")]
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)
    for rank in (0, 1):
        for name, tensor in torch.load(two_ranks / f"plain.{rank}.pt", weights_only=True).items():
            assert torch.allclose(tensor, one[name], atol=1e-5), name


@pytest.fixture(scope="module")
def in_one_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What looks at a batch as a whole, computed by this process alone."""
    return results(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("case", WHOLE)
def test_two_ranks_see_the_batch_that_one_process_sees(
    case: str, two_ranks: Path, in_one_process: dict[str, dict[str, Tensor]]
) -> None:
    """Pairs, negatives, groups and statistics, the losses made of them, and the gradients through them."""
    first, second = (torch.load(two_ranks / f"whole.{rank}.pt", weights_only=True)[case] for rank in (0, 1))
    assert first.keys() == second.keys() == in_one_process[case].keys()
    for name, expected in in_one_process[case].items():
        if name.startswith("same"):
            assert torch.equal(first[name], second[name]), name
            found = first[name]
        elif name.startswith("rows"):
            found = torch.cat([first[name], second[name]])
        else:
            found = (first[name] + second[name]) / 2
        if "exact" in name:
            assert torch.equal(found, expected), name
        else:
            torch.testing.assert_close(found, expected, msg=lambda text, name=name: f"{name}: {text}")


def test_each_share_alone_would_give_other_numbers(in_one_process: dict[str, dict[str, Tensor]]) -> None:
    """The test above can fail: neighbours and statistics of half a batch are others."""
    half = numbers(3, 2, 2)[: BATCH // 2]
    whole = in_one_process["minibatch_std"]["rows"][: BATCH // 2]
    assert not torch.allclose(with_minibatch_std(half, 4), whole)
    z_i, z_j = numbers(5)[: BATCH // 2], numbers(5, seed=1)[: BATCH // 2]
    assert float(nt_xent(z_i, z_j, 0.5)) < 0.9 * float(in_one_process["contrastive"]["mean_loss"])
    every = in_one_process["latentcond"]["rows_exact_x"]
    near, _ = neighbours(distances(every[: BATCH // 2].flatten(1)))
    assert not torch.equal(every[near], in_one_process["latentcond"]["rows_exact_near"][: BATCH // 2])


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_is_trained(two_ranks: Path) -> None:
    text = (two_ranks / "stderr").read_text()
    for name in ("odd", "odd_encoder", "torn_packs"):
        assert [rank["status"] for rank in seen(two_ranks, name)] == [2, 2]
    assert "batch = 7: cannot be shared by 2 processes" in text
    assert "encoder.batch = 15, eval.judge.batch = 21: cannot be shared by 2 processes" in text
    assert "choose multiples of 2" in text
    assert "pacgan looks at images in groups of 3" in text
    assert "choose a multiple of 6" in text
    assert not list((two_ranks / "odd" / "artifacts").glob("SimCLR-*"))


def test_one_process_needs_no_group() -> None:
    gradients = [torch.ones(2), None]
    assert distributed.mean_gradients(gradients) is gradients
    assert (distributed.rank(), distributed.world(), distributed.is_main()) == (0, 1, True)
    assert distributed.agree("x") == "x"
    x = torch.ones(3, requires_grad=True)
    for operation in (distributed.gather, distributed.total, distributed.broadcast, distributed.largest):
        assert operation(x) is x
    assert distributed.means([x])[0] is x
    assert distributed.own_rows(3) == slice(0, 3)
    norm = nn.BatchNorm1d(2)
    normalise_over_ranks(norm)
    assert "forward" not in vars(norm)
    distributed.barrier()
    assert int(distributed.largest(torch.tensor(-1))) == -1
