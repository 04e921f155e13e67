"""One's own records in the published tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_records import write

import benchmark as gantlet
from benchmark.__main__ import main
from benchmark.core import paths
from benchmark.core.errors import UserError
from benchmark.report.beside_reference import tables_beside_reference


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own records, beside a published one with the same method and another."""
    reference, own = tmp_path / "reference", tmp_path / "own"
    for seed, value in enumerate([2.0, 2.2, 2.4]):
        write(reference, {"fd_judge": value}, method="biggan", seed=seed)
        write(reference, {"fd_judge": value + 3}, method="sngan", seed=seed)
    write(reference, {"fd_judge": 9.0}, method="sngan", dataset="shapes")
    write(own, {"fd_judge": 2.1}, method="biggan", seed=0)
    monkeypatch.setattr(paths, "REFERENCE", reference)
    return own


def test_own_rows_are_marked_and_share_the_column(own: Path) -> None:
    frame = gantlet.table("digits", own, with_reference=True).to_frame()
    assert frame["Method"].tolist() == ["biggan", "biggan (own)", "sngan"]
    assert frame["FD-judge mean"].tolist() == pytest.approx([2.2, 2.1, 5.2])
    assert frame["FD-judge n"].tolist() == [3, 1, 3], "never averaged, although configured alike"
    assert len(set(frame["config_hash"][:2])) == 1
    assert list(gantlet.table("digits", own).to_frame()["Method"]) == ["biggan"], "without it: one's own alone"


def test_other_protocols_are_other_columns(own: Path) -> None:
    write(own, {"fd_judge": 2.3}, method="sngan", n_fake=100)
    table = gantlet.table("digits", own, with_reference=True)
    assert len(table.columns) == 2
    assert [row.labels[0] for row in table.rows] == ["biggan", "biggan (own)", "sngan", "sngan (own)"]


def test_only_datasets_with_own_records_are_written(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [table.name for table in tables_beside_reference(own)] == ["digits-with-reference"]
    assert main(["table", "--with", "reference", "--results", str(own)]) == 0
    assert "biggan (own)" in capsys.readouterr().out
    written = {path.name for path in (own / "tables").iterdir()}
    assert written == {f"digits-with-reference.{form}" for form in ("csv", "md", "tex")}


def test_what_is_not_there_is_said(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no records"):
        tables_beside_reference(tmp_path / "empty")
    with pytest.raises(UserError, match="the published records themselves"):
        tables_beside_reference(paths.REFERENCE)
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "nowhere")
    with pytest.raises(UserError, match="no published records"):
        tables_beside_reference(own)
