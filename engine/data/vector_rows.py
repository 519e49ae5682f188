"""Vectors of more rows than should be in memory at once: read in parts, by their rows.

Legend: R rows, S size of a vector, N rows that are read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.data.scratch import TEMPORARY

Floats = NDArray[np.float32]
NUMBERS_AT_ONCE = 1 << 22
"""Numbers of a part (16 MB)."""
HELD_BYTES = 64 << 20
"""Vectors up to this size are held in memory, as reading them again takes longer."""


class VectorRows(ABC):
    """R vectors of size S."""

    shape: tuple[int, int]
    """(R, S)"""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def small(self) -> bool:
        """Whether all vectors take no more memory than HELD_BYTES."""
        return 4 * self.shape[0] * self.shape[1] <= HELD_BYTES

    @abstractmethod
    def take(self, rows: NDArray[np.int64]) -> Floats:
        """The vectors (N, S) of rows (N,)."""

    def parts(self) -> Iterator[tuple[slice, Floats]]:
        """Consecutive rows with their vectors, all rows once."""
        step = max(1, NUMBERS_AT_ONCE // max(1, self.shape[1]))
        for first in range(0, len(self), step):
            part = slice(first, min(first + step, len(self)))
            yield part, self.take(np.arange(part.start, part.stop))

    def filled(self) -> NDArray[np.bool_]:
        """(R,) which vectors are not zero."""
        filled = np.zeros(len(self), bool)
        for part, vectors in self.parts():
            filled[part] = vectors.any(axis=1)
        return filled

    def whole(self) -> Floats:
        """All vectors (R, S) as one array, which lies in a file without a name where it is large, and cannot be written to there."""
        flat = TEMPORARY.gathered((vectors.reshape(-1) for _, vectors in self.parts()), np.float32)
        return flat.reshape(self.shape)


class HeldRows(VectorRows):
    """Vectors in memory."""

    def __init__(self, vectors: Floats) -> None:
        self.vectors, self.shape = vectors, (vectors.shape[0], vectors.shape[1])

    def take(self, rows: NDArray[np.int64]) -> Floats:
        return self.vectors[rows]

    def whole(self) -> Floats:
        return self.vectors


def as_rows(vectors: VectorRows | Floats) -> VectorRows:
    """Vectors (R, S) in memory as `VectorRows`."""
    return vectors if isinstance(vectors, VectorRows) else HeldRows(vectors)


def held_if_small(rows: VectorRows) -> VectorRows:
    """The same vectors in memory where they are small."""
    return HeldRows(rows.take(np.arange(len(rows)))) if rows.small else rows


def id_type(largest: int) -> type[np.int32] | type[np.int64]:
    """The smaller type of ids up to the largest one."""
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64
