"""What a run would do, before it does it: parameters, steps, files, time and disk.

The estimate is a dry run: the run's own stages and method are built on synthetic images of the dataset's shape, and a
few of their steps are timed on the present device (`dry_run`), or their operations are counted (`counting`): where a
step takes long (`rates` has this CPU's), and for a GPU that is not here (`gpus`). `estimate` chooses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.core.config import to_dict
from benchmark.core.errors import UserError
from benchmark.core.files import require_space
from benchmark.data.prepare import find_prepared
from benchmark.data.prepared import TINY, Dataset
from benchmark.evaluation.config import EvalConfig
from benchmark.evaluation.networks import published_files, trained_here
from benchmark.evaluation.sampling import BATCH as SAMPLED_TOGETHER
from benchmark.evaluation.sampling import generate
from benchmark.evaluation.tsne import KINDS
from benchmark.nn.precision import precision_note
from benchmark.runs.counting import Counting, Uncomputed, Work, counted_work
from benchmark.runs.dry_run import Part, bytes_of, dry_run, parameters, timed_step
from benchmark.runs.gpus import ASSUMPTIONS, Gpu
from benchmark.runs.memory import require_memory
from benchmark.runs.spec import Paths, Resolved, missing
from benchmark.training.artifacts import META, ArtifactStore
from benchmark.training.capture import check_capture
from benchmark.training.method import Method, Stage, Trainable, construct

FEW = 16  # images of a quick dry run, which encoders see whole
LARGE_SIDE = 128  # pixels, from which on sampling is timed on fewer images
COUNTED_HERE = "counted, at rates measured on this CPU"
LONG_S = 86_400.0  # a run longer than this is pointed out


@dataclass
class Plan:
    """What a run would do."""

    resolved: Resolved
    device: torch.device
    parts: list[Part] = field(default_factory=list)
    evaluation: EvaluationCost = field(default_factory=lambda: EvaluationCost())
    gpu: Gpu | None = None  # the GPU, not here, for which times are estimated
    n_reference: int = 0  # images that the generated ones are compared with; 0: the data are not prepared yet
    data_note: str = ""  # of the prepared images
    missing: list[UserError] = field(default_factory=list)  # files the run needs and lacks

    @property
    def evaluation_s(self) -> float:
        """Of sampling, features and t-SNE."""
        return self.evaluation.seconds

    def on(self, gpu: Gpu) -> Plan:
        """The plan with the times of another GPU. Every part has been counted."""
        own, precision = self.resolved.method.name, self.resolved.engine.precision
        parts = [
            replace(part, seconds=part.steps * gpu.seconds(part.flops, part.operators, precision))
            if part.name == own
            else replace(part, seconds=part.steps * gpu.seconds(part.flops, part.operators))
            for part in self.parts
            if part.counted or part.ready
        ]
        assert len(parts) == len(self.parts)
        return replace(self, parts=parts, evaluation=self.evaluation.on(gpu), gpu=gpu)

    @property
    def seconds(self) -> float:
        """The whole run's estimate."""
        return sum(part.seconds for part in self.parts) + self.evaluation_s

    @property
    def flops_per_step(self) -> float:
        """Of the method's own training."""
        return next(part.flops for part in self.parts if part.name == self.resolved.method.name)

    @property
    def bytes(self) -> int:
        """Of the files the run will write, prepared data apart."""
        return sum(part.bytes for part in self.parts)

    def text(self) -> str:
        """The plan for a reader."""
        r = self.resolved
        what = f"{r.method.name} on {r.card.name} ({r.card.resolution} px)"
        lines = [f"{what}, recipe {r.recipe}, seed {r.spec.seed}, on {self.where}"]
        for part in self.parts:
            nets = ", ".join(f"{name} {n:,}" for name, n in part.parameters.items())
            cost = "ready" if part.ready else f"about {duration(part.seconds)}"
            lines.append(f"  {part.name:<12} {part.steps:>8,} steps  {cost:<18} parameters: {nets}")
        for name, entry in published_files(r.evaluation):
            lines.append(
                f"  {name:<12} published: {entry.file}, unless the local images differ from those it was made for"
            )
        n_fake = r.evaluation.n_fake or self.n_reference
        images = f"{n_fake:>8,} images" if n_fake else f"as many images as the {r.evaluation.reference} split has,"
        cost, extractors = f"about {duration(self.evaluation_s)}", ", ".join(r.evaluation.extractors)
        lines.append(f"  {'evaluation':<12} {images} {cost:<18} extractors: {extractors}")
        device = torch.device("cuda") if self.gpu else self.device
        more = (self.data_note, precision_note(r.engine.precision, device), self.source)
        lines += [f"  note: {note}" for note in [*r.notes, *filter(None, more)]]
        lines.append(f"  in all about {duration(self.seconds)}, {self.bytes / 1e6:.0f} MB in {r.folder}")
        lines += [f"  missing: {problem}".replace("\n", "\n  ") for problem in self.missing]
        return "\n".join(lines)

    @property
    def where(self) -> str:
        """The device in words."""
        return f"{self.gpu.name} (not here)" if self.gpu else str(self.device)

    @property
    def source(self) -> str:
        """What the times rest on."""
        if self.gpu:
            return f"times follow from counted operations; {ASSUMPTIONS}. Peak rates: {self.gpu.source}"
        timed = [part.name for part in self.parts if not (part.counted or part.ready)]
        counted = [part.name for part in self.parts if part.counted]
        told = [f"{', '.join(names)} {how}" for names, how in ((timed, "timed"), (counted, COUNTED_HERE)) if names]
        return f"times: {'; '.join([*told, 'evaluation by known rates'])}"

    def warning(self) -> str:
        """A sentence for a run of more than a day that has a smaller recipe; else nothing."""
        if self.seconds < LONG_S:
            return ""
        small = "small" in self.resolved.method.RECIPES and self.resolved.recipe != "small"
        advice = "; RECIPE=small is sized for a CPU" if small else ""
        return f"this run would take about {duration(self.seconds)} on {self.where}{advice}. It can be continued."


def duration(seconds: float) -> str:
    """12 s, 3.5 min, 2.1 h or 8.0 days."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (2 * 86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}" if unit == 1 else f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86_400:.1f} days"


@dataclass
class DryRun(ArtifactStore):
    """A store on synthetic images that estimates its stages instead of training them."""

    parts: list[Part] = field(default_factory=list)
    known: dict[str, Part] = field(default_factory=dict)  # stages of earlier dry runs by their keys: each once a suite
    quick: bool = False  # see `dry_run`
    real_sha256: str | None = None  # of the prepared data, when it is there: stages that are ready can then be found
    counting: Counting | None = None  # how parts are counted; None: they are timed
    pending: list[Callable[[], None]] = field(default_factory=list)  # estimates that are still to be made

    def train(self, stage: type[Stage], cfg: Any, **inputs: Any) -> nn.Module:
        """The untrained product of a stage, its cost noted."""
        real = replace(self.data, sha256=self.real_sha256 or self.data.sha256)
        tiny, self.data = self.data, real
        key = self._key(stage.name, stage.version, {"config": to_dict(cfg), "split": stage.split}, inputs)
        self.data = tiny
        if (known := next((value for value, k in self._keys if k == key), None)) is not None:
            return known
        trainable = construct(stage, cfg, self.data, self.device, 0, **inputs)
        if self.real_sha256 and (self.folder / f"{stage.name}-{key[:12]}" / META).exists():
            part = Part(stage.name, parameters(trainable), cfg.steps, 0.0, 0, ready=True)
        elif key in self.known:
            part = self.known[key]
        else:
            again = partial(construct, stage, data=self.data, device=self.device, seed=0, **inputs)
            part = self.known[key] = self.part_of(stage.name, trainable, again, inputs)
        self.parts.append(part)
        product = trainable.product().requires_grad_(False).eval()
        self._keys.append((product, key))
        return product

    def part_of(
        self, name: str, trainable: Trainable, again: Callable[[Any], Trainable], inputs: dict[str, Any]
    ) -> Part:
        """A part's cost. Where `counting` says how, it is counted, and timed if it is quick, by `estimate_pending`."""
        if self.counting is None:
            return dry_run(name, trainable, self.data, again, quick=self.quick)
        nets, cfg = parameters(trainable), trainable.cfg
        part = Part(name, nets, cfg.steps, 0.0, bytes_of(nets))
        cheap = None if isinstance(trainable, Stage) else trainable  # a stage's product is frozen: it is built again
        self.pending.append(partial(self._estimate, part, cheap, partial(again, cfg), inputs, self.counting))
        return part

    def estimate_pending(self) -> None:
        """Fill in the costs of the parts that were built cheaply."""
        for estimate in self.pending:
            estimate()
        self.pending.clear()

    def _estimate(
        self,
        part: Part,
        cheap: Trainable | None,
        build: Callable[[], Trainable],
        inputs: dict[str, Any],
        counting: Counting,
    ) -> None:
        if cheap is None:
            with cheaply_built():
                cheap = build()
        work = counted_work(cheap, self.data)
        part.flops, part.operators, a_step = work.flops, work.operators, counting.seconds(work)
        part.counted = a_step >= counting.timed_s
        if not part.counted:
            make_dense(inputs.values())
            a_step = timed_step(build(), self.data, a_step)
        part.seconds = a_step * part.steps

    def compute(self, function: Callable[..., dict[str, Tensor]], **inputs: Any) -> dict[str, Tensor]:
        """The function's value on the synthetic pictures."""
        tiny = self.data
        self.data = replace(tiny, sha256=self.real_sha256 or tiny.sha256)
        key = self._compute_key(function, inputs)
        self.data = tiny
        value = {name: tensor.to(self.device) for name, tensor in function(tiny, **inputs).items()}
        self._keys.append((value, key))
        return value


def make_plan(
    resolved: Resolved,
    paths: Paths,
    device: torch.device,
    *,
    quick: bool = False,
    known: dict[str, Part] | None = None,
    counting: Counting | None = None,
    files: bool = True,
) -> Plan:
    """Rehearse a run. Raises ConfigError for settings that do not fit together or into memory, UserError when the disk
    is too small.

    quick: see `dry_run`. known: stages that plans of other runs on this device have estimated, by their keys; this
    run's are added. counting: how parts are counted; None: all are timed. files: look for the files that the run needs,
    which may ask the network.
    """
    data = Dataset.tiny(resolved.card, FEW if quick else TINY)
    prepared = find_prepared(resolved.card, paths.data_root, paths.prepared)
    require_memory(resolved, data, device)
    check_capture(resolved.method.cls, resolved.config, device, resolved.engine.capture)
    artifacts = DryRun(
        data,
        paths.artifacts,
        device,
        quiet=True,
        known={} if known is None else known,
        quick=quick,
        real_sha256=prepared.sha256 if prepared else None,
        counting=counting,
    )
    plan = Plan(resolved, device, artifacts.parts, missing=missing(resolved, paths) if files else [])
    cls, cfg = resolved.method.cls, resolved.config
    with cheaply_built() if counting else cheap_start() if quick else nullcontext():
        stages = cls.stages(artifacts, cfg)
        method = construct(cls, cfg, data, device, 0, **stages)
    again = partial(construct, cls, data=data, device=device, seed=0, **stages)
    artifacts.parts.append(artifacts.part_of(resolved.method.name, method, again, stages))
    with cheaply_built() if counting else nullcontext():
        for stage, settings in trained_here(resolved.evaluation, has_judge=bool(data.n_labels) and not data.is_points):
            artifacts.train(stage, settings)
    artifacts.estimate_pending()
    plan.data_note = prepared.repeated_note if prepared else ""
    plan.n_reference = len(prepared.split(resolved.evaluation.reference)) if prepared else 0
    further = [len(prepared.split(name)) for name in resolved.evaluation.references] if prepared else []
    plan.evaluation = evaluation_cost(
        method, resolved.evaluation, data, plan.n_reference, sum(further), counting=counting
    )
    require_space(paths.results, 2 * plan.bytes, f"the run {resolved.run}")
    return plan


@contextmanager
def cheap_start() -> Iterator[None]:
    """Normal weights in place of orthogonal ones, which take seconds in a large network; a step costs the same."""
    plain = nn.init.orthogonal_
    nn.init.orthogonal_ = lambda tensor, *_, **__: nn.init.normal_(tensor, std=0.02)
    try:
        yield
    finally:
        nn.init.orthogonal_ = plain


@contextmanager
def cheaply_built() -> Iterator[None]:
    """Networks whose large weights are constants without memory: enough to count what a step computes."""
    with cheap_start(), Uncomputed():
        yield


def make_dense(values: Iterable[Any]) -> None:
    """Give the weights of networks that `cheaply_built` made memory of their own, so that steps can be timed."""
    for net in values:
        if isinstance(net, nn.Module):
            for tensor in (*net.parameters(), *net.buffers()):
                tensor.data = tensor.data.contiguous()


@dataclass(frozen=True)
class EvaluationCost:
    """Estimated seconds of an evaluation's parts."""

    sampling_s: float = 0.0
    features_s: float = 0.0  # of the extractors
    features_flops: float = 0.0  # their operations, as far as their rates on a CPU tell
    tsne_s: float = 0.0  # on the CPU, wherever the rest is computed
    sampling: Work | None = None  # where it is counted

    @property
    def seconds(self) -> float:
        """In all."""
        return self.sampling_s + self.features_s + self.tsne_s

    def on(self, gpu: Gpu) -> EvaluationCost:
        """The same on a GPU that is not here. Sampling has been counted."""
        assert self.sampling is not None
        sampling_s = gpu.seconds(self.sampling.flops, self.sampling.operators)
        return replace(self, sampling_s=sampling_s, features_s=gpu.seconds(self.features_flops, 0))


def evaluation_cost(
    method: Method,
    cfg: EvalConfig,
    data: Dataset,
    n_reference: int,
    n_further: int = 0,
    counting: Counting | None = None,
) -> EvaluationCost:
    """Sampling, timed or counted on a few images, and the feature passes and t-SNE, by known rates.

    n_further: images of `eval.references`, each of which is compared with a generated one of its own.
    """
    n = 16 if data.resolution < LARGE_SIDE else 4
    n_fake = (cfg.n_fake or n_reference or ASSUMED_IMAGES) + n_further
    n_reference += n_further
    began, counter = time.perf_counter(), Uncomputed() if counting else None
    with counter or nullcontext():
        generate(method, method.G.eval(), n, cfg, data)
    sampling_s, sampling = (time.perf_counter() - began) / n * n_fake, None
    if counting and counter:
        batches = -(-n_fake // SAMPLED_TOGETHER)
        work = counter.work
        sampling = Work(work.flops / n * n_fake, work.operators * batches, work.entries / n * n_fake)
        sampling_s = counting.seconds(sampling)
    features = sum((n_fake + n_reference) / EXTRACTOR_RATE.get(name, 100.0) for name in cfg.extractors)
    points = 2 * cfg.chamfer_points * cfg.tsne_seeds * len(KINDS) if cfg.embeds else 0
    return EvaluationCost(sampling_s, features, features * CPU_FEATURE_FLOPS, points / TSNE_RATE, sampling)


# Images a second on two idle CPU cores, measured; a GPU is far faster, so the estimate is cautious there.
# Of those after lite0 one core was measured, alongside lite0, and scaled by it.
EXTRACTOR_RATE = {
    "inception": 8.5,
    "inception-clean": 8.5,
    "lite0": 127.0,
    "lite2": 18.6,
    "dinov2": 0.66,
    "dinov2-b": 2.3,
    "clip-b-32": 10.0,
    "clip-l-14": 0.65,
    "clip-l-14-336": 0.24,
    "judge": 5000.0,
}
CPU_FEATURE_FLOPS = 1e11  # FLOP/s behind these rates: Inception's, at 11.4 GFLOP an image
ASSUMED_IMAGES = (
    50_000  # generated images, where there are to be as many as real ones and the data are not prepared yet
)
TSNE_RATE = 60.0  # points a second of an embedding of 600 points, on one core, measured
