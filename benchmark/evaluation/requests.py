"""What the metrics on request share: the protocol of a number of the generator itself, and "it says nothing here"."""

from __future__ import annotations

from typing import Any

from benchmark.core.errors import UserError
from benchmark.evaluation.context import EvaluationContext


class Unfit(UserError):
    """A metric that means nothing for this method or dataset."""


def of_generator(context: EvaluationContext) -> dict[str, Any]:
    """The protocol of a number that comes of the generator itself and not of one set of its images."""
    of_sets = ("n_fake", "reference", "n_reference")
    return {k: v for k, v in context.protocol.items() if k not in of_sets} | {"seed": context.seed}
