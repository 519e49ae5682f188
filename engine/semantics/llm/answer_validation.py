"""Whether an answer can be used, and the text that is kept of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from engine.semantics.kinds import Kind
from engine.semantics.llm.answer_format import ANALYSIS, SUMMARY, WORDS, Message

Problem = Literal["empty", "refused", "truncated", "too long", "wrong JSON", "wrong count"]
TOLERANCE = 1.5
"""An answer may have so many times the words that were asked for."""
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
    """What to make of an answer."""

    text: str
    """What is kept; empty where there is a problem."""
    problem: Problem | None


def judge(kind: Kind, text: str | None, finish_reason: str | None, refusal: str | None) -> Validation:
    """Judge one answer of a model."""
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
        return _judge_item(text)
    text = " ".join(text.split())
    return Validation("", "too long") if len(text.split()) > WORDS["user"] * TOLERANCE else Validation(text, None)


def _judge_item(text: str) -> Validation:
    parts = _fields(text)
    if parts is None:
        return Validation("", "wrong JSON")
    if any(len(part.split()) > WORDS[name] * TOLERANCE for name, part in parts.items()):
        return Validation("", "too long")
    return Validation("\n".join(" ".join(part.split()) for part in parts.values()), None)


def _fields(text: str) -> dict[str, str] | None:
    """Both fields of an item's answer; none where it is not what was asked for."""
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


def repair(messages: list[Message], answer: str | None, problem: Problem) -> list[Message]:
    """The messages of another try: with the bad answer and what was wrong with it, where saying so may help."""
    if problem not in _ADVICE or not answer:
        return messages
    return [*messages, {"role": "assistant", "content": answer[:4000]}, {"role": "user", "content": _ADVICE[problem]}]
