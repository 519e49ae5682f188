"""Imported datasets: adding, listing, loading and removing them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.database.database import Store
from store.errors import LookupFailed
from store.home import Home
from store.publishing.publish import publish
from store.untrusted_text import check_name

SECOND = 1_000_000
"""Microseconds."""


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """A dataset as columns. U users, V items, N interactions, A anchors; see docs/schema.md for their meaning."""

    dataset_id: str
    name: str
    sha256: str
    source: str
    format: str
    synthetic: bool
    options: dict[str, Any]
    rows_read: int
    dropped: dict[str, int]
    warnings: list[str]
    user_raw_ids: list[str]
    tied: NDArray[np.bool_]
    item_raw_ids: list[str]
    titles: list[str]
    texts: list[str]
    attributes: list[dict[str, list[str]]]
    sequence: NDArray[np.int32]
    """(N,) item ids by user and position."""
    offsets: NDArray[np.int64]
    """(U + 1,) where each user's items begin."""
    timestamps: NDArray[np.int64] | None
    """(N,) Unix seconds."""
    anchors: dict[str, Any]
    """Columns user_id, position, item_id, role (name), represents, each (A,)."""
    microseconds: NDArray[np.int64] | None = None
    """(N,) what the times have beyond their second; none where all are whole seconds."""


def add(home: Home, record: DatasetRecord) -> None:
    """Store a dataset in one transaction; one that is stored already with the same content stays as it is.

    Raises:
        NameRefused: the name has control characters.
        LookupFailed: the name belongs to other content, or the content to another name.
        StoreError: the store cannot be written.
    """
    check_name("the name", record.name)
    publish(home, apply=lambda connection: _insert(connection, record))


def listed(store: Store) -> list[dict[str, Any]]:
    """Rows of `datasets` sorted by name, with their JSON columns decoded."""
    return [_decoded(row) for row in store.rows("SELECT * FROM datasets ORDER BY name")]


def find(store: Store, name: str) -> dict[str, Any] | None:
    """The row of a dataset by name or id, with its JSON columns decoded; None for an unknown one."""
    rows = store.rows("SELECT * FROM datasets WHERE name = $1 OR dataset_id = $1", [name])
    return _decoded(rows[0]) if rows else None


def get(store: Store, name: str) -> dict[str, Any]:
    """The row of a dataset by name or id, with its JSON columns decoded.

    Raises:
        LookupFailed: no dataset has this name or id.
    """
    found = find(store, name)
    if found is None:
        names = [row["name"] for row in store.rows("SELECT name FROM datasets ORDER BY name")]
        raise LookupFailed(
            f"there is no dataset {name!r}",
            hint=f"Datasets here: {', '.join(names) or 'none'}. `sracl data import PATH --name {name}` adds one.",
        )
    return found


def load(store: Store, name: str) -> DatasetRecord:
    """A dataset by name or id with all its users, items, interactions and anchors.

    Raises:
        LookupFailed: no dataset has this name or id.
    """
    row = get(store, name)
    key = [row["dataset_id"]]
    users = store.table("SELECT raw_id, tied FROM users WHERE dataset_id = ? ORDER BY user_id", key)
    items = store.table("SELECT raw_id, title, text, attributes FROM items WHERE dataset_id = ? ORDER BY item_id", key)
    interactions = store.table(
        "SELECT user_id, item_id, epoch_us(ts) AS ts FROM interactions WHERE dataset_id = ? ORDER BY user_id, position",
        key,
    )
    anchors = store.table(
        "SELECT user_id, position, item_id, role, represents FROM anchors WHERE dataset_id = ? ORDER BY anchor_id",
        key,
    )
    counts = np.bincount(interactions["user_id"].to_numpy(), minlength=row["users"] + 1)[1:]
    times = None if interactions["ts"].null_count else interactions["ts"].to_numpy().astype(np.int64)
    beyond = None if times is None else times % SECOND
    return DatasetRecord(
        **{name: row[name] for name in _COLUMNS},
        user_raw_ids=users["raw_id"].to_pylist(),
        tied=users["tied"].to_numpy(),
        item_raw_ids=items["raw_id"].to_pylist(),
        titles=items["title"].to_pylist(),
        texts=items["text"].to_pylist(),
        attributes=[json.loads(text) for text in items["attributes"].to_pylist()],
        sequence=interactions["item_id"].to_numpy().astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        timestamps=None if times is None else times // SECOND,
        microseconds=beyond if beyond is not None and beyond.any() else None,
        anchors={name: anchors[name].to_numpy(zero_copy_only=False) for name in anchors.column_names},
    )


def used_by(store: Store, dataset_id: str) -> list[str]:
    """Names of the runs that were made with a dataset, newest first."""
    found = store.rows("SELECT name FROM runs WHERE dataset_id = ? ORDER BY created_at DESC, run_id DESC", [dataset_id])
    return [row["name"] for row in found]


def remove(home: Home, store: Store, name: str) -> dict[str, Any]:
    """Remove a dataset with its rows and return its row of `datasets`; summaries and vectors stay.

    Raises:
        LookupFailed: no dataset has this name, or runs were made with it.
    """
    row = get(store, name)

    def apply(connection: duckdb.DuckDBPyConnection) -> None:
        key = [row["dataset_id"]]
        runs = connection.execute("SELECT run_id FROM runs WHERE dataset_id = ? ORDER BY run_id", key).fetchall()
        if runs:
            raise LookupFailed(
                f"{len(runs)} runs were made with {row['name']!r}, such as {', '.join(run for (run,) in runs[:5])}",
                hint="Their records refer to its users and items, so it stays.",
            )
        for table in ("interactions", "anchors", "users", "items", "datasets"):
            connection.execute(f"DELETE FROM {table} WHERE dataset_id = ?", key)

    publish(home, apply=apply)
    return row


_COLUMNS = (
    "dataset_id",
    "name",
    "sha256",
    "source",
    "format",
    "synthetic",
    "options",
    "rows_read",
    "dropped",
    "warnings",
)


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: json.loads(row[name]) for name in ("options", "dropped", "warnings")}


def _insert(connection: duckdb.DuckDBPyConnection, record: DatasetRecord) -> None:
    for column, value, other in (
        ("name", record.name, "dataset_id"),
        ("dataset_id", record.dataset_id, "name"),
    ):
        rows = connection.execute(f"SELECT {other} FROM datasets WHERE {column} = ?", [value]).fetchall()
        if not rows:
            continue
        found = rows[0][0]
        if found == getattr(record, other):
            return
        if column == "name":
            raise LookupFailed(
                f"there is another dataset named {value!r}",
                hint=f"Choose another --name, or `sracl data remove {value}` first.",
            )
        raise LookupFailed(f"the same content is stored already, as {found!r}", hint=f"Use --dataset {found}.")
    _insert_dataset_row(connection, record)
    for name, table in _tables(record).items():
        connection.register("incoming", table)
        connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming")
        connection.unregister("incoming")


def _insert_dataset_row(connection: duckdb.DuckDBPyConnection, record: DatasetRecord) -> None:
    time_range: tuple[datetime | None, datetime | None] = (None, None)
    if record.timestamps is not None:
        ends = (int(record.timestamps.min()), int(record.timestamps.max()))
        time_range = (_utc(ends[0]), _utc(ends[1]))
    roles = record.anchors["role"]
    connection.execute(
        "INSERT INTO datasets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, now() AT TIME ZONE 'UTC')",
        [
            record.dataset_id, record.name, record.source, record.format, record.sha256, len(record.user_raw_ids),
            len(record.item_raw_ids), len(record.sequence), int((np.asarray(roles) == "train").sum()),
            int(record.tied.sum()), sum(bool(text) for text in record.texts), *time_range, record.synthetic,
            json.dumps(record.options), record.rows_read, json.dumps(record.dropped), json.dumps(record.warnings),
        ],
    )  # fmt: skip


def _tables(record: DatasetRecord) -> dict[str, pa.Table]:
    users = np.arange(1, len(record.user_raw_ids) + 1, dtype=np.int32)
    lengths = np.diff(record.offsets)
    positions = np.arange(len(record.sequence)) - np.repeat(record.offsets[:-1], lengths) + 1
    stamps = pa.nulls(len(record.sequence), pa.timestamp("us"))
    if record.timestamps is not None:
        beyond = 0 if record.microseconds is None else record.microseconds
        stamps = pa.array(record.timestamps * SECOND + beyond).cast(pa.timestamp("us"))
    anchors = record.anchors
    tables = {
        "users": {"user_id": users, "raw_id": record.user_raw_ids, "tied": record.tied},
        "items": {
            "item_id": np.arange(1, len(record.titles) + 1, dtype=np.int32),
            "raw_id": record.item_raw_ids,
            "title": record.titles,
            "text": record.texts,
            "attributes": [json.dumps(values, ensure_ascii=False) for values in record.attributes],
        },
        "interactions": {
            "user_id": np.repeat(users, lengths),
            "item_id": record.sequence,
            "position": positions.astype(np.int32),
            "ts": stamps,
        },
        "anchors": {
            "anchor_id": np.arange(1, len(anchors["user_id"]) + 1, dtype=np.int32),
            "length": anchors["position"],
            **anchors,
        },
    }
    return {
        name: pa.table({"dataset_id": [record.dataset_id] * len(next(iter(columns.values()))), **columns})
        for name, columns in tables.items()
    }


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
