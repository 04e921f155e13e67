"""A table by its name: a dataset's, a suite's, and names that nothing belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.core import paths
from benchmark.core.errors import UserError
from benchmark.report.find import find_table


@pytest.mark.parametrize(
    ("name", "size", "found"),
    [
        ("digits", "small", "digits"),
        ("icgan-k", "small", "icgan-k-small"),
        ("icgan-k-small", "paper", "icgan-k-small"),
        ("selfcond-2d-small-ring2d", "small", "selfcond-2d-small-ring2d"),
    ],
)
def test_a_table_of_the_published_records(name: str, size: str, found: str) -> None:
    table = find_table(name, paths.REFERENCE, size)
    assert table.name == found
    assert table.rows


def test_the_headline_is_narrower() -> None:
    whole, headline = (find_table("digits", paths.REFERENCE, headline=narrow) for narrow in (False, True))
    assert 0 < len(headline.columns) < len(whole.columns)
    assert len(headline.rows) == len(whole.rows)


def test_names_without_a_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no records"):
        find_table("digits", tmp_path)
    with pytest.raises(UserError, match="digits"):
        find_table("digts", paths.REFERENCE)
    with pytest.raises(UserError, match="selfcond-2d-small-grid2d"):
        find_table("selfcond-2d", paths.REFERENCE)
