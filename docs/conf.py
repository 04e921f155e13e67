"""Sphinx's settings: `make docs` builds the site into docs/_build/html. Nothing is fetched from the network."""

from __future__ import annotations

import sys
from pathlib import Path

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
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sphinx = False

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


def lead_to_copies(app: Sphinx, page: str, content: list[str]) -> None:
    """Change the links of one page as it is read."""
    folder = (HERE / page).parent
    if not page.startswith("generated/"):
        content[0] = generate.relinked(content[0], folder, folder)
