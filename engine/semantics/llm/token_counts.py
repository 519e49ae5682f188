"""Token counts of a response, under the names of any server; a number that cannot be one is unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from engine.semantics.llm.budget import Usage

MOST_TOKENS = 10_000_000
"""No model reads or writes more in one call; a larger count is a server's mistake."""
_ASKED = ("prompttokens", "inputtokens", "prompttokencount")
_ANSWERED = ("completiontokens", "outputtokens", "candidatestokencount")
_COUNT = re.compile(r"\d{1,19}(?:\.0+)?")


def usage_of(tree: Any) -> Usage | None:
    """Counts of a response, cached ones included if reported; None if they are missing, impossible or inconsistent.

    Reasoning that a server counts outside of the answer (as xAI does) is part of what it bills: the answer has at least as
    many tokens as the total has beyond the prompt.
    """
    used = _reported(tree)
    tokens_in, answered = _first(used, _ASKED), _first(used, _ANSWERED)
    total = _first(used, ("totaltokens", "totaltokencount"))
    if tokens_in is None or tokens_in == 0:  # nobody asks with nothing: a server that counts nothing
        return None
    beyond = 0 if total is None else total - tokens_in
    given = any(used.get(name) is not None for name in _ANSWERED)
    if answered is None and (given or beyond <= 0):
        return None
    cached = _cached(used)
    if cached is None or cached > tokens_in:
        return None
    thoughts = _thoughts(used)
    outside = thoughts if thoughts > (answered or 0) else 0  # more than the whole: counted beside it
    return Usage(tokens_in, max((answered or 0) + outside, beyond), cached)


def tokens_read(tree: Any) -> int | None:
    """Tokens of the texts of an embedding request; None if they are not told."""
    used = _reported(tree)
    return next((found for name in (*_ASKED, "totaltokens") if (found := count(used.get(name)))), None)


def _reported(tree: Any) -> dict[str, Any]:
    """The counts of a response by name, without case and underscores; they may stand in its first choice, as Moonshot sends them."""
    if not isinstance(tree, dict):
        return {}
    choices = tree.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    places = [tree.get("usage"), tree.get("usageMetadata"), first.get("usage") if isinstance(first, dict) else None]
    places = [place[0] if isinstance(place, list) and place else place for place in places]
    used = next((place for place in places if isinstance(place, dict)), {})
    return {str(name).replace("_", "").lower(): value for name, value in used.items()}


def count(value: Any) -> int | None:
    """A number of tokens, also as `12.0` or `"12"`; None for anything that is no plausible one."""
    if isinstance(value, str) and value.isascii() and _COUNT.fullmatch(value.strip()):
        value = int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None


def _first(used: dict[str, Any], names: Iterable[str]) -> int | None:
    """The count under the first of some names that the response has."""
    return next((count(used[name]) for name in names if used.get(name) is not None), None)


def _details(used: dict[str, Any], field: str, *names: str) -> list[Any]:
    """What the tables of some names say about a field."""
    tables = [used.get(name) for name in names]
    return [table[field] for table in tables if isinstance(table, dict) and table.get(field) is not None]


def _thoughts(used: dict[str, Any]) -> int:
    """Tokens of thinking; 0 where none are reported."""
    said = _details(used, "reasoning_tokens", "completiontokensdetails", "outputtokensdetails")
    return max((count(one) or 0 for one in said), default=0)


def _cached(used: dict[str, Any]) -> int | None:
    """Cached tokens of the prompt: 0 if none are reported, None if what is reported is no count."""
    said = _details(used, "cached_tokens", "prompttokensdetails", "inputtokensdetails")
    said += [used[name] for name in ("promptcachehittokens", "cachedtokens") if used.get(name) is not None]
    counts = [count(one) for one in said]
    if any(one is None for one in counts):
        return None
    return max((one for one in counts if one is not None), default=0)
