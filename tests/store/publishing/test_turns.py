"""Two files take turns: a publish copies nothing, whoever reads reads on, and the standby never lacks or adds a row."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.errors import StoreError
from store.home import Home
from store.journal.journal import Journal
from store.locks import FileLock
from store.maintenance.check import check_home
from store.maintenance.repair import repair_home
from store.opening import open_store
from store.publishing import replacement, turns
from store.publishing.publish import publish, write_sql
from tests.store.publishing.test_publish import PUBLISHER, READER

NewRun = Callable[..., Journal]
Rows = Callable[..., list[tuple[Any, ...]]]
Digest = Callable[[Path], str]
Spawn = Callable[..., Any]

TURNS = "from store.publishing import turns; turns.SMALL_BYTES = turns.COPIED_PER_TAKEN = 0\n"
"""What other processes begin with, so that small files take turns, too."""


@pytest.fixture(autouse=True)
def copies(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Lets small files take turns; the files that were copied nevertheless."""
    monkeypatch.setattr(turns, "SMALL_BYTES", 0)
    monkeypatch.setattr(turns, "COPIED_PER_TAKEN", 0)
    copied: list[Path] = []
    copy = turns.copy_file
    monkeypatch.setattr(turns, "copy_file", lambda path, to: (copied.append(path), copy(path, to))[1])
    return copied


@pytest.fixture
def turning(home: Home, new_run: NewRun, copies: list[Path]) -> Journal:
    """The journal of a run in a home with a standby."""
    journal = new_run("one")
    publish(home)
    assert len(standbys(home)) == 1
    copies.clear()
    return journal


def standbys(home: Home) -> list[Path]:
    return list(home.path.glob("sracl.duckdb.standby-*"))


def measure(journal: Journal, epoch: int) -> None:
    metrics = [{"split": "train", "subgroup": "all", "name": f"m{n}", "value": epoch} for n in range(5)]
    journal.append("measured", {"epoch": epoch, "step": epoch, "metrics": metrics})


def content(home: Home) -> dict[str, list[Any]]:
    """All rows of all tables of the published files, but what each publish finds out by itself."""
    with open_store(home, ingest=False) as store:
        names = store.tuples(
            "SELECT if(database_name = 'vectors', 'vectors.', '') || table_name FROM duckdb_tables() "
            "WHERE table_name NOT IN ('schema_version', 'queue') ORDER BY ALL"
        )
        found = {name: sorted(store.tuples(f"FROM {name}"), key=repr) for (name,) in names}
        return found | {"runs": sorted(store.tuples("SELECT * EXCLUDE (state, reason, ended_at) FROM runs"), key=repr)}


def rebuilt(home: Home, to: Path) -> dict[str, list[Any]]:
    """The same, of a database that is made of the journals alone."""
    shutil.rmtree(to, ignore_errors=True)
    for folder in ("runs", "edits"):
        shutil.copytree(home.path / folder, to / folder)
    (to / ".unborn").touch()
    publish(Home(to))
    return content(Home(to))


def test_two_files_take_turns_and_none_is_copied(
    home: Home, turning: Journal, copies: list[Path], tmp_path: Path
) -> None:
    inodes: list[int] = []
    for epoch in range(1, 6):
        measure(turning, epoch)
        publish(home)
        inodes.append(home.database.stat().st_ino)
        assert [path.stat().st_ino for path in standbys(home)] != inodes[-1:]
    assert copies == []
    assert inodes == [inodes[0], inodes[1], inodes[0], inodes[1], inodes[0]]
    assert content(home) == rebuilt(home, tmp_path / "again")
    assert len(content(home)["metrics"]) == 25


def test_vectors_take_turns_too(home: Home, turning: Journal, copies: list[Path], tmp_path: Path) -> None:
    for number in range(3):
        columns = {"sha256": [f"{number}-{n}" for n in range(3)], "vector": [[1.0, float(n)] for n in range(3)]}
        turning.append("vectors_made", {"encoder": "e", "dimension": 2}, columns=columns)
        publish(home)
        publish(home)
    assert copies == [home.vectors, home.vectors], "the first ones: 3 rows of 0, and again as much as there were"
    assert content(home) == rebuilt(home, tmp_path / "again")
    assert len(content(home)["vectors.vectors"]) == 9


READING = """
connection = duckdb.connect(str(home.database), read_only=True)
say("open"); input()
say(connection.execute("SELECT count(*) FROM metrics").fetchone()[0])
say(connection.execute("SELECT count(*) FROM range(100000) t(n) JOIN runs ON true").fetchone()[0])
"""


def test_a_shell_that_stays_open_reads_on_and_costs_one_copy(
    home: Home, turning: Journal, copies: list[Path], spawn: Spawn, rows: Rows
) -> None:
    measure(turning, 1)
    publish(home)
    shell = spawn(READING)
    shell.hears("open")
    for epoch in range(2, 6):
        measure(turning, epoch)
        publish(home, wait=0)
    assert copies == [home.database]
    assert rows("SELECT count(*) FROM metrics") == [(25,)]
    shell.tell()
    assert shell.done().split() == ["5", "100000"]


def test_who_only_copies_the_file_gets_a_whole_one(
    home: Home, turning: Journal, copies: list[Path], tmp_path: Path
) -> None:
    """It takes no lock."""
    with home.database.open("rb") as file:
        half = file.read(100_000)
        for epoch in (1, 2, 3):
            measure(turning, epoch)
            publish(home)
        (tmp_path / "copy.duckdb").write_bytes(half + file.read())
    assert copies == [home.database]
    connection = duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True)
    assert connection.execute("SELECT count(*) FROM metrics").fetchall() == [(0,)]
    connection.close()


def test_where_there_are_no_leases_locks_tell(
    home: Home, turning: Journal, copies: list[Path], spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "without_leases.py"
    script.write_text(f"import fcntl\ndel fcntl.F_SETLEASE\n{replacement._SCRIPT.read_text()}")
    monkeypatch.setattr(replacement, "_SCRIPT", script)
    measure(turning, 1)
    publish(home)
    assert copies == []
    shell = spawn(READING)
    shell.hears("open")
    for epoch in (2, 3):
        measure(turning, epoch)
        publish(home, wait=0)
    assert copies == [home.database]
    shell.tell()
    assert shell.done().split() == ["5", "100000"]


def test_a_query_of_this_process_that_takes_long_reads_on(home: Home, turning: Journal, copies: list[Path]) -> None:
    with open_store(home) as store:
        found = store.stream_sql("SELECT n, (SELECT count(*) FROM metrics) AS m FROM range(200000) t(n)")
        first = next(found)
        for epoch in (1, 2, 3):
            measure(turning, epoch)
            publish(home)
        assert {0} == {value for table in (first, *found) for value in table["m"].to_pylist()}
        assert store.tuples("SELECT count(*) FROM metrics") == [(15,)]
    assert len(copies) == 2, "the query held the standby"


def test_an_idle_store_lets_the_standby_go(
    home: Home, turning: Journal, copies: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setattr("store.database.database.WATCH_SECONDS", 0.01)
    with open_store(home) as store:
        assert store.tuples("SELECT count(*) FROM runs") == [(1,)]
        publish(home)
        deadline = time.monotonic() + 60
        while store._instance._connection is not None and time.monotonic() < deadline:  # pyright: ignore
            time.sleep(0.01)
        assert store._instance._connection is None  # pyright: ignore
        assert store.tuples("SELECT count(*) FROM runs") == [(1,)]


@pytest.mark.parametrize("by", ["sql --write", "session"])
def test_what_a_person_wrote_is_in_every_later_state(
    home: Home, turning: Journal, copies: list[Path], spawn: Spawn, rows: Rows, by: str
) -> None:
    statement = "CREATE TABLE mine AS SELECT 42 AS answer; DELETE FROM run_warnings; UPDATE runs SET seed = 7"
    if by == "session":
        spawn(f'c = duckdb.connect(str(home.database)); c.execute("{statement}"); c.close()').done()
    else:
        write_sql(home, statement)
    copies.clear()
    for epoch in (1, 2, 3):
        measure(turning, epoch)
        publish(home)
        assert rows("SELECT answer, seed FROM mine, runs") == [(42, 7)]
    assert copies == [home.database]


def test_what_the_journals_lost_since_stays(home: Home, turning: Journal, copies: list[Path], new_run: NewRun) -> None:
    """Between two publishes a folder is deleted, a table changed, and a segment cut."""
    ranks = {"user_id": list(range(200)), "rank": list(range(200))}
    for name in ("two", "three", "four"):
        fields = {"split": "test", "epoch": 1, "step": 1, "metrics": []}
        new_run(name).append("evaluated", fields, columns=ranks)
    publish(home)
    before = content(home)
    shutil.rmtree(home.runs / "two")
    next((home.runs / "three").glob("*.parquet")).write_bytes(b"no table")
    os.truncate(home.runs / "four" / "events-0001.jsonl", 50)
    measure(turning, 1)
    publish(home)
    after = content(home)
    assert copies == [home.database]
    assert {name: after[name] for name in before if name not in ("metrics", "journal_offsets", "runs")} == {
        name: before[name] for name in before if name not in ("metrics", "journal_offsets", "runs")
    }
    assert [row[0] for row in after["runs"]] == [row[0] for row in before["runs"]]


def test_who_may_read_the_file_and_what_is_linked_to_it_stays(
    home: Home, turning: Journal, tmp_path: Path, digest: Digest
) -> None:
    home.database.chmod(0o640)
    publish(home)
    assert home.database.stat().st_mode & 0o777 == 0o640
    os.link(home.database, tmp_path / "kept")
    before = digest(tmp_path / "kept")
    for epoch in (1, 2, 3):
        measure(turning, epoch)
        publish(home)
        assert home.database.stat().st_mode & 0o777 == 0o640
    assert digest(tmp_path / "kept") == before


def test_a_damaged_standby_never_becomes_the_database(home: Home, turning: Journal, rows: Rows) -> None:
    for how in ("changed", "cut"):
        left = standbys(home)[0]
        times = left.stat()
        with left.open("r+b") as file:
            file.seek(8192 if how == "changed" else 0)
            file.write(b"\xff" * 4096) if how == "changed" else file.truncate(20_000)
        os.utime(left, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a failing disk does it
        publish(home)
        assert rows("SELECT count(*) FROM runs") == [(1,)]
        publish(home)


def test_check_names_a_damaged_standby_and_repair_removes_it(home: Home, turning: Journal) -> None:
    assert check_home(home).problems == []
    left = standbys(home)[0]
    left.write_bytes(b"no database")
    (home.path / "sracl.duckdb.standby-folder").mkdir()
    assert [str(left) in text or "standby-folder" in text for text in check_home(home).problems] == [True, True]
    (home.path / "sracl.duckdb.standby-folder").rmdir()
    assert repair_home(home).done == ["a damaged standby was removed"]
    assert check_home(home).problems == []
    (home.path / "sracl.duckdb.standby-folder").mkdir()
    publish(home)


@pytest.mark.parametrize("damage", ["deleted", "cut"])
def test_repair_takes_from_the_standby_what_stands_in_no_journal(
    home: Home, turning: Journal, rows: Rows, damage: str
) -> None:
    write_sql(home, "CREATE TABLE mine AS SELECT 42 AS answer")
    for epoch in (1, 2):
        measure(turning, epoch)
        publish(home)
    if damage == "deleted":
        home.database.unlink()
        with pytest.raises(StoreError, match="missing"):
            publish(home)
    else:
        os.truncate(home.database, 20_000)
        with pytest.raises(StoreError, match="db repair"):
            publish(home)
    assert repair_home(home).missing == []
    assert rows("SELECT answer, count(*) FROM mine, metrics GROUP BY ALL") == [(42, 10)]


def test_a_change_that_fails_costs_the_standby_and_nothing_else(home: Home, turning: Journal, rows: Rows) -> None:
    with pytest.raises(StoreError):
        write_sql(home, "INSERT INTO nowhere VALUES (1)")
    measure(turning, 1)
    publish(home)
    publish(home)
    assert rows("SELECT count(*) FROM metrics") == [(5,)]
    assert len(standbys(home)) == 1


def test_old_code_that_still_runs_loses_nothing(home: Home, turning: Journal, rows: Rows) -> None:
    """It copies and replaces the file, and knows nothing of a standby."""
    copied = home.path / "sracl.duckdb.new-1"
    for epoch in range(1, 5):
        measure(turning, epoch)
        publish(home)
        shutil.copy(home.database, copied)
        connection = duckdb.connect(str(copied))
        connection.execute(f"CREATE TABLE old_{epoch} AS SELECT 1 AS one")
        connection.close()
        os.replace(copied, home.database)
    publish(home)
    assert rows("SELECT count(*) FROM metrics, old_1, old_2, old_3, old_4") == [(20,)]


def test_a_run_of_old_code_that_lives_loses_nothing_beside_new_publishes(
    home: Home, turning: Journal, copies: list[Path], new_run: NewRun, rows: Rows, tmp_path: Path
) -> None:
    """Its lines have no checksums, its table no hash, and its lock says the PID alone; a write may end anywhere."""
    written = new_run("old")
    for epoch in range(1, 9):
        measure(written, epoch)
    ranks = {"user_id": list(range(200)), "rank": list(range(200))}
    written.append("evaluated", {"split": "test", "epoch": 8, "step": 8, "metrics": []}, columns=ranks)
    written.close()
    folder = (home.runs / "old").rename(tmp_path / "old")
    lines = [json.loads(line) for line in (folder / "events-0001.jsonl").read_text().splitlines()]
    facts = ("crc", "table_bytes", "table_sha256")
    text = "".join(json.dumps({key: line[key] for key in line if key not in facts}) + "\n" for line in lines).encode()
    (folder / "events-0001.jsonl").write_bytes(b"")
    shutil.copytree(folder, home.runs / "old")
    lock, cut = FileLock(home.runs / "old" / "lock"), len(text) // 11
    assert lock.acquire()
    lock.write_holder(str(os.getpid()))
    seen: list[int] = []
    for start in range(0, len(text), cut):
        with (home.runs / "old" / "events-0001.jsonl").open("ab") as file:
            file.write(text[start : start + cut])
        assert publish(home).warnings == []
        seen += [count for (count,) in rows("SELECT count(*) FROM metrics WHERE run_id = 'old'")]
        assert rows("SELECT * FROM runs WHERE run_id = 'old' AND state NOT IN ('queued', 'running')") == []
    lock.release()
    assert seen == sorted(seen)
    assert (seen[-1], len(set(seen)) > 5) == (40, True)
    assert rows("SELECT count(*) FROM user_ranks WHERE run_id = 'old'") == [(200,)]
    assert copies == []
    assert content(home) == rebuilt(home, tmp_path / "again")
    health = check_home(home)
    assert (health.problems, health.unguarded) == ([], 1)


def test_how_a_dead_run_ended_stays(
    home: Home, turning: Journal, copies: list[Path], new_run: NewRun, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standby learns of a death a publish later, when the machine may have been restarted, or an executor may have forgotten."""
    found: list[str] = []
    monkeypatch.setattr(
        "store.publishing.ingest.dead_runs", lambda home, runs: [(r["run_id"], *found) for r in runs if found]
    )
    new_run("two")
    publish(home)
    publish(home)
    found += ["killed", "its process ended"]
    publish(home)
    told = rows("SELECT run_id, state, reason, ended_at FROM runs ORDER BY ALL")
    assert [row[1] for row in told] == ["killed", "killed"]
    found[:] = ["lost", "the machine was restarted"]
    for _ in range(3):
        publish(home)
        assert rows("SELECT run_id, state, reason, ended_at FROM runs ORDER BY ALL") == told
    found.clear()
    publish(home)
    assert rows("SELECT run_id, state, reason, ended_at FROM runs ORDER BY ALL") == told
    assert copies == []


def test_readers_beside_publishers_see_whole_states_only(home: Home, spawn: Spawn, rows: Rows) -> None:
    readers = [spawn(READER) for _ in range(2)]
    publishers = [spawn(TURNS + PUBLISHER, name, 12) for name in ("a", "b")]
    for publisher in publishers:
        publisher.done()
    (home.path / "enough").touch()
    for reader in readers:
        opens, problems = json.loads(reader.done())
        assert opens > 5
        assert problems == []
    assert rows("SELECT run_id, count(*) FROM metrics GROUP BY ALL ORDER BY ALL") == [("a", 60), ("b", 60)]


SERVER = """
from store.publishing import ingest, publish as publishing, replacement
own_script = replacement._SCRIPT
def dying(module, name, when):
    real = getattr(module, name)
    def call(*arguments, **named):
        if when == "after":
            real(*arguments, **named)
        die()
    setattr(module, name, call)
for line in sys.stdin:
    module, name, when = line.split()
    child = os.fork()
    if child == 0:
        if module == "script":
            replacement._SCRIPT = Path(name)
        else:
            dying(globals()[module], name, when)
        publish(home)
        os._exit(0)
    say(os.waitpid(child, 0)[1])
"""
STEPS = [
    *(("turns", name) for name in ("_facts", "take_standby", "_caught_up", "drop_standby", "copy_file", "migrate")),
    *(("turns", name) for name in ("replace_file", "discard")),
    *(("ingest", name) for name in ("ingest_all", "ingest_events", "mark_dead")),
    *(("replacement", name) for name in ("run_file_swap", "sync_folder")),
    ("publishing", "remove_stale"),
    *(("script", name) for name in ("os.rename", "os.link", "os.replace", "os.unlink", "os.fsync", "print")),
]
"""Where a publish is killed, before and after: functions of the process, and calls of the script that it starts."""


class Killer:
    """Publishes in another process, which is killed at a step."""

    def __init__(self, spawn: Spawn, folder: Path) -> None:
        self._process, self._folder = spawn(TURNS + SERVER), folder

    def publish(self, module: str, name: str, when: str) -> bool:
        """Whether it was killed; a publish does not come by every step."""
        if module == "script":
            script = self._folder / f"{name}-{when}.py"
            first = "real(*arguments); " if when == "after" else ""
            both = "os.kill(os.getppid(), 9); os.kill(os.getpid(), 9)"
            script.write_text(
                f"import builtins, os\nreal = {name}\ndef die(*arguments): {first}{both}\n"
                f"{name.replace('print', 'builtins.print')} = die\n{replacement._SCRIPT.read_text()}"
            )
            name = str(script)
        process = self._process._process
        process.stdin.write(f"{module} {name} {when}\n")
        process.stdin.flush()
        return int(process.stdout.readline()) == 9


@pytest.fixture
def killer(spawn: Spawn, tmp_path: Path) -> Killer:
    folder = tmp_path / "scripts"
    folder.mkdir()
    return Killer(spawn, folder)


def _kill_at(
    steps: list[tuple[str, str]], home: Home, journal: Journal, killer: Killer, tmp_path: Path
) -> set[tuple[str, str]]:
    """Kill a publish before and after each step: no row goes, none comes twice; returns the steps that were reached."""
    killed: set[tuple[str, str]] = set()
    seen = 0
    for epoch, (module, name) in enumerate(steps, start=1):
        for place, when in enumerate(("before", "after")):
            measure(journal, 2 * epoch + place)
            if killer.publish(module, name, when):
                killed.add((module, name))
            found = len(content(home)["metrics"])
            assert found in (seen, seen + 5), (module, name, when)
            publish(home)
            seen += 5
            assert len(content(home)["metrics"]) == seen, (module, name, when)
            assert len(standbys(home)) == 1
            assert not list(home.path.glob("*.new-*"))
    assert content(home) == rebuilt(home, tmp_path / "again")
    return killed


def test_a_publisher_may_be_killed_at_any_step(home: Home, turning: Journal, killer: Killer, tmp_path: Path) -> None:
    steps = [("script", "os.rename"), ("ingest", "mark_dead"), ("script", "os.link"), ("script", "os.replace")]
    assert _kill_at(steps, home, turning, killer, tmp_path) == set(steps)


@pytest.mark.parametrize("then", ["publish", "repair", "read"])
def test_a_kill_between_the_second_name_and_the_replacing_leaves_nothing(
    home: Home, turning: Journal, killer: Killer, rows: Rows, copies: list[Path], then: str
) -> None:
    """For that moment the published file has the name of the standby, too: nobody may write into it by that name."""
    measure(turning, 1)
    assert killer.publish("script", "os.link", "after")
    (second,) = standbys(home)
    assert second.samefile(home.database), "the published file has two names"
    assert home.database.stat().st_nlink == 2
    before = home.database.read_bytes()
    assert check_home(home).problems == []
    if then == "read":
        assert rows("SELECT count(*) FROM runs") == [(1,)]
        assert home.database.read_bytes() == before
    elif then == "repair":
        assert repair_home(home).missing == []
    for epoch in (2, 3):
        publish(home)
        assert home.database.stat().st_nlink == 1
        assert home.database.read_bytes() != before
        assert not any(path.samefile(home.database) for path in standbys(home))
        assert not [*home.path.glob("*.new-*")]
        assert rows("SELECT max(epoch) FROM metrics") == [(epoch - 1,)]
        measure(turning, epoch)
    assert len(copies) == 1, "two names cost one copy"
    assert len(standbys(home)) == 1


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_publisher_may_be_killed_at_every_step(home: Home, turning: Journal, killer: Killer, tmp_path: Path) -> None:
    killed = _kill_at(STEPS, home, turning, killer, tmp_path)
    rare = {("turns", "drop_standby"), ("turns", "copy_file"), ("script", "os.unlink")}
    assert set(STEPS) - rare <= killed


def _random_case(seed: int, home: Home, journal: Journal, killer: Killer, tmp_path: Path, *, deeds: int) -> None:
    """Random deeds, after which the database is what its journals say, and what people wrote."""
    draw, answers, epoch = random.Random(seed), list[tuple[int]](), 0
    write_sql(home, "CREATE OR REPLACE TABLE mine (answer INTEGER)")
    for _ in range(deeds):
        deed = draw.choice(["measure", "measure", "publish", "publish", "kill", "kill", "write", "repair", "edit"])
        if deed == "measure":
            epoch += 1
            measure(journal, epoch)
        elif deed == "edit":
            edits = Journal(home.edits)
            edits.append("run_tagged", {"run_id": "one", "add": [f"t{epoch}"], "remove": [f"t{epoch - 1}"]})
            edits.close()
        elif deed == "publish":
            publish(home)
        elif deed == "kill":
            killer.publish(*draw.choice(STEPS), draw.choice(["before", "after"]))
        elif deed == "write":
            answers.append((len(answers),))
            write_sql(home, f"INSERT INTO mine VALUES ({answers[-1][0]})")
        else:
            told = repair_home(home)
            assert not told.missing
            assert all("events of the journals were taken in" in text for text in told.done), told.done
        assert content(home)["mine"] == answers
    publish(home)
    assert {"mine": answers, **rebuilt(home, tmp_path / "again")} == content(home)
    assert check_home(home).problems == []


@pytest.mark.parametrize("seed", range(1))
def test_random_deeds_end_in_what_the_journals_say(
    home: Home, turning: Journal, killer: Killer, tmp_path: Path, seed: int
) -> None:
    _random_case(seed, home, turning, killer, tmp_path, deeds=15)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(1, 100))
def test_many_random_deeds(home: Home, turning: Journal, killer: Killer, tmp_path: Path, seed: int) -> None:
    _random_case(seed, home, turning, killer, tmp_path, deeds=40)
