"""Which terms a step computes depends on its number. A step is tried once; its questions show which steps are like it.

A step that is captured may learn of its number only by comparing it, or its remainder, with whole numbers:
`t % 16 == 0`, `t >= warmup`. Two steps with the same answers run the same operations. A step that computes with its
number, as an annealed weight does, has other constants every time and cannot be captured.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmark.core.errors import ConfigError


@dataclass(frozen=True)
class Question:
    """A comparison of a step's number, or of its remainders by `moduli` one after the other, with a whole number."""

    moduli: tuple[int, ...]
    relation: Callable[[int, int], bool]
    other: int

    def ask(self, t: int) -> bool:
        """The answer at step t."""
        for modulus in self.moduli:
            t %= modulus
        return self.relation(t, self.other)


class Moment:
    """The number of a step, which notes the questions about it and can be used for nothing else.

    Raises ConfigError, from any other use, as `ComputedWith`.
    """

    def __init__(self, t: int, answers: dict[Question, bool], moduli: tuple[int, ...] = ()) -> None:
        self._t, self._answers, self._moduli = t, answers, moduli

    def __mod__(self, modulus: int) -> Moment:
        return Moment(self._t, self._answers, (*self._moduli, operator.index(modulus)))

    def _answer(self, relation: Callable[[int, int], bool], other: Any) -> bool:
        if not isinstance(other, int):
            raise ComputedWith
        question = Question(self._moduli, relation, other)
        return self._answers.setdefault(question, question.ask(self._t))

    def __eq__(self, other: object) -> bool:
        return self._answer(operator.eq, other)

    def __ne__(self, other: object) -> bool:
        return self._answer(operator.ne, other)

    def __lt__(self, other: int) -> bool:
        return self._answer(operator.lt, other)

    def __le__(self, other: int) -> bool:
        return self._answer(operator.le, other)

    def __gt__(self, other: int) -> bool:
        return self._answer(operator.gt, other)

    def __ge__(self, other: int) -> bool:
        return self._answer(operator.ge, other)

    def __bool__(self) -> bool:
        return self._answer(operator.ne, 0)

    __hash__ = None  # type: ignore[assignment]


class ComputedWith(ConfigError):
    """A step computes with its number."""

    def __init__(self) -> None:
        super().__init__("the number of a step", "the step computes with it, so that no two steps are alike")


def _refuse(*_: Any) -> Any:
    raise ComputedWith


_ARITHMETIC = "add sub mul truediv floordiv divmod pow lshift rshift and or xor"
_OTHER_USES = "rmod neg pos abs invert round trunc int float complex index format"
for _name in (*_ARITHMETIC.split(), *(f"r{name}" for name in _ARITHMETIC.split()), *_OTHER_USES.split()):
    setattr(Moment, f"__{_name}__", _refuse)


Variant = dict[Question, bool]  # what steps of one variant answer


def same_variant(variant: Variant, t: int) -> bool:
    """Whether step t answers as the steps of a variant do."""
    return all(question.ask(t) == answer for question, answer in variant.items())
