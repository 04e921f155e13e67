"""Tables: made of records alone; protocols never mixed; failures visible; LaTeX that compiles; stable bytes."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_records import write

from benchmark.report.table_files import write_tables
from benchmark.report.tables import changes_text, dataset_table
from benchmark.report.writers import (
    comparisons_csv,
    comparisons_frame,
    document,
    runs_frame,
    tex,
    to_csv,
    to_latex,
    to_markdown,
)
from benchmark.runs.records import Record, read_records

pytestmark = pytest.mark.usefixtures("quick_environment")


def table_of(results: Path) -> Any:
    return dataset_table("digits", read_records(results))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_seeds_are_aggregated_and_changes_make_a_row_of_their_own(tmp_path: Path) -> None:
    for seed, value in enumerate([10.0, 12.0, 14.0]):
        write(tmp_path, {"fd_judge": value}, seed=seed)
    write(tmp_path, {"fd_judge": 20.5}, changes={"loss": "lsgan4", "eval": {"n_fake": 500}})
    first, second = rows_of(to_csv(table_of(tmp_path)))
    assert (first["Changes"], first["FD-judge mean"], first["FD-judge sd"], first["FD-judge n"]) == (
        "",
        "12.0",
        "2.0",
        "3",
    )
    assert float(first["FD-judge high"]) - 12 == pytest.approx(4.968275, rel=1e-5)
    assert second["Changes"] == "eval.n_fake=500, loss=lsgan4"
    assert (second["FD-judge mean"], second["FD-judge n"], second["FD-judge sd"]) == ("20.5", "1", "")
    assert "| 12.0 ± 5.0 | 3 |" in to_markdown(table_of(tmp_path))


def test_a_table_is_a_data_frame_that_its_csv_file_gives_back(tmp_path: Path) -> None:
    for seed, value in enumerate([0.1 + 0.2, 1e-7, 1e22]):
        write(tmp_path, {"fd_judge": value, "odd": None}, seed=seed)
    write(tmp_path, {"fd_judge": 5.0}, method="sngan")
    write(tmp_path, None, method="sngan", seed=1, reason='broke, "twice"')
    table = table_of(tmp_path)
    frame = table.to_frame()
    assert list(frame["Method"]) == ["infoscc", "sngan"]
    assert list(frame["FD-judge n"]) == [3, 1]
    assert frame["FD-judge mean"].dtype == "float64"
    assert frame["FD-judge sd"].isna().tolist() == [False, True]
    assert frame["odd mean"].isna().all()
    assert (frame["runs_done"].tolist(), frame["runs_failed"].tolist()) == ([3, 1], [0, 1])
    text = to_csv(table)
    assert [row["FD-judge mean"] for row in rows_of(text)] == [
        repr(row.summary(table.columns[0]).mean) for row in table.rows
    ]
    assert rows_of(text)[1]["reasons"] == 'seed 1: broke, "twice"'
    again = pd.read_csv(io.StringIO(text), float_precision="round_trip", keep_default_na=False, na_values={
        name: [""] for name in frame if frame[name].dtype != "str"})  # fmt: skip
    pd.testing.assert_frame_equal(again, frame, check_dtype=False)


def test_rows_of_real_images_are_in_the_frame_when_they_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {"fd_judge": 2.0}, details={"controls": {"real, blur": 1.5}})
    table = table_of(tmp_path)
    assert len(table.to_frame()) == 1
    real = table.to_frame(real_data=True).iloc[1]
    assert (real["Method"], real["Changes"], real["config_hash"], real["FD-judge mean"]) == ("real, blur", "", "", 1.5)
    assert pd.isna(real["FD-judge n"])
    assert pd.isna(real["runs_done"])
    assert to_csv(table).splitlines()[2] == '"real, blur",,,,,,,,,1.5,,,,'


def test_runs_and_comparisons_are_data_frames(tmp_path: Path) -> None:
    for seed in range(2):
        write(tmp_path, {"fd_judge": 2.0 + seed, "odd": None}, seed=seed)
        write(tmp_path, {"fd_judge": 4.0 + 3 * seed}, method="sngan", seed=seed)
    write(tmp_path, None, method="sngan", seed=2, reason="broke")
    runs = runs_frame(read_records(tmp_path))
    assert len(runs) == 7, "a row a value, and one of the failed run"
    assert runs[runs["value_id"] == "fd_judge"].groupby("method")["value"].mean().to_dict() == {
        "infoscc": 2.5,
        "sngan": 5.5,
    }
    assert runs["value"].isna().sum() == 3
    (one,) = comparisons_frame([table_of(tmp_path)]).to_dict("records")
    assert (one["table"], one["n_a"], one["n_b"], one["scale"]) == ("digits", 2, 2, "log")
    assert comparisons_csv([]) == ",".join(comparisons_frame([])) + "\n"


def test_every_digit_that_matters_is_in_the_csv(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    write(tmp_path, {"fd_judge": value})
    write_tables(tmp_path, suites=[])
    for name in ("digits.csv", "digits-runs.csv"):
        assert "0.30000000000000004" in (tmp_path / "tables" / name).read_text()


def test_another_protocol_gets_another_column_and_a_note_of_what_differs(tmp_path: Path) -> None:
    write(tmp_path, {"fd_judge": 10.0}, seed=0)
    write(tmp_path, {"fd_judge": 99.0}, seed=1, n_fake=500)
    table = table_of(tmp_path)
    names = [column.name for column in table.columns]
    assert len(names) == 2
    assert all(re.fullmatch(r"FD-judge \[[0-9a-f]{4}\]", name) for name in names)
    means = sorted(table.rows[0].summary(column).mean for column in table.columns)
    assert means == [10.0, 99.0], "one row, two columns, nothing averaged over protocols"
    note = next(note for note in table.notes if "not comparable" in note)
    assert "n_fake: " in note
    assert "n_reference" not in note


def test_the_same_label_with_another_configuration_is_not_averaged(tmp_path: Path) -> None:
    write(tmp_path, {"fd_judge": 10.0}, seed=0, config={"version": 1})
    write(tmp_path, {"fd_judge": 30.0}, seed=1, config={"version": 2})
    table = table_of(tmp_path)
    assert [len(row.done) for row in table.rows] == [1, 1]
    assert all(re.fullmatch(r"\[[0-9a-f]{4}\]", row.labels[-1]) for row in table.rows)
    assert any("configured differently: version: " in note for note in table.notes)


def test_failed_runs_stay_with_their_reason(tmp_path: Path) -> None:
    write(tmp_path, {"fd_judge": 10.0}, seed=0)
    write(tmp_path, {"fd_judge": 11.0}, seed=1)
    write(tmp_path, None, seed=2, reason="non-finite loss at step 7")
    write(tmp_path, None, method="sngan", reason="non-finite loss at step 1")
    table = table_of(tmp_path)
    assert [row.runs for row in table.rows] == ["2, failed (1 of 3)", "failed (1 of 1)"]
    assert "| sngan | not known | small |  | – | failed (1 of 1) |" in to_markdown(table)
    infoscc, sngan = rows_of(to_csv(table))
    assert infoscc["FD-judge n"] == "2"
    assert infoscc["runs_failed"] == "1"
    assert infoscc["reasons"] == "seed 2: non-finite loss at step 7"
    assert sngan["FD-judge mean"] == ""
    write_tables(tmp_path, suites=[])
    runs = rows_of((tmp_path / "tables" / "digits-runs.csv").read_text())
    failed = [run for run in runs if run["run_status"] == "failed"]
    assert [run["run_reason"] for run in failed] == ["non-finite loss at step 7", "non-finite loss at step 1"]
    assert [run["value"] for run in failed] == ["", ""]


def test_a_value_that_a_finished_run_lacks_is_said_and_explained(tmp_path: Path) -> None:
    write(tmp_path, {"fd_judge": float("nan"), "control_accuracy_judge": None}, seed=0)
    table = table_of(tmp_path)
    assert "| failed | unavailable | 1 |" in to_markdown(table)
    assert any("no value in 1 of 1 runs (failed, the value is nan)" in note for note in table.notes)
    assert any("no attribute was asked both on and off" in note for note in table.notes)


def test_runs_of_different_machines_are_said(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path, {"fd_judge": 5.0 + seed}, seed=seed)
    records = read_records(tmp_path)
    here = {"device": "cpu", "cpu": "one", "libraries": {"torch": "2.15.0"}}
    same = [one.model_copy(update={"environment": here}) for one in records]
    assert not any("Machines" in note for note in dataset_table("digits", same).notes)
    same[2] = records[2].model_copy(update={"environment": here | {"cpu": "another"}})
    (note,) = (note for note in dataset_table("digits", same).notes if "Machines" in note)
    assert note.startswith("Machines: 2 runs on one with torch 2.15.0, 1 run on another with torch 2.15.0.")


def bold_cells(table: Any) -> list[tuple[str, str]]:
    return [(row.labels[0], c.id) for row in table.rows for c in table.columns if table.bold(row, c)]


def test_bold_is_the_best_and_a_sign_what_is_not_significantly_worse(tmp_path: Path) -> None:
    for seed, (jitter, other) in enumerate([(-0.1, 0.0), (0.0, 0.1), (0.1, -0.05)]):
        write(tmp_path, {"fd_judge": 5 + jitter, "score_judge": 5 + jitter, "odd": 5 + jitter}, method="a", seed=seed)
        write(tmp_path, {"fd_judge": 9 + other, "score_judge": 9 + other, "odd": 9 + other}, method="b", seed=seed)
    assert bold_cells(table_of(tmp_path)) == [("a", "fd_judge"), ("b", "score_judge")]
    assert r"\textbf{5.00 $\pm$ 0.25}" in to_latex(table_of(tmp_path))
    assert "**5.00 ± 0.25**" in to_markdown(table_of(tmp_path))
    write(tmp_path, {"fd_judge": 0.1}, method="single", seed=0)
    assert bold_cells(table_of(tmp_path)) == [("a", "fd_judge"), ("b", "score_judge")], "one seed changes nothing"
    for seed, value in enumerate([4.0, 7.0]):  # second by its mean, and not significantly worse than the best
        write(tmp_path, {"fd_judge": value}, method="c", seed=seed)
    table = table_of(tmp_path)
    assert bold_cells(table) == [("a", "fd_judge"), ("b", "score_judge")]
    assert re.search(r"\| 5\.5 ± 19 ~ \|", to_markdown(table))
    assert re.search(r"& 5\.5 \$\\pm\$ 19 \\textasciitilde\{\} &", to_latex(table))


def test_one_seed_or_one_row_is_never_bold(tmp_path: Path) -> None:
    for seed in range(3):
        write(tmp_path, {"fd_judge": 5 + seed / 10}, method="a", seed=seed)
    assert bold_cells(table_of(tmp_path)) == []
    write(tmp_path, {"fd_judge": 9.0}, method="b", seed=0)
    assert bold_cells(table_of(tmp_path)) == []


def test_what_seeds_do_not_agree_on_is_not_bold(tmp_path: Path) -> None:
    for seed, (a, b) in enumerate([(3.0, 8.0), (5.0, 4.0), (7.0, 9.0)]):
        write(tmp_path, {"fd_judge": a}, method="a", seed=seed)
        write(tmp_path, {"fd_judge": b}, method="b", seed=seed)
    assert bold_cells(table_of(tmp_path)) == []
    (line,) = rows_of(comparisons_csv([table_of(tmp_path)]))
    assert (line["a"], line["b"], line["n_a"], line["n_b"]) == ("b, small", "a, small", "3", "3")
    assert (line["verdict"], line["paired"]) == ("inconclusive", "False")
    assert int(line["seeds_to_decide"]) > 3


def test_comparisons_are_listed_in_full(tmp_path: Path) -> None:
    for seed, jitter in enumerate([-0.1, 0.0, 0.2]):
        write(tmp_path, {"fd_judge": 5 + jitter, "odd": 1.0}, method="a", seed=seed)
        write(tmp_path, {"fd_judge": 9 - jitter, "odd": 2.0}, method="b", seed=seed)
    write(tmp_path, {"fd_judge": 1.0}, method="c")
    (line,) = rows_of(comparisons_csv([table_of(tmp_path)]))
    assert (line["table"], line["metric"], line["scale"], line["verdict"]) == ("digits", "FD-judge", "log", "worse")
    assert float(line["p"]) < 0.05
    assert line["seeds_to_decide"] == ""
    assert float(line["low"]) < float(line["difference"]) < float(line["high"])


def test_collapsed_runs_are_marked_and_enter_the_mean(tmp_path: Path) -> None:
    for seed, recall in enumerate([0.5, 0.001]):
        write(tmp_path, {"fd_judge": 10.0 + seed, "recall_judge": recall, "coverage_judge": recall}, seed=seed)
    write(tmp_path, None, seed=2, reason="non-finite loss at step 7")
    table = table_of(tmp_path)
    assert table.rows[0].runs == "2, collapsed (1 of 3), failed (1 of 3)"
    assert any(note.startswith("Collapsed:") for note in table.notes)
    (row,) = rows_of(to_csv(table))
    assert (row["runs_collapsed"], row["FD-judge mean"]) == ("1", "10.5")
    assert "seed 1: collapsed, recall_judge 0.001, coverage_judge 0.001" in row["reasons"]


def test_the_headline_is_narrow_and_says_where_the_rest_is(tmp_path: Path) -> None:
    hidden = {"density_judge": 1.0, "chamfer_tsne_suite": 1.0, "recall_0.2_judge": 1.0, "fd_infinity_judge": 1.0}
    write(tmp_path, {"fd_judge": 5.0, "recall_judge": 0.5, "chamfer_judge": 1.0, **hidden})
    write_tables(tmp_path, suites=[])
    narrow, full, plain = ((tmp_path / "tables" / f"digits{end}").read_text() for end in (".md", "-all.md", ".csv"))
    heads = {name: next(line for line in text.splitlines() if line.startswith("| Method")) for name, text in
             {"narrow": narrow, "full": full}.items()}  # fmt: skip
    for name in ("FD-judge", "recall\\_judge", "chamfer\\_judge"):
        assert name in heads["narrow"]
    for name in hidden:
        assert name.replace("_", "\\_") not in heads["narrow"]
        assert name.replace("_", "\\_") in heads["full"]
        assert f"{name} mean" in plain
    assert "Headline columns; digits-all.md and the CSV have 7 metrics." in narrow
    assert "Headline columns" not in full


def test_points_show_all_and_a_table_without_headline_shows_everything(tmp_path: Path) -> None:
    write(tmp_path, {"modes": 8.0, "high_quality": 1.0, "reverse_kl": 0.1}, dataset="ring2d")
    write(tmp_path, {"odd": 1.0, "stranger": 2.0}, dataset="digits")
    for dataset, n in (("ring2d", 3), ("digits", 2)):
        mine = [record for record in read_records(tmp_path) if record.dataset == dataset]
        assert len(dataset_table(dataset, mine, headline=True).columns) == n


def test_costs_stand_beside_the_quality_table(tmp_path: Path) -> None:
    a_rich_folder(tmp_path)
    write_tables(tmp_path, suites=[])
    quality, costs = (rows_of((tmp_path / "tables" / f"digits{end}.csv").read_text()) for end in ("", "-cost"))
    labels = ("Method", "Supervision", "Recipe", "Changes")
    assert [[row[name] for name in labels] for row in quality] == [[row[name] for name in labels] for row in costs]
    assert [row["Training s"] for row in costs if row["Method"] == "infoscc"] == ["1", "1"]
    assert {row["Training s"] for row in costs if row["Method"] == "sngan"} == {""}
    text = (tmp_path / "tables" / "digits-cost.md").read_text()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}) == 1
    tex_lines = (tmp_path / "tables" / "digits-cost.tex").read_text().splitlines()
    assert len({cells_of(line) for line in tex_lines if line.endswith(r" \\")}) == 1


def test_notes_say_the_protocol_and_the_meaning_of_the_sign(tmp_path: Path) -> None:
    write(tmp_path, {"fd_judge": 5.0, "score_judge": 2.0})
    notes = " ".join(table_of(tmp_path).notes)
    assert "half the width of the 95% t interval" in notes
    assert "Bold" in notes
    assert (
        "Protocol of FD-judge, CS-judge: extractor judge (weights c0ffeec0), 2000 generated images, "
        "reference: train split, 1198 images, conditions empirical."
    ) in notes


def test_unverified_weights_are_named_in_the_head(tmp_path: Path) -> None:
    weights = {"file": "x", "sha256": "00", "verified": False}
    write(tmp_path, {"fd_judge": 5.0}, extractor={"extractor": "lite0", "weights": weights})
    assert table_of(tmp_path).columns[0].name == "FD-judge (unverified weights)"


def a_rich_folder(results: Path) -> None:
    for seed in range(3):
        write(results, {"fd_judge": 5 + seed / 10, "score_judge": 2.0 + seed}, seed=seed)
    write(results, {"fd_judge": 7.5}, changes={"loss": "lsgan_4", "note": "100 % & {x} $y$ #1 a^b~c\\d <e|f> [g]"})
    write(results, {"fd_judge": 7.5}, method="eigengan", n_fake=500)
    write(results, None, method="sngan", reason="100 % wrong & more")
    write(results, {"fd_judge": 1.0}, dataset="fashion_mnist", changes={"note": "± é 字"})


def test_the_same_records_give_the_same_bytes_in_any_order_of_writing(tmp_path: Path) -> None:
    a_rich_folder(tmp_path)
    before = {path: path.read_bytes() for path in write_tables(tmp_path, suites=[])}
    assert {path: path.read_bytes() for path in write_tables(tmp_path, suites=[])} == before
    turned = dataset_table("digits", [r for r in reversed(read_records(tmp_path)) if r.dataset == "digits"])
    assert {row.labels for row in turned.rows} == {row.labels for row in table_of_digits(tmp_path).rows}
    names = sorted(path.name for path in before)
    assert names == sorted(
        [
            *(f"{d}{end}" for d in ("digits", "fashion_mnist") for end in ENDS),
            *(f"supervision.{form}" for form in ("csv", "tex", "md")),
            "comparisons.csv",
            "tables.tex",
        ]
    )
    assert not any(re.search(rb"20\d\d-\d\d-\d\d", text) for text in before.values()), "no time stamps"


ENDS = (".csv", ".tex", ".md", "-all.md", "-runs.csv", "-cost.csv", "-cost.tex", "-cost.md")


def table_of_digits(results: Path) -> Any:
    return dataset_table("digits", [r for r in read_records(results) if r.dataset == "digits"])


def cells_of(line: str) -> int:
    return len(re.findall(r"(?<!\\)&", line)) + 1


def test_latex_is_balanced_and_has_equal_columns(tmp_path: Path) -> None:
    a_rich_folder(tmp_path)
    text = to_latex(table_of_digits(tmp_path))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert re.findall(r"\\(?:begin|end)\{(\w+)\}", body) == ["tabular", "tabular"]
    assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    bare = re.sub(r"\\[{}]", "", body)
    assert bare.count("{") == bare.count("}")
    columns = re.search(r"\\begin\{tabular\}\{(.+)\}$", body, re.MULTILINE)[1]  # type: ignore[index]
    n_columns = len(columns.replace("p{110mm}", "p"))
    lines = [line for line in body.splitlines() if line.endswith(r" \\")]
    assert len(lines) == 1 + 4
    assert {cells_of(line) for line in lines} == {n_columns}
    assert r"FD-judge {[}" in body
    assert r"$\downarrow$" in body
    assert r"loss=lsgan\_4" in body
    assert not re.search(r"(?<![\\$])[_#]", body), "no bare special characters"


def test_special_characters_are_escaped() -> None:
    assert tex(r"a_b & 50% {x} \y") == r"a\_b \& 50\% \{x\} \textbackslash{}y"
    assert tex("[1]*") == "{[}1{]}{*}"
    assert tex("é 字") == "é {[}U+5B57{]}"


def test_the_document_inputs_every_table_with_its_notes(tmp_path: Path) -> None:
    a_rich_folder(tmp_path)
    write_tables(tmp_path, suites=[])
    text = (tmp_path / "tables" / "tables.tex").read_text()
    for name in re.findall(r"\\input\{([^}]+)\}", text):
        assert (tmp_path / "tables" / name).exists()
    assert text.count(r"\input{") == 5, "quality and cost of two datasets, and the supervision of all"
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert r"\usepackage{booktabs}" in text
    assert document([]).endswith("\\end{document}\n")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed; the structure is tested above")
def test_the_document_compiles(tmp_path: Path) -> None:
    a_rich_folder(tmp_path)
    write_tables(tmp_path, suites=[])
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path / "tables", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


def test_markdown_rows_have_equal_columns(tmp_path: Path) -> None:
    a_rich_folder(tmp_path)
    lines = [line for line in to_markdown(table_of_digits(tmp_path)).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_no_records_give_no_tables(tmp_path: Path) -> None:
    assert write_tables(tmp_path) == []
    assert not (tmp_path / "tables").exists()


def test_changes_are_written_as_set_takes_them() -> None:
    about = {"schema": 1, "run": "r", "status": "done", "method": "m", "dataset": "d", "recipe": "small", "seed": 0}
    changes = {"loss": "hinge", "encoder": {"steps": 5, "net": "conv"}, "betas": [0.0, 0.9], "flip": True}
    text = changes_text(Record.model_validate(about | {"changes": changes}))
    assert text == "betas=[0.0,0.9], encoder.net=conv, encoder.steps=5, flip=true, loss=hinge"


def test_a_dataset_where_everything_failed_still_has_its_table(tmp_path: Path) -> None:
    write(tmp_path, None, reason="non-finite loss at step 1")
    write_tables(tmp_path, suites=[])
    assert "| infoscc | not known | small |  | failed (1 of 1) |" in (tmp_path / "tables" / "digits.md").read_text()
    assert "non-finite loss at step 1" in (tmp_path / "tables" / "digits.csv").read_text()
    assert (tmp_path / "tables" / "digits.tex").read_text().count(r" \\") == 2
