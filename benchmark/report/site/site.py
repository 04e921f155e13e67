"""All that the pages of the report are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.report.claims import CheckedClaim
from benchmark.report.published import PublishedValue
from benchmark.report.site.boards import Board, all_boards, method_titles
from benchmark.runs.records import Record


@dataclass(frozen=True)
class Site:
    """All that the pages are made of."""

    results: Path
    records: Sequence[Record]
    published: Sequence[PublishedValue]
    boards: Sequence[Board]  # that a metric ranks
    every_board: Sequence[Board]
    titles: dict[str, str]
    front: str  # link from the other pages to the front page
    below: str  # link from the front page to the folder of the others

    @property
    def datasets(self) -> list[str]:
        """Datasets that have a board, the main one first."""
        return list(dict.fromkeys(board.dataset for board in self.boards))

    @property
    def methods(self) -> list[str]:
        """Methods in boards, by their titles."""
        found = {entry.method for board in self.boards for entry in board.entries}
        return sorted(found, key=lambda name: self.titles[name].casefold())


def site_of(
    results: Path, records: Sequence[Record], published: Sequence[PublishedValue], front: str, below: str
) -> Site:
    """The site of these records."""
    found = all_boards(records)
    boards = [board for board in found if board.columns]
    return Site(results, records, published, boards, found, method_titles(boards), front, below)


def all_claims(site: Site) -> list[CheckedClaim]:
    """The claims of all boards."""
    return [one for board in site.every_board for one in board.claims]


def run_facts(records: Sequence[Record]) -> dict[str, Any]:
    """How many runs, of which code, until when: of the newest record, so that the same records give the same page."""
    newest = max(records, key=lambda record: str(record.time.get("utc", "")))
    return {
        "n": len(records),
        "failed": sum(record.status != "done" for record in records),
        "date": str(newest.time.get("utc", ""))[:10],
        "commit": str(newest.environment.get("commit") or "")[:12],
    }
