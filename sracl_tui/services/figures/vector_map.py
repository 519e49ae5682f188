"""Maps of the users' vectors: with and without the module, or h beside the synthesized h+ of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from sracl_tui.services import projections
from sracl_tui.services.comparison import group_by_config, labels_of
from sracl_tui.services.figures.options import FigureOptions
from sracl_tui.services.figures.weights import run_with_users
from sracl_tui.services.paired_tests import differing_settings
from sracl_tui.services.population import read_population
from store.queries import runs

if TYPE_CHECKING:
    from store.database.database import Store
    from store.run_row import StoredRun

FEWEST = 3
"""Users at least."""


@dataclass(frozen=True)
class MapSide:
    """One set of vectors on the axes that both sets share."""

    label: str
    points: NDArray[np.float64]
    """(R, 2)"""
    measures: dict[str, float]
    """effective_rank, uniformity, mean_cosine, of all directions."""


@dataclass(frozen=True)
class VectorMap:
    """The whole figure: one or two sides."""

    title: str
    sides: list[MapSide]
    note: str


def collect(store: Store, names: Sequence[str], options: FigureOptions) -> VectorMap:
    """Two configurations: h of a run of each, the first of a seed that both have. One configuration: h and h+ of its first run.

    Raises:
        ConfigError: there are more configurations, or a run keeps no vectors, or has too few users.
        LookupFailed: a name is neither a run nor a group.
    """
    groups = group_by_config(runs.select_runs(store, names))
    if len(groups) > 2:
        raise ConfigError(
            f"a map is of one configuration or two; these runs have {len(groups)}",
            where="--figure map",
            hint="Name two runs: one with the module, one without.",
        )
    run, second = _pair(groups)
    run = run_with_users(store, run["run_id"], "map")
    found = projections.vectors(store, run, read_population(store, run), second_run=second)
    if found.a is None or (second is not None and found.b is None):
        raise ConfigError(found.note, where="--figure map")
    if len(found.a) < FEWEST:
        raise ConfigError(f"a map takes {FEWEST} users; {len(found.a)} have vectors", where="--figure map")
    labels = _labels(groups, run, second, found)
    made = projections.principal_map(found if second is None else replace(found, names=(labels[0], labels[1])))
    sides = [
        MapSide(label, _points(grid), measures)
        for label, grid, measures in zip(labels, made.grids, found.measures, strict=True)
        if grid is not None
    ]
    seeds = f"one seed (seed {run['seed']})"
    if second is not None:
        seeds = f"one seed each ({run['seed']} and {second['seed']})"
    notes = [f"{len(found.a):,} users; {seeds}. {made.description}", found.note if second else ""]
    return VectorMap(
        title=f"Users' vectors: {run['dataset_name']}", sides=sides, note=" ".join(note for note in notes if note)
    )


def _pair(groups: list[list[StoredRun]]) -> tuple[StoredRun, StoredRun | None]:
    """The run without the module first, as far as the names of presets tell, and of each group the lowest shared seed."""
    if len(groups) == 1:
        return min(groups[0], key=lambda row: row["seed"]), None
    groups = sorted(groups, key=lambda rows: rows[0]["preset"] != "backbone")
    shared = {row["seed"] for row in groups[0]} & {row["seed"] for row in groups[1]}
    chosen = [min(rows, key=lambda row: (row["seed"] not in shared, row["seed"])) for rows in groups]
    return chosen[0], chosen[1]


def _labels(
    groups: list[list[StoredRun]], run: StoredRun, second: StoredRun | None, found: projections.Vectors
) -> list[str]:
    if second is None:
        return list(found.names)
    label_of = {
        row["run_id"]: label
        for label, rows in zip(labels_of(groups, differing_settings(groups)), groups, strict=True)
        for row in rows
    }
    return [label_of[run["run_id"]], label_of[second["run_id"]]]


def _points(grid: projections.PointGrid) -> NDArray[np.float64]:
    x = grid.x_at(0) + (grid.x + 0.5) / projections.GRAIN * (grid.x_at(1) - grid.x_at(0))
    y = grid.y_at(0) + (grid.y + 0.5) / projections.GRAIN * (grid.y_at(1) - grid.y_at(0))
    return np.stack([x, y], axis=1)
