"""Embedding requests fit themselves to a server: fewer texts, no base64, no index, texts that are too long."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any

import numpy as np
import pytest

from engine.errors import SemanticsError
from engine.events import ApiCalled, VectorsMade
from engine.semantics.encoders.text_vectors import make_vectors, text_sha256

from .replies import refusal
from .test_embedding import column, made, nothing_known

TEXTS = [f"likes {number} other things" + " and more" * (number % 3) for number in range(70)]


def numbers(text: str) -> list[float]:
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def server_of(
    *, most: int = 10_000, floats: bool = False, index: bool = True, longest: int = 10**6, words: str = ""
) -> Any:
    """Responses of a server with limits of its own; `words` name the one on the number of texts."""

    def reply(line: str, headers: Any, body: Any) -> Any:
        texts = body["input"]
        packed = body.get("encoding_format") == "base64"
        if floats and packed:
            return refusal(400, "encoding_format base64 is not supported")
        if len(texts) > most:
            return refusal(400, words or f"batch size is invalid, it should not be larger than {most}.: input.contents")
        if any(len(text) > longest for text in texts):
            return refusal(400, "This model's maximum context length is 10 tokens", code="context_length_exceeded")
        data: list[dict[str, Any]] = []
        for place, text in enumerate(texts):
            vector: Any = numbers(text)
            vector = base64.b64encode(struct.pack("<8f", *vector)).decode() if packed else vector
            data.append({"embedding": vector} | ({"index": place} if index else {}))
        tokens = sum(map(len, texts)) // 4
        return 200, {"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}

    return reply


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize(
    "limits",
    [
        {"most": 10},
        {"most": 3},
        {"most": 16, "words": "Too many inputs. The max number of inputs is 16."},
        {"floats": True},
        {"index": False},
        {"most": 7, "floats": True, "index": False},
    ],
)
def test_every_text_gets_its_vector_whatever_the_server_takes(serve, tmp_path, limits, concurrency) -> None:
    server = serve(reply=server_of(**limits))
    encoder, events = made(tmp_path, server, limits={"concurrency": concurrency})
    vectors = make_vectors(encoder, TEXTS, known=nothing_known, report=events.append)
    assert np.allclose(vectors, [numbers(text) for text in TEXTS], atol=1e-6)
    assert sorted(column(events, VectorsMade, "sha256")) == sorted(map(text_sha256, TEXTS))
    assert len(column(events, ApiCalled, "key")) == server.requests
    refused = column(events, ApiCalled, "status").count(400)
    assert refused <= 6 + concurrency, "what was learned of one request holds for the next ones"


def test_texts_at_once_is_the_most_of_a_request(serve, tmp_path) -> None:
    server = serve(reply=server_of())
    encoder, events = made(tmp_path, server, texts_at_once=40)
    make_vectors(encoder, TEXTS, known=nothing_known, report=events.append)
    assert sorted(len(body["input"]) for body in server.seen) == [30, 40]


def test_a_text_that_is_too_long_is_cut_and_costs_no_other(serve, tmp_path) -> None:
    texts = [*TEXTS[:20], "word " * 400]
    server = serve(reply=server_of(longest=600))
    encoder, events = made(tmp_path, server)
    vectors = make_vectors(encoder, texts, known=nothing_known, report=events.append)
    assert np.allclose(vectors[:20], [numbers(text) for text in texts[:20]], atol=1e-6)
    assert np.allclose(vectors[20], numbers(texts[20][:500]), atol=1e-6)


def test_a_refusal_that_names_no_size_ends_the_job(serve, tmp_path) -> None:
    server = serve(reply=lambda line, headers, body: refusal(400, "no such model"))
    encoder, events = made(tmp_path, server)
    with pytest.raises(SemanticsError, match="HTTP 400: no such model"):
        make_vectors(encoder, TEXTS, known=nothing_known, report=events.append)
    assert server.requests <= 4
