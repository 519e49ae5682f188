"""Words of a dataset for the rule-based provider: brands, categories and TF-IDF, counted on training items only."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from engine.config import content_hash
from engine.data.dataset import Dataset

BRAND_FIELDS = frozenset({"brand", "brands", "manufacturer", "publisher", "artist", "author", "store"})
CATEGORY_FIELDS = frozenset({"category", "categories", "genre", "genres", "subcategory", "main_category"})
SILENT_FIELDS = frozenset({"price", "asin", "url", "image", "rank", "salesrank", "rating", "date"})
"""Fields whose values are no words."""
FIELD_CHARACTERS = 500
"""Maximum characters used of a long field, such as a description."""
COMMON_DOCUMENTS = 2
"""Minimum training items of a word that may describe an item: excludes model numbers."""

_WORD = re.compile(r"[^\W\d_][\w'’&-]*[^\W_]")
_LETTER = re.compile(r"[^\W\d_]")
_STOP_TEXT = """
a about all also an and any are as at be been both but by can comes count each every for from get has have in
inch inches into is it its just made make may more most new no not of off on one only or other our out over oz ounce
ounces pack packs pair pc pcs per piece pieces set sets size so such than that the their them then these they this
those to too two up use used using very was we were when which while who will with without you your
"""
STOP_WORDS = frozenset(_STOP_TEXT.split())
"""Words that say nothing about a taste."""


def fold(word: str) -> str:
    """The form in which a word is counted: lower case, simple plurals without their s."""
    low = word.lower()
    return low[:-1] if len(low) > 3 and low.endswith("s") and not low.endswith(("ss", "us", "is")) else low


def words_of(text: str) -> list[str]:
    """Words of a text in order, as written: at least two letters, without numbers and stop words."""
    return [word for word in _WORD.findall(text) if word.lower() not in STOP_WORDS]


@dataclass(frozen=True)
class ItemFacts:
    """Brands, categories and words of one item."""

    brands: tuple[str, ...]
    categories: tuple[str, ...]
    words: dict[str, str]
    """Folded word to its first spelling in the item, title first."""
    counts: dict[str, int]
    """Folded word to its number of occurrences in the item."""
    digest: str
    """Hash of title and attributes."""


class Lexicon:
    """Facts of every item by item id, and inverse document frequencies of words and labels.

    Document frequencies count items with a training interaction only, so they do not depend on validation or test data.
    """

    def __init__(self, dataset: Dataset) -> None:
        items = dataset.items
        self.facts = [ItemFacts((), (), {}, {}, "")]  # item 0 is padding
        self.facts += [_facts(title, more) for title, more in zip(items.titles, items.attributes, strict=True)]
        trained = [self.facts[item] for item in np.flatnonzero(dataset.train_counts).tolist()]
        self._documents = len(trained)
        self._word_counts: Counter[str] = Counter()
        self._label_counts: Counter[str] = Counter()
        for facts in trained:
            self._word_counts.update(facts.words.keys())
            self._label_counts.update({*facts.brands, *facts.categories})
        self.digest = content_hash([facts.digest for facts in trained], length=32)
        """Hash of all items that the frequencies were counted on."""

    def word_idf(self, folded: str) -> float:
        """Smoothed inverse document frequency of a word: ln((1 + n) / (1 + df))."""
        return math.log((1 + self._documents) / (1 + self._word_counts[folded]))

    def label_idf(self, label: str) -> float:
        """Smoothed inverse document frequency of a brand or category, as in `word_idf`."""
        return math.log((1 + self._documents) / (1 + self._label_counts[label]))

    def telling(self, words: Iterable[str]) -> list[str]:
        """The folded words that occur in at least `COMMON_DOCUMENTS` training items, or all if none does."""
        every = list(words)
        return [word for word in every if self._word_counts[word] >= COMMON_DOCUMENTS] or every


def _facts(title: str, attributes: dict[str, list[str]]) -> ItemFacts:
    brands: list[str] = []
    categories: list[str] = []
    texts = [title]
    for name, values in attributes.items():
        field = name.lower()
        named = [value.strip() for value in values if _LETTER.search(value)]  # bare numbers are ids in the source
        if field in BRAND_FIELDS:
            brands += named
        elif field in CATEGORY_FIELDS:
            categories += named
        elif field not in SILENT_FIELDS:
            texts += [value[:FIELD_CHARACTERS] for value in named]
    words: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for word in (word for text in texts for word in words_of(text)):
        words.setdefault(fold(word), word)
        counts[fold(word)] += 1
    return ItemFacts(
        brands=tuple(dict.fromkeys(brands)),
        categories=tuple(dict.fromkeys(categories)),
        words=words,
        counts=dict(counts),
        digest=content_hash([title, attributes], length=32),
    )
