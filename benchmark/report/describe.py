"""What is known of a method, a dataset, a metric or a suite, as text: read from the code, the files and the records."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import os
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.core.config import canonical, flatten, to_dict
from benchmark.core.errors import ConfigError
from benchmark.core.field_docs import FieldDoc, field_docs
from benchmark.core.registry import method_names
from benchmark.data.cards import DatasetCard, list_cards
from benchmark.metrics.catalogue import METRICS, row_of
from benchmark.metrics.metric_ids import is_metric
from benchmark.metrics.metric_row import MetricRow
from benchmark.runs.records import Record
from benchmark.runs.suites.suite import Suite, find_suite, rows_of, scope_of, suite_names

WIDTH = 120


def describe(name: str, records: Sequence[Record] = ()) -> str:
    """All that is known of the method, dataset, metric or suite of this name; of each, where several have it.

    records: finished runs, from which sizes and costs are taken. Raises ConfigError, with the nearest names, for a name
    that nothing has.
    """
    kinds: dict[str, Callable[[], str]] = {}
    if name in method_names():
        kinds["method"] = lambda: describe_method(name)
    if name in (cards := list_cards()):
        kinds["dataset"] = lambda: describe_dataset(cards[name], records)
    if name in suite_names():
        kinds["suite"] = lambda: describe_suite(find_suite(name), records)
    if not kinds and is_metric(name):
        kinds["metric"] = lambda: describe_metric(name)
    if not kinds:
        raise ConfigError(f"nothing is called {name!r}", _nearest(name, cards), "`gantlet list` shows every name")
    return "\n\n".join(text() for text in kinds.values())


def _nearest(name: str, datasets: Mapping[str, Any]) -> str:
    metrics = [row.stem for row in METRICS]
    known = {**dict.fromkeys(metrics, "metric"), **dict.fromkeys(suite_names(), "suite"),
             **dict.fromkeys(datasets, "dataset"), **dict.fromkeys(method_names(), "method")}  # fmt: skip
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not close:
        return "no method, dataset, metric or suite has a similar name"
    return "did you mean " + " or ".join(f"{one!r} ({known[one]})" for one in close) + "?"


# ---- methods --------------------------------------------------------------------------------------------------------


def describe_method(name: str) -> str:
    """A method: its docstring, and each setting with its default, its values in recipes and its meaning."""
    from benchmark.training.method import find_method

    found = find_method(name)
    lines = [f"method {name}: {found.summary}", ""]
    lines += (_module_doc(f"methods.{name}") or "").splitlines()
    lines += ["", f"takes: {' and '.join(found.cls.accepts)}", "recipes:"]
    lines += [f"  {recipe}: {', '.join(rows)}" for recipe, rows in found.RECIPES.items()]
    legend = (found.Config.__doc__ or "").strip()
    lines += ["", "settings (--set KEY=VALUE)" + (f": {' '.join(legend.split())}" if legend else "")]
    values = {
        f"{recipe}/{dataset}": flatten(to_dict(config))
        for recipe, rows in found.RECIPES.items()
        for dataset, config in rows.items()
    }
    for key, doc in _leaves(field_docs(found.Config)):
        lines += _setting(key, doc, values)
    return "\n".join(lines)


def _leaves(docs: Sequence[FieldDoc], prefix: str = "") -> Iterator[tuple[str, FieldDoc]]:
    """Fields by their dotted keys; a nested configuration is followed by its own."""
    for doc in docs:
        yield prefix + doc.name, doc
        yield from _leaves(doc.nested, f"{prefix}{doc.name}.")


def _setting(key: str, doc: FieldDoc, values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A setting: type and default, then meaning, then what recipes have in place of the default."""
    default = "no default" if doc.default is None else f"default {doc.default}"
    lines = [f"  {key}: {doc.type}, {default}"]
    if doc.about:
        lines += _wrapped(doc.about, 6)
    if not doc.nested:
        lines += _wrapped(_recipe_values(key, doc, values), 6)
    return lines


def _recipe_values(key: str, doc: FieldDoc, values: Mapping[str, Mapping[str, Any]]) -> str:
    """`2000 in small/digits; 200000 in paper/afhq, paper/celeba`: of recipes that differ from the default."""
    of_value: dict[str, list[str]] = defaultdict(list)
    for where, flat in values.items():
        if key in flat:
            of_value[_shown(flat[key])].append(where)
    default = None if doc.default is None else _shown(_literal(doc.default))
    return "; ".join(f"{value} in {', '.join(where)}" for value, where in of_value.items() if value != default)


def _literal(text: str) -> Any:
    """The value of a default's text where it is plain; else the text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else canonical(value)


# ---- datasets -------------------------------------------------------------------------------------------------------


def describe_dataset(card: DatasetCard, records: Sequence[Record] = ()) -> str:
    """A dataset: what it is, its size where it is known, how its files are laid out, what is served, its licence."""
    sizes = dict.fromkeys(
        (data.n_train, data.n_test)
        for record in records
        if record.dataset == card.name and (data := record.result_or_empty.data) is not None and data.n_train
    )
    shape = "2-D points" if card.source.is_points else f"{card.resolution} px, {card.channels} channel(s)"
    lines = [f"dataset {card.name}: {card.title}", ""]
    lines += [f"  size: {n_train:,} training and {n_test or 0:,} held-out images (as in finished runs)"
              for n_train, n_test in sizes]  # fmt: skip
    lines += [f"  shape: {shape}, crop {card.crop}, resize {card.filter}, mirrored: {'yes' if card.flip_ok else 'no'}"]
    lines += _wrapped(f"labels: {_labels_text(card)}", 2)
    lines += [f"  layout: {(type(card.source).__doc__ or '').strip().splitlines()[0]}"]
    here = f"{Path.cwd()}{os.sep}"
    lines += [f"    needs {needed}".replace(here, "") for needed in card.source.required(card, Path("data"))]
    lines += _wrapped(f"split: {card.split_note}", 2) if card.split_note else []
    lines += [f"  licence: {card.licence or 'not stated in the dataset config'}"]
    lines += [f"  homepage: {card.homepage}"] if card.homepage else []
    return "\n".join([*lines, f"  default recipe: {card.default_recipe}"])


def _labels_text(card: DatasetCard) -> str:
    if card.conditioning == "class":
        classes = card.source.classes_from
        named = f": {', '.join(classes.classes)}" if classes is not None else ""
        return f"{card.n_classes or 'as many as the data have'} classes{named}"
    if card.conditioning == "attributes":
        sets = f"; sets to choose from: {', '.join(card.attribute_sets)}" if card.attribute_sets else ""
        return f"{len(card.attribute_names)} binary attributes: {', '.join(card.attribute_names)}{sets}"
    return "none"


# ---- metrics --------------------------------------------------------------------------------------------------------


def describe_metric(name: str) -> str:
    """A metric: name, meaning, direction, range, what it needs, its source, and what its module says of the formula."""
    row = row_of(name)
    if not row.id:
        row = next(one for one in METRICS if f"{one.head}_".startswith(f"{name}_"))
    what = row.what(name) if row.placeholder and name.startswith(row.head) else row.placeholder
    lines = [f"metric {name if what != row.placeholder else row.id}: {row.name_of(what)}", ""]
    lines += _wrapped(row.about, 2)
    direction = {"lower": "lower is better", "higher": "higher is better", None: "neither is better"}[row.better]
    lines += [f"  direction: {direction}", f"  range: {_range_text(row)}"]
    lines += [f"  unit: {row.unit}"] if row.unit else []
    lines += [f"  needs: {', '.join(row.needs)}", f"  source: {row.source}"]
    margin = f"{row.margin:g}" if row.absolute_margin else f"{row.margin:.0%}"
    lines += [f"  compared: on the {row.scale} scale; differences up to {margin} count as none"]
    if row.optional or row.extra:
        lines += [f"  computed: on request{f' (eval.extra={row.extra})' if row.extra else ''}"]
    else:
        lines += [f"  computed: {'always' if row.headline else 'with eval.metrics=all'}"]
    doc = _module_doc(row.compute.partition(":")[0]) if row.compute else None
    return "\n".join([*lines, *([""] + [f"  {line}".rstrip() for line in doc.splitlines()] if doc else [])])


def _range_text(row: MetricRow) -> str:
    if row.scale == "logit":
        return "0 to 1, a share"
    if row.counted:
        return "whole numbers from 0"
    return "not negative, but for estimates around 0" if row.scale == "log" else "see the formula"


def _module_doc(module: str) -> str | None:
    """A module's docstring, read from its file: importing it may load torch."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))


# ---- suites ---------------------------------------------------------------------------------------------------------


def describe_suite(suite: Suite, records: Sequence[Record] = ()) -> str:
    """A suite: its source, sizes, rows and claims, and what the finished runs of each size cost."""
    lines = [f"suite {suite.name}: {suite.title}", "", *_wrapped(f"source: {suite.source}", 2), "  sizes:"]
    for size in suite.sizes:
        scope, rows = scope_of(suite, size), rows_of(suite, size)
        n = len(rows) * len(scope.seeds) * len(scope.datasets)
        lines.append(
            f"    {size}: {len(rows)} rows on {', '.join(scope.datasets)}, recipe {scope.recipe}, "
            f"seeds {', '.join(map(str, scope.seeds))}: {n} runs"
        )
        lines += [f"      {_cost_text(suite, size, records)}"]
    lines += [f"  rows ({', '.join(suite.columns)}; method):"]
    lines += [
        f"    {', '.join(row.labels[column] for column in suite.columns)}; {row.method}"
        + (f", only {', '.join(row.only)}" if row.only else "")
        for row in suite.rows
    ]
    if suite.claims:
        lines += ["  claims:"]
        for claim in suite.claims:
            lines += _wrapped(f"- {claim.claim} ({claim.metric}; by {claim.by})", 4)
    return "\n".join(lines)


def _cost_text(suite: Suite, size: str, records: Sequence[Record]) -> str:
    """What the finished runs of a size took."""
    from benchmark.report.suite_tables import rows_with_records
    from benchmark.runs.plan import duration

    found = {
        record.run: record
        for dataset in scope_of(suite, size).datasets
        for mine in rows_with_records(suite, size, records, dataset).values()
        for record in mine
        if record.status == "done"
    }
    if not found:
        return f"cost: no finished runs here (plan --suite {suite.name} --size {size} estimates it)"
    times = [record.time for record in found.values()]
    seconds = sum((time.get("training_s") or 0.0) + (time.get("evaluation_s") or 0.0) for time in times)
    return f"cost: {len(found)} finished runs took {duration(seconds)}, training and evaluation"


def _wrapped(text: str, indent: int) -> list[str]:
    space = " " * indent
    return textwrap.wrap(text, WIDTH, initial_indent=space, subsequent_indent=space + "  ") if text else []
