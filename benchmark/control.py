"""Control: does a generated image show what it was asked to?

Scored by the judge, which no method trained against, and beside it by the method's own classifier where it has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.data.prepared import Dataset
from benchmark.data.stream import to_float, to_uint8
from benchmark.method import Method, mix
from benchmark.metrics.accuracy import attribute_accuracy, class_accuracy, recall_at
from benchmark.metrics.extractors import JudgeExtractor, extract
from benchmark.metrics.store import images_sha256
from benchmark.records import Value

BATCH = 250  # images a forward pass: fixed, so that it cannot move a number
HELD_OUT_IMAGES = "images of the held-out split, uniformly"
OWN = {"name": "the classifier the generator was trained against"}
TEXTS = {"judge": "(judge)", "own": "(own)"}  # at the end of a column's name


@dataclass(frozen=True)
class Fakes:
    """Generated images (N, S, S, C) uint8, or points (N, 2) float32, and what each was asked to be."""

    images: np.ndarray
    asked: Tensor | None

    @cached_property
    def sha256(self) -> str:
        """Of the images."""
        return images_sha256(self.images)


def control_accuracy(
    method: Method,
    judge: JudgeExtractor,
    judged: np.ndarray,
    judged_real: np.ndarray,
    images: np.ndarray,
    asked: Tensor,
    protocol: dict[str, Any],
    data: Dataset,
) -> list[Value]:
    """Macro accuracy over classes, or over attributes (mean of on and off), with 95 % intervals.

    judged: the judge's logits [N, n_labels] of the images; judged_real: of the training images, which it never saw.
    images: (N, S, S, C) uint8; asked: as `Sample.asked`. The judge is silent on clusters: it knows the dataset's
    labels, not those a run made for itself.
    """
    values = []
    if method.conditioning != "cluster":
        settings = protocol | {"scorer": judge.identity, "conditioning": method.conditioning}
        ceiling = {"on_real": _on_real(judged_real, data)}
        values.append(_accuracy("judge", judged, asked, settings, data, ceiling))
    if (own := own_logits(method, images)) is not None:
        settings = protocol | {"scorer": OWN, "conditioning": method.conditioning}
        values.append(_accuracy("own", own, asked, settings, data, {}))
    return values


def pictures_accuracy(
    judge: JudgeExtractor, judged: np.ndarray, labels: np.ndarray, protocol: dict[str, Any], data: Dataset
) -> list[Value]:
    """Control accuracy of pictures that someone else generated for these classes [N], whose logits are `judged`."""
    settings = protocol | {"scorer": judge.identity, "conditioning": "class"}
    return [_accuracy("judge", judged, torch.from_numpy(labels), settings, data, {})]


@torch.no_grad()
def label_agreement(
    method: Method,
    G: nn.Module,
    judge: JudgeExtractor,
    judged_real: np.ndarray,
    fakes: Fakes,
    judged: np.ndarray,
    protocol: dict[str, Any],
    data: Dataset,
    seed: int,
) -> list[Value]:
    """For methods conditioned on images: does a sample show the label of the image it was asked for?

    Asked for held-out images, which the method never saw; the same for the training images of `fakes`, whose logits are
    `judged`, is in the details. Chance is what a generator that ignores the image gets.
    """
    assert fakes.asked is not None
    n = len(fakes.images)
    rows = np.random.Generator(np.random.PCG64([seed, 0x1ABE])).integers(len(data.test), size=n)
    method.condition_on(data, "test")
    torch.manual_seed(mix(seed, 0x1ABE))
    asked = torch.tensor(rows, device=method.device)
    images = np.concatenate([drawn(method, G, part) for part in asked.split(BATCH)])
    method.condition_on(data, "train")
    settings = protocol | {"scorer": judge.identity, "conditioning": "image", "asked": HELD_OUT_IMAGES}
    on_train = _accuracy("judge", judged, labels_of(data, "train", fakes.asked), settings, data, {}).value
    more = {"on_real": _on_real(judged_real, data), "on_training_images": on_train}
    value = _accuracy("judge", judged_logits(judge, images), labels_of(data, "test", asked), settings, data, more)
    asked_here = {"drawn": HELD_OUT_IMAGES}
    return [replace(value, id="label_agreement_judge", name="Label agreement (judge)", conditions=asked_here)]


def labels_of(data: Dataset, split: str, rows: Tensor) -> Tensor:
    """Labels or attributes of some images."""
    part = data.train if split == "train" else data.test
    table = part.labels if part.labels is not None else part.attributes
    assert table is not None
    return torch.tensor(table[rows.cpu().numpy()], dtype=torch.int64)


def recall(
    method: Method, G: nn.Module, judge: JudgeExtractor, protocol: dict[str, Any], data: Dataset, n: int, seed: int
) -> list[Value]:
    """InfoSCC-GAN's multi-label protocol, from its code: share of sigmoid > 0.2 where an attribute was forced on.

    n images an attribute, their other labels fair coins. No negatives are tested: see control accuracy for both sides.
    """
    torch.manual_seed(mix(seed, 0x2EC1))
    found: dict[str, dict[str, float]] = {"judge": {}, "own": {}}
    for a, name in enumerate(data.attribute_names):
        asked = torch.randint(2, (n, data.n_labels), device=method.device)
        asked[:, a] = 1
        images = np.concatenate([drawn(method, G, part) for part in asked.split(BATCH)])
        for scorer, logits in (("judge", judged_logits(judge, images)), ("own", own_logits(method, images))):
            if logits is not None:
                found[scorer][name] = recall_at(logits, a, threshold=0.2).value
    settings = {k: v for k, v in protocol.items() if k not in ("n_fake", "conditions", "reference", "n_reference")}
    settings |= {"threshold": 0.2, "images_per_attribute": n, "labels": "fair coins, one forced on"}
    return [
        Value(
            f"recall_0.2_{scorer}",
            f"Recall@0.2 {TEXTS[scorer]}",
            float(np.mean(list(recalls.values()))),
            "higher",
            settings | {"scorer": judge.identity if scorer == "judge" else OWN},
            details={"per_attribute": recalls},
        )
        for scorer, recalls in found.items()
        if recalls
    ]


def own_logits(method: Method, images: np.ndarray) -> np.ndarray | None:
    """Logits of the method's own classifier on quantised images; None where it has none."""
    parts = []
    for i in range(0, len(images), BATCH):
        x = to_float(torch.tensor(images[i : i + BATCH]).permute(0, 3, 1, 2).to(method.device))
        if (logits := method.judge_own(x)) is None:
            return None
        parts.append(logits.cpu().numpy())
    return np.concatenate(parts)


def judged_logits(judge: JudgeExtractor, images: np.ndarray) -> np.ndarray:
    """The judge's logits [N, n_labels] of images (N, S, S, C) uint8."""
    return np.asarray(extract(judge, images, batch=BATCH).logits)


def drawn(method: Method, G: nn.Module, asked: Tensor) -> np.ndarray:
    """Quantised images for what is asked, (N, S, S, C) uint8."""
    return to_uint8(method.sample(G, len(asked), asked).images).permute(0, 2, 3, 1).cpu().numpy()


def _accuracy(
    scorer: str, logits: np.ndarray, asked: Tensor, settings: dict[str, Any], data: Dataset, more: dict[str, Any]
) -> Value:
    """One scorer's control accuracy, whichever kind of label."""
    wanted = asked.cpu().numpy()
    if wanted.ndim == 2:
        accuracy, details = _of_attributes(logits, wanted, data)
    else:
        clusters = settings["conditioning"] == "cluster"  # as many as there are classes, perhaps, but not the classes
        names = [f"cluster {i}" for i in range(logits.shape[1])] if clusters else data.class_names
        accuracy, details = _of_classes(logits, wanted, names)
    value, low, high = accuracy or (None, None, None)
    return Value(
        f"control_accuracy_{scorer}",
        f"Control accuracy {TEXTS[scorer]}",
        value,
        "higher",
        settings,
        low,
        high,
        status="ok" if accuracy else "unavailable",
        reason="" if accuracy else "no attribute was asked both on and off",
        details=details | more,
    )


Interval = tuple[float, float, float]  # value, low, high


def _of_classes(logits: np.ndarray, asked: np.ndarray, names: Sequence[str]) -> tuple[Interval | None, dict[str, Any]]:
    found = class_accuracy(logits, asked)
    details = {"per_class": dict(zip(names, found.per_class)), "chance": 1 / len(names)}
    return (found.macro, found.ci_low, found.ci_high), details


def _of_attributes(logits: np.ndarray, asked: np.ndarray, data: Dataset) -> tuple[Interval | None, dict[str, Any]]:
    report = attribute_accuracy(logits, asked)
    sides = {
        name: {"on": a.on and a.on.value, "off": a.off and a.off.value}
        for name, a in zip(data.attribute_names, report.attributes)
    }
    details = {"per_attribute": sides, "chance": report.chance, "threshold": report.threshold}
    macro = report.macro
    return (macro.value, macro.ci_low, macro.ci_high) if macro else None, details


def _on_real(logits: np.ndarray, data: Dataset) -> float | None:
    """The judge's accuracy on real training images, which it never saw: the ceiling of control accuracy."""
    if data.train.labels is not None:
        return class_accuracy(logits, data.train.labels).macro
    assert data.train.attributes is not None
    report = attribute_accuracy(logits, data.train.attributes)
    return report.macro.value if report.macro else None
