"""Requests that are at a provider as a batch: what is known of one, and who keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

from engine.semantics.llm.attempts import RequestState
from engine.semantics.llm.budget import Usage

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
"""States in which a provider does nothing more."""


class Files(Protocol):
    """Keeps what is known of batches; see `store.llm_batches.BatchLogs`."""

    def begin(self, name: str, known: dict[str, Any], lines: Iterable[bytes]) -> Path: ...

    def note(self, name: str, **known: Any) -> None: ...

    def take(self, name: str) -> bool: ...

    def release(self) -> None: ...

    def close(self, name: str) -> None: ...

    def read(self) -> dict[str, dict[str, Any]]: ...

    def output_of(self, name: str) -> Path: ...


@dataclass(frozen=True)
class Sent:
    """One request of a batch: its prompt's course so far, and what was set aside for it."""

    course: RequestState
    reserve: float

    def as_list(self) -> list[Any]:
        """Ready for JSON."""
        own, paid = self.course, self.course.paid
        return [
            own.key, own.kind, own.attempt, own.failed, own.unusable,
            paid.tokens_in, paid.tokens_out, paid.tokens_cached, own.usd, self.reserve,
        ]  # fmt: skip

    @classmethod
    def of(cls, row: list[Any]) -> Sent:
        """Read back what `as_list` gave."""
        key, kind, attempt, failed, unusable, tokens_in, tokens_out, tokens_cached, usd, reserve = row
        paid = Usage(tokens_in, tokens_out, tokens_cached)
        return cls(RequestState(key, kind, attempt, failed, unusable, paid, usd), reserve)


@dataclass
class Batch:
    """Requests that were sent together, or are about to be."""

    name: str
    provider: str
    base_url: str
    model: str
    run_id: str
    """The run that sends it: its cap holds, and the calls are its own."""
    sent_at: float
    """Unix seconds, before anything was sent."""
    payer: str
    """Whoever pays for such requests has this lock."""
    requests: dict[str, Sent] = field(default_factory=dict)
    """By key, in order."""
    file_id: str | None = None
    batch_id: str | None = None
    """None while it is not known whether the provider has it."""
    status: str = "planned"
    answered: int = 0
    """Requests that the provider says it has answered or given up."""
    output_ids: list[str] = field(default_factory=list)
    message: str = ""
    """Why the provider refused it as a whole."""

    @property
    def reserve(self) -> float:
        """What was set aside for it."""
        return sum(sent.reserve for sent in self.requests.values())

    def known(self) -> dict[str, Any]:
        """The first line of its log."""
        plain = asdict(replace(self, requests={}))
        plain.pop("name")
        return plain | {"requests": [sent.as_list() for sent in self.requests.values()]}

    @classmethod
    def read(cls, name: str, known: dict[str, Any]) -> Batch:
        """What a log tells."""
        own: dict[str, Any] = {field.name: known[field.name] for field in fields(cls) if field.name in known}
        own |= {"name": name, "requests": {row[0]: Sent.of(row) for row in known["requests"]}}
        return cls(**own)


def open_batches(files: Files) -> list[Batch]:
    """Every batch whose answers are not yet taken in; a log without a whole first line was never sent."""
    logs = files.read().items()
    return [Batch.read(name, known) for name, known in logs if "requests" in known and "ended" not in known]
