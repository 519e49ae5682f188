"""The long proofs, against the loopback server: `pytest -m soak -s tests/llm`. The short forms are in the files beside it.

Each prints its figures as one line of JSON; docs/llm.md has those of one whole run.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BudgetReached
from tests.support.commands import sracl_process, start

from .conftest import entry, shop, sql
from .test_client import Job

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
LEDGER = """
SELECT count(*) AS calls, count(tokens_in) AS counted, coalesce(sum(tokens_in), 0)::BIGINT AS tokens_in,
    coalesce(sum(tokens_out), 0)::BIGINT AS tokens_out, coalesce(sum(tokens_cached), 0)::BIGINT AS tokens_cached,
    sum(usd) AS usd, count(*) FILTER (usd IS NULL) AS unknown FROM api_calls
"""
KEPT = "SELECT count(*) AS n, count(DISTINCT key) AS keys, count(*) FILTER (fallback) AS fallbacks FROM summaries"
TWICE = """
SELECT coalesce(sum(n - 1), 0)::BIGINT AS calls FROM
    (SELECT count(*) AS n FROM api_calls WHERE error IS NULL GROUP BY key HAVING count(*) > 1)
"""


def told(name: str, **figures: Any) -> None:
    """Print the figures of a proof."""
    print(f"\n{name}: {json.dumps(figures)}", flush=True)


def dollars(counts: dict[str, float]) -> float:
    """What the server's own counts come to at the prices of `entry`."""
    return (counts["in"] - 0.9 * counts["cached"] + 2 * counts["out"]) / 1e6


def test_20_000_prompts_under_faults_of_all_kinds(serve, tmp_path: Path) -> None:
    shop(tmp_path, users=2000, items=2500)
    server = serve(faults=0.2, latency=0.05, hang=3.0, wait=0.05)
    (tmp_path / "providers.toml").write_text(entry(server, limits={"concurrency": 128, "timeout": 2.0, "answers": 6}))
    started, shown, longest = time.monotonic(), 0, 0.0
    with (tmp_path / "talk").open("w+") as talk:
        process = start(
            tmp_path, "summarize", "--dataset", "shop", "--provider", "fake", "--headless", stderr=talk, text=True
        )
        journal, size, seen = tmp_path / "runs", 0, time.monotonic()
        while process.poll() is None:  # the journal is what screens show: how long is it still?
            time.sleep(0.1)
            grown = sum(file.stat().st_size for file in journal.rglob("events-*.jsonl"))
            if grown != size:
                shown, longest = shown + 1, max(longest, time.monotonic() - seen) if server.requests else 0.0
                size, seen = grown, time.monotonic()
        seconds = time.monotonic() - started
        talk.seek(0)
        assert process.returncode == 0, talk.read()[-3000:]
    (ledger,), (kept,) = sql(tmp_path, LEDGER), sql(tmp_path, KEPT)
    (twice,) = sql(tmp_path, TWICE)
    told(
        "faults", prompts=len(server.good), calls=ledger["calls"], requests=server.requests, unknown=ledger["unknown"],
        usd=ledger["usd"], server_usd=dollars(server.billed), fallbacks=kept["fallbacks"], seconds=round(seconds),
        longest_silence=round(longest, 1),
    )  # fmt: skip
    assert len(server.good) >= 20_000
    assert kept["n"] == kept["keys"] == len(server.good), "every summary arrives"
    assert kept["fallbacks"] == 0
    assert set(server.good.values()) == {1}, "none twice"
    assert twice["calls"] == 0
    (lost,) = sql(
        tmp_path, "SELECT count(*) AS n FROM api_calls WHERE status IS NULL AND error IN ('timeout', 'connection')"
    )
    assert 0 <= ledger["calls"] - server.requests <= min(10, lost["n"]), "a few may not have got through to the server"
    assert ledger["counted"] == server.billed["calls"]
    for ours, theirs in (("tokens_in", "in"), ("tokens_out", "out"), ("tokens_cached", "cached")):
        assert ledger[ours] == server.billed[theirs]
    assert ledger["usd"] == pytest.approx(dollars(server.billed), rel=1e-9)


def test_30_kills_of_a_2_000_prompt_job(serve, tmp_path: Path) -> None:
    shop(tmp_path, users=200, items=300)
    kills, concurrency, dice = 30, 8, random.Random(11)
    server = serve(latency=0.05)
    (tmp_path / "providers.toml").write_text(entry(server, limits={"concurrency": concurrency, "timeout": 5.0}))
    arguments = ("summarize", "--dataset", "shop", "--provider", "fake", "--headless")
    in_flight, early, at_work = 0, 0, 0
    for kill in range(kills):
        asked, target = server.requests, server.requests + dice.randint(1, 120)
        process = start(tmp_path, *arguments)
        if kill % 4 == 3:  # a moment of the start, the look-up or the first publish, rather than of the calls
            time.sleep(dice.uniform(0.05, 6.0))
        else:
            deadline = time.monotonic() + 120
            while server.requests < target and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(dice.uniform(0.0, 0.15))
        in_flight += server.active
        process.send_signal(signal.SIGKILL)
        process.wait()
        early, at_work = early + (server.requests == asked), at_work + (server.requests > asked)
    before = server.requests
    sracl_process(tmp_path, *arguments)
    (kept,), (twice,), (ledger,) = sql(tmp_path, KEPT), sql(tmp_path, TWICE), sql(tmp_path, LEDGER)
    again = sum(count - 1 for count in server.good.values())
    told(
        "kills", prompts=len(server.good), kills=kills, before_a_call=early, at_work=at_work, left=server.requests - before,
        in_flight_at_kills=in_flight, answered_twice=again, recorded_twice=twice["calls"],
        usd=ledger["usd"], server_usd=dollars(server.billed),
    )  # fmt: skip
    assert len(server.good) >= 2000
    assert at_work >= 15
    assert kept["n"] == kept["keys"] == len(server.good), "none is missing"
    assert kept["fallbacks"] == 0
    assert twice["calls"] <= again <= kills * concurrency, "only what was in flight at a kill"
    lost = server.requests - ledger["calls"]
    assert 0 <= lost <= kills * concurrency
    asked = server.requests
    sracl_process(tmp_path, *arguments)
    assert server.requests == asked, "nothing is left to ask"


def test_20_000_prompts_under_newer_faults_and_30_kills(serve, tmp_path: Path) -> None:
    """Every answer is found in the ledger by its number of tokens; those in flight at a kill are the only ones that are not."""
    shop(tmp_path, users=2000, items=2500)
    kills, dice, quota_at = 30, random.Random(7), (2_000, 9_000, 16_000)
    server = serve(faults=0.2, more=True, quota_at=quota_at, serial=True, latency=0.02, hang=20.0, wait=0.05)
    limits = {"concurrency": 128, "timeout": 15.0, "answers": 6, "attempts": 12}
    (tmp_path / "providers.toml").write_text(entry(server, limits=limits))
    arguments = ("summarize", "--dataset", "shop", "--provider", "fake", "--headless")
    in_flight, killed, ended, began = 0, 0, [], time.monotonic()
    while killed < kills:
        target = server.requests + dice.randint(100, 1_000)
        process = start(tmp_path, *arguments, stderr=(tmp_path / "talk").open("w"))
        while server.requests < target and process.poll() is None:
            time.sleep(0.005)
        if process.poll() is None:
            in_flight, killed = in_flight + server.active, killed + 1
            process.send_signal(signal.SIGKILL)
            process.wait()
            continue
        ended.append(process.returncode)
        assert "quota" in (tmp_path / "talk").read_text() or not process.returncode
    while 0 not in ended and len(ended) < 9:
        ended.append(start(tmp_path, *arguments).wait())
    (kept,), (twice,), (ledger,) = sql(tmp_path, KEPT), sql(tmp_path, TWICE), sql(tmp_path, LEDGER)
    found = [row["tokens_out"] for row in sql(tmp_path, "SELECT tokens_out FROM api_calls WHERE tokens_out > 0")]
    bills = [server.bills[number] for number in found]
    lost = server.bills.keys() - set(found)
    own = dict(zip(("in", "out", "cached"), map(sum, zip(*bills, strict=True)), strict=True))
    again = sum(count - 1 for count in server.good.values())
    told(
        "newer faults and kills", prompts=len(server.good), requests=server.requests, calls=ledger["calls"],
        kills=killed, ended_by_quota=sum(code == 1 for code in ended), in_flight_at_kills=in_flight, lost_at_kills=len(lost),
        answered_twice=again, usd=ledger["usd"], server_usd_of_these=dollars(own), server_usd=dollars(server.billed),
        unknown=ledger["unknown"], fallbacks=kept["fallbacks"], seconds=round(time.monotonic() - began),
    )  # fmt: skip
    assert len(server.good) >= 20_000
    assert kept["n"] == kept["keys"] == len(server.good), "every summary arrives"
    assert kept["fallbacks"] == 0
    assert len(found) == len(set(found)), "no answer is in the ledger twice"
    assert len(lost) <= in_flight, "only what was in flight at a kill"
    assert twice["calls"] <= again <= in_flight
    assert ledger["usd"] == pytest.approx(dollars(own), rel=1e-9)
    assert sum(code == 1 for code in ended) == len(quota_at)


def test_15_kills_of_a_job_by_batches(serve, tmp_path: Path) -> None:
    shop(tmp_path, users=100, items=150)
    kills, dice = 15, random.Random(5)
    server = serve(batch_seconds=1.0, latency=0.05, batch_faults={"refused": 40, "nonsense": 40, "500": 20})
    batch = {"requests": 25, "poll_seconds": 0.2}
    (tmp_path / "providers.toml").write_text(entry(server, batch=batch))
    arguments = ("summarize", "--dataset", "shop", "--provider", "fake", "--batch", "--headless")
    unsure = 0
    for _ in range(kills):
        target = server.requests + dice.randint(1, 16)
        process = start(tmp_path, *arguments)
        deadline = time.monotonic() + 120
        while server.requests < target and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was still at work"
        logs = [log.read_text() for log in (tmp_path / "batches").glob("*.jsonl")]
        unsure += sum('"batch_id": "' not in log for log in logs)
    sracl_process(tmp_path, *arguments)
    (ledger,), (kept,), (twice,) = sql(tmp_path, LEDGER), sql(tmp_path, KEPT), sql(tmp_path, TWICE)
    told(
        "kills of batches", prompts=len(server.good), kills=kills, batches=len(server.batches), sent_or_not=unsure,
        requests=server.in_batches, rows=ledger["calls"], usd=ledger["usd"], server_usd=dollars(server.billed) / 2,
        fallbacks=kept["fallbacks"],
    )  # fmt: skip
    assert kept["n"] == kept["keys"] >= len(server.good) > 1000
    assert set(server.good.values()) == {1}, "no good answer was paid for twice"
    assert twice["calls"] == 0
    assert ledger["calls"] == server.in_batches, "each request is a row, once"
    assert ledger["usd"] == pytest.approx(dollars(server.billed) / 2, rel=1e-9)
    assert not list((tmp_path / "batches").glob("*.jsonl"))


def test_100_caps_are_never_exceeded(serve, tmp_path: Path) -> None:
    dice, nearest, reached = random.Random(3), 0.0, 0
    for trial in range(100):
        cap = 10 ** dice.uniform(-3.3, -1.8)
        faulty = trial % 2 == 1
        server = serve(
            seed=trial, faults=dice.uniform(0.05, 0.4) if faulty else 0.0, latency=0.002, hang=0.1, wait=0.01
        )
        limits = {"concurrency": dice.choice([1, 4, 16, 64, 256]), "timeout": 0.3}
        job = Job(tmp_path, server, budget=cap, limits=limits)
        try:
            job.run(dice.choice(["user", "item"]), 200)
        except BudgetReached:
            reached += 1
        assert job.usd <= cap, (trial, cap, job.usd)
        assert dollars(server.billed) <= cap * (1 + 1e-12), (trial, cap)
        assert dollars(server.worked) <= cap * (1 + 1e-12), "even if all that broke off or was not counted is billed"
        if not faulty:
            assert job.usd == pytest.approx(dollars(server.billed))
        nearest = max(nearest, job.usd / cap)
        server.stop()
    told("caps", trials=100, reached=reached, nearest_to_the_cap=round(nearest, 4))
    assert reached >= 60


def test_two_processes_pay_once(serve, tmp_path: Path) -> None:
    shop(tmp_path, users=100, items=150)
    server = serve(latency=0.05, faults=0.1, hang=1.0, wait=0.05)
    (tmp_path / "providers.toml").write_text(entry(server, limits={"concurrency": 32, "timeout": 0.7}))
    words = ("summarize", "--dataset", "shop", "--provider", "fake", "--headless", "--json")
    heard = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    several = [start(tmp_path, *words, **heard) for _ in range(2)]
    said = [process.communicate(timeout=600) for process in several]
    assert [process.returncode for process in several] == [0, 0], said
    costs = [json.loads(out)["cost"] for out, _ in said]
    told("two processes", prompts=len(server.good), calls=[cost["calls"] for cost in costs], requests=server.requests)
    assert set(server.good.values()) == {1}
    assert sorted(cost["calls"] for cost in costs) == [0, server.requests]
