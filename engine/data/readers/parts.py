"""Tables in parts, as Spark and others write them: a folder of files with the same columns, read as one table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.data.readers.columns import as_text
from engine.data.readers.grid import Grid
from engine.errors import DataError

_PART = re.compile(r"part-\d+.*|.*-\d{5}-of-\d{5}\..*", re.IGNORECASE)


def are_parts(files: Sequence[Path]) -> bool:
    """Whether several files are called like the parts of one table."""
    return len(files) > 1 and all(_PART.fullmatch(file.name) for file in files)


def parts_of(folder: Path) -> list[Path]:
    """The parts in a folder, in the order of their names."""
    return sorted(file for file in folder.iterdir() if file.is_file() and _PART.fullmatch(file.name))


def joined(folder: Path, grids: Sequence[Grid]) -> Grid:
    """The parts as one table, in their order.

    Raises:
        DataError: a part has other columns than the first.
    """
    first = grids[0]
    for grid in grids:
        if set(grid.names) != set(first.names):
            raise DataError(f"{grid.listing}; those of the first part are {', '.join(first.names)}", where=grid.head)
    ends = np.cumsum([grid.rows for grid in grids])

    def column(name: str) -> pa.ChunkedArray:
        found = [grid.column(name) for grid in grids]
        if len({one.type for one in found}) > 1:
            found = [as_text(one) for one in found]
        return pa.chunked_array([chunk for one in found for chunk in one.chunks], found[0].type)

    def where(row: int) -> str:
        place = int(np.searchsorted(ends, row, side="right"))
        return grids[place].where(row - int(ends[place - 1] if place else 0))

    malformed = [grid.malformed_first for grid in grids if grid.malformed]
    return Grid(
        path=folder,
        names=first.names,
        rows=int(ends[-1]),
        column=column,
        where=where,
        head=first.head,
        malformed=sum(grid.malformed for grid in grids),
        malformed_first=malformed[0] if malformed else "",
    )
