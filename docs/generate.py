"""Write the generated references into docs/generated: command line, settings, metrics, datasets, methods.

`make docs` calls it before Sphinx; `python docs/generate.py` alone writes the pages. Everything is taken from the code:
the grammar of the command line, the configuration classes with the comments behind their fields, the catalogue of
metrics, the dataset configs, and the method files.
"""

from __future__ import annotations

from generators.command_line import cli_page
from generators.datasets import datasets_page
from generators.methods import methods_page
from generators.metrics import metrics_page
from generators.outside import copy_name, outside_pages, relinked
from generators.places import DOCS
from generators.settings import config_classes, config_page

from benchmark.__main__ import parser

OUT = DOCS / "generated"


def main() -> None:
    """Write every page."""
    OUT.mkdir(exist_ok=True)
    classes = config_classes()
    pages = {
        "cli": cli_page(parser()),
        "config": config_page(classes),
        "metrics": metrics_page(),
        "datasets": datasets_page(),
        "methods": methods_page(classes, OUT),
    }
    for name, text in pages.items():
        (OUT / f"{name}.md").write_text(text.rstrip() + "\n")
    for source in outside_pages():
        (OUT / copy_name(source)).write_text(
            "---\norphan: true\n---\n\n" + relinked(source.read_text(), source.parent, DOCS / "generated")
        )


if __name__ == "__main__":
    main()
