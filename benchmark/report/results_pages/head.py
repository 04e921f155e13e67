"""The first sentences of a page: which row is best, how certain, at what cost."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.core.stats import format_cell, summary
from benchmark.report.claims import p_text
from benchmark.report.results_pages.markdown import counted, listed
from benchmark.report.site.boards import Board, Entry, Place, Ranking
from benchmark.report.site.numbers import brief, duration
from benchmark.report.site.plots import front_of
from benchmark.report.tables import Column
from benchmark.report.writers import markdown_text

_PLAIN = ("Method", "Model", "Networks")  # label columns that need no name in a sentence
_MOST_NAMES = 8  # of rows that a sentence lists


def verdict(board: Board) -> str:
    """The leader by the board's first metric, its certainty, those not significantly worse, and real images."""
    column = board.main_column
    if column is None:
        return "No ranking: no two rows have a value of one metric under one protocol."
    ranking = board.ranking(column)
    leader = ranking.leader or ranking.places[0]
    best = "lowest" if column.better == "lower" else "highest"
    name = f"**{markdown_text(row_name(board, leader.entry))}**"
    parts = [f"{name} has the {best} {markdown_text(column.name)}: {value_with_interval(leader)}."]
    first = ranking.places[0]
    if leader is not first and first.test is not None:
        parts[0] = (
            f"{name} leads by {markdown_text(column.name)}, {value_with_interval(leader)}, in the mean on the scale on "
            "which rows are compared."
        )
    elif leader is not first:
        untested = f"{markdown_text(row_name(board, first.entry))}, {value_with_interval(first)}, is not tested"
        parts[0] = (
            f"{name} has the {best} {markdown_text(column.name)} of the rows with two seeds or more: "
            f"{value_with_interval(leader)}. {untested}."
        )
    return " ".join([*parts, *certainty(board, ranking), *real_text(ranking)])


def value_with_interval(place: Place) -> str:
    """`1.13 ± 0.12 (95 % interval over 5 seeds)`."""
    n = place.summary.n
    return f"{format_cell(place.summary)} ({f'95 % interval over {n} seeds' if n > 1 else 'one seed'})"


def row_name(board: Board, entry: Entry) -> str:
    """A row's name in a sentence: `IC-GAN (k = 5)`, `lambda = 0.1`; of the comparison of methods, the method's."""
    labels = [(n, label) for n, label in zip(board.table.label_names, entry.row.labels) if label not in ("", "-")]
    labels.sort(key=lambda pair: pair[0] not in _PLAIN)  # the method, then what differs
    first, *more = [text if name in _PLAIN else f"{name.lower()} = {text}" for name, text in labels] or [entry.name]
    return f"{first} ({', '.join(more)})" if more else first


def certainty(board: Board, ranking: Ranking) -> list[str]:
    """How many rows the leader is significantly better than, and which it is not."""
    if not ranking.n_tested:
        return ["No difference was tested: a row needs two seeds."]
    everyone = ranking.n_tested + 1 == sum(place.rank is not None for place in ranking.places)
    if ranking.n_better == ranking.n_tested:
        some = {1: "the only other row", 2: "both other rows"}
        others = some.get(ranking.n_tested, f"all {ranking.n_tested} other rows")
        return [f"It is significantly better than {others}{'' if everyone else ' that can be tested'}."]
    open_rows = [row_name(board, place.entry) for place in ranking.open]
    if not ranking.n_better:
        return ["No other row is significantly worse."]
    n = f"{ranking.n_better} of {counted(ranking.n_tested, 'other row')}"
    return [f"It is significantly better than {n}; not significantly different from it: {names(open_rows)}."]


def names(found: Sequence[str]) -> str:
    """Names of rows in a sentence; the first, where there are many."""
    shown = list(map(markdown_text, found[: _MOST_NAMES if len(found) > _MOST_NAMES + 1 else None]))
    more = len(found) - len(shown)
    return listed([*shown, f"{more} more"] if more else shown)


def real_text(ranking: Ranking) -> list[str]:
    """What the metric says of real images against real images."""
    if ranking.real is None:
        return []
    what, value = ranking.real
    how = markdown_text(what.removeprefix("real, "))
    # no bound for a generator: these sets have other sizes than those of the comparison
    return [f"For scale, real images against real images: {format_cell(summary([value]))} ({how}; not a lower bound)."]


def left_text(board: Board) -> str:
    """How many of the runs of a suite are there, and which rows have none; empty where all are there."""
    planned = sum(row.planned or len(row.records) for row in board.table.rows)
    there = sum(len(row.records) for row in board.table.rows)
    if there >= planned:
        return ""
    none = [row.labels[0] for row in board.table.rows if not row.records]
    return f"So far {there} of {planned} planned runs are finished{f'; none of {names(none)}' if none else ''}."


def other_leaders(board: Board, columns: Sequence[Column]) -> str:
    """The best row by each of some further metrics, with its value and certainty; empty for none."""
    found = []
    for column in columns:
        ranking = board.ranking(column)
        if ranking.leader is not None:
            tied = [place for place in ranking.places if place.rank and _same(place, ranking.leader)]
            name, value = names([row_name(board, place.entry) for place in tied]), format_cell(ranking.leader.summary)
            if ranking.n_better:
                certain = f"significantly better than {ranking.n_better} of {ranking.n_tested}"
                found.append(f"Best {markdown_text(column.name)}: {name}, {value}, {certain}.")
            else:
                found.append(f"{markdown_text(column.name)}: no row is significantly worse than the best.")
    return " ".join(found)


def _same(place: Place, leader: Place) -> bool:
    """Whether a row is the leader, or has its very values: such rows are best together."""
    return place is leader or place.summary == leader.summary


# ---- cost -----------------------------------------------------------------------------------------------------------


def operations(entry: Entry) -> float | None:
    """Floating-point operations of a training run: those of a step times its steps; None where not known."""
    steps, a_step = entry.cost("Generator steps"), entry.cost("FLOPs a step")
    return None if steps is None or a_step is None else steps * a_step


def cost_text(board: Board, column: Column) -> str:
    """What the leader's training cost, and the cheapest row's, and which rows none beats in both; empty: unknown."""
    ranking = board.ranking(column)
    priced = [(place, flops) for place in ranking.places if place.rank and (flops := operations(place.entry))]
    if len(priced) < 2:
        return ""
    leader = ranking.leader or ranking.places[0]
    cheapest = min(priced, key=lambda pair: pair[1])[0]
    own = operations(leader.entry)
    texts = [f"Training {markdown_text(leader.entry.name)} took {_cost(leader.entry)} a run"] if own else []
    if cheapest is not leader:
        texts.append(f"the cheapest row, {markdown_text(cheapest.entry.name)}, took {_cost(cheapest.entry)}")
    front = front_of([(flops, place.summary.mean) for place, flops in priced], column.better)
    on_front = [place.entry.name for i, (place, _) in enumerate(priced) if i in front]
    front_text = f"On the Pareto front of {markdown_text(column.name)} and training FLOPs: {names(on_front)}."
    return f"{'; '.join(texts)}. {front_text}" if texts else front_text


def _cost(entry: Entry) -> str:
    flops = operations(entry)
    return f"{duration(entry.cost('Training s'))} and {brief(flops or 0.0)} FLOPs"


def standing(ranking: Ranking, place: Place) -> str:
    """What a row's test against the leader says, for a table."""
    if place is ranking.leader:
        return "best"
    if place.test is None:
        return "not tested" if place.rank else "not ranked"
    said = {"worse": "worse", "equal": "equal", "better": "better"}.get(place.verdict, "not significant")
    return f"{said}, p {markdown_text(p_text(place.test.p))}"
