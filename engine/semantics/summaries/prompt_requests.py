"""Renders the prompts of owners: messages, request bodies and cache keys.

The fixed instructions come first and histories run from the oldest item to the newest, so that the prompts of one user share
the longest possible prefix: many endpoints charge less for cached tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config import content_hash
from engine.data.dataset import Dataset
from engine.data.histories import item_histories, window_items
from engine.semantics.kinds import KEY_LENGTH, Kind
from engine.semantics.llm.answer_format import SCHEMA, Message
from engine.semantics.llm.choices import Choices
from engine.semantics.llm.endpoints import Endpoint
from engine.semantics.prompts import Prompt
from engine.semantics.summaries.choice_fields import choices_of, shorten
from engine.semantics.summaries.phrases import Phrases

HISTORIES = 5
"""Training histories that an item's prompt shows (released code)."""
HISTORY_ITEMS = 5
"""Last items of each of these histories."""
FIELD_CHARACTERS = 800
"""Maximum characters of one field of an item (released code: 500 to 1,000 of the description)."""
LINE_CHARACTERS = 200
"""Maximum characters of an item in a history."""
CHOICE_ITEMS = 8
"""Last items of a prefix that a prompt of choices shows, each by its name alone: a small model reads some hundred tokens a second."""
CHOICE_FIELDS, CHOICE_CHARACTERS = 6, 120
"""First fields of an item in such a prompt, its title among them, and the maximum characters of each."""
LINE_FIELDS = ("brand", "category", "categories", "genre", "genres", "city")
"""Fields shown after a title in a history, if the title does not contain their value."""
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


class Requests:
    """Renders the requests of one dataset, prompt, endpoint and model."""

    def __init__(self, dataset: Dataset, prompt: Prompt, endpoint: Endpoint, model: str, *, max_length: int) -> None:
        """Args:
        max_length: number of newest items of a prefix that a prompt shows.
        """
        self._dataset, self._prompt, self._endpoint = dataset, prompt, endpoint
        self._max_length, self._model = max_length, model
        self._histories = item_histories(dataset, limit=HISTORIES)
        self._lines = [
            _line(title, more) for title, more in zip(dataset.items.titles, dataset.items.attributes, strict=True)
        ]
        self._phrases = Phrases(dataset) if prompt.task == "choices" else None

    @property
    def parameters(self) -> dict[str, Any]:
        """Sampling parameters and extra fields: all of a request but messages, model and response format."""
        own = self._endpoint
        named = {"temperature": own.temperature, "top_p": own.top_p, own.tokens_field: own.max_tokens}
        return {name: value for name, value in named.items() if value is not None} | (
            {"extra_body": own.extra_body} if own.extra_body else {}
        )

    def body(self, kind: Kind, messages: list[Message], choices: Choices | None = None) -> dict[str, Any]:
        """Arguments of the chat completion call; one that is to be answered in JSON asks for it as the endpoint supports it."""
        body: dict[str, Any] = {"model": self._model, "messages": messages, **self.parameters}
        schema = choices.schema if choices is not None else SCHEMA if kind == "item" else None
        if schema is not None and self._endpoint.structured == "schema":
            named = {"name": "item" if choices is None else "choices", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif schema is not None and self._endpoint.structured == "object":
            body["response_format"] = {"type": "json_object"}
        return body

    def key(self, kind: Kind, messages: list[Message], choices: Choices | None = None) -> str:
        """Hash of the canonical request and the prompt's version; the endpoint's URL is no part of it."""
        return content_hash([self._prompt.version, self.body(kind, messages, choices)], length=KEY_LENGTH)

    def messages(self, kind: Kind, owner_ids: NDArray[np.int64]) -> Iterator[list[Message]]:
        """Messages of each owner (anchor or item ids), in order."""
        return (messages for messages, _ in self.rendered(kind, owner_ids))

    def rendered(self, kind: Kind, owner_ids: NDArray[np.int64]) -> Iterator[tuple[list[Message], Choices | None]]:
        """Messages of each owner (anchor or item ids), in order, and what may be answered, where a prompt offers choices."""
        instructions = self._prompt.user if kind == "user" else self._prompt.item
        if self._phrases is not None:
            yield from self._with_choices(kind, owner_ids, instructions, self._phrases)
        elif kind == "user":
            windows = window_items(self._dataset, owner_ids, self._max_length)
            for row in range(len(windows)):
                items = windows.items[windows.starts[row] : windows.starts[row + 1]].tolist()
                lines = "\n".join(f"{place}. {self._lines[item - 1]}" for place, item in enumerate(items, start=1))
                yield self._pair(instructions, f"<history>\n{lines}\n</history>"), None
        else:
            for item in np.asarray(owner_ids).tolist():
                yield self._pair(instructions, self._item(item)), None

    def _with_choices(
        self, kind: Kind, owner_ids: NDArray[np.int64], instructions: str, phrases: Phrases
    ) -> Iterator[tuple[list[Message], Choices]]:
        """Short prompts: the names of the newest items, or the item's own fields.

        The choices are listed only where no schema holds the answer to them: small models take the first of a list.
        """
        held = self._endpoint.structured == "schema"
        windows = window_items(self._dataset, owner_ids, self._max_length) if kind == "user" else None
        for row, owner in enumerate(np.asarray(owner_ids).tolist()):
            if windows is not None:
                items = windows.newest_first(row)
                calls = [shorten(phrases.items[item].call) or "untitled" for item in items[:CHOICE_ITEMS]]
                data = "<history>\n" + "\n".join(reversed(calls)) + "\n</history>"
            else:
                before = window_items(self._dataset, self._histories.of(owner), HISTORY_ITEMS)
                items = [owner, *(other for row in range(len(before)) for other in before.newest_first(row))]
                fields = self._fields(owner, CHOICE_CHARACTERS)[:CHOICE_FIELDS]
                data = "<item>\n" + "\n".join(field[:CHOICE_CHARACTERS] for field in fields) + "\n</item>"
            choices = choices_of(kind, items, phrases)
            if not held:
                data += f"\n<choices>\n{choices.shown()}\n</choices>"
            yield self._pair(instructions, data), choices

    def _pair(self, instructions: str, data: str) -> list[Message]:
        return [{"role": "system", "content": instructions}, {"role": "user", "content": data}]

    def _fields(self, item: int, characters: int) -> list[str]:
        """Title and attributes of an item, one a line, each attribute cut to so many characters."""
        items = self._dataset.items
        return [f"title: {clean(items.titles[item - 1])}"] + [
            f"{clean(name)}: {clean(', '.join(values))[:characters]}"
            for name, values in items.attributes[item - 1].items()
        ]

    def _item(self, item: int) -> str:
        fields = self._fields(item, FIELD_CHARACTERS)
        before = window_items(self._dataset, self._histories.of(item), HISTORY_ITEMS)
        lines = [
            "; ".join(self._lines[other - 1] for other in before.items[start:stop].tolist())
            for start, stop in zip(before.starts[:-1].tolist(), before.starts[1:].tolist(), strict=True)
        ]
        shown = "\n<histories>\n" + "\n".join(lines) + "\n</histories>" if lines else ""
        return "<item>\n" + "\n".join(fields) + "\n</item>" + shown


def clean(text: str) -> str:
    """Catalog text on one line, without angle brackets that could close the tags around it (they become ‹ and ›)."""
    return _SPACE.sub(" ", _SURROGATES.sub("\ufffd", text)).strip().replace("<", "‹").replace(">", "›")


def _line(title: str, more: dict[str, list[str]]) -> str:
    """An item in a history: its title, and a few fields that the title does not contain already."""
    head = clean(title)
    said = head.lower()
    extra = [
        clean(", ".join(more[name])) for name in LINE_FIELDS if more.get(name) and more[name][0].lower() not in said
    ]
    text = f"{head or 'untitled'} ({'; '.join(extra)})" if extra else head or "untitled"
    return text[:LINE_CHARACTERS]
