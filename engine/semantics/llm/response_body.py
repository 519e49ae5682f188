"""The JSON document of a response, however the server has sent it: another encoding, as a stream of events, or not at all."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from engine.semantics.llm.answer_text import join_parts
from engine.semantics.llm.connection import MOST_BYTES
from engine.semantics.llm.refusals import told_in, words_of

_EVENTS = re.compile(r"\s*(?:data|event|id|retry)?:")
_FIELD = re.compile(r"^(?:data: ?|(?:event|id|retry)?:.*)", re.MULTILINE)
_CHARSET = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
MOST_BROKEN = 100
"""Places of a body at which a document begins and does not end, after which no further one is looked for."""
_NAMES = frozenset({"choices", "data", "error", "usage"})
"""Fields by one of which a document is told from the objects inside a broken one."""
_WRAPPERS = ("data", "result", "response", "body", "output")
"""Fields in which gateways put the provider's whole answer."""


def document_of(content: bytes, headers: Mapping[str, str] | None) -> Any:
    """The document in a body; that of a stream of events (asked for by nobody, sent by some) is put together.

    Raises:
        ValueError: there is none, with the server's words.
    """
    if content.startswith(_GZIP):
        with suppress(zlib.error):
            content = zlib.decompressobj(31).decompress(content, MOST_BYTES)
    if not content.strip():
        raise ValueError("the answer is empty")
    with suppress(ValueError, RecursionError):
        return json.loads(content)
    text = _text(content, headers or {}).lstrip("\ufeff")
    streamed = _EVENTS.match(text) is not None
    trees = list(_documents(_FIELD.sub("", text) if streamed else text))
    if not trees:
        said = "the stream of events holds no answer" if streamed else f"the answer is no JSON: {words_of(content, {})}"
        raise ValueError(said)
    if any(_is_chunk(tree) for tree in trees) or (streamed and "data" not in trees[0]):
        return _joined(trees, done="[DONE]" in text[-200:])
    return trees[0]


def _documents(text: str) -> Iterator[dict[str, Any]]:
    """The documents of a text: behind a line of words, one after another, or on a line each; one that breaks off is left out."""
    decoder = json.JSONDecoder(strict=False, parse_int=lambda digits: int(digits) if len(digits) < 400 else math.inf)
    place, broken = text.find("{"), 0
    while place >= 0 and broken < MOST_BROKEN:
        try:
            tree, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            broken += 1
            place += 1
        else:
            if not _NAMES.isdisjoint(tree):
                yield tree
        place = text.find("{", place)


def unwrapped(tree: Any) -> Any:
    """A provider's answer without the list of one or the object that a gateway has put around it."""
    if isinstance(tree, list) and len(tree) == 1:
        tree = tree[0]
    if not isinstance(tree, dict) or "choices" in tree:
        return tree
    inside = (tree.get(name) for name in _WRAPPERS)
    return next((one for one in inside if isinstance(one, dict) and ("choices" in one or "data" in one)), tree)


def choices_of(tree: Any) -> list[dict[str, Any]]:
    """The choices of a chat completion.

    Raises:
        ValueError: it has none.
    """
    choices = tree.get("choices") if isinstance(tree, dict) else None
    if isinstance(choices, dict) and message_of(choices) != {"content": None}:
        choices = [choices]
    found = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
    if not found:
        said = told_in(tree)
        raise ValueError(f"the answer holds no choices{f': {said}' * bool(said)}")
    return found


def message_of(choice: dict[str, Any]) -> dict[str, Any]:
    """The message of a choice, in whichever field and form it comes."""
    found = next((choice[name] for name in ("message", "delta", "messages") if choice.get(name)), None)
    if isinstance(found, list) and found and isinstance(found[-1], dict) and "role" in found[-1]:
        found = found[-1]
    if isinstance(found, dict):
        return found
    return {"content": choice.get("text") if found is None else found}


def _text(content: bytes, headers: Mapping[str, str]) -> str:
    """Bytes as text: by the charset that the server names, UTF-8, else with what does not fit replaced."""
    named = _CHARSET.search(headers.get("content-type", ""))
    for charset in (named[1] if named else "utf-8", "utf-8"):
        try:
            return content.decode(charset)
        except (ValueError, LookupError):  # not in it, or it is none of texts
            continue
    return content.decode("cp1252", "replace")


def _is_chunk(tree: dict[str, Any]) -> bool:
    """Whether a document is a part of a stream."""
    choices = tree.get("choices")
    return isinstance(choices, list) and any(isinstance(one, dict) and "delta" in one for one in choices)


def _joined(trees: list[dict[str, Any]], *, done: bool) -> dict[str, Any]:
    """A chat completion from its chunks, those of the first choice; the last one with counts has them all.

    Args:
        done: whether the stream says that it has ended.
    """
    whole = {name: tree[name] for tree in trees for name in ("error", "usage") if tree.get(name)}
    lists = [tree["choices"] for tree in trees if isinstance(tree.get("choices"), list)]
    chunks = [one for choices in lists for one in choices if isinstance(one, dict)]
    first = min((str(one.get("index") or 0) for one in chunks), default="0")
    chunks = [one for one in chunks if str(one.get("index") or 0) == first]
    if not chunks:
        return whole or trees[-1]
    said = [message_of(one) for one in chunks]
    message = {"role": "assistant", "content": "".join(join_parts(part.get("content")) or "" for part in said)}
    thought = "".join(str(part.get("reasoning_content") or part.get("reasoning") or "") for part in said)
    ends = [one["finish_reason"] for one in chunks if one.get("finish_reason")]
    counted = [one["usage"] for one in chunks if one.get("usage")]  # as Moonshot sends it
    whole = ({"usage": counted[-1]} if counted else {}) | whole
    choice = {"index": 0, "finish_reason": ends[-1] if ends else "stop" if done else "incomplete"}
    return whole | {"choices": [choice | {"message": message | ({"reasoning_content": thought} if thought else {})}]}
