"""The Batch API against the loopback server: nothing lost, nothing paid twice, whatever dies when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.config import SemanticsConfig
from engine.data.goods import make_goods
from engine.errors import BatchPending, BudgetReached, ConfigError, Interrupted, SemanticsError
from engine.events import ApiCalled, Event, SummariesMade
from engine.semantics.llm import batch_client
from engine.semantics.summaries.llm_provider import BatchPlan, EndpointProvider
from engine.semantics.summaries.make import make_summaries
from store.home import Home
from store.llm_batches import BatchLogs
from tests.support.commands import sracl_inside

from .conftest import entry

DEMO = make_goods()
QUICK = {"poll_seconds": 0.02, "requests": 25}
USERS = 59
"""Distinct prompts of the first 60 prefixes."""
DEAD = ("begin", "file_id", "batch_id", "taken in")


class Killed(BaseException):
    """Stands for the end of the process."""


class Mortal(BatchLogs):
    """Dies once, right before it would write down a certain step."""

    step: str | None = None

    def begin(self, name: str, known: dict[str, Any], lines: Any) -> Path:
        path = super().begin(name, known, lines)
        self._die("begin")
        return path

    def note(self, name: str, **known: Any) -> None:
        for word in ("file_id", "batch_id"):
            if word in known and "requests" not in known:
                self._die(word)
        self._die(str(known.get("ended")))
        super().note(name, **known)

    def _die(self, step: str) -> None:
        if step == self.step:
            self.step = None
            self.release()
            raise Killed


class Job:
    """Summaries by batches, again and again, with all that was reported."""

    def __init__(
        self, home: Path, server: Any, *, budget: float | None = None, run_id: str = "r", **batch: Any
    ) -> None:
        (home / "providers.toml").write_text(entry(server, batch=QUICK | batch))
        self.home, self.run_id, self.budget = home, run_id, budget
        self.events: list[Event] = []
        self.files = Mortal(Home(home))

    def run(
        self, kind: Any = "user", count: int = 60, *, wait: bool = True, send: bool = True, **more: Any
    ) -> list[str]:
        config = SemanticsConfig(provider="fake", budget=self.budget)
        provider = EndpointProvider.build(config, DEMO, max_length=20, home=self.home)
        provider.count_spent(self.usd)
        provider.use_batches(
            BatchPlan(files=self.files, run_id=self.run_id, lock_key="p", recorded=self.recorded, send=send, wait=wait)
        )
        self.provider = provider
        owners = DEMO.anchors.ids(0)[:count] if kind == "user" else np.arange(1, count + 1)
        return make_summaries(
            provider, DEMO, kind, owners, unit="prefix", known=self.known, report=self.events.append, **more
        ).texts

    def known(self, keys: list[str]) -> dict[str, str]:
        made = zip(*(self.column(SummariesMade, name) for name in ("key", "text", "fallback")), strict=True)
        return {key: text for key, text, fallback in made if not fallback and key in set(keys)}

    def recorded(self, batch: str) -> set[str]:
        rows = zip(self.column(ApiCalled, "key"), self.column(ApiCalled, "batch"), strict=True)
        return {key for key, name in rows if name == batch}

    def column(self, event: type[ApiCalled] | type[SummariesMade], name: str) -> list[Any]:
        return [value for made in self.events if isinstance(made, event) for value in made.columns[name]]

    @property
    def usd(self) -> float:
        return sum(usd or 0.0 for usd in self.column(ApiCalled, "usd"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_client, "SETTLE_SECONDS", 0.0)


def in_full(job: Job, server: Any) -> None:
    """Every prompt has its answer, each good answer was asked for once, and the ledger is the server's."""
    keys = job.column(SummariesMade, "key")
    assert len(set(keys)) == len(server.good)
    assert not any(job.column(SummariesMade, "fallback"))
    assert set(server.good.values()) == {1}
    for name, theirs in (("tokens_in", "in"), ("tokens_out", "out"), ("tokens_cached", "cached")):
        assert sum(count or 0 for count in job.column(ApiCalled, name)) == server.billed[theirs]
    billed = server.billed
    assert job.usd == pytest.approx(0.5 * (billed["in"] - 0.9 * billed["cached"] + 2 * billed["out"]) / 1e6)
    assert not job.files.read(), "no batch is left open"


def test_every_answer_comes_at_half_the_price_and_the_ledger_equals_the_servers_count(serve, tmp_path) -> None:
    server = serve()
    job = Job(tmp_path, server)
    texts = job.run()
    assert all(texts)
    job.run("item")
    in_full(job, server)
    assert len(server.batches) == 6, "25 requests in a file at most"
    assert len(job.column(ApiCalled, "key")) == server.in_batches == USERS + 60
    assert not server.files.keys() & {made["input_file_id"] for made in server.batches.values()}, "files are tidied up"
    items = [body for body in server.seen if "response_format" in body]
    assert len(items) == 60
    assert all("extra_body" not in body for body in server.seen)


def test_bad_lines_are_judged_repaired_and_asked_again_as_single_calls_are(serve, tmp_path) -> None:
    faults = {"nonsense": 3, "refused": 2, "truncated": 2, "empty": 1, "long": 1, "500": 2, "429": 2, "uncounted": 1}
    server = serve(batch_faults=dict(faults))
    job = Job(tmp_path, server)
    job.run("item", 40)
    in_full(job, server)
    errors = job.column(ApiCalled, "error")
    said = {"wrong JSON": 4, "refused": 2, "truncated": 2, "empty": 1, "HTTP 500": 2, "HTTP 429": 2}
    assert {error: errors.count(error) for error in set(errors) if error} == said
    assert len(errors) == 40 + sum(said.values())
    assert max(job.column(ApiCalled, "attempt")) == 2
    repaired = [body for body in server.seen if len(body["messages"]) == 4]
    assert len(repaired) == 4 + 2, "told what was wrong"
    unknown = [usd for usd in job.column(ApiCalled, "usd") if usd is None]
    assert len(unknown) == 1
    assert next(usd for usd in job.column(ApiCalled, "usd_reserved") if usd is not None) > 0


def test_what_never_gets_better_is_a_text_by_rule_or_one_clear_error(serve, tmp_path) -> None:
    server = serve(batch_faults={"refused": 6})
    job = Job(tmp_path, server, requests=2)
    job.run(count=2)
    server.behavior.batch_faults["400"] = 1
    job.run("item", count=2)
    assert job.column(SummariesMade, "fallback").count(True) == 3, "two were refused thrice, one as a bad request"
    assert sorted(filter(None, job.column(ApiCalled, "error"))) == ["HTTP 400"] + ["refused"] * 6
    assert all(job.column(SummariesMade, "text"))
    other = tmp_path / "other"
    other.mkdir()
    server = serve(batch_faults={"400": 100})
    job = Job(other, server)
    with pytest.raises(SemanticsError, match="HTTP 400: fault 400"):
        job.run()
    assert not job.column(SummariesMade, "key")
    assert job.usd == 0
    assert set(job.column(ApiCalled, "usd")) == {0.0}


@pytest.mark.parametrize("step", DEAD)
def test_a_death_at_any_step_costs_nothing_and_loses_nothing(serve, tmp_path, step) -> None:
    server = serve()
    job = Job(tmp_path, server)
    job.files.step = step
    with pytest.raises(Killed):
        job.run()
    begun = len(server.batches)
    assert begun == {"begin": 0, "file_id": 0, "batch_id": 1, "taken in": 3}[step]
    job.run()
    in_full(job, server)
    assert len(server.batches) == 3, "the one that was begun unseen is found by its name"
    assert len(job.column(ApiCalled, "key")) == USERS, "and taken in once"


def test_a_batch_whose_beginning_was_not_answered_is_found_rather_than_begun_again(
    serve, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("engine.semantics.llm.attempts.FIRST_BACKOFF_SECONDS", 0.01)
    server = serve(unseen=2, first={"500": 2, "drop": 1, "429-wait": 1}, wait=0.05)
    job = Job(tmp_path, server)
    job.run()
    in_full(job, server)
    assert len(server.batches) == 3


def test_an_expired_batch_gives_what_it_has_and_the_rest_is_sent_again(serve, tmp_path) -> None:
    server = serve(batch="expired")
    job = Job(tmp_path, server, requests=60)

    def heal() -> bool:
        server.behavior.batch = "" if job.column(ApiCalled, "key") else "expired"
        return False

    job.run(stop=heal)
    in_full(job, server)
    assert len(server.batches) == 2
    errors = job.column(ApiCalled, "error")
    assert errors.count("expired") == 30
    assert [usd for usd, error in zip(job.column(ApiCalled, "usd"), errors, strict=True) if error] == [0.0] * 30


def test_a_cancelled_batch_ends_the_job_and_its_answers_are_kept(serve, tmp_path) -> None:
    server = serve(batch="cancelled")
    job = Job(tmp_path, server, requests=60)
    with pytest.raises(SemanticsError, match="was cancelled"):
        job.run()
    assert len(job.column(SummariesMade, "key")) == USERS // 2 == server.billed["calls"]
    server.behavior.batch = ""
    job.run()
    in_full(job, server)


def test_a_refused_batch_is_one_error_and_one_that_is_too_much_is_sent_in_parts(serve, tmp_path) -> None:
    server = serve(batch="failed")
    job = Job(tmp_path, server)
    with pytest.raises(SemanticsError, match="the batch was rejected: invalid: bad line"):
        job.run(count=20)
    assert not job.column(ApiCalled, "key")
    server.behavior.batch, server.behavior.limit_enqueued = "", 8
    job.run(count=20)
    in_full(job, server)
    assert sum(made["status"] == "completed" for made in server.batches.values()) == 4, (
        "of 6, as 20 and 12 were too many"
    )


def test_a_batch_that_the_provider_no_longer_knows_has_an_unknown_price(serve, tmp_path) -> None:
    server = serve(batch_seconds=1000.0)
    job = Job(tmp_path, server, requests=60)
    with pytest.raises(BatchPending, match=f"{USERS} requests"):
        job.run(wait=False)
    server.batches.clear()
    server.behavior.batch_seconds = 0.0
    job.run()
    errors, usd = job.column(ApiCalled, "error"), job.column(ApiCalled, "usd")
    assert errors.count("lost") == usd.count(None) == USERS
    assert not any(job.column(SummariesMade, "fallback"))


def test_the_cap_holds_for_what_is_at_the_provider(serve, tmp_path) -> None:
    server = serve(batch_seconds=1000.0)
    cap = 0.006
    job = Job(tmp_path, server, budget=cap)
    with pytest.raises(BatchPending):
        job.run(count=300, wait=False)
    sent = sum(len(batch["requests"]) for batch in job.files.read().values())
    assert 0 < sent < 60
    with pytest.raises(BatchPending):
        job.run(count=300, wait=False)
    assert sum(len(batch["requests"]) for batch in job.files.read().values()) == sent, "all the money is set aside"
    server.behavior.batch_seconds = 0.0
    with pytest.raises(BudgetReached):
        job.run(count=300)
    assert sent < len(server.good) < 300, "what was left of the reserve bought more"
    assert 0.7 * cap < job.usd <= cap
    assert job.usd == pytest.approx(
        0.5 * (server.billed["in"] - 0.9 * server.billed["cached"] + 2 * server.billed["out"]) / 1e6
    )


def test_a_stop_leaves_batches_where_they_are(serve, tmp_path) -> None:
    server = serve(batch_seconds=1000.0)
    job = Job(tmp_path, server)
    asked = []
    with pytest.raises(Interrupted):
        job.run(stop=lambda: asked.append(1) or len(asked) > 5)
    assert len(job.files.read()) == len(server.batches) == 3
    server.behavior.batch_seconds = 0.0
    job.run()
    in_full(job, server)
    assert len(server.batches) == 3


def test_without_a_batch_api_nothing_is_sent(serve, tmp_path) -> None:
    server = serve()
    (tmp_path / "providers.toml").write_text(entry(server))
    few = ("--set", "max_users=5", "--headless")
    assert (
        "has no Batch API" in sracl_inside(tmp_path, "summarize", "--provider", "fake", *few, "--batch", code=2).stderr
    )
    provider = EndpointProvider.build(SemanticsConfig(provider="fake"), DEMO, max_length=20, home=tmp_path)
    plan = BatchPlan(files=BatchLogs(Home(tmp_path)), run_id="r", lock_key="p", recorded=set, send=True)
    with pytest.raises(ConfigError, match="no Batch API"):
        provider.use_batches(plan)
    assert server.requests == 0


def test_from_the_command_line_over_several_days(serve, tmp_path) -> None:
    home, server = tmp_path, serve(batch_seconds=1000.0)
    (home / "providers.toml").write_text(entry(server, batch=QUICK | {"requests": 100}))
    few = (
        "--provider",
        "fake",
        "--dataset",
        "goods",
        "--set",
        "max_users=20",
        "--unit",
        "user",
        "--headless",
        "--json",
    )
    live = json.loads(sracl_inside(home, "summarize", *few, "--dry-run").stdout)
    plan = json.loads(sracl_inside(home, "summarize", *few, "--batch", "--dry-run").stdout)
    assert plan["usd"]["high"] == pytest.approx(live["usd"]["high"] / 2)
    assert plan["batch"]["window"] == "24h"
    assert server.requests == 0
    first = json.loads(sracl_inside(home, "summarize", *few, "--batch", "--no-wait", "--budget", "5").stdout)
    assert first["state"] == "stopped"
    assert "are at the provider" in first["reason"]
    (users, items) = (len(batch["requests"]) for batch in BatchLogs(Home(home)).read().values())
    total = users + items
    assert json.loads(sracl_inside(home, "summarize", *few, "--dry-run").stdout)["kinds"]["user"]["in_batches"] == users
    listed = json.loads(sracl_inside(home, "llm", "batches", "list", "--json").stdout)["batches"]
    assert [(row["status"], row["requests"]) for row in listed] == [("in_progress", users), ("in_progress", items)]
    refused = sracl_inside(home, "summarize", *few, code=1)
    assert "rather than paying twice" in refused.stderr
    assert sum(server.good.values()) == 0
    server.behavior.batch_seconds = 0.0
    taken = json.loads(
        sracl_inside(home, "llm", "batches", "collect", listed[0]["name"], "--headless", "--json").stdout
    )
    assert taken == {"taken_in": {listed[0]["name"]: users}, "left": []}
    done = json.loads(sracl_inside(home, "summarize", *few).stdout)
    assert (done["state"], done["cost"]["calls"], len(server.good)) == ("finished", 0, total), (
        "the next job takes in the rest"
    )
    query = "SELECT run_id, batch, count(*) AS n, sum(usd) AS usd FROM api_calls GROUP BY ALL ORDER BY batch"
    rows = json.loads(sracl_inside(home, "sql", query, "--json").stdout)
    assert {row["run_id"] for row in rows} == {first["run_id"]}, "the calls are those of the run that sent them"
    assert sum(row["n"] for row in rows) == server.in_batches == total
    billed = server.billed
    assert sum(row["usd"] for row in rows) == pytest.approx(
        0.5 * (billed["in"] - 0.9 * billed["cached"] + 2 * billed["out"]) / 1e6
    )
    assert len(json.loads(sracl_inside(home, "llm", "batches", "list", "--done", "--json").stdout)["batches"]) == 2
    assert json.loads(sracl_inside(home, "summarize", *few, "--batch").stdout)["cost"]["calls"] == 0


def test_cancel_collect_and_forget_from_the_command_line(serve, tmp_path) -> None:
    home, server = tmp_path, serve(batch_seconds=1000.0)
    (home / "providers.toml").write_text(entry(server, batch=QUICK))
    few = (
        "--provider",
        "fake",
        "--dataset",
        "goods",
        "--set",
        "max_users=30",
        "--unit",
        "user",
        "--kind",
        "user",
        "--headless",
        "--json",
    )

    def listed(*more: str) -> list[dict[str, Any]]:
        return json.loads(sracl_inside(home, "llm", "batches", "list", "--json", *more).stdout)["batches"]

    assert "no open batches" in sracl_inside(home, "llm", "batches", "list").stdout
    sracl_inside(home, "summarize", *few, "--batch", "--no-wait")
    large, small = (row["name"] for row in listed())
    assert json.loads(sracl_inside(home, "llm", "batches", "collect", "--json").stdout) == {
        "taken_in": {},
        "left": [large, small],
    }
    sracl_inside(home, "llm", "batches", "cancel", large)
    assert [row["status"] for row in listed()] == ["cancelled", "in_progress"]
    assert (
        "1 of 2 batches collected, 25 requests" in sracl_inside(home, "llm", "batches", "collect", "--headless").stdout
    )
    assert server.billed["calls"] == 12, "what was answered when it was cancelled"
    assert "may have been paid for" in sracl_inside(home, "llm", "batches", "forget", small, code=2).stderr
    assert "0 open batches begin with" in sracl_inside(home, "llm", "batches", "forget", "x", "--yes", code=2).stderr
    sracl_inside(home, "llm", "batches", "forget", small, "--yes")
    assert listed() == []
    assert [row["ended"] for row in listed("--done")] == ["taken in", "given up"]
    done = json.loads(sracl_inside(home, "summarize", *few).stdout)
    assert done["cost"]["calls"] == 30 - 12, "the others are asked for, one by one"
