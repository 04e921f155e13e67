"""A number by a network that a method trained against: marked wherever it is shown, and left out of every ranking."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from made_records import write

from benchmark.evaluation.value import MetricValue
from benchmark.report.claims import check_claims, claims_listing
from benchmark.report.comparison_figures import cost, cost_figure, quality_column
from benchmark.report.curves import snapshot_curves
from benchmark.report.page_published import beside_published
from benchmark.report.page_tables import table_view
from benchmark.report.published import PublishedValue
from benchmark.report.report import tables_page, write_report
from benchmark.report.suite_tables import suite_table
from benchmark.report.table_files import write_tables
from benchmark.report.tables import Column, Row, Table, dataset_table
from benchmark.report.writers import comparisons_frame, runs_csv, to_csv, to_latex, to_markdown
from benchmark.runs.records import Record, read_records
from benchmark.runs.suites.suite import find_suite

pytestmark = pytest.mark.usefixtures("quick_environment")

LITE0, KEY = "1173" * 16, "5e1f" * 16
IDENTITY = {"extractor": "lite0", "weights": {"file": "lite0.pth", "sha256": LITE0, "verified": True}}
AGAINST = [{"name": "lite0", "hashes": [LITE0]}]
OTHER = [{"name": "SimCLR", "hashes": [KEY, "ab" * 32]}]


def rows(results: Path, **of_first: Any) -> None:
    """Three seeds each of a method that is best in lite0's features, and of two others, one clearly better."""
    for seed in range(3):
        more = {"seed": seed, "extractor": IDENTITY}
        write(results, {"fd_lite0": 1.0 + seed / 100}, method="projectedgan", **(more | of_first))
        write(results, {"fd_lite0": 5.0 + seed / 100}, method="sngan", trained_against=[], **more)
        write(results, {"fd_lite0": 9.0 + seed / 100}, method="dcgan", trained_against=OTHER, **more)


def table_of(results: Path, **of_first: Any) -> Table:
    rows(results, **of_first)
    return dataset_table("digits", read_records(results))


def row_of(table: Table, method: str) -> Row:
    return next(row for row in table.rows if row.labels[0] == method)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return table_of(tmp_path, trained_against=AGAINST)


# ---- tables ---------------------------------------------------------------------------------------------------------


def test_the_cell_is_marked_with_a_note_and_the_best_of_the_others_is_bold(table: Table) -> None:
    (column,) = table.columns
    assert row_of(table, "projectedgan").text(column).endswith(" §")
    bold = [row.labels[0] for row in table.rows if table.bold(row, column)]
    assert bold == ["sngan"], "the marked number neither wins nor keeps another from winning"
    (note,) = [note for note in table.notes if note.startswith("§")]
    assert "lite0 (fd_lite0): projectedgan" in note
    assert "sngan" not in note
    text = to_markdown(table)
    assert re.search(r"\| projectedgan .*1\.010 ± \S+ § \|", text)
    assert re.search(r"\| sngan .*\*\*5\.010 ± \S+\*\* \|", text)
    assert "§" in to_latex(table)


def test_without_the_field_nothing_is_marked_and_the_method_wins(tmp_path: Path) -> None:
    """A record of an earlier version says nothing of what its method trained against."""
    table = table_of(tmp_path)
    (column,) = table.columns
    assert [row.labels[0] for row in table.rows if table.bold(row, column)] == ["projectedgan"]
    assert "§" not in to_markdown(table)
    assert "trained against" not in to_csv(table)


def test_networks_are_compared_by_hash_not_by_name(tmp_path: Path) -> None:
    table = table_of(tmp_path, trained_against=[{"name": "lite0", "hashes": ["00" * 32]}])
    assert not row_of(table, "projectedgan").trained_against(table.columns[0])


def test_the_csv_says_it_for_machines(table: Table) -> None:
    lines = {line["Method"]: line for line in csv.DictReader(io.StringIO(to_csv(table)))}
    column = "fd_lite0 trained against"
    assert {method: line[column] for method, line in lines.items()} == {
        "projectedgan": "lite0",
        "sngan": "",
        "dcgan": "",
    }
    assert lines["projectedgan"]["fd_lite0 mean"] == "1.01", "the number itself stays"


def test_the_csv_of_runs_says_it_of_every_value_where_records_know_it(tmp_path: Path) -> None:
    rows(tmp_path, trained_against=AGAINST)
    lines = list(csv.DictReader(io.StringIO(runs_csv(read_records(tmp_path)))))
    assert {(line["method"], line["value_trained_against"]) for line in lines} == {
        ("projectedgan", "lite0"),
        ("sngan", ""),
        ("dcgan", ""),
    }
    write(tmp_path / "old", {"fd_judge": 1.0})
    assert "trained_against" not in runs_csv(read_records(tmp_path / "old"))


def test_comparisons_leave_it_out(table: Table) -> None:
    found = comparisons_frame([table]).to_dict("records")
    assert [(one["a"].split(",")[0], one["b"].split(",")[0], one["verdict"]) for one in found] == [
        ("dcgan", "sngan", "worse")
    ]


def test_another_column_of_the_same_row_is_ranked(tmp_path: Path) -> None:
    for seed in range(3):
        for method, fd, against in (("projectedgan", 1.0, AGAINST), ("sngan", 5.0, [])):
            write(tmp_path, {"fd_judge": fd + seed / 100}, method=method, seed=seed, trained_against=against)
    table = dataset_table("digits", read_records(tmp_path))
    assert [row.labels[0] for row in table.rows if table.bold(row, table.columns[0])] == ["projectedgan"]
    assert not [note for note in table.notes if note.startswith("§")]


# ---- which values ---------------------------------------------------------------------------------------------------


def made(value: MetricValue, trained_against: Any) -> Record:
    result: dict[str, Any] = {"values": [value.to_dict()]}
    if trained_against is not None:
        result["trained_against"] = trained_against
    plain = {"schema": 1, "run": "a", "status": "done", "method": "m", "dataset": "d", "recipe": "small", "seed": 0}
    return Record.model_validate(plain | {"result": result})


@pytest.mark.parametrize(
    ("protocol", "network"),
    [
        ({"extractor": {"extractor": "simclr", "encoder": KEY, "weights": {"sha256": "cd" * 32}}}, "SimCLR"),
        ({"extractor": {"extractor": "simclr", "encoder": "other", "weights": {"sha256": "ab" * 32}}}, "SimCLR"),
        ({"encoder": KEY, "tsne": {"perplexity": 30.0}}, "SimCLR"),  # the embedding of the Chamfer distance
        ({"distance": {"distance": "lpips-vgg", "weights": {"sha256": "ab" * 32}}}, "SimCLR"),
        ({"extractor": {"extractor": "judge", "judge": "ef" * 32, "weights": {"sha256": "cd" * 32}}}, ""),
        ({"extractor": {"extractor": "simclr"}}, ""),  # the name alone is none
        ({"data_sha256": KEY}, ""),  # a hash of something else
        ({"scorer": {"name": "the classifier the generator was trained against"}}, "its own classifier"),
    ],
)
def test_a_value_is_by_such_a_network_wherever_its_protocol_names_it(protocol: dict[str, Any], network: str) -> None:
    value = MetricValue("chamfer_X", "Chamfer", 1.0, "lower", protocol)
    for against, expected in ((OTHER, network), (None, "")):
        record = made(value, against)
        assert record.network_of(record.values["chamfer_X"]) == expected
    frame = made(value, OTHER).scores
    assert frame.loc["chamfer_X", "trained_against"] == network


# ---- claims ---------------------------------------------------------------------------------------------------------

SUITE = """
title: Two methods
source: made up
dataset: digits
recipe: small
seeds: [0, 1, 2]
columns: [Method]
metrics: [fd_lite0, fd_judge]
sizes: {small: {}}
rows:
  - {labels: {Method: Projected}, method: projectedgan}
  - {labels: {Method: SNGAN}, method: sngan}
claims:
  - {claim: projected features help, by: paper, better: {Method: Projected}, than: {Method: SNGAN}, metric: fd}
"""


def test_a_claim_is_not_tested_by_such_a_network_but_by_another_one(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(SUITE)
    suite = find_suite(str(path))
    rows(tmp_path, trained_against=AGAINST)
    checked = check_claims(suite, suite_table(suite, "small", read_records(tmp_path), "digits"))
    (one,) = checked
    assert (one.outcome, one.network, one.test) == ("not comparable", "lite0", None)
    listing = claims_listing(checked)
    assert listing is not None
    assert "projected features help (two-small): lite0" in listing.notes[-1]

    judged = tmp_path / "judged"
    for seed in range(3):
        for method, fd, against in (("projectedgan", 1.0, AGAINST), ("sngan", 5.0, [])):
            both = {"fd_lite0": 7.0, "fd_judge": fd + seed / 100}
            write(judged, both, method=method, seed=seed, trained_against=against)
    records = [with_lite0(record) for record in read_records(judged)]
    (one,) = check_claims(suite, suite_table(suite, "small", records, "digits"))
    assert one.column is not None
    assert (one.outcome, one.column.id, one.network) == ("supported", "fd_judge", "")


def with_lite0(record: Record) -> Record:
    """The record whose distance in lite0's features says by its protocol that it is one."""
    plain = record.to_dict()
    for value in plain["result"]["values"]:
        if value["id"] == "fd_lite0":
            value |= {"protocol": value["protocol"] | {"extractor": IDENTITY}, "protocol_key": "lite0"}
    return Record.model_validate(plain)


# ---- page and figures -----------------------------------------------------------------------------------------------


def test_the_page_shows_it_marked_and_sorts_it_last(tmp_path: Path, table: Table) -> None:
    view = table_view(table, "digits")
    place = next(k for k, head in enumerate(view.heads) if head.text == "fd_lite0")
    cells = {line.cells[0].text: line.cells[place] for line in view.lines}
    assert cells["projectedgan"].text.endswith("§")
    assert (cells["projectedgan"].sort, cells["sngan"].sort) == (None, pytest.approx(5.01))
    assert (cells["projectedgan"].bold, cells["sngan"].bold) == (False, True)
    text = tables_page(write_report(tmp_path)).read_text()
    assert "§: trained against this extractor" in text


def test_beside_published_values_it_is_marked_too(table: Table) -> None:
    fields = {"protocol": "p", "source": "s", "certainty": "read", "value": "3.0", "spread": ""}
    view = beside_published(table, [PublishedValue("a paper", "m", "digits", "fd_lite0", 3.0, fields)])
    assert view is not None
    ours = {line.cells[1].text.split(" ")[0].strip(","): line.cells[2] for line in view.lines[:3]}
    assert ours["projectedgan"].text.endswith("§")
    assert ours["projectedgan"].sort is None
    assert any(note.startswith("§") for note in view.notes)


def test_quality_against_cost_leaves_it_out_and_prefers_a_column_that_ranks_all(tmp_path: Path, table: Table) -> None:
    (column,) = table.columns
    assert cost(row_of(table, "projectedgan"), column) is None
    assert cost(row_of(table, "sngan"), column) == (1.0, pytest.approx(5.01))
    drawn, unmarked = cost_figure(table.rows, column), cost_figure(table.rows[:1] + table.rows[2:], column)
    assert drawn is not None
    assert drawn != unmarked, "who is left out is said below"
    fair = Column("fd_judge", "key", "FD-judge", "lower", {})
    both = Table("digits", "", table.label_names, (column, fair), table.rows, ())
    assert quality_column(both) is fair
    assert quality_column(table) is column


def test_curves_of_snapshots_are_named_so(tmp_path: Path) -> None:
    for method, against in (("projectedgan", AGAINST), ("sngan", [])):
        details = {"curve": [{"step": 5, "fd": 2.0}, {"step": 10, "fd": 1.0}]}
        write(
            tmp_path,
            {"fd_late_lite0": 1.0},
            method=method,
            trained_against=against,
            details=details,
            extractor=IDENTITY,
        )
    records = [Record.model_validate(drawn(record)) for record in read_records(tmp_path)]
    ((_, _, lines),) = snapshot_curves(dataset_table("digits", records))
    assert [line.row for line in lines] == ["projectedgan (§ trained against this extractor)", "sngan"]


def drawn(record: Record) -> dict[str, Any]:
    """The record with the images that were drawn in training."""
    plain = record.to_dict()
    return plain | {"result": plain["result"] | {"images_seen": 80}}


def test_all_files_of_tables_are_written_with_it(tmp_path: Path) -> None:
    rows(tmp_path, trained_against=AGAINST)
    write_tables(tmp_path, suites=[])
    folder = tmp_path / "tables"
    assert "§" in (folder / "digits.md").read_text()
    assert "§" in (folder / "digits-all.md").read_text()
    assert "projectedgan" not in (folder / "comparisons.csv").read_text()
    assert "fd_lite0 trained against" in (folder / "digits.csv").read_text()
