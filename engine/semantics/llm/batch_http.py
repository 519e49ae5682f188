"""The calls of the Batch API: files up and down, batches begun, found, asked about and cancelled. None of them costs anything."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from engine.semantics.llm import rate_limiter
from engine.semantics.llm.attempts import RETRIED, EndpointClient, Outcome, backoff
from engine.semantics.llm.batch_files import Batch, Files
from engine.semantics.llm.budget import Budget
from engine.semantics.llm.endpoints import Batches, Endpoint

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")
PATH = "/v1/chat/completions"
MARK = "sracl"
"""Name of the metadata in which a provider keeps a batch's name."""
NAP_SECONDS = 0.5


class BatchCalls(EndpointClient):
    """Talks to one endpoint about batches."""

    def __init__(self, name: str, endpoint: Endpoint, key: SecretStr | None, money: Budget, files: Files) -> None:
        super().__init__(name, endpoint, key, money)
        self._own = endpoint.batch or Batches()
        self._files = files
        self._stopping = threading.Event()

    def wind_down(self) -> None:
        """Send nothing more; what is at the provider stays there."""
        self._stopping.set()

    def cancel(self, batch: Batch) -> str:
        """Ask the provider to end a batch; what it has answered by then is answered and paid for."""
        with self._connected():
            if batch.batch_id is None:
                return "unknown"
            return self._patiently(lambda: self._client.batches.cancel(batch.batch_id or "")).status

    def refresh(self, batches: list[Batch]) -> None:
        """Learn how far batches are; keeps nothing."""
        with self._connected():
            for batch in batches:
                if batch.batch_id is not None:
                    self._ask_about(batch)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        import httpx2 as http
        from openai import OpenAI

        key = self._key.get_secret_value() if self._key else "none"
        timeout = http.Timeout(self._endpoint.limits.timeout, connect=min(self._endpoint.limits.timeout, 10.0))
        with (
            http.Client(timeout=timeout, follow_redirects=False) as plain,
            OpenAI(
                api_key=key, base_url=self._endpoint.base_url, max_retries=0, timeout=timeout, http_client=plain
            ) as client,
        ):
            self._client: OpenAI = client
            try:
                yield
            finally:
                self._files.release()

    def _find(self, batch: Batch) -> bool:
        """Look for a batch at the provider, by its name or its file; whether it is there."""
        for made in self._patiently(lambda: self._newest(batch.sent_at - 3600)):
            if (made.metadata or {}).get(MARK) == batch.name or made.input_file_id == batch.file_id:
                batch.batch_id, batch.file_id = made.id, made.input_file_id
                self._files.note(batch.name, batch_id=batch.batch_id, file_id=batch.file_id)
                return True
        return False

    def _newest(self, since: float) -> list[Any]:
        """The provider's batches since a time."""
        found: list[Any] = []
        for made in self._client.batches.list(limit=100):
            if made.created_at < since:
                break
            found.append(made)
        return found

    def _send(self, batch: Batch, path: Path) -> None:
        """Send the file of requests and begin the batch, each step on the disk when it is done."""
        made = self._patiently(lambda: self._client.files.create(file=path, purpose="batch"))
        batch.file_id = made.id
        self._files.note(batch.name, file_id=made.id)
        self._patiently(lambda: self._start(batch), otherwise=lambda: self._find(batch))
        batch.status = "validating"

    def _start(self, batch: Batch) -> bool:
        made = self._client.post(
            "/batches",
            body={
                "input_file_id": batch.file_id, "endpoint": PATH, "completion_window": self._own.window,
                "metadata": {MARK: batch.name},
            },
            cast_to=dict[str, Any],
        )  # fmt: skip
        batch.batch_id = made["id"]
        self._files.note(batch.name, batch_id=batch.batch_id)
        return True

    def _ask_about(self, batch: Batch) -> None:
        """The provider's word on a batch; `lost` where it knows nothing of it."""
        import openai

        def ask() -> Any:
            with suppress(openai.NotFoundError):
                return self._client.batches.retrieve(batch.batch_id or "")

        made = self._patiently(ask)
        if made is None:
            batch.status = "lost"
            return
        batch.status = made.status
        counts = made.request_counts
        batch.answered = (counts.completed or 0) + (counts.failed or 0) if counts else batch.answered
        batch.output_ids = [name for name in (made.output_file_id, made.error_file_id) if name]
        batch.message = "; ".join(
            ": ".join(filter(None, (said.code, said.message)))
            for said in (made.errors.data if made.errors else []) or []
        )

    def _forget(self, batch: Batch, why: str) -> None:
        """Nothing more is to come of a batch; its file at the provider goes too, as far as that works."""
        import openai

        self._files.note(batch.name, ended=why)
        self._files.close(batch.name)
        if batch.file_id is not None:
            with suppress(openai.OpenAIError):
                self._client.files.delete(batch.file_id)

    def _lines(self, batch: Batch) -> Iterator[tuple[str, Outcome]]:
        """Keys and outcomes of a batch's lines, good ones first, fetched as a whole before the first is read."""
        path = self._files.output_of(batch.name)
        path.write_bytes(b"")
        for name in batch.output_ids:
            self._patiently(lambda name=name: self._fetch(name, path))
        with path.open("rb") as file:
            for raw in file:
                with suppress(ValueError, KeyError, TypeError, AttributeError):  # what is no line counts as missing
                    yield self._outcome(json.loads(raw))
        path.unlink(missing_ok=True)

    def _fetch(self, name: str, path: Path) -> None:
        """Add a file of the provider to one of ours; nothing where it is no longer there."""
        import openai

        size = path.stat().st_size
        try:
            with self._client.files.with_streaming_response.content(name) as response, path.open("ab") as file:
                for part in response.iter_bytes():
                    file.write(part)
                file.write(b"\n")
        except BaseException as error:
            with path.open("rb+") as file:
                file.truncate(size)
            if not isinstance(error, openai.NotFoundError):
                raise

    def _outcome(self, line: dict[str, Any]) -> tuple[str, Outcome]:
        response, error = line.get("response") or {}, line.get("error") or {}
        status, body = response.get("status_code"), response.get("body") or {}
        if status == 200:
            outcome = Outcome(200)
            self._understand(body, outcome)
        elif status is not None:
            said = body.get("error") or error
            outcome = Outcome(int(status), f"HTTP {status}", self._scrub(str(said.get("message") or "")[:300]))
        else:
            code = str(error.get("code") or "error").removeprefix("batch_")
            outcome = Outcome(None, code, self._scrub(str(error.get("message") or "")[:300]))
        return line["custom_id"], outcome

    def _patiently(self, call: Callable[[], T], *, otherwise: Callable[[], T] | None = None) -> T:
        """Do something that costs nothing until it works.

        Args:
            otherwise: done before each further try: what it finds true stands in for the call, which may have worked unseen.
        """
        outcome = Outcome(None, "stopped")
        for failed in range(1, self._endpoint.limits.attempts + 1):
            try:
                return call()
            except Exception as error:
                outcome = self._failed(error)
            status = outcome.status
            if status is not None and status < 500 and status not in RETRIED:
                break
            asked = rate_limiter.retry_after(outcome.headers) if outcome.headers is not None else None
            until = time.monotonic() + min(asked or backoff(failed, outcome), rate_limiter.LONGEST_PAUSE)
            while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
                time.sleep(min(left, NAP_SECONDS))
            if self._stopping.is_set():
                break
            if otherwise is not None and (found := otherwise()):
                return found
        raise self._blame(outcome)
