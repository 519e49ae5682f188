"""Runs are removed, restored and deleted for good: all or nothing, by the journals too, and with nothing of others."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.errors import LookupFailed, RunsOpen
from store.home import Home
from store.journal.journal import Journal, RunLock
from store.maintenance import keeping, trash
from store.maintenance.backups import backup
from store.maintenance.backups import restore as restore_backup
from store.maintenance.check import check_home
from store.maintenance.repair import repair_home
from store.opening import open_store
from store.publishing import projection, publish, removals, turns
from store.publishing.bundle_reader import OF_RUN
from store.queries import costs, datasets, removed
from store.queries.runs import find_run, list_runs, rename, tag
from store.queue import Queue
from store.transfer.bundle import export_bundle, import_bundle

SHARED_TABLES = ("summaries", "summary_sets", "summary_links", "prompts", "neighbors", "neighbor_lists", "api_calls")
Rows = dict[str, list[tuple[Any, ...]]]


def rows_of(home: Home, *, only: str | None = None) -> Rows:
    """Every row of every table, sorted, but those of the record keeping; `only` of one run."""
    found: Rows = {}
    with open_store(home, ingest=False) as store:
        names = store.tuples("SELECT table_name FROM duckdb_tables() WHERE database_name <> 'vectors' AND NOT internal")
        for (name,) in names:
            if name in ("journal_offsets", "schema_version", "removed_runs", "removed_rows"):
                continue
            rows = [tuple(row.items()) for row in store.rows(f'FROM "{name}"')]
            if only is not None:
                rows = [row for row in rows if dict(row).get("run_id") == only and name in removals.OWN]
            found[name] = sorted(rows, key=repr)
        if only is None:
            found["vectors"] = sorted(store.tuples("SELECT sha256, encoder FROM vectors.vectors"))
    return found


def remove(home: Home, *names: str) -> None:
    with open_store(home) as store:
        assert trash.remove(store, [find_run(store, name) for name in names])


def restore(home: Home, *names: str) -> None:
    with open_store(home) as store:
        assert trash.restore(store, removed.select_removed(store, names))


def empty(home: Home) -> trash.Emptied:
    with open_store(home) as store:
        return trash.empty(store, trash.to_empty(store, None))


def listed(home: Home) -> list[str]:
    with open_store(home) as store:
        return sorted(row["run_id"] for row in list_runs(store))


def rebuild(home: Home, *, backups: bool = False) -> None:
    """Lose the database, and have it made again from the journals, with backups or without."""
    if not backups:
        shutil.rmtree(home.path / "backups", ignore_errors=True)
    home.database.unlink()
    repair_home(home)


def test_a_removed_run_is_nowhere_and_comes_back_bit_for_bit(place: Home) -> None:
    before = rows_of(place)
    files = {path.relative_to(place.runs): path.read_bytes() for path in place.runs.rglob("*.*")}
    for _ in range(2):
        remove(place, "one")
        assert listed(place) == ["two"]
        assert (place.trash / "one" / "events-0001.jsonl").is_file()
        assert not (place.runs / "one").exists()
        assert not any(rows for rows in rows_of(place, only="one").values())
        without = rows_of(place)
        assert [name for name in before if before[name] != without[name]] == [
            "machine_samples", "metrics", "runs", "synthesizer_weights", "user_epochs", "user_ranks",
        ]  # fmt: skip
        assert check_home(place).problems == []
        restore(place, "one")
        assert rows_of(place) == before
        assert {path.relative_to(place.runs): path.read_bytes() for path in place.runs.rglob("*.*")} == files
        assert not list(place.trash.iterdir())
        assert check_home(place).problems == []


def test_what_others_use_and_what_was_spent_stays_when_the_trash_is_emptied(place: Home) -> None:
    before, vectors = rows_of(place), rows_of(place)["vectors"]
    with open_store(place) as store:
        books = {by: costs.spending(store, by) for by in costs.GROUPS}
    size = trash.folder_bytes(place.runs / "two")
    remove(place, "two")
    done = empty(place)
    assert done.runs == ["two"]
    assert 0 < done.bytes <= size
    assert not list(place.trash.iterdir())
    after = rows_of(place)
    assert {name: after[name] for name in SHARED_TABLES} == {name: before[name] for name in SHARED_TABLES}
    assert after["vectors"] == vectors
    with open_store(place) as store:
        assert {by: costs.spending(store, by) for by in costs.GROUPS} == books
        assert store.tuples("SELECT * FROM removed_rows") == []
        with pytest.raises(LookupFailed, match="deleted for good"):
            find_run(store, "two")
        with pytest.raises(LookupFailed, match="deleted for good"):
            removed.select_removed(store, ["two"])
    assert check_home(place).problems == []
    assert empty(place) == trash.Emptied([], 0, True)


@pytest.mark.parametrize("emptied", [False, True])
def test_a_database_made_of_the_journals_knows_what_was_removed(place: Home, emptied: bool) -> None:
    with open_store(place) as store:
        rename(store, "two", "first of all")
        tag(store, "two", add=("kept",))
    whole = rows_of(place)
    remove(place, "two")
    if emptied:
        empty(place)
    before = rows_of(place)
    place.vectors.unlink()
    rebuild(place)
    after = rows_of(place)
    lost = {"datasets", "users", "items", "interactions", "anchors", "my notes"}  # stand in no journal
    assert {name: rows for name, rows in after.items() if name not in lost} == {
        name: rows for name, rows in before.items() if name not in lost
    }
    with open_store(place) as store:
        assert [row["usd"] for row in costs.spending(store, "run")] == [0.5, 0.5]
    assert not [text for text in check_home(place).problems if "dataset" not in text]
    if not emptied:
        restore(place, "two")
        found = rows_of(place)
        assert {name: rows for name, rows in found.items() if name not in lost} == {
            name: rows for name, rows in whole.items() if name not in lost
        }


@pytest.mark.parametrize("emptied", [False, True])
def test_a_backup_from_before_brings_no_removed_run_back(place: Home, emptied: bool) -> None:
    made = backup(place, place.path / "backups" / "zz")
    before = rows_of(place)
    remove(place, "one")
    if emptied:
        empty(place)
    gone = rows_of(place)
    restore_backup(place, made)
    assert rows_of(place) == gone
    assert check_home(place).problems == []
    place.database.unlink()
    assert repair_home(place).missing == []
    assert rows_of(place) == gone
    if not emptied:
        restore(place, "one")
        assert rows_of(place) == before


def test_a_damaged_trash_costs_no_row(place: Home) -> None:
    """The table with the removed rows is unreadable: the journals have them."""
    before = rows_of(place)
    remove(place, "one", "two")
    data = bytearray(place.database.read_bytes())
    with duckdb.connect(str(place.database), read_only=True) as connection:
        content = connection.execute("SELECT content FROM removed_rows WHERE table_name = 'runs'").fetchall()[0][0]
    at = data.index(content[64:128])
    data[at] ^= 1
    place.database.write_bytes(data)
    assert any("removed_rows cannot be read" in text for text in check_home(place).problems)
    assert repair_home(place).missing == []
    assert check_home(place).problems == []
    restore(place, "one", "two")
    assert rows_of(place) == before


class Killed(BaseException):
    """The process ends here."""


def steps() -> Iterator[Any]:
    """Functions at each of which a removal, a restoring or an emptying may die."""
    for when in ("before", "after"):
        yield from ((trash, name, when) for name in ("keep_shared", "sync_folder", "publish"))
        yield from ((removals, name, when) for name in ("settle", "put_folders_away", "hide_folder", "tidy", "marks"))
        yield from ((removals, name, when) for name in ("move_to_trash", "bring_back", "_put_away", "sync_folder"))
        yield from (
            (projection.Projector, "flush", when),
            (keeping, "_second_name", when),
            (turns, "replace_file", when),
        )
        yield removals.shutil, "rmtree", when


SOME = {("sync_folder", "before"), ("move_to_trash", "after"), ("hide_folder", "after")}


@pytest.mark.parametrize(
    ("owner", "name", "when"),
    [pytest.param(*step, marks=[] if step[1:] in SOME else [pytest.mark.soak]) for step in steps()],
)
def test_a_kill_at_any_step_loses_nothing_and_the_next_command_goes_on(
    place: Home, owner: Any, name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the run is wholly there or wholly removed, and the command, given again, does the rest."""
    before, dead = rows_of(place), False
    real = getattr(owner, name)

    def die(*given: Any, **named: Any) -> Any:
        nonlocal dead
        if not dead:
            dead = True
            if when == "after":
                real(*given, **named)
            raise Killed
        return real(*given, **named)

    for act, wanted in ((remove, ["two"]), (restore, ["one", "two"]), (remove, ["two"])):
        dead = False
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, die)
            with contextlib.suppress(Killed):
                act(place, "one")
        if listed(place) != wanted:
            act(place, "one")
        assert listed(place) == wanted
        assert check_home(place).problems == []
        assert rows_of(place) == before or wanted == ["two"]
    dead = False
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with contextlib.suppress(Killed):
            empty(place)
    empty(place)
    assert listed(place) == ["two"]
    assert check_home(place).problems == []
    assert not list(place.trash.iterdir())
    after = rows_of(place)
    assert {table: after[table] for table in SHARED_TABLES} == {table: before[table] for table in SHARED_TABLES}
    rebuild(place, backups=True)
    after = rows_of(place)
    assert {table: after[table] for table in SHARED_TABLES} == {table: before[table] for table in SHARED_TABLES}


def test_kept_calls_are_counted_once_however_often_they_were_kept(place: Home) -> None:
    before = rows_of(place)["api_calls"]
    remove(place, "one")
    for _ in range(2):  # emptyings that died before their own line
        journal = Journal(place.edits)
        keeping.keep_shared(journal, place.edits, place.trash / "one", "one")
        journal.close()
    empty(place)
    assert rows_of(place)["api_calls"] == before
    rebuild(place)
    assert rows_of(place)["api_calls"] == before


def test_a_run_that_has_not_ended_stays_and_the_others_with_it(place: Home, begin_run: Callable[..., Journal]) -> None:
    begin_run(place, "three").close()
    lock = RunLock(place.runs / "three")
    lock.acquire()
    try:
        publish.publish(place)
        with open_store(place) as store, pytest.raises(RunsOpen, match="three is running") as error:
            trash.remove(store, [find_run(store, name) for name in ("one", "three")])
        assert "sracl stop three" in str(error.value)
    finally:
        lock.release()
    assert listed(place) == ["one", "three", "two"]
    remove(place, "three", "one")  # it is dead now
    assert listed(place) == ["two"]


def test_a_run_without_a_folder_can_be_removed_and_restored(place: Home) -> None:
    before = rows_of(place)
    shutil.rmtree(place.runs / "one")
    remove(place, "one")
    assert not any((place.trash / "one").iterdir())
    restore(place, "one")
    assert rows_of(place) == before
    assert not (place.runs / "one").exists()
    remove(place, "one")
    empty(place)
    assert listed(place) == ["two"]


def test_a_line_that_comes_after_the_removal_is_there_when_the_run_is_restored(place: Home) -> None:
    remove(place, "one")
    with (place.trash / "one" / "events-0001.jsonl").open("ab") as file:
        file.write(b'{"n":99,"at":1.0,"event":"measured","epoch":3,"step":30,"metrics":[')
        file.write(b'{"split":"test","subgroup":"late","name":"m0","value":0.25}]}\n')
    journal = Journal(place.trash / "one")
    late = [{"split": "test", "subgroup": "late", "name": "m0", "value": 0.5}]
    journal.append("measured", {"epoch": 3, "step": 30, "metrics": late})
    journal.close()
    edits = Journal(place.edits)
    edits.append("run_noted", {"run_id": "one", "note": "late too"})
    edits.close()
    assert listed(place) == ["two"]
    assert check_home(place).content == []
    restore(place, "one")
    with open_store(place) as store:
        assert store.tuples("SELECT value FROM metrics WHERE subgroup = 'late'") == [(0.5,)]
        assert find_run(store, "one")["note"] == "late too"


def test_names_lead_to_removed_runs_and_to_the_way_back(place: Home, begin_run: Callable[..., Journal]) -> None:
    for number in (1, 2):
        begin_run(place, f"20260101-{number}", name=f"seed-{number}", group_name="seeds").close()
    remove(place, "20260101-1", "20260101-2", "one", "two")
    with open_store(place) as store:
        for name, text in (
            ("one", "run one was removed"),
            ("seed-1", "20260101-1"),
            ("seeds", "2 runs of group seeds"),
        ):
            with pytest.raises(LookupFailed, match=text) as error:
                find_run(store, name)
            assert f"sracl restore {name}" in str(error.value)
        with pytest.raises(LookupFailed, match="there is no run 'never'"):
            find_run(store, "never")
        with pytest.raises(LookupFailed, match="2 removed runs fit"):
            removed.select_removed(store, ["2026"])
        with pytest.raises(LookupFailed, match="no run 'never' in the trash"):
            removed.select_removed(store, ["never"])
        ids = [row["run_id"] for row in removed.select_removed(store, ["seeds", "one", "20260101-1"])]
        assert sorted(ids) == ["20260101-1", "20260101-2", "one"]
        with pytest.raises(LookupFailed, match="removed runs were made with"):
            datasets.remove(place, store, "small")


def test_a_deleted_run_leaves_its_id_to_a_new_one(place: Home, begin_run: Callable[..., Journal]) -> None:
    remove(place, "one")
    empty(place)
    assert listed(place) == ["two"]
    begin_run(place, "one", name="another").close()
    publish.publish(place)
    assert listed(place) == ["one", "two"]
    rebuild(place)
    assert listed(place) == ["one", "two"]
    assert check_home(place).problems == [text for text in check_home(place).problems if "dataset" in text]
    remove(place, "one")
    rebuild(place)
    assert listed(place) == ["two"]


def test_an_imported_run_is_deleted_without_what_came_with_it(place: Home, tmp_path: Path) -> None:
    with open_store(place) as store:
        (place.runs / "two" / "request.json").write_text("{}")
        sets = {"user_set_id": "set-two", "user_list_id": "list-two", "item_set_id": None, "item_list_id": None}
        journal = Journal(place.runs / "two")
        journal.append("lists_used", sets)
        journal.append("run_ended", {"state": "finished", "reason": None, "best_epoch": 3})
        journal.close()
        publish.publish(place)
        export_bundle(store, "two", tmp_path / "two.zip")
    other = Home(tmp_path / "other")
    import_bundle(other, tmp_path / "two.zip")
    before = rows_of(other)
    remove(other, "two")
    with pytest.raises(LookupFailed, match="restore"):
        import_bundle(other, tmp_path / "two.zip")
    empty(other)
    assert not any(rows for rows in rows_of(other, only="two").values())
    rebuild(other)
    after = rows_of(other)
    assert {name: after[name] for name in SHARED_TABLES} == {name: before[name] for name in SHARED_TABLES}
    assert not any(rows for rows in rows_of(other, only="two").values())
    assert check_home(other).problems == []
    import_bundle(other, tmp_path / "two.zip")
    assert listed(other) == ["two"]
    rebuild(other)
    assert listed(other) == ["two"]
    assert rows_of(other)["metrics"] == before["metrics"]


def test_the_queue_lists_no_removed_run(place: Home) -> None:
    queue = Queue(place)
    queue.add(["one"])
    queue.end(queue._waiting()[0])
    assert [entry.run_id for entry in queue.entries()] == ["one"]
    remove(place, "one")
    assert queue.entries() == []
    restore(place, "one")
    assert [entry.run_id for entry in queue.entries()] == ["one"]
    remove(place, "one")
    empty(place)
    assert queue.entries() == []
    assert not list(queue.done.iterdir())


def test_every_table_and_event_of_a_run_is_known_as_its_own_or_shared(home: Home) -> None:
    """A new one has to be put into OWN or SHARED, or left in the books with intent."""
    with open_store(home) as store:
        rows = store.tuples(
            "SELECT table_name FROM duckdb_columns() WHERE column_name = 'run_id' AND table_name IN "
            "(SELECT table_name FROM duckdb_tables() WHERE NOT internal)"
        )
    own = {name for (name,) in rows}
    assert own - {"api_calls", "neighbor_lists", "summaries", "summary_sets", "queue"} == {
        *removals.OWN, "removed_runs", "removed_rows",
    }  # fmt: skip
    assert set(OF_RUN) == set(removals.OWN)
    events = {name.removeprefix("_on_") for name in vars(projection.Projector) if name.startswith("_on_")}
    assert events - removals.SHARED == {
        "warned", "run_resumed", "epoch_finished", "measured", "evaluated", "weights_sampled", "machine_sampled", "epoch_recorded", "run_tagged",
        "run_noted", "finding_added", "finding_noted", "findings_removed", "findings_restored",
        "run_renamed", "study_declared", "study_judged", "runs_removed", "runs_restored", "trash_emptied",
    }  # fmt: skip
