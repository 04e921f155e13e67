"""One call of `gpu_check.py`: how each item is done, and where what came of it is kept."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gpu_children as children
import gpu_jobs as jobs
import gpu_timing as timing
import torch
from gpu_curves import compare

from benchmark.core.engine import CAPTURES, PRECISIONS
from benchmark.core.environment import environment
from benchmark.core.files import read_json, write_json, write_text
from benchmark.training.method import find_method

ENGINES = {
    "fp32": {},
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
    "graphed": {"capture": "graph"},
    "compiled": {"capture": "compile"},
}
EXTRACTORS = ("judge", "lite0", "lite2", "inception")
SEEDS = (1, 2)  # of the curves on the CPU
SEED = 3  # on the card


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


class Session:
    """One call: does items until the time is over, and remembers each."""

    def __init__(self, asked: argparse.Namespace, deadline: float) -> None:
        self.asked, self.deadline = asked, deadline
        self.state = asked.out / ".state"
        self.curves = self.state / f"curves-{asked.steps}-steps"
        self.work = self.state / "work"  # what an item needs while it runs
        self.store = str(self.state / "stages")
        self.environment = environment()
        self.card: dict[str, Any] = {"name": "none"}
        if asked.device:
            self.card = children.run(timing.card, self.work / "card", deadline, device=asked.device)
        self.slug = re.sub(r"[^a-z0-9]+", "-", self.card["name"].lower()).strip("-")
        settings = {"steps": asked.steps, "recipe": asked.recipe, "window": asked.window}
        self.done = self.state / f"{self.slug}-{'-'.join(str(value) for value in settings.values())}"
        self.header = {
            "card": self.card,
            "driver": driver(),
            "device": asked.device,
            **settings,
            "environment": self.environment,
        }

    def path(self, item: Item) -> Path:
        """Of an item's result. Curves are the CPU's, and serve every card."""
        return (self.curves if item.part == "curves" else self.done) / f"{item.name}.json"

    def result(self, item: Item) -> dict[str, Any] | None:
        """What is known of an item; None: it was not run, or is to be run again."""
        path = self.path(item)
        known = read_json(path) if path.exists() else None
        if known is None or (known["status"] == "cut" and known["given_s"] < 60 * self.asked.minutes):
            return None
        if self.asked.retry and known["status"] in ("failed", "refused") and self.before_this_call(known):
            return None
        if item.part == "check" and known["status"] == "done":
            known["value"]["curves"] = self.beside_the_cpu(item, known["value"]["log"])
        return known

    def beside_the_cpu(self, item: Item, log: list[dict[str, Any]]) -> dict[str, Any] | None:
        """A card's losses compared with the CPU's; None while these are not drawn. They may come later."""
        cpu = self.result(Item("curves", item.what))
        folders = self.curves_of(item.what)
        if cpu is None or cpu["status"] != "done" or not all((folder / "log.jsonl").exists() for folder in folders):
            return None
        first, second = (children.read_log(folder) for folder in folders)
        return compare(first, second, log, self.asked.steps)

    def before_this_call(self, known: dict[str, Any]) -> bool:
        """Was it found before this call?"""
        return known["began"] < self.asked.began

    def run(self, item: Item, first: bool) -> bool:
        """Do an item and keep what came of it. Returns whether there is time left. first: it has the whole time."""
        print(f"{item.name} ...", end=" ", flush=True)
        found: dict[str, Any] = {"status": "done", "reason": ""}
        began = time.monotonic()
        shutil.rmtree(self.work, ignore_errors=True)
        for cache in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):  # a compiler that is stopped leaves torn files
            os.environ[cache] = str(self.work / cache.lower())
        try:
            found["value"] = getattr(self, item.part)(item)
        except children.OutOfTime:
            print("stopped: the time is over", flush=True)
            if first and item.part != "curves":
                given = 60 * self.asked.minutes
                reason = f"needs more than {self.asked.minutes:g} minutes"
                self.keep(item, {"status": "cut", "reason": reason, "given_s": given}, began)
            return False
        except children.Refused as reason:
            found |= {"status": "refused", "reason": str(reason)}
        except Exception as error:
            found |= {"status": "failed", "reason": children.first_line(str(error)) or type(error).__name__}
            self.keep_messages(item)
        print(found["status"], found["reason"], flush=True)
        self.keep(item, found, began)
        return True

    def keep_messages(self, item: Item) -> None:
        """Tracebacks of a failed item, beside its result."""
        texts = [path.read_text(errors="replace") for path in sorted(self.work.rglob("messages.txt"))]
        write_text(self.path(item).with_suffix(".txt"), "\n".join(text for text in texts if text))

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
                print(found["status"], found["reason"], end=" ", flush=True)
            print(flush=True)

    def start_curves(self, item: Item) -> list[children.Child]:
        """A killed one continues from its checkpoint."""
        pairs = zip(SEEDS, self.curves_of(item.what))
        return [self.train(item, folder, seed=seed, device="cpu", engine={}) for seed, folder in pairs]

    def check(self, item: Item) -> dict[str, Any]:
        """Losses finite, kill and resume. The log is kept, to be compared with the CPU's."""
        whole = self.work / "whole"
        found = self.finish(self.train(item, whole))
        found["log"] = children.read_log(whole)
        found["finite"] = all(value is not None for line in found["log"] for value in line.values())
        found["resume"] = self.resumed(item, whole, "killed")
        if not found["resume"]["equal"]:
            found["repeat"] = self.repeated(item, whole)
            found["resume_deterministic"] = self.resumed_deterministically(item)
        return found

    def repeated(self, item: Item, whole: Path) -> dict[str, Any]:
        """Do two undisturbed runs have the same bits?"""
        try:
            self.finish(self.train(item, self.work / "again"))
            return self.difference(whole, self.work / "again")
        except (children.Failed, children.Refused) as error:
            return {"error": str(error)}

    def resumed_deterministically(self, item: Item) -> dict[str, Any]:
        """The same test with deterministic algorithms."""
        strict = self.work / "strict"
        try:
            self.finish(self.train(item, strict, deterministic=True))
            return self.resumed(item, strict, "strictly-killed", deterministic=True)
        except (children.Failed, children.Refused) as error:
            return {"error": str(error)}

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
        return self.measure(timing.peak, window=self.asked.window)

    def cost(self, item: Item) -> Any:
        return self.measure(timing.cost, **self.timed(item))

    def speed(self, item: Item) -> Any:
        engine = speed_engines()[item.how]
        return self.measure(timing.speed, engine=engine, window=self.asked.window, **self.timed(item))

    def evaluation(self, item: Item) -> Any:
        return self.measure(timing.evaluation, name=item.what, window=self.asked.window, store=self.store)

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
            children.start(timing.together, place / str(k), device=self.asked.device, **arguments) for k in range(n)
        ]
        while len(list(place.glob("ready-*"))) < n and time.monotonic() < self.deadline:
            if any(child.has_ended() for child in started):
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
