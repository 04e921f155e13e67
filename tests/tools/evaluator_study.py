"""The figures of docs/evaluators.md: `python tests/tools/evaluator_study.py DATASET [--runs FOLDER ...]`.

For the published classifier of a dataset: accuracy and calibration on images it has not learned from, what a generator
as good as real images would get, the distance to each damaged copy of real images, and whether it ranks these, and
generated images of finished runs, as EfficientNet-Lite0 does. `--learned-from train` trains another classifier by the
same recipe on the training split, whose images a generator is compared with.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from scipy.stats import kendalltau

import benchmark as gantlet
from benchmark.data.cards import card_with, find_card
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.evaluation.publish import CLASSIFIERS, MEASURED_ON, calibration_error, confidence, logits_of
from benchmark.evaluation.published import accuracy, classifier, correct, index
from benchmark.metrics.corruptions import CORRUPTIONS, NEEDS_LABELS
from benchmark.metrics.extractors.base import Extractor, extract
from benchmark.metrics.extractors.build import build
from benchmark.metrics.extractors.trained import JudgeExtractor
from benchmark.metrics.frechet import frechet_distance
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.stages.judge import Judge
from benchmark.training.stages.judge import recipe as local_recipe
from benchmark.training.stages.published import PublishedClassifier

CPU = torch.device("cpu")
DRAWS = 5  # of two disjoint sets of training images
FAMILIES = ("noise", "blur", "distinct")  # whose distances must rise with their strength


class LearnedFromTraining(PublishedClassifier):
    """The same classifier, trained on the images that generators are compared with."""

    name: ClassVar[str] = "PublishedClassifierB"
    split: ClassVar[Literal["train", "test"]] = "train"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=list(index().datasets))
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("GANTLET_DATA") or "data"))
    parser.add_argument("--work", type=Path, default=Path("results"), help="where networks are trained")
    parser.add_argument("--n", type=int, default=600, help="images of a set (default: 600)")
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="folders of finished runs on the dataset")
    parser.add_argument("--learned-from", choices=["test", "train"], default="test")
    parser.add_argument("--local", action="store_true", help="the classifier that is trained on each machine")
    parser.add_argument("--no-ranks", action="store_true", help="leave EfficientNet-Lite0 out")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    name, side = MEASURED_ON.get(asked.dataset, asked.dataset), index().datasets[asked.dataset].resolution
    data = prepare(card_with(find_card(name), {"resolution": side}), asked.data_root, asked.work / "artifacts" / "data")
    judge = network(asked.dataset, data, asked.work, asked.learned_from, asked.local)
    quality(judge, data, asked.learned_from)
    bias(judge, data, min(len(data.test), len(data.train) // 2))
    if not asked.no_ranks:
        ranks(judge, build("lite0"), data, asked.n, asked.runs)
    return 0


def network(name: str, data: Dataset, work: Path, learned_from: str, local: bool) -> JudgeExtractor:
    """The classifier that is looked at."""
    key, store = index().datasets[name].judge, ArtifactStore(data, work / "artifacts", CPU)
    if local:
        net = store.train(Judge, local_recipe("small", data.name))
    elif learned_from == "train":
        net = store.train(LearnedFromTraining, CLASSIFIERS[key].recipe)
    else:
        return classifier(index().files[key], data, CPU)
    return JudgeExtractor(net, "study", data.resolution)


def quality(judge: Extractor, data: Dataset, learned_from: str) -> None:
    """Accuracy and calibration on the split that it has not learned from."""
    unseen = data.train if learned_from == "test" else data.test
    logits = logits_of(judge, unseen.images)
    right = correct(logits, unseen)
    ece = calibration_error(confidence(logits, data.conditioning == "class"), right)
    print(f"accuracy {accuracy(logits, unseen):.4f}, ECE {ece:.4f} on {len(unseen)} {unseen.name} images")


def bias(judge: Extractor, data: Dataset, n: int) -> None:
    """FD of held-out images to training images over that of training images to others of them, the same numbers.

    A generator as good as real images has the same distance as training images that are not in the reference: 1. Under
    a classifier that learned from the training split held-out images, and so a perfect generator, have another.
    """
    train, test = (np.asarray(extract(judge, part.images, batch=256).pooled) for part in (data.train, data.test))
    floors, others = [], []
    for draw in range(DRAWS):
        one, other = disjoint(data.train.labels, len(train), n, 2, draw)
        (held_out,) = disjoint(data.test.labels, len(test), n, 1, draw)
        floors.append(frechet_distance(train[one], train[other]))
        others.append(frechet_distance(train[one], test[held_out]))
    ratios = np.array(others) / np.array(floors)
    print(
        f"n = {n}: FD(training, other training) {np.mean(floors):.4f}, FD(training, held-out) {np.mean(others):.4f}, "
        f"ratio {ratios.mean():.2f} (sd over draws {ratios.std(ddof=1):.2f})",
        flush=True,
    )


def disjoint(labels: np.ndarray | None, n_all: int, n: int, n_sets: int, seed: int) -> list[np.ndarray]:
    """Disjoint sets of n rows with as many of each class: two halves at random have opposite surpluses of classes."""
    rows = np.random.default_rng(seed).permutation(n_all)
    if labels is not None:
        rows = rows[np.argsort(labels[rows], kind="stable")]
    stride = n_all // n
    return [rows[k::stride][:n] for k in range(n_sets)]


def ranks(judge: Extractor, lite0: Extractor, data: Dataset, n: int, runs: Sequence[Path]) -> None:
    """FD of damaged and generated images by both extractors, whether it rises with damage, and Kendall's tau."""
    rows = np.random.default_rng(0).permutation(len(data.train))
    reference, labels = np.asarray(data.train.images)[rows[:n]], data.train.labels
    sets = damaged(reference, None if labels is None else labels[rows[:n]])
    sets["real, other images"] = np.asarray(data.train.images)[rows[-n:]]
    for folder in runs:
        run = gantlet.load_run(folder)
        images = run.sample(n).permute(0, 2, 3, 1).numpy()
        sets[run.name] = np.rint((images + 1) * 127.5).clip(0, 255).astype(np.uint8)
    found = {name: distances(extractor, reference, sets) for name, extractor in (("judge", judge), ("lite0", lite0))}
    for name in sets:
        print(f"  {name:<60} FD-judge {found['judge'][name]:9.3f}  FD-lite0 {found['lite0'][name]:9.3f}")
    for extractor, fd in found.items():
        print(f"{extractor} rises with strength: {', '.join(f'{f} {rises(fd, f)}' for f in FAMILIES)}")
    for what, names in (("all", list(sets)), ("generated", [name for name in sets if name not in CORRUPTIONS])):
        if len(names) > 3:
            tau = kendalltau(*([fd[name] for name in names] for fd in found.values())).statistic
            print(f"Kendall's tau of FD-judge and FD-lite0 over {what}, {len(names)} sets: {tau:.3f}", flush=True)


def damaged(reference: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """Damaged copies of the reference, as in the tables' rows of real images."""
    possible = {name: damage for name, damage in CORRUPTIONS.items() if labels is not None or name not in NEEDS_LABELS}
    return {name: damage(reference, labels, 0) for name, damage in possible.items()}


def distances(extractor: Extractor, reference: np.ndarray, sets: Mapping[str, np.ndarray]) -> dict[str, float]:
    """FD of each set to the reference."""
    real = np.asarray(extract(extractor, reference).pooled)
    return {
        name: frechet_distance(real, np.asarray(extract(extractor, images).pooled)) for name, images in sets.items()
    }


def rises(fd: Mapping[str, float], family: str) -> bool:
    """Whether FD rises with the strength of a kind of damage."""
    values = [fd[name] for name in CORRUPTIONS if family in name]  # weakest first
    return values == sorted(values)


if __name__ == "__main__":
    raise SystemExit(main())
