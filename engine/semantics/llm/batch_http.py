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
from engine.semantics.llm.refusals import error_of, told_in, words_of
from engine.semantics.llm.token_counts import count

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")
PATH = "/v1/chat/completions"
METADATA_KEY = "sracl"
"""Metadata field that holds our name of a batch at the provider."""
STATUSES = {
    "succeeded": "completed", "success": "completed", "done": "completed", "ended": "completed", "canceled": "cancelled",
    "error": "failed", "errored": "failed",
}  # fmt: skip
"""Final statuses of other providers, in OpenAI's words: one that nobody knows would be waited for without end."""
STOP_CHECK_SECONDS = 0.5
"""Interval at which a wait checks whether the job should stop."""


def _id_of(made: Any) -> str:
    """The id of what a provider has made; raises ValueError, with its words, if it names none."""
    found = made.get("id") if isinstance(made, dict) else getattr(made, "id", None)
    if not isinstance(found, str) or not found:
        raise ValueError(f"the answer names no id: {made}")
    return found


def _status_of(made: Any) -> str:
    """The status of a batch in OpenAI's words; raises ValueError, with the provider's words, if there is none."""
    status = getattr(made, "status", None)
    if not isinstance(status, str) or not status:
        raise ValueError(f"the answer names no status: {made}")
    word = status.strip().lower()
    return STATUSES.get(word, word)


def _check_lines(path: Path, start: int) -> None:
    """Raise ValueError if a file from a place on is no list of answers but, say, a page: asked again, all of it would be paid for twice."""
    with path.open("rb") as file:
        file.seek(start)
        first = next((line for line in file if line.strip()), b"{}")
        try:
            known = isinstance(json.loads(first), dict | list)
        except (ValueError, RecursionError):
            known = len(first) < 10_000 and first.lstrip().startswith(b"{")  # a line that broke off: others follow
    if not known:
        raise ValueError(f"the file holds no answers: {words_of(first, {})}")


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
            own = made.metadata if isinstance(made.metadata, dict) else {}
            if own.get(METADATA_KEY) == batch.name or (batch.file_id and made.input_file_id == batch.file_id):
                batch.batch_id, batch.file_id = _id_of(made), made.input_file_id
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
        batch.file_id = self._with_retries(lambda: _id_of(self._client.files.create(file=path, purpose="batch")))
        self._files.note(batch.name, file_id=batch.file_id)
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
        batch.batch_id = _id_of(made)
        self._files.note(batch.name, batch_id=batch.batch_id)
        return True

    def _poll_batch(self, batch: ProviderBatch) -> None:
        """Update a batch from the provider; the status is `lost` if the provider does not know it."""
        import openai

        def retrieve() -> tuple[str, Any]:
            try:
                made = self._client.batches.retrieve(batch.batch_id or "")
            except openai.NotFoundError:
                return "lost", None
            return _status_of(made), made

        batch.status, made = self._with_retries(retrieve)
        if made is None:
            return
        counts = getattr(made, "request_counts", None)
        done = [count(getattr(counts, name, None)) for name in ("completed", "failed")]
        batch.answered = sum(number or 0 for number in done) or batch.answered
        names = [getattr(made, name, None) for name in ("output_file_id", "error_file_id")]
        batch.output_ids = [name for name in names if isinstance(name, str) and name]
        errors = getattr(getattr(made, "errors", None), "data", None)
        batch.message = "; ".join(
            ": ".join(str(part) for part in (getattr(error, "code", None), getattr(error, "message", None)) if part)
            for error in (errors if isinstance(errors, list) else [])
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
                with suppress(ValueError, RecursionError):  # an unreadable line counts as missing
                    tree = json.loads(raw)
                    for line in tree if isinstance(tree, list) else [tree]:
                        if found := self._result_of_line(line):
                            yield found
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
            _check_lines(path, size)
        except BaseException as error:
            with path.open("rb+") as file:
                file.truncate(size)
            if not isinstance(error, openai.NotFoundError):
                raise

    def _result_of_line(self, line: Any) -> tuple[str, AttemptResult] | None:
        """Key and result of a line; None if it names no request. What the rest holds is judged as any answer is: it may be paid for."""
        if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
            return None
        response, error = line.get("response"), line.get("error")
        given = response if isinstance(response, dict) else {}
        body, status = given.get("body", response), count(given.get("status_code"))
        if status is None and (body or not error):
            status = 200
        if status is not None and 200 <= status < 300:
            result = AttemptResult(status)
            self._parse(body.encode() if isinstance(body, str) else body, result)
        elif status is not None:
            said = error_of(body) or error_of(line)
            words = said[1] if said else told_in(body)
            result = AttemptResult(status, f"HTTP {status}", self._scrub(words))
        else:
            code = error.get("code") if isinstance(error, dict) else None
            words = told_in(error if isinstance(error, dict | list) else {"message": error})
            result = AttemptResult(None, self._scrub(str(code or "error")).removeprefix("batch_"), self._scrub(words))
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
