"""A real SLURM of one node, and a suite on it: `make test-slurm`, some minutes, as root of a machine or container.

It starts munged, slurmctld and slurmd with a configuration, folders and ports of their own (SLURM_CONF), so that a
SLURM of the machine is neither asked nor disturbed, and stops them in any case: at a failed check, Ctrl-C or SIGTERM,
too. On it a small suite runs by
`--executor slurm` several times: undisturbed, with a cell that is queued again by the administrator, one that is asked
to leave (SIGUSR2), one whose process is killed, and stopped as a whole. The results must be those of local runs, bit
for bit.

On Debian: apt-get install -y slurmctld slurmd slurm-client munge
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from benchmark.core.signals import Ended, signals_raised

ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

SUITE = """
title: Two learning rates
source: a test on SLURM
dataset: digits
recipe: small
seeds: [0]
set:
  steps: {steps}
  checkpoint_every: {every}
  log_every: 50
  batch: 8
  width: 4
  eval: {{n_fake: 40, encoder: null, half_samples: 0, judge: {{steps: 2, width: 4}}}}
columns: [Rate]
sizes: {{small: {{}}}}
rows:
  - {{labels: {{Rate: high}}, method: sngan, set: {{lr_G: 2e-4}}}}
  - {{labels: {{Rate: low}}, method: sngan, set: {{lr_G: 1e-4}}}}
"""

CONFIGURATION = """
ClusterName=gantlettest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={d}
SrunPortRange={first}-{last}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={state}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=5
SlurmctldPidFile={state}/ctld.pid
SlurmdPidFile={state}/d.pid
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/d
SlurmctldLogFile={state}/ctld.log
SlurmdLogFile={state}/d.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName={host} NodeAddr=127.0.0.1 Port={d} CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the test. What a failed check leaves, the logs of SLURM and of the jobs, is kept.

    Returns 0 passed, 1 failed, 2 this machine cannot, 128 + the number of a signal that ended it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="new folder of logs and results, kept in any case (default: a "
                        "temporary one, kept when a check fails)")  # fmt: skip
    asked = parser.parse_args(arguments)
    if lacking := what_is_missing():
        print(f"make test-slurm cannot run here: {lacking}", file=sys.stderr)
        return 2
    if asked.keep:
        asked.keep.mkdir(parents=True)
    folder = (asked.keep or Path(tempfile.mkdtemp(prefix="gantlet-slurm-"))).absolute()
    folder.chmod(0o755)  # munge's own user looks for its socket there
    passed = False
    try:
        with signals_raised(), one_node(folder) as environment:
            check(folder, environment)
        passed = True
    except (KeyboardInterrupt, Ended) as signalled:
        print("test-slurm: stopped, and its SLURM with it", file=sys.stderr)
        return getattr(signalled, "exit_code", 128 + signal.SIGINT)
    finally:
        if asked.keep or not passed:
            print(f"test-slurm: logs and results: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print("test-slurm: passed")
    return 0


def what_is_missing() -> str:
    """Why the test cannot run here; empty where it can."""
    if os.geteuid() != 0:
        return "it starts SLURM's daemons, which need root (in a container, for example)"
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        packages = "apt-get install -y slurmctld slurmd slurm-client munge"
        return f"there is no {', '.join(missing)}; on Debian: {packages}"
    return ""


# ---- SLURM ----------------------------------------------------------------------------------------------------------


@contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """A SLURM of this machine alone. Yields the environment in which commands find it; its daemons end with it."""
    state = folder / "slurm"
    for name in ("ctld", "d"):
        (state / name).mkdir(parents=True)
    host, ports = socket.gethostname().partition(".")[0], free_ports(22)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    text = CONFIGURATION.format(host=host, ctld=ports[0], d=ports[1], first=ports[2], last=ports[2] + 19, state=state,
                                cpus=os.cpu_count(), memory=pages * 8 // 10)  # fmt: skip
    (state / "slurm.conf").write_text(text)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH"))}
    environment |= {"PATH": PATH, "SLURM_CONF": str(state / "slurm.conf"), "PYTHONPATH": str(ROOT),
                    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        start_munge(state, daemons)
        for command in (["slurmctld", "-D", "-i"], ["slurmd", "-D", "-N", host]):
            daemons.append(start_daemon(command, state, env=environment))
        wait_for(lambda: "idle" in ask(environment, "sinfo", "-h", "-o", "%t"), 60, "an idle node", state)
        yield environment
    finally:
        for run in SuiteRun.started:
            end(run.process)
        if len(daemons) == 3:
            end_jobs(environment)
        for daemon in reversed(daemons):
            end(daemon)


def start_daemon(command: list[str], state: Path, **how: Any) -> subprocess.Popen[bytes]:
    """Start a daemon in a session of its own: Ctrl-C must not end it before the jobs that it has to end."""
    with (state / f"{command[0]}.out").open("w") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, **how)


def start_munge(state: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    """Start a munged, which refuses to run as root, with a key and a socket of its own, and add it to `daemons`."""
    user = pwd.getpwnam("munge")
    folder = state / "munge"
    folder.mkdir()
    key = folder / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (folder, key, state):
        os.chown(path, user.pw_uid, user.pw_gid)
    folder.chmod(0o711)
    command = ["munged", "--foreground", f"--key-file={key}", f"--socket={state}/munge.socket", "--force",
               f"--pid-file={folder}/pid", f"--log-file={folder}/log", f"--seed-file={folder}/seed"]  # fmt: skip
    daemons.append(start_daemon(command, state, user=user.pw_uid, group=user.pw_gid, env={"PATH": PATH}))
    wait_for((state / "munge.socket").exists, 20, "munge's socket", state)


def end_jobs(environment: dict[str, str]) -> None:
    """Cancel all jobs and wait until their processes are gone: they outlive the daemons otherwise."""
    for kind in ([], ["--signal=KILL", "--full"]):  # the second for those that pass over SIGTERM
        subprocess.run(["scancel", *kind, "--user=root"], env=environment, capture_output=True, check=False)
        end_of_wait = time.monotonic() + 20
        while time.monotonic() < end_of_wait:
            if not ask(environment, "squeue", "-h").strip():
                return
            time.sleep(0.2)
    print(f"test-slurm: jobs are left: {ask(environment, 'squeue', '-h')}", file=sys.stderr)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process that this script started, if it still runs."""
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(n: int) -> list[int]:
    """So many ports in a row that nothing listens on."""
    for first in range(27000, 32000, n):
        try:
            for port in range(first, first + n):
                with socket.socket() as test:
                    test.bind(("127.0.0.1", port))
        except OSError:
            continue
        return list(range(first, first + n))
    raise SystemExit("no free ports between 27000 and 32000")


def ask(environment: dict[str, str], *command: str) -> str:
    """What a command of SLURM answers; empty when it fails."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def wait_for(true: Callable[[], Any], seconds: float, what: str, logs: Path | None = None) -> None:
    """Wait until it is true. Raises SystemExit, with the ends of the logs, when that takes too long."""
    end_of_wait = time.monotonic() + seconds
    while time.monotonic() < end_of_wait:
        if true():
            return
        time.sleep(0.1)
    for path in sorted((*logs.glob("*.log"), *logs.glob("*.out"))) if logs else []:
        print(f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:]), file=sys.stderr)
    raise SystemExit(f"test-slurm: no {what} within {seconds:.0f} s")


# ---- the suite ------------------------------------------------------------------------------------------------------


class SuiteRun:
    """`gantlet suite` by an executor in a results folder of its own."""

    started: ClassVar[list[SuiteRun]] = []  # all, to be ended with the test

    def __init__(self, folder: Path, name: str, environment: dict[str, str], *, executor: str = "slurm",
                 steps: int = 400, every: int = 300, options: tuple[str, ...] = ()) -> None:  # fmt: skip
        self.results, self.environment, self.name = folder / name, environment, name
        file = folder / f"rates{steps}.yaml"
        file.write_text(SUITE.format(steps=steps, every=every))
        words = [sys.executable, "-m", "benchmark", "suite", str(file), "--results", str(self.results)]
        words += ["--device", "cpu", "--threads", "1", "--quiet", "--workers", "2", "--executor", executor]
        words += ["--slurm", *options] if options else []
        self.out = (folder / f"{name}.out").open("w+")
        self.process = subprocess.Popen(words, env=environment, stdout=self.out, stderr=subprocess.STDOUT)
        self.started.append(self)

    def folders(self) -> list[Path]:
        """Folders of runs, the first row's first."""
        return sorted((path.parent for path in self.results.glob("runs/digits/*/*/log.jsonl")), key=rate_of)

    def in_training(self) -> Path:
        """The folder of the first row's run, when both are in training."""
        wait_for(lambda: len(self.folders()) == 2 and all((f / "log.jsonl").stat().st_size for f in self.folders()),
                 180, f"training in {self.name}", None)  # fmt: skip
        return self.folders()[0]

    def job(self, place: int) -> str:
        """The id of a cell's job."""
        found = re.findall(r"^(\d+_\d+)$", ask(self.environment, "squeue", "-h", "-r", "-o", "%F_%K"), re.MULTILINE)
        return next(id for id in found if id.endswith(f"_{place}"))

    def finish(self, status: int = 0) -> str:
        """Wait for its end. Returns what it printed. Raises SystemExit for another status, and for a traceback."""
        got = self.process.wait(timeout=400)
        self.out.seek(0)
        text = self.out.read()
        expect(got == status, f"{self.name}: exit status {got}, {status} expected:\n{text}")
        expect("Traceback" not in text, f"{self.name}: a traceback:\n{text}")
        return text

    def records(self) -> dict[str, Any]:
        """The `result` of each record by its run's name."""
        return {path.stem: json.loads(path.read_text())["result"] for path in self.results.glob("records/*.json")}


def rate_of(folder: Path) -> float:
    """Minus the learning rate of a run's folder: the first row has the higher."""
    found = re.search(r"lr_G: (\S+)", (folder / "config.yaml").read_text())
    return -float(found[1]) if found else 0.0


def process_of(job: str) -> int:
    """The process that does a job's work."""
    array, _, task = job.partition("_")
    wanted = {f"SLURM_ARRAY_JOB_ID={array}".encode(), f"SLURM_ARRAY_TASK_ID={task}".encode()}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words, variables = ((path / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
        except OSError:
            continue
        if b"python" in words[0] and b"submitit.core._submit" in words and wanted <= set(variables):
            return int(path.name)
    raise SystemExit(f"test-slurm: no process of job {job}")


def checkpoint_step(folder: Path) -> int:
    """The step of a run's checkpoint; 0 without one."""
    import torch

    path = folder / "checkpoint.pt"
    return int(torch.load(path, weights_only=True)["step"]) if path.exists() else 0


def expect(true: bool, what: str) -> None:
    """Raises SystemExit where something is not as it must be."""
    if not true:
        raise SystemExit(f"test-slurm: {what}")


def check(folder: Path, environment: dict[str, str]) -> None:
    """All that is checked on the running SLURM."""
    local = SuiteRun(folder, "local", environment, executor="local")
    local.finish()
    wanted = local.records()
    expect(len(wanted) == 2, "two local records")

    refused = SuiteRun(folder, "refused", environment, options=("partition=nowhere",))
    text = refused.finish(2)
    expect("sbatch refused" in text and "nvalid partition" in text, f"an unknown partition is not named:\n{text}")

    plain = SuiteRun(folder, "plain", environment, options=("partition=test", "time=30"))
    plain.finish()
    compare(plain, wanted, "results by SLURM are not those of local runs")
    print(f"by SLURM as here: {len(wanted)} records compared, the same results", flush=True)

    requeued = SuiteRun(folder, "requeued", environment)
    requeued.in_training()
    subprocess.run(["scontrol", "requeue", requeued.job(0)], env=environment, check=True)
    no_delay(environment, requeued)
    requeued.finish()
    compare(requeued, wanted, "results differ after `scontrol requeue`")
    print(f"queued again by the administrator: {len(wanted)} records compared, the same results", flush=True)

    preempted = SuiteRun(folder, "preempted", environment)
    run = preempted.in_training()
    subprocess.run(["scancel", "--signal=USR2", preempted.job(0)], env=environment, check=True)
    wait_for(lambda: 0 < checkpoint_step(run) < 300, 60, "checkpoint between two of its own after SIGUSR2", None)
    print(f"asked to leave: saved at step {checkpoint_step(run)}", flush=True)
    no_delay(environment, preempted)
    preempted.finish()
    compare(preempted, wanted, "results differ after SIGUSR2")
    print(f"asked to leave and queued again: {len(wanted)} records compared, the same results", flush=True)

    killed = SuiteRun(folder, "killed", environment)
    killed.in_training()
    os.kill(process_of(killed.job(0)), signal.SIGKILL)  # as the kernel does when memory is short
    text = killed.finish(1)
    expect("cell 1/2: high, seed 0: stopped, without a record: killed by SIGKILL" in text, f"not named:\n{text}")
    expect("1 done, 1 failed" in text, f"the other cell did not go on:\n{text}")
    again = SuiteRun(folder, "killed", environment)
    again.finish()
    compare(again, wanted, "results differ after a killed cell was run again")
    print(f"killed, named, and run again: {len(wanted)} records compared, the same results", flush=True)

    stopped = SuiteRun(folder, "stopped", environment)
    stopped.in_training()
    stopped.process.send_signal(signal.SIGTERM)
    text = stopped.finish(143)
    expect("2 jobs of SLURM were cancelled" in text, f"does not say what was stopped:\n{text}")
    wait_for(lambda: not ask(environment, "squeue", "-h").strip(), 60, "empty queue after a stopped suite", None)
    print("stopped: its jobs are cancelled", flush=True)


def compare(run: SuiteRun, wanted: dict[str, Any], what: str) -> None:
    """Raises SystemExit, naming the records, where a suite's are not those that are wanted."""
    found = run.records()
    unlike = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    expect(not unlike, f"{what}: {len(unlike)} of {len(wanted)} records: {', '.join(unlike)}")


def no_delay(environment: dict[str, str], run: SuiteRun) -> None:
    """SLURM starts what is queued again only after two minutes; not here."""
    wait_for(lambda: "PENDING" in ask(environment, "squeue", "-h", "-r", "-o", "%T"), 60, "job queued again", None)
    subprocess.run(["scontrol", "update", f"JobId={run.job(0)}", "StartTime=now"], env=environment, check=False)


if __name__ == "__main__":
    sys.exit(main())
