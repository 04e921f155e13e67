"""Reduced tensors: what they take, what they lose, and what is kept as it is."""

from __future__ import annotations

import pytest
import torch

from benchmark.runs.compact import SMALL, reduced, restored


def there_and_back(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Tensor]:
    """The type that a tensor is stored in, and the tensor that comes back."""
    stored, types = reduced({"x": tensor})
    return stored["x"].dtype, restored(stored, types)["x"]


def test_large_tensors_of_floats_lose_their_last_bits_alone() -> None:
    x = torch.randn(SMALL, generator=torch.Generator().manual_seed(0))
    kind, back = there_and_back(x)
    assert (kind, back.dtype) == (torch.float16, torch.float32)
    assert not torch.equal(back, x)
    assert bool(((back - x).abs() <= x.abs() * 2**-11 + 2**-25).all())


@pytest.mark.parametrize("value", [65600.0, -1e30, float("inf"), float("nan")])
def test_what_float16_cannot_hold_is_kept(value: float) -> None:
    x = torch.linspace(0, 1, SMALL)
    x[7] = value
    kind, back = there_and_back(x)
    assert kind == torch.float32
    assert torch.equal(back.nan_to_num(3.0), x.nan_to_num(3.0))


@pytest.mark.parametrize(
    "tensor",
    [torch.rand(SMALL - 1), torch.rand(SMALL).double(), torch.rand(SMALL) > 0.5, torch.arange(9, dtype=torch.uint8)],
)
def test_small_tensors_and_other_types_are_kept(tensor: torch.Tensor) -> None:
    stored, types = reduced({"x": tensor})
    assert types == {}
    assert stored["x"].dtype == tensor.dtype
    assert torch.equal(stored["x"], tensor)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], torch.uint8),
        ([0, 256], torch.int16),
        ([-1, 5], torch.int16),
        ([0, 32768], torch.uint16),
        ([-1, 32768], torch.int32),
        ([0, 65536], torch.int32),
        ([0, 2**31], torch.int64),
        ([-(2**63), 2**63 - 1], torch.int64),
        ([], torch.int64),
    ],
)
def test_whole_numbers_come_back_from_the_smallest_type_that_has_them(values: list[int], kind: torch.dtype) -> None:
    x = torch.tensor(values, dtype=torch.int64)
    stored, back = there_and_back(x)
    assert stored == kind
    assert back.dtype == torch.int64
    assert torch.equal(back, x)


def test_types_of_other_tensors_are_refused() -> None:
    with pytest.raises(KeyError, match="y"):
        restored({"x": torch.zeros(2)}, {"y": "float32"})
    with pytest.raises(KeyError, match="float8"):
        restored({"x": torch.zeros(2)}, {"x": "float8"})
