"""The journal of a run, its lock, and who follows it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from store.errors import StoreBusy
from store.home import Home
from store.journal.journal import Journal, RunLock, Tail, lock_held, lock_pid, read_events, read_lines, segments

Spawn = Callable[..., Any]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_lines_are_numbered_and_there_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(3):
        journal.append("heard", {"word": f"«{number}»\n", "count": np.int64(number)})
        assert len(_lines(tmp_path / "events-0001.jsonl")) == number + 1
    lines = _lines(tmp_path / "events-0001.jsonl")
    assert [line["n"] for line in lines] == [1, 2, 3]
    expected = {"n": 3, "at": lines[2]["at"], "event": "heard", "word": "«2»\n", "count": 2, "crc": lines[2]["crc"]}
    assert lines[2] == expected


def test_every_start_is_a_segment(tmp_path: Path) -> None:
    for word in ("first", "second"):
        journal = Journal(tmp_path)
        journal.append("heard", {"word": word})
        journal.close()
        journal.close()
    assert [path.name for path in segments(tmp_path)] == ["events-0001.jsonl", "events-0002.jsonl"]
    assert [(number, line.fields) for number, line in read_events(tmp_path)] == [
        (1, {"word": "first"}),
        (2, {"word": "second"}),
    ]
    assert [line["n"] for line in _lines(tmp_path / "events-0002.jsonl")] == [1]


def test_segments_are_counted_beyond_four_digits_and_other_files_are_none(tmp_path: Path) -> None:
    for name in ("events-9999.jsonl", "events-10000.jsonl", "events-0001 (copy).jsonl", "events-old.jsonl"):
        (tmp_path / name).touch()
    assert [path.name for path in segments(tmp_path)] == ["events-9999.jsonl", "events-10000.jsonl"]
    assert Journal(tmp_path).segment == 10001


def test_two_who_open_at_once_get_two_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looked before the first had made its segment."""
    Journal(tmp_path).append("first", {})
    looks = iter([lambda folder: []])
    monkeypatch.setattr("store.journal.journal.segments", lambda folder: next(looks, segments)(folder))
    journal = Journal(tmp_path)
    assert journal.segment == 2
    journal.append("second", {})
    assert [(number, line.event) for number, line in read_events(tmp_path)] == [(1, "first"), (2, "second")]


def test_a_table_lies_beside_as_parquet(tmp_path: Path) -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    columns = {"sha256": ["a", "b", "c"], "vector": vectors, "rank": np.array([1, 2, 3], np.int16)}
    journal = Journal(tmp_path)
    journal.append("first", {})
    journal.append("vectors_made", {"encoder": "e"}, columns=columns)
    line = read_lines(tmp_path / "events-0001.jsonl")[0][1]
    assert line.fields == {"encoder": "e"}
    assert line.table == tmp_path / "events-0001-000002.parquet"
    table = pq.read_table(line.table)
    assert table["sha256"].to_pylist() == ["a", "b", "c"]
    assert str(table.schema.field("vector").type).startswith("fixed_size_list<")
    assert table["rank"].type == "int16"
    assert np.array_equal(np.stack(table["vector"].to_numpy()), vectors)
    assert not list(tmp_path.glob("*.tmp"))


def test_eight_threads_append_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def write(thread: int) -> None:
        for number in range(100):
            columns = {"a": [thread, number]} if number % 50 == 0 else None
            journal.append("heard", {"thread": thread, "number": number, "text": "x" * 500}, columns=columns)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines, _, problems = read_lines(tmp_path / "events-0001.jsonl")
    assert problems == []
    assert [line["n"] for line in _lines(tmp_path / "events-0001.jsonl")] == list(range(1, 801))
    for thread in range(8):
        assert [line.fields["number"] for line in lines if line.fields["thread"] == thread] == list(range(100))
    tables = [line for line in lines if line.table is not None]
    assert len(tables) == 16
    for line in tables:
        assert pq.read_table(line.table)["a"].to_pylist() == [line.fields["thread"], line.fields["number"]]


def test_a_torn_last_line_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "events-0001.jsonl"
    whole = b'{"n":1,"at":1.0,"event":"a","x":1}\n'
    path.write_bytes(whole + b'{"n":2,"at":2.0,"ev')
    lines, end, problems = read_lines(path)
    assert ([line.event for line in lines], end, problems) == (["a"], len(whole), [])
    with path.open("ab") as file:
        file.write(b'ent":"b"}\n')
    lines, end, problems = read_lines(path, end)
    assert ([line.event for line in lines], end, problems) == (["b"], path.stat().st_size, [])
    assert read_lines(path, end) == ([], end, [])


@pytest.mark.parametrize("bad", [b"nonsense", b"[1]", b"3", b'{"at":1.0}', b'{"event":"x"}', b"\xff\xfe", b"null"])
def test_a_damaged_line_is_skipped_with_a_word(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "events-0001.jsonl"
    path.write_bytes(b'{"n":1,"at":1.0,"event":"a"}\n' + bad + b'\n\n{"n":3,"at":3.0,"event":"b"}\n')
    lines, end, problems = read_lines(path)
    assert [line.event for line in lines] == ["a", "b"]
    assert end == path.stat().st_size
    assert len(problems) == 1
    assert "damaged" in problems[0]
    assert str(path) in problems[0]


def test_a_line_that_a_full_disk_cut_spoils_no_other(home: Home, spawn: Spawn) -> None:
    spawn("""
journal = Journal(home.runs / "one")
journal.append("first", {"text": "x" * 100})
resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        journal.append("cut", {"text": "x" * 400})
    except OSError:
        pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append("second", {})
""").done()
    lines, _, problems = read_lines(home.runs / "one" / "events-0001.jsonl")
    assert [line.event for line in lines] == ["first", "second"]
    assert len(problems) == 1


def test_half_characters_are_written_as_question_marks(tmp_path: Path) -> None:
    Journal(tmp_path).append("warned", {"message": "file \udcff.csv"})
    assert next(read_events(tmp_path))[1].fields == {"message": "file ?.csv"}


def test_a_tail_sees_each_event_once(tmp_path: Path) -> None:
    tail = Tail(tmp_path)
    assert tail.read() == []
    journal = Journal(tmp_path)
    journal.append("a", {})
    journal.append("b", {})
    assert [line.event for line in tail.read()] == ["a", "b"]
    assert tail.read() == []
    journal.append("c", {})
    Journal(tmp_path).append("d", {})
    assert [line.event for line in tail.read()] == ["c", "d"]
    assert [line.event for line in Tail(tmp_path).read()] == ["a", "b", "c", "d"]


HOLDER = """
lock = RunLock(home.runs / "one")
lock.acquire()
say("held"); input()
lock.release()
say("free"); input()
"""


def test_a_lock_is_for_one_process_and_ends_with_its_release(home: Home, spawn: Spawn) -> None:
    folder = home.runs / "one"
    assert not lock_held(folder)
    assert lock_pid(folder) is None
    holder = spawn(HOLDER)
    holder.hears("held")
    assert lock_held(folder)
    assert lock_pid(folder) == holder.pid
    with pytest.raises(StoreBusy) as caught:
        RunLock(folder).acquire()
    assert caught.value.pid == holder.pid
    assert str(holder.pid) in str(caught.value)
    holder.tell()
    holder.hears("free")
    assert not lock_held(folder)
    mine = RunLock(folder)
    mine.acquire()
    assert lock_pid(folder) == os.getpid()
    with pytest.raises(StoreBusy):
        RunLock(folder).acquire()
    mine.release()
    mine.release()
    assert not lock_held(folder)


def test_a_lock_is_free_after_kill_9(home: Home, spawn: Spawn) -> None:
    holder = spawn(HOLDER)
    holder.hears("held")
    holder.kill()
    assert not lock_held(home.runs / "one")
    lock = RunLock(home.runs / "one")
    lock.acquire()
    lock.release()


def test_a_lock_is_got_while_others_look(home: Home) -> None:
    folder, stop = home.runs / "one", threading.Event()
    looking = threading.Thread(target=lambda: [lock_held(folder) for _ in iter(stop.is_set, True)])
    looking.start()
    try:
        for _ in range(20):
            lock = RunLock(folder)
            lock.acquire()
            lock.release()
    finally:
        stop.set()
        looking.join()
