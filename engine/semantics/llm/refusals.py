"""What a server's refusal is about: one prompt, the account, or the endpoint; told from its status and its own words."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from engine.semantics.llm.answer_text import clean

MOST_LETTERS = 300
"""Letters of a server's words that are kept."""
OF_THE_PROMPT = frozenset({400, 413, 422})
"""HTTP statuses that mean a fault of this one prompt, once other prompts have succeeded."""
_PROMPT = re.compile(
    r"content.?(?:filter|management|policy|violation)|moderation|flagged|safety|inappropriate|sensitive|legal reasons"
    r"|context.?(?:length|window|size)|maximum context|string_above_max_length|too many (?:input )?tokens"
    r"|(?:prompt|input|request|text|message)s?\b.{0,40}\b(?:is|are) too (?:long|large)|exceeds? the (?:context|maximum).{0,40}(?:token|length|context)"
    r"|longer than the maximum|reduce the length",
    re.IGNORECASE,
)
_ACCOUNT = re.compile(
    r"insufficient_quota|insufficient.?balance|billing_hard_limit|out of credit|no credit|\blimit: 0\b", re.IGNORECASE
)
_PLAN = re.compile(r"exceeded your current quota|billing|credit balance", re.IGNORECASE)
_LATER = re.compile(r"(?:retry|try again) (?:in|after)|per.?(?:minute|second|hour|day)", re.IGNORECASE)
_TAGS = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]{0,500}>", re.DOTALL | re.IGNORECASE)


def concerns_prompt(status: int | None, words: str) -> bool:
    """Whether a refusal is about the prompt, as a content filter's or one of its length, even if nothing has worked yet."""
    return status in OF_THE_PROMPT | {403, 451} and _PROMPT.search(words) is not None


def account_spent(status: int | None, words: str, headers: Mapping[str, str] | None) -> bool:
    """Whether a 429 means that the account has nothing left, so that waiting does not help."""
    if status != 429:
        return False
    later = _LATER.search(words) is not None or (
        bool(headers) and any("retry-after" in name.lower() for name in headers or {})
    )
    return _ACCOUNT.search(words) is not None or (_PLAN.search(words) is not None and not later)


def error_of(tree: Any) -> tuple[int | None, str] | None:
    """Status and words of an error that stands in a document, as gateways send it with status 200; None if there is none."""
    error = tree.get("error") if isinstance(tree, dict) else None
    if not error:
        return None
    if not isinstance(error, dict):
        return None, clean(str(error))[:MOST_LETTERS]
    codes = [str(code) for code in (error.get("code"), error.get("status"), error.get("status_code"), tree.get("code"))]
    numbers = [int(code) for code in codes if code.isascii() and code.isdigit() and len(code) == 3]
    status = next((number for number in numbers if 400 <= number < 600), None)
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    said = [str(part) for part in (error.get("message"), raw) if part] or [json.dumps(error)]
    kinds = [error.get(name) for name in ("code", "type")]
    said += [kind for kind in kinds if isinstance(kind, str) and "_" in kind and kind not in " ".join(said)][:1]
    return status, clean(": ".join(said))[:MOST_LETTERS]


def words_of(content: bytes, headers: Mapping[str, str]) -> str:
    """A server's own words in an error's body, be it JSON, a page of HTML or plain text, and where it redirects to."""
    text = content[:100_000].decode("utf-8", "replace")
    try:
        tree = json.loads(content)
    except ValueError:
        said = " ".join(html.unescape(_TAGS.sub(" ", text)).split())
    else:
        found = error_of(tree)
        told = (
            next((tree[name] for name in ("message", "detail", "msg", "title") if tree.get(name)), None)
            if isinstance(tree, dict)
            else None
        )
        said = found[1] if found else told if isinstance(told, str) else json.dumps(told or tree)
    elsewhere = headers.get("location")
    moved = [f"it redirects to {elsewhere}"] if elsewhere else []
    return clean(": ".join([*moved, *([said] if said.strip() else [])]))[:MOST_LETTERS]
