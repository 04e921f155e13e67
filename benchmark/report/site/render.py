"""Templates of the report's pages: style and script stand in each page, and it makes no request."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from benchmark.core import paths
from benchmark.report.page import templates
from benchmark.report.site.data import VERDICTS, as_script
from benchmark.report.site.numbers import brief, duration, value_text

_FOLDER = paths.TEMPLATES / "site"


@cache
def _environment() -> jinja2.Environment:
    environment = templates(_FOLDER)
    environment.filters |= {"brief": brief, "duration": duration, "value_text": value_text, "as_script": as_script}
    environment.globals |= {"VERDICTS": VERDICTS}
    return environment


def page(template: str, **parts: Any) -> str:
    """A page of the report as one HTML document."""
    style = Markup((_FOLDER / "site.css").read_text(encoding="utf-8"))
    script = Markup((_FOLDER / "site.js").read_text(encoding="utf-8"))
    return _environment().get_template(template).render(style=style, script=script, **parts)
