"""Several jobs share the prompts of a summary set: none is paid for twice, one cap holds for all, and one ledger has every call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.semantics.llm import budget as budgets
from engine.semantics.llm.budget import Budget, Usage
from engine.semantics.llm.endpoints import Endpoint
from engine.semantics.summaries.shard import RANGES, Shard, range_of
from sracl_tui.runs.stages.shared_cap import SharedCap
from store.errors import StoreError
from store.home import Home
from tests.support.commands import sracl_inside, start, until

from .conftest import entry, sql

FEW = ("--provider", "fake", "--set", "max_users=40")


CAP = 0.05


def amounts(home: Path) -> dict[str, float]:
    """What each job holds of the cap."""
    files = list((home / "cache").glob("cap-*.json"))
    return {name: usd for name, (usd, _) in json.loads(files[0].read_text()).items()} if files else {}


def share(home: Path, *words: str) -> list[str]:
    """Ids of three jobs in the queue."""
    return json.loads(sracl_inside(home, "summarize", *FEW, "--shards", "3", *words, "--json").stdout)["added"]


@settings(max_examples=100)
@given(
    st.integers(1, RANGES),
    st.text("0123456789abcdef", min_size=32, max_size=32) | st.text(st.characters(codec="utf-8")),
)
def test_each_key_is_one_shards(count: int, key: str) -> None:
    has = [Shard(number, count).has(key) for number in range(1, count + 1)]
    assert sum(has) == 1
    ranges = [part for number in range(1, count + 1) for part in Shard(number, count).ranges]
    assert sorted(ranges) == list(range(RANGES))
    assert range_of(key) in Shard(has.index(True) + 1, count).ranges


@pytest.mark.parametrize("wrong", [(0, 3), (4, 3), (1, 17)])
def test_no_other_shards(wrong: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="there is no shard"):
        Shard(*wrong)


def test_three_processes_ask_every_prompt_once(serve: Any, tmp_path: Path) -> None:
    server = serve(latency=0.05)
    (tmp_path / "providers.toml").write_text(entry(server))
    ids = share(tmp_path)
    processes = [start(tmp_path, "run", "--resume", run_id, "--headless") for run_id in ids]
    assert [process.wait(240) for process in processes] == [0, 0, 0]
    assert set(server.good.values()) == {1}
    assert len(server.good) == server.requests > 100
    assert sql(tmp_path, "SELECT count(DISTINCT run_id)::INT AS runs, count(*)::INT AS calls FROM api_calls") == [
        {"runs": 3, "calls": server.requests}
    ]
    whole = json.loads(sracl_inside(tmp_path, "summarize", *FEW, "--headless", "--json").stdout)
    assert (whole["state"], whole["cost"]["calls"]) == ("finished", 0)
    assert len(server.good) == server.requests, "the whole job asked again"


def test_one_cap_holds_for_three_processes_of_which_one_is_killed(serve: Any, tmp_path: Path) -> None:
    server = serve(latency=0.1)
    (tmp_path / "providers.toml").write_text(entry(server, limits={"concurrency": 8, "timeout": 60.0}))
    ids = share(tmp_path, "--budget", str(CAP))
    processes = [start(tmp_path, "run", "--resume", run_id, "--headless") for run_id in ids]
    until(lambda: len(amounts(tmp_path)) == 3)
    os.kill(processes[0].pid, signal.SIGKILL)
    ends = [process.wait(240) for process in processes]
    ends[0] = start(tmp_path, "run", "--resume", ids[0], "--headless").wait(240)
    assert set(ends) <= {0, 3}
    assert 3 in ends, "the cap ends nothing"
    (spent,) = sql(tmp_path, "SELECT sum(coalesce(usd, usd_reserved)) AS usd FROM api_calls")
    charged = server.billed["in"] / 1e6 + server.billed["out"] * 2 / 1e6 - server.billed["cached"] * 0.9 / 1e6
    assert CAP / 2 < spent["usd"] <= CAP
    assert charged <= CAP
    assert spent["usd"] <= sum(amounts(tmp_path).values()) + 1e-9 <= CAP


def test_what_cannot_be_shared_is_refused(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "providers.toml").write_text(entry(serve(), batch={"price_factor": 0.5}))
    assert "asks no model" in sracl_inside(tmp_path, "summarize", "--shards", "2", code=2).stderr
    assert "a batch is one job" in sracl_inside(tmp_path, "summarize", *FEW, "--shards", "2", "--batch", code=2).stderr
    assert not list((tmp_path / "runs").glob("*"))


def budget_of(share: SharedCap) -> Budget:
    """A budget of a dollar that is shared."""
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m", local=True)
    budget = Budget(endpoint, "m", cap=1.0, share=share)
    budget.begin()
    return budget


def test_a_shared_cap_waits_for_what_others_may_free_and_not_for_the_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    home.create()
    monkeypatch.setattr(budgets, "SHARE_SECONDS", 0.01)
    with SharedCap(home, "g", "1/2") as own:
        budget = budget_of(own)
        with SharedCap(home, "g", "2/2") as other:
            assert other.hold(0.8, 1.0, reserved=0.8)

            async def both() -> bool:
                asking = asyncio.create_task(budget.reserve(0.5))
                await asyncio.sleep(0.1)
                assert not asking.done()
                assert other.hold(0.4, reserved=0.1)
                return await asking

            assert asyncio.run(both())
            assert budget.reserved == 0.5
            budget.record_cost(0.5, Usage(1, 1, 0), 0.0, billed=True)
        budget.begin()
        assert not asyncio.run(budget.reserve(0.7)), "the other has ended, though it holds 0.1 for calls"
        (tmp_path / "cache" / "cap-g.json").write_text("{")
        budget.begin()
        with pytest.raises(StoreError, match="shared budget cannot be read"):
            asyncio.run(budget.reserve(0.1))


def test_jobs_without_calls_in_flight_do_not_wait_for_each_other(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    with SharedCap(home, "g", "1/2") as own, SharedCap(home, "g", "2/2") as other:
        assert other.hold(0.8, 1.0, reserved=0.0)
        assert not asyncio.run(budget_of(own).reserve(0.5))
        assert asyncio.run(budget_of(own).reserve(0.2))


def test_what_a_job_has_spent_itself_is_not_waited_for(tmp_path: Path) -> None:
    """Whether others had calls in flight is known from the last question, which is not asked again."""
    home = Home(tmp_path)
    home.create()
    with SharedCap(home, "g", "1/2") as own, SharedCap(home, "g", "2/2") as other:
        assert other.hold(0.8, 1.0, reserved=0.8)
        assert not own.hold(0.5, 1.0, reserved=0.5)
        assert own.may_change()
        budget = budget_of(own)
        budget.spent = 0.9
        assert not asyncio.run(asyncio.wait_for(budget.reserve(0.2), 5))


def test_what_an_earlier_version_wrote_counts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    (home.cache / "cap-g.json").write_text('{"1/2": 0.3, "2/2": 0.6}')
    own = SharedCap(home, "g", "1/2")
    assert own.held() == 0.3
    assert not own.hold(0.5, 1.0, reserved=0.2)
    assert not own.may_change()
    assert own.hold(0.4, 1.0, reserved=0.1)
