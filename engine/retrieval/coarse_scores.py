"""Dot products that are computed fast and not exactly, with a bound of how far each can be off.

By them a search picks who may be among the first k; so its result does not depend on which of them computed. Legend: B queries,
N candidates, S size of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

ROWS_AT_ONCE = 8_192
"""Candidates that are rounded at once."""
TRIED = 64
"""Vectors by which the bound is tried, and how often each."""


class CoarseScores(ABC):
    """Scores of N candidates: those of one query may all be too high or too low by the same number, and each is off by its `error`."""

    dtype: ClassVar[torch.dtype]

    def __init__(self, candidates: Tensor) -> None:
        """Of candidates (N, S) in float32."""
        self._size = candidates.shape[1]

    @abstractmethod
    def write(self, queries: Tensor, out: Tensor) -> None:
        """Write the scores of queries (B, S) into `out` (B, N)."""

    @abstractmethod
    def error(self, queries: Tensor) -> Tensor:
        """(B,) by how much a score of a query is off at most, beside the rounding of the score itself."""

    def lowest(self, queries: Tensor, reached: Tensor) -> Tensor:
        """(B,) what a score has to be if the exact one may reach the exact one of a score `reached` (B,), both finite."""
        rounding = torch.finfo(self.dtype).eps / 2 * 1.01
        wide = reached.double()
        exact = wide - rounding * wide.abs() - 2 * self.error(queries)
        return (exact / (1 + rounding * exact.sign())).float().nextafter(torch.tensor(-torch.inf))


class Float32Scores(CoarseScores):
    """The product of float32."""

    dtype = torch.float32

    def __init__(self, candidates: Tensor) -> None:
        super().__init__(candidates)
        self._columns, self._largest = candidates.T, _largest(candidates)

    def write(self, queries: Tensor, out: Tensor) -> None:
        torch.matmul(queries, self._columns, out=out)

    def error(self, queries: Tensor) -> Tensor:
        return _norms(queries) * self._largest * _summation(self._size)


class BFloat16Scores(CoarseScores):
    """The product of vectors rounded to 8 bits a number, summed in float32, where the processor has instructions for it.

    Candidates are taken relative to their mean, which changes all scores of a query by the same number: what is left of vectors that
    all point into one half of the space is shorter, and so is its rounding.
    """

    dtype = torch.bfloat16

    def __init__(self, candidates: Tensor) -> None:
        super().__init__(candidates)
        mean = candidates.mean(0)
        rounded = torch.empty(candidates.shape, dtype=torch.bfloat16)
        self._largest, self._rounding = 0.0, 0.0
        for part, kept in zip(candidates.split(ROWS_AT_ONCE), rounded.split(ROWS_AT_ONCE), strict=True):
            centered = part - mean
            kept.copy_(centered)
            largest = _largest(centered)
            self._largest = max(self._largest, largest)
            self._rounding = max(self._rounding, _largest(centered - kept) + largest * 2.0**-23)
        self._columns = rounded.T  # (S, N)

    def write(self, queries: Tensor, out: Tensor) -> None:
        torch.matmul(queries.to(torch.bfloat16), self._columns, out=out)

    def error(self, queries: Tensor) -> Tensor:
        """With q = q' + r and c = c' + s, q c - q' c' = q' s + r c; and the sum of the products is rounded on the way."""
        kept = queries.to(torch.bfloat16).float()
        norms = _norms(kept)
        return (
            norms * self._rounding
            + _norms(queries - kept) * self._largest
            + norms * self._largest * _summation(self._size)
        )


def pays(candidates: int, size: int, *, k: int, queries: int) -> bool:
    """Whether bfloat16 is worth its while: rounding is repaid by so many queries, and what its bound leaves is few beside all."""
    return queries >= 256 and candidates * size >= 70_000 * k and has_bfloat16()


@cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 faster, and the library keeps to the bound."""
    has = torch.cpu.get_capabilities()
    if not (has.get("avx512_bf16") or has.get("amx_bf16")):
        return False
    queries = torch.randn(TRIED, 512, generator=torch.Generator().manual_seed(1))
    candidates = queries.repeat(TRIED, 1)  # sums of one sign; as many as in a search, as a few take another way
    scores = BFloat16Scores(candidates)
    out = torch.empty(len(queries), len(candidates), dtype=torch.bfloat16)
    scores.write(queries, out)
    exact = queries.double() @ (candidates.double() - candidates.mean(0).double()).T
    off = (out.double() - exact).abs() - out.double().abs() * 2.0**-8 * 1.01
    return bool((off <= scores.error(queries)[:, None]).all())


def _norms(rows: Tensor) -> Tensor:
    """(N,) in double precision: squares of small numbers would vanish in float32."""
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)


def _largest(rows: Tensor) -> float:
    """The largest norm."""
    return max((float(_norms(part).max()) for part in rows.split(ROWS_AT_ONCE) if len(part)), default=0.0)


def _summation(size: int) -> float:
    """By how much a float32 sum of products is off at most, relative to the norms: S times the unit roundoff, in any order, and as much again."""
    return size * 2.0**-23
