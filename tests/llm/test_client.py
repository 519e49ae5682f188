"""The client against a real HTTP server on loopback that misbehaves in every way."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config import SemanticsConfig
from engine.data.goods import make_goods
from engine.errors import BudgetReached, Interrupted, SemanticsError
from engine.events import ApiCalled, Event, SummariesMade
from engine.semantics.llm import rate_limiter
from engine.semantics.summaries.llm_provider import EndpointProvider
from engine.semantics.summaries.make import make_summaries

from .conftest import KEY, entry

DEMO = make_goods()


class Job:
    """Summaries of some owners by a fresh provider, and all that it reported."""

    def __init__(self, home: Path, server: Any, *, budget: float | None = None, **fields: Any) -> None:
        (home / "providers.toml").write_text(entry(server, **fields))
        self.events: list[Event] = []
        config = SemanticsConfig(provider="fake", budget=budget)
        self.provider = EndpointProvider.build(config, DEMO, max_length=20, home=home)

    def run(self, kind: Any = "user", count: int = 60, **more: Any) -> list[str]:
        owners = DEMO.anchors.ids(0)[:count] if kind == "user" else np.arange(1, count + 1)
        return make_summaries(
            self.provider, DEMO, kind, owners, unit="prefix", known=lambda keys: {}, report=self.events.append, **more
        ).texts

    def column(self, event: type[ApiCalled] | type[SummariesMade], name: str) -> list[Any]:
        return [value for made in self.events if isinstance(made, event) for value in made.columns[name]]

    @property
    def usd(self) -> float:
        return sum(usd or 0.0 for usd in self.column(ApiCalled, "usd"))


def test_every_answer_comes_and_the_ledger_equals_the_servers_count(serve, tmp_path) -> None:
    server = serve()
    job = Job(tmp_path, server)
    job.run("user")
    job.run("item")
    assert set(server.good.values()) == {1}
    assert len(server.good) == len(job.column(SummariesMade, "key")) == server.requests
    for name, theirs in (("tokens_in", "in"), ("tokens_out", "out"), ("tokens_cached", "cached")):
        assert sum(job.column(ApiCalled, name)) == server.billed[theirs]
    billed = server.billed
    want = (billed["in"] - billed["cached"] + 2 * billed["out"] + 0.1 * billed["cached"]) / 1e6
    assert job.usd == pytest.approx(want)
    assert sum(job.column(SummariesMade, "usd")) == pytest.approx(want)
    items = [body for body in server.seen if "response_format" in body]
    assert len(items) == 60
    assert all(body["response_format"]["json_schema"]["strict"] for body in items)


def test_calls_are_reported_before_the_answers_that_they_brought(serve, tmp_path) -> None:
    job = Job(tmp_path, serve())
    job.run()
    called: set[str] = set()
    for event in job.events:
        if isinstance(event, ApiCalled):
            called |= set(event.columns["key"])
        elif isinstance(event, SummariesMade):
            assert set(event.columns["key"]) <= called


def test_under_faults_of_all_kinds_every_summary_arrives_once(serve, tmp_path) -> None:
    server = serve(faults=0.2, hang=3.0, wait=0.05)
    # a timeout that only a hanging server reaches: a busy machine may take a second to read a request
    job = Job(tmp_path, server, limits={"concurrency": 32, "timeout": 2.5})
    job.run("user", 300)
    job.run("item", 100)
    keys = job.column(SummariesMade, "key")
    assert len(keys) == len(set(keys)) == len(server.good)
    assert not any(job.column(SummariesMade, "fallback"))
    assert set(server.good.values()) == {1}, "no good answer is asked for twice"
    assert sum(tokens or 0 for tokens in job.column(ApiCalled, "tokens_in")) == server.billed["in"]
    assert sum(tokens or 0 for tokens in job.column(ApiCalled, "tokens_out")) == server.billed["out"]
    assert sum(tokens is not None for tokens in job.column(ApiCalled, "tokens_in")) == server.billed["calls"]
    assert len(job.column(ApiCalled, "key")) == server.requests
    for usd, status, tokens in zip(
        job.column(ApiCalled, "usd"), job.column(ApiCalled, "status"), job.column(ApiCalled, "tokens_in"), strict=True
    ):
        assert (usd is None) == (tokens is None and status in (None, 200)), "unknown is unknown, never $0"


@pytest.mark.parametrize("status", [400, 401, 402, 404, 422])
def test_what_cannot_get_better_is_one_clear_error(serve, tmp_path, status) -> None:
    server = serve(always=str(status))
    with pytest.raises(SemanticsError, match=f"HTTP {status}"):
        Job(tmp_path, server).run()
    assert server.requests <= rate_limiter.FIRST


def test_a_refused_key_is_not_repeated(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_KEY", KEY)
    server = serve(key="another")
    job = Job(tmp_path, server, key_env="FAKE_KEY")
    with pytest.raises(SemanticsError, match=r"HTTP 401.*\*\*\*") as caught:
        job.run()
    assert KEY not in str(caught.value)
    assert KEY not in repr(job.events)


def test_retry_after_is_honored_by_all(serve, tmp_path) -> None:
    server = serve(first={"429-wait": 1}, wait=1.0)
    started = time.monotonic()
    job = Job(tmp_path, server)
    job.run(count=30)
    assert time.monotonic() - started >= 1.0
    assert job.column(ApiCalled, "status").count(429) == 1


def test_concurrency_finds_what_the_server_bears(serve, tmp_path) -> None:
    server = serve(limit=6, latency=0.02)
    job = Job(tmp_path, server, limits={"concurrency": 64, "timeout": 5.0})
    job.run(count=200)
    assert not any(job.column(SummariesMade, "fallback"))
    many = job.column(ApiCalled, "status").count(429)
    assert 0 < many < 100, "it backs off rather than hammering"


def test_rate_limits_are_learned_from_the_headers(serve, tmp_path) -> None:
    server = serve(headers={"x-ratelimit-limit-requests": "1200"})
    started = time.monotonic()
    Job(tmp_path, server).run(count=160)
    asked = server.requests
    assert asked - 1200 / 60 * rate_limiter.BURST_SECONDS - 16 <= 20 * (time.monotonic() - started)


def test_a_server_that_never_works_is_given_up(serve, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(rate_limiter, "GIVE_UP_AFTER", 1)
    server = serve(always="500")
    with pytest.raises(SemanticsError, match="HTTP 500"):
        Job(tmp_path, server).run(count=200)
    assert server.requests < 40


def test_an_answer_that_cannot_be_had_is_marked_as_a_fallback(serve, tmp_path) -> None:
    server = serve(always="refused")
    job = Job(tmp_path, server)
    texts = job.run(count=5)
    assert all(job.column(SummariesMade, "fallback"))
    assert set(job.column(SummariesMade, "finish_reason")) == {"refused"}
    assert all(texts)
    assert server.requests == 3 * 5, "within a limit"
    assert job.column(ApiCalled, "error") == ["refused"] * 15


def test_wrong_json_gets_a_repair(serve, tmp_path) -> None:
    server = serve(first={"nonsense": 1})
    job = Job(tmp_path, server)
    job.run("item", 1)
    assert job.column(SummariesMade, "fallback") == [False]
    assert [message["role"] for message in server.seen[1]["messages"]] == ["system", "user", "assistant", "user"]
    assert job.column(SummariesMade, "tokens_in") == [sum(job.column(ApiCalled, "tokens_in"))], "all attempts are paid"


@pytest.mark.parametrize("seed", range(12))
def test_the_cap_is_never_exceeded(serve, tmp_path, seed) -> None:
    dice = np.random.default_rng(seed)
    cap = float(dice.uniform(0.002, 0.02))
    server = serve(seed=seed, faults=0.1 if seed % 3 == 0 else 0.0, latency=0.003, hang=0.1, wait=0.01)
    limits = {"concurrency": int(dice.integers(1, 64)), "timeout": 0.5}
    job = Job(tmp_path, server, budget=cap, limits=limits)
    with pytest.raises(BudgetReached):
        job.run(count=300)
    assert 0 < job.usd <= cap
    assert len(job.column(SummariesMade, "key")) > 0, "what was paid for is kept"


def test_a_good_answer_without_a_sensible_count_is_kept_and_its_price_is_unknown(serve, tmp_path) -> None:
    server = serve(always="uncounted")
    job = Job(tmp_path, server, budget=1.0)
    job.run(count=40)
    assert len(job.column(SummariesMade, "key")) == len(server.good) == server.requests, "asked once each"
    assert not any(job.column(SummariesMade, "fallback"))
    assert set(job.column(ApiCalled, "usd")) == set(job.column(SummariesMade, "usd")) == {None}, "unknown, never $0"
    assert job.provider.budget.spent > 0, "what was set aside counts against the cap"


def test_a_server_that_still_loads_its_model_is_waited_for(serve, tmp_path) -> None:
    server = serve(warmup=1.0)
    job = Job(tmp_path, server)
    job.run(count=30)
    assert not any(job.column(SummariesMade, "fallback"))
    assert server.requests < 30 + 25, "it is not hammered meanwhile"


def test_a_stop_waits_for_what_is_in_flight(serve, tmp_path) -> None:
    server = serve(latency=0.1)
    job = Job(tmp_path, server)
    with pytest.raises(Interrupted):
        job.run(count=300, stop=lambda: len(job.column(SummariesMade, "key")) >= 10)
    assert len(job.column(SummariesMade, "key")) == server.billed["calls"] < 200
