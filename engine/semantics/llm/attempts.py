"""Attempts at a prompt: their results, retries and total cost; the same for single calls and for batches."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from engine.errors import SemanticsError
from engine.semantics.kinds import Kind
from engine.semantics.llm import rate_limiter
from engine.semantics.llm.answer_format import Message
from engine.semantics.llm.answer_text import clean, join_parts
from engine.semantics.llm.answer_validation import Validation, repair_prompt, validate
from engine.semantics.llm.budget import Budget, Call, Usage
from engine.semantics.llm.choices import Choices
from engine.semantics.llm.connection import LONG_KEY, forms_of, proxy_secrets
from engine.semantics.llm.endpoints import Endpoint, Limits
from engine.semantics.llm.refusals import OF_THE_PROMPT, account_spent, concerns_prompt, error_of, words_of
from engine.semantics.llm.response_body import choices_of, document_of, message_of, unwrapped
from engine.semantics.llm.token_counts import usage_of

RETRIED = frozenset({408, 409, 420, 423, 424, 425, 429, 430, 460, 498, 499})
"""HTTP statuses below 500 that are worth another attempt."""
MALFORMED = "malformed answer"
MOST_LETTERS = 300
"""Letters of a server's words that are kept."""
_FINISH = ("finish_reason", "stop_reason", "finishReason", "done_reason")
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "reasoning_text", "thinking", "thinking_blocks")
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 20.0
NO_USAGE = Usage(0, 0, 0)
UNUSABLE_IN_ROW = 20
"""Unusable answers in a row, of any prompts, that end a job: each is paid for."""
_KEY = re.compile(r"api.?key|credential|unauthorized", re.IGNORECASE)
_THINKING = (
    'Raise max_tokens in providers.toml or switch thinking off, such as extra_body = {reasoning_effort = "low"}, '
    '{thinking = {type = "disabled"}} or {chat_template_kwargs = {enable_thinking = false}}.'
)
_TOO_SMALL = (
    "The model is too small for this prompt: let it choose among phrases (--set prompt=choices-1), or name another model. "
    "With llama.cpp, extra_body = {repeat_penalty = 1.15} in providers.toml helps against loops."
)
HINTS: dict[str, str] = {
    "thinking": _THINKING,
    "truncated": _THINKING,
    "empty": _THINKING,
    "refused": "The model refuses the prompts: name another prompt (--set prompt=NAME) or model.",
    "failed": "The server breaks its answers off: see its log.",
    "too long": "The model writes too much: name another prompt (--set prompt=NAME) or model.",
    "wrong JSON": 'Set structured in providers.toml to what the server can do: "schema", "object" or "off".',
    "no choice": 'Set structured = "schema" in providers.toml if the server can do it, or name another prompt (--set prompt=NAME).',
    "repeats itself": _TOO_SMALL,
    "copies the prompt": _TOO_SMALL,
    "wrong count": "The server returns another number of vectors than texts.",
}


@dataclass(frozen=True)
class PromptRequest:
    """One request to an endpoint, and the cache key of its answer."""

    key: str
    kind: Kind | Literal["text"]
    """`text`: texts to encode, not a prompt to answer."""
    body: dict[str, Any]
    """Arguments of the chat completion call, `messages` among them."""
    choices: Choices | None = None
    """What may be answered, where the prompt offers choices."""


@dataclass(frozen=True)
class Answer:
    """The final answer to a prompt, after all its attempts."""

    key: str
    text: str | None
    """None if no attempt gave a usable answer."""
    finish_reason: str
    usage: Usage
    """Sum over all attempts."""
    usd: float | None
    """Sum over all attempts; None if any is unknown."""
    vectors: NDArray[np.float32] | None = None
    """(N, S) of the encoded texts; None for a prompt."""


@dataclass
class ResultBatch:
    """Calls and answers since the previous batch of results; store the calls before the answers."""

    calls: list[Call] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    note: str = ""
    """Progress in a few words: rate, retries, dollars."""
    run_id: str | None = None
    """The run that sent the calls, if it is not the run that collects them."""


@dataclass
class AttemptResult:
    """The outcome of one HTTP attempt: an answer or an error."""

    status: int | None
    """HTTP status, or the one that an error in the document names; None if the server gave none (timeout, lost connection)."""
    error: str | None = None
    message: str = ""
    text: str | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    usage: Usage | None = None
    headers: Any = None
    vectors: NDArray[np.float32] | None = None
    server: str = ""
    """Its address."""
    thinking: bool = False
    """Whether the server sent thoughts beside the answer."""

    @property
    def of_the_prompt(self) -> bool:
        """Whether the refusal says of itself that it is about this prompt."""
        return concerns_prompt(self.status, self.message)

    @property
    def spent(self) -> bool:
        """Whether the account has nothing left; some say so in a document of success without a code."""
        status = 402 if self.error == MALFORMED else self.status
        return account_spent(status, self.message, self.headers)

    @property
    def answered(self) -> bool:
        """Whether the server says that it worked; some do so by 201 or another status from 200 to 299."""
        return self.status is not None and 200 <= self.status < 300


@dataclass
class RequestState:
    """Counts and costs of a prompt over its attempts so far."""

    key: str
    kind: Kind | Literal["text"]
    attempt: int = 0
    """Attempts so far."""
    failed: int = 0
    """Attempts that failed at the server or the connection; 429 does not count."""
    unusable: int = 0
    """Attempts whose answer did not pass validation."""
    paid: Usage = NO_USAGE
    usd: float | None = 0.0
    answer: str | None = None
    """The last unusable answer, which the next attempt quotes."""
    validation: Validation | None = None
    """The problem of that answer."""

    def messages(self, prompt: PromptRequest) -> list[Message]:
        """Messages of the next attempt, followed by the last unusable answer and its problem if there was one."""
        own: list[Message] = prompt.body["messages"]
        if self.validation is None or self.validation.problem is None:
            return own
        return repair_prompt(own, self.answer, self.validation.problem)

    def take(
        self, result: AttemptResult, validation: Validation | None, usd: float | None, limits: Limits
    ) -> Answer | None:
        """Count an attempt; returns the final answer, or None if another attempt should follow.

        Args:
            validation: of the answer; None if the attempt gave no answer.
        """
        if result.usage is not None:
            self.paid += result.usage
        self.usd = None if self.usd is None or usd is None else self.usd + usd
        if validation is not None and validation.problem is None:
            finish = result.finish_reason or "stop"
            return Answer(self.key, validation.text, finish, self.paid, self.usd, result.vectors)
        if validation is not None:
            self.unusable += 1
            self.answer, self.validation = result.text, validation
        else:
            self.failed += result.status != 429
        refused = result.status in OF_THE_PROMPT or result.of_the_prompt
        if refused or self.unusable >= limits.answers or self.failed >= limits.attempts:
            return Answer(self.key, None, result.error or "error", self.paid, self.usd)
        return None


class EndpointClient:
    """What single calls and batches share: parsing, validation and errors of one endpoint, for one job."""

    def __init__(self, name: str, endpoint: Endpoint, key: SecretStr | None, budget: Budget) -> None:
        self._name, self._endpoint, self._key, self._budget = name, endpoint, key, budget
        own = key.get_secret_value() if key else ""
        self._forms, self._secret = forms_of(own), len(own) >= LONG_KEY
        self._of_proxies = [form for word in proxy_secrets() for form in forms_of(word)]
        self._unusable: list[str] = []
        self._thought = self._ever_usable = False
        self.worked_before = False
        """Whether the endpoint has answered such prompts in an earlier job."""

    def _read(self, tree: Any, result: AttemptResult) -> None:
        """Fill a result from the JSON of a response; raises any exception if the format is wrong."""
        result.usage = usage_of(tree)
        if said := error_of(tree):
            refuse(result, *said)
            return
        choices = choices_of(tree)
        choice = next((one for one in choices if one.get("index") == 0), choices[0])
        if said := error_of(choice):
            refuse(result, *said)
            return
        message = message_of(choice)
        content = message.get("content")
        parts = [part for part in (content if isinstance(content, list) else []) if isinstance(part, dict)]
        refusal = next((one["refusal"] for one in (message, *parts) if one.get("refusal")), None)
        finish = next((choice[name] for name in _FINISH if choice.get(name) is not None), None)
        result.finish_reason = None if finish is None else self._scrub(str(finish))[:60]
        result.refusal = self._scrub(str(refusal)) if refusal else None
        text = join_parts(content)
        result.thinking = any(message.get(name) for name in _THOUGHTS)
        result.text = None if text is None else self._redact(text) if self._secret else clean(text)
        if result.usage is not None and not result.usage.tokens_out and (result.text or result.thinking):
            result.usage = None  # an answer of no tokens: the server counts nothing

    def _validate(self, state: RequestState, result: AttemptResult, prompt: PromptRequest | None) -> Validation:
        """Check the answer of a successful attempt."""
        assert state.kind != "text"
        messages = None if prompt is None else prompt.body["messages"]
        choices = None if prompt is None else prompt.choices
        return validate(state.kind, result.text, result.finish_reason, result.refusal, messages, choices)

    def _judge(
        self, state: RequestState, result: AttemptResult, prompt: PromptRequest | None = None
    ) -> Validation | None:
        """Check an answer, and note its problem in the result; None if there is no answer to check.

        Args:
            prompt: that was answered; None where another job has sent it.

        Whatever an answer holds, this raises nothing: the call is paid for and has to be recorded.
        """
        if not result.answered or result.error is not None:
            return None
        try:
            validation = self._validate(state, result, prompt)
        except Exception as error:
            result.message = self._scrub(f"{type(error).__name__}: {error}")
            validation = Validation("", "failed")
        result.error = validation.problem
        return validation

    def _parse(self, content: bytes | dict[str, Any], result: AttemptResult) -> None:
        """Fill a result from a response body, as bytes or parsed JSON; a wrong format becomes the error `MALFORMED`."""
        tree: Any = None
        try:
            tree = document_of(content, result.headers) if isinstance(content, bytes) else content
            self._read(unwrapped(tree), result)
        except ValueError as error:  # half a document, no choices, a page of HTML
            result.error, result.message = MALFORMED, str(error)
        except Exception:  # a server may send anything
            result.error = MALFORMED
            result.message = f"the answer has another form: {json.dumps(tree, default=str)}"
        result.message = self._scrub(result.message)

    def _count_usable(self, state: RequestState, result: AttemptResult, validation: Validation) -> None:
        """Count unusable answers in a row, of any prompts; once there was a good one, only the first answer to each prompt.

        The last prompts of a job that cannot be answered are asked again and again, which says nothing about the others.
        """
        if validation.problem is None:
            self._unusable, self._thought, self._ever_usable = [], False, True
            return
        if self._ever_usable and state.unusable > 1:
            return
        self._unusable.append(validation.problem)
        self._thought = self._thought or result.thinking

    def _end_if_unusable(self) -> None:
        """End the job where so many answers in a row were unusable that the next ones would be paid for in vain too.

        Raises:
            SemanticsError: with what was wrong, and the setting that helps.
        """
        if len(self._unusable) >= UNUSABLE_IN_ROW:
            counts = Counter(self._unusable).most_common()
            words = ", ".join(f"{number} {problem}" for problem, number in counts)
            hint = HINTS["thinking" if self._thought else counts[0][0]]
            raise SemanticsError(
                f"the last {len(self._unusable)} answers were all paid for and unusable: {words}",
                where=f"{self._name} ({self._endpoint.base_url}, {self._budget.model})",
                hint=f"{hint} Answers received so far are kept.",
            )

    def _endpoint_error(self, result: AttemptResult) -> SemanticsError:
        """The error that ends the job, with a hint for its HTTP status."""
        hints = {
            400: "The request was rejected: check model, temperature, max_tokens, tokens_field and structured in providers.toml.",
            401: f"The key was rejected: check {self._endpoint.key_env or 'key_env in providers.toml'}.",
            402: "The account has no credit left.",
            403: "The key has no permission for this.",
            404: "There is no such model or address: check model and base_url.",
            405: "There is no such model or address: check model and base_url.",
            407: "The proxy wants a user and password: HTTPS_PROXY in the shell takes them (http://USER:PASSWORD@HOST), proxy in providers.toml does not.",
            410: "There is no such model or address any more: check model and base_url.",
            429: "The server let no call through for a long time. Lower requests_per_minute in limits, or run it again later.",
        }
        again = "All recent attempts failed. Run it again: the answers received so far are kept."
        passing = result.status is None or result.status in RETRIED or not 400 <= result.status < 500
        refused = "The server refuses such requests: check base_url, headers, query and extra_body in providers.toml."
        hint = hints.get(result.status or 0, again if passing else refused)
        if result.error == MALFORMED:
            hint = f"Is this the address of chat completions and embeddings? Check base_url in providers.toml. {again}"
        if result.status in (400, 403) and _KEY.search(result.message):
            hint = hints[401]
        if result.error == "connection" and self._endpoint.local:
            hint = "Is the server running? `sracl llm serve` starts the one of llamacpp. The answers received so far are kept."
        if result.spent:
            hint = "The account's quota is used up, or 0 for this model: check plan and billing at the provider."
        if result.status is not None and 300 <= result.status < 400:
            hint = "The server is at another address: set it as base_url in providers.toml."
        return SemanticsError(
            ": ".join(part for part in (result.error, result.message) if part),
            where=f"{self._name} ({result.server or self._endpoint.base_url}, {self._budget.model})",
            hint=hint,
        )

    def _result_of_error(self, error: Exception) -> AttemptResult:
        """The result that an exception of the OpenAI client stands for, or any other one that an odd answer brings about in it."""
        import openai

        if isinstance(error, openai.APIStatusError):
            status, response = error.status_code, error.response
            message = self._scrub(words_of(response.content, response.headers))
            return AttemptResult(status, f"HTTP {status}", message, headers=response.headers)
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            return AttemptResult(None, "timeout", f"no whole answer within {self._endpoint.limits.timeout:g} s")
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            return AttemptResult(None, "connection", self._scrub(f"{type(cause).__name__}: {cause}".rstrip(": ")))
        return AttemptResult(None, "failed", self._scrub(f"{type(error).__name__}: {error}"))

    def _scrub(self, text: str) -> str:
        """The first words of a server without API key and proxy's password, which some repeat; cut only then, as half a key is one, too."""
        for form in self._of_proxies:
            text = form.sub("***", text)
        return self._redact(text)[:MOST_LETTERS]

    def _redact(self, text: str) -> str:
        """A text without the API key in any of its forms."""
        for form in self._forms:
            text = form.sub("***", text)
        return clean(text)


def refuse(result: AttemptResult, status: int | None, words: str) -> None:
    """Make a result the error that its document holds."""
    result.message = words
    if status is None:
        result.error = MALFORMED
    else:
        result.status, result.error = status, f"HTTP {status}"


def wire(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON body of a request: fields of `extra_body` are merged into the others."""
    more = body.get("extra_body")
    return {name: value for name, value in body.items() if name != "extra_body"} | (more or {})


def backoff(failed: int, result: AttemptResult) -> float:
    """Seconds until the next attempt: doubling, with jitter, so that prompts that failed together are not retried together."""
    if result.status == 429 and result.headers is not None and rate_limiter.retry_after(result.headers) is not None:
        return random.uniform(0, 0.2)  # the rate limiter already pauses all calls
    return min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** max(0, failed - 1)) * random.uniform(0.5, 1.5)
