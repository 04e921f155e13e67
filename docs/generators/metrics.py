"""The reference of metrics, from the catalogue."""

from __future__ import annotations

import ast
import re

from generators.places import ROOT
from generators.text import code, escaped, prose, sentence, table

from benchmark.metrics.catalogue import METRICS
from benchmark.metrics.metric_row import MetricRow

_SCALES = {"log": "their logarithm (ratios)", "logit": "their logit (shares)", "identity": "the values as they are"}


def metrics_page() -> str:
    """A table of all metrics, then a section for each."""
    parts = [
        "# Metric reference",
        "Upper-case letters at the end of an id stand for an extractor (X), a transform (T), a number (K) or labels "
        "(L): `fd_X` is `fd_judge`, `fd_lite0`, ... [Metrics](../metrics.md) says when to trust which.",
        table(["metric", "id", "better", "headline"], (metric_line(row) for row in METRICS if row.about)),
    ]
    for row in METRICS:
        if row.about:
            parts += [f"({anchor(row.name)})=\n## {escaped(row.name)}", metric_text(row)]
    return "\n\n".join(parts)


def metric_line(row: MetricRow) -> list[str]:
    """Of the table of all metrics."""
    return [f"[{row.name}](#{anchor(row.name)})", code(row.id), row.better or "–", "yes" if row.headline else ""]


def anchor(name: str) -> str:
    """The target of a metric's section."""
    return "metric-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def metric_text(row: MetricRow) -> str:
    """All that the catalogue knows of a metric, and the docstring of the module that computes it."""
    related = [other.id for other in METRICS if not other.about and other.source == f"as {row.id}"]
    facts = {
        "id": code(row.id) + "".join(f", {code(other)}" for other in related),
        "better": row.better or "neither",
        "unit": row.unit,
        "computed from": ", ".join(row.needs),
        "seeds are compared on": _SCALES[row.scale],
        "margin": f"{row.margin:g}" if row.absolute_margin else f"{100 * row.margin:g} %",
        "on request": on_request(row),
        "source": escaped(row.source),
    }
    parts = [escaped(sentence(row.about)), table(["", ""], ([key, value] for key, value in facts.items() if value))]
    if row.compute:
        module = ROOT / (row.compute.partition(":")[0].replace(".", "/") + ".py")
        parts.append(prose(ast.get_docstring(ast.parse(module.read_text())) or ""))
    return "\n\n".join(parts)


def on_request(row: MetricRow) -> str:
    """How a metric is requested that is not computed otherwise."""
    if row.extra:
        return f"`eval.extra=[{row.extra}]`"
    return "by a setting, see above" if row.optional else ""
