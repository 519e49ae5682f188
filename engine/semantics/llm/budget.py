"""The money cap: what is spent, what calls in flight may still cost, and the record of every attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from engine.events import Columns
from engine.semantics.llm.endpoints import Endpoint
from engine.semantics.llm.prices import Prices, highest, prices_of

MESSAGE_TOKENS = 16
"""What a server may add to a message, at most, beside its text."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer, as the server reported them."""

    tokens_in: int
    tokens_out: int
    tokens_cached: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.tokens_cached + other.tokens_cached,
        )


@dataclass(frozen=True)
class Call:
    """One HTTP attempt, as it is kept in `api_calls`."""

    key: str
    attempt: int
    sent_at: float
    """Unix seconds."""
    status: int | None
    error: str | None
    latency_seconds: float | None
    """None for a request of a batch."""
    usage: Usage | None
    prices: Prices | None
    usd: float | None
    """None where the price is unknown, or where nobody knows whether the attempt was billed."""
    usd_reserved: float | None = None
    """What an attempt of unknown cost may have cost at most."""
    batch: str | None = None
    """The batch that it was part of."""

    @classmethod
    def columns(cls, calls: list[Call]) -> Columns:
        """The table of `ApiCalled`."""
        plain = ("key", "attempt", "sent_at", "status", "error", "latency_seconds", "usd", "usd_reserved", "batch")
        table: dict[str, list[object]] = {name: [getattr(call, name) for call in calls] for name in plain}
        for name in ("tokens_in", "tokens_out", "tokens_cached"):
            table[name] = [getattr(call.usage, name) if call.usage else None for call in calls]
        for name, part in (("in", "input"), ("out", "output"), ("cached", "cached")):
            table[f"usd_per_million_{name}"] = [getattr(call.prices, part) if call.prices else None for call in calls]
        return table


@dataclass
class Budget:
    """Spent and reserved dollars of a job; belongs to one event loop once calls go out."""

    endpoint: Endpoint
    model: str
    cap: float | None = None
    factor: float = 1.0
    """What prices are multiplied by, as for a batch."""
    spent: float = 0.0
    """Settled calls, those of the job's earlier starts too, and the reserves of attempts that may have been billed."""
    paid: float = 0.0
    """Of this start: what the server's own counts come to."""
    reserved: float = 0.0
    calls: int = 0
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _freed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def begin(self) -> None:
        """Serve the running event loop; nothing is in flight."""
        self.reserved, self._freed = 0.0, asyncio.Condition()

    def __post_init__(self) -> None:
        self._highest = highest(self.endpoint, self.model, self.clock())

    @property
    def known(self) -> bool:
        """Whether the price is known."""
        return self._highest is not None

    def most(self, prompt: str, max_tokens: int) -> float:
        """The most that a call may cost: no tokenizer makes more tokens of a text than it has bytes."""
        if self._highest is None:
            return 0.0
        tokens = len(prompt.encode()) + MESSAGE_TOKENS * 4
        return self._highest.usd(tokens, max_tokens) * self.factor

    async def reserve(self, usd: float) -> bool:
        """Set money aside for a call; waits for calls in flight where they may leave enough; false if the cap forbids it."""
        if self.cap is None:
            self.reserved += usd
            return True
        async with self._freed:
            await self._freed.wait_for(lambda: self.fits(usd) or self.reserved <= 1e-12)
            if not self.fits(usd):
                return False
            self.reserved += usd
            return True

    def fits(self, usd: float) -> bool:
        """Whether so much may be set aside."""
        return self.cap is None or self.spent + self.reserved + usd <= self.cap

    def settled(self, reserve: float, usage: Usage | None, sent_at: float, *, billed: bool | None) -> float | None:
        """Exchange a reserve for what the call cost.

        Args:
            billed: false where the server refused the call; none where nobody knows, and the reserve counts as spent.

        Returns:
            The dollars; none where they are unknown.
        """
        usd = self.price(usage, sent_at, billed=billed)
        self.calls += 1
        self.paid += usd or 0.0
        self.spent += reserve if usd is None and billed is not False else usd or 0.0
        self.reserved = max(0.0, self.reserved - reserve)
        return usd

    async def settle(self, reserve: float, usage: Usage | None, sent_at: float, *, billed: bool | None) -> float | None:
        """The same, and calls that wait for money are told."""
        usd = self.settled(reserve, usage, sent_at, billed=billed)
        if self.cap is not None:
            async with self._freed:
                self._freed.notify_all()
        return usd

    def prices(self, sent_at: float) -> Prices | None:
        """Prices at the time of a call."""
        found = prices_of(self.endpoint, self.model, datetime.fromtimestamp(sent_at, UTC))
        return found if found is None or self.factor == 1.0 else found.times(self.factor)

    def price(self, usage: Usage | None, sent_at: float, *, billed: bool | None) -> float | None:
        """Dollars of a call; none where they are unknown."""
        prices = self.prices(sent_at)
        if self.endpoint.local or billed is False:
            return 0.0
        if usage is None or prices is None:
            return None
        return prices.usd(usage.tokens_in, usage.tokens_out, usage.tokens_cached)
