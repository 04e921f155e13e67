"""The stream: every batch a function of seed and position, whatever the batch size, the ranks and the storage."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import benchmark.data.stream as module
from benchmark.core.errors import UserError
from benchmark.data.prepared import Split
from benchmark.data.stream import Stream, images_to_float, images_to_uint8, in_order, to_float, to_uint8


def split(n: int = 50, channels: int = 3) -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(n, 8, 8, channels), dtype=np.uint8)
    return Split("train", images, np.arange(n) % 7, None)


def stream(data: Split, batch: int = 16, seed: int = 3, flip: bool = False, **options) -> Stream:
    return Stream(data, batch, "cpu", seed, flip, **options)


def drawn(source: Stream, n_batches: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices and images of the next batches."""
    batches = [next(source) for _ in range(n_batches)]
    return torch.cat([b.index for b in batches]), torch.cat([b.images for b in batches])


def test_a_batch_is_what_it_says():
    data = split()
    batch = next(stream(data))
    assert batch.images.shape == (16, 3, 8, 8)
    assert batch.images.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    expected = torch.from_numpy(data.images[batch.index.numpy()]).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(batch.images, expected, rtol=0, atol=0)
    np.testing.assert_array_equal(batch.labels, data.labels[batch.index])
    assert batch.labels.dtype == batch.index.dtype == torch.int64
    assert batch.attributes is None


def test_attributes_are_float():
    data = Split("train", split().images, None, np.random.default_rng(0).integers(2, size=(50, 4), dtype=np.uint8))
    batch = next(stream(data))
    assert batch.labels is None
    assert batch.attributes.dtype == torch.float32
    np.testing.assert_array_equal(batch.attributes, data.attributes[batch.index])


def test_every_epoch_shows_each_image_once_and_no_image_is_dropped():
    index, _ = drawn(stream(split(50), batch=16), 25)  # 400 images: 8 epochs, their borders inside of batches
    epochs = index.reshape(8, 50)
    for order in epochs:
        assert sorted(order.tolist()) == list(range(50))
    assert len({tuple(order.tolist()) for order in epochs}) == 8, "every epoch has its own order"


def test_a_batch_larger_than_the_data():
    index, _ = drawn(stream(split(10), batch=25), 2)
    np.testing.assert_array_equal(np.bincount(index), np.full(10, 5))


def test_position_resumes():
    whole = stream(split(), flip=True)
    index, images = drawn(whole, 10)
    assert whole.position == 160
    resumed = stream(split(), flip=True)
    resumed.position = 6 * 16
    index_after, images_after = drawn(resumed, 4)
    torch.testing.assert_close(index_after, index[96:], rtol=0, atol=0)
    torch.testing.assert_close(images_after, images[96:], rtol=0, atol=0)


def test_the_batch_size_changes_nothing():
    index, images = drawn(stream(split(), batch=16, flip=True), 10)
    other_index, other_images = drawn(stream(split(), batch=40, flip=True), 4)
    torch.testing.assert_close(index, other_index, rtol=0, atol=0)
    torch.testing.assert_close(images, other_images, rtol=0, atol=0)


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_the_batch_of_one(world):
    index, images = drawn(stream(split(), flip=True), 9)
    ranks = [stream(split(), flip=True, rank=r, world=world) for r in range(world)]
    shared = [next(rank) for _ in range(9) for rank in ranks]
    assert all(rank.position == 9 * 16 for rank in ranks)
    torch.testing.assert_close(torch.cat([b.index for b in shared]), index, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([b.images for b in shared]), images, rtol=0, atol=0)


def test_seeds_differ():
    assert not torch.equal(drawn(stream(split(), seed=0), 3)[0], drawn(stream(split(), seed=1), 3)[0])


def test_order_is_the_documented_one():
    """Golden: a change here changes every run that was ever resumed."""
    index, _ = drawn(stream(split(10), batch=10, seed=0), 1)
    seeds = np.random.SeedSequence([0, 0, 0])
    np.testing.assert_array_equal(index, np.random.Generator(np.random.PCG64(seeds)).permutation(10))
    assert index.tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]


def test_flips_mirror_half_of_the_images_left_right():
    data = split(200)
    index, images = drawn(stream(data, batch=100, flip=True), 4)
    straight = to_float(torch.from_numpy(data.images[index.numpy()]).permute(0, 3, 1, 2))
    kept = (images == straight).flatten(1).all(1)
    mirrored = (images == straight.flip(3)).flatten(1).all(1)
    assert (kept ^ mirrored).all()
    assert 0.4 < mirrored.float().mean() < 0.6
    first, second = mirrored.split(200)
    order = [torch.argsort(part) for part in index.split(200)]
    assert not torch.equal(first[order[0]], second[order[1]]), "an image is not mirrored in every epoch alike"


def test_arrays_too_large_for_memory_give_the_same_batches(monkeypatch, tmp_path):
    data = split(64, channels=1)
    np.save(tmp_path / "train.npy", data.images)
    on_disk = Split("train", np.load(tmp_path / "train.npy", mmap_mode="r"), data.labels)
    resident = stream(data, flip=True)
    monkeypatch.setattr(module, "MEMORY_SHARE", 0.0)
    gathered = stream(on_disk, flip=True)
    assert resident._rows.resident is not None
    assert gathered._rows.resident is None
    for _ in range(6):
        a, b = next(resident), next(gathered)
        torch.testing.assert_close(a.images, b.images, rtol=0, atol=0)
        torch.testing.assert_close(a.index, b.index, rtol=0, atol=0)


def test_the_runs_of_all_cores_together_keep_no_more_than_their_share_of_the_memory(monkeypatch):
    data = split(64, channels=1)
    for free, kept in ((4 * data.images.nbytes, False), (33 * data.images.nbytes, True)):
        monkeypatch.setattr(module, "_free_host_bytes", lambda free=free: free)
        monkeypatch.setattr(module, "n_cores", lambda: 8)
        assert (stream(data)._rows.resident is not None) == kept


def test_a_batch_that_ranks_cannot_share_is_refused():
    with pytest.raises(UserError, match="batch 15 cannot be shared by 2"):
        stream(split(), batch=15, world=2)
    with pytest.raises(UserError, match="cannot be shared"):
        stream(split(), batch=0)


def test_an_empty_split_is_refused():
    with pytest.raises(UserError, match="train split is empty"):
        stream(split(0))


def test_in_order_gives_each_image_once():
    data = split(50)
    batches = list(in_order(data, 16, "cpu"))
    assert [len(b.index) for b in batches] == [16, 16, 16, 2]
    np.testing.assert_array_equal(torch.cat([b.index for b in batches]), np.arange(50))
    images = torch.cat([b.images for b in batches])
    np.testing.assert_array_equal(to_uint8(images).permute(0, 2, 3, 1), data.images)


def test_all_256_levels_survive_the_way_there_and_back():
    levels = torch.arange(256, dtype=torch.uint8)
    assert to_float(levels).min() == -1
    assert to_float(levels).max() == 1
    assert torch.equal(to_uint8(to_float(levels)), levels)


def test_stored_images_become_floats_and_come_back():
    stored = np.random.default_rng(0).integers(256, size=(5, 6, 7, 3), dtype=np.uint8)
    images = images_to_float(stored)
    assert (images.shape, images.dtype) == ((5, 3, 6, 7), torch.float32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, to_float(torch.from_numpy(stored.transpose(0, 3, 1, 2).copy())))
    np.testing.assert_array_equal(images_to_uint8(images), stored)
    stored.setflags(write=False)
    assert torch.equal(images_to_float(stored, torch.device("cpu")), images), "memory maps cannot be written to"


def test_to_uint8_rounds_and_clamps():
    values = torch.tensor([-2.0, -1.0, 0.0, 0.003, 0.005, 1.0, 7.0])
    assert to_uint8(values).tolist() == [0, 0, 128, 128, 128, 255, 255]
    assert to_uint8(torch.tensor([100.4, 100.6]) / 127.5 - 1).tolist() == [100, 101]
    assert to_uint8(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.uint8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_gives_the_same_batches(monkeypatch):
    data = split(64)
    on_cpu = stream(data, flip=True)
    resident = Stream(data, 16, "cuda", 3, True)
    monkeypatch.setattr(module, "MEMORY_SHARE", 0.0)
    gathered = Stream(data, 16, "cuda", 3, True)
    for _ in range(6):
        a, b, c = next(on_cpu), next(resident), next(gathered)
        torch.testing.assert_close(a.images, b.images.cpu(), rtol=0, atol=1e-6)
        torch.testing.assert_close(b.images, c.images, rtol=0, atol=0)
        assert b.images.is_cuda
        assert b.images.is_contiguous(memory_format=torch.channels_last)


def test_picked_rows_are_the_asked_ones_and_mirrored_only_where_the_stream_mirrors(monkeypatch: pytest.MonkeyPatch):
    data, rows = split(), torch.tensor([3, 3, 49, 0])
    for share in (1.0, 0.0):  # resident, and from the disk
        monkeypatch.setattr(module, "MEMORY_SHARE", share)
        picked = stream(data).pick(rows)
        expected = torch.from_numpy(data.images[rows.numpy()]).permute(0, 3, 1, 2) / 127.5 - 1
        torch.testing.assert_close(picked.images, expected, rtol=0, atol=0)
        assert torch.equal(picked.index, rows)
        np.testing.assert_array_equal(picked.labels, data.labels[rows.numpy()])
        torch.manual_seed(0)
        many = stream(data, flip=True).pick(torch.zeros(200, dtype=torch.int64))
        mirrored = torch.tensor([torch.equal(image, expected[3].flip(2)) for image in many.images])
        upright = torch.tensor([torch.equal(image, expected[3]) for image in many.images])
        assert bool((mirrored | upright).all())
        assert 60 < int(mirrored.sum()) < 140


def test_picking_does_not_move_the_stream():
    source = stream(split())
    source.pick(torch.tensor([1]))
    assert torch.equal(next(source).index, next(stream(split())).index)


def test_points_are_served_as_they_are():
    points = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    batch = next(stream(Split("train", points, np.arange(50) % 7, None), flip=True))
    np.testing.assert_array_equal(batch.images, points[batch.index.numpy()])
