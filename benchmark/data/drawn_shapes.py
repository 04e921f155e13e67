"""Drawn colour shapes whose class and attributes are known exactly.

Every image shows one shape (the class) in red or blue ink, large or small, filled or as an outline, on a dark or a
light ground, with or without a frame: five independent fair binary attributes. Place, size, angle and colour vary
within each. Image number `i` is a function of (seed, i) alone.
"""

from __future__ import annotations

import colorsys
import math

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "square", "triangle", "cross", "star")
N_BITS = 5  # attributes: red, large, filled, dark ground, frame
SIDE = 32  # pixels
SUPERSAMPLE = 4  # drawn this many times larger, then averaged: smooth edges
STROKE = 1.7  # pixels, width of an outline
FRAME = 2  # pixels, width of the frame
RADIUS = {False: (5.5, 7.5), True: (10.0, 12.0)}  # pixels, of small and of large shapes
RED, BLUE = 0.0, 0.61  # hues, of a circle of length 1
HUE_JITTER = 0.035


def truth(seed: int, i: int) -> tuple[int, tuple[int, ...]]:
    """Class and attributes (N_BITS) of image `i`; each value is fair and independent."""
    rng = np.random.default_rng([seed, i])
    return int(rng.integers(len(CLASSES))), tuple(int(bit) for bit in rng.integers(2, size=N_BITS))


def draw(seed: int, i: int) -> Image.Image:
    """Image `i` of the set `seed`: RGB, 32x32."""
    shape, bits = truth(seed, i)
    red, large, filled, dark, frame = map(bool, bits)
    rng = np.random.default_rng([seed, i, 1])  # apart from the truth's, so that labels need no drawing
    radius = rng.uniform(*RADIUS[large])
    margin = radius + FRAME + STROKE / 2
    center = rng.uniform(margin, SIDE - margin, size=2)
    ink = _colour(rng, RED if red else BLUE, saturation=(0.75, 1.0), value=(0.75, 1.0))
    ground = np.full(3, rng.uniform(0.03, 0.2) if dark else rng.uniform(0.8, 0.97)) + rng.uniform(-0.03, 0.03, 3)
    cover = _cover(CLASSES[shape], center, radius, rng.uniform(0, 2 * math.pi), filled)[..., None]  # [32, 32, 1]
    picture = ground * (1 - cover) + ink * cover
    if frame:
        edge = np.ones((SIDE, SIDE), dtype=bool)
        edge[FRAME:-FRAME, FRAME:-FRAME] = False
        picture[edge] = rng.uniform(0.8, 0.97) if dark else rng.uniform(0.03, 0.2)  # against the ground
    return Image.fromarray(np.rint(picture.clip(0, 1) * 255).astype(np.uint8))


def _colour(
    rng: np.random.Generator, hue: float, saturation: tuple[float, float], value: tuple[float, float]
) -> np.ndarray:
    """A colour near `hue`: RGB in [0, 1]."""
    jittered = (hue + rng.uniform(-HUE_JITTER, HUE_JITTER)) % 1
    return np.array(colorsys.hsv_to_rgb(jittered, rng.uniform(*saturation), rng.uniform(*value)))


def _cover(shape: str, center: np.ndarray, radius: float, angle: float, filled: bool) -> np.ndarray:
    """Share of each pixel that the shape covers: [32, 32] in [0, 1]."""
    canvas = Image.new("L", (SIDE * SUPERSAMPLE, SIDE * SUPERSAMPLE))
    pen = ImageDraw.Draw(canvas)
    width = round(STROKE * SUPERSAMPLE)
    if shape == "circle":
        corners = [tuple((center + sign * radius) * SUPERSAMPLE) for sign in (-1, 1)]
        pen.ellipse(corners, fill=255 if filled else None, outline=255, width=width)
    else:
        points = [tuple(point * SUPERSAMPLE) for point in center + radius * _outline(shape, angle)]
        if filled:
            pen.polygon(points, fill=255)
        pen.line([*points, *points[:2]], fill=255, width=width, joint="curve")  # both reach equally far
    blocks = np.asarray(canvas).reshape(SIDE, SUPERSAMPLE, SIDE, SUPERSAMPLE)
    return blocks.mean(axis=(1, 3)) / 255


def _outline(shape: str, angle: float) -> np.ndarray:
    """Corners of a polygon of radius 1 turned by `angle` (radians): [n, 2]."""
    if shape == "cross":  # three squares wide; its outermost corners lie on the circle
        arm, reach = 1 / math.sqrt(10), 3 / math.sqrt(10)
        quarter = np.array([[reach, -arm], [reach, arm], [arm, arm]])
        turns = [
            np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]) for a in np.arange(4) * math.pi / 2
        ]
        corners = np.concatenate([quarter @ turn for turn in turns])
    else:
        n, inner = {"square": (4, None), "triangle": (3, None), "star": (5, 0.42)}[shape]
        count = n if inner is None else 2 * n
        angles = np.arange(count) * 2 * math.pi / count
        radii = np.ones(count) if inner is None else np.where(np.arange(count) % 2 == 0, 1.0, inner)
        corners = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    cos, sin = math.cos(angle), math.sin(angle)
    return corners @ np.array([[cos, sin], [-sin, cos]])
