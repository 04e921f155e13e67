"""Run in a process of its own: every convolution, pooling, resizing and norm of the networks, at many small widths.

python tests/layer_shapes.py sweep|wide      (prints how many layers and sizes were run; status 0 if all were right)
python tests/layer_shapes.py known           (the one layer that is known to corrupt memory on a CPU without AVX-512)

Shapes are recorded from steps of every method and from every evaluator, at operator level, so that functional calls and
those of a second derivative are among them. Each is then run at other widths, batches and memory orders, differentiated
twice, and compared with the same in double precision. A library that writes outside of its buffers shows in a wrong
value, or ends the process at some later allocation.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent / "conformance"))

import torch
import torch.nn.functional as F
from test_methods import CPU, built, take_steps, tiny_data
from test_methods import small as small_recipe
from test_two_ranks import SETTINGS, SOON
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.core.registry import method_names
from benchmark.nn.resample import StridedPointwise
from benchmark.nn.resnet_cifar import CifarResNet
from benchmark.training.loop import stream_for
from benchmark.training.method import Stage, TrainConfig, construct, find_method
from benchmark.training.stages.autoencoder import AutoencoderConfig, AutoencoderStage
from benchmark.training.stages.judge import Judge, JudgeConfig
from benchmark.training.stages.rotnet import RotNet, RotNetConfig
from benchmark.training.stages.simclr import SimCLR, SimCLRConfig

FORMATS = (torch.contiguous_format, torch.channels_last)
Shape = tuple[Any, ...]  # the kind of a layer, then what it takes besides its tensors
aten = torch.ops.aten


class Recorder(TorchDispatchMode):
    """Notes the shapes of layers that look at pixels together, forward and in derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[Shape, int] = {}  # and the fewest channels that such a layer may be given
        self.least = 1  # of the network that is running
        self.paused = False

    def note(self, shape: Shape) -> None:
        self.found[shape] = min(self.least, self.found.get(shape, self.least))

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.paused:
            shape = shape_of_call(op, args)
            if shape is not None:
                self.note(shape)
        return op(*args, **(kwargs or {}))


def shape_of_call(op: Any, args: Sequence[Any]) -> Shape | None:
    """What is kept of an operator's call; None for others, and for what is no batch of images."""
    if not args or not isinstance(args[0], Tensor) or args[0].ndim != 4:
        return None
    x, name = args[0], op.overloadpacket.__name__
    side = tuple(x.shape[2:])
    if name == "convolution":
        _, w, b, stride, padding, dilation, transposed, output_padding, groups = args
        if max(side) > 40 or max(w.shape[2:]) > 11:
            return None  # a kernel of a second derivative's size, or a large image: other code, and slow
        depthwise = groups > 1 and groups == x.shape[1]
        geometry = tuple(map(tuple, (w.shape[2:], stride, padding, dilation)))
        return ("conv", side, *geometry, transposed, tuple(output_padding), min(groups, 3), depthwise, b is not None)
    if name.startswith(("upsample", "avg_pool2d", "_adaptive_avg_pool2d", "max_pool2d")) and "backward" not in name:
        if max(side) > 40:
            return None
        return ("plain", side, op, repr(args[1:]), tuple(freeze(a) for a in args[1:]))
    if "batch_norm" in name and "backward" not in name:
        return ("batch_norm", side)
    if name == "native_group_norm":
        return ("group_norm", side, args[6])
    return None


def freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def recorded(wide: bool) -> dict[Shape, int]:
    """The shapes in a step of every method and of every evaluator, and the fewest channels they are given.

    wide: of methods also on grey images, which are smaller.
    """
    recorder = Recorder()
    plain = StridedPointwise.forward

    def forward(self: StridedPointwise, x: Tensor) -> Tensor:
        recorder.note(("strided_pointwise", tuple(x.shape[2:]), self.stride[0]))
        recorder.paused, before = True, recorder.paused
        try:
            return plain(self, x)
        finally:
            recorder.paused = before

    StridedPointwise.forward = forward  # type: ignore[method-assign]
    try:
        for name in [*method_names(), *(name for name in SETTINGS if "," in name)]:
            datasets = ("digits",) if "," in name else ("shapes", "digits") if wide else ("shapes",)
            for dataset in datasets:
                step_of(name, dataset, recorder)
        evaluators(recorder)
    finally:
        StridedPointwise.forward = plain  # type: ignore[method-assign]
    return recorder.found


def step_of(name: str, dataset: str, recorder: Recorder) -> None:
    """One step of a method, recorded."""
    file, data = find_method(name.split(",")[0]), tiny_data(dataset)
    cfg = small_recipe(file, dataset)
    wanted = SOON | {"r1_every": 1, "pl_every": 1} | SETTINGS.get(name, {})
    cfg = replace(cfg, **{key: value for key, value in wanted.items() if key in {f.name for f in fields(cfg)}})
    with tempfile.TemporaryDirectory() as folder:
        method, _ = built(file, cfg, data, Path(folder))
    with recorder:
        take_steps(method, data, 0, 1)


def evaluators(recorder: Recorder) -> None:
    """A step of each stage that trains an evaluator or an encoder, and of the classifier of CAS, recorded."""
    encoders = [SimCLRConfig(net=net, width=4, z_dim=4, steps=1, batch=8) for net in ("conv", "resnet18", "resnet50")]
    stages: list[tuple[type[Stage], TrainConfig]] = [
        (Judge, JudgeConfig(steps=1, batch=8, width=4)),
        (RotNet, RotNetConfig(steps=1, batch=8)),
        (AutoencoderStage, AutoencoderConfig(steps=1, batch=8)),
        *((SimCLR, cfg) for cfg in encoders),
    ]
    for cls, cfg in stages:
        # torchvision's residual networks begin with 64 channels, and no setting narrows them
        recorder.least = 8 if getattr(cfg, "net", "").startswith("resnet") else 1
        data = tiny_data("digits" if cls is Judge else "shapes")  # the classifier needs classes
        stage = construct(cls, cfg, data, CPU, 0)
        with recorder:
            stage.step(stream_for(stage, data, 0), 0)
    recorder.least = 1
    with recorder:
        CifarResNet(8, 3, 10).to(memory_format=torch.channels_last)(torch.randn(2, 3, 32, 32)).sum().backward()


def operation(shape: Shape, n: int, c_in: int, c_out: int) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """A layer at a batch and at widths, as a function of its tensors: the images, then the weights."""
    kind, side, *rest = shape
    n = max(n, 6) if kind == "batch_norm" else n  # of two numbers one is 1 and one is -1, whatever they are
    if kind == "conv":
        kernel, stride, padding, dilation, transposed, output_padding, groups, depthwise, bias = rest
        groups = c_in if depthwise else groups
        c_in, c_out = (1, 1) if depthwise else (c_in, c_out)
        w = torch.randn(groups * (c_in if transposed else c_out), c_out if transposed else c_in, *kernel)
        tensors = [torch.randn(n, groups * c_in, *side), w, *([torch.randn(groups * c_out)] if bias else [])]

        def conv(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            return aten.convolution(x, w, b, stride, padding, dilation, transposed, output_padding, groups)

        return conv, tensors
    if kind == "strided_pointwise":
        layer = StridedPointwise(c_in, c_out, rest[0])

        def strided(x: Tensor, w: Tensor) -> Tensor:
            return torch.func.functional_call(layer, {"weight": w}, (x,))

        return strided, [torch.randn(n, c_in, *side), torch.randn(c_out, c_in, 1, 1)]
    if kind == "plain":
        op, _, arguments = rest

        def plain(x: Tensor) -> Tensor:
            y = op(x, *(list(a) if isinstance(a, tuple) else a for a in arguments))
            return y[0] if isinstance(y, tuple) else y

        return plain, [torch.randn(n, c_in, *side)]
    weights = [torch.randn(c_in), torch.randn(c_in)]
    if kind == "batch_norm":
        return lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), [torch.randn(n, c_in, *side), *weights]
    groups = rest[0] if c_in % rest[0] == 0 else 1
    return lambda x, w, b: F.group_norm(x, groups, w, b), [torch.randn(n, c_in, *side), *weights]


def twice_differentiated(f: Callable[..., Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The value, the gradients of a function of it, and those of the squared length of the first one, as R1 has it."""
    inputs = [t.detach().requires_grad_() for t in tensors]
    y = f(*inputs)
    first = torch.autograd.grad(y.square().mean(), inputs, create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), inputs, allow_unused=True)
    return [y.detach(), *(g.detach() for g in first), *(g for g in second if g is not None)]


def laid_out(tensors: Sequence[Tensor], formats: tuple[torch.memory_format, torch.memory_format]) -> list[Tensor]:
    """Images and kernels in these memory orders."""
    x, *weights = tensors
    return [x.contiguous(memory_format=formats[0]), *(
        w.contiguous(memory_format=formats[1]) if w.ndim == 4 else w for w in weights
    )]  # fmt: skip


def check(shape: Shape, n: int, c_in: int, c_out: int) -> None:
    """Raises AssertionError where a layer's values or gradients are not those of double precision."""
    f, tensors = operation(shape, n, c_in, c_out)
    expected = twice_differentiated(f, [t.double() for t in tensors])
    kernels = len(tensors) > 1 and tensors[1].ndim == 4
    for formats in itertools.product(FORMATS, FORMATS) if kernels else zip(FORMATS, FORMATS):
        found = twice_differentiated(f, laid_out(tensors, formats))
        for k, (a, b) in enumerate(zip(found, expected)):
            size = float(b.abs().max()) + 1e-3
            distance = float((a - b).abs().max())
            assert distance < 1e-3 * size, (shape, n, c_in, c_out, formats, k, distance, size)


def widths(wide: bool) -> Iterator[tuple[int, int, int]]:
    """Batch, channels in, channels out."""
    if wide:
        yield from itertools.product((1, 2, 3, 8), range(1, 17), (1, 3, 8))
    else:
        yield from ((2, 1, 4), (8, 1, 1), (1, 2, 2), (4, 2, 3), (3, 3, 3), (8, 4, 4), (2, 4, 1))
        yield from ((5, 6, 6), (2, 12, 5), (4, 8, 2))


def sweep(wide: bool) -> str:
    """Check every shape at every width."""
    torch.manual_seed(0)
    shapes = recorded(wide)
    sizes = list(widths(wide))
    for shape in sorted(shapes, key=repr):
        print(shape, file=sys.stderr, flush=True)  # the last line of a process that died
        for n, c_in, c_out in sizes:
            if c_in >= shapes[shape]:
                check(shape, n, c_in, c_out)
    kinds = {kind: sum(shape[0] == kind for shape in shapes) for kind in {shape[0] for shape in shapes}}
    return f"{len(shapes)} shapes at {len(sizes)} sizes: {dict(sorted(kinds.items()))}"


def known() -> str:
    """The layer that `StridedPointwise` is there for, without it."""
    shape = ("conv", (16, 16), (1, 1), (2, 2), (0, 0), (1, 1), False, (0, 0), 1, False, False)
    for _ in range(20):
        for n, c_in, c_out in widths(False):
            check(shape, n, c_in, c_out)
    return "the known fault did not show"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(known() if sys.argv[1] == "known" else sweep(sys.argv[1] == "wide"), flush=True)
