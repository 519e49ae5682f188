"""Ranks of models trained elsewhere: right where the file fits the data set, and refused with the row where it does not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.dataset import TEST, VALID
from engine.data.foreign_ranks import Columns, read_ranks
from engine.errors import DataError

AGAIN = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(users=12, items=9, shortest=2, longest=7)


def rows_of(dataset, role=TEST):
    """Raw user, raw target, rank of every user of a split."""
    anchors = dataset.anchors.ids(role) - 1
    users, targets = dataset.anchors.user_ids[anchors], dataset.anchors.targets[anchors]
    rng = np.random.default_rng(1)
    return [
        (
            dataset.user_raw_ids[user - 1],
            dataset.items.raw_ids[target - 1],
            int(rng.integers(1, len(dataset.items) + 1)),
        )
        for user, target in zip(users, targets, strict=True)
    ]


def write(folder: Path, heads, rows, *, name="ranks.csv", delimiter=","):
    path = folder / name
    path.write_text("\n".join(delimiter.join(map(str, row)) for row in (heads, *rows)) + "\n")
    return path


@AGAIN
@given(
    order=st.randoms(use_true_random=False),
    kind=st.sampled_from(["csv", "tsv", "parquet", "typed"]),
    target=st.booleans(),
)
def test_ranks_are_those_of_the_file_in_any_order_and_form(tmp_path, dataset, order, kind, target):
    rows = rows_of(dataset)
    expected = [rank for _, _, rank in rows]
    order.shuffle(rows)
    heads = ["user_id", "item_id", "rank"]
    if not target:
        heads, rows = ["user_id", "rank"], [(user, rank) for user, _, rank in rows]
    if kind == "parquet":
        path = tmp_path / "ranks.parquet"
        pq.write_table(pa.table(dict(zip(heads, map(list, zip(*rows, strict=True)), strict=True))), path)
    elif kind == "typed":
        typed = [f"{head}:{'float' if head == 'rank' else 'token'}" for head in heads]
        path = write(tmp_path, typed, rows, name="ranks.inter", delimiter="\t")
    else:
        path = write(tmp_path, heads, rows, name=f"ranks.{kind}", delimiter="\t" if kind == "tsv" else ",")
    found = read_ranks(path, dataset)
    assert found.form == "ranks"
    assert found.ranks.tolist() == expected
    assert found.user_ids.tolist() == dataset.anchors.user_ids[dataset.anchors.ids(TEST) - 1].tolist()


@AGAIN
@given(
    seed=st.integers(0, 99), levels=st.integers(1, 6), depth=st.integers(1, 9), ties=st.sampled_from(["worst", "best"])
)
def test_ranks_of_scores_are_counted_as_in_a_sorted_list(tmp_path, dataset, seed, levels, depth, ties):
    rng = np.random.default_rng(seed)
    rows, expected, unlisted = [], [], 0
    for user, target, _ in rows_of(dataset):
        scores = dict(zip(dataset.items.raw_ids, rng.integers(0, levels, len(dataset.items)).tolist(), strict=True))
        listed = sorted(scores, key=scores.get, reverse=True)[:depth]
        rows += [(user, item, scores[item]) for item in listed]
        if target in listed:
            same = [item for item in listed if scores[item] == scores[target]]
            higher = [item for item in listed if scores[item] > scores[target]]
            expected.append(len(higher) + (len(same) if ties == "worst" else 1))
        else:
            expected.append(len(dataset.items))
            unlisted += 1
    rng.shuffle(rows)
    found = read_ranks(write(tmp_path, ("user_id", "item_id", "score"), rows), dataset, ties=ties)
    assert found.ranks.tolist() == expected
    assert (found.form, found.depth, found.unlisted) == ("scores", depth, unlisted)


def test_seen_items_may_be_scored_minus_infinity_and_no_other_word(tmp_path, dataset):
    rows = [(user, item, "-inf" if place else 1.5) for user, item, _ in rows_of(dataset) for place, item in [(0, item)]]
    other = {user: next(raw for raw in dataset.items.raw_ids if raw != item) for user, item, _ in rows_of(dataset)}
    rows += [(user, item, "-inf") for user, item in other.items()]
    assert set(read_ranks(write(tmp_path, ("user", "item", "score"), rows), dataset).ranks.tolist()) == {1}
    rows[3] = (*rows[3][:2], "high")
    with pytest.raises(DataError, match=r"ranks.csv:5.*'high' is no number"):
        read_ranks(write(tmp_path, ("user", "item", "score"), rows), dataset)


def changed(rows, place, column, value):
    rows = [list(row) for row in rows]
    rows[place][column] = value
    return rows


BAD = {
    "unknown user": (lambda r, d: changed(r, 2, 0, "nobody"), r"ranks.csv:4.*no user 'nobody'"),
    "unknown item": (lambda r, d: changed(r, 2, 1, "nothing"), r"ranks.csv:4.*no item 'nothing'"),
    "other target": (
        lambda r, d: changed(r, 1, 1, next(raw for raw in d.items.raw_ids if raw != r[1][1])),
        r"ranks.csv:3.*tested on another split",
    ),
    "rank 0": (lambda r, d: changed(r, 0, 2, 0), r"ranks.csv:2.*rank 0 is no whole number.*count from 0"),
    "too large": (lambda r, d: changed(r, 0, 2, 10), "rank 10 is no whole number from 1 to 9"),
    "half": (lambda r, d: changed(r, 0, 2, 1.5), "rank 1.5 is no whole number"),
    "word": (lambda r, d: changed(r, 0, 2, "first"), "'first' is no number"),
    "empty": (lambda r, d: changed(r, 0, 2, ""), "'' is no number"),
    "twice": (lambda r, d: [*r, r[0]], "second rank"),
    "missing": (lambda r, d: r[1:], r"1 of \d+ users are missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_does_not_fit_is_refused_with_the_row(tmp_path, dataset, case):
    spoil, message = BAD[case]
    path = write(tmp_path, ("user_id", "item_id", "rank"), spoil(rows_of(dataset), dataset))
    with pytest.raises(DataError) as caught:
        read_ranks(path, dataset)
    assert re.search(message, " ".join(str(caught.value).split())), str(caught.value)


def test_validation_has_its_own_targets(tmp_path, dataset):
    path = write(tmp_path, ("user_id", "item_id", "rank"), rows_of(dataset, VALID))
    assert len(read_ranks(path, dataset, split="valid").ranks) == len(dataset.anchors.ids(VALID))
    with pytest.raises(DataError, match="the test target here is"):
        read_ranks(path, dataset)


def test_a_user_without_a_target_and_a_table_without_ranks_are_refused(tmp_path, make_dataset):
    dataset = make_dataset(users=12, items=9, shortest=1, longest=5)
    short = dataset.user_raw_ids[int(np.flatnonzero(dataset.lengths < 3)[0])]
    rows = [(user, rank) for user, _, rank in rows_of(dataset)]
    with pytest.raises(DataError, match=f"user '{short}' has no test target"):
        read_ranks(write(tmp_path, ("user_id", "rank"), [*rows, (short, 1)]), dataset)
    with pytest.raises(DataError, match="no column of ranks or scores"):
        read_ranks(write(tmp_path, ("user_id", "place"), rows), dataset)
    found = read_ranks(write(tmp_path, ("user_id", "place"), rows), dataset, columns=Columns(rank="place"))
    assert found.ranks.tolist() == [rank for _, rank in rows]
