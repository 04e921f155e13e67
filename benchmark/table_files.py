"""The forms of a table: CSV in full precision, Markdown, LaTeX with booktabs, and one document of all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmark.files import write_text
from benchmark.records import Record, read_records
from benchmark.tables import Column, ControlRow, Row, Table, changes_text, dataset_table


def write_tables(results: Path, suites: Sequence[str] | None = None) -> list[Path]:
    """Write `tables/<dataset>.{csv,tex,md}` and `<dataset>-runs.csv` for every dataset that has records, the suites'
    tables, and `tables.tex`, which shows them all. Returns the files; none where there are no records.

    suites: names of the suites whose tables are written; None: all of which any cell has a record.
    Raises UserError for a record that cannot be read; ConfigError for a suite that cannot.
    """
    from benchmark.suite import suite_tables

    records = read_records(results)
    if not records:
        return []
    tables, written = [], []
    for dataset in sorted({record.plain["dataset"] for record in records}):
        mine = [record for record in records if record.plain["dataset"] == dataset]
        tables.append(dataset_table(dataset, mine))
        written.append(_write(results / "tables" / f"{dataset}-runs.csv", runs_csv(mine)))
    tables += suite_tables(records, suites)
    for table in tables:
        written += write_table(results, table)
    return [*written, _write(results / "tables" / "tables.tex", document(tables))]


def write_table(results: Path, table: Table) -> list[Path]:
    """Write one table in its three forms. Returns the files."""
    folder = results / "tables"
    forms = {"csv": to_csv(table), "tex": to_latex(table), "md": to_markdown(table)}
    return [_write(folder / f"{table.name}.{form}", text) for form, text in forms.items()]


def _write(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


# ---- CSV ------------------------------------------------------------------------------------------------------------

_STATISTICS = ("mean", "sd", "n", "low", "high")


def to_csv(table: Table) -> str:
    """One line a row; for each metric mean, sd, n, low and high, in full precision. Empty: not there."""
    heads = [f"{column.name} {statistic}" for column in table.columns for statistic in _STATISTICS]
    names = [*table.label_names, "config_hash", "runs_done", "runs_failed", "reasons", *heads, *table.extra_names]
    rows = [
        *(_csv_row(row, table.columns) for row in table.rows),
        *(_csv_control(row, table) for row in table.controls),
    ]
    return _csv([names, *rows])


def _csv_row(row: Row, columns: Sequence[Column]) -> list[Any]:
    cells: list[Any] = [*row.labels, row.config_hash, len(row.done), len(row.failed), row.reasons]
    for column in columns:
        cell = row.summary(column)
        cells += ["" if cell is None else _full(getattr(cell, name)) for name in _STATISTICS]
    return [*cells, *row.extras]


def _csv_control(row: ControlRow, table: Table) -> list[Any]:
    """A control row: one value a metric, without statistics."""
    cells: list[Any] = [*row.labels, "", "", "", ""]
    for column in table.columns:
        value = row.value(column)
        cells += ["" if value is None else _full(value), "", "", "", ""]
    return [*cells, *([""] * len(table.extra_names))]


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
        plain = record.plain
        run = [
            *(plain[name] for name in _RUN_FIELDS),
            changes_text(record),
            plain["config_hash"],
            plain["status"],
            plain["reason"],
        ]
        for value in record.values.values() or [{}]:
            lines.append([*run, *(_full(value.get(name)) for name in _VALUE_FIELDS)])
    return _csv(lines)


def _full(value: Any) -> Any:
    """A number with every digit that matters; an empty field for None."""
    return "" if value is None else repr(value) if isinstance(value, float) else value


def _csv(lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


# ---- Markdown -------------------------------------------------------------------------------------------------------

_ARROWS = {"lower": "↓", "higher": "↑"}


def to_markdown(table: Table) -> str:
    """A pipe table with its notes below."""
    heads = [f"{column.name} {_ARROWS.get(column.better or '', '')}".strip() for column in table.columns]
    lines = [[*table.label_names, *heads, "Runs", *table.extra_names]]
    lines.append([":--"] * len(table.label_names) + ["--:"] * (len(heads) + 1 + len(table.extra_names)))
    lines[0], rule = [_markdown(text) for text in lines[0]], lines[1]
    rows = []
    for row in table.rows:
        cells = [f"**{row.text(c)}**" if table.bold(row, c) else row.text(c) for c in table.columns]
        rows.append([*map(_markdown, row.labels), *cells, row.runs, *map(_markdown, row.extras)])
    for control in table.controls:
        cells = [control.text(column) for column in table.columns]
        rows.append([*map(_markdown, control.labels), *cells, "", *([""] * len(table.extra_names))])
    body = "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *rows])
    notes = "\n".join(f"- {_markdown(note)}" for note in table.notes)
    return f"# {_markdown(table.title)}\n\n{body}\n\n{notes}\n"


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


def to_latex(table: Table) -> str:
    """A `tabular` to be input into a document that loads `booktabs`; notes as comments."""
    heads = [f"{column.name} {_ARROWS.get(column.better or '', '')}".strip() for column in table.columns]
    n_right = len(heads) + 1 + len(table.extra_names)
    lines = [
        f"% {_comment(table.title)}",
        r"% Needs \usepackage{booktabs}.",
        *(f"% {_comment(note)}" for note in table.notes),
    ]
    lines.append(rf"\begin{{tabular}}{{{'l' * len(table.label_names)}{'r' * n_right}}}")
    lines += [
        r"\toprule",
        _tex_line([tex(head) for head in (*table.label_names, *heads, "Runs", *table.extra_names)]),
        r"\midrule",
    ]
    for row in table.rows:
        cells = [rf"\textbf{{{tex(row.text(c))}}}" if table.bold(row, c) else tex(row.text(c)) for c in table.columns]
        lines.append(_tex_line([*map(tex, row.labels), *cells, tex(row.runs), *map(tex, row.extras)]))
    if table.controls:
        lines.append(r"\midrule")
    for control in table.controls:
        cells = [tex(control.text(column)) for column in table.columns]
        lines.append(_tex_line([*map(tex, control.labels), *cells, "", *([""] * len(table.extra_names))]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _tex_line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _comment(text: str) -> str:
    return " ".join(text.split())


def document(tables: Sequence[Table]) -> str:
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
