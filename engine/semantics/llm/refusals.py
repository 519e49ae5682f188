"""What a server's refusal is about: one prompt, the account, or the endpoint; told from its status and its own words."""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

from engine.semantics.llm.answer_text import clean

OF_THE_PROMPT = frozenset({400, 413, 422})
"""HTTP statuses that mean a fault of this one prompt, once other prompts have succeeded."""
_PROMPT = re.compile(
    r"content.?(?:filter|management|policy|violation|exists risk)|high risk|moderation|flagged|safety|inappropriate|sensitive|legal reasons"
    r"|data_inspection|responsible.?ai|violat\w{1,4}\b.{0,40}(?:guideline|polic|terms)|敏感|不安全|违规"
    r"|context.?(?:length|window|size)|maximum context|max_(?:seq|model)_len|string_above_max_length|too many (?:input )?tokens|超长"
    r"|(?:prompt|input|request|text|message)s?\b.{0,40}\b(?:is|are) too (?:long|large)|request too large"
    r"|exceed(?:s|ed)?\b.{0,20} (?:context|maximum|model).{0,40}(?:token|length|context)"
    r"|longer than the maximum|reduce (?:the|your) (?:length|message|prompt|input)|range of input length|token.limit.exceeded"
    r"|must (?:have less than|be (?:<=|less than|at most)) \d+( tokens|\. given)",
    re.IGNORECASE,
)
_ACCOUNT = re.compile(
    r"(?:insufficient|not.?enough).{0,6}(?:quota|balance|funds|credit)|balance.{0,20}(?:insufficient|too low|not enough)|credit balance"
    r"|余额不足|欠费|额度(?:不足|已用尽)|billing_(?:hard_limit|not_active)|exceeded_current_quota|out of credit|no credit"
    r"|exceeded your.{0,30}credits|credit limit|credits?\b.{0,40}(?:depleted|exhausted|used up|expired)|used (?:all|up) (?:available |your )|spend(?:ing)?.limit"
    r"|monthly (?:usage |credit )?limit|specified API usage limit|budget.{0,30}exceeded|exceeded.{0,20}budget|free tier.{0,40}exhausted"
    r"|\blimit: 0\b|arrear|overdue|account.{0,40}(?:suspended|good standing|deactivated|not active)",
    re.IGNORECASE,
)
_ACCOUNT_STATUS = frozenset({400, 401, 402, 403, 412, 429})
_PLAN = re.compile(r"exceeded your current quota|billing|credit balance", re.IGNORECASE)
_LATER = re.compile(r"(?:retry|try again) (?:in|after)|per.?(?:minute|second|hour|day)", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<[^>]{0,500}>", re.DOTALL | re.IGNORECASE)
_CODES = (
    (401, re.compile(r"api_?key|authenticat|unauthori[sz]ed")),
    (402, re.compile(r"insufficient_(?:quota|balance|funds)|payment|billing")),
    (403, re.compile(r"permission|forbidden|access_?denied")),
    (404, re.compile(r"not_?found")),
    (429, re.compile(r"rate_?limit|too_?many_?requests|resource_?exhausted|throttl")),
    (503, re.compile(r"overloaded|unavailable|server_error|internal")),
)
"""Statuses that the codes of errors stand for, where an error names no number."""
_SAYING = (
    "message", "detail", "msg", "errormsg", "errormessage", "statusmsg", "faultstring", "errordescription", "reason", "title", "errors",
)  # fmt: skip
"""Fields in which servers say what is wrong, without case and underscores, the first ones first."""
_NOTHING = frozenset({"", "0", "none", "null", "false", "[]", "{}", "ok", "success", "200"})
"""What stands in the fields of an error that is none."""


def concerns_prompt(status: int | None, words: str) -> bool:
    """Whether a refusal is about the prompt, as a content filter's or one of its length, even if nothing has worked yet."""
    return status in OF_THE_PROMPT | {403, 451} and _PROMPT.search(words) is not None


def account_spent(status: int | None, words: str, headers: Mapping[str, str] | None) -> bool:
    """Whether a refusal means that the account has nothing left, so that neither waiting nor other prompts help."""
    if status not in _ACCOUNT_STATUS:
        return False
    if status != 429:
        return _ACCOUNT.search(words) is not None and _PROMPT.search(words) is None
    later = _LATER.search(words) is not None or (
        bool(headers) and any("retry-after" in name.lower() for name in headers or {})
    )
    return _ACCOUNT.search(words) is not None or (_PLAN.search(words) is not None and not later)


def error_of(tree: Any) -> tuple[int | None, str] | None:
    """Status and words of an error that stands in a document, as gateways send it with status 200; None if there is none."""
    tree = tree[0] if isinstance(tree, list) and len(tree) == 1 else tree  # as Gemini sends it
    error = tree.get("error") if isinstance(tree, dict) else None
    if isinstance(error, list):
        error = error[0] if error else None
    values = error.values() if isinstance(error, dict) else [error]
    if all(str(value).strip().lower() in _NOTHING for value in values):
        return None
    own = error if isinstance(error, dict) else {}
    given = [own.get(name) for name in ("code", "status", "status_code", "type")]
    codes = [str(code) for code in (*given, *map(tree.get, ("code", "status", "statusCode")))]
    numbers = [int(code) for code in codes if code.isascii() and code.isdigit() and len(code) == 3]
    status = next((number for number in numbers if 400 <= number < 600), None)
    if status is None:
        kinds = [code.lower().replace(" ", "_") for code in given if isinstance(code, str)]
        status = next((number for number, word in _CODES for kind in kinds if word.search(kind)), None)
    metadata = own.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    plain = "" if own or error is True else str(error)
    more = "" if own else told_in({name: value for name, value in tree.items() if name != "error"}, whole=error is True)
    said = [part for part in (told_in(own), plain, more, str(raw or "")) if part]
    named = [kind for kind in (own.get("code"), own.get("type")) if isinstance(kind, str) and "_" in kind]
    said += [kind for kind in named if kind not in " ".join(said)][:1]
    return status, clean(": ".join(said))


def told_in(tree: Any, *, whole: bool = True) -> str:
    """What a document that is no answer says, in the fields of any server.

    Args:
        whole: the document itself, where it says nothing in them; else empty.
    """
    said = _saying(tree, 0)
    return clean(said or (json.dumps(tree, ensure_ascii=False) if tree and whole else ""))


def _saying(tree: Any, depth: int) -> str:
    """The words in the first field that says something, of an object or of one inside it; empty if none does."""
    if isinstance(tree, str):
        return tree if tree.strip() and depth else ""
    if depth > 4 or not isinstance(tree, dict | list) or not tree:
        return ""
    if isinstance(tree, list):
        return "; ".join(said for one in tree[:5] if (said := _saying(one, depth + 1)))
    named = {re.sub(r"[\W_]+", "", str(name)).lower(): value for name, value in tree.items()}
    found = (_saying(named[name], depth + 1) for name in _SAYING if named.get(name))
    inside = (_saying(value, depth + 1) for value in tree.values() if isinstance(value, dict))
    return next(filter(None, itertools.chain(found, inside)), "")


def words_of(content: bytes, headers: Mapping[str, str]) -> str:
    """A server's own words in an error's body, be it JSON, a page of HTML or plain text, and where it redirects to."""
    text = content[:100_000].decode("utf-8", "replace")
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        said = " ".join(html.unescape(_TAGS.sub(" ", text)).split())
    else:
        found = error_of(tree)
        said = found[1] if found else told_in(tree)
    elsewhere = headers.get("location")
    moved = [f"it redirects to {elsewhere}"] if elsewhere else []
    return clean(": ".join([*moved, *([said] if said.strip() else [])]))
