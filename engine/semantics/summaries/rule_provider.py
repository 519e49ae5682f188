"""Provider `offline` in its first version, `prompt=offline-1`: paragraphs by rule, without a network and without a model.

Runs of earlier versions used it; the present one writes sentences (sentence_provider.py).

A paragraph has at most 40 words: the latest items first, then brands, categories and words that recur, then the words that
distinguish this taste (TF-IDF over the training items).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engine.config import content_hash
from engine.data.dataset import Dataset
from engine.data.histories import item_histories, window_items
from engine.semantics.kinds import KEY_LENGTH, Kind
from engine.semantics.summaries.lexicon import ItemFacts, Lexicon, fold
from engine.semantics.summaries.provider import RuleProvider

MAX_WORDS = 40
RECENT = 3
"""Number of latest items that a paragraph names."""
GIST_WORDS = 4
"""Maximum words that name an item."""
RETURN_WORDS = 14
"""Maximum words of the sentence about what recurs."""
RETURN_LABELS = 2
"""Maximum brands, and maximum categories, in that sentence."""
TELLING_WORDS = 8
"""Maximum words with a high TF-IDF in a sentence."""
HISTORIES = 10
"""Training histories that an item's text covers (paper section 3.2.2)."""
HISTORY_ITEMS = 3
"""Last items of each of these histories."""


class OfflineProvider(RuleProvider):
    """Version `offline-1`: paragraphs about prefixes and items, from training interactions and item texts alone."""

    name = "offline"
    prompt_version = "offline-1"
    template = (
        "user: Lately {newest}; before that {item before}; earlier {item before}. Keeps returning to {what recurs}. "
        "Drawn to {telling words}.\n"
        "item: {brand and telling words}. Belongs to {categories}. Known for {telling words}. "
        "Chosen by those who like {what recurs in histories that end in it}."
    )

    def __init__(self, dataset: Dataset, *, max_length: int) -> None:
        """Count the words of the training items.

        Args:
            max_length: number of newest items of a prefix that a paragraph covers.
        """
        super().__init__(dataset, max_length=max_length)
        self._lexicon = Lexicon(dataset)
        self._histories = item_histories(dataset, limit=HISTORIES)
        self._gist = lru_cache(maxsize=None)(self._make_gist)
        self.parameters["max_words"] = MAX_WORDS

    def request_keys(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        """Hashes of the items that each paragraph covers and of the word counts that it uses."""
        head = content_hash([self.prompt_version, kind, self._lexicon.digest], length=64).encode()
        return [
            hashlib.sha256(head + "".join(self._lexicon.facts[item].digest for item in items).encode()).hexdigest()[
                :KEY_LENGTH
            ]
            for items in self._items(kind, owner_ids)
        ]

    def texts(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        write = self._user_text if kind == "user" else self._item_text
        return [write(items) for items in self._items(kind, owner_ids)]

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

    def _user_text(self, items: list[int]) -> str:
        """A paragraph about a prefix, given newest first; empty if no item has text."""
        facts = [self._lexicon.facts[item] for item in items]
        gists = [gist for gist in dict.fromkeys(self._gist(item) for item in items) if gist][:RECENT]
        back = self._returning(facts)
        second = _sentence("Keeps returning to", back, MAX_WORDS if not gists else RETURN_WORDS)
        leads = ("Lately", "before that", "earlier")
        first = _join("; ", [f"{lead} {gist}" for lead, gist in zip(leads, gists, strict=False)], _left(second))
        third = _sentence("Drawn to", self._telling(facts, said=[first, second]), _left(first, second))
        return " ".join(part for part in (first, second, third) if part)

    def _item_text(self, items: list[int]) -> str:
        """A paragraph about an item, the first of `items`; the others precede it in training histories."""
        own, before = self._lexicon.facts[items[0]], [self._lexicon.facts[item] for item in items[1:]]
        gist = self._gist(items[0])
        first = _join("", [gist], MAX_WORDS // 2)
        labels = [label for label in own.categories if label != gist]
        labels.sort(key=lambda label: -self._lexicon.label_idf(label))
        second = _sentence("Belongs to", labels[:RETURN_LABELS], RETURN_WORDS)
        third = _sentence(
            "Known for", self._telling([own], said=[first, second])[: TELLING_WORDS // 2], _left(first, second)
        )
        back = self._returning(before)
        taste = [*back, *self._telling(before, said=[first, second, third, *back])]
        last = _sentence("Chosen by those who like", taste[: TELLING_WORDS // 2], _left(first, second, third))
        return " ".join(part for part in (first, second, third, last) if part)

    def _make_gist(self, item: int) -> str:
        """An item in a few words: its brand, then the words with the highest TF-IDF, in their order in the item."""
        facts = self._lexicon.facts[item]
        brand = facts.brands[0] if facts.brands else ""
        named = {fold(word) for word in brand.split()}
        words = [word for word in self._lexicon.telling(facts.words) if word not in named]
        room = GIST_WORDS - bool(brand)
        best = sorted(words, key=lambda w: (-facts.counts[w] * self._lexicon.word_idf(w), w))[:room]
        chosen = set(best)
        spoken = [brand, *(shown for word, shown in facts.words.items() if word in chosen)]
        return " ".join(part for part in spoken if part) or next(iter(facts.categories), "")

    def _returning(self, facts: list[ItemFacts]) -> list[str]:
        """Brands, categories and words that occur in more than one item, some of each: highest TF-IDF first, then newest."""
        found: list[str] = []
        for labels in ([f.brands for f in facts], [f.categories for f in facts]):
            counts = Counter(label for some in labels for label in some)  # in order of the first mention: newest first
            again = [label for label, count in counts.items() if count > 1]
            found += sorted(again, key=lambda label: -counts[label] * self._lexicon.label_idf(label))[:RETURN_LABELS]
        words = self._telling(facts, said=found, least=2)[: max(1, RETURN_LABELS * 2 - len(found))]
        return list(dict.fromkeys([*found, *words]))

    def _telling(self, facts: list[ItemFacts], *, said: list[str], least: int = 1) -> list[str]:
        """Words that occur in at least `least` items and not in `said`, by TF-IDF, ties newest first."""
        counts: Counter[str] = Counter(word for f in facts for word in f.words)
        shown: dict[str, str] = {}
        for f in facts:
            for word, written in f.words.items():
                shown.setdefault(word, written)
        taken = {fold(word.strip(".,;")) for text in said for word in text.split()}
        words = [word for word in self._lexicon.telling(counts) if counts[word] >= least and word not in taken]
        best = sorted(words, key=lambda w: -counts[w] * self._lexicon.word_idf(w))[:TELLING_WORDS]
        return [shown[word] for word in best]


def _count(text: str) -> int:
    return len(text.split())


def _left(*texts: str) -> int:
    """Number of words left in a paragraph after these texts."""
    return MAX_WORDS - sum(map(_count, texts))


def _join(glue: str, phrases: Iterable[str], room: int) -> str:
    """One sentence of the phrases, in order, that fit into `room` words."""
    kept: list[str] = []
    for phrase in phrases:
        if phrase and _count(phrase) <= room:
            kept.append(phrase)
            room -= _count(phrase)
    return f"{glue.join(kept).rstrip('.')}." if kept else ""


def _sentence(lead: str, phrases: Iterable[str], room: int) -> str:
    """`Lead a, b, c.` with the phrases that fit into `room` words; empty if none fits."""
    body = _join(", ", phrases, room - _count(lead))
    return f"{lead} {body}" if body else ""
