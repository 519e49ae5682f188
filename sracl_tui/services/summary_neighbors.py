"""The neighbors that a prefix of a user would have with another summary: by the run's own encoder, pool and synthesizer.

The process of models imports this; the app does not, as it loads torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.config import Config
from engine.data.dataset import Dataset
from engine.errors import ConfigError
from engine.events import ignore
from engine.methods.sracl import SYNTHESIZER
from engine.models.synthesizers import Synthesizer, build_synthesizer
from engine.retrieval.neighbors import user_neighbors
from engine.semantics.encoders.encoder import Encoder
from engine.semantics.encoders.registry import is_download
from engine.semantics.encoders.remote import names_endpoint
from engine.training import checkpoint
from engine.training.checkpoint_files import BEST
from sracl_tui.runs.jobs.encode import set_encoder
from sracl_tui.runs.stages.needs import Needs
from store.database.database import Store
from store.queries import caches, text_search
from store.run_row import StoredRun
from store.transfer.copy import encoder_of


@dataclass(frozen=True)
class Retrieval:
    """What a run searches its neighbors with."""

    config: Config
    dataset: Dataset
    anchor_ids: NDArray[np.int64]
    """(R,) prefixes with a vector, ascending."""
    vectors: NDArray[np.float32]
    """(R, S); zeros for a prefix whose summary is empty."""
    encoder: Encoder
    synthesizer: Synthesizer


def retrieval_of(store: Store, run: StoredRun, dataset: Dataset) -> Retrieval:
    """What a run searched its neighbors with, from the store and its best checkpoint.

    Raises:
        ConfigError: a summary moves no neighbor of this run, or it cannot be encoded here; the message says why.
        CheckpointError: the weights are damaged.
    """
    config = Config.model_validate(run["config"])
    check_summary(run, config)
    sets = [str(run[kind]) for kind in ("user_set_id", "item_set_id") if run[kind]]  # type: ignore[literal-required]
    encoder = set_encoder(store, config.semantics.encoder, sets, pooling=config.semantics.pooling)
    used = encoder_of(store, str(run["user_list_id"]))
    if used != encoder.name:
        raise ConfigError(f"the run's neighbors were found by the encoder {used}; here it is {encoder.name}")
    owners, shas = text_search.owners(
        store, {"set_id": run["user_set_id"], "kind": "user", "dataset_id": run["dataset_id"]}, prefixes=True
    )
    names, known = caches.known_vectors(store, encoder.name, list(dict.fromkeys(shas)))
    rows = {name: row for row, name in enumerate(names)}
    anchor_ids = np.sort(Needs.of(config, dataset).vector_anchors)
    vectors = np.zeros((len(anchor_ids), known.shape[1]), np.float32)
    sha_of = dict(zip(owners.tolist(), shas, strict=True))
    for place, anchor_id in enumerate(anchor_ids.tolist()):
        sha = sha_of.get(anchor_id)
        if sha is not None and sha not in rows:
            raise ConfigError(
                "vectors of this run's summaries are not stored any more", hint="Run it again: they are made anew."
            )
        if sha is not None:
            vectors[place] = known[rows[sha]]
    synthesizer = build_synthesizer(config.synthesizer, size=vectors.shape[1], width=config.model.width)
    weights = checkpoint.read_weights(store.home.run_folder(run["run_id"]) / BEST, f"{SYNTHESIZER}.")
    try:
        synthesizer.load_state_dict(weights)
    except RuntimeError:
        raise ConfigError("this run has no synthesizer that weighs neighbors") from None
    return Retrieval(config, dataset, anchor_ids, vectors, encoder, synthesizer.eval())


def check_summary(run: StoredRun, config: Config) -> None:
    """Refuse a run whose neighbors no summary moves, or whose encoder cannot be asked.

    Raises:
        ConfigError: with the reason.
    """
    semantics = config.semantics
    if run["user_list_id"] is None or run["user_set_id"] is None:
        raise ConfigError("this run retrieves no neighbors of users by a summary")
    if semantics.vector != "text":
        raise ConfigError(
            f"this run's neighbors are found by vectors of the kind {semantics.vector}: a summary moves none of them"
        )
    if names_endpoint(semantics.encoder):
        raise ConfigError(
            f"the encoder {semantics.encoder} is an endpoint, and each text would be a paid call, which is not made here"
        )
    if is_download(semantics.encoder):
        raise ConfigError(f"the encoder {semantics.encoder} is not installed on this machine")


@torch.no_grad()
def neighbors_of(store: Store, made: Retrieval, anchor_id: int, text: str) -> list[dict[str, Any]]:
    """The neighbors of a prefix whose summary is a text, most similar first: anchor_id, similarity, weight.

    Every candidate of the pool is compared, also where the run searched by an index.

    Raises:
        ConfigError: the text says nothing to the encoder, or the run has no neighbors of this prefix.
    """
    place = int(np.searchsorted(made.anchor_ids, anchor_id))
    if place == len(made.anchor_ids) or made.anchor_ids[place] != anchor_id:
        raise ConfigError("this run retrieves no neighbors of this prefix")
    vectors = made.vectors.copy()
    vectors[place] = _vector(store, made.encoder, text)
    exact = made.config.retrieval.model_copy(update={"backend": "exact"})
    query = np.array([anchor_id])
    found = user_neighbors(vectors, made.anchor_ids, made.dataset, exact, queries=query, report=ignore)
    ids, similarity = found.ids[0], found.similarity[0]  # (K,) each
    rows = np.searchsorted(made.anchor_ids, ids).clip(max=len(made.anchor_ids) - 1)
    weights = made.synthesizer(
        torch.from_numpy(vectors[place][None]),
        torch.from_numpy(vectors[rows][None]),
        torch.from_numpy(similarity[None]),
        torch.from_numpy((ids > 0)[None]),
    )[0]
    columns = zip(ids.tolist(), similarity.tolist(), weights.tolist(), strict=True)
    return [{"anchor_id": one, "similarity": cosine, "weight": weight} for one, cosine, weight in columns if one]


def _vector(store: Store, encoder: Encoder, text: str) -> NDArray[np.float32]:
    """The stored vector of a text, else a new one, which is not stored."""
    names, known = caches.known_vectors(store, encoder.name, [hashlib.sha256(text.encode()).hexdigest()])
    try:
        vector = known[0] if names else np.asarray(encoder.encode([text])[0], np.float32)
    except ImportError as error:
        raise ConfigError(f"the encoder {encoder.name} is not installed on this machine: {error}") from None
    if not np.any(vector):
        raise ConfigError(f"no word of this text stands in the texts that {encoder.name} counted")
    return vector
