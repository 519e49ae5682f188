"""A backend's index in a file, with its measured recall in a JSON file of the same name.

Legend: C vectors, S size of a vector, k results.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config import RetrievalConfig, content_hash
from engine.files import atomic_write
from engine.retrieval.backend import Index

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
    settings: dict[str, Any]
    """What the index was built with."""
    search_k: int
    """Effort of a query."""
    recall: float | None
    """Share of the true 10 nearest that are found, on a sample of the vectors, each left out of its own neighbors."""
    seconds: float
    """That it took to build and to measure."""
    sha256: str
    """Of the index's file."""
    library: str
    """Name and version of what wrote it."""


class SavedIndex:
    """An index in a file, of which a library may load only what is read."""

    def __init__(self, path: Path, facts: IndexFacts, kind: type[Index]) -> None:
        """Open it.

        Raises:
            OSError, ValueError: the file is not an index of that kind and dimension.
        """
        self.facts = facts
        self._index = kind.open(path, facts.dimension)

    def nearest(self, query: NDArray[np.float32], k: int) -> Found:
        """The k rows with the largest cosine to a query (S,), fewer where there are fewer."""
        facts = self.facts
        rows = self._index.nearest(query, min(k, facts.count), facts.search_k)
        vectors = self._index.vectors(rows).reshape(-1, facts.dimension)
        return _sorted(rows, _cosines(vectors, query))


def exact_nearest(vectors: NDArray[np.float32], query: NDArray[np.float32], k: int) -> Found:
    """`SavedIndex.nearest` without an index: every vector of (C, S) is compared."""
    rows, cosines = _sorted(np.arange(len(vectors)), _cosines(vectors.astype(np.float64), query))
    return rows[:k], cosines[:k]


def open_index(path: Path, fingerprint: str, kind: type[Index]) -> SavedIndex | None:
    """The index saved at a path; none where it is missing, damaged, of another library or version, or of other vectors."""
    try:
        facts = IndexFacts(**json.loads(_facts_path(path).read_text("utf-8")))
        if facts.fingerprint != fingerprint or facts.library != kind.library() or facts.sha256 != _sha256(path):
            return None
        return SavedIndex(path, facts, kind)
    except (OSError, ValueError, TypeError):
        return None


def build_index(
    path: Path,
    vectors: NDArray[np.float32],
    fingerprint: str,
    kind: type[Index],
    *,
    trees: int = TREES,
    search_k: int | None = None,
    doublings: int = DOUBLINGS,
) -> SavedIndex:
    """Index vectors (C, S), none of them zero, measure the recall, and save both; an older index is replaced at the end.

    Args:
        trees: for a kind of index that has them.
        search_k: effort of a query at first (of Annoy, nodes that it inspects); none means the larger of SEARCH_K and SEARCH_SHARE of C.
        doublings: how often it may be doubled to reach TARGET.

    Raises:
        OSError: it cannot be written.
    """
    from engine.retrieval.topk import normalized

    started = time.perf_counter()
    units = normalized(vectors)
    search_k = max(SEARCH_K, int(SEARCH_SHARE * len(units))) if search_k is None else search_k
    config = RetrievalConfig(trees=trees)
    index = kind.build(units, config)
    recall_at = _recall_of(index, units)
    recall = recall_at(search_k)
    for _ in range(doublings):
        if recall is None or recall >= TARGET:
            break
        search_k *= 2
        recall = recall_at(search_k)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        index.save(temporary)
        facts = IndexFacts(
            fingerprint=fingerprint,
            count=len(units),
            dimension=units.shape[1],
            settings={name: getattr(config, name) for name in kind.settings},
            search_k=search_k,
            recall=recall,
            seconds=round(time.perf_counter() - started, 3),
            sha256=_sha256(temporary),
            library=kind.library(),
        )
    with atomic_write(_facts_path(path)) as temporary:
        temporary.write_text(json.dumps(asdict(facts), indent=1), "utf-8")
    return SavedIndex(path, facts, kind)


def fingerprint_of(encoder: str, sha256s: list[str]) -> str:
    """Hash of the encoder's name and of the texts' hashes, in order: it changes when the indexed vectors do."""
    return content_hash([encoder, sha256s], length=32)


def _recall_of(index: Index, units: NDArray[np.float32]) -> Callable[[int], float | None]:
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
            found = index.nearest(units[row], min(SAMPLE_K + 1, len(units)), search_k)
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
