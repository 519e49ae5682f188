"""Sends prompts through the Batch API: files of requests, answered within a day at a lower price, across restarts.

Everything runs in the caller's thread. The log of a batch is written to disk before and after each step; a batch whose state
is unknown after a crash is looked up at the provider by its name. A batch is closed only once the caller asks for the next
results, which means that it has stored all of the batch.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from pydantic import SecretStr

from engine.errors import BatchPending, BudgetReached, SemanticsError
from engine.semantics.kinds import Kind
from engine.semantics.llm.attempts import RETRIED, AttemptResult, PromptRequest, RequestState, ResultBatch, wire
from engine.semantics.llm.batch_files import ENDED, BatchLogs, ProviderBatch, SentRequest, open_batches
from engine.semantics.llm.batch_http import PATH, STOP_CHECK_SECONDS, BatchHttpClient
from engine.semantics.llm.budget import Budget, Call
from engine.semantics.llm.endpoints import Endpoint

SETTLE_SECONDS = 10.0
"""Time after which a request of a process that died has reached the provider, or never will."""
LINES_AT_ONCE = 500
"""Maximum results yielded together, and prompts rendered together."""
TOO_MANY_TOKENS = "token_limit_exceeded"
"""Error code of a rejected batch that may be accepted once others have ended."""

Render = Callable[[list[str]], Iterator[PromptRequest]]
"""Returns the prompts of keys, in order."""


class BatchClient(BatchHttpClient):
    """Sends prompts to one endpoint in batches; serves one job."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        key: SecretStr | None,
        budget: Budget,
        *,
        files: BatchLogs,
        run_id: str,
        lock_key: str,
        recorded: Callable[[str], set[str]],
    ) -> None:
        """Args:
        files: logs of the batches.
        run_id: the run that asks; its batches at the provider count against its cap.
        lock_key: key of the lock that the job holds.
        recorded: returns, for the name of a batch, the keys whose calls are stored already.
        """
        super().__init__(name, endpoint, key, budget, files)
        self._run_id, self._lock_key, self._recorded = run_id, lock_key, recorded
        self._open: dict[str, ProviderBatch] = {}
        self._elsewhere: set[str] = set()
        self._queue: deque[RequestState] = deque()
        self._wanted: set[str] = set()
        self._render: Render | None = None
        self._ever_worked = False
        self._max_requests = self._own.requests

    @property
    def in_flight(self) -> set[str]:
        """Keys of requests that are at the provider."""
        return self._elsewhere | {key for batch in self._open.values() for key in batch.requests}

    def ask(self, keys: list[str], kind: Kind, render: Render, *, wait: bool) -> Iterator[ResultBatch]:
        """Have prompts answered and yield results as they arrive, empty ones while there are none.

        Args:
            wait: until all are answered; if false, send all batches that fit and collect those that have ended.

        Raises:
            BatchPending: `wait` is false and batches are still at the provider.
            BudgetReached: the next request could exceed the cap, and no batch is at the provider.
            SemanticsError: the endpoint rejects the requests, or another process has some of them at the provider.
        """
        self._wanted, self._render = set(keys), render
        with self._connected():
            self._adopt(lambda batch: not self._wanted.isdisjoint(batch.requests) or self._is_left_over(batch))
            if not self._wanted.isdisjoint(self._elsewhere):
                raise SemanticsError(
                    "another process is waiting for batches that contain some of these requests",
                    where=self._name,
                    hint="Wait for it to end, or stop it: its batches stay at the provider.",
                )
            known = self.in_flight | {state.key for state in self._queue}
            self._queue += [RequestState(key, kind) for key in keys if key not in known]
            yield from self._work(render, wait=wait)

    def collect(self, wanted: set[str] | None = None) -> Iterator[ResultBatch]:
        """Collect the answers of batches that have ended, without sending anything.

        Args:
            wanted: collect batches that contain one of these keys; None means all of this endpoint and model.
        """
        with self._connected():
            self._adopt(lambda batch: wanted is None or not wanted.isdisjoint(batch.requests))
            yield from self._poll()

    def _adopt(self, fits: Callable[[ProviderBatch], bool]) -> None:
        """Take over open batches of earlier starts and other runs, and reserve dollars for those of this run."""
        own = (self._name, self._endpoint.base_url, self._budget.model)
        self._budget.reserved = 0.0
        for batch in open_batches(self._files):
            if (batch.provider, batch.base_url, batch.model) != own:
                continue
            if not fits(batch):
                self._budget.reserved += batch.reserve if batch.run_id == self._run_id else 0.0
            elif self._files.take(batch.name):
                known = self._files.read().get(batch.name)  # read again, now that this process has the lock
                if known is not None:
                    self._resume(ProviderBatch.read(batch.name, known))
            else:
                self._elsewhere |= set(batch.requests)

    def _is_left_over(self, batch: ProviderBatch) -> bool:
        """Whether an earlier start of this job died after storing all of a batch and before closing it."""
        return batch.payer == self._lock_key and self._recorded(batch.name) >= batch.requests.keys()

    def _resume(self, batch: ProviderBatch) -> None:
        """Continue an open batch; the requests of one that never reached the provider are queued again."""
        if batch.batch_id is None:
            while (left := batch.sent_at + SETTLE_SECONDS - time.time()) > 0 and not self._stopping.is_set():
                time.sleep(min(left, STOP_CHECK_SECONDS))
            if not self._find(batch):
                self._queue += [sent.state for key, sent in batch.requests.items() if key in self._wanted]
                self._forget(batch, "never sent")
                return
        self._open[batch.name] = batch
        self._budget.reserved += batch.reserve if batch.run_id == self._run_id else 0.0

    def _work(self, render: Render, *, wait: bool) -> Iterator[ResultBatch]:
        due, shown = 0.0, ""
        while True:
            if time.monotonic() >= due:
                yield from self._poll()
                due = time.monotonic() + self._own.poll_seconds
            while not self._stopping.is_set() and (batch := self._next_batch(render)) is not None:
                self._submit(*batch)
                yield ResultBatch(note=self._note())
            if not self._open:
                if self._queue and not self._stopping.is_set():
                    raise BudgetReached(self._budget.cap or 0.0, self._budget.spent)
                return
            if self._stopping.is_set():
                return
            if not wait:
                raise BatchPending(len(self.in_flight))
            note = self._note()
            yield ResultBatch(note=note if note != shown else "")
            shown = note
            time.sleep(min(STOP_CHECK_SECONDS, self._own.poll_seconds))

    def _note(self) -> str:
        """Progress: batches, their statuses, requests and dollars."""
        flying = self._open.values()
        total, answered = sum(len(batch.requests) for batch in flying), sum(batch.answered for batch in flying)
        dollars = f"${self._budget.paid:.4f}" if self._budget.known else "price unknown"
        states = ", ".join(sorted({batch.status for batch in flying})) or "none"
        return f"{len(flying)} batches ({states}), {answered:,} of {total:,} requests done, {dollars}"

    # Sending

    def _next_batch(self, render: Render) -> tuple[ProviderBatch, list[bytes]] | None:
        """The next batch and its lines, as large as limits and budget allow; None if nothing can be sent now."""
        budget, lines, size, sent = self._budget, list[bytes](), 0, dict[str, SentRequest]()
        max_output, max_bytes = self._endpoint.max_tokens, self._own.megabytes * 1e6
        full = self._max_requests < self._own.requests and bool(
            self._open
        )  # rejected as too large: one batch at a time
        while self._queue and not full:
            part = [self._queue.popleft() for _ in range(min(LINES_AT_ONCE, len(self._queue)))]
            for place, (state, prompt) in enumerate(zip(part, render([queued.key for queued in part]), strict=True)):
                messages = state.messages(prompt)
                body = wire(prompt.body) | {"messages": messages}
                document = {"custom_id": state.key, "method": "POST", "url": PATH, "body": body}
                line = json.dumps(document, ensure_ascii=False).encode() + b"\n"
                reserve = budget.upper_bound("".join(message["content"] for message in messages), max_output)
                full = len(lines) >= self._max_requests or (bool(lines) and size + len(line) > max_bytes)
                if full or not budget.fits(reserve):
                    self._queue.extendleft(reversed(part[place:]))
                    full = True
                    break
                budget.reserved += reserve
                lines.append(line)
                size += len(line)
                sent[state.key] = SentRequest(state, reserve)
        if not lines:
            return None
        now = round(time.time(), 3)
        name = (
            f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{round(now * 1000) % 1000:03d}-{secrets.token_hex(2)}"
        )
        batch = ProviderBatch(
            name,
            self._name,
            self._endpoint.base_url,
            budget.model,
            self._run_id,
            now,
            self._lock_key,
            sent,
        )
        return batch, lines

    def _submit(self, batch: ProviderBatch, lines: list[bytes]) -> None:
        """Send a batch; its log is written to disk before the first step."""
        self._send(batch, self._files.begin(batch.name, batch.known(), lines))
        self._open[batch.name] = batch

    # Collecting

    def _poll(self) -> Iterator[ResultBatch]:
        """Poll all open batches, and collect those that have ended."""
        for batch in list(self._open.values()):
            before = replace(batch)
            self._poll_batch(batch)
            if (batch.status, batch.answered) != (before.status, before.answered):
                changed = {name: getattr(batch, name) for name in ("status", "answered", "output_ids", "message")}
                self._files.note(batch.name, **changed)
            if batch.status == "failed":
                self._on_rejected(batch)
            elif batch.status in ENDED or batch.status == "lost":
                yield from self._collect_batch(batch)

    def _on_rejected(self, batch: ProviderBatch) -> None:
        """Queue the requests of a batch that the provider rejected; nothing was answered or billed.

        Raises:
            SemanticsError: the provider would reject it again.
        """
        del self._open[batch.name]
        self._release(batch.reserve, batch)
        self._queue.extendleft(
            sent.state for sent in reversed(list(batch.requests.values())) if sent.state.key in self._wanted
        )
        reason = self._scrub(batch.message) or "no reason given"
        self._forget(batch, reason)
        if TOO_MANY_TOKENS not in reason or len(batch.requests) == 1:
            raise SemanticsError(
                f"the batch was rejected: {reason}",
                where=f"{self._name} ({self._endpoint.base_url}, {self._budget.model})",
                hint="None of its requests was answered or billed.",
            )
        self._max_requests = max(1, min(self._max_requests, len(batch.requests)) // 2)

    def _collect_batch(self, batch: ProviderBatch) -> Iterator[ResultBatch]:
        """Calls and answers of a batch that has ended; the batch is closed when the caller has stored them.

        Raises:
            SemanticsError: every request was rejected, or the batch was cancelled.
        """
        kept, left = self._recorded(batch.name), dict(batch.requests)
        results, worked = ResultBatch(), 0
        fatal: AttemptResult | None = None
        self._ever_worked |= self.worked_before or any(sent.state.unusable for sent in left.values())
        for key, result in self._lines(batch):
            sent = left.pop(key, None)
            if sent is None:
                continue
            status = result.status
            worked += result.answered
            rejected = status is not None and 400 <= status < 500 and status not in RETRIED and not result.of_the_prompt
            hopeless = rejected and not worked and not self._ever_worked
            fatal = result if hopeless else fatal
            if self._record(batch, sent, result, results, kept=key in kept, drop=hopeless):
                fatal = result
            if len(results.calls) + len(results.answers) >= LINES_AT_ONCE:
                yield self._finished(results, batch)
                results = ResultBatch()
        reasons = {"completed": "no answer"}
        for key, sent in left.items():
            result = AttemptResult(None, reasons.get(batch.status, batch.status))
            if self._record(batch, sent, result, results, kept=key in kept, drop=batch.status == "cancelled"):
                fatal = result
        self._ever_worked |= worked > 0
        yield self._finished(results, batch)
        del self._open[batch.name]
        self._forget(batch, "taken in")
        if fatal is not None and not self._ever_worked:
            raise self._endpoint_error(fatal)
        self._end_if_unusable()
        if batch.status == "cancelled" and left and self._wanted:
            raise SemanticsError(
                f"batch {batch.name} was cancelled",
                where=self._name,
                hint=f"{len(batch.requests) - len(left):,} of its answers are stored. Run it again to get the others.",
            )

    def _finished(self, results: ResultBatch, batch: ProviderBatch) -> ResultBatch:
        results.note = self._note()
        results.run_id = None if batch.run_id == self._run_id else batch.run_id
        return results

    def _record(
        self,
        batch: ProviderBatch,
        sent: SentRequest,
        result: AttemptResult,
        results: ResultBatch,
        *,
        kept: bool,
        drop: bool,
    ) -> bool:
        """Record the cost of one request and validate its answer; add call and answer to `results`, or queue the next attempt.

        Args:
            kept: its call is in the journal already: an earlier start died while it collected this batch.
            drop: make no further attempt, and no fallback text.

        Returns:
            Whether its attempts are used up and no request has ever succeeded.
        """
        state, budget = sent.state, self._budget
        validation = self._judge(state, result, self._prompt_of(state.key) if result.answered else None)
        unknown = result.answered or result.error in ("lost", "no answer")
        billed = None if result.usage or unknown else False
        own = batch.run_id == self._run_id
        if own and not kept:
            usd = budget.record_cost(sent.reserve, result.usage, batch.sent_at, billed=billed)
        else:
            usd = budget.price(result.usage, batch.sent_at, billed=billed)
            self._release(sent.reserve, batch)
        state.attempt += 1
        if not kept:
            call = Call(
                state.key, state.attempt, batch.sent_at, result.status, result.error, None, result.usage,
                budget.prices(batch.sent_at), usd, sent.reserve if usd is None else None, batch.name,
            )  # fmt: skip
            results.calls.append(call)
        limits = self._endpoint.limits
        state.failed += result.status == 429  # the provider's own pace: such a line is sent again, but not without end
        answer = state.take(result, validation, usd, limits)
        if validation is not None:
            self._count_usable(state, result, validation)
        if answer is not None and answer.text is not None:
            results.answers.append(answer)
        elif drop or state.key not in self._wanted:
            return False
        elif answer is None:
            self._queue.append(state)
        elif state.failed >= limits.attempts and not self._ever_worked:
            return True
        else:
            results.answers.append(answer)
        return False

    def _prompt_of(self, key: str) -> PromptRequest | None:
        """The prompt of a request of this job, rendered again; None for one of another job."""
        return None if self._render is None or key not in self._wanted else next(self._render([key]))

    def _release(self, reserve: float, batch: ProviderBatch) -> None:
        if batch.run_id == self._run_id:
            self._budget.reserved = max(0.0, self._budget.reserved - reserve)
