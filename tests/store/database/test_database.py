"""One locked-down, read-only instance per process that always shows what was published last."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from store.database.database import reading
from store.errors import QueryFailed, StoreBusy, StoreError
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from store.publishing import publish as publishing
from store.publishing.publish import publish, write_sql

NewRun = Callable[..., Journal]
Spawn = Callable[..., Any]

LOCKS = """
import fcntl, struct
for path in (home.database, home.vectors):
    with path.open("rb") as file:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
        kind, *_, pid, _ = struct.unpack("hhqqii", fcntl.fcntl(file, fcntl.F_GETLK, asked))
    say(pid if kind == fcntl.F_RDLCK else 0)
"""
"""Which process holds the two files for reading; only Linux orders the answer like this."""


def _locks(spawn: Spawn) -> list[int]:
    return [int(word) for word in spawn(LOCKS).done().split()]


def test_a_new_home_is_made(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "b")
    with open_store(home) as store:
        assert store.rows("FROM runs") == []
        assert store.rows("FROM vectors.vectors") == []
        assert store.behind is None
    assert {path.name for path in home.path.iterdir()} == {
        *("sracl.duckdb", "vectors.duckdb", "runs", "cache", "edits", "publish.lock"),
    }


FORBIDDEN = [
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM '{file}'",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM glob('{folder}/*')",
    "COPY runs TO '{folder}/out.csv'",
    "COPY runs FROM '{file}'",
    "EXPORT DATABASE '{folder}/out'",
    "ATTACH '{folder}/other.duckdb' AS other",
    "ATTACH ':memory:' AS other; CREATE TABLE other.a AS SELECT 1; COPY other.a TO '{folder}/out.csv'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET threads = 1",
    "PRAGMA memory_limit = '1MB'",
    "DETACH vectors",
    "SELECT 1; DETACH vectors",
    "BEGIN",
    "CREATE TABLE a (x INTEGER)",
    "DELETE FROM runs",
    "DROP VIEW run_results",
    "SELECT * FROM nowhere",
    "SELEC 1",
    "SELECT 'x'::INTEGER",
]


def test_a_person_s_query_gets_no_further_than_the_store(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text("a,b\n1,2\n")
    with open_store(home) as store:
        for query in FORBIDDEN:
            with pytest.raises(QueryFailed) as caught:
                store.user_sql(query.format(file=tmp_path / "file.csv", folder=tmp_path))
            assert caught.value.message
            assert store.rows("SELECT count(*) AS n FROM vectors.vectors") == [{"n": 0}], query
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.csv", "home"]


def test_a_person_s_query_gives_rows(home: Home) -> None:
    with open_store(home) as store:
        table = store.user_sql("SELECT 1 AS one; SELECT 2 AS two, 'x' AS word")
        assert table is not None
        assert table.to_pylist() == [{"two": 2, "word": "x"}]
        assert store.user_sql("-- nothing") is None
        with pytest.raises(QueryFailed, match="sracl sql --write"):
            store.user_sql("DELETE FROM runs")
        with pytest.raises(QueryFailed, match="Catalog Error"):
            store.user_sql("FROM query")  # a variable of the program is no table


def test_a_store_sees_what_is_published_without_being_opened_again(home: Home, new_run: NewRun) -> None:
    with open_store(home) as first, open_store(home) as second:
        for count, name in enumerate(("one", "two"), start=1):
            new_run(name)
            publish(home)
            for store in (first, second):
                assert store.rows("SELECT count(*) AS n FROM runs") == [{"n": count}]


def test_a_store_sees_what_another_process_publishes(home: Home, spawn: Spawn) -> None:
    with open_store(home) as store:
        spawn('publish(home, apply=lambda c: c.execute("INSERT INTO prompts VALUES (1, 2)"))').done()
        assert store.rows("FROM prompts") == [{"version": "1", "template": "2"}]


def test_new_vectors_are_seen_too(home: Home, new_run: NewRun) -> None:
    with open_store(home) as store:
        columns = {"sha256": ["s"], "vector": [[1.0]]}
        new_run("one").append("vectors_made", {"encoder": "e", "dimension": 1}, columns=columns)
        publish(home)
        assert store.rows("SELECT sha256 FROM vectors.vectors") == [{"sha256": "s"}]


def test_both_files_stay_locked_while_a_store_is_open(home: Home, spawn: Spawn, new_run: NewRun) -> None:
    """A person's writing session in the middle of our reading would show us half of what it does."""
    assert _locks(spawn) == [0, 0]
    with open_store(home) as store:
        assert _locks(spawn) == [os.getpid()] * 2
        open_store(home).close()
        new_run("one")
        publish(home)
        store.rows("FROM runs")
        publish(home, both=True)
        store.rows("FROM runs")
        assert _locks(spawn) == [os.getpid()] * 2
    assert _locks(spawn) == [0, 0]


def test_after_the_last_close_a_writer_in_this_process_can_come(home: Home) -> None:
    first, second = open_store(home), open_store(home)
    table = first.table("SELECT 1 AS a")
    with pytest.raises(QueryFailed) as caught:
        second.user_sql("SELECT CAST(i AS VARCHAR)::DATE FROM range(3) t(i)")
    first.close()
    assert second.rows("SELECT 1 AS a") == table.to_pylist()
    second.close()
    second.close()
    for path in (home.database, home.vectors):
        connection = duckdb.connect(str(path))
        connection.execute("CREATE TABLE mine AS SELECT 1 AS a")
        connection.close()
    assert caught.value.message
    with pytest.raises(StoreError, match="closed"):
        second.rows("SELECT 1")
    with pytest.raises(StoreError, match="closed"):
        second.user_sql("SELECT 1")


def test_a_failed_open_leaves_nothing_open(home: Home, spawn: Spawn) -> None:
    person = spawn('c = duckdb.connect(str(home.vectors)); say("open"); input()')
    person.hears("open")
    with pytest.raises(StoreBusy) as caught:
        open_store(home)
    assert caught.value.pid == person.pid
    assert "vectors.duckdb" in str(caught.value)
    assert _locks(spawn)[0] == 0
    person.tell()
    person.done()
    with open_store(home) as store:
        assert store.rows("SELECT 1 AS a") == [{"a": 1}]


def test_queries_in_many_threads_while_others_publish(home: Home, new_run: NewRun) -> None:
    problems: list[str] = []
    seen: list[int] = []
    enough = threading.Event()

    def read() -> None:
        with open_store(home, ingest=False) as store:
            last = 0
            while not enough.is_set():
                try:
                    found = store.rows(
                        "SELECT (SELECT count(*) FROM runs) AS n, (SELECT count(*) FROM journal_offsets) AS m"
                    )[0]
                    store.user_sql("SELECT count(*) FROM run_results")
                    time.sleep(0.01)
                except Exception as error:
                    problems.append(repr(error))
                    return
                if found["n"] != found["m"] or found["n"] < last:
                    problems.append(f"{found} after {last}")
                last = found["n"]
                seen.append(last)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(8):
        new_run(f"run-{number}")
        publish(home)
    deadline = time.monotonic() + 30
    while 8 not in seen and not problems and time.monotonic() < deadline:
        time.sleep(0.05)
    enough.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert max(seen) == 8


def test_a_short_query_of_the_state_before_is_waited_for(
    home: Home, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.database.database.PATIENCE_SECONDS", 100.0)
    found: list[list[Any]] = []
    with open_store(home) as store:
        later = threading.Thread(target=lambda: found.append(store.rows("FROM runs")))
        with reading(home):
            new_run("one")
            publish(home)
            later.start()
            later.join(0.2)
            assert found == []
        later.join(60)
    assert [len(rows) for rows in found] == [1]


@pytest.mark.parametrize("fails", [False, True])
def test_a_file_that_is_replaced_while_it_is_opened_is_opened_again(
    home: Home, new_run: NewRun, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """DuckDB reads a header and blocks by two openings: what lies between them must not be mixed."""
    publish(home)
    real, openings = duckdb.connect, 0

    def slow(path: str, **options: Any) -> duckdb.DuckDBPyConnection:
        nonlocal openings
        if path == str(home.database):
            openings += 1
            if openings == 1:
                new_run("meanwhile")
                publish(home)
                if fails:
                    raise duckdb.IOException("Could not read enough bytes")
        return real(path, **options)

    monkeypatch.setattr(duckdb, "connect", slow)
    with reading(home) as cursor:
        assert cursor.execute("SELECT run_id FROM runs").fetchall() == [("meanwhile",)]
    assert openings == 2


def test_a_long_query_is_not_waited_for(home: Home, new_run: NewRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.database.database.PATIENCE_SECONDS", 0.05)
    with open_store(home) as store, reading(home):
        new_run("one")
        publish(home)
        started = time.monotonic()
        assert store.rows("FROM runs") == [], "what the long one reads"
        assert time.monotonic() - started < 10
    with open_store(home) as store:
        assert len(store.rows("FROM runs")) == 1


def test_stores_of_two_homes_in_one_process(home: Home, tmp_path: Path, new_run: NewRun) -> None:
    other = Home(tmp_path / "other")
    new_run("one")
    with open_store(home) as first, open_store(other) as second:
        assert len(first.rows("FROM runs")) == 1
        assert second.rows("FROM runs") == []


def test_tables_of_our_own_are_there_for_one_query(home: Home) -> None:
    with open_store(home) as store:
        wanted = pa.table({"a": [1, 2]})
        assert store.rows("SELECT sum(a) AS n FROM wanted WHERE a > ?", [1], wanted=wanted) == [{"n": 2}]
        with pytest.raises(StoreError, match="wanted"):
            store.rows("FROM wanted")


def test_written_sql_is_published_whole_or_not_at_all(home: Home, digest: Callable[[Path], str]) -> None:
    assert write_sql(home, "INSERT INTO prompts VALUES ('a', 'x'), ('b', 'y')").to_pylist() == [{"Count": 2}]
    before = digest(home.database)
    for query in (
        "INSERT INTO prompts VALUES ('c', 'z'); INSERT INTO prompts VALUES ('a', 'again')",
        "INSERT INTO prompts VALUES ('c', 'z'); SELECT * FROM nowhere",
        "INSERT INTO prompts VALUES ('c', 'z'); COMMIT; SELECT * FROM nowhere",
        "DELETE FROM prompts; ROLLBACK",
        "FROM query",
    ):
        with pytest.raises(QueryFailed):
            write_sql(home, query)
    assert digest(home.database) == before
    assert not list(home.path.glob("*.new-*"))
    found = write_sql(home, "DELETE FROM prompts WHERE version = 'a'; SELECT version FROM prompts")
    assert found.to_pylist() == [{"version": "b"}]
    with open_store(home) as store:
        assert [row["version"] for row in store.rows("FROM prompts")] == ["b"]


def test_written_sql_tells_the_rows_of_the_time_that_counted(
    home: Home, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer came in between, so that it ran twice."""
    once = [True]
    change = publishing.change

    def interrupted(connection: duckdb.DuckDBPyConnection, query: str, **options: Any) -> pa.Table | None:
        found = change(connection, query, **options)
        if once and once.pop():
            spawn("""duckdb.connect(str(home.database)).execute("INSERT INTO prompts VALUES ('theirs', '')")""").done()
        return found

    monkeypatch.setattr(publishing, "change", interrupted)
    found = write_sql(home, "INSERT INTO prompts VALUES ('mine', ''); SELECT version FROM prompts ORDER BY 1")
    assert [row["version"] for row in found.to_pylist()] == ["mine", "theirs"]


def test_a_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRACL_HOME", str(tmp_path / "named"))
    assert Home.resolve().path == tmp_path / "named"
    assert Home.resolve(tmp_path / "given").path == tmp_path / "given"
    monkeypatch.chdir(tmp_path)
    assert Home.resolve(Path("here")).path == tmp_path / "here"
    monkeypatch.delenv("SRACL_HOME")
    assert Home.resolve().path.name == "sracl"
    for bad in ("", "..", "a/b", ".hidden", "x" * 101):
        with pytest.raises(StoreError, match="cannot be a run id"):
            Home(tmp_path).run_folder(bad)
    assert Home(tmp_path).run_folder("20260101-ab.c_d") == tmp_path / "runs" / "20260101-ab.c_d"


def test_a_store_that_is_closed_beside_a_running_query_closes_the_files_when_that_ends(home):
    """The app is left while a screen reads."""
    from store.database import database

    cancels: list[database.Cancel] = []
    started = threading.Event()
    store = open_store(home)
    instance = store._instance
    assert instance is not None

    def begun(cancel: database.Cancel) -> None:
        cancels.append(cancel)
        started.set()

    def read() -> None:
        with pytest.raises(QueryFailed):
            store.user_sql("SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b", started=begun)

    thread = threading.Thread(target=read)
    thread.start()
    assert started.wait(10)
    store.close()
    assert instance._connection is not None, "the query still reads"
    while thread.is_alive():
        cancels[0]()
        thread.join(0.02)
    assert instance._connection is None
