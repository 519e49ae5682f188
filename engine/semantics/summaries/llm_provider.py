"""Summaries by a model behind a named endpoint; a prompt without a usable answer gets a rule-based text, marked as fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from engine.config import SemanticsConfig
from engine.data.dataset import Dataset
from engine.errors import ConfigError, SemanticsError
from engine.semantics.kinds import Kind
from engine.semantics.llm.attempts import PromptRequest, ResultBatch
from engine.semantics.llm.batch_files import BatchLogs
from engine.semantics.llm.budget import Budget, Call
from engine.semantics.llm.endpoints import Endpoint, find_endpoint, find_key
from engine.semantics.prompts import Prompt, choose_prompt
from engine.semantics.summaries.prompt_requests import Requests
from engine.semantics.summaries.provider import Answers
from engine.semantics.summaries.sentence_provider import SentenceProvider

if TYPE_CHECKING:
    from engine.semantics.llm.batch_client import BatchClient

RENDERED_AT_ONCE = 500
"""Prompts rendered at a time, ahead of the calls."""


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """How a job uses the provider's Batch API, and where the logs of its batches are."""

    files: BatchLogs
    run_id: str
    """The run that asks."""
    lock_key: str
    """Key of the lock that the job holds."""
    recorded: Callable[[str], set[str]]
    """Returns, for the name of a batch, the keys whose calls are stored."""
    send: bool = False
    """Send prompts in batches; if false, send single calls, but first collect open batches that contain them."""
    wait: bool = True
    """Wait until all prompts are answered."""


class EndpointProvider:
    """Summaries by a model of an endpoint; makes no call, and needs no key, before `answer` is called."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        prompt: Prompt,
        dataset: Dataset,
        *,
        model: str,
        max_length: int,
        home: Path | None = None,
        budget: Budget,
    ) -> None:
        self.name, self.model, self.prompt_version, self.template = name, model, prompt.version, prompt.template
        self.endpoint, self.budget, self._task = endpoint, budget, prompt.task
        self.requests = Requests(dataset, prompt, endpoint, model, max_length=max_length)
        self._dataset, self._max_length, self._home = dataset, max_length, home
        self._client: Any = None
        self._known = 0
        self._plan: BatchPlan | None = None

    @classmethod
    def build(
        cls, config: SemanticsConfig, dataset: Dataset, *, max_length: int, home: Path | None
    ) -> EndpointProvider:
        """The provider of a config, with a budget of `semantics.budget`.

        Raises:
            ConfigError: there is no such endpoint or prompt, no model is named, or a cap is set and the price is unknown.
        """
        endpoint = find_endpoint(config.provider, home)
        model = config.llm or endpoint.model
        if model is None:
            raise ConfigError(
                f"provider {config.provider!r} has no default model",
                where="semantics.llm",
                hint="Name one: --set llm=NAME, or model in providers.toml. The model of `sracl llm serve` is smollm2.",
            )
        budget = Budget(endpoint, model, cap=config.budget)
        if config.budget is not None and not budget.known:
            raise ConfigError(
                f"the price of {model!r} at {config.provider!r} is unknown, so the budget cannot be enforced",
                where="semantics.budget",
                hint=f"Give its prices in providers.toml, [{config.provider}.prices], or remove the budget.",
            )
        own = endpoint.prompt_of(model) if config.prompt == "auto" else None
        where = "semantics.prompt" if own is None else f"{config.provider}.prompt"
        prompt = choose_prompt(own or config.prompt, dataset, home, where=where)
        return cls(
            config.provider, endpoint, prompt, dataset, model=model, max_length=max_length, home=home, budget=budget
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but prompt, model and messages that answers depend on."""
        own = {"structured": self.endpoint.structured, "max_length": self._max_length}
        return {"base_url": self.endpoint.base_url, **self.requests.parameters, **own}

    def request_keys(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        """Hashes of messages, model, parameters and prompt version; the endpoint's URL is no part of them."""
        return [self.requests.key(kind, *rendered) for rendered in self.requests.rendered(kind, owner_ids)]

    def count_spent(self, usd: float) -> None:
        """Count dollars that earlier starts of the job spent against its cap."""
        self.budget.spent += usd

    def count_known(self, answers: int) -> None:
        """Note how many answers of the wanted set are stored: a refused prompt is then at fault, not the endpoint."""
        self._known = answers

    def use_batches(self, plan: BatchPlan) -> None:
        """Send prompts in batches, or collect open batches first, as the plan says.

        Raises:
            ConfigError: the provider has no Batch API, or the prompt offers choices, which a batch does not keep.
        """
        self._plan = plan
        if plan.send and self._task == "choices":
            raise ConfigError(
                f"prompt {self.prompt_version} offers choices, which the Batch API is not used for",
                where="--batch",
                hint="Leave --batch out, or name a prompt that asks for a text (`sracl prompts list`).",
            )
        if plan.send:
            self.budget.factor = self.batch_factor()

    def batch_factor(self) -> float:
        """Factor of the Batch API on the prices of single calls.

        Raises:
            ConfigError: the provider has no Batch API.
        """
        if self.endpoint.batch is None:
            raise ConfigError(
                f"provider {self.name!r} has no Batch API",
                where="--batch",
                hint=f"If it has one, add [{self.name}.batch] with price_factor to providers.toml (docs/llm.md).",
            )
        return self.endpoint.batch.price_factor

    def drain(self) -> None:
        """Send no further calls; `answer` ends when those in flight have ended."""
        if self._client is not None:
            self._client.drain()

    def answer(self, kind: Kind, owner_ids: NDArray[np.int64], keys: list[str]) -> Iterator[Answers]:
        """Answers as they arrive, with the calls that returned them.

        Raises:
            ConfigError: no key is set.
            BudgetReached: the next call could exceed the cap.
            SemanticsError: the endpoint rejects calls, or calls keep failing.
            BatchPending: batches are at the provider, and the plan does not wait.
        """
        key = find_key(self.name, self.endpoint, self._home)
        owners = dict(zip(keys, owner_ids.tolist(), strict=True))
        for results in self._results(kind, owners, key):
            answers = [answer for answer in results.answers if answer.text is not None or answer.key in owners]
            missing = [answer.key for answer in answers if answer.text is None]
            texts = self._fallbacks(kind, [owners[own] for own in missing])
            fallbacks = dict(zip(missing, texts, strict=True))
            calls = Call.columns(results.calls) if results.calls else None
            yield Answers.paid(answers, fallbacks, calls=calls, note=results.note, run_id=results.run_id)

    def _results(self, kind: Kind, owners: dict[str, int], key: SecretStr | None) -> Iterator[ResultBatch]:
        """Calls and answers as they arrive, from single calls or batches."""
        from engine.semantics.llm.client import Client

        def render(keys: list[str]) -> Iterator[PromptRequest]:
            for start in range(0, len(keys), RENDERED_AT_ONCE):
                part = keys[start : start + RENDERED_AT_ONCE]
                ids = np.array([owners[own] for own in part], np.int64)
                for own, (messages, choices) in zip(part, self.requests.rendered(kind, ids), strict=True):
                    yield PromptRequest(own, kind, self.requests.body(kind, messages, choices), choices)

        left, plan = list(owners), self._plan
        if plan is not None and plan.send:
            self._client = client = self.batch_client(plan, key, self.budget)
            client.worked_before = self._known > 0
            yield from client.ask(left, kind, render, wait=plan.wait)
            return
        if plan is not None and plan.files.read():
            done: set[str] = set()
            for results in self._collect_others(plan, key, set(left)):
                done |= {answer.key for answer in results.answers if answer.text is not None}
                yield results
            left = [own for own in left if own not in done]
        self._client = client = Client(self.name, self.endpoint, key, self.budget)
        client.worked_before = self._known > 0
        yield from client.ask(render(left))

    def _collect_others(self, plan: BatchPlan, key: SecretStr | None, wanted: set[str]) -> Iterator[ResultBatch]:
        """Collect open batches of other jobs that contain wanted prompts, which are then not paid for twice.

        Raises:
            SemanticsError: some of these batches have not ended.
        """
        factor = self.batch_factor() if self.endpoint.batch is not None else 1.0
        client = self.batch_client(plan, key, Budget(self.endpoint, self.budget.model, factor=factor))
        yield from client.collect(wanted)
        if left := client.in_flight & wanted:
            raise SemanticsError(
                f"{len(left):,} of {len(wanted):,} prompts are at the provider in a batch",
                where=f"semantics.provider = {self.name}",
                hint="`sracl llm batches list` shows its progress. Wait for it or cancel it, rather than paying twice.",
            )

    def batch_client(self, plan: BatchPlan, key: SecretStr | None, budget: Budget) -> BatchClient:
        """A client of the provider's Batch API that charges `budget`."""
        from engine.semantics.llm.batch_client import BatchClient

        return BatchClient(
            self.name, self.endpoint, key, budget, files=plan.files, run_id=plan.run_id, lock_key=plan.lock_key, recorded=plan.recorded
        )  # fmt: skip

    @cached_property
    def _fallback_provider(self) -> SentenceProvider:
        return SentenceProvider(self._dataset, max_length=self._max_length)

    def _fallbacks(self, kind: Kind, owners: list[int]) -> list[str]:
        if not owners:
            return []
        made = self._fallback_provider.answer(kind, np.array(owners, np.int64), [str(owner) for owner in owners])
        return [text for some in made for text in some.texts]
