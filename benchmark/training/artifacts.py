"""Stages and computations made once and found again by content.

`artifacts.train(SimCLR, cfg)` and `artifacts.compute(cluster, encoder=encoder, k=10)` are keyed by name, version,
configuration, the data's hash and the keys of their inputs, made under a lock by the same resumable loop, and shared
by every run that needs the same thing.

A store also remembers the frozen networks that were taken from it, by their hashes: those that a method took for its
stages are what it trains against, in its loss or as its condition, and tables rank no method by such a network.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from benchmark.core import distributed
from benchmark.core.config import content_hash, to_dict
from benchmark.core.errors import UserError
from benchmark.core.files import lock, read_json, remove_torn, write_json
from benchmark.core.sealed import Identity, check_entries, seal_entries
from benchmark.core.seeds import derive_seed
from benchmark.data.prepared import Dataset
from benchmark.metrics.extractors.hashes import network_hashes
from benchmark.metrics.extractors.store import FeatureStore
from benchmark.metrics.extractors.trained import state_hash
from benchmark.training.checkpoints import CHECKPOINT
from benchmark.training.loop import train
from benchmark.training.method import Stage, construct
from benchmark.training.states import require_entries
from benchmark.training.tensors import load_tensors, not_a_checkpoint, save_tensors

F = TypeVar("F", bound=Callable[..., dict[str, Tensor]])

META = "meta.json"
VALUE = "artifact.pt"


def computation(module: str, name: str) -> Callable[[F], F]:
    """Names a function that `artifacts.compute` calls.

    The names are part of the keys of what it made, so they are written down: a function that moves, or is renamed,
    keeps them, and finds what was made before. They are those under which it was first published.
    """

    def named(function: F) -> F:
        function.key = (module, name)  # type: ignore[attr-defined]
        return function

    return named


@dataclass
class Made:
    """One artefact that was made or found."""

    name: str
    key: str
    folder: Path
    found: bool
    seconds: float  # what making it took, whoever made it


@dataclass(frozen=True)
class FrozenNetwork:
    """A network that is used and not trained, by every hash under which an extractor may name it."""

    name: str  # of its stage, or of the extractor
    hashes: tuple[str, ...]  # sha256 of its weights; the key of its artefact, of one that was trained here

    def to_dict(self) -> dict[str, Any]:
        """For a record."""
        return {"name": self.name, "hashes": list(self.hashes)}


@dataclass
class ArtifactStore:
    """Makes or finds the artefacts of one data set, in `folder`."""

    data: Dataset
    folder: Path
    device: torch.device
    quiet: bool = False
    made: list[Made] = field(default_factory=list)
    networks: list[FrozenNetwork] = field(default_factory=list)  # that were taken from it, each once
    _keys: list[tuple[Any, str]] = field(default_factory=list)  # values handed out (kept alive) and their keys

    @property
    def store(self) -> FeatureStore:
        """Features of images, shared by all runs of a results folder."""
        return FeatureStore(self.folder / "features")

    def train(self, stage: type[Stage], cfg: Any, **inputs: Any) -> Any:
        """The product of a trained stage: trained here, resumed, or loaded.

        inputs: products of other stages, or plain values.
        """
        key = self._key(stage.name, stage.version, {"config": to_dict(cfg), "split": stage.split}, inputs)
        folder = self.folder / f"{stage.name}-{key[:12]}"
        seed = getattr(cfg, "seed", 0)
        identity: Identity = {"artefact": stage.name, "version": stage.version, "key": key}

        def make() -> float:
            trainable = construct(stage, cfg, self.data, self.device, seed, **inputs)
            outcome = train(
                trainable,
                self.data,
                folder,
                seed=derive_seed(seed, 0x57A6E),
                label=stage.name,
                quiet=self.quiet,
                identity=identity,
            )
            if distributed.is_main():
                networks = {name: net.state_dict() for name, net in trainable.modules().items()}
                save_tensors(folder / VALUE, networks, identity)
            return outcome.seconds

        found, seconds = self._make_once(stage.name, key, folder, make, to_dict(cfg))
        trainable = construct(stage, cfg, self.data, self.device, seed, **inputs)
        self._load_networks(trainable, folder, identity)
        product = trainable.product().requires_grad_(False).eval()
        self._hand_out(product, Made(stage.name, key, folder, found, seconds))
        self.note({"extractor": stage.name, "artefact": key, "weights": {"sha256": state_hash(product)}})
        return product

    def _load_networks(self, trainable: Stage, folder: Path, identity: Identity) -> None:
        """Put a stored stage's weights into its networks. Raises UserError for a damaged file, or one of another."""
        states = load_tensors(folder / VALUE, self.device, identity, fix=_make_again(folder))
        networks = trainable.modules()
        try:
            require_entries("it", states, networks)
            for name, net in networks.items():
                net.load_state_dict(states[name])
        except (TypeError, AttributeError, ValueError, RuntimeError) as error:
            raise not_a_checkpoint(folder / VALUE, error, _make_again(folder)) from None

    def note(self, identity: dict[str, Any]) -> None:
        """Remember a frozen network that was taken from elsewhere than `train`: its identity, as extractors have one.

        One without a hash (the pixels, random weights) is no extractor of an evaluation, and is not remembered.
        """
        hashes = network_hashes(identity)
        known = {one for network in self.networks for one in network.hashes}
        if hashes - known:
            self.networks.append(FrozenNetwork(str(identity.get("extractor", "")), tuple(sorted(hashes))))

    def compute(self, function: Callable[..., dict[str, Tensor]], **inputs: Any) -> dict[str, Tensor]:
        """What `function(data, **inputs)` returns: computed, or found; a function named by `computation`.

        Its `version` attribute is part of the key.
        """
        (_, name), key = key_names(function), self._compute_key(function, inputs)
        folder = self.folder / f"{name}-{key[:12]}"
        identity: Identity = {"artefact": name, "version": getattr(function, "version", 1), "key": key}

        def make() -> float:
            value = distributed.by_main(lambda: function(self.data, **inputs))
            if value is not None:
                save_tensors(folder / VALUE, {k: v.cpu() for k, v in value.items()}, identity)
            return 0.0

        found, seconds = self._make_once(name, key, folder, make, _plain_inputs(inputs))
        value = load_tensors(folder / VALUE, self.device, identity, fix=_make_again(folder))
        if not isinstance(value, dict) or not all(isinstance(one, Tensor) for one in value.values()):
            raise not_a_checkpoint(folder / VALUE, TypeError("it holds no tensors by name"), _make_again(folder))
        self._hand_out(value, Made(name, key, folder, found, seconds))
        return value

    def key_of(self, value: Any) -> str:
        """The key of a value this store handed out."""
        return next(key for known, key in self._keys if known is value)

    def _hand_out(self, value: Any, made: Made) -> None:
        self._keys.append((value, made.key))
        self.made.append(made)

    def _key(self, name: str, version: int, settings: dict[str, Any], inputs: dict[str, Any]) -> str:
        described = {k: self._describe(v) for k, v in inputs.items()}
        return content_hash(
            {"name": name, "version": version, **settings, "inputs": described, "data": self.data.sha256}
        )

    def _compute_key(self, function: Callable[..., dict[str, Tensor]], inputs: dict[str, Any]) -> str:
        module, name = key_names(function)
        return self._key(name, getattr(function, "version", 1), {"module": module}, inputs)

    def _describe(self, value: Any) -> Any:
        """An input's key if it was made here, else its plain value."""
        for known, key in self._keys:
            if known is value:
                return {"artefact": key}
        if hasattr(value, "identity"):  # a feature extractor says itself what it is
            return value.identity
        if isinstance(value, (nn.Module, Tensor)):
            raise TypeError("an input of a stage is made by artifacts.train or artifacts.compute, or is a plain value")
        return to_dict(value) if dataclasses.is_dataclass(value) else value

    def _make_once(
        self, name: str, key: str, folder: Path, make: Callable[[], float], settings: Any
    ) -> tuple[bool, float]:
        """Run `make` unless it was done; under a lock that rank 0 holds for all ranks. Returns (found, seconds)."""
        found = distributed.agree(_is_made(folder))
        if not found:
            if distributed.is_main():
                with lock(folder.with_suffix(".lock"), f"the artefact {folder.name}", wait=True):
                    found = distributed.agree(_is_made(folder))
                    if not found:
                        folder.mkdir(parents=True, exist_ok=True)
                        remove_torn(folder)
                        seconds = make()
                        write_json(
                            folder / META,
                            seal_entries(
                                {
                                    "name": name,
                                    "key": key,
                                    "settings": settings,
                                    "data": self.data.name,
                                    "seconds": seconds,
                                }
                            ),
                        )
                        (folder / CHECKPOINT).unlink(missing_ok=True)
            else:
                found = distributed.agree(None)
                if not found:
                    make()
            distributed.barrier()
        return found, distributed.agree(_seconds(folder, name, key) if distributed.is_main() else None)


def key_names(function: Callable[..., Any]) -> tuple[str, str]:
    """The module and name of a computation. Raises TypeError for a function that `computation` did not name."""
    if not hasattr(function, "key"):
        raise TypeError(f"{function.__name__}: name it by @computation(module, name) before artifacts.compute calls it")
    return function.key


def _is_made(folder: Path) -> bool:
    """meta.json is written last; a value that was removed by hand is made again."""
    return (folder / META).exists() and (folder / VALUE).exists()


def _seconds(folder: Path, name: str, key: str) -> float:
    """What meta.json says that making an artefact took. Raises UserError when the file is damaged, or of another."""
    path = folder / META
    try:
        meta = read_json(path)
        check_entries(meta, META)
        if (meta["name"], meta["key"]) != (name, key):
            raise ValueError(f"it is of {meta['name']} with the key {meta['key']}, needed is {name} with {key}")
        seconds = meta["seconds"]
        if type(seconds) not in (int, float) or not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"seconds = {seconds!r}: a number from 0 on is needed")
        return float(seconds)
    except UserError as error:
        raise UserError(error.what, error.why, _make_again(folder)) from None
    except (KeyError, TypeError, ValueError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: not whole", reason, _make_again(folder)) from None


def _make_again(folder: Path) -> str:
    """What to do about an artefact that cannot be used. Never silently: on another machine it has other bits."""
    return f"remove the folder {folder}; it is then made again"


def _plain_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs that are plain values, for a reader of the artefact's meta.json."""
    return {k: v for k, v in inputs.items() if isinstance(v, (str, int, float, bool, list, tuple, type(None)))}
