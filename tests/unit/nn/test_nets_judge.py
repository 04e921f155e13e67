"""The judge's networks: sizes, and that the stacked one's 1000 classes are three independent digits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from benchmark.data.cards import card_with, find_card
from benchmark.data.prepared import Dataset
from benchmark.metrics.extractors.trained import JudgeExtractor
from benchmark.nn.judge import JudgeNet, StackedJudgeNet
from benchmark.training.stages.judge import Judge, JudgeConfig, recipe


def stacked(side: int = 16) -> StackedJudgeNet:
    torch.manual_seed(0)
    return StackedJudgeNet(side, width=4).eval()


def digits_logits(net: StackedJudgeNet, x: Tensor) -> Tensor:
    """Logits [N, 3, 10] of the channels one by one."""
    return torch.stack([net.digit(x[:, k : k + 1]) for k in range(3)], 1)


def test_the_joint_probability_is_the_product_of_the_digits():
    net, x = stacked(), torch.randn(5, 3, 16, 16)
    with torch.no_grad():
        joint = log_softmax(net(x), 1)
        each = log_softmax(digits_logits(net, x), 2)
    assert joint.shape == (5, 1000)
    for k in (0, 7, 274, 999):
        expected = each[:, 0, k // 100] + each[:, 1, k // 10 % 10] + each[:, 2, k % 10]
        torch.testing.assert_close(joint[:, k], expected)
    a, b, c = each.argmax(2).unbind(1)
    assert torch.equal(joint.argmax(1), a * 100 + b * 10 + c)


def test_cross_entropy_over_1000_classes_is_the_sum_of_the_digits():
    net, x = stacked(), torch.randn(6, 3, 16, 16)
    labels = torch.tensor([0, 999, 274, 500, 31, 7])
    with torch.no_grad():
        logits = digits_logits(net, x)
        parts = [cross_entropy(logits[:, k], d) for k, d in enumerate((labels // 100, labels // 10 % 10, labels % 10))]
        torch.testing.assert_close(cross_entropy(net(x), labels), torch.stack(parts).sum())


def test_a_swapped_order_of_channels_would_be_noticed():
    net, x = stacked(), torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert (net(x) - net(x.flip(1))).abs().max() > 1e-3
        swapped = net(x.flip(1)).view(4, 10, 10, 10).permute(0, 3, 2, 1).flatten(1)
        torch.testing.assert_close(net(x), swapped)


def test_channels_share_every_weight():
    one, three = JudgeNet(16, 1, 10, width=4), stacked()
    assert sum(p.numel() for p in three.parameters()) == sum(p.numel() for p in one.parameters())
    assert three.dim == 3 * one.dim
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        features = three.features(x)
        torch.testing.assert_close(
            features[:, three.digit.dim :][:, : three.digit.dim], three.digit.features(x[:, 1:2])
        )
        torch.testing.assert_close(three.head(features), three(x))


@pytest.mark.parametrize("name", ["stacked_digits", "digits", "shapes"])
def test_the_judge_takes_the_network_of_its_data(name):
    data = Dataset.tiny(find_card(name))
    net = Judge(JudgeConfig(width=4), data).product()
    assert isinstance(net, StackedJudgeNet if name == "stacked_digits" else JudgeNet)
    extractor = JudgeExtractor(net, "key", data.resolution)
    images = torch.from_numpy(data.train.images[:3]).permute(0, 3, 1, 2)
    pooled, logits = extractor(images)
    assert pooled.shape == (3, extractor.dim)
    assert logits.shape == (3, data.n_labels)


def test_the_judge_of_points_is_refused():
    with pytest.raises(AssertionError, match="nearest centre"):
        Judge(JudgeConfig(), Dataset.tiny(find_card("ring2d")))


def test_the_stacked_judge_has_a_recipe_of_its_own():
    assert recipe("small", "stacked_digits") != recipe("small", "default")
    assert recipe("paper", "stacked_mnist") == recipe("paper", "default")


@pytest.mark.slow
def test_the_small_stacked_judge_knows_digits_it_never_saw(tmp_path):
    from benchmark.data.prepare import prepare
    from benchmark.data.stream import to_float
    from benchmark.training.artifacts import ArtifactStore

    card = card_with(find_card("stacked_digits"), {"source": {"n_train": 1000}})
    data = prepare(card, tmp_path, tmp_path, progress=False)
    net = (
        ArtifactStore(data, tmp_path, torch.device("cpu"), quiet=True)
        .train(Judge, recipe("small", "stacked_digits"))
        .eval()
    )
    with torch.no_grad():
        logits = net(to_float(torch.from_numpy(data.train.images.copy()).permute(0, 3, 1, 2)))
    assert (logits.argmax(1).numpy() == data.train.labels).mean() > 0.95
