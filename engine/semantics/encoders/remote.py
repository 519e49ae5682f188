"""Text encoders behind a named endpoint, with the client, prices, budget and record of calls of the summaries.

Legend: N texts, S size of a vector.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from engine.config import content_hash
from engine.errors import ConfigError, SemanticsError
from engine.events import Columns
from engine.extension_points import ENCODERS
from engine.semantics.encoders.encoder import Encoded
from engine.semantics.kinds import KEY_LENGTH
from engine.semantics.llm.answer_format import Message
from engine.semantics.llm.answer_validation import Validation
from engine.semantics.llm.attempts import AttemptResult, PromptRequest, RequestState, refuse
from engine.semantics.llm.budget import Budget, Call, Usage
from engine.semantics.llm.client import Client
from engine.semantics.llm.endpoints import Endpoint, find_endpoint, find_key
from engine.semantics.llm.refusals import OF_THE_PROMPT, error_of, told_in
from engine.semantics.llm.token_counts import count, tokens_read

if TYPE_CHECKING:
    import httpx2 as http
    from openai import AsyncOpenAI

TEXTS_AT_ONCE = 64
"""Texts per call, if the entry of the endpoint says nothing else."""
SHORTEST = 200
"""Letters below which a text that a server finds too long is not cut further."""
_BASE64 = re.compile(r"encoding.?format|base64", re.IGNORECASE)
_SIZE = re.compile(
    r"batch|too (?:many|long|large)|larger|longer|at most|maxim|exceed|limit|length|size|tokens|capacity", re.IGNORECASE
)


def names_endpoint(name: str) -> bool:
    """Whether an encoder's name has the form `ENDPOINT:MODEL`, such as `openai:text-embedding-3-small`."""
    return ":" in name and not ENCODERS.has(name) and not Path(name).expanduser().is_dir()


class EndpointEncoder:
    """An embedding model behind an endpoint."""

    def __init__(self, name: str, *, home: Path | None = None, cap: float | None = None) -> None:
        """Args:
        name: `ENDPOINT:MODEL`; part of the cache key of its vectors.
        home: folder with `providers.toml` and `.env`.
        cap: dollars that its calls may cost; None sets no limit.

        Raises:
            ConfigError: there is no such endpoint, no model is named, or a cap is set and the price is unknown.
        """
        self.name = name
        self._provider, _, self.model = name.partition(":")
        self.endpoint = find_endpoint(self._provider, home)
        self.budget = Budget(self.endpoint, self.model, cap=cap)
        self._home = home
        self._client: Client | None = None
        self._size: int | None = None
        if not self.model:
            raise ConfigError(
                "no model is named", where="semantics.encoder", hint="Example: NAME:text-embedding-3-small."
            )
        if cap is not None and not self.budget.known:
            raise ConfigError(
                f"the price of {self.model!r} at {self._provider!r} is unknown, so the budget cannot be enforced",
                where="semantics.budget",
                hint=f"Give its prices in providers.toml, [{self._provider}.prices], or remove the budget.",
            )

    @property
    def dimension(self) -> int | None:
        """S; None until the first vectors have arrived."""
        return self._size

    def check_key(self) -> None:
        """Check that the endpoint's API key is set, before other stages cost anything.

        Raises:
            ConfigError: no key is set.
        """
        find_key(self._provider, self.endpoint, self._home)

    def encode(self, texts: list[str], *, calls: Callable[[Columns], None] | None = None) -> NDArray[np.float32]:
        """Vectors (N, S); blocks until all have arrived. Raises the errors of `encode_remotely`.

        Args:
            calls: receives the HTTP attempts, failed ones too, as in `ApiCalled`.
        """
        if not texts:
            return np.zeros((0, self._size or 0), np.float32)
        rows: list[int] = []
        parts: list[NDArray[np.float32]] = []
        for some in self.encode_remotely(texts):
            if calls is not None and some.calls is not None:
                calls(some.calls)
            rows += some.rows
            parts += [some.vectors] if len(some.rows) else []
        found = np.zeros((len(texts), self._size or 0), np.float32)
        found[rows] = np.concatenate(parts)
        return found

    def drain(self) -> None:
        """Send no further calls."""
        if self._client is not None:
            self._client.drain()

    def encode_remotely(self, texts: list[str]) -> Iterator[Encoded]:
        """Vectors as they arrive.

        Raises:
            ConfigError: no key is set.
            BudgetReached: the next call could exceed the cap.
            SemanticsError: the endpoint rejects calls, or some texts got no vector.
        """
        key = find_key(self._provider, self.endpoint, self._home)
        most = self.endpoint.texts_at_once
        spans = {
            self._key(texts[start : start + most]): (start, len(texts[start : start + most]))
            for start in range(0, len(texts), most)
        }
        self._client = client = _Client(self._provider, self.endpoint, key, self.budget, spans=spans, key_of=self._key)
        lost, odd = 0, 0
        for results in client.ask(
            self._prompt(own, texts[start : start + size]) for own, (start, size) in list(spans.items())
        ):
            rows: list[int] = []
            parts: list[NDArray[np.float32]] = []
            for answer in results.answers:
                start, size = spans[answer.key]
                if answer.vectors is None:
                    lost += size
                    continue
                self._size = self._size or answer.vectors.shape[1]
                if answer.vectors.shape[1] != self._size:
                    odd = answer.vectors.shape[1]
                    client.drain()
                    continue
                rows += range(start, start + size)
                parts.append(answer.vectors)
            calls = Call.columns(results.calls) if results.calls else None
            vectors = np.concatenate(parts) if parts else np.zeros((0, self._size or 0), np.float32)
            yield Encoded(rows, vectors, calls, results.note)  # calls and vectors that fit are kept before any error
        if odd:
            raise SemanticsError(f"{self.name!r} returned vectors of {self._size} and of {odd} numbers")
        if lost:
            raise SemanticsError(
                f"{lost:,} of {len(texts):,} texts have no vector",
                where=f"semantics.encoder = {self.name}",
                hint="Run it again: the vectors received so far are stored.",
            )

    def _key(self, texts: list[str]) -> str:
        return content_hash(["vectors", self.model, texts], length=KEY_LENGTH)

    def _prompt(self, key: str, texts: list[str]) -> PromptRequest:
        messages = [{"role": "input", "content": text} for text in texts]
        return PromptRequest(key, "text", {"model": self.model, "messages": messages})


class _Client(Client):
    """Client of the embeddings API: the messages of a request are the texts.

    A request that the server refuses for its form is asked again: without base64, in halves, or with its one text cut.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        key: SecretStr | None,
        budget: Budget,
        *,
        spans: dict[str, tuple[int, int]],
        key_of: Callable[[list[str]], str],
    ) -> None:
        """Args:
        spans: first text and number of texts of each request, by key; requests that are made here are added.
        key_of: the key of a request with some texts.
        """
        super().__init__(name, endpoint, key, budget)
        self._spans, self._key_of = spans, key_of
        self._floats = False
        self._as_floats: set[str] = set()
        self._most = endpoint.texts_at_once

    async def _ask_one(self, prompt: PromptRequest) -> None:
        texts = prompt.body["messages"]
        if len(texts) > self._most:  # others were refused for their size
            await self._ask_halves(prompt)
        else:
            await super()._ask_one(prompt)

    async def _refit(self, prompt: PromptRequest, result: AttemptResult) -> bool:
        texts = prompt.body["messages"]
        if result.status not in OF_THE_PROMPT or self._stopping.is_set():
            return False
        if _BASE64.search(result.message) and prompt.key not in self._as_floats:
            self._floats = True
            self._as_floats.add(prompt.key)
            await self._ask_one(prompt)
            return True
        if result.status != 413 and not _SIZE.search(result.message):
            return False
        if len(texts) > 1:
            self._most = min(self._most, (len(texts) + 1) // 2)
            await self._ask_halves(prompt)
            return True
        text = texts[0]["content"]
        if len(text) <= SHORTEST:
            return False
        cut = prompt.body | {"messages": [texts[0] | {"content": text[: max(SHORTEST, len(text) // 2)]}]}
        await self._ask_one(replace(prompt, body=cut))
        return True

    async def _ask_halves(self, prompt: PromptRequest) -> None:
        texts, (start, _) = prompt.body["messages"], self._spans[prompt.key]
        half = (len(texts) + 1) // 2
        for part, first in ((texts[:half], start), (texts[half:], start + half)):
            key = self._key_of([message["content"] for message in part])
            self._spans[key] = (first, len(part))
            await self._ask_one(PromptRequest(key, prompt.kind, prompt.body | {"messages": part}))

    @property
    def _max_output_tokens(self) -> int:
        return 0

    async def _create(self, client: AsyncOpenAI, body: dict[str, Any], messages: list[Message]) -> http.Response:
        import httpx2

        texts = [message["content"] for message in messages]
        own = {"model": body["model"], "input": texts} | ({} if self._floats else {"encoding_format": "base64"})
        return await client.post("/embeddings", body=own, cast_to=httpx2.Response)

    def _read(self, tree: Any, result: AttemptResult) -> None:
        """Fill a result with vectors, in the order of their `index`, if any has one; raises ValueError if they are invalid."""
        if tokens := tokens_read(tree):
            result.usage = Usage(tokens, 0, 0)
        if said := error_of(tree):
            refuse(result, *said)
            return
        data = tree.get("data") if isinstance(tree, dict) else None
        if not isinstance(data, list) or not data or not all(isinstance(one, dict) for one in data):
            raise ValueError(f"the answer holds no vectors: {told_in(tree)}".rstrip(": "))
        if any(one.get("index") is not None for one in data):
            places = [count(one.get("index")) for one in data]
            if sorted(-1 if place is None else place for place in places) != list(range(len(data))):
                raise ValueError(f"an index of a vector is missing or repeated: {places}")
            data = [data[places.index(place)] for place in range(len(data))]
        vectors = [_numbers(one.get("embedding")) for one in data]
        if len(sizes := sorted({len(vector) for vector in vectors})) > 1:
            raise ValueError(f"vectors of {' and of '.join(map(str, sizes[:3]))} numbers in one answer")
        if not all(np.isfinite(vector).all() for vector in vectors):
            raise ValueError("a vector contains a value that is not a number")
        result.vectors = np.stack(vectors)

    def _validate(self, state: RequestState, result: AttemptResult, prompt: PromptRequest | None) -> Validation:
        assert result.vectors is not None
        return Validation("", None if len(result.vectors) == self._spans[state.key][1] else "wrong count")


def _numbers(embedding: Any) -> NDArray[np.float32]:
    """A vector from base64, as requested, or from a list, which some servers send instead, or from a list of that list.

    Raises:
        ValueError: it is none.
    """
    try:
        if isinstance(embedding, str):
            embedding = np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").tolist()
        if isinstance(embedding, list) and len(embedding) == 1 and isinstance(embedding[0], list):
            embedding = embedding[0]
        with np.errstate(over="ignore"):  # infinite, which is told with other values that are none
            vector = np.asarray(embedding, np.float32)
    except (ValueError, TypeError) as error:
        raise ValueError(f"a vector cannot be read: {error}") from None
    if vector.ndim != 1 or not len(vector):
        raise ValueError(f"a vector is no list of numbers: {json.dumps(embedding)[:80]}")
    return vector
