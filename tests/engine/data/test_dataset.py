"""A dataset's anchors, roles and masks against loops, what its hash depends on, and that no training looks ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.dataset import ROLES, TEST, TRAIN, VALID, Dataset, Items
from engine.errors import DataError

SEQUENCES = [[1, 2, 3, 4, 5], [6], [], [5, 4], [3, 2, 1], [2, 2, 2, 2]]


def slow_anchors(sequences):
    """(user, position, prefix, target, role) of every prefix."""
    found = []
    for user, sequence in enumerate(sequences, 1):
        for position in range(1, len(sequence)):
            left = len(sequence) - position
            role = {1: TEST, 2: VALID}.get(left, TRAIN) if len(sequence) >= 3 else TRAIN
            found.append((user, position, sequence[:position], sequence[position], role))
    return found


def fast_anchors(dataset):
    anchors = dataset.anchors
    columns = (anchors.user_ids, anchors.positions, anchors.targets, anchors.roles)
    return [
        (user, position, dataset.history(row + 1).tolist(), target, role)
        for row, (user, position, target, role) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
    ]


def test_anchors_by_hand(dataset_of):
    dataset = dataset_of(SEQUENCES, items=6)
    assert fast_anchors(dataset) == [
        (1, 1, [1], 2, TRAIN),
        (1, 2, [1, 2], 3, TRAIN),
        (1, 3, [1, 2, 3], 4, VALID),
        (1, 4, [1, 2, 3, 4], 5, TEST),
        (4, 1, [5], 4, TRAIN),
        (5, 1, [3], 2, VALID),
        (5, 2, [3, 2], 1, TEST),
        (6, 1, [2], 2, TRAIN),
        (6, 2, [2, 2], 2, VALID),
        (6, 3, [2, 2, 2], 2, TEST),
    ]
    anchors = dataset.anchors
    assert len(anchors) == 10
    assert [anchors.ids(role).tolist() for role in (TRAIN, VALID, TEST)] == [[1, 2, 5, 8], [3, 6, 9], [4, 7, 10]]
    assert anchors.representing.tolist() == [2, 5, 8]
    assert (ROLES[TRAIN], ROLES[VALID], ROLES[TEST]) == ("train", "valid", "test")


def test_masks_by_hand(dataset_of):
    times = [1, 2, 3, 4, 4, 9, 1, 1, 5, 5, 6, 0, 0, 0, 0]
    dataset = dataset_of(SEQUENCES, items=6, times=times)
    expected = [True] * 3 + [False] * 2 + [True] + [True] * 2 + [True, False, False] + [True, True, False, False]
    assert dataset.train_mask.tolist() == expected
    assert dataset.train_counts.tolist() == [0, 1, 3, 2, 1, 1, 1]
    assert dataset.lengths.tolist() == [5, 1, 0, 2, 3, 4]
    assert dataset.tied.tolist() == [True, False, False, False, False, True]
    assert replace(dataset, timestamps=None).tied.tolist() == [False] * 6


def test_history_takes_the_last_items(dataset_of):
    dataset = dataset_of(SEQUENCES, items=6)
    assert dataset.history(4).tolist() == [1, 2, 3, 4]
    assert dataset.history(4, 2).tolist() == [3, 4]
    assert dataset.history(4, 9).tolist() == [1, 2, 3, 4]
    assert dataset.history(5, 1).tolist() == [5]


def test_a_dataset_without_prefixes(dataset_of):
    dataset = dataset_of([[1], [2], []])
    assert len(dataset.anchors) == 0
    assert dataset.anchors.representing.tolist() == []
    assert dataset.train_mask.all()


sequences_strategy = st.lists(st.lists(st.integers(1, 9), max_size=8), min_size=1, max_size=8).filter(any)


@given(sequences_strategy)
def test_anchors_equal_the_loop(sequences):
    dataset = built(sequences)
    assert fast_anchors(dataset) == slow_anchors(sequences)
    last = {user: row for row, (user, *_, role) in enumerate(slow_anchors(sequences), 1) if role == TRAIN}
    assert dataset.anchors.representing.tolist() == list(last.values())


@given(sequences_strategy)
def test_no_training_prefix_or_target_sees_its_users_validation_or_test(sequences):
    # Items are made unique to their interaction, so that a leak cannot hide behind an item bought twice.
    unique, number = [], 0
    for sequence in sequences:
        unique.append(list(range(number + 1, number + len(sequence) + 1)))
        number += len(sequence)
    dataset = built(unique, items=number)
    held_out = {user: set(sequence[-2:]) if len(sequence) >= 3 else set() for user, sequence in enumerate(unique, 1)}
    trained = set()
    for anchor in dataset.anchors.ids(TRAIN).tolist():
        user, target = int(dataset.anchors.user_ids[anchor - 1]), int(dataset.anchors.targets[anchor - 1])
        seen = {*dataset.history(anchor).tolist(), target}
        assert not seen & held_out[user]
        trained |= seen
    assert not trained & set(dataset.sequence[~dataset.train_mask].tolist())
    assert set(dataset.sequence[~dataset.train_mask].tolist()) == set().union(*held_out.values())
    for role, place in ((VALID, -2), (TEST, -1)):  # and every user of three or more is measured once, on the right item
        ids = dataset.anchors.ids(role)
        users = dataset.anchors.user_ids[ids - 1].tolist()
        targets = dataset.anchors.targets[ids - 1].tolist()
        assert dict(zip(users, targets, strict=True)) == {u: s[place] for u, s in enumerate(unique, 1) if len(s) >= 3}
        assert len(users) == len(set(users))


@given(sequences_strategy, st.integers(1, 9))
def test_first_users(sequences, count):
    dataset, first = built(sequences), built(sequences)
    if not any(sequences[:count]):
        return
    first = dataset.first_users(count)
    assert first.users == min(count, dataset.users)
    assert fast_anchors(first) == slow_anchors(sequences[:count])
    assert len(first.items) == len(dataset.items)
    assert (first.sha256 == dataset.sha256) == (count >= len(sequences))


def test_first_users_of_all(make_dataset):
    dataset = make_dataset(users=5)
    assert dataset.first_users(None) is dataset
    assert dataset.first_users(5) is dataset
    assert dataset.first_users(6) is dataset
    part = dataset.first_users(2)
    assert part.timestamps is not None
    assert len(part.timestamps) == len(part.sequence)
    assert part.user_raw_ids == ["u1", "u2"]


def built(sequences, items=9):
    return Dataset(
        name="x",
        user_raw_ids=[str(user) for user in range(len(sequences))],
        items=Items(raw_ids=[str(i) for i in range(items)], titles=[""] * items, attributes=[{} for _ in range(items)]),
        sequence=np.array([item for sequence in sequences for item in sequence], np.int32),
        offsets=np.cumsum([0, *map(len, sequences)]).astype(np.int64),
        timestamps=None,
    )


# The hash


def changed(dataset):
    """Datasets that differ from the given one in one thing of what a training sees."""
    items = dataset.items
    yield "item", replace(dataset, sequence=np.where(np.arange(len(dataset.sequence)) == 3, 7, dataset.sequence))
    yield "order", replace(dataset, sequence=dataset.sequence[::-1].copy())
    yield "time", replace(dataset, timestamps=dataset.timestamps + 1)
    yield "no times", replace(dataset, timestamps=None)
    yield "border", replace(dataset, offsets=dataset.offsets + (np.arange(len(dataset.offsets)) == 2))
    yield "user", replace(dataset, user_raw_ids=["other", *dataset.user_raw_ids[1:]])
    yield "raw id", replace(dataset, items=replace(items, raw_ids=["other", *items.raw_ids[1:]]))
    yield "title", replace(dataset, items=replace(items, titles=["other", *items.titles[1:]]))
    yield "text", replace(dataset, items=replace(items, attributes=[{"brand": ["other"]}, *items.attributes[1:]]))
    yield "field", replace(dataset, items=replace(items, attributes=[{"maker": ["Brand 1"]}, *items.attributes[1:]]))


def test_hash_changes_with_the_content(make_dataset):
    dataset = make_dataset(users=6, shortest=3)
    hashes = {what: other.sha256 for what, other in changed(dataset)}
    assert len({dataset.sha256, *hashes.values()}) == len(hashes) + 1
    assert dataset.dataset_id == dataset.sha256[:16]


def test_hash_does_not_change_with_name_options_or_integer_size(make_dataset):
    dataset = make_dataset(users=6)
    same = replace(dataset, name="other", options={"ties": "shuffled"}, sequence=dataset.sequence.astype(np.int64))
    assert same.sha256 == dataset.sha256


def test_item_texts(dataset_of):
    items = Items(
        raw_ids=["a", "b", "c"],
        titles=["Pen", "", ""],
        attributes=[{"brand": ["Bic"], "category": ["Office", "Pens"]}, {"brand": ["Bic"]}, {}],
    )
    assert items.texts == ["Pen. brand: Bic. category: Office, Pens", "brand: Bic", ""]
    assert len(items) == 3


@pytest.mark.parametrize(("sequence", "message"), [([], "no interactions"), ([0, 1], "outside 1..3"), ([4], "outside")])
def test_what_is_no_dataset(sequence, message):
    with pytest.raises(DataError, match=message):
        built([sequence], items=3)
