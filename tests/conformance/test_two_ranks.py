"""Every method file on two ranks: both hold the same bits after a few steps, and learn what one process would.

One launch of two processes serves the five papers' methods, and another one all others. Each rank writes down a hash of
every tensor that it would save, and how far the gradients of a further step are from those that rank 0 finds alone, for
the whole batch and the same draws. That step is taken in double precision, where rounding hides nothing.
torchrun ... test_two_ranks.py FOLDER NAME ...
    (writes FOLDER/<rank>.json: {method: {tensor: sha256} or {"error": text}}
     and FOLDER/steps.json: {method: {gradient or loss: distance}})
"""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
import torch
import torch.distributed as dist
from helpers import environment
from test_methods import built, small, take_steps, tiny_data
from torch import Tensor, nn

import methods.ssgan
from benchmark.core import distributed
from benchmark.core.registry import method_names
from benchmark.data.stream import Batch, Stream
from benchmark.training.loop import stream_for
from benchmark.training.method import Method, MethodFile, find_method

N_STEPS = 4
BATCH = 16  # images over both ranks; half a share is more than the few moves, operations and pairs of a batch
# What comes rarely comes within these steps, and all of it but the clustering in the step after them
SOON: dict[str, Any] = {"T": 3, "r1_every": 2, "pl_every": 2, "warmup": 0.02, "n_eps": 3, "g_batch": 1}
MUTANTS = ("not_averaged", "own_labels", "own_statistics")
TIMEOUT_S = 60  # of a collective that only one rank joined
TOLERANCE = 1e-11  # of a gradient's length; of a loss's size, or 1

# What the small recipes leave out and looks at a batch as a whole: settings by method, or by a method and a word
_STYLES = {"backbone": "stylegan2", "width": 8, "layer": 4}
_STYLEGAN2 = {"backbone": "stylegan2", "base": 64, "max_width": 8, "w_dim": 8, "r1_weight": 1.0, "pl_weight": 2.0}
SETTINGS: dict[str, dict[str, Any]] = {
    "stylegan2": {"pl_weight": 2.0},
    "icgan, stylegan2": {**_STYLEGAN2, "loss": "non_saturating"},
    "infoscc, patch": {"discriminator": "patch", "patch_layers": 2},  # R1 through batch norm
    "ltgan, styles": _STYLES,
    "ltgan, conv": {"aux": "conv", "lambda_cr": 1.0},  # batch norm in A
    "latentcond, oracle": {"oracle_pairs": True},
    "latentcond, bank": {"neighbour_pool": "bank"},
    "crgan, improved": {"consistency": "icr"},
    "r3gan, augmented": {"augment": (0.5, 0.5)},
    "dcgan, noisy": {"r1_weight": 1.0, "pixel_noise": 0.1},
    "mgan": {"K": 3},  # no divisor of a share: whose generator an image has follows from its place in the whole batch
    "pacgan, shallow": {"backbone": "shallow"},  # batch norm of packs
    "selfcond, online": {"labels": "online"},
}
CASES = [*method_names(), *(name for name in SETTINGS if "," in name)]
PAPERS = ["infoscc", "icgan", "selfcond", "latentcond", "ltgan"]  # these always, the others where there is time
OTHERS = [name for name in CASES if name not in PAPERS]


def mutant(name: str) -> MethodFile:
    """A method with one of the mistakes that this file is there to find."""
    file = find_method("sngan")

    class NotAveraged(file.cls):  # type: ignore[name-defined, misc]
        """Every rank follows the gradient of its own share."""

        def update(self, loss: Tensor, *optimisers: torch.optim.Optimizer) -> None:
            with distributed.alone():
                super().update(loss, *optimisers)

    class OwnLabels(file.cls):  # type: ignore[name-defined, misc]
        """Every rank draws cluster labels for itself, as a k-means without a shared seed would."""

        def step(self, stream: Any, t: int) -> dict[str, Tensor]:
            self.labels = torch.randint(10, (64,))
            return super().step(stream, t)

    class OwnStatistics(file.cls):  # type: ignore[name-defined, misc]
        """Every rank normalises its share by itself."""

        def step(self, stream: Any, t: int) -> dict[str, Tensor]:
            for module in self.G.modules():
                vars(module).pop("forward", None)
            return super().step(stream, t)

    return replace(file, cls=dict(zip(MUTANTS, (NotAveraged, OwnLabels, OwnStatistics)))[name])


def tensors(state: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a nested state, by its path."""
    if isinstance(state, Tensor):
        yield path, state
    elif isinstance(state, (dict, list, tuple)):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from tensors(value, f"{path}.{key}" if path else str(key))


def hashes(method: Method) -> dict[str, str]:
    """The hash of every tensor of the method's state."""
    return {
        path: hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()
        for path, tensor in tensors(method.state_dict())
    }


@contextmanager
def same_draws(share: int) -> Iterator[None]:
    """Every rank draws for the whole batch and takes what is its own; alone, rank 0 draws the same and takes it all.

    share: images of this process. Tensors whose length is a multiple of it hold one or several numbers for each image,
    laid one batch after the other; half as many are the images of a path length; if the second axis is as long, it is
    that of the images; others are decisions for a whole batch.
    """
    own, ranks = distributed.own_rows(share), distributed.world()
    plain = {name: getattr(torch, name) for name in ("randn", "rand", "randint", "randn_like", "rand_like")}

    def sized(shape: tuple[int, ...], draw: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
        if not shape:
            return draw(shape)
        n, *rest = shape
        if n == share // 2:
            return draw((ranks * n, *rest))[distributed.own_rows(n)]
        if n % share == 0:
            return draw((ranks * n, *rest)).unflatten(0, (n // share, ranks * share))[:, own].flatten(0, 1)
        if rest and rest[0] == share:
            return draw((n, ranks * share, *rest[1:]))[:, own]
        return draw(shape)

    def of_shape(name: str) -> Callable[..., Tensor]:
        def draw(*size: Any, **options: Any) -> Tensor:
            shape = tuple(size[0]) if size and not isinstance(size[0], int) else size
            return sized(shape, lambda whole: plain[name](whole, **options))

        return draw

    def integers(*bounds_and_size: Any, **options: Any) -> Tensor:
        *bounds, shape = bounds_and_size
        return sized(tuple(shape), lambda whole: plain["randint"](*bounds, whole, **options))

    def like(name: str) -> Callable[..., Tensor]:
        return lambda x: sized(tuple(x.shape), lambda whole: plain[name](torch.cat([x] * (whole[0] // len(x)))))

    hooked = {"randn": of_shape("randn"), "rand": of_shape("rand"), "randint": integers}
    hooked |= {name: like(name) for name in ("randn_like", "rand_like")}
    for name, draw in hooked.items():
        setattr(torch, name, draw)
    try:
        yield
    finally:
        for name, draw in plain.items():
            setattr(torch, name, draw)


def double(thing: Any, seen: set[int]) -> None:
    """Turn every float tensor and network that hangs on an object into double precision."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, nn.Module):
        thing.double()
    items = thing if isinstance(thing, dict) else getattr(thing, "__dict__", {})
    for key, value in list(items.items()):
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.dtype == torch.float32:
            items[key] = value.double()
        elif isinstance(value, (list, tuple)):
            for part in value:
                double(part, seen)
        elif isinstance(value, (dict, nn.Module)) or type(value).__module__.split(".")[0] in ("benchmark", "methods"):
            double(value, seen)


@contextmanager
def in_double() -> Iterator[None]:
    """What is made anew is of double precision, too; so are the images of a stream."""
    plain_float, plain_batch = Tensor.float, Stream.__next__

    def batch(self: Stream) -> Batch:
        found = plain_batch(self)
        attributes = None if found.attributes is None else found.attributes.double()
        return replace(found, images=found.images.double(), attributes=attributes)

    torch.set_default_dtype(torch.float64)
    Tensor.float, Stream.__next__ = Tensor.double, batch  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        Tensor.float, Stream.__next__ = plain_float, plain_batch  # type: ignore[method-assign]


@contextmanager
def quarters_of(shares: int) -> Iterator[None]:
    """SS-GAN rotates the last quarter of each rank's share: inside, one process rotates the same images."""
    plain = methods.ssgan.rotated

    def rotated(x: Tensor) -> tuple[Tensor, Tensor]:
        images, turns = zip(*map(plain, x.chunk(shares)))
        return torch.cat(images), torch.cat(turns)

    methods.ssgan.rotated = rotated
    try:
        yield
    finally:
        methods.ssgan.rotated = plain


Step = tuple[list[Tensor], dict[str, float]]


def step_of(method: Method, data: Any, t: int) -> Step:
    """The gradient of each update of step t, over all ranks, and its losses, in double precision.

    Nothing is learned from it: the step is that of a copy, whose optimisers are handed no gradients.
    """
    seen: list[Tensor] = []
    method = copy.deepcopy(method)
    double(method, set())
    plain, plain_update = distributed.mean_gradients, method.update

    def note(gradients: Any) -> list[None]:
        seen.append(torch.cat([g.detach().flatten() for g in plain(gradients) if g is not None]))
        return [None] * len(gradients)

    def update(loss: Tensor, *optimisers: torch.optim.Optimizer) -> None:
        distributed.mean_gradients = note
        plain_update(loss, *optimisers)
        distributed.mean_gradients = plain

    method.update = update  # type: ignore[method-assign]
    with in_double(), same_draws(method.cfg.batch // distributed.world()):
        torch.manual_seed(0)
        losses = method.step(stream_for(method, data, seed=5), t)
    assert all(gradient.dtype == torch.float64 for gradient in seen)
    return seen, dict(zip(losses, map(float, distributed.means([loss.detach().double() for loss in losses.values()]))))


def distances(found: Step, expected: Step) -> dict[str, float]:
    """Of each gradient, in lengths of the expected one; of each loss, in its size or 1."""
    assert len(found[0]) == len(expected[0])
    assert found[1].keys() == expected[1].keys()
    gradients = {f"update {k}": float((a - b).norm() / b.norm()) for k, (a, b) in enumerate(zip(found[0], expected[0]))}
    return gradients | {name: abs(found[1][name] - b) / max(1, abs(b)) for name, b in expected[1].items()}


def examine(name: str, folder: Path) -> tuple[dict[str, str], dict[str, float]]:
    """Train a method a little on random pictures: hashes of what it learned, and what one process would learn next."""
    file, data = mutant(name) if name in MUTANTS else find_method(name.split(",")[0]), tiny_data("digits")
    cfg = replace(small(file, "digits"), batch=BATCH)
    wanted = SOON | SETTINGS.get(name, {})
    cfg = replace(cfg, **{key: value for key, value in wanted.items() if key in {f.name for f in fields(cfg)}})
    method, _ = built(file, cfg, data, folder)
    take_steps(method, data, 0, N_STEPS)
    found, shared = hashes(method), step_of(method, data, N_STEPS)
    if not distributed.is_main():
        return found, {}
    with distributed.alone(), quarters_of(2):
        return found, distances(shared, step_of(method, data, N_STEPS))


def run_all(folder: Path, names: list[str]) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT_S))
    found: dict[str, dict[str, str]] = {}
    steps: dict[str, dict[str, float]] = {}
    for name in names:
        try:
            found[name], steps[name] = examine(name, folder / f"artifacts{distributed.rank()}")
        except Exception:
            found[name] = {"error": traceback.format_exc()}
    (folder / f"{distributed.rank()}.json").write_text(json.dumps(found))
    if distributed.is_main():
        (folder / "steps.json").write_text(json.dumps(steps))
    distributed.stop()


Found = list[dict[str, dict[str, str]]]


def launched(folder: Path, names: list[str]) -> Path:
    """The folder, in which two ranks wrote everything down."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, __file__, str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def folders() -> dict[str, Path]:
    """Where each launch wrote, once it was made."""
    return {}


@pytest.fixture
def left(request: pytest.FixtureRequest, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the two ranks wrote everything down; the parameter is the launch."""
    launch = request.param
    if launch not in folders:
        names = [*PAPERS, *MUTANTS] if launch == "papers" else OTHERS
        folders[launch] = launched(tmp_path_factory.mktemp("ranks"), names)
    return folders[launch]


@pytest.fixture
def ranks(left: Path) -> Found:
    """The hashes that each rank wrote down."""
    return [json.loads((left / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture
def steps(left: Path) -> dict[str, dict[str, float]]:
    """How far two ranks are from one process, for each method."""
    return json.loads((left / "steps.json").read_text())


# Each name with the launch that it is part of
EVERY = pytest.mark.parametrize(
    ("left", "name"),
    [
        *(("papers", name) for name in PAPERS),
        *(pytest.param("others", name, marks=pytest.mark.slow) for name in OTHERS),
    ],
    indirect=["left"],
)
MUTATED = pytest.mark.parametrize("left", ["papers"], indirect=True)


def differing(ranks: Found, name: str) -> set[str]:
    """The tensors that are not the same on both ranks. Fails where a rank could not train."""
    first, second = (rank[name] for rank in ranks)
    for rank in (first, second):
        assert "error" not in rank, rank["error"]
    assert first.keys() == second.keys()
    assert any(path.startswith("G.") for path in first)
    assert any(path.startswith("opt_G.") for path in first), "the optimisers' moments are compared, too"
    return {path for path in first if first[path] != second[path]}


@EVERY
def test_two_ranks_end_with_the_same_bits(name: str, ranks: Found) -> None:
    assert not differing(ranks, name)


@EVERY
def test_two_ranks_learn_what_one_process_does(name: str, ranks: Found, steps: dict[str, dict[str, float]]) -> None:
    assert not differing(ranks, name)
    assert sum(key.startswith("update") for key in steps[name]) >= 2
    far = {key for key, distance in steps[name].items() if not distance < TOLERANCE}
    assert not far, steps[name]


@MUTATED
@pytest.mark.parametrize("name", ["not_averaged", "own_statistics"])
def test_learning_from_each_share_alone_is_caught(name: str, steps: dict[str, dict[str, float]]) -> None:
    gradients = [distance for key, distance in steps[name].items() if key.startswith("update")]
    assert max(gradients) > 0.05


@MUTATED
def test_gradients_that_are_not_averaged_are_caught(ranks: Found) -> None:
    differ = differing(ranks, "not_averaged")
    assert any(path.startswith("G.") for path in differ)
    assert any(path.startswith("D.") for path in differ)


@MUTATED
def test_labels_that_each_rank_draws_for_itself_are_caught(ranks: Found) -> None:
    assert differing(ranks, "own_labels") == {"labels"}


if __name__ == "__main__":
    run_all(Path(sys.argv[1]), sys.argv[2:])
