"""What an attempt brought, and what becomes of a prompt attempt by attempt: the same for single calls and for batches."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from engine.errors import SemanticsError
from engine.semantics.kinds import Kind
from engine.semantics.llm import rate_limiter
from engine.semantics.llm.answer_format import Message
from engine.semantics.llm.answer_validation import Validation, judge, repair
from engine.semantics.llm.budget import Budget, Call, Usage
from engine.semantics.llm.endpoints import Endpoint, Limits

RETRIED = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may go better a second time."""
OF_THE_PROMPT = frozenset({400, 413, 422})
"""Statuses that, once others have worked, blame the single prompt."""
MALFORMED = "malformed answer"
BACKOFF_SECONDS, BACKOFF_MOST = 0.5, 20.0
NOTHING = Usage(0, 0, 0)


@dataclass(frozen=True)
class PromptRequest:
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
    run_id: str | None = None
    """The run that sent the calls, where it is another one than the one that now collects them."""


@dataclass
class Outcome:
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


@dataclass
class RequestState:
    """A prompt on its way through its attempts."""

    key: str
    kind: Kind | Literal["text"]
    attempt: int = 0
    """Attempts so far."""
    failed: int = 0
    """Of them, those in which the server or the line failed."""
    unusable: int = 0
    """Of them, those whose answer could not be used."""
    paid: Usage = NOTHING
    usd: float | None = 0.0
    answer: str | None = None
    """The unusable answer that the next attempt tells about."""
    verdict: Validation | None = None
    """What was wrong with it."""

    def messages(self, prompt: PromptRequest) -> list[Message]:
        """The messages of the next attempt: with the last bad answer and what was wrong with it."""
        own: list[Message] = prompt.body["messages"]
        if self.verdict is None or self.verdict.problem is None:
            return own
        return repair(own, self.answer, self.verdict.problem)

    def take(self, outcome: Outcome, verdict: Validation | None, usd: float | None, limits: Limits) -> Answer | None:
        """Count an attempt; the answer, where it is the last one.

        Args:
            verdict: what to make of an answer that came; none where none came.
        """
        if outcome.usage is not None:
            self.paid += outcome.usage
        self.usd = None if self.usd is None or usd is None else self.usd + usd
        if verdict is not None and verdict.problem is None:
            finish = outcome.finish_reason or "stop"
            return Answer(self.key, verdict.text, finish, self.paid, self.usd, outcome.vectors)
        if verdict is not None:
            self.unusable += 1
            self.answer, self.verdict = outcome.text, verdict
        else:
            self.failed += outcome.status != 429
        if outcome.status in OF_THE_PROMPT or self.unusable >= limits.answers or self.failed >= limits.attempts:
            return Answer(self.key, None, outcome.error or "error", self.paid, self.usd)
        return None


class EndpointClient:
    """What asking an endpoint takes, however the questions get there; made for one job."""

    def __init__(self, name: str, endpoint: Endpoint, key: SecretStr | None, money: Budget) -> None:
        self._name, self._endpoint, self._key, self._money = name, endpoint, key, money

    def _read(self, tree: Any, outcome: Outcome) -> None:
        """Take what an answer's JSON holds; raises anything where it is not what was asked for."""
        outcome.usage = usage_of(tree)
        choice = tree["choices"][0]
        outcome.finish_reason = choice.get("finish_reason")
        outcome.text, outcome.refusal = choice["message"].get("content"), choice["message"].get("refusal")
        if not isinstance(outcome.text, str | None):
            raise ValueError("the answer is no text")

    def _judge(self, course: RequestState, outcome: Outcome) -> Validation:
        """Whether the answer can be used."""
        assert course.kind != "text"
        return judge(course.kind, outcome.text, outcome.finish_reason, outcome.refusal)

    def _understand(self, content: bytes | dict[str, Any], outcome: Outcome) -> None:
        """Read an answer, as it came or as JSON, into its outcome, whatever it is."""
        try:
            self._read(json.loads(content) if isinstance(content, bytes) else content, outcome)
        except Exception as error:  # a server may answer anything: half a document, no choices, a page of HTML
            outcome.error, outcome.message = MALFORMED, self._scrub(str(error)[:200])

    def _blame(self, outcome: Outcome) -> SemanticsError:
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

    def _failed(self, error: Exception) -> Outcome:
        """What an exception of the client says; other exceptions are raised again."""
        import openai

        if isinstance(error, openai.APIStatusError):
            status = error.status_code
            said = self._scrub(_first_line(error.message))
            return Outcome(status, f"HTTP {status}", said, headers=error.response.headers)
        if isinstance(error, openai.APITimeoutError):
            return Outcome(None, "timeout", f"no answer within {self._endpoint.limits.timeout:g} s")
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            return Outcome(None, "connection", self._scrub(f"{type(cause).__name__}: {cause}"))
        raise error

    def _scrub(self, text: str) -> str:
        """A server's words without the key, which some repeat."""
        key = self._key.get_secret_value() if self._key else ""
        return text.replace(key, "***") if key else text


def usage_of(tree: Any) -> Usage | None:
    """Tokens as the server counts them, with cached ones where it says so; none where it says nothing sensible."""
    used = tree.get("usage")
    if not isinstance(used, dict):
        return None
    details = used.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    cached = cached or used.get("prompt_cache_hit_tokens") or 0
    counts: tuple[Any, ...] = used.get("prompt_tokens"), used.get("completion_tokens"), cached
    if any(not isinstance(count, int) or count < 0 for count in counts) or counts[2] > counts[0]:
        return None
    return Usage(*counts)


def wire(body: dict[str, Any]) -> dict[str, Any]:
    """A request as it goes over the line: fields beyond OpenAI's own stand beside the others."""
    more = body.get("extra_body")
    return {name: value for name, value in body.items() if name != "extra_body"} | (more or {})


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:300]


def backoff(failed: int, outcome: Outcome) -> float:
    """Seconds until the next attempt: doubling, with jitter, so that those that failed together come back apart."""
    if outcome.status == 429 and outcome.headers is not None and rate_limiter.retry_after(outcome.headers) is not None:
        return random.uniform(0, 0.2)  # the pacer waits for all
    return min(BACKOFF_MOST, BACKOFF_SECONDS * 2 ** max(0, failed - 1)) * random.uniform(0.5, 1.5)
