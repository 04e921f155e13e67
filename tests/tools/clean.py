"""Remove the run folders and artefacts of a results folder: `make clean`. Records and tables stay.

The folder comes by the environment, RESULTS, so that no shell reads it. Anything that is not plainly a results folder
is refused: a name that is empty by mistake would otherwise be the root of the file system.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

MADE = ("runs", "artifacts")  # what can be made again


def refusal(name: str) -> str:
    """Why nothing is removed there; empty where it may be."""
    if not name.strip():
        return "RESULTS is empty"
    folder = Path(name)
    if not folder.is_dir():
        return f"{name!r}: no such folder"
    real = folder.resolve()
    cwd = Path.cwd().resolve()
    if real in (Path("/"), Path.home().resolve(), cwd, *cwd.parents) or (real / ".git").exists():
        return f"{name!r} is {real}, which is no results folder: give the folder that has records/ and runs/"
    if links := [part for part in MADE if (real / part).is_symlink()]:
        return f"{name!r}: {', '.join(links)} is a link to somewhere else: remove the link by hand"
    found = [part for part in MADE if (real / part).exists()]
    if found and not (real / "records").is_dir() and not any(real.glob("runs/*/*/*/config.yaml")):
        return f"{name!r} has {' and '.join(found)}, but neither records nor runs of this benchmark: no results folder"
    return ""


def main(name: str, remove: bool = True) -> int:
    """Remove, or only say what would be removed. Returns an exit status: 2 where it is refused."""
    if reason := refusal(name):
        print(f"make clean: {reason}; nothing was removed", file=sys.stderr)
        return 2
    for part in MADE:
        folder = Path(name).resolve() / part
        if folder.exists():
            print(f"{'removed' if remove else 'would remove'} {folder}")
            if remove:
                shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ.get("RESULTS", ""), remove="--dry-run" not in sys.argv[1:]))
