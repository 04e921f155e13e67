"""Templates of the report's pages: style and script stand in each page, and it makes no request."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from benchmark.core import paths
from benchmark.core.names import printable
from benchmark.report.page import anchor, breakable, linked
from benchmark.report.site.data import VERDICTS, as_script
from benchmark.report.site.numbers import brief, duration, value_text

_FOLDER = paths.TEMPLATES / "site"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"linked": linked, "breakable": breakable, "brief": brief, "duration": duration,
                            "value_text": value_text, "as_script": as_script, "anchor": anchor}  # fmt: skip
    environment.globals |= {"VERDICTS": VERDICTS}
    return environment


def page(template: str, **parts: Any) -> str:
    """A page of the report as one HTML document."""
    style = Markup((_FOLDER / "site.css").read_text(encoding="utf-8"))
    script = Markup((_FOLDER / "site.js").read_text(encoding="utf-8"))
    return _environment().get_template(template).render(style=style, script=script, **parts)
