"""Provider `titles`: raw item texts instead of summaries, the ablation "w/o LLM" (paper section 4.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.data.histories import window_items
from engine.semantics.kinds import Kind
from engine.semantics.summaries.provider import RuleProvider

SEPARATOR = "; "


class TitlesProvider(RuleProvider):
    """The text of an anchor joins its items' texts, newest first; the text of an item is its own."""

    name = "titles"
    prompt_version = "titles-1"
    template = "user: {newest item}; {item before}; ...\nitem: {title and attributes}"
    chunk = 2000

    def texts(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        texts = self.dataset.items.texts
        if kind == "item":
            return [texts[item - 1] for item in owner_ids.tolist()]
        windows = window_items(self.dataset, owner_ids, self.max_length)
        return [
            SEPARATOR.join(text for item in windows.newest_first(row) if (text := texts[item - 1]))
            for row in range(len(windows))
        ]
