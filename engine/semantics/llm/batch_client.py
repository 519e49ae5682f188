"""Asks an endpoint by its Batch API: files of requests, answered within a day at a lower price, across restarts.

Everything runs in the caller's thread. What was sent is on the disk before it is sent and again after; a batch whose fate
is unknown after a crash is looked for at the provider by its name. A batch is forgotten only when the caller has come back
for more, which says that all of it is kept.
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
from engine.semantics.llm.attempts import RETRIED, Chunk, Outcome, PromptRequest, RequestState, wire
from engine.semantics.llm.batch_files import ENDED, Batch, Files, Sent, open_batches
from engine.semantics.llm.batch_http import NAP_SECONDS, PATH, BatchCalls
from engine.semantics.llm.budget import Budget, Call
from engine.semantics.llm.endpoints import Endpoint

SETTLE_SECONDS = 10.0
"""A request that was on its way when its process died has reached the provider after so long, or never will."""
LINES_AT_ONCE = 500
"""Answers that are handed over together."""
TOO_MANY_TOKENS = "token_limit_exceeded"
"""Why a provider refuses a batch that would go better when others have ended."""

Render = Callable[[list[str]], Iterator[PromptRequest]]
"""Takes keys, gives their prompts in order."""


class BatchClient(BatchCalls):
    """Asks one endpoint by batches; made for one job."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        key: SecretStr | None,
        money: Budget,
        *,
        files: Files,
        run_id: str,
        payer: str,
        recorded: Callable[[str], set[str]],
    ) -> None:
        """Args:
        files: where batches are kept.
        payer: the lock that the job holds.
        run_id: the run that asks; what it has at the provider counts against its cap.
        recorded: gives, for a batch, the keys whose calls are kept already.
        """
        super().__init__(name, endpoint, key, money, files)
        self._run_id, self._payer, self._recorded = run_id, payer, recorded
        self._flying: dict[str, Batch] = {}
        self._elsewhere: set[str] = set()
        self._todo: deque[RequestState] = deque()
        self._wanted: set[str] = set()
        self._ever_worked = False
        self._most = self._own.requests

    @property
    def in_flight(self) -> set[str]:
        """Keys that are at the provider."""
        return self._elsewhere | {key for batch in self._flying.values() for key in batch.requests}

    def ask(self, keys: list[str], kind: Kind, render: Render, *, wait: bool) -> Iterator[Chunk]:
        """Have prompts answered and yield what comes, an empty chunk now and then where nothing does.

        Args:
            wait: until all are answered; else what can be sent is sent, and what is answered is taken.

        Raises:
            AtProvider: nobody wants to wait.
            BudgetReached: the next request could go over the cap, and nothing is at the provider any more.
            SemanticsError: the endpoint refuses, or another process has some of these requests at the provider.
        """
        self._wanted = set(keys)
        with self._connected():
            self._adopt(lambda batch: not self._wanted.isdisjoint(batch.requests) or self._is_left_over(batch))
            if not self._wanted.isdisjoint(self._elsewhere):
                raise SemanticsError(
                    "another process is waiting for batches with some of these requests",
                    where=self._name,
                    hint="Let it end, or stop it: what it has at the provider stays there.",
                )
            there = self.in_flight | {course.key for course in self._todo}
            self._todo += [RequestState(key, kind) for key in keys if key not in there]
            yield from self._work(render, wait=wait)

    def collect(self, wanted: set[str] | None = None) -> Iterator[Chunk]:
        """Take in what the provider has done by now, and send nothing.

        Args:
            wanted: batches with one of these requests; none means all batches of this endpoint and model.
        """
        with self._connected():
            self._adopt(lambda batch: wanted is None or not wanted.isdisjoint(batch.requests))
            yield from self._look()

    def _adopt(self, fits: Callable[[Batch], bool]) -> None:
        """Go on with batches of earlier starts and other runs; what this run has at the provider is set aside."""
        own = (self._name, self._endpoint.base_url, self._money.model)
        self._money.reserved = 0.0
        for batch in open_batches(self._files):
            if (batch.provider, batch.base_url, batch.model) != own:
                continue
            if not fits(batch):
                self._money.reserved += batch.reserve if batch.run_id == self._run_id else 0.0
            elif self._files.take(batch.name):
                known = self._files.read().get(batch.name)  # as it is now that nobody else changes it
                if known is not None:
                    self._resume(Batch.read(batch.name, known))
            else:
                self._elsewhere |= set(batch.requests)

    def _is_left_over(self, batch: Batch) -> bool:
        """Whether a start of this job has died when all of a batch was kept, and before it was put away."""
        return batch.payer == self._payer and self._recorded(batch.name) >= batch.requests.keys()

    def _resume(self, batch: Batch) -> None:
        """Have a batch again; one that was never sent gives its requests back."""
        if batch.batch_id is None:
            while (left := batch.sent_at + SETTLE_SECONDS - time.time()) > 0 and not self._stopping.is_set():
                time.sleep(min(left, NAP_SECONDS))
            if not self._find(batch):
                self._todo += [sent.course for key, sent in batch.requests.items() if key in self._wanted]
                self._forget(batch, "never sent")
                return
        self._flying[batch.name] = batch
        self._money.reserved += batch.reserve if batch.run_id == self._run_id else 0.0

    def _work(self, render: Render, *, wait: bool) -> Iterator[Chunk]:
        due, told = 0.0, ""
        while True:
            if time.monotonic() >= due:
                yield from self._look()
                due = time.monotonic() + self._own.poll_seconds
            while not self._stopping.is_set() and (batch := self._plan(render)) is not None:
                self._submit(*batch)
                yield Chunk(note=self._note())
            if not self._flying:
                if self._todo and not self._stopping.is_set():
                    raise BudgetReached(self._money.cap or 0.0, self._money.spent)
                return
            if self._stopping.is_set():
                return
            if not wait:
                raise BatchPending(len(self.in_flight))
            note = self._note()
            yield Chunk(note=note if note != told else "")
            told = note
            time.sleep(min(NAP_SECONDS, self._own.poll_seconds))

    def _note(self) -> str:
        """How it goes, in a few words."""
        flying = self._flying.values()
        total, answered = sum(len(batch.requests) for batch in flying), sum(batch.answered for batch in flying)
        dollars = f"${self._money.paid:.4f}" if self._money.known else "price unknown"
        states = ", ".join(sorted({batch.status for batch in flying})) or "none"
        return f"{len(flying)} batches ({states}), {answered:,} of {total:,} requests done, {dollars}"

    # Sending

    def _plan(self, render: Render) -> tuple[Batch, list[bytes]] | None:
        """The next batch, as large as limits and cap allow; none where nothing can be sent now."""
        money, lines, size, sent = self._money, list[bytes](), 0, dict[str, Sent]()
        most_out, most_bytes = self._endpoint.max_tokens, self._own.megabytes * 1e6
        full = self._most < self._own.requests and bool(self._flying)  # refused as too much: one at a time
        while self._todo and not full:
            part = [self._todo.popleft() for _ in range(min(LINES_AT_ONCE, len(self._todo)))]
            for place, (course, prompt) in enumerate(zip(part, render([c.key for c in part]), strict=True)):
                messages = course.messages(prompt)
                body = wire(prompt.body) | {"messages": messages}
                document = {"custom_id": course.key, "method": "POST", "url": PATH, "body": body}
                line = json.dumps(document, ensure_ascii=False).encode() + b"\n"
                reserve = money.most("".join(message["content"] for message in messages), most_out)
                full = len(lines) >= self._most or (bool(lines) and size + len(line) > most_bytes)
                if full or not money.fits(reserve):
                    self._todo.extendleft(reversed(part[place:]))
                    full = True
                    break
                money.reserved += reserve
                lines.append(line)
                size += len(line)
                sent[course.key] = Sent(course, reserve)
        if not lines:
            return None
        now = round(time.time(), 3)
        name = (
            f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{round(now * 1000) % 1000:03d}-{secrets.token_hex(2)}"
        )
        batch = Batch(
            name,
            self._name,
            self._endpoint.base_url,
            money.model,
            self._run_id,
            now,
            self._payer,
            sent,
        )
        return batch, lines

    def _submit(self, batch: Batch, lines: list[bytes]) -> None:
        """Send a batch: its log is on the disk before and after each step."""
        self._send(batch, self._files.begin(batch.name, batch.known(), lines))
        self._flying[batch.name] = batch

    # Collecting

    def _look(self) -> Iterator[Chunk]:
        """See how far the batches are, and take in those that have ended."""
        for batch in list(self._flying.values()):
            before = replace(batch)
            self._ask_about(batch)
            if (batch.status, batch.answered) != (before.status, before.answered):
                news = {name: getattr(batch, name) for name in ("status", "answered", "output_ids", "message")}
                self._files.note(batch.name, **news)
            if batch.status == "failed":
                self._refused(batch)
            elif batch.status in ENDED or batch.status == "lost":
                yield from self._take_in(batch)

    def _refused(self, batch: Batch) -> None:
        """The provider did not take the batch: nothing was answered, and nothing is paid.

        Raises:
            SemanticsError: and it will not take it later either.
        """
        del self._flying[batch.name]
        self._release(batch.reserve, batch)
        self._todo.extendleft(
            sent.course for sent in reversed(list(batch.requests.values())) if sent.course.key in self._wanted
        )
        said = self._scrub(batch.message) or "no reason given"
        self._forget(batch, said)
        if TOO_MANY_TOKENS not in said or len(batch.requests) == 1:
            raise SemanticsError(
                f"the batch was refused: {said}",
                where=f"{self._name} ({self._endpoint.base_url}, {self._money.model})",
                hint="Nothing of it was answered or paid for.",
            )
        self._most = max(1, min(self._most, len(batch.requests)) // 2)

    def _take_in(self, batch: Batch) -> Iterator[Chunk]:
        """Calls and answers of a batch that has ended; when the caller has kept them, the batch is done.

        Raises:
            SemanticsError: every request was refused, or the batch was cancelled.
        """
        kept, left = self._recorded(batch.name), dict(batch.requests)
        chunk, worked = Chunk(), 0
        blamed: Outcome | None = None
        self._ever_worked |= any(sent.course.unusable for sent in left.values())
        for key, outcome in self._lines(batch):
            sent = left.pop(key, None)
            if sent is None:
                continue
            status = outcome.status
            worked += status == 200
            refused = status is not None and 400 <= status < 500 and status not in RETRIED
            hopeless = refused and not worked and not self._ever_worked
            blamed = outcome if hopeless else blamed
            if self._settle(batch, sent, outcome, chunk, kept=key in kept, drop=hopeless):
                blamed = outcome
            if len(chunk.calls) + len(chunk.answers) >= LINES_AT_ONCE:
                yield self._sealed(chunk, batch)
                chunk = Chunk()
        ends = {"completed": "no answer"}
        for key, sent in left.items():
            outcome = Outcome(None, ends.get(batch.status, batch.status))
            if self._settle(batch, sent, outcome, chunk, kept=key in kept, drop=batch.status == "cancelled"):
                blamed = outcome
        self._ever_worked |= worked > 0
        yield self._sealed(chunk, batch)
        del self._flying[batch.name]
        self._forget(batch, "taken in")
        if blamed is not None and not self._ever_worked:
            raise self._blame(blamed)
        if batch.status == "cancelled" and left and self._wanted:
            raise SemanticsError(
                f"batch {batch.name} was cancelled",
                where=self._name,
                hint=f"{len(batch.requests) - len(left):,} of its answers are kept. Run it again for the others.",
            )

    def _sealed(self, chunk: Chunk, batch: Batch) -> Chunk:
        chunk.note = self._note()
        chunk.run_id = None if batch.run_id == self._run_id else batch.run_id
        return chunk

    def _settle(self, batch: Batch, sent: Sent, outcome: Outcome, chunk: Chunk, *, kept: bool, drop: bool) -> bool:
        """Pay and judge one request, and put what comes of it into a chunk, or back into the queue.

        Returns:
            Whether it has failed for good, and nothing has ever worked.

        Args:
            kept: its call is in a journal already: an earlier start has died over this batch.
            drop: there is to be no further attempt, nor a text in its place.
        """
        course, money, verdict = sent.course, self._money, None
        if outcome.status == 200 and outcome.error is None:
            verdict = self._judge(course, outcome)
            outcome.error = verdict.problem
        unknown = outcome.status == 200 or outcome.error in ("lost", "no answer")
        billed = None if outcome.usage or unknown else False
        own = batch.run_id == self._run_id
        if own and not kept:
            usd = money.settled(sent.reserve, outcome.usage, batch.sent_at, billed=billed)
        else:
            usd = money.price(outcome.usage, batch.sent_at, billed=billed)
            self._release(sent.reserve, batch)
        course.attempt += 1
        if not kept:
            call = Call(
                course.key, course.attempt, batch.sent_at, outcome.status, outcome.error, None, outcome.usage,
                money.prices(batch.sent_at), usd, sent.reserve if usd is None else None, batch.name,
            )  # fmt: skip
            chunk.calls.append(call)
        limits = self._endpoint.limits
        answer = course.take(outcome, verdict, usd, limits)
        if answer is not None and answer.text is not None:
            chunk.answers.append(answer)
        elif drop or course.key not in self._wanted:
            return False
        elif answer is None:
            self._todo.append(course)
        elif course.failed >= limits.attempts and not self._ever_worked:
            return True
        else:
            chunk.answers.append(answer)
        return False

    def _release(self, reserve: float, batch: Batch) -> None:
        if batch.run_id == self._run_id:
            self._money.reserved = max(0.0, self._money.reserved - reserve)
