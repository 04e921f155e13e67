"""Names at the ends of curves: none covers another, and each is that of its curve."""

from __future__ import annotations

import re

import pytest

from benchmark.report.site.svg import Series, _apart, lines


@pytest.mark.parametrize(
    ("ends", "placed"),
    [
        ([50.0, 100.0], [50, 100]),
        ([100.0, 104.0, 96.0], [100, 114, 86]),  # in the order of the curves, about their mean
        ([20.0, 20.0], [16, 30]),  # not above the plot
        ([283.0, 284.0, 100.0], [270, 284, 100]),  # nor below it
        ([], []),
    ],
)
def test_labels_of_curves_keep_their_order_and_stay_within_the_plot(ends: list[float], placed: list[float]) -> None:
    assert _apart(ends, 16, 284) == pytest.approx(placed)


def test_each_curve_leads_to_its_label() -> None:
    series = [Series(name, [0.0, 1.0], [9.0, end], colour=i) for i, (name, end) in enumerate([("A", 1.0), ("B", 1.1)])]
    drawn = str(lines(series, "images", "FD", "FD over images"))
    ends = re.findall(r'class="line c\d" style="stroke-width:1" points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"/>', drawn)
    labels = re.findall(r'class="name" x="([\d.]+)" y="([\d.]+)">(\w)<', drawn)
    assert [label[2] for label in labels] == ["A", "B"]
    assert float(labels[0][1]) - float(labels[1][1]) == pytest.approx(14, abs=0.1), "A is lower, and its label is"
    assert [float(end[3]) + 4 for end in ends] == [float(label[1]) for label in labels]


@pytest.mark.parametrize("name", ["A", "Latent-conditioned GAN", "Latent-conditioned GAN, images", "a long name " * 9])
def test_a_label_ends_within_the_plot(name: str) -> None:
    drawn = str(lines([Series(name, [0.0, 1.0], [9.0, 1.0], colour=0)], "images", "FD", "FD over images"))
    ((x, shown),) = re.findall(r'class="name" x="([\d.]+)" y="[\d.]+">([^<]*)<', drawn)
    assert float(x) + 7 * len(shown) <= 480
    assert shown == name if len(name) <= 32 else shown.endswith("…")
    assert f"<title>{name}</title>" in drawn
