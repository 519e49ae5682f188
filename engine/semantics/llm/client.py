"""Sends prompts to an OpenAI-compatible endpoint concurrently, with rate limits, retries, a budget and validation.

The retries of the openai package are off. Calls run in an event loop in a thread of their own; the caller's thread takes
results in small deliveries. A prompt frees its slot only once its answer has been delivered and stored.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from engine.errors import BudgetReached, SemanticsError
from engine.semantics.llm import rate_limiter
from engine.semantics.llm.answer_format import Message
from engine.semantics.llm.answer_validation import Validation
from engine.semantics.llm.attempts import (
    MALFORMED,
    NO_USAGE,
    RETRIED,
    Answer,
    AttemptResult,
    EndpointClient,
    PromptRequest,
    RequestState,
    ResultBatch,
    backoff,
    wire,
)
from engine.semantics.llm.budget import Budget, Call
from engine.semantics.llm.connection import bound, client_options, forget_shell, http_options, no_connection
from engine.semantics.llm.endpoints import Endpoint
from engine.semantics.llm.refusals import OF_THE_PROMPT
from engine.semantics.llm.servers import Server, Servers

if TYPE_CHECKING:
    import httpx2 as http
    from openai import AsyncOpenAI

DELIVERY_SECONDS = 0.1
"""Interval between two deliveries; until its delivery is stored, a prompt counts as in flight."""
IDLE_SECONDS = 0.5
"""Longest time without a delivery; an empty one then shows that the job is alive."""

REFUSED_BEFORE_END = 3
"""Prompts refused with 400, 413 or 422 that end a job in which none has worked."""
REFUSED_IN_ROW = 20
"""Refusals in a row, none of which names a prompt, that end a job: the model may be gone."""
MOST_LAST = 3
"""Prompts at the end of a job that are given up alone where the server answers others, but not these."""
MOST_EXCEPTIONS = 20
"""Prompts that may end in an exception before the job does, where no call has ever succeeded."""


@dataclass
class _Delivery(ResultBatch):
    """Results, and an event that tells the calls that the caller has stored them."""

    kept: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the caller asks for the next delivery."""


class Client(EndpointClient):
    """Sends prompts to one endpoint, one call per attempt; serves one job."""

    def __init__(self, name: str, endpoint: Endpoint, key: SecretStr | None, budget: Budget) -> None:
        super().__init__(name, endpoint, key, budget)
        self._lock = threading.Lock()
        self._pending = _Delivery()
        self._servers = Servers([])
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._stopping = threading.Event()
        self._limiter = rate_limiter.RateLimiter(endpoint.limits, stopping=self._stopping.is_set)
        self._started, self._calls_before = time.monotonic(), budget.calls
        self._retries = self._exceptions = self._sending = self._open = self._refused = 0
        self._all_begun = False
        self._trouble = ""
        self._aside: list[tuple[Answer, AttemptResult]] = []

    def drain(self) -> None:
        """Send no further calls; `ask` ends when those in flight have ended."""
        self._stopping.set()

    def ask(self, prompts: Iterable[PromptRequest]) -> Iterator[_Delivery]:
        """Send all prompts and yield results as they arrive, an empty batch of results every `IDLE_SECONDS` without any.

        Raises:
            BudgetReached: the next call could exceed the cap; the results of calls in flight have been yielded.
            SemanticsError: the endpoint rejects a key, model or request, or calls keep failing.
        """
        thread = threading.Thread(target=self._run, args=(iter(prompts),), name="llm-calls", daemon=True)
        thread.start()
        ended, delivered = False, time.monotonic()
        try:
            while not ended:
                ended = self._ended.wait(DELIVERY_SECONDS)
                delivery = self._take_pending()
                idle = time.monotonic() - delivered > IDLE_SECONDS
                if delivery.calls or delivery.answers or idle or ended:
                    delivered = time.monotonic()
                    yield delivery
                    with suppress(RuntimeError, AttributeError):  # the loop has ended, or has not started
                        self._loop.call_soon_threadsafe(delivery.kept.set)
            if self._error is not None:
                raise self._error
        finally:
            if not ended:
                self._cancel()
            thread.join(timeout=5)

    def _cancel(self) -> None:
        """End at once; calls in flight are cancelled."""
        self._stopping.set()
        with suppress(RuntimeError, AttributeError):  # the loop has ended, or has not started
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

        limits = self._endpoint.limits
        self._loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._task = task
        self._budget.begin()
        pool = http.Limits(max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency)
        timeout = http.Timeout(limits.timeout, connect=min(limits.timeout, 10.0), pool=None)
        async with AsyncExitStack() as stack:
            self._servers = Servers([await self._connected(url, stack, pool, timeout) for url in self._endpoint.urls])
            await self._work(prompts)

    async def _connected(self, url: str, stack: AsyncExitStack, pool: http.Limits, timeout: http.Timeout) -> Server:
        """A server with its client, which the stack closes."""
        import httpx2 as http
        from openai import AsyncOpenAI

        endpoint = self._endpoint.model_copy(update={"base_url": url})
        hooks: Any = {"response": [bound]}
        try:
            plain = http.AsyncClient(
                limits=pool, timeout=timeout, follow_redirects=False, event_hooks=hooks, **http_options(endpoint)
            )
        except Exception as error:  # a proxy or certificate file of the shell that is none
            raise no_connection(self._scrub(str(error)), endpoint) from error
        await stack.enter_async_context(plain)
        client = AsyncOpenAI(timeout=timeout, http_client=plain, **client_options(endpoint, self._key))
        forget_shell(client)
        return Server(url, await stack.enter_async_context(client))

    async def _work(self, prompts: Iterator[PromptRequest]) -> None:
        """Run one worker per allowed call; the first error stops them all, once the calls in flight have ended."""
        errors: deque[BaseException] = deque()

        async def worker() -> None:
            try:
                for prompt in prompts:
                    if self._stopping.is_set():
                        return
                    self._open += 1
                    await self._ask_apart(prompt)
                    self._open -= 1
                self._all_begun = True
            except SemanticsError as error:
                errors.append(error)
                self._stopping.set()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._endpoint.limits.concurrency):
                group.create_task(worker())
        if not errors and self._aside and not self._works:
            raise self._endpoint_error(self._aside[-1][1])
        await self._deliver_aside()
        if errors:
            raise next((error for error in errors if not isinstance(error, BudgetReached)), errors[0])

    async def _ask_apart(self, prompt: PromptRequest) -> None:
        """Ask one prompt; an exception that nobody foresaw is this prompt's, unless every prompt so far has met one.

        Raises:
            SemanticsError: the endpoint rejects calls, or the cap is reached.
        """
        try:
            await self._ask_one(prompt)
        except SemanticsError:
            raise
        except Exception as error:
            words = self._scrub(f"{type(error).__name__}: {error}"[:200])
            self._exceptions += 1
            if self._exceptions >= MOST_EXCEPTIONS and not self._limiter.ever_worked:
                raise self._endpoint_error(AttemptResult(None, "exception", words)) from error
            await self._answer(Answer(prompt.key, None, f"exception: {words}", NO_USAGE, None))

    async def _ask_one(self, prompt: PromptRequest) -> None:
        """Attempt one prompt until it has a usable answer, or its attempts are used up."""
        limits = self._endpoint.limits
        state = RequestState(prompt.key, prompt.kind)
        while True:
            sent = await self._attempt(prompt, state)
            if sent is None:  # stopped before it was sent
                return
            result, validation, cost = sent
            if await self._refit(prompt, result):
                return
            answer = state.take(result, validation, cost, limits)
            self._retries += answer is None or answer.text is None
            if validation is not None:
                self._count_usable(state, result, validation)
                self._end_if_unusable()
            if answer is not None:
                refused = result.status in OF_THE_PROMPT or result.of_the_prompt
                self._refused += refused and not result.of_the_prompt
                if self._refused >= REFUSED_IN_ROW:
                    raise self._endpoint_error(result)
                if refused and not result.of_the_prompt and not self._works:
                    await self._set_aside(answer, result)
                    return
                worn_out = state.failed >= limits.attempts and not refused
                stuck = worn_out and answer.text is None and self._limiter.nothing_works(limits.attempts)
                if stuck and not self._is_last(result):
                    raise self._endpoint_error(result)
                await self._answer(answer)
                await self._deliver_aside()
                return
            if self._stopping.is_set():
                return
            if validation is None:
                await self._limiter.sleep(backoff(state.failed, result))

    def _is_last(self, result: AttemptResult) -> bool:
        """Whether a prompt that a working server cannot answer is one of the last few: no other can show whether it is to blame."""
        answers = result.error in ("timeout", MALFORMED) or (result.status or 0) >= 500
        return answers and self._works and self._all_begun and self._open <= MOST_LAST

    async def _refit(self, prompt: PromptRequest, result: AttemptResult) -> bool:
        """Ask a refused request again in a form that fits the server; False if there is none."""
        return False

    @property
    def _works(self) -> bool:
        """Whether the endpoint has answered a prompt, in this job or before."""
        return self.worked_before or self._limiter.ever_worked

    async def _set_aside(self, answer: Answer, result: AttemptResult) -> None:
        """Keep a refused prompt until it is known whether others work, which are asked before all are blamed.

        Raises:
            SemanticsError: several prompts were refused, and none has worked.
        """
        self._aside.append((answer, result))
        await self._wait_for_others()
        if len(self._aside) >= REFUSED_BEFORE_END and not self._works:
            raise self._endpoint_error(result)

    async def _wait_for_others(self) -> None:
        """While prompts were refused and none has worked, ask one at a time."""
        while self._sending and self._aside and not self._works and not self._stopping.is_set():
            await asyncio.sleep(0.02)

    async def _deliver_aside(self) -> None:
        """Deliver the prompts set aside as unanswerable, once the endpoint works."""
        if self._works:
            aside, self._aside = self._aside, []
            for answer, _ in aside:
                await self._answer(answer)

    async def _attempt(
        self, prompt: PromptRequest, state: RequestState
    ) -> tuple[AttemptResult, Validation | None, float | None] | None:
        """Send a prompt once rate limits and budget allow it, and record the call; None if the job was stopped first."""
        budget, limiter, messages = self._budget, self._limiter, state.messages(prompt)
        text = "".join(message["content"] for message in messages)
        max_output = self._max_output_tokens
        await limiter.acquire(len(text) / 4 + max_output)
        await self._wait_for_others()
        self._sending += 1
        try:
            if self._stopping.is_set():
                return None
            reserve = budget.upper_bound(text, max_output)
            if not await budget.reserve(reserve):
                raise BudgetReached(budget.cap or 0.0, budget.spent)
            sent_at, started = time.time(), time.monotonic()
            result = AttemptResult(None, "cancelled")
            cost: float | None = None
            try:
                with self._servers.one() as server:
                    result = await self._send(server.client, prompt.body, messages)
                    result.server = server.url
                    if result.status is None or result.status == 429 or result.status >= 500:
                        server.rest()
            finally:  # even if the job is cancelled: the attempt may have been billed
                validation = self._judge(state, result, prompt)
                billed = None if result.usage or result.status is None or result.answered else False
                cost = await budget.record_cost_and_wake(reserve, result.usage, sent_at, billed=billed)
                state.attempt += 1
                call = Call(
                    prompt.key, state.attempt, sent_at, result.status, result.error, time.monotonic() - started,
                    result.usage, budget.prices(sent_at), cost, reserve if cost is None else None,
                )  # fmt: skip
                with self._lock:
                    self._pending.calls.append(call)
            self._update_limiter(result, started)
            return result, validation, cost
        finally:
            await limiter.release()
            self._sending -= 1

    async def _send(self, client: AsyncOpenAI, body: dict[str, Any], messages: list[Message]) -> AttemptResult:
        """One HTTP attempt; errors of the server and the connection become results."""
        try:
            async with asyncio.timeout(
                self._endpoint.limits.timeout
            ):  # httpx counts each read alone: one may drip for ever
                response = await self._create(client, body, messages)
        except Exception as error:
            return self._result_of_error(error)
        result = AttemptResult(response.status_code, headers=response.headers)
        self._parse(response.content, result)
        return result

    @property
    def _max_output_tokens(self) -> int:
        """Maximum tokens of an answer."""
        return self._endpoint.max_tokens

    async def _create(self, client: AsyncOpenAI, body: dict[str, Any], messages: list[Message]) -> http.Response:
        """Send a request and return the raw response: the openai package's models would take a third of a call's CPU time."""
        import httpx2

        own = wire(body) | {"messages": messages}
        return await client.post("/chat/completions", body=own, cast_to=httpx2.Response)

    def _update_limiter(self, result: AttemptResult, sent: float) -> None:
        """Report the outcome of an attempt to the rate limiter.

        Raises:
            SemanticsError: further calls would fail too.
        """
        limiter, status = self._limiter, result.status
        if result.headers is not None:
            limiter.learn(result.headers)
        self._trouble = "" if result.answered else f"{result.error}: {result.message}"[:100].rstrip(": ")
        if result.spent:
            raise self._endpoint_error(result)
        if status == 429:
            limiter.on_rate_limited(rate_limiter.retry_after(result.headers or {}), sent=sent)
            if limiter.never_let_in:
                raise self._endpoint_error(result)
        elif status is None or status >= 500 or status in RETRIED or result.error == MALFORMED:
            wait = rate_limiter.retry_after(result.headers) if result.headers is not None else None
            if status == 503 and wait is not None:
                limiter.pause(wait)
            limiter.on_failure()
            if limiter.gave_up and not self._is_last(result):
                raise self._endpoint_error(result)
        elif result.answered:
            self._refused = 0
            limiter.on_success()
        elif status not in OF_THE_PROMPT and not result.of_the_prompt:
            raise self._endpoint_error(result)

    async def _answer(self, answer: Answer) -> None:
        with self._lock:
            delivery = self._pending
            delivery.answers.append(answer)
        await delivery.kept.wait()

    def _take_pending(self) -> _Delivery:
        """The pending delivery; runs in the caller's thread, so that a busy event loop does not delay it."""
        with self._lock:
            delivery, self._pending = self._pending, _Delivery()
        dollars = f"${self._budget.paid:.4f}" if self._budget.known else "price unknown"
        rate = (self._budget.calls - self._calls_before) / max(1e-9, time.monotonic() - self._started)
        delivery.note = f"{rate:.1f} calls/s, {self._limiter.in_flight} in flight, {self._retries} retries, {dollars}"
        trouble, wait = self._trouble, self._limiter.paused_seconds
        if wait >= 1:
            delivery.note += f"; waits {wait:.0f} s after {trouble or 'the limit in the headers of an answer'}"
        elif trouble:
            delivery.note += f"; {trouble}"
        return delivery
