"""Similar items against loops over all pairs of items and users."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.methods import item_similarity
from engine.methods.item_similarity import ItemSimilarity, most_held_together, nearest_by_embedding


def slow_similarities(sequences):
    """Similarity of each pair of items that a user has, by training items."""
    users = [set(sequence[:-2] if len(sequence) >= 3 else sequence) for sequence in sequences]
    items = sorted(set().union(*users))
    found = {}
    for i in items:
        for j in items:
            both = [user for user in users if i in user and j in user]
            if i != j and both:
                counts = [sum(item in user for user in users) for item in (i, j)]
                found[i, j] = sum(1 / math.log(1 + len(user)) for user in both) / math.sqrt(counts[0] * counts[1])
    return found


@pytest.fixture
def few_at_once(monkeypatch):
    monkeypatch.setattr(item_similarity, "AT_ONCE", 3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=1, max_size=8))
def test_items_that_users_have_together(few_at_once, dataset_of, sequences):
    best, score = most_held_together(dataset_of(sequences, items=9))
    slow = slow_similarities(sequences)
    low, high = (min(slow.values()), max(slow.values())) if slow else (0.0, 0.0)
    for item in range(1, 10):
        own = {other: value for (i, other), value in slow.items() if i == item}
        assert (best[item] > 0) == bool(own)
        if own:
            assert own[best[item]] == pytest.approx(max(own.values()))
            if high - low > 1e-9:
                assert score[item] == pytest.approx((max(own.values()) - low) / (high - low))
        else:
            assert score[item] == 0


def test_items_near_by_embedding(few_at_once):
    torch.manual_seed(1)
    embeddings = torch.randn(10, 4)
    trained = torch.tensor([1, 2, 4, 5, 7, 8, 9])
    best, score = nearest_by_embedding(embeddings, trained)
    products = {(i, j): float(embeddings[i] @ embeddings[j]) for i in trained.tolist() for j in trained.tolist()}
    low, high = min(products.values()), max(products.values())
    for item in range(10):
        own = {j: value for (i, j), value in products.items() if i == item and j != i}
        if not own:
            assert (best[item], score[item]) == (0, 0)
            continue
        nearest = max(own, key=lambda j: own[j])
        assert int(best[item]) == nearest
        assert float(score[item]) == pytest.approx((own[nearest] - low) / (high - low), abs=1e-6)


def test_the_table_has_whichever_says_more(dataset_of):
    # 1 and 2 always together, 3 and 4 once in a long sequence; 5 alone; 6 and 7 held out.
    dataset = dataset_of([[1, 2, 6, 7], [1, 2, 6, 7], [3, 4, 1, 8, 6, 7], [5, 6, 7]], items=8)
    similarity = ItemSimilarity(dataset)
    assert similarity.best[[1, 2]].tolist() == [2, 1]
    assert similarity.best[[5, 6, 7]].tolist() == [0, 0, 0]
    first = similarity.table(None, torch.Generator().manual_seed(1))
    assert first[1:5].tolist() == similarity.best[1:5].tolist()
    assert set(first[1:].tolist()) <= {1, 2, 3, 4, 5, 8}, "items of training alone"
    embeddings = torch.zeros(9, 2)
    embeddings[3] = embeddings[5] = torch.tensor([1.0, 0.0])
    hybrid = similarity.table(embeddings, torch.Generator().manual_seed(1))
    assert hybrid[[3, 5]].tolist() == [5, 3]
    assert hybrid[[1, 2]].tolist() == [2, 1]
    assert hybrid[0] == 0


def test_an_item_without_another_has_one_at_random(dataset_of):
    dataset = dataset_of([[item] for item in range(1, 30)], items=30)
    similarity = ItemSimilarity(dataset)
    tables = [similarity.table(None, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])
    for table in tables:
        assert set(table[1:].tolist()) <= set(range(1, 30)), "never one without training interactions"
        assert not any(item == other for item, other in enumerate(table[1:].tolist(), 1))


def test_a_single_item_is_similar_to_itself(dataset_of):
    similarity = ItemSimilarity(dataset_of([[1, 1]], items=1))
    for embeddings in (None, torch.randn(2, 3)):
        assert similarity.table(embeddings, torch.Generator().manual_seed(1)).tolist() == [0, 1]
