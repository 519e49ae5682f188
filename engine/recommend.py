"""A trained backbone for inference, saved as a folder of `model.safetensors` and `model.json`.

Recommending needs nothing else of SRA-CL: no text, no vectors, no neighbors, no synthesizer.

Legend: B histories, K recommendations, V items.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.config import ModelConfig
from engine.data.batching.windows import pack_histories
from engine.errors import CheckpointError, ConfigError, DataError
from engine.extension_points import BACKBONES
from engine.models.backbone import Backbone
from engine.models.registry import build_backbone
from engine.registry import split_file

FORMAT = "sracl-model-1"
WEIGHTS, ABOUT = "model.safetensors", "model.json"
BATCH = 512
"""Histories at a time: their scores of all items are held in memory."""


Ties = Literal["worst", "best"]


@dataclass(frozen=True)
class Ranking:
    """What a model ranks for one history."""

    items: list[int]
    """Numbers of the K best items, best first."""
    scores: list[float]
    """Their scores."""
    ranks: list[int]
    """Ranks from 1 of the M items that were asked for."""
    own_scores: list[float]
    """Scores of these M items."""


@dataclass(frozen=True)
class Recommender:
    """A backbone f with the names of the items that it knows."""

    backbone: Backbone
    """In evaluation mode."""
    model: ModelConfig
    max_length: int
    """Items of a history that f sees, the last ones."""
    item_ids: list[str]
    """The source's own ids, by item number - 1."""
    titles: list[str]
    about: dict[str, Any] = field(default_factory=dict)
    """Provenance: run, dataset, metrics."""

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Item number by the source's own id."""
        return {raw_id: number for number, raw_id in enumerate(self.item_ids, 1)}

    def recommend(
        self, histories: Sequence[Sequence[str]], *, k: int = 20, mask_seen: bool = False
    ) -> list[list[tuple[str, float]]]:
        """The k best next items of each history, as (id, score), best first.

        Args:
            histories: the source's own item ids, oldest first.
            mask_seen: leave out the items of the history.

        Raises:
            DataError: a history is empty, or has an item that the model does not know.
        """
        unknown = {item for history in histories for item in history if item not in self.numbers}
        if unknown:
            raise DataError(f"{len(unknown)} items are not known to the model, such as {sorted(unknown)[0]!r}")
        numbered = [np.array([self.numbers[item] for item in history], np.int64) for history in histories]
        ids, scores = self.top(numbered, k=k, mask_seen=mask_seen)
        rows = zip(ids.tolist(), scores.tolist(), strict=True)
        return [
            [(self.item_ids[n - 1], score) for n, score in zip(*row, strict=True) if score != float("-inf")]
            for row in rows
        ]

    @torch.no_grad()
    def top(
        self, histories: Sequence[NDArray[np.integer]], *, k: int = 20, mask_seen: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Item numbers and scores, each (B, K), best first; of equal scores the lower number first.

        With `mask_seen` a score of -inf stands where there are fewer items left than k.

        Raises:
            DataError: a history is empty.
        """
        if not all(len(history) for history in histories):
            raise DataError("a history is empty", hint="One item is enough.")
        ids, scores = [torch.zeros(0, k, dtype=torch.long)], [torch.zeros(0, k)]
        k = min(k, len(self.item_ids))
        for start in range(0, len(histories), BATCH):
            part = histories[start : start + BATCH]
            found = self.scores(part)
            if mask_seen:
                rows = torch.repeat_interleave(torch.arange(len(part)), torch.tensor([len(h) for h in part]))
                found[rows, torch.from_numpy(np.concatenate(part).astype(np.int64)) - 1] = -torch.inf
            columns, values = _best(found, k)
            ids.append(columns)
            scores.append(values)
        return torch.cat(ids[1:] or ids).numpy(), torch.cat(scores[1:] or scores).numpy()

    @torch.no_grad()
    def scores(self, histories: Sequence[NDArray[np.integer]]) -> Tensor:
        """(B, V) scores of items 1..V."""
        return self.backbone.scores(self.encode(histories))

    @torch.no_grad()
    def encode(self, histories: Sequence[NDArray[np.integer]]) -> Tensor:
        """h (B, D) of histories."""
        return self.backbone(pack_histories(histories, self.max_length))

    @torch.no_grad()
    def rank(
        self,
        hidden: Tensor,
        items: Sequence[int],
        *,
        k: int,
        seen: NDArray[np.integer] | None = None,
        ties: Ties = "worst",
    ) -> Ranking:
        """The k best items for one vector, and the ranks of some items, as the evaluation ranks a target.

        Args:
            hidden: h (D,).
            items: numbers of the items to rank.
            seen: items that are left out of the ranking, except for the one whose rank it is.
            ties: `worst` counts the others that score at least as high; `best` those that score higher.
        """
        own = self.backbone.scores(hidden[None])  # (1, V)
        others = own.clone()
        if seen is not None and len(seen):
            others[0, torch.from_numpy(seen.astype(np.int64)) - 1] = -torch.inf
        ids, scores = _best(others, min(k, len(self.item_ids)))
        asked = torch.tensor(list(items), dtype=torch.long) - 1  # (M,)
        values = own[0, asked][:, None]
        above = others >= values if ties == "worst" else others > values  # (M, V)
        above[torch.arange(len(asked)), asked] = False
        listed = scores[0] > -torch.inf
        return Ranking(
            ids[0][listed].tolist(), scores[0][listed].tolist(), (above.sum(1) + 1).tolist(), values[:, 0].tolist()
        )


def _best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Item numbers and scores, each (B, K), best first, from scores (B, V); of equal scores the lower number first."""
    values, columns = scores.topk(k)
    order = torch.from_numpy(np.lexsort((columns.numpy(), -values.numpy())))
    return columns.gather(1, order) + 1, values.gather(1, order)


def build(weights: dict[str, Tensor], model: ModelConfig, *, max_length: int, items: int, where: Path) -> Backbone:
    """A backbone with weights, ready to recommend.

    Raises:
        CheckpointError: the weights do not fit.
        ConfigError: it cannot be built.
    """
    backbone = build_backbone(model, items=items, max_length=max_length)
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"does not fit this model: {error}", where=str(where)) from None
    return backbone.eval()


def save_model(recommender: Recommender, folder: Path) -> None:
    """Write a model to a new or empty folder; a user's own backbone is copied with it.

    Raises:
        CheckpointError: the folder has something in it, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CheckpointError("the folder is not empty", where=str(folder), hint="Name a new one.")
        parts = split_file(recommender.model.backbone)
        if parts is not None:
            (folder / BACKBONES.kept).write_bytes(parts[0].read_bytes())
        tensors = {name: value.detach().cpu().contiguous() for name, value in recommender.backbone.state_dict().items()}
        save_file(tensors, folder / WEIGHTS, {"format": FORMAT})
        model = recommender.model.model_dump(mode="json")
        model["backbone"] = f"{BACKBONES.kept}:{parts[1]}" if parts else model["backbone"]
        document = {
            "format": FORMAT,
            "model": model,
            "max_length": recommender.max_length,
            "about": recommender.about,
            "items": recommender.item_ids,
            "titles": recommender.titles,
        }
        (folder / ABOUT).write_text(json.dumps(document, ensure_ascii=False, indent=1), "utf-8")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be written: {error}", where=str(folder)) from error


def load_model(folder: Path | str, *, own_code: bool = False) -> Recommender:
    """A model from its folder.

    Args:
        own_code: allow running the folder's `own_backbone.py`, where the backbone is a user's own code.

    Raises:
        CheckpointError: a file is missing, damaged, or of another format.
        ConfigError: the backbone is a user's own code and `own_code` is not set, or it cannot be built.
    """
    folder = Path(folder)
    try:
        document = json.loads((folder / ABOUT).read_text("utf-8"))
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}")
        weights = load_file(folder / WEIGHTS)
        values = dict(document["model"])
        own = split_file(values["backbone"])
        if own is not None:
            values["backbone"] = f"{folder.resolve() / BACKBONES.kept}:{own[1]}"
        model = ModelConfig.model_validate(values)
        items, titles, max_length = document["items"], document["titles"], int(document["max_length"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"not a model of ours: {error}", where=str(folder)) from None
    if own is not None and not own_code:
        hint = "Read it, and say own_code=True."
        raise ConfigError(f"its backbone is code of its own, {BACKBONES.kept}", where=str(folder), hint=hint)
    backbone = build(weights, model, max_length=max_length, items=len(items), where=folder / WEIGHTS)
    return Recommender(backbone, model, max_length, items, titles, document["about"])
