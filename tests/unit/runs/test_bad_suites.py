"""Suite files with mistakes: each is refused by file, row and key, and never with a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_records import write
from made_suites import SUITE, FakeRuns

from benchmark.core.errors import ConfigError
from benchmark.core.plain_yaml import dump_yaml, parse_yaml
from benchmark.metrics.extractors.weights import EXTRACTORS, check_name
from benchmark.metrics.metric_ids import is_metric, is_metric_id
from benchmark.report.table_files import write_suite_table
from benchmark.runs.spec import Paths
from benchmark.runs.suites.cost import suite_plan
from benchmark.runs.suites.running import run_suite
from benchmark.runs.suites.suite import cells, find_suite, list_suites

pytestmark = pytest.mark.usefixtures("quick_environment")

ROW = "  - {labels: {Model: InfoSCC, Loss: LSGAN}, method: infoscc, set: {loss: lsgan}}\n"
TAIL = "  - {labels: {Model: M, Loss: L}, method: infoscc, set: {loss: lsgan4}"
CLAIM = "claims: [{claim: c, by: ours, better: {Loss: Hinge}, than: {Loss: LSGAN}, metric: fd}]\n"


def test_the_suite_that_the_mistakes_are_made_in_has_none(suite_file: str) -> None:
    Path(suite_file).write_text(SUITE + TAIL + "}\n" + CLAIM)
    assert len(find_suite(suite_file).rows) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dataset: digits", "dataset: 5", "dataset: 5 given; must be a name or a list"),
        ("dataset: digits", "dataset: {digits: 1}", "dataset: .*must be a name or a list"),
        ("dataset: digits", "dataset: [digits, 5]", "dataset.1: 5 given"),
        ("dataset: digits", "dataset: ''", "dataset"),
        ("dataset: digits", "dataset: [digits, digits]", "dataset: 'digits'.*listed twice"),
        ("dataset: digits", "name: other\ndataset: digits", "name: unknown key"),
        ("dataset: afhq, recipe: paper", "dataset: 5, recipe: paper", "sizes.paper.dataset: 5 given"),
        ("dataset: afhq, recipe: paper", "dataset: [a, a], recipe: paper", "size paper: dataset: 'a'.*listed twice"),
        ("seeds: [0], set", "seeds: [3, 3], set", "size paper: seeds: 3.*given twice"),
        ("seeds: [0, 1]", "seeds: 0", "seeds: 0 given"),
        ("seeds: [0, 1]", "seeds: [0.5]", "seeds.0: 0.5 given"),
        ("set: {steps: 10}", "set: 5", "set: 5 given"),
        ("set: {steps: 10}", "set: {steps: 10}\nimages: 640", "size small: steps.*they follow from `images`"),
        ("small: {}", "small: {images: 640}", "size small: steps.*they follow from `images`"),
        ("small: {}", "small:", "sizes.small: null given"),
        ("small: {}", "'': {}", "without a name"),
        ("columns: [Model, Loss]", "columns: [Model, Model]", "columns: 'Model'.*listed twice"),
        ("columns: [Model, Loss]", "columns: [Model, Loss, '']", "no label ''|without a name"),
        ("columns: [Model, Loss]", "columns: Model", 'columns: "Model" given'),
        ("columns: [Model, Loss]", "columns: [Model, Loss, Third]", "row 1: no label 'Third'"),
        ("metrics: [fd_judge]", "metrics: [fd_jugde]", "metrics: no metric 'fd_jugde'.*did you mean 'fd_judge'"),
        ("metrics: [fd_judge]", "metrics: [fd]", "metrics: no metric 'fd'.*did you mean 'f"),
        ("metrics: [fd_judge]", "metrics: [neighbour_x]", "metrics: no metric 'neighbour_x'"),
        ("metrics: [fd_judge]", "metrics: [zzzzzzzz]", "metrics: no metric 'zzzzzzzz'.*`list` shows"),
        ("metrics: [fd_judge]", "metrics: [fd_judge, fd_judge]", "metrics: 'fd_judge'.*listed twice"),
        ("metrics: [fd_judge]", "metrics: fd_judge", 'metrics: "fd_judge" given'),
        ("small: {}", "small: {metrics: [fd_jugde]}", "size small: metrics: no metric 'fd_jugde'"),
        ("columns: [FID], source", "columns: [FID, FID], source", "published columns of afhq: 'FID'.*listed twice"),
        (
            "columns: [FID], source",
            "columns: [FID], metrics: {FID: fdd_inception}, source",
            "no metric 'fdd_inception'",
        ),
        ("columns: [FID], source", "columns: [FID], metrics: {FIDD: fd_inception}, source", "column 'FIDD'"),
        (ROW, "  - 5\n", "row 2.*5 given, not a mapping"),
        (ROW, "  -\n", "row 2.*None given, not a mapping"),
        (ROW, "  - {}\n", "row 2.*not a mapping of keys"),
        (ROW, "", "no row of its own|claim 1: than"),
        (ROW, ROW.replace("lsgan}", "hinge}"), "rows 1 and 2.*at size small they are the same runs"),
        (ROW, ROW.replace("LSGAN", "Hinge"), "rows 1 and 2.*both are labelled 'InfoSCC, Hinge'"),
        (ROW, ROW.replace("Loss: LSGAN", "Los: LSGAN"), "row 2: label 'Los' of no column.*did you mean 'Loss'"),
        (ROW, ROW.replace(", Loss: LSGAN", ""), "row 2: no label 'Loss'"),
        (ROW, ROW.replace("Loss: LSGAN", "Loss: 5"), "row 2.*labels.Loss: 5 given"),
        (ROW, ROW.replace("{loss: lsgan}", "5"), "row 2.*set: 5 given"),
        (ROW, ROW.replace("LSGAN", '"LS\\e[2JGAN"'), "one line of text"),
        (ROW, ROW.replace("LSGAN", '"LS\\nGAN"'), "one line of text"),
        (ROW, ROW.replace("}}", "}, only: [small, small]}"), "row 2: only: 'small'.*listed twice"),
        (TAIL, TAIL + ", sizes: {small: {steps: 5}}, only: 3", "row 3.*only: 3 given"),
        ("small: {}", "small: {}\n  empty: {}", "size 'empty' has no row"),
        (CLAIM, "claims: [5]\n", "claim 1.*5 given, not a mapping"),
        (CLAIM, CLAIM.replace("{Loss: LSGAN}", "{Los: LSGAN}"), "claim 1: than: no column 'Los'"),
        (CLAIM, CLAIM.replace("{Loss: LSGAN}", "{Loss: LSGN}"), "claim 1: than: .*0 rows have these labels"),
        (CLAIM, CLAIM.replace("metric: fd", "metric: fdd"), "claim 1: no metric 'fdd'"),
    ],
)
def test_a_mistake_is_named_by_file_and_place(suite_file: str, old: str, new: str, message: str) -> None:
    whole = SUITE + TAIL + "}\n" + CLAIM
    if "'empty'" in message:  # every row is of the other sizes
        whole = whole.replace("set: {loss: hinge},", "set: {loss: hinge}, only: [small, paper],")
        whole = whole.replace("set: {loss: lsgan}}", "set: {loss: lsgan}, only: [small, paper]}")
        whole = whole.replace("set: {loss: lsgan4}}", "set: {loss: lsgan4}, only: [small, paper]}")
    assert whole.count(old) == 1
    Path(suite_file).write_text(whole.replace(old, new))
    with pytest.raises(ConfigError, match=f"(?s){message}") as error:
        find_suite(suite_file)
    assert "two.yaml" in str(error.value)


def test_a_row_may_not_set_steps_beside_a_budget_at_its_size_alone(suite_file: str) -> None:
    text = SUITE.replace("set: {steps: 10}\n", "").replace("small: {}", "small: {images: 640}")
    Path(suite_file).write_text(text)
    assert {cell.spec.changes["steps"] for cell in cells(find_suite(suite_file), "small", [0])} == {640 // 32}
    Path(suite_file).write_text(text.replace("set: {loss: lsgan}", "sizes: {small: {steps: 5}}"))
    with pytest.raises(ConfigError, match="row 2, size small: steps"):
        find_suite(suite_file)


@pytest.mark.parametrize("label", ["nan", "inf"])
def test_a_place_on_an_axis_is_finite(suite_file: str, label: str) -> None:
    numbers = SUITE.replace("Loss: Hinge", "Loss: '1'").replace("Loss: LSGAN", f"Loss: {label}")
    Path(suite_file).write_text(numbers + "plot: Loss\n")
    with pytest.raises(ConfigError, match=f"plot: '{label}' is no number"):
        find_suite(suite_file)


@pytest.mark.parametrize(
    ("images", "changes", "message"),
    [
        (100, "{}", "row 1, size small: images 100"),
        (1, "{}", "row 1, size small: images 1"),
        (64, "{batch: 0}", "batch = 0"),
        (64, "{batch: '8'}", "batch = '8'"),
        (64, "{n_dis: 0}", "n_dis = 0"),
        (64, "{n_dis: [1]}", "n_dis = "),
        (64, "{batch: 8.5}", "batch = 8.5"),
    ],
)
def test_a_budget_that_gives_no_steps_names_its_row(suite_file: str, images: int, changes: str, message: str) -> None:
    text = SUITE.replace("set: {steps: 10}", f"set: {changes}").replace("small: {}", f"small: {{images: {images}}}")
    Path(suite_file).write_text(text)
    with pytest.raises(ConfigError, match=message):
        cells(find_suite(suite_file), "small")


def test_a_cell_that_cannot_be_configured_names_its_row(suite_file: str, paths: Paths) -> None:
    Path(suite_file).write_text(SUITE.replace("{loss: lsgan}", "{loss: lsgna}"))
    with pytest.raises(ConfigError, match=r"(?s)two, row 2, size small: .*lsgna"):
        suite_plan(suite_file, "small", paths)


def test_seeds_of_the_command_line_are_given_once(suite_file: str) -> None:
    with pytest.raises(ConfigError, match="given twice"):
        cells(find_suite(suite_file), "small", [1, 1])


@pytest.mark.parametrize("value", [5, None, "text", [1], {"a": 1}, 1.5, True, [], {}])
def test_any_type_in_any_place_is_taken_or_refused(suite_file: str, value: object) -> None:
    """No place of the file answers a value of another type with a traceback."""
    good = parse_yaml(SUITE + CLAIM, "suite")
    refused = 0
    for key in (*good, "images", "plot", "published_also"):
        Path(suite_file).write_text(dump_yaml({**good, key: value}))
        refused += _refused(suite_file)
    for part in ("rows", "claims"):
        for key in (*good[part][0], "only", "trained_on", "sizes", "published_also"):
            changed = [{**good[part][0], key: value}, *good[part][1:]]
            Path(suite_file).write_text(dump_yaml({**good, part: changed}))
            refused += _refused(suite_file)
    assert refused >= 10


def _refused(path: str) -> bool:
    try:
        cells(find_suite(path), "small")
    except ConfigError as error:
        return bool(error.what)
    return False


def test_ids_of_metrics() -> None:
    for name in EXTRACTORS:
        check_name(name)
        assert is_metric_id("fd_" + name.replace("-", "_"))
    for id in ("fd_torchvision_resnet50", "recall_0.2_own", "svm_Young", "neighbour_map_2", "modes"):
        assert is_metric_id(id)
    for id in ("fd", "fd_", "fd_foo", "neighbour_map_x", "", "fd_torchvision_", "mode"):
        assert not is_metric_id(id)
    assert is_metric("fd")
    assert is_metric("control_accuracy")
    assert not is_metric("f")
    claims = [claim for suite in list_suites().values() for claim in suite.claims]
    assert len(claims) > 50
    assert all(is_metric(claim.metric) for claim in claims)


def test_names_of_a_suite_and_of_its_sizes_and_labels_never_decide_a_folder(
    tmp_path: Path, paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "..\x1b[2J%2f$(id).yaml"
    text = SUITE.replace("small: {}", "'../../../up': {}").replace("Loss: LSGAN", "Loss: ../../../label")
    file.write_text(text.replace("Two losses", '"title\\e[2J"'))
    before = set(tmp_path.rglob("*"))
    write(paths.results, {"fd_judge": 3.0}, changes={"steps": 10, "loss": "hinge"})
    for path in write_suite_table(str(file), "../../../up", paths.results):
        assert path.parent == paths.results / "tables"
    made = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert len(made) > 3
    assert all(path.is_relative_to(paths.results) for path in made)
    FakeRuns(monkeypatch)
    assert run_suite(str(file), paths, size="../../../up", seeds=[7]) == 0
    text = capsys.readouterr().out + suite_plan(str(file), "../../../up", paths)
    assert "2J" in text
    assert "\x1b" not in text
