"""Suites: which method, with which changes, on which dataset and seeds, makes which table of which paper.

A suite is one YAML file in this folder. Here it is read, checked and expanded: the rows of a size, what each changes of
its method's recipe, and the runs they make. `running` runs it, `cost` says what that would cost, and
`benchmark.report.suite_tables` makes its tables.

    title: Discriminator and loss              # of the table
    source: the paper and its table
    dataset: digits                            # or several, [ring2d, grid2d]: all rows on each, and a table of each
    recipe: small
    seeds: [0]
    set: {}                                    # changes of all rows, as `--set` takes them
    columns: [Discriminator, Loss]             # the rows' labels, left to right
    metrics: [fd_judge, score_judge]           # ids in this order; empty: all there are
    sizes:                                     # what differs between sizes
      small: {}
      paper: {dataset: afhq, recipe: paper, seeds: [0, 1, 2]}
    rows:
      - {labels: {Discriminator: Global, Loss: Hinge}, method: infoscc, set: {loss: hinge}}
    claims:                                    # what the source says of two rows, tested over the seeds
      - {claim: hinge beats LSGAN, by: paper, better: {Loss: Hinge}, than: {Loss: LSGAN}, metric: fd}

`plot: Loss weight` draws the metrics against the numbers of that label column, `0.5` or `40 %`. `published_also` has
what the source reports of further datasets, as `published` and each row's `published` have it of one.

`images: 64000`, of a suite or a size, gives all rows one budget: so many images seen by the discriminator, whatever the
row's batch and number of discriminator updates; the steps follow. A row's `sizes: {small: {...}}` are changes of that
row at that size; a row with `only: [paper]` is left out at any other. A row with `trained_on: imagenet64` is a
transfer: its method, one conditioned on images, learns from that dataset; it gets images of the suite's dataset, and is
scored on that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from benchmark.core import paths
from benchmark.core.config import STRICT, build, load_yaml, merge
from benchmark.core.engine import EAGER, Engine
from benchmark.core.errors import ConfigError, suggest

if TYPE_CHECKING:
    from benchmark.runs.spec import Paths, Resolved, RunSpec

    ResolvedCell = tuple["SuiteCell", Resolved]

Text = Annotated[str, Field(min_length=1)]


def _several(value: Any) -> tuple[Any, ...]:
    """One name, or a list of names, as a tuple."""
    if not isinstance(value, str | list | tuple):
        raise ValueError("a name or a list of names")
    return (value,) if isinstance(value, str) else tuple(value)


Datasets = Annotated[tuple[Text, ...], BeforeValidator(_several), Field(min_length=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SuiteRow:
    """One row of a suite's table."""

    labels: dict[str, str]  # text of every label column
    method: str  # name of the method file
    trained_on: str | None = None  # a transfer: it learns from this dataset, and is scored on the suite's
    set: dict[str, Any] = Field(default_factory=dict)  # changes of this row, laid over the suite's
    published: dict[str, float] = Field(default_factory=dict)  # the source's values, by published column
    published_also: dict[str, dict[str, float]] = Field(default_factory=dict)  # those of other datasets, by dataset
    sizes: dict[str, dict[str, Any]] = Field(default_factory=dict)  # changes at a size, laid over `set`
    only: tuple[str, ...] = ()  # the sizes that have this row; none named: all


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PublishedColumns:
    """What the source reports; shown next to this suite's own values, never compared with them."""

    dataset: str  # shown only in tables of this dataset
    columns: tuple[str, ...]  # names of the source's metrics, in order
    source: str  # where the values are
    protocol: str  # how they were measured, as far as it differs
    metrics: dict[str, str] = Field(default_factory=dict)  # our metric of a column: see `report.reproduction`


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Claim:
    """One row is better than another, says the source or say we, before the runs are made."""

    claim: Annotated[str, Field(min_length=1)]  # in words
    by: Literal["paper", "ours"]  # whose claim it is
    better: Annotated[dict[str, str], Field(min_length=1)]  # labels of the one row, as many as single it out
    than: Annotated[dict[str, str], Field(min_length=1)]  # of the other
    metric: str  # its id, or the beginning of it: fd is fd_judge or fd_inception, whichever a table has first


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Size:
    """What one size changes; None: as the suite says."""

    dataset: Datasets | None = None  # one or several
    recipe: str | None = None  # settings to start from
    seeds: Seeds | None = None  # of every row
    metrics: tuple[str, ...] | None = None  # columns of the table, by id
    images: Annotated[int, Field(gt=0)] | None = None  # seen by every row's discriminator
    set: dict[str, Any] = Field(default_factory=dict)  # laid over the suite's changes, under the row's


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Suite:
    """A table to make."""

    name: str  # of the file
    title: str  # one line
    source: str  # the paper and its table, or why the suite exists
    dataset: Datasets  # one or several
    recipe: str  # settings to start from
    seeds: Seeds  # of every row
    columns: Annotated[tuple[str, ...], Field(min_length=1)]  # names of the label columns
    rows: Annotated[tuple[SuiteRow, ...], Field(min_length=1)]  # each a method with its changes and labels
    sizes: Annotated[dict[str, Size], Field(min_length=1)]  # what each size changes, by its name
    metrics: tuple[str, ...] = ()  # columns of the table, by id
    images: Annotated[int, Field(gt=0)] | None = None  # seen by every row's discriminator; None: as the rows say
    set: dict[str, Any] = Field(default_factory=dict)  # changes of every row
    published: PublishedColumns | None = None  # the values that the source reports
    published_also: tuple[PublishedColumns, ...] = ()  # of other datasets, at other sizes
    plot: str | None = None  # a label column of numbers: a figure has the metrics against it
    claims: tuple[Claim, ...] = ()  # tested by `benchmark.report.claims`

    def published_on(self, dataset: str) -> PublishedColumns | None:
        """What the source reports of a dataset; None where it reports nothing."""
        known = (*([self.published] if self.published else []), *self.published_also)
        return next((columns for columns in known if columns.dataset == dataset), None)

    def values_on(self, row: SuiteRow, dataset: str) -> dict[str, float]:
        """The source's values of a row on a dataset, by published column."""
        if self.published is not None and self.published.dataset == dataset:
            return row.published
        return row.published_also.get(dataset, {})


@dataclasses.dataclass(frozen=True)
class Scope:
    """A suite at one size."""

    datasets: tuple[str, ...]
    recipe: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    set: dict[str, Any]
    images: int | None


@dataclasses.dataclass(frozen=True)
class SuiteCell:
    """One run of a suite, and the row of the table it belongs to."""

    row: int
    spec: RunSpec

    @property
    def dataset(self) -> str:
        """Of the table; of a transfer not the one that the run learns from."""
        return self.spec.changes.get("transfer", self.spec.dataset)


# ---- finding and reading --------------------------------------------------------------------------------------------


def list_suites() -> dict[str, Suite]:
    """Every suite of the benchmark by its name. Raises ConfigError naming file and key of a bad one."""
    return {name: find_suite(name) for name in suite_names()}


def suite_names() -> list[str]:
    """Names of the suites: their files' names."""
    return sorted(path.stem for path in paths.SUITES.glob("*.yaml"))


def find_suite(name: str) -> Suite:
    """The suite of this name, or of this .yaml file.

    Raises ConfigError for an unknown name, offering the nearest, and for a file with errors, naming file and key.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return load_suite(path)
    if name not in suite_names():
        raise ConfigError(
            f"unknown suite {name!r}", suggest(name, suite_names()), "give a suite's name or a .yaml file"
        )
    return load_suite(paths.SUITES / f"{name}.yaml")


def load_suite(path: Path) -> Suite:
    """Read and check a suite's file. Raises ConfigError naming the file, the row and the key."""
    from benchmark.runs.suites.checks import check_suite

    plain = load_yaml(path)
    if "name" in plain:
        raise ConfigError(f"{path}: name: unknown key", "a suite has its file's name", "remove the key")
    for kind, cls in (("row", SuiteRow), ("claim", Claim)):  # one by one: errors then name the row
        listed = plain.get(f"{kind}s")
        for i, one in enumerate(listed if isinstance(listed, list) else []):
            where = f"{path}: {kind} {i + 1}"
            if not isinstance(one, dict) or not one:
                raise ConfigError(where, f"{one!r} given, not a mapping of keys", f"describe the {kind}, or remove it")
            build(cls, one, where)
    suite = build(Suite, {**plain, "name": path.stem}, str(path))
    check_suite(suite, str(path))
    return suite


def scope_of(suite: Suite, size: str) -> Scope:
    """Dataset, recipe, seeds, metrics and changes of a size. Raises ConfigError for a size the suite does not have."""
    if size not in suite.sizes:
        raise ConfigError(f"{suite.name}: no size {size!r}", suggest(size, suite.sizes), "use one of its sizes")
    chosen = suite.sizes[size]
    return Scope(
        chosen.dataset or suite.dataset,
        chosen.recipe or suite.recipe,
        chosen.seeds or suite.seeds,
        suite.metrics if chosen.metrics is None else chosen.metrics,
        merge(suite.set, chosen.set),
        chosen.images or suite.images,
    )


def rows_of(suite: Suite, size: str) -> list[tuple[int, SuiteRow]]:
    """The rows of a size with their indices in the suite."""
    return [(i, row) for i, row in enumerate(suite.rows) if not row.only or size in row.only]


def chosen_rows(suite: Suite, size: str, wanted: Sequence[str]) -> list[tuple[int, SuiteRow]]:
    """The rows of a size that have one of these labels, with their indices; all rows when none is wanted.

    wanted: labels as in the table, names of methods, or parts of labels. A part chooses every row that has it, unless
    it is the whole label of a row, or the name of a method: CGAN does not choose ACGAN.
    Raises ConfigError for what no row has, offering the nearest label.
    """
    rows = rows_of(suite, size)
    if not wanted:
        return rows
    chosen: set[int] = set()
    for text in wanted:
        found = [i for i, row in rows if text in row.labels.values()]
        found = found or [i for i, row in rows if text == row.method]
        found = found or [i for i, row in rows if any(text in label for label in row.labels.values())]
        if not found:
            known = dict.fromkeys(label for _, row in rows for label in row.labels.values())
            raise ConfigError(f"--rows {text}", f"no row of {suite.name}, {size}, has it", suggest(text, known))
        chosen.update(found)
    return [(i, row) for i, row in rows if i in chosen]


def changes_of(suite: Suite, size: str, row: SuiteRow, dataset: str) -> dict[str, Any]:
    """What a row changes of its method's recipe: all metrics, the suite's changes, the size's, the row's, the budget's
    steps.

    Raises ConfigError for a budget that is no whole number of steps, or a method without this recipe, naming the row.
    """
    try:
        return _changes_of(suite, size, row, dataset)
    except ConfigError as error:
        where = f"{suite.name}, row {suite.rows.index(row) + 1}, size {size}"
        raise ConfigError(f"{where}: {error.what}", error.why, error.mend) from None


def _changes_of(suite: Suite, size: str, row: SuiteRow, dataset: str) -> dict[str, Any]:
    scope = scope_of(suite, size)
    changes = merge(merge(scope.set, row.set), row.sizes.get(size, {}))
    changes = merge({"eval": {"metrics": "all"}}, changes)  # whatever its metrics and its claims name is computed
    if row.trained_on is not None:
        changes = merge(changes, {"transfer": dataset})
    changes = _without_judge(changes, dataset)
    if scope.images is None:
        return changes
    return merge(
        changes, {"steps": _steps_for(scope.images, row.method, scope.recipe, row.trained_on or dataset, changes)}
    )


def _without_judge(changes: dict[str, Any], dataset: str) -> dict[str, Any]:
    """The changes, less the extractor `judge` where the dataset that is scored on has no labels for it to learn.

    A suite lists one set of extractors for datasets with and without labels; a user's own request is an error.
    """
    from benchmark.data.cards import card_with, find_card
    from benchmark.runs.spec import without_judge

    evaluation = changes.get("eval")
    listed = evaluation.get("extractors") if isinstance(evaluation, Mapping) else None
    if not isinstance(listed, list) or "judge" not in listed:
        return changes
    card, of_data = find_card(dataset), changes.get("data")
    if of_data and "transfer" not in changes:  # of a transfer they belong to the dataset that is learned from
        card = card_with(card, of_data)
    if card.conditioning != "none":
        return changes
    return merge(changes, {"eval": {"extractors": without_judge(listed)}})


def _steps_for(images: int, method: str, recipe: str, dataset: str, changes: Mapping[str, Any]) -> int:
    """Steps of a method until its discriminator has seen so many images: each of its updates takes a batch."""
    from benchmark.training.method import find_method

    base = find_method(method).recipe(recipe, dataset)
    batch, n_dis = (changes.get(name, getattr(base, name)) for name in ("batch", "n_dis"))
    for name, value in (("batch", batch), ("n_dis", n_dis)):
        if type(value) is not int or value < 1:
            raise ConfigError(f"{name} = {value!r}", "it is a whole number above 0", "change the value")
    if images % (batch * n_dis):
        raise ConfigError(
            f"images {images}",
            f"{method} sees {batch * n_dis} images a step on {dataset}: {n_dis} updates of {batch}",
            "use a multiple of it",
        )
    return images // (batch * n_dis)


def cells(
    suite: Suite,
    size: str,
    seeds: Sequence[int] | None = None,
    engine: Engine = EAGER,
    rows: Sequence[str] = (),
) -> list[SuiteCell]:
    """Every run of a suite at a size: all rows with the first seed, then all with the second, and so on.

    seeds: None for the suite's own. engine: of every run. rows: as of `chosen_rows`. A suite that is stopped thus has
    whole tables of fewer seeds.
    Raises ConfigError for a seed given twice, and as `chosen_rows` and `changes_of` do.
    """
    from benchmark.runs.spec import RunSpec

    if seeds is not None and len(set(seeds)) != len(seeds):
        raise ConfigError(f"--seed {' '.join(map(str, seeds))}", "a seed is given twice", "keep one of them")
    scope = scope_of(suite, size)
    return [
        SuiteCell(
            i,
            RunSpec(
                row.method,
                row.trained_on or dataset,
                seed,
                scope.recipe,
                changes_of(suite, size, row, dataset) | engine.plain,
            ),
        )
        for seed in (scope.seeds if seeds is None else seeds)
        for dataset in scope.datasets
        for i, row in chosen_rows(suite, size, rows)
    ]


def resolved_cells(
    suite: Suite,
    size: str,
    paths: Paths,
    seeds: Sequence[int] | None = None,
    engine: Engine = EAGER,
    rows: Sequence[str] = (),
) -> list[ResolvedCell]:
    """`cells` with every setting known. Raises ConfigError naming the row whose run cannot be configured so."""
    from benchmark.runs.spec import resolve

    found = []
    for cell in cells(suite, size, seeds, engine, rows):
        try:
            found.append((cell, resolve(cell.spec, paths)))
        except ConfigError as error:
            where = f"{suite.name}, row {cell.row + 1}, size {size}"
            raise ConfigError(f"{where}: {error.what}", error.why, error.mend) from None
    return found
