"""Asks an OpenAI-compatible endpoint many prompts at once: one loop of retries, paced, paid for, and judged.

The client's own retries are off. Calls live in an event loop of a thread of their own; the caller takes what they bring from
a queue in small chunks. A prompt makes room for the next one only when its answer has been taken and kept.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from engine.errors import BudgetReached, SemanticsError
from engine.semantics.llm import attempts, rate_limiter
from engine.semantics.llm.answer_format import Message
from engine.semantics.llm.answer_validation import Validation
from engine.semantics.llm.attempts import (
    MALFORMED,
    OF_THE_PROMPT,
    RETRIED,
    Answer,
    EndpointClient,
    Outcome,
    PromptRequest,
    RequestState,
    backoff,
    wire,
)
from engine.semantics.llm.budget import Budget, Call
from engine.semantics.llm.endpoints import Endpoint

if TYPE_CHECKING:
    import httpx2 as http
    from openai import AsyncOpenAI

CHUNK_SECONDS = 0.1
"""Between two chunks at least: an answer is kept after about so long, and until then its prompt counts as in flight."""
IDLE_SECONDS = 0.5
"""After so long without anything an empty chunk tells that the job lives."""


@dataclass
class Chunk(attempts.Chunk):
    """What has come, and a sign that it was taken."""

    kept: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the caller has come back for more."""


class Client(EndpointClient):
    """Asks one endpoint, one call for each prompt; made for one job."""

    def __init__(self, name: str, endpoint: Endpoint, key: SecretStr | None, money: Budget) -> None:
        super().__init__(name, endpoint, key, money)
        self._lock = threading.Lock()
        self._pending = Chunk()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._stopping = threading.Event()
        self._pacer = rate_limiter.RateLimiter(endpoint.limits, stopping=self._stopping.is_set)
        self._started, self._calls_before = time.monotonic(), money.calls
        self._retries = 0

    def wind_down(self) -> None:
        """Send nothing more; what is in flight is waited for."""
        self._stopping.set()

    def ask(self, prompts: Iterable[PromptRequest]) -> Iterator[Chunk]:
        """Ask all prompts and yield what comes, an empty chunk now and then where nothing does.

        Raises:
            BudgetReached: the next call could go over the cap; what was in flight has been yielded.
            SemanticsError: the endpoint refuses (a key, a model, a request), or nothing works any more.
        """
        thread = threading.Thread(target=self._run, args=(iter(prompts),), name="llm-calls", daemon=True)
        thread.start()
        ended, told = False, time.monotonic()
        try:
            while not ended:
                ended = self._ended.wait(CHUNK_SECONDS)
                chunk = self._take()
                idle = time.monotonic() - told > IDLE_SECONDS
                if chunk.calls or chunk.answers or idle or ended:
                    told = time.monotonic()
                    yield chunk
                    with suppress(RuntimeError, AttributeError):  # the loop has ended, or not yet begun
                        self._loop.call_soon_threadsafe(chunk.kept.set)
            if self._error is not None:
                raise self._error
        finally:
            if not ended:
                self._cancel()
            thread.join(timeout=5)

    def _cancel(self) -> None:
        """End at once; calls in flight are dropped."""
        self._stopping.set()
        with suppress(RuntimeError, AttributeError):  # the loop has ended, or not yet begun
            self._loop.call_soon_threadsafe(self._task.cancel)

    def _run(self, prompts: Iterator[PromptRequest]) -> None:
        try:
            asyncio.run(self._main(prompts))
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._error = error
        self._ended.set()

    async def _main(self, prompts: Iterator[PromptRequest]) -> None:
        import httpx2 as http
        from openai import AsyncOpenAI

        limits = self._endpoint.limits
        self._loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._task = task
        self._money.begin()
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
            await self._work(client, prompts)

    async def _work(self, client: AsyncOpenAI, prompts: Iterator[PromptRequest]) -> None:
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

    async def _one(self, client: AsyncOpenAI, prompt: PromptRequest) -> None:
        """Ask one prompt until there is a usable answer or no more hope for one."""
        limits = self._endpoint.limits
        course = RequestState(prompt.key, prompt.kind)
        while True:
            sent = await self._attempt(client, prompt, course)
            if sent is None:  # stopped before it was sent
                return
            outcome, verdict, cost = sent
            answer = course.take(outcome, verdict, cost, limits)
            self._retries += answer is None or answer.text is None
            if answer is not None:
                worn_out = course.failed >= limits.attempts and outcome.status not in OF_THE_PROMPT
                if worn_out and answer.text is None and self._pacer.nothing_works(limits.attempts):
                    raise self._blame(outcome)
                await self._answer(answer)
                return
            if self._stopping.is_set():
                return
            if verdict is None:
                await self._pacer.nap(backoff(course.failed, outcome))

    async def _attempt(
        self, client: AsyncOpenAI, prompt: PromptRequest, course: RequestState
    ) -> tuple[Outcome, Validation | None, float | None] | None:
        """Send it once, when pace and money allow it, and record it; none where the job was stopped before."""
        money, pacer, messages = self._money, self._pacer, course.messages(prompt)
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
            outcome = Outcome(None, "cancelled")
            cost: float | None = None
            try:
                outcome = await self._send(client, prompt.body, messages)
            finally:  # also where the job is cancelled: the attempt may have been billed
                verdict = None
                if outcome.status == 200 and outcome.error is None:
                    verdict = self._judge(course, outcome)
                    outcome.error = verdict.problem
                billed = None if outcome.usage or outcome.status in (None, 200) else False
                cost = await money.settle(reserve, outcome.usage, sent_at, billed=billed)
                course.attempt += 1
                call = Call(
                    prompt.key, course.attempt, sent_at, outcome.status, outcome.error, time.monotonic() - started,
                    outcome.usage, money.prices(sent_at), cost, reserve if cost is None else None,
                )  # fmt: skip
                with self._lock:
                    self._pending.calls.append(call)
            self._learn(outcome, started)
            return outcome, verdict, cost
        finally:
            await pacer.leave()

    async def _send(self, client: AsyncOpenAI, body: dict[str, Any], messages: list[Message]) -> Outcome:
        """One HTTP attempt, whatever comes of it."""
        try:
            response = await self._create(client, body, messages)
        except Exception as error:
            return self._failed(error)
        outcome = Outcome(response.status_code, headers=response.headers)
        self._understand(response.content, outcome)
        return outcome

    @property
    def _most_out(self) -> int:
        """Tokens of an answer at most."""
        return self._endpoint.max_tokens

    async def _create(self, client: AsyncOpenAI, body: dict[str, Any], messages: list[Message]) -> http.Response:
        """Send a request; the raw response: building the library's models of it would take a third of the call's time."""
        import httpx2

        own = wire(body) | {"messages": messages}
        return await client.post("/chat/completions", body=own, cast_to=httpx2.Response)

    def _learn(self, outcome: Outcome, sent: float) -> None:
        """Tell the pacer how it went; raises where going on makes no sense."""
        pacer, status = self._pacer, outcome.status
        if outcome.headers is not None:
            pacer.learn(outcome.headers)
        if status == 429:
            pacer.too_many(rate_limiter.retry_after(outcome.headers or {}), sent=sent)
        elif status is None or status >= 500 or status in RETRIED or outcome.error == MALFORMED:
            wait = rate_limiter.retry_after(outcome.headers) if outcome.headers is not None else None
            if status == 503 and wait is not None:
                pacer.pause(wait)
            pacer.failed()
            if pacer.gave_up:
                raise self._blame(outcome)
        elif status == 200:
            pacer.worked()
        elif not (status in OF_THE_PROMPT and pacer.ever_worked):
            raise self._blame(outcome)

    async def _answer(self, answer: Answer) -> None:
        with self._lock:
            chunk = self._pending
            chunk.answers.append(answer)
        await chunk.kept.wait()

    def _take(self) -> Chunk:
        """What has come; done by the caller's thread, so that a busy loop keeps nobody waiting for news."""
        with self._lock:
            chunk, self._pending = self._pending, Chunk()
        dollars = f"${self._money.paid:.4f}" if self._money.known else "price unknown"
        rate = (self._money.calls - self._calls_before) / max(1e-9, time.monotonic() - self._started)
        chunk.note = f"{rate:.1f} calls/s, {self._pacer.in_flight} in flight, {self._retries} retries, {dollars}"
        return chunk
