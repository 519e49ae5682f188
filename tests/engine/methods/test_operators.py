"""Laws of the operators that augment sequences: counts, runs, multisets, and even draws."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.methods import operators
from engine.methods.operators import Rows

N = 8


@st.composite
def batches(draw):
    """Rows of different items, one of one item among them, counts for an operator, and a seed."""
    lengths = [1, *draw(st.lists(st.integers(1, N), min_size=1, max_size=12))]
    counts = [draw(st.integers(0, length)) for length in lengths]
    torch.manual_seed(draw(st.integers(0, 99)))
    items = torch.stack([torch.randperm(50)[:N] + 1 for _ in lengths])
    return Rows.of(items, torch.tensor(lengths)), torch.tensor(counts)


def lists(rows):
    """Items, and whether each is masked, row by row; behind them there is nothing."""
    found = []
    for items, length, masked in zip(rows.items.tolist(), rows.lengths.tolist(), rows.masked.tolist(), strict=True):
        assert 1 <= length <= N
        assert not any(items[length:])
        assert not any(masked[length:])
        found.append((items[:length], masked[:length]))
    return found


@settings(max_examples=80, deadline=None)
@given(batches())
def test_crop_keeps_a_run(batch):
    rows, counts = batch
    for (before, _), (after, masked), count in zip(
        lists(rows), lists(operators.crop(rows, counts)), counts.tolist(), strict=True
    ):
        assert len(after) == max(count, 1)
        begin = before.index(after[0])
        assert before[begin : begin + len(after)] == after
        assert not any(masked)


@settings(max_examples=80, deadline=None)
@given(batches())
def test_mask_hides_as_many_places_as_it_is_told(batch):
    rows, counts = batch
    for (before, _), (after, masked), count in zip(
        lists(rows), lists(operators.mask(rows, counts)), counts.tolist(), strict=True
    ):
        assert after == before
        assert sum(masked) == count


@settings(max_examples=80, deadline=None)
@given(batches(), st.sampled_from([0.0, 0.3, 1.0]))
def test_mask_last_hides_the_last_place_and_others_by_chance(batch, share):
    rows, _ = batch
    for (before, _), (after, masked) in zip(lists(rows), lists(operators.mask_last(rows, share)), strict=True):
        assert after == before
        assert masked[-1]
        assert share not in (0.0, 1.0) or masked[:-1] == [share == 1.0] * (len(before) - 1)


@settings(max_examples=80, deadline=None)
@given(batches(), st.integers(0, 20))
def test_a_segment_its_surroundings_and_another_in_its_place(batch, more):
    rows, _ = batch
    source = torch.arange(N // 2 + more) + 100
    for (before, _), *views in zip(lists(rows), *map(lists, operators.segments(rows, source)), strict=True):
        context, positive, negative = views
        assert context[0] == positive[0] == before
        if len(before) == 1:
            assert context == positive == negative == (before, [False])
            continue
        inside = [place for place, hidden in enumerate(context[1]) if hidden]
        assert 1 <= len(inside) <= len(before) // 2
        assert inside == list(range(inside[0], inside[-1] + 1))
        assert positive[1] == negative[1] == [not hidden for hidden in context[1]]
        other = [negative[0][place] for place in inside]
        assert other == list(range(other[0], other[0] + len(inside)))
        assert all(100 <= item < 100 + len(source) for item in other)
        assert [item for item in negative[0] if item < 100] == [
            item for place, item in enumerate(before) if place not in inside
        ]


@settings(max_examples=80, deadline=None)
@given(batches(), st.integers(1, 60))
def test_an_item_outside_is_one_that_the_row_does_not_hold(batch, total):
    rows, _ = batch
    rows = Rows.of(rows.items.clamp(max=total), rows.lengths)  # with repeats
    drawn, there = operators.draw_outside(rows, total)
    assert drawn.shape == rows.items.shape
    for (items, _), others, some in zip(lists(rows), drawn.tolist(), there.tolist(), strict=True):
        free = set(range(1, total + 1)) - set(items)
        assert some == bool(free)
        assert not some or set(others) <= free
        assert all(1 <= item <= total for item in others)


@settings(max_examples=80, deadline=None)
@given(batches())
def test_reorder_permutes_one_run(batch):
    rows, counts = batch
    for (before, _), (after, masked), count in zip(
        lists(rows), lists(operators.reorder(rows, counts)), counts.tolist(), strict=True
    ):
        assert Counter(after) == Counter(before)
        assert not any(masked)
        moved = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        assert not moved or moved[-1] - moved[0] < count


SIMILAR = torch.cat([torch.zeros(1, dtype=torch.long), torch.arange(1, 51) + 100])


@settings(max_examples=80, deadline=None)
@given(batches())
def test_insert_puts_similar_items_before_others(batch):
    rows, counts = batch
    for (before, _), (after, masked), count in zip(
        lists(rows), lists(operators.insert(rows, counts, SIMILAR)), counts.tolist(), strict=True
    ):
        assert len(after) == min(len(before) + count, N)
        kept = [item for item in after if item <= 100]
        assert kept == before[len(before) - len(kept) :], "the last items stay in order"
        new = [place for place, item in enumerate(after) if item > 100]
        assert all(after[place] == after[place + 1] + 100 for place in new)
        assert len(new) == count or len(before) + count > N
        assert not any(masked)


@settings(max_examples=80, deadline=None)
@given(batches())
def test_substitute_puts_similar_items_in_their_place(batch):
    rows, counts = batch
    for (before, _), (after, masked), count in zip(
        lists(rows), lists(operators.substitute(rows, counts, SIMILAR)), counts.tolist(), strict=True
    ):
        assert [item % 100 for item in after] == before
        assert sum(item > 100 for item in after) == count
        assert not any(masked)


def test_a_full_window_loses_its_first_items_to_those_that_are_inserted():
    rows = Rows.of(torch.arange(1, N + 1)[None], torch.tensor([N]))
    items = [item for old in range(5, 9) for item in (old + 100, old)]
    assert lists(operators.insert(rows, torch.tensor([N]), SIMILAR))[0][0] == items


def test_masks_move_with_their_items():
    rows = operators.mask(Rows.of(torch.arange(1, N + 1).repeat(50, 1), torch.full((50,), N)), torch.full((50,), 3))
    hidden = [{item for item, masked in zip(*row, strict=True) if masked} for row in lists(rows)]
    insert = partial(operators.insert, similar=SIMILAR)
    for operator in (operators.crop, operators.reorder, insert):
        for before, (items, masked) in zip(hidden, lists(operator(rows, torch.full((50,), 5))), strict=True):
            assert {item for item, hides in zip(items, masked, strict=True) if hides} == before & set(items)


def evenly(counts, total):
    expected = total / len(counts)
    return all(abs(count - expected) < 5 * expected**0.5 for count in counts)


@pytest.mark.parametrize("length", [1, 5])
def test_draws_are_even(length):
    torch.manual_seed(1)
    total = 8000
    rows = Rows.of(torch.arange(1, N + 1).repeat(total, 1), torch.full((total,), length))
    two = torch.full((total,), min(2, length))
    starts = Counter(items[0] for items, _ in lists(operators.crop(rows, two)))
    assert sorted(starts) == list(range(1, max(length - 1, 1) + 1))
    assert evenly(starts.values(), total)
    masked = Counter(tuple(masked) for _, masked in lists(operators.mask(rows, two)))
    assert len(masked) == {1: 1, 5: 10}[length]
    assert evenly(masked.values(), total)
    whole = Counter(tuple(items) for items, _ in lists(operators.reorder(rows, two)))
    unchanged = whole.pop(tuple(range(1, length + 1)))
    assert len(whole) == max(length - 1, 0)  # one swap of neighbors for each start
    assert length == 1 or (evenly([unchanged, total - unchanged], total) and evenly(whole.values(), total - unchanged))


def test_draws_of_a_pretraining_are_even():
    torch.manual_seed(1)
    total = 8000
    rows = Rows.of(torch.tensor([[3, 1, 3, 6, 0, 0, 0, 0]]).repeat(total, 1), torch.full((total,), 4))
    masked = Counter(tuple(masked) for _, masked in lists(operators.mask_last(rows, 0.5)))
    assert len(masked) == 8
    assert evenly(masked.values(), total)
    context, _, negative = map(lists, operators.segments(rows, torch.arange(11, 15)))
    hidden = Counter(tuple(place for place, hides in enumerate(masked) if hides) for _, masked in context)
    short, long = ([hidden.pop(run) for run in list(hidden) if len(run) == size] for size in (1, 2))
    assert (len(short), len(long), len(hidden)) == (4, 3, 0)
    assert evenly([sum(short), sum(long)], total)
    assert evenly(short, sum(short))
    assert evenly(long, sum(long))
    alone = Counter(
        items[0]
        for (items, _), (_, around) in zip(negative, context, strict=True)
        if around == [True, False, False, False]
    )
    assert sorted(alone) == [11, 12, 13, 14]
    assert evenly(alone.values(), alone.total())
    drawn, _ = operators.draw_outside(rows, 7)
    others = Counter(drawn.flatten().tolist())
    assert sorted(others) == [2, 4, 5, 7]
    assert evenly(others.values(), others.total())


def test_draws_do_not_reach_beyond_their_last_value(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.ones(size[0] if isinstance(size[0], tuple) else size))
    rows, four = Rows.of(torch.arange(1, N + 1)[None], torch.tensor([6])), torch.tensor([4])
    assert lists(operators.crop(rows, four))[0][0] == [3, 4, 5, 6]
    assert lists(operators.reorder(rows, four))[0][0] == [1, 2, 3, 4, 5, 6]
    assert [items for ((items, _),) in map(lists, operators.segments(rows, torch.arange(11, 15)))][2] == [
        1,
        2,
        3,
        12,
        13,
        14,
    ]
    assert operators.draw_outside(rows, 9)[0].tolist() == [[9] * N]


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.29, 0.3, 0.6, 0.7, 1.0])
def test_amounts_are_rounded_down_as_python_does(ratio):
    lengths = torch.arange(1, 101)
    for least in (0, 1):
        found = operators.amounts(ratio, lengths, window=100, least=least).tolist()
        assert found == [max(int(ratio * length), least) for length in range(1, 101)]


def test_short_rows_have_operators_of_their_own():
    lengths = torch.tensor([1, 3, 4, 8])
    found = operators.allowed_operators(lengths, [[0, 1], [2]], short_length=3, total=4)
    assert found.tolist() == [[False, False, True, False]] * 2 + [[True, True, False, False]] * 2


def test_choices():
    torch.manual_seed(1)
    total = 9000
    allowed = torch.tensor([[True, True, False, True]]).repeat(total, 1)
    pairs = {
        kind: Counter(zip(*(side.tolist() for side in kind(allowed)), strict=True))
        for kind in (operators.choose_different, operators.choose_independent)
    }
    different, independent = pairs.values()
    assert sorted(different) == [(a, b) for a in (0, 1, 3) for b in (0, 1, 3) if a != b]
    assert sorted(independent) == [(a, b) for a in (0, 1, 3) for b in (0, 1, 3)]
    assert evenly(different.values(), total)
    assert evenly(independent.values(), total)
