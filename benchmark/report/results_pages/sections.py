"""What a page says of each suite: its best row, its table where there is room, its claims and their verdicts.

Three forms, from the longest: tables and claims of every suite; one table of all claims; one line a suite with the
counts of its verdicts. A page takes the longest form that its lines allow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from benchmark.core.names import path_component
from benchmark.report.claims import CheckedClaim, effect, p_text
from benchmark.report.plain_table import EMPTY
from benchmark.report.results_pages.head import left_text, row_name, verdict
from benchmark.report.results_pages.layout import Layout
from benchmark.report.results_pages.leaderboard import cell, head_of, seeds_cell
from benchmark.report.results_pages.markdown import bullets, paragraph, table
from benchmark.report.site.boards import Board
from benchmark.report.site.views import OUTCOMES
from benchmark.report.tables import Column, is_published
from benchmark.report.writers import markdown_text
from benchmark.runs.suites.suite import find_suite

TABLES = "../../results/reference/tables"  # from a page
_MOST_COLUMNS = 6  # metrics of a suite's short table
_CLAIM_HEADS = ("claim", "verdict", "claimed by", "decided by", "effect [95 % interval]", "p")
_STRONG = ("supported", "reversed")
Form = Callable[[Sequence[Board], Layout, bool], list[str]]


def table_link(board: Board, text: str, ending: str = ".md") -> str:
    """A link to a suite's full table."""
    return f"[{markdown_text(text)}]({TABLES}/{path_component(board.id)}{ending})"


def command_of(board: Board) -> str:
    """The command that runs a board's suite at its size."""
    size = board.id.removeprefix(f"{board.suite}-").removesuffix(f"-{board.dataset}")
    return f"`make suite SUITE={board.suite}{'' if size == 'small' else f' SIZE={size}'}`"


def title_of(board: Board, several: bool) -> str:
    """A suite's title; with the dataset, where the page has several."""
    return f"{board.title}: {board.dataset}" if several else board.title


def source_of(suite: str) -> str:
    """The paper that a suite is of, as its file begins: `IC-GAN (Casanova et al., arXiv 2109.05070)`; or empty."""
    found = re.match(r"[^(:;]{1,60}\([^)]*\)", " ".join(find_suite(suite).source.split()))
    return found[0] if found else ""


# ---- claims ---------------------------------------------------------------------------------------------------------


def claim_cells(one: CheckedClaim) -> tuple[str, ...]:
    """A claim for a table: text, verdict, whose, the metric, effect, p."""
    outcome = f"**{one.outcome}**" if one.outcome in _STRONG else one.outcome
    return (
        markdown_text(one.claim.claim),
        outcome,
        "the paper" if one.claim.by == "paper" else "us",
        markdown_text(one.column.name if one.column else one.claim.metric),
        effect(one.test) if one.test else EMPTY,
        markdown_text(p_text(one.test.p)) if one.test else EMPTY,
    )


def claims_table(board: Board) -> list[str]:
    """A board's claims as a table; nothing for none."""
    return table(_CLAIM_HEADS, [claim_cells(one) for one in board.claims], 4) if board.claims else []


def counts_text(claims: Sequence[CheckedClaim]) -> str:
    """`2 supported, 1 inconclusive`."""
    counts: Counter[str] = Counter(one.outcome for one in claims)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])


# ---- forms ----------------------------------------------------------------------------------------------------------


def full(boards: Sequence[Board], layout: Layout, said: bool) -> list[str]:
    """A section a suite: source, best row, table of headline metrics, claims, remark. said: the page has named the
    best rows already."""
    several = len({board.dataset for board in boards}) > 1
    lines = []
    for board in boards:
        lines += [f"## {markdown_text(title_of(board, several))}", ""]
        facts = [
            source_of(board.suite),
            f"{command_of(board)}, {board.budget}",
            table_link(board, "full table"),
        ]
        best = "" if said else f" {verdict(board)} {left_text(board)}".rstrip()
        lines += paragraph("; ".join(filter(None, facts)) + f".{best}")
        lines += suite_table(board) + claims_table(board)
        lines += paragraph(layout.remarks[board.id]) if board.id in layout.remarks else []
    return lines


def suite_table(board: Board) -> list[str]:
    """A suite's rows with their headline metrics, and what the source published of the first."""
    columns, n = shown_columns(board), len(board.table.label_names)
    published = [k for k, name in enumerate(board.table.extra_names) if is_published(name)][:1]
    heads = [*map(markdown_text, board.table.label_names), *map(head_of, columns)]
    heads += ["seeds", *(markdown_text(board.table.extra_names[k]) for k in published)]
    rows = [
        [
            *(markdown_text(label) or EMPTY for label in entry.row.labels),
            *(cell(board, entry, column) for column in columns),
            seeds_cell(entry),
            *(markdown_text(entry.row.extras[k]) for k in published),
        ]
        for entry in board.entries
    ]
    return [*table(heads, rows, n), *(paragraph(KEYS) if any(KEY.search(column.name) for column in columns) else [])]


def shown_columns(board: Board) -> list[Column]:
    """The columns that decide claims, then the headline ones, as many as a page can hold; else the first ones."""
    columns = [column for column in board.table.columns if any(entry.row.summary(column) for entry in board.entries)]
    decide = deciding(board)
    more = [column for column in columns if column.headline and column not in decide]
    return ([*decide, *more] or columns)[:_MOST_COLUMNS]


def deciding(board: Board) -> list[Column]:
    """The columns that decide the board's claims, in the table's order."""
    found = {id(one.column) for one in board.claims if one.column is not None}
    return [column for column in board.table.columns if id(column) in found]


def best_text(board: Board) -> str:
    """The leader of a suite in a few words: name, value, how many it is significantly better than."""
    column = board.main_column
    if column is None:
        return "no ranking"
    ranking = board.ranking(column)
    leader = ranking.leader or ranking.places[0]
    certain = f", better than {ranking.n_better} of {ranking.n_tested}" if ranking.n_tested else ", not tested"
    name, value = row_name(board, leader.entry), leader.entry.row.text(column)
    return f"{markdown_text(name)}, {markdown_text(column.name)} {value}{certain}"


def claims_alone(boards: Sequence[Board], layout: Layout, said: bool) -> list[str]:
    """One table of the claims of all suites, with each suite's best row, and the remarks."""
    rows = []
    for board in boards:
        first = (table_link(board, board.title), best_text(board))
        claims = [claim_cells(one) for one in board.claims] or [(EMPTY,) * len(_CLAIM_HEADS)]
        rows += [(*(first if k == 0 else ("", "")), *cells) for k, cells in enumerate(claims)]
    return [*_intro(), *table(("suite", "best row", *_CLAIM_HEADS), rows, 6), *remark_list(boards, layout)]


def counts_alone(boards: Sequence[Board], layout: Layout, said: bool) -> list[str]:
    """A line a suite: its best row, and the counts of its claims' verdicts."""
    rows = [(table_link(board, board.title), best_text(board), counts_text(board.claims) or EMPTY) for board in boards]
    return [*_intro(), *table(("suite", "best row", "claims"), rows, 3), *remark_list(boards, layout)]


def remark_list(boards: Sequence[Board], layout: Layout) -> list[str]:
    """The remarks on these suites."""
    known = [board for board in boards if board.id in layout.remarks]
    return bullets(f"**{markdown_text(board.title)}.** {layout.remarks[board.id]}" for board in known)


def _intro() -> list[str]:
    return [
        "## Ablations and further suites",
        "",
        *paragraph(
            "Each suite has a budget of its own, and some were scored by another evaluation classifier, so values are "
            "not comparable with the leaderboard's. The links lead to the full tables; "
            f"[claims.md]({TABLES}/claims.md) has the rows and seeds behind each claim."
        ),
    ]


KEY = re.compile(r" \[[0-9a-f]{4}\]$")
KEYS = "Brackets: the beginning of the protocol's key. Columns with different keys are not comparable."
FORMS: tuple[Form, ...] = (full, claims_alone, counts_alone)
