"""Files that are replaced whole, or not at all."""

from __future__ import annotations

import os

import pytest

from engine.files import atomic_write, flush_to_disk


def test_the_new_file_takes_the_place_of_the_old_one_when_the_block_ends(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        flush_to_disk(temporary)
        assert temporary.parent == tmp_path
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["facts.json"]


def test_the_old_file_stays_when_the_block_raises(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text("old")
    with pytest.raises(TypeError), atomic_write(path) as temporary:
        temporary.write_text("ne") + "w"
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["facts.json"]


def test_what_a_dead_process_with_our_number_left_is_not_in_the_way(tmp_path):
    path, old = tmp_path / "last", tmp_path / "first"
    old.write_text("first")
    (tmp_path / f".last.{os.getpid()}").write_text("half")
    with atomic_write(path) as temporary:
        os.link(old, temporary)
    assert path.read_text() == "first"


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "facts.json"):
        pass
