"""Vectors of prefixes as means of the vectors of their items. Legend: R prefixes, N of them, S size of a vector, V items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.data.histories import window_items
from engine.data.vector_rows import VectorRows

MEANS_AT_ONCE = 16_384
"""Prefixes summed at once, which bounds the memory in double precision."""


class ItemMeans(VectorRows):
    """Means of the vectors of the last `max_length` items of R prefixes, computed where they are read; zeros if none has a text.

    Items without a text have zeros in `item_vectors` (V + 1, S) and are left out of the mean. Prefixes with the same items
    in any order have bit-identical vectors, whatever is read with them: sums run in order of item id, in double precision.
    """

    def __init__(
        self, item_vectors: NDArray[np.float32], dataset: Dataset, anchor_ids: NDArray[np.int64], max_length: int
    ) -> None:
        self.shape = (len(anchor_ids), item_vectors.shape[1])
        self._filled = np.any(item_vectors != 0, axis=1)
        self._wide = item_vectors.astype(np.float64)
        self._dataset, self._ids, self._max_length = dataset, anchor_ids, max_length

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        from scipy.sparse import csr_array

        means = np.zeros((len(rows), self.shape[1]), np.float32)
        for start in range(0, len(rows), MEANS_AT_ONCE):
            ids = self._ids[rows[start : start + MEANS_AT_ONCE]]
            window = window_items(self._dataset, ids, self._max_length)
            shape = (len(window), len(self._wide))
            counts = csr_array(
                (self._filled[window.items].astype(np.float64), window.items, window.starts), shape=shape
            )
            counts.sum_duplicates()  # sorts by item too
            sizes = np.asarray(counts.sum(axis=1), np.float64)[:, None]  # (N, 1)
            sums = np.asarray(counts @ self._wide)  # (N, S)
            means[start : start + len(window)] = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
        return means
