"""What `table` prints: a few lines of one table; the files have all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_records import write

from benchmark.__main__ import main
from benchmark.core.errors import ConfigError
from benchmark.report.table_summary import LONGEST_LABEL, MOST_ROWS, WIDTH, latest_dataset, summary_text
from benchmark.report.tables import dataset_table
from benchmark.runs.records import read_records

pytestmark = pytest.mark.usefixtures("quick_environment")
METHODS = {"sngan": 20.0, "crgan": 10.0, "dcgan": 15.0}
RECALL = {"sngan": 0.5, "crgan": 0.4, "dcgan": 0.6}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three methods with two seeds, and one whose run failed; afterwards one run on shapes."""
    for method, fd in METHODS.items():
        for seed in (0, 1):
            values: dict[str, float | None] = {"recall_judge": RECALL[method], "fd_judge": fd + seed, "kd_judge": 0.1}
            values["density_judge"] = 0.3
            write(tmp_path, values, method=method, seed=seed, utc="2026-01-01T00:00:00Z")
    write(tmp_path, None, method="mgan", reason="loss not finite", utc="2026-01-01T00:00:00Z")
    write(tmp_path, {"fd_judge": 3.0}, dataset="shapes", utc="2026-01-02T00:00:00Z")
    return tmp_path


def first_words(text: str) -> list[str]:
    """Of the rows."""
    return [line.split()[0] for line in text.splitlines()[2:] if line and line.split()[0] in {*METHODS, "mgan"}]


def test_rows_are_sorted_by_the_first_column_the_best_first(results: Path) -> None:
    table = dataset_table("digits", [one for one in read_records(results) if one.dataset == "digits"])
    assert first_words(summary_text(table, ["fd"])) == ["crgan", "dcgan", "sngan", "mgan"], "failed runs stay visible"
    recalls = first_words(summary_text(table, ["recall"]))
    assert recalls == ["dcgan", "sngan", "crgan", "mgan"], "of what is better when higher the highest is best"
    assert "failed (1 of 1)" in summary_text(table)
    assert first_words(summary_text(table, ["fd"], ["ngan", "mgan"])) == ["sngan", "mgan"]
    names = {column.id: f" {column.name} " for column in table.columns}
    text = summary_text(table, ["kd_judge", "fd_judge"])
    assert text.index(names["kd_judge"]) < text.index(names["fd_judge"])
    assert names["density_judge"] not in summary_text(table), "no headline metric"
    assert names["density_judge"] in summary_text(table, ["all"])
    assert "1 more columns" in summary_text(table)


def test_what_a_table_lacks_is_refused(results: Path) -> None:
    table = dataset_table("digits", [one for one in read_records(results) if one.dataset == "digits"])
    with pytest.raises(ConfigError, match="did you mean 'fd_judge'"):
        summary_text(table, ["fd_jugde"])
    with pytest.raises(ConfigError, match="did you mean 'sngan'"):
        summary_text(table, [], ["snagn"])


def test_many_rows_and_long_labels_fit_a_screen(tmp_path: Path) -> None:
    for k in range(60):
        write(tmp_path, {"fd_judge": 60.0 - k, "recall_judge": 0.5, "kd_judge": 1.0, "precision_judge": 0.2},
              changes={"encoder": {"a_setting_with_quite_a_long_name": k}})  # fmt: skip
    table = dataset_table("digits", read_records(tmp_path))
    text = summary_text(table)
    lines = text.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= WIDTH
    assert f"{60 - MOST_ROWS} more rows" in text
    assert "..." in lines[2]
    assert len(lines[2].split("  ")[1]) <= LONGEST_LABEL
    assert len(summary_text(table, [], ["all"]).splitlines()) > 60


def test_the_command_prints_a_summary_and_writes_everything(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert latest_dataset(read_records(results)) == "shapes"
    assert main(["table", "--results", str(results)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Results on shapes")
    assert len(text.splitlines()) <= 40
    assert "shapes.csv" in text
    assert main(["table", "digits", "--columns", "fd", "--rows", "sngan", "--results", str(results)]) == 0
    text = capsys.readouterr().out
    assert "sngan" in text
    assert "crgan" not in text
    for name in ("digits.csv", "digits-all.md", "shapes.md", "tables.tex"):
        assert (results / "tables" / name).exists()
    assert main(["table", "--quiet", "--results", str(results)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(str(results / "tables"))
    assert main(["table", "digist", "--results", str(results)]) == 2
