"""Files that say who executes a run, whatever a full disk or a hand has made of them."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from store.journal.journal import lock_process
from store.journal.submission import FILE, read_handle, write_handle
from store.locks import MAX_PID, holder_name, holder_pid
from store.process_state import Handle

NUMBER = itertools.count()
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2))


@settings(max_examples=60, deadline=None, database=None)
@example(b"-1 12.5 here")
@example(b"0")
@example(b"7 12.5 here")
@example(b"7 12.5")
@example(b"7 nan here")
@example(b"9" * 5000)
@given(
    st.binary(max_size=30)
    | st.lists(st.integers(-9, 9) | st.floats(allow_subnormal=False), max_size=3).map(
        lambda v: " ".join(map(str, v)).encode()
    )
)
def test_no_lock_file_names_a_group_of_processes(tmp_path_factory, words: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / f"lock-{next(NUMBER)}"
    folder.mkdir()
    (folder / "lock").write_bytes(words)
    pid, began, machine = lock_process(folder)
    assert pid == holder_pid(folder / "lock")
    assert pid is None or 0 < pid <= MAX_PID
    text = words.decode("utf-8", errors="replace").split()
    assert began is None or (began == float(text[1]) and math.isfinite(began))
    assert machine is None or machine == text[2]
    assert holder_name(folder / "lock").startswith("process ")
    if words == b"7 12.5 here":
        assert (pid, began, machine) == (7, 12.5, "here")


@settings(max_examples=60, deadline=None, database=None)
@example(b'{"executor": "slurm", "handle": [1]}')
@example(b'{"executor": ')
@given(
    st.binary(max_size=30)
    | st.fixed_dictionaries({"executor": JSON, "handle": JSON}).map(lambda v: json.dumps(v).encode())
)
def test_any_content_gives_a_handle(tmp_path_factory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / f"handle-{next(NUMBER)}"
    folder.mkdir()
    (folder / FILE).write_bytes(content)
    handle = read_handle(folder)
    assert hash(handle)
    assert handle.run_id == folder.name
    assert isinstance(handle.executor, str)
    assert handle.id is None or isinstance(handle.id, str)


def test_a_handle_is_read_as_it_was_written(tmp_path: Path) -> None:
    for handle in (
        Handle(run_id=tmp_path.name, executor="slurm", id="4711"),
        Handle(run_id=tmp_path.name, executor="/a path/of.py:Mine"),
        Handle(run_id=tmp_path.name),
    ):
        write_handle(tmp_path, handle)
        assert read_handle(tmp_path) == handle
    assert not (tmp_path / FILE).exists(), "nothing is written of a local run"
