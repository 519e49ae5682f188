"""Losses against loops that spell the formulas out, and their gradients against finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from engine.models.losses import info_nce, recommendation_loss


def dot(a, b):
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def slow_symmetric(anchors, positives, temperature):
    rows = [*anchors, *positives]
    count = len(anchors)
    total = 0.0
    for i, row in enumerate(rows):
        partner = i + count if i < count else i - count
        others = [math.exp(dot(row, other) / temperature) for j, other in enumerate(rows) if j != i]
        assert len(others) == 2 * count - 1  # the positive and 2B - 2 negatives
        total -= math.log(math.exp(dot(row, rows[partner]) / temperature) / sum(others))
    return total / len(rows)


def slow_one_way(anchors, positives, temperature):
    total = 0.0
    for i, row in enumerate(anchors):
        candidates = [math.exp(dot(row, other) / temperature) for other in positives]
        total -= math.log(candidates[i] / sum(candidates))
    return total / len(anchors)


def pairs(count=5, width=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, width, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize(("symmetric", "slow"), [(True, slow_symmetric), (False, slow_one_way)])
def test_info_nce_equals_the_loop(symmetric, slow, count, temperature):
    anchors, positives = pairs(count)
    ours = float(info_nce(anchors, positives, temperature=temperature, symmetric=symmetric))
    assert ours == pytest.approx(slow(anchors, positives, temperature), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gradient_of_info_nce(symmetric, temperature):
    anchors, positives = (side.requires_grad_() for side in pairs(4, 3))

    def loss(a, b):
        return info_nce(a, b, temperature=temperature, symmetric=symmetric)

    assert torch.autograd.gradcheck(loss, (anchors, positives), rtol=1e-6)


def test_temperature_divides_the_dot_product():
    anchors, positives = pairs()
    for symmetric in (True, False):
        warm = info_nce(anchors, positives, temperature=4.0, symmetric=symmetric)
        halved = info_nce(anchors / 2, positives / 2, temperature=1.0, symmetric=symmetric)
        assert float(warm) == pytest.approx(float(halved), rel=1e-12)


def test_one_way_is_not_symmetric():
    anchors, positives = pairs()
    one = info_nce(anchors, positives, temperature=1.0, symmetric=False)
    other = info_nce(positives, anchors, temperature=1.0, symmetric=False)
    assert float(one) != pytest.approx(float(other), rel=1e-3)
    both = [info_nce(*order, temperature=1.0, symmetric=True) for order in ((anchors, positives), (positives, anchors))]
    assert float(both[0]) == pytest.approx(float(both[1]), rel=1e-12)


def test_known_values():
    same = torch.ones(3, 2, dtype=torch.float64)  # no candidate differs from another
    assert float(info_nce(same, same, temperature=1.0, symmetric=True)) == pytest.approx(math.log(5))
    assert float(info_nce(same, same, temperature=1.0, symmetric=False)) == pytest.approx(math.log(3))
    far = 100 * torch.eye(3, dtype=torch.float64)
    assert float(info_nce(far, far, temperature=1.0, symmetric=True)) == pytest.approx(0, abs=1e-12)


def test_large_logits_do_not_overflow():
    anchors, positives = (1e3 * side.float() for side in pairs())
    assert torch.isfinite(info_nce(anchors, positives, temperature=0.1, symmetric=True))


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("symmetric", [True, False])
def test_fewer_than_two_pairs_cost_nothing(count, symmetric):
    anchors, positives = (side.requires_grad_() for side in pairs(count))
    loss = info_nce(anchors, positives, temperature=1.0, symmetric=symmetric)
    assert float(loss.detach()) == 0.0
    for gradient in torch.autograd.grad(loss, (anchors, positives)):
        assert not gradient.any()


def test_recommendation_loss_by_hand():
    scores = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    targets = torch.tensor([3, 1])  # item ids: columns 2 and 0
    first = -(3 - math.log(math.e + math.e**2 + math.e**3))
    assert float(recommendation_loss(scores, targets)) == pytest.approx((first + math.log(3)) / 2, rel=1e-12)


def test_recommendation_loss_equals_the_loop():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(6, 9, generator=generator, dtype=torch.float64)
    targets = torch.randint(1, 10, (6,), generator=generator)
    total = 0.0
    for row, target in zip(scores.tolist(), targets.tolist(), strict=True):
        total -= row[target - 1] - math.log(sum(math.exp(score) for score in row))
    assert float(recommendation_loss(scores, targets)) == pytest.approx(total / 6, rel=1e-12)


def test_gradient_of_the_recommendation_loss():
    scores = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([4, 1, 1])
    assert torch.autograd.gradcheck(lambda s: recommendation_loss(s, targets), (scores,))
    (gradient,) = torch.autograd.grad(recommendation_loss(scores, targets), scores)
    expected = scores.detach().softmax(1)
    expected[torch.arange(3), targets - 1] -= 1
    torch.testing.assert_close(gradient, expected / 3, rtol=1e-12, atol=1e-15)
