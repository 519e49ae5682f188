"""Prices of calls: those of providers.toml, else those of the list of genai-prices at the time of the call, else unknown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from engine.semantics.llm.endpoints import Endpoint


@dataclass(frozen=True)
class Prices:
    """US dollars per million tokens; prompt tokens in the provider's cache may cost less."""

    input: float
    output: float
    cached: float

    def usd(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> float:
        """Dollars of a call; `tokens_cached` are part of `tokens_in`."""
        cached = min(tokens_cached, tokens_in)
        return ((tokens_in - cached) * self.input + cached * self.cached + tokens_out * self.output) / 1e6

    def times(self, factor: float) -> Prices:
        """All prices multiplied by `factor`."""
        return Prices(self.input * factor, self.output * factor, self.cached * factor)


FREE = Prices(0.0, 0.0, 0.0)


def prices_of(endpoint: Endpoint, model: str, at: datetime) -> Prices | None:
    """Prices of a model at a time; None if unknown."""
    if endpoint.local:
        return FREE
    if endpoint.prices is not None:
        own = endpoint.prices
        cached = own.input if own.cached is None else own.cached
        return Prices(own.input, own.output, cached)
    return _listed(endpoint.base_url, model, at.astimezone(UTC).replace(second=0, microsecond=0))


def highest(endpoint: Endpoint, model: str, at: datetime) -> Prices | None:
    """Maximum prices of prompt and answer tokens over a day, for upper bounds; None if unknown.

    Some providers charge more at some hours, so all 24 hours are looked up.
    """
    hours = [prices_of(endpoint, model, at.replace(hour=hour)) for hour in range(24)]
    known = [prices for prices in hours if prices is not None]
    if not known:
        return None
    top = max(max(p.input, p.cached) for p in known)
    return Prices(top, max(p.output for p in known), top)


@lru_cache(maxsize=4096)
def _listed(base_url: str, model: str, at: datetime) -> Prices | None:
    """Prices of the list for a provider's URL and model; `at` is cut to the minute, so that the cache works."""
    from genai_prices import Usage, calc_price

    few = 1000  # a long prompt can have a higher price; ours are short

    def usd(usage: Usage) -> float:
        found = calc_price(usage, model_ref=model, provider_api_url=base_url, genai_request_timestamp=at)
        return float(found.total_price) * 1e6 / few

    try:
        return Prices(
            input=usd(Usage(input_tokens=few)),
            output=usd(Usage(output_tokens=few)),
            cached=usd(Usage(input_tokens=few, cache_read_tokens=few)),
        )
    except LookupError:
        return None
