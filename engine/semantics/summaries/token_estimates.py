"""Estimates of tokens, dollars and time before anything is spent, each with the basis of the figure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.semantics.encoders.remote import TEXTS_AT_ONCE, EndpointEncoder
from engine.semantics.kinds import Kind
from engine.semantics.llm.answer_format import ANALYSIS, SUMMARY, WORDS
from engine.semantics.llm.endpoints import Endpoint
from engine.semantics.llm.prices import prices_of
from engine.semantics.summaries.llm_provider import EndpointProvider

CHARACTERS_PER_TOKEN = (4.6, 4.0, 3.2)
"""Characters per token of English prompts: for the low, the likely and the high estimate of tokens."""
TOKENS_PER_WORD = 1.35
OVERHEAD_TOKENS = 12
"""Tokens of a request in addition to its text."""
RETRIES = 1.1
"""Calls per prompt in the high estimate."""
ENOUGH = 20
"""Answers of a set from which on their averages replace the rules of thumb."""
CALL_SECONDS = 3.0
"""Latency of a call, if none was measured."""


@dataclass(frozen=True)
class Seen:
    """Sums over the stored answers of a set."""

    answers: int
    letters: int
    tokens_in: int
    tokens_out: int
    tokens_cached: int


@dataclass(frozen=True)
class Estimate:
    """Tokens, dollars and time of the missing prompts of one kind."""

    prompts: int
    tokens_in: tuple[float, float, float]
    """Low, likely, high."""
    tokens_out: tuple[float, float, float]
    usd: tuple[float, float] | None
    """Low and high; None if the price is unknown."""
    seconds: float
    basis: str
    """Where the figures come from, in a few words."""

    @property
    def tokens(self) -> int:
        """Likely number of prompt and answer tokens together."""
        return round(self.tokens_in[1] + self.tokens_out[1])


def estimate(
    provider: EndpointProvider, kind: Kind, letters: list[int], *, seen: Seen, call_seconds: float | None
) -> Estimate:
    """Estimate prompts from their lengths.

    Args:
        letters: characters of each prompt.
        call_seconds: mean latency of the model's calls; None if there were none.
    """
    count, total = len(letters), sum(letters)
    measured = seen.answers >= ENOUGH
    if measured:
        likely_in = seen.tokens_in * total / max(1, seen.letters)
        each = seen.tokens_out / seen.answers
        tokens_in = (0.95 * likely_in, likely_in, 1.05 * likely_in * RETRIES)
        tokens_out = (0.9 * each * count, each * count, 1.1 * each * count * RETRIES)
        basis = f"from {seen.answers:,} answers to prompts of this set"
    else:
        low, likely, high = (total / rate + OVERHEAD_TOKENS * count for rate in CHARACTERS_PER_TOKEN)
        tokens_in = (low, likely, high * RETRIES)
        words = WORDS["user"] if kind == "user" else WORDS[SUMMARY] + WORDS[ANALYSIS]
        most = min(provider.endpoint.max_tokens, words * TOKENS_PER_WORD * 1.5)
        tokens_out = (0.6 * words * TOKENS_PER_WORD * count, words * TOKENS_PER_WORD * count, most * count * RETRIES)
        basis = (
            f"a rule of thumb, {CHARACTERS_PER_TOKEN[1]:g} characters per token: no answers to prompts of this set yet"
        )
    return Estimate(
        count, tokens_in, tokens_out, _usd(provider, tokens_in, tokens_out, seen if measured else None),
        _seconds(provider.endpoint, count, tokens_in[1] + tokens_out[1], call_seconds or CALL_SECONDS), basis,
    )  # fmt: skip


def _usd(
    provider: EndpointProvider,
    tokens_in: tuple[float, float, float],
    tokens_out: tuple[float, float, float],
    seen: Seen | None,
) -> tuple[float, float] | None:
    """Low with the observed share of cached prompt tokens, high without any; None if the price is unknown."""
    prices = prices_of(provider.endpoint, provider.model or "", datetime.now(UTC))
    if prices is None:
        return None
    prices = prices.times(provider.budget.factor)
    share = seen.tokens_cached / max(1, seen.tokens_in) if seen else 0.0
    low = prices.usd(round(tokens_in[0]), round(tokens_out[0]), round(tokens_in[0] * share))
    return low, prices.usd(round(tokens_in[2]), round(tokens_out[2]))


def estimate_vectors(
    encoder: EndpointEncoder, *, written: int, letters: int, unwritten: int, call_seconds: float | None
) -> dict[str, Any]:
    """Tokens, dollars and minutes of encoding texts, as shown in an estimate.

    Args:
        written: number of existing texts, with `letters` characters in all.
        unwritten: number of summaries still to be made, estimated at 100 words each.
    """
    letters += round(unwritten * WORDS["user"] * TOKENS_PER_WORD * CHARACTERS_PER_TOKEN[1])
    low, likely, high = (letters / rate for rate in CHARACTERS_PER_TOKEN)
    prices = prices_of(encoder.endpoint, encoder.model, datetime.now(UTC))
    calls = -(-(written + unwritten) // TEXTS_AT_ONCE)
    return {
        "to_encode": written + unwritten,
        "tokens": round(likely),
        "usd": {
            "low": prices.usd(round(low), 0) if prices else None,
            "high": prices.usd(round(high * RETRIES), 0) if prices else None,
        },
        "minutes": _seconds(encoder.endpoint, calls, likely, call_seconds or CALL_SECONDS) / 60,
        "basis": f"a rule of thumb, {CHARACTERS_PER_TOKEN[1]:g} characters per token",
    }


def _seconds(endpoint: Endpoint, count: int, tokens: float, call_seconds: float) -> float:
    """Seconds of `count` calls at the configured limits; a server's own limits may add to them."""
    limits = endpoint.limits
    seconds = count * call_seconds / limits.concurrency
    if limits.requests_per_minute is not None:
        seconds = max(seconds, count / limits.requests_per_minute * 60)
    if limits.tokens_per_minute is not None:
        seconds = max(seconds, tokens / limits.tokens_per_minute * 60)
    return seconds
