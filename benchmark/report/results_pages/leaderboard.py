"""The leaderboard of a page: quality, variety, copies, control, seeds, cost and verdict of each row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.metrics.catalogue import CONTROL, row_named, row_of
from benchmark.report.plain_table import EMPTY
from benchmark.report.results_pages.head import operations, standing
from benchmark.report.results_pages.markdown import table
from benchmark.report.site.boards import Board, Entry, Pairs, Ranking
from benchmark.report.site.numbers import brief, duration
from benchmark.report.tables import Column, RealDataRow, Row
from benchmark.report.writers import ARROWS, markdown_text

_CONDITIONED_ON = {"instance": "image", "latent": "image", "none": "nothing"}


def side_columns(board: Board, column: Column) -> list[Column]:
    """Recall, coverage and authenticity of the same extractor, those that the board has."""
    of = row_of(column.id).what(column.id)
    ids = [row_named(name).id_of(of) for name in ("recall_X", "coverage_X", "authenticity_X")] if of else []
    return [found for id in ids if (found := widest(board, id, board.ranking(column))) is not None]


def widest(board: Board, id: str, ranking: Ranking) -> Column | None:
    """The column of an id that most of the ranked rows have; None where none has it."""
    rows = [place.entry.row for place in ranking.places]
    found = [column for column in board.table.columns if column.id == id and any(_in(rows, column))]
    return max(found, key=lambda column: sum(_in(rows, column)), default=None)


def control_columns(board: Board, ranking: Ranking) -> list[Column]:
    """Whether samples show what was requested: the columns for labels, images and clusters that ranked rows have."""
    return [found for id in CONTROL if (found := widest(board, id, ranking)) is not None]


def _in(rows: Sequence[Row], column: Column) -> list[bool]:
    """Which rows have a value in a column."""
    return [row.summary(column) is not None for row in rows]


def cell(board: Board, entry: Entry, column: Column | None) -> str:
    """A row's value as the tables show it: bold, or with the sign of one that is not significantly worse."""
    if column is None:
        return EMPTY
    row = entry.row
    return f"**{row.text(column)}**" if board.table.bold(row, column) else board.table.text(row, column)


def seeds_cell(entry: Entry) -> str:
    """Number of a row's finished runs, and of those that collapsed, with what that means: `3, 1 collapsed`."""
    n, n_collapsed = len(entry.seeds), len(entry.row.collapsed)
    return f"{n}, [{n_collapsed} collapsed](../glossary.md)" if n_collapsed else str(n)


def head_of(column: Column) -> str:
    """A metric's name with the direction that is good."""
    return markdown_text(f"{column.name} {ARROWS.get(column.better or '', '')}".strip())


def leaderboard(board: Board, column: Column) -> list[str]:
    """The table of a board's ranking by a column, with rows of real images below."""
    ranking, side = board.ranking(column), side_columns(board, column)
    controls = control_columns(board, ranking)
    letters = groups(board, ranking)
    short = [head_of(one).replace(f"-{row_of(column.id).what(column.id)}", "").lower() for one in side]
    heads = ("method", "conditioned on (given)", "vs best", "group", head_of(column), *short, "control ↑", "seeds",
             "training", "FLOPs")  # fmt: skip
    rows = []
    for i, place in enumerate(ranking.places):
        entry = place.entry
        shown = [cell(board, entry, one) for one in (column, *side)]
        control = [cell(board, entry, one) for one in controls if entry.row.summary(one) is not None]
        flops = operations(entry)
        cost = (duration(entry.cost("Training s")), EMPTY if flops is None else brief(flops))
        rows.append(
            (
                markdown_text(entry.name),
                markdown_text(_given(entry)),
                standing(ranking, place),
                letters[i],
                *shown,
                control[0] if control else EMPTY,
                seeds_cell(entry),
                *cost,
            )
        )
    rows += [_real(row, (column, *side), len(heads)) for row in board.table.controls if _is_shown(row)]
    return table(heads, rows, 2)


def _given(entry: Entry) -> str:
    """What a row is conditioned on, and what else it is given besides images: `image (SimCLR trained here)`."""
    given, on = entry.supervision.removeprefix("none"), _CONDITIONED_ON.get(entry.conditioning, entry.conditioning)
    if on in ("class", "attributes"):  # labels are what it is conditioned on
        given = given.removeprefix("labels").removeprefix("attributes")
    given = given.removeprefix("; ")
    return f"{on} ({given})" if given else on


def _is_shown(row: RealDataRow) -> bool:
    """Real against real, blurred images, and few images repeated: the scale, low quality, low variety."""
    return any(word in row.labels[0] for word in ("half against half", "blur", "distinct"))


def _real(row: RealDataRow, columns: Sequence[Column], n: int) -> tuple[str, ...]:
    name = row.labels[0].partition(", n =")[0]
    cells = (f"*{markdown_text(name)}*", "", "", "", *(row.text(column) for column in columns))
    return (*cells, *[""] * (n - len(cells)))


def not_ranked(board: Board, ranking: Ranking) -> list[str]:
    """Names of rows with finished runs that the ranking lacks: they have no value of the metric by its protocol."""
    ranked = {id(place.entry.row) for place in ranking.places}
    return [entry.name for entry in board.entries if entry.row.done and id(entry.row) not in ranked]


# ---- groups ---------------------------------------------------------------------------------------------------------


def groups(board: Board, ranking: Ranking) -> list[str]:
    """Letters of the groups that each ranked row is in, in the ranking's order; empty for rows that were not tested."""
    tests = board.pairs(ranking.column)
    at = {id(entry.row): i for i, entry in enumerate(board.entries)}
    places = [at[id(place.entry.row)] for place in ranking.places]
    tested = [place for place in places if any(place in pair for pair in tests)]
    of = dict(zip(tested, group_letters(tested, _apart(tests))))
    return [of.get(place, "") for place in places]


def group_letters(places: Sequence[int], apart: set[frozenset[int]]) -> list[str]:
    """Letters for each place: two that share a letter are not apart, and two that are not apart share one.

    apart: pairs that are significantly different when every pair is tested, all pairs as one family.
    """
    found = sorted(_cliques(places, apart), key=lambda one: sorted(places.index(place) for place in one))
    names = [_letter(k) for k in range(len(found))]
    return ["".join(name for name, one in zip(names, found) if place in one) for place in places]


def _apart(tests: Pairs) -> set[frozenset[int]]:
    return {frozenset(pair) for pair, one in tests.items() if one.verdict in ("better", "worse")}


def _letter(k: int) -> str:
    """a to z, then a1 to z1, and so on."""
    return f"{chr(ord('a') + k % 26)}{k // 26 or ''}"


def _cliques(places: Iterable[int], apart: set[frozenset[int]]) -> list[frozenset[int]]:
    """The largest sets of places of which no two are apart."""
    found: list[frozenset[int]] = []
    ordered = list(places)
    near = {a: {b for b in ordered if b != a and frozenset((a, b)) not in apart} for a in ordered}

    def grow(inside: frozenset[int], candidates: set[int], excluded: set[int]) -> None:  # Bron and Kerbosch, 1973
        if not candidates and not excluded:
            found.append(inside)
            return
        pivot = max(sorted(candidates | excluded), key=lambda place: len(near[place] & candidates))
        for place in sorted(candidates - near[pivot]):
            grow(inside | {place}, candidates & near[place], excluded & near[place])
            candidates, excluded = candidates - {place}, excluded | {place}

    if ordered:
        grow(frozenset(), set(ordered), set())
    return found
