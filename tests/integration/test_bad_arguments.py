"""Bad arguments of the Python interface: a UserError that names the argument, before any work, and nothing else."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import INFOSCC, Finished, run_arguments
from made_records import write

import benchmark as gantlet
import benchmark.runs.run
import benchmark.training.artifacts
from benchmark.core.config import parse_overrides
from benchmark.core.errors import ArgumentError, UserError
from benchmark.runs.trained import TrainedRun

IMAGES = np.zeros((8, 16, 16, 1), np.uint8)
SMALL: dict[str, Any] = {"device": "cpu", "judge": {"steps": 2, "width": 4}, "controls": False, "encoder": None}


class Strange:
    """No value of any setting. Its name in a test is the same in every process."""

    def __repr__(self) -> str:
        return "strange"


STRANGE = Strange()
MOST_SECONDS = 5.0


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be trained in these tests."""

    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(benchmark.runs.run, "train", train)
    monkeypatch.setattr(benchmark.training.artifacts, "train", train)


def refused(call: Callable[[], Any], *parts: str) -> UserError:
    """Assert that the call raises a UserError with a reason, and these parts, at once."""
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        call()
    assert time.process_time() - began < MOST_SECONDS
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.what
    return caught.value


BAD: dict[str, list[tuple[Any, str]]] = {
    "method": [
        (None, "method = None"), (3, "method = 3"), ("", "method = ''"), ("sngna", "did you mean 'sngan'"),
        ("../sngan", "unknown method"), ("sngan\0", "unknown method"), (b"sngan", "not text"), (["sngan"], "not text"),
        ("__init__", "unknown method"),
    ],
    "dataset": [
        (None, "dataset = None"), (3, "dataset = 3"), ("", "dataset = ''"), ("digts", "did you mean 'digits'"),
        ("a\0b", "NUL"), ([], "not a path"), (Path("/nowhere/x"), "unknown data set"), (b"digits", "not text"),
    ],
    "seed": [
        (None, "seed = None"), (1.5, "seed = 1.5"), (1.0, "seed = 1.0"), (-1, "not negative"), ("0", "seed = '0'"),
        (True, "seed = True"), (2**70, "below 2^63"), (10**5000, "below 2^63"),
        (float("nan"), "seed = nan"), ([0], "not a whole number"),
    ],
    "recipe": [("smal", "did you mean 'small'"), (3, "recipe = 3"), ("", "recipe = ''"), ([], "not text")],
    "results": [
        (None, "results = None"), (3, "results = 3"), ("", "results = ''"), ("a\0b", "NUL"), (b"x", "not text"),
        ([], "not a path"), ("n" * 300, "longer than 255"),
    ],
    "data_root": [
        (3, "data_root = 3"), ("", "data_root = ''"), ("a\0b", "NUL"), (b"x", "not text"), ([], "not a path"),
    ],
    "device": [
        (None, "--device None"), (3, "--device 3"), ("gpu", "did you mean 'cpu'"), ("", "--device"), ([], "--device"),
    ],
    "threads": [
        (0, "threads = 0"), (-1, "threads = -1"), (1.5, "threads = 1.5"), ("2", "threads = '2'"),
        (True, "threads = True"), (10**9, "threads"), ([], "threads"),
    ],
}  # fmt: skip


CASES = [(key, *case) for key, cases in BAD.items() for case in cases]


def short(value: Any) -> str:
    """Of a test's name."""
    return "huge" if isinstance(value, int) and value > 2**64 else ascii(value)[:40]


@pytest.mark.parametrize("function", [gantlet.run, gantlet.plan])
@pytest.mark.parametrize(("name", "value", "part"), CASES, ids=short)
def test_arguments_of_runs(function: Any, name: str, value: Any, part: str, tmp_path: Path) -> None:
    given = {"method": "sngan", "dataset": "digits", "results": tmp_path / "results", "device": "cpu", name: value}
    refused(lambda: function(**given), part)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": "5"}, {"steps": None}, {"steps": 2.5}, {"steps": -1}, {"steps": STRANGE}, {"steps": {1, 2}},
        {"steps": np.float64(3.5)}, {"steps": 10**400}, {"lr_G": float("nan")}, {"lr_G": 10**400}, {"lr_G": "2e-4"},
        {"eval": 3}, {"eval": None}, {"eval": {3: 4}}, {"eval": {"n_fake": STRANGE}}, {"eval": {"k": "\ud800"}},
        {"data": 3}, {"data": {"name": "../x"}}, {"data": {3: 4}}, {"": 3}, {".": 3}, {"a..b": 3}, {"eval.": 3},
        {"eval.k": 2, "eval": 5}, {"augment": Path("x")}, {"transfer": 3}, {"transfer": STRANGE}, {"stpes": 3},
    ],
    ids=short,
)  # fmt: skip
@pytest.mark.parametrize("function", [gantlet.run, gantlet.plan])
def test_settings(function: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    refused(lambda: function("sngan", "digits", results=tmp_path / "results", device="cpu", **settings))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"), [("device", "gpu"), ("device", None), ("threads", 0), ("threads", "2"), ("threads", 1.5)]
)
def test_arguments_are_checked_where_the_record_is_there(name: str, value: Any, finished: Finished) -> None:
    arguments = run_arguments(finished.results, INFOSCC)
    settings = parse_overrides(arguments[arguments.index("--set") + 1 :])
    given = {"results": finished.results, "device": "cpu", name: value}
    refused(lambda: gantlet.run("infoscc", "digits", **given, **settings), name)


PLACES = [None, 3, "", [], b"digits", "a\0b", "nowhere", "FILE", "FILE/sub"]


@pytest.mark.parametrize("given", PLACES, ids=short)
def test_places(given: Any, tmp_path: Path) -> None:
    """Of what is read: a folder of a run, records, tables, images, references."""
    (tmp_path / "file").write_text("x")
    where = tmp_path / str(given).replace("FILE", "file") if given in ("nowhere", "FILE", "FILE/sub") else given
    results = tmp_path / "results"
    refused(lambda: gantlet.prepare(where, results=results))
    refused(lambda: gantlet.load_run(where))
    refused(lambda: gantlet.records(where))
    refused(lambda: gantlet.table("digits", where))
    refused(lambda: gantlet.score(where, "digits", results=results))
    if given is not None:  # with images in memory the reference is needed, and that is another message
        refused(lambda: gantlet.score(IMAGES, where, results=results, **SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("given", ["/dev/null/x", "FILE", "FILE/sub", "/proc/x"])
def test_a_results_folder_that_cannot_be_written(given: str, tmp_path: Path) -> None:
    (tmp_path / "FILE").write_text("x")
    where = tmp_path / given  # an absolute one stays as it is
    for call in (
        lambda: gantlet.run("sngan", "digits", results=where, device="cpu"),
        lambda: gantlet.prepare("digits", results=where),
        lambda: gantlet.score(IMAGES, "digits", results=where, **SMALL),
    ):
        refused(call, "cannot be written")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", 3), ("labels", "x"), ("labels", [1]), ("labels", [-1] * 8), ("labels", [0.5] * 8),
        ("labels", [None] * 8), ("labels", [10**30] * 8), ("labels", ["a"] * 8), ("labels", [True] * 8),
        ("name", 3), ("name", ""), ("name", b"x"), ("name", []), ("name", "a\0b"), ("name", "a\nb"),
        ("name", "\ud800"), ("name", "x" * 5000), ("extractors", 3), ("extractors", "judge"), ("extractors", [3]),
        ("extractors", ["nope"]), ("extractors", [None]), ("resolution", 0), ("resolution", 1.5),
        ("resolution", "16"), ("resolution", True), ("device", 3), ("device", "gpu"), ("device", None),
        ("results", 3), ("data_root", 3), ("data_root", []), ("k", "3"), ("k", -1), ("k", None), ("k", STRANGE),
        ("eval", 3), ("eval", None), ("eval", []), ("eval", "x"), ("eval", {"k": "x"}), ("eval", {3: 4}),
        ("n_fake", 10**6), ("n_fake", 0), ("metrics", 3), ("metrics", ["nope"]), ("protocol", "x"), ("reference", 3),
    ],
    ids=short,
)  # fmt: skip
def test_arguments_of_scores(name: str, value: Any, tmp_path: Path) -> None:
    given = {"reference": "digits", "results": tmp_path / "results", **SMALL, name: value}
    refused(lambda: gantlet.score(IMAGES, **given))
    assert not list(tmp_path.glob("results/records/*"))


@pytest.mark.parametrize(
    "images",
    [
        None, 3, {}, [[1]], [], np.zeros((0, 16, 16, 1), np.uint8), np.zeros(5, np.uint8), np.array([None]),
        np.zeros((4, 16, 16, 7), np.uint8), np.zeros((4, 0, 0, 1), np.uint8), np.zeros((4, 1, 16, 16), complex),
        np.full((4, 1, 16, 16), np.nan, np.float32), np.array(["x"]),
    ],
    ids=lambda value: f"{type(value).__name__}{getattr(value, 'shape', '')}",
)  # fmt: skip
def test_images(images: Any, tmp_path: Path) -> None:
    refused(lambda: gantlet.score(images, "digits", results=tmp_path / "results", **SMALL))
    assert not list(tmp_path.glob("results/records/*"))


def test_names_of_tables(tmp_path: Path) -> None:
    write(tmp_path, {"fd_judge": 1.0})
    for name in (None, 3, "", [], b"digits", "digts", "../digits", "digits\0"):
        refused(lambda name=name: gantlet.table(name, tmp_path))
    for size in (None, 3, "", [], b"small"):
        refused(lambda size=size: gantlet.table("digits", tmp_path, size=size), "size = ")


@pytest.fixture(scope="module")
def trained(finished: Finished) -> TrainedRun:
    (config,) = finished.results.glob("runs/*/*/*/config.yaml")
    return gantlet.load_run(config.parent)


@pytest.mark.parametrize("n", [0, -1, 1.5, 2.0, "3", None, True, [3], float("nan"), 10**15, 10**5000], ids=short)
def test_numbers_of_samples(n: Any, trained: TrainedRun) -> None:
    assert isinstance(refused(lambda: trained.sample(n), "n "), ArgumentError)


@pytest.mark.parametrize("seed", [1.5, "0", None, True, [0]], ids=short)
def test_seeds_of_samples(seed: Any, trained: TrainedRun) -> None:
    refused(lambda: trained.sample(2, seed=seed), "seed = ")


@pytest.mark.parametrize("conditions", ["x", 0.5, 10**6, -1, [1], [[1, 0]], [None, 1], {}, STRANGE, 10**400], ids=short)
def test_conditions_of_samples(conditions: Any, trained: TrainedRun) -> None:
    refused(lambda: trained.sample(3, conditions), "conditions")


def test_a_run_without_its_record(finished: Finished, tmp_path: Path) -> None:
    results = finished.copied(tmp_path / "results")
    next(results.glob("records/*.json")).unlink()
    (config,) = results.glob("runs/*/*/*/config.yaml")
    refused(lambda: gantlet.load_run(config.parent).record, "cannot be read")


def test_records_that_cannot_be_used_are_warnings_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"fd_judge": 1.0})
    (tmp_path / "records" / "digits-broken-small-s0-00000000.json").write_text("{")
    for call in (lambda: gantlet.records(tmp_path), lambda: gantlet.table("digits", tmp_path)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        (one,) = caught
        assert "digits-broken" in str(one.message)
        assert one.filename == __file__, "the line that called is shown"
    assert capsys.readouterr() == ("", "")
