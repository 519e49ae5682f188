"""Publishing with other processes about: nobody is blocked, nothing is lost, every state is whole."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.database.connection import explain
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing import publish as publishing
from store.publishing.fresh_read import fresh_read
from store.publishing.publish import Publisher, publish

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]
Digest = Callable[[Path], str]

PUBLISHER = """
run_id, times = sys.argv[2], int(sys.argv[3])
lock = RunLock(home.runs / run_id)
lock.acquire()
journal = Journal(home.runs / run_id)
journal.append("run_created", {**CREATED, "run_id": run_id})
journal.append("run_started", PROCESS)
for epoch in range(1, times + 1):
    metrics = [{"split": "train", "subgroup": "all", "name": f"m{n}", "value": epoch} for n in range(5)]
    journal.append("measured", {"epoch": epoch, "step": epoch, "metrics": metrics})
    publish(home, wait=120)
"""
READER = """
opens, most, problems = 0, {}, []
def seen():
    found = os.stat(home.database)
    return found.st_ino, found.st_mtime_ns, found.st_size
while not (home.path / "enough").exists():
    before = seen()
    connection = None
    try:
        connection = duckdb.connect(str(home.database), read_only=True)
        if seen() != before:
            continue  # it opens a file twice: the header may be of the old one, the blocks of the new one
        found = connection.execute("SELECT run_id, epoch, count(*) FROM metrics GROUP BY ALL").fetchall()
        offsets = connection.execute("SELECT count(*) FROM journal_offsets").fetchone()[0]
        runs = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
    except duckdb.Error as error:
        if seen() == before:
            problems.append(str(error))
        continue
    finally:
        if connection is not None:
            connection.close()
    time.sleep(0.02)
    opens += 1
    epochs = {}
    for run, epoch, count in found:
        epochs.setdefault(run, []).append(epoch)
        if count != 5:
            problems.append(f"{run} epoch {epoch}: {count} of 5 rows")
    if offsets != runs:
        problems.append(f"{offsets} journals of {runs} runs")
    for run, numbers in epochs.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)) or len(numbers) < most.get(run, 0):
            problems.append(f"{run}: epochs {sorted(numbers)} after {most.get(run)}")
        most[run] = len(numbers)
say(json.dumps([opens, problems]))
"""


def test_two_publishers_and_two_readers(home: Home, spawn: Callable[..., Any], rows: Rows) -> None:
    readers = [spawn(READER) for _ in range(2)]
    publishers = [spawn(PUBLISHER, name, 10) for name in ("a", "b")]
    for publisher in publishers:
        publisher.done()
    (home.path / "enough").touch()
    for reader in readers:
        opens, problems = json.loads(reader.done())
        assert opens > 5
        assert problems == []
    found = rows("SELECT run_id, count(*) FROM metrics GROUP BY ALL ORDER BY ALL")
    assert found == [("a", 50), ("b", 50)]
    assert not list(home.path.glob("*.new-*"))


def test_an_open_reader_blocks_nobody(home: Home, spawn: Callable[..., Any], new_run: NewRun, rows: Rows) -> None:
    reader = spawn("""
connections = [duckdb.connect(str(path), read_only=True) for path in (home.database, home.vectors)]
say("open"); input()
say(connections[0].execute("SELECT count(*) FROM runs").fetchone()[0])
""")
    reader.hears("open")
    for name in ("one", "two", "three"):
        new_run(name).append("vectors_made", {"encoder": "e", "dimension": 1}, columns={"sha256": [], "vector": []})
        publish(home, wait=0)
    assert len(rows("SELECT 1 FROM runs")) == 3
    reader.tell()
    assert reader.done().strip() == "0", "it reads on in the state that it opened"


PERSON = """
connection = duckdb.connect(str(home.database))
connection.execute("CREATE TABLE mine AS SELECT 42 AS answer")
say("open"); input()
connection.execute("INSERT INTO mine VALUES (43)")
connection.close()
"""


def test_a_person_who_writes_makes_publishing_wait(
    home: Home, spawn: Callable[..., Any], new_run: NewRun, rows: Rows
) -> None:
    person = spawn(PERSON)
    person.hears("open")
    new_run("one")
    with pytest.raises(StoreBusy) as caught:
        publish(home, wait=0.3)
    assert caught.value.pid == person.pid
    assert str(person.pid) in str(caught.value)
    assert str(home.database) in str(caught.value)
    with pytest.raises(StoreBusy, match=str(person.pid)):
        open_store(home)
    patient = threading.Thread(target=publish, args=(home,), kwargs={"wait": 100})
    patient.start()
    person.tell()
    person.done()
    patient.join()
    assert rows("SELECT answer FROM mine ORDER BY 1") == [(42,), (43,)]
    assert rows("SELECT run_id FROM runs") == [("one",)]


def test_a_person_who_writes_vectors_makes_publishing_wait(
    home: Home, spawn: Callable[..., Any], new_run: NewRun
) -> None:
    person = spawn('c = duckdb.connect(str(home.vectors)); say("open"); input()')
    person.hears("open")
    new_run("one").append("vectors_made", {"encoder": "e", "dimension": 1}, columns={"sha256": [], "vector": []})
    with pytest.raises(StoreBusy) as caught:
        publish(home, wait=0.1)
    assert caught.value.pid == person.pid
    assert "vectors.duckdb" in str(caught.value)


KILLED_WRITER = """
connection = duckdb.connect(str(home.database))
connection.execute("CREATE TABLE mine AS SELECT 42 AS answer")
connection.execute("CHECKPOINT")
connection.execute("INSERT INTO mine VALUES (43)")
die()
"""


@pytest.mark.parametrize("reading", [False, True], ids=["alone", "beside a reader"])
def test_the_log_of_a_killed_writer_is_taken_in(
    home: Home, spawn: Callable[..., Any], new_run: NewRun, rows: Rows, reading: bool
) -> None:
    assert spawn(KILLED_WRITER).end()[0] == -9
    log = home.path / "sracl.duckdb.wal"
    assert log.stat().st_size > 0
    new_run("one")
    if reading:
        with open_store(home, ingest=False) as store:
            assert [row["answer"] for row in store.rows("SELECT answer FROM mine ORDER BY 1")] == [42, 43]
            publish(home, wait=0)
            assert len(store.rows("FROM runs")) == 1
    else:
        publish(home, wait=0)
    assert not log.exists()
    assert not list(home.path.glob("*.taken-*"))
    assert rows("SELECT answer FROM mine ORDER BY 1") == [(42,), (43,)]
    assert rows("SELECT run_id FROM runs") == [("one",)]


def test_a_log_that_was_set_aside_before_a_kill_comes_back(home: Home, spawn: Callable[..., Any], rows: Rows) -> None:
    spawn(KILLED_WRITER).end()
    log = home.path / "sracl.duckdb.wal"
    log.rename(f"{log}.taken-{home.database.stat().st_ino}")
    publish(home)
    assert rows("SELECT answer FROM mine ORDER BY 1") == [(42,), (43,)]


def test_a_log_that_was_taken_in_before_a_kill_is_removed(home: Home, rows: Rows) -> None:
    left = home.path / f"sracl.duckdb.wal.taken-{home.database.stat().st_ino + 1}"
    left.write_bytes(b"taken in already")
    publish(home)
    assert not left.exists()
    assert rows("SELECT 1 AS one") == [(1,)]


def test_a_log_without_its_database_hinders_nobody(home: Home, spawn: Callable[..., Any], rows: Rows) -> None:
    spawn(KILLED_WRITER).end()
    home.database.unlink()
    home.vectors.unlink()  # a new home, then
    publish(home)
    assert (home.path / "sracl.duckdb.wal.orphan").exists()
    assert rows("SELECT count(*) FROM runs") == [(0,)]


@pytest.mark.parametrize("how", ["itself", "another"])
def test_a_publisher_killed_before_the_replacement_changes_nothing(
    home: Home, spawn: Callable[..., Any], new_run: NewRun, rows: Rows, digest: Digest, how: str
) -> None:
    new_run("one")
    before = digest(home.database)
    if how == "itself":
        code, _ = spawn("publish(home, apply=die)").end()
        assert code == -9
    else:
        publisher = spawn('publish(home, apply=lambda c: (say("there"), time.sleep(100)))')
        publisher.hears("there")
        publisher.kill()
    assert digest(home.database) == before
    stale = list(home.path.glob("*.new-*"))
    assert stale
    folder = home.path / "sracl.duckdb.new-1.tmp"
    folder.mkdir()
    (folder / "duckdb_temp_storage").touch()
    assert publish(home).events == 2
    assert not list(home.path.glob("*.new-*"))
    assert rows("SELECT run_id FROM runs") == [("one",)]


WRITER = """
connection = duckdb.connect(str(home.database))
connection.execute("CREATE TABLE IF NOT EXISTS mine (answer INTEGER)")
connection.execute("INSERT INTO mine VALUES (42)")
connection.close()
"""


def test_a_writer_between_copy_and_replacement_is_noticed(
    home: Home, spawn: Callable[..., Any], new_run: NewRun, rows: Rows
) -> None:
    calls: list[object] = []

    def apply(connection: object) -> None:
        calls.append(connection)
        if len(calls) == 1:
            spawn(WRITER).done()

    new_run("one")
    publish(home, apply=apply)
    assert len(calls) == 2
    assert rows("SELECT answer FROM mine") == [(42,)]
    assert rows("SELECT run_id FROM runs") == [("one",)]


def test_a_writer_who_came_in_after_the_copy_and_is_still_there_is_noticed(
    home: Home, spawn: Callable[..., Any], new_run: NewRun, rows: Rows
) -> None:
    """It has not written yet, so that the file looks the same; replacing it would lose what it writes then."""
    people: list[Any] = []

    def apply(connection: object) -> None:
        people.append(spawn('c = duckdb.connect(str(home.database)); say("open"); input(); ' + WRITER))
        people[-1].hears("open")

    new_run("one")
    with pytest.raises(StoreBusy) as caught:
        publish(home, apply=apply, wait=0)
    assert caught.value.pid == people[0].pid
    people[0].tell()
    people[0].done()
    publish(home)
    assert rows("SELECT answer FROM mine") == [(42,)]
    assert rows("SELECT run_id FROM runs") == [("one",)]


def test_another_publisher_is_waited_for(home: Home, spawn: Callable[..., Any], rows: Rows, new_run: NewRun) -> None:
    slow = spawn('publish(home, apply=lambda c: (say("there"), input()))')
    slow.hears("there")
    with pytest.raises(StoreBusy, match="another process is publishing"):
        publish(home, wait=0.1)
    new_run("one")
    slow.tell()
    publish(home)
    slow.done()
    assert rows("SELECT run_id FROM runs") == [("one",)]


def test_a_file_keeps_who_may_read_it(home: Home) -> None:
    home.database.chmod(0o600)
    publish(home)
    assert home.database.stat().st_mode & 0o777 == 0o600


def test_a_failing_change_leaves_no_trace(home: Home, new_run: NewRun, digest: Digest) -> None:
    new_run("one")
    before = digest(home.database)

    def apply(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("CREATE TABLE other (a INTEGER)")
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        publish(home, apply=apply)
    assert digest(home.database) == before
    assert not list(home.path.glob("*.new-*"))
    assert publish(home).events == 2


def test_the_publisher_thread_publishes_on_request_and_at_the_end(home: Home, new_run: NewRun, rows: Rows) -> None:
    publisher = Publisher(home)
    publisher.start()
    journal = new_run("one")
    publisher.request()
    deadline = time.monotonic() + 60
    while not rows("FROM runs") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert rows("SELECT run_id FROM runs") == [("one",)]
    journal.append("stopping", {"reason": "asked"})
    publisher.close()
    assert publisher.warnings == []
    assert rows("SELECT reason FROM runs WHERE state <> 'stopping' OR reason = 'asked'") != []


def test_the_publisher_thread_survives_what_hinders_it(home: Home, spawn: Callable[..., Any], new_run: NewRun) -> None:
    person = spawn(PERSON)
    person.hears("open")
    publisher = Publisher(home)
    new_run("one")
    publisher._publish(wait=0)
    assert str(person.pid) in publisher.warnings[0]
    person.tell()
    person.done()
    publisher.close()
    assert publisher.warnings == []


def test_the_publisher_thread_waits_for_the_crowd_and_counts_only_its_own_work(
    home: Home, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[publishing.PublishReport] = []
    publisher = Publisher(home, done=told.append)
    new_run("one")
    with publishing.side_lock(home, 0.0):
        publisher._publish(wait=0)
    assert publisher.warnings[0].endswith("another process is publishing")
    assert publisher._pause == publishing.AGAIN_SECONDS
    lock, clock, waited = publishing.side_lock, time.monotonic, [0.0]

    @contextmanager
    def crowded(home: Home, deadline: float) -> Iterator[None]:
        waited[0] += 60.0
        with lock(home, deadline):
            yield

    monkeypatch.setattr(publishing, "side_lock", crowded)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + waited[0])
    publisher._publish(wait=90)
    assert told[0].events > 0
    assert 0 < told[0].seconds < 60
    assert publisher._interval == max(publishing.EVERY_SECONDS, publishing.TIMES_LAST * told[0].seconds)
    for written, pause in ((0, 10.0), (10_000_000, 36.0), (0, 10.0), (2_000_000_000, 90.0)):
        report = publishing.PublishReport(seconds=0.1, written=written)
        monkeypatch.setattr(publishing, "publish", lambda *_, report=report, **__: report)
        publisher._publish(wait=0)
        assert publisher._interval == pytest.approx(pause)
    os.truncate(home.database, 3_000_000_000)  # a large file, of which little is on the disk
    for written, pause in (
        (229e6, 824.4),
        (2.9e9, 1800.0),
        (3.1e9, 90.0),
        (3.1e9, 11_160.0),
        (1e6, 10.0),
        (3.1e9, 90.0),
    ):
        report = publishing.PublishReport(seconds=0.1, written=int(written))
        monkeypatch.setattr(publishing, "publish", lambda *_, report=report, **__: report)
        publisher._publish(wait=0)
        assert publisher._interval == pytest.approx(pause), "only a copy after a part is not paid for in whole"


def test_a_publish_of_another_run_counts_and_a_request_does_not_wait(home: Home) -> None:
    """Each run would else publish as often as if it were alone."""
    told: list[publishing.PublishReport] = []
    publisher = Publisher(home, done=told.append)
    publish(home)
    assert publishing.EVERY_SECONDS - 5 < publisher._rest() <= publishing.EVERY_SECONDS
    publisher._thread.start()
    time.sleep(0.2)
    assert told == [], "another one has just published"
    deadline = time.monotonic() + 60
    publisher.request()
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told
    publisher.close()


def test_a_lock_of_an_unknown_process_is_busy_too() -> None:
    error = duckdb.IOException("IO Error: Could not set lock on file")
    found = explain(error, Path("x"))
    assert isinstance(found, StoreBusy)
    assert found.pid is None


def test_what_is_read_beside_the_catching_up_is_read_again_only_where_something_was_left(
    home: Home, new_run: NewRun
) -> None:
    looks: list[list[str]] = []
    with open_store(home) as store:

        def look() -> list[str]:
            looks.append([row["run_id"] for row in store.rows("SELECT run_id FROM runs")])
            return looks[-1]

        assert fresh_read(home, look) == ([], None)
        assert len(looks) == 1
        new_run("one", started={"boot_id": "another start"}).close()
        assert fresh_read(home, look) == (["one"], None)
        assert len(looks) == 3
        assert fresh_read(home, look) == (["one"], None)
        assert len(looks) == 4


def test_what_hinders_the_catching_up_beside_a_read_is_told_and_what_it_cannot_read_is_raised(
    home: Home, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_run("one", started={"boot_id": "another start"}).close()

    def busy(_: Home, **options: float) -> None:
        raise StoreBusy("another process is publishing", pid=None)

    monkeypatch.setattr(publishing, "publish", busy)
    found, behind = fresh_read(home, lambda: "rows")
    assert found == "rows"
    assert isinstance(behind, StoreBusy)
    home.database.write_bytes(b"no database")
    with pytest.raises(StoreError):
        fresh_read(home, lambda: "rows")
