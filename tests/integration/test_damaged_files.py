"""A bit of any stored file flips, its tail is lost, or it is another run's: a named error, or equal bits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from damages import DAMAGES, damage
from helpers import INFOSCC, Finished, RunServer, run_arguments

from benchmark.core.config import parse_overrides
from benchmark.core.errors import UserError
from benchmark.data.prepare import prepare
from benchmark.runs.finished import rebuild
from benchmark.runs.spec import Paths, Resolved, RunSpec, resolve
from benchmark.runs.trained import load_run

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Place:
    """A results folder with a finished run, which may be damaged."""

    paths: Paths
    resolved: Resolved

    def file(self, pattern: str) -> Path:
        """The one file of the run, or of its artefacts, of this pattern."""
        (path,) = self.paths.results.glob(pattern.replace("RUN", "runs/*/*/*"))
        return path

    def load(self) -> bytes:
        """Samples of the run's folder alone."""
        return load_run(self.resolved.folder, CPU).sample(3).numpy().tobytes()

    def rebuild(self) -> bytes:
        """Samples by all that training left, with the stages behind it."""
        method, G, _ = rebuild(self.resolved, self.paths, CPU)
        torch.manual_seed(0)
        return method.sample(G, 3).images.numpy().tobytes()

    def data(self) -> bytes:
        """Everything that the prepared dataset serves."""
        data = prepare(self.resolved.card, self.paths.data_root, self.paths.prepared, progress=False)
        arrays = (data.train.images, data.train.labels, data.test.images, data.test.labels)
        names = f"{data.name} {data.class_names} {data.resolution} {data.flip_ok} {data.conditioning} {data.sha256}"
        return names.encode() + b"".join(np.asarray(array).tobytes() for array in arrays)


OPENED_BY: dict[str, Callable[[Place], bytes]] = {
    "RUN/generator.pt": Place.load,
    "RUN/sampling.pt": Place.load,
    "RUN/config.yaml": Place.load,
    "RUN/checkpoint.pt": Place.rebuild,
    "artifacts/SimCLR-*/artifact.pt": Place.rebuild,
    "artifacts/SimCLR-*/meta.json": Place.rebuild,
    "artifacts/encode-*/artifact.pt": Place.rebuild,
    "artifacts/Classifier-*/artifact.pt": Place.rebuild,
    "artifacts/data/digits-*/train.npy": Place.data,
    "artifacts/data/digits-*/train_labels.npy": Place.data,
    "artifacts/data/digits-*/test.npy": Place.data,
    "artifacts/data/digits-*/meta.json": Place.data,
}
NOT_OF_BYTES = ("config.yaml", "meta.json")  # text: blanks and a key's name may change, and nothing that it says


def place(results: Path, seed: int = 0) -> Place:
    """The run of `finished` in a results folder."""
    arguments = run_arguments(results, INFOSCC)
    changes = parse_overrides(arguments[arguments.index("--set") + 1 :])
    paths = Paths(Path("data"), results)
    return Place(paths, resolve(RunSpec("infoscc", "digits", seed, changes=changes), paths))


@pytest.fixture
def whole(finished: Finished) -> Place:
    """The run, not to be changed."""
    return place(finished.results)


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Place:
    """A copy of the run whose files are links to the whole ones, but for those that a test replaces."""
    shutil.copytree(finished.results, tmp_path / "results", copy_function=os.link)
    return place(tmp_path / "results")


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("pattern", OPENED_BY)
def test_a_damaged_file_is_never_used(pattern: str, how: str, whole: Place, copy: Place) -> None:
    path, opened = copy.file(pattern), OPENED_BY[pattern]
    if not damage(path, how):
        pytest.skip("these bytes are zeros already")
    problem, found = tried(opened, copy)
    if problem is not None:
        assert path.name in str(problem)
        assert problem.mend
    else:
        assert path.name in NOT_OF_BYTES, "every byte of this file is checked"
        assert found == opened(whole)


def tried(opened: Callable[[Place], bytes], here: Place) -> tuple[UserError | None, bytes]:
    """The named error, or what was read."""
    try:
        return None, opened(here)
    except UserError as error:
        return error, b""


@pytest.fixture(scope="module")
def other(finished: Finished, server: RunServer, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run with the same settings and another seed: its files fit but for what they are of."""
    results = finished.copied(tmp_path_factory.mktemp("other") / "results")
    shutil.rmtree(results / "runs")
    ended = server.run([*run_arguments(results, INFOSCC), "--seed", "1"], results)
    assert ended.status == 0, ended.stderr
    return place(results, seed=1)


@pytest.mark.parametrize("name", ["generator.pt", "sampling.pt", "checkpoint.pt"])
def test_a_file_of_another_run_is_refused(name: str, other: Place, copy: Place) -> None:
    path = copy.resolved.folder / name
    path.unlink()
    shutil.copy(other.resolved.folder / name, path)
    with pytest.raises(UserError, match=rf"(?s){name}: belongs to something else.*seed 1.*needed is.*seed 0"):
        OPENED_BY[f"RUN/{name}"](copy)


@pytest.mark.parametrize("name", ["generator.pt", "checkpoint.pt"])
def test_a_file_of_another_run_of_an_earlier_version_is_refused(name: str, other: Place, copy: Place) -> None:
    """It does not say what it is of: the record says which weights were scored, and they name the checkpoint."""
    path = copy.resolved.folder / name
    path.unlink()
    torch.save(torch.load(other.resolved.folder / name, weights_only=True), path)
    with pytest.raises(UserError, match=r"not the weights that were scored|its generator is not the one"):
        OPENED_BY[f"RUN/{name}"](copy)


def test_a_run_of_an_earlier_version_is_still_loaded(whole: Place, copy: Place) -> None:
    """Nothing in its files says what they are of, and they are whole."""
    for pattern in OPENED_BY:
        path = copy.file(pattern)
        if path.suffix == ".pt":
            value = torch.load(path, weights_only=True)
            path.unlink()
            torch.save(value, path)
        if path.name == "meta.json":
            lines = [line for line in path.read_text().splitlines() if "entries_sha256" not in line]
            lines[-2] = lines[-2].rstrip(",")
            path.unlink()
            path.write_text("\n".join(lines))
    assert copy.load() == whole.load()
    assert copy.rebuild() == whole.rebuild()
    assert copy.data() == whole.data()


def test_arrays_that_the_dataset_does_not_have_are_refused(copy: Place) -> None:
    labels = copy.file("artifacts/data/digits-*/train_labels.npy")
    shutil.copy(labels, labels.with_name("train_attributes.npy"))
    with pytest.raises(UserError, match=r"train_attributes\.npy: not listed"):
        copy.data()
    labels.with_name("train_attributes.npy").unlink()
    labels.unlink()
    with pytest.raises(UserError, match=r"train_labels\.npy: missing"):
        copy.data()
