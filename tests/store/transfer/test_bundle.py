"""Bundles: out of one home and into another; and everything that is refused."""

from __future__ import annotations

import errno
import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store.errors import LookupFailed, StoreError
from store.home import Home
from store.maintenance import trash
from store.maintenance.check import check_home
from store.maintenance.repair import repair_home
from store.opening import open_store
from store.publishing import bundle_reader
from store.publishing.publish import publish
from store.queries.runs import find_run
from store.transfer import bundle as bundle_module

RECORDED = Path(__file__).parents[2] / "golden" / "recorded" / "full.sracl.zip"
"""A bundle of a run of version 0.1.0, with texts, neighbors and weights."""
RANKS = {"user_id": [1, 2], "rank": [3, 4]}
METRICS = [{"split": "test", "subgroup": "all", "name": "hr@20", "value": 0.5}]


@pytest.fixture
def bundle(home: Home, new_run: Callable[..., Any], tmp_path: Path) -> Path:
    journal = new_run("one")
    (home.runs / "one" / "request.json").write_text("{}")
    journal.append("evaluated", {"split": "test", "epoch": 1, "step": 1, "metrics": METRICS}, columns=RANKS)
    journal.append("run_ended", {"state": "finished", "reason": None})
    publish(home)
    with open_store(home) as store:
        assert bundle_module.export_bundle(store, "one", tmp_path / "one.zip")["user_ranks"] == 2
    return tmp_path / "one.zip"


def rows_of(home: Home, query: str) -> list[tuple[Any, ...]]:
    with open_store(home) as store:
        return [tuple(row.values()) for row in store.rows(query)]


def changed(bundle: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: dict[str, bytes], *, attributes: int = 0, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = attributes << 16, method
            archive.writestr(info, data)
    return path


def test_warnings_travel_with_a_bundle_which_has_no_such_table_without_any(
    bundle: Path, home: Home, new_run: Callable[..., Any], tmp_path: Path
) -> None:
    assert "tables/run_warnings.parquet" not in zipfile.ZipFile(bundle).namelist()
    journal = new_run("warned")
    (home.runs / "warned" / "request.json").write_text("{}")
    journal.append("warned", {"message": "all vectors are zero"})
    journal.append("run_ended", {"state": "finished", "reason": None})
    publish(home)
    with open_store(home) as store:
        bundle_module.export_bundle(store, "warned", tmp_path / "warned.zip")
    other = Home(tmp_path / "elsewhere")
    bundle_module.import_bundle(other, tmp_path / "warned.zip")
    assert rows_of(other, "SELECT run_id, message FROM run_warnings") == [("warned", "all vectors are zero")]


def test_a_bundle_opens_in_another_home(bundle: Path, home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    assert bundle_module.import_bundle(other, bundle)["run_id"] == "one"
    for query in ("SELECT * EXCLUDE (heartbeat_at) FROM runs", "FROM user_ranks ORDER BY ALL", "FROM metrics"):
        assert rows_of(other, query) == rows_of(home, query)
    with pytest.raises(LookupFailed, match="already"):
        bundle_module.import_bundle(other, bundle)
    other.database.unlink()
    repair_home(other)
    assert rows_of(other, "SELECT run_id FROM runs") == [("one",)], "it comes back from its journal"


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "tables/../../evil.parquet", "tables/users.parquet", "x"])
def test_members_that_no_bundle_has_are_refused(bundle: Path, tmp_path: Path, name: str) -> None:
    bad = write(tmp_path / "bad.zip", changed(bundle) | {name: b"x"})
    refused(bad, tmp_path, "which no bundle does")


def refused(bad: Path, tmp_path: Path, why: str) -> None:
    other = Home(tmp_path / "other")
    with pytest.raises(StoreError, match=why):
        bundle_module.import_bundle(other, bad)
    assert not other.runs.exists() or not any(other.runs.iterdir())
    assert not (tmp_path / "evil").exists()


def test_links_are_refused(bundle: Path, tmp_path: Path) -> None:
    refused(write(tmp_path / "bad.zip", changed(bundle), attributes=stat.S_IFLNK | 0o777), tmp_path, "not a plain file")


def test_bombs_are_refused(bundle: Path, tmp_path: Path) -> None:
    members = changed(bundle) | {"request.json": bytes(30_000_000)}
    refused(write(tmp_path / "bad.zip", members, method=zipfile.ZIP_DEFLATED), tmp_path, "would grow")


def test_a_parquet_bomb_is_refused(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_reader, "MOST_BYTES", 2_000_000)
    sink = io.BytesIO()
    pq.write_table(pa.table({"run_id": ["one"] * 1_000_000}), sink, compression="zstd", use_dictionary=False)
    assert len(sink.getvalue()) < 1_000_000
    refused(with_manifest(bundle, tmp_path, {"tables/metrics.parquet": sink.getvalue()}), tmp_path, "would unpack")


def with_manifest(bundle: Path, tmp_path: Path, new: dict[str, bytes], **fields: Any) -> Path:
    """The bundle with other members, and hashes that fit them."""
    import hashlib

    members = changed(bundle) | new
    manifest = json.loads(members["manifest.json"]) | fields
    manifest["sha256"] = {n: hashlib.sha256(d).hexdigest() for n, d in members.items() if n != "manifest.json"}
    return write(tmp_path / "bad.zip", members | {"manifest.json": json.dumps(manifest).encode()})


@pytest.mark.parametrize("run_id", ["../../evil", "", ".hidden", "a/b", "two"])
def test_names_cannot_climb_out_of_the_home(bundle: Path, tmp_path: Path, run_id: str) -> None:
    refused(with_manifest(bundle, tmp_path, {}, run_id=run_id), tmp_path, "cannot be a run id|not the one")


def test_damage_is_refused(bundle: Path, tmp_path: Path) -> None:
    whole = bundle.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        data = bytearray(whole)
        data[place] ^= 255
        (tmp_path / "bad.zip").write_bytes(data)
        try:
            manifest, _, _ = bundle_reader.read_bundle(tmp_path / "bad.zip")
        except StoreError:
            continue
        assert manifest["run_id"] == "one"  # a byte that nothing reads
    (tmp_path / "bad.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "bad.zip", tmp_path, "no bundle of ours")


def tables_of(bundle: Path) -> dict[str, pa.Table]:
    tables = {name: data for name, data in changed(bundle).items() if name.endswith(".parquet")}
    return {name: pq.read_table(io.BytesIO(data)) for name, data in tables.items()}


def forged(bundle: Path, out: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A bundle with other tables, or another `request.json`, and a manifest that fits them."""
    import hashlib

    members: dict[str, Any] = changed(bundle)
    tables: dict[str, Any] = {**tables_of(bundle), "request.json": members["request.json"]}
    change(tables)
    members["request.json"] = tables.pop("request.json")
    for name, table in tables.items():
        sink = io.BytesIO()
        pq.write_table(table, sink)
        members[name] = sink.getvalue()
    manifest = json.loads(members.pop("manifest.json"))
    manifest["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    return write(out, members | {"manifest.json": json.dumps(manifest).encode()})


def replaced(table: pa.Table, column: str, values: list[Any], kind: Any = None) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(values, kind))


RUNS, TOLD, RANKED = "tables/runs.parquet", "tables/metrics.parquet", "tables/user_ranks.parquet"
FORGERIES: dict[str, Callable[[dict[str, pa.Table]], None]] = {
    "timings are a list": lambda t: t.update({RUNS: replaced(t[RUNS], "timings", ["[3]"])}),
    "timings are no JSON": lambda t: t.update({RUNS: replaced(t[RUNS], "timings", ["{"])}),
    "config is a list": lambda t: t.update({RUNS: replaced(t[RUNS], "config", ["[1]"])}),
    "config is no JSON": lambda t: t.update({RUNS: replaced(t[RUNS], "config", ["x"])}),
    "config has no sections": lambda t: t.update({RUNS: replaced(t[RUNS], "config", ['{"data": 3}'])}),
    "packages are a number": lambda t: t.update({RUNS: replaced(t[RUNS], "packages", ["7"])}),
    "a seed that is a word": lambda t: t.update({RUNS: replaced(t[RUNS], "seed", ["one"])}),
    "a state that is running": lambda t: t.update({RUNS: replaced(t[RUNS], "state", ["running"])}),
    "no run id": lambda t: t.update({RUNS: t[RUNS].drop_columns(["config_hash"])}),
    "ranks without ranks": lambda t: t.update({RANKED: t[RANKED].drop_columns(["rank"])}),
    "ranks of another run": lambda t: t.update({RANKED: replaced(t[RANKED], "run_id", ["two", "two"])}),
    "values that are words": lambda t: t.update({TOLD: replaced(t[TOLD], "value", ["much"])}),
}


@pytest.mark.parametrize("why", FORGERIES)
def test_what_does_not_fit_is_refused_before_a_folder_is_made(bundle: Path, tmp_path: Path, why: str) -> None:
    other = Home(tmp_path / "other")
    with pytest.raises(StoreError, match="refused"):
        bundle_module.import_bundle(other, forged(bundle, tmp_path / "forged.zip", FORGERIES[why]))
    assert not other.run_folder("one").exists()
    assert bundle_module.import_bundle(other, bundle)["run_id"] == "one", "the right file comes in afterwards"
    assert rows_of(other, "SELECT run_id FROM runs") == [("one",)]


def test_a_row_that_cannot_be_decoded_is_shown_as_damaged(bundle: Path, home: Home) -> None:
    from store.publishing.publish import write_sql
    from store.queries import runs

    write_sql(
        home,
        "INSERT INTO runs BY NAME SELECT * REPLACE ('good' AS run_id, 'good' AS name) FROM runs WHERE run_id = 'one'",
    )
    write_sql(home, "UPDATE runs SET timings = '[3]', config = '{\"data\": 3}' WHERE run_id = 'one'")
    with open_store(home) as store:
        rows = {row["run_id"]: row for row in runs.list_runs(store)}
        assert rows["one"]["timings"] is None
        assert rows["one"]["config"] == {}
        assert "damaged: config" in str(rows["one"]["reason"])
        assert "timings" in str(rows["one"]["reason"])
        assert rows["good"]["reason"] is None
        assert "damaged" in str(runs.find_run(store, "one")["reason"])


@pytest.mark.parametrize("part", bundle_module.PARTS)
def test_a_part_can_be_left_out(tmp_path: Path, part: str) -> None:
    """The rest is as in a whole bundle, a warning of the run says what is not, and the home that takes it in is in order."""
    run_id = bundle_module.import_bundle(Home(tmp_path / "home"), RECORDED)["run_id"]
    with open_store(Home(tmp_path / "home")) as store:
        bundle_module.export_bundle(store, run_id, tmp_path / "whole.zip")
        bundle_module.export_bundle(store, run_id, tmp_path / "part.zip", without=[part, part])
    whole, less = tables_of(tmp_path / "whole.zip"), tables_of(tmp_path / "part.zip")
    columns, tables = bundle_module.PARTS[part]
    for name, table in whole.items():
        stem = Path(name).stem
        if stem in tables:
            assert name not in less or less[name].num_rows == 0
        elif stem == "runs":
            assert all(less[name][column].to_pylist() == [None] for column in columns)
            assert less[name].drop_columns(list(columns)).equals(table.drop_columns(list(columns)))
        elif stem != "run_warnings":
            assert less[name].equals(table), name
    other = Home(tmp_path / "other")
    bundle_module.import_bundle(other, tmp_path / "part.zip")
    messages = [message for (message,) in rows_of(other, "SELECT message FROM run_warnings ORDER BY warned_at")]
    assert (f"its bundle was made without {part}" in messages) == (part != "patch")
    assert check_home(other).problems == []


def test_the_patch_can_be_left_out(bundle: Path, home: Home, tmp_path: Path) -> None:
    from store.publishing.publish import write_sql

    write_sql(home, "UPDATE runs SET git_patch = 'secret work'")
    with open_store(home) as store:
        for patch, expected in ((True, ["secret work"]), (False, [None])):
            bundle_module.export_bundle(store, "one", tmp_path / "again.zip", without=() if patch else ("patch",))
            assert tables_of(tmp_path / "again.zip")[RUNS]["git_patch"].to_pylist() == expected
    assert bundle_module.import_bundle(Home(tmp_path / "third"), tmp_path / "again.zip")["run_id"] == "one"


@pytest.fixture
def failing_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Lets the next reading of a bundle in a folder fail as a disk does for a moment."""
    waiting: list[Path] = []
    opened = bundle_reader.open_regular

    def reads(path: Path) -> Any:
        if path.parent in waiting:
            waiting.remove(path.parent)
            raise OSError(errno.EIO, "Input/output error")
        return opened(path)

    monkeypatch.setattr(bundle_reader, "open_regular", reads)
    return waiting.append


def test_a_bundle_that_is_not_taken_in_leaves_nothing(
    bundle: Path, home: Home, tmp_path: Path, failing_reads: Callable[[Path], None]
) -> None:
    """It was skipped for good, and the database remembered a folder that was deleted."""
    other = Home(tmp_path / "other")
    failing_reads(other.runs / "one")
    with pytest.raises(StoreError, match=r"cannot be taken in: .*cannot be read: Input/output error"):
        bundle_module.import_bundle(other, bundle)
    assert not (other.runs / "one").exists()
    assert check_home(other).problems == []
    bundle_module.import_bundle(other, bundle)
    assert rows_of(other, "SELECT rank FROM user_ranks ORDER BY rank") == [(3,), (4,)]
    assert check_home(other).problems == []


def test_a_bundle_that_cannot_be_read_for_a_moment_waits(
    bundle: Path, home: Home, tmp_path: Path, failing_reads: Callable[[Path], None]
) -> None:
    other = Home(tmp_path / "other")
    bundle_module.import_bundle(other, bundle)
    other.database.unlink()
    shutil.rmtree(other.path / "backups", ignore_errors=True)
    failing_reads(other.runs / "one")
    repair_home(other)
    publish(other)
    assert rows_of(other, "SELECT rank FROM user_ranks ORDER BY rank") == [(3,), (4,)]
    assert check_home(other).problems == []


def test_what_was_kept_of_a_deleted_run_waits_too(tmp_path: Path, failing_reads: Callable[[Path], None]) -> None:
    """The bundle is in the journal of edits then, under a name of its own."""
    home = Home(tmp_path / "home")
    run_id = bundle_module.import_bundle(home, RECORDED)["run_id"]
    with open_store(home) as store:
        trash.remove(store, [find_run(store, run_id)])
    with open_store(home) as store:
        trash.empty(store, trash.to_empty(store, None))
    before = rows_of(home, "SELECT key FROM summaries ORDER BY key")
    assert before
    home.database.unlink()
    shutil.rmtree(home.path / "backups", ignore_errors=True)
    failing_reads(home.edits)
    repair_home(home)
    publish(home)
    assert rows_of(home, "SELECT key FROM summaries ORDER BY key") == before
