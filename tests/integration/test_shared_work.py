"""Files that were damaged between two runs, and two processes on the same work."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path

import torch
from helpers import INFOSCC, Finished, RunServer, killed, outcome, run_arguments


def test_a_checkpoint_that_is_not_whole_is_named(server: RunServer, finished: Finished, results: Path) -> None:
    command = run_arguments(results, INFOSCC)
    killed(server.run(command, results, at="step infoscc 9"))
    (path,) = results.glob("runs/*/*/*/checkpoint.pt")
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"not a checkpoint at all"):
        path.write_bytes(damage)
        ended = server.run(command, results)
        assert ended.status == 2
        assert f"{path}: not a checkpoint" in ended.stderr
        assert f"remove {path} to start again" in ended.stderr
        assert "Traceback" not in ended.stderr
    torch.save({"step": 4, "state": {}}, path)  # a checkpoint that does not say what it is of
    ended = server.run(command, results)
    assert ended.status == 2
    assert f"remove {path} to start again" in ended.stderr
    path.unlink()
    assert server.run(command, results).status == 0
    outcome(results).same_as(finished.outcome)


def test_a_stage_whose_weights_are_damaged_can_be_made_again(
    server: RunServer, finished: Finished, results: Path
) -> None:
    command = run_arguments(results, INFOSCC)
    killed(server.run(command, results, at="step infoscc 2"))
    (path,) = results.glob("artifacts/SimCLR-*/artifact.pt")
    path.write_bytes(path.read_bytes()[:1000])
    ended = server.run(command, results)
    assert ended.status == 2
    assert f"{path.parent}; it is then made again" in ended.stderr
    shutil.rmtree(path.parent)
    assert server.run(command, results).status == 0
    outcome(results).same_as(finished.outcome)


def wait_for(path: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def test_a_second_process_on_a_run_refuses_and_harms_nothing(
    server: RunServer, finished: Finished, results: Path
) -> None:
    command = run_arguments(results, INFOSCC)
    first = server.start(command, results, at="step infoscc 5", do="pause")
    wait_for(results / "reached")
    second = server.run(command, results)
    assert second.status == 3
    assert "is being worked on" in second.stderr
    assert f"process {first} on {os.uname().nodename}" in second.stderr
    assert "wait until it ends, or stop it" in second.stderr
    (results / "go").touch()
    assert server.wait(first).status == 0
    outcome(results).same_as(finished.outcome)
    third = server.run(command, results)  # over: it shows the record
    assert third.status == 0
    assert "FD-judge" in third.stdout


def test_of_two_processes_that_need_an_encoder_one_waits(server: RunServer, finished: Finished, results: Path) -> None:
    command = run_arguments(results, INFOSCC)
    first = server.start([*command, "--seed", "0"], results, at="step SimCLR 3", do="pause")
    wait_for(results / "reached")
    second = server.start([*command, "--seed", "1"], results)
    report = results / f"stdout.{second}"
    deadline = time.monotonic() + 60
    while "waiting for the artefact SimCLR" not in (report.read_text() if report.exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (results / "go").touch()
    ended = [server.wait(pid) for pid in (first, second)]
    assert [e.status for e in ended] == [0, 0], ended
    assert re.search(rf"waiting for the artefact SimCLR-\w+: process {first} on .* is making it", ended[1].stdout)
    records = [json.loads(path.read_text()) for path in sorted(results.glob("records/*.json"))]
    assert [record["seed"] for record in records] == [0, 1]
    assert records[0]["result"]["stages"] == records[1]["result"]["stages"]
    assert len(list(results.glob("artifacts/SimCLR-*/meta.json"))) == 1
    assert records[0]["result"] == finished.outcome.result


def test_a_dead_holder_is_not_waited_for(server: RunServer, finished: Finished, results: Path) -> None:
    """The lock goes with the process that held it, and the next holder's name replaces the dead one's."""
    command = run_arguments(results, INFOSCC)
    killed(server.run(command, results, at="step infoscc 1"))
    (owner,) = results.glob("runs/*/*/*/.lock.owner")
    dead = owner.read_text()
    pid = server.start(command, results, at="step infoscc 2", do="pause")
    wait_for(results / "reached")
    assert owner.read_text() == f"process {pid} on {os.uname().nodename}" != dead
    (results / "go").touch()
    assert server.wait(pid).status == 0
    assert not owner.exists()
