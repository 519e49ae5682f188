"""Checks the form of a model's answer, extracts the text to keep, and asks for a repair of an unusable one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from engine.semantics.kinds import Kind
from engine.semantics.llm.answer_format import ANALYSIS, SUMMARY, WORDS, Message

Problem = Literal["empty", "refused", "truncated", "too long", "wrong JSON", "wrong count"]
TOLERANCE = 1.5
"""An answer is too long above this multiple of the words that the prompt asks for."""
_FENCE = re.compile(r"^```[a-z]*\s*|\s*```$")
_THOUGHTS = re.compile(r"<think>.*?</think>", re.DOTALL)
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

    Only the form is checked, not whether the text is true. Thoughts in `<think>` are removed.
    """
    text = _THOUGHTS.sub("", text or "").strip()
    if refusal or finish_reason == "content_filter":
        return Validation("", "refused")
    if finish_reason == "length":
        return Validation("", "truncated")
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
    """Both fields of an item's answer; None if it is not the JSON that the prompt asks for."""
    text = _FENCE.sub("", text.strip())
    start, stop = text.find("{"), text.rfind("}")
    try:
        tree: Any = json.loads(text[start : stop + 1], strict=False) if start >= 0 else None
    except ValueError:
        return None
    if not isinstance(tree, dict):
        return None
    named = {str(name).strip().lower().replace("_", " "): value for name, value in tree.items()}
    parts = {name: named.get(name) for name in (SUMMARY, ANALYSIS)}
    good = {name: part for name, part in parts.items() if isinstance(part, str) and part.strip()}
    return good if len(good) == len(parts) else None


def repair_prompt(messages: list[Message], answer: str | None, problem: Problem) -> list[Message]:
    """Messages of the next attempt: with the unusable answer and advice, for problems that advice may mend."""
    if problem not in _ADVICE or not answer:
        return messages
    return [*messages, {"role": "assistant", "content": answer[:4000]}, {"role": "user", "content": _ADVICE[problem]}]
