"""The published models by name: compact exports in `results/reference/models`, made by `make zoo`.

A name is `reference/<dataset>/<method>`, or `reference/<record>` with the name of the model's record.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.core import paths
from benchmark.core.errors import UserError
from benchmark.core.files import read_json
from benchmark.core.names import printable
from benchmark.runs.exported import CONFIG

PREFIX = "reference"  # what their names begin with
MODELS = "models"  # their folder, next to that of the published records


def model_folder(given: Path) -> Path:
    """The folder of a run or an export: `given` itself, or that of the published model of this name.

    A folder of this name in the present folder comes first. Raises UserError for a name that no published model has,
    with those that there are, and for one that several have.
    """
    if given.parts[:1] != (PREFIX,) or given.exists():
        return given
    name, models = "/".join(given.parts[1:]), _models()
    if len(given.parts) == 2 and (models / name / CONFIG).is_file():
        return models / name
    found = published(models)
    runs = found.get(name, [])
    if len(runs) > 1:
        listed = ", ".join(f"{PREFIX}/{run}" for run in runs)
        raise UserError(f"{given}: {len(runs)} published models have this name", "it must be one", f"use {listed}")
    if not runs:
        raise UserError(f"{printable(str(given))}: no such published model", *_what_there_is(found, models))
    return models / runs[0]


def published(models: Path) -> dict[str, list[str]]:
    """The published models in a folder: by `<dataset>/<method>` the names of their records, sorted.

    Raises UserError, naming the file, when a `config.json` cannot be read.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(models.glob(f"[!.]*/{CONFIG}")):
        entries = read_json(path)
        try:
            run, method = str(entries["run"]), str(entries["config"]["method"])
        except (KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{path}: not of a published model", reason, "restore the file from a copy") from None
        dataset = run.partition(f"-{method}-")[0]
        found.setdefault(f"{dataset}/{method}", []).append(path.parent.name)
    return found


def _models() -> Path:
    """Where published models are: of the checkout that is the present folder, else of the one that runs."""
    here = Path("results") / "reference" / MODELS
    return here if here.is_dir() else paths.REFERENCE / MODELS


def _what_there_is(found: dict[str, list[str]], models: Path) -> tuple[str, str]:
    """Why a name is not found, and what to do."""
    if found:
        names = ", ".join(name if len(runs) == 1 else f"{name} ({', '.join(runs)})" for name, runs in found.items())
        return f"published: {names}", f"use one of these behind {PREFIX}/"
    return (
        f"there are none in {models}: published models come with a checkout, not with an installed package",
        "call from the root of a checkout, or give the folder of a run or of an export",
    )
