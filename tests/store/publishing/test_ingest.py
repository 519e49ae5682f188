"""Journals become rows: every event, once, whatever else lies in the folder."""

from __future__ import annotations

import errno
import inspect
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
    Warned,
    WeightsSampled,
)
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing.projection import Projector
from store.publishing.publish import publish
from store.queries.runs import list_runs, warnings_of

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]
Tell = Callable[[Journal, Event], None]
Spawn = Callable[..., Any]

TALK = {"stage_started", "stage_progress", "stage_finished", "step_finished", "weights_seen"}
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
    taken = {name.removeprefix("_on_") for name in dir(Projector) if name.startswith("_on_")} | {"vectors_made"}
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


@pytest.mark.parametrize("apart", [False, True])
def test_answers_of_one_publish_are_taken_as_if_they_came_one_by_one(
    home: Home, new_run: NewRun, tell: Tell, rows: Rows, apart: bool
) -> None:
    journal = new_run("one")
    told = [("k1", "rules", True), ("k1", "paid", False), ("k1", "paid again", False), ("k2", "paid", False),
            ("k2", "rules", True), ("k3", "rules", True), ("k3", "other rules", True)]  # fmt: skip
    for key, text, fallback in told:
        tell(journal, _summaries(key, text=text, fallback=fallback))
        if apart:
            publish(home)
    publish(home)
    found = rows("SELECT key, text, fallback, run_id, created_at IS NOT NULL FROM summaries ORDER BY key")
    assert found == [
        ("k1", "paid", False, "one", True),
        ("k2", "paid", False, "one", True),
        ("k3", "rules", True, "one", True),
    ]


def test_a_thousand_calls_take_a_statement_and_not_a_thousand(
    home: Home, new_run: NewRun, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = new_run("one")
    for place in range(1000):
        columns = {
            "key": [f"k{place}"],
            "attempt": [1],
            "status": [200 if place else None],
            "sent_at": [1.0 + place],
            "usd": [0.5],
        }
        journal.append("api_called", {"provider": "p", "model": "m"}, columns=columns, durable=True)
    seen: list[int] = []
    flush = Projector.flush

    def counted(self: Projector) -> None:
        seen.append(sum(map(len, self._gathered.values())))
        flush(self)

    monkeypatch.setattr(Projector, "flush", counted)
    assert publish(home).warnings == []
    assert seen == [1000]
    found = rows("SELECT count(*), sum(usd), count(status), min(sent_at), max(sent_at) FROM api_calls")[0]
    assert found[:3] == (1000, 500.0, 999)
    assert (found[4] - found[3]).total_seconds() == 999


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


def test_warnings_are_rows_each_message_once(home: Home, new_run: NewRun, tell: Tell, rows: Rows) -> None:
    first, second = new_run("one"), new_run("two")
    new_run("three")
    for message in ("no text", "slow", "no text"):
        tell(first, Warned(message=message))
    tell(second, Warned(message="no text"))
    publish(home)
    tell(first, Warned(message="slow"))
    publish(home)
    assert rows("SELECT run_id, message FROM run_warnings ORDER BY ALL") == [
        ("one", "no text"),
        ("one", "slow"),
        ("two", "no text"),
    ]
    with open_store(home) as store:
        assert {row["run_id"]: row["warnings"] for row in list_runs(store)} == {"one": 2, "two": 1, "three": 0}
        assert warnings_of(store, ["one", "three"]) == {"one": ["no text", "slow"], "three": []}


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


def test_calls_and_answers_are_taken_from_the_line_or_from_a_file_alike(
    home: Home, new_run: NewRun, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(key: str) -> dict[str, list[Any]]:
        prices = {name: [None] for name in ("usd_per_million_in", "usd_per_million_out", "usd_per_million_cached")}
        tokens = {"tokens_in": [7], "tokens_out": [None], "tokens_cached": [0]}
        told = {"sent_at": [1.5], "status": [None], "error": ["timeout"], "latency_seconds": [0.25], "usd": [None]}
        return {"key": [key], "attempt": [1], **told, **tokens, **prices}

    journal = new_run("one")
    journal.append("api_called", {"provider": "p", "model": "m"}, columns=call("inline"), durable=True)
    assert not list((home.runs / "one").glob("*.parquet"))
    monkeypatch.setattr("store.journal.journal.INLINE_ROWS", 0)
    journal.append("api_called", {"provider": "p", "model": "m"}, columns=call("file"), durable=True)
    assert len(list((home.runs / "one").glob("*.parquet"))) == 1
    assert publish(home).warnings == []
    assert publish(home).warnings == []
    found = rows(
        "SELECT key, run_id, provider, epoch(sent_at), status, error, tokens_in, usd FROM api_calls ORDER BY key"
    )
    assert found == [(key, "one", "p", 1.5, None, "timeout", 7, None) for key in ("file", "inline")]


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


@pytest.mark.parametrize("event", ["vectors_made", "weights_sampled", "bundle_imported"])
def test_a_file_that_cannot_be_read_for_now_is_taken_in_later(
    home: Home, new_run: NewRun, rows: Rows, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    """What follows it in its segment waits with it, and other runs do not."""
    from store.publishing import bundle_reader, projection

    first, other = new_run("one"), new_run("two")
    tables = {
        "vectors_made": ({"encoder": "e", "dimension": 2}, {"sha256": ["a"], "vector": np.ones((1, 2), np.float32)}),
        "weights_sampled": (
            {"phase": "best", "epoch": 1, "step": 1},
            {"anchor_id": [1], "neighbor_id": [2], "weight": [0.5]},
        ),
        "bundle_imported": ({"file": "bundle.zip"}, None),
    }
    fields, columns = tables[event]
    first.append(event, fields, columns=columns)
    for journal in (first, other):
        journal.append("warned", {"message": "later"})
    reads = [
        (projection, "check_table", projection.check_table),
        (bundle_reader, "open_regular", bundle_reader.open_regular),
    ]

    def fails(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    for module, name, _ in reads:
        monkeypatch.setattr(module, name, fails)
    for _ in range(2):
        told = publish(home).warnings
        assert len(told) == 1
        assert "Input/output error" in told[0]
        assert rows("SELECT run_id, message FROM run_warnings") == [("two", "later")]
        assert rows("SELECT run_id FROM runs ORDER BY ALL") == [("one",), ("two",)]
    for module, name, read in reads:
        monkeypatch.setattr(module, name, read)
    publish(home)
    assert rows("SELECT run_id FROM run_warnings ORDER BY ALL") == [("one",), ("two",)]
    counts = "SELECT (SELECT count(*) FROM vectors.vectors), (SELECT count(*) FROM synthesizer_weights)"
    assert rows(counts) == [(int(event == "vectors_made"), int(event == "weights_sampled"))]
