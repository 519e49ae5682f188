"""Provider `titles`: raw item texts instead of summaries, the ablation "w/o LLM" (paper section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config import content_hash
from engine.data.dataset import Dataset
from engine.data.histories import window_items
from engine.semantics.kinds import KEY_LENGTH, Kind
from engine.semantics.summaries.provider import Answers

CHUNK = 2000
SEPARATOR = "; "


class TitlesProvider:
    """The text of an anchor joins its items' texts, newest first; the text of an item is its own."""

    name = "titles"
    model: str | None = None
    prompt_version = "titles-1"
    template = "user: {newest item}; {item before}; ...\nitem: {title and attributes}"

    def __init__(self, dataset: Dataset, *, max_length: int) -> None:
        """Args:
        max_length: number of newest items of a prefix whose texts are joined.
        """
        self._dataset, self._max_length = dataset, max_length
        self.parameters: dict[str, Any] = {"max_length": max_length}

    def request_keys(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        """Hashes of the texts themselves."""
        return [content_hash([self.prompt_version, text], length=KEY_LENGTH) for text in self._texts(kind, owner_ids)]

    def answer(self, kind: Kind, owner_ids: NDArray[np.int64], keys: list[str]) -> Iterator[Answers]:
        """The texts, `CHUNK` at a time, in order of the owners."""
        for start in range(0, len(keys), CHUNK):
            part = slice(start, start + CHUNK)
            yield Answers.free(keys[part], self._texts(kind, owner_ids[part]))

    def _texts(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        texts = self._dataset.items.texts
        if kind == "item":
            return [texts[item - 1] for item in owner_ids.tolist()]
        windows = window_items(self._dataset, owner_ids, self._max_length)
        return [
            SEPARATOR.join(text for item in windows.newest_first(row) if (text := texts[item - 1]))
            for row in range(len(windows))
        ]
