"""The features that a generator was given, by t-SNE: where the classes lie, and where its samples miss them.

After Durall et al. (VISAPP 2021): `border.png` is their fig. 5 and 6, `classes_shown.png` the comparison of fig. 1a.
t-SNE as in `save_embedding`; features that it cannot place give a figure that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.core.plotting import literal, save_figure
from benchmark.evaluation.border import RequestedImages
from benchmark.runs.figures.pictures import OFF, ON, name_tsne_axes, placed, scatter, scatter_classes

BORDER, CLASSES_SHOWN = "border.png", "classes_shown.png"
_MOST_ATTRIBUTES = 5  # columns of a figure of attributes: the first ones


def save_feature_space(
    folder: Path,
    conditions: RequestedImages,
    class_names: Sequence[str],
    attribute_names: Sequence[str] = (),
    seed: int = 0,
) -> None:
    """Write the figures of the requested images' features into a folder; `classes_shown.png` of classes alone."""
    points, obstacle = placed(conditions.features.numpy(), seed)
    what = f"no t-SNE: {obstacle}" if obstacle else f"t-SNE of the features of {len(points)} held-out images"
    if conditions.labels.ndim == 2:
        save_figure(folder / BORDER, _border_of_attributes(conditions, points, attribute_names, what))
        return
    save_figure(folder / BORDER, _border_of_classes(conditions, points, class_names, what))
    if conditions.seen is not None:
        save_figure(folder / CLASSES_SHOWN, _classes_shown(conditions, points, class_names, what))


def _border_of_classes(conditions: RequestedImages, points: np.ndarray, names: Sequence[str], what: str) -> Figure:
    """Coloured by class, and by whether most samples show that class."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    by_class, by_hit = figure.subplots(1, 2)
    scatter_classes(by_class, points, conditions.labels, names)
    by_class.set_title("by class")
    missed = _hits_and_misses(by_hit, points, conditions.hits)
    by_hit.set_title(f"class asked for: missed for {missed:.1%} of the images")
    for axes in (by_class, by_hit):
        name_tsne_axes(axes)
        axes.legend(loc="best", frameon=False, fontsize=8, markerscale=1.5)
    figure.suptitle(what)
    return figure


def _border_of_attributes(conditions: RequestedImages, points: np.ndarray, names: Sequence[str], what: str) -> Figure:
    """A column for each attribute: present or absent above, hits and misses of it below."""
    n = min(len(names), _MOST_ATTRIBUTES)
    figure = Figure(figsize=(3.7 * n, 7.2), layout="constrained")
    above, below = figure.subplots(2, n, squeeze=False)
    for a, (state, hit) in enumerate(zip(above, below)):
        present = conditions.labels[:, a] == 1
        scatter(state, points[~present], OFF, "absent", "o")
        scatter(state, points[present], ON, "present", "^")
        state.set_title(f"{literal(names[a])}: {present.mean():.0%}", fontsize=10)
        missed = _hits_and_misses(hit, points, conditions.hits[:, a])
        hit.set_title(f"missed for {missed:.1%} of the images", fontsize=10)
        for axes in (state, hit):
            name_tsne_axes(axes)
    handles: list[Any] = []
    texts: list[str] = []
    for place, axes in (("above", above[0]), ("below", below[0])):
        of_row = axes.get_legend_handles_labels()
        handles += of_row[0]
        texts += [f"{place}: {text}" for text in of_row[1]]
    figure.legend(handles, texts, loc="outside lower center", ncols=min(4, n), frameon=False, fontsize=8)
    more = f"; the first {n} of {len(names)} attributes" if n < len(names) else ""
    figure.suptitle(what + more)
    return figure


def _hits_and_misses(axes: Axes, points: np.ndarray, hits: np.ndarray) -> float:
    """Colour images by whether most of their samples are right. Returns the share of those that are not."""
    missed = hits < 0.5
    scatter(axes, points[~missed], OFF, "shown by most of its samples", "o")
    scatter(axes, points[missed], ON, "missed by most of them", "^")
    return float(missed.mean())


def _classes_shown(conditions: RequestedImages, points: np.ndarray, names: Sequence[str], what: str) -> Figure:
    """The same features coloured by the images' classes and by the classes of what is generated for them.

    The more alike both panels are, the more a generator follows its features.
    """
    assert conditions.seen is not None
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, labels, title in zip(
        panels,
        (conditions.labels, conditions.seen),
        ("class of the image", "class that the evaluation classifier sees in most of its samples"),
    ):
        scatter_classes(axes, points, labels, names)
        axes.set_title(title, fontsize=11)
        name_tsne_axes(axes)
    shown: dict[str, Any] = {}  # classes of either panel: one may have a class that the other lacks
    for axes in panels:
        handles, texts = axes.get_legend_handles_labels()
        shown = dict(zip(texts, handles)) | shown
    order = {literal(name): k for k, name in enumerate(names)}
    texts = sorted(shown, key=lambda text: order.get(text, len(order)))
    figure.legend(
        [shown[text] for text in texts], texts, loc="outside right upper", frameon=False, fontsize=8, markerscale=1.5
    )
    figure.suptitle(what)
    return figure
