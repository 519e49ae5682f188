"""Summaries by a model behind a named endpoint; where no usable answer can be had, a text by rule stands in and says so."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config import SemanticsConfig
from engine.data.dataset import Dataset
from engine.errors import ConfigError
from engine.semantics.endpoints import Endpoint, find_endpoint, find_key
from engine.semantics.money import Call, Money
from engine.semantics.offline import OfflineProvider
from engine.semantics.prompts import Prompt, choose_prompt
from engine.semantics.providers import Answers, Kind
from engine.semantics.requests import Requests

RENDERED_AT_ONCE = 500
"""Prompts that are written ahead of the calls."""


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
        money: Money,
    ) -> None:
        self.name, self.model, self.prompt_version, self.template = name, model, prompt.version, prompt.template
        self.endpoint, self.money = endpoint, money
        self.requests = Requests(dataset, prompt, endpoint, model, max_length=max_length)
        self._dataset, self._max_length, self._home = dataset, max_length, home
        self._client: Any = None

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
        money = Money(endpoint, model, cap=config.budget)
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
        """
        from engine.semantics.client import Client, Prompted

        key = find_key(self.name, self.endpoint, self._home)
        owners = dict(zip(keys, owner_ids.tolist(), strict=True))
        self._client = client = Client(self.name, self.endpoint, key, self.money)

        def prompts() -> Iterator[Prompted]:
            for start in range(0, len(keys), RENDERED_AT_ONCE):
                part = slice(start, start + RENDERED_AT_ONCE)
                for own, messages in zip(keys[part], self.requests.messages(kind, owner_ids[part]), strict=True):
                    yield Prompted(own, kind, self.requests.body(kind, messages))

        for chunk in client.ask(prompts()):
            missing = [answer.key for answer in chunk.answers if answer.text is None]
            texts = self._stand_ins(kind, [owners[own] for own in missing])
            stand_ins = dict(zip(missing, texts, strict=True))
            yield Answers(
                keys=[answer.key for answer in chunk.answers],
                texts=[stand_ins[a.key] if a.text is None else a.text for a in chunk.answers],
                tokens_in=[answer.usage.tokens_in for answer in chunk.answers],
                tokens_out=[answer.usage.tokens_out for answer in chunk.answers],
                tokens_cached=[answer.usage.tokens_cached for answer in chunk.answers],
                usd=[answer.usd for answer in chunk.answers],
                finish_reason=[answer.finish_reason for answer in chunk.answers],
                fallback=[answer.text is None for answer in chunk.answers],
                calls=Call.columns(chunk.calls) if chunk.calls else None,
                note=chunk.note,
            )

    @cached_property
    def _offline(self) -> OfflineProvider:
        return OfflineProvider(self._dataset, max_length=self._max_length)

    def _stand_ins(self, kind: Kind, owners: list[int]) -> list[str]:
        if not owners:
            return []
        made = self._offline.answer(kind, np.array(owners, np.int64), [str(owner) for owner in owners])
        return [text for some in made for text in some.texts]
