"""What samples are conditioned on, as the command line says it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.core.errors import ConfigError
from benchmark.runs.finished import Request, conditions_for
from benchmark.runs.trained import TrainedRun

ATTRIBUTES = ("Bald", "Eyeglasses", "Smiling")


def run(kind: str, n_labels: int = 5, paired: int = 0) -> TrainedRun:
    """A finished run of a method with this conditioning; nothing of it is trained."""
    method: Any = SimpleNamespace(
        conditioning=kind, n_labels=n_labels, n_paired_classes=paired, device=torch.device("cpu")
    )
    names: tuple[str, ...] = ATTRIBUTES if kind == "attributes" else ()
    data: Any = SimpleNamespace(class_names=("cat", "dog", "hen", "owl", "pig"), attribute_names=names)
    return TrainedRun(None, {}, method, None, data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "of", "wanted"),
    [
        (Request(), run("class"), None),
        (Request(label="3"), run("class"), [3, 3]),
        (Request(label="dog"), run("class"), [1, 1]),
        (Request(label="0"), run("cluster"), [0, 0]),
        (Request(attributes="1,0,1"), run("attributes", 3), [[1, 0, 1], [1, 0, 1]]),
        (Request(instance=4), run("instance"), [4, 4]),
        (Request(instance=4), run("latent"), [4, 4]),
        (Request(instance=4, label="hen"), run("instance", paired=5), [[4, 2], [4, 2]]),
    ],
)
def test_one_condition_is_that_of_all_images(request_: Request, of: TrainedRun, wanted: Any) -> None:
    found = conditions_for(request_, of, 2)
    assert (None if found is None else found.tolist()) == wanted


@pytest.mark.parametrize(
    ("request_", "of", "parts"),
    [
        (Request(label="1"), run("none"), ["--class 1", "unconditional"]),
        (Request(label="1"), run("attributes", 3), ["conditioned on: attributes", "use --attributes"]),
        (Request(attributes="1,0"), run("attributes", 3), ["Bald, Eyeglasses, Smiling", "give 3 numbers", "1,0,0"]),
        (Request(attributes="1,0,2"), run("attributes", 3), ["--attributes 1,0,2"]),
        (Request(attributes="1,0,1"), run("class"), ["use --class"]),
        (Request(instance=1), run("class"), ["--instance 1", "use --class"]),
        (Request(label="dgo"), run("class"), ["did you mean 'dog'"]),
        (Request(label="5"), run("class"), ["0 to 4"]),
        (Request(instance=-1), run("instance"), ["0 to 4"]),
        (Request(label="1"), run("instance", paired=5), ["give --instance"]),
    ],
)
def test_what_the_run_does_not_have_is_refused(request_: Request, of: TrainedRun, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        conditions_for(request_, of, 2)
    for part in parts:
        assert part in str(caught.value)
