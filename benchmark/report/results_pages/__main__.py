"""`python -m benchmark.report.results_pages`, or `make results`: write docs/results from the published records."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from benchmark.core import paths
from benchmark.report.results_pages.layout import FOLDER, read_layout
from benchmark.report.results_pages.pages import build, write
from benchmark.runs.records import read_records


def main(arguments: Iterable[str] | None = None) -> int:
    """Write the pages and their figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=paths.REFERENCE, help="whose records (default: published)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the pages")
    options = parser.parse_args(None if arguments is None else list(arguments))
    written = write(options.out, build(options.results, read_records(options.results), read_layout()))
    print(f"{len(written)} pages and figures: {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
