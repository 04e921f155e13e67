"""Cells as jobs of SLURM, by submitit: their options, how they are watched and what became of them.

A site may have no accounting (`sacct`), and then nothing but `scontrol` says that a job was killed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import ConfigError, suggest
from benchmark.runs.suites.cell import CellStatus, RunCell
from benchmark.runs.suites.local_jobs import died

if TYPE_CHECKING:
    import submitit

_SLURM_MIN = 1440  # a job's time, when nothing is said; it is queued again when that is over
_SLURM_REQUEUES = 100
_OVER = frozenset(
    {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "REVOKED"}
)
_GONE = "GONE"  # SLURM knows nothing of the job, or no more
_LOOKS = 3  # at a job that is over before it is given up: its outcome may come late through a file system
_MEMORY = re.compile(r"\d+(\.\d+)?[KMGT]?B?", re.IGNORECASE)


class SlurmJob:
    """A job of SLURM that does the work of one cell."""

    def __init__(self, job: submitit.Job[CellStatus], jobs: SlurmJobs) -> None:
        self.job, self.jobs = job, jobs
        self.looks = 0  # at which it was over without an outcome

    def done(self) -> bool:
        """Whether it has left its outcome, or SLURM has said several times that it is over."""
        folder = self.job.paths.folder
        with suppress(OSError):
            folder.chmod(folder.stat().st_mode)  # network file systems then look again
        if self.job.paths.result_pickle.exists():
            return True
        state, _ = self.jobs.state(self.job.job_id)
        self.looks = self.looks + 1 if state in _OVER or state == _GONE else 0
        return self.looks >= _LOOKS

    def result(self) -> CellStatus:
        """What became of the cell; the job's files go when it ended by itself."""
        import submitit

        where = f"job {self.job.job_id}, its log: {self.job.paths.stderr}"
        if not self.job.paths.result_pickle.exists():
            state, status = self.jobs.state(self.job.job_id)
            if state in ("FAILED", "COMPLETED") and status:
                return died(status, where)
            reason = {
                "OUT_OF_MEMORY": "out of memory; give its job more (--slurm mem=...)",
                "TIMEOUT": "its time was over before it could save and be queued again",
                "CANCELLED": "its job was cancelled",
                _GONE: "SLURM no longer knows its job",
            }.get(state, f"its job ended as {state}")
            return CellStatus("failed", f"stopped, without a record: {reason} ({where})", 1)
        try:
            outcome = self.job.result()
        except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
            lines = [line for line in str(error).strip().splitlines() if line.strip("- ")]
            reason = lines[-3] if len(lines) > 3 else lines[0]  # the exception, over where the logs are
            return CellStatus("failed", f"stopped, without a record: {reason.strip()} ({where})", 1)
        if "without a record" not in outcome.text:
            shutil.rmtree(self.job.paths.folder, ignore_errors=True)
        return outcome


class SlurmJobs:
    """Submits cells to SLURM as one array."""

    poll_s = 5.0
    local = False

    def __init__(self, folder: Path, workers: int, options: Mapping[str, Any]) -> None:
        """Raises ConfigError without SLURM, and for options that it does not have or take."""
        if shutil.which("sbatch") is None:
            raise ConfigError("--executor slurm", "there is no sbatch on this machine", "use --executor local")
        check_options(options)
        import submitit

        self.executor = submitit.SlurmExecutor(folder / "%j", max_num_timeout=_SLURM_REQUEUES)
        settings = {"time": _SLURM_MIN, "job_name": "gantlet", "array_parallelism": workers, **options}
        self.executor.update_parameters(**settings)
        self.states: dict[str, tuple[str, int]] = {}
        self.arrays: set[str] = set()

    def submit(self, work: Sequence[RunCell]) -> list[SlurmJob]:
        """Queue a job for each piece of work. Raises ConfigError when SLURM does not take them."""
        import submitit

        try:
            jobs = [SlurmJob(job, self) for job in self.executor.submit_array(list(work))]
        except submitit.core.utils.FailedJobError as error:
            lines = [line.strip() for line in str(error).splitlines() if "error" in line] or [str(error).strip()]
            raise ConfigError(
                "sbatch refused the jobs", "; ".join(lines), "change the options after --slurm, or ask your site"
            ) from None
        self.arrays = {job.job.job_id.partition("_")[0] for job in jobs}
        return jobs

    def look(self) -> None:
        """Ask SLURM how its jobs are: one question for a whole array."""
        for array in self.arrays:
            answer = _ask("scontrol", "--oneliner", "show", "job", array)
            if answer is not None:
                self.states = read_states(answer)
                continue
            answer = _ask("sacct", "-n", "-X", "-P", "-o", "JobID,State,ExitCode", "-j", array)
            self.states = {} if answer is None else read_accounting(answer)

    def state(self, job: str) -> tuple[str, int]:
        """A job's state by SLURM's name, and its status as Popen has it, at the last look."""
        return self.states.get(job, (_GONE, 0))

    def cancel(self, jobs: Sequence[SlurmJob]) -> str:
        """Cancel jobs. Returns how."""
        ids = [job.job.job_id for job in jobs if not job.job.paths.result_pickle.exists()]
        if ids:
            subprocess.run(["scancel", *ids], check=False, capture_output=True)
        return f"{len(ids)} jobs of SLURM were cancelled"


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ConfigError, with the nearest name, for options that submitit does not have, and for values of wrong types.

    What SLURM itself takes as a partition or an account only SLURM knows.
    """
    from submitit.slurm.slurm import _get_default_parameters

    known = _get_default_parameters()
    others = {"mem_gb": "mem", "timeout_min": "time", "tasks_per_node": "ntasks_per_node", "name": "job_name"}
    for name, value in options.items():
        if name not in known:
            hint = f"did you mean {others[name]!r}?" if name in others else suggest(name, known)
            raise ConfigError(f"--slurm {name}", f"no such option of sbatch: {hint}", "use one of submitit's names")
        if wanted := _wanted(name, value):
            raise ConfigError(f"--slurm {name}={value}", f"it is {wanted}", "change the value")


_COUNTS = ("time", "nodes", "ntasks_per_node", "cpus_per_task", "cpus_per_gpu", "array_parallelism")  # from 1
_NUMBERS = (*_COUNTS, "num_gpus", "gpus_per_node", "gpus_per_task", "signal_delay_s")  # the others from 0
_LISTS = ("setup", "teardown", "srun_args")


def _wanted(name: str, value: Any) -> str:
    """What an option's value must be; empty where it is."""
    if name in _NUMBERS:
        least = 1 if name in _COUNTS else 0
        good = type(value) is int and value >= least
        unit = {"time": " of minutes", "signal_delay_s": " of seconds"}.get(name, "")
        return "" if good else f"a whole number{unit}, {least} or more"
    if name.startswith("mem"):  # mem, mem_per_gpu, mem_per_cpu; mail options are text
        text = isinstance(value, str) and _MEMORY.fullmatch(value)
        return "" if text else "text with a unit, such as 16GB"
    if name in _LISTS:
        good = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return "" if good else "a list of texts, such as [module load cuda]"
    if name in ("stderr_to_stdout", "use_srun"):
        return "" if isinstance(value, bool) else "true or false"
    if name == "additional_parameters":
        return "" if isinstance(value, Mapping) else "a mapping, such as {reservation: mine}"
    if name == "exclusive":
        return "" if isinstance(value, bool | str) and value != "" else "true, or text"
    good = isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip() != ""
    return "" if good and "\n" not in str(value) else "one line of text"


def read_states(text: str) -> dict[str, tuple[str, int]]:
    """`scontrol --oneliner show job`: state and status of each job by its id, `7_0` in an array."""
    found: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        fields: dict[str, str] = dict(re.findall(r"(\w+)=(\S*)", line))
        if not (array := fields.get("ArrayJobId", fields.get("JobId", ""))):
            continue
        for task in _tasks(fields.get("ArrayTaskId", "")):
            status = _status(fields.get("ExitCode", "0:0"))
            found[f"{array}_{task}" if task else array] = fields.get("JobState", ""), status
    return found


def read_accounting(text: str) -> dict[str, tuple[str, int]]:
    """`sacct -nXP -o JobID,State,ExitCode`, likewise; `CANCELLED by 0` is CANCELLED."""
    found: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        job, state, code = (*line.split("|"), "", "")[:3]
        array, _, tasks = job.partition("_")
        for task in _tasks(tasks.strip("[]")):
            found[f"{array}_{task}" if task else array] = state.partition(" ")[0], _status(code)
    return found


def _tasks(text: str) -> list[str]:
    """`3` or `2-5,8%2`: indices of an array. An empty text: one, of a job that is no array."""
    places: list[str] = []
    for part in text.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        places += [str(i) for i in range(int(first), int(last) + 1)] if last else [first]
    return places


def _status(code: str) -> int:
    """`0:9` is status and signal; srun adds 128 to a signal of its task. As Popen has it: -9."""
    status, _, number = (int(part) if part.isdigit() else 0 for part in code.partition(":"))
    if number:
        return -number
    return 128 - status if status > 128 else status


def _ask(*command: str) -> str | None:
    """The answer of a command of SLURM; None where it is missing or fails."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None
