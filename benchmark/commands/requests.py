"""What the commands read of their arguments, and what they ask of files before anything heavy is imported."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.errors import UserError
from benchmark.core.names import printable
from benchmark.core.registry import check_method

if TYPE_CHECKING:
    from benchmark.runs.spec import Paths, RunSpec


def specs(arguments: argparse.Namespace) -> list[RunSpec]:
    """The runs a command requests, its names and files checked first and fast."""
    from benchmark.core.config import merge, parse_overrides
    from benchmark.data.cards import find_card, locate

    changes = parse_overrides(arguments.changes)
    changes |= asked_engine(arguments)
    if arguments.protocol is not None:
        changes = merge(changes, {"eval": {"protocol": arguments.protocol}})
    for method in arguments.method:
        check_method(method)
    card = find_card(arguments.dataset)
    if arguments.verb != "plan":  # a plan lists what is missing
        locate(card, arguments.data_root)

    from benchmark.runs.spec import RunSpec

    return [
        RunSpec(method, arguments.dataset, seed, arguments.recipe, changes)
        for method in arguments.method
        for seed in arguments.seed or [0]
    ]


def asked_engine(arguments: argparse.Namespace) -> dict[str, str]:
    """Precision and capture, where the command line names them."""
    named = {"precision": arguments.precision, "capture": arguments.capture}
    return {key: value for key, value in named.items() if value is not None}


def check_suite(name: str, size: str) -> None:
    """Raise ConfigError unless there is such a suite and it has this size."""
    from benchmark.runs.suites.suite import find_suite, scope_of

    scope_of(find_suite(name), size)


def paths_of(arguments: argparse.Namespace) -> Paths:
    """Where the command reads and writes."""
    from benchmark.runs.spec import Paths

    return Paths(arguments.data_root, arguments.results)


def require_results(arguments: argparse.Namespace) -> None:
    """Raise UserError where the results could not be written: before anything heavy is imported, and any work."""
    from benchmark.core.files import require_makeable

    require_makeable(arguments.results)


def require_file(path: Path, option: str) -> None:
    """Raise UserError unless a file can be written at `path`: before the work whose outcome it takes."""
    from benchmark.core.files import require_writable

    try:
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:
        raise UserError(f"{option} {path}", str(error), "give the path of a file") from None
    if is_folder:
        raise UserError(f"{option} {path}", "it is a folder", "give the path of a file in it")
    require_writable(path.parent)


def say(error: UserError) -> None:
    """Print what a user can fix."""
    print(printable(f"gantlet: {error}"), file=sys.stderr, flush=True)
