"""The captured step: what a step launches is found once, and repeated without Python.

`compile` gives the whole step to torch.compile: losses, gradients of gradients, optimisers. `graph` records its kernels
as a CUDA graph. Either is one fixed sequence of operations, so a step whose terms depend on its number has *variants*:
a step with R1 and one without are two. They are found by what the step asks of its number (`questions.py`), and no
method has to list them.

What changes from step to step comes in by tensors at fixed addresses: the number of the step, the learning rates, and
for a graph the batches. Seeds are set by the loop before each step, so every draw remains a function of (seed, step).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any

import torch
from torch import Tensor

from benchmark.core import distributed
from benchmark.core.engine import Capture
from benchmark.core.errors import ConfigError, RunFailed, UserError
from benchmark.data.stream import Batch, Stream
from benchmark.training.graphs import Graphs
from benchmark.training.held import Counted, Held, Served, host_randomness
from benchmark.training.method import Trainable
from benchmark.training.questions import Moment, Variant, same_variant

Scalars = dict[str, Tensor]
Run = Callable[[list[Batch]], Scalars]  # a whole step, given the batches that it draws
Record = Callable[[Run, list[Batch]], Run]  # captures a step; the batches have the shapes of all later ones

LOOK_AHEAD = 10_000  # steps whose variants are captured before the first one is taken; others when they come
NO_CAPTURE = "use --capture none"


def check_capture(cls: type[Trainable], cfg: Any, device: torch.device, capture: Capture) -> None:
    """Refuse what is known not to work before anything is trained. Raises ConfigError with the reason."""
    if capture == "none":
        return
    reason = cls.uncapturable(cfg)
    if capture == "graph" and device.type != "cuda":
        reason = f"CUDA graphs need a CUDA device, and this is {device}"
    elif distributed.world() > 1:
        reason = f"{distributed.world()} ranks exchange gradients within a step; only a single process's is captured"
    if reason:
        raise ConfigError(f"--capture {capture} of {cls.__name__}", reason, NO_CAPTURE)


def stepper(
    trainable: Trainable, stream: Stream, capture: Capture, backend: str | Callable[..., Any] = "inductor"
) -> Callable[[Stream, int], Scalars]:
    """What the loop calls for each step in place of `trainable.step`: same arguments, same results.

    stream: the one that steps are given, of which captures may hold parts. backend: of torch.compile. Everything is
    captured in the first call, in the precision of that call, and in no other; a graph's scalars are good until the
    next call. Raises ConfigError for what cannot be captured; so does a call, and RunFailed where a compiler fails.
    """
    if capture == "none":
        return trainable.step
    check_capture(type(trainable), trainable.cfg, trainable.device, capture)
    record = Graphs(trainable.device).record if capture == "graph" else _compiler(backend)
    return CapturedStep(trainable, capture, record)


@dataclass(frozen=True)
class Captured:
    """One variant of a step."""

    variant: Variant
    drawn: int  # batches
    run: Run


class CapturedStep:
    """Takes each step by the capture of its variant."""

    def __init__(self, trainable: Trainable, capture: Capture, record: Record) -> None:
        self.trainable, self.record = trainable, record
        self.graph = capture == "graph"
        self.name = f"--capture {capture} of {type(trainable).__name__}"
        self.held: Held | None = None
        self.captured: list[Captured] = []

    def __call__(self, stream: Stream, t: int) -> Scalars:
        """As `Trainable.step`."""
        if self.held is None:
            self.held = Held(self.trainable)
            for later in range(t, min(self.trainable.cfg.steps, t + LOOK_AHEAD)):
                self.of(stream, later)
        self.held.reclaim()
        captured = self.of(stream, t)
        batches = [next(stream) for _ in range(captured.drawn)]
        with self.held.in_place(t):
            return self._guarded(captured.run, batches)

    def of(self, stream: Stream, t: int) -> Captured:
        """The capture for step t, which is made where no other fits. State and random numbers stay as they are."""
        for known in self.captured:
            if same_variant(known.variant, t):
                return known
        assert self.held is not None
        position = stream.position
        try:
            with self.held.unchanged():
                self.captured.append(self._capture(stream, t, self.held))
        finally:
            stream.position = position
        return self.captured[-1]

    def _capture(self, stream: Stream, t: int, held: Held) -> Captured:
        variant, drawn = self._asked(stream, t, held)
        batches = [next(stream) for _ in range(drawn)]

        def run(batches: list[Batch]) -> Scalars:
            scalars = self.trainable.step(Served(batches, stream), t)  # type: ignore[arg-type]
            return {name: value.detach() for name, value in scalars.items()}

        with held.in_place(t):
            return Captured(variant, drawn, self._guarded(self.record, run, batches))

    def _asked(self, stream: Stream, t: int, held: Held) -> tuple[Variant, int]:
        """What step t asks of its number, and how many batches it draws.

        Raises ConfigError for what cannot be captured.
        """
        variant: Variant = {}
        counted, before = Counted(stream), host_randomness(self.graph)
        with held.in_place(t):
            try:
                self.trainable.step(counted, Moment(t, variant))  # type: ignore[arg-type]
            except UserError as error:
                raise ConfigError(self.name, f"{error.what}: {error.why}", NO_CAPTURE) from error
        if replaced := held.replaced():
            reason = f"a step puts other tensors in the place of {', '.join(replaced)}, and a capture writes to the old"
            raise ConfigError(self.name, reason, f"write into them in the method's step, or {NO_CAPTURE}")
        if host_randomness(self.graph) != before:
            raise ConfigError(self.name, "a step draws random numbers on the host, which no seed reaches", NO_CAPTURE)
        return variant, counted.drawn

    def _guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """A call; what torch raises in it becomes RunFailed, its first lines the reason."""
        try:
            return call(*arguments)
        except (UserError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise RunFailed(self.name, f"{type(error).__name__}: {' '.join(lines[:3])}"[:500], NO_CAPTURE) from error


def _compiler(backend: str | Callable[..., Any]) -> Record:
    """Captures by torch.compile. A break of the graph is an error; random numbers are those of the step as it is."""
    from torch._dynamo import config as dynamo  # half a second, which a run without captures need not wait
    from torch._inductor import config as inductor

    def record(run: Run, batches: list[Batch]) -> Run:
        compiled: Run = torch.compile(_with_own_code(run), backend=backend, fullgraph=True)

        def call(batches: list[Batch]) -> Scalars:
            with (
                dynamo.patch(trace_autograd_ops=True, automatic_dynamic_shapes=False),
                inductor.patch(fallback_random=True),
            ):
                return compiled(batches)

        call(batches)
        return call

    return record


def _with_own_code(function: Any) -> Any:
    """The same function: torch keeps what it compiled by code object, and would count all variants as one's."""
    cells: tuple[CellType, ...] | None = function.__closure__
    return FunctionType(function.__code__.replace(), function.__globals__, function.__name__, None, cells)
