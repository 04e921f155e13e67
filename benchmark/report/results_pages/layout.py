"""What of the results pages is written by hand: `docs/results/remarks.yaml`."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from benchmark.core import paths
from benchmark.core.config import STRICT, build, load_yaml

FOLDER = paths.CHECKOUT / "docs" / "results"
LAYOUT = FOLDER / "remarks.yaml"
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PageOf:
    """A page of several datasets, or one with a title of its own."""

    name: Annotated[str, Field(pattern=r"[a-z0-9_-]+")]  # of its file
    title: Text
    datasets: Annotated[tuple[str, ...], Field(min_length=1)]
    first: Text | None = None  # the suite's table that the first screen is about, where no comparison of all is
    shown: tuple[Text, ...] = ()  # suites' tables with sections of their own, beside the comparison: samples and curves


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Paper:
    """A paper whose claims are tested."""

    name: Text
    claims: Text  # one sentence: what it claims
    caveat: str = ""  # what a reader must know of the verdicts that the first page counts


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Front:
    """The picture of samples that the README shows."""

    board: Text  # name of a suite's table
    rows: Annotated[tuple[Text, ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Layout:
    """Pages in their order, papers by the method that is theirs, remarks by the name of a suite's table.

    looks: by the same name, what the samples of each row's sheet look like.
    """

    about: Text  # the runs as a whole, on the first page
    pages: tuple[PageOf, ...]
    papers: dict[str, Paper]
    remarks: dict[str, Text]
    looks: dict[str, dict[str, Text]] = field(default_factory=dict)
    front: Front | None = None


def read_layout(path: Path = LAYOUT) -> Layout:
    """The file's content. Raises ConfigError for what it must not have."""
    return build(Layout, load_yaml(path), str(path))


def page_plan(layout: Layout, datasets: list[str]) -> list[PageOf]:
    """The pages of these datasets: those of the layout, then one for each dataset that it does not know."""
    known = [page for page in layout.pages if set(page.datasets) & set(datasets)]
    named = {name for page in known for name in page.datasets}
    others = [name for name in datasets if name not in named]
    return [*known, *(PageOf(name=name, title=name, datasets=(name,)) for name in others)]
