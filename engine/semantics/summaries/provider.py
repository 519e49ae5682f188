"""Who writes the summaries: the interface, and the providers by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.events import Columns
from engine.semantics.kinds import Kind
from engine.semantics.llm.budget import Budget

if TYPE_CHECKING:
    from engine.semantics.llm.attempts import Answer


@dataclass(frozen=True)
class Answers:
    """Some summaries, as they came; all lists have one length."""

    keys: list[str]
    texts: list[str]
    tokens_in: list[int]
    tokens_out: list[int]
    tokens_cached: list[int]
    """Tokens of the input that the provider had in its own cache."""
    usd: Sequence[float | None]
    """None where the price is unknown."""
    finish_reason: list[str]
    fallback: list[bool]
    """Whether a text stands in for an answer that could not be had."""
    calls: Columns | None = None
    """HTTP attempts to report before these answers, as in `ApiCalled`."""
    note: str = ""
    """How it goes, in a few words, for whoever watches."""
    run_id: str | None = None
    """The run that sent the calls, where it is another one."""

    @classmethod
    def free(cls, keys: list[str], texts: list[str]) -> Answers:
        """Answers that were made here: no tokens, no price, none of them cut short."""
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
    def paid(cls, answers: list[Answer], stand_ins: Mapping[str, str] | None = None, **more: Any) -> Answers:
        """Answers of a model; where one has no text, the one that stands in for it."""
        return cls(
            keys=[answer.key for answer in answers],
            texts=[(stand_ins or {})[a.key] if a.text is None else a.text for a in answers],
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
        """The table of `SummariesMade` for some of the answers."""
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
        """Who writes: `offline`, `titles`, or an endpoint's name."""
        ...

    @property
    def model(self) -> str | None:
        """The endpoint's model; none for rules."""
        ...

    @property
    def prompt_version(self) -> str:
        """Version of the prompt or of the rules."""
        ...

    @property
    def template(self) -> str:
        """The prompt with its placeholders; of a provider by rule, the form of its texts."""
        ...

    @property
    def parameters(self) -> dict[str, Any]:
        """What else the answers depend on, ready for JSON."""
        ...

    def request_keys(self, kind: Kind, owner_ids: NDArray[np.int64]) -> list[str]:
        """For each owner a hash of all that its answer depends on; equal requests share a key."""
        ...

    def answer(self, kind: Kind, owner_ids: NDArray[np.int64], keys: list[str]) -> Iterator[Answers]:
        """Write the summaries of owners (with their keys) and yield them as they come, in any order.

        A consumer may stop asking at any time: what was yielded is kept, what was not is asked for again.
        """
        ...


@runtime_checkable
class PaidProvider(Protocol):
    """A provider whose answers cost something: it is asked to end before it is left."""

    @property
    def money(self) -> Budget:
        """What its calls have cost, and the cap."""
        ...

    def count_spent(self, usd: float) -> None:
        """Count dollars that the job spent before against its cap."""
        ...

    def wind_down(self) -> None:
        """Ask for nothing more; `answer` goes on until what is in flight has come."""
        ...
