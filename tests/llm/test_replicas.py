"""An endpoint with several servers."""

from __future__ import annotations

import json
import socket

import pytest
from pydantic import ValidationError

from engine.errors import SemanticsError
from engine.events import ApiCalled, SummariesMade
from engine.semantics.llm import servers
from engine.semantics.llm.endpoints import Endpoint
from engine.semantics.llm.servers import Server, Servers
from tests.support.commands import sracl_inside

from .conftest import entry
from .replies import always, refusal
from .test_client import Job


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def test_calls_are_shared_and_each_prompt_is_paid_for_once(serve, tmp_path) -> None:
    every = [serve() for _ in range(3)]
    job = Job(tmp_path, every[0], replicas=[server.url for server in every[1:]])
    job.run(count=60)
    keys = job.column(SummariesMade, "key")
    assert sum(server.requests for server in every) == sum(len(server.good) for server in every) == len(set(keys))
    assert min(server.requests for server in every) >= 10
    assert sum(job.column(ApiCalled, "tokens_in")) == sum(server.billed["in"] for server in every)


@pytest.mark.parametrize("first", [True, False])
def test_a_server_that_is_away_costs_a_call_and_no_answer(serve, tmp_path, first) -> None:
    server, away = serve(), closed_port()
    urls = (away, server.url) if first else (server.url, away)
    job = Job(tmp_path, server, base_url=urls[0], replicas=[urls[1]], limits={"concurrency": 4})
    job.run(count=40)
    made = job.column(SummariesMade, "fallback")
    assert made == [False] * len(made)
    assert server.requests == len(made) > 30
    assert 1 <= job.column(ApiCalled, "error").count("connection") <= 4


def test_the_server_that_rejects_the_key_is_named(serve, tmp_path) -> None:
    good, bad = serve(), serve(reply=always(lambda body: refusal(401, "no such key")))
    with pytest.raises(SemanticsError, match="no such key") as error:
        Job(tmp_path, good, replicas=[bad.url]).run()
    assert bad.url in str(error.value.where)


def test_a_server_that_failed_is_asked_if_all_others_did_or_once_it_has_rested(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(servers.time, "monotonic", lambda: now[0])
    every = [Server(name, None) for name in "ab"]  # type: ignore[arg-type]
    ring = Servers(every)

    def asked(count: int) -> str:
        names = []
        for _ in range(count):
            with ring.one() as server:
                names.append(server.url)
        return "".join(names)

    assert asked(4) == "abab"
    every[0].rest()
    assert asked(3) == "bbb"
    every[1].rest()
    assert sorted(asked(2)) == ["a", "b"]
    now[0] = servers.REST_SECONDS + 1
    assert sorted(asked(2)) == ["a", "b"]
    with ring.one() as first, ring.one() as second, ring.one():
        assert {first.url, second.url} == {"a", "b"}


def test_addresses_are_read_as_base_url_is(serve, tmp_path) -> None:
    url = "https://b.example.com/v1"
    endpoint = Endpoint(base_url="https://a.example.com/v1", replicas=(f"{url}/chat/completions/", url))
    assert endpoint.urls == ("https://a.example.com/v1", url)
    with pytest.raises(ValidationError, match="must start with http"):
        Endpoint(base_url=url, replicas=("b.example.com",))
    server = serve()
    (tmp_path / "providers.toml").write_text(entry(server, replicas=[url]))
    listed = json.loads(sracl_inside(tmp_path, "llm", "list", "--json").stdout)["endpoints"]
    assert next(one for one in listed if one["name"] == "fake")["replicas"] == [url]
    assert f"{server.url} and 1 more" in sracl_inside(tmp_path, "llm", "list").stdout
