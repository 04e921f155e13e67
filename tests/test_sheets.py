"""Figures of several runs: nothing picked, seeds averaged with their range, cost from records, the same bytes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.config import content_hash
from benchmark.records import Record, Value
from benchmark.sheets import (
    at_recipe,
    cost,
    cost_figure,
    curves,
    curves_figure,
    figures_of,
    first_samples,
    quality_column,
    row_name,
    run_folder,
    samples_sheet,
)
from benchmark.tables import dataset_table


def record(method: str, seed: int = 0, *, fd: float | None = 2.0, seconds: float = 10.0, **changes: Any) -> Record:
    """A record as a run writes it; fd None: a failed run."""
    config = {"method": method, "config": changes}
    digest = content_hash(config)
    values = [
        Value("modes_judge", "Modes", 10.0, "higher", {"n_fake": 100}).plain(),
        Value("fd_judge", "FD-judge", fd, "lower", {"n_fake": 100}).plain(),
    ]
    plain = {
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
    return Record(str(plain["run"]), plain)


def make_folder(results: Path, made: Record, lines: list[dict[str, Any]], colour: str = "red") -> Path:
    folder = run_folder(results, made)
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
    assert run_folder(Path("r"), made) == Path("r/runs/digits/sngan") / f"small-s2-{made.plain['config_hash'][:8]}"


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
    assert first_samples(tmp_path, row) == run_folder(tmp_path, worse) / "samples.png"


def test_cost_is_mean_seconds_against_the_mean_of_the_distance() -> None:
    runs = [record("a", 0, fd=2.0, seconds=10), record("a", 1, fd=4.0, seconds=30), record("a", 2, fd=None, seconds=99)]
    table = dataset_table("digits", runs)
    quality = quality_column(table)
    assert quality is not None
    assert quality.id == "fd_judge"  # a distance before what stands left of it
    assert cost(table.rows[0], quality) == (20.0, 3.0)


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
