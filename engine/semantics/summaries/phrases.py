"""Phrases that stand in item texts, for summaries by rule: what an item is called, and what the titles of several items share.

A phrase is a run of neighboring words of one title, so no word is torn from its place.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from engine.config import content_hash
from engine.data.dataset import Dataset
from engine.semantics.summaries.lexicon import BRAND_FIELDS, CATEGORY_FIELDS, STOP_WORDS, fold

CALL_WORDS = 9
"""Most words by which an item is called."""
SHARED_WORDS = 4
"""Most words of a shared phrase; it has two at least."""
LABEL_WORDS = 4
"""Most words of a brand or category that is named; longer ones are left out."""
COMMON_SHARE = 0.5
"""A label or phrase of a larger share of the training items says nothing about a taste."""
FOLLOWERS = 4
"""Different words that follow a phrase with which titles begin, so that it is not the torn beginning of a longer one."""

_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]['’\w&+-]*$")
_EDGE = ".,;:!?*\"'“”™®©"
_CUT = re.compile(r"\s+[-–—|/~]+\s*|\s*[,;:|()\[\]{}–—!?\"“”]+\s*|(?<=\w{4})\.\s+")
_SIZE = re.compile(
    r"#?\d[\d.,/]*(?:[-\s]?(?:oz|fl|ml|l|g|kg|mg|lbs?|mm|cm|in|inch|inches|ounces?|count|ct|packs?|pk|pcs?)\.?|[\"'”]|x\d.*)$",
    re.IGNORECASE,
)
"""A number with its unit, or `9x12`."""
_MARK = re.compile(r"\s*\((?:R|TM|C)\)|[®™©]", re.IGNORECASE)
_UNITS = frozenset(
    [
        "oz",
        "fl",
        "ml",
        "l",
        "g",
        "kg",
        "mg",
        "lb",
        "lbs",
        "mm",
        "cm",
        "in",
        "inch",
        "inches",
        "ounce",
        "ounces",
        "fluid",
        "count",
        "ct",
        "pack",
        "pk",
        "pc",
        "pcs",
        "x",
    ]
)
OPEN = frozenset(
    [
        "a",
        "an",
        "and",
        "as",
        "at",
        "by",
        "de",
        "du",
        "for",
        "from",
        "in",
        "into",
        "la",
        "le",
        "no",
        "of",
        "on",
        "or",
        "per",
        "plus",
        "the",
        "to",
        "via",
        "with",
        "without",
        "your",
        "&",
        "+",
        "-",
        "w",
        "n",
    ]
)
"""Words with which no phrase begins or ends."""
_SILENT = (STOP_WORDS | OPEN) - {"can", "set", "sets"}
"""Words that no shared phrase contains."""


@dataclass(frozen=True)
class ItemPhrases:
    """What one item can be called. Empty text for an item without any."""

    call: str
    brands: tuple[str, ...]
    categories: tuple[str, ...]
    shared: dict[str, str]
    """Phrases that other titles have, too: folded, to how they are written here."""
    digest: str
    """Hash of title and attributes."""


class Phrases:
    """Phrases of every item by item id, and how telling they are.

    Counts are over items with a training interaction only, so they do not depend on validation or test data.
    """

    def __init__(self, dataset: Dataset) -> None:
        items, trained = dataset.items, np.flatnonzero(dataset.train_counts).tolist()
        segments = [
            [words for part in _CUT.split(_MARK.sub("", title)) if (words := _words(part))] for title in items.titles
        ]
        names = _names(segments[item - 1] for item in trained)
        runs = [_runs(words, names) for words in segments]
        whole = _whole(run for item in trained for run in runs[item - 1])
        self.items = [ItemPhrases("", (), (), {}, "")]  # item 0 is padding
        self.items += [
            _phrases(title, more, words, {run.key: run.text for run in found if run.key in whole})
            for title, more, words, found in zip(items.titles, items.attributes, segments, runs, strict=True)
        ]
        self._documents = max(1, len(trained))
        self._counts: Counter[str] = Counter()
        for item in trained:
            found = self.items[item]
            self._counts.update({*found.shared, *found.brands, *found.categories})
        self.digest = content_hash([self.items[item].digest for item in trained], length=32)
        """Hash of all items that were counted."""

    def weight(self, key: str) -> float:
        """Inverse document frequency of a label or folded phrase; 0 for one that most items have."""
        count = self._counts[key]
        return 0.0 if count > COMMON_SHARE * self._documents else math.log((1 + self._documents) / (1 + count))

    def best(
        self, keys: Sequence[Iterable[str]], limit: int, shown: dict[str, str], said: Sequence[str], *, least: int = 2
    ) -> list[str]:
        """Phrases or labels of `least` items at least, none with a word of another: what recurs first, the most telling first.

        Args:
            keys: of each item, newest first; what is named first wins among equals.
            shown: how a folded phrase is written; a label is written as it is.
            said: texts that share no word with what is returned.
        """
        counts = Counter(key for some in keys for key in some)
        scores = {key: count * self.weight(key) for key, count in counts.items() if count >= least}
        ranked = sorted(
            (key for key in scores if scores[key] > 0), key=lambda key: (counts[key] < 2, -scores[key], -len(key))
        )
        found: list[str] = []
        for key in ranked:
            text = shown.get(key) or key
            if len(found) < limit and not any(overlaps(text, other) for other in (*found, *said)):
                found.append(text)
        return found


def overlaps(text: str, other: str) -> bool:
    """Whether two phrases share a word."""
    return not {word.lower() for word in text.split()}.isdisjoint(word.lower() for word in other.split())


class _Run(NamedTuple):
    """Neighboring words of a part of a title."""

    key: str
    """Folded."""
    text: str
    begins: bool
    """Whether the title begins with it."""
    follower: str
    """The word after it; empty at the end of the part."""


def _names(titles: Iterable[list[list[str]]]) -> frozenset[str]:
    """Folded words with which most of the titles that have them begin, two at least: brands, in the titles of a shop."""
    first: Counter[str] = Counter()
    having: Counter[str] = Counter()
    for segments in titles:
        having.update({fold(word) for words in segments for word in words})
        first.update(fold(word) for words in segments[:1] for word in words[:1])
    return frozenset(word for word, number in first.items() if number > 1 and 2 * number > having[word])


def _runs(segments: list[list[str]], names: frozenset[str]) -> list[_Run]:
    """All runs of two to `SHARED_WORDS` neighboring words without numbers and words that say nothing; a name stands first, if at all."""
    found: list[_Run] = []
    for place, words in enumerate(segments):
        plain = [bool(_WORD.match(word)) and word.lower() not in _SILENT for word in words]
        folded = [fold(word) for word in words]
        for start in range(len(words) - 1):
            if not plain[start] or (start and words[start - 1].lower() in OPEN):
                continue
            for end in range(start + 2, min(start + SHARED_WORDS, len(words)) + 1):
                if not plain[end - 1] or folded[end - 1] in names:
                    break
                follower = folded[end] if end < len(words) else ""
                found.append(
                    _Run(" ".join(folded[start:end]), " ".join(words[start:end]), not place and not start, follower)
                )
    return found


def _whole(runs: Iterable[_Run]) -> set[str]:
    """Keys of the runs that are no torn part of a longer phrase: most end a part of a title, or begin titles that then differ."""
    count: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    begins: Counter[str] = Counter()
    followers: dict[str, set[str]] = {}
    for run in runs:
        count[run.key] += 1
        ends[run.key] += not run.follower
        begins[run.key] += run.begins
        followers.setdefault(run.key, set()).add(run.follower)
    return {
        key
        for key, number in count.items()
        if number > 1 and (2 * ends[key] > number or (2 * begins[key] > number and len(followers[key]) >= FOLLOWERS))
    }


def _phrases(
    title: str, attributes: dict[str, list[str]], segments: list[list[str]], shared: dict[str, str]
) -> ItemPhrases:
    labels: dict[str, list[str]] = {"brand": [], "category": []}
    for name, values in attributes.items():
        kind = "brand" if name.lower() in BRAND_FIELDS else "category" if name.lower() in CATEGORY_FIELDS else None
        if kind is not None:
            named = [_label(value) for value in values if _LETTER.search(value)]
            labels[kind] += [value for value in named if 0 < len(value.split()) <= LABEL_WORDS]
    categories = tuple(dict.fromkeys(labels["category"]))
    return ItemPhrases(
        call=" ".join(_call(segments)) or next(iter(categories), ""),
        brands=tuple(dict.fromkeys(labels["brand"])),
        categories=categories,
        shared=shared,
        digest=content_hash([title, attributes], length=32),
    )


def _words(text: str) -> list[str]:
    """The words and numbers of a part of a title, without punctuation around them."""
    bare = [word.strip(_EDGE) for word in text.split()]
    return [word for word in bare if word == "&" or any(map(str.isalnum, word))]


def _label(value: str) -> str:
    """A brand or category as it is named in a sentence."""
    return " ".join(value.split()).strip(_EDGE)


def _call(segments: list[list[str]]) -> list[str]:
    """What an item is called: the beginning of its title up to a break, of two words with letters alone where it has them."""
    taken: list[str] = []
    for words in segments:
        taken += _head(words, CALL_WORDS - len(taken))
        if sum(bool(_WORD.match(word)) for word in taken) >= 2 or len(taken) >= CALL_WORDS - 1:
            break
        if len(_head(words, CALL_WORDS)) < len(words):
            break  # cut within: what follows is no neighbor
    return taken


def _head(words: list[str], room: int) -> list[str]:
    """The first words up to a size or quantity, `room` at most, that end in a word with which a phrase can end."""
    end = len(words)
    for at in range(1, len(words)):
        following = words[at + 1].lower().strip(".") if at + 1 < len(words) else ""
        measured = words[at][0].isdigit() and following in _UNITS
        if words[at].startswith("#") or measured or _SIZE.match(words[at]):
            end = at
            break
        if words[at].lower() in ("with", "for", "from") and at >= 2:
            end = at
            break
    head = words[: max(0, min(end, room))]
    while head and (head[-1].lower() in OPEN or (len(head) > 1 and head[-1].isdigit())):
        head.pop()
    return head
