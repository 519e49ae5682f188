"""What parts may ask for beyond what SRA-CL does: runs, both ways, every state, keys, no gradient - against dense references."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.config import ModelConfig
from engine.data.batching.padded_windows import PaddedWindows
from engine.data.batching.shared_windows import SharedWindows
from engine.data.batching.windows import Packed, Runs, Windows, lay_out
from engine.data.dataset import TRAIN, Dataset
from engine.errors import ConfigError
from engine.methods.base import States, Tokens, View
from engine.methods.encoding import encode_views
from engine.models.backbone import Backbone
from engine.models.bert4rec import BERT4Rec
from engine.models.gru4rec import GRU4Rec
from engine.models.ligr import LiGR
from engine.models.sasrec import SASRec
from tests.engine.conftest import _dataset, _norm, _plain_layer

N, ITEMS = 6, 24
KINDS = ["packed", "padded", "shared"]


def windows_of(kind: str, dataset: Dataset) -> Windows:
    if kind == "padded":
        return PaddedWindows(dataset, N, "cpu")
    return SharedWindows(dataset, N) if kind == "shared" else Windows(dataset, N)


def backbone_of(kind: type[Backbone], dropout: float = 0.0) -> Any:
    torch.manual_seed(3)
    config = ModelConfig(width=8, heads=2, inner=12, layers=2, dropout=dropout, attention_dropout=dropout)
    model = kind(config, items=ITEMS, max_length=N).double().train()
    with torch.no_grad():  # at 0.02 every hidden state is much the same
        model.item_embedding.weight.mul_(30)
    return model


@pytest.fixture
def dataset(make_dataset: Callable[..., Dataset]) -> Dataset:
    return make_dataset(items=ITEMS)


def dense(model: SASRec, sequences: Sequence[Sequence[int]], *, causal: bool) -> list[Tensor]:
    """The states (L, D) at every item of each sequence, as a textbook pads and masks them."""
    ids = torch.zeros(len(sequences), N, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, N - len(sequence) :] = torch.tensor(list(sequence))
    x = _norm(model.item_embedding.weight[ids] + model.position_embedding.weight, model.input_norm)
    hidden = (ids == 0)[:, None, None, :].expand(-1, 1, N, N)
    if causal:
        hidden = hidden | torch.ones(N, N, dtype=torch.bool).triu(1)
    for layer in model.layers:
        x = _plain_layer(layer, x, hidden)
    return [x[row, N - len(sequence) :] for row, sequence in enumerate(sequences)]


def items_of(dataset: Dataset, runs: Runs) -> list[list[int]]:
    source = torch.from_numpy(dataset.sequence.astype("int64")) if runs.source is None else runs.source
    return [
        source[start : start + length].tolist()
        for start, length in zip(runs.starts.tolist(), runs.lengths.tolist(), strict=True)
    ]


def windows_items(dataset: Dataset, ids: Tensor) -> list[list[int]]:
    return [dataset.history(anchor, N).tolist() for anchor in ids.tolist()]


def some_anchors(dataset: Dataset, count: int = 12) -> Tensor:
    ids = torch.from_numpy(dataset.anchors.ids(TRAIN))
    return ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(2))][:count]


def some_runs(dataset: Dataset, *, source: bool, seed: int = 5, count: int = 9) -> Runs:
    generator = torch.Generator().manual_seed(seed)
    row = torch.randint(1, ITEMS + 1, (40,), generator=generator) if source else None
    size = len(dataset.sequence) if row is None else len(row)
    lengths = torch.randint(1, N + 1, (count,), generator=generator)
    starts = (torch.rand(count, generator=generator) * (size - lengths + 1)).long()
    return Runs(starts, lengths, row)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("causal", [True, False])
def test_runs_and_anchors_equal_the_dense_reference_last_and_at_every_item(
    dataset: Dataset, kind: str, causal: bool
) -> None:
    model, windows, ids = backbone_of(SASRec), windows_of(kind, dataset), some_anchors(dataset)
    runs = [some_runs(dataset, source=False), some_runs(dataset, source=True)]
    asked = [ids, *runs]
    expected = [
        dense(model, windows_items(dataset, one) if isinstance(one, Tensor) else items_of(dataset, one), causal=causal)
        for one in asked
    ]
    last = encode_views(model, [View(one, causal=causal) for one in asked], windows)
    every = encode_views(model, [View(one, causal=causal, read="every") for one in asked], windows)
    for number, (states, found, all_found) in enumerate(zip(expected, last, every, strict=True)):
        if not (kind == "shared" and causal and number == 0):  # there prefixes share windows, and positions are others
            torch.testing.assert_close(found, torch.stack([state[-1] for state in states]))
        assert isinstance(all_found, States)
        assert not all_found.edited.any()
        for row, state in enumerate(states):
            torch.testing.assert_close(all_found.hidden[all_found.rows == row], state)
        sequences = windows_items(dataset, ids) if number == 0 else items_of(dataset, runs[number - 1])
        for row, items in enumerate(sequences):
            assert all_found.items[all_found.rows == row].tolist() == items


@pytest.mark.parametrize("kind", [SASRec, GRU4Rec])
def test_the_state_at_an_item_is_that_of_the_prefix_that_ends_there(dataset: Dataset, kind: type[Backbone]) -> None:
    model, windows = backbone_of(kind), Windows(dataset, N)
    if isinstance(model, SASRec):
        with torch.no_grad():  # a prefix alone has other positions
            model.position_embedding.weight.zero_()
    runs = some_runs(dataset, source=True)
    (found,) = encode_views(model, [View(runs, read="every")], windows)
    assert isinstance(found, States)
    depths = [torch.arange(1, length + 1) for length in runs.lengths.tolist()]
    starts = torch.repeat_interleave(runs.starts, runs.lengths)
    (prefixes,) = encode_views(model, [View(Runs(starts, torch.cat(depths), runs.source))], windows)
    rows = torch.repeat_interleave(torch.arange(len(runs)), runs.lengths)
    for row in range(len(runs)):
        torch.testing.assert_close(found.hidden[found.rows == row], prefixes[rows == row])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_runs_are_encoded_alike_in_every_layout(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(st.integers(1, ITEMS), min_size=3, max_size=9), min_size=2, max_size=5))
    dataset = dataset_of(rows)
    source = torch.tensor(data.draw(st.lists(st.integers(1, ITEMS), min_size=N, max_size=20)))
    views = []
    for row in data.draw(st.lists(st.sampled_from([None, source]), min_size=1, max_size=3)):
        size = len(dataset.sequence) if row is None else len(row)
        pairs = data.draw(
            st.lists(
                st.integers(1, N).flatmap(lambda n, size=size: st.tuples(st.integers(0, size - n), st.just(n))),
                min_size=1,
                max_size=6,
            )
        )
        starts, lengths = (torch.tensor(side) for side in zip(*pairs, strict=True))
        views.append(View(Runs(starts, lengths, row)))
    model = backbone_of(SASRec)
    found = [encode_views(model, views, windows_of(kind, dataset)) for kind in KINDS]
    for packed, padded, shared in zip(*found, strict=True):
        torch.testing.assert_close(packed, padded)
        torch.testing.assert_close(packed, shared)


def dataset_of(rows: list[list[int]]) -> Dataset:
    return _dataset(rows, items=ITEMS, times=None, name="small")


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_changes_its_own_views_alone_and_says_where(dataset: Dataset, kind: str) -> None:
    model, windows, ids = backbone_of(SASRec), windows_of(kind, dataset), some_anchors(dataset)

    def swap(tokens: Tokens) -> Tokens:
        changed = tokens.mine & (tokens.items % 2 == 0)
        return replace(tokens, items=torch.where(changed, tokens.items - 1, tokens.items))

    def mask(tokens: Tokens) -> Tokens:
        changed = tokens.mine & (tokens.items % 3 == 0)
        return replace(tokens, vectors=torch.where(changed[:, None], torch.ones(8).double(), tokens.embedded()))

    plain, swapped, masked = encode_views(
        model,
        [View(ids, read="every"), View(ids, read="every", edit=swap), View(ids, read="every", edit=mask)],
        windows,
    )
    for one, by in ((plain, None), (swapped, 2), (masked, 3)):
        assert isinstance(one, States)
        assert torch.equal(one.edited, one.items % by == 0 if by else torch.zeros_like(one.edited))
    swapped_items = [[item - (item % 2 == 0) for item in items] for items in windows_items(dataset, ids)]
    for row, (state, before) in enumerate(
        zip(
            dense(model, swapped_items, causal=True),
            dense(model, windows_items(dataset, ids), causal=True),
            strict=True,
        )
    ):
        torch.testing.assert_close(swapped.hidden[swapped.rows == row], state)
        torch.testing.assert_close(plain.hidden[plain.rows == row], before)
    assert not torch.allclose(masked.hidden, plain.hidden)


@pytest.mark.parametrize("kind", KINDS)
def test_edited_items_and_the_last_are_read_where_no_more_is_wanted(dataset: Dataset, kind: str) -> None:
    model, windows, ids = backbone_of(SASRec), windows_of(kind, dataset), some_anchors(dataset)
    runs = some_runs(dataset, source=True)

    def mask(tokens: Tokens) -> Tokens:
        changed = tokens.mine & (tokens.items % 3 == 0)
        return replace(tokens, vectors=torch.where(changed[:, None], torch.ones(8).double(), tokens.embedded()))

    views = [View(ids, edit=mask, key="a"), View(runs, edit=mask), View(runs)]
    every, few = (
        encode_views(model, [replace(view, read=read) for view in views], windows) for read in ("every", "edited")
    )
    for view, whole, found in zip(views, every, few, strict=True):
        assert isinstance(whole, States)
        assert isinstance(found, States)
        count = len(view)
        chosen = whole.edited.clone()
        chosen[whole.last_tokens(count)] = True
        assert 0 < int(chosen.sum()) < len(chosen)
        assert bool(whole.edited.any()) == (view.edit is not None)
        torch.testing.assert_close(found.hidden, whole.hidden[chosen])
        for name in ("rows", "items", "edited"):
            assert torch.equal(getattr(found, name), getattr(whole, name)[chosen])
        torch.testing.assert_close(found.last(count), whole.last(count))
    if kind != "shared":  # each wants what the others do, and what more there is
        wanted = [View(ids, key="a", read=read) for read in ("last", "edited", "every")]
        for asked in (wanted[:2], wanted[1::-1], [*wanted, views[0]]):
            found = encode_views(model, [replace(asked[0], edit=mask), *asked[1:]], windows)
            for view, states in zip(asked, found, strict=True):
                if view.read == "last":
                    torch.testing.assert_close(states, every[0].last(len(ids)))
                else:
                    assert len(states.rows) == len((every if len(asked) == 4 else few)[0].rows)
    else:
        with pytest.raises(ConfigError, match="prefixes that share windows cannot be"):
            encode_views(model, [View(ids, key="a"), View(ids, key="a", read="edited")], windows)


@settings(max_examples=20, deadline=None)
@given(data=st.data(), kind=st.sampled_from([SASRec, LiGR, GRU4Rec]))
def test_few_tokens_are_encoded_as_among_all(data: st.DataObject, kind: type[Backbone]) -> None:
    lengths = data.draw(st.lists(st.integers(1, N), min_size=1, max_size=5))
    model, count = backbone_of(kind), sum(lengths)
    items = torch.tensor(data.draw(st.lists(st.integers(1, ITEMS), min_size=count, max_size=count)))
    ends = torch.tensor(lengths).cumsum(0)
    packed = lay_out(items, ends - torch.tensor(lengths), torch.tensor(lengths), N)
    more = data.draw(st.lists(st.integers(0, count - 1), max_size=6))
    indices = torch.cat([packed.last, torch.tensor(more, dtype=torch.long)]).unique()
    vectors = torch.randn(count, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    found = []
    for encode in (model.encode_at, model.encode_few):
        given = vectors.clone().requires_grad_()
        hidden = encode(packed, indices, given)
        model.zero_grad()
        (hidden * torch.arange(1.0, 9.0)).square().sum().backward()
        found.append([hidden, given.grad, *(value.grad for value in model.parameters() if value.grad is not None)])
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-8)


def test_a_class_with_its_own_way_to_encode_at_items_is_asked_for_few_of_them_too(dataset: Dataset) -> None:
    class Other(SASRec):
        def encode_at(self, packed: Packed, indices: Tensor, token_vectors: Tensor | None = None) -> Tensor:
            return super().encode_at(packed, indices, token_vectors) + 1

    model, packed = backbone_of(Other), Windows(dataset, N).pack(some_anchors(dataset))
    assert torch.equal(model.encode_few(packed, packed.last), model.encode_at(packed, packed.last))


def test_views_of_one_key_are_encoded_once(dataset: Dataset) -> None:
    model, windows, ids = backbone_of(SASRec, dropout=0.5), Windows(dataset, N), some_anchors(dataset)
    encoded = []
    model.register_forward_hook(lambda module, args, output: encoded.append(len(output)))
    one, again, alone, other = encode_views(
        model, [View(ids, key="a"), View(ids, key="a"), View(ids), View(ids, key="b")], windows
    )
    assert one is again
    assert encoded == [3 * len(ids)]
    assert not torch.allclose(one, alone)
    assert not torch.allclose(one, other)
    for different in (View(ids, key="a", grad=False), View(ids, key="a", causal=False)):
        with pytest.raises(ConfigError, match="views with the key 'a' differ in causal or grad"):
            encode_views(model, [View(ids, key="a"), different], windows)


@pytest.mark.parametrize("kind", KINDS)
def test_views_of_one_key_share_an_edit_and_what_is_read(dataset: Dataset, kind: str) -> None:
    model, windows, ids = backbone_of(SASRec), windows_of(kind, dataset), some_anchors(dataset)
    runs = windows.anchor_runs(ids)

    def swap(tokens: Tokens) -> Tokens:
        changed = tokens.mine & (tokens.items % 2 == 0)
        return replace(tokens, items=torch.where(changed, tokens.items - 1, tokens.items))

    def other(tokens: Tokens) -> Tokens:
        return tokens

    edited, plain = encode_views(model, [View(runs, read="every", edit=swap), View(runs)], windows)
    assert isinstance(edited, States)
    encoded = []
    model.register_forward_hook(lambda module, args, output: encoded.append(1))
    for asked in (
        [View(runs, key="a"), View(runs, key="a", edit=swap, read="every"), View(runs)],
        [View(runs, key="a", edit=swap, read="every"), View(runs, key="a", edit=swap), View(runs)],
        [View(runs, key="a", edit=swap), View(runs, key="a", read="every"), View(runs)],
    ):
        found = encode_views(model, asked, windows)
        torch.testing.assert_close(found[2], plain)
        for view, states in zip(asked[:2], found, strict=False):
            if view.read == "every":
                assert isinstance(states, States)
                torch.testing.assert_close(states.hidden, edited.hidden)
                assert torch.equal(states.edited, edited.edited)
            else:
                torch.testing.assert_close(states, edited.last(len(ids)))
    assert not torch.allclose(edited.last(len(ids)), plain)
    with pytest.raises(ConfigError, match="views with the key 'a' have two edits"):
        encode_views(model, [View(runs, key="a", edit=swap), View(runs, key="a", edit=other)], windows)
    if kind == "shared":
        for reads in (("last", "every"), ("every", "last")):
            with pytest.raises(ConfigError, match="prefixes that share windows cannot be"):
                encode_views(model, [View(ids, key="a", read=read) for read in reads], windows)
    else:
        last, every = encode_views(model, [View(ids, key="a"), View(ids, key="a", read="every")], windows)
        assert isinstance(every, States)
        torch.testing.assert_close(last, plain)
        torch.testing.assert_close(every.last(len(ids)), plain)


def test_a_view_without_gradient_has_the_values_and_no_graph(dataset: Dataset) -> None:
    model, windows, ids = backbone_of(SASRec), Windows(dataset, N), some_anchors(dataset)
    free, fixed = encode_views(model, [View(ids), View(ids, grad=False)], windows)
    assert free.requires_grad
    assert not fixed.requires_grad
    torch.testing.assert_close(free, fixed)
    (none,) = encode_views(model, [View(ids)], windows, grad=False)
    assert not none.requires_grad
    (free**2).sum().backward()
    expected = model.item_embedding.weight.grad.clone()
    model.zero_grad()
    free, fixed = encode_views(model, [View(ids), View(ids, grad=False)], windows)
    (free * fixed).sum().backward()
    torch.testing.assert_close(model.item_embedding.weight.grad * 2, expected)


def test_what_a_backbone_cannot_give_is_refused(dataset: Dataset) -> None:
    windows, ids = Windows(dataset, N), some_anchors(dataset)
    with pytest.raises(ConfigError, match="GRU4Rec cannot see a sequence both ways"):
        encode_views(backbone_of(GRU4Rec), [View(ids, causal=False)], windows)
    with pytest.raises(ConfigError, match="BERT4Rec gives no state at every item"):
        encode_views(backbone_of(BERT4Rec), [View(ids, read="every")], windows)
    model = backbone_of(BERT4Rec)
    both, plain = encode_views(model, [View(ids, causal=False), View(ids)], windows)
    torch.testing.assert_close(both, plain)
    assert math.isfinite(float(both.detach().sum()))
