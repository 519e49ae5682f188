"""All users of a run as histograms, clouds of points and maps, for the screen Everyone.

Legend: U users, R users with vectors, D width, N points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.evaluation import geometry
from sracl_tui.services.missing_neighbors import why_none
from sracl_tui.services.population import Floats, Population, RowIndices
from store.database.database import Store
from store.queries import runs
from store.queries import users as user_queries
from store.run_row import StoredRun

GRAIN = 4096
"""Steps of an axis of a cloud."""
SAMPLE = 500
"""Largest number of users for t-SNE, which takes seconds for them."""
ITERATIONS = 500
MEASURED = 2_000
"""Vectors at most over whose pairs uniformity is taken where the run did not measure it."""
SEED = 1
DIGITS = 9
"""Decimals of values and bounds that tell buckets apart."""
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Bucket:
    """A bar of a histogram: its range and its users."""

    label: str
    indices: RowIndices
    """Of the users in it, low to high."""
    note: str = ""


def edges(low: float, high: float, count: int) -> Floats:
    """About `count` buckets of a round width that hold all from low to high."""
    width = (high - low) / count if high > low else abs(low) / count or 1.0
    unit = 10.0 ** math.floor(math.log10(width))
    step = next(s * unit for s in _STEPS if s * unit >= width * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return np.arange(first, max(last, first + 1) + 1, dtype=np.float64) * np.float64(step)


def histogram(values: Floats, bounds: Floats, *, missing: str, marks: dict[str, float] | None = None) -> list[Bucket]:
    """Users by value, low to high; the last bucket holds its upper edge too, and those without a value come last.

    Args:
        marks: values to name in the bucket where they lie.
    """
    step = float(bounds[1] - bounds[0])
    digits = next((n for n in range(1, 9) if math.isclose(round(step, n), step, rel_tol=1e-6)), 9)
    indices = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]
    bucket = _bucket(values[indices], bounds)
    named: dict[int, list[str]] = {}
    for name, value in (marks or {}).items():
        named.setdefault(int(_bucket(np.array([value]), bounds)[0]), []).append(name)
    found = [
        Bucket(f"{low:.{digits}f} to {high:.{digits}f}", indices[bucket == number], ", ".join(named.get(number, [])))
        for number, (low, high) in enumerate(pairwise(bounds))
    ]
    without = np.flatnonzero(np.isnan(values))
    return [*found, Bucket("not defined", without, missing)] if len(without) else found


def _bucket(values: Floats, bounds: Floats) -> RowIndices:
    """The bucket of each value; rounded, as 0.3 is below three times 0.1 in binary."""
    places = np.searchsorted(np.round(bounds, DIGITS), np.round(values, DIGITS), side="right") - 1
    return np.clip(places, 0, len(bounds) - 2)


@dataclass(frozen=True, eq=False)
class PointGrid:
    """Points of a plane on a fine grid, so that cells of any size can be counted and looked into."""

    x: NDArray[np.int32]
    """(N,) from 0 to GRAIN - 1, left to right."""
    y: NDArray[np.int32]
    """(N,) from 0 to GRAIN - 1, low to high."""
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    indices: RowIndices
    """(N,) place of each point's user."""

    def cells(self, columns: int, lines: int) -> NDArray[np.int64]:
        """(lines, columns) points in each cell; the top line is the highest."""
        return _cells(self, columns, lines)

    def inside(self, column: int, line: int, columns: int, lines: int) -> RowIndices:
        """Indices of the points in a cell."""
        high = lines - 1 - line
        return np.flatnonzero((self.x * columns // GRAIN == column) & (self.y * lines // GRAIN == high))

    def x_at(self, share: float) -> float:
        """Value at a share of the way from left to right."""
        return self.x_range[0] + share * (self.x_range[1] - self.x_range[0])

    def y_at(self, share: float) -> float:
        """Value at a share of the way from low to high."""
        return self.y_range[0] + share * (self.y_range[1] - self.y_range[0])


@lru_cache(maxsize=8)
def _cells(point_grid: PointGrid, columns: int, lines: int) -> NDArray[np.int64]:
    at = (lines - 1 - point_grid.y * lines // GRAIN) * columns + point_grid.x * columns // GRAIN
    return np.bincount(at, minlength=lines * columns).reshape(lines, columns)


def point_grid(
    x: NDArray[Any],
    y: NDArray[Any],
    indices: RowIndices,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> PointGrid:
    """Points (N,) of users at `places`; the ranges are those of the values where none are given."""
    ranges = [given or _range(values) for given, values in ((x_range, x), (y_range, y))]
    steps = [
        np.clip((values - low) * (GRAIN / (high - low)), 0, GRAIN - 1).astype(np.int32)
        for values, (low, high) in zip((x, y), ranges, strict=True)
    ]
    return PointGrid(steps[0], steps[1], ranges[0], ranges[1], indices)


def _range(values: NDArray[Any]) -> tuple[float, float]:
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def density(population: Population, *, whole: bool = False) -> PointGrid:
    """Every neighbor of every user: similarity from left to right, weight from low to high.

    Args:
        whole: weights from 0, not only where there are any.
    """
    neighbor_weights = population.neighbor_weights
    row, _ = np.nonzero(neighbor_weights.mask)
    weights = neighbor_weights.weights[neighbor_weights.mask]
    y_range = (0.0, float(weights.max()) * 1.02) if whole and len(weights) else None
    return point_grid(
        neighbor_weights.similarity[neighbor_weights.mask], weights, neighbor_weights.rows[row], y_range=y_range
    )


@dataclass(frozen=True)
class Vectors:
    """Vectors of the same R users, a (h in the run) and b (h+ of the same run, or h in a second run); what is missing, and why."""

    indices: RowIndices
    a: NDArray[np.float32] | None
    """(R, D)"""
    b: NDArray[np.float32] | None
    """(R, D)"""
    names: tuple[str, str]
    """Of a and b; the part before a comma is a short form."""
    measures: tuple[dict[str, float], dict[str, float]]
    """effective_rank, uniformity, mean_cosine of each."""
    note: str = ""


def vectors(store: Store, run: StoredRun, population: Population, *, second_run: StoredRun | None = None) -> Vectors:
    """h of every user, and beside it the synthesized h+ of the same run, or h of a second run turned to fit best.

    Raises:
        StoreError: the database cannot be read.
    """
    names = ("h, the user's own vector", "h+, made of the neighbors")
    if second_run is not None:
        names = ("A, h in this run", f"B, h in {second_run['name']}")
    indices, a, plus = _stored(store.home.run_folder(run["run_id"]), population)
    if a is None:
        gone = "This run keeps no vectors (user_vectors.parquet is not in its folder): there is nothing to map."
        return Vectors(indices, None, None, names, ({}, {}), gone)
    measured = None if population.partial else store
    first = _measures(measured, run["run_id"], "h", a)
    if second_run is None:
        if plus is None:
            why = why_none(run["config"], "inter", without="makes no h+", found=False) or "This run keeps no h+."
            note = f"{why} o sets a second run beside it."
            return Vectors(indices, a, None, names, (first, {}), note)
        return Vectors(indices, a, plus, names, (first, _measures(measured, run["run_id"], "h_plus", plus)))
    theirs, second, _ = _stored(store.home.run_folder(second_run["run_id"]), population)
    if second is None or second.shape[1] != a.shape[1]:
        why = "keeps no vectors" if second is None else f"has vectors of {second.shape[1]} numbers, not {a.shape[1]}"
        return Vectors(indices, a, None, names, (first, {}), f"The second run {why}.")
    measures = first, _measures(measured, second_run["run_id"], "h", second)
    shared, here, mask = np.intersect1d(indices, theirs, return_indices=True)
    a, second = a[here], second[mask]
    note = "Two trainings have axes of their own: the second run's vectors were turned to fit the first's best."
    return Vectors(shared, a, _turned(second, a), names, measures, note)


def _stored(
    folder: Path, population: Population
) -> tuple[RowIndices, NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Places, h and h+ of the run's user_vectors.parquet; users who are not among `people` are left out."""
    import pyarrow.parquet as pq

    path = folder / "user_vectors.parquet"
    if not path.exists():
        return np.zeros(0, np.int64), None, None
    table = pq.read_table(path)
    anchors = table["anchor_id"].to_numpy()
    order = np.argsort(population.anchors)
    at = order[np.minimum(np.searchsorted(population.anchors, anchors, sorter=order), len(order) - 1)]
    known = population.anchors[at] == anchors
    found = []
    for name in ("h", "h_plus"):
        if name not in table.column_names:
            found.append(None)
            continue
        flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        found.append(flat.reshape(len(anchors), -1)[known])
    return at[known], found[0], found[1]


def _measures(store: Store | None, run_id: str, subgroup: str, matrix: NDArray[np.float32]) -> dict[str, float]:
    """What the run measured of them; where it did not, and without a store, measured now (uniformity over a sample)."""
    known = None if store is None else runs.analysis_metrics(store, run_id).get(subgroup)
    if known:
        return known
    return {
        "effective_rank": geometry.effective_rank(matrix),
        "uniformity": geometry.uniformity(matrix, at_most=MEASURED),
        "mean_cosine": geometry.mean_cosine(matrix),
    }


def _turned(matrix: NDArray[np.float32], to: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotated about its mean so that it lies nearest to the other (orthogonal Procrustes)."""
    centered = matrix - matrix.mean(axis=0)
    left, _, right = np.linalg.svd(centered.T @ (to - to.mean(axis=0)))
    return centered @ (left @ right) + to.mean(axis=0)


def epoch_map(
    store: Store, run: StoredRun, population: Population, epoch: int, best: int
) -> tuple[Vectors, Map | None]:
    """The recorded users at an epoch, and beside them at the best one; each map is turned to fit the best one's.

    Raises:
        StoreError: the database cannot be read.
    """
    recorded = user_queries.recorded_places(store, run["run_id"])
    names = (f"h at epoch {epoch}", f"h at the best epoch, {best}")
    if epoch not in recorded or best not in recorded:
        return Vectors(np.zeros(0, np.int64), None, None, names, ({}, {}), "Nothing is recorded of this epoch."), None
    (users, here), (others, reference) = recorded[epoch], recorded[best]
    shared = np.intersect1d(np.intersect1d(users, others), population.ids)
    here, reference = here[np.searchsorted(users, shared)], reference[np.searchsorted(others, shared)]
    places = np.searchsorted(population.ids, shared)
    if len(shared) < 3:
        return Vectors(places, None, None, names, ({}, {}), "There are too few users to draw a map."), None
    flat = [_turned(here, reference).astype(np.float64), reference.astype(np.float64)]
    text = f"{len(shared):,} recorded users, PCA of each epoch, turned to fit the best one's; , and . go through {len(recorded)} epochs."
    return Vectors(places, None, None, names, ({}, {})), Map(_grids(flat, places), text)


@dataclass(frozen=True)
class Map:
    """The vectors of one or two sides on the same two axes."""

    grids: tuple[PointGrid, PointGrid | None]
    description: str
    """What share of the vectors the picture keeps, or how it came about."""


def principal_map(found: Vectors) -> Map:
    """PCA: the two directions in which both sets together vary most. `found.a` must be there."""
    sides = [side for side in (found.a, found.b) if side is not None]
    count = sum(map(len, sides))
    mean = np.stack([side.sum(axis=0, dtype=np.float64) for side in sides]).sum(axis=0) / count
    centered = [side - mean.astype(np.float32) for side in sides]
    grams = [(side.T @ side).astype(np.float64) for side in centered]  # (D, D) each
    axes = np.linalg.eigh(np.stack(grams).sum(axis=0))[1][:, ::-1][:, :2]  # (D, 2)
    flat = [(side @ axes.astype(np.float32)).astype(np.float64) for side in centered]
    whole = [
        np.trace(gram) / len(side) - float((side.mean(axis=0, dtype=np.float64) ** 2).sum())
        for gram, side in zip(grams, centered, strict=True)
    ]
    shares = [float(points.var(axis=0).sum() / max(all_, 1e-30)) for points, all_ in zip(flat, whole, strict=True)]
    text = " and ".join(
        f"{share:.0%} of the variance of {name.partition(',')[0]}"
        for share, name in zip(shares, found.names, strict=False)
    )
    width = sides[0].shape[1]
    return Map(_grids(flat, found.indices), f"PCA: 2 of {width} directions keep {text}; the rest no map shows.")


def neighbor_map(found: Vectors) -> Map:
    """t-SNE of a sample: near stays near, but distances, sizes and densities mean nothing. Takes seconds."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    sides = [side for side in (found.a, found.b) if side is not None]
    count = len(sides[0])
    chosen = np.arange(count)
    if count > SAMPLE:
        chosen = np.sort(np.random.default_rng(SEED).choice(count, SAMPLE, replace=False))
    both = np.concatenate([side[chosen] for side in sides])
    perplexity = max(1.0, min(30.0, (len(both) - 1) / 3))
    made = TSNE(init="pca", perplexity=perplexity, max_iter=ITERATIONS, random_state=SEED)
    with threadpool_limits(1):  # several threads wait for each other longer than they work on so few points
        points = made.fit_transform(both).astype(np.float64)
    flat = np.split(points, len(sides))
    text = f"t-SNE of {len(chosen):,} of {count:,} users, perplexity {perplexity:.0f}, seed {SEED}"
    return Map(
        _grids(flat, found.indices[chosen]), f"{text}: near stays near; distances, sizes and density mean nothing."
    )


def _grids(flat: list[Floats], indices: RowIndices) -> tuple[PointGrid, PointGrid | None]:
    both = np.concatenate(flat)
    x_range, y_range = _range(both[:, 0]), _range(both[:, 1])
    made = [point_grid(side[:, 0], side[:, 1], indices, x_range=x_range, y_range=y_range) for side in flat]
    return made[0], made[1] if len(made) > 1 else None
