"""A changed journal or table is never taken for what was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.home import Home
from store.journal.journal import Journal, read_lines
from store.journal.seals import is_sealed, sealed
from store.publishing.publish import publish

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]
MEASURED = {"epoch": 1, "step": 1, "metrics": [{"split": "test", "subgroup": "all", "name": "hr@5", "value": 0.104}]}
NUMBERED = b'{"n":1,"at":1.0,"event":"measured","value":0.104}'


def test_the_seal_of_a_line_is_the_crc_of_all_before_it() -> None:
    line = sealed(NUMBERED)
    assert line == NUMBERED[:-1] + b',"crc":"8465e4ee"}'
    assert json.loads(line) == json.loads(NUMBERED) | {"crc": "8465e4ee"}
    assert (is_sealed(line), is_sealed(NUMBERED)) == (True, None)


@given(place=st.integers(0, len(sealed(NUMBERED)) - 1), byte=st.integers(0, 255))
def test_no_change_of_a_byte_gives_another_event(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    """Also in a segment of this line alone, where no other one tells that lines have seals."""
    line = sealed(NUMBERED)
    changed = line[:place] + bytes([byte]) + line[place + 1 :]
    path = tmp_path_factory.mktemp("changed") / "events-0001.jsonl"
    path.write_bytes(changed + b"\n")
    found, _, problems = read_lines(path)
    assert [(event.event, event.fields) for event in found] == [("measured", {"value": 0.104})] * (changed == line)
    assert bool(problems) == (changed != line)


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "from an offset"])
def test_a_line_without_a_seal_in_a_sealed_segment_is_damage(tmp_path: Path, apart: bool) -> None:
    journal = Journal(tmp_path)
    journal.append("first", {})
    path = tmp_path / "events-0001.jsonl"
    start = path.stat().st_size if apart else 0
    with path.open("ab") as file:
        file.write(NUMBERED.replace(b'"n":1', b'"n":2') + b"\n")
    found, end, problems = read_lines(path, start)
    assert [line.event for line in found] == [] if apart else ["first"]
    assert end == path.stat().st_size
    assert [problem.partition(": ")[2] for problem in problems] == [
        "a damaged line was skipped, which has lost its checksum: number 2, 'measured'"
    ]


def test_a_journal_of_an_earlier_version_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "events-0001.jsonl"
    path.write_bytes(NUMBERED + b"\n" + b'{"n":2,"at":1.0,"event":"b","table":"x.parquet"}\n')
    found, _, problems = read_lines(path)
    assert problems == []
    assert [(line.number, line.sealed, line.table_bytes, line.table_sha256) for line in found] == [
        (1, False, None, None),
        (2, False, None, None),
    ]


def test_a_changed_digit_is_not_taken_in_and_what_is_stored_stays(home: Home, new_run: NewRun, rows: Rows) -> None:
    journal = new_run("one")
    journal.append("measured", MEASURED)
    publish(home)
    path = home.runs / "one" / "events-0001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0.104", b"0.904"))
    journal.append("device_used", {"device": "cpu"})
    assert publish(home).warnings == []
    assert rows("SELECT value FROM metrics") == [(0.104,)]
    assert ["0.904" in problem or "measured" in problem for problem in read_lines(path)[2]] == [True]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("flip", "the checksum differs"),
        ("cut", "bytes, and"),
        ("delete", "it is missing"),
        ("directory", "it is no plain file"),
    ],
)
def test_a_changed_table_is_not_taken_in(home: Home, new_run: NewRun, rows: Rows, how: str, told: str) -> None:
    columns = {"user_id": [1, 2], "rank": [3, 4]}
    new_run("one").append("evaluated", {**MEASURED, "split": "test"}, columns=columns)
    (path,) = (home.runs / "one").glob("*.parquet")
    data = path.read_bytes()
    path.unlink()
    if how == "directory":
        path.mkdir()
    elif how != "delete":
        path.write_bytes(data[:-1] if how == "cut" else data[:9] + bytes([data[9] ^ 1]) + data[10:])
    (warning,) = publish(home).warnings
    assert str(path) in warning
    assert told in warning
    assert rows("SELECT value FROM metrics") == [(0.104,)]
    assert rows("FROM user_ranks") == []
