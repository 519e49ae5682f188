"""The text of an answer: parts joined, thinking and control tokens cut, characters that no table or terminal can take replaced.

Servers differ in how they mark thinking (`<think>`, `[THINK]`, `◁think▷`, channels) and in what they say at the end
(`length`, `MAX_TOKENS`, `end_turn`, ...); what is known of them stands here, in one place.
"""

from __future__ import annotations

import re
from typing import Any, Literal

MOST_LETTERS = 200_000
"""An answer above this length is judged by its beginning; none that was asked for comes near it."""
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_ESCAPES = re.compile(r"\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|(?:\x1b\[|\x9b)[0-?]{0,100}[ -/]{0,20}[@-~]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]")
_TAG = r"(?:[\w.-]{1,20}:)?(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad)"
_OPENED = re.compile(
    rf"<\s?{_TAG}\s?>|\[THINK(?:ING)?\]|◁think▷|<\|begin_of_thought\|>|<\|think\|>|<\|channel\|?>\s*(?:analysis|commentary|thought)",
    re.IGNORECASE,
)
_CLOSED = re.compile(
    rf"<\s?/\s?{_TAG}\s?>|\[/THINK(?:ING)?\]|◁/think▷|<\|end_of_thought\|>|<\|/think\|>|<channel\|>"
    r"|<\|channel\|>\s*final[^<]{0,60}<\|message\|>",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"<\|start_header_id\|>\s*\w*\s*<\|end_header_id\|>|(?:<\|im_start\|>|<\|start\|>|<start_of_turn>)\s*(?:assistant|model)?"
)
_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|end_of_text|endoftext|end|return|eot|end_of_turn)\|>|</s>|<end_of_turn>|<eos>|<turn\|>"
    r"|<｜end▁of▁sentence｜>|\[EOS\]"
)
_TOKEN = re.compile(r"<\|[\w/-]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk)>|\[/?INST\]")

Ending = Literal["good", "truncated", "refused", "failed"]
_ENDINGS: tuple[tuple[Ending, re.Pattern[str]], ...] = (
    ("refused", re.compile(
        r"filter|safety|block|prohibit|recitation|refus|sensitive|guardrail|policy|moderat|toxic|spii|violation")),
    ("truncated", re.compile(r"length|max|trunc|limit|context|incomplete|budget")),
    ("failed", re.compile(r"error|abort|cancel|fail|interrupt|time.?out|unavailable|insufficient|malformed|overload|^other$")),
)  # fmt: skip
_STOPPED = re.compile(r"^(finish_reason_)?(stop|eos|end|done|complete)")


def clean(text: str) -> str:
    """A text without lone surrogates, escape sequences and control characters but line breaks and tabs.

    No table holds the first, and a terminal would obey the others.
    """
    return _CONTROLS.sub("", _ESCAPES.sub("", _SURROGATES.sub("\ufffd", text)))


def join_parts(content: Any) -> str | None:
    """The text of a message's content: a string, or a list of parts, of which those of thinking are left out.

    Raises:
        ValueError: it is of another type.
    """
    if content is None or isinstance(content, str):
        return content
    parts: list[Any] = content if isinstance(content, list) else [content]
    texts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif not isinstance(part, dict):
            raise ValueError("the answer is not text")
        elif not any(word in str(part.get("type", "text")).lower() for word in ("think", "reason", "redacted")):
            text = part.get("text", part.get("content"))
            text = text.get("value") if isinstance(text, dict) else text  # as in OpenAI's threads
            texts += [text] if isinstance(text, str) else []
    return "".join(texts)


def cut_thinking(text: str) -> tuple[str, bool]:
    """An answer without thinking and control tokens, and whether its thinking never ended.

    Everything up to the last closing mark is thinking, whether or not it was opened.
    """
    words = text.lstrip().lower()
    closed = (
        text.lower().rfind("assistantfinal") + 14 if words.startswith("analysis") and "assistantfinal" in words else 0
    )
    for found in _CLOSED.finditer(text):
        closed = found.end()
    text = text[closed:]
    opened = _OPENED.search(text)
    if opened is not None:
        return "", True
    text = _ROLE.sub("", text).lstrip()
    ended = _END.search(text)
    if ended is not None and text[: ended.start()].strip():
        text = text[: ended.start()]  # what follows is a turn of someone else
    return _TOKEN.sub("", text).strip(), False


def ending(finish_reason: str | None) -> Ending:
    """What a finish reason means, in the words of any server; one that nobody knows counts as good."""
    word = (finish_reason or "").strip().lower().replace("-", "_").replace(" ", "_")
    if _STOPPED.match(word):
        return "good"
    for name, pattern in _ENDINGS:
        if pattern.search(word):
            return name
    return "good"
