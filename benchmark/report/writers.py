"""The forms of a table: CSV in full precision, Markdown, LaTeX with booktabs, and one document of all.

A dataset has `<dataset>.{csv,tex,md}` (the CSV has every column, the others the headline), `<dataset>-all.md` (every
column), `<dataset>-runs.csv` (every run) and `<dataset>-cost.{csv,tex,md}`; a suite `<suite>-<size>.{csv,tex,md}` and
the same `-cost`; all tables share `comparisons.csv`, `supervision.{csv,tex,md}` and `claims.{csv,tex,md}`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmark.core.files import write_text
from benchmark.core.stats import format_cell, summary
from benchmark.report.claims import claims_listing
from benchmark.report.compare import comparisons
from benchmark.report.ledger import PlainCell as PlainCell
from benchmark.report.ledger import PlainTable, cost_listing, ledger
from benchmark.report.tables import EMPTY, Column, RealDataRow, Row, Table, changes_text, dataset_table
from benchmark.runs.records import Record, read_records


def write_tables(results: Path, suites: Sequence[str] | None = None) -> list[Path]:
    """Write the tables of every dataset that has records, the suites' tables, the comparisons and the supervision of
    them all, and `tables.tex`, which shows every table. Returns the files; none where there are no records.

    suites: names of the suites whose tables are written; None: all of which any cell has a record.
    Raises UserError for a record that cannot be read; ConfigError for a suite that cannot.
    """
    from benchmark.report.suite_tables import suite_claims, suite_tables

    records = read_records(results)
    if not records:
        return []
    folder = results / "tables"
    full, shown, listings, written = [], [], [], []
    for dataset in sorted({record.scored_on for record in records}):
        mine = [record for record in records if record.scored_on == dataset]
        full.append(dataset_table(dataset, mine))
        shown.append(dataset_table(dataset, mine, headline=True))
        listings.append(cost_of(full[-1]))
        written.append(_write(folder / f"{dataset}-runs.csv", runs_csv(mine)))
        written.append(_write(folder / f"{dataset}-all.md", to_markdown(full[-1])))
        written.append(_write(folder / f"{dataset}.csv", to_csv(full[-1])))
        written += [_write(folder / f"{dataset}.{form}", text) for form, text in pages(shown[-1]).items()]
    of_suites = suite_tables(records, suites)
    listings += [cost_of(table) for table in of_suites]
    for table in of_suites:
        written += write_table(results, table)
    listings.append(ledger(records))
    if (claims := claims_listing(suite_claims(records, suites))) is not None:
        listings.append(claims)
    for listing in listings:
        written += write_listing(results, listing)
    written.append(_write(folder / "comparisons.csv", comparisons_csv([*full, *of_suites])))
    return [*written, _write(folder / "tables.tex", document([*shown, *of_suites, *listings]))]


def write_table(results: Path, table: Table) -> list[Path]:
    """Write one table in its three forms. Returns the files."""
    folder = results / "tables"
    forms = {"csv": to_csv(table), **pages(table)}
    return [_write(folder / f"{table.name}.{form}", text) for form, text in forms.items()]


def write_listing(results: Path, listing: PlainTable) -> list[Path]:
    """Write a listing in its three forms. Returns the files."""
    folder = results / "tables"
    forms = {"csv": listing_csv(listing), "tex": listing_latex(listing), "md": listing_markdown(listing)}
    return [_write(folder / f"{listing.name}.{form}", text) for form, text in forms.items()]


def pages(table: Table) -> dict[str, str]:
    """The forms that people read, by the file's ending."""
    return {"tex": to_latex(table), "md": to_markdown(table)}


def cost_of(table: Table) -> PlainTable:
    """What the rows of a table cost."""
    return cost_listing(table.name, table.title, table.label_names, [(row.labels, row.records) for row in table.rows])


def _write(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


# ---- CSV ------------------------------------------------------------------------------------------------------------

_STATISTICS = ("mean", "sd", "n", "low", "high")


def to_csv(table: Table) -> str:
    """One line a row; for each metric mean, sd, n, low and high, in full precision. Empty: not there."""
    heads = [f"{column.name} {statistic}" for column in table.columns for statistic in _STATISTICS]
    names = [
        *table.label_names,
        "config_hash",
        "runs_done",
        "runs_failed",
        "runs_collapsed",
        "reasons",
        *heads,
        *table.extra_names,
    ]
    rows = [
        *(_csv_row(row, table.columns) for row in table.rows),
        *(_csv_control(row, table) for row in table.controls),
    ]
    return _csv([names, *rows])


def _csv_row(row: Row, columns: Sequence[Column]) -> list[Any]:
    cells: list[Any] = [*row.labels, row.config_hash, len(row.done), len(row.failed), len(row.collapsed)]
    cells.append(row.reasons)
    for column in columns:
        cell = row.summary(column)
        cells += ["" if cell is None else _full(getattr(cell, name)) for name in _STATISTICS]
    return [*cells, *row.extras]


def _csv_control(row: RealDataRow, table: Table) -> list[Any]:
    """A control row: one value a metric, without statistics."""
    cells: list[Any] = [*row.labels, "", "", "", "", ""]
    for column in table.columns:
        value = row.value(column)
        cells += ["" if value is None else _full(value), "", "", "", ""]
    return [*cells, *([""] * len(table.extra_names))]


_COMPARISON = ("table", "metric", "a", "b", "scale", "difference", "low", "high", "p", "p_holm", "n_seeds", "verdict")


def comparisons_csv(tables: Sequence[Table]) -> str:
    """Every row (a) against the best one (b) of each column: see `benchmark.report.compare`.

    Difference and 95 % interval are of a - b on the scale named: on `log` its exponential is the ratio of a to b, on
    `logit` that of their odds. The verdict is of a.
    """
    lines: list[list[Any]] = [list(_COMPARISON)]
    for table in tables:
        for column in table.columns:
            for one in comparisons([row.by_seed(column) for row in table.rows], column):
                a, b = (_row_name(table, i) for i in (one.a, one.b))
                numbers = (one.test.difference, one.test.low, one.test.high, one.test.p, one.p_holm)
                lines.append([table.name, column.name, a, b, one.scale, *map(_full, numbers), one.test.n, one.verdict])
    return _csv(lines)


def _row_name(table: Table, i: int) -> str:
    """A row's labels in one text, without what they have in common with the ledger."""
    labels = zip(table.label_names, table.rows[i].labels)
    return ", ".join(label for name, label in labels if label and name != "Supervision")


def listing_csv(listing: PlainTable) -> str:
    """A listing in full precision; empty: not there."""
    return _csv([listing.heads, *(map(_full, line) for line in listing.lines)])


_RUN_FIELDS = ("run", "method", "dataset", "recipe", "seed")
_VALUE_FIELDS = ("id", "name", "value", "low", "high", "status", "reason", "protocol_key")


def runs_csv(records: Sequence[Record]) -> str:
    """One line for each run and value, in full precision; a failed run has one line, without a value."""
    names = [
        *_RUN_FIELDS,
        "changes",
        "config_hash",
        "run_status",
        "run_reason",
        *(f"value_{name}" for name in _VALUE_FIELDS),
    ]
    lines: list[list[Any]] = [[name.removeprefix("value_") if name == "value_value" else name for name in names]]
    for record in sorted(records, key=lambda record: record.run):
        run = [
            *(getattr(record, name) for name in _RUN_FIELDS),
            changes_text(record),
            record.config_hash,
            record.status,
            record.reason,
        ]
        for value in record.values.values() or [None]:
            lines.append([*run, *(_full(getattr(value, name, None)) for name in _VALUE_FIELDS)])
    return _csv(lines)


def _full(value: Any) -> Any:
    """A number with every digit that matters; an empty field for None."""
    return "" if value is None else repr(value) if isinstance(value, float) else value


def _csv(lines: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


# ---- Markdown -------------------------------------------------------------------------------------------------------

_ARROWS = {"lower": "↓", "higher": "↑"}


def to_markdown(table: Table) -> str:
    """A pipe table with its notes below."""
    heads = [f"{column.name} {_ARROWS.get(column.better or '', '')}".strip() for column in table.columns]
    names = [*table.label_names, *heads, "Runs", *table.extra_names]
    rows = []
    for row in table.rows:
        cells = [f"**{row.text(c)}**" if table.bold(row, c) else row.text(c) for c in table.columns]
        rows.append([*map(_markdown, row.labels), *cells, row.runs, *map(_markdown, row.extras)])
    for control in table.controls:
        cells = [control.text(column) for column in table.columns]
        rows.append([*map(_markdown, control.labels), *cells, "", *([""] * len(table.extra_names))])
    return _markdown_page(table.title, names, len(table.label_names), rows, table.notes)


def listing_markdown(listing: PlainTable) -> str:
    """A pipe table of a listing with its notes below."""
    rows = [[_markdown(_plain(cell)) for cell in line] for line in listing.lines]
    return _markdown_page(listing.title, listing.heads, listing.n_labels, rows, listing.notes)


def _markdown_page(
    title: str, heads: Sequence[str], n_left: int, rows: Sequence[Sequence[str]], notes: Sequence[str]
) -> str:
    """A page of one table. rows: cells that are Markdown already."""
    rule = [":--"] * n_left + ["--:"] * (len(heads) - n_left)
    body = "\n".join(f"| {' | '.join(line)} |" for line in [[*map(_markdown, heads)], rule, *rows])
    below = "\n".join(f"- {_markdown(note)}" for note in notes)
    return f"# {_markdown(title)}\n\n{body}\n\n{below}\n"


def _plain(cell: PlainCell) -> str:
    """A listing's cell for readers: whole numbers in full, others to four digits."""
    if cell is None:
        return EMPTY
    return f"{cell:,}" if isinstance(cell, int) else format_cell(summary([cell])) if isinstance(cell, float) else cell


def _markdown(text: str) -> str:
    """Text with the characters escaped that would break a table or start emphasis."""
    for character in "\\|*_<":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


# ---- LaTeX ----------------------------------------------------------------------------------------------------------

_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after `\\` a bracket would be read as its option
    "]": "{]}",
    "*": "{*}",  # and a star as its star form
    "\n": " ",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
}


def tex(text: str) -> str:
    """Text with every character escaped that LaTeX reads as a command; letters that its fonts lack by their number."""
    return "".join(_TEX.get(character) or _tex_letter(character) for character in text)


def _tex_letter(character: str) -> str:
    known = character.isprintable() and ord(character) < 0x180  # Latin letters, which the T1 encoding has
    return character if known else f"{{[}}U+{ord(character):04X}{{]}}"


LONG_CELL = 60  # characters, beyond which a list of changes is broken into lines


def to_latex(table: Table) -> str:
    """A `tabular` to be input into a document that loads `booktabs`; notes as comments."""
    heads = [f"{column.name} {_ARROWS.get(column.better or '', '')}".strip() for column in table.columns]
    names = (*table.label_names, *heads, "Runs", *table.extra_names)
    lines = []
    for row in table.rows:
        cells = [rf"\textbf{{{tex(row.text(c))}}}" if table.bold(row, c) else tex(row.text(c)) for c in table.columns]
        lines.append(_tex_line([*map(tex, row.labels), *cells, tex(row.runs), *map(tex, row.extras)]))
    if table.controls:
        lines.append(r"\midrule")
    for control in table.controls:
        cells = [tex(control.text(column)) for column in table.columns]
        lines.append(_tex_line([*map(tex, control.labels), *cells, "", *([""] * len(table.extra_names))]))
    return _tabular(table.title, names, len(table.label_names), lines, table.notes)


def listing_latex(listing: PlainTable) -> str:
    """A `tabular` of a listing."""
    lines = [_tex_line([tex(_plain(cell)) for cell in line]) for line in listing.lines]
    return _tabular(listing.title, listing.heads, listing.n_labels, lines, listing.notes)


def _tabular(title: str, heads: Sequence[str], n_left: int, lines: Sequence[str], notes: Sequence[str]) -> str:
    """A `tabular` between comments and rules. lines: LaTeX already. Lists of changes are broken into lines."""
    left = "".join(
        "p{110mm}" if head == "Changes" and _longest(lines, k) > LONG_CELL else "l"
        for k, head in enumerate(heads[:n_left])
    )
    top = [
        f"% {_comment(title)}",
        r"% Needs \usepackage{booktabs}.",
        *(f"% {_comment(note)}" for note in notes),
        rf"\begin{{tabular}}{{{left}{'r' * (len(heads) - n_left)}}}",
        r"\toprule",
        _tex_line([tex(head) for head in heads]),
        r"\midrule",
    ]
    return "\n".join([*top, *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _longest(lines: Sequence[str], k: int) -> int:
    """Characters of the longest k-th cell."""
    return max((len(cells[k]) for line in lines if len(cells := line.split(" & ")) > k), default=0)


def _tex_line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _comment(text: str) -> str:
    return " ".join(text.split())


def document(tables: Sequence[Table | PlainTable]) -> str:
    """A whole LaTeX document that shows every table with its notes: `pdflatex tables.tex` in the tables' folder."""
    parts = [_PREAMBLE]
    for table in tables:
        parts.append(rf"\section*{{{tex(table.title)}}}")
        parts.append(
            rf"\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{\input{{{table.name}.tex}}}}"
        )
        parts.append(r"\begin{itemize}\footnotesize")
        parts += [rf"\item {tex(note)}" for note in table.notes]
        parts.append(r"\end{itemize}")
    return "\n".join([*parts, r"\end{document}"]) + "\n"


_PREAMBLE = r"""% All tables in one document: pdflatex tables.tex
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\setlength{\parindent}{0pt}
\begin{document}"""
