"""A dataset's section of the page: its table, how each number is measured, every run, figures and images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark.core.config import canonical, flatten
from benchmark.metrics.catalogue import row_of
from benchmark.report.comparison_figures import figures_of, first_samples, save_figures
from benchmark.report.curves import snapshot_curves, snapshot_name
from benchmark.report.figure_rows import at_recipe, figure_names, row_name
from benchmark.report.page import Album, Fact, FactSheet, Figure, Head, HtmlCell, HtmlTable, Line, RowRuns, Section
from benchmark.report.page_published import beside_published
from benchmark.report.page_tables import card_id, table_view
from benchmark.report.plain_table import EMPTY
from benchmark.report.published import PublishedValue
from benchmark.report.tables import Column, Row, Table
from benchmark.runs.records import Record

_OUR_FIGURES = ("samples.png", "real.png", "curves.png")  # shown elsewhere on the page
_MOST_PICTURES = 12  # of one run, in addition to its samples


def dataset_section(results: Path, table: Table, published: Sequence[PublishedValue], album: Album) -> Section:
    """What the page has of a dataset, without `more_pictures`. Also writes the figures it embeds.

    table: the dataset's, with every column.
    """
    figures = figures_of(results, table)
    save_figures(results, table.name, figures)
    records = [record for row in table.rows for record in row.records]
    environments = _environments(records)
    here = [value for value in published if value.dataset == table.name]
    return Section(
        name=table.name,
        table=table_view(table, table.name),
        cards=[_card(table, column) for column in table.columns],
        beside=beside_published(table, here),
        curves=album.figure(figures.get("curves"), f"Training curves of the methods on {table.name}"),
        snapshots=list(_snapshot_figures(table, figures, album)),
        scatter=album.figure(figures.get("scatter"), f"Generated points during training on {table.name}"),
        cost=album.figure(figures.get("cost"), f"Quality against seconds of training on {table.name}"),
        gallery=list(_gallery(results, table, album)),
        n_without_folder=sum(not record.folder_in(results).is_dir() for record in records),
        n_runs=len(records),
        runs=_runs_table(table, environments),
        rows=[_row_runs(row) for row in table.rows if row.records],
        environments=[_environment_card(name, text) for text, name in environments.items()],
    )


def _snapshot_figures(table: Table, figures: Mapping[str, bytes], album: Album) -> Iterator[Figure]:
    """Scores during training, with what they are of: fewer samples than the table's, so no column of its own."""
    for kind, column, _ in snapshot_curves(table):
        name, n = snapshot_name(column), column.protocol.get("n_fake")
        points = column.protocol.get("quantisation") == "none"
        few = f"{n:,} generated {'points' if points else 'images'}" if n else "few generated images"
        caption = f"{name} of {few} at each snapshot, against images seen. "
        if row_of(column.id).frechet:
            caption += "A Frechet distance of fewer images is higher: compare these curves with each other, not with "
            caption += "the table. "
        caption += "A line is the mean of a method's seeds, the band reaches from the lowest to the highest; a line "
        caption += "without one is of one run. Grey: the other methods."
        if figure := album.figure(figures.get(kind), f"{name} during training on {table.name}", caption):
            yield figure


# ---- how a number is measured ---------------------------------------------------------------------------------------


def _card(table: Table, column: Column) -> FactSheet:
    """A column's protocol, whole, with the seeds and the library versions of the runs that have the value."""
    rows = [(row, [record for record in row.done if column.value_of(record)]) for row in table.rows]
    seeds = [
        Fact(row_name(row), ("seed " if len(found) == 1 else "seeds ") + ", ".join(str(r.seed) for r in found))
        for row, found in rows
        if found
    ]
    versions: dict[str, set[str]] = defaultdict(set)
    for _, found in rows:
        for record in found:
            for name, version in record.environment.get("libraries", {}).items():
                versions[name].add(str(version))
    return FactSheet(
        id=card_id(table.name, column),
        title=column.name,
        facts=[
            Fact("Direction", column.direction or "neither is better"),
            *_facts(column.protocol),
            Fact("Protocol key", column.key),
            Fact("Libraries", "; ".join(f"{name} {', '.join(sorted(v))}" for name, v in sorted(versions.items()))),
        ],
        seeds=seeds,
    )


_WORDS = {  # a protocol's keys in words
    "n_fake": "Generated images",
    "n_reference": "Reference images",
    "reference": "Reference split",
    "data_sha256": "Dataset, sha256",
    "eval_seed": "Seed of the evaluation",
    "extractor.weights.sha256": "Weights, sha256",
    "scorer.weights.sha256": "Weights, sha256",
    "extractor.resize": "Resize",
    "scorer.resize": "Resize",
}


def _facts(mapping: Mapping[str, Any]) -> Iterator[Fact]:
    """A nested mapping as lines: `extractor.weights.sha256` and what it is."""
    for path, value in flatten(mapping).items():
        words = _WORDS.get(path, path.replace("_", " ").replace(".", ", "))
        yield Fact(words[0].upper() + words[1:], value if isinstance(value, str) else canonical(value))


# ---- runs -----------------------------------------------------------------------------------------------------------


def _environments(records: Sequence[Record]) -> dict[str, str]:
    """Names of the distinct environments of runs, by their canonical text; the commit is shown with each run."""
    texts = sorted({_environment(record) for record in records})
    return {text: f"E{i + 1}" for i, text in enumerate(texts)}


def _environment(record: Record) -> str:
    return canonical({key: value for key, value in record.environment.items() if key != "commit"})


def _environment_card(name: str, text: str) -> FactSheet:
    return FactSheet(id="", title=name, facts=list(_facts(yaml.safe_load(text))), seeds=[])


def _runs_table(table: Table, environments: Mapping[str, str]) -> HtmlTable:
    heads = [
        Head("Run"),
        Head("Row"),
        Head("Seed", numeric=True),
        Head("Status"),
        Head("Training (s)", numeric=True),
        Head("Evaluation (s)", numeric=True),
        Head("Environment"),
        Head("Commit"),
        Head("Written (UTC)"),
    ]
    lines = []
    for row in table.rows:
        for record in row.records:
            lines.append(
                Line(
                    [
                        HtmlCell(record.run),
                        HtmlCell(row_name(row)),
                        HtmlCell(str(record.seed), record.seed),
                        HtmlCell(record.status, note=record.reason),
                        *(_seconds(record.time.get(key)) for key in ("training_s", "evaluation_s")),
                        HtmlCell(environments[_environment(record)]),
                        HtmlCell(record.environment.get("commit") or EMPTY),
                        HtmlCell(record.time.get("utc", EMPTY)[:16].replace("T", " ")),
                    ]
                )
            )
    return HtmlTable(f"runs-{table.name}", f"Every run on {table.name}", heads, lines)


def _seconds(value: float | None) -> HtmlCell:
    return HtmlCell(EMPTY) if value is None else HtmlCell(f"{value:.0f}", value)


def _row_runs(row: Row) -> RowRuns:
    """A row's configuration, which its runs share."""
    config = yaml.safe_dump(row.records[0].config, sort_keys=True, allow_unicode=True, width=100)
    return RowRuns(row_name(row), row.records[0].config_hash, config)


# ---- images ---------------------------------------------------------------------------------------------------------


def _gallery(results: Path, table: Table, album: Album) -> Iterator[Figure]:
    """Real images, then the grid of samples of every method's first seed."""
    rows = at_recipe(table.rows)
    folders = [record.folder_in(results) for row in rows for record in row.done]
    real = next((folder / "real.png" for folder in folders if (folder / "real.png").is_file()), None)
    if figure := album.picture(real, f"Real images of {table.name}", "real images"):
        yield figure
    for name, row in zip(figure_names(rows), rows):
        path = first_samples(results, row)
        if figure := album.picture(path, f"Samples of {name} on {table.name}", f"{name}, seed {_seed(path)}"):
            yield figure


def _seed(path: Path | None) -> str:
    """The seed of the run in whose folder an image lies."""
    return "" if path is None else path.parent.name.split("-s", 1)[1].split("-")[0]


def more_pictures(results: Path, table: Table, album: Album) -> Iterator[tuple[str, list[Figure]]]:
    """What else runs drew, by row: t-SNE, traversals, instances, nearest images; of each row's first seed with any.

    Rows that change a recipe show their samples here.
    """
    main = at_recipe(table.rows)
    for row in table.rows:
        samples = first_samples(results, row)
        if samples is None:
            continue
        others = sorted(path for path in samples.parent.rglob("*.png") if path.name not in _OUR_FIGURES)
        shown = [*([] if row in main else [samples]), *others[:_MOST_PICTURES]]
        names = [path.relative_to(samples.parent).with_suffix("").as_posix().replace("_", " ") for path in shown]
        figures = [album.picture(path, f"{name} of {row_name(row)}", name) for path, name in zip(shown, names)]
        if kept := [figure for figure in figures if figure]:
            yield f"{row_name(row)}, seed {_seed(samples)}", kept
