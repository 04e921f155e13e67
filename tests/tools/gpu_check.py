"""Everything there is to know of a card, in pieces of minutes: `make gpu-check MINUTES=8`.

Stops before MINUTES are over; the next call goes on where this one stopped, on the same machine or on another with the
same card. The table (results/gpu/<card>.md) and the numbers (.json) are written again after every item. The methods of
the five papers come first, and what needs a compiler last. `--parts curves` draws the CPU's loss curves alone, on any
machine: with its folder, a session on a card spends no time on them. See `gpu_report.py` for what is measured.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # looking for a card must not start CUDA: forks could not use it

sys.path.insert(0, str(Path(__file__).parent))

import gpu_children as children
import gpu_jobs as jobs
import torch
from gpu_curves import compare
from gpu_report import write_report

from benchmark.core import paths
from benchmark.core.engine import CAPTURES, PRECISIONS
from benchmark.core.environment import environment
from benchmark.core.errors import ConfigError, UserError, suggest
from benchmark.core.files import read_json, write_json
from benchmark.core.registry import check_method, method_names
from benchmark.training.method import find_method

PAPERS = ("infoscc", "icgan", "selfcond", "latentcond", "ltgan")
ENGINES = {
    "fp32": {},
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
    "graphed": {"capture": "graph"},
    "compiled": {"capture": "compile"},
}
PARTS = ("peak", "curves", "check", "cost", "speed", "evaluation", "together")
EXTRACTORS = ("judge", "lite0", "lite2", "inception")
SEEDS = (1, 2)  # of the curves on the CPU
SEED = 3  # on the card
MARGIN_S = 10.0  # before the end, or a tenth of the time: what runs is stopped, and the table written


@dataclass(frozen=True)
class Item:
    """One line of work."""

    part: str
    what: str = ""  # the method, or the extractor
    how: str = ""  # the engine

    @property
    def name(self) -> str:
        return "-".join(word for word in (self.part, self.what, self.how.replace("+", "-")) if word)


def speed_engines() -> dict[str, dict[str, str]]:
    """Each precision with each capture, by name."""
    pairs = [(precision, capture) for capture in ("none", "graph", "compile") for precision in PRECISIONS]
    assert {capture for _, capture in pairs} == set(CAPTURES)
    return {
        precision + ("" if capture == "none" else f"+{capture}"): {"precision": precision, "capture": capture}
        for precision, capture in pairs
    }


def items(methods: Sequence[str], parts: Sequence[str], engines: Sequence[str]) -> list[Item]:
    """All the work in its order: the papers' methods first, of these what needs a compiler last."""
    listed = [Item("peak")]
    groups = [[m for m in PAPERS if m in methods], [m for m in methods if m not in PAPERS]]
    speeds = [how for how, engine in speed_engines().items() if set(_words(engine)) <= {"fp32", *engines}]
    for number, group in enumerate(groups):
        listed += [Item("curves", m) for m in group]
        for compiled in (False, True):
            for m in group:
                listed += [Item("check", m, how) for how in ENGINES if how in engines and _compiles(how) == compiled]
                listed += [] if compiled else [Item("cost", m)]
                listed += [Item("speed", m, how) for how in speeds if _compiles(how) == compiled]
            if number == 0 and not compiled:
                listed += [Item("evaluation", name) for name in EXTRACTORS]
                listed += [Item("together", m, how) for m in group for how in ("fp32", "bf16") if how in speeds]
    return [item for item in listed if item.part in parts]


def _words(engine: dict[str, str]) -> Iterator[str]:
    """The names of a check's engines that a speed's engine is made of."""
    yield engine["precision"]
    yield from {"graph": ["graphed"], "compile": ["compiled"], "none": []}[engine["capture"]]


def _compiles(how: str) -> bool:
    return "compile" in how


class Session:
    """One call: does items until the time is over, and remembers each."""

    def __init__(self, asked: argparse.Namespace, deadline: float) -> None:
        self.asked, self.deadline = asked, deadline
        self.state = asked.out / ".state"
        self.curves = self.state / f"curves-{asked.steps}-steps"
        self.work = self.state / "work"  # what an item needs while it runs
        self.store = str(self.state / "stages")
        self.environment = environment()
        cards = self.work / "card"
        self.card = children.run(jobs.card, cards, deadline, device=asked.device) if asked.device else {"name": "none"}
        self.slug = re.sub(r"[^a-z0-9]+", "-", self.card["name"].lower()).strip("-")
        settings = {"steps": asked.steps, "recipe": asked.recipe, "window": asked.window}
        self.done = self.state / f"{self.slug}-{'-'.join(str(value) for value in settings.values())}"
        self.header = {"card": self.card, "driver": driver(), "device": asked.device, **settings}

    def path(self, item: Item) -> Path:
        """Of an item's result. Curves are the CPU's, and serve every card."""
        return (self.curves if item.part == "curves" else self.done) / f"{item.name}.json"

    def result(self, item: Item) -> dict[str, Any] | None:
        """What is known of an item; None: it was not run, or is to be run again."""
        path = self.path(item)
        known = read_json(path) if path.exists() else None
        if known is None or (self.asked.retry and known["status"] in ("failed", "refused") and self.fresh(known)):
            return None
        return None if known["status"] == "cut" and known["given_s"] < 60 * self.asked.minutes else known

    def fresh(self, known: dict[str, Any]) -> bool:
        """Was it found before this call?"""
        return known["began"] < self.asked.began

    def run(self, item: Item, first: bool) -> bool:
        """Do an item and keep what came of it. Returns whether there is time left. first: it has the whole time."""
        print(f"{item.name} ...", end=" ", flush=True)
        found: dict[str, Any] = {"status": "done", "reason": ""}
        began = time.monotonic()
        shutil.rmtree(self.work, ignore_errors=True)
        try:
            found["value"] = getattr(self, item.part)(item)
        except children.OutOfTime:
            print("stopped: the time is over", flush=True)
            if first and item.part != "curves":
                given = 60 * self.asked.minutes
                reason = f"it needs more than {self.asked.minutes:g} minutes"
                self.keep(item, {"status": "cut", "reason": reason, "given_s": given}, began)
            return False
        except children.Refused as reason:
            found |= {"status": "refused", "reason": str(reason)}
        except (children.Failed, OSError, UserError, AssertionError, LookupError, ValueError) as error:
            found |= {"status": "failed", "reason": children.first_line(str(error)) or type(error).__name__}
        print(found["status"], found["reason"], flush=True)
        self.keep(item, found, began)
        return True

    def keep(self, item: Item, found: dict[str, Any], began: float) -> None:
        """Write an item's result."""
        about = {
            "item": item.name,
            "part": item.part,
            "what": item.what,
            "how": item.how,
            "seconds": time.monotonic() - began,
            "began": time.time() - (time.monotonic() - began),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": self.environment["commit"],
            "torch": torch.__version__,
        }
        write_json(self.path(item), about | found)

    # ---- the parts: each returns an item's value --------------------------------------------------------------------

    def train(self, item: Item, folder: Path, **how: Any) -> children.Child:
        """Start a training; its files lie in `folder`."""
        asked = {"device": self.asked.device, "engine": ENGINES.get(item.how, {}), "seed": SEED} | how
        return children.start(
            jobs.training, folder, name=item.what, steps=self.asked.steps, folder=str(folder), store=self.store, **asked
        )

    def finish(self, child: children.Child) -> Any:
        (status,) = children.wait([child], self.deadline)
        return children.value_of(child, status)

    def curves_of(self, method: str) -> list[Path]:
        return [self.curves / f"{method}-seed{seed}" for seed in SEEDS]

    def prefetch_curves(self, waiting: Sequence[Item]) -> None:
        """Draw several methods' curves at a time, a thread each: the card has nothing to do meanwhile."""
        cores, left = len(os.sched_getaffinity(0)), list(waiting)
        while left:
            now, left = left[: max(1, cores // len(SEEDS))], left[max(1, cores // len(SEEDS)) :]
            print(", ".join(item.name for item in now), "...", end=" ", flush=True)
            began = time.monotonic()
            started = {item: self.start_curves(item) for item in now}
            every = [child for pair in started.values() for child in pair]
            try:
                statuses = dict(zip([child.pid for child in every], children.wait(every, self.deadline)))
            except children.OutOfTime:
                print("stopped: the time is over; their checkpoints stay", flush=True)
                raise
            for item, pair in started.items():
                found: dict[str, Any] = {"status": "done", "reason": ""}
                try:
                    found["value"] = [children.value_of(child, statuses[child.pid]) for child in pair]
                    for child in pair:
                        (child.folder / "checkpoint.pt").unlink(missing_ok=True)  # the log is all that is compared
                except (children.Failed, children.Refused) as error:
                    found |= {"status": "failed", "reason": str(error)}
                self.keep(item, found, began)
            print("done", flush=True)

    def start_curves(self, item: Item) -> list[children.Child]:
        """A killed one continues from its checkpoint."""
        pairs = zip(SEEDS, self.curves_of(item.what))
        return [self.train(item, folder, seed=seed, device="cpu", engine={}) for seed, folder in pairs]

    def check(self, item: Item) -> dict[str, Any]:
        """Losses finite, curves like the CPU's, kill and resume."""
        whole = self.work / "whole"
        found = self.finish(self.train(item, whole))
        own = children.read_log(whole)
        found["finite"] = all(value is not None for line in own for value in line.values())
        logs = [folder / "log.jsonl" for folder in self.curves_of(item.what)]
        known = self.result(Item("curves", item.what))
        if known and known["status"] == "done" and all(log.exists() for log in logs):
            cpu = [children.read_log(log.parent) for log in logs]
            found["curves"] = compare(*cpu, own, self.asked.steps)
        found["resume"] = self.resumed(item, whole, "killed")
        if not found["resume"]["equal"]:
            self.finish(self.train(item, self.work / "again"))
            found["repeat"] = self.difference(whole, self.work / "again")
            self.finish(self.train(item, self.work / "strict", deterministic=True))
            found["resume_deterministic"] = self.resumed(item, self.work / "strict", "kill2", deterministic=True)
        return found

    def resumed(self, item: Item, whole: Path, name: str, **how: Any) -> dict[str, Any]:
        """Kill a run after half of its steps, continue it, and compare its end with that of an undisturbed one."""
        folder, at = self.work / name, max(1, self.asked.steps // 2)
        child = self.train(item, folder, kill_at=at, **how)
        (status,) = children.wait([child], self.deadline)
        if status != -signal.SIGKILL:
            children.value_of(child, status)
            raise children.Failed(f"the run was to be killed after step {at}, and ended with status {status}")
        self.finish(self.train(item, folder, **how))
        return self.difference(whole, folder) | {
            "killed_after": at,
            "log_equal": children.read_log(whole) == children.read_log(folder),
        }

    def difference(self, one: Path, other: Path) -> dict[str, Any]:
        return children.run(jobs.difference, self.work / "compared", self.deadline, one=str(one), other=str(other))

    def measure(self, job: children.Job, **arguments: Any) -> Any:
        """A job on the device."""
        return children.run(job, self.work / "measured", self.deadline, device=self.asked.device, **arguments)

    def recipe_of(self, method: str) -> str:
        """The recipe that is timed: as asked, or small where the method has no such one."""
        return self.asked.recipe if self.asked.recipe in find_method(method).RECIPES else "small"

    def timed(self, item: Item) -> dict[str, Any]:
        wanted = self.recipe_of(item.what)
        return {"name": item.what, "wanted": wanted, "steps": self.asked.steps, "store": self.store}

    def peak(self, item: Item) -> Any:
        return self.measure(jobs.peak, window=self.asked.window)

    def cost(self, item: Item) -> Any:
        return self.measure(jobs.cost, **self.timed(item))

    def speed(self, item: Item) -> Any:
        engine = speed_engines()[item.how]
        return self.measure(jobs.speed, engine=engine, window=self.asked.window, **self.timed(item))

    def evaluation(self, item: Item) -> Any:
        return self.measure(jobs.evaluation, name=item.what, window=self.asked.window, store=self.store)

    def together(self, item: Item) -> dict[str, Any]:
        """Two runs one after the other, then both at once."""
        alone = [self.side_by_side(item, 1, f"alone{n}")[0] for n in range(2)]
        both = self.side_by_side(item, 2, "both")
        one, two = sum(run["images_s"] for run in alone) / 2, sum(run["images_s"] for run in both)
        return {"alone_images_s": one, "together_images_s": two, "gain": two / one}

    def side_by_side(self, item: Item, n: int, name: str) -> list[dict[str, float]]:
        """n processes that begin at the same moment, when all are ready."""
        place = self.work / name
        arguments = {
            "engine": speed_engines()[item.how],
            "window": self.asked.window,
            "folder": str(place),
            **self.timed(item),
        }
        started = [
            children.start(jobs.together, place / str(k), device=self.asked.device, **arguments) for k in range(n)
        ]
        while len(list(place.glob("ready-*"))) < n and time.monotonic() < self.deadline:
            if any((child.folder / "answer.json").exists() for child in started):
                break  # it failed before it was ready
            time.sleep(0.01)
        (place / "go").touch()
        statuses = children.wait(started, self.deadline)
        return [children.value_of(child, status) for child, status in zip(started, statuses)]


def driver() -> str:
    """The version of NVIDIA's driver, as the system says it; empty without one."""
    path = Path("/proc/driver/nvidia/version")
    found = re.search(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", path.read_text()) if path.exists() else None
    return found.group(1) if found else ""


def choose_device(asked: str | None, parts: Sequence[str]) -> str:
    """cuda, unless told otherwise; none where only the CPU's curves are drawn. Raises ConfigError without a card."""
    if set(parts) == {"curves"} and asked is None:
        return ""
    if asked != "cpu" and not torch.cuda.is_available():
        raise ConfigError(
            "gpu-check: no CUDA device",
            "torch finds none here" + ("" if torch.version.cuda else f", and torch {torch.__version__} has no CUDA"),
            "run it on a machine with a card; --device cpu tries the tool itself, --parts curves draws the CPU's curves",
        )
    return asked or "cuda"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line. Raises ConfigError for an unknown name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="all that this call may take (default: 8)")
    parser.add_argument("--out", type=Path, default=paths.CHECKOUT / "results" / "gpu", help="folder of the table")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda")
    parser.add_argument("--steps", type=int, default=200, help="of a training, and most that are timed (default: 200)")
    parser.add_argument("--window", type=float, default=5.0, help="most seconds of one timing (default: 5)")
    parser.add_argument("--recipe", default="paper", help="that is timed (default: paper)")
    parser.add_argument("--methods", nargs="+", default=method_names(), help="default: all")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--retry", action="store_true", help="run again what failed or was refused")
    asked = parser.parse_args(arguments)
    for name in asked.methods:
        check_method(name)
    if asked.minutes <= 0 or asked.steps < 2 or asked.window <= 0:
        raise ConfigError("gpu-check", "--minutes and --window are above 0, --steps is 2 or more")
    if asked.recipe not in (known := {r for m in asked.methods for r in find_method(m).RECIPES}):
        raise ConfigError(f"--recipe {asked.recipe}", "no method has it", suggest(asked.recipe, known))
    asked.device = choose_device(asked.device, asked.parts)
    asked.out, asked.began = asked.out.absolute(), time.time()
    return asked


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until the time is over or all is done. Returns 1 when something failed or differs, 2 for a wrong call."""
    began = time.monotonic()
    try:
        asked = parse(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))  # of every child; small kernels gain by no more
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # through every `finally`
    total = 60 * asked.minutes
    session = Session(asked, began + total - min(MARGIN_S, total / 10))
    listed = items(asked.methods, asked.parts, asked.engines)
    going, first = True, True
    while going:
        known = {item: session.result(item) for item in listed}
        write_report(session.header | {"environment": session.environment}, listed, known, asked.out, session.slug)
        item = next((item for item in listed if known[item] is None), None)
        if item is None or time.monotonic() > session.deadline:
            break
        if item.part == "curves":
            group = [one for one in listed if one.part == "curves" and known[one] is None]
            try:
                session.prefetch_curves([one for one in group if (one.what in PAPERS) == (item.what in PAPERS)])
            except children.OutOfTime:
                going = False
        else:
            going = session.run(item, first)
        first = False
    left = [item.name for item in listed if session.result(item) is None]
    shutil.rmtree(session.work, ignore_errors=True)
    found = [session.result(item) for item in listed]
    bad = [one["item"] for one in found if one and one["status"] in ("failed", "cut")]
    print(f"{len(listed) - len(left)} of {len(listed)} items, {len(bad)} failed: {asked.out / session.slug}.md")
    if left:
        print("the same command goes on where this call stopped")
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main())
