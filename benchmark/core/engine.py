"""How a GAN's steps are computed: in which precision, and captured or not. The mathematics is the same.

Only the GAN's own steps are concerned. The stages before it, sampling and evaluation are computed in float32 without
capture, so that every run is scored by the same arithmetic and shares its stages with the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic.dataclasses import dataclass

from benchmark.core.config import STRICT, build

Precision = Literal["fp32", "tf32", "bf16"]
Capture = Literal["none", "compile", "graph"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CAPTURES: tuple[Capture, ...] = get_args(Capture)
ENGINE_KEYS = ("precision", "capture")  # of a run's changes


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Engine:
    """Precision and capture of a GAN's steps. The default is plain float32, an operator at a time."""

    precision: Precision = "fp32"  # tf32: matrix products and convolutions; bf16: the networks, by autocast
    capture: Capture = "none"  # compile: the whole step by torch.compile; graph: CUDA graphs

    @property
    def plain(self) -> dict[str, str]:
        """What is not the default: part of a run's identity, since other arithmetic gives other bits."""
        return {key: value for key in ENGINE_KEYS if (value := getattr(self, key)) != getattr(EAGER, key)}


EAGER = Engine()


def engine_of(changes: Mapping[str, Any]) -> tuple[Engine, dict[str, Any]]:
    """The engine that a run's changes set, and the other changes. Raises ConfigError for an unknown value."""
    asked = {key: changes[key] for key in ENGINE_KEYS if key in changes}
    return build(Engine, asked, "--set"), without_engine(changes)


def without_engine(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of a recipe less those of its engine: what is computed, however it is."""
    return {key: value for key, value in changes.items() if key not in ENGINE_KEYS}
