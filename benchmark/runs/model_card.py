"""The model card of an exported run: a README in the form that Hugging Face reads, made from the record.

The front matter is YAML; `model-index` in it has each number with its protocol. The text below is for people.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.core.names import printable
from benchmark.core.plain_yaml import dump_yaml
from benchmark.runs.record_fields import RecordedValue
from benchmark.runs.records import Record
from benchmark.runs.sampler_file import SAMPLER, N, example_conditions
from benchmark.runs.trained import TrainedRun
from benchmark.training.method import find_method

NOT_STATED = "other"  # the licence where none is stated, as Hugging Face calls it
_MOST_NAMES = 40  # of classes or attributes that it lists


def model_card(
    trained: TrainedRun,
    record: Record,
    *,
    license: str = NOT_STATED,
    picture: str | None = None,
    sampler: bool = False,
) -> str:
    """The text. license: of the weights, an identifier as Hugging Face has it. picture: the file of samples.

    sampler: is there a file that torch alone can sample from?
    """
    data = trained.config["data"]
    parts = [
        f"---\n{dump_yaml(_front_matter(trained, record, license))}---",
        f"# {record.method} on {_line(data['title'])}",
        f"{find_method(record.method).summary}",
        f"![Samples of the generator]({picture})\n\nSamples, not selected." if picture else "",
        _usage(trained),
        _usage_of_sampler(trained) if sampler else "",
        _results(record),
        _training(record),
        _training_data(trained, record),
        _licence(data, license),
        _citation(record),
        f"## All settings\n\n```yaml\n{dump_yaml(trained.config)}```",
    ]
    return printable("\n\n".join(part for part in parts if part) + "\n")


def _front_matter(trained: TrainedRun, record: Record, license: str) -> dict[str, Any]:
    data, task = trained.config["data"], _task(trained)
    values = _measured(record)
    stated = {"license": license} | ({"license_name": "not-stated"} if license == NOT_STATED else {})
    tag = {"pipeline_tag": task} if task == _PIPELINE else {}  # the only one that Hugging Face has for such models
    return {
        **stated,
        "library_name": "gantlet",
        **tag,
        "tags": ["gan", *([] if trained.data.is_points else ["image-generation"]), "pytorch", record.method],
        "datasets": [record.dataset],
        "metrics": [value.id for value in values],
        "model-index": [
            {
                "name": record.run,
                "results": [
                    {
                        "task": {"type": task},
                        "dataset": {"type": record.scored_on, "name": _line(_scored_title(trained, data))},
                        "metrics": [_indexed(value, record) for value in values],
                    }
                ]
                if values
                else [],
            }
        ],
    }


_PIPELINE = "unconditional-image-generation"


def _task(trained: TrainedRun) -> str:
    if trained.data.is_points:
        return "point-generation"
    return _PIPELINE if trained.method.conditioning == "none" else "conditional-image-generation"


def _scored_title(trained: TrainedRun, data: dict[str, Any]) -> str:
    return str(trained.config.get("transfer", data)["title"])


def _indexed(value: RecordedValue, record: Record) -> dict[str, Any]:
    """A number as `model-index` has it. args: its protocol, and what it must not be compared by."""
    args: dict[str, Any] = {"protocol_key": value.protocol_key, "protocol": value.protocol}
    if value.better is not None:
        args["better"] = value.better
    if None not in (value.low, value.high):
        args["interval_95"] = [value.low, value.high]
    if network := record.network_of(value):
        args["trained_against"] = network
    return {"type": value.id, "name": value.name, "value": value.value, "args": args}


def _measured(record: Record) -> list[RecordedValue]:
    return [value for value in record.values.values() if value.value is not None]


# ---- sections -------------------------------------------------------------------------------------------------------


def _usage(trained: TrainedRun) -> str:
    method, side = trained.method, trained.data.resolution
    shape = "points [64, 2]" if trained.data.is_points else f"[64, {trained.data.channels}, {side}, {side}] in [-1, 1]"
    code = f"""import benchmark as gantlet

trained = gantlet.load_run("path/of/this/folder")
images = trained.sample(64, seed=0)  # {shape}"""
    if method.conditioning == "none":
        asked = "The generator is unconditional."
    else:
        asked = (
            f"The generator is conditioned on {_CONDITIONS[method.conditioning]}; `conditions` of `sample` are "
            f"{_codes(trained)}. Without conditions they are drawn: {method.default_conditions}."
        )
    names = trained.data.class_names if method.conditioning == "class" else ()
    names = trained.data.attribute_names if method.conditioning == "attributes" else names
    listed = ", ".join(f"{i}: {_line(name)}" for i, name in enumerate(names[:_MOST_NAMES]))
    more = ", ..." if len(names) > _MOST_NAMES else ""
    text = f"## Use\n\n```python\n{code}\n```\n\nThe same seed gives the same images. {asked}"
    return f"{text}\n\n{listed}{more}" if listed else text


def _usage_of_sampler(trained: TrainedRun) -> str:
    conditions = example_conditions(trained)
    given = "" if conditions is None else f"conditions)  # whole numbers {list(conditions.shape)}, as above"
    code = f"""import torch

sample = torch.export.load("{SAMPLER}").module()
images = sample({given or f")  # {N} of them"}"""
    text = f"Without gantlet, with torch alone, {N} at a time; `torch.manual_seed` decides which:"
    return f"{text}\n\n```python\n{code}\n```"


_CONDITIONS = {
    "class": "classes",
    "attributes": "attributes",
    "cluster": "clusters that training found",
    "instance": "training images (instances)",
    "latent": "training images",
}


def _codes(trained: TrainedRun) -> str:
    n = trained.method.n_labels
    if trained.method.conditioning == "attributes":
        return f"rows of {n} numbers, 0 or 1, an attribute each"
    return f"whole numbers from 0 to {n - 1}"


def _results(record: Record) -> str:
    if not _measured(record):
        return "## Results\n\nNothing was measured."
    rows = [
        [value.name + _mark(record, value), f"{value.value:.5g}", _interval(value), value.better or "", _how(value)]
        for value in _measured(record)
    ]
    head = ["Metric", "Value", "95 % interval", "Better", "Protocol"]
    where = "" if record.scored_on == record.dataset else f" on another dataset, {record.scored_on}"
    text = (
        f"The images of one generator (seed {record.seed}) were scored once{where}. The intervals are those of the "
        "measurement, not of training again. Two values are comparable where their whole protocols, in the front "
        "matter above, are equal."
    )
    note = "\n\n§ The method trained against the network behind this value." if _any_marked(record) else ""
    return f"## Results\n\n{text}\n\n{_table(head, rows)}{note}"


def _mark(record: Record, value: RecordedValue) -> str:
    return " §" if record.network_of(value) else ""


def _any_marked(record: Record) -> bool:
    return any(record.network_of(value) for value in _measured(record))


def _interval(value: RecordedValue) -> str:
    return "" if value.low is None or value.high is None else f"{value.low:.5g} to {value.high:.5g}"


def _how(value: RecordedValue) -> str:
    """The short form of a protocol: its name, how many images, against what."""
    p = value.protocol
    known = [f"{p[key]:,} {what}" for key, what in _COUNTS.items() if isinstance(p.get(key), int)]
    return ", ".join([*(str(p[key]) for key in ("protocol", "reference") if key in p), *known])


_COUNTS = {"n_fake": "generated", "n_reference": "real"}


def _training(record: Record) -> str:
    result, device = record.result_or_empty, record.environment
    seconds = {key: record.time.get(key) for key in ("training_s", "stages_s")}
    batch = record.config["config"].get("batch")
    networks = ", ".join(f"{name} {number:,}" for name, number in result.parameters.items())
    facts = {
        "Recipe": f"{record.recipe}, seed {record.seed}",
        "Steps": f"{result.steps:,}" if result.steps is not None else None,
        "Batch": batch,
        "Real images seen": f"{result.images_seen:,}" if result.images_seen is not None else None,
        "Parameters": networks,
        "Trained before": ", ".join(stage.name for stage in result.stages),
        "Weights": "the average over the steps" if _averaged(record) else "those of the last step",
        "Seconds of training": f"{seconds['training_s']:.0f}" if seconds["training_s"] else None,
        "Seconds of earlier stages": f"{seconds['stages_s']:.0f}" if seconds["stages_s"] else None,
        "Device": device.get("device"),
        "Versions": _versions(device),
        "Precision": record.config.get("precision"),
        "Capture": record.config.get("capture"),
    }
    lines = [f"- {name}: {_line(str(value))}" for name, value in facts.items() if value not in (None, "")]
    return "## Training\n\n" + "\n".join(lines)


def _averaged(record: Record) -> bool:
    return bool(record.config["config"].get("ema_half_life_images"))


def _versions(environment: dict[str, Any]) -> str:
    libraries = environment.get("libraries") or {}
    names = {
        "gantlet": environment.get("gantlet"),
        "commit": environment.get("commit"),
        "torch": libraries.get("torch"),
    }
    return ", ".join(f"{name} {version}" for name, version in names.items() if version)


def _training_data(trained: TrainedRun, record: Record) -> str:
    card, known = trained.config["data"], record.result_or_empty.data
    colours = "grey" if trained.data.channels == 1 else "RGB"
    kind = "2-D points" if trained.data.is_points else f"{card['resolution']} px, {colours}"
    numbers = {"trained on": known.n_train, "held out": known.n_test}
    counts = [f"{n:,} {what}" for what, n in numbers.items() if n is not None]
    facts = {
        "Dataset": f"{card['name']}: {card['title']}",
        "Images": ", ".join([kind, *counts]),
        "sha256 of the prepared data": trained.config["data_sha256"],
        "Licence": _terms(card),
        "Homepage": card.get("homepage"),
    }
    return "## Training data\n\n" + "\n".join(f"- {name}: {_line(str(v))}" for name, v in facts.items() if v)


def _terms(data: dict[str, Any]) -> str:
    """The licence of a dataset, for readers elsewhere."""
    given = str(data.get("licence") or "not known")
    return "MIT (drawn by gantlet)" if given == "same as this project" else given


def _licence(data: dict[str, Any], license: str) -> str:
    terms = _line(_terms(data))
    if license != NOT_STATED:
        return f"## Licence\n\nThe weights: {_line(license)}. The training data: {terms}."
    return (
        "## Licence\n\nWho trained these weights has not stated a licence for them. "
        f"The training data have terms of their own ({terms}), which may bind the weights, too."
    )


def _citation(record: Record) -> str:
    method = sys.modules[find_method(record.method).cls.__module__].__doc__ or ""
    source = _line(method.strip().partition("\n\n")[0])
    version = record.environment.get("gantlet")
    entry = ["@software{gantlet,", "  title = {gantlet: a comparative GAN benchmark suite},"]
    entry += [
        "  author = {{the gantlet authors}},",
        *([f"  version = {{{_line(str(version))}}},"] if version else []),
        "}",
    ]
    return f"## Citation\n\nThe method: {source}\n\nThe suite:\n\n```bibtex\n" + "\n".join(entry) + "\n```"


# ---- Markdown -------------------------------------------------------------------------------------------------------


def _line(text: str) -> str:
    """Text that somebody wrote as one line that is no Markdown."""
    return re.sub(r"([\\`*_<>\[\]|#])", r"\\\1", " ".join(text.split()))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_line(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
