"""The catalogue of metrics agrees with what evaluation gives and with what has been published."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from helpers import ROOT

from benchmark.evaluation.config import Extra
from benchmark.evaluation.extra_scores import MAKERS
from benchmark.evaluation.protocols import PROTOCOLS
from benchmark.evaluation.scores import half_sampling, measure
from benchmark.metrics.catalogue import METRICS, row_named, row_of, set_rows
from benchmark.metrics.frechet import frechet_distance
from benchmark.metrics.kid import kid
from benchmark.metrics.metric_row import MetricRow
from benchmark.metrics.resampling import half_sampling_sd
from benchmark.metrics.sets import FeatureSets, SetSettings

# Scale, headline, counted. What tables and comparisons do with a metric must not change by accident.
EXPECTED = {
    "fd_judge": ("log", True, False),
    "fd_torchvision_inception_v3": ("log", True, False),
    "fd_infinity_judge": ("log", False, False),
    "fd_best_judge": ("log", True, False),
    "fd_late_inception_clean": ("log", True, False),
    "intra_fd_lite0": ("log", False, False),
    "fd_many_inception": ("log", False, False),
    "fd_medium_inception": ("log", False, False),
    "fd_few_inception": ("log", False, False),
    "fd_train_judge": ("log", False, False),
    "fd_test_inception": ("log", False, False),
    "fd_seen_inception": ("log", False, False),
    "fd_unseen_lite0": ("log", False, False),
    "score_train_inception": ("identity", False, False),
    "score_judge": ("identity", True, False),
    "kd_judge": ("log", True, False),
    "precision_judge": ("logit", True, False),
    "recall_judge": ("logit", True, False),
    "recall_0.2_judge": ("logit", False, False),
    "recall_0.2_own": ("logit", False, False),
    "density_judge": ("identity", False, False),
    "coverage_judge": ("logit", True, False),
    "chamfer_judge": ("log", True, False),
    "chamfer_tsne_suite": ("log", False, False),
    "chamfer_tsne_paper": ("log", False, False),
    "control_accuracy_judge": ("logit", True, False),
    "control_accuracy_own": ("logit", False, False),
    "label_agreement_judge": ("logit", True, False),
    "cluster_agreement_judge": ("logit", False, False),
    "instance_preference_judge": ("logit", False, False),
    "authenticity_judge": ("logit", True, False),
    "data_copying_judge": ("identity", False, False),
    "mifd_inception": ("log", False, False),
    "clipped_density_judge": ("logit", False, False),
    "clipped_coverage_judge": ("logit", False, False),
    "vendi_judge": ("log", False, False),
    "cmmd_clip_l_14_336": ("log", False, False),
    "modes_judge": ("identity", False, True),
    "reverse_kl_judge": ("log", False, False),
    "modes": ("identity", True, True),
    "high_quality": ("logit", True, False),
    "reverse_kl": ("log", True, False),
    "control_accuracy_late": ("logit", False, False),
    "label_agreement_late": ("logit", False, False),
    "modes_late": ("identity", False, False),
    "high_quality_late": ("logit", False, False),
    "reverse_kl_late": ("log", False, False),
    "nmi": ("logit", False, False),
    "purity": ("logit", False, False),
    "neighbour_5": ("logit", False, False),
    "neighbour_map_5": ("logit", False, False),
    "cas": ("logit", False, False),
    "cas_top5": ("logit", False, False),
    "lpips": ("identity", False, False),
    "ppl": ("log", False, False),
    "ppl_z": ("log", False, False),
    "ppl_w": ("log", False, False),
    "ppl_judge": ("log", False, False),
    "ppl_z_judge": ("log", False, False),
    "ppl_w_judge": ("log", False, False),
    "boundary": ("identity", False, False),
    "boundary_held_out": ("logit", False, False),
    "boundary_remaining_midpoint": ("logit", False, False),
    "svm_Smiling": ("logit", False, False),
    "correlation": ("identity", False, False),
    "correlation_Young_Male": ("identity", False, False),
    "steerability": ("identity", False, False),
    "steer_shift_x": ("identity", False, False),
    "fsd": ("log", False, False),
    "aux_accuracy": ("logit", False, False),
    "of_someone_else": ("identity", False, False),
    "modes_of_someone_else": ("identity", False, False),
}


@pytest.mark.parametrize("id", EXPECTED)
def test_what_a_table_does_with_a_metric(id: str) -> None:
    row = row_of(id)
    assert (row.scale, row.headline, row.counted) == EXPECTED[id]


def test_every_row_is_expected_and_has_its_facts() -> None:
    assert {row.id for row in METRICS} == {row_of(id).id for id in EXPECTED} - {""}
    assert len({row.id for row in METRICS}) == len(METRICS)
    for row in METRICS:
        assert row.name, row.id
        assert row.source, row.id
        assert row.needs, row.id
        assert set(row.placeholder) <= set(row.name), row.id
        undirected = (*get_args(Extra), "correlation_L", "data_copying_X")  # both are good near 0
        assert row.better or row.id in undirected, "only a group of extra metrics has no direction"


def test_a_name_is_filled_in() -> None:
    names = {
        ("fd_X", "lite0"): ("fd_lite0", "FD-lite0"),
        ("fd_X", "inception-clean"): ("fd_inception_clean", "FID-clean"),
        ("fd_infinity_X", "inception"): ("fd_infinity_inception", "FID, extrapolated"),
        ("intra_fd_X", "inception-clean"): ("intra_fd_inception_clean", "Intra-class FID-clean"),
        ("kd_X", "inception"): ("kd_inception", "KID"),
        ("fd_unseen_X", "inception"): ("fd_unseen_inception", "FID, unseen combinations"),
        ("score_train_X", "inception"): ("score_train_inception", "IS, as the training split"),
        ("score_X", "torchvision-inception_v3"): ("score_torchvision_inception_v3", "CS-torchvision-inception_v3"),
        ("precision_X", "inception"): ("precision_inception", "Precision-inception"),
        ("fd_late_X", "judge"): ("fd_late_judge", "FD-judge, last 3 snapshots"),
        ("steer_T", "shift_x"): ("steer_shift_x", "Steering shift x (rank correlation)"),
        ("neighbour_K", "5"): ("neighbour_5", "Class of neighbour 5"),
        ("svm_L", "Wearing_Hat"): ("svm_Wearing_Hat", "SVM accuracy, Wearing Hat"),
        ("correlation_L", "Young-Male"): ("correlation_Young_Male", "Correlation, Young Male"),
        ("neighbour_map_K", "5"): ("neighbour_map_5", "Label of neighbour 5 (feature maps)"),
        ("cas", ""): ("cas", "CAS"),
        ("fd_X", "dinov2"): ("fd_dinov2", "FD-DINOv2"),
        ("kd_X", "dinov2-b"): ("kd_dinov2_b", "KD-DINOv2-B"),
        ("cmmd_X", "clip-l-14-336"): ("cmmd_clip_l_14_336", "CMMD"),
        ("cmmd_X", "clip-b-32"): ("cmmd_clip_b_32", "CMMD-clip-b-32"),
        ("mifd_X", "inception"): ("mifd_inception", "MiFID"),
        ("mifd_X", "lite0"): ("mifd_lite0", "MiFD-lite0"),
    }
    for (id, what), (filled, name) in names.items():
        row = row_named(id)
        assert (row.id_of(what), row.name_of(what)) == (filled, name)
        assert row_of(filled) is row
        assert row.what(filled) == what.replace("-", "_")


def test_what_the_rows_compute_is_what_they_are_called() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(60, 4)), rng.normal(size=(50, 4))
    logits, settings = rng.normal(size=(50, 3)), SetSettings(extrapolate=True)
    sets = FeatureSets(real, fake, logits, settings, extractor="clip-b-32")  # which CMMD is for
    found = measure(sets)
    assert list(found) == [row.stem for row in set_rows()], "every row has a number, in the rows' order"
    assert list(found)[-1] == "fd_infinity", "what is only on request comes last"
    for row in set_rows():
        assert row.placeholder == "X"
        assert np.isfinite(found[row.stem].value)


def test_half_sampling_gives_the_spread_of_the_metrics_and_asks_for_the_real_part_once() -> None:
    rng = np.random.default_rng(0)
    real, fake, asked = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)), []

    def of_real(name: str, make: Callable[[], float]) -> float:
        asked.append(name)
        return make()

    found = half_sampling(FeatureSets(real, fake, None, SetSettings(half_samples=6, seed=3), of_real=of_real))
    direct = {"fd": frechet_distance, "kd": kid}
    assert found == {stem: half_sampling_sd(metric, real, fake, 6, 3) for stem, metric in direct.items()}
    assert len(asked) == 1


def test_few_metrics_are_the_headline_and_what_settings_request() -> None:
    rng = np.random.default_rng(0)
    real, fake, logits = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
    few = measure(FeatureSets(real, fake, logits, SetSettings(metrics="few")))
    assert list(few) == ["fd", "score", "kd", "precision", "recall", "coverage", "chamfer"]
    asked = measure(FeatureSets(real, fake, logits, SetSettings(metrics="few", extrapolate=True)))
    assert list(asked) == [*few, "fd_infinity"]
    every = measure(FeatureSets(real, fake, logits, SetSettings()))
    assert {stem: every[stem] for stem in few} == few, "the same numbers, only fewer"
    for row in METRICS:
        assert row.computed("all")
        assert row.computed("few") == (row.headline or row.optional or bool(row.extra)), row.id


def test_extra_metrics_are_those_that_can_be_requested() -> None:
    of_rows = {row.extra for row in METRICS if row.extra}
    assert of_rows == set(get_args(Extra)) == set(MAKERS)
    assert all(row_named(name).id == name for name in of_rows), "each has a name of its own where it has no number"


def test_published_values_have_the_names_and_directions_of_their_rows() -> None:
    """Of methods' own measurements, too, whose names are in the methods' files."""
    seen: dict[str, MetricRow] = {}
    for path in sorted((ROOT / "results" / "reference" / "records").glob("*.json")):
        for value in (json.loads(path.read_text())["result"] or {}).get("values", []):
            row = seen[value["id"]] = row_of(value["id"])
            identity = value["protocol"].get("extractor")
            what = identity["extractor"] if row.placeholder == "X" else row.what(value["id"])
            marks = [name for name in PROTOCOLS if value["name"].endswith(f" [{name} protocol]")]
            name = value["name"].removesuffix(f" [{marks[0]} protocol]") if marks else value["name"]
            assert (row.id_of(what), row.name_of(what), row.better) == (value["id"], name, value["better"])
    assert {"fd_judge", "nmi", "purity", "neighbour_1", "aux_accuracy", "modes_late", "fd_best_judge"} <= set(seen)
