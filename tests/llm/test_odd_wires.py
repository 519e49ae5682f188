"""Limits, waits and bytes of odd servers: a job always ends, and each call is recorded."""

from __future__ import annotations

import gzip
import json
import socket
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SemanticsError
from engine.events import ApiCalled, SummariesMade
from engine.semantics.llm import attempts, connection
from engine.semantics.llm.attempts import MALFORMED
from engine.semantics.llm.budget import Budget
from engine.semantics.llm.client import Client
from engine.semantics.llm.endpoints import Endpoint, Limits
from engine.semantics.llm.rate_limiter import LEAST_TOKENS, LIMITED_ROUNDS, RateLimiter, retry_after

from .replies import document, good, refusal
from .test_client import Job


def test_a_wait_of_nothing_again_and_again_is_none() -> None:
    limiter = RateLimiter(Limits())
    for number in range(LIMITED_ROUNDS + 6):
        limiter.on_rate_limited(0.0, sent=float("inf"))
        assert (limiter.paused_seconds > 0) == (number >= LIMITED_ROUNDS)
    assert limiter.paused_seconds > 5


def test_a_limit_in_headers_below_one_call_holds_nothing() -> None:
    limiter = RateLimiter(Limits())
    limiter.learn({"x-ratelimit-limit-requests": "0.001", "x-ratelimit-limit-tokens": "1"})
    assert limiter._requests.per_minute is limiter._tokens.per_minute is None
    limiter.learn({"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": str(LEAST_TOKENS)})
    assert (limiter._requests.per_minute, limiter._tokens.per_minute) == (500, LEAST_TOKENS)


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=30)
    | st.sampled_from(
        ["5 seconds", "PT5S", "9999-12-31T23:59:59-23:59", "Fri, 31 Dec 99999 23:59:59 GMT", "-5", "1e400", "nan"]
    )
)
def test_any_wait_is_a_number_or_unknown(text: str) -> None:
    found = retry_after({"retry-after": text, "retry-after-ms": text})
    assert found is None or 0 <= found < 1e12
    assert (text not in ("5 seconds", "PT5S")) or found == 5


def test_what_a_good_answers_headers_let_wait_for_is_on_the_screen() -> None:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m")
    client = Client("x", endpoint, None, Budget(endpoint, "m"))
    client._limiter.learn({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "90s"})
    assert "waits 90 s after the limit in the headers" in client._take_pending().note


def raw(body: Any) -> bytes:
    return json.dumps(document(body, good(body))).encode()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LENGTH = b"connection: close\r\ncontent-length: %d\r\n\r\n%s"
"""The server closes the connection after each; without the word, the next call may be sent into a closed one."""
GOOD_WIRE = {
    "HTTP/1.0": lambda own: b"HTTP/1.0 200 OK\r\n\r\n" + own, "no reason": lambda own: b"HTTP/1.1 200\r\n" + LENGTH % (len(own), own),
    "first 103": lambda own: b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD + LENGTH % (len(own), own),
    "packed twice": lambda own: HEAD + b"content-encoding: gzip, gzip\r\nconnection: close\r\n\r\n" + gzip.compress(gzip.compress(own)),
    "a packing that is none": lambda own: HEAD + b"content-encoding: aws-chunked\r\nconnection: close\r\n\r\n" + own,
    "headers in bytes": lambda own: HEAD + b"retry-after: \x80\r\nx-ratelimit-limit-requests: \xe9\r\n" + LENGTH % (len(own), own),
    "a charset of no text": lambda own: b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=undefined\r\nconnection: close\r\n\r\n\xef\xbb\xbf" + own,
}  # fmt: skip
BAD_WIRE: dict[str, tuple[Any, Any]] = {
    "too long a length": (lambda own: HEAD + LENGTH % (len(own) + 9, own), "connection"),
    "too short a length": (lambda own: HEAD + LENGTH % (len(own) - 9, own), MALFORMED),
    "a negative length": (lambda own: HEAD + b"content-length: -1\r\n\r\n" + own, "connection"),
    "two lengths": (lambda own: HEAD + b"content-length: 5\r\ncontent-length: 7\r\n\r\n" + own, "connection"),
    "half of what is packed": (lambda own: HEAD + b"content-encoding: gzip\r\nconnection: close\r\n\r\n" + gzip.compress(own)[:-20], MALFORMED),
    "a packing that was not made": (lambda own: HEAD + b"content-encoding: gzip\r\nconnection: close\r\n\r\n" + own, "connection"),
    "no HTTP": (lambda own: b"SSH-2.0-OpenSSH_9.6\r\n", "connection"), "half a head": (lambda own: b"HTTP/1.1 200 OK\r\nconte", "connection"),
    "a broken chunk": (lambda own: HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n", "connection"),
    "a reset": (None, "connection"), "204": (lambda own: b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", MALFORMED),
    "a page": (lambda own: HEAD + LENGTH % (8, b"<p>hi</p"), MALFORMED),
    "an error in a charset of no text": (lambda own: b"HTTP/1.1 500 X\r\ncontent-type: text/plain; charset=hex\r\nconnection: close\r\ncontent-length: 2\r\n\r\n\xff{", "failed"),
    "deep brackets as an error": (lambda own: b"HTTP/1.1 500 X\r\n" + LENGTH % (60_000, b"[" * 60_000), "HTTP 500"),
}  # fmt: skip


def test_a_call_is_recorded_and_asked_again_whatever_the_wire_carries(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_BACKOFF_SECONDS", 0.001)
    left = [*GOOD_WIRE.values(), *(make for make, _ in BAD_WIRE.values())]
    asked: list[str] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        if (text := json.dumps(body)) in asked:
            return 200, document(body, good(body))
        asked.append(text)
        make = left.pop(0)

        async def write(writer: Any) -> bool:
            if make is None:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.write(HEAD + b"content-length: 999\r\n\r\n{")
                writer.transport.abort()
                return False
            writer.write(make(raw(body)))
            await writer.drain()
            return False

        return write

    server = serve(reply=reply)
    job = Job(tmp_path, server, limits={"concurrency": 1, "attempts": 5})
    job.run(count=len(left))
    assert len(left) <= 1, "two of the prompts are the same"
    assert not any(job.column(SummariesMade, "fallback"))
    assert len(job.column(ApiCalled, "key")) == server.requests
    errors = [error for error in job.column(ApiCalled, "error") if error is not None]
    assert errors == [error for _, error in BAD_WIRE.values()][: len(errors)]
    assert len(errors) >= len(BAD_WIRE) - 1


@pytest.mark.parametrize("packed", [0, 1, 2])
def test_an_answer_without_an_end_is_broken_off(serve, tmp_path, monkeypatch, packed: int) -> None:
    monkeypatch.setattr(connection, "MOST_BYTES", 300_000)
    monkeypatch.setattr(attempts, "FIRST_BACKOFF_SECONDS", 0.001)
    asked: list[Any] = []

    def reply(line: str, headers: Any, body: Any) -> Any:
        asked.append(body)
        if len(asked) > 1:
            return 200, document(body, good(body))
        large = b" " * 6_500_000 + raw(body)
        for _ in range(packed):
            large = gzip.compress(large)
        assert packed == 0 or len(large) < 10_000

        async def write(writer: Any) -> bool:
            writer.write(
                HEAD + b"content-encoding: " + b", ".join([b"gzip"] * packed) + b"\r\nconnection: close\r\n\r\n"
            )
            for start in range(0, len(large), 65_536):
                writer.write(large[start : start + 65_536])
                await writer.drain()
            return False

        return write

    job = Job(tmp_path, serve(reply=reply), limits={"concurrency": 1})
    job.run(count=1)
    assert job.column(ApiCalled, "error") == ["failed", None]
    assert job.column(ApiCalled, "usd")[0] is None


@pytest.mark.parametrize(
    ("status", "hint"), [(407, "proxy wants"), (410, "check model and base_url"), (418, "refuses such requests")]
)
def test_what_helps_is_told_for_each_status(serve, tmp_path, status, hint) -> None:
    server = serve(reply=lambda line, headers, body: refusal(status, "no"))
    with pytest.raises(SemanticsError, match=f"HTTP {status}: no") as caught:
        Job(tmp_path, server).run(count=2)
    assert hint in str(caught.value.hint)
