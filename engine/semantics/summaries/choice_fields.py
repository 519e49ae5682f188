"""The choices of a bounded task (engine/semantics/llm/choices.py), taken from titles and attributes of the items concerned.

Every choice stands in the text of an item of the prefix, of the item, or of the training histories that end in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.semantics.kinds import Kind
from engine.semantics.llm.answer_text import clean
from engine.semantics.llm.choices import Choices
from engine.semantics.summaries.phrases import OPEN, ItemPhrases, Phrases, overlaps

THEMES, CATEGORIES, MAKERS, TYPICAL = 4, 3, 3, 4
"""Most choices of each field."""
CHOICE_BYTES = 60
"""Most bytes of a choice: no tokenizer makes more tokens of it, so that the longest answer has fewer than `max_tokens`."""
NAMELESS = "an item without a title"
_MARKS = re.compile(r"[<>|\"{}\\]+")


def choices_of(kind: Kind, items: Sequence[int], phrases: Phrases) -> Choices:
    """The choices about a user's or an item's text.

    Args:
        items: of a user, a prefix newest first; of an item, the item, then those of its training histories.
    """
    found = [phrases.items[item] for item in items]
    fields = _user_fields(found, phrases) if kind == "user" else _item_fields(found[0], found[1:], phrases)
    cut = {name: dict.fromkeys(bare for text in some if (bare := shorten(text))) for name, some in fields.items()}
    return Choices(kind, {name: tuple(some) for name, some in cut.items() if some})


def _user_fields(items: Sequence[ItemPhrases], phrases: Phrases) -> dict[str, list[str]]:
    calls = _calls(items) or [NAMELESS]
    return {**_recurring(items, phrases), "latest": calls[:1], "typical": calls[:TYPICAL]}


def _recurring(items: Sequence[ItemPhrases], phrases: Phrases) -> dict[str, list[str]]:
    """Themes, categories and makers of items: what recurs first."""
    shown: dict[str, str] = {}
    for item in items:
        for phrase, written in item.shared.items():
            shown.setdefault(phrase, written)
    names = {item.call.casefold() for item in items}
    keys = [[key for key, written in item.shared.items() if written.casefold() not in names] for item in items]
    themes = phrases.best(keys, THEMES, shown, [], least=1)
    categories = phrases.best([item.categories for item in items], CATEGORIES, shown, themes, least=1)
    makers = phrases.best([item.brands for item in items], MAKERS, shown, [*themes, *categories], least=1)
    return {"theme": themes, "category": categories, "maker": makers}


def _item_fields(own: ItemPhrases, before: Sequence[ItemPhrases], phrases: Phrases) -> dict[str, list[str]]:
    name = own.call or NAMELESS
    features = [text for text in own.shared.values() if not overlaps(text, name)]
    liked = _recurring(before, phrases)
    beside = [call for call in _calls(before) if call != own.call]
    return {
        "name": [name],
        "feature": features[:THEMES],
        "category": [label for label in own.categories if not overlaps(label, name)][:CATEGORIES],
        "maker": [label for label in own.brands if not overlaps(label, name)][:1],
        "likes": [*liked["theme"], *liked["category"]][:THEMES],
        "beside": beside[:TYPICAL],
    }


def _calls(items: Sequence[ItemPhrases]) -> list[str]:
    return list(dict.fromkeys(item.call for item in items if item.call))


def shorten(text: str) -> str:
    """A choice without marks that a list, a tag or JSON uses, cut at a word to `CHOICE_BYTES` bytes of UTF-8."""
    words = _MARKS.sub(" ", clean(text)).split()
    while len(words) > 1 and (len(" ".join(words).encode()) > CHOICE_BYTES or words[-1].lower() in OPEN):
        words.pop()
    return " ".join(words).encode()[:CHOICE_BYTES].decode(errors="ignore")
