"""The captured step's parts: questions about a step's number, state at fixed places, what is refused and why."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.registry import lookup_backend

import benchmark.training.capture
from benchmark.core.errors import ConfigError, RunFailed
from benchmark.core.seeds import seed_step
from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset
from benchmark.data.stream import Stream
from benchmark.nn.losses import r1
from benchmark.training.capture import check_capture, stepper
from benchmark.training.config import TrainConfig
from benchmark.training.graphs import fill, fixed
from benchmark.training.held import Counted, Held, Served
from benchmark.training.loop import _learning_rates, _set_learning_rates, stream_for
from benchmark.training.method import Trainable, construct
from benchmark.training.questions import ComputedWith, Moment, Variant, same_variant

CPU = torch.device("cpu")
DATA = Dataset.tiny(find_card("digits"))
STEPS = 12


class Small(Trainable):
    """A noisy regression, with R1 every fourth step and a running mean of it; rates fall."""

    linear_decay = True

    def __init__(self, cfg: TrainConfig, data: Dataset) -> None:
        size = data.channels * data.resolution**2
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(size, 4), nn.Softplus(), nn.Linear(4, 1))
        self.opt = self.adam(self.net, 1e-2, (0.9, 0.99))
        self.a = torch.zeros(())

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        x = next(stream).images
        losses = {"loss": self.net(x + torch.randn_like(x)).square().mean()}
        self.update(losses["loss"], self.opt)
        if t % 4 == 0:
            losses["R1"] = r1(self.net, x)
            self.update(losses["R1"], self.opt)
            self.a.copy_(self.a.lerp(losses["R1"].detach(), 0.5))
        return losses


def made(cls: type[Trainable] = Small, steps: int = STEPS) -> tuple[Any, Stream]:
    thing = construct(cls, TrainConfig(steps=steps, batch=8), DATA, CPU, 0)
    return thing, stream_for(thing, DATA, 3)


Step = Callable[[Stream, int], dict[str, Tensor]]


def take(thing: Any, step: Step, stream: Stream, first: int, last: int) -> list[Any]:
    """Steps as the loop takes them; the losses of each."""
    rates, losses = _learning_rates(thing), []
    for t in range(first, last):
        thing._step = t
        seed_step(3, t)
        _set_learning_rates(rates, thing.lr_factor(t))
        losses.append({name: float(value.detach()) for name, value in step(stream, t).items()})
    return losses


def compiling(graphs: list[Any] | None = None) -> Callable[..., Any]:
    """A backend that runs each graph as it is, and keeps it."""

    def backend(graph: Any, inputs: Any) -> Any:
        if graphs is not None:
            graphs.append(graph)
        return lookup_backend("eager")(graph, inputs)

    return backend


def same_state(one: Trainable, other: Trainable) -> None:
    """Assert that two states are equal to the bit."""
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


# ---- questions ------------------------------------------------------------------------------------------------------


def test_a_step_is_known_by_what_it_asks_of_its_number() -> None:
    def branches(t: Any) -> list[bool]:
        asked = [t % 16 == 0]
        if asked[0]:
            asked.append(t == 0)
        return [*asked, t >= 5, bool(t % 6 % 4)]

    variants: list[tuple[Variant, list[bool]]] = []
    for t in range(200):
        known = [found for variant, found in variants if same_variant(variant, t)]
        if not known:
            variant: Variant = {}
            variants.append((variant, branches(Moment(t, variant))))
            known = [variants[-1][1]]
        assert known == [branches(t)], t
    assert len(variants) == len({tuple(branches(t)) for t in range(200)})


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t * 2,
        lambda t: 1.0 - t / 10,
        lambda t: t + 1,
        lambda t: int(t),
        lambda t: float(t),
        lambda t: f"{t}",
        lambda t: list(range(t)),
        lambda t: [0, 1][t],
        lambda t: t < 0.5,
        lambda t: (t % 3) * 2,
        lambda t: torch.full((), t),
        lambda t: min(t, 3) * 1.0,
    ],
)
def test_a_step_that_computes_with_its_number_is_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises((ComputedWith, TypeError)):
        use(Moment(1, {}))


# ---- state ----------------------------------------------------------------------------------------------------------


def test_moments_begin_as_the_first_step_would_begin_them() -> None:
    (one, stream), (other, its_stream) = made(), made()
    Held(other)
    assert other.opt.state, "they exist before any step"
    assert take(one, one.step, stream, 0, 3) == take(other, other.step, its_stream, 0, 3)
    same_state(one, other)


def test_what_is_tried_changes_nothing() -> None:
    thing, stream = made()
    take(thing, thing.step, stream, 0, 2)
    held, before, random_state = Held(thing), copy.deepcopy(thing.state_dict()), torch.get_rng_state()
    with held.unchanged(), held.in_place(2):
        thing.step(stream, 4)
    assert torch.equal(torch.get_rng_state(), random_state)
    torch.testing.assert_close(thing.state_dict(), before, rtol=0, atol=0)
    assert thing._step == 1
    assert thing.opt.param_groups[0]["lr"] == before["opt"]["param_groups"][0]["lr"]
    assert "descend" not in vars(thing)


def test_a_loaded_state_moves_to_where_captures_look() -> None:
    (source, stream), (thing, _) = made(), made()
    take(source, source.step, stream, 0, 3)
    held = Held(thing)
    places = [tensor.data_ptr() for tensor in held.tensors()]
    thing.load_state_dict(copy.deepcopy(source.state_dict()))
    assert set(held.replaced()) == {"a", "first_bad_step"}
    held.reclaim()
    assert held.replaced() == []
    assert [tensor.data_ptr() for tensor in held.tensors()] == places
    assert thing.a is held.attributes["a"]
    assert all(thing.opt.state[p]["step"] is state["step"] for p, state in held.moments["opt"].items())
    same_state(source, thing)
    begun = made()[0]
    _learning_rates(begun)
    thing.load_state_dict(begun.state_dict())  # it has no moments
    held.reclaim()
    assert not any(bool(state["exp_avg"].any()) for state in thing.opt.state.values())


# ---- batches --------------------------------------------------------------------------------------------------------


def test_served_batches_are_those_that_a_step_would_draw() -> None:
    (_, stream), (_, its_stream) = made(), made()
    counted = Counted(stream)
    drawn = [next(counted) for _ in range(3)]
    assert counted.drawn == 3
    served = Served([next(its_stream) for _ in range(3)], its_stream)
    assert all(torch.equal(next(served).images, batch.images) for batch in drawn)
    assert torch.equal(served.pick(torch.tensor([5])).images, counted.pick(torch.tensor([5])).images)


def test_a_batch_at_a_fixed_place() -> None:
    _, stream = made()
    first, second = next(stream), next(stream)
    place = fixed(first)
    assert place.images.is_contiguous(memory_format=torch.channels_last)
    assert place.attributes is None
    where = place.images.data_ptr(), place.index.data_ptr()
    fill(place, second)
    assert (place.images.data_ptr(), place.index.data_ptr()) == where
    assert torch.equal(place.images, second.images)
    assert torch.equal(place.labels, second.labels)
    assert not torch.equal(place.index, first.index)


# ---- the whole step -------------------------------------------------------------------------------------------------


def test_no_capture_is_the_step_itself() -> None:
    thing, stream = made()
    assert stepper(thing, stream, "none") == thing.step


def test_captured_steps_with_falling_rates_are_the_steps_to_the_bit_and_few_graphs() -> None:
    (one, stream), (other, its_stream), graphs = made(), made(), []
    step = stepper(other, its_stream, "compile", compiling(graphs))
    assert take(one, one.step, stream, 0, STEPS) == take(other, step, its_stream, 0, STEPS)
    same_state(one, other)
    assert stream.position == its_stream.position
    assert len(graphs) == 2, "one with R1, one without; none for a step's number or rate"


def test_a_captured_run_that_was_killed_goes_on_to_the_same_bits() -> None:
    (whole, stream), (first, its_stream), (second, a_stream) = made(), made(), made()
    losses = take(whole, stepper(whole, stream, "compile", compiling()), stream, 0, STEPS)
    take(first, stepper(first, its_stream, "compile", compiling()), its_stream, 0, 5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    a_stream.position = its_stream.position
    assert take(second, stepper(second, a_stream, "compile", compiling()), a_stream, 5, STEPS) == losses[5:]
    same_state(whole, second)


def test_a_state_loaded_after_the_capture_is_gone_on_from() -> None:
    (whole, stream), (other, its_stream) = made(), made()
    step = stepper(other, its_stream, "compile", compiling())
    take(other, step, its_stream, 0, 7)
    losses = take(whole, whole.step, stream, 0, 4)
    other.load_state_dict(copy.deepcopy(whole.state_dict()))
    its_stream.position = stream.position
    assert losses
    assert take(whole, whole.step, stream, 4, 9) == take(other, step, its_stream, 4, 9)
    same_state(whole, other)


def test_the_first_step_that_was_not_finite_is_noted() -> None:
    class Breaking(Small):
        def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
            loss = self.net(next(stream).images).square().mean()
            if t >= 3:
                loss = loss / 0
            self.update(loss, self.opt)
            return {"loss": loss}

    thing, stream = made(Breaking)
    step = stepper(thing, stream, "compile", compiling())
    take(thing, step, stream, 0, 3)
    assert int(thing.first_bad_step) == -1
    take(thing, step, stream, 3, 6)
    assert int(thing.first_bad_step) == 3


def test_a_variant_beyond_the_look_ahead_is_captured_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark.training.capture, "LOOK_AHEAD", 1)
    (one, stream), (other, its_stream), graphs = made(), made(), []
    step = stepper(other, its_stream, "compile", compiling(graphs))
    its_losses = take(other, step, its_stream, 0, 1)
    assert len(graphs) == 1
    its_losses += take(other, step, its_stream, 1, 3)
    assert len(graphs) == 2
    assert take(one, one.step, stream, 0, 3) == its_losses


# ---- what is refused ------------------------------------------------------------------------------------------------


def refused(body: Callable[[Any, Any, Any], Tensor], error: type[Exception], match: str) -> None:
    """Assert that a step that computes its loss so is refused."""

    class Other(Small):
        def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
            loss = body(self, next(stream).images, t)
            self.update(loss, self.opt)
            return {"loss": loss}

    thing, stream = made(Other)
    before = copy.deepcopy({name: net.state_dict() for name, net in thing.modules().items()})
    with pytest.raises(error, match=match) as caught:
        take(thing, stepper(thing, stream, "compile", compiling()), stream, 0, 1)
    assert "compile of Other" in str(caught.value)
    assert "--capture none" in str(caught.value)
    for name, net in thing.modules().items():
        torch.testing.assert_close(net.state_dict(), before[name], rtol=0, atol=0)
    assert stream.position == 0


def test_a_weight_computed_from_the_number_is_refused() -> None:
    refused(lambda self, x, t: self.net(x).mean() * (1 - t / 10), ConfigError, "computes with it")


def test_a_decision_by_a_value_is_refused() -> None:
    def decided(self: Any, x: Tensor, t: int) -> Tensor:
        loss = self.net(x).square().mean()
        return loss * 2 if float(loss) > 1 else loss

    refused(decided, RunFailed, "data-dependent")


def test_random_numbers_of_the_host_are_refused() -> None:
    refused(lambda self, x, t: self.net(x * random.random()).mean(), ConfigError, "on the host")
    refused(lambda self, x, t: self.net(x * float(np.random.rand())).mean(), ConfigError, "on the host")  # noqa: NPY002


def test_a_tensor_that_a_step_replaces_is_refused_by_name() -> None:
    def replacing(self: Any, x: Tensor, t: int) -> Tensor:
        self.a = self.a + 1
        return self.net(x).square().mean()

    refused(replacing, ConfigError, "in the place of a,")


def test_other_optimisers_are_refused_by_name() -> None:
    class Sgd(Small):
        def __init__(self, cfg: TrainConfig, data: Dataset) -> None:
            super().__init__(cfg, data)
            self.opt = torch.optim.SGD(self.net.parameters(), 1e-2)  # type: ignore[assignment]

    thing, stream = made(Sgd)
    with pytest.raises(ConfigError, match="opt"):
        take(thing, stepper(thing, stream, "compile", compiling()), stream, 0, 1)


def test_a_compiler_that_fails_is_named_with_its_reason() -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler was found")

    thing, stream = made()
    with pytest.raises(RunFailed, match="no C\\+\\+ compiler was found"):
        take(thing, stepper(thing, stream, "compile", broken), stream, 0, 1)


def test_graphs_need_a_gpu() -> None:
    thing, stream = made()
    with pytest.raises(ConfigError, match="CUDA"):
        stepper(thing, stream, "graph")


def test_several_ranks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.core.distributed.world", lambda: 2)
    with pytest.raises(ConfigError, match="2 ranks"):
        check_capture(Small, TrainConfig(steps=1, batch=1), CPU, "compile")
    check_capture(Small, TrainConfig(steps=1, batch=1), CPU, "none")
