"""Everything there is to know of a card, in pieces of minutes: `make gpu-check MINUTES=8`.

Stops before MINUTES are over; the next call goes on where this one stopped, on the same machine or on another with the
same card. The table (results/gpu/<card>.md) and the numbers (.json) are written again after every item. The methods of
the five papers come first, of these what needs a compiler last, and then the CPU's loss curves. `--parts curves` draws
these alone, on any machine, before or after: with its folder, a session on a card spends no time on them. See
`gpu_report.py` for what is measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import gpu_children as children
import torch
from gpu_report import complaint, write_report
from gpu_session import ENGINES, EXTRACTORS, Item, Session, speed_engines

from benchmark.core import paths
from benchmark.core.errors import ConfigError, UserError, suggest
from benchmark.core.files import lock
from benchmark.core.registry import check_method, method_names
from benchmark.core.signals import Ended, signals_raised
from benchmark.training.method import find_method

PAPERS = ("infoscc", "icgan", "selfcond", "latentcond", "ltgan")
PARTS = ("peak", "curves", "check", "cost", "speed", "evaluation", "together")
MARGIN_S = 10.0  # before the end, or a tenth of the time: what runs is stopped, and the table written


def items(methods: Sequence[str], parts: Sequence[str], engines: Sequence[str]) -> list[Item]:
    """All the work in its order: the papers' methods first, of these what needs a compiler last."""
    listed = [Item("peak")]
    groups = [[m for m in PAPERS if m in methods], [m for m in methods if m not in PAPERS]]
    speeds = [how for how, engine in speed_engines().items() if set(_words(engine)) <= {"fp32", *engines}]
    for number, group in enumerate(groups):
        for compiled in (False, True):
            for m in group:
                listed += [Item("check", m, how) for how in ENGINES if how in engines and _compiles(how) == compiled]
                listed += [] if compiled else [Item("cost", m)]
                listed += [Item("speed", m, how) for how in speeds if _compiles(how) == compiled]
            if number == 0 and not compiled:
                listed += [Item("evaluation", name) for name in EXTRACTORS]
                listed += [Item("together", m, how) for m in group for how in ("fp32", "bf16") if how in speeds]
        listed += [Item("curves", m) for m in group]  # no work for the card: they may be drawn elsewhere
    return [item for item in listed if item.part in parts]


def _words(engine: dict[str, str]) -> Iterator[str]:
    """The names of a check's engines that a speed's engine is made of."""
    yield engine["precision"]
    yield from {"graph": ["graphed"], "compile": ["compiled"], "none": []}[engine["capture"]]


def _compiles(how: str) -> bool:
    return "compile" in how


def choose_device(asked: str | None, parts: Sequence[str]) -> str:
    """cuda, unless told otherwise; none where only the CPU's curves are drawn. Raises ConfigError without a card."""
    if set(parts) == {"curves"} and asked is None:
        return ""
    if asked != "cpu" and not children.has_card():
        raise ConfigError(
            "gpu-check: no CUDA device",
            "torch finds none here" + ("" if torch.version.cuda else f", and torch {torch.__version__} has no CUDA"),
            "run it on a machine with a card; --device cpu tries the tool, --parts curves draws the CPU's curves",
        )
    return "cpu" if asked == "cpu" else "cuda:0"


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
    """Work until the time is over or all is done. Returns 1 when there is something to look at, 2 for a wrong call."""
    began = children.BEGAN if arguments is None else time.monotonic()
    try:
        asked = parse(arguments)
        with signals_raised(), lock(asked.out / ".state" / "lock", f"gpu-check in {asked.out}", wait=False):
            return work(asked, began)
    except Ended as end:
        return end.exit_code
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except children.Failed as error:
        print(f"gpu-check: the device cannot be used\n  why:  {error}", file=sys.stderr)
        return 1


def work(asked: argparse.Namespace, began: float) -> int:
    """Do items until the time is over or all is done. began: of this call, on the monotonic clock."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))  # of every child; small kernels gain by no more
    total = 60 * asked.minutes
    session = Session(asked, began + total - min(MARGIN_S, total / 10))
    listed = items(asked.methods, asked.parts, asked.engines)
    going, first = True, True
    while going:
        known = {item: session.result(item) for item in listed}
        if asked.device:
            write_report(session.header, listed, known, asked.out, session.slug)
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
    shutil.rmtree(session.work, ignore_errors=True)
    known = {item: session.result(item) for item in listed}
    if asked.device:
        write_report(session.header, listed, known, asked.out, session.slug)
    found = [one for one in known.values() if one]
    bad = [one for one in found if one["status"] in ("failed", "cut") or complaint(one)]
    print(f"{len(found)} of {len(listed)} items, {len(bad)} of them to look at", end="")
    print(f": {asked.out / session.slug}.md" if asked.device else "")
    if len(found) < len(listed):
        print("the same command goes on where this call stopped")
    return int(bool(bad))


if __name__ == "__main__":
    raise SystemExit(main())
