"""What is known of a metric: the type of a row of `benchmark.metrics.catalogue`. Loads neither torch nor NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchmark.core.stats import Scale

Better = Literal["lower", "higher"]
Choice = Literal["few", "all"]  # of `eval.metrics`
Need = Literal[
    "features",  # of the generated and of the real images, by one extractor
    "logits",  # the extractor's, of the generated images
    "classes",  # what each generated image was to show
    "classifier",  # the evaluation classifier, id `judge`
    "own classifier",  # the classifier that the generator was trained against
    "encoder",  # the self-supervised encoder of the evaluation
    "segmenter",  # a segmentation network that the user gives
    "generator",  # more of it than one set of its images: other samples, its latents
    "points",  # 2-D points of a known mixture
    "snapshots",  # generators during training
    "method",  # which measures it itself
]

# The largest difference between two rows that counts as none, by scale: a fraction of a distance or of a score, points
# of a share. Ours, fixed before any verdict was seen: two code bases with one recipe commonly differ by as much, so it
# is also what counts as a published value reproduced.
MARGINS = {"log": 0.10, "identity": 0.05, "logit": 0.03}

_OF_INCEPTION = {"FD-X": "FID", "KD-X": "KID", "CS-X": "IS"}  # names that no other extractor's numbers have
_INCEPTIONS = {"inception": "", "inception-clean": "-clean"}  # extractors with these names, and their marks
_OF_CLIP = {"CMMD-X": {"clip-l-14-336": "CMMD"}}  # by its paper's own network only
_SPELLED = {"dinov2": "DINOv2", "dinov2-b": "DINOv2-B"}  # extractors that papers write otherwise


@dataclass(frozen=True)
class MetricRow:
    """What is known of one metric.

    id: machine name in a record. An upper-case letter at its end is a placeholder: X for an extractor, T for a
        transform, K for a number, L for labels.
    name: of the table's column, with the same placeholder.
    better: which direction is good; None where neither is.
    about: the line that `list` prints; empty where another row's line covers this one.
    needs: what it is computed from.
    source: of the formula.
    scale: on which seeds are compared: log for distances, logit for shares.
    counted: in whole numbers, known to half a unit.
    headline: whether a dataset's narrow table has it, and whether it is among the few metrics of a small run.
    frechet: a Frechet distance between two whole sets: the fewer the images, the higher it lies.
    unit: where it has one.
    compute: `module:function` of a metric of two sets: FeatureSets -> {stem of the id: SetNumber}.
    half_sampled: whether half-sampling estimates its error; it is computed once for each draw.
    optional: only on request, by a setting of the evaluation.
    extra: the name in `eval.extra` that requests it: it takes minutes.
    curve: the score in a snapshot's line of which this is the mean over the last snapshots.
    points: the margin in the metric's own unit, where `MARGINS` does not fit: 0 is a common value of it.
    only: the extractors in whose features the formula means what it says; empty: all.
    counted_on: of a share, the entry of the protocol that says on how many images it was counted; of a list entry, with
        its place behind a colon. Empty: it is no share of images.
    """

    id: str
    name: str
    better: Better | None
    about: str
    needs: tuple[Need, ...]
    source: str
    scale: Scale = "identity"
    counted: bool = False
    headline: bool = False
    frechet: bool = False
    unit: str = ""
    compute: str = ""
    half_sampled: bool = False
    optional: bool = False
    extra: str = ""
    curve: str = ""
    points: float | None = None
    only: tuple[str, ...] = ()
    counted_on: str = "n_fake"

    @property
    def margin(self) -> float:
        """The largest difference that counts as none: absolute or, where `absolute_margin` is false, relative."""
        return MARGINS[self.scale] if self.points is None else self.points

    @property
    def absolute_margin(self) -> bool:
        """Whether the margin is in the metric's own unit."""
        return self.points is not None or self.scale == "logit"

    def computed(self, choice: Choice) -> bool:
        """Whether `eval.metrics` computes it: `few` the headline and what another setting requires, `all` all."""
        return choice == "all" or self.headline or self.optional or bool(self.extra)

    @property
    def placeholder(self) -> str:
        """The letter at the id's end that something else replaces; empty where the id is whole."""
        return self.id[-1:] if self.id[-1:].isupper() else ""

    @property
    def head(self) -> str:
        """The part of the id before the placeholder: `fd_`."""
        return self.id.removesuffix(self.placeholder) if self.placeholder else self.id

    @property
    def stem(self) -> str:
        """The head without its underscore, the metric's name among those of one extractor: `fd`."""
        return self.head.rstrip("_")

    def id_of(self, what: str = "") -> str:
        """The id for an extractor, a transform or a number: `fd_inception_clean`."""
        return self.head + what.replace("-", "_")

    def applies_to(self, id: str) -> bool:
        """Whether the extractor in a value's id is one of those for which the metric is meant."""
        return not self.only or any(id == self.id_of(extractor) for extractor in self.only)

    def what(self, id: str) -> str:
        """What an id has in place of the placeholder: `inception_clean`."""
        return id.removeprefix(self.head)

    def name_of(self, what: str = "") -> str:
        """The column's name. Only Inception's numbers are called FID, KID, IS and MiFID; only DINOv2 ViT-L/14's
        distance is FD-DINOv2, and only CLIP ViT-L/14 at 336 px gives CMMD.
        """
        if self.placeholder in ("T", "L"):
            what = what.replace("_", " ").replace("-", " ")
        name = _OF_CLIP.get(self.name, {}).get(what, self.name)
        if self.placeholder == "X" and what in _INCEPTIONS:
            for general, own in _OF_INCEPTION.items():
                name = name.replace(general, own + _INCEPTIONS[what])
        if self.placeholder == "X":
            what = _SPELLED.get(what, what)
        return name.replace(self.placeholder, what) if self.placeholder else name
