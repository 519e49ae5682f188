"""Texts encoded by an endpoint: the same record, cap and care as for summaries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import BudgetReached, ConfigError, SemanticsError
from engine.events import ApiCalled, Event, VectorsMade
from engine.semantics.encoders.registry import build_encoder
from engine.semantics.encoders.remote import TEXTS_AT_ONCE, EndpointEncoder
from engine.semantics.encoders.text_vectors import make_vectors, text_sha256
from tests.support.commands import sracl_inside

from .conftest import KEY, entry, sql

TEXTS = [f"likes {word} and {number} other things" for word in ("pots", "tents", "lamps") for number in range(120)]


def nothing_known(shas: list[str]) -> tuple[list[str], Any]:
    return [], np.zeros((0, 0), np.float32)


def made(home: Path, server: Any, *, budget: float | None = None, **fields: Any) -> tuple[Any, list[Event]]:
    (home / "providers.toml").write_text(entry(server, **fields))
    return build_encoder("fake:small", [], home=home, budget=budget), []


def column(events: list[Event], kind: type, name: str) -> list[Any]:
    return [value for event in events if isinstance(event, kind) for value in event.columns[name]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("faults", [0.0, 0.4])
def test_every_text_has_its_own_vector_once_and_the_ledger_equals_the_servers_count(serve, tmp_path, faults) -> None:
    server = serve(faults=faults, hang=0.5, wait=0.02)
    encoder, events = made(tmp_path, server, limits={"concurrency": 8, "timeout": 0.3, "answers": 9, "attempts": 20})
    vectors = make_vectors(encoder, TEXTS, known=nothing_known, report=events.append)
    assert vectors.shape == (len(TEXTS), 8)
    alone = EndpointEncoder("fake:small", home=tmp_path)
    server.behavior.faults = 0.0
    assert np.array_equal(alone.encode([TEXTS[7], TEXTS[200]]), vectors[[7, 200]]), "whatever order they came in"
    assert sorted(column(events, VectorsMade, "sha256")) == sorted(map(text_sha256, TEXTS))
    if not faults:
        assert len(column(events, ApiCalled, "key")) == -(-len(TEXTS) // TEXTS_AT_ONCE)
    tokens = sum(count or 0 for count in column(events, ApiCalled, "tokens_in"))
    assert tokens == server.billed["in"] - sum(len(TEXTS[row]) for row in (7, 200)) // 4
    assert sum(usd or 0.0 for usd in column(events, ApiCalled, "usd")) == pytest.approx(tokens / 1e6)


def test_the_cap_holds_for_vectors_too(serve, tmp_path) -> None:
    server = serve()
    encoder, events = made(tmp_path, server, budget=0.003)
    with pytest.raises(BudgetReached):
        make_vectors(encoder, TEXTS, known=nothing_known, report=events.append)
    assert 0 < server.billed["in"] / 1e6 <= 0.003
    assert len(column(events, VectorsMade, "sha256")) == len(server.good) < len(TEXTS), "what was paid for is kept"


def test_what_is_wrong_is_said_before_anything_is_paid(serve, tmp_path, monkeypatch) -> None:
    server = serve()
    with pytest.raises(ConfigError, match="no provider 'nobody'"):
        build_encoder("nobody:small", [], home=tmp_path)
    (tmp_path / "providers.toml").write_text(entry(server, prices=None, key_env="FAKE_KEY"))
    monkeypatch.delenv("FAKE_KEY", raising=False)
    with pytest.raises(ConfigError, match="the budget cannot be enforced"):
        build_encoder("fake:small", [], home=tmp_path, budget=1.0)
    few = ("--set", "max_users=20", "--set", "encoder=fake:small", "--headless")
    assert "FAKE_KEY is not set" in sracl_inside(tmp_path, "run", *few, code=2).stderr
    assert server.requests == 0


def test_a_server_that_gives_too_few_vectors_is_not_believed(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("engine.semantics.llm.attempts.FIRST_BACKOFF_SECONDS", 0.01)
    server = serve(always="empty")
    encoder, events = made(tmp_path, server)
    with pytest.raises(SemanticsError, match="3 of 3 texts have no vector"):
        make_vectors(encoder, TEXTS[:3], known=nothing_known, report=events.append)
    assert set(column(events, ApiCalled, "error")) <= {"malformed answer", "wrong count"}
    assert not column(events, VectorsMade, "sha256")


def test_a_run_pays_for_summaries_and_vectors_under_one_cap_and_a_second_one_for_nothing(serve, tmp_path) -> None:
    server = serve(key=KEY)
    (tmp_path / "providers.toml").write_text(entry(server, key_env="FAKE_KEY"))
    (tmp_path / ".env").write_text(f"FAKE_KEY={KEY}\n")
    few = (
        *("--set", "max_users=30", "--set", "provider=fake", "--set", "encoder=fake:small", "--set", "unit=user"),
        *("--set", "epochs=1", "--set", "threads=1", "--headless", "--json"),
    )
    plan = json.loads(sracl_inside(tmp_path, "run", *few, "--dry-run").stdout)
    assert plan["vectors"]["to_encode"] == plan["vectors"]["texts"] > 100
    assert 0 < plan["vectors"]["usd"]["low"] < plan["usd"]["low"]
    assert server.requests == 0
    first = json.loads(sracl_inside(tmp_path, "run", *few, "--budget", "5").stdout)
    (ledger,) = sql(tmp_path, "SELECT count(*) AS n, sum(usd) AS usd, sum(tokens_in)::BIGINT AS t FROM api_calls")
    assert first["cost"]["calls"] == ledger["n"] == server.requests
    assert first["cost"]["usd"] == pytest.approx(ledger["usd"])
    assert ledger["t"] == server.billed["in"]
    encoders = sql(tmp_path, "SELECT encoder, dimension, count(*) AS n FROM vectors.vectors GROUP BY ALL")
    assert [(row["encoder"], row["dimension"]) for row in encoders] == [("fake:small", 8)]
    asked = server.requests
    again = json.loads(sracl_inside(tmp_path, "run", *few, "--set", "alpha=0.2").stdout)
    assert (again["cost"]["calls"], server.requests) == (0, asked)
    after = json.loads(sracl_inside(tmp_path, "run", *few, "--dry-run").stdout)
    assert after["vectors"]["to_encode"] == 0
    sracl_inside(tmp_path, "search", "something for the garden", "--run", first["run_id"])
    (row,) = sql(tmp_path, "SELECT run_id, sum(tokens_in)::INT AS t FROM api_calls WHERE run_id = 'search' GROUP BY 1")
    assert row["t"] == server.billed["in"] - ledger["t"] > 0, "the query's call is kept too"
    small = ledger["usd"] * 0.98  # enough for the summaries, not for the vectors
    other = tmp_path / "other"
    other.mkdir()
    (other / "providers.toml").write_text((tmp_path / "providers.toml").read_text())
    (other / ".env").write_text((tmp_path / ".env").read_text())
    stopped = json.loads(sracl_inside(other, "run", *few, "--budget", str(small), code=3).stdout)
    assert stopped["reason"] == "budget"
    assert 0 < stopped["cost"]["usd"] <= small


def test_vectors_that_change_their_size_end_the_job_after_what_was_paid_is_kept(serve, tmp_path) -> None:
    def reply(line: str, headers: Any, body: Any) -> Any:
        size = 8 if server.requests <= 2 else 12
        data = [{"index": place, "embedding": [0.5] * size} for place in range(len(body["input"]))]
        return 200, {"data": data, "usage": {"prompt_tokens": 100, "total_tokens": 100}}

    server = serve(reply=reply)
    encoder, events = made(tmp_path, server, limits={"concurrency": 1})
    with pytest.raises(SemanticsError, match="of 8 and of 12 numbers"):
        make_vectors(encoder, TEXTS, known=nothing_known, report=events.append)
    assert column(events, ApiCalled, "tokens_in") == [100] * server.requests, "each call is recorded"
    assert len(column(events, VectorsMade, "sha256")) == 2 * TEXTS_AT_ONCE, "vectors that fit are kept"


def test_vectors_of_another_size_than_the_cached_ones_are_recorded_first(serve, tmp_path) -> None:
    server = serve()
    encoder, events = made(tmp_path, server, limits={"concurrency": 4})
    cached = np.ones((1, 3), np.float32)
    with pytest.raises(SemanticsError, match="8 numbers per text, the cached vectors have 3"):
        make_vectors(encoder, TEXTS, known=lambda shas: (shas[:1], cached), report=events.append)
    assert sum(column(events, ApiCalled, "tokens_in")) == server.billed["in"]
