"""Figures of several runs: nothing picked, seeds averaged with their range, cost from records, the same bytes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.core.config import content_hash
from benchmark.evaluation.value import MetricValue
from benchmark.report import comparison_figures as sheets
from benchmark.report import curves as training_curves
from benchmark.report.comparison_figures import (
    _operations,
    cost,
    cost_figure,
    figures_of,
    first_samples,
    quality_column,
    samples_sheet,
    scatter_sheet,
)
from benchmark.report.curves import curves, curves_figure, snapshot_curves, snapshots_figure
from benchmark.report.figure_rows import at_recipe, figure_names, row_name
from benchmark.report.tables import dataset_table
from benchmark.runs.records import Record


def record(method: str, seed: int = 0, *, fd: float | None = 2.0, seconds: float = 10.0, **changes: Any) -> Record:
    """A record as a run writes it; fd None: a failed run."""
    config = {"method": method, "config": changes}
    digest = content_hash(config)
    values = [
        MetricValue("modes_judge", "Modes", 10.0, "higher", {"n_fake": 100}).to_dict(),
        MetricValue("fd_judge", "FD-judge", fd, "lower", {"n_fake": 100}).to_dict(),
    ]
    plain = {
        "schema": 1,
        "run": f"digits-{method}-small-s{seed}-{digest[:8]}",
        "status": "done" if fd is not None else "failed",
        "reason": "" if fd is not None else "the loss is nan",
        "method": method,
        "dataset": "digits",
        "recipe": "small",
        "seed": seed,
        "changes": changes,
        "config": config,
        "config_hash": digest,
        "result": {"values": values} if fd is not None else None,
        "time": {"training_s": seconds},
        "environment": {},
    }
    return Record.model_validate(plain)


def with_result(made: Record, **more: Any) -> Record:
    """The record with other or further entries of its result."""
    plain = made.to_dict()
    return Record.model_validate(plain | {"result": plain["result"] | more})


def make_folder(results: Path, made: Record, lines: list[dict[str, Any]], colour: str = "red") -> Path:
    folder = made.folder_in(results)
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Image.new("RGB", (40, 20), colour).save(folder / "samples.png")
    return folder


def log(*values: float | None, name: str = "D") -> list[dict[str, Any]]:
    return [{"step": i + 1, "images": 32 * (i + 1), name: value} for i, value in enumerate(values)]


def opened(png: bytes | None) -> Image.Image:
    assert png is not None
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_a_run_folder_is_found_by_its_record() -> None:
    made = record("sngan", seed=2)
    assert made.folder_in(Path("r")) == Path("r/runs/digits/sngan") / f"small-s2-{made.config_hash[:8]}"


def test_figures_show_methods_at_their_recipes() -> None:
    table = dataset_table("digits", [record("a"), record("a", loss="x"), record("b", loss="y")])
    assert [row_name(row) for row in at_recipe(table.rows)] == ["a", "b loss=y"]


def test_a_curve_is_the_mean_of_the_seeds_between_the_lowest_and_the_highest(tmp_path: Path) -> None:
    runs = [record("a", seed=seed) for seed in range(3)]
    for made, values in zip(runs, ([1.0, 2.0, 6.0], [3.0, 2.0, 6.0], [5.0, None, 9.0])):
        make_folder(tmp_path, made, log(*values))
    (curve,) = curves(tmp_path, dataset_table("digits", runs).rows)
    np.testing.assert_array_equal(curve.images, [32, 64, 96])
    np.testing.assert_allclose(curve.mean, [3, 2, 7])  # a loss that was not finite does not enter
    np.testing.assert_allclose(curve.low, [1, 2, 6])
    np.testing.assert_allclose(curve.high, [5, 2, 9])
    assert (curve.n, curve.quantity) == (3, "D")


def test_a_torn_line_ends_a_curve_and_a_failed_run_has_none(tmp_path: Path) -> None:
    done, failed = record("a"), record("b", fd=None)
    folder = make_folder(tmp_path, done, log(1.0, 2.0))
    make_folder(tmp_path, failed, log(7.0))
    with open(folder / "log.jsonl", "a") as file:
        file.write('{"step": 3, "ima')
    (curve,) = curves(tmp_path, dataset_table("digits", [done, failed]).rows)
    assert (curve.row, len(curve.mean)) == ("a", 2)


def test_the_band_is_drawn(tmp_path: Path) -> None:
    """The same mean with and without spread between the seeds must not look alike."""
    pictures = []
    for spread in (0.0, 1.0):
        runs = [record("a", seed=seed) for seed in range(2)]
        for made, sign in zip(runs, (-1, 1)):
            make_folder(tmp_path / str(spread), made, log(*(5 + sign * spread for _ in range(6))))
        drawn = curves(tmp_path / str(spread), dataset_table("digits", runs).rows)
        np.testing.assert_allclose(drawn[0].mean, 5)
        pictures.append(np.asarray(opened(curves_figure("digits", drawn))))
    assert pictures[0].shape != pictures[1].shape or (pictures[0] != pictures[1]).any()


def test_a_sheet_has_every_method_in_order_and_of_one_width(tmp_path: Path) -> None:
    colours = {"a": (255, 0, 0), "b": (0, 0, 255), "c": (0, 160, 0), "d": (200, 0, 200)}
    grids = []
    for i, (name, colour) in enumerate(colours.items()):
        Image.new("RGB", (40 * (i + 1), 40 * (i + 1)), colour).save(tmp_path / f"{name}.png")
        grids.append((name, tmp_path / f"{name}.png"))
    sheet = opened(samples_sheet(grids))
    found = [sheet.getpixel((16 + column * 476 + 230, 200 + line * 499)) for line in (0, 1) for column in range(3)]
    assert found == [*colours.values(), (255, 255, 255), (255, 255, 255)]


def test_samples_are_of_the_first_seed_not_the_best(tmp_path: Path) -> None:
    worse, better = record("a", seed=0, fd=9.0), record("a", seed=1, fd=1.0)
    for made in (better, worse):
        make_folder(tmp_path, made, log(1.0))
    (row,) = dataset_table("digits", [better, worse]).rows
    assert first_samples(tmp_path, row) == worse.folder_in(tmp_path) / "samples.png"


def test_cost_is_mean_seconds_against_the_mean_of_the_distance() -> None:
    runs = [record("a", 0, fd=2.0, seconds=10), record("a", 1, fd=4.0, seconds=30), record("a", 2, fd=None, seconds=99)]
    table = dataset_table("digits", runs)
    quality = quality_column(table)
    assert quality is not None
    assert quality.id == "fd_judge"  # a distance before what stands left of it
    assert cost(table.rows[0], quality) == (20.0, 3.0)


def test_operations_are_what_a_step_costs_times_the_steps() -> None:
    run = with_result(record("a", fd=2.0, seconds=10), flops_per_step=3e9, steps=2000)
    quality = quality_column(table := dataset_table("digits", [run]))
    assert quality is not None
    assert cost(table.rows[0], quality, _operations) == (6.0, 2.0)  # 10^12


def test_names_in_a_figure_leave_out_the_budget_unless_it_tells_rows_apart() -> None:
    budget: dict[str, Any] = {"steps": 5, "eval": {"snapshots": 6}}
    alone = dataset_table("digits", [record("a", **budget), record("b", **budget, loss="y")])
    assert figure_names(alone.rows) == ["a", "b loss=y"]
    twice = dataset_table("digits", [record("a", **budget), record("a", **(budget | {"steps": 9}))])
    assert figure_names(twice.rows) == ["a eval.snapshots=6, steps=5", "a eval.snapshots=6, steps=9"]


def test_one_point_is_no_scatter_and_two_are() -> None:
    one = dataset_table("digits", [record("a")])
    two = dataset_table("digits", [record("a"), record("b$x$", fd=900.0, seconds=5000)])
    assert cost_figure(one.rows, one.columns[1]) is None
    assert opened(cost_figure(two.rows, two.columns[1])).width > 600


def test_without_run_folders_there_are_no_pictures_and_nothing_fails(tmp_path: Path) -> None:
    table = dataset_table("digits", [record("a"), record("b")])
    assert set(figures_of(tmp_path, table)) == {"cost"}


@pytest.mark.parametrize("kind", ["samples", "curves", "cost"])
def test_the_same_runs_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    runs = [record("a"), record("b", fd=5.0, seconds=20)]
    for made, colour in zip(runs, ("red", "blue")):
        make_folder(tmp_path, made, log(1.0, 0.5), colour)
    table = dataset_table("digits", runs)
    assert figures_of(tmp_path, table)[kind] == figures_of(tmp_path, table)[kind]


# ---- scores during training -----------------------------------------------------------------------------------------


def watched(
    method: str,
    seed: int = 0,
    curve: dict[int, float] | None = None,
    *,
    id: str = "fd_late_judge",
    n_fake: int = 500,
    images: int = 6400,
    **changes: Any,
) -> Record:
    """A record of a run with snapshots. curve: the score by step; the last step is 100."""
    made = record(method, seed, **changes)
    score = "fd" if id.startswith("fd") else id.removesuffix("_late")
    lines = [{"step": step, score: value} for step, value in (curve or {50: 2.0, 100: 1.0}).items()]
    better, protocol = "lower" if score == "fd" else "higher", {"n_fake": n_fake, "n_modes": 8}
    value = MetricValue(id, "FD-judge, last 3 snapshots", 1.5, better, protocol, details={"curve": lines})  # type: ignore[arg-type]
    values = [*made.to_dict()["result"]["values"], value.to_dict()]
    return with_result(made, steps=100, images_seen=images, values=values)


def snapshots_of(*runs: Record) -> list[tuple[str, Any, Any]]:
    return snapshot_curves(dataset_table("digits", runs))


def test_a_snapshot_curve_is_the_mean_of_the_seeds_against_images_seen() -> None:
    curves = [{50: 8.0, 100: 2.0}, {50: 4.0, 100: 1.0}, {100: 6.0}]  # the third was not finite at first
    ((kind, column, (line,)),) = snapshots_of(*(watched("a", seed, curve) for seed, curve in enumerate(curves)))
    assert (kind, column.id, line.row, line.n) == ("snapshots", "fd_late_judge", "a", 3)
    np.testing.assert_array_equal(line.images, [3200, 6400])
    np.testing.assert_allclose(line.mean, [6, 3])
    np.testing.assert_allclose(line.low, [4, 1])
    np.testing.assert_allclose(line.high, [8, 6])


def test_snapshots_of_different_protocols_share_no_figure() -> None:
    found = snapshots_of(watched("a"), watched("b"), watched("c", n_fake=900), watched("d", id="fd_late_lite0"))
    assert [[line.row for line in lines] for _, _, lines in found] == [["a", "b"], ["c"], ["d"]]
    first, other, lite = (kind for kind, _, _ in found)
    assert (first, lite) == ("snapshots", "snapshots-fd_late_lite0")
    assert other == f"snapshots-fd_late_judge-{found[1][1].key[:8]}"


def test_a_method_is_shown_at_its_recipe_where_that_has_snapshots() -> None:
    found = snapshots_of(watched("a"), watched("a", loss="x"), record("b"), watched("b", loss="y"))
    assert [line.row for line in found[0][2]] == ["a", "b loss=y"]


def test_records_without_snapshots_have_no_curve() -> None:
    assert snapshots_of(record("a"), record("b", fd=None)) == []
    assert "snapshots" not in figures_of(Path("nowhere"), dataset_table("digits", [record("a"), record("b")]))


def drawn(runs: list[Record]) -> np.ndarray:
    (_, column, lines), *_ = snapshots_of(*runs)
    return np.asarray(opened(snapshots_figure("digits", column, lines)))


def test_the_snapshot_figure_shows_band_methods_and_nothing_of_the_order(tmp_path: Path) -> None:
    """The same means with and without spread between the seeds must not look alike."""
    narrow = [watched(name, seed, {50: 8.0, 100: 6.0}) for name in "ab" for seed in (0, 1)]
    wide = [watched(name, seed, {50: 8.0, 100: 6.0 + (2 * seed - 1)}) for name in "ab" for seed in (0, 1)]
    five = [watched(name) for name in "abcde"]
    assert drawn(narrow).shape != drawn(wide).shape or (drawn(narrow) != drawn(wide)).any()
    assert drawn(five).shape[0] > 1.5 * drawn(five[:4]).shape[0], "four panels in a line"
    np.testing.assert_array_equal(drawn(wide), drawn(wide[::-1]))


@pytest.mark.parametrize(("curve", "scale"), [({50: 100.0, 100: 1.0}, "log"), ({50: 5.0, 100: 1.0}, "linear")])
@pytest.mark.parametrize("id", ["fd_late_judge", "high_quality_late"])
def test_distances_that_fall_far_have_a_logarithmic_axis(
    monkeypatch: pytest.MonkeyPatch, curve: dict[int, float], scale: str, id: str
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(training_curves, "figure_png", lambda figure: made.append(figure) or b"")
    ((_, column, lines),) = snapshots_of(watched("a", 0, curve, id=id), watched("b", 0, curve, id=id))
    snapshots_figure("digits", column, lines)
    assert {axes.get_yscale() for axes in made[0].axes} == {scale if id.startswith("fd") else "linear"}


# ---- points over training -------------------------------------------------------------------------------------------


def keep_points(results: Path, made: Record, steps: list[int]) -> None:
    """A run folder with points: every coordinate is the step, the real ones are 1."""
    folder = made.folder_in(results) / "snapshots"
    folder.mkdir(parents=True)
    for name, value in {"real": 1, **{str(step): step for step in steps}}.items():
        np.save(folder / f"{name}.npy", np.full((5, 2), value, np.float32))


def modes_run(method: str, seed: int = 0, steps: tuple[int, ...] = (50, 100), first: float = 3.0) -> Record:
    return watched(method, seed, dict(zip(steps, (first + i for i in range(len(steps))))), id="modes_late")


def panels(monkeypatch: pytest.MonkeyPatch, results: Path, *runs: Record) -> list[tuple[str, float]]:
    """Title and step of the panels that the sheet draws, line by line."""
    made: list[Any] = []
    plain = sheets.draw_points
    monkeypatch.setattr(sheets, "draw_points", lambda axes, real, xy: made.append((axes, xy)) or plain(axes, real, xy))
    scatter_sheet(results, dataset_table("ring2d", runs))
    assert len({axes.get_xlim() for axes, _ in made}) <= 1, "all panels have the same axes"
    return [(axes.get_title(), float(xy[0, 0])) for axes, xy in made]


def test_the_sheet_of_points_has_a_line_a_method_of_the_first_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [modes_run("a", 0), modes_run("a", 1, first=7), modes_run("b"), modes_run("c"), record("d")]
    for made in (runs[1], runs[0], runs[2]):  # nothing is left of c
        keep_points(tmp_path, made, [50, 100])
    expected = [("step 50: 3 of 8 modes", 50), ("step 100: 4 of 8 modes", 100)]
    assert panels(monkeypatch, tmp_path, *runs) == [*expected, *expected]


def test_a_sheet_of_points_needs_run_folders(tmp_path: Path) -> None:
    table = dataset_table("ring2d", [modes_run("a")])
    assert scatter_sheet(tmp_path, table) is None
    assert set(figures_of(tmp_path, table)) == {"snapshots"}
    keep_points(tmp_path, modes_run("a"), [50, 100])
    assert set(figures_of(tmp_path, table)) == {"snapshots", "scatter"}
    assert figures_of(tmp_path, table) == figures_of(tmp_path, table)


def test_of_many_snapshots_six_are_shown_the_last_among_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = tuple(range(10, 131, 10))
    made = modes_run("a", steps=steps[:-1])  # the last was not finite
    keep_points(tmp_path, made, list(steps))
    found = panels(monkeypatch, tmp_path, made)
    assert [step for _, step in found] == [20, 40, 60, 80, 100, 130]
    assert found[-1][0] == "step 130: not finite"
