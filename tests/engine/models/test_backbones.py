"""GRU4Rec and BERT4Rec against plain implementations in double precision; a backbone of a user's own."""

from __future__ import annotations

import importlib.metadata
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from engine import registry
from engine.config import ModelConfig
from engine.config_files import build_config
from engine.data.batching.windows import Windows
from engine.data.dataset import TRAIN
from engine.errors import ConfigError
from engine.evaluation.ranking import rank_targets
from engine.extension_points import BACKBONES
from engine.methods.model import Model
from engine.models import bert4rec
from engine.models.registry import build_backbone
from tests.support.commands import ROOT

EXAMPLE = ROOT / "examples" / "own_backbone.py"
OWN = f"{EXAMPLE}:Decay"
NAMES = ["sasrec", "gru4rec", "bert4rec", "bsarec", "ligr", "own"]
EVERY = [*NAMES[:-1], OWN]
N, WIDTH = 6, 8


def build(name, items=24, max_length=N, **settings) -> Any:
    torch.manual_seed(3)
    values = {"backbone": name, "width": WIDTH, "inner": 12, "dropout": 0.0, "attention_dropout": 0.0} | settings
    model = build_backbone(ModelConfig.model_validate(values), items=items, max_length=max_length).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        model.item_embedding.weight[0] = 0.0
    return model


def histories(dataset, ids, max_length=N):
    return [dataset.history(int(anchor), max_length).tolist() for anchor in ids]


def compare(model, ours, plain, reached=()):
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)
    direction = torch.randn(ours.shape, dtype=torch.float64)
    named = dict(model.named_parameters())
    found, expected = (
        torch.autograd.grad((value * direction).sum(), list(named.values()), allow_unused=True, materialize_grads=True)
        for value in (ours, plain)
    )
    for name, gradient, other in zip(named, found, expected, strict=True):
        torch.testing.assert_close(
            gradient, other, rtol=1e-8, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}"
        )
        assert name not in reached or gradient.any(), name


# GRU4Rec


def plain_gru(model, vectors):
    """h after the last of the vectors (L, D), by the equations of a gated recurrent unit, one step at a time."""
    states = list(vectors)
    for layer in range(model.gru.num_layers):
        weight_in, weight_own, bias_in, bias_own = (getattr(model.gru, name) for name in model.gru._all_weights[layer])
        state, after = torch.zeros(model.gru.hidden_size, dtype=torch.float64), []
        for x in states:
            (r1, z1, n1), (r2, z2, n2) = (weight_in @ x + bias_in).chunk(3), (weight_own @ state + bias_own).chunk(3)
            reset, update = torch.sigmoid(r1 + r2), torch.sigmoid(z1 + z2)
            state = (1 - update) * torch.tanh(n1 + reset * n2) + update * state
            after.append(state)
        states = after
    return model.output.weight @ states[-1] + model.output.bias


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("max_length", [1, 4, 15])
def test_gru_equals_its_equations(make_dataset, layers, max_length):
    dataset = make_dataset(users=12)
    model = build("gru4rec", layers=layers, max_length=max_length)
    ids = torch.randperm(len(dataset.anchors))[:25] + 1
    ids = torch.cat([ids, ids[:3]])
    plain = [plain_gru(model, model.item_embedding.weight[s]) for s in histories(dataset, ids, max_length)]
    reached = ["item_embedding.weight", "gru.weight_ih_l0", "output.weight"]
    compare(model, model(Windows(dataset, max_length).pack(ids)), torch.stack(plain), reached)


def test_gru_changes_with_every_item_and_its_order(dataset_of):
    model = build("gru4rec", items=9)
    lines = [[1, 2, 3, 4, 5], [9, 2, 3, 4, 5], [1, 2, 3, 9, 5], [2, 1, 3, 4, 5]]
    hidden = [model(Windows(dataset_of([line], items=9), N).pack(torch.tensor([4]))) for line in lines]
    assert all(not torch.allclose(hidden[0], other) for other in hidden[1:])


# BERT4Rec


def plain_bert(model, sequences):
    """(B, n + 1, D) behind the last layer, every sequence padded on the left; -1 stands for the mask."""
    length = model.max_length + 1
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, length - len(sequence) :] = torch.tensor(sequence)
    x = torch.where((ids < 0)[..., None], model.mask_embedding.weight[0], model.item_embedding.weight[ids.clamp(min=0)])
    x = norm(x + model.position_embedding.weight, model.input_norm)
    hidden = (ids == 0)[:, None, :]  # (B, 1, n + 1): padding is not seen
    for layer in model.layers:
        keys, values = layer.key_value(x).chunk(2, -1)
        heads = []
        for q, k, v in zip(*(part.chunk(layer.heads, -1) for part in (layer.query(x), keys, values)), strict=True):
            scores = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).masked_fill(hidden, -1e9)
            heads.append(scores.softmax(-1) @ v)
        x = norm(x + layer.output(torch.cat(heads, -1)), layer.attention_norm)
        x = norm(x + layer.contract(F.gelu(layer.expand(x))), layer.feed_norm)
    return norm(F.gelu(model.output(x)), model.output_norm)


def norm(x, layer):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-12) * layer.weight + layer.bias


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("max_length", [1, 4, 15])
def test_bert_equals_plain(make_dataset, layers, heads, max_length):
    dataset = make_dataset(users=12)
    model = build("bert4rec", layers=layers, heads=heads, max_length=max_length)
    ids = torch.randperm(len(dataset.anchors))[:25] + 1
    ids = torch.cat([ids, ids[:3]])
    plain = plain_bert(model, [[*sequence, -1] for sequence in histories(dataset, ids, max_length)])[:, -1]
    compare(model, model(Windows(dataset, max_length).pack(ids)), plain, ["mask_embedding.weight", "output.weight"])


@pytest.mark.parametrize("mask", [0.05, 0.5, 0.9])
def test_bert_loss_equals_plain(make_dataset, mask, monkeypatch):
    dataset = make_dataset(users=12)
    windows, model = Windows(dataset, N), build("bert4rec", mask=mask)
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN))
    ids = ids[torch.randperm(len(ids))[:20]]
    packed = windows.pack(ids)
    drawn = []
    draw = model._draw
    monkeypatch.setattr(model, "_draw", lambda longer: drawn.append(draw(longer)) or drawn[0])
    ours = model.loss(packed, windows.targets[ids])
    asked = packed.restore.argsort()  # packed order -> the order that was asked for
    sequences = [
        [*h, int(dataset.anchors.targets[a - 1])] for h, a in zip(histories(dataset, ids), ids.tolist(), strict=True)
    ]
    places, losses = iter(drawn[0].tolist()), []
    for row in asked.tolist():
        masked = [next(places) for _ in sequences[row]]
        assert any(masked), "every sequence is learned from"
        seen = [-1 if hide else item for item, hide in zip(sequences[row], masked, strict=True)]
        hidden = plain_bert(model, [seen])[0, -len(seen) :]
        for h, item, hide in zip(hidden, sequences[row], masked, strict=True):
            if hide:
                scores = model.item_embedding.weight[1:] @ h + model.item_bias
                losses.append(-scores.log_softmax(0)[item - 1])
    compare(model, ours[None], torch.stack(losses).mean()[None], ["item_bias", "mask_embedding.weight"])


def test_bert_masks_the_last_place_alone_in_half_of_the_sequences_and_its_share_in_the_others(dataset_of):
    model = build("bert4rec", items=9, mask=0.3)
    windows = Windows(dataset_of([[1, 2, 3, 4, 5, 6, 7, 8]] * 3, items=9), N)
    torch.manual_seed(0)
    packed = windows.pack(torch.full((4000,), 5))  # 5 items and a place
    longer, _ = model._with_last_position(packed)
    masked = model._draw(longer).view(4000, 6)
    alone = masked[:, -1] & ~masked[:, :-1].any(1)
    chance = 0.7**5 * (0.3 + 0.7)  # the last by draw, or because no place was drawn
    assert float(alone.double().mean()) == pytest.approx(bert4rec.LAST_ONLY + 0.5 * chance, abs=0.03)
    assert float(masked[:, :-1].double().mean()) == pytest.approx(0.5 * 0.3, abs=0.01)
    assert masked.any(1).all()


def test_bert_sees_both_ways_in_training_and_its_scores_have_a_bias(dataset_of):
    model = build("bert4rec", items=9)
    one, other = (plain_bert(model, [[1, -1, 3, last]])[0, -3] for last in (4, 5))
    assert not torch.allclose(one, other), "what follows a masked place is seen there"
    hidden = torch.randn(2, WIDTH, dtype=torch.float64)
    expected = hidden @ model.item_embedding.weight[1:].T + model.item_bias
    torch.testing.assert_close(model.scores(hidden), expected)


# All of them


@pytest.mark.parametrize("name", EVERY, ids=NAMES)
def test_a_sequence_has_the_same_h_alone_and_among_others(make_dataset, name):
    windows, model = Windows(make_dataset(), N), build(name)
    ids = torch.randperm(60)[:30] + 1
    together = model(windows.pack(ids))
    alone = torch.cat([model(windows.pack(ids[row : row + 1])) for row in range(len(ids))])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", EVERY, ids=NAMES)
def test_neither_the_future_nor_what_lies_before_the_window_is_seen(dataset_of, name):
    model = build(name, items=9, max_length=3)
    prefix = torch.tensor([4])  # window 2, 3, 4
    lines = ([1, 2, 3, 4, 5, 6, 7], [9, 2, 3, 4, 8, 9, 9])
    one, other = (model(Windows(dataset_of([line], items=9), 3).pack(prefix)) for line in lines)
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", EVERY, ids=NAMES)
def test_token_vectors_stand_in_for_item_embeddings(make_dataset, name):
    model = build(name)
    packed = Windows(make_dataset(), N).pack(torch.arange(1, 20))
    vectors = model.item_embedding(packed.items)
    torch.testing.assert_close(model(packed, vectors), model(packed), rtol=1e-12, atol=0)
    assert not torch.allclose(model(packed, 2 * vectors), model(packed))


@pytest.mark.parametrize("name", EVERY, ids=NAMES)
def test_dropout_is_on_in_training_only(make_dataset, name):
    packed = Windows(make_dataset(), N).pack(torch.arange(1, 20))
    model = build(name, dropout=0.3)
    assert torch.equal(model.eval()(packed), build(name)(packed))
    model.train()
    assert not torch.equal(model(packed), model(packed))


@pytest.mark.parametrize("name", EVERY, ids=NAMES)
@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.5, 0.2)])
def test_the_three_losses(make_dataset, make_semantics, small_config, monkeypatch, name, alpha, beta):
    dataset = make_dataset()
    settings = {"alpha": alpha, "beta": beta, "kind": "uniform", "weight_dropout": 0.0, "swap": 0.0}
    config = small_config(backbone=name, dropout=0.0, attention_dropout=0.0, **settings)
    semantics = make_semantics(dataset, dtype=torch.float64)
    torch.manual_seed(1)
    model = Model(config, dataset=dataset, windows=Windows(dataset, N), semantics=semantics).double()
    with torch.no_grad():
        model.backbone.item_embedding.weight.mul_(30)
    windows, ids = Windows(dataset, N), torch.from_numpy(dataset.anchors.ids(TRAIN))[5:17]
    monkeypatch.setattr(model.backbone, "_draw", lambda longer: torch.arange(len(longer.items)) % 3 == 0, raising=False)
    losses = model.losses(ids, windows)
    hidden, targets = model.backbone(windows.pack(ids)), windows.targets[ids]
    expected = model.backbone.loss(windows.pack(ids), targets)
    if name != "bert4rec":
        torch.testing.assert_close(
            losses.terms["loss_rec"], F.cross_entropy(model.backbone.scores(hidden), targets - 1)
        )
    torch.testing.assert_close(losses.terms["loss_rec"], expected)
    samples = []
    for anchor in ids.tolist():
        neighbors = semantics.neighbors[anchor][semantics.neighbors[anchor] > 0]
        samples.append(model.backbone(windows.pack(neighbors)).mean(0) if len(neighbors) else None)
    kept = [row for row, sample in enumerate(samples) if sample is not None]
    positives = torch.stack([samples[row] for row in kept])
    for part, on, pair in (
        (losses.terms["loss_cs"], alpha, (hidden[kept], positives)),
        (losses.terms["loss_is"], beta, (hidden, hidden)),
    ):
        torch.testing.assert_close(part, nce(*pair) if on else torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(
        losses.total, losses.terms["loss_rec"] + alpha * losses.terms["loss_cs"] + beta * losses.terms["loss_is"]
    )


def nce(anchors, positives):
    rows = torch.cat([anchors, positives])
    logits = (rows @ rows.T).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(rows)).roll(len(anchors)))


@pytest.mark.parametrize("name", EVERY, ids=NAMES)
def test_training_learns_what_follows_and_gives_the_same_twice(run, make_dataset, make_semantics, name):
    dataset = make_dataset(users=60, cyclic=True, shortest=6)
    semantics = make_semantics(dataset)
    settings = {"backbone": name, "dropout": 0.0, "attention_dropout": 0.0, "lr": 0.01, "epochs": 30, "width": 16}
    settings |= {"alpha": 0.01, "beta": 0.01, "swap": 0.1, "dataset": dataset, "semantics": semantics}
    made = run(**settings)
    assert made.result.test["hr@5"] > 0.9, "chance is 0.21"
    short = {**settings, "epochs": 1}
    one, other = run(**short), run(**short)
    assert one.told == other.told
    assert one.equals(other)


# A user's own


def test_an_entry_point_is_looked_up(monkeypatch):
    point = importlib.metadata.EntryPoint("decay", "engine.models.gru4rec:GRU4Rec", BACKBONES.group)
    monkeypatch.setattr(registry, "entry_points", lambda group: importlib.metadata.EntryPoints([point]))
    assert build_config({"backbone": "decay"}).model.backbone == "decay"
    assert BACKBONES.load("decay").__name__ == "GRU4Rec"
    with pytest.raises(ConfigError, match="there are sasrec, gru4rec, bert4rec, bsarec, ligr, dual, alpharec, decay"):
        build_config({"backbone": "other"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Own:\n    pass\n", "no subclass of"),
        ("import nothing_of_this_name\n", "cannot be imported: ModuleNotFoundError"),
        ("class Other:\n    pass\n", "cannot be imported: AttributeError"),
        ("def Own(\n", "cannot be imported: SyntaxError"),
        (
            "from engine.models.backbone import Backbone\nclass Own(Backbone):\n    def forward(self, packed, token_vectors=None): ...\n",
            "item_embedding",
        ),
        (
            "from engine.models.backbone import Backbone\nclass Own(Backbone):\n    def __init__(self): ...\n"
            "    def forward(self, packed, token_vectors=None): ...\n",
            "cannot be built: TypeError",
        ),
        ("from engine.models.backbone import Backbone\nclass Own(Backbone):\n    pass\n", "cannot be built: TypeError"),
    ],
    ids=["no backbone", "import", "name", "syntax", "no embedding", "signature", "no forward"],
)
def test_a_file_that_is_no_backbone(tmp_path, text, words):
    path = tmp_path / "own.py"
    path.write_text(text)
    config = build_config({"backbone": f"{path}:Own"})
    with pytest.raises(ConfigError, match=words) as caught:
        build_backbone(config.model, items=5, max_length=3)
    assert str(path) in caught.value.message


WIDER = """
import torch
from torch import nn
from engine.models.backbone import Backbone

class Own(Backbone):
    def __init__(self, config, *, items, max_length):
        super().__init__(config, items=items, max_length=max_length)
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)
        self.second = nn.Parameter(torch.randn(items, config.width))

    def table(self):
        return torch.cat([self.item_embedding.weight[1:], self.second], 1)

    def forward(self, packed, token_vectors=None):
        vectors = self.item_embedding.weight[packed.items] if token_vectors is None else token_vectors
        return torch.cat([vectors, -vectors], 1)[packed.last][packed.restore]
"""


def test_items_may_have_a_table_of_their_own_wider_than_the_embeddings(tmp_path, make_dataset, small_config):
    path = tmp_path / "wider.py"
    path.write_text(WIDER)
    dataset = make_dataset()
    windows, ids = Windows(dataset, N), torch.from_numpy(dataset.anchors.ids(TRAIN))[:9]
    torch.manual_seed(0)
    config = small_config(backbone=f"{path}:Own", method="plain")
    model = Model(config, dataset=dataset, windows=windows, semantics=None)
    embeddings, second = model.backbone.item_embedding.weight, model.backbone.second
    rows = [embeddings[dataset.history(int(anchor), N)[-1]] for anchor in ids]
    expected = torch.stack([embeddings[1:] @ row - second @ row for row in rows])  # (B, V)
    torch.testing.assert_close(model.backbone.scores(model.backbone(windows.pack(ids))), expected)
    loss = F.cross_entropy(expected, windows.targets[ids] - 1)
    torch.testing.assert_close(model.losses(ids, windows).total, loss)
    ranks = rank_targets(model.backbone, windows, dataset, ids.numpy(), config.evaluate)
    own = expected.gather(1, windows.targets[ids][:, None] - 1)
    assert ranks.tolist() == (expected >= own).sum(1).tolist()


FORMER = """
import torch
from torch import nn
from engine.models.backbone import Backbone

class Own(Backbone):
    causal = pads = own_loss = True

    def __init__(self, config, *, items, max_length):
        super().__init__(config, items=items, max_length=max_length)
        self.item_embedding = nn.Embedding(items + 1, config.width, padding_idx=0)

    def forward(self, packed, token_vectors=None):
        assert packed.hidden is packed.padding_mask
        return self.at(packed, packed.last, token_vectors)[packed.restore]

    def at(self, packed, read, token_vectors=None):
        return self.item_embedding(packed.items[read])

class Heir(Own):
    own_loss = False

class New(Own):
    has_own_loss = False
    own_loss = True
"""


def test_a_file_with_the_former_names_of_flags_and_methods_is_still_understood(tmp_path, make_dataset):
    path = tmp_path / "former.py"
    path.write_text(FORMER)
    own, heir, new = (BACKBONES.load(f"{path}:{name}") for name in ("Own", "Heir", "New"))
    assert (own.has_own_loss, own.accepts_padding, own.causal) == (True, True, True)
    assert (heir.has_own_loss, heir.accepts_padding) == (False, True)
    assert not new.has_own_loss  # its own name wins
    dataset = make_dataset()
    model = build(f"{path}:Own", items=len(dataset.items))
    packed = Windows(dataset, N).pack(torch.from_numpy(dataset.anchors.ids(TRAIN)))
    torch.testing.assert_close(model.encode_at(packed, packed.last)[packed.restore], model(packed))
