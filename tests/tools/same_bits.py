"""Do two revisions give the same bits? `python tests/tools/same_bits.py REV`, or `make same REV=...`.

A fixed list of tiny runs (`same_runs.py`) is carried out by the command line, with the code of a git revision and with
the present tree, on this machine (`same_carried.py`), and everything they leave behind is compared (`same_files.py`): a
change of the layout may move none of it. What the revision left is kept under ~/.cache/gantlet-same, by commit, machine
and list of runs, so that a second proof against it takes half the time.
Exit status: 0 the same, 1 something differs or a command ended otherwise than it should, 2 there is no such revision.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import same_carried
import same_files
import same_revision
import same_runs
from same_carried import STATUS, left_by
from same_files import BELOW
from same_revision import ROOT, cache, commit_of, digits, keep, machine, tree_of

# Items that the present tree has more than the revision, on purpose: patterns of whole items, as of file names
# (`*/runs/*/sampling.pt*`), each with the reason in a comment. An item that both have may match as well: it may have
# gained words, such as the lines of `list` a column. All other differences remain differences.
ADDED: tuple[str, ...] = (
    "*/runs/*/class_swap.png*",  # instances of a class-conditional IC-GAN under other classes
    "*/runs/*/sampling.pt*",  # what `load_run` needs besides the generator, so that it reads neither data nor stages
    "*/records/* > result > trained_against*",  # the networks that tables must not rank the method by
    "*/runs/*/explore_*.png*",  # InfoSCC-GAN's grids over eps, over eps and z, over y
    "*/meta.json: test_images_in_train*",  # held-out images that are training images
    "*/meta.json > test_images_in_train*",
    "*/features/numbers-*entries_sha256*",  # by which a file that was damaged is noticed
    "*/runs/*/real_generated_tsne.*",  # its t-SNE of real beside generated images
    "*/records/* > environment > method_code",  # the hash of a method's code, by which a changed file is named
    "*/env.json > environment > method_code",
    "*/samples/*.webp",  # the small grids of images that go with records
)

MOST_LINES = 40  # of differences that are shown

COUNTED = {  # what was compared: patterns of items
    "commands": rf"{STATUS}$",
    "runs": r"/runs/.*/config\.yaml$",
    "records": r"/records/[^/]+\.json$",
    "values": r"/records/.* > result > values > [^>]+ > value$",
    "protocol keys": r"/records/.* > protocol_key$",
    "stage keys": r"/artifacts/[^/]+/meta\.json > key$|/records/.* > stages > \d+ > key$",
    "log lines": r"\.jsonl > line \d+$",
    "pictures": r"\.png$",
    "table files": r"/tables/[^/>]+$",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out, compare, print what differs and what was compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave what both revisions left behind there")
    names = [group.name for group in same_runs.groups()]
    only = f"quicker, and no proof: some groups of runs, without tables; of {', '.join(names)}"
    parser.add_argument("--only", nargs="+", choices=names, metavar="GROUP", default=names, help=only)
    wanted = parser.parse_args(arguments)
    if (commit := commit_of(wanted.revision)) is None:
        print(f"no revision {wanted.revision!r}", file=sys.stderr)
        return 2
    there = reference(commit, wanted.keep)
    here = left_by(ROOT, "the present tree", wanted.keep, wanted.only)
    if len(wanted.only) < len(names):
        there = {item: value for item, value in there.items() if item.partition("/")[0] in wanted.only}
    lines, added = differences(there, here)
    print("\n".join(report(lines, added, there, here, wanted.revision)))
    if len(wanted.only) < len(names):
        print(f"of {', '.join(wanted.only)} alone: no proof")
    return 1 if lines or failures(here) else 0


def reference(commit: str, kept: Path | None) -> dict[str, str]:
    """What a commit leaves behind: found, or made now; always made where it is to be looked at."""
    how = [Path(str(module.__file__)) for module in (same_runs, same_carried, same_files, same_revision)]
    path = cache(commit, machine(), digits([], *how))
    if path.exists() and kept is None:
        return json.loads(path.read_text())
    with tree_of(commit) as tree:
        items = left_by(tree, commit[:12], kept)
    if not failures(items):
        keep(path, items)
    return items


# ---- comparing ------------------------------------------------------------------------------------------------------


def differences(
    there: Mapping[str, str], here: Mapping[str, str], allowed: Sequence[str] = ADDED
) -> tuple[list[str], list[str]]:
    """What two manifests say differently, and what the second one has more on purpose, a line each.

    there: the revision's. here: the present tree's. allowed: as `ADDED`. What a whole file or a whole part of it
    lacks on one side is one line.
    """
    added = [item for item in here if on_purpose(item, there, here, allowed)]
    mine = {item: value for item, value in here.items() if item not in set(added)}
    theirs = {item: value for item, value in there.items() if item not in set(added)}
    lines = [f"{shown(place)}: only there" for place in outermost(theirs.keys() - mine.keys(), mine)]
    lines += [f"{shown(place)}: only here" for place in outermost(mine.keys() - theirs.keys(), theirs)]
    lines += [
        f"{shown(item)} differs: {theirs[item]} there, {mine[item]} here"
        for item in mine
        if item in theirs and theirs[item] != mine[item]
    ]
    news = [
        *outermost((item for item in added if item not in there), there),
        *(item for item in added if item in there),
    ]
    return lines, [f"{shown(place)}: added on purpose" for place in news]


def on_purpose(item: str, there: Mapping[str, str], here: Mapping[str, str], allowed: Sequence[str]) -> bool:
    """Is this item more than the revision has, and is it meant to be?"""
    old, new = there.get(item), here[item]
    if old == new or not any(fnmatch.fnmatchcase(item, pattern) for pattern in allowed):
        return False
    words = iter(new.split())
    return old is None or all(word in words for word in old.split())  # in this order: `in` goes on from the last


def outermost(items: Iterable[str], others: Iterable[str]) -> list[str]:
    """The files, folders or parts that are on one side only, instead of all that is in them."""
    known = {place for item in others for place in places(item)}
    return list(
        dict.fromkeys(next((place for place in places(item) if place not in known), item) for item in sorted(items))
    )


def places(item: str) -> list[str]:
    """The places in which an item is, the widest first, and the item itself."""
    return [item[: end.start()] for end in re.finditer(rf"/|{BELOW}|$", item)]


def shown(item: str) -> str:
    """An item for a reader: `verbs/results/runs/digits/cgan/small-s0-1a2b: checkpoint.pt: state.G.net.0.weight`."""
    path, *parts = item.split(BELOW)
    file = re.sub(r"^(.*/runs/[^/]+/[^/]+/[^/]+)/(.+)$", r"\1: \2", path)
    return f"{file}: {'.'.join(parts)}" if parts else file


def failures(items: Mapping[str, str]) -> list[str]:
    """Commands that ended otherwise than they should: nothing can be said of what they did not do."""
    return [f"{shown(item)} {value}" for item, value in items.items() if item.endswith(STATUS) and not value.isdigit()]


def report(
    lines: Sequence[str], added: Sequence[str], there: Mapping[str, str], here: Mapping[str, str], revision: str
) -> list[str]:
    """What is printed: the differences, the first of them only where they are many, and what was compared."""
    more = [f"... and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    said = [f"{side}: {line}" for side, items in (("there", there), ("here", here)) for line in failures(items)]
    verdict = f"{len(lines)} differences from {revision}" if lines else f"the same bits as {revision}"
    news = [*added[:3], f"... and {len(added) - 3} more added on purpose"] if len(added) > 3 else added
    return [*said, *lines[:MOST_LINES], *more, *news, f"compared: {counts(here)}", verdict]


def counts(items: Mapping[str, str]) -> str:
    """How much was compared, in words."""
    found = {name: sum(bool(re.search(pattern, item)) for item in items) for name, pattern in COUNTED.items()}
    found["tensors and arrays"] = sum(
        value.startswith("torch.") or bool(re.match(r"\w+ \[", value)) for value in items.values()
    )
    return ", ".join(f"{n:,} {name}" for name, n in found.items()) + f"; {len(items):,} items"


if __name__ == "__main__":
    sys.exit(main())
