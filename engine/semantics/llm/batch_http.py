"""HTTP calls of the Batch API: upload and download files; create, find, poll and cancel batches. None of them is billed."""

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
from engine.semantics.llm.attempts import RETRIED, AttemptResult, EndpointClient, backoff
from engine.semantics.llm.batch_files import BatchLogs, ProviderBatch
from engine.semantics.llm.budget import Budget
from engine.semantics.llm.connection import client_options, forget_shell, http_options, no_connection
from engine.semantics.llm.endpoints import BatchApi, Endpoint

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")
PATH = "/v1/chat/completions"
METADATA_KEY = "sracl"
"""Metadata field that holds our name of a batch at the provider."""
STOP_CHECK_SECONDS = 0.5
"""Interval at which a wait checks whether the job should stop."""


class BatchHttpClient(EndpointClient):
    """The batch calls of one endpoint, each retried until it works."""

    def __init__(self, name: str, endpoint: Endpoint, key: SecretStr | None, budget: Budget, files: BatchLogs) -> None:
        super().__init__(name, endpoint, key, budget)
        self._own = endpoint.batch or BatchApi()
        self._files = files
        self._stopping = threading.Event()

    def drain(self) -> None:
        """Send no further requests; open batches stay at the provider."""
        self._stopping.set()

    def cancel(self, batch: ProviderBatch) -> str:
        """Cancel a batch at the provider, and return its new status; requests answered before are billed."""
        with self._connected():
            if batch.batch_id is None:
                return "unknown"
            return self._with_retries(lambda: self._client.batches.cancel(batch.batch_id or "")).status

    def refresh(self, batches: list[ProviderBatch]) -> None:
        """Update the status and counts of batches from the provider, without writing them to the logs."""
        with self._connected():
            for batch in batches:
                if batch.batch_id is not None:
                    self._poll_batch(batch)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        import httpx2 as http
        from openai import OpenAI

        timeout = http.Timeout(self._endpoint.limits.timeout, connect=min(self._endpoint.limits.timeout, 10.0))
        try:
            plain = http.Client(timeout=timeout, follow_redirects=False, **http_options(self._endpoint))
        except Exception as error:  # a proxy or certificate file of the shell that is none
            raise no_connection(self._scrub(str(error)), self._endpoint) from error
        with (
            plain,
            OpenAI(timeout=timeout, http_client=plain, **client_options(self._endpoint, self._key)) as client,
        ):
            forget_shell(client)
            self._client: OpenAI = client
            try:
                yield
            finally:
                self._files.release()

    def _find(self, batch: ProviderBatch) -> bool:
        """Find a batch at the provider by its name or its file, and note its ids; False if it is not there."""
        for made in self._with_retries(lambda: self._newest(batch.sent_at - 3600)):
            if (made.metadata or {}).get(METADATA_KEY) == batch.name or made.input_file_id == batch.file_id:
                batch.batch_id, batch.file_id = made.id, made.input_file_id
                self._files.note(batch.name, batch_id=batch.batch_id, file_id=batch.file_id)
                return True
        return False

    def _newest(self, since: float) -> list[Any]:
        """The provider's batches created since a time, in Unix seconds."""
        found: list[Any] = []
        for made in self._client.batches.list(limit=100):
            if made.created_at < since:
                break
            found.append(made)
        return found

    def _send(self, batch: ProviderBatch, path: Path) -> None:
        """Upload the file of requests and create the batch; the log is written to disk after each step."""
        made = self._with_retries(lambda: self._client.files.create(file=path, purpose="batch"))
        batch.file_id = made.id
        self._files.note(batch.name, file_id=made.id)
        self._with_retries(lambda: self._start(batch), otherwise=lambda: self._find(batch))
        batch.status = "validating"

    def _start(self, batch: ProviderBatch) -> bool:
        made = self._client.post(
            "/batches",
            body={
                "input_file_id": batch.file_id, "endpoint": PATH, "completion_window": self._own.window,
                "metadata": {METADATA_KEY: batch.name},
            },
            cast_to=dict[str, Any],
        )  # fmt: skip
        batch.batch_id = made["id"]
        self._files.note(batch.name, batch_id=batch.batch_id)
        return True

    def _poll_batch(self, batch: ProviderBatch) -> None:
        """Update a batch from the provider; the status is `lost` if the provider does not know it."""
        import openai

        def retrieve() -> Any:
            with suppress(openai.NotFoundError):
                return self._client.batches.retrieve(batch.batch_id or "")

        made = self._with_retries(retrieve)
        if made is None:
            batch.status = "lost"
            return
        batch.status = made.status
        counts = made.request_counts
        batch.answered = (counts.completed or 0) + (counts.failed or 0) if counts else batch.answered
        batch.output_ids = [name for name in (made.output_file_id, made.error_file_id) if name]
        batch.message = "; ".join(
            ": ".join(filter(None, (error.code, error.message)))
            for error in (made.errors.data if made.errors else []) or []
        )

    def _forget(self, batch: ProviderBatch, why: str) -> None:
        """Close the log of a batch with the reason `why`, and try to delete its file at the provider."""
        import openai

        self._files.note(batch.name, ended=why)
        self._files.close(batch.name)
        if batch.file_id is not None:
            with suppress(openai.OpenAIError):
                self._client.files.delete(batch.file_id)

    def _lines(self, batch: ProviderBatch) -> Iterator[tuple[str, AttemptResult]]:
        """Keys and results of a batch, successful ones first; all files are downloaded before the first line is read."""
        path = self._files.output_of(batch.name)
        path.write_bytes(b"")
        for name in batch.output_ids:
            self._with_retries(lambda name=name: self._fetch(name, path))
        with path.open("rb") as file:
            for raw in file:
                with suppress(ValueError, KeyError, TypeError, AttributeError):  # an unreadable line counts as missing
                    yield self._result_of_line(json.loads(raw))
        path.unlink(missing_ok=True)

    def _fetch(self, name: str, path: Path) -> None:
        """Append a file of the provider to the file at `path`; appends nothing if the provider no longer has it."""
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

    def _result_of_line(self, line: dict[str, Any]) -> tuple[str, AttemptResult]:
        response, error = line.get("response") or {}, line.get("error") or {}
        status, body = response.get("status_code"), response.get("body") or {}
        if status is not None and 200 <= int(status) < 300:
            result = AttemptResult(int(status))
            self._parse(body, result)
        elif status is not None:
            detail = body.get("error") or error
            result = AttemptResult(int(status), f"HTTP {status}", self._scrub(str(detail.get("message") or "")[:300]))
        else:
            code = str(error.get("code") or "error").removeprefix("batch_")
            result = AttemptResult(None, code, self._scrub(str(error.get("message") or "")[:300]))
        return line["custom_id"], result

    def _with_retries(self, call: Callable[[], T], *, otherwise: Callable[[], T] | None = None) -> T:
        """Repeat a call that is not billed until it works.

        Args:
            otherwise: called before each retry; a true value is returned instead: the failed call may have taken effect.

        Raises:
            SemanticsError: the endpoint rejects it, all attempts failed, or the job was stopped.
        """
        result = AttemptResult(None, "stopped")
        for failed in range(1, self._endpoint.limits.attempts + 1):
            try:
                return call()
            except Exception as error:
                result = self._result_of_error(error)
            status = result.status
            if result.spent or (status is not None and status < 500 and status not in RETRIED):
                break
            wait = rate_limiter.retry_after(result.headers) if result.headers is not None else None
            until = time.monotonic() + min(wait or backoff(failed, result), rate_limiter.LONGEST_PAUSE)
            while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
                time.sleep(min(left, STOP_CHECK_SECONDS))
            if self._stopping.is_set():
                break
            if otherwise is not None and (found := otherwise()):
                return found
        raise self._endpoint_error(result)
