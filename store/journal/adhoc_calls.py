"""Records calls to models that belong to no run, such as the test of an endpoint, in `api_calls`."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from store.home import Home
from store.journal.journal import Journal


class AdhocCalls:
    """Journals calls in a `with` block; the next command that opens the store publishes them."""

    def __init__(self, home: Home, who: str) -> None:
        """Args:
        who: the value of `api_calls.run_id` in place of a run's id, such as `llm test`.
        """
        self._home, self._who = home, who
        self._journal: Journal | None = None

    def add(self, provider: str, model: str | None, columns: Mapping[str, Any]) -> None:
        """Journal calls, with columns as in the engine's `ApiCalled`; they are on the disk when this returns."""
        if self._journal is None:
            self._home.create()
            self._journal = Journal(self._home.edits)
        fields = {"provider": provider, "model": model, "run_id": self._who}
        self._journal.append("api_called", fields, columns=columns, durable=True)

    def __enter__(self) -> AdhocCalls:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            self._journal.close()
