"""One step's losses and gradients against a plain reference that encodes every sequence of every sample alone."""

from __future__ import annotations

import math

import pytest
import torch

from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.methods.model import Model

N = 6
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}


@pytest.fixture
def build(make_dataset, make_semantics, small_config):
    """A float64 model in training mode with its dataset, windows and a batch of training anchors."""

    def make(batch=12, **settings):
        dataset = make_dataset()
        config = small_config(**(NO_DROPOUT | settings))
        semantics = make_semantics(dataset, dtype=torch.float64)
        torch.manual_seed(1)
        model = (
            Model(config, dataset=dataset, windows=Windows(dataset, config.data.max_length), semantics=semantics)
            .double()
            .train()
        )
        with torch.no_grad():  # at 0.02 every hidden state is much the same
            model.backbone.item_embedding.weight.mul_(30)
        ids = torch.from_numpy(dataset.anchors.ids(TRAIN))
        ids = ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(2))]
        lonely = ~(semantics.neighbors[ids] > 0).any(1)
        anchors = torch.cat([ids[lonely][:2], ids[~lonely][: batch - 2]])
        return model, dataset, Windows(dataset, config.data.max_length), anchors

    return make


@pytest.fixture
def reference(plain_encode):
    """L, L_rec, L_CS and L_IS in loops. It draws from torch's generator in the order in which the model does."""

    def losses(model, dataset, anchors):
        loss, config = model.config.loss, model.config
        sequences = [dataset.history(anchor, N).tolist() for anchor in anchors.tolist()]
        hidden = plain_encode(model.backbone, sequences)
        rec = torch.zeros((), dtype=torch.float64)
        for row, anchor in enumerate(anchors.tolist()):
            scores = model.backbone.item_embedding.weight[1:] @ hidden[row]
            rec = rec - scores.log_softmax(0)[int(dataset.anchors.targets[anchor - 1]) - 1] / len(anchors)

        cs = is_ = torch.zeros((), dtype=torch.float64)
        encoded = [sequences, sequences]  # what the model encodes before the views; it draws one number per item
        if loss.alpha > 0:
            weights = weigh(model, anchors)
            pairs = []
            for row, anchor in enumerate(anchors.tolist()):
                neighbors = [n for n in model.semantics.neighbors[anchor].tolist() if n]
                if neighbors:
                    each = plain_encode(model.backbone, [dataset.history(n, N).tolist() for n in neighbors])
                    sample = sum(weights[row, j] * each[j] for j in range(len(neighbors)))
                    pairs.append((hidden[row], sample))
            cs = slow_info_nce(pairs, loss)
            rows, columns = (weights != 0).nonzero(as_tuple=True)
            chosen = model.semantics.neighbors[anchors][rows, columns].tolist()
            encoded = [sequences, sequences, [dataset.history(n, N).tolist() for n in chosen]]
        if loss.beta > 0:
            before = [s for part in (encoded if loss.alpha > 0 else [sequences]) for s in part]
            vectors = view_vectors(model, before, [*sequences, *sequences])
            views = plain_encode(model.backbone, [*sequences, *sequences], vectors)
            count = len(sequences)
            is_ = slow_info_nce([(views[b], views[count + b]) for b in range(count)], config.loss)
        return rec + loss.alpha * cs + loss.beta * is_, rec, cs, is_

    return losses


def weigh(model, anchors):
    """p (B, K), with the inputs of the synthesizer gathered one by one."""
    semantics = model.semantics
    own, others = [], []
    for anchor in anchors.tolist():
        own.append(semantics.user_vectors[int(semantics.user_rows[anchor])])
        rows = [int(semantics.user_rows[n]) for n in semantics.neighbors[anchor].tolist()]
        others.append(torch.stack([semantics.user_vectors[row] for row in rows]))
    present = semantics.neighbors[anchors] > 0
    return model.synthesizer(torch.stack(own), torch.stack(others), semantics.similarity[anchors], present)


def view_vectors(model, before, views):
    """(2B, n, D) token vectors of the views, in which items are swapped."""
    semantics, embedding = model.semantics, model.backbone.item_embedding.weight
    every = [*before, *views]
    laid = sorted(range(len(every)), key=lambda number: len(every[number]))  # shortest first, as they were asked for
    tokens = [(number, place) for number in laid for place in range(len(every[number]))]
    chances = torch.rand(len(tokens)).tolist()
    swapped = []
    for (number, place), chance in zip(tokens, chances, strict=True):
        some = any(semantics.substitutes[every[number][place]].tolist())
        if number >= len(before) and chance < model.config.loss.swap and some:
            swapped.append((number, place))
    assert swapped or model.config.loss.swap == 0 or len(views) < 6
    vectors = {}
    old = [every[number][place] for number, place in swapped]
    if model.config.synthesizer.item_kind == "draw":
        draws = dict(zip(tokens, torch.rand(len(tokens)).tolist(), strict=True))
        for key, item in zip(swapped, old, strict=True):
            candidates = [s for s in semantics.substitutes[item].tolist() if s]
            vectors[key] = embedding[candidates[int(draws[key] * len(candidates))]]
    else:
        substitutes = semantics.substitutes[old]
        weights = model.synthesizer(
            semantics.item_vectors[old],
            semantics.item_vectors[substitutes],
            semantics.item_similarity[old],
            substitutes > 0,
        )
        for row, key in enumerate(swapped):
            vectors[key] = sum(weights[row, j] * embedding[int(substitutes[row, j])] for j in range(weights.shape[1]))
    padding = torch.zeros_like(embedding[0])
    rows = []
    for number, sequence in enumerate(views, len(before)):
        own = [vectors.get((number, place), embedding[item]) for place, item in enumerate(sequence)]
        rows.append(torch.stack([padding] * (N - len(own)) + own))
    # Padding ids are what the plain encoder hides by, so the vectors at padding do not matter.
    return torch.stack(rows)


def slow_info_nce(pairs, loss):
    if len(pairs) < 2:
        return torch.zeros((), dtype=torch.float64)
    anchors, positives = (list(side) for side in zip(*pairs, strict=True))
    both = [*anchors, *positives] if loss.direction == "symmetric" else anchors
    total = torch.zeros((), dtype=torch.float64)
    for i, row in enumerate(both):
        if loss.direction == "symmetric":
            candidates = [other for j, other in enumerate([*anchors, *positives]) if j != i]
            partner = positives[i] if i < len(anchors) else anchors[i - len(anchors)]
        else:
            candidates, partner = positives, positives[i]
        logits = torch.stack([row @ other for other in candidates]) / loss.temperature
        total = total - (row @ partner / loss.temperature - logits.logsumexp(0))
    return total / len(both)


def compare(reference, model, dataset, windows, anchors):
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    values = [value for value in model.parameters() if value.requires_grad]
    found = []
    for step in (lambda: model.losses(anchors, windows), lambda: reference(model, dataset, anchors)):
        torch.manual_seed(7)
        losses = step()
        losses = losses if isinstance(losses, tuple) else (losses.total, *losses.terms.values())
        gradients = torch.autograd.grad(losses[0], values, allow_unused=True, materialize_grads=True)
        found.append((losses, dict(zip(names, gradients, strict=True))))
    (ours, our_gradients), (plain, plain_gradients) = found
    for what, mine, other in zip(("total", "rec", "cs", "is"), ours, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12, msg=lambda text, what=what: f"{what}: {text}")
    for name in names:
        torch.testing.assert_close(
            our_gradients[name],
            plain_gradients[name],
            rtol=1e-9,
            atol=1e-11,
            msg=lambda text, name=name: f"{name}: {text}",
        )
    return ours, our_gradients


@pytest.mark.parametrize("direction", ["symmetric", "one-way"])
@pytest.mark.parametrize("item_kind", ["draw", "synthesize"])
@pytest.mark.parametrize("weight_dropout", [0.0, 0.5])
@pytest.mark.parametrize("kind", ["gat", "gatv2", "random", "top1"])
def test_both_contrasts_equal_the_reference(build, reference, direction, item_kind, weight_dropout, kind):
    parts = build(
        direction=direction,
        item_kind=item_kind,
        weight_dropout=weight_dropout,
        kind=kind,
        alpha=0.7,
        beta=0.4,
        swap=0.5,
    )
    ours, gradients = compare(reference, *parts)
    assert min(float(part.detach()) for part in ours) > 0
    assert not gradients["backbone.item_embedding.weight"][0].any(), "padding is not trained"
    for name, gradient in gradients.items():
        assert gradient.any(), name + " is not reached"


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3)])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_either_contrast_alone(build, reference, alpha, beta, temperature):
    ours, gradients = compare(reference, *build(alpha=alpha, beta=beta, temperature=temperature, swap=0.4))
    assert (float(ours[2].detach()) > 0) == (alpha > 0)
    assert (float(ours[3].detach()) > 0) == (beta > 0)
    assert ("synthesizer.projection" in gradients) == (alpha + beta > 0)
    assert any(gradient.any() for name, gradient in gradients.items() if "synthesizer" in name) == (alpha > 0)


@pytest.mark.parametrize("swap", [0.0, 1.0])
def test_no_item_and_every_item_swapped(build, reference, swap):
    compare(reference, *build(swap=swap))
    compare(reference, *build(swap=swap, item_kind="synthesize"))


def test_the_batch_has_anchors_with_missing_neighbors(build):
    model, _, _, anchors = build()
    counts = (model.semantics.neighbors[anchors] > 0).sum(1)
    assert {0, 4} < set(counts.tolist()), "some have none, some all, some are between"


@pytest.mark.parametrize("having", [0, 1])
def test_a_batch_in_which_too_few_have_neighbors(build, reference, having):
    model, dataset, windows, _ = build()
    train = torch.from_numpy(dataset.anchors.ids(TRAIN))
    some = (model.semantics.neighbors[train] > 0).any(1)
    anchors = torch.cat([train[~some][:3], train[some][:having]])
    ours, _ = compare(reference, model, dataset, windows, anchors)
    assert float(ours[2].detach()) == 0
    assert math.isfinite(float(ours[0].detach()))


def test_one_anchor_alone(build, reference):
    model, dataset, windows, anchors = build()
    ours, _ = compare(reference, model, dataset, windows, anchors[:1])
    assert [float(part.detach()) for part in ours[2:]] == [0, 0]


def test_every_item_draws_each_of_its_substitutes_evenly(build, monkeypatch):
    model, _, windows, anchors = build(batch=40, swap=0.3, alpha=0.0)
    seen = []
    monkeypatch.setattr(
        model.backbone,
        "forward",
        lambda packed, vectors: seen.append(packed) or torch.zeros(len(packed.last), 8).double(),
    )
    for _ in range(200):
        model.losses(anchors, windows)
    plain = windows.pack(torch.cat([anchors] * 3)).items
    drawn, swapped = {}, 0
    for packed in seen:
        for old, new in zip(plain.tolist(), packed.items.tolist(), strict=True):
            if old != new:
                drawn.setdefault(old, []).append(new)
                swapped += 1
    for old, new in drawn.items():
        substitutes = [s for s in model.semantics.substitutes[old].tolist() if s]
        assert set(new) <= set(substitutes)
        for substitute in substitutes:
            share = new.count(substitute) / len(new)
            assert abs(share - 1 / len(substitutes)) < 5 * math.sqrt(0.25 / len(new))
    swappable = sum(bool(model.semantics.substitutes[item].any()) for item in plain.tolist()) * 2 / 3
    assert swapped / 200 / swappable == pytest.approx(0.3, abs=0.02)


def test_the_two_passes_of_an_anchor_draw_their_own_dropout(build):
    for rate in (0.5, 0.0):
        model, _, windows, anchors = build(dropout=rate, swap=0.0)
        seen = []
        model.backbone.register_forward_hook(lambda module, args, output, seen=seen: seen.append(output.detach()))
        model.losses(anchors, windows)
        (hidden,), count = seen, len(anchors)
        passes = [hidden[:count], hidden[count : 2 * count], hidden[-2 * count : -count], hidden[-count:]]
        for i, one in enumerate(passes):
            for other in passes[:i]:
                assert torch.allclose(one, other, rtol=1e-9) == (rate == 0.0)


def test_samples_are_contrasted_with_the_second_pass(build):
    model, dataset, windows, anchors = build(dropout=0.5, kind="top1", swap=0.3)
    seen = []
    model.backbone.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    losses = model.losses(anchors, windows)
    (hidden,), count = seen, len(anchors)
    some = [row for row, anchor in enumerate(anchors.tolist()) if model.semantics.neighbors[anchor].any()]
    samples = hidden[2 * count : 2 * count + len(some)]  # one neighbor each, in order
    pairs = [(hidden[count + row], sample) for row, sample in zip(some, samples, strict=True)]
    torch.testing.assert_close(losses.terms["loss_cs"].detach(), slow_info_nce(pairs, model.config.loss))
    targets = dataset.anchors.targets[anchors.numpy() - 1].tolist()
    scores = model.backbone.scores(hidden[:count]).detach().log_softmax(1)
    torch.testing.assert_close(
        losses.terms["loss_rec"].detach(), -sum(scores[b, t - 1] for b, t in enumerate(targets)) / count
    )


def test_losses_follow_the_seed(build):
    totals = []
    for seed in (1, 1, 2):
        model, _, windows, anchors = build(dropout=0.5, attention_dropout=0.5)
        torch.manual_seed(seed)
        totals.append(float(model.losses(anchors, windows).total.detach()))
    assert totals[0] == totals[1] != totals[2]


def test_samples_are_those_of_evaluation(build, plain_encode):
    model, dataset, windows, anchors = build(dropout=0.5, weight_dropout=0.5)
    model.eval()
    own, samples = model.shared("synthesis").samples(model.backbone, anchors, windows)
    weights = weigh(model, anchors)
    torch.testing.assert_close(
        own, plain_encode(model.backbone, [dataset.history(a, N).tolist() for a in anchors.tolist()])
    )
    for row, anchor in enumerate(anchors.tolist()):
        neighbors = [n for n in model.semantics.neighbors[anchor].tolist() if n]
        expected = torch.zeros(8, dtype=torch.float64)
        if neighbors:
            expected = weights[row, : len(neighbors)] @ plain_encode(
                model.backbone, [dataset.history(n, N).tolist() for n in neighbors]
            )
        torch.testing.assert_close(samples[row], expected, rtol=1e-9, atol=1e-12)
    assert not samples.requires_grad


def test_weights_of_anchors_and_items(build):
    model, _, _, anchors = build(weight_dropout=0.5)
    model.eval()
    torch.testing.assert_close(
        model.shared("synthesis").neighbor_weights(anchors), weigh(model, anchors), rtol=1e-12, atol=0
    )
    items = torch.arange(1, 25)
    weights = model.shared("synthesis").item_weights(items)
    present = model.semantics.substitutes[items] > 0
    torch.testing.assert_close(weights.sum(1), present.any(1).double())
    assert (weights[~present] == 0).all()


def test_contrasts_need_semantics(small_config, make_dataset):
    dataset = make_dataset()
    with pytest.raises(ValueError, match="there are no semantics"):
        Model(small_config(), dataset=dataset, windows=Windows(dataset, N), semantics=None)
    plain = Model(small_config(alpha=0, beta=0), dataset=dataset, windows=Windows(dataset, N), semantics=None)
    assert {name.split(".")[0] for name, _ in plain.named_parameters()} == {"backbone"}
    assert plain.shared("synthesis") is None
