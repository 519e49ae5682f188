"""Each number against its definition written out in loops, and against cases whose value is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from engine.evaluation import geometry


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(3).normal(0.4, 1.0, (60, 7)).astype(np.float32)


def some_weights(anchors: int = 40, k: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity, weights and which neighbors are there: some missing, some tied, some all alike."""
    rng = np.random.default_rng(5)
    there = np.arange(k) < rng.integers(0, k + 1, anchors)[:, None]
    similarity = np.where(there, np.round(rng.random((anchors, k)), 1), 0).astype(np.float32)
    weights = np.where(there, rng.random((anchors, k)), 0)
    weights[:4] = there[:4]
    weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-12)
    return similarity, weights.astype(np.float32), there


def test_uniformity_is_its_definition(vectors):
    units = [v / np.linalg.norm(v.astype(np.float64)) for v in vectors]
    pairs = [math.exp(-2 * float(np.sum((x - y) ** 2))) for x, y in itertools.combinations(units, 2)]
    assert geometry.uniformity(vectors) == pytest.approx(math.log(sum(pairs) / len(pairs)), rel=1e-6)


def test_uniformity_in_chunks_is_uniformity_at_once(vectors, monkeypatch):
    whole = geometry.uniformity(vectors)
    for size in (1, 7, 59, 60):
        monkeypatch.setattr(geometry, "CHUNK", size)
        assert geometry.uniformity(vectors) == pytest.approx(whole, rel=1e-12)


def test_uniformity_of_a_point_of_opposites_and_of_the_sphere():
    assert geometry.uniformity(np.ones((5, 3))) == pytest.approx(0.0, abs=1e-12)
    assert geometry.uniformity(np.array([[2.0, 0.0], [-5.0, 0.0]])) == pytest.approx(-8.0)
    wide = np.random.default_rng(0).normal(size=(800, 600))
    assert geometry.uniformity(wide) == pytest.approx(-4.0, abs=0.03)


def test_uniformity_of_many_vectors_is_that_of_a_repeatable_sample():
    many = np.random.default_rng(1).normal(0.5, 1.0, (3000, 8))
    sampled = geometry.uniformity(many, at_most=1000)
    assert sampled == geometry.uniformity(many, at_most=1000)
    assert sampled == pytest.approx(geometry.uniformity(many), abs=0.05)


def test_effective_rank_is_its_definition(vectors):
    values = np.sqrt(np.linalg.eigvalsh(vectors.astype(np.float64).T @ vectors))
    shares = [v / sum(values) for v in values]
    assert geometry.effective_rank(vectors) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-5)


def test_effective_rank_of_a_line_and_of_axes():
    assert geometry.effective_rank(np.outer(np.arange(1, 9), np.ones(4))) == pytest.approx(1.0)
    assert geometry.effective_rank(np.tile(np.eye(5), (3, 1))) == pytest.approx(5.0)


def test_mean_cosine_is_the_mean_over_pairs(vectors):
    wide = vectors.astype(np.float64)
    cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in itertools.combinations(wide, 2)]
    assert geometry.mean_cosine(vectors) == pytest.approx(sum(cosines) / len(cosines), rel=1e-9)


def test_vectors_of_zeros_have_no_direction(vectors):
    padded = np.concatenate([vectors, np.zeros((9, 7), np.float32)])
    assert geometry.mean_cosine(padded) == geometry.mean_cosine(vectors)
    assert geometry.uniformity(padded) == pytest.approx(geometry.uniformity(vectors), rel=1e-12)


def test_spearman_is_scipys_per_anchor(monkeypatch):
    similarity, weights, there = some_weights()
    found = []
    for s, w, t in zip(similarity, weights, there, strict=True):
        if t.sum() >= 2 and len(set(s[t])) > 1 and len(set(w[t])) > 1:
            found.append(spearmanr(s[t], w[t])[0])
    assert 5 < len(found) < len(there)
    assert geometry.spearman(similarity, weights, there) == pytest.approx(np.mean(found), rel=1e-9)
    monkeypatch.setattr(geometry, "COMPARISONS_AT_ONCE", 100)
    assert geometry.spearman(similarity, weights, there) == pytest.approx(np.mean(found), rel=1e-9)


def test_spearman_of_equal_and_of_opposite_orders():
    similarity = np.array([[0.9, 0.5, 0.1], [0.8, 0.7, 0.6]])
    there = np.ones_like(similarity, bool)
    assert geometry.spearman(similarity, similarity**2, there) == pytest.approx(1.0)
    assert geometry.spearman(similarity, -similarity, there) == pytest.approx(-1.0)
    assert math.isnan(geometry.spearman(similarity, np.full_like(similarity, 1 / 3), there))


def test_entropy_is_relative_to_the_neighbors_that_are_there():
    _, weights, there = some_weights()
    found = []
    for w, t in zip(weights.astype(np.float64), there, strict=True):
        if t.sum() >= 2:
            found.append(-sum(p * math.log(p) for p in w[t] / w.sum() if p > 0) / math.log(t.sum()))
    assert geometry.weight_entropy(weights, there) == pytest.approx(np.mean(found), rel=1e-9)
    even = np.array([[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    assert geometry.weight_entropy(even, even > 0) == pytest.approx(1.0)
    one = np.array([[0.0, 1.0, 0.0]])
    assert geometry.weight_entropy(one, np.ones_like(one, bool)) == 0.0


def test_movement_is_half_of_what_changed():
    _, weights, there = some_weights()
    before = there / np.maximum(there.sum(1, keepdims=True), 1)
    found = [
        sum(abs(p - q) for p, q in zip(w, b, strict=True)) / 2
        for w, b, t in zip(weights, before, there, strict=True)
        if t.any()
    ]
    assert geometry.movement(before, weights, there) == pytest.approx(np.mean(found), rel=1e-6)
    all_there = np.ones((1, 2), bool)
    assert geometry.movement(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), all_there) == 1.0
    assert geometry.movement(weights, weights, there) == 0.0


def test_what_is_not_defined_is_nan():
    nothing = np.zeros((0, 4))
    assert all(map(math.isnan, geometry.vector_metrics(nothing).values()))
    assert all(map(math.isnan, geometry.vector_metrics(np.zeros((3, 4))).values()))
    assert math.isnan(geometry.uniformity(np.ones((1, 4))))
    none = np.zeros((2, 3), bool)
    assert math.isnan(geometry.weight_entropy(np.zeros((2, 3)), none))
    assert math.isnan(geometry.movement(np.zeros((2, 3)), np.zeros((2, 3)), none))
    assert math.isnan(geometry.spearman(np.zeros((2, 3)), np.zeros((2, 3)), none))


@pytest.mark.parametrize("at_once", [1, 100, 4_000_000])
def test_reordered_and_its_expectation_are_those_of_all_pairs_and_all_orders(monkeypatch, at_once):
    monkeypatch.setattr(geometry, "COMPARISONS_AT_ONCE", at_once)
    similarity, weights, there = some_weights(k=5)
    changed, chances = [], []
    for s, w, t in zip(similarity, weights, there, strict=True):
        own = list(zip(s[t], w[t], strict=True))
        if len(own) < 2:
            continue
        changed.append(any(a[0] < b[0] and a[1] > b[1] for a, b in itertools.permutations(own, 2)))
        orders = [all(x >= y for x, y in itertools.pairwise(order)) for order in itertools.permutations(s[t].tolist())]
        chances.append(1 - np.mean(orders))
    assert 0 < np.mean(changed) < 1
    assert geometry.reordered(similarity, weights, there) == pytest.approx(np.mean(changed))
    assert geometry.reordered_by_chance(similarity, there) == pytest.approx(np.mean(chances))


def test_equal_weights_and_weights_by_similarity_reorder_nothing():
    similarity = np.array([[0.9, 0.8, 0.8, 0.1]])
    there = np.ones((1, 4), bool)
    for weights in ([[0.25, 0.25, 0.25, 0.25]], [[0.4, 0.2, 0.3, 0.1]]):
        assert geometry.reordered(similarity, np.array(weights), there) == 0
    assert geometry.reordered(similarity, np.array([[0.2, 0.3, 0.3, 0.2]]), there) == 1
    assert geometry.reordered_by_chance(similarity, there) == pytest.approx(1 - 2 / 24)
    assert math.isnan(geometry.reordered(similarity, similarity, there & False))
