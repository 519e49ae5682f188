"""The job of kind `search`: encode the texts of a summary set, so that they can be searched by meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.errors import LookupFailed
from store.opening import open_store
from store.queries import caches, datasets
from store.queries import text_search as stored

if TYPE_CHECKING:
    from engine.semantics.encoders.encoder import Encoder
    from sracl_tui.runs.jobs.base import JobContext
    from store.database.database import Store


ENCODER = "minilm"
"""Encodes a set that no run has used: nothing records which encoder goes with it."""


def encode_set(context: JobContext) -> None:
    """Encode those texts of the request's summary set that have no stored vector yet.

    Raises:
        LookupFailed: there is no such dataset or summary set.
    """
    from engine.semantics.encoders.text_vectors import make_vectors

    config, job = context.request.config, context.request.job
    with open_store(context.home) as store:
        row = datasets.get(store, config.data.dataset)
        context.recorder.write(
            "dataset_used", dataset_id=row["dataset_id"], dataset_sha256=row["sha256"], dataset_name=row["name"]
        )
        found = stored.find_set(store, set_id=job["set_id"])
        if found is None:
            raise LookupFailed(f"there is no summary set {job['set_id']}")
        wanted = set(stored.owners(store, found, prefixes=job["prefixes"])[1])
        texts = [text for sha, text in stored.texts(store, [found["set_id"]]).items() if sha in wanted]
        encoder = set_encoder(store, config.semantics.encoder, job["corpus"], pooling=config.semantics.pooling)
        with context.clock.stage("vectors", total=len(texts)) as outcome:
            make_vectors(
                encoder,
                texts,
                known=lambda shas: caches.known_vectors(store, encoder.name, shas),
                report=context.clock.report,
                stop=context.stop,
            )
            outcome["detail"] = f"{encoder.name}: {len(texts):,} texts"


def set_encoder(store: Store, name: str, corpus: list[str], *, pooling: str = "auto") -> Encoder:
    """The encoder of a set's run; one that needs a corpus is fitted on the texts of the sets named by `corpus`, as it was in that run."""
    from engine.semantics.encoders.registry import build_encoder, needs_corpus

    texts = list(stored.texts(store, corpus).values()) if needs_corpus(name) else []
    return build_encoder(name, texts, pooling=pooling, home=store.home.path)
