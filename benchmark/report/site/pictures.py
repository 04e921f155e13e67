"""Small grids of samples as data URIs, each once, as long as a page has room for them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from benchmark.report.site.boards import Board, Entry
from benchmark.runs.records import Record
from benchmark.runs.sample_files import find_real, find_samples


@dataclass(frozen=True)
class Picture:
    """An image of a page; sizes in px."""

    uri: str
    width: int
    height: int


@dataclass
class Pictures:
    """The images of one page, by path; those that no longer fit are left out and counted."""

    results: Path
    most_bytes: int
    n_left_out: int = 0
    numbered: list[Picture] = field(default_factory=list)  # those that the page's script shows
    _found: dict[Path, Picture | None] = field(default_factory=dict)

    def number(self, picture: Picture | None) -> int | None:
        """The number by which the script knows a picture; None for none."""
        if picture is None:
            return None
        if picture not in self.numbered:
            self.numbered.append(picture)
        return self.numbered.index(picture)

    def of_entry(self, entry: Entry) -> tuple[Picture, int] | None:
        """The samples of a row's first seed that has some, with the seed; never the best of several."""
        for record in entry.row.done:
            if picture := self.of_record(record):
                return picture, record.seed
        return None

    def of_record(self, record: Record) -> Picture | None:
        """The samples of a run; None where none are kept."""
        return self._read(find_samples(self.results, record))

    def real(self, board: Board) -> Picture | None:
        """Real images of the data that a board's rows are compared with; None where none are kept."""
        records = (record for entry in board.entries for record in entry.row.done)
        return next((picture for record in records if (picture := self._read(find_real(self.results, record)))), None)

    def _read(self, path: Path | None) -> Picture | None:
        if path is None:
            return None
        if path not in self._found:
            self._found[path] = self._encoded(path)
        return self._found[path]

    def _encoded(self, path: Path) -> Picture | None:
        """A file that is no WebP image is left out: what it holds goes into the page as it is."""
        try:
            content = path.read_bytes()
            with Image.open(path, formats=["WEBP"]) as picture:
                width, height = picture.size
        except (OSError, ValueError):
            return None
        uri = "data:image/webp;base64," + base64.b64encode(content).decode()
        if len(uri) > self.most_bytes:
            self.n_left_out += 1
            return None
        self.most_bytes -= len(uri)
        return Picture(uri, width, height)
