"""What a method file subclasses: `Method`, and `Stage` for what is trained before it.

The method owns the body of the loop (`step`: one iteration of the paper's algorithm), the harness owns the clock
(`benchmark.training.loop`: seeds, checkpoints, average weights, logs). A method knows no metric and no file.
"""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

import torch
from torch import Tensor, nn

from benchmark.core import distributed
from benchmark.core.errors import ConfigError, UserError, suggest
from benchmark.core.registry import check_method, recipes_of
from benchmark.core.seeds import derive_seed
from benchmark.nn.batch_norm import normalise_over_ranks
from benchmark.nn.precision import in_float32
from benchmark.training.config import GANConfig, TrainConfig
from benchmark.training.measurements import Measurement, Picture, Sample
from benchmark.training.states import checked_tensor, load_optimiser, require_entries

if TYPE_CHECKING:
    from benchmark.data.prepared import Dataset
    from benchmark.data.stream import Stream
    from benchmark.training.artifacts import ArtifactStore

Conditioning = Literal["none", "class", "attributes", "cluster", "instance", "latent"]


class Trainable:
    """Networks and optimisers that the loop can train, save and resume.

    A subclass sets its networks, optimisers and tensors as attributes in `__init__(cfg, data, **inputs)` and
    implements `step`. What another stage made arrives frozen in `inputs`; it is not part of this one's state.
    """

    cfg: TrainConfig
    device: torch.device
    version: ClassVar[int] = 1  # raised when the same configuration would train to another result
    split: ClassVar[Literal["train", "test"]] = "train"  # the images it learns from
    linear_decay: bool = False  # do all learning rates fall linearly to 0 over the run?
    dry_run_batch: ClassVar[int] = 8  # images of a dry run's first steps; fewer where these would take minutes
    steps_alike: ClassVar[bool] = False  # do all steps but the first cost the same? A dry run then times one, if slow

    first_bad_step: Tensor  # [] int64 on the device: the step of the first non-finite loss, or -1
    _step: int | Tensor = -1  # a tensor within a captured step

    def step(self, stream: Stream, t: int) -> dict[str, Tensor]:
        """One iteration of the paper's algorithm. Returns scalars to log, still on the device."""
        raise NotImplementedError

    @staticmethod
    def uncapturable(cfg: Any) -> str:
        """Why no step of this configuration can be captured (`--capture`), in words; empty where it can be.

        A captured step repeats the same operations: what the host decides in it, and what it computes from the number
        of the step, would be repeated, too. Branches on comparisons of that number are found and captured one by one.
        """
        return ""

    def lr_factor(self, t: int) -> float:
        """Multiplies every learning rate at step t (counted from 0): constant, or linear to zero."""
        return 1 - t / self.cfg.steps if self.linear_decay else 1.0

    def ema_factor(self, t: int) -> float:
        """Multiplies the half-life of the average generator at step t; at 0 the average is a copy."""
        return 1.0

    def update(self, loss: Tensor, *optimisers: torch.optim.Optimizer) -> None:
        """One optimiser step on `loss` for exactly the parameters these optimisers own.

        Gradients never reach anything else: nothing to zero, no leak of G's gradient into D. They are averaged over
        the ranks. A non-finite loss is noted on the device and read when the loop logs: no host sync here.
        """
        parameters = [p for optimiser in optimisers for group in optimiser.param_groups for p in group["params"]]
        gradients = distributed.mean_gradients(_gradients(loss, parameters))
        self.descend(optimisers, parameters, [_laid_out_as(p, g) for p, g in zip(parameters, gradients)])
        self.note_finite(loss)

    @staticmethod
    def descend(
        optimisers: Sequence[torch.optim.Optimizer], parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]
    ) -> None:
        """One step of each optimiser by these gradients of their parameters, in the optimisers' order."""
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient
        for optimiser in optimisers:
            optimiser.step()
        for parameter in parameters:
            parameter.grad = None

    def note_finite(self, loss: Tensor) -> None:
        """Remember, on the device, the first step whose loss was not finite."""
        bad = ~torch.isfinite(loss.detach()) & (self.first_bad_step < 0)
        self.first_bad_step.copy_(torch.where(bad, self._step, self.first_bad_step))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers on the training device."""
        return torch.randn(*shape, device=self.device)

    def places(self, n: int) -> Tensor:
        """The numbers of this rank's n images in the batch of all ranks, [n] int64; 0 ... n - 1 in one process."""
        own = distributed.own_rows(n)
        return torch.arange(own.start, own.stop, device=self.device)

    def modules(self) -> dict[str, nn.Module]:
        """The networks this object trains, by attribute name; frozen inputs are left out."""
        return {
            name: value
            for name, value in vars(self).items()
            if isinstance(value, nn.Module) and any(p.requires_grad for p in value.parameters())
        }

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers, by attribute name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}

    def state_dict(self) -> dict[str, Any]:
        """Every attribute that is a trained module, an optimiser or a tensor."""
        state: dict[str, Any] = {name: net.state_dict() for name, net in self.modules().items()}
        state.update({name: optimiser.state_dict() for name, optimiser in self.optimisers().items()})
        state.update({name: value for name, value in vars(self).items() if isinstance(value, Tensor)})
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Raises ValueError or RuntimeError for entries that are missing or too many, and for other shapes.
        """
        own = self.state_dict()
        require_entries("the state", state, own)
        for name, value in state.items():
            if isinstance(own[name], Tensor):
                setattr(self, name, checked_tensor(name, value, own[name]).to(self.device))
            elif isinstance(part := getattr(self, name), torch.optim.Optimizer):
                load_optimiser(name, part, value)
            else:
                part.load_state_dict(value)

    def adam(
        self, nets: nn.Module | list[nn.Module], lr: float, betas: tuple[float, float], **options: Any
    ) -> torch.optim.Adam:
        """Adam over the parameters of one network or several; the fused kernel, also the fastest on a CPU."""
        nets = nets if isinstance(nets, list) else [nets]
        parameters = [p for net in nets for p in net.parameters()]
        return torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True, **options)


@in_float32  # convolutions follow their forward pass; products of float32 parts would follow autocast, were it on
def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Of a loss; None for a parameter that it does not depend on."""
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def _laid_out_as(parameter: Tensor, gradient: Tensor | None) -> Tensor | None:
    """The gradient in its parameter's memory order.

    The fused optimisers walk through parameter and gradient as flat memory: with a channels-last weight and a gradient
    in another order (autograd's choice, or the all-reduce's) they would add each entry to a wrong weight, silently.
    """
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


class Stage(Trainable):
    """Something trained once, before the GAN, found again by content: an encoder, a classifier, the judge."""

    name: ClassVar[str]  # part of the keys of what was trained: written down, it stays when the class is renamed

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def product(self) -> nn.Module:
        """The trained network that other stages use."""
        raise NotImplementedError


class Method(Trainable):
    """One GAN of the benchmark: one file in `methods/`, found by its name.

    The file defines `Config`, `RECIPES` ({recipe: {dataset or "default": Config}}) and one subclass of this class,
    whose docstring's first line is what `list` shows.
    """

    G: nn.Module
    cfg: GANConfig
    accepts: ClassVar[tuple[str, ...]] = ("images",)  # the data it takes: "images", "points"
    conditioning: Conditioning = "none"  # what `conditions` means; may be set from the configuration in __init__
    n_labels: int = 0  # classes, attributes or clusters that can be requested; rows of the bank
    n_paired_classes: int = 0  # classes that can be requested with an instance: see `Sample.conditions`; 0: none
    default_conditions: str = "nothing"  # what `sample` draws when nothing is given, and from which split; recorded

    @staticmethod
    def stages(artifacts: ArtifactStore, cfg: Any) -> dict[str, Any]:
        """Make or find what must exist before training; becomes keyword arguments of `__init__`.

        The networks that `artifacts` hands out here are those that the method trains against, in its loss or as its
        condition. A record keeps their hashes, and tables rank no method by a network that it trained against. A
        frozen network from elsewhere is told to the store by `artifacts.note(identity)`.
        """
        return {}

    @classmethod
    def version_of(cls, cfg: Any) -> int:
        """The version of a configuration's results, part of the run's hash: `version`, unless a method says otherwise.

        A method whose results changed for some configurations only raises the version of those alone: runs of all
        others keep their names.
        """
        return cls.version

    def __init__(self, cfg: Any, data: Dataset, **stages: Any) -> None:
        raise NotImplementedError

    @staticmethod
    def inseparable(cfg: Any) -> int:
        """Images that must not come apart: with several ranks each one's share of a batch is a multiple of it."""
        return 1

    def sample(self, G: nn.Module, n: int, conditions: Tensor | None = None) -> Sample:
        """Generate n images with generator G (the trained one or its average).

        conditions: what each image is to show, coded as in `Sample.conditions`; None: drawn as the paper draws it.
        All randomness comes from torch's global generator, which the caller seeds.
        """
        raise NotImplementedError

    def sampling_state(self) -> dict[str, Any]:
        """What `sample` needs apart from G's weights, the configuration and the data's outline: tensors, plain values.

        By default each is the attribute of that name. Saved with a run, it lets `for_sampling` do without the data.
        """
        return {}

    @classmethod
    def for_sampling(cls, cfg: Any, data: Dataset, device: torch.device, state: dict[str, Any]) -> Self:
        """A method that can sample from a trained generator, and nothing else: it has no stages and no images.

        data: `Dataset.from_outline` of the training data. state: what `sampling_state` of the trained method gave.
        Its `G` has the trained one's shapes and fresh weights. With the trained weights, `sample` gives the same bits
        as the trained method for the same seed, for default and for given conditions of the training data.
        """
        method = construct(cls, cfg, data, device, 0)
        for name, value in state.items():
            setattr(method, name, value.to(device) if isinstance(value, Tensor) else value)
        return method

    def condition_on(self, data: Dataset, split: str) -> None:
        """For instance and latent conditioning: `conditions` are from now on rows of this split of this dataset.

        The training split of the method's own data is what it begins with; another dataset is a transfer.
        Raises ConfigError for data it cannot take.
        """
        raise NotImplementedError(f"{type(self).__name__} is not conditioned on images")

    def condition_features(self) -> Tensor | None:
        """Features [M, d] that represent the images of the bank, as G is given them; None where there are none."""
        return None

    def conditions_like(self, split: str, n: int) -> Tensor | None:
        """Conditions of n samples that will be compared with a split of the bank's data; None: `sample` draws them.

        For a method whose own way to draw follows another distribution of classes than that split's.
        """
        return None

    def targets(self, conditions: Tensor | None) -> Tensor | None:
        """Training images [N, k] that samples for these rows [N] are to be like; None where there are none."""
        return None

    def training_clusters(self) -> Tensor | None:
        """For clusters as conditions: those of the training images, [N] int64; None where images are in no cluster."""
        return None

    def own_classifier(self, images: Tensor) -> Tensor | None:
        """Logits [N, n_labels] of the classifier this method trains against, where it has one."""
        return None

    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[Picture]:
        """Images of the method's own, by file name: traversals, embeddings."""
        return iter(())

    def measurements(self, G: nn.Module, data: Dataset) -> Iterator[Measurement]:
        """Numbers of the method's own."""
        return iter(())


@dataclass(frozen=True)
class MethodFile:
    """A method file's parts."""

    name: str
    cls: type[Method]
    Config: type[GANConfig]
    RECIPES: dict[str, dict[str, Any]]

    @property
    def summary(self) -> str:
        """The first line of the method's docstring."""
        return (self.cls.__doc__ or "").strip().splitlines()[0]

    def recipe(self, recipe: str, dataset: str) -> Any:
        """The configuration of a recipe for a dataset. Raises ConfigError, naming what there is."""
        if recipe not in self.RECIPES:
            raise ConfigError(f"{self.name}: no recipe {recipe!r}", suggest(recipe, self.RECIPES))
        rows, name = self.RECIPES[recipe], recipes_of(dataset)
        if name not in rows and "default" not in rows:
            others = [other_name for other_name, other in self.RECIPES.items() if name in other or "default" in other]
            raise ConfigError(
                f"{self.name}: the recipe {recipe!r} has no settings for {dataset!r}",
                f"it has them for {', '.join(sorted(rows))}",
                f"use RECIPE={others[0]}" if others else "",
            )
        return rows.get(name, rows.get("default"))

    def default_recipe(self, dataset: str, preferred: str) -> str:
        """The recipe used when none is requested: the dataset's preferred one where this method has it."""
        rows, dataset = self.RECIPES.get(preferred, {}), recipes_of(dataset)
        return preferred if dataset in rows or "default" in rows else "small"


def find_method(name: str) -> MethodFile:
    """Load a method file by name.

    Raises ConfigError as `check_method` does, and for a file that cannot be imported, with the line, or lacks a part.
    """
    check_method(name)
    try:
        module = importlib.import_module(f"methods.{name}")
    except UserError:
        raise
    except Exception as error:  # whatever the file does
        raise _not_importable(name, error) from error
    for part in ("Config", "RECIPES"):
        if not hasattr(module, part):
            raise ConfigError(
                f"methods/{name}.py: no {part}", "a method file defines Config, RECIPES and a subclass of Method"
            )
    classes = [
        v
        for v in vars(module).values()
        if isinstance(v, type) and issubclass(v, Method) and v.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise ConfigError(
            f"methods/{name}.py defines {len(classes)} subclasses of Method", "a method file is one method"
        )
    return MethodFile(name, classes[0], module.Config, module.RECIPES)


def _not_importable(name: str, error: Exception) -> ConfigError:
    """Names the line of a method's file at which its import failed: the last one that was reached in `methods/`."""
    if isinstance(error, SyntaxError):
        file, line = str(error.filename), error.lineno
    else:
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        reached = [
            frame for frame in frames if f"{os.sep}importlib{os.sep}" not in frame[0] and "<frozen" not in frame[0]
        ]
        own = [frame for frame in reached if Path(frame[0]).stem == name or Path(frame[0]).parent.name == "recipes"]
        file, line = (own or reached)[-1]
    shown = Path(file)
    where = f"{shown.parent.name}/{shown.name}" if shown.parent.name in ("methods", "recipes") else str(shown)
    lines = [line.strip() for line in str(error).splitlines()]
    reason = "; ".join(line for line in lines if line and not line.startswith("For further information"))
    return ConfigError(
        f"{where}, line {line}: the method {name!r} cannot be imported",
        f"{type(error).__name__}: {reason}",
        "fix the file",
    )


C = TypeVar("C", bound=Trainable)


def construct(cls: type[C], cfg: Any, data: Dataset, device: torch.device, seed: int, **inputs: Any) -> C:
    """Build a stage or method on a device, its initial weights a function of the seed alone (equal on every rank).

    Convolution weights are laid out channels last, the faster order on CPUs and on tensor cores. Batch norms see the
    batch of all ranks.
    """
    thing = cls.__new__(cls)
    thing.cfg, thing.device = cfg, device
    thing.first_bad_step = torch.full((), -1, dtype=torch.int64, device=device)
    torch.manual_seed(derive_seed(seed, 0x1217))
    with torch.device(device):
        thing.__init__(cfg, data, **inputs)  # type: ignore[misc]
    for module in thing.modules().values():
        module.to(memory_format=torch.channels_last)
        normalise_over_ranks(module)
    return thing
