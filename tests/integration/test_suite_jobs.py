"""A suite by several processes: as many at a time as asked for, and none left when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import environment
from made_suites import WORKING

from benchmark.core.environment import n_cores
from benchmark.core.errors import ConfigError
from benchmark.runs.records import read_records
from benchmark.runs.spec import Paths, RunSpec, resolve
from benchmark.runs.suites import running as suite_runs
from benchmark.runs.suites.cell import CellStatus, RunCell
from benchmark.runs.suites.running import default_workers, job_executor, run_suite, submitted

pytestmark = pytest.mark.usefixtures("quick_environment")


def test_workers_give_what_one_process_gives(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rates.yaml").write_text(WORKING)
    results = []
    for workers in (1, 2):
        paths = Paths(tmp_path / "data", tmp_path / f"results{workers}")
        assert run_suite(str(tmp_path / "rates.yaml"), paths, quiet=True, device="cpu", workers=workers) == 1
        assert "rates: 1 done, 1 failed" in capfd.readouterr().out
        results.append({record.run: record.to_dict()["result"] for record in read_records(paths.results)})
    assert len(results[0]) == 2
    assert results[0] == results[1]
    monkeypatch.setattr(suite_runs, "submitted", lambda *_: pytest.fail("a cell that has a record needs no job"))
    assert run_suite(str(tmp_path / "rates.yaml"), paths, quiet=True, device="cpu", workers=2) == 1
    again = capfd.readouterr().out
    assert "cell 1/2: high, seed 0: done before" in again
    assert "cell 2/2: absurd, seed 0: failed before" in again


def test_workers_by_default() -> None:
    cores = min(n_cores(), 8)
    assert default_workers("infoscc-ablation", "small", "cpu", None) == cores
    assert default_workers("infoscc-ablation", "small", "cpu", 1) == cores
    assert default_workers("infoscc-ablation", "small", "cpu", 2) == 1, "its runs take more than a core each"
    assert default_workers("infoscc-ablation", "paper", "cpu", None) == 1
    assert default_workers("infoscc-ablation", "small", "cuda", None) == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_workers_are_as_many_as_the_cores_that_may_be_used() -> None:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert default_workers("infoscc-ablation", "small", "cpu", None) == 1
    finally:
        os.sched_setaffinity(0, mine)


class FakeJob:
    """A job that is over when it is asked the second time."""

    def __init__(self, executor: FakeExecutor, work: Any) -> None:
        self.executor, self.work, self.asked, self.cancelled = executor, work, 0, False

    def done(self) -> bool:
        self.asked += 1
        if self.asked == 2:
            self.executor.running -= 1
        return self.asked >= 2

    def result(self) -> CellStatus:
        return CellStatus("done", f"{self.work}", 0)


class FakeExecutor:
    """Counts the jobs that run at once."""

    poll_s = 0.001

    def __init__(self, local: bool) -> None:
        self.local, self.running, self.most, self.jobs = local, 0, 0, []  # type: ignore[var-annotated]

    def submit(self, work: Any) -> list[FakeJob]:
        new = [FakeJob(self, one) for one in work]
        self.running += len(new)
        self.most = max(self.most, self.running)
        self.jobs += new
        return new

    def look(self) -> None:
        pass

    def cancel(self, jobs: Any) -> str:
        for job in jobs:
            job.cancelled = True
        return f"{len(jobs)} were ended"


@pytest.mark.parametrize(("executor", "most"), [(FakeExecutor(True), 2), (FakeExecutor(False), 5)])
def test_local_jobs_are_bounded_here_and_slurms_by_slurm(executor: FakeExecutor, most: int) -> None:
    work: Any = list("abcde")
    found = dict(submitted(work, executor, 2))
    assert {i: outcome.text for i, outcome in found.items()} == dict(enumerate("abcde"))
    assert executor.most == most
    assert not any(job.cancelled for job in executor.jobs)


def test_what_still_runs_is_cancelled_when_the_suite_stops(capsys: pytest.CaptureFixture[str]) -> None:
    executor = FakeExecutor(True)
    work: Any = list("abcde")
    outcomes = submitted(work, executor, 3)
    next(outcomes)
    outcomes.close()
    assert [job.cancelled for job in executor.jobs].count(True) == len(executor.jobs) - 1 == 3
    assert capsys.readouterr().out == "stopped: 3 were ended\n"


def test_a_preempted_job_is_queued_again_as_it_was(paths: Paths) -> None:
    work = RunCell(resolve(RunSpec("sngan", "digits", 0), paths), paths, "cpu", True, 1)
    again = work.checkpoint()
    assert again.function == work
    assert (again.args, again.kwargs) == ((), {})


def until(true: Callable[[], Any], seconds: float) -> bool:
    """Whether it becomes true within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return bool(true())


def processes_of(mark: str) -> list[int]:
    """Living processes that have inherited this environment variable; of one that is over, nothing can be read."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"MARK={mark}\0".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")

LONG = WORKING.replace("steps: 3,", "steps: 250, checkpoint_every: 10, log_every: 10,")
LONG = LONG[: LONG.index("  - {labels: {Rate: absurd}")]


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_suite_that_is_ended_leaves_no_job_and_is_continued(
    tmp_path: Path, paths: Paths, capfd: pytest.CaptureFixture[str], number: signal.Signals, status: int
) -> None:
    (tmp_path / "rates.yaml").write_text(LONG)
    words = ["suite", str(tmp_path / "rates.yaml"), "--workers", "2", "--quiet", "--device", "cpu"]
    suite = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *words, "--results", str(paths.results)],
        env=environment(MARK=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell starts what ends with &
    )
    began = until(lambda: len(list(paths.results.glob("runs/digits/*/*/checkpoint.pt"))) == 1, 300)
    n_jobs = len(processes_of(str(tmp_path)))
    suite.send_signal(number)
    assert suite.wait(timeout=60) == status
    assert began
    assert n_jobs >= 2, "the suite and the run's"
    assert until(lambda: not processes_of(str(tmp_path)), 20)
    assert not read_records(paths.results), "it was stopped on the way"
    assert not list((paths.results / "runs" / suite_runs.JOBS).glob("*.lock"))
    if number == signal.SIGTERM:
        assert "goes on from what is saved" in capfd.readouterr().err
        assert run_suite(str(tmp_path / "rates.yaml"), paths, quiet=True, device="cpu") == 0
        (record,) = read_records(paths.results)
        assert (record.status, record.result_or_empty.steps) == ("done", 250)


JOB = """
import subprocess, sys, time
from pathlib import Path
from benchmark.runs.suites.cell import end_with_suite
if sys.argv[1] != "-":
    end_with_suite(Path(sys.argv[1]))
subprocess.run(["sleep", "600"])
"""


@needs_proc
def test_a_job_ends_with_its_helpers_when_its_suites_lock_is_free(paths: Paths, tmp_path: Path) -> None:
    watched, unwatched = (str(tmp_path / name) for name in ("watched", "unwatched"))
    jobs = []
    try:
        with suite_runs._sign_of_life(paths) as alive:
            for mark, name in ((watched, str(alive)), (unwatched, "-")):
                jobs.append(subprocess.Popen([sys.executable, "-c", JOB, name], env=environment(MARK=mark)))
            started = until(lambda: len(processes_of(watched)) == len(processes_of(unwatched)) == 2, 120)
            assert started, "a job and its helper each"
            time.sleep(1.2)
            assert len(processes_of(watched)) == 2, "while the suite is there it stays"
        assert until(lambda: not processes_of(watched), 20)
        assert jobs[0].wait() in (143, -signal.SIGTERM)
        assert len(processes_of(unwatched)) == 2, "the check sees a job that goes on"
    finally:
        for left in (*processes_of(watched), *processes_of(unwatched)):
            os.kill(left, signal.SIGKILL)
        for job in jobs:
            job.wait()


def test_only_jobs_of_this_machine_watch_the_suite(paths: Paths) -> None:
    for executor, n_watching in ((FakeExecutor(True), 2), (FakeExecutor(False), 0)):
        work = [RunCell(resolve(RunSpec("sngan", "digits", i), paths), paths, "cpu", True, 1) for i in range(2)]
        list(suite_runs._by_jobs(work, ["a", "b"], executor, 2, paths))
        assert sum(job.work.alive is not None for job in executor.jobs) == n_watching


def test_slurm_options_go_to_sbatch(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sbatch", "srun"):
        script = f'#!/bin/sh\nfor last; do :; done\ncp "$last" {tmp_path}/script\necho "Submitted batch job 7"\n'
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    executor = job_executor("slurm", paths, 3, {"partition": "gpu", "time": 60})
    work = [RunCell(resolve(RunSpec("sngan", "digits", i), paths), paths, "cpu", True, 1) for i in range(5)]
    executor.submit(work)
    script = (tmp_path / "script").read_text()
    for line in ("--array=0-4%3", "--partition=gpu", "--time=60", "--open-mode=append", "--signal="):
        assert line in script
    with pytest.raises(ConfigError, match="partitionn"):
        job_executor("slurm", paths, 3, {"partitionn": "gpu"})


def test_slurm_needs_slurm_and_options_need_it(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="no sbatch"):
        job_executor("slurm", paths, 1, {})
    with pytest.raises(ConfigError, match="options of sbatch: partition"):
        job_executor("local", paths, 1, {"partition": "gpu"})
