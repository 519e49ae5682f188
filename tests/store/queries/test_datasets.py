"""Datasets go in whole and come out equal."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.dataset import Dataset
from engine.errors import DataError
from sracl_tui.runs.dataset_access import from_record, open_dataset, to_record
from store.errors import LookupFailed, StoreError
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.publish import publish, write_sql
from store.queries import datasets
from store.queries.datasets import DatasetRecord

MakeDataset = Callable[..., Dataset]
Rows = Callable[..., list[tuple[Any, ...]]]
TABLES = ("datasets", "users", "items", "interactions", "anchors")


def _counts(rows: Rows) -> dict[str, int]:
    return {table: rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def _assert_equal(found: DatasetRecord, given: DatasetRecord) -> None:
    for field in dataclasses.fields(DatasetRecord):
        one, other = getattr(found, field.name), getattr(given, field.name)
        if field.name == "anchors":
            for name in ("user_id", "position", "item_id", "role", "represents"):
                columns = [np.concatenate([part[name] for part in parts()]) for parts in (one, other)]
                assert np.array_equal(*columns), name
        elif field.name == "texts":
            assert list(one()) == list(other())
        elif isinstance(other, np.ndarray):
            assert one.dtype == other.dtype, field.name
            assert np.array_equal(one, other), field.name
        else:
            assert one == other, field.name


@pytest.mark.parametrize("times", [True, False])
def test_what_is_added_is_loaded(home: Home, make_dataset: MakeDataset, times: bool) -> None:
    dataset = make_dataset(users=30, items=40, times=times)
    record = dataclasses.replace(
        to_record(dataset, source="x.csv"), dropped={"too short": 3}, warnings=["«odd»"], rows_read=99
    )
    datasets.add(home, record)
    with open_store(home) as store:
        for name in ("small", record.dataset_id):
            _assert_equal(datasets.load(store, name), record)
        again = from_record(datasets.load(store, "small"))
    assert again.sha256 == dataset.sha256
    assert again.items.titles == dataset.items.titles
    assert np.array_equal(again.anchors.representing, dataset.anchors.representing)


def test_users_of_one_item_and_times_before_1970(home: Home, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(users=9, length=1)
    assert dataset.lengths.min() == 1
    assert dataset.timestamps is not None
    dataset = dataclasses.replace(dataset, timestamps=dataset.timestamps - 1_700_000_000)
    datasets.add(home, to_record(dataset))
    with open_store(home) as store:
        _assert_equal(datasets.load(store, "small"), to_record(dataset))


def test_the_row_about_it(home: Home, make_dataset: MakeDataset) -> None:
    dataset = make_dataset(users=30, items=40)
    datasets.add(home, to_record(dataset, source="x.csv", synthetic=True))
    with open_store(home) as store:
        (row,) = datasets.listed(store)
    assert (row["users"], row["items"], row["interactions"]) == (30, 40, len(dataset.sequence))
    assert row["train_prefixes"] == len(dataset.anchors.ids(0))
    assert (row["items_with_text"], row["tied_users"]) == (40, 0)
    assert row["options"] == {"format": "table", "k_core": 0}
    assert (row["source"], row["synthetic"], row["dropped"], row["warnings"]) == ("x.csv", True, {}, [])
    assert row["first_ts"].timestamp() <= row["last_ts"].timestamp()
    assert str(row["first_ts"]) == "2020-09-13 12:26:40"


def test_adding_the_same_again_changes_nothing(home: Home, make_dataset: MakeDataset, rows: Rows) -> None:
    record = to_record(make_dataset())
    datasets.add(home, record)
    before = _counts(rows)
    datasets.add(home, record)
    assert _counts(rows) == before


def test_a_name_stands_for_one_content(home: Home, make_dataset: MakeDataset, rows: Rows) -> None:
    datasets.add(home, to_record(make_dataset()))
    before = _counts(rows)
    with pytest.raises(LookupFailed, match="another dataset named 'small'"):
        datasets.add(home, to_record(make_dataset(seed=1)))
    with pytest.raises(LookupFailed, match="stored already, as 'small'"):
        datasets.add(home, to_record(make_dataset(name="other")))
    assert _counts(rows) == before
    datasets.add(home, to_record(make_dataset(seed=1, name="other")))
    with open_store(home) as store:
        assert [row["name"] for row in datasets.listed(store)] == ["other", "small"]


def test_all_or_nothing(home: Home, make_dataset: MakeDataset, rows: Rows, digest: Callable[[Path], str]) -> None:
    """The last table refuses; the four before it were filled."""
    record = to_record(make_dataset())
    (anchors,) = record.anchors()
    roles = anchors["role"].astype(object)
    roles[-1] = None
    before = digest(home.database)
    with pytest.raises(StoreError, match="NOT NULL"):
        datasets.add(home, dataclasses.replace(record, anchors=lambda: iter([anchors | {"role": roles}])))
    assert digest(home.database) == before
    assert set(_counts(rows).values()) == {0}
    datasets.add(home, record)
    assert _counts(rows)["anchors"] == len(anchors["role"])


def test_more_interactions_than_the_store_has_numbers_for(home: Home, make_dataset: MakeDataset) -> None:
    record = to_record(make_dataset())
    many = dataclasses.replace(record, sequence=np.broadcast_to(np.int32(1), (2**31,)))
    with pytest.raises(StoreError, match="2,147,483,648 interactions are more than the store can number"):
        datasets.add(home, many)


@pytest.mark.parametrize("per_letter", [0, datasets.PER_LETTER])
def test_the_limit_of_memory_has_room_for_texts(
    home: Home, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, per_letter: int
) -> None:
    """40 MB of texts do not fit into a limit of 8 MB that does not know of them."""
    monkeypatch.setattr(datasets, "LARGE", 0)
    monkeypatch.setattr(datasets, "MEMORY", 8 << 20)
    monkeypatch.setattr(datasets, "PER_LETTER", per_letter)
    dataset = make_dataset(users=2_000, items=10_000, length=6)
    titles = [f"{n} {n * 7919 % 9973:04d}" * 400 for n in range(len(dataset.items))]
    record = to_record(dataclasses.replace(dataset, items=dataclasses.replace(dataset.items, titles=titles)))
    if per_letter:
        datasets.add(home, record)
        with open_store(home) as store:
            assert datasets.load(store, "small").titles == titles
    else:
        with pytest.raises(StoreError, match="Out of Memory"):
            datasets.add(home, record)


@pytest.mark.parametrize("table", ["users", "items", "interactions", "anchors"])
def test_ctrl_c_while_it_is_stored(home: Home, make_dataset: MakeDataset, rows: Rows, table: str) -> None:
    """It comes during a statement, of which the database makes an error of its own."""

    def told(detail: str) -> None:
        if detail.endswith(table):
            signal.raise_signal(signal.SIGINT)

    record, before = to_record(make_dataset()), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            datasets.add(home, record, told=told)
    finally:
        signal.signal(signal.SIGINT, before)
    assert set(_counts(rows).values()) == {0}
    assert not list(home.path.glob("*.new-*"))
    datasets.add(home, record)
    assert _counts(rows)["anchors"] > 0


def test_removing(home: Home, make_dataset: MakeDataset, rows: Rows, new_run: Callable[..., Journal]) -> None:
    one, two = make_dataset(), make_dataset(seed=1, name="other")
    for dataset in (one, two):
        datasets.add(home, to_record(dataset))
    kept = {table: rows(f"SELECT count(*) FROM {table} WHERE dataset_id = ?", two.dataset_id)[0][0] for table in TABLES}
    with open_store(home) as store:
        with pytest.raises(LookupFailed, match="'nothing'"):
            datasets.remove(home, store, "nothing")
        assert datasets.remove(home, store, "small")["dataset_id"] == one.dataset_id
        assert datasets.find(store, "small") is None
    assert _counts(rows) == kept
    journal = new_run("one")
    journal.append(
        "dataset_used", {"dataset_id": two.dataset_id, "dataset_name": "other", "dataset_sha256": two.sha256}
    )
    with (
        open_store(home, ingest=False) as store,
        pytest.raises(LookupFailed, match="1 run was made with 'other': one"),
    ):
        datasets.remove(home, store, "other")  # the run is in no table yet
    assert _counts(rows) == kept


def test_what_is_not_there(home: Home, make_dataset: MakeDataset) -> None:
    datasets.add(home, to_record(make_dataset()))
    with open_store(home) as store:
        assert datasets.find(store, "none") is None
        with pytest.raises(LookupFailed, match="Datasets here: small") as caught:
            datasets.load(store, "none")
    assert "sracl data import" in str(caught.value)


def test_rows_that_somebody_changed_are_noticed(home: Home, make_dataset: MakeDataset) -> None:
    datasets.add(home, to_record(make_dataset()))
    write_sql(home, "UPDATE items SET title = 'mine' WHERE item_id = 1")
    with open_store(home) as store, pytest.raises(DataError, match="differ from the imported ones"):
        open_dataset(store, "small")


def test_a_part_of_the_users_is_a_dataset_of_its_own(home: Home, make_dataset: MakeDataset) -> None:
    datasets.add(home, to_record(make_dataset(users=10)))
    with open_store(home) as store:
        for _ in range(2):
            part = open_dataset(store, "small", max_users=4)
            assert part.users == 4
        assert [(row["name"], row["users"]) for row in datasets.listed(store)] == [("small", 10), ("small[:4]", 4)]


def test_a_big_dataset_is_added_within_seconds(
    home: Home, make_dataset: MakeDataset, record_property: Callable[[str, object], None]
) -> None:
    record = to_record(make_dataset(users=20_000, items=10_000, length=15, name="big"))
    assert len(record.sequence) > 295_000
    started = time.monotonic()
    datasets.add(home, record)
    added = time.monotonic()
    with open_store(home) as store:
        found = datasets.load(store, "big")
        loaded = time.monotonic()
        _assert_equal(found, record)
    record_property("seconds to add", added - started)
    record_property("seconds to load", loaded - added)
    print(f"added in {added - started:.2f} s, loaded in {loaded - added:.2f} s, {home.database.stat().st_size:,} bytes")
    assert added - started < 30


def test_publishing_is_quick_beside_a_big_dataset(home: Home, make_dataset: MakeDataset) -> None:
    datasets.add(home, to_record(make_dataset(users=5_000, items=2_000, length=15, name="big")))
    assert publish(home).seconds < 10
