"""Each synthesizer against its formula in loops, and what holds for all of them: masks, sums, gradients, dropout."""

from __future__ import annotations

import math

import pytest
import torch

from engine.config import SynthesizerConfig
from engine.extension_points import SYNTHESIZERS
from engine.models.synthesizers import build_synthesizer

KINDS = ("gat", "gatv2", "dot", "mlp", "uniform", "softmax-cosine", "random", "top1", "frozen")
LEARNED = ("gat", "gatv2", "dot", "mlp")
ONE_HOT = ("random", "top1")
B, K, S, D = 5, 4, 6, 3


def test_every_kind_says_whether_it_learns():
    assert tuple(SYNTHESIZERS.ours) == KINDS
    kinds = {name: SYNTHESIZERS.load(name) for name in KINDS}
    assert [name for name, kind in kinds.items() if kind.learned] == list(LEARNED)
    assert [name for name, kind in kinds.items() if kind.one_hot] == list(ONE_HOT)


def build(kind, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    config = SynthesizerConfig.model_validate({"kind": kind, "weight_dropout": dropout})
    return build_synthesizer(config, size=S, width=D).double()


def inputs(seed=1):
    generator = torch.Generator().manual_seed(seed)
    anchor = torch.randn(B, S, generator=generator, dtype=torch.float64)
    neighbors = torch.randn(B, K, S, generator=generator, dtype=torch.float64)
    similarity = torch.rand(B, K, generator=generator, dtype=torch.float64).sort(1, descending=True).values
    mask = torch.ones(B, K, dtype=torch.bool)
    mask[1, 2:] = False
    mask[2, 1:] = False
    mask[3] = False
    return anchor, neighbors, similarity, mask


# The formulas, one anchor u and one neighbor j at a time


def leaky(x):
    return x if x > 0 else 0.2 * x


def gelu(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def times(x, matrix):
    """The row x times a matrix."""
    return [sum(x[i] * matrix[i][j] for i in range(len(x))) for j in range(len(matrix[0]))]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow_gat(w, u, j, similarity):
    joint = times(u, w["projection"]) + times(j, w["projection"])  # [W^T x_u || W^T x_j]
    return leaky(dot([row[0] for row in w["attention"]], joint))


def slow_gatv2(w, u, j, similarity):
    joint = times([*u, *j], [*w["own"], *w["other"]])  # W [x_u || x_j]
    return dot([row[0] for row in w["attention"]], [leaky(x) for x in joint])


def slow_dot(w, u, j, similarity):
    return dot(times(u, w["query"]), times(j, w["key"])) / math.sqrt(D)


def slow_mlp(w, u, j, similarity):
    def adapt(x):
        return times([gelu(y) for y in times(x, w["first"])], w["second"])

    return dot(adapt(u), adapt(j)) / math.sqrt(D)


SLOW = {
    "gat": slow_gat,
    "frozen": slow_gat,
    "gatv2": slow_gatv2,
    "dot": slow_dot,
    "mlp": slow_mlp,
    "uniform": lambda w, u, j, similarity: 0.0,
    "softmax-cosine": lambda w, u, j, similarity: similarity / 0.1,
}


@pytest.mark.parametrize("kind", SLOW)
def test_weights_equal_the_formula(kind):
    model = build(kind).eval()
    weights = {name: value.tolist() for name, value in model.named_parameters()}
    anchor, neighbors, similarity, mask = inputs()
    ours = model(anchor, neighbors, similarity, mask).tolist()
    for b in range(B):
        scores = [
            SLOW[kind](weights, anchor[b].tolist(), neighbors[b, j].tolist(), float(similarity[b, j])) for j in range(K)
        ]
        present = [j for j in range(K) if mask[b, j]]
        total = sum(math.exp(scores[j]) for j in present)
        expected = [math.exp(scores[j]) / total if j in present else 0.0 for j in range(K)]
        assert ours[b] == pytest.approx(expected, rel=1e-10), (kind, b)


def test_every_kind_is_tested():
    assert set(SLOW) | set(ONE_HOT) == set(KINDS)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_sum_to_one_over_the_neighbors_that_there_are(kind, training):
    weights = build(kind).train(training)(*inputs())
    mask = inputs()[3]
    assert weights.shape == (B, K)
    assert (weights[~mask] == 0).all()
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1).double(), mask.any(1).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_neighbor_changes_nothing(kind):
    model = build(kind).eval()
    anchor, neighbors, similarity, mask = inputs()
    before = model(anchor, neighbors, similarity, mask)
    neighbors, similarity = neighbors.clone(), similarity.clone()
    neighbors[~mask], similarity[~mask] = 1e3, 1e3
    assert torch.equal(before, model(anchor, neighbors, similarity, mask))


@pytest.mark.parametrize("kind", LEARNED)
def test_a_missing_neighbor_has_no_weight_even_when_training_has_gone_astray(kind):
    model = build(kind, dropout=0.5).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    weights, mask = model(*inputs()), inputs()[3]
    assert weights[mask].isnan().any()
    assert (weights[~mask] == 0).all()


@pytest.mark.parametrize("kind", LEARNED)
def test_gradients_reach_every_weight_and_are_right(kind):
    model = build(kind).train()
    names = [name for name, _ in model.named_parameters()]
    values = tuple(value.detach().clone().requires_grad_() for value in model.parameters())
    direction = torch.randn(B, K, dtype=torch.float64)

    def loss(*parameters):
        weights = torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), inputs())
        return (weights * direction).sum()

    assert torch.autograd.gradcheck(loss, values)
    for name, gradient in zip(names, torch.autograd.grad(loss(*values), values), strict=True):
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in LEARNED])
def test_the_others_are_not_trained(kind):
    model = build(kind)
    assert not [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert not model.train()(*inputs()).requires_grad


def test_frozen_is_gat_as_it_was_initialized():
    assert torch.equal(build("frozen", seed=5)(*inputs()), build("gat", seed=5)(*inputs()).detach())


@pytest.mark.parametrize("kind", LEARNED)
def test_initial_weights_are_xavier_uniform(kind):
    torch.manual_seed(0)
    model = build_synthesizer(SynthesizerConfig.model_validate({"kind": kind}), size=300, width=64)
    for name, weight in model.state_dict().items():
        bound = 1.414 * math.sqrt(6 / sum(weight.shape))
        assert float(weight.abs().max()) <= bound, name
        assert float(weight.abs().max()) > 0.9 * bound, name
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.15), name


# Static and dynamic attention


def orders(kind, seed):
    """How each of 30 anchors orders the same candidates."""
    model = build(kind, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    anchor = 3 * torch.randn(30, S, generator=generator, dtype=torch.float64)
    candidates = torch.randn(1, 8, S, generator=generator, dtype=torch.float64).expand(30, 8, S)
    scores = model.scores(anchor, candidates, torch.zeros(30, 8, dtype=torch.float64))
    return {tuple(row) for row in scores.argsort(1).tolist()}, scores


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["gat", "frozen"])
def test_gat_orders_the_candidates_alike_for_every_anchor(kind, seed):
    found, scores = orders(kind, seed)
    assert len(found) == 1
    spread = scores.detach().softmax(1).max(1).values
    assert float(spread.max() - spread.min()) > 0.01, "only the sharpness changes, but it does"


@pytest.mark.parametrize("kind", ["gatv2", "dot", "mlp"])
def test_the_others_may_order_them_differently(kind):
    assert len(orders(kind, 0)[0]) > 1


# One neighbor alone


def test_random_picks_one_of_those_that_there_are_evenly():
    model = build("random", dropout=0.5).train()
    anchor, neighbors, similarity, mask = inputs()
    torch.manual_seed(0)
    draws = torch.stack([model(anchor, neighbors, similarity, mask) for _ in range(2000)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    expected = mask / mask.sum(1, keepdim=True).clamp(min=1)
    assert float((draws.mean(0) - expected).abs().max()) < 5 * math.sqrt(0.25 / 2000)
    assert float((draws[:, 0] * draws[:, 4]).sum(1).mean()) == pytest.approx(1 / K, abs=0.04), "rows draw alone"


def test_random_is_the_mean_outside_training():
    weights = build("random").eval()(*inputs())
    assert weights.tolist()[0] == [0.25] * 4
    assert weights.tolist()[1] == [0.5, 0.5, 0, 0]
    assert weights.tolist()[2:4] == [[1, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("training", [True, False])
def test_top1_takes_the_most_similar(training):
    model = build("top1", dropout=0.5).train(training)
    anchor, neighbors, _, mask = inputs()
    similarity = torch.tensor([[0.1, 0.9, 0.3, 0.9]] * B, dtype=torch.float64)
    expected = [[0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert model(anchor, neighbors, similarity, mask).tolist() == expected
    assert model(anchor, neighbors, -similarity, mask)[0].tolist() == [1, 0, 0, 0]


# Weight dropout


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ONE_HOT])
def test_weight_dropout_is_for_training_only(kind):
    plain = build(kind).eval()(*inputs())
    model = build(kind, dropout=0.5)
    assert torch.equal(model.eval()(*inputs()), plain)
    model.train()
    torch.manual_seed(0)
    parts = inputs()
    draws = torch.stack([model(*parts).detach() for _ in range(1000)])
    assert ((draws == 0) | torch.isclose(draws, 2 * plain)).all(), "dropped, or scaled by 1 / (1 - rate)"
    present = parts[3]
    share = (draws == 0).double().mean(0)[present]
    assert float((share - 0.5).abs().max()) < 5 * math.sqrt(0.25 / 1000)
    assert torch.equal(build(kind, dropout=0.0).train()(*inputs()), plain)
