"""Wrong labels, on purpose: how much of a method's control survives when a share of the training labels is wrong.

Source: the label-noise experiment of Durall et al., "Latent space conditioning on GANs" (VISAPP 2021), fig. 7, names
the share but not the kind of noise. Ours is flip-to-another-class: at share p a label is right with probability 1 - p,
so that with K classes all information is gone at p = (K - 1) / K.
"""

from __future__ import annotations

import numpy as np

from benchmark.core.errors import ConfigError


def noisy_labels(labels: np.ndarray, share: float, n_classes: int, seed: int) -> np.ndarray:
    """A copy of labels [N] int64 in which round(share * N) of them, drawn at random, name another class.

    The other class is uniform among the n_classes - 1 wrong ones. The result is a function of the arguments alone:
    every method given the same seed trains on the same wrong labels, and with one seed the labels that are wrong at a
    lower share are wrong, in the same way, at every higher one.
    Raises ConfigError for a share outside 0 ... 1 or fewer than two classes.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"label noise of share {share}", "it is a probability", "give a number from 0 to 1")
    if n_classes < 2:
        raise ConfigError("label noise", f"there is no other class among {n_classes}", "use data with classes")
    rng = np.random.Generator(np.random.PCG64(seed))
    order, shift = rng.permutation(len(labels)), rng.integers(1, n_classes, size=len(labels))
    wrong = order[: round(share * len(labels))]
    noisy = np.array(labels, dtype=np.int64)
    noisy[wrong] = (noisy[wrong] + shift[wrong]) % n_classes
    return noisy
