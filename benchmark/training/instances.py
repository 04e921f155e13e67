"""Methods conditioned on instances, as IC-GAN is: neighbourhoods of training images, what is drawn and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from benchmark.core.errors import ConfigError
from benchmark.core.seeds import derive_seed
from benchmark.data.prepared import Dataset
from benchmark.training.artifacts import ArtifactStore
from benchmark.training.banks import Bank, ImageConditioned, photos
from benchmark.training.measurements import Grid, Picture
from benchmark.training.method import construct
from benchmark.training.stages.encoders import FeatureNet, Prepare, pooled_features
from benchmark.training.stages.neighbours import kmeans_instances, nearest_neighbours, nearest_rows, unit_features


@dataclass(frozen=True)
class Instances:
    """Training images as IC-GAN's instances. Not a tensor of the method: all of it is found again on resuming."""

    h: Tensor  # [N, d], unit features
    A: Tensor  # [N, k] int64, the neighbourhoods
    drawn: Tensor  # [m] int64, the rows that samples are drawn for
    h_mirrored: Tensor | None = None  # [N, d], of the mirrored images; None: not used
    y: Tensor | None = None  # [N] int64, classes; None: not used

    def draw_by_class(self, n: int) -> tuple[Tensor, Tensor]:
        """Training images [n] of uniform classes, rows, and these classes [n]."""
        assert self.y is not None
        by_class = self.y.argsort(stable=True)  # [N], the rows class by class
        present, counts = self.y.unique(return_counts=True)
        c = torch.randint(len(present), (n,), device=self.y.device)
        place = (torch.rand(n, device=self.y.device) * counts[c]).long()
        return by_class[(counts.cumsum(0) - counts)[c] + place], present[c]


def find_instances(artifacts: ArtifactStore, f: FeatureNet, k: int, n: int, mirrored: bool, classes: bool) -> Instances:
    """The training images as instances, made or found by content.

    f: the encoder. k: images of a neighbourhood. n: k-means instances that samples are drawn for, fewer for a small
    data set; 0: all images. mirrored: are the mirror images' features wanted? classes: are the classes?
    """
    data, h = artifacts.data, artifacts.compute(pooled_features, encoder=f)
    h_mirrored = artifacts.compute(pooled_features, encoder=f, flip=True) if mirrored else None
    A = artifacts.compute(nearest_neighbours, h=h, k=k)
    n = min(n, max(1, len(data.train) // 20))  # 20 images to a centroid, or more [ours]
    rows = artifacts.compute(kmeans_instances, h=h, n=n)["rows"] if n else torch.arange(len(h["h"]))
    return Instances(
        h=unit_features(h["h"]),
        A=A["neighbours"],
        drawn=rows.to(artifacts.device),
        h_mirrored=unit_features(h_mirrored["h"]) if h_mirrored else None,
        y=torch.tensor(data.train.labels, device=artifacts.device) if classes else None,
    )


class InstanceConditioned(ImageConditioned):
    """The part of a `Method` that is conditioned on instances, as IC-GAN is; to be inherited before it."""

    f: FeatureNet
    instances: Instances
    generate: Callable[[Any, Tensor, Tensor | None], Tensor]  # the method's: (G, h [N, d], y [N]) to [N, C, S, S]
    neighbour: Callable[[Tensor], Tensor]  # the method's: rows i [B] to a random member of each A_i

    def remember(self, data: Dataset, f: Any, instances: Instances, balanced: bool) -> None:
        """Begin with the training images as the bank.

        f: the encoder; None: to sample from a trained G alone. balanced: are samples drawn by uniform classes?
        """
        self.f, self.instances, self.balanced = f, instances, balanced
        self.side, self.channels = data.resolution, data.channels
        self.n_paired_classes = 0 if instances.y is None else data.n_classes
        self.begin_with(data, Bank(instances.h, own=True, drawn=instances.drawn), f)

    def one_of(self, A: Tensor) -> Tensor:
        """A random entry of each row of A [B, k]: [B]."""
        return A.gather(1, torch.randint(A.shape[1], (len(A), 1), device=self.device)).squeeze(1)

    def class_of(self, n: Tensor) -> Tensor | None:
        """Classes y [B] of training images, rows n [B]; None where they are not used."""
        return None if self.instances.y is None else self.instances.y[n]

    def draw(self, n: int) -> tuple[Tensor, Tensor | None]:
        """Rows j [n] of the bank to sample for, as `in_words` says, and the classes y_m [n] that go with them."""
        if self.bank.own and self.balanced:
            x, y = self.instances.draw_by_class(n)
            return self.neighbour(x), y  # a uniform class, an image of it, a neighbour of that as instance [C]
        j = self.bank.draw(n)
        return j, self.drawn_classes(j)

    def requested(self, conditions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows j [N] and classes y [N] of conditions: rows [N], or pairs [N, 2] of a row and the class to show it in.

        Raises ConfigError for pairs that ask a model without classes for one.
        """
        conditions = conditions.to(self.device)
        if conditions.ndim == 1:
            return conditions, self.drawn_classes(conditions)
        if self.instances.y is None:
            raise ConfigError(
                "conditions that are pairs of an instance and a class",
                "the model was not given classes in training",
                "train with class_conditional=true, or give rows of images alone",
            )
        return conditions[:, 0], conditions[:, 1]

    def drawn_classes(self, j: Tensor) -> Tensor | None:
        """The class of a random one of each instance's `targets`, [N]; None where classes are not used."""
        return None if self.instances.y is None else self.class_of(self.one_of(self.targets(j)))

    def conditions_like(self, split: str, n: int) -> Tensor | None:
        """Of the training split, where classes are drawn uniformly: an image as it occurs, a neighbour, its class.

        So IC-GAN's code draws images to compare with a long-tailed training set.
        """
        if not (self.bank.own and self.balanced and split == "train"):
            return None
        x = torch.randint(len(self.instances.h), (n,), device=self.device)
        y = self.class_of(x)
        assert y is not None
        return torch.stack([self.neighbour(x), y], 1)

    def encode(self, data: Dataset, split: str) -> Tensor:
        """h of a split's images [M, d]; images of another side are resized first, grey ones repeated for colour.

        Raises ConfigError for colour images where the model has grey ones.
        """
        f = FeatureNet(self.f.identity, Prepare(self.channels, self.side), self.f, pooled=False).to(self.device)
        return unit_features(pooled_features(data, f, split)["h"])

    def in_words(self, name: str, split: str) -> str:
        """What `sample` draws."""
        where = f"the {split} split" if self.bank.own else f"the {split} split of {name}"
        if self.bank.own and self.balanced:
            return f"uniform classes of {where}, then an image, then one of its neighbours as instance"
        m = self.n_labels if self.bank.drawn is None else len(self.bank.drawn)
        what = f"instances of {where}" if m == self.n_labels else f"{m} k-means instances of {where}"
        labels = "; the class of a random neighbour" if self.instances.y is not None else ""
        return f"{what}, uniformly{labels}"

    @torch.no_grad()
    def targets(self, conditions: Tensor | None) -> Tensor:
        """The k training images [N, k] nearest to each instance requested; of a training image its A_i."""
        assert conditions is not None, "an instance is requested"
        if self.bank.own:
            return self.instances.A[conditions]
        return nearest_rows(self.bank.f[conditions], self.instances.h, self.instances.A.shape[1])[0]

    def sampling_state(self) -> dict[str, Any]:
        """The training images as instances, their mirror images left out."""
        state = {name: getattr(self.instances, name) for name in ("h", "A", "drawn", "y")}
        return {name: value for name, value in state.items() if value is not None}

    @classmethod
    def for_sampling(cls, cfg: Any, data: Dataset, device: torch.device, state: dict[str, Any]) -> Self:
        """As `Method.for_sampling`; without f there are no instances but the training images'."""
        instances = Instances(**{name: value.to(device) for name, value in state.items()})
        return construct(cls, cfg, data, device, 0, f=None, instances=instances)

    @torch.no_grad()
    def pictures(self, G: nn.Module, data: Dataset) -> Iterator[Picture]:
        """Instances with neighbours and samples; samples with the training images nearest to them in features.

        With classes also `class_swap`: instances under labels that are not theirs.
        """
        yield from instance_grids(self.instances, self.f, data, lambda h, y: self.generate(G, h, y))
        if self.instances.y is not None:
            yield "class_swap", swap_grid(self.instances, data, lambda h, y: self.generate(G, h, y))


def instance_grids(
    instances: Instances, f: FeatureNet, data: Dataset, generate: Callable[[Tensor, Tensor | None], Tensor]
) -> Iterator[Picture]:
    """Instances with neighbours and samples; samples with the training images nearest to them in features.

    generate: from instance features [N, d] and classes [N] to images [N, C, S, S].
    """
    h, y = instances.h, instances.y
    j = instances.drawn[torch.randperm(len(instances.drawn), device=h.device)[:8]]  # [r]
    A, n = instances.A[j][:, :3], 5
    classes = None if y is None else y[A[:, :1].expand(-1, n).flatten()]
    samples = generate(h[j].repeat_interleave(n, 0), classes).clamp(-1, 1).unflatten(0, (len(j), n))  # [r, n, C, S, S]
    shown = torch.cat([photos(data.train, j[:, None]), photos(data.train, A), samples], 1)
    names = ["instance", *(f"neighbour {c + 1}" for c in range(A.shape[1])), *["sample"] * n]
    yield "instances", Grid(shown, [""] * len(j), names)

    rows, _ = nearest_rows(unit_features(f(samples[:, 0])), h, min(6, len(h)))
    shown = torch.cat([samples[:, :1], photos(data.train, rows)], 1)
    yield "nearest", Grid(shown, [""] * len(j), ["sample", *(f"nearest {c + 1}" for c in range(rows.shape[1]))])


def swap_grid(instances: Instances, data: Dataset, generate: Callable[[Tensor, Tensor], Tensor], most: int = 6) -> Grid:
    """The class swap: an instance, its sample under its own class, and its samples under others, of one latent.

    generate: as of `instance_grids`. most: classes that are shown after the own, spread over all. Rows are the first
    images of up to eight classes. A column that is the row's own class repeats its first sample.
    """
    h, y = instances.h, instances.y
    assert y is not None
    present = y.unique()
    shown = present[torch.arange(min(8, len(present)), device=y.device) * len(present) // min(8, len(present))]
    j = torch.stack([(y == c).nonzero()[0, 0] for c in shown])  # [r]
    others = torch.arange(min(most, data.n_classes), device=y.device) * data.n_classes // min(most, data.n_classes)
    columns = []
    for classes in (y[j], *(c.expand(len(j)) for c in others)):
        torch.manual_seed(derive_seed(0x5A4B))  # a row's latent is the same in every column
        columns.append(generate(h[j], classes).clamp(-1, 1))
    images = torch.cat([photos(data.train, j[:, None]), torch.stack(columns, 1)], 1)
    names = [data.class_names[c] for c in y[j].tolist()]
    return Grid(images, names, ["instance", "its class", *(data.class_names[c] for c in others.tolist())])
