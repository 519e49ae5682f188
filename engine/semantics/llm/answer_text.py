"""The text of an answer: parts joined, thinking and control tokens cut, characters that no table or terminal can take replaced.

Servers differ in how they mark thinking (`<think>`, `[THINK]`, `◁think▷`, channels) and in what they say at the end
(`length`, `MAX_TOKENS`, `end_turn`, ...); what is known of them stands here, in one place.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

MOST_LETTERS = 200_000
"""An answer above this length is judged by its beginning; none that was asked for comes near it."""
MOST_NESTED = 5
"""Depth of parts inside parts of a message's content."""
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_ESCAPES = re.compile(r"\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|(?:\x1b\[|\x9b)[0-?]{0,100}[ -/]{0,20}[@-~]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]")
_WORD = r"(?:think|thought|reason|reflection|scratchpad|monologue|rationale|deliberation)"
_TAG = rf"(?:[\w.:-]{{0,30}}?{_WORD}[\w-]{{0,20}}|analysis)"
_THINK = r"(?:think(?:ing)?|thoughts?|reasoning)"
_OPENED = re.compile(
    rf"(?:<|&lt;)\s?{_TAG}(?:\s[^<>]{{0,200}})?(?:>|&gt;)|<details\b[^<>]{{0,200}}\breasoning\b[^<>]{{0,200}}>"
    rf"|\[THINK(?:ING)?\]|◁think▷|<\|(?:(?:begin|start)_(?:of_)?)?{_THINK}(?:_(?:begin|start))?\|>|<\|inner_prefix\|>"
    r"|<\|channel\|?>\s*(?:analysis|commentary|thought)",
    re.IGNORECASE,
)
_CLOSED = re.compile(
    rf"(?:<|&lt;)\s?/\s?{_TAG}\s?(?:>|&gt;)|</details>|\[/THINK(?:ING)?\]|◁/think▷|<\|(?:/|end_(?:of_)?){_THINK}\|>|<\|{_THINK}_end\|>"
    r"|<\|inner_suffix\|>|<channel\|>|<\|channel\|>\s*final[^<]{0,60}<\|message\|>",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"\A\W{0,9}(?:here is my thought process|thinking|thoughts?|thought process|reasoning|chain of thought)\W{0,4}:"
    r".*\n\W{0,9}(?:here is my response|(?:final )?(?:answer|response|summary))\W{0,4}:[\s*_]{0,6}",
    re.IGNORECASE | re.DOTALL,
)
_WRAPPED = re.compile(
    r"<(answer|response|final|final_answer|output|result|summary)>(.*?)(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL
)
_ROLE = re.compile(
    r"<\|start_header_id\|>\s*\w*\s*<\|end_header_id\|>|<\|start_of_role\|>\s*\w*\s*<\|end_of_role\|>|(?:<\|im_start\|>|<\|start\|>|<start_of_turn>)\s*(?:assistant|model)?"
)
_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|end_of_text|endoftext|end|return|eot|end_of_turn|user)\|>|</s>|<end_of_turn>|<eos>|<turn\|>"
    r"|<｜end▁of▁sentence｜>|\[EOS\]"
)
_TOKEN = re.compile(
    r"<\|[\w/-]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</?s>|<(?:bos|eos|pad|unk|SPECIAL_\d{1,4}|0x[0-9A-F]{2})>|\[/?INST\]"
)

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


def join_parts(content: Any, depth: int = 0) -> str | None:
    """The text of a message's content: a string, or parts, of which those of thinking and those that are no text are left out.

    An object that is no part is the JSON that was asked for, parsed already.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [join_parts(part, depth + 1) for part in content] if depth < MOST_NESTED else []
        return "".join(text for text in texts if text)
    if not isinstance(content, dict):
        return None
    if any(word in str(content.get("type", "text")).lower() for word in ("think", "reason", "redacted")):
        return None
    inner = next((content[name] for name in ("text", "content", "value") if content.get(name) is not None), None)
    if inner is not None and depth < MOST_NESTED:
        return join_parts(inner, depth + 1)
    return None if depth or "type" in content else json.dumps(content, ensure_ascii=False)


def cut_thinking(text: str) -> tuple[str, bool]:
    """An answer without thinking and control tokens, and whether its thinking never ended.

    Everything up to the last closing mark is thinking, whether or not it was opened.
    """
    words = text.lstrip().lower()
    closed = (
        text.lower().rfind("assistantfinal") + 14 if words.startswith("analysis") and "assistantfinal" in words else 0
    )
    if said := _SAID.match(text):
        closed = said.end()
    for found in _CLOSED.finditer(text):
        closed = max(closed, found.end())
    text = text[closed:]
    opened = _OPENED.search(text)
    if opened is not None:
        return "", True
    text = _ROLE.sub("", text).lstrip()
    ended = _END.search(text)
    if ended is not None and text[: ended.start()].strip():
        text = text[: ended.start()]  # what follows is a turn of someone else
    text = _TOKEN.sub("", text).strip()
    wrapped = _WRAPPED.match(text)
    return wrapped[2].strip() if wrapped else text, False


def ending(finish_reason: str | None) -> Ending:
    """What a finish reason means, in the words of any server; one that nobody knows counts as good."""
    word = (finish_reason or "").strip().lower().replace("-", "_").replace(" ", "_")
    if _STOPPED.match(word):
        return "good"
    for name, pattern in _ENDINGS:
        if pattern.search(word):
            return name
    return "good"
