"""The report's page of all tables: what it consists of, images as data URIs, and the template that lays it out.

The template escapes every text (jinja2, autoescape). Style and script are in the page, images in data URIs, and a
content security policy forbids everything else, so that the page makes no request.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup, escape
from PIL import Image

from benchmark.core import paths
from benchmark.core.names import printable

MOST_PICTURE_BYTES = 8_000_000  # of all data URIs together: the page stays below 10 MB
_MOST_WIDTH = 720  # px of an image
_COLOURS = 128  # of an image's palette


# ---- what the page shows --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """The head of a table's column."""

    text: str
    numeric: bool = False
    better: str | None = None  # "lower", "higher" or None: the best comes first when the column is sorted
    card: str = ""  # link to how the column is measured
    published: bool = False


@dataclass(frozen=True)
class HtmlCell:
    """A table's cell."""

    text: str
    sort: float | None = None  # in full precision; None: sorted by the text, or last in a column of numbers
    bold: bool = False
    mark: str = ""  # behind the text: † for a published value
    note: str = ""  # below the text
    more: str = ""  # below the note; behind a click where it is long
    link: str = ""


@dataclass(frozen=True)
class Line:
    """A table's row."""

    cells: Sequence[HtmlCell]
    published: bool = False


@dataclass(frozen=True)
class HtmlTable:
    """A table of the page."""

    id: str
    title: str
    heads: Sequence[Head]
    lines: Sequence[Line]
    notes: Sequence[str] = ()
    controls: Sequence[Line] = ()  # rows of real images: below the others, never sorted among them


@dataclass(frozen=True)
class PublishedPaper:
    """What one paper or repository reports."""

    title: str
    tables: Sequence[HtmlTable]


@dataclass(frozen=True)
class Fact:
    """A name and what it is."""

    name: str
    text: str


@dataclass(frozen=True)
class FactSheet:
    """How a number is measured."""

    id: str
    title: str
    facts: Sequence[Fact]
    seeds: Sequence[Fact]


@dataclass(frozen=True)
class RowRuns:
    """The configuration that a row's runs share."""

    name: str
    config_hash: str
    config: str


@dataclass(frozen=True)
class Figure:
    """An embedded image; sizes in px."""

    uri: str
    alt: str
    caption: str
    width: int
    height: int


@dataclass
class Section:
    """One dataset."""

    name: str
    table: HtmlTable
    cards: Sequence[FactSheet]
    beside: HtmlTable | None
    curves: Figure | None
    snapshots: Sequence[Figure]  # scores during training, one figure a score
    scatter: Figure | None  # points during training
    cost: Figure | None
    gallery: Sequence[Figure]
    n_without_folder: int
    n_runs: int
    runs: HtmlTable
    rows: Sequence[RowRuns]
    environments: Sequence[FactSheet]
    more: Sequence[tuple[str, Sequence[Figure]]] = field(default_factory=list)


@dataclass(frozen=True)
class SuiteTables:
    """What a suite found, and what it cost."""

    table: HtmlTable
    cost: HtmlTable
    agreement: HtmlTable | None = None  # of several extractors' rankings
    figures: list[Figure] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """Everything."""

    datasets: HtmlTable
    n_runs: int
    n_failed: int
    failures: Sequence[Fact]
    sections: Sequence[Section]
    suites: Sequence[SuiteTables]
    claims: HtmlTable | None
    published: Sequence[PublishedPaper]
    certainty: Mapping[str, str]
    n_left_out: int  # images that the page's limit left no place for


# ---- images ---------------------------------------------------------------------------------------------------------


class Album:
    """Makes data URIs of images as long as the page has place for them; the first to come are in."""

    def __init__(self) -> None:
        self.left = MOST_PICTURE_BYTES
        self.n_left_out = 0

    def picture(self, path: Path | None, alt: str, caption: str = "") -> Figure | None:
        """An image file, at most 720 px wide; None without a file, for one that cannot be read, or without place."""
        if path is None:
            return None
        try:
            with Image.open(path) as picture:
                shown = picture.convert("RGB")
        except OSError:
            return None
        if shown.width > _MOST_WIDTH:
            height = max(1, round(shown.height * _MOST_WIDTH / shown.width))
            shown = shown.resize((_MOST_WIDTH, height), Image.Resampling.LANCZOS)
        return self._embed(shown, alt, caption)

    def figure(self, png: bytes | None, alt: str, caption: str = "") -> Figure | None:
        """A plot in its own size; None without one, or without place."""
        if png is None:
            return None
        with Image.open(io.BytesIO(png)) as picture:
            return self._embed(picture.convert("RGB"), alt, caption)

    def _embed(self, picture: Image.Image, alt: str, caption: str) -> Figure | None:
        file = io.BytesIO()
        picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        uri = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        if len(uri) > self.left:
            self.n_left_out += 1
            return None
        self.left -= len(uri)
        return Figure(uri, alt, caption, picture.width, picture.height)


# ---- HTML -----------------------------------------------------------------------------------------------------------


def templates(folder: Path) -> jinja2.Environment:
    """The templates of a folder: every text from a record is escaped, and printable."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"linked": linked, "breakable": breakable, "anchor": anchor, "number": number}
    return environment


def render(page: Page, home: str = "") -> str:
    """The page as one HTML document. home: a link to the report's front page."""
    folder = paths.TEMPLATES
    environment = templates(folder)
    style, script = (Markup((folder / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))
    return environment.get_template("report.html").render(page=page, home=home, style=style, script=script)


_ARXIV = re.compile(r"arXiv[: ]?(\d{4}\.\d{4,5})")


def linked(text: str) -> Markup:
    """A text, escaped, in which arXiv numbers are links: the only ones that lead out of the page."""
    return Markup(
        _ARXIV.sub(r'<a href="https://arxiv.org/abs/\1" rel="noreferrer">arXiv \1</a>', str(escape(printable(text))))
    )


def breakable(text: str) -> Markup:
    """A text, escaped, that may be broken behind the signs that join words: `eval.judge.steps=1000`."""
    return Markup(re.sub(r"([=_.,/])(?=\S)", r"\1<wbr>", str(escape(printable(text)))))


def anchor(text: str) -> str:
    """A text as an element's id, or a link to one: no spaces."""
    return re.sub(r"\s+", "-", text)


def number(value: float) -> str:
    """A number with every digit, for sorting."""
    return repr(float(value))
