"""A run's row is the same whether its journal is folded in memory or published into the database."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.database.database import Store
from store.home import Home
from store.journal.journal import Journal, RunLock, read_events
from store.journal.run_fold import RunFold
from store.opening import open_store
from store.publishing.publish import publish
from store.queries import runs
from store.run_row import HEADLINE_METRICS, JSON_COLUMNS, LISTED_COLUMNS, ListedRun, StoredRun, metric_column
from tests.support.run_histories import CREATED, Segment, append_all, run_histories

COUNTER = itertools.count()


@pytest.fixture(scope="module")
def place(fresh_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that all examples share; each of them is a run of its own."""
    return fresh_home(tmp_path_factory.mktemp("folds") / "home")


@settings(max_examples=25, deadline=None, database=None)
@given(history=run_histories(), publishes=st.lists(st.booleans(), min_size=3, max_size=3))
def test_the_folded_row_is_the_published_row(place: Home, history: list[Segment], publishes: list[bool]) -> None:
    run_id = f"run-{next(COUNTER)}"
    lock = RunLock(place.run_folder(run_id))
    lock.acquire()
    for segment, published in zip(history, publishes, strict=False):
        journal = Journal(place.run_folder(run_id))
        append_all(journal, run_id, segment)
        journal.close()
        if published:
            assert publish(place).warnings == []
    assert publish(place).warnings == []
    fold = RunFold()
    for _, line in read_events(place.run_folder(run_id)):
        fold.take(line)
    with open_store(place, ingest=False) as store:
        stored = runs.find_run(store, run_id)
        listed = next(row for row in runs.list_runs(store) if row["run_id"] == run_id)
    assert {name: fold.row.get(name) for name in stored if name != "run_id"} == {
        name: value for name, value in stored.items() if name != "run_id"
    }
    assert fold.row.keys() <= stored.keys()
    assert {name: fold.test_columns.get(name) for name in HEADLINE_METRICS if name.startswith("test_")} == {
        name: listed[name] for name in HEADLINE_METRICS if name.startswith("test_")
    }
    lock.release()


def test_the_types_of_rows_have_the_columns_of_the_queries(place: Home) -> None:
    journal = Journal(place.run_folder("typed"))
    append_all(journal, "typed", [("run_created", CREATED, None)])
    publish(place)
    with open_store(place, ingest=False) as store:
        assert set(runs.find_run(store, "typed")) == StoredRun.__required_keys__
        assert set(runs.list_runs(store)[0]) == LISTED_COLUMNS
        assert ListedRun.__optional_keys__ == {"progress"}
        assert {name for name, kind in _columns(store) if kind == "JSON"} == set(JSON_COLUMNS)
    assert all(metric_column(*metric) == column for column, metric in HEADLINE_METRICS.items())


def _columns(store: Store) -> list[tuple[str, str]]:
    found = store.rows("SELECT column_name AS name, data_type AS kind FROM duckdb_columns() WHERE table_name = 'runs'")
    return [(row["name"], row["kind"]) for row in found]
