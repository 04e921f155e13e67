"""What the author of a method needs, in one place: `from benchmark.training import Method, GANConfig, Sample, ...`.

A name is loaded when it is first used (PEP 562): importing this package alone imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.core.config import (
        STRICT,
        Beta,
        NonNegativeFloat,
        NonNegativeInt,
        PositiveFloat,
        PositiveInt,
        Probability,
    )
    from benchmark.core.errors import ConfigError
    from benchmark.data.prepared import Dataset, Split
    from benchmark.data.stream import Batch, Stream
    from benchmark.training.artifacts import ArtifactStore, computation
    from benchmark.training.config import GANConfig, TrainConfig, build_recipes, half_life
    from benchmark.training.measurements import Embedding, Grid, Measurement, Picture, Sample
    from benchmark.training.method import Conditioning, Method, Stage, Trainable, construct, find_method

__all__ = [
    "STRICT",
    "ArtifactStore",
    "Batch",
    "Beta",
    "Conditioning",
    "ConfigError",
    "Dataset",
    "Embedding",
    "GANConfig",
    "Grid",
    "Measurement",
    "Method",
    "NonNegativeFloat",
    "NonNegativeInt",
    "Picture",
    "PositiveFloat",
    "PositiveInt",
    "Probability",
    "Sample",
    "Split",
    "Stage",
    "Stream",
    "TrainConfig",
    "Trainable",
    "build_recipes",
    "computation",
    "construct",
    "find_method",
    "half_life",
]

_NAMES = {  # the module of each name; the imports above say the same to a type checker
    "benchmark.core.config": "STRICT Beta NonNegativeFloat NonNegativeInt PositiveFloat PositiveInt Probability",
    "benchmark.core.errors": "ConfigError",
    "benchmark.data.prepared": "Dataset Split",
    "benchmark.data.stream": "Batch Stream",
    "benchmark.training.artifacts": "ArtifactStore computation",
    "benchmark.training.config": "GANConfig TrainConfig build_recipes half_life",
    "benchmark.training.measurements": "Embedding Grid Measurement Picture Sample",
    "benchmark.training.method": "Conditioning Method Stage Trainable construct find_method",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

if not TYPE_CHECKING:  # a type checker would take any name for one that exists

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_MODULE_OF[name]), name)

    def __dir__() -> list[str]:
        return sorted(__all__)
