"""`sracl summarize` and its kin, in this process or in several, against a server on loopback."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from engine.errors import SemanticsError
from sracl_tui.services import local_llm
from tests.support.commands import sracl_inside, start

from .conftest import KEY, entry, sql
from .replies import document

FEW = ("--provider", "fake", "--set", "max_users=40", "--headless")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("FAKE_KEY", raising=False)
    return tmp_path


def test_a_job_from_dry_run_to_costs(serve, home) -> None:
    server = serve(key=KEY, faults=0.05, hang=0.5, wait=0.05)
    (home / "providers.toml").write_text(entry(server, key_env="FAKE_KEY"))
    before = json.loads(sracl_inside(home, "summarize", *FEW, "--dry-run", "--json").stdout)
    assert before["prompts"] == before["identical"] + sum(part["to_write"] for part in before["kinds"].values())
    assert 0 < before["usd"]["low"] < before["usd"]["high"]
    assert server.requests == 0, "a dry run asks nothing and needs no key"

    assert "FAKE_KEY is not set" in sracl_inside(home, "summarize", *FEW, code=2).stderr
    (home / ".env").write_text("FAKE_KEY=wrong-key-5511\n")
    refused = sracl_inside(home, "summarize", *FEW, code=1)
    assert "HTTP 401" in refused.stderr
    assert server.requests <= 4
    (home / ".env").unlink()
    os.environ["FAKE_KEY"] = KEY  # from here on from the environment, so that the home holds it nowhere
    try:
        done = json.loads(sracl_inside(home, "summarize", *FEW, "--json").stdout)
        again = json.loads(sracl_inside(home, "summarize", *FEW, "--json").stdout)
    finally:
        del os.environ["FAKE_KEY"]
    cost = done["cost"]
    assert done["state"] == "finished"
    assert cost["calls"] == server.requests - len(sql(home, "SELECT 1 FROM api_calls WHERE status = 401"))
    assert again["cost"]["calls"] == 0
    assert again["cost"]["cached"] == len(server.good)
    (sums,) = sql(
        home,
        "SELECT sum(tokens_in)::INT AS i, sum(tokens_out)::INT AS o, sum(tokens_cached)::INT AS c, sum(usd) AS usd FROM api_calls",
    )
    assert (sums["i"], sums["o"], sums["c"]) == tuple(server.billed[name] for name in ("in", "out", "cached"))
    assert sums["usd"] == pytest.approx(cost["usd"])
    assert 0 < cost["usd"] < 2 * before["usd"]["high"]

    after = json.loads(sracl_inside(home, "summarize", "--provider", "fake", "--dry-run", "--json").stdout)
    assert "answers to prompts of this set" in after["kinds"]["user"]["basis"]
    for by in ("run", "provider", "model", "day", "dataset"):
        rows = json.loads(sracl_inside(home, "costs", "--by", by, "--json").stdout)
        assert rows["usd"] == pytest.approx(cost["usd"])
    for file in home.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert KEY.encode() not in data, file
            assert b"wrong-key-5511" not in data, file


def test_the_dry_run_of_every_unit_says_what_the_job_then_asks(serve, home) -> None:
    server = serve()
    (home / "providers.toml").write_text(entry(server))
    price, asked = {}, 0
    for unit in ("user", "every-4", "prefix"):  # a prefix that one unit has had summarized is free for the others
        plan = json.loads(
            sracl_inside(home, "summarize", *FEW, "--unit", unit, "--kind", "user", "--dry-run", "--json").stdout
        )
        price[unit] = plan["prompts"]
        sracl_inside(home, "summarize", *FEW, "--unit", unit, "--kind", "user")
        assert server.requests - asked == plan["kinds"]["user"]["to_write"]
        asked = server.requests
    assert price["user"] == 40 < price["every-4"] < price["prefix"]
    (shared,) = sql(
        home,
        "SELECT count(*) AS owners, count(DISTINCT key) AS texts FROM summary_links JOIN summary_sets USING (set_id) "
        "WHERE unit = 'every-4'",
    )
    assert shared["owners"] == price["prefix"]
    assert shared["texts"] <= price["every-4"]


def test_the_cap_ends_with_exit_code_3_and_everything_kept(serve, home) -> None:
    server = serve()
    (home / "providers.toml").write_text(entry(server))
    stopped = json.loads(sracl_inside(home, "summarize", *FEW, "--budget", "0.02", "--json", code=3).stdout)
    assert (stopped["state"], stopped["reason"]) == ("stopped", "budget")
    assert 0 < stopped["cost"]["usd"] <= 0.02
    kept = len(server.good)
    assert sql(home, "SELECT count(*) AS n FROM summaries")[0]["n"] == kept > 0
    sracl_inside(home, "run", "--resume", stopped["run_id"], "--budget", "0.021", "--headless", code=3)
    (spent,) = sql(home, "SELECT sum(usd) AS usd FROM api_calls")
    assert spent["usd"] <= 0.021, "what the run spent before counts"
    sracl_inside(home, "run", "--resume", stopped["run_id"], "--budget", "5", "--headless")
    assert set(server.good.values()) == {1}


def test_what_broke_off_counts_against_the_cap_of_every_later_start(serve, home) -> None:
    server = serve(first={"half": 4})
    (home / "providers.toml").write_text(entry(server))
    cap = 0.02

    def held() -> None:
        (row,) = sql(
            home, "SELECT sum(usd) AS usd, sum(usd_reserved) AS unknown, count(usd_reserved) AS n FROM api_calls"
        )
        assert row["n"] == 4 == len(sql(home, "SELECT 1 FROM api_calls WHERE usd IS NULL"))
        assert 0 < row["usd"] < row["usd"] + row["unknown"] <= cap
        worked = server.worked
        assert (worked["in"] - 0.9 * worked["cached"] + 2 * worked["out"]) / 1e6 <= cap, "even if all was billed"

    stopped = json.loads(sracl_inside(home, "summarize", *FEW, "--budget", str(cap), "--json", code=3).stdout)
    assert stopped["cost"]["unpriced_calls"] == 4
    held()
    asked = server.requests
    sracl_inside(home, "run", "--resume", stopped["run_id"], "--headless", code=3)
    held()
    assert server.requests <= asked + 4, "were they forgotten, there were money for some 20 calls"


def test_two_processes_do_not_pay_twice(serve, home) -> None:
    server = serve(latency=0.05)
    (home / "providers.toml").write_text(entry(server))
    sracl_inside(home, "data", "list")
    heard = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    several = [start(home, "summarize", *FEW, "--json", **heard) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in several]
    assert [process.returncode for process in several] == [0, 0], said
    assert set(server.good.values()) == {1}
    calls = sorted(json.loads(out)["cost"]["calls"] for out, _ in said)
    assert calls == [0, len(server.good)]
    assert any("waiting for it" in talk for _, talk in said)


def test_a_killed_job_asks_only_for_what_is_missing(serve, home) -> None:
    server = serve(latency=0.05)
    concurrency = 8
    (home / "providers.toml").write_text(entry(server, limits={"concurrency": concurrency, "timeout": 5.0}))
    dice, kills = random.Random(7), 4
    for _ in range(kills):
        target = server.requests + dice.randint(5, 60)
        process = start(home, "summarize", *FEW)
        deadline = time.monotonic() + 60
        while server.requests < target and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    sracl_inside(home, "summarize", *FEW)
    twice = sum(count - 1 for count in server.good.values())
    assert twice <= kills * concurrency, "what was in flight at a kill"
    (kept,) = sql(home, "SELECT count(*) AS n, count(DISTINCT key) AS keys FROM summaries WHERE NOT fallback")
    assert kept["n"] == kept["keys"] == len(server.good)
    asked = server.requests
    sracl_inside(home, "summarize", *FEW)
    assert server.requests == asked


def test_a_run_trains_on_an_endpoints_summaries_and_asks_again_for_stand_ins(serve, home) -> None:
    def refuse_some(line: str, headers: Any, body: Any) -> Any:
        text = body["messages"][1]["content"]
        return (200, document(body, "I'm sorry, I can't.")) if zlib.crc32(text.encode()) % 3 == 0 else None

    server = serve(reply=refuse_some)
    (home / "providers.toml").write_text(entry(server))
    quick = (
        *("--set", "provider=fake", "--set", "max_users=30", "--set", "encoder=tfidf", "--set", "epochs=1"),
        *("--set", "threads=1", "--set", "unit=user", "--headless", "--json"),
    )
    first = json.loads(sracl_inside(home, "run", *quick).stdout)
    assert first["state"] == "finished"
    assert first["cost"]["fallbacks"] > 0
    stand_ins = sql(home, "SELECT count(*) AS n FROM summaries WHERE fallback")[0]["n"]
    assert stand_ins == first["cost"]["fallbacks"]
    server.behavior.reply = None
    second = json.loads(sracl_inside(home, "run", *quick).stdout)
    assert second["cost"]["fallbacks"] == 0
    assert second["cost"]["calls"] == stand_ins
    assert sql(home, "SELECT count(*) AS n FROM summaries WHERE fallback")[0]["n"] == 0


def test_the_small_commands(serve, home) -> None:
    server = serve()
    (home / "providers.toml").write_text(entry(server, prices=None))
    listed = json.loads(sracl_inside(home, "llm", "list", "--json").stdout)["endpoints"]
    assert {"fake", "deepseek", "openai", "vllm", "llamacpp"} == {row["name"] for row in listed}
    assert next(row for row in listed if row["name"] == "fake")["usd_per_million"] is None
    assert "no call was made yet" in sracl_inside(home, "costs").stdout
    server.behavior.first["refused"] = 1
    tested = json.loads(sracl_inside(home, "llm", "test", "fake", "--json").stdout)
    assert tested["works"]
    told = sql(home, "SELECT run_id, provider, model, error, count(*) AS n FROM api_calls GROUP BY ALL ORDER BY n")
    assert [(row["run_id"], row["error"], row["n"]) for row in told] == [
        ("llm test", "refused", 1),
        ("llm test", None, server.requests - 1),
    ]
    assert [answer["usd"] for answer in tested["answers"]] == [None, None], "an unknown price is not $0"
    assert "products-1" in sracl_inside(home, "prompts", "list").stdout
    shown = sracl_inside(home, "prompts", "show").stdout
    assert "<history>" in shown
    assert "unknown price" in sracl_inside(home, "summarize", *FEW, "--dry-run").stdout
    sracl_inside(home, "summarize", *FEW, "--unit", "user", "--kind", "user")
    told = sracl_inside(home, "costs", "--by", "provider").stdout
    assert f"{server.requests} calls" in told
    assert "unknown" in told
    assert "$0" not in told, "an unknown price is not $0"
    assert json.loads(sracl_inside(home, "costs", "--json").stdout)["usd"] is None
    assert json.loads(sracl_inside(home, "costs", "--by", "gain", "--json").stdout)["rows"] == []
    sracl_inside(home, "costs", "--by", "color", code=2)
    sracl_inside(home, "summarize", "--kind", "both-of-them", code=2)
    asked, server.behavior.always = server.requests, "401"
    sracl_inside(home, "llm", "test", "fake", code=1)
    (row,) = sql(home, "SELECT count(*) AS n FROM api_calls WHERE status = 401")
    assert row["n"] == server.requests - asked > 0, "what failed is kept too"


def test_install_needs_no_stderr_that_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_llm, "install_command", lambda: ["true"])
    for stream in (io.StringIO(), None):
        monkeypatch.setattr("sys.stderr", stream)
        local_llm.install()
    monkeypatch.setattr(local_llm, "install_command", lambda: ["false"])
    with pytest.raises(SemanticsError, match="exit code 1"):
        local_llm.install()
