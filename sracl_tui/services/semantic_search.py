"""Search by meaning: a text in, the users or items whose summary is nearest to it out. For the command and the app.

The vectors of a set's texts are encoded once, in a run of kind `search`, and kept with all others. Over them an index
is built once per set and encoder, in the cache folder of the home, where it may be deleted at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config import content_hash
from engine.config_files import load_config
from engine.errors import ConfigError
from engine.events import Report, StageFinished, StageStarted, ignore
from engine.extension_points import BACKENDS
from sracl_tui.runs.jobs.encode import ENCODER, set_encoder
from sracl_tui.runs.request import RunRequest, new_run_id
from store.database.database import Store
from store.errors import LookupFailed, StoreBusy, StoreError
from store.journal.adhoc_calls import AdhocCalls
from store.queries import caches, datasets, runs
from store.queries import text_search as stored

if TYPE_CHECKING:
    from engine.retrieval.backend import Index
    from engine.retrieval.saved_index import SavedIndex
    from engine.semantics.encoders.encoder import Encoder

SMALL = 2000
"""Fewer texts are compared one by one: an index would be no faster."""
BACKEND = "annoy"
"""Keeps the index unless another backend is named."""


@dataclass(frozen=True)
class Target:
    """The summary set to search, and the encoder of its vectors."""

    found: dict[str, Any]
    """The summary set, as `find_set` gives it."""
    encoder: str
    """As `semantics.encoder` names it."""
    prefixes: bool = False
    """All prefixes of the users, not only the longest training one."""
    pooling: str = "auto"
    """As `semantics.pooling`."""

    @property
    def corpus(self) -> list[str]:
        """Sets on whose texts the set's run counted the words of `tfidf`."""
        found = self.found
        kinds = ("item_set_id",) if found["vector"] == "item-mean" else ("user_set_id", "item_set_id")
        return [found[kind] for kind in kinds if found[kind]] or [found["set_id"]]


@dataclass(frozen=True)
class SearchResult:
    """Hits of a search, with the method, its recall and the time of each step."""

    query: str
    kind: str
    dataset: str
    set_id: str
    provider: str
    model: str | None
    encoder: str
    run_id: str | None
    """The run whose set it is."""
    texts: int
    """Distinct texts that were searched."""
    index: dict[str, Any]
    """`method` (`exact`, or the backend); of an index: recall, search_k, what it was built with (Annoy: trees), and
    whether it was `built` just now."""
    seconds: dict[str, float]
    """To get the vectors or the index, to encode the query, to search."""
    hits: list[dict[str, Any]]
    """Rank, similarity, who, summary, and the titles of a user's last items or an item's own."""
    warnings: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return dict(vars(self))


class SearchStopped(Exception):
    """No error: the encoding was asked to stop; what is encoded is kept."""


def choose(
    store: Store,
    *,
    items: bool = False,
    set_id: str | None = None,
    run: str | None = None,
    dataset: str | None = None,
    encoder: str | None = None,
    prefixes: bool = False,
) -> Target:
    """The set that is meant: a named one, a run's, a dataset's newest, or the newest of all.

    Raises:
        LookupFailed: there is none.
        ConfigError: a set and a run are named, or prefixes of items are asked for.
    """
    if sum(value is not None for value in (set_id, run, dataset)) > 1:
        raise ConfigError("a set, a run and a dataset each say where to search: name one", where="--set-id")
    kind = "item" if items else "user"
    row = runs.find_run(store, run) if run is not None else None
    found = stored.find_set(
        store,
        kind=None if set_id is not None and not items else kind,
        set_id=set_id,
        run_id=row["run_id"] if row else None,
        dataset_id=datasets.get(store, dataset)["dataset_id"] if dataset is not None else None,
    )
    if found is None:
        where = set_id or (row["run_id"] if row else dataset)
        raise LookupFailed(
            f"there are no summaries of {kind}s{f' in {where}' if where else ''}",
            hint=(
                "`sracl run --preset default` makes summaries; a backbone run makes none, nor does a run without the "
                'contrast that needs them. `sracl sql "FROM summary_sets"` lists the sets.'
            ),
        )
    if prefixes and found["kind"] == "item":
        raise ConfigError("items have no prefixes", where="--prefixes")
    pooling = found["pooling"] if encoder in (None, found["encoder"]) else None
    return Target(found, encoder or found["encoder"] or ENCODER, prefixes, pooling or "auto")


def search(
    store: Store, text: str, target: Target, *, n: int = 10, backend: str = BACKEND, listener: Report = ignore
) -> SearchResult:
    """The n users (or prefixes, or items) whose summary is nearest to a text by the cosine of their vectors.

    Owners with the same summary stand together, the lower id first.

    Raises:
        ConfigError: the text says nothing to the encoder, or there is no such backend.
        LookupFailed: all summaries of the set are empty.
        SearchStopped: the encoding was asked to stop.
    """
    if not text.strip():
        raise ConfigError("there is nothing to search for", where="TEXT")
    found = target.found
    owner_ids, owner_shas = stored.owners(store, found, prefixes=target.prefixes)
    if not owner_shas:
        raise LookupFailed(f"all summaries of set {found['set_id']} are empty")
    shas = list(dict.fromkeys(owner_shas))
    row_of = {sha: row for row, sha in enumerate(shas)}
    rows_of_owners = np.array([row_of[sha] for sha in owner_shas], np.int64)
    encoder = set_encoder(store, target.encoder, target.corpus, pooling=target.pooling)
    seconds: dict[str, float] = {}
    with _Timer(seconds, "encode"):
        query = _encode(store, encoder, text)
    with _Timer(seconds, "index"):
        nearest, index = _searcher(store, target, encoder, shas, backend, listener)
    with _Timer(seconds, "search"):
        rows, cosines = nearest(query, n)
    hits = _hits(store, found, owner_ids, rows_of_owners, rows, cosines, n=n)
    return SearchResult(
        query=text,
        kind=found["kind"],
        dataset=found["dataset_name"],
        set_id=found["set_id"],
        provider=found["provider"],
        model=found["model"],
        encoder=encoder.name,
        run_id=found["run_id"],
        texts=len(shas),
        index=index,
        seconds=seconds,
        hits=hits,
        warnings=_warnings(index),
    )


def _encode(store: Store, encoder: Encoder, text: str) -> NDArray[np.float32]:
    """The vector of a query; where an endpoint gives it, its calls are kept."""
    from engine.semantics.encoders.remote import EndpointEncoder

    if isinstance(encoder, EndpointEncoder):
        provider, _, model = encoder.name.partition(":")
        with AdhocCalls(store.home, "search") as ledger:
            query = encoder.encode([text], calls=lambda columns: ledger.add(provider, model, columns))[0]
    else:
        query = encoder.encode([text])[0]
    if not np.any(query):
        raise ConfigError(
            f"no word of {text!r} stands in the texts that {encoder.name} counted",
            where="TEXT",
            hint="Use other words, or --encoder minilm, which knows more than the data set.",
        )
    return query


def _searcher(
    store: Store, target: Target, encoder: Encoder, shas: list[str], backend: str, listener: Report
) -> tuple[Callable[[NDArray[np.float32], int], Any], dict[str, Any]]:
    """What finds rows of `shas`, and what it is: the index of an earlier search, a new one, or no index at all."""
    from engine.retrieval import saved_index as saved

    backend = BACKENDS.absolute(backend)
    kind = BACKENDS.load(backend).index()
    if kind is None or len(shas) < SMALL:
        vectors = _vectors(store, target, encoder, shas, listener)
        return lambda query, n: saved.exact_nearest(vectors, query, n), {"method": "exact"}
    fingerprint = saved.fingerprint_of(encoder.name, shas)
    path = _index_path(store, target, encoder, backend, kind.suffix)
    index = saved.open_index(path, fingerprint, kind)
    built = index is None
    if index is None:
        index = _build(path, _vectors(store, target, encoder, shas, listener), fingerprint, kind, listener)
    facts = index.facts
    described = {"method": BACKENDS.label_of(backend), "recall": facts.recall, **facts.settings}
    described["search_k"] = facts.search_k
    return index.nearest, described | {"built": built, "seconds": facts.seconds, "path": str(path)}


def _index_path(store: Store, target: Target, encoder: Encoder, backend: str, suffix: str) -> Path:
    """One file per set, encoder, choice of prefixes, and backend."""
    which = [encoder.name, target.prefixes, *([BACKENDS.label_of(backend)] if backend != BACKEND else [])]
    return store.home.cache / "search" / f"{target.found['set_id']}-{content_hash(which, length=8)}{suffix}"


def _build(
    path: Path, vectors: NDArray[np.float32], fingerprint: str, kind: type[Index], listener: Report
) -> SavedIndex:
    from engine.retrieval.saved_index import build_index

    listener(StageStarted(stage="index"))
    try:
        index = build_index(path, vectors, fingerprint, kind)
    except OSError as error:
        raise StoreError(
            f"the index cannot be written: {error}", where=str(path), hint="Look at disk space and permissions."
        ) from None
    recall = "unknown" if index.facts.recall is None else f"{index.facts.recall:.4f}"
    detail = f"{len(vectors):,} texts, recall@10 {recall}"
    listener(StageFinished(stage="index", seconds=index.facts.seconds, detail=detail))
    return index


def _vectors(store: Store, target: Target, encoder: Encoder, shas: list[str], listener: Report) -> NDArray[np.float32]:
    """Vectors (C, S) of texts by hash; those that no run has made are made by one of kind `search`."""
    names, vectors = caches.known_vectors(store, encoder.name, shas)
    if len(names) < len(shas):
        _make_vectors(store, target, listener)
        names, vectors = caches.known_vectors(store, encoder.name, shas)
    if len(names) < len(shas):
        raise StoreBusy(
            "the vectors are made and kept in the run's journal, but the database could not be updated",
            pid=None,
            where=str(store.home.vectors),
            hint="Close whatever has it open for writing and search again: nothing has to be encoded twice.",
        )
    rows = {name: row for row, name in enumerate(names)}
    return vectors[[rows[sha] for sha in shas]]


def _make_vectors(store: Store, target: Target, listener: Report) -> None:
    from sracl_tui.runs.execute import execute

    found = target.found
    config, preset = load_config(
        settings={"dataset": found["dataset_name"], "encoder": target.encoder, "pooling": target.pooling}
    )
    request = RunRequest(
        run_id=new_run_id(),
        config=config,
        kind="search",
        preset=preset,
        name=f"vectors-{found['set_id'][:8]}",
        note=f"encodes the texts of summary set {found['set_id']} for a search",
        job={"set_id": found["set_id"], "prefixes": target.prefixes, "corpus": target.corpus},
    )
    result = execute(store.home, request, listener=listener, quiet=True)
    if result.state == "stopped":
        raise SearchStopped
    if result.error is not None:
        raise result.error


def _hits(
    store: Store,
    found: dict[str, Any],
    owner_ids: NDArray[np.int64],
    rows_of_owners: NDArray[np.int64],
    rows: NDArray[np.int64],
    cosines: NDArray[np.float32],
    *,
    n: int,
) -> list[dict[str, Any]]:
    """The owners of the rows that were found, at most n, in order of similarity."""
    place_of = {row: place for place, row in enumerate(rows.tolist())}
    theirs = np.flatnonzero(np.isin(rows_of_owners, rows))
    places = np.array([place_of[row] for row in rows_of_owners[theirs].tolist()], np.int64)
    order = np.lexsort((owner_ids[theirs], places))[:n]
    ids = owner_ids[theirs][order].tolist()
    read = stored.found_items if found["kind"] == "item" else stored.found_users
    known = read(store, found, ids)
    similarities = cosines[places[order]].tolist()
    return [
        {"rank": rank, "similarity": similarity, **known[owner_id]}
        for rank, (owner_id, similarity) in enumerate(zip(ids, similarities, strict=True), start=1)
    ]


def _warnings(index: dict[str, Any]) -> list[str]:
    from engine.retrieval.saved_index import TARGET

    recall = index.get("recall")
    if recall is None or recall >= TARGET:
        return []
    return [f"this index finds {100 * recall:.1f} % of the ten nearest texts, not {100 * TARGET:.0f} %"]


class _Timer:
    """Adds the seconds of a block under a name."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._name] = round(time.perf_counter() - self._started, 4)
