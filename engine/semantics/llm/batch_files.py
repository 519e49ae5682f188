"""Batches at a provider: their requests and state, as written to the log of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

from engine.semantics.llm.attempts import RequestState
from engine.semantics.llm.budget import Usage

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
"""Final statuses of a batch at the provider."""


class BatchLogs(Protocol):
    """The logs of the batches of a home; `store.llm_batches.BatchLogs` implements it and describes the methods."""

    def begin(self, name: str, known: dict[str, Any], lines: Iterable[bytes]) -> Path: ...

    def note(self, name: str, **known: Any) -> None: ...

    def take(self, name: str) -> bool: ...

    def release(self) -> None: ...

    def close(self, name: str) -> None: ...

    def read(self) -> dict[str, dict[str, Any]]: ...

    def output_of(self, name: str) -> Path: ...


@dataclass(frozen=True)
class SentRequest:
    """One request of a batch: the attempts at its prompt so far, and the dollars reserved for it."""

    state: RequestState
    reserve: float

    def as_list(self) -> list[Any]:
        """A row for JSON; the order of its values is the format of the log."""
        own, paid = self.state, self.state.paid
        return [
            own.key, own.kind, own.attempt, own.failed, own.unusable,
            paid.tokens_in, paid.tokens_out, paid.tokens_cached, own.usd, self.reserve,
        ]  # fmt: skip

    @classmethod
    def of(cls, row: list[Any]) -> SentRequest:
        """The request of a row of `as_list`."""
        key, kind, attempt, failed, unusable, tokens_in, tokens_out, tokens_cached, usd, reserve = row
        paid = Usage(tokens_in, tokens_out, tokens_cached)
        return cls(RequestState(key, kind, attempt, failed, unusable, paid, usd), reserve)


@dataclass
class ProviderBatch:
    """A batch of the Batch API: requests that are sent together, and their state at the provider.

    Field names are the keys of the log.
    """

    name: str
    provider: str
    base_url: str
    model: str
    run_id: str
    """The run that sends it: its cap applies, and the calls are recorded as its own."""
    sent_at: float
    """Unix seconds, taken before anything is sent."""
    payer: str
    """Key of the lock that a job holds while it pays for such requests."""
    requests: dict[str, SentRequest] = field(default_factory=dict)
    """By key, in the order of the file."""
    file_id: str | None = None
    """The provider's id of the file of requests; None before the upload."""
    batch_id: str | None = None
    """The provider's id; None while it is unknown whether the provider has the batch."""
    status: str = "planned"
    """The provider's status, or `planned`, or `lost` if the provider does not know it."""
    answered: int = 0
    """Number of requests that the provider has completed or failed."""
    output_ids: list[str] = field(default_factory=list)
    """The provider's ids of the files of answers and errors."""
    message: str = ""
    """Why the provider rejected the batch as a whole; empty if it did not."""

    @property
    def reserve(self) -> float:
        """Dollars reserved for all its requests."""
        return sum(sent.reserve for sent in self.requests.values())

    def known(self) -> dict[str, Any]:
        """The content of the first line of its log, ready for JSON."""
        plain = asdict(replace(self, requests={}))
        plain.pop("name")
        return plain | {"requests": [sent.as_list() for sent in self.requests.values()]}

    @classmethod
    def read(cls, name: str, known: dict[str, Any]) -> ProviderBatch:
        """The batch of a log, whose lines are merged into `known`."""
        own: dict[str, Any] = {field.name: known[field.name] for field in fields(cls) if field.name in known}
        own |= {"name": name, "requests": {row[0]: SentRequest.of(row) for row in known["requests"]}}
        return cls(**own)


def open_batches(files: BatchLogs) -> list[ProviderBatch]:
    """Every batch whose answers are not collected yet; a log without a complete first line was never sent."""
    logs = files.read().items()
    return [ProviderBatch.read(name, known) for name, known in logs if "requests" in known and "ended" not in known]
