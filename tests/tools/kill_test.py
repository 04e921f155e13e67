"""Kill runs at random moments, start them again, and compare what they leave: `make kill-test`.

Each case is a tiny run of a method. It is run once undisturbed. Then the same run is killed at moments drawn at random
over the processor time that it needs, and the same command continues it each time. One kill in three is SIGUSR2, the
warning before the end of a job's time: the run saves its step and leaves. In the end the two must agree bit
for bit: the record's `result`, every line of the log, and every tensor of the generator. A run that ends before its
kill comes begins again in an empty folder, so that every kill of the quota hits a running process.

Processes are forks of one that has imported everything, so a kill falls into work and not into the start of Python.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import Ended, Outcome, RunServer, outcome
from same_runs import ATTRIBUTES, DIGITS, DRAWN, INFOSCC, LATENTCOND, NEWER, ON_DIGITS, SIMCLR, TSNE, features

from benchmark.core.config import merge
from benchmark.core.registry import method_names

LOOP = {"steps": 30, "checkpoint_every": 3}  # checkpoints lie close together: most kills hit one, or its neighbourhood
# Ends of a run that was killed, that saved its step and left, and that had not yet begun to listen for SIGUSR2.
STRUCK = (-signal.SIGPROF, 128 + signal.SIGUSR2, -signal.SIGUSR2)
SETTLED = 30  # attempts without a kill after which a case gives up


@dataclass(frozen=True)
class Case:
    """A tiny run."""

    name: str
    method: str
    dataset: str
    settings: Mapping[str, Any]

    def arguments(self, results: Path) -> list[str]:
        """Of `python -m benchmark`."""
        what = ["--method", self.method, "--dataset", self.dataset, "--device", "cpu", "--quiet"]
        changes = [f"{key}={json.dumps(value)}" for key, value in self.settings.items()]
        return ["run", *what, "--results", str(results), "--set", *changes]


@dataclass
class Found:
    """What became of a case."""

    kills: int = 0
    survived: int = 0  # kills whose chain ended with the bits of the undisturbed run
    chains: int = 0
    problems: list[str] = field(default_factory=list)


def cases() -> list[Case]:
    """One for each method on digits, and some with other data, stages and scores."""
    rows = [(method, f"{method}, {variant}", settings) for variant, method, settings in (*DIGITS, *NEWER)]
    first = {method: (name, settings) for method, name, settings in reversed(rows)}
    on_digits = [
        Case(name, method, "digits", merge(merge(ON_DIGITS, settings), LOOP))
        for method, (name, settings) in sorted(first.items())
    ]
    attributes = {variant: (method, settings) for variant, method, settings in ATTRIBUTES}
    more = [
        ("infoscc, clusters and t-SNE", "infoscc", {**INFOSCC, "labels": "clusters", "eval": TSNE}),
        ("latentcond, SimCLR", "latentcond", {**LATENTCOND, **features("simclr", encoder=SIMCLR)}),
        ("sngan, snapshots", *attributes["snapshots"]),
    ]
    return on_digits + [
        Case(name, method, "shapes", merge(merge(DRAWN, settings), LOOP)) for name, method, settings in more
    ]


def attack(case: Case, kills: int, random: Random, folder: Path, server: RunServer) -> Found:
    """Kill a case `kills` times and compare what it leaves. folder: an empty one of its own."""
    found = Found()
    whole = folder / "whole"
    ended = server.run(case.arguments(whole), whole, pictures=True)
    seconds = ended.cpu_s
    if ended.status != 0:
        found.problems.append(f"the undisturbed run ended with status {ended.status}: {last_line(ended)}")
        return found
    expected = outcome(whole)
    while found.kills < kills and found.chains < SETTLED:
        chain(case, kills - found.kills, random, seconds, folder / f"killed{found.chains}", server, expected, found)
    if found.kills < kills:
        found.problems.append(f"{found.kills} of {kills} kills came before the run had ended")
    return found


def chain(
    case: Case,
    kills: int,
    random: Random,
    seconds: float,
    results: Path,
    server: RunServer,
    expected: Outcome,
    found: Found,
) -> None:
    """Kill one run until the quota is met or it has ended, let it end, and compare. Adds to `found`."""
    found.chains += 1
    struck = 0
    while struck < kills:
        # A run that continues needs less time: later kills come earlier.
        after = random.uniform(0.01, seconds if struck == 0 else seconds / 2)
        do = random.choice(["kill", "kill", "leave"])
        ended = server.run(case.arguments(results), results, after_s=after, do=do, pictures=True)
        if ended.status not in STRUCK:
            break
        struck += 1
    found.kills += struck
    if struck == kills or ended.status == 0:
        ended = server.run(case.arguments(results), results, pictures=True)
    if ended.status != 0:
        found.problems.append(f"after {struck} kills the run ended with status {ended.status}: {last_line(ended)}")
        return
    if wrong := difference(outcome(results), expected):
        found.problems.append(f"after {struck} kills {wrong}")
    elif torn := [str(path) for path in results.rglob("*.tmp")]:
        found.problems.append(f"after {struck} kills there is left {', '.join(torn)}")
    else:
        found.survived += struck
        shutil.rmtree(results)


def difference(mine: Outcome, expected: Outcome) -> str:
    """What differs from an undisturbed run, in words; empty where nothing does."""
    try:
        mine.same_as(expected)
    except AssertionError as error:
        return f"it differs from the undisturbed run: {str(error)[:300]}"
    return ""


def last_line(ended: Ended) -> str:
    """The end of what a process wrote to its standard error."""
    return (ended.stderr.strip().splitlines() or ["nothing written"])[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack every case, two at a time, and print the counts. Returns 1 when a kill was not survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6, help="of the moments (default: the clock)")
    parser.add_argument("--kills", type=int, default=8, help="of each case (default: 8)")
    parser.add_argument("--only", nargs="*", default=[], help="methods (default: all)")
    parser.add_argument("--workers", type=int, default=2, help="cases at a time (default: 2)")
    parser.add_argument("--keep", type=Path, help="folder of the runs that failed (default: a temporary one)")
    asked = parser.parse_args(arguments)
    wanted = [case for case in cases() if not asked.only or case.method in asked.only]
    print(f"seed {asked.seed}: {len(wanted)} runs, {asked.kills} kills each", flush=True)
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="gantlet-kills-"))
    began = time.perf_counter()

    def one(case: Case) -> Found:
        own = folder / case.name.replace(" ", "-")
        with RunServer() as server:
            found = attack(case, asked.kills, Random(f"{asked.seed} {case.name}"), own, server)
        words = "; ".join(found.problems) or "bit for bit"
        print(f"{case.name:<32} {found.survived:>3} of {found.kills} kills, {found.chains} runs: {words}", flush=True)
        if not found.problems:
            shutil.rmtree(own)
        return found

    with ThreadPoolExecutor(asked.workers) as pool:
        found = list(pool.map(one, wanted))
    kills, survived = sum(one.kills for one in found), sum(one.survived for one in found)
    methods = {case.method for case in wanted}
    print(
        f"kills survived bit for bit: {survived} of {kills}, over {len(methods)} of {len(method_names())} methods, "
        f"{time.perf_counter() - began:.0f} s, seed {asked.seed}"
    )
    failed = any(one.problems for one in found)
    if failed:
        print(f"what the failed runs left: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
