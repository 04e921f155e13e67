"""What the fields of a method's configuration mean: the comments behind them in the source."""

from __future__ import annotations

from functools import cache

from benchmark.core.errors import ConfigError
from benchmark.core.field_docs import field_docs
from benchmark.training.config import GANConfig
from benchmark.training.method import find_method


@cache
def meanings(method: str) -> dict[str, str]:
    """What each field of a method's `Config` means; of an unknown method, the fields that all methods have."""
    try:
        config: type = find_method(method).Config
    except ConfigError:
        config = GANConfig
    return {field.name: field.about for field in field_docs(config)}
