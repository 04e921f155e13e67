"""A rank that is lost ends the others: soon, with a message that names it, with status 1, and without a core dump."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from helpers import TESTS, environment

Start = Callable[..., subprocess.Popen[str]]
AT_ONCE_S, LOST_S = 20, 25  # with what a loaded machine adds; a test fails after that, where there used to be a day
SCRIPT = str(TESTS / "lost_ranks.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes, each the leader of a process group of its own; kills what is left of them afterwards."""
    running = []

    def begin(*arguments: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(**env),
            start_new_session=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ranks(start: Start, work: str, folder: Path, world: int = 2) -> list[subprocess.Popen[str]]:
    """Processes with torch's environment and no agent that could end them: as on machines of their own."""
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [start(SCRIPT, work, str(folder), RANK=str(r), **shared) for r in range(world)]


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not appear"
        time.sleep(0.02)


def ended(process: subprocess.Popen[str], seconds: float) -> tuple[int, str]:
    """Exit status and output. Fails when the process is still running after so many seconds."""
    text, _ = process.communicate(timeout=seconds)
    return process.returncode, text


def assert_named(output: tuple[int, str], rank: int, world: int = 2) -> None:
    """The process ended in order and says who was lost and what to do."""
    status, text = output
    assert status == 1, text
    assert f"rank {rank} of {world} lost" in text
    assert "start all ranks again with the same command; the run resumes from its last checkpoint" in text
    assert "Traceback" not in text
    assert "terminate called" not in text


@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_rank_ends_the_other_at_once(lost: int, start: Start, tmp_path: Path) -> None:
    processes = ranks(start, "train", tmp_path)
    for r in (0, 1):
        wait_for(tmp_path / f"training.{r}")
    processes[lost].kill()
    assert_named(ended(processes[1 - lost], AT_ONCE_S), lost)


@pytest.mark.parametrize("lost", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_frozen_rank_ends_the_other(lost: int, start: Start, tmp_path: Path) -> None:
    """A frozen process is to the others what a machine is that vanished: connections stay open and nothing arrives."""
    processes = ranks(start, "train", tmp_path)
    for r in (0, 1):
        wait_for(tmp_path / f"training.{r}")
    processes[lost].send_signal(signal.SIGSTOP)
    output = ended(processes[1 - lost], LOST_S)
    assert_named(output, lost)
    assert "nothing was heard from it for 3 s" in output[1]
    processes[lost].send_signal(signal.SIGCONT)  # it finds itself alone, and does not hang either
    assert ended(processes[lost], LOST_S)[0] == 1


@pytest.mark.parametrize("stop", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_rank_0_is_lost_while_the_other_waits_for_it(stop: signal.Signals, start: Start, tmp_path: Path) -> None:
    first, second = ranks(start, "wait", tmp_path)
    wait_for(tmp_path / "working")
    first.send_signal(stop)
    assert_named(ended(second, LOST_S), 0)


@pytest.mark.slow
def test_of_three_ranks_both_others_name_the_lost_one(start: Start, tmp_path: Path) -> None:
    processes = ranks(start, "train", tmp_path, world=3)
    for r in range(3):
        wait_for(tmp_path / f"training.{r}")
    processes[1].kill()
    for r in (0, 2):
        assert_named(ended(processes[r], LOST_S), 1, world=3)


def test_long_work_of_rank_0_is_waited_for_and_a_rank_that_left_is_not_missed(start: Start, tmp_path: Path) -> None:
    for process in ranks(start, "wait", tmp_path):
        assert ended(process, 60) == (0, "")
    assert (tmp_path / "after.0").exists()
    assert (tmp_path / "after.1").exists()


def test_a_rank_with_an_error_of_its_own_is_named(start: Start, tmp_path: Path) -> None:
    first, second = ranks(start, "fail", tmp_path)
    status, text = ended(second, 60)
    assert status == 1
    assert "a disk of its own" in text
    output = ended(first, AT_ONCE_S)
    assert_named(output, 1)
    assert "see the error that rank 1 printed" in output[1]


def test_an_error_of_rank_0_that_all_ranks_raise_leaves_them_in_step(start: Start, tmp_path: Path) -> None:
    for process in ranks(start, "busy", tmp_path):
        assert ended(process, 60) == (0, "")
    for rank in (0, 1):
        left = ["left to another process: process 1 holds it"] * 2
        assert (tmp_path / f"outcomes.{rank}").read_text().splitlines() == left


def test_an_error_of_one_rank_alone_ends_a_suite_of_several(start: Start, tmp_path: Path) -> None:
    first, second = ranks(start, "full", tmp_path)
    status, text = ended(first, 60)
    assert status == 1
    assert "UserError: the run is being worked on" in text
    assert_named(ended(second, AT_ONCE_S), 0)


def test_ranks_that_live_but_disagree_end(start: Start, tmp_path: Path) -> None:
    first, second = ranks(start, "disagree", tmp_path)
    status, text = ended(first, 60)
    assert status == 1
    assert "for the others, which are alive but did not follow" in text
    assert ended(second, 60)[0] == 1


def agents(start: Start, rendezvous: str, folder: Path) -> list[subprocess.Popen[str]]:
    """Two nodes, each a torchrun of one process."""
    port = free_port()
    shared = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    if rendezvous == "c10d":
        place = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "lost"]
        more = [["--rdzv-conf", f"is_host={1 - node}"] for node in (0, 1)]
    else:
        place = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
        more = [["--node-rank", str(node)] for node in (0, 1)]
    return [start(*shared, *place, *more[node], SCRIPT, "train", str(folder)) for node in (0, 1)]


@pytest.mark.parametrize(
    ("rendezvous", "lost"),
    [
        ("c10d", 0),  # the one that keeps the rendezvous
        pytest.param("static", 1, marks=pytest.mark.slow),
        pytest.param("c10d", 1, marks=pytest.mark.slow),
        pytest.param("static", 0, marks=pytest.mark.slow),
    ],
)
def test_a_node_that_is_lost_ends_the_other(rendezvous: str, lost: int, start: Start, tmp_path: Path) -> None:
    """Its torchrun and its rank are killed together, as when a machine loses its power."""
    nodes = agents(start, rendezvous, tmp_path)
    for r in (0, 1):
        wait_for(tmp_path / f"training.{r}")
    nodes[lost].kill()
    os.kill(int((tmp_path / f"child_of.{nodes[lost].pid}").read_text()), signal.SIGKILL)
    status, text = ended(nodes[1 - lost], 60)
    assert status == 1, text
    # Without the rendezvous torchrun itself may notice first, and end its rank before that can say anything.
    kept = (rendezvous, lost) == ("c10d", 0)
    assert " of 2 lost; rank " in text or (kept and "RendezvousConnectionError" in text)
    assert "terminate called" not in text
