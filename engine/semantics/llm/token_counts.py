"""Token counts of a response, under the names of any server; a number that cannot be one is unknown."""

from __future__ import annotations

from typing import Any

from engine.semantics.llm.budget import Usage

MOST_TOKENS = 10_000_000
"""No model reads or writes more in one call; a larger count is a server's mistake."""


def usage_of(tree: Any) -> Usage | None:
    """Counts of a response, cached ones included if reported; None if they are missing, impossible or inconsistent.

    Reasoning that a server counts outside of the answer (as xAI does) is part of what it bills: the answer has at least as
    many tokens as the total has beyond the prompt.
    """
    used = tree.get("usage") if isinstance(tree, dict) else None
    if not isinstance(used, dict):
        return None
    tokens_in, answered = (
        _first(used, "prompt_tokens", "input_tokens"),
        _first(used, "completion_tokens", "output_tokens"),
    )
    total = count(used.get("total_tokens"))
    if tokens_in is None or tokens_in == 0:  # nobody asks with nothing: a server that counts nothing
        return None
    beyond = 0 if total is None else total - tokens_in
    given = any(used.get(name) is not None for name in ("completion_tokens", "output_tokens"))
    if answered is None and (given or beyond <= 0):
        return None
    cached = _cached(used)
    if cached is None or cached > tokens_in:
        return None
    return Usage(tokens_in, max(answered or 0, beyond), cached)


def count(value: Any) -> int | None:
    """A number of tokens, also as `12.0` or `"12"`; None for anything that is no plausible one."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None


def _first(used: dict[str, Any], *names: str) -> int | None:
    """The count under the first of some names that the response has."""
    return next((count(used[name]) for name in names if used.get(name) is not None), None)


def _cached(used: dict[str, Any]) -> int | None:
    """Cached tokens of the prompt: 0 if none are reported, None if what is reported is no count."""
    places: list[Any] = []
    for name in ("prompt_tokens_details", "input_tokens_details"):
        details = used.get(name)
        places += [details.get("cached_tokens")] if isinstance(details, dict) else []
    places += [used.get("prompt_cache_hit_tokens"), used.get("cached_tokens")]
    said = [place for place in places if place is not None]
    counts = [count(place) for place in said]
    if any(one is None for one in counts):
        return None
    return max((one for one in counts if one is not None), default=0)
