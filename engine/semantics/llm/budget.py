"""The budget of a job: dollars spent, dollars reserved for calls in flight, and the record of every attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from engine.events import Columns
from engine.semantics.llm.endpoints import Endpoint
from engine.semantics.llm.prices import Prices, highest, prices_of

SHARE_SECONDS = 0.5
"""After which a job asks again whether other jobs have freed some of a shared cap."""
MESSAGE_TOKENS = 16
"""Upper bound of the tokens that a server adds to the text of a message."""


@dataclass(frozen=True)
class Usage:
    """Token counts of one answer, as the server reported them; cached ones are part of the input."""

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
    """One HTTP attempt, as stored in `api_calls`."""

    key: str
    attempt: int
    sent_at: float
    """Unix seconds."""
    status: int | None
    error: str | None
    latency_seconds: float | None
    """None for a request in a batch."""
    usage: Usage | None
    prices: Prices | None
    usd: float | None
    """None if the price is unknown, or if it is unknown whether the attempt was billed."""
    usd_reserved: float | None = None
    """Upper bound of an unknown cost; None if the cost is known."""
    batch: str | None = None
    """Name of the batch; None for a single call."""

    @classmethod
    def columns(cls, calls: list[Call]) -> Columns:
        """Columns of the event `ApiCalled`."""
        plain = ("key", "attempt", "sent_at", "status", "error", "latency_seconds", "usd", "usd_reserved", "batch")
        table: dict[str, list[object]] = {name: [getattr(call, name) for call in calls] for name in plain}
        for name in ("tokens_in", "tokens_out", "tokens_cached"):
            table[name] = [getattr(call.usage, name) if call.usage else None for call in calls]
        for name, part in (("in", "input"), ("out", "output"), ("cached", "cached")):
            table[f"usd_per_million_{name}"] = [getattr(call.prices, part) if call.prices else None for call in calls]
        return table


class CapShare(Protocol):
    """What several jobs hold of one cap."""

    def hold(self, usd: float, cap: float | None = None, *, reserved: float) -> bool:
        """Record what this job holds, spent and reserved, if all together stay within the cap; whether they do."""
        ...

    def may_change(self) -> bool:
        """Whether the other jobs may free some of what they hold."""
        ...


@dataclass
class Budget:
    """Spent and reserved dollars of a job.

    A call reserves its upper bound before it is sent, so calls in flight cannot exceed the cap. Not thread-safe: after
    `begin`, only the running event loop may use it.
    """

    endpoint: Endpoint
    model: str
    cap: float | None = None
    """Dollars that the job may spend; None sets no limit."""
    factor: float = 1.0
    """Factor on all prices, below 1 for the Batch API."""
    spent: float = 0.0
    """Cost of completed calls, earlier starts of the job included, plus the reserve of attempts that may have been billed."""
    paid: float = 0.0
    """Cost of this start alone, from the server's token counts."""
    reserved: float = 0.0
    """Upper bounds of the calls in flight."""
    calls: int = 0
    share: CapShare | None = None
    """Where other jobs spend from the same cap."""
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    _freed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def begin(self) -> None:
        """Bind to the running event loop; drops the reserves, as no call is in flight."""
        self.reserved, self._freed = 0.0, asyncio.Condition()

    def __post_init__(self) -> None:
        self._highest = highest(self.endpoint, self.model, self.clock())

    @property
    def known(self) -> bool:
        """Whether the model's price is known; a cap needs it."""
        return self._highest is not None

    def upper_bound(self, prompt: str, max_tokens: int) -> float:
        """Maximum dollars of a call: no tokenizer makes more tokens of a text than it has bytes; 0 if the price is unknown."""
        if self._highest is None:
            return 0.0
        tokens = len(prompt.encode()) + MESSAGE_TOKENS * 4
        return self._highest.usd(tokens, max_tokens) * self.factor

    async def reserve(self, usd: float) -> bool:
        """Reserve dollars for a call; waits while calls in flight may free enough. False if the cap would be exceeded."""
        if self.cap is None:
            self.reserved += usd
            return True
        async with self._freed:
            while not self._take(usd):
                others_free = self.share is not None and self.fits(usd) and self.share.may_change()
                if self.reserved <= 1e-12 and not others_free:
                    return False
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), None if self.share is None else SHARE_SECONDS)
            return True

    def _take(self, usd: float) -> bool:
        """Reserve dollars if they fit, also beside what other jobs hold; whether they did."""
        reserved = self.reserved + usd
        if not self.fits(usd) or (
            self.share and not self.share.hold(self.spent + reserved, self.cap, reserved=reserved)
        ):
            return False
        self.reserved = reserved
        return True

    def fits(self, usd: float) -> bool:
        """Whether a reserve of `usd` keeps within the cap."""
        return self.cap is None or self.spent + self.reserved + usd <= self.cap

    def record_cost(self, reserve: float, usage: Usage | None, sent_at: float, *, billed: bool | None) -> float | None:
        """Replace a reserve by the actual cost of the call.

        Args:
            billed: False if the server rejected the call; None if unknown: without token counts the reserve then counts as spent.

        Returns:
            Dollars; None if unknown.
        """
        usd = self.price(usage, sent_at, billed=billed)
        self.calls += 1
        self.paid += usd or 0.0
        self.spent += reserve if usd is None and billed is not False else usd or 0.0
        self.reserved = max(0.0, self.reserved - reserve)
        if self.share is not None:
            self.share.hold(self.spent + self.reserved, reserved=self.reserved)
        return usd

    async def record_cost_and_wake(
        self, reserve: float, usage: Usage | None, sent_at: float, *, billed: bool | None
    ) -> float | None:
        """`record_cost`, then wake the calls that wait in `reserve`."""
        usd = self.record_cost(reserve, usage, sent_at, billed=billed)
        if self.cap is not None:
            async with self._freed:
                self._freed.notify_all()
        return usd

    def prices(self, sent_at: float) -> Prices | None:
        """Prices at the time of a call, with the factor; None if unknown."""
        found = prices_of(self.endpoint, self.model, datetime.fromtimestamp(sent_at, UTC))
        return found if found is None or self.factor == 1.0 else found.times(self.factor)

    def price(self, usage: Usage | None, sent_at: float, *, billed: bool | None) -> float | None:
        """Dollars of a call; None if unknown. `billed` as in `record_cost`."""
        prices = self.prices(sent_at)
        if self.endpoint.local or billed is False:
            return 0.0
        if usage is None or prices is None:
            return None
        return prices.usd(usage.tokens_in, usage.tokens_out, usage.tokens_cached)
