"""Limits the calls in flight and their rate: adaptive concurrency, token buckets, pauses and a circuit breaker.

Not thread-safe: one event loop uses it. Concurrency doubles until the server first answers 429, then grows by one per round
and is multiplied by 0.8 at each further 429 (additive increase, multiplicative decrease).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from engine.semantics.llm.endpoints import Limits

FIRST = 4
"""Calls in flight at the start, before the server has answered anything."""
DECREASE = 0.8
STOP_CHECK_SECONDS = 0.25
"""Interval at which a waiting call checks whether the job should stop."""
LONGEST_PAUSE = 600.0
"""Seconds; a longer pause that a server asks for is cut to this."""
BURST_SECONDS = 5.0
"""Capacity of a bucket, in seconds of its rate."""
OPEN_AFTER = 10
"""Consecutive failures after which the circuit breaker opens: only single probes are sent."""
LIMITED_ROUNDS, LONGEST_LIMITED_PAUSE = 3, 60.0
"""Rounds of 429 in a row after which all calls pause, each time twice as long, and the longest such pause in seconds."""
LIMITED_SECONDS, LIMITED_SECONDS_ASKED = 600.0, 90_000.0
"""Seconds of nothing but 429 that end a job: of our own waiting, and where the server has said how long (a day's limit)."""
GIVE_UP_AFTER, GIVE_UP_AFTER_SUCCESS = 5, 8
"""Consecutive failed probes that end the job: if no call ever succeeded, and if one did."""
SOON = 1.0
"""Seconds; a wait that a server asks for below this, again and again, is none: our own pauses grow."""
UNIX_TIME = 1e9
"""A number of seconds from here on is a time, not a wait."""
LEAST_REQUESTS, LEAST_TOKENS = 1.0, 1000.0
"""A minute; fewer in a server's headers are of another unit, or would hold a single call for hours."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s?(ms|s|m|h)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Bucket:
    """Token bucket of a rate per minute; None means no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self.per_minute = per_minute
        self._level = self._size
        self._at = time.monotonic()

    @property
    def _size(self) -> float:
        return (self.per_minute or 0.0) / 60 * BURST_SECONDS

    def limit(self, per_minute: float) -> None:
        """Set the rate, in units per minute."""
        if per_minute != self.per_minute:
            self.per_minute = per_minute
            self._level = min(self._level, self._size)

    def take(self, units: float) -> float:
        """Take units, on credit if needed; returns the seconds to wait before using them."""
        if self.per_minute is None:
            return 0.0
        now, rate = time.monotonic(), self.per_minute / 60
        self._level = min(max(self._size, 1.0), self._level + (now - self._at) * rate) - units
        self._at = now
        return max(0.0, -self._level / rate)


class RateLimiter:
    """Admits calls to an endpoint, and adapts to how they end."""

    def __init__(self, limits: Limits, *, stopping: Callable[[], bool] = lambda: False) -> None:
        """Args:
        stopping: checked while a call waits; if true, the wait ends early and the caller must check too.
        """
        self._stopping = stopping
        self.maximum = limits.concurrency
        self.allowed = float(min(FIRST, self.maximum))
        self.in_flight = 0
        self.pauses = 0
        self.gave_up = False
        """Whether so many probes failed in a row that the job should end."""
        self.ever_worked = False
        self._own_requests, self._own_tokens = limits.requests_per_minute, limits.tokens_per_minute
        self._requests, self._tokens = Bucket(self._own_requests), Bucket(self._own_tokens)
        self._slow_start = True
        self._paused_until = self._shrunk_at = 0.0
        self._failures = self._probes = self._limited = 0
        self._limited_since: float | None = None
        self._asked_to_wait = False
        self._waiting = asyncio.Condition()

    @property
    def is_open(self) -> bool:
        """Whether the circuit breaker lets only single probes through."""
        return self._failures >= OPEN_AFTER

    def nothing_works(self, attempts: int) -> bool:
        """Whether the last `attempts` calls, of any prompts, have all failed."""
        return self._failures >= attempts

    @property
    def paused_seconds(self) -> float:
        """Seconds until the pause of all calls ends; 0 without one."""
        return max(0.0, self._paused_until - time.monotonic())

    @property
    def never_let_in(self) -> bool:
        """Whether the server has answered nothing but 429 for so long that the job should end."""
        if self._limited_since is None:
            return False
        longest = LIMITED_SECONDS_ASKED if self._asked_to_wait else LIMITED_SECONDS
        return time.monotonic() - self._limited_since > longest

    async def acquire(self, tokens: float) -> None:
        """Wait until a call of about `tokens` tokens may be sent, and count it as in flight until `release`."""
        async with self._waiting:
            await self._waiting.wait_for(lambda: self.in_flight < (1 if self.is_open else max(1, int(self.allowed))))
            self.in_flight += 1
        try:
            wait = max(self._requests.take(1), self._tokens.take(tokens))
            await self.sleep(wait)
            while (pause := self._paused_until - time.monotonic()) > 0 and not self._stopping():
                await self.sleep(pause)
        except BaseException:
            await self.release()
            raise

    async def sleep(self, seconds: float) -> None:
        """Wait, or return early when the job should stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping():
            await asyncio.sleep(min(left, STOP_CHECK_SECONDS))

    async def release(self) -> None:
        """Count a call as ended; report its outcome (`on_success`, `on_failure`, `on_rate_limited`) first."""
        async with self._waiting:
            self.in_flight -= 1
            self._waiting.notify(2)  # the freed slot, and one more if the limit has grown

    def on_success(self) -> None:
        """The server answered: raise the concurrency and close the circuit breaker."""
        self.ever_worked = True
        self._failures = self._probes = self._limited = 0
        self._limited_since, self._asked_to_wait = None, False
        self.allowed = min(float(self.maximum), self.allowed + (1.0 if self._slow_start else 1.0 / self.allowed))

    def on_failure(self) -> None:
        """The server or the connection failed: count it, and pause once the circuit breaker is open."""
        probing = self.is_open
        self._failures += 1
        self._slow_start = False
        if probing and self.in_flight <= 1:
            self._probes += 1
            self.gave_up = self._probes >= (GIVE_UP_AFTER_SUCCESS if self.ever_worked else GIVE_UP_AFTER)
        if self.is_open:
            self.allowed = float(min(FIRST, self.maximum))
            self.pause(min(30.0, 0.5 * 2**self._probes))

    def on_rate_limited(self, retry_after: float | None, *, sent: float) -> None:
        """The server answered 429: reduce the concurrency, and pause for `retry_after` seconds.

        Args:
            sent: `time.monotonic()` of sending; calls sent before the last reduction do not reduce it again.
        """
        self._slow_start = False
        if sent > self._shrunk_at:
            self.allowed, self._shrunk_at = max(1.0, self.allowed * DECREASE), time.monotonic()
            self._limited += 1
            if (retry_after is None or retry_after < SOON) and self._limited > LIMITED_ROUNDS:
                self.pause(min(LONGEST_LIMITED_PAUSE, 0.5 * 2 ** min(10, self._limited - LIMITED_ROUNDS - 1)))
        self._limited_since = self._limited_since or time.monotonic()
        if retry_after is not None:
            self._asked_to_wait = self._asked_to_wait or retry_after > LONGEST_LIMITED_PAUSE
            self.pause(retry_after)

    def pause(self, seconds: float) -> None:
        """Send no call for some seconds."""
        self.pauses += 1
        self._paused_until = max(self._paused_until, time.monotonic() + min(seconds, LONGEST_PAUSE))

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take rate limits from the headers of a response, unless the user has set them."""
        for unit, bucket, own, least in (
            ("requests", self._requests, self._own_requests, LEAST_REQUESTS),
            ("tokens", self._tokens, self._own_tokens, LEAST_TOKENS),
        ):
            limit, left = headers.get(f"x-ratelimit-limit-{unit}"), headers.get(f"x-ratelimit-remaining-{unit}")
            if own is None and limit is not None and _number(limit) >= least:
                bucket.limit(_number(limit))
            if left is not None and _number(left) == 0:
                reset = duration(headers.get(f"x-ratelimit-reset-{unit}"))
                if reset:
                    self.pause(reset)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `retry-after` in seconds, as a Unix time, a date or a duration; None without them."""
    if (value := headers.get("retry-after-ms")) is not None and _number(value) >= 0:
        return _number(value) / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    if _number(value) >= 0:
        return _from_now(_number(value))
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        until = _until(value)
        return until if until is not None else duration(value) or None


def duration(text: str | None) -> float:
    """Seconds of a text such as `6m0s`, `120ms`, `1.5`, a Unix time or an ISO time to come; 0 for any other."""
    if text is None:
        return 0.0
    if _number(text) >= 0:
        return _from_now(_number(text))
    if (seconds := _until(text)) is not None:
        return seconds
    return sum(float(value) * _SECONDS[unit.lower()] for value, unit in _DURATION.findall(text[:100]))


def _from_now(value: float) -> float:
    """Seconds of a number; one that is a Unix time, in seconds or milliseconds, counts from now."""
    if value < UNIX_TIME:
        return value
    return max(0.0, (value / 1000 if value >= UNIX_TIME * 1000 else value) - time.time())


def _until(text: str) -> float | None:
    """Seconds until an ISO time; None for any other text."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - time.time())


def _number(text: str) -> float:
    """The value of a non-negative number below 1e15; -1 for any other text."""
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if 0 <= value < 1e15 else -1.0
