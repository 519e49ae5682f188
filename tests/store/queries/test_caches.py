"""What earlier runs made is found again, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from store.database.database import Store
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.publish import publish
from store.queries import caches


@pytest.fixture(scope="module")
def store(
    fresh_home: Callable[[Path], Home], begin_run: Callable[..., Journal], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A home in which one run made summaries, vectors and a neighbor list."""
    home = fresh_home(tmp_path_factory.mktemp("caches") / "home")
    journal = begin_run(home, "one")
    count = 3
    texts = {"key": ["k1", "k2", "k3"], "text": ["«first»", "second", "stand-in"], "fallback": [False, False, True]}
    numbers = {name: [0] * count for name in ("tokens_in", "tokens_out", "tokens_cached")}
    journal.append(
        "summaries_made", {}, columns={**texts, **numbers, "usd": [0.0] * count, "finish_reason": ["stop"] * count}
    )
    for encoder, factor in (("minilm", 1), ("other", 10)):
        vectors = factor * np.arange(8, dtype=np.float32).reshape(2, 4)
        journal.append(
            "vectors_made", {"encoder": encoder, "dimension": 4}, columns={"sha256": ["a", "b"], "vector": vectors}
        )
    columns = {
        "anchor_id": np.array([7, 2, 7, 2]),
        "rank": np.array([2, 1, 1, 2]),
        "neighbor_id": np.array([4, 5, 6, 70_000]),
        "similarity": np.array([0.25, 1.0, 0.75, 0.5], np.float32),
    }
    about = {"list_id": "l1", "dataset_id": "d1", "kind": "user", "parameters": {}, "recall": None}
    journal.append("neighbors_found", about, columns=columns)
    journal.append(
        "neighbors_found", about | {"list_id": "empty"}, columns={name: part[:0] for name, part in columns.items()}
    )
    publish(home)
    with open_store(home, ingest=False) as opened:
        yield opened


def test_summaries_by_key_without_stand_ins(store: Store) -> None:
    assert caches.known_summaries(store, ["k2", "k1", "k3", "k4", "k1"]) == {"k1": "«first»", "k2": "second"}
    assert caches.known_summaries(store, ["k4"]) == {}
    assert caches.known_summaries(store, []) == {}


def test_vectors_by_text_and_encoder(store: Store) -> None:
    shas, vectors = caches.known_vectors(store, "minilm", ["b", "x", "a"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, 4)
    found = dict(zip(shas, vectors.tolist(), strict=True))
    assert found == {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7]}
    shas, vectors = caches.known_vectors(store, "other", ["b"])
    assert (shas, vectors.tolist()) == (["b"], [[40, 50, 60, 70]])


@pytest.mark.parametrize(("encoder", "shas"), [("minilm", ["x"]), ("minilm", []), ("unknown", ["a"])])
def test_vectors_that_are_not_there(store: Store, encoder: str, shas: list[str]) -> None:
    found, vectors = caches.known_vectors(store, encoder, shas)
    assert found == []
    assert vectors.shape == (0, 0)


def test_many_vectors_come_in_the_order_of_their_hashes(home: Home, new_run: Callable[..., Journal]) -> None:
    vectors = np.random.default_rng(0).normal(size=(5_000, 16)).astype(np.float32)
    shas = [f"sha{number}" for number in range(len(vectors))]
    new_run("one").append(
        "vectors_made", {"encoder": "e", "dimension": 16}, columns={"sha256": shas, "vector": vectors}
    )
    publish(home)
    with open_store(home, ingest=False) as store:
        names, found = caches.known_vectors(store, "e", shas[::-1])
    assert sorted(names) == sorted(shas)
    assert np.array_equal(found, vectors[[int(name.removeprefix("sha")) for name in names]])


def test_neighbors_of_a_list(store: Store) -> None:
    found = caches.known_neighbors(store, "l1")
    assert found is not None
    assert [column.dtype.name for column in found] == ["int32", "int32", "int32", "float32"]
    assert [column.tolist() for column in found] == [
        [2, 2, 7, 7],
        [1, 2, 1, 2],
        [5, 70_000, 6, 4],
        [1.0, 0.5, 0.75, 0.25],
    ]
    parts = list(caches.neighbor_parts(store, "l1"))
    assert sorted(zip(*(np.concatenate(column).tolist() for column in zip(*parts, strict=True)), strict=True)) == [
        (2, 1, 5, 1.0), (2, 2, 70_000, 0.5), (7, 1, 6, 0.75), (7, 2, 4, 0.25),
    ]  # fmt: skip
    assert caches.has_neighbors(store, "l1")
    assert not caches.has_neighbors(store, "l2")
    assert caches.known_neighbors(store, "l2") is None
    empty = caches.known_neighbors(store, "empty")
    assert empty is not None
    assert [len(column) for column in empty] == [0] * 4


def test_a_long_list_comes_back_as_it_was_and_its_rows_fill_whole_groups(home: Home) -> None:
    rows = 2 * 122_880 + 7
    draw = np.random.default_rng(3)
    columns = {
        "anchor_id": np.arange(rows, dtype=np.int32) // 10 + 1,
        "rank": np.arange(rows, dtype=np.int32) % 10 + 1,
        "neighbor_id": draw.integers(1, 100_000, rows).astype(np.int32),
        "similarity": draw.random(rows, dtype=np.float32),
    }
    journal = Journal(home.run_folder("r"))
    fields = {"list_id": "long", "dataset_id": "d", "kind": "user", "parameters": {}, "recall": None}
    journal.append("neighbors_found", fields, columns=columns)
    journal.close()
    publish(home)
    with open_store(home, ingest=False) as store:
        found = caches.known_neighbors(store, "long")
        groups = store.rows(
            "SELECT row_group_id, max(start + count) - min(start) AS rows FROM pragma_storage_info('neighbors') "
            "WHERE column_name = 'anchor_id' AND segment_type = 'INTEGER' GROUP BY ALL ORDER BY ALL"
        )
    assert found is not None
    for column, wanted in zip(found, columns.values(), strict=True):
        np.testing.assert_array_equal(column, wanted)
    assert [row["rows"] for row in groups] == [122_880, 122_880, 7]


def test_counts(store: Store) -> None:
    assert caches.counts(store) == {"summaries": 3, "vectors": 4, "neighbor_lists": 2, "runs": 1, "datasets": 0}
