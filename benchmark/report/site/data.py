"""Boards as plain data for the page's script: what it needs to filter, sort, rank again and compare.

All texts and verdicts are made here, by the code of the tables; the script arranges them and computes no statistics.
"""

from __future__ import annotations

import json
import math
from typing import Any

from markupsafe import Markup

from benchmark.core.config import canonical, flatten
from benchmark.core.names import printable
from benchmark.metrics.catalogue import row_of
from benchmark.report.claims import effect, p_text
from benchmark.report.compare import Comparison
from benchmark.report.curves import row_curve, snapshot_name
from benchmark.report.plain_table import EMPTY
from benchmark.report.site.boards import Board, Entry, Ranking
from benchmark.report.site.links import compare_file, dataset_file, method_file
from benchmark.report.site.numbers import brief, duration, rounded, seeds_text
from benchmark.report.site.pictures import Pictures
from benchmark.report.tables import Column
from benchmark.runs.records import Record

VERDICTS = {  # of a row against the best
    "": EMPTY,
    "better": "better",
    "worse": "worse",
    "equal": "equal",
    "inconclusive": "inconclusive",
}


def as_script(data: Any) -> Markup:
    """Data as JSON inside a script element: no character in it can end the element or open a comment."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False, sort_keys=True)
    for sign, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(sign, code)
    return Markup(text)


def board_data(board: Board, pictures: Pictures, titles: dict[str, str], below: str) -> dict[str, Any]:
    """A board for the front page. below: the path from the page to the folder of the other pages."""
    return {
        "id": board.id,
        "title": printable(board.title),
        "dataset": printable(board.dataset),
        "budget": printable(budget_name(board)),
        "ablation": board.is_ablation,
        "suite": printable(board.suite),
        "page": below + dataset_file(board.dataset),
        "compare": below + compare_file(board.dataset),
        "real": pictures.number(pictures.real(board)),
        "rows": [_row(entry, pictures, titles, below) for entry in board.entries],
        "columns": [column_data(board, board.ranking(column)) for column in board.columns],
        "main": next((i for i, column in enumerate(board.columns) if column is board.main_column), 0),
        "claims": claim_counts(board),
    }


def budget_name(board: Board) -> str:
    """The board as a choice: `64,000 images: Every method at one budget`."""
    return f"{board.budget}: {board.title}"


def claim_counts(board: Board) -> dict[str, int]:
    """How many claims of a board have each outcome."""
    counts: dict[str, int] = {}
    for one in board.claims:
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
    return counts


def _row(entry: Entry, pictures: Pictures, titles: dict[str, str], below: str) -> dict[str, Any]:
    found = pictures.of_entry(entry)
    return {
        "name": printable(entry.name),
        "method": printable(titles.get(entry.method, entry.method)),
        "href": below + method_file(entry.method),
        "cond": printable(entry.conditioning),
        "sup": printable(entry.supervision),
        "seeds": seeds_text(entry.seeds),
        "n": len(entry.seeds),
        "note": printable(entry.row.reasons),
        "cost": rounded(entry.cost("Training s")),
        "costText": cost_text(entry),
        "costTitle": cost_title(entry),
        "sample": pictures.number(found[0] if found else None),
        "sampleSeed": None if found is None else found[1],
    }


def cost_text(entry: Entry) -> str:
    """What a run's training took."""
    return duration(entry.cost("Training s"))


def cost_title(entry: Entry) -> str:
    """The other costs of a row in one line."""
    names = (("Parameters", "parameters"), ("Images seen by D", "images"), ("Generator steps", "steps"))
    found = [f"{brief(value)} {words}" for head, words in names if (value := entry.cost(head)) is not None]
    return ", ".join(found)


def column_data(board: Board, ranking: Ranking) -> dict[str, Any]:
    """A ranking for the script: values, tests against the leader and of all pairs, by the places of the rows."""
    at = {id(entry.row): i for i, entry in enumerate(board.entries)}
    column = ranking.column
    pairs = board.pairs(column)
    return {
        "id": column.id,
        "name": printable(column.name),
        "better": column.better,
        "log": ranking.scale == "log",
        "share": ranking.scale == "logit",
        "protocol": column.key,
        "n": column.protocol.get("n_fake") if isinstance(column.protocol.get("n_fake"), int) else None,
        "real": None if ranking.real is None else [printable(ranking.real[0]), rounded(ranking.real[1])],
        "recall": _texts(board, ranking.recall),
        "coverage": _texts(board, ranking.coverage),
        "recallName": ranking.recall.name if ranking.recall else None,
        "coverageName": ranking.coverage.name if ranking.coverage else None,
        "leader": None if ranking.leader is None else at[id(ranking.leader.entry.row)],
        "values": [
            [
                at[id(place.entry.row)],
                place.rank,
                rounded(place.summary.mean),
                rounded(place.summary.low),
                rounded(place.summary.high),
                place.summary.n,
                rounded(place.on_scale),
                place.entry.row.text(column),
                None if place.test is None else test_data(place.test),
            ]
            for place in ranking.places
        ],
        "pairs": [[a, b, *test_data(test)] for (a, b), test in pairs.items()],
    }


def _texts(board: Board, column: Column | None) -> list[float | None] | None:
    """Means of a further column by row."""
    if column is None:
        return None
    found = (entry.row.summary(column) for entry in board.entries)
    return [None if one is None else rounded(one.mean) for one in found]


def test_data(test: Comparison) -> list[Any]:
    """Verdict, p and effect of a comparison as texts; the seeds that would decide an inconclusive one."""
    return [test.verdict, p_text(test.p), effect(test), test.needed]


def page_data(boards: list[dict[str, Any]], pictures: Pictures) -> dict[str, Any]:
    """The data of a page: its boards, and each image once, by number."""
    return {"boards": boards, "images": [[one.uri, one.width, one.height] for one in pictures.numbered]}


# ---- the page that compares two -------------------------------------------------------------------------------------


def compare_data(board: Board, pictures: Pictures, titles: dict[str, str]) -> dict[str, Any]:
    """A board for the page that compares two rows: each seed's values, curves, configurations, environments."""
    plain = board_data(board, pictures, titles, "")
    for row, entry in zip(plain["rows"], board.entries):
        first = next(iter(entry.row.done), entry.row.records[0])
        row["config"] = settings(first)
        row["environment"] = {key: _plain(value) for key, value in flatten(first.environment).items()}
        row["costs"] = {head: rounded(entry.cost(head)) for head in ("Images seen by D", "Parameters")}
        row["curves"] = _curves(board, entry)
    for column, of in zip(plain["columns"], board.columns):
        column["seeds"] = [[[seed, rounded(value)] for seed, value in sorted(entry.row.by_seed(of).items())]
                           for entry in board.entries]  # fmt: skip
    return plain


def settings(record: Record) -> dict[str, str]:
    """A run's configuration by the ways to its settings."""
    return {printable(key): _plain(value) for key, value in flatten(record.config).items()}


def _plain(value: Any) -> str:
    return printable(value if isinstance(value, str) else canonical(value))


def _curves(board: Board, entry: Entry) -> dict[str, Any]:
    """The scores at snapshots of a row by their name and protocol."""
    found = {}
    for column in board.table.columns:
        if row_of(column.id).curve and (curve := row_curve(entry.row, column, entry.name)):
            key = f"{snapshot_name(column)} [{column.key[:6]}]"
            found[printable(key)] = [
                [int(x), *(rounded(float(v)) for v in values)]
                for x, *values in zip(curve.images, curve.mean, curve.low, curve.high)
                if all(map(math.isfinite, map(float, values)))
            ]
    return found
