"""Which networks a number was measured with: the hashes by which extractors name their weights.

An extractor's identity, and a protocol that has one, hold the sha256 of the weights under `sha256`. A network that was
trained here also has the key of its artefact, under `judge`, `encoder` or `artefact`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEYS = frozenset({"sha256", "judge", "encoder", "artefact"})


def network_hashes(value: Any) -> frozenset[str]:
    """Every hash of a network that an identity, or a whole protocol, names; however deep it is nested."""
    if not isinstance(value, Mapping):
        return frozenset()
    mine = {part for key, part in value.items() if key in _KEYS and isinstance(part, str)}
    return frozenset(mine.union(*(network_hashes(part) for part in value.values())))
