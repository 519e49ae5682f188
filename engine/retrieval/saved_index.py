"""An Annoy index in a memory-mapped file, with its measured recall in a JSON file of the same name.

Legend: C vectors, S size of a vector, k results.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config import content_hash
from engine.files import atomic_write

TREES = 50
SEARCH_K = 20_000
SEARCH_SHARE = 0.15
"""Nodes that a query inspects: SEARCH_K, or this share of the vectors where that is more."""
TARGET = 0.99
"""Recall@10 that an index should reach; its `search_k` is doubled a few times where it does not."""
DOUBLINGS = 3
SAMPLE, SAMPLE_K = 200, 10
"""Vectors that are looked up to measure the recall, and neighbors of each."""
SEED = 2
"""Of that sample; the trees have one of their own."""

Found = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows (k,) and their cosine (k,), most similar first; of equal ones the lower row."""


@dataclass(frozen=True)
class IndexFacts:
    """The JSON file of an index."""

    fingerprint: str
    """Hash of the indexed vectors; the index is outdated when theirs differs."""
    count: int
    """C"""
    dimension: int
    """S"""
    trees: int
    search_k: int
    recall: float | None
    """Share of the true 10 nearest that are found, on a sample of the vectors, each left out of its own neighbors."""
    seconds: float
    """That it took to build and to measure."""
    sha256: str
    """Of the index's file."""
    annoy: str
    """Version of the library."""


class SavedIndex:
    """An index in a file, of which only what is read is loaded into memory."""

    def __init__(self, path: Path, facts: IndexFacts) -> None:
        """Map it.

        Raises:
            OSError: the file is not an index of that dimension.
        """
        from annoy import AnnoyIndex

        self.facts = facts
        self._index = AnnoyIndex(facts.dimension, "angular")
        self._index.load(str(path))

    def nearest(self, query: NDArray[np.float32], k: int) -> Found:
        """The k rows with the largest cosine to a query (S,), fewer where there are fewer."""
        facts = self.facts
        rows = self._index.get_nns_by_vector(query.tolist(), min(k, facts.count), max(facts.search_k, k * facts.trees))
        vectors = np.array([self._index.get_item_vector(row) for row in rows], np.float64).reshape(-1, facts.dimension)
        return _sorted(np.array(rows, np.int64), _cosines(vectors, query))


def exact_nearest(vectors: NDArray[np.float32], query: NDArray[np.float32], k: int) -> Found:
    """`SavedIndex.nearest` without an index: every vector of (C, S) is compared."""
    rows, cosines = _sorted(np.arange(len(vectors)), _cosines(vectors.astype(np.float64), query))
    return rows[:k], cosines[:k]


def open_index(path: Path, fingerprint: str) -> SavedIndex | None:
    """The index saved at a path; none where it is missing, damaged, of another Annoy version, or of other vectors."""
    try:
        facts = IndexFacts(**json.loads(_facts_path(path).read_text("utf-8")))
        if facts.fingerprint != fingerprint or facts.annoy != version("annoy") or facts.sha256 != _sha256(path):
            return None
        return SavedIndex(path, facts)
    except (OSError, ValueError, TypeError):
        return None


def build_index(
    path: Path,
    vectors: NDArray[np.float32],
    fingerprint: str,
    *,
    trees: int = TREES,
    search_k: int | None = None,
    doublings: int = DOUBLINGS,
) -> SavedIndex:
    """Index vectors (C, S), none of them zero, measure the recall, and save both; an older index is replaced at the end.

    Seeded and built by one thread: the same vectors give the same file.

    Args:
        search_k: nodes that a query inspects at first; none means the larger of SEARCH_K and SEARCH_SHARE of C.
        doublings: how often it may be doubled to reach TARGET.

    Raises:
        OSError: it cannot be written.
    """
    from engine.retrieval.annoy_index import build_trees
    from engine.retrieval.topk import normalized

    started = time.perf_counter()
    units = normalized(vectors)
    search_k = max(SEARCH_K, int(SEARCH_SHARE * len(units))) if search_k is None else search_k
    index = build_trees(units, trees)
    recall_at = _recall_of(index, units)
    recall = recall_at(search_k)
    for _ in range(doublings):
        if recall is None or recall >= TARGET:
            break
        search_k *= 2
        recall = recall_at(search_k)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        index.save(str(temporary))
        facts = IndexFacts(
            fingerprint=fingerprint,
            count=len(units),
            dimension=units.shape[1],
            trees=trees,
            search_k=search_k,
            recall=recall,
            seconds=round(time.perf_counter() - started, 3),
            sha256=_sha256(temporary),
            annoy=version("annoy"),
        )
    with atomic_write(_facts_path(path)) as temporary:
        temporary.write_text(json.dumps(asdict(facts), indent=1), "utf-8")
    return SavedIndex(path, facts)


def fingerprint_of(encoder: str, sha256s: list[str]) -> str:
    """Hash of the encoder's name and of the texts' hashes, in order: it changes when the indexed vectors do."""
    return content_hash([encoder, sha256s], length=32)


def _recall_of(index: Any, units: NDArray[np.float32]) -> Callable[[int], float | None]:
    """Recall on a seeded sample, as a function of `search_k`: the exact result is found once."""
    from engine.retrieval.topk import ExactSearch, dots

    rows = np.random.default_rng(SEED).choice(len(units), min(SAMPLE, len(units)), replace=False)
    exact, similarity = ExactSearch(units, k=SAMPLE_K)(units[rows], np.stack([rows, rows + 1], axis=1))
    mask = exact >= 0
    last = np.where(mask, similarity, np.inf).min(axis=1)

    def recall(search_k: int) -> float | None:
        if not mask.any():
            return None
        hits = 0
        for row, least in zip(rows.tolist(), last, strict=True):
            found = np.array(index.get_nns_by_item(row, SAMPLE_K + 1, search_k), np.int64)
            found = found[found != row][:SAMPLE_K]
            # One that is as similar as the last exact one is as good as it.
            hits += int((dots(units, units, np.full(len(found), row), found) >= least).sum())
        return hits / int(mask.sum())

    return recall


def _cosines(vectors: NDArray[np.float64], query: NDArray[np.float32]) -> NDArray[np.float32]:
    wide = query.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wide)
    return np.divide(vectors @ wide, lengths, out=np.zeros(len(vectors)), where=lengths > 0).astype(np.float32)


def _sorted(rows: NDArray[np.int64], cosines: NDArray[np.float32]) -> Found:
    order = np.lexsort((rows, -cosines))
    return rows[order], cosines[order]


def _facts_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
