"""`eval`: score anyone's images against a dataset or another folder, or a finished run by another protocol.

    python -m benchmark eval samples/ --reference cifar10 --extractors lite0

Images are a folder, a zip file, an .npz or .npy file; a run is its folder. The numbers go into a record, so that the
tables show them with those of the suite's own runs.
"""

from __future__ import annotations

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
from benchmark.core.errors import ConfigError, DataError
from benchmark.core.names import has_control, printable
from benchmark.data.cards import DatasetCard, card_with, find_card
from benchmark.data.collection import Collection, is_collection, read_collection
from benchmark.data.jpeg import jpeg_coded
from benchmark.data.layout import locate, user_path
from benchmark.data.prepare import prepare
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.context import ImageSet, Side, protocol_of, quantisation, reference_of, side_of
from benchmark.evaluation.evaluate import evaluate_images
from benchmark.evaluation.networks import with_published
from benchmark.evaluation.references import check_references
from benchmark.evaluation.sampling import GeneratedImages
from benchmark.metrics.extractors.store import FeatureStore, images_sha256
from benchmark.runs.records import Record, write_record
from benchmark.runs.spec import Paths, evaluation
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.stages.judge import recipe as judge_recipe
from benchmark.training.stages.simclr import recipe as encoder_recipe

MOST_CHARACTERS = 100  # of a row's name; the record's is made of it and the reference's


@dataclass(frozen=True)
class Request:
    """What `eval` is to do."""

    pictures: Path | Collection  # where they are, or the images themselves
    reference: str  # a dataset's name, a dataset config, or a path as `pictures`
    evaluation: EvalConfig
    name: str | None = None  # in records and tables; None: the images' own
    resolution: int | None = None  # side to which both are brought; None: images as they are
    run_seed: int | None = None  # of the training run that made them; sets of one name that have one are one row


def check_row_name(name: str) -> str:
    """The name of a row, which a user or a file gave. Raises ConfigError for what no record can be called."""
    if not name.strip() or len(name) > MOST_CHARACTERS or has_control(name) or set(name) & set("\n\t"):
        raise ConfigError(
            f"name {printable(name[:40])!r}",
            f"a name has 1 to {MOST_CHARACTERS} characters, and none that moves the cursor or ends a line",
            "give another: --name",
        )
    return name


def request_for(
    pictures: Path | Collection,
    reference: str | None,
    changes: dict[str, Any],
    resolution: int | None,
    name: str | None,
    run_seed: int | None = None,
) -> Request:
    """What `eval` is to do, checked: names, files and settings. Raises UserError."""
    if name is not None:
        check_row_name(name)
    if isinstance(pictures, Collection):
        if resolution is not None:
            raise DataError(
                f"resolution = {resolution}", "images in memory are scored as they are", "resize them first"
            )
    elif not is_collection(pictures) or not pictures.exists():
        raise DataError(
            f"{pictures}: no images to score",
            "it is no folder, zip, .npz or .npy file" if pictures.exists() else "no such file or folder",
            "give the path of generated images, or of the folder of a run",
        )
    if reference is None:
        raise ConfigError(
            f"eval {pictures.name if isinstance(pictures, Collection) else pictures}",
            "what the images are compared with is missing",
            "give --reference: a dataset's name (`list` shows them), or the path of real images",
        )
    path = user_path(reference)
    base = to_dict(EvalConfig(metrics="few", extractors=("lite0",), missing_weights="unavailable"))
    has_labels, card = False, None
    if not (is_collection(path) and path.exists()):
        card = find_card(reference)
        if card.source.is_points:
            raise ConfigError(f"--reference {card.name}", "it is made of 2-D points", "give a dataset of images")
        has_labels = card.conditioning != "none"
        base |= {"extractors": ["judge"] if has_labels else ["lite0"]}
        base["judge"] = to_dict(judge_recipe(card.default_recipe, card.name))
        base["encoder"] = to_dict(encoder_recipe(card.default_recipe, card.name))
    found = evaluation(base, changes, reference, has_labels=has_labels, where="--set")
    found = replace(found, references=())  # further references want images of their own, and there is no generator
    if card is not None:
        found = with_published(found, _at(card, resolution), changes)
        check_references(found, card)
    else:
        found = _against_pictures(found, changes, reference)
    return Request(pictures, reference, found, name, resolution, run_seed)


def _against_pictures(found: EvalConfig, changes: dict[str, Any], reference: str) -> EvalConfig:
    """The evaluation against images that are no dataset: all of them are the reference, and no class has a frequency.

    A protocol may request more; ConfigError where the user does.
    """
    why = f"{reference} is no dataset: it has no splits, and no training images to count by class"
    for key in ("reference", "strata"):
        if changes.get(key) is not None:
            raise ConfigError(f"eval.{key} = {changes[key]}", why, "leave it out, or give --reference a dataset's name")
    return replace(found, strata=None)


@dataclass(frozen=True)
class _Against:
    """What the images are compared with, and what of it is known."""

    name: str
    side: Side
    class_names: tuple[str, ...]
    protocol: dict[str, Any]
    artifacts: ArtifactStore | None  # of a dataset of the suite: then there are a judge, and held-out images


def score_pictures(request: Request, paths: Paths, device: torch.device, quiet: bool = False) -> Record:
    """Read, compare, write the record; returns it. Raises UserError before any long work for what the user can fix."""
    began, cfg = time.perf_counter(), request.evaluation
    shown = not quiet and sys.stderr.isatty()
    against = _reference(request, paths, device, quiet, shown)
    pictures = _read(request, against.side.images.shape[3], shown)
    _require_two(request.pictures if isinstance(request.pictures, Path) else pictures.name, len(pictures))
    if cfg.n_fake is not None and len(pictures) < cfg.n_fake:
        raise DataError(
            f"{request.name or pictures.name}: {len(pictures):,} images"
            if isinstance(request.pictures, Collection)
            else f"{request.pictures}: {len(pictures):,} images",
            f"{cfg.n_fake:,} are requested, and a distance depends on how many there are",
            f"draw more, or give --n {len(pictures)}",
        )
    name = check_row_name(request.name or pictures.name)
    images = _image_set(pictures, against, cfg, FeatureStore(paths.artifacts / "features"), device, shown)
    sha256 = images.generated.sha256
    if images.classes is None and pictures.labels is not None and against.class_names and not quiet:
        listed = ", ".join(pictures.class_names[:3])
        note = f"its classes ({listed}, ...) are not those of {against.name}: scores by class are left out"
        print(f"note: {printable(pictures.name)}: {printable(note)}", flush=True)
    given = {"pictures": pictures.name, "labels": "none" if images.classes is None else "given"}
    values = evaluate_images(images, given)
    identity = {
        "method": name,
        "dataset": against.name,
        "recipe": "pictures",
        "seed": request.run_seed or 0,
        "changes": {},
        "config": {"eval": to_dict(cfg), "resolution": request.resolution},
    }
    start = f"{_slug(against.name)}-{_slug(name)}-pictures-"
    if request.run_seed is None:  # a row of its own, whatever its name
        digest = content_hash({**identity, "images": sha256, "reference": against.side.sha256})
        run = f"{start}{digest[:8]}"
    else:  # one of the seeds of a row
        settings = {key: value for key, value in identity.items() if key != "seed"}
        digest = content_hash({**settings, "reference": against.side.sha256})
        run = f"{start}s{request.run_seed}-{digest[:8]}"
    result = {
        "data": {"sha256": against.side.sha256},
        "samples_sha256": sha256,
        "n_pictures": len(pictures),
        "side_px": list(pictures.images.shape[1:3]),
        "values": [value.to_dict() for value in values],
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


def _require_two(where: Path | str, n: int) -> None:
    """Raise DataError for a single image: it has no covariance, and no neighbour in its own set."""
    if n < 2:
        raise DataError(f"{where}: 1 image", "at least two are needed to compare sets", "give more images")


def _reference(request: Request, paths: Paths, device: torch.device, quiet: bool, shown: bool) -> _Against:
    """The reference, prepared or read as it is."""
    cfg, path = request.evaluation, user_path(request.reference)
    if is_collection(path) and path.exists():
        found = read_collection(path, side=request.resolution, progress=shown)
        _require_two(path, len(found))
        side = side_of(found.images, images_sha256(found.images), found.labels, cfg.jpeg)
        protocol = {
            "protocol": cfg.protocol,
            "dataset": found.name,
            "data_sha256": side.sha256,
            "resolution": list(found.images.shape[1:3]),
            "reference": "all",
            "n_reference": len(found),
        }
        return _Against(found.name, side, found.class_names, protocol, None)
    card = find_card(request.reference)
    locate(card, paths.data_root)
    data = prepare(_at(card, request.resolution), paths.data_root, paths.prepared, progress=shown)
    protocol = {k: v for k, v in protocol_of(data, cfg, 0).items() if k != "n_fake"}
    artifacts = ArtifactStore(data, paths.artifacts, device, quiet)
    return _Against(data.name, reference_of(data, cfg.reference, cfg.jpeg), data.class_names, protocol, artifacts)


def _image_set(
    pictures: Collection, against: _Against, cfg: EvalConfig, store: FeatureStore, device: torch.device, shown: bool
) -> ImageSet:
    """The images as evaluation takes them."""
    labels = common_labels(pictures, against.class_names)
    coded = pictures.images if cfg.jpeg is None else jpeg_coded(pictures.images, cfg.jpeg)
    # What decides the numbers apart from the extractor: the same as a run's where the sizes are the same.
    own = {"n_fake": len(pictures), "quantisation": quantisation(cfg), "set_seed": cfg.seed}
    mine, theirs = pictures.images.shape[1:3], against.side.images.shape[1:3]
    return ImageSet(
        generated=GeneratedImages(coded, None if labels is None else torch.from_numpy(labels)),
        reference=against.side,
        class_names=against.class_names,
        protocol=against.protocol | own | ({"generated_px": list(mine)} if mine != theirs else {}),
        cfg=replace(cfg, missing_weights="unavailable"),  # the images are there: what can be had is better than none
        artifacts=against.artifacts,
        store=store,
        device=device,
        show_progress=shown,
    )


def common_labels(pictures: Collection, class_names: Sequence[str]) -> np.ndarray | None:
    """The images' labels as numbers of the reference's classes [N]; None where they have none, or other classes.

    Raises DataError where class numbers of images in memory are not the reference's.
    """
    if pictures.labels is None or not class_names:
        return None
    number = {name: k for k, name in enumerate(class_names)}
    if set(pictures.class_names) <= set(number):
        return np.array([number[name] for name in pictures.class_names])[pictures.labels]
    if all(name.isdecimal() and int(name) < len(class_names) for name in pictures.class_names):
        return np.array([int(name) for name in pictures.class_names])[pictures.labels]
    if pictures.numbered:
        raise DataError(
            f"labels of {pictures.name}: up to {pictures.labels.max()}",
            f"the reference has the classes 0 to {len(class_names) - 1}",
            "count classes from 0, or leave the labels out",
        )
    return None


def _at(card: DatasetCard, side: int | None) -> DatasetCard:
    return card if side is None else card_with(card, {"resolution": side})


def _read(request: Request, channels: int, shown: bool) -> Collection:
    """The images, at most as many as are requested."""
    limit = request.evaluation.n_fake
    if not isinstance(request.pictures, Collection):
        return read_collection(
            request.pictures, channels=channels, side=request.resolution, limit=limit, progress=shown
        )
    return request.pictures.sample(limit)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)
