"""Pools, items, Annoy and leaks: what a neighbor list may hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.config import RetrievalConfig
from engine.data.dataset import TRAIN, Dataset, Items
from engine.errors import Interrupted
from engine.events import Event, StageProgress, ignore
from engine.retrieval.leaks import LeakReport, leak_table
from engine.retrieval.neighbors import NeighborTable, anchors_needed, item_neighbors, user_neighbors


def make_dataset(histories: list[list[int]], items: int = 9) -> Dataset:
    return Dataset(
        name="toy",
        user_raw_ids=[str(n) for n in range(len(histories))],
        items=Items(raw_ids=[str(n) for n in range(items)], titles=["t"] * items, attributes=[{}] * items),
        sequence=np.array([item for history in histories for item in history], np.int32),
        offsets=np.cumsum([0, *map(len, histories)]),
        timestamps=None,
    )


def config(**more: Any) -> RetrievalConfig:
    return RetrievalConfig.model_validate(more)


def random_vectors(seed: int, rows: int, kinds: int, size: int = 5) -> NDArray[np.float32]:
    """Rows with many equal ones; the first kind is zeros."""
    rng = np.random.default_rng(seed)
    kind = rng.normal(size=(kinds, size)).astype(np.float32)
    kind[0] = 0
    return kind[rng.integers(0, kinds, rows)]


HISTORIES = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=7), min_size=1, max_size=6)


@settings(max_examples=120, deadline=None)
@given(
    histories=HISTORIES,
    pool=st.sampled_from(["others", "train", "users", "reference"]),
    unit=st.sampled_from(["prefix", "user"]),
    similarity=st.sampled_from(["cosine", "dot"]),
    backend=st.sampled_from(["exact", "annoy"]),
    k=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_pools(
    histories: list[list[int]], pool: str, unit: str, similarity: str, backend: str, k: int, seed: int
) -> None:
    dataset = make_dataset(histories)
    anchors = dataset.anchors
    needed = anchors_needed(dataset, pool, unit)
    shuffled = np.random.default_rng(seed).permutation(needed)
    vectors = random_vectors(seed, len(needed), 8)
    queries = needed[anchors.roles[needed - 1] == TRAIN]
    backend = backend if similarity == "cosine" else "exact"
    settings_ = config(pool=pool, k=k, similarity=similarity, backend=backend, trees=5)
    table = user_neighbors(vectors, shuffled, dataset, settings_, queries=queries, report=ignore)

    assert table.ids.shape == table.similarity.shape == (len(queries), k)
    row_of = {int(anchor): row for row, anchor in enumerate(shuffled)}
    for query, ids, scores in zip(queries.tolist(), table.ids.tolist(), table.similarity.tolist(), strict=True):
        found = [anchor for anchor in ids if anchor]
        assert ids == found + [0] * (k - len(found)), "what is missing stands at the end"
        assert scores[len(found) :] == [0] * (k - len(found))
        assert len(set(found)) == len(found)
        assert query not in found
        own = anchors.user_ids[query - 1]
        users = [anchors.user_ids[anchor - 1] for anchor in found]
        if pool in ("others", "users"):
            assert own not in users
        if pool == "users":
            assert len(set(users)) == len(users)
            assert np.isin(found, anchors.representing).all()
        if pool != "reference":
            assert all(anchors.roles[anchor - 1] == TRAIN for anchor in found)
        assert all(vectors[row_of[anchor]].any() for anchor in found)
        assert all(
            a > b or (a == b and x < y) for a, b, x, y in zip(scores, scores[1:], found, found[1:], strict=False)
        )
        allowed = [
            anchor
            for anchor in needed.tolist()
            if anchor != query
            and vectors[row_of[anchor]].any()
            and (pool == "reference" or anchors.roles[anchor - 1] == TRAIN)
            and (pool != "users" or anchor in anchors.representing)
            and (pool not in ("others", "users") or anchors.user_ids[anchor - 1] != own)
        ]
        assert len(found) == (min(k, len(allowed)) if vectors[row_of[query]].any() else 0)


def test_anchors_needed() -> None:
    dataset = make_dataset([[1, 2, 3, 4, 5], [1, 2], [6, 7, 8], [1]])
    assert anchors_needed(dataset, "others", "prefix").tolist() == [1, 2, 5]
    assert anchors_needed(dataset, "reference", "prefix").tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert anchors_needed(dataset, "users", "user").tolist() == [2, 5]


def test_cosine_and_dot_rank_differently() -> None:
    dataset = make_dataset([[1, 2], [1, 2], [1, 2]])
    vectors = np.array([[1, 0], [1, 0.1], [5, 5]], np.float32)
    ids = np.array([1, 2, 3])
    found = {
        name: user_neighbors(vectors, ids, dataset, config(similarity=name, k=2), queries=ids[:1], report=ignore)
        for name in ("cosine", "dot")
    }
    assert found["cosine"].ids.tolist() == [[2, 3]]
    assert found["dot"].ids.tolist() == [[3, 2]]
    assert found["dot"].similarity.tolist() == [[5, 1]]
    np.testing.assert_allclose(found["cosine"].similarity, [[1 / np.sqrt(1.01), np.sqrt(0.5)]], rtol=1e-6)


def test_a_query_without_a_vector_is_refused() -> None:
    dataset = make_dataset([[1, 2], [1, 2]])
    with pytest.raises(ValueError, match="anchor 2"):
        user_neighbors(
            np.ones((1, 2), np.float32), np.array([1]), dataset, config(), queries=np.array([1, 2]), report=ignore
        )


def test_the_table_as_columns() -> None:
    table = NeighborTable(
        query_ids=np.array([4, 9]),
        ids=np.array([[7, 8], [5, 0]]),
        similarity=np.array([[0.9, 0.8], [0.7, 0]], np.float32),
    )
    columns = {name: values.tolist() for name, values in table.columns().items()}
    assert columns["anchor_id"] == [4, 4, 9]
    assert columns["rank"] == [1, 2, 1]
    assert columns["neighbor_id"] == [7, 8, 5]
    assert columns["similarity"] == pytest.approx([0.9, 0.8, 0.7])


def test_progress_and_interruption() -> None:
    dataset, events = make_dataset([[1, 2], [1, 2], [3, 4]]), list[Event]()
    ids, vectors = np.array([1, 2, 3]), np.ones((3, 2), np.float32)
    user_neighbors(vectors, ids, dataset, config(), queries=ids, report=events.append)
    assert events == [
        StageProgress(stage="neighbors", done=0, total=3),
        StageProgress(stage="neighbors", done=3, total=3),
    ]
    with pytest.raises(Interrupted):
        user_neighbors(vectors, ids, dataset, config(), queries=ids, report=ignore, stop=lambda: True)


def test_items_find_trained_items_with_a_text() -> None:
    dataset = make_dataset([[1, 2, 3, 4, 8, 9], [2, 5, 4, 9]])  # 8 and 9 are held out; 6 and 7 never bought
    vectors = np.zeros((10, 2), np.float32)
    vectors[1:] = [[1, 0], [1, 0.1], [0, 0], [0, 1], [0.1, 1], [1, 0], [1, 0], [1, 0], [1, 0]]
    table = item_neighbors(vectors, dataset, config(item_k=3), report=ignore)
    assert table.query_ids.tolist() == [1, 2, 3, 4, 5]
    assert table.ids.tolist() == [[2, 5, 4], [1, 5, 4], [0, 0, 0], [5, 2, 1], [4, 2, 1]]


@settings(max_examples=40, deadline=None)
@given(histories=HISTORIES, seed=st.integers(0, 100), item_k=st.integers(1, 10))
def test_items_never_find_themselves_padding_or_held_out_items(
    histories: list[list[int]], seed: int, item_k: int
) -> None:
    dataset = make_dataset(histories)
    vectors = random_vectors(seed, 10, 4)
    vectors[0] = 1  # padding is never found, whatever its row holds
    table = item_neighbors(vectors, dataset, config(item_k=item_k), report=ignore)
    allowed = {item for item in range(1, 10) if dataset.train_counts[item] and vectors[item].any()}
    for query, ids in zip(table.query_ids.tolist(), table.ids.tolist(), strict=True):
        found = [item for item in ids if item]
        assert set(found) <= allowed - {query}
        assert len(set(found)) == len(found) == (min(item_k, len(allowed - {query})) if vectors[query].any() else 0)


def many_users(seed: int, users: int) -> tuple[Dataset, NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    dataset = make_dataset([rng.integers(1, 10, 6).tolist() for _ in range(users)])
    ids = anchors_needed(dataset, "others", "prefix")
    centers = rng.normal(size=(12, 24))
    vectors = (centers[rng.integers(0, 12, len(ids))] + rng.normal(size=(len(ids), 24)) * 0.6).astype(np.float32)
    return dataset, vectors, ids


def test_annoy_is_near_the_exact_result_and_repeats() -> None:
    dataset, vectors, ids = many_users(8, 500)
    exact = user_neighbors(vectors, ids, dataset, config(), queries=ids, report=ignore)
    first, second = (
        user_neighbors(vectors, ids, dataset, config(backend="annoy"), queries=ids, report=ignore) for _ in range(2)
    )
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.similarity, second.similarity)
    assert first.recall == second.recall
    assert exact.recall is None
    assert first.recall is not None
    assert first.recall > 0.97
    shared = [len(set(a) & set(b)) for a, b in zip(exact.ids.tolist(), first.ids.tolist(), strict=True)]
    assert np.mean(shared) / 10 == pytest.approx(first.recall, abs=0.02)


def test_a_poor_annoy_index_says_so_and_still_fills_its_lists() -> None:
    dataset, vectors, ids = many_users(9, 400)
    poor = config(backend="annoy", trees=1, search_k=1)
    table = user_neighbors(vectors, ids, dataset, poor, queries=ids, report=ignore)
    assert table.recall is not None
    assert table.recall < 0.9
    assert (table.ids > 0).all()
    users = dataset.anchors.user_ids
    assert (users[table.ids - 1] != users[table.query_ids - 1][:, None]).all()


def test_annoy_searches_items_too() -> None:
    dataset, rng = make_dataset([list(range(1, 10)) * 2]), np.random.default_rng(0)
    vectors = rng.normal(size=(10, 6)).astype(np.float32)
    exact, trees = (
        item_neighbors(vectors, dataset, config(backend=name, item_k=4), report=ignore) for name in ("exact", "annoy")
    )
    assert trees.recall == 1.0
    np.testing.assert_array_equal(exact.ids, trees.ids)


def test_leaks_of_a_list_made_by_hand() -> None:
    dataset = make_dataset([[1, 2, 3, 4, 5], [2, 3, 6, 7], [9, 3, 1, 2, 8]])
    # Anchors: user 1 has 1..4 (train 1, 2; targets 2, 3), user 2 has 5..7 (train 5), user 3 has 8..11 (train 8, 9).
    table = NeighborTable(
        query_ids=np.array([1, 2, 5]),
        ids=np.array([[2, 8, 0], [9, 6, 1], [3, 9, 11]]),
        similarity=np.zeros((3, 3), np.float32),
    )
    # Own user: 1-2 and 2-1. Held out: 6, 3, 11.
    # Target 2 is in anchor 2 (1, 2); target 3 in anchor 9 (9, 3); target 3 of anchor 5 in anchor 3 (1, 2, 3).
    got = leak_table(table, dataset, max_length=20)
    assert got == LeakReport(own_share=2 / 8, target_share=1.0, heldout_share=3 / 8, entries=8, anchors=3)
    # With a window of one item the neighbors hold only their last one: 2; 3; 3 again.
    assert leak_table(table, dataset, max_length=1).target_share == 1.0
    narrow = NeighborTable(
        query_ids=np.array([5, 1]), ids=np.array([[10], [8]]), similarity=np.zeros((2, 1), np.float32)
    )
    assert leak_table(narrow, dataset, max_length=2).target_share == 0.5  # 3, 1 of 9, 3, 1
    assert leak_table(narrow, dataset, max_length=1).target_share == 0.0  # 1 alone


def test_leaks_of_an_empty_list() -> None:
    table = NeighborTable(
        query_ids=np.array([1]), ids=np.zeros((1, 2), np.int64), similarity=np.zeros((1, 2), np.float32)
    )
    assert leak_table(table, make_dataset([[1, 2]]), max_length=5) == LeakReport(
        own_share=0, target_share=0, heldout_share=0, entries=0, anchors=1
    )
