"""Asks an OpenAI-compatible endpoint many prompts at once: one loop of retries, paced, paid for, and judged.

The client's own retries are off. Calls live in an event loop of a thread of their own; the caller takes what they bring from
a queue in small chunks. A prompt makes room for the next one only when its answer has been taken and kept.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from engine.errors import BudgetReached, SemanticsError
from engine.semantics import pacing
from engine.semantics.endpoints import Endpoint
from engine.semantics.judging import Verdict, judge, repair
from engine.semantics.money import Call, Money, Usage
from engine.semantics.providers import Kind
from engine.semantics.requests import Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CHUNK_SECONDS = 0.1
"""Between two chunks at least: an answer is kept after about so long, and until then its prompt counts as in flight."""
IDLE_SECONDS = 0.5
"""After so long without anything an empty chunk tells that the job lives."""
RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may go better a second time."""
OF_THE_PROMPT = frozenset({400, 413, 422})
"""Statuses that, once others have worked, blame the single prompt."""
MALFORMED = "malformed answer"
BACKOFF_SECONDS, BACKOFF_MOST = 0.5, 20.0


@dataclass(frozen=True)
class Prompted:
    """One prompt to be answered."""

    key: str
    kind: Kind | Literal["text"]
    """`text`: to be encoded, not answered."""
    body: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What became of a prompt."""

    key: str
    text: str | None
    """None where no usable answer could be had."""
    finish_reason: str
    usage: Usage
    """Of all its attempts together."""
    usd: float | None
    vectors: NDArray[np.float32] | None = None
    """Of encoded texts."""


@dataclass
class Chunk:
    """What has come since the last one; calls are to be kept before the answers count."""

    calls: list[Call] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    note: str = ""
    kept: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the caller has come back for more."""


@dataclass
class _Outcome:
    """What one attempt brought."""

    status: int | None
    error: str | None = None
    message: str = ""
    text: str | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    usage: Usage | None = None
    headers: Any = None
    vectors: NDArray[np.float32] | None = None


class Client:
    """Asks one endpoint; made for one job."""

    def __init__(self, name: str, endpoint: Endpoint, key: SecretStr | None, money: Money) -> None:
        self._name, self._endpoint, self._key, self._money = name, endpoint, key, money
        self._chunks: queue.Queue[Chunk | BaseException | None] = queue.Queue()
        self._pending = Chunk()
        self._stopping = threading.Event()
        self._retries = 0

    def wind_down(self) -> None:
        """Send nothing more; what is in flight is waited for."""
        self._stopping.set()

    def ask(self, prompts: Iterable[Prompted]) -> Iterator[Chunk]:
        """Ask all prompts and yield what comes, an empty chunk now and then where nothing does.

        Raises:
            BudgetReached: the next call could go over the cap; what was in flight has been yielded.
            SemanticsError: the endpoint refuses (a key, a model, a request), or nothing works any more.
        """
        thread = threading.Thread(target=self._run, args=(iter(prompts),), name="llm-calls", daemon=True)
        thread.start()
        ended = False
        try:
            while (chunk := self._chunks.get()) is not None:
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
                with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                    self._loop.call_soon_threadsafe(chunk.kept.set)
            ended = True
        finally:
            if not ended:
                self._cancel()
            thread.join(timeout=5)

    def _cancel(self) -> None:
        """End at once; calls in flight are dropped."""
        self._stopping.set()
        with suppress(RuntimeError, AttributeError):  # the loop has ended, or not yet begun
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _run(self, prompts: Iterator[Prompted]) -> None:
        try:
            asyncio.run(self._main(prompts))
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._chunks.put(error)
        self._chunks.put(None)

    async def _main(self, prompts: Iterator[Prompted]) -> None:
        import httpx2 as http
        from openai import AsyncOpenAI

        limits = self._endpoint.limits
        self._loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._task = task
        self._pacer = pacing.Pacer(limits, stopping=self._stopping.is_set)
        self._money.begin()
        self._started, self._calls_before = time.monotonic(), self._money.calls
        pool = http.Limits(max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency)
        timeout = http.Timeout(limits.timeout, connect=min(limits.timeout, 10.0), pool=None)
        async with (
            http.AsyncClient(limits=pool, timeout=timeout, follow_redirects=False) as plain,
            AsyncOpenAI(
                api_key=self._key.get_secret_value() if self._key else "none",
                base_url=self._endpoint.base_url,
                max_retries=0,
                timeout=timeout,
                http_client=plain,
            ) as client,
        ):
            pulse = asyncio.create_task(self._pulse())
            try:
                await self._work(client, prompts)
            finally:
                pulse.cancel()
                self._flush()

    async def _work(self, client: AsyncOpenAI, prompts: Iterator[Prompted]) -> None:
        """Workers that take prompts until there are none; the first error stops them, and calls in flight end first."""
        errors: deque[BaseException] = deque()

        async def worker() -> None:
            try:
                for prompt in prompts:
                    if self._stopping.is_set():
                        return
                    await self._one(client, prompt)
            except SemanticsError as error:
                errors.append(error)
                self._stopping.set()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._endpoint.limits.concurrency):
                group.create_task(worker())
        if errors:
            raise next((error for error in errors if not isinstance(error, BudgetReached)), errors[0])

    async def _one(self, client: AsyncOpenAI, prompt: Prompted) -> None:
        """Ask one prompt until there is a usable answer or no more hope for one."""
        limits = self._endpoint.limits
        messages: list[Message] = prompt.body["messages"]
        paid = Usage(0, 0, 0)
        usd: float | None = 0.0
        failed = unusable = attempt = 0
        while True:
            attempt += 1
            sent = await self._attempt(client, prompt, messages, attempt)
            if sent is None:  # stopped before it was sent
                return
            outcome, verdict, cost = sent
            if outcome.usage is not None:
                paid = _sum(paid, outcome.usage)
            usd = None if usd is None or cost is None else usd + cost
            if verdict is not None and verdict.problem is None:
                finish = outcome.finish_reason or "stop"
                await self._answer(Answer(prompt.key, verdict.text, finish, paid, usd, outcome.vectors))
                return
            reason = outcome.error or "error"
            if verdict is not None and verdict.problem is not None:
                unusable += 1
                messages = repair(prompt.body["messages"], outcome.text, verdict.problem)
            else:
                failed += outcome.status != 429
            self._retries += 1
            hopeless = outcome.status in OF_THE_PROMPT
            if hopeless or unusable >= limits.answers or failed >= limits.attempts:
                if not hopeless and failed >= limits.attempts and self._pacer.nothing_works(limits.attempts):
                    raise self._blame(outcome)
                await self._answer(Answer(prompt.key, None, reason, paid, usd))
                return
            if self._stopping.is_set():
                return
            if verdict is None:
                await self._pacer.nap(_backoff(failed, outcome))

    async def _attempt(
        self, client: AsyncOpenAI, prompt: Prompted, messages: list[Message], attempt: int
    ) -> tuple[_Outcome, Verdict | None, float | None] | None:
        """Send it once, when pace and money allow it, and record it; none where the job was stopped before."""
        money, pacer = self._money, self._pacer
        text = "".join(message["content"] for message in messages)
        most_out = self._most_out
        await pacer.enter(len(text) / 4 + most_out)
        try:
            if self._stopping.is_set():
                return None
            reserve = money.most(text, most_out)
            if not await money.reserve(reserve):
                raise BudgetReached(money.cap or 0.0, money.spent)
            sent_at, started = time.time(), time.monotonic()
            outcome = _Outcome(None, "cancelled")
            cost: float | None = None
            try:
                outcome = await self._send(client, prompt.body | {"messages": messages})
            finally:  # also where the job is cancelled: the attempt may have been billed
                verdict = None
                if outcome.status == 200 and outcome.error is None:
                    verdict = self._judge(prompt, outcome)
                    outcome.error = verdict.problem
                billed = None if outcome.usage or outcome.status in (None, 200) else False
                cost = await money.settle(reserve, outcome.usage, sent_at, billed=billed)
                seconds = time.monotonic() - started
                call = Call(
                    prompt.key, attempt, sent_at, outcome.status, outcome.error, seconds, outcome.usage,
                    money.prices(sent_at), cost,
                )  # fmt: skip
                self._pending.calls.append(call)
            self._learn(outcome, started)
            return outcome, verdict, cost
        finally:
            await pacer.leave()

    async def _send(self, client: AsyncOpenAI, body: dict[str, Any]) -> _Outcome:
        """One HTTP attempt, whatever comes of it."""
        import openai

        try:
            raw = await self._create(client, body)
        except openai.APIStatusError as error:
            return _Outcome(
                error.status_code,
                f"HTTP {error.status_code}",
                self._scrub(_first_line(error.message)),
                headers=error.response.headers,
            )
        except openai.APITimeoutError:
            return _Outcome(None, "timeout", f"no answer within {self._endpoint.limits.timeout:g} s")
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            return _Outcome(None, "connection", self._scrub(f"{type(cause).__name__}: {cause}"))
        outcome = _Outcome(raw.status_code, headers=raw.headers)
        try:
            self._read(raw.parse(), outcome)
        except Exception as error:  # a server may answer anything: half a document, no choices, a page of HTML
            outcome.error, outcome.message = MALFORMED, self._scrub(str(error)[:200])
        return outcome

    @property
    def _most_out(self) -> int:
        """Tokens of an answer at most."""
        return self._endpoint.max_tokens

    async def _create(self, client: AsyncOpenAI, body: dict[str, Any]) -> Any:
        """Send a request; the raw response."""
        return await client.chat.completions.with_raw_response.create(**body)

    def _read(self, made: Any, outcome: _Outcome) -> None:
        """Take what an answer holds; raises anything where it is not what was asked for."""
        outcome.usage = _usage(made)
        choice = made.choices[0]
        outcome.finish_reason = choice.finish_reason
        outcome.text, outcome.refusal = choice.message.content, choice.message.refusal

    def _judge(self, prompt: Prompted, outcome: _Outcome) -> Verdict:
        """Whether the answer can be used."""
        assert prompt.kind != "text"
        return judge(prompt.kind, outcome.text, outcome.finish_reason, outcome.refusal)

    def _learn(self, outcome: _Outcome, sent: float) -> None:
        """Tell the pacer how it went; raises where going on makes no sense."""
        pacer, status = self._pacer, outcome.status
        if outcome.headers is not None:
            pacer.learn(outcome.headers)
        if status == 429:
            pacer.too_many(pacing.retry_after(outcome.headers or {}), sent=sent)
        elif status is None or status >= 500 or status in RETRIED or outcome.error == MALFORMED:
            wait = pacing.retry_after(outcome.headers) if outcome.headers is not None else None
            if status == 503 and wait is not None:
                pacer.pause(wait)
            pacer.failed()
            if pacer.gave_up:
                raise self._blame(outcome)
        elif status == 200:
            pacer.worked()
        elif not (status in OF_THE_PROMPT and pacer.ever_worked):
            raise self._blame(outcome)

    def _blame(self, outcome: _Outcome) -> SemanticsError:
        """One clear error instead of ten thousand."""
        hints = {
            400: "The request was refused: look at model, max_tokens, tokens_field and structured in providers.toml.",
            401: f"The key was refused: look at {self._endpoint.key_env or 'key_env in providers.toml'}.",
            402: "The account has no money left.",
            403: "The key may not do this.",
            404: "There is no such model or address: look at model and base_url.",
        }
        return SemanticsError(
            ": ".join(part for part in (outcome.error, outcome.message) if part),
            where=f"{self._name} ({self._endpoint.base_url}, {self._money.model})",
            hint=hints.get(
                outcome.status or 0, "Nothing worked any more. Run it again: the answers that came are kept."
            ),
        )

    def _scrub(self, text: str) -> str:
        """A server's words without the key, which some repeat."""
        key = self._key.get_secret_value() if self._key else ""
        return text.replace(key, "***") if key else text

    async def _answer(self, answer: Answer) -> None:
        chunk = self._pending
        chunk.answers.append(answer)
        await chunk.kept.wait()

    async def _pulse(self) -> None:
        """Hand over what has come, whenever the caller has taken the chunk before."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(CHUNK_SECONDS)
            idle = time.monotonic() - last > IDLE_SECONDS
            if self._chunks.empty() and (self._pending.calls or self._pending.answers or idle):
                last = time.monotonic()
                self._flush()

    def _flush(self) -> None:
        chunk, self._pending = self._pending, Chunk()
        rate = (self._money.calls - self._calls_before) / max(1e-9, time.monotonic() - self._started)
        dollars = f"${self._money.paid:.4f}" if self._money.known else "price unknown"
        chunk.note = f"{rate:.1f} calls/s, {self._pacer.in_flight} in flight, {self._retries} retries, {dollars}"
        self._chunks.put(chunk)


def _usage(made: Any) -> Usage | None:
    """Tokens as the server counts them, with cached ones where it says so; none where it says nothing sensible."""
    used: Any = getattr(made, "usage", None)
    try:
        details = used.prompt_tokens_details
        cached = (details.cached_tokens if details else None) or (used.model_extra or {}).get("prompt_cache_hit_tokens")
        counts = used.prompt_tokens, used.completion_tokens, cached or 0
    except AttributeError:  # none, or no table
        return None
    if any(not isinstance(count, int) or count < 0 for count in counts) or counts[2] > counts[0]:
        return None
    return Usage(*counts)


def _sum(a: Usage, b: Usage) -> Usage:
    return Usage(a.tokens_in + b.tokens_in, a.tokens_out + b.tokens_out, a.tokens_cached + b.tokens_cached)


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:300]


def _backoff(failed: int, outcome: _Outcome) -> float:
    """Seconds until the next attempt: doubling, with jitter, so that those that failed together come back apart."""
    if outcome.status == 429 and outcome.headers is not None and pacing.retry_after(outcome.headers) is not None:
        return random.uniform(0, 0.2)  # the pacer waits for all
    return min(BACKOFF_MOST, BACKOFF_SECONDS * 2 ** max(0, failed - 1)) * random.uniform(0.5, 1.5)
