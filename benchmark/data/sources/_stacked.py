"""Stacked digits: three independent digits as the channels of one image, 1000 classes with equal probability.

After Unrolled GAN and PacGAN, with the 100,000 fixed triples of Self-Conditioned GAN. Channels are in the order of the
class's digits: class 274 shows a 2 in red, a 7 in green and a 4 in blue.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from benchmark.data.sources.base import SourceImages

N_STACKED = 3  # digits in an image
N_DIGITS = 10
PLACES = N_DIGITS ** np.arange(N_STACKED)[::-1]  # 100, 10, 1


def open_stacked(digits: SourceImages, counts: tuple[int, int], seed: int) -> SourceImages:
    """Triples of opened digits, drawn with replacement; train triples of train digits, test triples of test digits.

    digits: grey images with labels 0..9 and a split of their own. counts: train and test triples.
    """
    assert digits.is_test is not None
    assert digits.labels is not None
    triples = np.concatenate(
        [
            _triples(np.flatnonzero(digits.is_test == bool(part)), n, np.random.default_rng([seed, part]))
            for part, n in enumerate(counts)
        ]
    )
    return SourceImages(
        names=[f"triple/{i}" for i in range(len(triples))],
        read=lambda i: Image.merge("RGB", [digits.read(int(row)) for row in triples[i]]),
        where=lambda i: " + ".join(digits.where(int(row)) for row in triples[i]),
        is_test=np.repeat([False, True], counts),
        split_rule=f"{counts[0]} triples of train digits are train, {counts[1]} of test digits test; "
        f"digits: {digits.split_rule}",
        labels=digits.labels[triples] @ PLACES,
        class_names=tuple(f"{k:03d}" for k in range(N_DIGITS**N_STACKED)),
    )


def _triples(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` random triples of these rows: int64 [n, 3]."""
    return rows[rng.integers(len(rows), size=(n, N_STACKED))]
