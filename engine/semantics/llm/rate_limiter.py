"""How many calls may be in flight, and when the next one may go: concurrency that adapts, and rates.

Everything here belongs to one event loop. Concurrency doubles until the server first says `too many`, then grows by one per
round and shrinks to 0.8 of itself at each further `too many` (additive up, multiplicative down).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

from engine.semantics.llm.endpoints import Limits

FIRST = 4
"""Calls in flight at the beginning, before the server has shown anything."""
DOWN = 0.8
NAP_SECONDS = 0.25
"""How long a waiting call may fail to notice that the job is asked to stop."""
LONGEST_PAUSE = 600.0
"""Seconds; a server that asks for a longer pause is asked again after so long."""
BURST_SECONDS = 5.0
"""A bucket holds what its rate gives in so many seconds."""
OPEN_AFTER = 10
"""Failures in a row, without one success, that stop everything but single probes."""
GIVE_UP_AFTER, GIVE_UP_AFTER_SUCCESS = 5, 8
"""Failed probes in a row after which there is no more hope, where nothing ever worked, and where something did."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Bucket:
    """Gives out a number of units per minute; none means that it has no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self.per_minute = per_minute
        self._level = self._size
        self._at = time.monotonic()

    @property
    def _size(self) -> float:
        return (self.per_minute or 0.0) / 60 * BURST_SECONDS

    def limit(self, per_minute: float) -> None:
        """Learn the rate."""
        if per_minute != self.per_minute:
            self.per_minute = per_minute
            self._level = min(self._level, self._size)

    def take(self, units: float) -> float:
        """Take units, perhaps on credit; the seconds to wait before they may be used."""
        if self.per_minute is None:
            return 0.0
        now, rate = time.monotonic(), self.per_minute / 60
        self._level = min(max(self._size, 1.0), self._level + (now - self._at) * rate) - units
        self._at = now
        return max(0.0, -self._level / rate)


class RateLimiter:
    """Says when a call may go, and learns from how calls end."""

    def __init__(self, limits: Limits, *, stopping: Callable[[], bool] = lambda: False) -> None:
        """Args:
        stopping: asked while a call waits; its waiting then ends, and the caller has to ask again.
        """
        self._stopping = stopping
        self.most = limits.concurrency
        self.allowed = float(min(FIRST, self.most))
        self.in_flight = 0
        self.pauses = 0
        self.gave_up = False
        """Whether nothing but failures came for so long that going on makes no sense."""
        self.ever_worked = False
        self._own_requests, self._own_tokens = limits.requests_per_minute, limits.tokens_per_minute
        self._requests, self._tokens = Bucket(self._own_requests), Bucket(self._own_tokens)
        self._slow_start = True
        self._paused_until = self._shrunk_at = 0.0
        self._failures = self._probes = 0
        self._waiting = asyncio.Condition()

    @property
    def is_open(self) -> bool:
        """Whether the circuit breaker lets only single probes through."""
        return self._failures >= OPEN_AFTER

    def nothing_works(self, attempts: int) -> bool:
        """Whether so many attempts in a row have failed, of whatever prompts."""
        return self._failures >= attempts

    async def enter(self, tokens: float) -> None:
        """Wait until a call with so many tokens may go, and count it as in flight."""
        async with self._waiting:
            await self._waiting.wait_for(lambda: self.in_flight < (1 if self.is_open else max(1, int(self.allowed))))
            self.in_flight += 1
        try:
            wait = max(self._requests.take(1), self._tokens.take(tokens))
            await self.nap(wait)
            while (pause := self._paused_until - time.monotonic()) > 0 and not self._stopping():
                await self.nap(pause)
        except BaseException:
            await self.leave()
            raise

    async def nap(self, seconds: float) -> None:
        """Wait, but not on when the job is asked to stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping():
            await asyncio.sleep(min(left, NAP_SECONDS))

    async def leave(self) -> None:
        """A call has ended; say before how it went."""
        async with self._waiting:
            self.in_flight -= 1
            self._waiting.notify(2)  # the free place, and one more where the limit has grown

    def worked(self) -> None:
        """The server answered."""
        self.ever_worked = True
        self._failures = self._probes = 0
        self.allowed = min(float(self.most), self.allowed + (1.0 if self._slow_start else 1.0 / self.allowed))

    def failed(self) -> None:
        """The server or the line failed."""
        probing = self.is_open
        self._failures += 1
        self._slow_start = False
        if probing and self.in_flight <= 1:
            self._probes += 1
            self.gave_up = self._probes >= (GIVE_UP_AFTER_SUCCESS if self.ever_worked else GIVE_UP_AFTER)
        if self.is_open:
            self.allowed = float(min(FIRST, self.most))
            self.pause(min(30.0, 0.5 * 2**self._probes))

    def too_many(self, retry_after: float | None, *, sent: float) -> None:
        """The server said 429 to a call sent at a `time.monotonic()`: shrink, and wait as long as it says.

        Calls that were sent before the last shrinking say nothing new.
        """
        self._slow_start = False
        if sent > self._shrunk_at:
            self.allowed, self._shrunk_at = max(1.0, self.allowed * DOWN), time.monotonic()
        if retry_after is not None:
            self.pause(retry_after)

    def pause(self, seconds: float) -> None:
        """Let no call go for so long."""
        self.pauses += 1
        self._paused_until = max(self._paused_until, time.monotonic() + min(seconds, LONGEST_PAUSE))

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take rate limits from an answer's headers, where the user has set none."""
        for unit, bucket, own in (
            ("requests", self._requests, self._own_requests),
            ("tokens", self._tokens, self._own_tokens),
        ):
            limit, left = headers.get(f"x-ratelimit-limit-{unit}"), headers.get(f"x-ratelimit-remaining-{unit}")
            if own is None and limit is not None and _number(limit) > 0:
                bucket.limit(_number(limit))
            if left is not None and _number(left) == 0:
                reset = duration(headers.get(f"x-ratelimit-reset-{unit}"))
                if reset:
                    self.pause(reset)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date."""
    if (value := headers.get("retry-after-ms")) is not None and _number(value) >= 0:
        return _number(value) / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    if _number(value) >= 0:
        return _number(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def duration(text: str | None) -> float:
    """`6m0s`, `120ms` or `1.5` in seconds; 0 where it is neither."""
    if text is None:
        return 0.0
    if _number(text) >= 0:
        return _number(text)
    return sum(float(value) * _SECONDS[unit] for value, unit in _DURATION.findall(text))


def _number(text: str) -> float:
    """A number that is not negative; -1 for anything else."""
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if 0 <= value < 1e12 else -1.0
