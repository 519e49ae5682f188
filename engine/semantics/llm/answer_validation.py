"""Checks the form of a model's answer, extracts the text to keep, and asks for a repair of an unusable one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from engine.semantics.kinds import Kind
from engine.semantics.llm.answer_format import ANALYSIS, SUMMARY, WORDS, Message
from engine.semantics.llm.answer_text import MOST_LETTERS, clean, cut_thinking, ending

Problem = Literal["empty", "refused", "truncated", "failed", "too long", "wrong JSON", "wrong count"]
TOLERANCE = 1.5
"""An answer is too long above this multiple of the words that the prompt asks for."""
MOST_BRACES = 200
"""Opening braces of an answer at which an object is looked for."""
_REFUSAL = re.compile(
    r"^\W*(i['’]?m (very )?sorry|sorry,|i (can ?not|can['’]t|won['’]t|am unable|am not able)|as an ai\b)", re.IGNORECASE
)
_ADVICE: dict[Problem, str] = {
    "truncated": "That answer was cut off because it was too long. Answer again, much shorter, and finish.",
    "too long": "That answer was too long. Answer again with at most half the words.",
    "wrong JSON": f'That was not the JSON that was asked for. Answer again with one JSON object and nothing else, with exactly the two string fields "{SUMMARY}" and "{ANALYSIS}".',
}


@dataclass(frozen=True)
class Validation:
    """The result of checking an answer."""

    text: str
    """The text to keep; empty if there is a problem."""
    problem: Problem | None


def validate(kind: Kind, text: str | None, finish_reason: str | None, refusal: str | None) -> Validation:
    """Check one answer: not empty, refused, truncated or too long, and in JSON for an item.

    Only the form is checked, not whether the text is true. Thinking and control tokens are removed.
    """
    text, endless = cut_thinking(clean(text or ""))
    text = text[:MOST_LETTERS]
    end = ending(finish_reason)
    if refusal or end == "refused":
        return Validation("", "refused")
    if end == "truncated" or endless:
        return Validation("", "truncated")
    if end == "failed":
        return Validation("", "failed")
    if not text:
        return Validation("", "empty")
    if _REFUSAL.match(text):
        return Validation("", "refused")
    if kind == "item":
        return _validate_item(text)
    text = " ".join(text.split())
    return Validation("", "too long") if len(text.split()) > WORDS["user"] * TOLERANCE else Validation(text, None)


def _validate_item(text: str) -> Validation:
    parts = _fields(text)
    if parts is None:
        return Validation("", "wrong JSON")
    if any(len(part.split()) > WORDS[name] * TOLERANCE for name, part in parts.items()):
        return Validation("", "too long")
    return Validation("\n".join(" ".join(part.split()) for part in parts.values()), None)


def _fields(text: str) -> dict[str, str] | None:
    """Both fields of an item's answer; None if no JSON object in the text, or in one of its objects, has them.

    Models write it twice, between other words or braces, inside another object or a list, and with other names of its keys.
    """
    decoder = json.JSONDecoder(strict=False)
    place, tried = text.find("{"), 0
    while place >= 0 and tried < MOST_BRACES:
        tried += 1
        try:
            tree, after = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            after = place + 1
        else:
            if (found := _inside(tree)) is not None:
                return found
        place = text.find("{", after)
    return None


def _inside(tree: Any) -> dict[str, str] | None:
    """Both fields of an object or of one that it holds."""
    if not isinstance(tree, dict):
        return None
    named = {re.sub(r"[\W_]+", "", str(name)).lower(): value for name, value in tree.items()}
    parts = {name: named.get(name.replace(" ", "")) for name in (SUMMARY, ANALYSIS)}
    good = {name: part for name, part in parts.items() if isinstance(part, str) and clean(part).strip()}
    if len(good) == len(parts):
        return {name: clean(part) for name, part in good.items()}
    nested = [inner for value in tree.values() for inner in (value if isinstance(value, list) else [value])]
    return next((found for inner in nested if (found := _inside(inner)) is not None), None)


def repair_prompt(messages: list[Message], answer: str | None, problem: Problem) -> list[Message]:
    """Messages of the next attempt: with the unusable answer and advice, for problems that advice may mend."""
    if problem not in _ADVICE or not answer:
        return messages
    return [*messages, {"role": "assistant", "content": answer[:4000]}, {"role": "user", "content": _ADVICE[problem]}]
