"""Data without their images: shapes, names and labels are kept, and a hundred million pixels take no memory."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from benchmark.data.cards import find_card
from benchmark.data.prepared import Dataset


@pytest.mark.parametrize("card", ["digits", "shapes", "ring2d", "stacked_digits", "stl10"])
def test_an_outline_keeps_everything_but_the_images(card: str) -> None:
    data = Dataset.tiny(find_card(card))
    again = Dataset.from_outline(data.outline())
    for field in fields(Dataset):
        if field.name not in ("train", "test", "meta"):
            assert getattr(again, field.name) == getattr(data, field.name)
    for mine, theirs in ((again.train, data.train), (again.test, data.test)):
        assert (mine.name, mine.images.shape, mine.images.dtype) == (
            theirs.name, theirs.images.shape, theirs.images.dtype
        )  # fmt: skip
        assert not mine.images.any()
        np.testing.assert_equal(mine.labels, theirs.labels)
        np.testing.assert_equal(mine.attributes, theirs.attributes)
    assert again.is_points == data.is_points
    assert again.meta, "it does not count as the synthetic stand-in of a dry run"


def test_many_images_take_no_memory() -> None:
    outline = Dataset.tiny(find_card("digits")).outline()
    outline["splits"]["train"]["shape"] = (10_000_000, 256, 256, 3)
    assert len(Dataset.from_outline(outline).train) == 10_000_000
