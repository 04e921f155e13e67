"""What a suite's file may not say: mistakes that its types allow, each named by file, row and key.

All that a file alone decides is checked here, without loading a method or torch: `list` reads every suite.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.core.config import canonical, merge
from benchmark.core.errors import ConfigError, suggest
from benchmark.core.names import has_control
from benchmark.core.registry import check_method
from benchmark.metrics.metric_ids import is_metric, is_metric_id, nearest_metric

if TYPE_CHECKING:
    from benchmark.runs.suites.suite import Claim, PublishedColumns, Size, Suite, SuiteRow


def check_suite(suite: Suite, where: str) -> None:
    """Raise ConfigError for the first mistake in a suite's file. where: its path."""
    _check_names(suite, where)
    for published in (*([suite.published] if suite.published else []), *suite.published_also):
        _check_once(published.columns, f"{where}: published columns of {published.dataset}")
        _check_metrics(tuple(published.metrics.values()), f"{where}: published metrics of {published.dataset}")
        for name in published.metrics:
            _require_known(name, published.columns, f"{where}: published metrics: column {name!r}")
    for i, row in enumerate(suite.rows):
        _check_row(suite, row, f"{where}: row {i + 1}")
    for name in suite.sizes:
        _check_size(suite, name, where)
    _check_same_labels(suite, where)
    _check_plot(suite, where)
    for i, claim in enumerate(suite.claims):
        _check_claim(suite, claim, f"{where}: claim {i + 1}")


def _check_names(suite: Suite, where: str) -> None:
    """The lists of a suite and of its sizes name each thing once, and metrics are in the catalogue."""
    _check_once(suite.columns, f"{where}: columns")
    _check_lists(suite, where)
    for name, one in suite.sizes.items():
        _check_lists(one, f"{where}: size {name}")
    for name in (*suite.columns, *suite.sizes, *(text for row in suite.rows for text in row.labels.values())):
        if has_control(name) or "\n" in name:
            raise ConfigError(
                f"{where}: {name!r}", "a name of a column, a size or a row is one line of text", "write it as one line"
            )
    if "" in (*suite.columns, *suite.sizes):
        raise ConfigError(f"{where}: a column or size without a name", "it is a heading of tables", "give it a name")


def _check_lists(one: Suite | Size, where: str) -> None:
    _check_once(one.dataset or (), f"{where}: dataset")
    _check_once(one.seeds or (), f"{where}: seeds", "a seed is given twice")
    _check_once(one.metrics or (), f"{where}: metrics")
    _check_metrics(one.metrics or (), f"{where}: metrics")


def _check_once(names: Sequence[Any], where: str, why: str = "it is listed twice") -> None:
    """Raises ConfigError naming what is listed twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{where}: {twice[0]!r}", why, "keep one of them")


def _check_metrics(ids: Sequence[str], where: str) -> None:
    """Every id is one that a record may have. Raises ConfigError with the nearest."""
    for id in ids:
        if not is_metric_id(id):
            raise ConfigError(f"{where}: no metric {id!r}", nearest_metric(id), "use an id that `list` shows")


def _require_known(name: str, known: Iterable[str], what: str) -> None:
    if name not in known:
        raise ConfigError(what, suggest(name, known), "use one of the suite's names")


def _check_row(suite: Suite, row: SuiteRow, where: str) -> None:
    for name in row.labels:
        _require_known(name, suite.columns, f"{where}: label {name!r} of no column")
    if lacking := [name for name in suite.columns if name not in row.labels]:
        raise ConfigError(
            f"{where}: no label {', '.join(map(repr, lacking))}",
            f"the columns are {', '.join(suite.columns)}",
            "name each once; an empty text leaves a cell empty",
        )
    _check_published(where, suite.published, row.published)
    for dataset, values in row.published_also.items():
        columns = next((one for one in suite.published_also if one.dataset == dataset), None)
        _check_published(f"{where}: {dataset}", columns, values)
    _check_once(row.only, f"{where}: only")
    for name in (*row.sizes, *row.only):
        _require_known(name, suite.sizes, f"{where}: no size {name!r}")
    try:
        check_method(row.method)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.what}", error.why, error.mend) from None


def _check_published(where: str, columns: PublishedColumns | None, values: Mapping[str, float]) -> None:
    """Every published value belongs to a column. Raises ConfigError naming the first that does not."""
    known = columns.columns if columns else ()
    for name in values:
        if name not in known:
            raise ConfigError(
                f"{where}: published value {name!r}", suggest(name, known), "list it in the columns of `published`"
            )


def _check_size(suite: Suite, size: str, where: str) -> None:
    """A size has rows, no two of them the same run, and its steps follow from one thing."""
    chosen = suite.sizes[size]
    rows = [(i, row) for i, row in enumerate(suite.rows) if not row.only or size in row.only]
    if not rows:
        raise ConfigError(f"{where}: size {size!r} has no row", "every row is `only` of other sizes", "give it a row")
    has_budget = (chosen.images or suite.images) is not None
    of_all = merge(suite.set, chosen.set)
    if has_budget and "steps" in of_all:
        raise _two_budgets(f"{where}: size {size}")
    seen: dict[str, int] = {}
    for i, row in rows:
        changes = merge(row.set, row.sizes.get(size, {}))
        if has_budget and "steps" in changes:
            raise _two_budgets(f"{where}: row {i + 1}, size {size}")
        key = canonical([row.method, row.trained_on, merge(of_all, changes)])
        if key in seen:
            raise ConfigError(
                f"{where}: rows {seen[key] + 1} and {i + 1}",
                f"at size {size} they are the same runs",
                "change one of them, or keep one",
            )
        seen[key] = i


def _two_budgets(where: str) -> ConfigError:
    return ConfigError(f"{where}: steps", "they follow from `images`", "leave out one of the two")


def _check_same_labels(suite: Suite, where: str) -> None:
    """No two rows that meet in a table have the same labels: a reader could not tell them apart."""
    for i, row in enumerate(suite.rows):
        for j, other in enumerate(suite.rows[:i]):
            meet = not row.only or not other.only or set(row.only) & set(other.only)
            if meet and row.labels == other.labels:
                raise ConfigError(
                    f"{where}: rows {j + 1} and {i + 1}",
                    f"both are labelled {', '.join(filter(None, row.labels.values()))!r}",
                    "give each its own labels",
                )


def _check_plot(suite: Suite, where: str) -> None:
    """The column of a suite's figure exists, and its labels are numbers."""
    if suite.plot is None:
        return
    if suite.plot not in suite.columns:
        raise ConfigError(f"{where}: plot: {suite.plot!r}", suggest(suite.plot, suite.columns), "name a label column")
    for row in suite.rows:
        if not _is_number(row.labels[suite.plot].partition(" ")[0]):
            what = f"{where}: plot: {row.labels[suite.plot]!r} is no number"
            raise ConfigError(what, "it is a place on an axis", "write a number, such as 0.5 or 40 %")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _check_claim(suite: Suite, claim: Claim, where: str) -> None:
    """Each side of a claim is one row of the suite, and its metric is in the catalogue."""
    for name, wanted in (("better", claim.better), ("than", claim.than)):
        for label in wanted:
            _require_known(label, suite.columns, f"{where}: {name}: no column {label!r}")
        fitting = [row for row in suite.rows if wanted.items() <= row.labels.items()]
        if len(fitting) != 1:
            raise ConfigError(
                f"{where}: {name}: {wanted}",
                f"{len(fitting)} rows have these labels",
                "name labels that one row has, and no other",
            )
    if claim.better == claim.than:
        raise ConfigError(f"{where}: {claim.better}", "a row is not better than itself", "name two rows")
    if not is_metric(claim.metric):
        raise ConfigError(f"{where}: no metric {claim.metric!r}", nearest_metric(claim.metric), "use a metric's id")
