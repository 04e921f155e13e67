"""What a method gives back: samples, images and embeddings for the run folder, numbers of its own for the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """Generated images [N, C, S, S] in [-1, 1] (points [N, 2] for 2-D data), and what each was to be.

    conditions: class or cluster numbers [N]; attributes {0, 1} [N, A]; for instance and latent conditioning the rows
    [N] of the bank (`Method.condition_on`) whose features were used, or pairs [N, 2] of such a row and a class; None
    where nothing was requested.
    classes: the dataset's classes [N] that G was given with its conditions; None where it was given none.
    """

    images: Tensor
    conditions: Tensor | None
    classes: Tensor | None = None


@dataclass(frozen=True)
class Grid:
    """A figure for the run folder: images [rows, columns, C, S, S] in [-1, 1], with names of rows and columns."""

    images: Tensor
    rows: list[str]
    columns: list[str]


@dataclass(frozen=True)
class Embedding:
    """Points for a t-SNE figure: features [N, d], their labels [N] or attributes [N, A], the labels' names.

    generated: bool [N], which of them are generated images; None: all are of one kind.
    """

    features: Tensor
    labels: Tensor
    names: list[str]
    generated: Tensor | None = None


Picture = tuple[str, Grid | Embedding]  # with the name of its file


@dataclass(frozen=True)
class Measurement:
    """A number that only this method has; it goes into the record with the harness's own.

    protocol: everything that decides the value apart from the model. details: curves, parts.
    """

    id: str
    name: str
    value: float
    better: Literal["lower", "higher"] | None
    protocol: dict[str, Any]
    details: dict[str, Any]
