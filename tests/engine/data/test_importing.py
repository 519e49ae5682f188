"""Imports: order, duplicates, filters, numbering, counts, and the real sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.data.dataset import TRAIN
from engine.data.importing import (
    OUTSIDE_CORE,
    REPEATED,
    TOO_OLD,
    TOO_SHORT,
    UNUSED_ITEMS,
    ImportOptions,
    import_dataset,
)
from engine.errors import DataError, StopRequested
from engine.events import StageFinished, StageProgress, StageStarted, Warned
from tests.support.commands import ROOT

REAL = ROOT / ".." / "shared" / "data"


@pytest.fixture
def load(tmp_path):
    """Imports rows (user, item, time) written as CSV."""

    def run(rows, *, items=None, **options):
        path = tmp_path / "rows.csv"
        path.write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
        if items is not None:
            options["items"] = tmp_path / "items.csv"
            options["items"].write_text("item,title\n" + "".join(f"{i},{title}\n" for i, title in items.items()))
        return import_dataset(path, name="x", options=ImportOptions(**options))

    return run


def sequences_of(dataset):
    """{raw user: [raw items]} in order of the user ids."""
    names = [dataset.items.raw_ids[item - 1] for item in dataset.sequence]
    ends = dataset.offsets
    return {raw: names[ends[u] : ends[u + 1]] for u, raw in enumerate(dataset.user_raw_ids)}


def test_sorted_by_user_and_time(load):
    rows = [("b", "y", 3), ("a", "x", 2), ("b", "x", 1), ("a", "z", 2), ("b", "z", 2), ("a", "y", 1)]
    dataset, report = load(rows)
    assert sequences_of(dataset) == {"b": ["x", "z", "y"], "a": ["y", "x", "z"]}
    assert dataset.timestamps is not None
    assert dataset.timestamps.tolist() == [1, 2, 3, 1, 2, 2]
    assert report.rows_read == 6
    assert report.dropped == {}
    assert report.format == "csv"
    assert report.source.endswith("rows.csv")
    assert "2 of 6 rows are earlier than their user's row before and were sorted" in report.warnings


def test_numbers_by_first_appearance(load):
    dataset, _ = load([("9", "k", 5), ("3", "a", 1), ("9", "a", 1)])
    assert dataset.user_raw_ids == ["9", "3"]
    assert dataset.items.raw_ids == ["k", "a"]


def test_ids_from_one_stay(load):
    dataset, _ = load([("2", "3", 5), ("2", "1", 6), ("1", "2", 1), ("1", "3", 2)])
    assert dataset.user_raw_ids == ["1", "2"]
    assert dataset.items.raw_ids == ["1", "2", "3"]
    assert dataset.sequence.tolist() == [2, 3, 3, 1]
    dataset, report = load([("2", "3", 5), ("1", "1", 1)], items={"1": "A", "2": "B", "3": "C"})
    assert dataset.items.raw_ids == ["1", "3"]
    assert dataset.items.titles == ["A", "C"]
    assert report.dropped == {UNUSED_ITEMS: 1}


@pytest.mark.parametrize("others", [["0", "1"], ["01", "2"], ["1", "3"], ["1", "x"]])
def test_other_ids_are_numbered_by_first_appearance(load, others):
    dataset, _ = load([("a", others[1], 1), ("a", others[0], 2)])
    assert dataset.items.raw_ids == others[::-1]


def test_fractions_of_a_second_order_and_are_cut(load):
    dataset, report = load([("a", "x", 1.7), ("a", "y", 1.2)])
    assert sequences_of(dataset) == {"a": ["y", "x"]}
    assert dataset.timestamps is not None
    assert dataset.timestamps.tolist() == [1, 1]
    assert report.warnings[0].startswith("1 of 2 rows")


def test_ties(load):
    rows = [("a", item, 1) for item in ("10", "9", "2", "30", "4", "5")]
    assert sequences_of(load(rows)[0])["a"] == ["10", "9", "2", "30", "4", "5"]
    assert sequences_of(load(rows, ties="item")[0])["a"] == ["2", "4", "5", "9", "10", "30"]
    assert sequences_of(load([*rows, ("a", "b", 1)], ties="item")[0])["a"] == ["10", "2", "30", "4", "5", "9", "b"]
    shuffled = [sequences_of(load(rows, ties="random", tie_seed=seed)[0])["a"] for seed in (0, 0, 1, 2)]
    assert shuffled[0] == shuffled[1]
    assert len({tuple(order) for order in shuffled}) > 1
    assert all(sorted(order) == sorted(shuffled[0]) for order in shuffled)


def test_random_ties_keep_the_time_order(load):
    rows = [("a", str(number), number // 3) for number in range(30)]
    dataset, _ = load(rows, ties="random", tie_seed=3)
    assert [int(item) // 3 for item in sequences_of(dataset)["a"]] == [number // 3 for number in range(30)]


def test_duplicates(load):
    rows = [("a", "x", 1), ("a", "y", 2), ("a", "x", 3), ("b", "x", 1), ("a", "x", 4)]
    assert sequences_of(load(rows)[0]) == {"a": ["x", "y", "x", "x"], "b": ["x"]}
    first, report = load(rows, duplicates="first")
    assert sequences_of(first) == {"a": ["x", "y"], "b": ["x"]}
    assert report.dropped == {REPEATED: 2}
    last, _ = load(rows, duplicates="last")
    assert sequences_of(last) == {"a": ["y", "x"], "b": ["x"]}


def test_k_core_is_iterative(load):
    # z has one user; without it c has one item left and goes, and with c item y.
    rows = [
        ("a", "x", 1),
        ("a", "w", 2),
        ("b", "x", 1),
        ("b", "w", 2),
        ("c", "y", 1),
        ("c", "z", 2),
        ("d", "y", 1),
        ("d", "w", 2),
    ]
    dataset, report = load(rows, k_core=2)
    assert sequences_of(dataset) == {"a": ["x", "w"], "b": ["x", "w"]}
    assert report.dropped == {OUTSIDE_CORE: 4}
    assert load(rows, k_core=1)[1].dropped == {}


def test_lengths(load):
    rows = [("a", item, at) for at, item in enumerate("uvwxyz")] + [("b", "u", 1)]
    dataset, report = load(rows, min_length=2, max_length=3)
    assert sequences_of(dataset) == {"a": ["x", "y", "z"]}
    assert report.dropped == {TOO_SHORT: 1, TOO_OLD: 3}
    assert report.rows_dropped == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [({"k_core": 3}, "--k-core 3"), ({"min_length": 9}, "--min-length 9")],
)
def test_nothing_left_names_the_filter(load, options, words):
    with pytest.raises(DataError, match=words) as caught:
        load([("a", "x", 1), ("a", "y", 2)], **options)
    assert str(caught.value.where).endswith("rows.csv")


@pytest.mark.parametrize(
    ("options", "where", "words"),
    [
        ({"format": "xml"}, "--format", "no format 'xml'"),
        ({"k_core": -1}, "--k-core", "at least 0"),
        ({"min_length": -1}, "--min-length", "at least 0"),
        ({"max_length": 0}, "--max-length", "at least 1"),
        ({"tie_seed": -1}, "--tie-seed", "at least 0"),
        ({"ties": "alphabet"}, "--ties", "one of source, item, random"),
        ({"duplicates": "drop"}, "--duplicates", "one of keep, first, last"),
    ],
)
def test_options_out_of_range(load, options, where, words):
    with pytest.raises(DataError, match=words) as caught:
        load([("a", "x", 1)], **options)
    assert caught.value.where == where


def test_items_without_text_are_counted(load):
    rows = [("a", "x", 1), ("a", "y", 2), ("a", "z", 3)]
    dataset, report = load(rows, items={"x": "Pen &amp; ink", "y": "", "q": "Never bought"})
    assert dataset.items.titles == ["Pen & ink", "", ""]
    assert report.dropped == {UNUSED_ITEMS: 1}
    assert [warning.split(" in ")[0].split(" are ")[0] for warning in report.warnings] == [
        "1 of 3 items",
        "1 of 3 items have no title",
    ]
    assert report.rows_dropped == 0


def test_no_texts_at_all(tmp_path):
    (tmp_path / "x.txt").write_text("1 2\n1 1\n2 2 1\n")
    dataset, report = import_dataset(tmp_path / "x.txt", name="bare")
    assert (dataset.name, report.format, report.rows_read) == ("bare", "sequences", 4)
    assert dataset.timestamps is None
    assert dataset.sequence.tolist() == [2, 1, 2, 1]
    assert dataset.items.texts == ["", ""]
    assert len(report.warnings) == 1
    assert "2 items have no title" in report.warnings[0]
    _, report = import_dataset(tmp_path / "x.txt", name="bare", options=ImportOptions(ties="random"))
    assert "no ties to order by random" in report.warnings[0]


def test_options_of_the_dataset_are_plain(load):
    dataset, _ = load([("a", "x", 1), ("a", "x", 2)], duplicates="last", ties="random", tie_seed=4, max_length=7)
    assert json.loads(json.dumps(dataset.options)) == dataset.options
    assert dataset.options == {
        "format": "csv",
        "k_core": 0,
        "min_length": 0,
        "max_length": 7,
        "duplicates": "last",
        "ties": "random",
        "tie_seed": 4,
    }


def test_reports_events(tmp_path):
    (tmp_path / "x.csv").write_text("user,item\na,x\n")
    events = []
    _, report = import_dataset(tmp_path, name="x", report=events.append)
    assert isinstance(events[0], StageStarted)
    assert isinstance(events[-1], StageFinished)
    assert [event.message for event in events if isinstance(event, Warned)] == report.warnings
    assert events[-1].detail == "1 users, 1 items, 1 interactions"


def test_an_error_reports_no_end(tmp_path):
    (tmp_path / "x.csv").write_text("user,item\na,\n")
    events = []
    with pytest.raises(DataError):
        import_dataset(tmp_path, name="x", report=events.append)
    assert isinstance(events[0], StageStarted)
    assert not any(isinstance(event, StageFinished) for event in events)


def test_every_step_is_told_and_may_be_the_last(tmp_path):
    (tmp_path / "x.csv").write_text("user,item\na,b\n")
    steps = []

    def report(event):
        if isinstance(event, StageProgress):
            steps.append(event)
            if event.done == 2:
                raise StopRequested

    with pytest.raises(StopRequested):
        import_dataset(tmp_path, name="x", report=report)
    assert list(dict.fromkeys(step.done for step in steps)) == [0, 1, 2]
    assert "ordering 1 interactions" in {step.detail for step in steps}


ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("uvwxyz"), st.integers(0, 4)), min_size=1, max_size=40
)


@given(
    rows=ROWS,
    k_core=st.integers(0, 3),
    min_length=st.integers(0, 4),
    max_length=st.one_of(st.none(), st.integers(1, 5)),
    duplicates=st.sampled_from(["keep", "first", "last"]),
    ties=st.sampled_from(["source", "item", "random"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_any_rows_give_sorted_sequences_and_counts_that_add_up(load, rows, ties, **options):
    try:
        dataset, report = load(rows, ties=ties, **options)
    except DataError as error:
        if "nothing is left" not in error.message:
            raise
        return
    assert report.rows_read == len(rows) == len(dataset.sequence) + report.rows_dropped
    assert dataset.timestamps is not None
    kept = Counter()
    for user, raw in enumerate(dataset.user_raw_ids):
        part = slice(dataset.offsets[user], dataset.offsets[user + 1])
        times = dataset.timestamps[part]
        assert (np.diff(times) >= 0).all()
        kept.update((raw, dataset.items.raw_ids[i - 1], t) for i, t in zip(dataset.sequence[part], times, strict=True))
    assert kept <= Counter(rows)
    assert dataset.lengths.min() >= 1
    assert set(dataset.sequence.tolist()) == set(range(1, len(dataset.items) + 1))
    if not any(value for name, value in options.items() if name != "duplicates") and options["duplicates"] == "keep":
        assert kept == Counter(rows)


@given(rows=ROWS, seed=st.integers(0, 99))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_order_of_the_rows_does_not_matter_where_times_and_items_decide(load, rows, seed):
    shuffled = [rows[at] for at in np.random.default_rng(seed).permutation(len(rows))]
    one, other = (load(some, ties="item")[0] for some in (rows, shuffled))
    assert sequences_of(one) == sequences_of(other)


def test_300_000_rows_in_seconds(tmp_path):
    rng = np.random.default_rng(0)
    count = 300_000
    columns = rng.integers(0, 30_000, count), rng.integers(0, 12_000, count), rng.integers(10**9, 2 * 10**9, count)
    lines = "\n".join(f"U{u:06d},B{i:08d},{t},5.0" for u, i, t in zip(*(c.tolist() for c in columns), strict=True))
    (tmp_path / "big.csv").write_text(f"user_id,asin,timestamp,rating\n{lines}\n")
    started = time.perf_counter()
    dataset, report = import_dataset(tmp_path / "big.csv", name="big", options=ImportOptions(k_core=5))
    seconds = time.perf_counter() - started
    print(f"{seconds:.2f} s")
    assert seconds < 10
    assert report.rows_read == count == len(dataset.sequence) + report.rows_dropped


def test_reading_needs_no_torch():
    code = "import sys, engine.data.importing, engine.data.demo, engine.data.perturb; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ).returncode == 0


# The real sets


def real(name):
    folder = REAL / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not beside the project")
    return folder


@pytest.mark.data
def test_office():
    folder = real("amazon-office-2014")
    dataset, report = import_dataset(folder, name="office")
    assert (dataset.users, len(dataset.items), len(dataset.sequence)) == (4905, 2420, 53258)
    assert len(dataset.anchors.ids(TRAIN)) == 38543
    assert dataset.user_raw_ids == [str(user) for user in range(1, 4906)]
    assert dataset.items.raw_ids == [str(item) for item in range(1, 2421)]
    rows = [line.split("\t") for line in (folder / f"{folder.name}.inter").read_text().splitlines()[1:]]
    assert dataset.sequence.tolist() == [int(item) for _, item, _ in rows]  # the file is in order already
    assert all(dataset.items.titles)
    assert dataset.items.attributes == [{}] * 2420  # the other columns are ids
    assert (report.format, report.dropped, report.warnings) == ("recbole", {}, [])
    assert round(100 * dataset.tied.mean(), 1) == 23.7


@pytest.mark.data
def test_beauty():
    dataset, report = import_dataset(real("amazon-beauty-2014"), name="beauty")
    assert (dataset.users, len(dataset.items), len(dataset.sequence)) == (22363, 12101, 198502)
    assert dataset.items.titles.count("") == 7
    assert len(report.warnings) == 1
    assert report.warnings[0].startswith("7 of 12,101 items have no title")
    assert dataset.items.raw_ids == [str(item) for item in range(1, 12102)]


@pytest.mark.data
def test_office_as_bare_lines(tmp_path):
    folder = real("amazon-office-2014")
    rows = [line.split("\t") for line in (folder / f"{folder.name}.inter").read_text().splitlines()[1:]]
    (tmp_path / "Office.txt").write_text("".join(f"{user} {item}\n" for user, item, _ in rows))
    bare, _ = import_dataset(tmp_path, name="bare")
    full, _ = import_dataset(folder, name="office")
    assert np.array_equal(bare.sequence, full.sequence)
    assert np.array_equal(bare.offsets, full.offsets)
