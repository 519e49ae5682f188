"""Journals that are torn, damaged, or of another version: what can be read is taken in, the rest is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from store.home import Home
from store.journal.journal import Journal
from store.journal.seals import sealed
from store.opening import open_store
from store.publishing.publish import publish

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]


def _epoch(epoch: int) -> dict[str, Any]:
    metrics = [{"split": "train", "name": "loss", "value": 0.5, "subgroup": "all"}]
    times = {"seconds": 2.0, "evaluate_seconds": 0.5}
    return {"epoch": epoch, "step": 10 * epoch, "improved": False, "metrics": metrics, **times}


def _summaries(key: str) -> dict[str, list[Any]]:
    numbers = {name: [0] for name in ("tokens_in", "tokens_out", "tokens_cached")}
    return {"key": [key], "text": ["likes"], **numbers, "usd": [0.0], "finish_reason": ["stop"], "fallback": [False]}


def test_a_torn_last_line_waits_for_its_rest(home: Home, new_run: NewRun, rows: Rows) -> None:
    new_run("one")
    path = home.runs / "one" / "events-0001.jsonl"
    size = path.stat().st_size
    line = sealed(b'{"n":3,"at":1.0,"event":"device_used","device":"cpu"}') + b"\n"
    with path.open("ab") as file:
        file.write(line[:50])
    publish(home)
    assert rows("SELECT position FROM journal_offsets") == [(size,)]
    assert rows("SELECT device FROM runs") == [(None,)]
    with path.open("ab") as file:
        file.write(line[50:])
    publish(home)
    assert rows("SELECT device FROM runs") == [("cpu",)]


def test_a_torn_last_line_of_a_dead_run_is_no_reason_to_publish(home: Home, new_run: NewRun) -> None:
    new_run("one").append("run_ended", {"state": "finished", "reason": None})
    with (home.runs / "one" / "events-0001.jsonl").open("ab") as file:
        file.write(b'{"n":4,"at":1.')
    with open_store(home):
        inode = home.database.stat().st_ino
    with open_store(home):
        assert home.database.stat().st_ino == inode


def test_damage_and_missing_tables_are_skipped_with_a_word(
    home: Home, new_run: NewRun, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.journal.journal.INLINE_ROWS", 0)
    journal = new_run("one")
    journal.append("summaries_made", {}, columns=_summaries("k1"))
    next((home.runs / "one").glob("*.parquet")).unlink()
    journal.append("neighbors_found", {"list_id": "l"}, columns={"anchor_id": [1]})
    sorted((home.runs / "one").glob("*.parquet"))[-1].write_bytes(b"PAR1 no longer")
    with (home.runs / "one" / "events-0001.jsonl").open("ab") as file:
        file.write(b"}} damaged\n")
    Journal(home.runs / "one").append("summaries_made", {}, columns=_summaries("k2"))
    damaged, missing, broken = publish(home).warnings
    assert "damaged" in damaged
    assert "events-0001-000003.parquet" in missing
    assert "'neighbors_found'" in broken
    assert rows("SELECT key FROM summaries") == [("k2",)]
    assert rows("FROM neighbor_lists") == []
    assert publish(home).warnings == []


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


def test_events_that_do_not_fit_hinder_no_other(home: Home, new_run: NewRun, rows: Rows) -> None:
    bad = new_run("bad")
    for event, fields, columns in UNFIT:
        bad.append(event, fields, columns=columns)
    bad.append("device_used", {"device": "cpu"})
    new_run("good").append("epoch_finished", _epoch(1))
    bad.append("epoch_finished", _epoch(4))
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
