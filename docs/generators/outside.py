"""Markdown files outside of docs: the site has copies of those that its pages lead to."""

from __future__ import annotations

import os
import re
from pathlib import Path

from generators.places import DOCS

_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+\.md)(#[^)\s]*)?\)")


def outside_pages() -> list[Path]:
    """Markdown files outside of docs to which its pages lead: the site has copies of them."""
    pages = [path for folder in (DOCS, DOCS / "tutorials", DOCS / "results") for path in folder.glob("*.md")]
    found = {(page.parent / link[0]).resolve() for page in pages for link in _LINK.findall(page.read_text())}
    return sorted(path for path in found if path.is_file() and not path.is_relative_to(DOCS))


def copy_name(source: Path) -> str:
    """The name of the copy of a page, which is unlike any generated page's."""
    return "copy-" + source.name.lower()


def relinked(text: str, source: Path, target: Path) -> str:
    """A page's text for a place in `target`, its links to pages made for one in `source`.

    A page outside of docs is linked as its copy; one that has none becomes plain text.
    """
    copies = {path: DOCS / "generated" / copy_name(path) for path in outside_pages()}

    def moved(link: re.Match[str]) -> str:
        path = (source / link[1]).resolve()
        path = copies.get(path, path)
        return f"]({os.path.relpath(path, target)}{link[2] or ''})" if path.is_relative_to(DOCS) else "]()"

    return _LINK.sub(moved, text)
