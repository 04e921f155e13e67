"""Scores during training, on few samples: they show a collapse, and how much the last step's luck weighs.

A final score is of one step; GANs drift on. Of images, snapshots give the best Frechet distance, the mean of the last
ones and the curve, with the evaluation's reference and extractor; on request also the accuracy of what was requested,
by the evaluation classifier, so that one sees whether both improve together (Durall et al., VISAPP 2021, fig. 4). Of
points they give the modes, the share of high quality and the reverse KL, and keep the points, so that one can look at
them. All is on fewer samples than the evaluation takes, so their values never share a column with its own.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import nn

from benchmark.core import distributed
from benchmark.core.errors import WeightsError
from benchmark.core.files import JsonLines, atomic, remove_torn
from benchmark.data.prepared import mixture_of
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.context import protocol_of, reference_of
from benchmark.evaluation.control import HELD_OUT_IMAGES, accuracy_of
from benchmark.evaluation.networks import build_extractor, build_judge
from benchmark.evaluation.point_plots import modes_text, read_points, save_scatters
from benchmark.evaluation.protocols import labelled
from benchmark.evaluation.sampling import GeneratedImages, generate, standing_statistics
from benchmark.evaluation.score_plots import save_scores
from benchmark.evaluation.value import MetricValue
from benchmark.metrics.catalogue import LATE_SNAPSHOTS
from benchmark.metrics.extractors.base import Extractor
from benchmark.metrics.extractors.store import FeatureStore
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.modes import mode_statistics
from benchmark.training.method import Method

if TYPE_CHECKING:
    from benchmark.training.artifacts import ArtifactStore

FILE = "snapshots.jsonl"
POINTS_FOLDER = "snapshots"  # in the run's folder: `<step>.npy` float32 [N, 2], and `real.npy`
SCATTERS = "scatter_over_training.png"
SCORES = "scores_over_training.png"
N_POINTS = 2_500  # generated 2-D points of each snapshot: a hundred for each of the grid's 25 modes; ours

Line = dict[str, Any]  # of the file: the step and its scores; a score that is not finite is None


def snapshot_steps(cfg: EvalConfig, steps: int) -> set[int]:
    """Steps after which a snapshot is scored: evenly spaced, the last step among them."""
    return {round(steps * (i + 1) / cfg.snapshots) for i in range(cfg.snapshots)}


class Scorer(Protocol):
    """Scores one kind of samples."""

    def score(self, step: int, G: nn.Module) -> Line:
        """Scores of a generator, which may be changed, after a step."""

    def values(self, lines: list[Line]) -> list[MetricValue]:
        """What all snapshots say."""


class Snapshots:
    """Scores the generator of a run in training; one JSON line each in the run's folder.

    A run that is resumed forgets lines, and points, of steps that it will take again.
    """

    def __init__(self, method: Method, cfg: EvalConfig, artifacts: ArtifactStore, folder: Path) -> None:
        self.method, self.points = method, artifacts.data.is_points
        self.folder, self.path = folder, folder / FILE
        self.lines = JsonLines(self.path)
        self.steps = snapshot_steps(cfg, method.cfg.steps)
        self.scorer: Scorer | None = None
        if self.steps:
            kept = folder / POINTS_FOLDER
            self.scorer = (
                PointScorer(method, cfg, artifacts, kept) if self.points else ImageScorer(method, cfg, artifacts)
            )

    def begin(self, step: int) -> None:
        """Start, or continue after this step."""
        if not self.steps or not distributed.is_main():
            return
        self.lines.keep(lambda line: line["step"] <= step)
        if isinstance(self.scorer, PointScorer):
            self.scorer.begin(step)

    def __call__(self, step: int, G: nn.Module) -> None:
        """Score generator G after a step; every rank calls, rank 0 works."""
        if step not in self.steps:
            return
        distributed.by_main(lambda: self._score(step, G))

    def _score(self, step: int, G: nn.Module) -> None:
        assert self.scorer is not None
        G = copy.deepcopy(G).eval()  # running statistics are the training's own
        standing_statistics(self.method, G)
        self.lines.append({"step": step} | self.scorer.score(step, G))
        self.lines.sync()

    def logged(self, step: int, scalars: dict[str, float]) -> None:
        """The log says nothing of snapshots."""

    def values(self) -> list[MetricValue]:
        """Mean of the last snapshots with the curve, of images also the best; none without snapshots."""
        return self.scorer.values(self.lines.read()) if self.scorer is not None else []

    def pictures(self) -> None:
        """Draw the points of every snapshot over the real ones: `scatter_over_training.png`.

        Of images whose accuracy is scored: every score over the steps, `scores_over_training.png`.
        """
        if isinstance(self.scorer, PointScorer) and (lines := self.lines.read()):
            self.scorer.draw(lines, self.folder / SCATTERS)
        elif isinstance(self.scorer, ImageScorer) and "accuracy" in self.scorer.cfg.snapshot_scores:
            self.scorer.draw(self.lines.read(), self.folder / SCORES)


class ImageScorer:
    """The Frechet distance in the features of the evaluation's first extractor, and the accuracy of what was requested.

    Which of them: `eval.snapshot_scores`. A method that is given neither labels nor images has no accuracy.
    """

    def __init__(self, method: Method, cfg: EvalConfig, artifacts: ArtifactStore) -> None:
        self.method, self.cfg, self.artifacts = method, cfg, artifacts
        self.judge = build_judge(cfg, artifacts)
        self.extractor: Extractor | None = None
        self.absent = ""  # why there is no extractor
        if "fd" not in cfg.snapshot_scores:
            return
        try:
            self.extractor = build_extractor(cfg.extractors[0], cfg, self.judge, artifacts)
        except WeightsError as problem:
            if cfg.missing_weights == "refuse":
                raise
            self.absent = problem.what

    def score(self, step: int, G: nn.Module) -> Line:
        """The scores of few images of G."""
        data, n = self.artifacts.data, self.cfg.snapshot_images
        generated = generate(self.method, G, n, self.cfg, data)
        line: Line = {}
        if "fd" in self.cfg.snapshot_scores and self.extractor is not None:
            line["fd"] = self.distance(generated, self.extractor)
        if "accuracy" in self.cfg.snapshot_scores and self.judge is not None:
            line["accuracy"] = accuracy_of(self.method, G, generated, self.judge, data, self.cfg)
        return line

    def distance(self, generated: GeneratedImages, extractor: Extractor) -> float | None:
        """FD against the whole reference; None where it is not finite."""
        reference = reference_of(self.artifacts.data, self.cfg.reference, self.cfg.jpeg)
        real = self.artifacts.store.features(extractor, reference.images, sha256=reference.sha256)
        fake = FeatureStore(None).features(extractor, generated.images)
        fd = frechet_distance(real.pooled, fake.pooled)
        return fd if np.isfinite(fd) else None

    def values(self, lines: list[Line]) -> list[MetricValue]:
        """Of the distance the best and the mean of the last ones, of the accuracy the mean of the last ones."""
        values = self.distances(lines) if "fd" in self.cfg.snapshot_scores else []
        if "accuracy" in self.cfg.snapshot_scores and (id := ACCURACIES.get(self.method.conditioning)):
            values.append(self.accuracy(id, lines))
        return values

    def distances(self, lines: list[Line]) -> list[MetricValue]:
        """The best and the mean of the last ones."""
        protocol, curve = self.protocol(), curve_of(lines, "fd")
        best = min((line["fd"] for line in curve), default=None)
        of = self.cfg.extractors[0].replace(":", "-") if self.extractor is None else self.extractor.name
        protocol |= {"extractor": {"extractor": of} if self.extractor is None else self.extractor.identity}
        values = [
            snapshot_value("fd_best_X", best, self.cfg, protocol, curve, of),
            snapshot_value("fd_late_X", late(lines, "fd"), self.cfg, protocol, curve, of),
        ]
        return [replace(value, status="unavailable", reason=self.absent) if self.absent else value for value in values]

    def accuracy(self, id: str, lines: list[Line]) -> MetricValue:
        """The mean of the last ones."""
        assert self.judge is not None, "`check_snapshots` requires labels"
        of_images = self.method.conditioning in ("instance", "latent")
        protocol = self.protocol() | {"scorer": self.judge.identity}
        protocol |= {"asked": HELD_OUT_IMAGES} if of_images else {"conditioning": self.method.conditioning}
        curve = curve_of(lines, "accuracy")
        value = snapshot_value(id, late(lines, "accuracy"), self.cfg, protocol, curve)
        return replace(value, conditions={"drawn": HELD_OUT_IMAGES}) if of_images else value

    def protocol(self) -> dict[str, Any]:
        """What decides every score of these snapshots."""
        shared = protocol_of(self.artifacts.data, self.cfg, self.cfg.snapshot_images)
        return shared | {"snapshots": self.cfg.snapshots}

    def draw(self, lines: list[Line], path: Path) -> None:
        """Every score over the steps, a panel each."""
        panels = {}
        for value in self.values(lines):
            name, curve = value.name.partition(",")[0], value.details["curve"]
            panels[name] = [(line["step"], score) for line in curve for key, score in line.items() if key != "step"]
        save_scores(path, {name: curve for name, curve in panels.items() if curve})


# The accuracy's id by what a method is conditioned on
ACCURACIES = {
    "class": "control_accuracy_late",
    "attributes": "control_accuracy_late",
    "instance": "label_agreement_late",
    "latent": "label_agreement_late",
}

# The evaluation's three scores of points. None has a best snapshot: a generator that shows one mode alone has the best
# share of high quality.
POINT_SCORES = ("modes", "high_quality", "reverse_kl")


class PointScorer:
    """Modes, share of high quality and reverse KL of points of a known mixture; keeps the points."""

    def __init__(self, method: Method, cfg: EvalConfig, artifacts: ArtifactStore, kept: Path) -> None:
        self.method, self.cfg, self.data, self.kept = method, cfg, artifacts.data, kept
        self.mixture = mixture_of(artifacts.data)

    def begin(self, step: int) -> None:
        """Forget the points of steps that will be taken again, and keep real ones for the images."""
        remove_torn(self.kept)
        for path in self.kept.glob("[0-9]*.npy"):
            if int(path.stem) > step:
                path.unlink()
        save_points(self.kept / "real.npy", self.data.train.images[:N_POINTS])

    def score(self, step: int, G: nn.Module) -> Line:
        """The three scores of G's points; None each where a point is not finite."""
        points = generate(self.method, G, N_POINTS, self.cfg, self.data).images
        save_points(self.kept / f"{step}.npy", points)
        if not np.isfinite(points).all():
            return dict.fromkeys(POINT_SCORES)
        found = mode_statistics(points, self.mixture.centres, self.mixture.std)
        return {"modes": found.n_modes, "high_quality": found.high_quality, "reverse_kl": found.reverse_kl}

    def values(self, lines: list[Line]) -> list[MetricValue]:
        """Means of the last ones."""
        protocol = protocol_of(self.data, self.cfg, N_POINTS)
        protocol |= {"n_modes": len(self.mixture.centres), "std": self.mixture.std, "snapshots": self.cfg.snapshots}
        values = []
        for score in POINT_SCORES:
            curve = curve_of(lines, score)
            values.append(snapshot_value(f"{score}_late", late(lines, score), self.cfg, protocol, curve))
        return values

    def draw(self, lines: list[Line], path: Path) -> None:
        """One panel a snapshot whose points are kept."""
        panels = {
            f"step {line['step']:,}: {modes_text(line['modes'], len(self.mixture.centres))}": read_points(file)
            for line in lines
            if (file := self.kept / f"{line['step']}.npy").exists()
        }
        if panels:
            save_scatters(path, read_points(self.kept / "real.npy"), panels)


def save_points(path: Path, points: np.ndarray) -> None:
    """Write points [N, 2] as float32, atomically."""
    with atomic(path) as file:
        np.save(file, np.asarray(points, np.float32))


def curve_of(lines: list[Line], score: str) -> list[Line]:
    """The steps and values of one score, where it is finite."""
    return [{"step": line["step"], score: line[score]} for line in lines if line.get(score) is not None]


def late(lines: list[Line], score: str) -> float | None:
    """The mean over the last snapshots; None without any, or where one of them has no finite value."""
    values = [line.get(score) for line in lines[-LATE_SNAPSHOTS:]]
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found and len(found) == len(values) else None


def snapshot_value(
    id: str, value: float | None, cfg: EvalConfig, protocol: dict[str, Any], curve: list[Line], of: str = ""
) -> MetricValue:
    """One number of all snapshots, as the record keeps it: the curve is in its details. of: an extractor's name."""
    found = MetricValue.of_row(
        id,
        value,
        protocol,
        of=of,
        status="ok" if value is not None else "failed",
        reason="" if value is not None else "one of the last snapshots has no finite score",
        details={"curve": curve},
    )
    return replace(found, name=labelled(found.name, cfg.protocol))
