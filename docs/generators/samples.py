"""Images for the method reference: the small grids of samples that lie with the published records."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from PIL import Image

from benchmark.core import paths
from benchmark.report.suite_tables import rows_with_records
from benchmark.runs.records import Record, read_records
from benchmark.runs.sample_files import find_real, find_samples
from benchmark.runs.suites.suite import find_suite, scope_of

SIZES = {"small": "digits", "shapes": "coloured shapes"}  # of the suite `compare`, and what their dataset is called
SCALE = 2  # screen pixels for one of an image


def samples_text(method: str, out: Path, results: Path = paths.REFERENCE) -> str:
    """Grids of a method's samples in the suite `compare`, next to those of real images; empty where none is kept.

    out: the folder of the page; the images are copied into its folder `samples`.
    """
    found = []
    for size, dataset in SIZES.items():
        for record in _records(method, size, results):
            if (grid := find_samples(results, record)) is None:
                continue
            real = find_real(results, record)
            shown = [_image(real, f"Real images: {dataset}", out)] if real else []
            shown.append(_image(grid, f"Samples of {method}: {dataset}, seed {record.seed}", out))
            found.append("\n".join([f"{dataset.capitalize()}, seed {record.seed}:\n", *shown]))
            break  # of the first seed that has one
    if not found:
        return ""
    about = (
        "Suite `compare`, uncurated; on the left real images. A row of a grid is one class for methods that are "
        "conditioned on classes."
    )
    return "\n\n".join([about, *found])


def _records(method: str, size: str, results: Path) -> list[Record]:
    """A method's finished runs of a size of the suite, in order of seed."""
    suite = find_suite("compare")
    place = next((place for place, row in enumerate(suite.rows) if row.method == method), None)
    (dataset,) = scope_of(suite, size).datasets
    by_row = rows_with_records(suite, size, _all_records(results), dataset)
    return [record for record in by_row.get(place, []) if record.status == "done"] if place is not None else []


@cache
def _all_records(results: Path) -> list[Record]:
    return read_records(results)


def _image(path: Path, alt: str, out: Path) -> str:
    """The image as MyST, each of its pixels enlarged; copied next to the page."""
    (out / "samples").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, out / "samples" / path.name)
    return f"```{{image}} samples/{path.name}\n:alt: {alt}\n:class: samples\n:width: {SCALE * _width(path)}px\n```"


def _width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width
