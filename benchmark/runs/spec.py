"""A request, and the run it makes: every setting known and checked, nothing trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.core.config import build, content_hash, field_names, merge, to_dict
from benchmark.core.engine import EAGER, Engine, engine_of
from benchmark.core.errors import ConfigError, UserError
from benchmark.core.registry import check_method, method_names
from benchmark.data.cards import DatasetCard, card_with, find_card
from benchmark.data.layout import locate
from benchmark.data.prepare import prepare
from benchmark.data.prepared import Dataset
from benchmark.evaluation.config import EvalConfig, check_snapshots
from benchmark.evaluation.networks import published_files, with_published
from benchmark.evaluation.protocols import PROTOCOLS
from benchmark.evaluation.published import read_tensors
from benchmark.evaluation.references import check_references
from benchmark.metrics.extractors.weights import check_name, require
from benchmark.runs.limits import require_within_limits
from benchmark.training.method import GANConfig, Method, MethodFile, find_method
from benchmark.training.stages.encoders import missing_weights
from benchmark.training.stages.judge import recipe as judge_recipe
from benchmark.training.stages.simclr import recipe as encoder_recipe

SMALL_SIDE = 32  # the small recipes are sized for a CPU: larger images are halved until they are at most this,
SMALL_SIDES = dict.fromkeys(("shapes", "shapes_class", "shapes_unseen"), 16)  # or this: shapes are learned in minutes

N_POINTS = 50_000  # samples of 2-D data, in every recipe: they cost nothing [Self-Conditioned GAN's code]

EVALUATION = {
    "small": EvalConfig(n_fake=2000, metrics="few"),
    "paper": EvalConfig(n_fake=50_000, extractors=("inception", "judge"), chamfer_points=6400, recall_images=6400),
}


@dataclass(frozen=True)
class RunSpec:
    """A request: one method on one dataset with one seed.

    recipe: None for the dataset's default. changes: what differs from the recipe, nested; the keys `data` and `eval`
    change the dataset config and the evaluation, `transfer` names another dataset that a method conditioned on images
    gets and is compared with, `precision` and `capture` say how a step is computed (`Engine`), all others change
    the method's configuration.
    """

    method: str
    dataset: str
    seed: int
    recipe: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Paths:
    """Where data is read from and results are written to."""

    data_root: Path
    results: Path

    @property
    def artifacts(self) -> Path:
        """Prepared data and stages, shared by all runs."""
        return self.results / "artifacts"

    @property
    def prepared(self) -> Path:
        """Prepared data alone."""
        return self.artifacts / "data"


def prepare_for(card: DatasetCard, paths: Paths, *, progress: bool = False) -> Dataset:
    """The prepared data, made now if they are not there yet. Raises as `benchmark.data.prepare.prepare`."""
    return prepare(card, paths.data_root, paths.prepared, progress)


@dataclass(frozen=True)
class Resolved:
    """A run with every setting known."""

    spec: RunSpec
    card: DatasetCard
    method: MethodFile
    recipe: str
    config: GANConfig
    evaluation: EvalConfig
    run: str  # name of the run and its record
    folder: Path
    config_hash: str
    transfer: DatasetCard | None = None  # the dataset it is given and compared with; None: the one it learns from
    engine: Engine = EAGER  # how the GAN's steps are computed

    @property
    def plain(self) -> dict[str, Any]:
        """Everything that decides the result, as plain values; the seed is apart from it."""
        plain = {
            "method": self.method.name,
            "version": self.method.cls.version_of(self.config),
            "recipe": self.recipe,
            "data": to_dict(self.card),
            "config": to_dict(self.config),
            "eval": to_dict(self.evaluation),
        }
        plain |= self.engine.plain  # nothing for the default
        return plain if self.transfer is None else plain | {"transfer": to_dict(self.transfer)}

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the run's data before it starts: labels that are absent, an unusual split."""
        scored_on, notes = self.transfer or self.card, [self.card.split_note]
        if scored_on.conditioning == "none" and not scored_on.source.is_points:
            notes.append(
                f"no evaluation classifier (the extractor judge): {scored_on.name} has no labels for it to learn"
            )
        return [note for note in notes if note]


def resolve(spec: RunSpec, paths: Paths) -> Resolved:
    """Find every part of a run and validate its configuration. Raises ConfigError or DataError; trains nothing."""
    check_method(spec.method)
    changes = dict(spec.changes)
    data_changes, eval_changes = _section(changes, "data"), _section(changes, "eval")
    other = changes.pop("transfer", None)
    engine, changes = engine_of(changes)
    card = find_card(spec.dataset)
    method = find_method(spec.method)
    require_kind(method, card)
    recipe = method.default_recipe(card.name, card.default_recipe) if spec.recipe is None else spec.recipe
    card = card_with(_sized(card, recipe), data_changes) if data_changes else _sized(card, recipe)
    base = method.recipe(recipe, card.name)
    _require_own_settings(changes, method)
    config = build(method.Config, merge(to_dict(base), changes), f"--set for {spec.method}")
    target = None if other is None else _transfer_card(str(other), card, method)
    evaluation = _evaluation(recipe, target or card, eval_changes)
    if target is not None and evaluation.snapshots:
        raise ConfigError("eval.snapshots with transfer", "snapshots score on the run's own data", "leave out one")
    plain = Resolved(spec, card, method, recipe, config, evaluation, "", Path(), "", target, engine).plain
    require_within_limits(plain, spec.changes, spec.seed)
    digest = content_hash(plain)
    leaf = f"{recipe}-s{spec.seed}-{digest[:8]}"
    folder = paths.results / "runs" / card.name / spec.method / leaf
    run = f"{card.name}-{spec.method}-{leaf}"
    return Resolved(spec, card, method, recipe, config, evaluation, run, folder, digest, target, engine)


def _require_own_settings(changes: dict[str, Any], method: MethodFile) -> None:
    """Raise ConfigError, with the key to write, for a setting of the evaluation or the dataset without its prefix."""
    own = field_names(method.Config)
    for key in changes:
        for prefix, what, cls in (("eval", "evaluation", EvalConfig), ("data", "dataset", DatasetCard)):
            if key not in own and key in field_names(cls):
                raise ConfigError(
                    f"--set {key}: unknown key of {method.name}",
                    f"{key} is a setting of the {what}",
                    f"write {prefix}.{key}={changes[key]}",
                )


def _transfer_card(name: str, own: DatasetCard, method: MethodFile) -> DatasetCard:
    """The dataset config of a transfer's target, at the side and channels of the method's images.

    Raises ConfigError where it cannot be a target.
    """
    card, what = find_card(name), f"transfer={name}"
    if method.cls.condition_on is Method.condition_on:
        raise ConfigError(what, f"{method.name} is not conditioned on images", "use icgan or latentcond")
    if card.source.is_points:
        raise ConfigError(what, f"{card.name} is made of 2-D points", "give a dataset of images")
    if card.name == own.name:
        raise ConfigError(what, "the run learns from this dataset already", "leave transfer out")
    return card_with(card, {"resolution": own.resolution, "channels": own.channels})


def require_kind(method: MethodFile, card: DatasetCard) -> None:
    """Raise ConfigError for a method that does not take the dataset's kind of data."""
    kind = "points" if card.source.is_points else "images"
    if kind not in method.cls.accepts:
        others = [name for name in method_names() if kind in find_method(name).cls.accepts]
        raise ConfigError(
            f"{method.name} on {card.name}",
            f"{card.name} is made of {kind}, {method.name} takes {' and '.join(method.cls.accepts)}",
            f"for {kind} use one of {', '.join(others)}",
        )


def _section(changes: dict[str, Any], name: str) -> dict[str, Any]:
    """Take the changes of a part of the run, which are nested, out of `changes`."""
    section = changes.pop(name, {})
    if not isinstance(section, dict):
        raise ConfigError(f"--set {name}={section}", f"{name} has settings of its own", f"write {name}.KEY=VALUE")
    return section


def _sized(card: DatasetCard, recipe: str) -> DatasetCard:
    """The dataset config at the recipe's size: the small recipes take large images at a size a CPU can train on."""
    side = card.resolution
    while recipe == "small" and side > SMALL_SIDES.get(card.name, SMALL_SIDE):
        side //= 2
    return card if side == card.resolution else card_with(card, {"resolution": side})


def _evaluation(recipe: str, card: DatasetCard, changes: dict[str, Any]) -> EvalConfig:
    """The recipe's evaluation for this dataset, with the user's changes."""
    base = to_dict(EVALUATION["paper" if recipe.startswith("paper") else "small"])
    base["encoder"] = to_dict(encoder_recipe(recipe, card.name))
    base["judge"] = to_dict(judge_recipe(recipe, card.name))
    if card.source.is_points:
        base |= {"n_fake": N_POINTS, "extractors": [], "encoder": None}
    has_labels = card.conditioning != "none"
    config = evaluation(base, changes, card.name, has_labels=has_labels, where="--set eval")
    config = with_published(config, card, changes)
    is_points = card.source.is_points
    check_snapshots(config, card.name, has_labels=has_labels and not is_points, is_points=is_points)
    check_references(config, card)
    return config


def evaluation(base: dict[str, Any], changes: dict[str, Any], name: str, *, has_labels: bool, where: str) -> EvalConfig:
    """An evaluation's settings: the recipe's, a paper's protocol where one is requested, the user's, in this order.

    name: of the dataset, for messages. Where it has no labels, `judge` is left out of what the recipe or the protocol
    lists. Raises ConfigError for unknown settings and extractors, and for a judge of data without labels that the user
    requests.
    """
    paper = PROTOCOLS.get(str(changes.get("protocol", "suite")), PROTOCOLS["suite"])
    if paper.settings:
        base = merge(base, {"metrics": "all", **paper.settings_for(name), "missing_weights": "unavailable"})
    if not has_labels:
        base = base | {"extractors": without_judge(base["extractors"])}
    config = build(EvalConfig, merge(base, changes), where)
    for extractor in config.extractors:
        if extractor == "judge" and not has_labels:
            raise ConfigError(
                "eval.extractors: judge",
                f"the judge, the evaluation classifier, learns the labels, and {name} has none",
                "set eval.extractors=[lite0], which downloads nothing, or eval.extractors=[inception]",
            )
        if extractor == "simclr" and config.encoder is None:
            raise ConfigError(
                "eval.extractors: simclr",
                f"no encoder is trained on {name} for this evaluation",
                "set eval.encoder, or use lite0",
            )
        check_name(extractor)
    return config


def without_judge(extractors: Sequence[str]) -> list[str]:
    """The extractors of data without labels: no `judge`, and lite0 where nothing else was listed."""
    left = [name for name in extractors if name != "judge"]
    return left if left or not extractors else ["lite0"]


def missing(resolved: Resolved, paths: Paths) -> list[UserError]:
    """The files a run needs and lacks: images, and weights of extractors. Each error says which, why and the fix."""
    problems: list[UserError] = []
    for card in filter(None, (resolved.card, resolved.transfer)):
        try:
            locate(card, paths.data_root)
        except UserError as error:
            problems.append(error)
    needed = resolved.evaluation.extractors if resolved.evaluation.missing_weights == "refuse" else ()
    for name in needed:
        try:
            require(name, allow_unverified=resolved.evaluation.allow_unverified)
        except UserError as error:
            problems.append(error)
    for _, entry in published_files(resolved.evaluation):
        try:
            read_tensors(entry)
        except UserError as error:
            problems.append(error)
    return problems + list(missing_weights(resolved.config))


def require_files(resolved: Resolved, paths: Paths) -> None:
    """Raise the first of `missing`: DataError or WeightsError."""
    for problem in missing(resolved, paths):
        raise problem
