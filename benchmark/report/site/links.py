"""Names of the report's files, and links to them. A name from a record stays one component of a path."""

from __future__ import annotations

from urllib.parse import quote

from benchmark.core.names import path_component

TABLES = "tables.html"


def dataset_file(dataset: str) -> str:
    """The page of a dataset, as a link."""
    return quote(file_name("data", dataset))


def method_file(method: str) -> str:
    """The page of a method, as a link."""
    return quote(file_name("method", method))


def compare_file(dataset: str) -> str:
    """The page that compares two rows on a dataset, as a link."""
    return quote(file_name("compare", dataset))


def file_name(kind: str, name: str) -> str:
    """The name of a page's file."""
    return f"{kind}-{path_component(name)}.html"
