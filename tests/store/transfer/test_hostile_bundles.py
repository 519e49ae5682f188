"""Attempts on a home by a bundle: each is refused and leaves the home as it was, or comes in and does nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store.errors import LookupFailed, StoreError
from store.home import Home
from store.opening import open_store
from store.publishing.bundle_reader import TABLES
from store.publishing.publish import publish
from store.transfer.bundle import export_bundle, import_bundle
from tests.store.maintenance.conftest import write_run
from tests.store.transfer.test_bundle import replaced, write

Members = dict[str, bytes]
SECRET = "nobody may see this"


@pytest.fixture(scope="module")
def victim(
    fresh_home: Callable[[Path], Home], begin_run: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Home:
    """A home with a run of its own, its summaries and neighbors, and a secret beside it."""
    folder = tmp_path_factory.mktemp("victim")
    (folder / "secret").write_text(SECRET)
    home = fresh_home(folder / "home")
    write_run(begin_run(home, "mine"), "mine", "data")
    (home.run_folder("mine") / "request.json").write_text("{}")
    publish(home)
    return home


@pytest.fixture(scope="module")
def good(victim: Home, tmp_path_factory: pytest.TempPathFactory) -> Members:
    """The members of a bundle that can be imported: run `theirs`, made of the victim's, with summaries of the same ids."""
    path = tmp_path_factory.mktemp("good") / "good.zip"
    with open_store(victim) as store:
        export_bundle(store, "mine", path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for table in ("runs", "metrics", "user_ranks", "synthesizer_weights", "machine_samples", "user_epochs"):
        rows = tabled(members, table)
        members[f"tables/{table}.parquet"] = parquet(replaced(rows, "run_id", ["theirs"] * rows.num_rows))
    return signed(members, run_id="theirs")


def tabled(members: Members, table: str) -> pa.Table:
    return pq.read_table(io.BytesIO(members[f"tables/{table}.parquet"]))


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def signed(members: Members, **fields: Any) -> Members:
    """With a manifest of these fields that fits the other members."""
    manifest = json.loads(members["manifest.json"]) | fields
    manifest["sha256"] = {n: hashlib.sha256(d).hexdigest() for n, d in members.items() if n != "manifest.json"}
    return members | {"manifest.json": json.dumps(manifest).encode()}


def manifest(text: str | bytes) -> Callable[[Members], Members]:
    return lambda members: members | {"manifest.json": text.encode() if isinstance(text, str) else text}


def named(run_id: Any) -> Callable[[Members], Members]:
    """The run has another id, everywhere."""

    def change(members: Members) -> Members:
        members = dict(members)
        for table in ("runs", "metrics"):
            rows = tabled(members, table)
            members[f"tables/{table}.parquet"] = parquet(replaced(rows, "run_id", [str(run_id)] * rows.num_rows))
        return signed(members, run_id=run_id)

    return change


def column(table: str, name: str, value: Any, kind: Any = None) -> Callable[[Members], Members]:
    """Another value in a column of all rows of a table."""

    def change(members: Members) -> Members:
        rows = tabled(members, table)
        return signed(
            members | {f"tables/{table}.parquet": parquet(replaced(rows, name, [value] * rows.num_rows, kind))}
        )

    return change


def rows(table: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Members], Members]:
    return lambda members: signed(members | {f"tables/{table}.parquet": parquet(change(tabled(members, table)))})


def pickled(table: pa.Table) -> pa.Table:
    """A column whose type says that it is to be unpickled, into a call."""
    payload = b"cos\nsystem\n(S'touch pwned'\ntR."
    field = pa.field(
        "x",
        pa.binary(),
        metadata={"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": payload},
    )
    return table.append_column(field, pa.array([b""] * table.num_rows, pa.binary()))


REFUSED: dict[str, Callable[[Members], Members]] = {
    "id that climbs": named("../mine"),
    "id that is a path": named("/tmp/x"),
    "id with a folder": named("a/b"),
    "id with a backslash": named("a\\b"),
    "id that is hidden": named(".new"),
    "id of a device": named("con"),
    "id that is empty": named(""),
    "id of 200 letters": named("x" * 200),
    "id with a zero byte": named("x\0y"),
    "id that turns around": named("\u202egnp"),
    "id that is a number": named(7),
    "id that is a list": named(["mine"]),
    "id of a run that is here": named("mine"),
    "id of the manifest alone": lambda members: signed(members, run_id="other"),
    "member that climbs": lambda members: signed(members | {"../x": b""}),
    "member that is a path": lambda members: signed(members | {"/etc/x": b""}),
    "member that climbs by backslash": lambda members: signed(members | {"tables\\..\\..\\x.parquet": b""}),
    "member that climbs within tables": lambda members: signed(members | {"tables/../allowed-code.jsonl": b""}),
    "member that allows code": lambda members: signed(members | {"allowed-code.jsonl": b'{"sha256": "x"}'}),
    "member that is code": lambda members: signed(members | {"own_backbone.py": b"import os"}),
    "member that is a journal": lambda members: signed(members | {"events-0001.jsonl": b"{}"}),
    "member that names an executor": lambda members: signed(members | {"executor.json": b'{"executor": "/x.py:X", "handle": "1"}'}),
    "table of somebody's data": lambda members: signed(members | {"tables/users.parquet": members["tables/runs.parquet"]}),
    "table of journal offsets": lambda members: signed(members | {"tables/journal_offsets.parquet": members["tables/runs.parquet"]}),
    "table of migrations": lambda members: signed(members | {"tables/schema_version.parquet": members["tables/runs.parquet"]}),
    "newer format": lambda members: signed(members, format="sracl-bundle-2"),
    "format that is a number": lambda members: signed(members, format=1),
    "no manifest": lambda members: {name: data for name, data in members.items() if name != "manifest.json"},
    "no table of runs": lambda members: signed({n: d for n, d in members.items() if n != "tables/runs.parquet"}),
    "no request": lambda members: signed({n: d for n, d in members.items() if n != "request.json"}),
    "manifest nested for ever": manifest("[" * 200_000),
    "manifest that is a list": manifest("[]"),
    "manifest in no UTF-8": manifest(b"\xff\xfe{"),
    "manifest with a huge number": manifest('{"format": "sracl-bundle-1", "run_id": ' + "9" * 5000 + "}"),
    "hashes that are a list": lambda members: members | {"manifest.json": json.dumps({**json.loads(members["manifest.json"]), "sha256": []}).encode()},
    "hash of another content": lambda members: members | {"tables/metrics.parquet": members["tables/runs.parquet"]},
    "table that is no Parquet": lambda members: signed(members | {"tables/metrics.parquet": b"PAR1" + bytes(64) + b"PAR1"}),
    "two runs": rows("runs", lambda table: pa.concat_tables([table, replaced(table, "run_id", ["second"])])),
    "one run twice": rows("runs", lambda table: pa.concat_tables([table, table])),
    "no run": rows("runs", lambda table: table.slice(0, 0)),
    "metrics of the victim's run": column("metrics", "run_id", "mine"),
    "weights of the victim's run": column("synthesizer_weights", "run_id", "mine"),
    "state that runs": column("runs", "state", "running"),
    "state that waits": column("runs", "state", "queued"),
    "state that is none": column("runs", "state", "pwned"),
    "seed beyond 32 bits": column("runs", "seed", 2**40, pa.int64()),
    "seed that is not there": column("runs", "seed", None, pa.int32()),
    "time without end": column("runs", "created_at", 2**63 - 1, pa.timestamp("us")),
    "time before time": column("runs", "created_at", -(2**62), pa.timestamp("us")),
    "tags that are one text": column("runs", "tags", "a,b"),
    "tags that are none": column("runs", "tags", [None], pa.list_(pa.string())),
    "config nested for ever": column("runs", "config", '{"data": ' + "[" * 5000 + "]" * 5000 + "}"),
    "timings without end": column("runs", "timings", '{"total": 1e999}'),
    "rank that is a text": column("user_ranks", "rank", "first"),
    "value that is a list": column("metrics", "value", [1.0]),
    "weights that are records": column("synthesizer_weights", "weight", {"a": 1}),
}  # fmt: skip


def snapshot(home: Home) -> tuple[Any, ...]:
    """Rows of every table by their hash, files by name."""
    with open_store(home, ingest=False) as store:
        tables = {table: store.tuples(f"SELECT count(*), bit_xor(hash(t)) FROM {table} t") for table in TABLES}
    return tables, sorted(str(path.relative_to(home.path.parent)) for path in home.path.parent.rglob("*"))


@pytest.fixture(scope="module")
def before(victim: Home, good: Members) -> tuple[Any, ...]:
    return snapshot(victim)


@pytest.mark.parametrize("attempt", REFUSED)
def test_refused(victim: Home, good: Members, before: tuple[Any, ...], tmp_path: Path, attempt: str) -> None:
    path = write(tmp_path / "bad.zip", REFUSED[attempt](dict(good)))
    with pytest.raises((StoreError, LookupFailed)) as caught:
        import_bundle(victim, path)
    assert caught.value.message, "in a sentence"
    assert snapshot(victim) == before


def zip_tricks(good: Members, folder: Path) -> dict[str, Path]:
    """Files that are no plain zip of these members."""
    plain = write(folder / "plain.zip", good)
    data = plain.read_bytes()
    tricks = {
        name: folder / f"{name}.zip" for name in ("cut", "locked", "twice", "lying", "overlapping", "text", "empty")
    }
    tricks["cut"].write_bytes(data[:-30])
    locked = bytearray(data)
    for place in [at for at in range(len(data) - 4) if data[at : at + 4] in (b"PK\x01\x02", b"PK\x03\x04")]:
        locked[place + (8 if data[place + 2] == 1 else 6)] |= 1  # "this member is encrypted"
    tricks["locked"].write_bytes(locked)
    with zipfile.ZipFile(tricks["twice"], "w") as archive:
        for name, content in good.items():
            archive.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("request.json", b"{}")
    lying = bytearray(data)
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", lying, at + 24, 2**31)  # it says that it unpacks to 2 GiB
    tricks["lying"].write_bytes(lying)
    overlapping = bytearray(data)
    struct.pack_into("<I", overlapping, at + 42, 0)  # it begins where the first member does
    tricks["overlapping"].write_bytes(overlapping)
    tricks["text"].write_text("no zip")
    tricks["empty"].write_bytes(b"")
    tricks["folder"] = folder / "folder"
    tricks["folder"].mkdir()
    tricks["pipe"] = folder / "pipe"
    os.mkfifo(tricks["pipe"])
    tricks["device"], tricks["dead link"], tricks["missing"] = Path("/dev/zero"), folder / "link", folder / "none.zip"
    tricks["dead link"].symlink_to(folder / "nowhere")
    return tricks


def test_zip_tricks(victim: Home, good: Members, before: tuple[Any, ...], tmp_path: Path) -> None:
    for name, path in zip_tricks(good, tmp_path).items():
        with pytest.raises((StoreError, LookupFailed)):
            import_bundle(victim, path)
        assert snapshot(victim) == before, name


def test_what_comes_in_changes_nothing_else(
    victim: Home, good: Members, before: tuple[Any, ...], tmp_path: Path
) -> None:
    """Columns with SQL in their names, pickles, texts that look like SQL or a terminal's words, and rows with ids of the victim's."""
    home = Home(Path(shutil.copytree(victim.path, tmp_path / "home")))
    members = dict(good)
    odd = {'x"; DROP TABLE runs; --': pa.array([1]), "run_id' OR 1=1": pa.array(["mine"])}
    told = tabled(members, "runs")
    for name, values in odd.items():
        told = told.append_column(name, values)
    for name, value in (("name", "'); DROP TABLE runs; --"), ("note", "\x1b]0;t\x07 =cmd|x"), ("executor", "/x.py:X"), ("handle", "7"),
                        ("git_patch", "x" * 100_000), ("reason", "\u202egpj")):  # fmt: skip
        told = replaced(told, name, [value])
    members["tables/runs.parquet"] = parquet(pickled(told))
    for table, name in (("summaries", "text"), ("prompts", "template")):  # keys that the victim has, with other texts
        found = tabled(members, table)
        members[f"tables/{table}.parquet"] = parquet(replaced(found, name, ["poisoned"] * found.num_rows))
    found = tabled(members, "neighbors")
    members["tables/neighbors.parquet"] = parquet(replaced(found, "neighbor_id", [9] * found.num_rows, pa.int32()))
    path = write(tmp_path / "theirs.zip", signed(members))
    assert import_bundle(home, path)["run_id"] == "theirs"
    assert not (Path.cwd() / "pwned").exists()
    assert not (home.run_folder("theirs") / "pwned").exists()
    with open_store(home) as store:
        assert store.tuples("SELECT run_id FROM runs ORDER BY ALL") == [("mine",), ("theirs",)]
        assert store.tuples("SELECT count(*) FROM summaries WHERE text = 'poisoned'") == [(0,)]
        assert store.tuples("SELECT count(*) FROM prompts WHERE template = 'poisoned'") == [(0,)]
        assert store.tuples("SELECT count(*) FROM neighbors WHERE neighbor_id = 9") == [(0,)]
        assert store.tuples("SELECT name FROM runs WHERE run_id = 'theirs'") == [("'); DROP TABLE runs; --",)]
        for table in ("metrics", "user_ranks", "synthesizer_weights"):
            mine = store.tuples(f"SELECT count(*), bit_xor(hash(t)) FROM {table} t WHERE run_id = 'mine'")
            assert mine == before[0][table]
    assert sorted(path.name for path in home.run_folder("theirs").iterdir()) == [
        "bundle.zip",
        "events-0001.jsonl",
        "request.json",
    ]
