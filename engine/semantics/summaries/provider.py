"""The interface of a provider of summaries, and the answers that it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.config import content_hash
from engine.data.dataset import Dataset
from engine.events import Columns
from engine.semantics.kinds import KEY_LENGTH, Kind
from engine.semantics.llm.budget import Budget

if TYPE_CHECKING:
    from engine.semantics.llm.attempts import Answer


@dataclass(frozen=True)
class Answers:
    """Some summaries, in order of arrival; all lists have the same length."""

    keys: list[str]
    texts: list[str]
    tokens_in: list[int]
    tokens_out: list[int]
    tokens_cached: list[int]
    """Input tokens that were in the endpoint's cache."""
    usd: Sequence[float | None]
    """None if the price is unknown."""
    finish_reason: list[str]
    fallback: list[bool]
    """Whether a rule-based text replaces an answer that could not be obtained."""
    calls: Columns | None = None
    """HTTP attempts to report before these answers, as in `ApiCalled`."""
    note: str = ""
    """Progress in a few words, for the screen."""
    run_id: str | None = None
    """The run that sent the calls, if it is another one."""

    @classmethod
    def free(cls, keys: list[str], texts: list[str]) -> Answers:
        """Answers made without a model: no tokens, no cost."""
        none = [0] * len(keys)
        return cls(
            keys=keys,
            texts=texts,
            tokens_in=none,
            tokens_out=none,
            tokens_cached=none,
            usd=[0.0] * len(keys),
            finish_reason=["stop"] * len(keys),
            fallback=[False] * len(keys),
        )

    @classmethod
    def paid(cls, answers: list[Answer], fallbacks: Mapping[str, str] | None = None, **more: Any) -> Answers:
        """Answers of a model.

        Args:
            fallbacks: by key, the texts of answers that have none.
            more: `calls`, `note` and `run_id`.
        """
        return cls(
            keys=[answer.key for answer in answers],
            texts=[(fallbacks or {})[a.key] if a.text is None else a.text for a in answers],
            tokens_in=[answer.usage.tokens_in for answer in answers],
            tokens_out=[answer.usage.tokens_out for answer in answers],
            tokens_cached=[answer.usage.tokens_cached for answer in answers],
            usd=[answer.usd for answer in answers],
            finish_reason=[answer.finish_reason for answer in answers],
            fallback=[answer.text is None for answer in answers],
            **more,
        )

    def __len__(self) -> int:
        return len(self.keys)

    def columns(self, start: int, stop: int) -> Columns:
        """Columns of the event `SummariesMade` for the answers from `start` to `stop`."""
        return {
            "key": self.keys[start:stop],
            "text": self.texts[start:stop],
            "tokens_in": self.tokens_in[start:stop],
            "tokens_out": self.tokens_out[start:stop],
            "tokens_cached": self.tokens_cached[start:stop],
            "usd": self.usd[start:stop],
            "finish_reason": self.finish_reason[start:stop],
            "fallback": self.fallback[start:stop],
        }


class Provider(Protocol):
    """Writes one summary per anchor (kind `user`) or item (kind `item`)."""

    @property
    def name(self) -> str:
        """`offline`, `titles`, or the name of an endpoint."""
        ...

    @property
    def model(self) -> str | None:
        """The endpoint's model; None for a rule-based provider."""
        ...

    @property
    def prompt_version(self) -> str:
        """Version of the prompt or of the rules."""
        ...

    @property
    def template(self) -> str:
        """The prompt with its placeholders; for a rule-based provider, the pattern of its texts."""
        ...

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything else that answers depend on, ready for JSON."""
        ...

    def request_keys(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        """For each owner, a hash of everything that its answer depends on; equal requests have equal keys."""
        ...

    def answer(self, kind: Kind, owner_ids: NDArray[np.int64], keys: list[str]) -> Iterator[Answers]:
        """Yield the summaries of owners, with these keys, as they arrive, in any order.

        A consumer may stop at any time: it stores what was yielded, and asks again for the rest.
        """
        ...


@runtime_checkable
class PaidProvider(Protocol):
    """A provider whose answers cost money: a consumer that stops calls `drain` first."""

    @property
    def budget(self) -> Budget:
        """Dollars spent and the cap."""
        ...

    def count_spent(self, usd: float) -> None:
        """Count dollars that earlier starts of the job spent against its cap."""
        ...

    def count_known(self, answers: int) -> None:
        """Note how many answers of the wanted set are stored: the model has written those, so it works."""
        ...

    def drain(self) -> None:
        """Send no further calls; `answer` ends when those in flight have ended."""
        ...


class RuleProvider(ABC):
    """A provider that asks no model: a text for each prefix and item, made here and without cost."""

    name: str = ""
    """Recorded with its summaries; of one that is not ours, what the setting names, with a file's hash."""
    model: str | None = None
    prompt_version: str = "own-1"
    """Version of the rules."""
    template: str = "written by its own code"
    """Pattern of the texts, as people are shown it."""
    chunk: ClassVar[int] = 1000
    """Texts that are yielded, and stored, at once."""

    def __init__(self, dataset: Dataset, *, max_length: int) -> None:
        """Args:
        max_length: number of newest items of a prefix that a text covers.
        """
        self.dataset, self.max_length = dataset, max_length
        self.parameters: dict[str, Any] = {"max_length": max_length}

    @abstractmethod
    def texts(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        """A text for each owner: the prefix of an anchor (kind `user`) or an item; empty where there is nothing to say.

        The same dataset has to give the same texts.
        """

    def request_keys(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        """Hashes of the texts themselves."""
        return [content_hash([self.prompt_version, text], length=KEY_LENGTH) for text in self.texts(kind, owner_ids)]

    def answer(self, kind: Kind, owner_ids: NDArray[np.int64], keys: list[str]) -> Iterator[Answers]:
        """The texts, `chunk` at a time, in order of the owners."""
        for start in range(0, len(keys), self.chunk):
            part = slice(start, start + self.chunk)
            yield Answers.free(keys[part], self.texts(kind, owner_ids[part]))
