"""The first page of the results: the best method of each dataset, what was run, what the papers claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from benchmark.core.names import path_component
from benchmark.core.stats import format_cell, summary
from benchmark.report.claims import CheckedClaim
from benchmark.report.ledger import run_seconds
from benchmark.report.plain_table import EMPTY
from benchmark.report.results_pages.across import across_section
from benchmark.report.results_pages.head import left_text, row_name
from benchmark.report.results_pages.layout import Layout, PageOf, Paper
from benchmark.report.results_pages.markdown import bullets, counted, paragraph, table
from benchmark.report.results_pages.sections import TABLES, counts_text, title_of
from benchmark.report.site.boards import MAIN_SUITE, Board, method_titles
from benchmark.report.site.site import run_facts
from benchmark.report.site.views import OUTCOMES
from benchmark.report.writers import markdown_text
from benchmark.runs.records import Record
from benchmark.runs.suites.suite import find_suite


def index_page(
    pages: Sequence[tuple[PageOf, Sequence[Board]]], boards: Sequence[Board], records: Sequence[Record], layout: Layout
) -> list[str]:
    """Lines of the page. pages: each with the boards that its first screen is about."""
    return [
        "# Results",
        "",
        *paragraph(layout.about),
        *best_of_each(pages),
        *across_section([(plan.title, board) for plan, boards in pages for board in boards]),
        *what_was_run(pages, records),
        *papers_section(boards, layout),
        "## Files",
        "",
        *bullets(
            [
                f"Records and tables are in `results/reference/`: [claims.md]({TABLES}/claims.md) has every claim with "
                f"its test, [supervision.md]({TABLES}/supervision.md) what each method was given, `comparisons.csv` "
                "every comparison with the best row of a column.",
                "[How differences are tested](../statistics.md), [what the metrics see](../metrics.md), [which table "
                "of a paper each suite is for](../coverage.md).",
                "`make results` writes these pages and the tables again from the records; `make suite SUITE=name` runs "
                "a suite.",
            ]
        ),
    ]


def best_of_each(pages: Sequence[tuple[PageOf, Sequence[Board]]]) -> list[str]:
    """A line for each leaderboard."""
    rows = []
    for plan, boards in pages:
        link = f"[{markdown_text(plan.title)}]({path_component(plan.name)}.md)"
        for board in boards:
            rows.append((link, *_best_cells(board, len(plan.datasets) > 1 and len(boards) > 1)))
            link = ""
    heads = ("page", "compared", "best", "value", "significantly better than", "real against real")
    return [
        "## Which method is best?",
        "",
        *paragraph(
            "By the first metric of each comparison, mean ± half the 95 % interval over seeds. FD-judge is the Frechet "
            "distance in the features of a classifier that no method saw; values of two datasets are not comparable."
        ),
        *table(heads, rows, 3),
    ]


def _best_cells(board: Board, several: bool) -> tuple[str, ...]:
    what = f"{title_of(board, several)}, {board.budget}"
    column = board.main_column
    if column is None:
        return (markdown_text(what), EMPTY, EMPTY, "no common protocol", EMPTY)
    ranking = board.ranking(column)
    leader = ranking.leader or ranking.places[0]
    certain = f"{ranking.n_better} of {counted(ranking.n_tested, 'other')}" if ranking.n_tested else "not tested"
    real = EMPTY if ranking.real is None else format_cell(summary([ranking.real[1]]))
    return (
        markdown_text(f"{what}. {left}" if (left := left_text(board)) else what),
        markdown_text(row_name(board, leader.entry)),
        f"{markdown_text(column.name)} {format_cell(leader.summary)}, {counted(leader.summary.n, 'seed')}",
        certain,
        real,
    )


# ---- what was run ---------------------------------------------------------------------------------------------------


def what_was_run(pages: Sequence[tuple[PageOf, Sequence[Board]]], records: Sequence[Record]) -> list[str]:
    """Runs, hours and machines, of all and by page."""
    facts, rows = run_facts(records), []
    for plan, _ in pages:
        mine = [record for record in records if record.scored_on in plan.datasets]
        methods, seeds = {record.method for record in mine}, Counter(record.config_hash for record in mine)
        most = max(seeds.values(), default=0)
        numbers = (f"{len(mine):,}", f"{hours(mine):.1f}", str(len(methods)), str(most))
        rows.append((markdown_text(plan.title), *numbers, _scored_by_published(mine)))
    failed = f" {facts['failed']} of them failed." if facts["failed"] else " None failed."
    return [
        "## What was run",
        "",
        *paragraph(
            f"{facts['n']:,} runs until {facts['date']}.{failed} They took {hours(records):.1f} hours of training and "
            "evaluation, added up over the runs; encoders and classifiers that runs share are not in it. Machines: "
            f"{markdown_text(machines(records))}."
        ),
        *table(("page", "runs", "hours", "methods", "most seeds of a row", "by published evaluators"), rows, 1),
        *paragraph(
            "The last column counts the runs that were scored by the [published evaluators](../evaluators.md). The "
            "others are older: their classifier was trained on the same machine. Values of two classifiers never share "
            "a column."
        ),
    ]


def _scored_by_published(records: Sequence[Record]) -> str:
    """The number of runs whose images a published classifier scored; nothing where no classifier scores."""
    judged = [record for record in records if any("judge" in id.split("_") for id in record.values)]
    return f"{sum(_published_judge(record) for record in judged):,}" if judged else EMPTY


def _published_judge(record: Record) -> bool:
    published = record.config.get("eval", {}).get("published")
    return bool(published and published.get("judge"))


def machines(records: Sequence[Record]) -> str:
    """The processors or GPUs of the finished runs, with the number of runs and of threads."""
    found: Counter[tuple[str, str]] = Counter()
    for record in records:
        if record.status == "done":
            here = record.environment
            device = here.get("cpu", "cpu") if here.get("device") == "cpu" else here.get("device", "not known")
            found[str(device), str(here.get("threads", "?"))] += 1
    return "; ".join(
        f"{device}, {threads} threads each ({n:,} runs)" for (device, threads), n in found.items()
    ).replace(" 1 threads", " one thread")


def hours(records: Iterable[Record]) -> float:
    """Training and evaluation of the finished runs, added up."""
    return sum(run_seconds([record]) or 0.0 for record in records) / 3600


# ---- papers ---------------------------------------------------------------------------------------------------------


UNDECIDED = ("inconclusive", "not tested", "not comparable", "not run")


def paper_of(board: Board, one: CheckedClaim) -> str:
    """The method whose paper a claim belongs to: the suite's, or in the comparison of all that of the better row."""
    if board.suite != MAIN_SUITE:
        return board.suite.partition("-")[0]
    return next(row.method for row in find_suite(MAIN_SUITE).rows if one.claim.better.items() <= row.labels.items())


def papers_section(boards: Sequence[Board], layout: Layout) -> list[str]:
    """What each paper claims and what the runs show, with counts."""
    found: dict[str, list[tuple[Board, CheckedClaim]]] = {name: [] for name in layout.papers}
    every = [one for board in boards for one in board.claims]
    for board in boards:
        for one in board.claims:
            if one.claim.by == "paper":
                found.setdefault(paper_of(board, one), []).append((board, one))
    papers = [one for mine in found.values() for _, one in mine]
    ours = [one for one in every if one.claim.by != "paper"]
    known, titles = {name: mine for name, mine in found.items() if mine}, method_titles(boards)
    named = {name: layout.papers.get(name) or Paper(name=titles.get(name, name), claims="–") for name in known}
    shown = [outcome for outcome in OUTCOMES if any(one.outcome == outcome for one in papers)]
    rows = [
        (markdown_text(named[name].name), *(_count(mine, outcome) for outcome in shown)) for name, mine in known.items()
    ]
    return [
        "## What the papers claim, and what these runs show",
        "",
        *paragraph(
            f"The suites make {len(every)} tests. {len(papers)} are of {_distinct(papers)} claims of the papers, some "
            f"of them on several datasets or in several suites: {counts_text(papers)}. {len(ours)} are of "
            f"{_distinct(ours)} claims of our own: {counts_text(ours)}. These are small networks and short runs. "
            "Inconclusive does not mean refuted: three seeds decide large differences only."
        ),
        *table(("paper", *shown), rows, 1),
        *bullets(_shows(named[name], mine) for name, mine in known.items()),
    ]


def _distinct(claims: Sequence[CheckedClaim]) -> int:
    return len({one.claim.claim for one in claims})


def _count(mine: Sequence[tuple[Board, CheckedClaim]], outcome: str) -> str:
    n = sum(one.outcome == outcome for _, one in mine)
    return str(n) if n else EMPTY


def _shows(paper: Paper, mine: Sequence[tuple[Board, CheckedClaim]]) -> str:
    """What a paper claims, and which of its claims were decided here."""
    parts = []
    for outcome in ("supported", "reversed", "equal"):
        where: dict[str, list[str]] = {}
        for board, one in mine:
            if one.outcome == outcome:
                where.setdefault(one.claim.claim, []).append(board.dataset)
        texts = [f"{claim} ({', '.join(dict.fromkeys(datasets))})" for claim, datasets in where.items()]
        parts += [f"{sum(map(len, where.values()))} {outcome}: {'; '.join(texts)}"] if texts else []
    parts += [f"{n} {outcome}" for outcome in UNDECIDED if (n := sum(one.outcome == outcome for _, one in mine))]
    text = f"Of {counted(len(mine), 'test')}: {'. '.join(parts)}."
    said = f"**{markdown_text(paper.name)}** claims that {markdown_text(paper.claims)} {markdown_text(text)}"
    return f"{said} {paper.caveat}" if paper.caveat else said
