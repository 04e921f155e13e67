"""Are the published tables, and the report, what the records give? `python tests/tools/same_tables.py [REV]`.

Also `make same-tables`. From the records of results/reference all tables are made again by the present tree, and each
must be the committed one, byte for byte. The report and its figures, which are not committed, must be what the code of
a git revision makes of the same records, and so must the tables; what it made is kept under ~/.cache/gantlet-same.
Exit status: 0 the same, 1 something differs or a command failed, 2 there is no such revision.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import same_bits
import same_carried
import same_files
from same_revision import ROOT, benchmark, cache, commit_of, digits, keep, machine, tree_of

REFERENCE = ROOT / "results" / "reference"
MADE_OF = ("records", "published.csv")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make both, compare, print what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", default="HEAD")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave what both revisions made there")
    wanted = parser.parse_args(arguments)
    if (commit := commit_of(wanted.revision)) is None:
        print(f"no revision {wanted.revision!r}", file=sys.stderr)
        return 2
    there, here = reference(commit, wanted.keep), made_by(ROOT, "the-present-tree", wanted.keep)
    committed = {f"tables/{path.name}": path_hash(path) for path in (REFERENCE / "tables").iterdir()}
    tables = {item: value for item, value in here.items() if item.startswith("tables/")}
    lines = [f"as committed: {line}" for line in same_bits.differences(committed, tables, ())[0]]
    lines += [f"as {wanted.revision} makes it: {line}" for line in same_bits.differences(there, here, ())[0]]
    lines += same_bits.failures(here)
    print("\n".join([*lines[: same_bits.MOST_LINES], verdict(lines, committed, here, wanted.revision)]))
    return 1 if lines else 0


def verdict(lines: Sequence[str], committed: dict[str, str], here: dict[str, str], revision: str) -> str:
    """The last line."""
    figures = sum(item.startswith("figures/") for item in here)
    about = f"{len(committed)} committed tables, the report and {figures} figures"
    return f"{len(lines)} differences: {about}" if lines else f"the same bytes: {about} as {revision} makes them"


def reference(commit: str, kept: Path | None) -> dict[str, str]:
    """What a commit makes of the present records: found, or made now; always made where it is to be looked at."""
    records = {str(path.relative_to(REFERENCE)): path_hash(path) for path in files_of(REFERENCE, MADE_OF)}
    path = cache(commit, machine(), "tables", digits(records, Path(__file__), Path(str(same_carried.__file__))))
    if path.exists() and kept is None:
        return json.loads(path.read_text())
    with tree_of(commit) as tree:
        items = made_by(tree, commit[:12], kept)
    if not same_bits.failures(items):
        keep(path, items)
    return items


def made_by(tree: Path, name: str, kept: Path | None) -> dict[str, str]:
    """Hashes of the tables, the figures and the report that the code of a tree makes of the reference's records."""
    with ExitStack() as stack:
        folder = kept.absolute() / name if kept else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        results = folder / "results"
        for path in files_of(REFERENCE, MADE_OF):
            target = results / path.relative_to(REFERENCE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        items = {}
        for verb in ("table", "report"):
            done = benchmark(tree, [verb, "--quiet", "--results", str(results)], folder / "scratch")
            items |= same_carried.printed(f"command {verb}", 0, done, folder)
        made = files_of(results, ("tables", "figures", "report.html", "report"))
        return items | {path.relative_to(results).as_posix(): path_hash(path) for path in made}


def files_of(folder: Path, names: Sequence[str]) -> list[Path]:
    """All files of these names in a folder, or in folders of these names."""
    found = [folder / name for name in names]
    return sorted(file for path in found for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def path_hash(path: Path) -> str:
    """The hash of a file's bytes."""
    return same_files.sha256(path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
