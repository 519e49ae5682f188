"""Learned weight against similarity, over all neighbors of all users of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from sracl_tui.services.figures.options import FigureOptions, signed
from sracl_tui.services.missing_neighbors import why_none
from sracl_tui.services.population import Population, read_population
from store.queries import runs, users

if TYPE_CHECKING:
    from store.database.database import Store
    from store.run_row import StoredRun

BINS = (48, 36)
"""Cells from left to right and from low to high."""
BANDS = 16
"""Ranges of similarity, each with as many neighbors, whose median and quartiles are drawn."""
LEAST = 8
"""Neighbors in a range at least."""


@dataclass(frozen=True)
class WeightDensity:
    """The whole figure."""

    title: str
    x_edges: NDArray[np.float64]
    """(X + 1,) of similarity."""
    y_edges: NDArray[np.float64]
    """(Y + 1,) of weight."""
    counts: NDArray[np.int64]
    """(X, Y) neighbors in each cell."""
    centers: NDArray[np.float64]
    """(B,) median similarity of each range."""
    quartiles: NDArray[np.float64]
    """(3, B) quartiles of the weight in each range."""
    even: float
    """The weight of each of k equal neighbors."""
    k: int
    note: str


def run_with_users(store: Store, name: str, figure: str) -> StoredRun:
    """A run, or the one run of a group, that got as far as its data.

    Raises:
        ConfigError: it did not, or the group has several runs.
        LookupFailed: there is no such run or group.
    """
    found = runs.select_runs(store, [name])
    if len(found) != 1:
        raise ConfigError(
            f"the figure {figure} is of one run; {name} has {len(found)}",
            where=f"--figure {figure}",
            hint=f"Name one of them: {', '.join(row['name'] for row in found[:8])}.",
        )
    run = found[0]
    if run["dataset_id"] is None:
        raise ConfigError(f"run {run['name']} did not get as far as its data", where=f"--figure {figure}")
    return run


def no_weights(run: StoredRun, figure: str) -> ConfigError:
    """Why a run has no learned weights, as an error."""
    why = why_none(run["config"], "inter", without="weighs no neighbors", found=False)
    return ConfigError(
        why or "This run keeps no weights; they are written when it has trained.",
        where=f"--figure {figure} {run['name']}",
        hint="Name a run with neighbors, such as one of preset default.",
    )


def collect(store: Store, names: Sequence[str], options: FigureOptions) -> WeightDensity:
    """The stored weights of the best epoch.

    Raises:
        ConfigError: the run weighs no neighbors, or has not trained yet.
        LookupFailed: there is no such run.
    """
    run = run_with_users(store, names[0], "weights")
    population = read_population(store, run)
    found = population.neighbor_weights
    if not len(found.rows):
        raise no_weights(run, "weights")
    similarity = found.similarity[found.mask].astype(np.float64)
    weight = found.weights[found.mask].astype(np.float64)
    counts, x_edges, y_edges = np.histogram2d(similarity, weight, bins=BINS, range=(_range(similarity), _range(weight)))
    k = int(found.counts.max())
    centers, quartiles = _quartiles(similarity, weight)
    return WeightDensity(
        title=f"Weight against similarity: {run['name']}, {run['dataset_name']}",
        x_edges=x_edges,
        y_edges=y_edges,
        counts=counts.astype(np.int64),
        centers=centers,
        quartiles=quartiles,
        even=1 / k,
        k=k,
        note=_note(population, len(weight), users.weight_epochs(store, run["run_id"]).get("best"), run["seed"]),
    )


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _quartiles(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median x (B,) and quartiles of y (3, B) in ranges of x that hold as many points each."""
    parts = np.array_split(np.argsort(x, kind="stable"), max(1, min(BANDS, len(x) // LEAST)))
    centers = np.array([np.median(x[part]) for part in parts])
    return centers, np.array([np.percentile(y[part], (25, 50, 75)) for part in parts]).T


def _note(population: Population, pairs: int, epoch: int | None, seed: int) -> str:
    known = population.spearman[~np.isnan(population.spearman)]
    mean = f" Mean rank correlation within a user {signed(known.mean())}." if len(known) else ""
    when = "" if epoch is None else f", epoch {epoch}"
    return (
        f"{pairs:,} neighbors of {len(population.neighbor_weights.rows):,} users; one seed (seed {seed}){when}.{mean}"
    )
