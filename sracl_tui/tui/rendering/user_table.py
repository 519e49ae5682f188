"""Users as a table whose rows are written when they are drawn: a hundred thousand cost no more than a page of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import overload

import numpy as np

from sracl_tui import formatting
from sracl_tui.services.population import Population, RowIndices
from sracl_tui.tui.widgets.table import Column, Row, TableData

NUMBER = Column("number", "user", right=True)
COLUMNS = (
    NUMBER,
    Column("raw", "id", most=24),
    Column("length", "items", right=True),
    Column("rank", "test rank", right=True),
    Column("spearman", "Spearman", right=True),
    Column("entropy", "entropy", right=True),
)
CHANGED = Column("changed", "change", right=True)
FOUND = Column("found", "found", flex=True, least=16)
_WIDTHS = {"length": 5, "rank": 9, "spearman": 8, "entropy": 7, "changed": 6, "found": 16}
_STYLES = {"number": "strong", "raw": "dim", "found": "dim"}


class LazyRows(Sequence[Row]):
    """Rows that are made when they are asked for."""

    def __init__(self, count: int, make: Callable[[int], Row]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        if isinstance(at, slice):
            return [self._make(place) for place in range(self._count)[at]]
        return self._make(range(self._count)[at])


def population_table(
    population: Population,
    indices: RowIndices,
    *,
    columns: Sequence[Column] = COLUMNS,
    found: Mapping[int, str] | None = None,
) -> TableData:
    """Users at `places`, in that order.

    Args:
        found: what was found of each, by number.
    """

    def make(at: int) -> Row:
        place = int(indices[at])
        cells = tuple(_cell(population, place, column.key, found or {}) for column in columns)
        return Row(int(population.ids[place]), cells, tuple(_STYLES.get(column.key, "") for column in columns))

    widest = max((formatting.width(population.raw_id(int(place))) for place in indices[:200]), default=8)
    most = {"number": len(str(population.ids[-1])) if len(population) else 1, "raw": max(widest, 2), **_WIDTHS}
    wanted = ((column, max(most[column.key], formatting.width(column.title))) for column in columns)
    widths = tuple(min(wide, column.most) if column.most else wide for column, wide in wanted)
    index = dict(zip(population.ids[indices].tolist(), range(len(indices)), strict=True))
    return TableData(tuple(columns), LazyRows(len(indices), make), widths, index)


def _cell(population: Population, place: int, key: str, found: Mapping[int, str]) -> str:
    match key:
        case "number":
            return str(population.ids[place])
        case "raw":
            return formatting.line(population.raw_id(place))
        case "length" | "rank":
            value = (population.lengths if key == "length" else population.ranks)[place]
            return "-" if np.isnan(value) else f"{value:,.0f}"
        case "found":
            return formatting.line(found.get(int(population.ids[place]), ""))
        case "changed":
            value = np.nan if population.changed is None else population.changed[place]
            return "-" if np.isnan(value) else f"{value:.4f}"
        case _:
            value = (population.spearman if key == "spearman" else population.entropy)[place]
            return "-" if np.isnan(value) else f"{value:+.2f}" if key == "spearman" else f"{value:.3f}"
