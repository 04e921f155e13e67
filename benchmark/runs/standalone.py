"""`eval`: score anyone's pictures against a dataset or another folder, or a finished run by another protocol.

    python -m benchmark eval samples/ --reference cifar10 --extractors lite0

Pictures are a folder, a zip file, an .npz or .npy file; a run is its folder. The numbers go into a record, so that the
tables show them beside those of the suite's own runs.
"""

from __future__ import annotations

import functools
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.core.config import content_hash, to_dict
from benchmark.core.errors import ConfigError, DataError, WeightsError
from benchmark.data.cards import DatasetCard, card_with, find_card
from benchmark.data.collection import Collection, is_collection, read_collection
from benchmark.data.layout import locate
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.control import pictures_accuracy
from benchmark.evaluation.evaluate import build_extractor, build_judge, copy_values, protocol_of, reference_of
from benchmark.evaluation.protocols import labelled
from benchmark.evaluation.scores import Side, intra_class_values, real_data_rows, set_values, unavailable
from benchmark.evaluation.value import MetricValue
from benchmark.metrics import extractors
from benchmark.metrics.extractors import Extractor, JudgeExtractor
from benchmark.metrics.store import FeatureStore, images_sha256
from benchmark.metrics.weights import TRAINED_HERE
from benchmark.runs.records import write_record
from benchmark.runs.spec import Paths, evaluation
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.stages.judge import recipe as judge_recipe
from benchmark.training.stages.simclr import recipe as encoder_recipe


@dataclass(frozen=True)
class Request:
    """What `eval` is asked for."""

    pictures: Path
    reference: str  # a dataset's name, a card, or a path as `pictures`
    evaluation: EvalConfig
    name: str | None = None  # in records and tables; None: the pictures' own
    resolution: int | None = None  # side to which both are brought; None: pictures as they are


def request_for(
    pictures: Path, reference: str | None, changes: dict[str, Any], resolution: int | None, name: str | None
) -> Request:
    """What a command line asks for, checked: names, files and settings. Raises UserError."""
    if not is_collection(pictures) or not pictures.exists():
        raise DataError(
            f"{pictures}: no pictures to score",
            "it is no folder, zip, .npz or .npy file" if pictures.exists() else "no such file or folder",
            "give the path of generated pictures, or of the folder of a run",
        )
    if reference is None:
        raise ConfigError(
            f"eval {pictures}",
            "what the pictures are compared with is missing",
            "give --reference: a dataset's name (`list` shows them), or the path of real pictures",
        )
    path = Path(reference).expanduser()
    base = to_dict(EvalConfig(extractors=("lite0",), missing_weights="unavailable"))
    has_labels = False
    if not (is_collection(path) and path.exists()):
        card = find_card(reference)
        if card.source.is_points:
            raise ConfigError(f"--reference {card.name}", "it is made of 2-D points", "give a dataset of pictures")
        has_labels = card.conditioning != "none"
        base |= {"extractors": ["judge"] if has_labels else ["lite0"]}
        base["judge"] = to_dict(judge_recipe(card.default_recipe, card.name))
        base["encoder"] = to_dict(encoder_recipe(card.default_recipe, card.name))
    return Request(
        pictures,
        reference,
        evaluation(base, changes, reference, has_labels=has_labels, where="--set"),
        name,
        resolution,
    )


@dataclass(frozen=True)
class _Against:
    """What the pictures are compared with, and what of it is known."""

    name: str
    side: Side
    class_names: tuple[str, ...]
    protocol: dict[str, Any]
    data: Dataset | None  # of the suite: then there are a judge, and held-out images


def score_pictures(request: Request, paths: Paths, device: torch.device, quiet: bool = False) -> dict[str, Any]:
    """Read, compare, write the record; returns it. Raises UserError before any long work for what the user can mend."""
    began, cfg = time.perf_counter(), request.evaluation
    shown = not quiet and sys.stderr.isatty()
    artifacts, against = _reference(request, paths, device, quiet, shown)
    pictures = read_collection(
        request.pictures,
        channels=against.side.images.shape[3],
        side=request.resolution,
        limit=cfg.n_fake,
        progress=shown,
    )
    if cfg.n_fake is not None and len(pictures) < cfg.n_fake:
        raise DataError(
            f"{request.pictures}: {len(pictures):,} pictures",
            f"{cfg.n_fake:,} are asked for, and a distance depends on how many there are",
            f"draw more, or give --n {len(pictures)}",
        )
    sha256 = images_sha256(pictures.images)
    values = _Scores(
        pictures, sha256, against, cfg, artifacts, FeatureStore(paths.artifacts / "features"), device, shown
    ).all()
    name = request.name or pictures.name
    identity = {
        "method": name,
        "dataset": against.name,
        "recipe": "pictures",
        "seed": 0,
        "changes": {},
        "config": {"eval": to_dict(cfg), "resolution": request.resolution},
    }
    digest = content_hash({**identity, "images": sha256, "reference": against.side.sha256})
    run = f"{_slug(against.name)}-{_slug(name)}-pictures-{digest[:8]}"
    result = {
        "data": {"sha256": against.side.sha256},
        "samples_sha256": sha256,
        "n_pictures": len(pictures),
        "side_px": list(pictures.images.shape[1:3]),
        "values": [value.plain() for value in values],
    }
    return write_record(
        paths.results,
        run,
        status="done",
        reason="",
        identity=identity | {"config_hash": digest},
        result=result,
        time={"evaluation_s": time.perf_counter() - began},
        device={"device": str(device), "threads": torch.get_num_threads(), "ranks": 1},
    )


def _reference(
    request: Request, paths: Paths, device: torch.device, quiet: bool, shown: bool
) -> tuple[ArtifactStore | None, _Against]:
    """The reference, prepared or read as it is."""
    cfg, path = request.evaluation, Path(request.reference).expanduser()
    if is_collection(path) and path.exists():
        found = read_collection(path, side=request.resolution, progress=shown)
        side = Side(found.images, images_sha256(found.images), found.labels)
        protocol = {
            "protocol": cfg.protocol,
            "dataset": found.name,
            "data_sha256": side.sha256,
            "resolution": list(found.images.shape[1:3]),
            "reference": "all",
            "n_reference": len(found),
        }
        return None, _Against(found.name, side, found.class_names, protocol, None)
    card = find_card(request.reference)
    locate(card, paths.data_root)
    data = prepare(_at(card, request.resolution), paths.data_root, paths.artifacts / "data", progress=shown)
    protocol = {k: v for k, v in protocol_of(data, cfg, 0).items() if k != "n_fake"}
    artifacts = ArtifactStore(data, paths.artifacts, device, quiet)
    return artifacts, _Against(data.name, reference_of(data, cfg.reference), data.class_names, protocol, data)


@dataclass(frozen=True)
class _Scores:
    """Every number that these pictures can be given."""

    pictures: Collection
    sha256: str  # of the pictures
    against: _Against
    cfg: EvalConfig
    artifacts: ArtifactStore | None  # None: the reference is no dataset of the suite
    store: FeatureStore
    device: torch.device
    shown: bool  # progress

    def all(self) -> list[MetricValue]:
        """The numbers of every extractor, marked with protocol and pictures."""
        asked = {"pictures": self.pictures.name, "labels": "none" if self.labels is None else "given"}
        values = [value for name in self.cfg.extractors for value in self.of(name)]
        return [replace(value, name=labelled(value.name, self.cfg.protocol), conditions=asked) for value in values]

    def of(self, name: str) -> list[MetricValue]:
        """The numbers of one extractor; unavailable ones where its weights are absent."""
        cfg, side, store, protocol = self.cfg, self.against.side, self.store, self.protocol
        try:
            extractor = self.extractor(name)
        except WeightsError as problem:
            return unavailable(name, protocol, problem)
        seen = store.features(extractor, self.pictures.images, sha256=self.sha256, progress=self.shown)
        real = store.features(extractor, side.images, sha256=side.sha256, progress=self.shown)
        n = len(self.pictures)
        controls = real_data_rows(extractor, side, n, cfg.set_settings, store) if cfg.controls else None
        values = set_values(extractor, seen, real, protocol, cfg.set_settings, controls, self.shown)
        if self.labels is not None and side.labels is not None:
            names = self.against.class_names
            values += intra_class_values(extractor, seen, self.labels, real, side.labels, names, protocol)
        if (data := self.against.data) is not None:
            values += copy_values(extractor, np.asarray(seen.pooled), protocol, data, store)
            if isinstance(extractor, JudgeExtractor) and self.labels is not None:
                values += pictures_accuracy(extractor, np.asarray(seen.logits), self.labels, protocol, data)
        return values

    @functools.cached_property
    def labels(self) -> np.ndarray | None:
        """The pictures' labels as the reference's classes."""
        return common_labels(self.pictures, self.against.class_names)

    @property
    def protocol(self) -> dict[str, Any]:
        """What decides the numbers beside the extractor: the same as a run's where the sizes are the same."""
        own = {"n_fake": len(self.pictures), "quantisation": "uint8", "set_seed": self.cfg.seed}
        mine, theirs = self.pictures.images.shape[1:3], self.against.side.images.shape[1:3]
        return self.against.protocol | own | ({"generated_px": list(mine)} if mine != theirs else {})

    def extractor(self, name: str) -> Extractor:
        """An extractor that can look at these pictures. Raises ConfigError for one trained on another size."""
        if name not in TRAINED_HERE or self.artifacts is None:
            return extractors.build(name, device=self.device, allow_unverified=self.cfg.allow_unverified)
        mine, side = self.pictures.images.shape[1:3], self.against.side.images.shape[1]
        if mine != (side, side):
            raise ConfigError(
                f"extractor {name}",
                f"it knows pictures of {side} px, these have {mine[1]} x {mine[0]}",
                f"give --resolution {side}, or --extractors lite0",
            )
        judge = build_judge(self.cfg, self.artifacts) if name == "judge" else None
        return build_extractor(name, self.cfg, judge, self.artifacts)


def common_labels(pictures: Collection, class_names: Sequence[str]) -> np.ndarray | None:
    """The pictures' labels as numbers of the reference's classes [N]; None where they have none, or other classes."""
    if pictures.labels is None or not class_names:
        return None
    number = {name: k for k, name in enumerate(class_names)}
    if set(pictures.class_names) <= set(number):
        return np.array([number[name] for name in pictures.class_names])[pictures.labels]
    if all(name.isdecimal() and int(name) < len(class_names) for name in pictures.class_names):
        return np.array([int(name) for name in pictures.class_names])[pictures.labels]
    return None


def _at(card: DatasetCard, side: int | None) -> DatasetCard:
    return card if side is None else card_with(card, {"resolution": side})


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)
