"""Exact top-k search in chunks. Legend: Q queries, C candidates, S size of a vector, k neighbors, B queries of a chunk.

A chunk's scores come from one matrix product that is fast and not exact (`engine.retrieval.coarse_scores`). It only picks
who may be among the first k; those few are scored again in double precision, rounded to float32 and sorted by score, then by
column. So the result does not depend on the processor, chunk size, threads or the library's order of summation, and equal
candidates always stand in order of their columns.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.retrieval.coarse_scores import BFloat16Scores, CoarseScores, Float32Scores, pays

CHUNK = 1024
"""Queries at once, fewer where there are very many candidates."""
BYTES_AT_ONCE = 384_000_000
"""Bytes of the scores of a chunk at most: products of fewer than some 700 queries are slower."""
ENTRIES_AT_ONCE = 2_000_000
"""Scores of a chunk that are compared with the bound at once."""
NUMBERS_AT_ONCE = 8_000_000
"""Numbers of candidates processed at once (64 MB in double precision)."""
ALONE = 10_000
"""Entries up to which one core scores them again."""
RESCORED_AT_ONCE = 50_000
"""Numbers scored again at once: what fits into a core's cache takes a third of the time."""

Found = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Columns (Q, k), -1 where there are fewer, and their similarity (Q, k), 0 there; most similar first."""


def normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (N, S) scaled to length 1; rows of zeros stay zeros, equal rows stay equal."""
    out = np.zeros(vectors.shape, np.float32)
    step = max(1, NUMBERS_AT_ONCE // max(1, vectors.shape[1]))
    for start in range(0, len(vectors), step):
        wide = vectors[start : start + step].astype(np.float64)
        norms = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
        out[start : start + step] = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return out


def dots(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Dot products of pairs (row, column), summed in double precision and rounded."""
    scores = np.empty(len(rows), np.float32)
    step = max(1, RESCORED_AT_ONCE // max(1, queries.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        left = queries[rows[part]].astype(np.float64)
        left *= candidates[columns[part]]
        scores[part] = left.sum(axis=1)
    return scores


def first_k(
    rows: NDArray[np.int64], columns: NDArray[np.int64], scores: NDArray[np.float32], *, count: int, k: int
) -> Found:
    """The k best entries of each of `count` rows: by score, then the lower column."""
    order = np.lexsort((columns, -scores, rows))
    rows, columns, scores = rows[order], columns[order], scores[order]
    position = _positions(rows)
    kept = position < k
    best, similarity = np.full((count, k), -1, np.int64), np.zeros((count, k), np.float32)
    best[rows[kept], position[kept]] = columns[kept]
    similarity[rows[kept], position[kept]] = scores[kept]
    return best, similarity


class ExactSearch:
    """Finds the k candidates with the largest dot products."""

    def __init__(self, candidates: NDArray[np.float32], *, k: int) -> None:
        """Index candidates (C, S), normalized by the caller for cosine."""
        self._candidates, self._k = candidates, k
        self._width = max(1, min(64, len(candidates) // (32 * k)))
        self._groups = -(-len(candidates) // self._width)
        self._coarse: dict[type[CoarseScores], CoarseScores] = {}
        self._same = _equal_rows(candidates)

    def __call__(
        self,
        queries: NDArray[np.float32],
        skip: NDArray[np.int64],
        *,
        step: Callable[[int], None] = lambda done: None,
    ) -> Found:
        """Search for queries (Q, S).

        Args:
            skip: (Q, 2) half-open range of columns that each query must not find: itself, or its user's.
            step: called after each chunk with the number of queries done; what it raises ends the search.
        """
        scorer = self._scorer(len(queries))
        columns, dtype = self._width * self._groups, scorer.dtype
        size = max(1, min(CHUNK, BYTES_AT_ONCE // (dtype.itemsize * max(1, columns))))
        buffer = torch.empty((min(size, len(queries)), columns), dtype=dtype)
        best = np.full((len(queries), self._k), -1, np.int64)
        similarity = np.zeros((len(queries), self._k), np.float32)
        for start in range(0, len(queries) if len(self._candidates) else 0, size):
            part = slice(start, min(start + size, len(queries)))
            scores = buffer[: part.stop - part.start]
            best[part], similarity[part] = self._chunk(queries[part], skip[part], scorer, scores)
            step(part.stop)
        return best, similarity

    def _scorer(self, queries: int) -> CoarseScores:
        """Scores of width * groups candidates, made once, in the way that is faster for so many queries."""
        count, size = self._candidates.shape
        kind = BFloat16Scores if pays(count, size, k=self._k, queries=queries) else Float32Scores
        if kind not in self._coarse:
            padded = np.zeros((self._width * self._groups, size), np.float32)
            padded[:count] = self._candidates
            self._coarse[kind] = kind(torch.from_numpy(padded))
        return self._coarse[kind]

    def _chunk(
        self, queries: NDArray[np.float32], skip: NDArray[np.int64], scorer: CoarseScores, scores: Tensor
    ) -> Found:
        asked = torch.from_numpy(queries)
        scorer.write(asked, scores)  # (B, width * groups)
        scores[:, len(self._candidates) :] = -torch.inf
        lengths = skip[:, 1] - skip[:, 0]
        rows = np.repeat(np.arange(len(queries)), lengths)
        columns = (
            np.repeat(skip[:, 0], lengths) + np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        )
        scores[torch.from_numpy(rows), torch.from_numpy(columns)] = -torch.inf

        # The k-th largest maximum of disjoint groups is at most the k-th largest score: a bound that is cheap to find.
        # A group is every `groups`-th column, so that a user's prefixes, which are alike, fall into different ones.
        grouped = scores.view(len(queries), self._width, self._groups)
        tops = grouped[:, 0].clone()  # (B, groups)
        for member in range(1, self._width):  # `amax` takes three times as long over bfloat16
            torch.maximum(tops, grouped[:, member], out=tops)
        tops = tops.float()
        bound = scorer.lowest(asked, tops.topk(min(self._k, self._groups), dim=1).values[:, -1])
        hits = (tops >= bound[:, None]) & (tops > -torch.inf)
        kept: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        counts = np.count_nonzero(hits.numpy(), axis=1)  # torch's own sum of booleans takes ten times as long
        for first, last in _slices(counts * self._width, ENTRIES_AT_ONCE):
            found = self._entries(grouped[first:last], hits[first:last], bound[first:last])
            kept.append((found[0] + first, found[1]))
        rows = np.concatenate([part[0] for part in kept])
        columns = np.concatenate([part[1] for part in kept])
        return self._rescored(queries, rows, columns)

    def _rescored(self, queries: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Found:
        """The first k of the entries, which are in order of their rows; numpy computes on one core, so queries are shared out."""
        workers = torch.get_num_threads() if len(rows) > ALONE else 1
        bounds = np.linspace(0, len(queries), workers + 1).astype(np.int64)
        ends = np.searchsorted(rows, bounds)

        def share(number: int) -> Found:
            own, part = slice(bounds[number], bounds[number + 1]), slice(ends[number], ends[number + 1])
            scores = dots(queries, self._candidates, rows[part], columns[part])
            return first_k(rows[part] - own.start, columns[part], scores, count=own.stop - own.start, k=self._k)

        if workers == 1:
            return share(0)
        with ThreadPoolExecutor(workers) as pool:
            best, similarity = zip(*pool.map(share, range(workers)), strict=True)
        return np.concatenate(best), np.concatenate(similarity)

    def _entries(self, grouped: Tensor, hits: Tensor, bound: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of the scores in hit groups that reach the bound, without needless copies of equal candidates."""
        row, group = hits.nonzero(as_tuple=True)
        members = grouped[row, :, group]  # (H, width)
        entry, member = ((members >= bound[row][:, None]) & (members > -torch.inf)).nonzero(as_tuple=True)
        rows, columns = row[entry].numpy(), (member * self._groups + group[entry]).numpy()
        # Of equal candidates only the first k columns can be among the first k.
        count = len(self._candidates)
        kinds = rows * count + self._same[columns]
        order = np.argsort(kinds * count + columns)  # a chunk has so few rows that this is less than 2**63
        kept = order[_positions(kinds[order]) < self._k]
        return rows[kept], columns[kept]


def _equal_rows(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) a number per row that equal rows share."""
    plain = np.ascontiguousarray(vectors + np.float32(0.0)).view(np.uint32)  # -0 becomes 0
    factors = np.random.default_rng(1).integers(2**63, size=plain.shape[1], dtype=np.uint64) * 2 + 1
    hashes = np.concatenate([(part * factors).sum(axis=1, dtype=np.uint64) for part in _parts(plain)])
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1).astype(np.int64)
    partners = _parts(first[inverse][:, None], plain.shape[1])
    if all(np.array_equal(part, plain[at[:, 0]]) for part, at in zip(_parts(plain), partners, strict=True)):
        return inverse
    whole = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1])))[:, 0]  # two rows share a hash
    return np.unique(whole, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _parts(rows: NDArray[Any], width: int | None = None) -> list[NDArray[Any]]:
    """Consecutive rows of at most NUMBERS_AT_ONCE numbers."""
    step = max(1, NUMBERS_AT_ONCE // max(1, width or rows.shape[1]))
    return [rows[start : start + step] for start in range(0, max(1, len(rows)), step)]


def _positions(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) position of each entry among those with its key, from 0; equal keys are adjacent."""
    index = np.arange(len(keys))
    starts = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
    return index - np.maximum.accumulate(np.where(starts, index, 0))


def _slices(sizes: NDArray[np.int64], limit: int) -> list[tuple[int, int]]:
    """Consecutive ranges of rows whose sizes sum up to at most the limit; a larger row stands alone."""
    ends = np.cumsum(sizes)
    ranges: list[tuple[int, int]] = []
    first = 0
    while first < len(sizes):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + limit, side="right")))
        ranges.append((first, last))
        first = last
    return ranges
