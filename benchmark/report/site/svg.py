"""Plots of the report as inline SVG: a few KB each, sharp at every size, readable without script or network.

Colours come from the style sheet's variables, so that plots follow the reader's light or dark mode. Every text is
escaped. Sizes are in the units of the view box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from benchmark.core.names import printable
from benchmark.report.site.numbers import brief

WIDTH, HEIGHT = 480, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 20, 16, 46
_WIDE = 10  # a ratio of largest to smallest from which an axis is logarithmic
_WIDE_POINTS = 3  # the same of points, which are read by their ratios
_LABEL = 14.0  # px of a label's line
_LETTER = 7.0  # px of a letter, about
_CAPITAL = 9.5  # px of a capital
_BESIDE = 9.0  # px from a point to its name
_NEAR = 1.5  # lines by which the name of an unlabelled point may be moved, at most
_LEADER = 10.0  # px from the end of a curve to its label
_NAMES = (165.0, 245.0)  # px for the labels of curves, at least and at most


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot; a labelled one is named in the plot, the others on hovering."""

    name: str
    x: float
    y: float
    kind: str = ""  # decides colour and shape: a conditioning
    labelled: bool = False


@dataclass(frozen=True)
class Series:
    """A line of a chart, with a band where it has one."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int | None = None  # of the palette; None: grey, and not named


@dataclass(frozen=True)
class Axis:
    """A scale from values to the view box."""

    low: float
    high: float
    log: bool
    start: float
    end: float

    @classmethod
    def of(
        cls, values: Sequence[float], start: float, end: float, may_be_log: bool = True, wide: float = _WIDE
    ) -> Axis:
        """An axis with room on both sides, logarithmic where the values are positive and their ratios are wide."""
        low, high = min(values), max(values)
        log = may_be_log and low > 0 and high / low >= wide
        if log:
            room = (high / low) ** 0.06
            return cls(low / room, high * room, True, start, end)
        room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
        bottom = low - room
        return cls(0.0 if low >= 0 > bottom else bottom, high + room, False, start, end)

    def at(self, value: float) -> float:
        """Where a value lies in the view box."""
        if self.log:
            value, low, high = (math.log(max(v, 1e-300)) for v in (value, self.low, self.high))
        else:
            low, high = self.low, self.high
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values on the axis."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)


def _linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * k for k in (1, 2, 5, 10, 20) if (high - low) / (power * k) <= most)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [k * 10.0**power for power in powers for k in factors if low <= k * 10.0**power <= high]
        if len(ticks) <= 8:
            break
    return ticks


def scatter(points: Sequence[Point], x_name: str, y_name: str, title: str, name_all: bool = False) -> Markup:
    """Points with names; empty for fewer than two.

    name_all: other points than the labelled ones are named too, in grey, where there is room next to them.
    """
    points = [point for point in points if math.isfinite(point.x) and math.isfinite(point.y)]
    if len(points) < 2:
        return Markup("")
    x = Axis.of([point.x for point in points], _LEFT, WIDTH - _RIGHT, wide=_WIDE_POINTS)
    y = Axis.of([point.y for point in points], HEIGHT - _BOTTOM, _TOP, wide=_WIDE_POINTS)
    parts = [_frame(x, y, x_name, y_name)]
    taken: list[tuple[float, float, float]] = [(x.at(p.x) - 5, y.at(p.y), 10.0) for p in points]
    for point in sorted(points, key=lambda p: (not p.labelled, p.y)):
        px, py = x.at(point.x), y.at(point.y)
        text = f"{_text(point.name)}: {_text(x_name)} {brief(point.x)}, {_text(y_name)} {brief(point.y)}"
        kind = _class(point.kind)
        weight = "pt front" if point.labelled else "pt"
        parts.append(f'<g class="{weight} {kind}">{_marker(point.kind, px, py)}<title>{text}</title></g>')
        if point.labelled or name_all:
            parts += _name(point, px, py, taken)
    return _svg(parts, title)


def _name(point: Point, px: float, py: float, taken: list[tuple[float, float, float]]) -> list[str]:
    """A point's name, with a line where it stands away from the point; none of an unlabelled point without room."""
    width = _width(point.name)
    found = _free(px, py, width, taken)
    if not point.labelled and (found is None or abs(found[1] - py) > _NEAR * _LABEL):
        return []
    right, at = found or (px + _BESIDE + width <= WIDTH, py)
    beside = px + _BESIDE if right else px - _BESIDE
    taken.append((beside if right else beside - width, at, width))
    parts = []
    if abs(at - py) > _LABEL / 2:  # far enough to be taken for another point's
        leader = f"{px:.1f},{py:.1f} {beside:.1f},{at:.1f}"
        parts.append(f'<polyline class="line grey" style="stroke-width:1" points="{leader}"/>')
    where = f'x="{beside:.1f}" y="{at + 4:.1f}" text-anchor="{"start" if right else "end"}"'
    parts.append(f'<text class="{"name" if point.labelled else "name other"}" {where}>{_text(point.name)}</text>')
    return parts


def _width(name: str) -> float:
    """Pixels of a name, about."""
    return sum(_CAPITAL if letter.isupper() else _LETTER for letter in name)


def _free(px: float, py: float, width: float, taken: Sequence[tuple[float, float, float]]) -> tuple[bool, float] | None:
    """Where a point's name covers nothing: on its right or not, and the height nearest to the point's."""
    sides = [(True, px + _BESIDE)] if px + _BESIDE + width <= WIDTH else []
    sides += [(False, px - _BESIDE - width)] if px - _BESIDE - width >= _LEFT or not sides else []
    for shift in (sign * step * _LABEL / 2 for step in range(16) for sign in (-1, 1)):
        at = py + shift
        for right, x in sides:
            if not any(abs(at - other) < _LABEL and x < left + w and left < x + width for left, other, w in taken):
                return right, at
    return None


def lines(series: Sequence[Series], x_name: str, y_name: str, title: str, may_be_log: bool = True) -> Markup:
    """Lines over images seen, the coloured ones named at their ends; empty without any."""
    series = [one for one in series if len(one.x)]
    if not series:
        return Markup("")
    named = [one for one in series if one.colour is not None]
    longest = max((len(one.name) for one in named), default=0)
    room = min(max(_NAMES[0], longest * _LETTER + _LEADER + 6), _NAMES[1])
    x = Axis.of([value for one in series for value in one.x], _LEFT, WIDTH - room, may_be_log=False)
    y = Axis.of([v for one in series for v in (*one.y, *one.low, *one.high)], HEIGHT - _BOTTOM, _TOP, may_be_log)
    parts = [_frame(x, y, x_name, y_name)]
    heights = dict(zip(map(id, named), _apart([y.at(one.y[-1]) for one in named], _TOP, HEIGHT - _BOTTOM)))
    for one in sorted(series, key=lambda s: s.colour is not None):
        colour = "grey" if one.colour is None else f"c{one.colour % 8}"
        if one.colour is not None and one.low:
            edge = [*zip(one.x, one.low), *reversed(list(zip(one.x, one.high)))]
            parts.append(f'<polygon class="band {colour}" points="{_path(edge, x, y)}"/>')
        path = _path(list(zip(one.x, one.y)), x, y)
        parts.append(f'<polyline class="line {colour}" points="{path}"><title>{_text(one.name)}</title></polyline>')
        if one.colour is not None:
            px, py = x.at(one.x[-1]), y.at(one.y[-1])
            at = heights[id(one)]
            parts.append(f'<circle class="end {colour}" cx="{px}" cy="{py}" r="3"/>')
            parts.append(
                f'<polyline class="line {colour}" style="stroke-width:1" points="{px},{py} {px + _LEADER},{at:.1f}"/>'
            )
            name = _text(_shortened(one.name, int((room - _LEADER - 6) / _LETTER)))
            parts.append(f'<text class="name" x="{px + _LEADER + 3:.1f}" y="{at + 4:.1f}">{name}</text>')
    return _svg(parts, title)


def _apart(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Heights of labels, in their order and within the plot, moved as little as keeps them from covering each other.

    Least squares: with the distance of labels taken off it is an isotonic regression.
    """
    from sklearn.isotonic import isotonic_regression

    order = sorted(range(len(heights)), key=heights.__getitem__)
    room = [_LABEL * k for k in range(len(order))]
    wanted = [heights[i] - off for i, off in zip(order, room)]
    lowest = max(top, bottom - room[-1]) if room else bottom
    placed = isotonic_regression(wanted, y_min=top, y_max=lowest) if wanted else []
    found = {i: float(at) + off for i, at, off in zip(order, placed, room)}
    return [found[i] for i in range(len(heights))]


def _path(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    return " ".join(f"{x.at(a)},{y.at(b)}" for a, b in points)


def _frame(x: Axis, y: Axis, x_name: str, y_name: str) -> str:
    """Grid, ticks and names of both axes."""
    parts = []
    for value in x.ticks():
        at = x.at(value)
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>')
        parts.append(
            f'<text class="tick" x="{at}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{brief(value)}</text>'
        )
    for value in y.ticks():
        at = y.at(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{x.end}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{at + 4}" text-anchor="end">{brief(value)}</text>')
    middle = (_LEFT + x.end) / 2
    scales = [f"{name} (log)" if axis.log else name for name, axis in ((x_name, x), (y_name, y))]
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{_text(scales[0])}</text>')
    parts.append(f'<text class="axis" transform="translate(14 {(HEIGHT - _BOTTOM + _TOP) / 2}) rotate(-90)" '
                 f'text-anchor="middle">{_text(scales[1])}</text>')  # fmt: skip
    return "".join(parts)


_SHAPES = ("none", "class", "attributes", "cluster", "instance", "latent")


def _class(kind: str) -> str:
    """The style class of a conditioning."""
    return f"k-{kind if kind in _SHAPES else 'other'}"


def _marker(kind: str, x: float, y: float) -> str:
    """A shape for each conditioning, so that colour is not needed to tell them apart."""
    if kind in ("class", "attributes"):
        return f'<rect x="{x - 5}" y="{y - 5}" width="10" height="10" rx="1.5"/>'
    if kind == "cluster":
        return f'<path d="M{x} {y - 6.5}l6 11h-12z"/>'
    if kind == "instance":
        return f'<path d="M{x} {y - 7}l7 7l-7 7l-7 -7z"/>'
    if kind == "latent":
        return f'<path d="M{x} {y + 6.5}l6 -11h-12z"/>'
    return f'<circle cx="{x}" cy="{y}" r="5.5"/>'


def _shortened(name: str, most: int) -> str:
    """A name of at most so many letters; hovering shows it whole."""
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"


def _text(text: str) -> str:
    return str(escape(printable(text)))


def _svg(parts: Sequence[str], title: str) -> Markup:
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_text(title)}">'
    return Markup(head + "".join(parts) + "</svg>")
