"""Files of tensors: written whole and sealed, checked byte by byte when they are opened.

torch.load ignores the checksums of its own format: a flipped bit in a weight would be trained on, or scored.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmark.core.errors import UserError
from benchmark.core.files import atomic
from benchmark.core.sealed import Identity, both_named, check_archive, seal_archive


def save_tensors(path: Path, value: Any, identity: Identity | None = None) -> None:
    """torch.save, atomically and sealed; through memory, so that a full disk is a plain OSError.

    identity: what the file is of; `load_tensors` refuses it as anything else.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    seal_archive(buffer, identity or {})
    with atomic(path) as file:
        file.write(buffer.getbuffer())


def load_tensors(path: Path, device: torch.device, identity: Identity | None = None, *, fix: str = "") -> Any:
    """torch.load of tensors and plain values only, every byte checked.

    identity: what it must be of; a file of an earlier version does not say, and is checked by its CRC-32 alone.
    fix: what to do about a file that cannot be used. Raises UserError when the file is not whole, or of something else.
    """
    return load_with_identity(path, device, identity, fix=fix)[0]


def load_with_identity(
    path: Path, device: torch.device, identity: Identity | None = None, *, fix: str = ""
) -> tuple[Any, Mapping[str, Any] | None]:
    """As `load_tensors`, and what the file says it is of: None from an earlier version."""
    try:
        own = check_archive(path)
        if own is None or identity is None or own == dict(identity):
            return torch.load(path, map_location=device, weights_only=True), own
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # torch.load meets what it cannot read with errors of many kinds
        raise not_a_checkpoint(path, error, fix) from None
    raise UserError(
        f"{path}: belongs to something else",
        both_named(own, identity),
        fix or f"remove {path} to start again",
    )


def not_a_checkpoint(path: Path, error: Exception, fix: str = "") -> UserError:
    """The error for a file of weights that cannot be used."""
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return UserError(f"{path}: not a checkpoint of this run", reason, fix or f"remove {path} to start again")
