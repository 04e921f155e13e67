"""The ledger of a comparison: what each method was given, and what it used. Made from records alone.

Two scores can be compared fairly only if this is known: labels and encoders are information that other methods do
not have, and steps, images and seconds are a budget that may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from benchmark.metrics.catalogue import COUNTED, row_named, row_of
from benchmark.report.plain_table import PlainTable
from benchmark.runs.records import Record

UNKNOWN = "not known"  # of runs that failed before they said what they are conditioned on


# ---- what was given -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EncoderUse:
    """A frozen network a method conditions on, or takes neighbours from."""

    name: str
    learned_from: str  # in a word: instances, rotations, labels, ImageNet labels, nothing
    pretrained: bool  # on other data, before the run; else trained here, or never


@dataclass(frozen=True)
class Given:
    """What a method had in addition to the images of the training split."""

    labels: str  # none, labels, attributes, or `UNKNOWN`
    encoders: tuple[EncoderUse, ...] = ()

    @property
    def text(self) -> str:
        """`labels; SimCLR trained here`."""
        return "; ".join([self.labels, *map(encoder_text, self.encoders)])


def encoder_text(encoder: EncoderUse) -> str:
    """An encoder in a few words, with what it was trained on."""
    if encoder.pretrained:
        return f"{encoder.name} ({encoder.learned_from})"
    if encoder.learned_from == "nothing":
        return f"{encoder.name}, untrained"
    own_labels = " on the labels" if encoder.learned_from in ("labels", "attributes") else ""
    return f"{encoder.name} trained here{own_labels}"


def supervision(record: Record) -> str:
    """What the method was given in addition to images, for a table's column: `none`, `labels; SimCLR trained here`."""
    return given(record).text


def given(record: Record) -> Given:
    """What the run's method was given, by its configuration and by what its generator is conditioned on.

    Labels count when the generator is conditioned on them, when pairs or neighbours are chosen by them, and when an
    encoder has learned them. A run that failed says nothing of the first, so the answer is `UNKNOWN` where the rest
    says none.
    """
    config = record.config.get("config", {})
    kind = "attributes" if record.config.get("data", {}).get("conditioning") == "attributes" else "labels"
    encoders = _encoders(config, kind)
    asked = record.result_or_empty.conditions.get("conditioning")
    by_labels = config.get("class_conditional") or config.get("oracle_pairs")
    if asked in ("class", "attributes") or by_labels or any(one.learned_from == kind for one in encoders):
        return Given(kind + _wrong(config), encoders)
    return Given("none" if asked else UNKNOWN, encoders)


def _wrong(config: Mapping[str, Any]) -> str:
    """The share of labels that were made wrong on purpose, for the method or for its encoder's classifier."""
    classifier = _features(config).get("classifier") or {}
    share = config.get("label_noise") or classifier.get("label_noise") or 0
    return f" ({100 * share:.4g} % wrong)" if share else ""


def _features(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section that names a method's encoder; some methods have a setting of this name that is a word."""
    features = config.get("features")
    return features if isinstance(features, Mapping) else {}


def _encoders(config: Mapping[str, Any], kind: str) -> tuple[EncoderUse, ...]:
    """The encoders of a configuration: its `features`, and the contrastive encoder that is a stage of its own."""
    found = []
    if config.get("encoder"):
        found.append(EncoderUse("SimCLR", "instances", pretrained=False))
    if features := _features(config):
        found.append(_feature_encoder(features, kind))
    return tuple(found)


def _feature_encoder(features: Mapping[str, Any], kind: str) -> EncoderUse:
    """The encoder of a `features` section."""
    file = PurePosixPath(str(features.get("weights") or "")).name
    known = {
        "simclr": EncoderUse("SimCLR", "instances", pretrained=False),
        "rotnet": EncoderUse("RotNet", "rotations", pretrained=False),
        "classifier": EncoderUse("classifier", kind, pretrained=False),
        "alexnet": EncoderUse("AlexNet", "nothing", pretrained=False),
        "pixels": EncoderUse("pixels", "nothing", pretrained=False),
        "lite0": EncoderUse("EfficientNet-Lite0", "ImageNet labels", pretrained=True),
        "resnet50": EncoderUse("ResNet-50", f"weights of {file}", pretrained=True),
    }
    name = str(features.get("name"))
    return known.get(name) or EncoderUse(name, "not listed", pretrained=True)


def ledger(records: Iterable[Record]) -> PlainTable:
    """Who was given what: a line for each method, dataset and supervision, and what samples are conditioned on."""
    lines = set()
    for record in records:
        had = given(record)
        lines.add(
            (
                record.method,
                record.dataset,
                had.labels,
                ", ".join(f"{one.name} ({one.learned_from})" for one in had.encoders if one.pretrained) or "none",
                ", ".join(f"{one.name} ({one.learned_from})" for one in had.encoders if not one.pretrained) or "none",
                record.result_or_empty.conditions.get("drawn", UNKNOWN),
            )
        )
    return PlainTable(
        "supervision",
        "What each method was given",
        6,
        ("Method", "Dataset", "Labels", "Pretrained encoders", "Encoders of its own", "Samples are conditioned on"),
        tuple(sorted(lines)),
        (
            "In addition to the images of the training split, which every method has. Labels or attributes: the "
            "generator is conditioned on them, pairs are chosen by them, or an encoder has learned them.",
            "Encoders: in brackets what they learned from. Those of its own are trained on the same training split, or "
            "never. A discriminator's own features, which Self-Conditioned GAN clusters, are no encoder.",
        ),
    )


# ---- what was used --------------------------------------------------------------------------------------------------


def _sum(parameters: Mapping[str, int] | None) -> int | None:
    return sum(parameters.values()) if parameters else None


def _training_speed(record: Record) -> float | None:
    """Steps a second over the whole training; the loop's own figure where a run was continued by another process."""
    return record.time.get("steps_per_s") or None


def _seconds_a_step(record: Record) -> float | None:
    speed = _training_speed(record)
    return None if speed is None else 1 / speed


def _images_a_second(record: Record) -> float | None:
    speed, result = _training_speed(record), record.result_or_empty
    return speed * result.images_seen / result.steps if speed and result.images_seen and result.steps else None


def _evaluation_share(record: Record) -> float | None:
    time = record.time
    parts = [time[name] for name in ("training_s", "stages_s", "evaluation_s") if time.get(name) is not None]
    return parts[2] / sum(parts) if len(parts) == 3 and sum(parts) else None


def _either(name: str) -> Callable[[Record], Any]:
    """A figure that records keep among the times or in the result; older ones not at all."""
    return lambda record: record.time.get(name, getattr(record.result_or_empty, name, None))


def _operations(record: Record) -> int | None:
    """Of a mean step: work that is due every n-th step only makes it a fraction, which says nothing."""
    flops = _either("flops_per_step")(record)
    return None if flops is None else round(flops)


# Head, and where a finished run's record has it. Costs are means over the row's finished runs.
COSTS: tuple[tuple[str, Callable[[Record], Any]], ...] = (
    ("Generator steps", lambda record: record.result_or_empty.steps),
    ("Images seen by D", lambda record: record.result_or_empty.images_seen),
    ("Parameters", lambda record: _sum(record.result_or_empty.parameters)),
    ("FLOPs a step", _operations),
    ("s a step", _seconds_a_step),
    ("Images a s", _images_a_second),
    ("Training s", _either("training_s")),
    ("Stages s", _either("stages_s")),
    ("Evaluation s", _either("evaluation_s")),
    ("Evaluation share", _evaluation_share),
    ("Peak memory MB", _either("peak_memory_mb")),
)


def cost(records: Sequence[Record], read: Callable[[Record], Any]) -> float | None:
    """The mean of a cost over finished runs; None where none of their records has it."""
    found = [value for record in records if record.status == "done" and (value := read(record)) is not None]
    return sum(found) / len(found) if found else None


def run_seconds(records: Sequence[Record]) -> float | None:
    """Mean seconds of a finished run, without stages that runs share; None where no record has them."""
    parts = [cost(records, _either(name)) for name in ("training_s", "evaluation_s")]
    return None if parts[0] is None else parts[0] + (parts[1] or 0.0)


def device_text(records: Sequence[Record]) -> str:
    """The machines of the finished runs, by what decides their speed."""
    found = set()
    for record in records:
        if record.status == "done":
            here = record.environment
            device = here.get("cpu", "cpu") if here.get("device") == "cpu" else here.get("device", UNKNOWN)
            found.add(f"{device}, {here.get('threads', '?')} threads, {here.get('ranks', 1)} ranks")
    return "; ".join(sorted(found))


def cost_listing(
    name: str,
    title: str,
    label_names: Sequence[str],
    rows: Sequence[tuple[Sequence[str], Sequence[Record]]],
) -> PlainTable:
    """What the rows of a table cost. rows: labels, and the runs behind them."""
    lines = tuple(
        (*labels, *(_whole(cost(records, read)) for _, read in COSTS), device_text(records)) for labels, records in rows
    )
    return PlainTable(
        f"{name}-cost",
        f"{title}: what it cost",
        len(label_names),
        (*label_names, *(head for head, _ in COSTS), "Machine"),
        lines,
        (
            "Means over the finished runs of a row. Seconds are of the machine in the last column, and of what else it "
            "did at the time: compare those of one machine, and steps, images and FLOPs anywhere.",
            "Images seen by D: real images drawn in training. A step is one update of the generator; s a step and "
            "images a s include all updates of D in it. Parameters: of all networks trained in the last stage.",
            "Stages are encoders, neighbours and judges that runs share; seconds are those of the run that made them, "
            "noted by every run that used them. Evaluation share: of training, stages and evaluation.",
            "FLOPs and peak memory are empty for records of a version that did not measure them. Peak memory is the "
            "GPU's; on a CPU it is that of the process so far, which is the run's own where each run is a job.",
        ),
    )


def _whole(value: float | None) -> float | int | None:
    """Whole numbers without a decimal point."""
    return int(value) if value is not None and float(value).is_integer() else value


# ---- collapse -------------------------------------------------------------------------------------------------------

FEW_CLASSES = 0.2  # of the classes, or modes: a generator that shows no more has collapsed
# Recall and coverage of every extractor below it: the samples are (nearly) all one. A single extractor is not enough:
# its features may see a fault that all the samples share, such as a line at the border, and nothing else
NOTHING = 0.01


def collapse(record: Record) -> str:
    """Why a finished run counts as collapsed; empty where it does not. The thresholds are ours."""
    if record.status != "done":
        return ""
    if record.result_or_empty.distinct_samples == 1:
        return "all samples are identical"
    if (step := record.result_or_empty.stalled_since) is not None:
        return f"both losses constant from step {step:,} on"
    found = {id: value.value for id, value in record.values.items() if value.value is not None}
    for id in COUNTED:
        of = record.values[id].details.get("of") if id in found else None
        if of and of > 1 and found[id] <= max(1, FEW_CLASSES * of):
            return f"{found[id]:.0f} of {of} classes or modes seen"
    pairs = [(id, row_named("coverage_X").id_of(row_of(id).what(id))) for id in found if row_of(id).id == "recall_X"]
    pairs = [pair for pair in pairs if pair[1] in found]
    if pairs and all(found[id] < NOTHING for pair in pairs for id in pair):
        return ", ".join(f"{record.values[id].name} {found[id]:.2g}" for id in pairs[0])
    return ""
