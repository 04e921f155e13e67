"""Feed the command line bad inputs at random and count what happens: `make fuzz`.

Each case runs in a fork of one process that has imported everything, in an empty folder. It may end in an error for
the user, or be accepted. It may not end in a traceback, use a damaged file as if it were sound, write outside its
folder, take more than 5 s or 1 GB to be refused, or hang. A case that went wrong is printed with its number: the same
seed and `--case` run it again alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

import doomed_runs  # noqa: F401 # imports all that a run imports on its way
from fuzz_inputs import KINDS, Attack, Good
from helpers import INFOSCC, run_arguments
from made_records import write

from benchmark.__main__ import main as command_line

REFUSAL_S = 5.0  # of processor time
REFUSAL_MB = 1000.0
HANGS_S = 60  # of the clock, after which a case is killed
GOOD = "clear error", "accepted", "no effect"  # of damage to a file: the output is the same
BAD = "traceback", "silently used", "over time", "over memory", "wrote outside"  # what must not happen


@dataclass(frozen=True)
class Verdict:
    """How a case ended."""

    kind: str  # one of GOOD or BAD
    words: str = ""


def run(arguments: list[str], here: Path, hangs_s: float = HANGS_S) -> tuple[int, str, float, float]:
    """Run a command line in a fork with `here` as its working folder.

    Returns its exit status (minus the signal that ended it), its standard error, its processor time in seconds, and
    the memory in MB that it took more than this process has.
    """
    before_mb = memory_mb()
    pid = os.fork()
    if pid == 0:
        os._exit(_live(arguments, here))
    deadline = time.monotonic() + hangs_s
    while (ended := os.wait4(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            ended = os.wait4(pid, 0)
            break
        time.sleep(0.01)
    _, status, used = ended
    text = (here / "stderr").read_text(errors="replace")
    return os.waitstatus_to_exitcode(status), text, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024 - before_mb


def memory_mb() -> float:
    """What this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _live(arguments: list[str], here: Path) -> int:
    """In the fork: what `python -m benchmark` does, and a traceback where it would print one."""
    import traceback

    os.chdir(here / "cwd")
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(here / name, os.O_WRONLY | os.O_CREAT), number)
    status = 70
    try:
        status = command_line(arguments)
    except SystemExit as stop:  # argparse's
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def prepare_good(folder: Path) -> Good:
    """One finished run with stages, its samples, and a few records."""
    here = folder / "good"
    (here / "cwd").mkdir(parents=True)
    results, samples, records = here / "results", here / "samples", here / "made"
    _must(run(run_arguments(results, INFOSCC), here, 600))
    settings = [*run_arguments(results, INFOSCC)[run_arguments(results, INFOSCC).index("--set") :]]
    sample = ["sample", "--method", "infoscc", "--dataset", "digits", "--device", "cpu", "--n", "8", "--results",
              "{results}", "--out", "{out}", *settings]  # fmt: skip
    _must(run([word.format(results=results, out=samples) for word in sample], here, 600))
    for seed in range(3):
        for method in ("sngan", "dcgan"):
            write(records, {"fd_judge": 3.0 + seed, "control_accuracy_judge": 0.5}, method=method, seed=seed)
    return Good(results, samples, sample, records)


def _must(ended: tuple[int, str, float, float]) -> None:
    if ended[0] != 0:
        raise SystemExit(f"a sound command failed: {ended[1]}")


def judge(attack: Attack, here: Path, before: set[Path]) -> Verdict:
    """Run an attack and say how it ended. before: what lay around `here`."""
    status, text, seconds, mb = run(attack.arguments, here)
    if status < 0 or "Traceback" in text or "Fatal Python" in text:
        if status == -signal.SIGKILL:
            return Verdict("over time", f"killed after {HANGS_S} s")
        return Verdict("traceback", (text.strip().splitlines() or [f"status {status}"])[-1][:200])
    outside = _around(here) - before
    if outside and not attack.anywhere:
        return Verdict("wrote outside", ", ".join(map(str, sorted(outside)))[:200])
    if status != 0 and seconds > REFUSAL_S:
        return Verdict("over time", f"{seconds:.1f} s to refuse it")
    if status != 0 and mb > REFUSAL_MB:
        return Verdict("over memory", f"{mb:.0f} MB to refuse it")
    if status != 0:
        named = text.startswith(("gantlet: ", "usage: ", "left out: ")) or "\ngantlet: " in text
        return Verdict("clear error") if named else Verdict("traceback", f"status {status} and no reason: {text[:100]}")
    if attack.wrong is None:
        return Verdict("accepted")
    used = attack.wrong()
    return Verdict("silently used", used) if used else Verdict("no effect")


def _around(here: Path) -> set[Path]:
    """The files and folders around a case's folder, and in it but for the places where a command may write."""
    mine = {path for path in here.iterdir() if path.name not in ("results", "out", "in", "stdout", "stderr")}
    inside = {path for folder in mine if folder.is_dir() for path in folder.rglob("*")}
    working = {here / "cwd" / name for name in ("results", "data")}
    free = {path for path in inside if any(path.is_relative_to(one) for one in working)}
    return (mine | inside | _beside(here)) - free


def _beside(here: Path) -> set[Path]:
    """What lies outside a case's folder that no case may make: names of other cases are numbers."""
    return {path for above in (here.parent, here.parent.parent) for path in above.iterdir() if not path.name.isdigit()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print the counts. Returns 1 when one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6, help="of the inputs (default: the clock)")
    parser.add_argument("--cases", type=int, default=1000, help="at most (default: 1000)")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after these (default: 9)")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS), help="only these")
    parser.add_argument("--workers", type=int, default=2, help="cases at a time (default: 2)")
    parser.add_argument("--case", type=int, help="run this one alone, and keep its folder")
    asked = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="gantlet-fuzz-"))
    print(f"seed {asked.seed}", flush=True)
    good = prepare_good(folder)
    if asked.case is not None:
        name, verdict = case(asked.case, asked.seed, folder, good)
        here = folder / "cases" / str(asked.case)
        print(f"{name!r}: {verdict.kind}: {verdict.words}\n{(here / 'stderr').read_text()}\nkept in {here}")
        return int(verdict.kind in BAD)
    began, counts = time.monotonic(), {kind: Counter[str]() for kind in asked.kinds}
    numbers = [number for number in range(asked.cases) if kind_of(number) in asked.kinds]
    with multiprocessing.get_context("fork").Pool(asked.workers) as pool:
        found = pool.imap_unordered(partial(_and_clear, seed=asked.seed, folder=folder, good=good), numbers)
        for number, name, verdict in found:
            counts[kind_of(number)][verdict.kind] += 1
            if verdict.kind in BAD:
                print(f"case {number}, {name!r}: {verdict.kind}: {verdict.words}", flush=True)
            if time.monotonic() - began > 60 * asked.minutes:
                break
    shutil.rmtree(folder, ignore_errors=True)
    return summary(counts, asked.seed, time.monotonic() - began)


def kind_of(number: int) -> str:
    """The kind of input of a case: they take turns."""
    return list(KINDS)[number % len(KINDS)]


def case(number: int, seed: int, folder: Path, good: Good) -> tuple[str, Verdict]:
    """Build and run a case. Returns its name and how it ended."""
    here = folder / "cases" / str(number)
    (here / "cwd").mkdir(parents=True)
    attack = KINDS[kind_of(number)](Random(f"{seed} {number}"), here, good)
    return attack.name, judge(attack, here, _around(here))


def _and_clear(number: int, seed: int, folder: Path, good: Good) -> tuple[int, str, Verdict]:
    name, verdict = case(number, seed, folder, good)
    shutil.rmtree(folder / "cases" / str(number))
    return number, name, verdict


def summary(counts: dict[str, Counter[str]], seed: int, seconds: float) -> int:
    """Print a line a kind, and the sums."""
    total = sum(counts.values(), Counter[str]())
    print(f"{'':<18}{'cases':>7}" + "".join(f"{name:>15}" for name in (*GOOD, *BAD)))
    for kind, of_kind in (*counts.items(), ("all", total)):
        print(f"{kind:<18}{of_kind.total():>7}" + "".join(f"{of_kind[name]:>15}" for name in (*GOOD, *BAD)))
    print(f"seed {seed}, {seconds:.0f} s")
    return int(any(total[name] for name in BAD))


if __name__ == "__main__":
    raise SystemExit(main())
