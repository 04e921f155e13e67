"""Input checks shared by the metrics: a wrong array is refused by name, never averaged into a number."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from benchmark.core.errors import UserError

Array: TypeAlias = "np.ndarray[Any, Any] | torch.Tensor"
Float64: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Int64: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


class MetricError(UserError):
    """Features, logits, labels or images that a metric cannot be computed from."""


def as_numpy(name: str, values: Array) -> np.ndarray[Any, Any]:
    """`values` as a numpy array on the host. Raises MetricError for anything but an array or a tensor."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return values.float().numpy() if values.dtype == torch.bfloat16 else values.numpy()
    if isinstance(values, np.ndarray):
        return values
    raise MetricError(f"{name}: {type(values).__name__} given", "a metric reads a numpy array or a tensor")


def float_rows(name: str, values: Array, min_rows: int = 2) -> Float64:
    """Rows of features or logits as float64 [N, d].

    Raises MetricError unless they are floats, two-dimensional, finite and at least `min_rows` many.
    """
    rows = as_numpy(name, values)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise MetricError(f"{name}: shape {list(rows.shape)}", "[N, d] is needed: a row for each image")
    if not np.issubdtype(rows.dtype, np.floating):
        raise MetricError(
            f"{name}: dtype {rows.dtype}", "floats are needed", "pass an extractor's output, not images or labels"
        )
    if len(rows) < min_rows:
        raise MetricError(f"{name}: {len(rows)} rows", f"this metric needs at least {min_rows}", "draw more images")
    rows = np.ascontiguousarray(rows, dtype=np.float64)
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows).all(axis=1)).sum())
        raise MetricError(
            f"{name}: NaN or infinity in {bad} of {len(rows)} rows",
            "the generator or the extractor left the range of floats",
            "look at the samples and at the losses of the run",
        )
    return rows


def row_pair(real: Array, fake: Array, min_rows: int = 2) -> tuple[Float64, Float64]:
    """Real [N, d] and fake [M, d] features as float64. Raises MetricError as `float_rows`, or when d differs."""
    real, fake = float_rows("real features", real, min_rows), float_rows("fake features", fake, min_rows)
    if real.shape[1] != fake.shape[1]:
        raise MetricError(
            f"features of {real.shape[1]} (real) and {fake.shape[1]} (fake) dimensions",
            "the two sets were made by different extractors or layers",
            "extract both with the same extractor",
        )
    return real, fake


def int_labels(name: str, labels: Array, n_rows: int, n_classes: int) -> Int64:
    """Class indices [N] as int64. Raises MetricError unless they are integers in [0, n_classes), one for each row."""
    values = as_numpy(name, labels)
    if values.ndim != 1 or len(values) != n_rows:
        raise MetricError(
            f"{name}: shape {list(values.shape)}", f"[{n_rows}] is needed: a class for each row of logits"
        )
    if not np.issubdtype(values.dtype, np.integer):
        raise MetricError(
            f"{name}: dtype {values.dtype}", "class indices are integers", "pass indices, not one-hot rows"
        )
    if len(values) and (values.min() < 0 or values.max() >= n_classes):
        raise MetricError(f"{name}: {values.min()} to {values.max()}", f"the logits know classes 0 to {n_classes - 1}")
    return values.astype(np.int64)


def binary_rows(name: str, labels: Array, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Attributes [N, A] as booleans. Raises MetricError unless every entry is 0 or 1 and the shape is `shape`."""
    values = as_numpy(name, labels)
    if values.shape != shape:
        raise MetricError(f"{name}: shape {list(values.shape)}", f"{list(shape)} is needed: an entry for each logit")
    if not np.isin(values, (0, 1)).all():
        raise MetricError(f"{name}: an entry is neither 0 nor 1", "an attribute is off (0) or on (1)", "map -1 to 0")
    return values.astype(bool)


def check_images(images: torch.Tensor) -> None:
    """Raise MetricError unless `images` is a uint8 tensor [N, C, H, W] with N >= 1 and C 1 or 3."""
    if not isinstance(images, torch.Tensor):
        raise MetricError(f"images: {type(images).__name__} given", "an extractor reads a uint8 tensor [N, C, H, W]")
    if images.dtype != torch.uint8:
        raise MetricError(
            f"images: dtype {images.dtype}",
            "an extractor reads uint8: every metric sees the same quantised images",
            "quantise once: ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)",
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise MetricError(f"images: shape {list(images.shape)}", "[N, C, H, W] with C = 1 or 3 is needed")
