"""What a record must be beyond JSON with the right fields, so that every table can rely on it.

Parts without a model of their own are checked where tables read them, and stay as they are: a key that is not known
here may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, ConfigDict, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from benchmark.core.names import has_control

if TYPE_CHECKING:
    from benchmark.runs.records import Record

LONGEST_NAME = 250  # characters
LONGEST_TEXT = 100_000
DEEPEST = 32  # mappings and lists inside of each other
LARGEST = 1e300  # numbers beyond it overflow when they are squared


def _one_line(name: str) -> str:
    if has_control(name) or "\n" in name or "\t" in name:
        raise ValueError("a name has no control characters")
    return name


Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME), AfterValidator(_one_line)]
Number = int | float

# ---- parts that are read by key -------------------------------------------------------------------------------------


def _checked(kind: type) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A check of a mapping by its keys, which keeps the mapping as it is, with its order."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def check(value: dict[str, Any]) -> dict[str, Any]:
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return value

    return check


def _same_keys(curve: list[dict[str, Any]]) -> list[dict[str, Any]]:
    places = [set(point) & {"step", "sigma"} for point in curve]
    if any(set(point) != set(curve[0]) for point in curve) or not all(places):
        raise ValueError("the points of a curve have one place each, and the same quantities")
    if any(point[key] is None for point, keys in zip(curve, places) for key in keys):
        raise ValueError("a point of a curve lacks its place")
    return curve


_OPEN = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


@with_config(_OPEN)
class _Details(TypedDict, total=False):
    controls: dict[str, Number] | None
    curve: Annotated[list[dict[str, Number | None]], AfterValidator(_same_keys)] | None
    of: int | None
    sigma_eps: Number
    sd_half_sampling: Number | None


@with_config(_OPEN)
class _Weights(TypedDict, total=False):
    verified: bool | None
    sha256: str | None


@with_config(_OPEN)
class _Network(TypedDict, total=False):
    weights: _Weights
    sha256: str | None


@with_config(_OPEN)
class _Protocol(TypedDict, total=False):
    extractor: _Network | str | None
    scorer: _Network | str | None
    differences: list[str]
    n_fake: int | None
    n_reference: int | None
    n_modes: int
    reference: str
    protocol: str


@with_config(_OPEN)
class _Conditions(TypedDict, total=False):
    conditioning: str | None
    drawn: str


@with_config(_OPEN)
class _Transfer(TypedDict, total=False):
    name: Name
    title: str


@with_config(_OPEN)
class _Data(TypedDict, total=False):
    name: Name
    title: str
    conditioning: str | None


@with_config(_OPEN)
class _Classifier(TypedDict, total=False):
    label_noise: Number | None


@with_config(_OPEN)
class _Features(TypedDict, total=False):
    name: str
    classifier: _Classifier | None


@with_config(_OPEN)
class _MethodConfig(TypedDict, total=False):
    label_noise: Number | None
    features: _Features | str | list[Any] | bool | None


@with_config(_OPEN)
class _Config(TypedDict, total=False):
    method: str
    recipe: str
    data: _Data
    transfer: _Transfer
    precision: str
    capture: str
    config: _MethodConfig
    eval: dict[str, Any]


@with_config(_OPEN)
class _Time(TypedDict, total=False):
    utc: str
    training_s: Number | None
    stages_s: Number | None
    evaluation_s: Number | None
    steps_per_s: Number | None
    peak_memory_mb: Number | None


@with_config(_OPEN)
class _Environment(TypedDict, total=False):
    libraries: dict[str, str | None]
    python: str
    platform: str
    cpu: str | None
    commit: str | None
    device: str | None
    threads: int | None
    ranks: int | None


@with_config(_OPEN)
class _Changes(TypedDict, total=False):
    transfer: str | None
    precision: str
    capture: str


Details = Annotated[dict[str, Any], AfterValidator(_checked(_Details))]
Protocol = Annotated[dict[str, Any], AfterValidator(_checked(_Protocol))]
Conditions = Annotated[dict[str, Any], AfterValidator(_checked(_Conditions))]
Config = Annotated[dict[str, Any], AfterValidator(_checked(_Config))]
Time = Annotated[dict[str, Any], AfterValidator(_checked(_Time))]
Environment = Annotated[dict[str, Any], AfterValidator(_checked(_Environment))]
Changes = Annotated[dict[str, Any], AfterValidator(_checked(_Changes))]

# ---- the whole ------------------------------------------------------------------------------------------------------


def tree_problem(value: Any, depth: int = 0) -> str:
    """What no table could show anywhere in a record: numbers, texts and nesting beyond all use; empty where none is."""
    if isinstance(value, str):
        return "a text is too long" if len(value) > LONGEST_TEXT else ""
    if isinstance(value, int | float):
        return "" if abs(value) <= LARGEST else "a number is too large, or none"  # of NaN, too
    if value is None:
        return ""
    if depth == DEEPEST:
        return f"lists and mappings are nested deeper than {DEEPEST}"
    if isinstance(value, dict):
        if any(len(key) > LONGEST_NAME or has_control(key) for key in value):
            return "a key is too long, or has control characters"
        value = value.values()
    return next(filter(None, (tree_problem(part, depth + 1) for part in value)), "")


def check_name(record: Record, stem: str) -> str:
    """Why a record is not that of the run its file is named after; empty where it is.

    Records of versions that did not write `config_hash` have only their file's name to agree with.
    """
    if record.run != stem:
        return f"its run is {record.run}: the file was copied or renamed"
    config = record.config
    for key, own in (("method", record.method), ("recipe", record.recipe)):
        if config.get(key, own) != own:
            return f"its {key} is {own}, and {config[key]} in its config"
    if config.get("data", {}).get("name", record.dataset) != record.dataset:
        return f"its dataset is {record.dataset}, and {config['data']['name']} in its config"
    if not record.config_hash:
        return ""
    digits = record.config_hash[:8]
    if record.recipe == "pictures":
        start = f"{_slug(record.dataset)}-{_slug(record.method)}-pictures-"
        expected = (f"{start}{digits}", f"{start}s{record.seed}-{digits}")  # the latter of several seeds in one row
        return "" if stem in expected else f"by its content it is {expected[0]}"
    start = f"{record.dataset}-{record.method}-{record.recipe}-s{record.seed}-"
    if not stem.startswith(start):
        return f"by its content its name begins with {start}"
    # Of a run that was scored again the digits are of the run as it was trained, and config_hash of the new settings.
    if "-eval-" in stem[len(start) :] or stem[len(start) :].startswith(digits):
        return ""
    return f"by its content it is {start}{digits}"


def _slug(name: str) -> str:
    """A name as `eval` of images puts it into the run's."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name)


def copies(records: Iterable[Record]) -> dict[str, str]:
    """Runs whose result is that of another run with another seed, to the bit, with that other run's name.

    Two seeds never train the same weights and draw the same samples. Scored images have no seed: the same ones under
    two names are two rows, as their user wishes.
    """
    first: dict[tuple[str, str, str], Record] = {}
    found = {}
    for record in records:
        result = record.result
        if result is None or not result.weights_sha256 or not result.samples_sha256:
            continue
        original = first.setdefault((record.config_hash, result.weights_sha256, result.samples_sha256), record)
        if original.seed != record.seed:
            found[record.run] = original.run
    return found
