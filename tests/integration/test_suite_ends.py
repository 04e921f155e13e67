"""How a suite's workers end: killed, stopped, preempted. Each end is named, leaves no process, and runs continue."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import environment
from made_suites import WORKING

from benchmark.core.signals import Preempted
from benchmark.runs.records import read_records
from benchmark.runs.spec import Paths, RunSpec, resolve
from benchmark.runs.suites import cell, local_jobs
from benchmark.runs.suites.cell import CellStatus, RunCell
from benchmark.runs.suites.local_jobs import LocalJobs, died
from benchmark.runs.suites.running import JOBS
from benchmark.runs.suites.suite import cells, find_suite

pytestmark = pytest.mark.usefixtures("quick_environment")

# Two rows that train for long enough to be ended, with a checkpoint that comes late
LONG = WORKING.replace("steps: 3,", "steps: 120, checkpoint_every: 100, log_every: 50,").replace("1e+30", "1e-4")


def until(true: Callable[[], Any], seconds: float = 120) -> bool:
    """Whether it becomes true within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return bool(true())


def children(pid: int) -> list[int]:
    """Living children of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(path.parent.name))
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")


def start(tmp_path: Path, paths: Paths, *options: str) -> subprocess.Popen[str]:
    """`gantlet suite` of two rows by two workers."""
    (tmp_path / "rates.yaml").write_text(LONG)
    words = ["suite", str(tmp_path / "rates.yaml"), "--workers", "2", "--quiet", "--device", "cpu", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmark", *words, "--results", str(paths.results)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def suite(tmp_path: Path, paths: Paths) -> Iterator[subprocess.Popen[str]]:
    """A suite in another process; what is left of it is killed."""
    process = start(tmp_path, paths)
    yield process
    for pid in (*children(process.pid), process.pid):
        if process.poll() is None:
            os.kill(pid, signal.SIGKILL)


def test_a_suite_whose_minutes_are_over_stops_with_its_steps_saved(tmp_path: Path, paths: Paths) -> None:
    process = start(tmp_path, paths, "--minutes", "0.1")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGUSR2
    assert out.splitlines()[-1] == "rates: stopped: 2 not finished"
    assert err == "gantlet: stopped; the same command goes on from what is saved\n"


def folders_at_work(paths: Paths) -> list[Path]:
    """Folders of runs that are in training."""
    return [path.parent for path in paths.results.glob("runs/digits/*/*/config.yaml")]


@needs_proc
def test_a_killed_worker_is_named_with_its_cell_and_the_others_go_on(
    suite: subprocess.Popen[str], paths: Paths
) -> None:
    assert until(lambda: len(folders_at_work(paths)) == 2)
    os.kill(min(children(suite.pid)), signal.SIGKILL)
    out, err = suite.communicate(timeout=240)
    assert suite.returncode == 1
    assert re.search(r"cell 1/2: high, seed 0: .*killed by SIGKILL, probably out of memory", out), out
    assert "rates: 1 done, 1 failed" in out
    assert "Traceback" not in out + err
    assert len(read_records(paths.results)) == 1
    log = Path(re.search(r"its log: (\S+)\)", out)[1])  # type: ignore[index]
    assert log.is_file()


@needs_proc
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_stopped_suite_says_what_was_stopped_and_how_to_continue(
    suite: subprocess.Popen[str], paths: Paths, number: signal.Signals, status: int
) -> None:
    assert until(lambda: len(folders_at_work(paths)) == 2)
    workers = children(suite.pid)
    os.killpg(suite.pid, number)  # as a terminal does
    out, err = suite.communicate(timeout=60)
    assert suite.returncode == status
    assert len(workers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert out.splitlines() == ["stopped: 2 running were ended", "rates: stopped: 2 not finished"]
    assert err == "gantlet: stopped; the same command goes on from what is saved\n"
    assert not list((paths.results / "runs" / JOBS).iterdir()), "no file of a job is left"


@needs_proc
@pytest.mark.slow
def test_a_preempted_job_saves_its_step_and_gives_the_same_record(tmp_path: Path, paths: Paths) -> None:
    """SIGUSR2 in the middle: a checkpoint at a step that has none by itself; resumed, the record is bit for bit."""
    (tmp_path / "rates.yaml").write_text(LONG)
    suite = find_suite(str(tmp_path / "rates.yaml"))
    work = RunCell(resolve(cells(suite, "small")[0].spec, paths), paths, "cpu", True, 1)
    jobs = LocalJobs(tmp_path / "jobs")
    (job,) = jobs.submit([work])
    log = work.resolved.folder / "log.jsonl"
    assert until(lambda: log.exists() and '"step": 50' in log.read_text())
    job.signal(signal.SIGUSR2)
    assert job.process.wait(timeout=60) == 128 + signal.SIGUSR2
    step = torch.load(work.resolved.folder / "checkpoint.pt", weights_only=True)["step"]
    assert 50 <= step < 100, "between two checkpoints"
    assert not read_records(paths.results)
    (again,) = jobs.submit([work])
    assert again.process.wait(timeout=120) == 0
    assert again.result() == CellStatus("done", "done", 0)
    elsewhere = Paths(paths.data_root, tmp_path / "undisturbed")
    shutil.copytree(paths.results / "artifacts", elsewhere.artifacts)
    undisturbed = RunCell(resolve(cells(suite, "small")[0].spec, elsewhere), elsewhere, "cpu", True, 1)
    assert undisturbed().kind == "done"
    ((mine,), (theirs,)) = (read_records(where.results) for where in (paths, elsewhere))
    assert mine.to_dict()["result"] == theirs.to_dict()["result"]


def test_a_preempted_job_of_slurm_is_queued_again_when_it_has_closed_what_was_open(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []

    def run(work: RunCell) -> CellStatus:
        try:
            os.kill(os.getpid(), signal.SIGUSR2)
            return CellStatus("done", "it went on", 0)
        finally:
            events.append("closed")

    monkeypatch.setattr(cell, "run_cell", run)
    before = signal.signal(signal.SIGUSR2, lambda *_: events.append("queued again"))  # as submitit sets one
    try:
        with pytest.raises(Preempted):
            RunCell(resolve(RunSpec("sngan", "digits", 0), paths), paths, "cpu", True, 1)()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert events == ["closed", "queued again"]


def test_ends_of_processes_in_words() -> None:
    assert "killed by SIGKILL, probably out of memory (here)" in died(-9, "here").text
    assert "killed by SIGSEGV (here)" in died(-11, "here").text
    assert "killed by signal 40" in died(-40, "here").text
    assert "ended with status 7" in died(7, "here").text
    assert died(-9, "").exit_code == 1


def test_a_job_that_ends_by_itself_removes_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = object.__new__(local_jobs.LocalJob)
    job.folder, job.log = tmp_path / "job", tmp_path / "job" / "log.txt"
    for text, left in (("done", False), ("stopped, without a record: a bug", True)):
        job.folder.mkdir()
        (job.folder / "outcome.pkl").write_bytes(pickle.dumps(CellStatus("done", text, 0)))
        assert job.result().text == text
        assert job.folder.exists() is left
