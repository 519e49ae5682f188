"""Summaries by a model behind a named endpoint; where no usable answer can be had, a text by rule stands in and says so."""

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
from engine.semantics.llm.attempts import Chunk, PromptRequest
from engine.semantics.llm.batch_files import Files
from engine.semantics.llm.budget import Budget, Call
from engine.semantics.llm.endpoints import Endpoint, find_endpoint, find_key
from engine.semantics.prompts import Prompt, choose_prompt
from engine.semantics.summaries.prompt_requests import Requests
from engine.semantics.summaries.provider import Answers
from engine.semantics.summaries.rule_provider import OfflineProvider

if TYPE_CHECKING:
    from engine.semantics.llm.batch_client import BatchClient

RENDERED_AT_ONCE = 500
"""Prompts that are written ahead of the calls."""


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """How a job uses the provider's Batch API, and where what is at the provider is kept."""

    files: Files
    run_id: str
    """The run that asks."""
    payer: str
    """The lock that it holds."""
    recorded: Callable[[str], set[str]]
    """For a batch, the keys whose calls are kept."""
    send: bool = False
    """Ask by batches; else what others have at the provider is looked after, and all else is asked for at once."""
    wait: bool = True
    """Until all is answered."""


class EndpointProvider:
    """Asks a model; makes no call, and needs no key, before `answer` is called."""

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
        money: Budget,
    ) -> None:
        self.name, self.model, self.prompt_version, self.template = name, model, prompt.version, prompt.template
        self.endpoint, self.money = endpoint, money
        self.requests = Requests(dataset, prompt, endpoint, model, max_length=max_length)
        self._dataset, self._max_length, self._home = dataset, max_length, home
        self._client: Any = None
        self._plan: BatchPlan | None = None

    @classmethod
    def build(
        cls, config: SemanticsConfig, dataset: Dataset, *, max_length: int, home: Path | None
    ) -> EndpointProvider:
        """The provider of a config.

        Raises:
            ConfigError: there is no such endpoint, model or prompt, or a cap is set where no price is known.
        """
        endpoint = find_endpoint(config.provider, home)
        model = config.llm or endpoint.model
        if model is None:
            raise ConfigError(
                f"provider {config.provider!r} has no default model",
                where="semantics.llm",
                hint="Name one: --set llm=NAME, or model in providers.toml. `sracl llm test NAME` lists what it serves.",
            )
        money = Budget(endpoint, model, cap=config.budget)
        if config.budget is not None and not money.known:
            raise ConfigError(
                f"the price of {model!r} at {config.provider!r} is unknown, so no cap can be kept",
                where="semantics.budget",
                hint=f"Give its prices in providers.toml, [{config.provider}.prices], or leave the cap out.",
            )
        prompt = choose_prompt(config.prompt, dataset, home)
        return cls(
            config.provider, endpoint, prompt, dataset, model=model, max_length=max_length, home=home, money=money
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """What else the answers depend on."""
        own = {"structured": self.endpoint.structured, "max_length": self._max_length}
        return {"base_url": self.endpoint.base_url, **self.requests.parameters, **own}

    def request_keys(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        """Hashes of messages, model, parameters and prompt version."""
        return [self.requests.key(kind, messages) for messages in self.requests.messages(kind, owner_ids)]

    def count_spent(self, usd: float) -> None:
        """Count dollars that the job spent before against its cap."""
        self.money.spent += usd

    def use_batches(self, plan: BatchPlan) -> None:
        """Ask by batches, or mind what is at the provider.

        Raises:
            ConfigError: the provider has no Batch API.
        """
        self._plan = plan
        if plan.send:
            self.money.factor = self.batch_factor()

    def batch_factor(self) -> float:
        """What a batch multiplies prices by.

        Raises:
            ConfigError: the provider has no Batch API.
        """
        if self.endpoint.batch is None:
            raise ConfigError(
                f"provider {self.name!r} has no Batch API, as far as is known",
                where="--batch",
                hint=f"If it has one, say so in providers.toml: [{self.name}.batch] with price_factor (docs/llm.md).",
            )
        return self.endpoint.batch.price_factor

    def wind_down(self) -> None:
        """Send nothing more; what is in flight is waited for."""
        if self._client is not None:
            self._client.wind_down()

    def answer(self, kind: Kind, owner_ids: NDArray[np.int64], keys: list[str]) -> Iterator[Answers]:
        """Answers as they come, with the attempts behind them.

        Raises:
            ConfigError: there is no key.
            BudgetReached: the next call could go over the cap.
            SemanticsError: the endpoint refuses, or nothing works any more.
            AtProvider: asked by batches, and nobody wants to wait.
        """
        key = find_key(self.name, self.endpoint, self._home)
        owners = dict(zip(keys, owner_ids.tolist(), strict=True))
        for chunk in self._chunks(kind, owners, key):
            answers = [answer for answer in chunk.answers if answer.text is not None or answer.key in owners]
            missing = [answer.key for answer in answers if answer.text is None]
            texts = self._stand_ins(kind, [owners[own] for own in missing])
            stand_ins = dict(zip(missing, texts, strict=True))
            calls = Call.columns(chunk.calls) if chunk.calls else None
            yield Answers.paid(answers, stand_ins, calls=calls, note=chunk.note, run_id=chunk.run_id)

    def _chunks(self, kind: Kind, owners: dict[str, int], key: SecretStr | None) -> Iterator[Chunk]:
        """Calls and answers as they come, one by one or by batches."""
        from engine.semantics.llm.client import Client

        def render(keys: list[str]) -> Iterator[PromptRequest]:
            for start in range(0, len(keys), RENDERED_AT_ONCE):
                part = keys[start : start + RENDERED_AT_ONCE]
                ids = np.array([owners[own] for own in part], np.int64)
                for own, messages in zip(part, self.requests.messages(kind, ids), strict=True):
                    yield PromptRequest(own, kind, self.requests.body(kind, messages))

        left, plan = list(owners), self._plan
        if plan is not None and plan.send:
            self._client = client = self.batch_client(plan, key, self.money)
            yield from client.ask(left, kind, render, wait=plan.wait)
            return
        if plan is not None and plan.files.read():
            done: set[str] = set()
            for chunk in self._mind(plan, key, set(left)):
                done |= {answer.key for answer in chunk.answers if answer.text is not None}
                yield chunk
            left = [own for own in left if own not in done]
        self._client = client = Client(self.name, self.endpoint, key, self.money)
        yield from client.ask(render(left))

    def _mind(self, plan: BatchPlan, key: SecretStr | None, wanted: set[str]) -> Iterator[Chunk]:
        """Take in batches of others that hold wanted answers, rather than paying for these twice.

        Raises:
            SemanticsError: some are still at the provider.
        """
        factor = self.batch_factor() if self.endpoint.batch is not None else 1.0
        client = self.batch_client(plan, key, Budget(self.endpoint, self.money.model, factor=factor))
        yield from client.collect(wanted)
        if left := client.in_flight & wanted:
            raise SemanticsError(
                f"{len(left):,} of {len(wanted):,} prompts are at the provider in a batch",
                where=f"semantics.provider = {self.name}",
                hint="`sracl llm batches list` shows how far it is; wait for it, or cancel it, rather than paying twice.",
            )

    def batch_client(self, plan: BatchPlan, key: SecretStr | None, money: Budget) -> BatchClient:
        """Who talks to the provider about batches."""
        from engine.semantics.llm.batch_client import BatchClient

        return BatchClient(
            self.name, self.endpoint, key, money, files=plan.files, run_id=plan.run_id, payer=plan.payer, recorded=plan.recorded
        )  # fmt: skip

    @cached_property
    def _offline(self) -> OfflineProvider:
        return OfflineProvider(self._dataset, max_length=self._max_length)

    def _stand_ins(self, kind: Kind, owners: list[int]) -> list[str]:
        if not owners:
            return []
        made = self._offline.answer(kind, np.array(owners, np.int64), [str(owner) for owner in owners])
        return [text for some in made for text in some.texts]
