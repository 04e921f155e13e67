"""The forms of a table as text: CSV in full precision, Markdown, LaTeX with booktabs, and one document of all.

CSV is pandas' own. Its Markdown and LaTeX are not used: they know no bold cells, no rule above the rows of real images
and no notes, and escape neither Markdown nor what LaTeX's fonts lack.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.names import path_component, printable
from benchmark.report.plain_table import PlainTable, cell_text
from benchmark.report.tables import Table, changes_text
from benchmark.runs.records import Record

if TYPE_CHECKING:
    import pandas as pd


# ---- CSV ------------------------------------------------------------------------------------------------------------


def to_csv(table: Table) -> str:
    """One line a row; for each metric mean, sd, n, low and high, in full precision. Empty: not there."""
    return _csv(table.to_frame(real_data=True))


def listing_csv(listing: PlainTable) -> str:
    """A listing in full precision; empty: not there."""
    return _csv(listing.cells())


def comparisons_csv(tables: Sequence[Table]) -> str:
    """`comparisons_frame` in full precision."""
    return _csv(comparisons_frame(tables))


def runs_csv(records: Sequence[Record]) -> str:
    """`runs_frame` in full precision; empty: not there."""
    return _csv(runs_frame(records))


def _csv(frame: pd.DataFrame) -> str:
    """The one place where CSV is written. Texts and heads that a spreadsheet would run get an apostrophe in front."""
    shown = frame.rename(columns=_harmless)
    for k, kind in enumerate(shown.dtypes):
        if str(kind) in ("object", "str", "string"):
            shown.isetitem(k, np.array([_harmless(cell) for cell in shown.iloc[:, k]], dtype=object))
    return shown.to_csv(index=False, lineterminator="\n")


def _harmless(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula and that moves no terminal's cursor; numbers as they are."""
    if not isinstance(cell, str):
        return cell
    starts = cell.lstrip(" ")[:1]
    formula = starts in ("=", "+", "-", "@", "\t", "\r", "\n") and starts and not _is_number(cell)
    return printable(f"'{cell}" if formula else cell)


def _is_number(text: str) -> bool:
    """Whether a text is a number, an interval or a sign alone: no letters that a formula would need."""
    try:
        float(text)
    except ValueError:
        return re.fullmatch(r"[-+0-9., \[\]]*", text) is not None
    return True


_COMPARISON = ("table", "metric", "a", "b", "scale", "difference", "low", "high", "p", "margin", "n_a", "n_b", "paired",
               "verdict", "seeds_to_decide")  # fmt: skip
_DIGITS = 6  # significant ones of a p and an interval: further ones depend on the processor's logarithms


def comparisons_frame(tables: Sequence[Table]) -> pd.DataFrame:
    """Every row (a) against the best one (b) of each column: see `benchmark.report.compare`.

    Rows whose method trained against the network behind a column are not compared in that column.

    Difference, 95 % interval and margin are of a - b on the scale named: on `log` the exponential is the ratio of a to
    b, on `logit` that of their odds. p and interval hold for all comparisons of the column together. The verdict is of
    a. seeds_to_decide: how many seeds of each row would probably decide an inconclusive comparison; empty: over 50.
    """
    import pandas as pd

    lines = []
    for table in tables:
        for column in table.columns:
            for one in table.comparisons(column):
                a, b = (_row_name(table, i) for i in (one.a, one.b))
                numbers = (float(f"{x:.{_DIGITS}g}") for x in (one.difference, one.low, one.high, one.p, one.margin))
                lines.append((table.name, column.name, a, b, one.scale, *numbers, *one.n, one.paired, one.verdict,
                              one.needed))  # fmt: skip
    return pd.DataFrame(lines, columns=list(_COMPARISON)).astype({"seeds_to_decide": "Int64"})


def _row_name(table: Table, i: int) -> str:
    """A row's labels in one text, without what they have in common with the ledger."""
    labels = zip(table.label_names, table.rows[i].labels)
    return ", ".join(label for name, label in labels if label and name != "Supervision")


_RUN_FIELDS = ("run", "method", "dataset", "recipe", "seed")
_VALUE_FIELDS = ("id", "name", "value", "low", "high", "status", "reason", "protocol_key")


def runs_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row for each run and value; a failed run has one row, without a value.

    The last column, `value_trained_against`, names the network behind a value that the run's method trained against; it
    is there where any record says what its method trained against.
    """
    import pandas as pd

    told = any(record.result_or_empty.trained_against is not None for record in records)

    names = [
        *_RUN_FIELDS,
        "changes",
        "config_hash",
        "run_status",
        "run_reason",
        *("value" if name == "value" else f"value_{name}" for name in _VALUE_FIELDS),
        *(["value_trained_against"] if told else []),
    ]
    lines = []
    for record in sorted(records, key=lambda record: record.run):
        run = [
            *(getattr(record, name) for name in _RUN_FIELDS),
            changes_text(record),
            record.config_hash,
            record.status,
            record.reason,
        ]
        for value in record.values.values() or [None]:
            network = [record.network_of(value) if value else ""] if told else []
            lines.append([*run, *(getattr(value, name, None) for name in _VALUE_FIELDS), *network])
    return pd.DataFrame(lines, columns=names)


# ---- what Markdown and LaTeX share ----------------------------------------------------------------------------------

ARROWS = {"lower": "↓", "higher": "↑"}


def _heads(table: Table) -> list[str]:
    """The heads of a table for readers: labels, metrics with their direction, the runs, what a source published."""
    metrics = [f"{column.name} {ARROWS.get(column.better or '', '')}".strip() for column in table.columns]
    return [*table.label_names, *metrics, "Runs", *table.extra_names]


# ---- Markdown -------------------------------------------------------------------------------------------------------


def to_markdown(table: Table) -> str:
    """A pipe table with its notes below."""
    names = _heads(table)
    rows = []
    for row in table.rows:
        cells = [f"**{row.text(c)}**" if table.bold(row, c) else table.text(row, c) for c in table.columns]
        rows.append([*map(markdown_text, row.labels), *cells, row.runs, *map(markdown_text, row.extras)])
    for control in table.controls:
        cells = [control.text(column) for column in table.columns]
        rows.append([*map(markdown_text, control.labels), *cells, "", *([""] * len(table.extra_names))])
    return _markdown_page(table.title, names, len(table.label_names), rows, table.notes)


def listing_markdown(listing: PlainTable) -> str:
    """A pipe table of a listing with its notes below."""
    rows = [[markdown_text(cell_text(cell)) for cell in line] for line in listing.lines]
    return _markdown_page(listing.title, listing.heads, listing.n_labels, rows, listing.notes)


def _markdown_page(
    title: str, heads: Sequence[str], n_left: int, rows: Sequence[Sequence[str]], notes: Sequence[str]
) -> str:
    """A page of one table. rows: cells that are Markdown already."""
    rule = [":--"] * n_left + ["--:"] * (len(heads) - n_left)
    body = "\n".join(f"| {' | '.join(line)} |" for line in [[*map(markdown_text, heads)], rule, *rows])
    below = "\n".join(f"- {markdown_text(note)}" for note in notes)
    return f"# {markdown_text(title)}\n\n{body}\n\n{below}\n"


def markdown_text(text: str) -> str:
    """Text on one line with the characters escaped that would break a table, or start emphasis, tags or links."""
    for character in "\\|*_<":
        text = text.replace(character, f"\\{character}")
    for line_break in ("\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"):
        text = text.replace(line_break, " ")
    return printable(text.replace("](", "]\\("))


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
    names = _heads(table)
    lines = []
    for row in table.rows:
        cells = [
            rf"\textbf{{{tex(row.text(c))}}}" if table.bold(row, c) else tex(table.text(row, c)) for c in table.columns
        ]
        lines.append(_tex_line([*map(tex, row.labels), *cells, tex(row.runs), *map(tex, row.extras)]))
    if table.controls:
        lines.append(r"\midrule")
    for control in table.controls:
        cells = [tex(control.text(column)) for column in table.columns]
        lines.append(_tex_line([*map(tex, control.labels), *cells, "", *([""] * len(table.extra_names))]))
    return _tabular(table.title, names, len(table.label_names), lines, table.notes)


def listing_latex(listing: PlainTable) -> str:
    """A `tabular` of a listing."""
    lines = [_tex_line([tex(cell_text(cell)) for cell in line]) for line in listing.lines]
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
    return printable(" ".join(text.split()))


def document(tables: Sequence[Table | PlainTable]) -> str:
    """A whole LaTeX document that shows every table with its notes: `pdflatex tables.tex` in the tables' folder."""
    parts = [_PREAMBLE]
    for table in tables:
        parts.append(rf"\section*{{{tex(table.title)}}}")
        parts.append(
            rf"\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{\input{{{path_component(table.name)}.tex}}}}"
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
