"""The job of a run of kind `search`: encode the texts of a summary set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sracl_tui.runs.request import RunRequest
from store.database.database import Store
from store.errors import LookupFailed
from store.queries import caches, datasets
from store.queries import text_search as stored

if TYPE_CHECKING:
    from engine.semantics.encoders.encoder import Encoder
    from sracl_tui.runs.recorder import Recorder
    from sracl_tui.runs.stages.clock import Clock


ENCODER = "minilm"
"""Where no run tells which encoder goes with a set."""


def encode_set(request: RunRequest, recorder: Recorder, store: Store, clock: Clock, stop: Callable[[], bool]) -> None:
    """The work of a run of kind `search`: encode those texts of a set that have no vector yet."""
    from engine.semantics.encoders.text_vectors import make_vectors

    job = request.job
    row = datasets.get(store, request.config.data.dataset)
    recorder.write("dataset_used", dataset_id=row["dataset_id"], dataset_sha256=row["sha256"], dataset_name=row["name"])
    found = stored.find_set(store, set_id=job["set_id"])
    if found is None:
        raise LookupFailed(f"there is no summary set {job['set_id']}")
    wanted = set(stored.owners(store, found, prefixes=job["prefixes"])[1])
    texts = [text for sha, text in stored.texts(store, [found["set_id"]]).items() if sha in wanted]
    encoder = set_encoder(store, request.config.semantics.encoder, job["corpus"])
    with clock.stage("vectors", total=len(texts)) as outcome:
        make_vectors(
            encoder,
            texts,
            known=lambda shas: caches.known_vectors(store, encoder.name, shas),
            report=clock.report,
            stop=stop,
        )
        outcome["detail"] = f"{encoder.name}: {len(texts):,} texts"


def set_encoder(store: Store, name: str, corpus: list[str]) -> Encoder:
    """The encoder of a set's run; `tfidf` counts the same words as it did."""
    from engine.semantics.encoders.registry import build_encoder

    texts = list(stored.texts(store, corpus).values()) if name == "tfidf" else []
    return build_encoder(name, texts, home=store.home.path)
