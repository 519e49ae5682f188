"""k-means against a loop over points, and its laws."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.methods import kmeans as module
from engine.methods.kmeans import kmeans, nearest


def slow_labels(points, centroids):
    distances = [[float(((point - centroid) ** 2).sum()) for centroid in centroids] for point in points]
    return [row.index(min(row)) for row in distances]


def slow_kmeans(points, centroids, iterations):
    centroids = [centroid.clone() for centroid in centroids]
    for _ in range(iterations):
        labels = slow_labels(points, centroids)
        for number in range(len(centroids)):
            own = [point for point, label in zip(points, labels, strict=True) if label == number]
            if own:
                centroids[number] = sum(own) / len(own)
    return torch.stack(centroids), slow_labels(points, centroids)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 6), st.integers(0, 99))
def test_it_equals_the_loop(count, clusters, iterations, seed):
    points = torch.randn(count, 3, dtype=torch.float64, generator=generator(seed))
    clusters = min(clusters, count)
    begun = points[torch.randperm(count, generator=generator(seed))][:clusters]
    centroids, labels = kmeans(points, clusters, iterations=iterations, generator=generator(seed))
    slow, slow_of = slow_kmeans(points, begun, iterations)
    torch.testing.assert_close(centroids, slow, rtol=1e-9, atol=1e-12)
    assert labels.tolist() == slow_of


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(2, 6), st.integers(0, 99))
def test_points_that_repeat_leave_clusters_empty_and_finite(values, clusters, seed):
    points = torch.tensor(values, dtype=torch.float64)[:, None]
    centroids, labels = kmeans(points, clusters, iterations=20, generator=generator(seed))
    assert set(centroids.flatten().tolist()) <= {sum(part) / len(part) for part in parts_of(values)}
    for value, label in zip(values, labels.tolist(), strict=True):
        assert labels[values.index(value)] == label, "equal points are of one cluster"


def parts_of(values):
    """Every group of values that can be neighbors on a line, whole values at a time: what a cluster may be."""
    kinds = sorted(set(values))
    return [[value for value in values if low <= value <= high] for low in kinds for high in kinds if low <= high]


def test_each_iteration_brings_points_nearer():
    points = torch.randn(200, 4, dtype=torch.float64, generator=generator(1))
    spread = []
    for iterations in range(6):
        centroids, labels = kmeans(points, 7, iterations=iterations, generator=generator(2))
        spread.append(float(((points - centroids[labels]) ** 2).sum()))
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < spread[0]


def test_two_heaps_are_found():
    near, far = torch.randn(2, 50, 4, generator=generator(3))
    centroids, labels = kmeans(torch.cat([near, far + 100]), 2, iterations=20, generator=generator(4))
    assert len(set(labels[:50].tolist())) == len(set(labels[50:].tolist())) == len(set(labels.tolist())) - 1 == 1
    torch.testing.assert_close(centroids[labels[0]], near.mean(0))


def test_what_is_drawn_follows_its_own_generator(monkeypatch):
    points = torch.randn(60, 3, generator=generator(5))
    before = torch.get_rng_state()
    found = [kmeans(points, 5, iterations=1, generator=generator(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    monkeypatch.setattr(module, "AT_ONCE", 7)
    assert torch.equal(nearest(points, found[0]), torch.tensor(slow_labels(points, found[0])))
