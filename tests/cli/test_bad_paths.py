"""One path that is not what it should be stops no command, and hides no other run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config import Config
from sracl_tui.runs.request import RunRequest
from sracl_tui.services.missing_neighbors import why_none
from sracl_tui.tui import keymap
from sracl_tui.tui.preferences import Preferences
from store.home import Home
from store.journal.journal import Journal, read_lines
from store.locks import FileLock
from store.opening import open_store
from store.regular_file import open_regular, read_regular

SECONDS = 20
"""After which a command hangs."""
DEEP = b'{"n":1,"at":1,"event":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
PLACES = ("events-0001.jsonl", "events-0002.jsonl", "request.json", "executor.json", "lock", "launch.log", "run.log")


@contextmanager
def limited() -> Iterator[None]:
    def hang(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def deep(path: Path) -> None:
    path.write_bytes(DEEP)


def noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


KINDS = (pipe, folder, nowhere, circle, device, deep, noise)


def make_run(home: Home, run_id: str) -> Path:
    place = home.run_folder(run_id)
    place.mkdir()
    request = RunRequest(run_id=run_id, config=Config(), name=f"name-{run_id}")
    request.write(place)
    journal = Journal(place)
    journal.append("run_created", request.created())
    journal.append("run_ended", {"state": "stopped", "reason": "for the test"})
    journal.close()
    return place


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("two") / "home")
    home.create()
    for run_id in ("bad", "good"):
        make_run(home, run_id)
    with open_store(home):
        pass
    return home.path


@settings(max_examples=14, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.sampled_from(PLACES), kind=st.sampled_from(KINDS), known=st.booleans())
def test_every_command_goes_on(
    sracl: Any, two: Path, tmp_path_factory: Any, place: str, kind: Any, known: bool
) -> None:
    home = Home(Path(shutil.copytree(two, tmp_path_factory.mktemp("bad") / "home")))
    if not known:
        make_run(home, "new")
    path = home.run_folder("bad" if known else "new") / place
    path.unlink(missing_ok=True)
    kind(path)
    with limited():
        listed = json.loads(sracl("runs", "--json", home=home.path).stdout)
        assert "good" in {run["run_id"] for run in listed}
        sracl("show", "good", home=home.path)
        sracl("queue", "list", home=home.path)
        sracl("tag", "good", "seen", home=home.path)
        if known:
            sracl("show", "bad", "--log", home=home.path)
    shutil.rmtree(home.path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_that_is_none_is_told_and_not_waited_for(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "events-0001.jsonl"
    kind(path)
    with limited():
        lines, end, problems = read_lines(path)
    assert lines == []
    assert problems
    assert all(str(path) in problem for problem in problems)
    assert end == (path.stat().st_size if kind in (deep, noise) else 0) or kind is noise


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    for number, kind in enumerate((pipe, folder, nowhere, circle, device)):
        kind(tmp_path / f"{number}")
        with pytest.raises(OSError, match=r"regular|No such|symbolic"), limited():
            open_regular(tmp_path / f"{number}")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"x"


@pytest.mark.parametrize(
    "name", ["providers.toml", "prompts/mine-1.toml", "studies/mine.toml", "keys.toml", "ui.json", ".env"]
)
def test_a_pipe_in_the_place_of_a_file_of_settings_is_not_waited_for(
    sracl: Any, two: Path, tmp_path: Path, name: str
) -> None:
    home = Home(Path(shutil.copytree(two, tmp_path / "home")))
    (home.path / name).parent.mkdir(exist_ok=True)
    pipe(home.path / name)
    refusing = {"providers.toml": ("llm", "list"), "prompts/mine-1.toml": ("prompts", "list")}
    with limited():
        if name in refusing:
            assert "regular file" in sracl(*refusing[name], home=home.path, code=2).stderr
        sracl("study", "list", home=home.path)
        keymap.read(home)
        Preferences.read(home)
        sracl("runs", home=home.path)


def test_a_run_whose_settings_were_lost_is_shown(sracl: Any, two: Path, tmp_path: Path) -> None:
    """Its sections are gone, and of a group of users the number."""
    home = Home(Path(shutil.copytree(two, tmp_path / "home")))
    values = [{"split": "test", "subgroup": "all", "name": "hr@5", "value": 0.25}]
    journal = Journal(home.run_folder("bad"))
    journal.append("evaluated", {"split": "test", "epoch": 1, "step": 1, "metrics": values})
    journal.close()
    assert "0.25" in sracl("show", "bad", home=home.path).stdout
    (home.run_folder("bad") / "request.json").unlink()
    assert (
        "request of the run cannot be read"
        in sracl("export", "bad", "--bundle", "--out", tmp_path / "b.zip", home=home.path, code=4).stderr
    )
    assert why_none({}, "inter", without="weighs no neighbors", found=True) == ""


def test_no_reader_waits_for_a_publisher_that_is_stuck(sracl: Any, two: Path, tmp_path: Path) -> None:
    home = Home(Path(shutil.copytree(two, tmp_path / "home")))
    make_run(home, "later")
    stuck = FileLock(home.path / "publish.lock")
    assert stuck.acquire()
    began = time.monotonic()
    with open_store(home) as store:
        assert time.monotonic() - began < 1.5, "half a second of waiting; the rest is opening, on a busy machine"
        assert store.behind is not None
        assert [row["run_id"] for row in store.rows("SELECT run_id FROM runs ORDER BY 1")] == ["bad", "good"]
    done = sracl("runs", home=home.path)
    assert "not in the database yet: another process is publishing" in done.stderr
    stuck.release()
    assert "later" in sracl("runs", home=home.path).stdout


def test_a_new_home_is_its_owner_s_alone_and_an_old_one_is_told(sracl: Any, tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    before = os.umask(0o022)
    try:
        with open_store(home):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    for path in (home.database, home.vectors):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    from sracl_tui.cli.doctor import _privacy

    assert "nobody else" in _privacy(home)
    home.path.chmod(0o755)
    assert "mode 755" in _privacy(home)
    sracl("runs", home=home.path)
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o755


def test_a_database_behind_a_link_is_published_where_it_is(two: Path, tmp_path: Path) -> None:
    home = Home(Path(shutil.copytree(two, tmp_path / "home")))
    (tmp_path / "elsewhere").mkdir()
    for path in (home.database, home.vectors):
        shutil.move(path, tmp_path / "elsewhere" / path.name)
        path.symlink_to(tmp_path / "elsewhere" / path.name)
    make_run(home, "later")
    with open_store(home) as store:
        assert store.rows("SELECT count(*) AS n FROM runs") == [{"n": 3}]
    assert home.database.is_symlink()
    assert home.vectors.is_symlink()
    there = sorted(path.name for path in (tmp_path / "elsewhere").iterdir())
    standbys = [name for name in there if name.startswith("sracl.duckdb.standby-")]
    assert len(standbys) <= 1
    assert [name for name in there if name not in standbys] == ["sracl.duckdb", "vectors.duckdb"]
