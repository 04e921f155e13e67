"""Does the ranking of methods carry over from one dataset to another? Ranks side by side, and Kendall's tau."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmark.report.agreement import COVERED, FEWEST_ROWS, tau_interval, tau_of_means
from benchmark.report.plain_table import EMPTY
from benchmark.report.results_pages.leaderboard import groups
from benchmark.report.results_pages.markdown import bullets, counted, paragraph, table
from benchmark.report.site.boards import MAIN_SUITE, Board
from benchmark.report.writers import markdown_text


@dataclass(frozen=True)
class _Rank:
    """A method's place on one dataset."""

    number: int
    of: int
    letters: str  # of the groups that it is in
    distances: np.ndarray  # [S], of the runs

    def text(self) -> str:
        return f"{self.number} {self.letters}".strip()


def across_section(boards: Sequence[tuple[str, Board]]) -> list[str]:
    """Ranks of the methods on each dataset; nothing for fewer than two datasets. boards: with the titles of pages."""
    ranked = {
        title: _ranks(board)
        for title, board in boards
        if board.suite == MAIN_SUITE and board.main_column is not None and board.main_column.better == "lower"
    }
    if len(ranked) < 2:
        return []
    methods = dict.fromkeys(name for ranks in ranked.values() for name in ranks)  # in the order of the first dataset
    rows = [
        (markdown_text(name), *(ranks[name].text() if name in ranks else EMPTY for ranks in ranked.values()))
        for name in methods
    ]
    heads = [f"{title}, of {len(ranks)}" for title, ranks in ranked.items()]
    return [
        "## Does the ranking carry over?",
        "",
        *paragraph(
            "The rank of each method by the leaderboard of each dataset, and the letters of its groups there: rows of "
            "one dataset that share a letter are not significantly different. Settings, resolution and number of seeds "
            "differ between the datasets, so this compares leaderboards, not datasets alone. Rows are in the order of "
            f"{markdown_text(next(iter(ranked)))}."
        ),
        *table(("method", *map(markdown_text, heads)), rows, 1),
        *paragraph(
            "Kendall's tau of two rankings: 1 is the same, 0 no association, -1 the opposite. In brackets its "
            f"{COVERED:g} % bootstrap interval over seeds; with few of them it is too narrow, and lies too near to 0."
        ),
        *bullets(_agreement(one, other, ranked[one], ranked[other]) for one, other in combinations(ranked, 2)),
    ]


def _ranks(board: Board) -> dict[str, _Rank]:
    """The ranked methods of a leaderboard, by name."""
    column = board.main_column
    assert column is not None  # asked by the caller
    ranking = board.ranking(column)
    places = [(place, letters) for place, letters in zip(ranking.places, groups(board, ranking)) if place.rank]
    return {
        place.entry.name: _Rank(
            place.rank or 0, len(places), letters, np.array(list(place.entry.row.by_seed(column).values()))
        )
        for place, letters in places
    }


def _agreement(one: str, other: str, first: Mapping[str, _Rank], second: Mapping[str, _Rank]) -> str:
    """Kendall's tau between the rankings of the methods that two datasets share, with its interval over seeds."""
    shared = [name for name in first if name in second]
    pair = f"{markdown_text(one)} and {markdown_text(other)}"
    if len(shared) < FEWEST_ROWS:
        return f"{pair} have {counted(len(shared), 'method')} in common, too few to compare rankings."
    values = [(first[name].distances, second[name].distances) for name in shared]
    interval = tau_interval(values, same_runs=False)
    between = f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    return f"{pair}: {tau_of_means(values):.2f}{between}, {len(shared)} methods."
