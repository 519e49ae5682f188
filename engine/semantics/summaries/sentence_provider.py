"""Provider `offline`: preference summaries by rule, in sentences, without a network and without a model.

A summary has at most 40 words: what recurs in the prefix, then its latest items. Every phrase in it stands in the texts of its
items (engine/semantics/summaries/phrases.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.config import content_hash
from engine.data.dataset import Dataset
from engine.data.histories import item_histories, window_items
from engine.semantics.kinds import KEY_LENGTH, Kind
from engine.semantics.summaries.phrases import ItemPhrases, Phrases, overlaps
from engine.semantics.summaries.provider import RuleProvider

MAX_WORDS = 40
RECENT = 3
"""Latest items that a summary names."""
LABELS = 2
"""Most brands, and most categories, that a sentence names."""
SHARED = 2
"""Most phrases of titles that a sentence names."""
HISTORIES = 10
"""Training histories that an item's text covers (paper section 3.2.2)."""
HISTORY_ITEMS = 3
"""Last items of each of these histories."""


class SentenceProvider(RuleProvider):
    """Summaries of prefixes and items in whole sentences, from training interactions and item texts alone."""

    name = "offline"
    prompt_version = "offline-2"
    template = (
        'user: This person keeps choosing what is called "{phrase of several titles}", often from {recurring categories and '
        "brands}. The latest choices are {newest item}, {item before} and {item before}.\n"
        "item: This item is {beginning of its title}, belongs to {categories} and comes from {brand}. "
        "Its buyers keep choosing {what recurs in histories that end in it}."
    )

    def __init__(self, dataset: Dataset, *, max_length: int) -> None:
        """Count phrases and labels of the training items.

        Args:
            max_length: number of newest items of a prefix that a summary covers.
        """
        super().__init__(dataset, max_length=max_length)
        self._phrases = Phrases(dataset)
        self._histories = item_histories(dataset, limit=HISTORIES)
        self.parameters["max_words"] = MAX_WORDS

    def request_keys(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        """Hashes of the items that each summary covers and of the counts that it uses."""
        head = content_hash([self.prompt_version, kind, self._phrases.digest], length=64).encode()
        return [
            hashlib.sha256(head + "".join(self._phrases.items[item].digest for item in items).encode()).hexdigest()[
                :KEY_LENGTH
            ]
            for items in self._items(kind, owner_ids)
        ]

    def texts(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        write = self._user_text if kind == "user" else self._item_text
        return [write([self._phrases.items[item] for item in items]) for items in self._items(kind, owner_ids)]

    def _items(self, kind: Kind, owner_ids: NDArray[np.int64]) -> Iterator[list[int]]:
        """Item ids that each text depends on: a prefix newest first, or an item followed by the items of its histories."""
        if kind == "user":
            windows = window_items(self.dataset, owner_ids, self.max_length)
            for row in range(len(windows)):
                yield windows.newest_first(row)
            return
        for item in owner_ids.tolist():
            before = window_items(self.dataset, self._histories.of(item), HISTORY_ITEMS)
            yield [item, *(other for row in range(len(before)) for other in before.newest_first(row))]

    def _user_text(self, items: list[ItemPhrases]) -> str:
        """A summary of a prefix, given newest first; empty if no item has text."""
        calls = list(dict.fromkeys(item.call for item in items if item.call))[:RECENT]
        first = self._habit("This person", items)
        if first:
            lead = "The latest choices are" if len(calls) > 1 else "The latest choice is"
            return _joined(first, _sentence(lead, calls, MAX_WORDS - _count(first)))
        if len(calls) > 1:
            newest = _sentence("This person last chose", calls[:1], MAX_WORDS)
            return _joined(newest, _sentence("Before that came", calls[1:], MAX_WORDS - _count(newest)))
        only = _sentence("The only choice so far is", calls, MAX_WORDS)
        return _joined(
            only,
            _sentence(
                "It comes from" if only else "This person likes", _labels(items, calls), MAX_WORDS - _count(only)
            ),
        )

    def _item_text(self, items: list[ItemPhrases]) -> str:
        """A summary of an item, the first of `items`; the others precede it in training histories."""
        own, before = items[0], items[1:]
        clauses = [f"is {own.call}"] if own.call else []
        if categories := [label for label in own.categories if not overlaps(label, own.call)][-LABELS:]:
            clauses.append(f"belongs to {_listed(categories)}")
        if brands := [label for label in own.brands if not overlaps(label, own.call)][:1]:
            clauses.append(f"comes from {brands[0]}")
        first = f"This item {_listed(clauses)}." if clauses else ""
        room = MAX_WORDS - _count(first)
        second = self._habit("Its buyers" if first else "Those who choose this item", before, room=room, plural=True)
        if not second:
            calls = list(dict.fromkeys(item.call for item in before if item.call and item.call != own.call))[:LABELS]
            second = _sentence("People chose before it" if first else "People chose before this item", calls, room)
        return _joined(first, second)

    def _habit(
        self, who: str, items: Sequence[ItemPhrases], *, room: int = MAX_WORDS // 2 + 2, plural: bool = False
    ) -> str:
        """A sentence about what recurs in items, in at most `room` words; empty where nothing does."""
        phrases, labels = self._recurring(items)
        keep = "keep" if plural else "keeps"
        quoted = _fitting([f'"{phrase}"' for phrase in phrases], room - _count(who) - 6)
        start = f"{who} {keep} choosing what is called {_listed(quoted)}" if quoted else f"{who} {keep} coming back"
        link = "often from" if quoted else "to"
        named = _fitting(labels, room - _count(start) - 3)
        if not named:
            return f"{start}." if quoted else ""
        return f"{start}{',' if quoted else ''} {link} {_listed(named)}."

    def _recurring(self, items: Sequence[ItemPhrases]) -> tuple[list[str], list[str]]:
        """Phrases, and categories and brands, of more than one item: the most telling first, none with a word of another."""
        shown: dict[str, str] = {}
        for item in items:
            for phrase, written in item.shared.items():
                shown.setdefault(phrase, written)
        phrases = self._phrases.best([item.shared.keys() for item in items], SHARED, shown, [])
        categories = self._phrases.best([item.categories for item in items], LABELS, shown, phrases)
        return phrases, categories + self._phrases.best(
            [item.brands for item in items], LABELS, shown, phrases + categories
        )


def _labels(items: Sequence[ItemPhrases], said: Sequence[str]) -> list[str]:
    """Categories, and a brand, of items, without those that share a word with what is said."""
    categories = dict.fromkeys(label for item in items for label in item.categories)
    brands = dict.fromkeys(label for item in items for label in item.brands)
    new = [
        [label for label in some if not any(overlaps(label, other) for other in said)] for some in (categories, brands)
    ]
    return [*new[0][:LABELS], *new[1][:1]]


def _count(text: str) -> int:
    return len(text.split())


def _listed(phrases: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)


def _fitting(phrases: Sequence[str], room: int) -> list[str]:
    """The phrases, in order, that fit into `room` words."""
    kept: list[str] = []
    for phrase in phrases:
        if _count(phrase) <= room:
            kept.append(phrase)
            room -= _count(phrase)
    return kept


def _sentence(lead: str, phrases: Sequence[str], room: int) -> str:
    """`Lead a, b and c.` with the phrases that fit into `room` words; empty if none fits."""
    kept = _fitting(phrases, room - _count(lead) - 1)  # the word `and`
    return f"{lead} {_listed(kept)}." if kept else ""


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
