"""Measures of the metric test for the metrics of two sets that came last: CMMD, Vendi, clipped, C_T and MiFID.

`benchmark.drift.frozen.measures` lists them. Metrics are called through their modules, as the harness calls them.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.drift.frozen import Frozen
from benchmark.metrics import clipped, cmmd, memorization, vendi


def cmmd_numbers(f: Frozen) -> Mapping[str, float]:
    """CMMD with the paper's width, which is near linear here, and with a narrow kernel."""
    return {"distance": cmmd.cmmd(f.real, f.fake), "narrow": cmmd.cmmd(f.real, f.fake, sigma=0.5)}


def vendi_numbers(f: Frozen) -> Mapping[str, float]:
    """By both of its matrices: of more images than dimensions, and of fewer."""
    return {"score": vendi.vendi_score(f.fake), "few_images": vendi.vendi_score(f.fake[:40])}


def clipped_numbers(f: Frozen) -> Mapping[str, float]:
    """Both measures before and after calibration."""
    found = clipped.clipped(f.real, f.fake)
    return {
        "density": found.density,
        "coverage": found.coverage,
        "raw_density": found.raw_density,
        "raw_coverage": found.raw_coverage,
    }


def memorization_numbers(f: Frozen) -> Mapping[str, float]:
    """What needs no k-means: C_T of a single cell, and MiFID, penalised and not."""
    train, heldout = f.real[:200], f.real[200:]
    near = memorization.memorization_informed_fd(f.real, f.fake, f.real, threshold=1.0)
    return {
        "c_t": memorization.data_copying(train, heldout, f.fake, cells=1).c_t,
        "distance": near.distance,
        "mifd": near.value,
        "mifd_not_penalised": memorization.memorization_informed_fd(f.real, f.fake, f.real, threshold=0.0).value,
    }


def data_copying_numbers(f: Frozen) -> Mapping[str, float]:
    """C_T over cells of a k-means partition."""
    found = memorization.data_copying(f.real[:200], f.real[200:], f.fake, cells=4, tau=0.05)
    return {"c_t": found.c_t, "counted": found.counted}
