"""The pages of `docs/results`, made from records alone: `python -m benchmark.report.results_pages`, or `make results`.

A page belongs to a dataset, or to several that are named together. Its first screen says which method is best, how
certain that is, and at what cost; then come the leaderboard, figures, and the other suites with their claims.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.core.errors import ConfigError
from benchmark.core.files import atomic, require_writable
from benchmark.core.names import path_component
from benchmark.metrics.catalogue import row_of
from benchmark.report.agreement import agreement_listing
from benchmark.report.claims import EFFECT
from benchmark.report.plain_table import cell_text
from benchmark.report.results_pages.head import cost_text, left_text, names, other_leaders, row_name, verdict
from benchmark.report.results_pages.index import index_page
from benchmark.report.results_pages.layout import Layout, PageOf, page_plan
from benchmark.report.results_pages.leaderboard import control_columns, leaderboard, not_ranked, side_columns
from benchmark.report.results_pages.markdown import bullets, page, paragraph, table
from benchmark.report.results_pages.pictures import REAL, cost_svg, curves_svg, sheet_files, sheet_webp
from benchmark.report.results_pages.sections import (
    FORMS,
    TABLES,
    claims_table,
    command_of,
    deciding,
    table_link,
    title_of,
)
from benchmark.report.site.boards import MAIN_SUITE, Board, all_boards
from benchmark.report.site.numbers import seeds_text
from benchmark.report.site.plots import quality_column_of_curves
from benchmark.report.site.site import run_facts
from benchmark.report.tables import Column
from benchmark.report.writers import markdown_text
from benchmark.runs.records import Record

MOST_LINES = 150  # of a page
MADE = "<!-- Written by `make results` from the records; change docs/results/remarks.yaml, or the code. -->"
CLAIMS = (
    f"Effect: {EFFECT} The claims are tested as one family, which is smaller than that of all pairs. A claim can "
    "therefore be supported for two rows that share a letter above."
)
SEARCH = f"{MAIN_SUITE}-search"  # the suite that tries settings for the comparison of all methods
FIGURES = ("-samples.webp", "-curves.svg", "-cost.svg")  # how the names of figures end
_CONTROL_OF = {
    "control_accuracy_judge": "for classes, the share of samples with the requested class",
    "label_agreement_judge": "for images, that with the class of the image",
    "cluster_agreement_judge": "for clusters, that with the class of an image of the cluster",
}
_A_LINE = {  # of a sheet, by conditioning
    ("class",): "one class",
    ("attributes",): "one attribute, with the others off",
    ("instance", "latent"): "one conditioning image",
    ("cluster",): "one cluster",
}
Files = dict[str, bytes]  # by their paths below the folder of the pages


@dataclass(frozen=True)
class PageBoards:
    """What one page shows: leaderboards of all methods, and the other suites."""

    plan: PageOf
    main: list[Board]
    shown: list[Board]  # other suites with a section of their own, samples and curves
    others: list[Board]
    searches: list[Board]  # of settings for the leaderboards

    @property
    def heads(self) -> list[Board]:
        """The boards that the first screen is about."""
        first = [board for board in self.others if board.id == self.plan.first]
        return self.main or first or self.others


def build(results: Path, records: Sequence[Record], layout: Layout, only: str | None = None) -> Files:
    """All files of the pages. only: the name of a page, whose files alone are made.

    Raises ConfigError for a page that would be too long in its shortest form, or that does not exist.
    """
    plan = page_plan(layout, sorted({record.scored_on for record in records}))
    if only is not None:
        plan = [one for one in plan if one.name == only]
        if not plan:
            raise ConfigError(f"page {only!r}", "no record belongs to it", "name a page that there is")
        records = [record for record in records if record.scored_on in plan[0].datasets]
    boards = [board for board in all_boards(records) if board.suite and board.suite != "smoke"]
    pages = [_boards_of(one, boards) for one in plan]
    files: Files = {}
    for one in pages:
        files |= dataset_page(one, results, layout, [r for r in records if r.scored_on in one.plan.datasets])
    if only is None:
        shown = [(one.plan, one.heads) for one in pages]
        files |= _front(boards, results, layout)
        files["index.md"] = _text([MADE, "", *index_page(shown, boards, records, layout)], "index.md")
    return files


def _front(boards: Sequence[Board], results: Path, layout: Layout) -> Files:
    """The README's picture: real images and samples of some rows, where they are kept."""
    asked = layout.front
    board = next((board for board in boards if asked and board.id == asked.board), None)
    if asked is None or board is None or board.main_column is None:
        return {}
    places = {place.entry.name: place for place in board.ranking(board.main_column).places}
    sheet = sheet_files(results, [places[name] for name in asked.rows if name in places])
    return {"images/front-samples.webp": sheet_webp(sheet[1])} if sheet else {}


def write(folder: Path, files: Files) -> list[Path]:
    """Write the files, and remove pages and figures of earlier calls that are no longer made. Returns those written.

    What this did not make stays: a page has `MADE` in its first line, a figure the name of one.
    """
    require_writable(folder / "images")
    pages = [path for path in folder.glob("*.md") if path.read_text(encoding="utf-8").startswith(MADE)]
    for path in [*pages, *(path for end in FIGURES for path in (folder / "images").glob(f"*{end}"))]:
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        with atomic(folder / name) as file:
            file.write(content)
    return [folder / name for name in files]


def _boards_of(plan: PageOf, boards: Sequence[Board]) -> PageBoards:
    mine = [board for name in plan.datasets for board in boards if board.dataset == name]
    main = [board for board in mine if board.suite == MAIN_SUITE and board.main_column is not None]
    searches = [board for board in mine if main and board.suite == SEARCH]
    shown = [board for name in plan.shown for board in mine if main and board.id == name]
    used = {board.id for board in (*main, *searches, *shown)}
    others = [board for board in mine if board.id not in used]
    return PageBoards(plan, main, shown, sorted(others, key=lambda board: board.id != plan.first), searches)


def _text(lines: Sequence[str], name: str) -> bytes:
    text = page(lines)
    if (n := len(text.splitlines())) > MOST_LINES:
        raise ConfigError(f"docs/results/{name}: {n} lines", f"a page has at most {MOST_LINES}", "shorten its remarks")
    return text.encode()


# ---- a page ---------------------------------------------------------------------------------------------------------


def dataset_page(one: PageBoards, results: Path, layout: Layout, records: Sequence[Record]) -> Files:
    """The page's text and its figures."""
    files: Files = {}
    top = [MADE, "", f"# {markdown_text(one.plan.title)}", "", *_facts(one, records)]
    several = len(one.heads) > 1
    if one.main:
        for board in one.main:
            top += main_section(board, results, layout, several, files)
        top += bullets(map(search_text, one.searches))
        for board in one.shown:
            figures = _figures(board, board.main_column, results, layout, files) if board.main_column else []
            top += [*FORMS[0]([board], layout, False), *figures]
    else:
        top += ["## Which is best?", ""]
        top += bullets(f"{markdown_text(title_of(board, True))}. {_certain(board)}" for board in one.heads)
        for board in one.others:
            if board.main_column is not None:
                top += _figures(board, board.main_column, results, layout, files)
    end = _files_section(one)
    texts = [[*top, *form(one.others, layout, not one.main), *end] for form in FORMS] if one.others else [[*top, *end]]
    name = f"{path_component(one.plan.name)}.md"
    fitting = [lines for lines in texts if len(page(lines).splitlines()) <= MOST_LINES]
    files[name] = _text(fitting[0] if fitting else texts[-1], name)
    return files


def _certain(board: Board) -> str:
    """The verdict of a suite, and the best rows by the further metrics that decide its claims."""
    further = [column for column in deciding(board) if column is not board.main_column]
    return f"{verdict(board)} {other_leaders(board, further)}".strip()


def _facts(one: PageBoards, records: Sequence[Record]) -> list[str]:
    """What the dataset is, how many runs there are, until when."""
    titles = dict.fromkeys(board.dataset_title for board in one.heads if board.dataset_title)
    facts = run_facts(records)
    failed = f", {facts['failed']} of them failed" if facts["failed"] else ""
    return paragraph(
        f"{'. '.join(map(markdown_text, titles))}. {facts['n']:,} runs{failed}, the last of {facts['date']}. "
        "[All datasets](index.md)."
    )


def main_section(board: Board, results: Path, layout: Layout, several: bool, files: Files) -> list[str]:
    """Verdict, leaderboard, figures, agreement of extractors and claims of the comparison of all methods."""
    column = board.main_column
    assert column is not None  # asked by the caller
    lines = ["## Which method is best?" + (f" {board.budget}" if several else ""), ""]
    lines += paragraph(" ".join(filter(None, [verdict(board), left_text(board)])))
    lines += paragraph(" ".join(filter(None, [cost_text(board, column), other_leaders(board, _varied(board, column))])))
    lines += leaderboard(board, column)
    lines += paragraph(
        f"{command_of(board)}: {board.budget}, recipe {board.recipe}. "
        "Mean ± half the 95 % t interval over seeds. Bold: best, or equal to it within the metric's margin; ~: not "
        "significantly worse than the best (moderated t test over seeds, adjusted for all comparisons of a column, "
        "[statistics](../statistics.md)); no mark in a column without significant differences. "
        f"{control_text(control_columns(board, board.ranking(column)))}Training and FLOPs (T: 10^12) are of one run "
        "without shared stages; times depend on what else the machine did. Group: rows that share a letter are not "
        f"significantly different when all pairs are tested together.{_unranked(board, column)}"
    )
    lines += _figures(board, column, results, layout, files)
    lines += agreement(board)
    if board.claims:
        lines += ["### Claims about two of these methods", "", *paragraph(CLAIMS), *claims_table(board)]
    return lines + (paragraph(layout.remarks[board.id]) if board.id in layout.remarks else [])


def _varied(board: Board, column: Column) -> list[Column]:
    """The side columns in which a high value alone is good: bad images copy nothing, and so are authentic."""
    return [one for one in side_columns(board, column) if row_of(one.id).id != "authenticity_X"]


def control_text(columns: Sequence[Column]) -> str:
    """What the column of control is, for the conditions that a board's methods have; nothing where there is none."""
    kinds = [_CONTROL_OF[column.id] for column in columns]
    marked = ", marked separately for each kind of condition" if len(kinds) > 1 else ""
    return f"Control{marked}: {'; '.join(kinds)}. " if kinds else ""


def search_text(board: Board) -> str:
    """How many settings were tried for each method, on which seeds."""
    tried = Counter(entry.method for entry in board.entries).values()
    n = str(max(tried)) if len(set(tried)) == 1 else f"{min(tried)} to {max(tried)}"
    seeds = seeds_text(sorted({seed for entry in board.entries for seed in entry.seeds}))
    link = table_link(board, board.id)
    return f"Search of settings, {board.budget}: {n} trials for each method, seed {seeds} ({link})."


def _unranked(board: Board, column: Column) -> str:
    missing = not_ranked(board, board.ranking(column))
    return (
        f" Not ranked, for lack of {markdown_text(column.name)} by this protocol: {names(missing)}." if missing else ""
    )


def _figures(board: Board, column: Column, results: Path, layout: Layout, files: Files) -> list[str]:
    """The figures of a board that its records allow; their files are added."""
    ranking, stem = board.ranking(column), f"images/{path_component(board.id)}"
    lines = []
    if (sheet := sheet_files(results, ranking.places)) is not None:
        seed, grids = sheet
        n, of = sum(name != REAL for name, _ in grids), len(board.entries)
        whose = "every row" if n == of else f"{n} of {of} rows"
        lines += _image(files, f"{stem}-samples.webp", sheet_webp(grids), f"Samples of {whose}")
        lines += paragraph(f"Uncurated samples of {whose}, seed {seed}. {lines_text(board)}")
        lines += looks(board.id, {place.entry.name: row_name(board, place.entry) for place in ranking.places}, layout)
    if curves := curves_svg(board, ranking):
        lines += _image(files, f"{stem}-curves.svg", curves.encode(), f"{column.name} during training")
        lines += paragraph(curves_text(board, column))
    if board.suite == MAIN_SUITE and (cost := cost_svg(board, column)):
        lines += _image(files, f"{stem}-cost.svg", cost.encode(), f"{column.name} against operations of training")
        lines += paragraph(
            f"{markdown_text(column.name)} against the operations of a training run. Squares: conditioned on classes; "
            "diamonds: on images (IC-GAN); triangles that point down: on images (latent-conditioned); triangles that "
            "point up: on clusters; circles: on nothing. Full colour: on the Pareto front."
        )
    return lines


def lines_text(board: Board) -> str:
    """What a line of four samples is, by what the rows are conditioned on."""
    kinds = {entry.conditioning for entry in board.entries}
    each = [text for kind, text in _A_LINE.items() if kinds & set(kind)]
    alone = "; of unconditional methods any four" if "none" in kinds else ""
    given = " or ".join(filter(None, [", ".join(each[:-1]), *each[-1:]]))
    return f"A line is four samples of {given}{alone}; at most eight lines are shown." if each else ""


def curves_text(board: Board, column: Column) -> str:
    """What the curves are, and why they do not end at the table's values."""
    late = quality_column_of_curves(board)
    few, many = (int(one.protocol.get("n_fake") or 0) if one else 0 for one in (late, column))
    other = f" A snapshot has {few:,} samples, the table {many:,}, so their values differ." if few != many else ""
    return (
        f"{markdown_text(column.name)} during training: the mean over seeds, with a band from the lowest to the "
        f"highest. The best rows are coloured.{other}"
    )


def looks(board: str, rows: Mapping[str, str], layout: Layout) -> list[str]:
    """What the samples look like, a line a row in the order of the ranking; one line of the file, as it may be long.

    rows: their names in a sentence, by their names in the layout.
    """
    said = layout.looks.get(board, {})
    found = [f"{markdown_text(shown)}: {said[name]}" for name, shown in rows.items() if name in said]
    return paragraph("<br>".join(found)) if found else []


def _image(files: Files, name: str, content: bytes, text: str) -> list[str]:
    files[name] = content
    return [f"![{markdown_text(text)}]({name})", ""]


def agreement(board: Board) -> list[str]:
    """How far the extractors' rankings agree; nothing where one extractor ranked the rows."""
    found = agreement_listing(board.table)
    if found is None:
        return []
    rows = [[markdown_text(cell_text(cell)) for cell in line] for line in found.lines]
    heads = [head if head.startswith("Kendall") else head.lower() for head in found.heads]
    return ["### Do the extractors agree?", "", *paragraph(" ".join(found.notes)), *table(heads, rows, 2)]


def _files_section(one: PageBoards) -> list[str]:
    boards = [*one.main, *one.shown, *(one.others if not one.main else [])]
    full = [
        f"{table_link(board, f'all columns of {board.id}')}, {table_link(board, 'their cost', '-cost.md')}"
        for board in boards
    ]
    more = f"[what each method was given]({TABLES}/supervision.md), [all claims]({TABLES}/claims.md)"
    return ["## Full tables", "", *bullets([*full, more])]
