"""Sphinx's settings: `make docs` builds the site into docs/_build/html. Nothing is fetched from the network."""

from __future__ import annotations

import inspect
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

from benchmark import __version__  # noqa: E402

generate.main()

project, author, release = "gantlet", "the gantlet authors", __version__
copyright = "2026, the gantlet authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "*.py"]
root_doc = "index"
nitpicky = False

html_theme = "furo"
html_title = f"gantlet {release}"
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
myst_links_external_new_tab = False

default_role = "literal"  # docstrings write code between single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90


def setup(app: Sphinx) -> None:
    """Links of pages to Markdown outside of docs lead to the site's copies."""
    app.connect("source-read", lead_to_copies)
    app.connect("autodoc-process-docstring", list_parameters)


def lead_to_copies(app: Sphinx, page: str, content: list[str]) -> None:
    """Change the links of one page as it is read."""
    folder = (HERE / page).parent
    if not page.startswith("generated/"):
        content[0] = generate.relinked(content[0], folder, folder)


def list_parameters(app: Sphinx, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Make a list of a docstring's paragraphs that explain parameters: `n: how many. seed: of what is random.`"""
    known = set(getattr(thing, "__annotations__", {}))
    if kind in ("function", "method", "class") and callable(thing):
        with suppress(ValueError, TypeError):
            known |= set(inspect.signature(thing).parameters)
    paragraphs = "\n".join(lines).split("\n\n")
    lines[:] = "\n\n".join(as_list(paragraph, known) for paragraph in paragraphs).split("\n")


def as_list(paragraph: str, known: set[str]) -> str:
    """A paragraph that begins with the name of a parameter, as a list with an item for each; others as they are."""
    text = " ".join(paragraph.split())
    parts = re.split(r"(?:^|(?<=\. ))((?:\w+, )*\w+): ", text)
    if parts[0] or len(parts) < 3 or not set(parts[1].split(", ")) <= known:
        return paragraph
    items, rest = [], ""
    for names, about in zip(parts[1::2], parts[2::2]):
        if not set(names.split(", ")) <= known:
            items[-1] += f"{names}: {about}"
            continue
        about, marker, after = about.partition(" Raises ")
        rest = marker.strip() and f"Raises {after}"
        items.append(f"* **{names}**: {about.strip()}")
    return "\n".join(items) + (f"\n\n{rest}" if rest else "")
