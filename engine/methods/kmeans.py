"""Lloyd's k-means, as the methods with intents run it before every epoch. Legend: N points, C clusters, D width."""

from __future__ import annotations

import torch
from torch import Tensor

AT_ONCE = 8192
"""Points whose distances are computed together."""


def kmeans(points: Tensor, clusters: int, *, iterations: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centroids (C, D) of points (N, D), and the cluster of each point (N,).

    It begins at C points drawn without replacement, or as evenly as can be where there are fewer. A cluster that loses all its
    points keeps its centroid.

    Args:
        generator: on the CPU; what is drawn depends on N and C alone.
    """
    order = torch.randperm(len(points), generator=generator)
    centroids = points[order[torch.arange(clusters) % len(points)].to(points.device)]  # (C, D)
    for _ in range(iterations):
        labels = nearest(points, centroids)
        counts = torch.bincount(labels, minlength=clusters)[:, None]  # (C, 1)
        sums = torch.zeros_like(centroids).index_add(0, labels, points)
        centroids = torch.where(counts > 0, sums / counts.clamp(min=1), centroids)
    return centroids, nearest(points, centroids)


def nearest(points: Tensor, centroids: Tensor) -> Tensor:
    """(N,) number of the centroid (C, D) that is nearest to each point (N, D); the first of those that are equally near."""
    halves = (centroids * centroids).sum(1) / 2  # (C,): |x - c|² = |x|² + 2 (|c|² / 2 - x c)
    return torch.cat([(halves - part @ centroids.T).argmin(1) for part in points.split(AT_ONCE)])
