"""Journals become rows: every event, once, whatever else lies in the folder."""

from __future__ import annotations

import inspect
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from engine import events
from engine.events import (
    EpochFinished,
    Evaluated,
    Event,
    Metric,
    NeighborsFound,
    SummariesLinked,
    SummariesMade,
    SummarySetMade,
    Tabular,
    VectorsMade,
    WeightsSampled,
)
from store import ingest, runs
from store.database import Store
from store.home import Home
from store.ingest import boot_id
from store.journal import Journal
from store.publish import publish
from store.taker import Taker

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]
Tell = Callable[[Journal, Event], None]
Spawn = Callable[..., Any]

TALK = {"stage_started", "stage_progress", "stage_finished", "warned", "step_finished"}
"""Events for a screen, without data for a table."""


def _epoch(epoch: int, *, step: int, improved: bool = False, value: float = 0.5) -> EpochFinished:
    metrics = (Metric(split="train", name="loss", value=value), Metric(split="valid", name="mrr@10", value=value / 2))
    return EpochFinished(
        epoch=epoch, step=step, seconds=2.0, evaluate_seconds=0.5, improved=improved, bad_epochs=0, metrics=metrics
    )


def _summaries(*keys: str, text: str = "likes {}", fallback: bool = False) -> SummariesMade:
    count = len(keys)
    return SummariesMade(
        columns={
            "key": list(keys),
            "text": [text.format(key) for key in keys],
            "tokens_in": [7] * count,
            "tokens_out": [8] * count,
            "tokens_cached": [0] * count,
            "usd": [0.25] * count,
            "finish_reason": ["stop"] * count,
            "fallback": [fallback] * count,
        }
    )


def _summary_set(set_id: str = "s1") -> SummarySetMade:
    return SummarySetMade(
        set_id=set_id,
        dataset_id="d1",
        kind="user",
        provider="offline",
        model=None,
        prompt_version="rules-1",
        template="Read {items}.",
        unit="prefix",
        parameters={"words": 100},
    )


def _evaluated(split: str, *, epoch: int, step: int, value: float) -> Evaluated:
    metrics = (
        Metric(split=split, name="ndcg@20", value=value),
        Metric(split=split, name="n", value=2),
        Metric(split=split, name="ndcg@20", value=value / 2, subgroup="tied"),
    )
    columns = {"user_id": np.array([1, 2], np.int32), "rank": np.array([3, 70_000], np.int64)}
    return Evaluated(split=split, epoch=epoch, step=step, metrics=metrics, columns=columns)


def _weights(phase: str, *, epoch: int, step: int, first: float) -> WeightsSampled:
    columns = {
        "anchor_id": np.array([5, 5]),
        "neighbor_id": np.array([8, 9]),
        "weight": np.array([first, 1 - first], np.float32),
    }
    return WeightsSampled(phase=phase, epoch=epoch, step=step, columns=columns)


def _neighbors(list_id: str = "l1", similarity: float = 0.9) -> NeighborsFound:
    columns = {
        "anchor_id": np.array([5, 5], np.int64),
        "rank": np.array([1, 2], np.int32),
        "neighbor_id": np.array([8, 9], np.int64),
        "similarity": np.array([similarity, 0.25], np.float32),
    }
    return NeighborsFound(
        list_id=list_id, dataset_id="d1", kind="user", parameters={"k": 2}, recall=0.75, columns=columns
    )


def test_every_event_of_the_engine_that_carries_data_is_taken() -> None:
    found = [
        kind
        for _, kind in inspect.getmembers(events, inspect.isclass)
        if issubclass(kind, Event) and hasattr(kind, "name")
    ]
    assert len(found) > 10
    taken = {name.removeprefix("_on_") for name in dir(Taker) if name.startswith("_on_")} | {"vectors_made"}
    assert {kind.name for kind in found} - taken == TALK
    assert not any(issubclass(kind, Tabular) for kind in found if kind.name in TALK)


def test_epochs_become_metrics_and_progress(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    journal = new_run("one")
    tell(journal, _epoch(1, step=10, improved=True))
    tell(journal, _epoch(2, step=20, value=0.1))
    publish(home)
    assert rows(
        "SELECT epoch, step, split, subgroup, name, value FROM metrics WHERE epoch = 1 ORDER BY split, name"
    ) == [
        (1, 10, "train", "all", "loss", 0.5),
        (1, 10, "train", "all", "seconds", 2.0),
        (1, 10, "valid", "all", "mrr@10", 0.25),
        (1, 10, "valid", "all", "seconds", 0.5),
    ]
    assert rows("SELECT value FROM metrics WHERE epoch = 2 AND name = 'loss'") == [(0.1,)], "in full precision"
    assert rows("SELECT epoch, best_epoch FROM runs") == [(2, 1)]
    assert abs(rows("SELECT epoch(max(wall_time)) FROM metrics")[0][0] - time.time()) < 600, "in UTC"


def test_evaluations_become_metrics_and_ranks(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    journal = new_run("one")
    tell(journal, _epoch(1, step=10, improved=True))
    for split in ("valid", "test", "test"):
        tell(journal, _evaluated(split, epoch=1, step=10, value=0.125))
        publish(home)
    metrics = (
        "SELECT split, subgroup, name, value FROM metrics WHERE name <> 'seconds' AND split <> 'train' ORDER BY ALL"
    )
    assert rows(metrics) == [
        ("test", "all", "n", 2.0),
        ("test", "all", "ndcg@20", 0.125),
        ("test", "tied", "ndcg@20", 0.0625),
        ("valid", "all", "mrr@10", 0.25),
        ("valid", "all", "n", 2.0),
        ("valid", "tied", "ndcg@20", 0.0625),
    ]
    assert rows("SELECT split, user_id, rank, step FROM user_ranks ORDER BY ALL") == [
        ("test", 1, 3, 10),
        ("test", 2, 70_000, 10),
        ("valid", 1, 3, 10),
        ("valid", 2, 70_000, 10),
    ]
    assert rows("SELECT test_ndcg_20, valid_mrr_10, alpha, pool FROM run_results") == [(0.125, 0.25, 0.1, "others")]


def test_weights_of_a_phase_replace_each_other(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    journal = new_run("one")
    tell(journal, _weights("initial", epoch=0, step=0, first=0.5))
    tell(journal, _weights("best", epoch=1, step=10, first=0.25))
    tell(journal, _weights("best", epoch=2, step=20, first=0.75))
    publish(home)
    assert rows("SELECT phase, epoch, step, anchor_id, neighbor_id, weight FROM synthesizer_weights ORDER BY ALL") == [
        ("best", 2, 20, 5, 8, 0.75),
        ("best", 2, 20, 5, 9, 0.25),
        ("initial", 0, 0, 5, 8, 0.5),
        ("initial", 0, 0, 5, 9, 0.5),
    ]


def test_summaries_sets_and_links(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    for name in ("one", "two"):
        journal = new_run(name)
        tell(journal, _summary_set())
        tell(journal, _summaries("k1", "k2", text=name + " likes {}"))
        tell(
            journal, SummariesLinked(set_id="s1", columns={"owner_id": np.array([1, 2, 3]), "key": ["k1", "k1", "k2"]})
        )
    publish(home)
    assert rows("FROM summary_sets SELECT * EXCLUDE (created_at)") == [
        ("s1", "d1", "user", "offline", None, "rules-1", "prefix", '{"words": 100}', "one")
    ]
    assert rows("FROM prompts") == [("rules-1", "Read {items}.")]
    assert rows("FROM summaries SELECT * EXCLUDE (created_at) ORDER BY key") == [
        ("k1", "one likes k1", 7, 8, 0, 0.25, "stop", False, "one"),
        ("k2", "one likes k2", 7, 8, 0, 0.25, "stop", False, "one"),
    ]
    assert rows("FROM summary_links ORDER BY ALL") == [("s1", 1, "k1"), ("s1", 2, "k1"), ("s1", 3, "k2")]


def test_a_model_s_answer_takes_the_place_of_what_stood_in_for_it(
    home: Home, new_run: NewRun, tell: Tell, rows: Rows
) -> None:
    tell(new_run("one"), _summaries("k1", "k2", text="rules", fallback=True))
    publish(home)
    journal = new_run("two")
    tell(journal, _summaries("k1", text="paid for"))
    tell(journal, _summaries("k1", "k2", text="rules again", fallback=True))
    publish(home)
    assert rows("SELECT key, text, fallback, run_id FROM summaries ORDER BY key") == [
        ("k1", "paid for", False, "two"),
        ("k2", "rules", True, "one"),
    ]


def test_vectors_are_kept_once_by_text_and_encoder(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    def made(encoder: str, *shas: str, value: float) -> VectorsMade:
        vectors = np.full((len(shas), 3), value, np.float32)
        return VectorsMade(encoder=encoder, dimension=3, columns={"sha256": list(shas), "vector": vectors})

    one, two = new_run("one"), new_run("two")
    tell(one, made("minilm", "a", "b", value=1))
    tell(two, made("minilm", "b", "c", value=2))
    publish(home)
    tell(two, made("minilm", "a", value=3))
    tell(two, made("other", "a", value=4))
    publish(home)
    assert rows("SELECT encoder, sha256, dimension, vector FROM vectors.vectors ORDER BY ALL") == [
        ("minilm", "a", 3, [1.0, 1.0, 1.0]),
        ("minilm", "b", 3, [1.0, 1.0, 1.0]),
        ("minilm", "c", 3, [2.0, 2.0, 2.0]),
        ("other", "a", 3, [4.0, 4.0, 4.0]),
    ]


def test_neighbor_lists_are_kept_once(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    tell(new_run("one"), _neighbors())
    tell(new_run("two"), _neighbors(similarity=0.1))
    publish(home)
    assert rows("FROM neighbor_lists SELECT * EXCLUDE (created_at)") == [("l1", "d1", "user", '{"k": 2}', 0.75, "one")]
    assert rows("SELECT anchor_id, rank, neighbor_id, similarity FROM neighbors ORDER BY rank") == [
        (5, 1, 8, np.float32(0.9)),
        (5, 2, 9, 0.25),
    ]


def test_the_runner_s_own_events(home: Home, new_run: NewRun, rows: Rows) -> None:
    journal = new_run("one", name="paper", group_name="g", tags=["b", "a"], note="n", started={"packages": {"x": "1"}})
    journal.append("dataset_used", {"dataset_id": "d1", "dataset_sha256": "f" * 64, "dataset_name": "demo"})
    journal.append("lists_used", {"user_set_id": "s1", "item_set_id": None, "user_list_id": "l1", "item_list_id": "l2"})
    journal.append("device_used", {"device": "cpu", "threads": 2})
    journal.append("heartbeat", {})
    publish(home)
    assert rows(
        "SELECT kind, name, group_name, tags, note, config ->> '$.loss.alpha', config_hash, seed, segments, pid, host, "
        "packages ->> '$.x', dataset_id, dataset_name, user_set_id, user_list_id, item_list_id, device, threads, epoch FROM runs"
    ) == [
        (
            *("train", "paper", "g", ["a", "b"], "n", "0.1", "abc", 1, 1, os.getpid(), platform.node()),
            *("1", "d1", "demo", "s1", "l1", "l2", "cpu", 2, 0),
        )
    ]
    assert rows("SELECT heartbeat_at >= started_at AND started_at >= created_at FROM runs") == [(True,)]


@pytest.mark.parametrize(
    ("state", "reason"), [("finished", None), ("failed", "out of memory"), ("stopped", "asked to stop (SIGTERM)")]
)
def test_a_run_that_ends_says_how(
    home: Home, new_run: NewRun, tell: Tell, rows: Rows, state: str, reason: str | None
) -> None:
    journal = new_run("one")
    tell(journal, _epoch(3, step=30, improved=True))
    journal.append("stopping", {"reason": "SIGTERM"})
    end = {"timings": {"total": 4.5}, "peak_memory_bytes": 2**33, "best_epoch": None, "epochs": 3}
    journal.append("run_ended", {"state": state, "reason": reason, **end})
    publish(home)
    assert rows("SELECT state, reason, timings ->> '$.total', peak_memory_bytes, best_epoch, epoch FROM runs") == [
        (state, reason, "4.5", 2**33, 3, 3)
    ]
    assert rows("SELECT ended_at >= started_at FROM runs") == [(True,)]


def test_ingesting_twice_changes_nothing(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    journal = new_run("one")
    for event in (
        _epoch(1, step=10),
        _summary_set(),
        _summaries("k"),
        _neighbors(),
        _evaluated("test", epoch=1, step=10, value=1),
    ):
        tell(journal, event)
    assert publish(home).events == 7
    tables = ("runs", "metrics", "summaries", "neighbors", "user_ranks", "journal_offsets")
    before = {table: rows(f"FROM {table} ORDER BY ALL") for table in tables if table != "runs"}
    for _ in range(2):
        assert publish(home).events == 0
    assert {table: rows(f"FROM {table} ORDER BY ALL") for table in before} == before
    segment = next((home.runs / "one").glob("events-*.jsonl"))
    assert rows("SELECT source, segment, position FROM journal_offsets") == [("one", 1, segment.stat().st_size)]


def test_a_torn_last_line_waits_for_its_rest(home: Home, new_run: NewRun, rows: Rows) -> None:
    new_run("one")
    path = home.runs / "one" / "events-0001.jsonl"
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"n":3,"at":1.0,"event":"device_used","device":"c')
    publish(home)
    assert rows("SELECT position FROM journal_offsets") == [(size,)]
    assert rows("SELECT device FROM runs") == [(None,)]
    with path.open("ab") as file:
        file.write(b'pu"}\n')
    publish(home)
    assert rows("SELECT device FROM runs") == [("cpu",)]


def test_a_torn_last_line_of_a_dead_run_is_no_reason_to_publish(home: Home, new_run: NewRun) -> None:
    new_run("one").append("run_ended", {"state": "finished", "reason": None})
    with (home.runs / "one" / "events-0001.jsonl").open("ab") as file:
        file.write(b'{"n":4,"at":1.')
    with Store.open(home):
        inode = home.database.stat().st_ino
    with Store.open(home):
        assert home.database.stat().st_ino == inode


def test_damage_and_missing_tables_are_skipped_with_a_word(
    home: Home, new_run: NewRun, tell: Tell, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.journal.INLINE_ROWS", 0)
    journal = new_run("one")
    tell(journal, _summaries("k1"))
    next((home.runs / "one").glob("*.parquet")).unlink()
    tell(journal, _neighbors())
    sorted((home.runs / "one").glob("*.parquet"))[-1].write_bytes(b"PAR1 no longer")
    with (home.runs / "one" / "events-0001.jsonl").open("ab") as file:
        file.write(b"}} damaged\n")
    tell(Journal(home.runs / "one"), _summaries("k2"))
    damaged, missing, broken = publish(home).warnings
    assert "damaged" in damaged
    assert "events-0001-000003.parquet" in missing
    assert "'neighbors_found'" in broken
    assert rows("SELECT key FROM summaries") == [("k2",)]
    assert rows("FROM neighbor_lists") == []
    assert publish(home).warnings == []


def test_calls_and_answers_are_taken_from_the_line_or_from_a_file_alike(
    home: Home, new_run: NewRun, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(key: str) -> dict[str, list[Any]]:
        prices = {name: [None] for name in ("usd_per_million_in", "usd_per_million_out", "usd_per_million_cached")}
        tokens = {"tokens_in": [7], "tokens_out": [None], "tokens_cached": [0]}
        told = {"sent_at": [1.5], "status": [None], "error": ["timeout"], "latency_seconds": [0.25], "usd": [None]}
        return {"key": [key], "attempt": [1], **told, **tokens, **prices}

    journal = new_run("one")
    journal.append("api_called", {"provider": "p", "model": "m"}, columns=call("inline"))
    assert not list((home.runs / "one").glob("*.parquet"))
    monkeypatch.setattr("store.journal.INLINE_ROWS", 0)
    journal.append("api_called", {"provider": "p", "model": "m"}, columns=call("file"))
    assert len(list((home.runs / "one").glob("*.parquet"))) == 1
    assert publish(home).warnings == []
    assert publish(home).warnings == []
    found = rows(
        "SELECT key, run_id, provider, epoch(sent_at), status, error, tokens_in, usd FROM api_calls ORDER BY key"
    )
    assert found == [(key, "one", "p", 1.5, None, "timeout", 7, None) for key in ("file", "inline")]


UNFIT: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("epoch_finished", {"epoch": 1}, None),
    (
        "epoch_finished",
        {"epoch": 1, "improved": False, "seconds": 1, "evaluate_seconds": 1, "step": 1, "metrics": 7},
        None,
    ),
    (
        "measured",
        {"epoch": 1, "step": 1, "metrics": [{"split": "x", "subgroup": "all", "name": "a", "value": "text"}]},
        None,
    ),
    (
        "measured",
        {"epoch": 2**40, "step": 1, "metrics": [{"split": "x", "subgroup": "all", "name": "a", "value": 1}]},
        None,
    ),
    ("device_used", {"threads": "two"}, None),
    ("device_used", {"threads": [1]}, None),
    ("summaries_made", {}, {"key": ["k1"]}),
    ("summaries_linked", {"set_id": "s"}, {"owner_id": ["x"], "key": ["k"]}),
    (
        "neighbors_found",
        {"list_id": "l"},
        {"anchor_id": [1], "rank": [99_999], "neighbor_id": [1], "similarity": [1.0]},
    ),
    ("vectors_made", {}, {"sha256": ["s"], "vector": [[1.0]]}),
    ("vectors_made", {"encoder": "e", "dimension": 1}, {"sha": ["s"]}),
    ("run_resumed", {"epoch": 1}, None),
    ("run_created", {"run_id": "one"}, None),
    ("run_started", {"state": "x"}, None),
    ("run_ended", {"state": None}, None),
]


def test_events_that_do_not_fit_hinder_no_other(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    bad = new_run("bad")
    for event, fields, columns in UNFIT:
        bad.append(event, fields, columns=columns)
    bad.append("device_used", {"device": "cpu"})
    tell(new_run("good"), _epoch(1, step=10))
    tell(bad, _epoch(4, step=40))
    warnings = publish(home).warnings
    assert all(text.startswith("bad: an event ") for text in warnings)
    told = [text.split("'")[1] for text in warnings]
    assert sorted(told) == sorted(event for event, _, _ in UNFIT)
    assert rows("SELECT run_id, device, epoch FROM runs ORDER BY ALL") == [("bad", "cpu", 4), ("good", None, 1)]
    assert rows("SELECT run_id, count(*) FROM metrics WHERE name = 'loss' GROUP BY ALL ORDER BY ALL") == [
        ("bad", 1),
        ("good", 1),
    ]
    assert publish(home).warnings == []


def test_unknown_events_are_left_alone(home: Home, new_run: NewRun, rows: Rows) -> None:
    journal = new_run("one")
    for name in ("invented_later", "insert", "rows", "warnings", "take", "", "run_created.x"):
        journal.append(name, {"x": 1}, columns={"a": [1]})
    journal.append("device_used", {"device": "cpu", "invented": "red"})
    assert publish(home).warnings == []
    assert rows("SELECT device FROM runs") == [("cpu",)]


def test_what_lay_beyond_the_checkpoint_did_not_happen(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    first = new_run("one")
    for epoch in (1, 2, 3):
        tell(first, _epoch(epoch, step=10 * epoch, improved=True))
    tell(first, _evaluated("valid", epoch=3, step=30, value=1))
    tell(first, _weights("initial", epoch=0, step=0, first=0.5))
    tell(first, _weights("best", epoch=3, step=30, first=0.5))
    tell(first, _summaries("k1"))
    tell(first, _neighbors())
    tell(new_run("other"), _epoch(9, step=90))
    publish(home)
    second = Journal(home.runs / "one")
    second.append("run_started", {"pid": 7, "host": "h", "boot_id": "b"})
    second.append("run_resumed", {"epoch": 2, "step": 20, "best_epoch": 2})
    publish(home)
    assert rows("SELECT DISTINCT epoch FROM metrics WHERE run_id = 'one' ORDER BY 1") == [(1,), (2,)]
    assert rows("FROM user_ranks") == []
    assert rows("SELECT DISTINCT phase FROM synthesizer_weights") == [("initial",)]
    assert rows("SELECT key FROM summaries") == [("k1",)]
    assert rows("SELECT list_id FROM neighbor_lists") == [("l1",)]
    assert rows("SELECT epoch FROM metrics WHERE run_id = 'other' AND name = 'loss'") == [(9,)]
    assert rows("SELECT epoch, best_epoch, segments, pid FROM runs WHERE run_id = 'one'") == [(2, 2, 2, 7)]
    tell(second, _epoch(3, step=30, value=0.75))
    publish(home)
    assert rows("SELECT epoch, value FROM metrics WHERE run_id = 'one' AND name = 'loss' ORDER BY 1") == [
        (1, 0.5),
        (2, 0.5),
        (3, 0.75),
    ]


def test_a_resumed_run_in_one_publish(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    first = new_run("one", tags=["a"])
    tell(first, _epoch(1, step=10))
    tell(first, _epoch(2, step=20))
    second = Journal(home.runs / "one")
    second.append("run_resumed", {"epoch": 1, "step": 10, "best_epoch": 1})
    tell(second, _epoch(2, step=20, value=0.75))
    publish(home)
    assert rows("SELECT epoch, value FROM metrics WHERE name = 'loss' ORDER BY 1") == [(1, 0.5), (2, 0.75)]


def test_people_s_edits(home: Home, new_run: NewRun, rows: Rows) -> None:
    new_run("20260101-one", tags=["old"])
    new_run("20260102-two")
    with Store.open(home) as store:
        assert runs.tag(store, "20260101", add=("paper", "a"), remove=("old",)) == ["a", "paper"]
        runs.note(store, "20260101-one", "it’s «good»")
        runs.rename(store, "20260101-one", "baseline")
        found = runs.find_run(store, "baseline")
    assert (found["run_id"], found["tags"], found["note"]) == ("20260101-one", ["a", "paper"], "it’s «good»")
    assert rows("SELECT tags, note, name FROM runs WHERE run_id = '20260102-two'") == [([], "", "first")]
    assert len(list(home.edits.glob("events-*.jsonl"))) == 3


def test_two_who_tag_at_once_lose_nothing(home: Home, new_run: NewRun, spawn: Spawn, rows: Rows) -> None:
    new_run("one")
    publish(home)
    code = """
from store import ingest, runs
with Store.open(home) as store:
    say("ready"); input()
    for number in range(3):
        runs.tag(store, "one", add=(sys.argv[2] + str(number),))
"""
    people = [spawn(code, word) for word in ("a", "b")]
    for person in people:
        person.hears("ready")
    for person in people:
        person.tell()
    for person in people:
        person.done()
    assert rows("SELECT tags FROM runs") == [(["a0", "a1", "a2", "b0", "b1", "b2"],)]


RUN = """
lock = RunLock(home.runs / "one")
lock.acquire()
journal = Journal(home.runs / "one")
journal.append("run_created", {**CREATED, "run_id": "one"})
journal.append("run_started", PROCESS)
say("runs"); input()
journal.append("run_ended", {"state": "finished", "reason": None})
journal.close()
lock.release()
say("over"); input()
"""


def test_a_live_run_is_running_and_one_that_was_killed_says_so(home: Home, spawn: Spawn) -> None:
    run = spawn(RUN)
    run.hears("runs")
    publish(home)
    with Store.open(home) as store:
        assert runs.find_run(store, "one")["state"] == "running"
        run.kill()
        now = runs.find_run(store, "one")
        assert (now["state"], now["reason"]) == ("killed", f"its process (PID {run.pid}) ended without a word")
        assert runs.list_runs(store)[0]["state"] == "killed"
        assert store.rows("SELECT state FROM runs") == [{"state": "running"}]
    with Store.open(home) as store:
        found = store.rows("SELECT state, reason, ended_at = heartbeat_at AS dated FROM runs")
    assert found == [{"state": "killed", "reason": f"its process (PID {run.pid}) ended without a word", "dated": True}]


def test_a_run_that_was_killed_before_any_publish(home: Home, spawn: Spawn) -> None:
    run = spawn(RUN)
    run.hears("runs")
    run.kill()
    with Store.open(home) as store:
        assert store.rows("SELECT state FROM runs") == [{"state": "killed"}]


def test_a_live_run_s_journal_is_left_to_it(home: Home, spawn: Spawn) -> None:
    run = spawn(RUN)
    run.hears("runs")
    with Store.open(home) as store:
        assert store.rows("FROM runs") == []


def test_a_run_that_ends_while_its_journal_is_read_was_not_killed(
    home: Home, spawn: Spawn, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = spawn(RUN)
    run.hears("runs")
    publish(home)
    take = ingest.take_events

    def late(*arguments: Any) -> None:
        """Comes after the journals are read, and before the locks are asked."""
        run.tell()
        run.hears("over")
        take(*arguments)

    monkeypatch.setattr(ingest, "take_events", late)
    publish(home)
    monkeypatch.undo()
    assert rows("SELECT state FROM runs") == [("running",)]
    publish(home)
    assert rows("SELECT state FROM runs") == [("finished",)]


def test_a_run_of_before_the_restart_is_lost(home: Home, new_run: NewRun, rows: Rows) -> None:
    new_run("one", started={"boot_id": "another start"})
    Store.open(home).close()
    assert rows("SELECT state, reason FROM runs") == [("lost", "the machine was restarted")]


@pytest.mark.parametrize(("ago", "state"), [(3600.0, "lost"), (1.0, "running")])
def test_a_silent_run_of_another_machine_is_lost(
    home: Home, rows: Rows, new_run: NewRun, ago: float, state: str
) -> None:
    new_run("one", started={"host": "elsewhere", "boot_id": "other"})
    path = home.runs / "one" / "events-0001.jsonl"
    lines = [json.loads(line) | {"at": time.time() - ago} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    Store.open(home).close()
    found = rows("SELECT state, reason FROM runs")
    assert found[0][0] == state
    assert state == "running" or "elsewhere" in found[0][1]


def test_the_boot_id_is_known_here() -> None:
    assert boot_id() is None or len(boot_id() or "") == 36


def test_a_stray_folder_and_files_hinder_nobody(home: Home, new_run: NewRun, rows: Rows) -> None:
    new_run("one")
    (home.runs / "notes.txt").write_text("mine")
    (home.runs / "empty").mkdir()
    (home.runs / "one" / "events-0001 (copy).jsonl").write_text("{}\n")
    publish(home)
    assert rows("SELECT run_id FROM runs") == [("one",)]


def test_many_segments_are_taken_in_at_once(home: Home, rows: Rows, new_run: NewRun) -> None:
    new_run("one")
    publish(home)
    for number in range(1, 401):
        line = {"n": 1, "at": 1.7e9, "event": "run_noted", "run_id": "one", "note": f"note {number}"}
        (home.edits / f"events-{number:04d}.jsonl").write_text(json.dumps(line) + "\n")
    started = time.monotonic()
    publish(home)
    assert time.monotonic() - started < 30
    assert rows("SELECT note FROM runs") == [("note 400",)]
    assert rows("SELECT count(*) FROM journal_offsets WHERE source = 'edits'") == [(400,)]
