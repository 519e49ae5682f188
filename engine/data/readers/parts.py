"""Tables in parts, as Spark and others write them: a folder of files with the same columns, read as one table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.data.readers.columns import as_text
from engine.data.readers.grid import Grid
from engine.errors import DataError

_PART = re.compile(r"(part)[-.]\d+.*|(.*)-\d{5}-of-\d{5}\..*", re.IGNORECASE)


def are_parts(files: Sequence[Path]) -> bool:
    """Whether several files are called like the parts of one table, and not of two, such as `train` and `test`."""
    found = [_PART.fullmatch(file.name) for file in files]
    return len(files) > 1 and len({match and match.groups() for match in found}) == 1 and found[0] is not None


def is_part(file: Path) -> bool:
    """Whether a file is called like a part of a table."""
    return _PART.fullmatch(file.name) is not None


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

    def arrays(name: str) -> Iterator[pa.Array]:
        alike = len({grid.begin(name, 1).type for grid in grids}) == 1
        for grid in grids:
            for array in grid.arrays(name):
                yield from [array] if alike else as_text(pa.chunked_array([array])).chunks

    def where(row: int) -> str:
        place = int(np.searchsorted(ends, row, side="right"))
        return grids[place].where(row - int(ends[place - 1] if place else 0))

    malformed = [grid.malformed_first for grid in grids if grid.malformed]
    return Grid(
        path=folder,
        names=first.names,
        rows=int(ends[-1]),
        arrays=arrays,
        work=first.work,
        where=where,
        head=first.head,
        malformed=sum(grid.malformed for grid in grids),
        malformed_first=malformed[0] if malformed else "",
    )
