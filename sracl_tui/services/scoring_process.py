"""The process that loads models and answers the questions of `scoring`: `python -m sracl_tui.services.scoring_process HOME`."""

from __future__ import annotations

import json
import os
import sys
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.config import Config, EvaluateConfig
from engine.data.dataset import Dataset
from engine.errors import EngineError
from engine.recommend import Recommender
from engine.training.checkpoint_files import BEST
from sracl_tui.runs import own_code
from sracl_tui.services.recommendations import recommender_of
from sracl_tui.services.summary_neighbors import Retrieval, neighbors_of, retrieval_of
from store.errors import StoreError
from store.home import Home
from store.opening import open_store
from store.queries import runs

MODELS_KEPT = 4
"""Models in memory at once."""


@dataclass(frozen=True)
class Loaded:
    """A model with its data set and the way its run ranked."""

    model: Recommender
    dataset: Dataset
    evaluate: EvaluateConfig


class Models:
    """Models of a home, the last few of them in memory."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._kept: OrderedDict[tuple[str, int], Loaded] = OrderedDict()
        self._retrieval: tuple[Loaded, Retrieval] | None = None
        """Of the run whose summaries were asked about last."""

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The document of an answer.

        Raises:
            EngineError, StoreError: the model cannot be loaded.
        """
        loaded = self._load(question["run_id"])
        if "text" in question:
            return {"neighbors": self._neighbors(loaded, question)}
        history = np.array(question["history"], np.int64)
        seen = history if loaded.evaluate.mask_seen else None
        items, k, ties = question["items"], question["k"], loaded.evaluate.ties
        hidden = loaded.model.encode([history])[0]  # (D,)
        document: dict[str, Any] = {"sample": None, "cosine": None}
        document["model"] = asdict(loaded.model.rank(hidden, items, k=k, seen=seen, ties=ties))
        neighbors = question["neighbors"]
        if neighbors:
            prefixes = [_prefix(loaded.dataset, one["user_id"], one["position"]) for one in neighbors]
            weights = torch.tensor([one["weight"] for one in neighbors], dtype=hidden.dtype)  # (K,)
            sample = weights @ loaded.model.encode(prefixes)  # (D,)
            document["sample"] = asdict(loaded.model.rank(sample, items, k=k, seen=seen, ties=ties))
            document["cosine"] = float(torch.cosine_similarity(hidden, sample, dim=0))
        return document

    def _neighbors(self, loaded: Loaded, question: dict[str, Any]) -> list[dict[str, Any]]:
        """The neighbors of a prefix with another summary."""
        with open_store(self._home, ingest=False) as store:
            if self._retrieval is None or self._retrieval[0] is not loaded:
                run = runs.find_run(store, question["run_id"])
                self._retrieval = loaded, retrieval_of(store, run, loaded.dataset)
            return neighbors_of(store, self._retrieval[1], question["anchor_id"], question["text"])

    def _load(self, run_id: str) -> Loaded:
        path = self._home.run_folder(run_id) / BEST
        key = run_id, path.stat().st_mtime_ns if path.exists() else 0  # a run that trains on writes better weights
        if key not in self._kept:
            with open_store(self._home, ingest=False) as store:
                run = runs.find_run(store, run_id)
                model, dataset = recommender_of(store, run)
                self._kept[key] = Loaded(model, dataset, Config.model_validate(run["config"]).evaluate)
        self._kept.move_to_end(key)
        while len(self._kept) > MODELS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


def _prefix(dataset: Dataset, user_id: int, position: int) -> np.ndarray:
    start = int(dataset.offsets[user_id - 1])
    return dataset.sequence[start : start + position]


def main() -> None:
    """Answer a line of stdin with a line on stdout, until stdin ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a backbone prints is no answer
    torch.set_num_threads(1)
    home = Home(Path(sys.argv[1]))
    own_code.guard(home)
    models = Models(home)
    for line in sys.stdin:
        try:
            document = models.answer(json.loads(line))
        except (EngineError, StoreError) as error:
            document = {"error": {"message": error.message, "where": error.where, "hint": error.hint}}
        out.write(json.dumps(document) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
