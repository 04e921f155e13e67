"""Tensors at half their size: float16 for float32, and for int64 the smallest type that has the numbers.

Whole numbers come back as they were. A float comes back rounded to 11 significant bits.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# A tensor of fewer numbers is kept as it is: all of them together take little, and a probability or a variance moves
# more images than one weight among thousands.
SMALL = 1024

_INTEGERS = (torch.uint8, torch.int16, torch.uint16, torch.int32)  # smallest first
_RESTORED = {"float32": torch.float32, "int64": torch.int64}  # what is reduced at all

Types = dict[str, str]  # what each reduced tensor was, by name: a key of `_RESTORED`


def reduced(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Types]:
    """The tensors as they are stored, and what the reduced ones were; the others are kept as they are.

    A float tensor with a value that float16 cannot hold (beyond 65,504, infinite, not a number) is kept, too.
    """
    stored = {name: _reduced(tensor) for name, tensor in tensors.items()}
    types = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
    return stored, {name: types[name] for name in tensors if stored[name].dtype != tensors[name].dtype}


def _reduced(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.float32 and tensor.numel() >= SMALL:
        half = tensor.half()
        return half if bool(half.isfinite().all()) else tensor
    if tensor.dtype == torch.int64 and tensor.numel():
        low, high = int(tensor.min()), int(tensor.max())
        fits = (kind for kind in _INTEGERS if torch.iinfo(kind).min <= low and high <= torch.iinfo(kind).max)
        return tensor.to(next(fits, torch.int64))
    return tensor


def restored(stored: Mapping[str, Tensor], types: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors in the types that they had. Raises KeyError for a tensor or a type that there is not."""
    unknown = set(types) - set(stored)
    if unknown:
        raise KeyError(", ".join(sorted(unknown)))
    return {name: one.to(_RESTORED[types[name]]) if name in types else one for name, one in stored.items()}
