"""Checks a model's answer, extracts the text to keep, and asks for a repair of an unusable one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from engine.semantics.kinds import Kind
from engine.semantics.llm.answer_format import ANALYSIS, SUMMARY, WORDS, Message
from engine.semantics.llm.answer_repetition import copies_prompt, repeats_itself
from engine.semantics.llm.answer_text import MOST_LETTERS, clean, cut_thinking, ending
from engine.semantics.llm.choices import Choices
from engine.semantics.llm.json_objects import objects_in

Problem = Literal[
    "empty",
    "refused",
    "truncated",
    "failed",
    "too long",
    "wrong JSON",
    "no choice",
    "repeats itself",
    "copies the prompt",
    "wrong count",
]
TOLERANCE = 1.5
"""An answer is too long above this multiple of the words that the prompt asks for."""
_REFUSAL = re.compile(
    r"^\W*(i['’]?m (very )?sorry|sorry,|i (can ?not|can['’]t|won['’]t|am unable|am not able)|as an ai\b)", re.IGNORECASE
)
_FENCE = re.compile(r"^```\w*\s(.*?)\s*(?:```)?$")
_QUOTED = frozenset(['""', "''", "“”", "«»", "„“"])
_ADVICE: dict[Problem, str] = {
    "truncated": "That answer was cut off because it was too long. Answer again, much shorter, and finish.",
    "too long": "That answer was too long. Answer again with at most half the words.",
    "no choice": "That named something else than the choices. Answer again with one JSON object and nothing else: for each field one of its choices, word for word.",
    "repeats itself": "That answer repeated itself. Answer again in few words, and say each thing once.",
    "copies the prompt": "That answer copied what it was given. Answer again in your own words: what do the items have in common?",
    "wrong JSON": f'That was not the JSON that was asked for. Answer again with one JSON object and nothing else, with exactly the two string fields "{SUMMARY}" and "{ANALYSIS}".',
}


@dataclass(frozen=True)
class Validation:
    """The result of checking an answer."""

    text: str
    """The text to keep; empty if there is a problem."""
    problem: Problem | None


def validate(
    kind: Kind,
    text: str | None,
    finish_reason: str | None,
    refusal: str | None,
    messages: Sequence[Message] | None = None,
    choices: Choices | None = None,
) -> Validation:
    """Check one answer: not empty, refused, truncated, too long, repetitive or copied, and in JSON for an item.

    Whether the text is true is not checked. Thinking and control tokens are removed.

    Args:
        messages: of the prompt; None if they are not known, which leaves out whether the answer copies them.
        choices: what may be answered, where the prompt offers choices; the text is then made of them.
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
    if choices is not None:
        made = choices.text(text)
        return Validation("", "no choice") if made is None else Validation(made, None)
    found = _validate_item(text) if kind == "item" else _validate_user(text)
    if found.problem is None and repeats_itself(found.text, messages):
        return Validation("", "repeats itself")
    if found.problem is None and messages is not None and copies_prompt(found.text, messages):
        return Validation("", "copies the prompt")
    return found


def _validate_user(text: str) -> Validation:
    text = _bare(" ".join(text.split()))
    if not text:
        return Validation("", "empty")
    return Validation("", "too long") if len(text.split()) > WORDS["user"] * TOLERANCE else Validation(text, None)


def _bare(text: str) -> str:
    """A summary without the code fence, the quotation marks or the JSON around all of it; empty where that holds no text."""
    text = _FENCE.sub(r"\1", text).strip()
    if text[:1] in ("{", "[") and text[-1:] in ("}", "]"):
        with suppress(ValueError, RecursionError):
            text = " ".join(_strings(json.loads(text)))
    return (
        text[1:-1].strip() if len(text) > 2 and (text[0] + text[-1]) in _QUOTED and text[0] not in text[1:-1] else text
    )


def _strings(tree: Any) -> list[str]:
    """The texts in a JSON document, in order."""
    if isinstance(tree, str):
        return [tree]
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [text for value in inner for text in _strings(value)]


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
    return next((found for tree in objects_in(text) if (found := _inside(tree)) is not None), None)


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
