"""What each page of the report shows, ready for its template."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from benchmark.report.claims import CheckedClaim, effect, p_text
from benchmark.report.ledger import COSTS
from benchmark.report.plain_table import EMPTY
from benchmark.report.site.boards import Board, Place
from benchmark.report.site.data import board_data, compare_data, page_data, settings
from benchmark.report.site.fields import meanings
from benchmark.report.site.leaderboard import Leaderboard, leaderboard, main_column
from benchmark.report.site.links import TABLES, compare_file, dataset_file, file_name, method_file
from benchmark.report.site.pictures import Pictures
from benchmark.report.site.plots import plots_of
from benchmark.report.site.render import page
from benchmark.report.site.site import Site, all_claims, run_facts
from benchmark.report.tables import Column
from benchmark.runs.records import Record

FRONT_PICTURES = 600_000  # bytes of data URIs: the front page stays below 1.5 MB
PAGE_PICTURES = 3_000_000
OUTCOMES = ("supported", "reversed", "equal", "inconclusive", "not tested", "not comparable", "not run")


# ---- front page ------------------------------------------------------------------------------------------------------


def front_page(site: Site) -> str:
    """The page that answers: which method is best, how certain, at what cost."""
    pictures = Pictures(site.results, FRONT_PICTURES)
    first = site.boards[0] if site.boards else None
    board = None if first is None or first.main_column is None else first
    main = leaderboard(board, main_column(board), pictures, site.below) if board else None
    counts: Counter[str] = Counter(one.outcome for one in all_claims(site))
    return page(
        "front.html",
        title="gantlet results",
        site=site,
        home=site.front,
        below=site.below,
        facts=run_facts(site.records),
        boards=site.boards,
        board=board,
        main=main,
        real=pictures.real(board) if board else None,
        conditionings=_values(board, "conditioning"),
        supervisions=_values(board, "supervision"),
        claims=[(outcome, counts[outcome]) for outcome in OUTCOMES if counts[outcome]],
        n_claims=sum(counts.values()),
        datasets=[
            (name, site.below + dataset_file(name), sum(b.dataset == name for b in site.boards))
            for name in site.datasets
        ],
        methods=[(site.titles[name], site.below + method_file(name)) for name in site.methods],
        tables=site.below + TABLES,
        board_page=site.below + dataset_file(board.dataset) if board else "",
        data=page_data([board_data(one, pictures, site.titles, site.below) for one in site.boards], pictures),
    )


def _values(board: Board | None, name: str) -> list[str]:
    return sorted({getattr(entry, name) for entry in board.entries}) if board else []


# ---- a dataset -------------------------------------------------------------------------------------------------------


def dataset_page(site: Site, dataset: str) -> str:
    """Leaderboards of a dataset, real images and control rows, quality against cost, recall against distance."""
    pictures = Pictures(site.results, PAGE_PICTURES)
    boards = [board for board in site.boards if board.dataset == dataset]
    shown = [
        (
            leaderboard(board, main_column(board), pictures, ""),
            *plots_of(board),
            controls_of(board),
            pictures.real(board),
        )
        for board in boards
    ]
    return page(
        "dataset.html",
        title=f"{dataset}: gantlet results",
        site=site,
        home=site.front,
        below="",
        dataset=dataset,
        dataset_title=boards[0].dataset_title,
        facts=run_facts([record for record in site.records if record.scored_on == dataset]),
        shown=shown,
        compare=compare_file(dataset),
        tables=TABLES,
        claims=[
            claim_view(one, board) for board in site.every_board if board.dataset == dataset for one in board.claims
        ],
        data=None,
    )


def controls_of(board: Board) -> tuple[list[str], list[tuple[str, list[str]]]] | None:
    """Rows of real images: the metrics' names, and what they say of each row; None without such rows."""
    columns = headline(board)
    rows = [
        (control.labels[0], [control.text(column) or EMPTY for column in columns]) for control in board.table.controls
    ]
    return ([column.name for column in columns], rows) if columns else None


def headline(board: Board) -> list[Column]:
    """The columns of a board that control rows are shown for."""
    return [c for c in board.columns if any(control.value(c) is not None for control in board.table.controls)]


def claim_view(one: CheckedClaim, board: Board) -> dict[str, Any]:
    """A claim for readers."""
    return {
        "text": one.claim.claim,
        "outcome": one.outcome,
        "effect": effect(one.test) if one.test else EMPTY,
        "p": p_text(one.test.p) if one.test else EMPTY,
        "by": "the paper" if one.claim.by == "paper" else "this project",
        "metric": one.column.name if one.column else one.claim.metric,
        "dataset": board.dataset,
    }


# ---- a method --------------------------------------------------------------------------------------------------------


@dataclass
class MethodBoards:
    """Where a method ranks, and what its own settings change."""

    ranks: list[tuple[Board, Place, int, Column]] = field(default_factory=list)
    ablations: list[Leaderboard] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)


def method_page(site: Site, method: str) -> str:
    """A method's rank on each dataset, samples of each seed, ablations, claims, published values, settings, cost."""
    pictures = Pictures(site.results, PAGE_PICTURES)
    found, samples = MethodBoards(), []
    for board in site.boards:
        mine = [entry for entry in board.entries if entry.method == method]
        if not mine:
            continue
        if board.is_ablation:
            found.ablations.append(leaderboard(board, main_column(board), pictures, ""))
        else:
            ranking = board.ranking(main_column(board))
            n = sum(place.rank is not None for place in ranking.places)
            found.ranks += [
                (board, place, n, ranking.column) for place in ranking.places if place.entry.method == method
            ]
            seeds = [(record.seed, picture) for entry in mine for record in entry.row.done
                     if (picture := pictures.of_record(record))]  # fmt: skip
            if seeds:
                samples.append((board, pictures.real(board), seeds))
    for board in site.every_board:
        rows = {id(entry.row) for entry in board.entries if entry.method == method}
        found.claims += [claim_view(one, board) for one in board.claims if {id(one.better), id(one.than)} & rows]
    entry = next(entry for board in site.boards for entry in board.entries if entry.method == method)
    names = {_letters(method), _letters(site.titles[method])}
    return page(
        "method.html",
        title=f"{site.titles[method]}: gantlet results",
        site=site,
        home=site.front,
        below="",
        method=method,
        name=site.titles[method],
        entry=entry,
        facts=run_facts([record for record in site.records if record.method == method]),
        found=found,
        samples=samples,
        published=[value for value in site.published if _letters(value.method) in names],
        settings=config_view(entry.row.records[0]),
        costs=[(board, place.entry, [place.entry.cost(head) for head, _ in COSTS]) for board, place, *_ in found.ranks],
        cost_heads=[head for head, _ in COSTS],
        tables=TABLES,
        dataset_file=dataset_file,
        data=None,
    )


def _letters(text: str) -> str:
    """A name for comparing spellings: `IC-GAN` and `icgan` are one."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def config_view(record: Record) -> list[tuple[str, str, str]]:
    """The settings of a run's method: key, value, meaning. Settings of nested parts have none of their own."""
    docs = meanings(record.method)
    plain = {key.removeprefix("config."): value for key, value in settings(record).items() if key.startswith("config.")}
    return [(key, value, docs.get(key.partition(".")[0], "") if "." not in key else "") for key, value in plain.items()]


# ---- comparing two ---------------------------------------------------------------------------------------------------


def compare_page(site: Site, dataset: str) -> str:
    """Two rows of a board next to each other; the reader chooses which."""
    pictures = Pictures(site.results, PAGE_PICTURES)
    boards = [board for board in site.boards if board.dataset == dataset]
    return page(
        "compare.html",
        title=f"Compare on {dataset}: gantlet results",
        site=site,
        home=site.front,
        below="",
        dataset=dataset,
        dataset_page=dataset_file(dataset),
        tables=TABLES,
        data=page_data([compare_data(board, pictures, site.titles) for board in boards], pictures),
    )


def pages(site: Site) -> dict[str, str]:
    """All pages but the front page and the tables, by the names of their files."""
    found = {}
    for dataset in site.datasets:
        found[file_name("data", dataset)] = dataset_page(site, dataset)
        found[file_name("compare", dataset)] = compare_page(site, dataset)
    for method in site.methods:
        found[file_name("method", method)] = method_page(site, method)
    return found
