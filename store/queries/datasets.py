"""Imported datasets: adding, listing, loading and removing them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.database.database import Store
from store.errors import LookupFailed, StoreError
from store.home import Home
from store.publishing.publish import publish
from store.untrusted_text import check_name

LARGEST = 2**31 - 1
"""Largest number of a prefix: an INTEGER. There are fewer prefixes than interactions."""
SECOND = 1_000_000
"""Microseconds."""
PART, TEXTS = 1 << 18, 10_000
"""Rows, and items with their texts, that are written at a time."""
LARGE, MEMORY = 1 << 20, 256 << 20
"""Interactions from which on a dataset is written within a limit, and its bytes without texts."""
GROUP, PER_LETTER = 122_880, 24
"""Rows that DuckDB gathers before it writes them, and bytes for a letter of an item's text, which it has there twice and copies."""


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
    texts: Callable[[], Iterator[str]]
    """The items' texts, one after the other: they repeat titles and attributes. Those of a loaded record are read at the call."""
    attributes: list[dict[str, list[str]]]
    sequence: NDArray[np.int32]
    """(N,) item ids by user and position."""
    offsets: NDArray[np.int64]
    """(U + 1,) where each user's items begin."""
    timestamps: NDArray[np.int64] | None
    """(N,) Unix seconds."""
    train_prefixes: int
    anchors: Callable[[], Iterator[dict[str, Any]]]
    """Columns user_id, position, item_id, role (name), represents of all anchors, in parts; of a loaded record as `texts`."""
    microseconds: NDArray[np.int64] | None = None
    """(N,) what the times have beyond their second; none where all are whole seconds."""


def add(home: Home, record: DatasetRecord, *, told: Callable[[str], None] = lambda detail: None) -> None:
    """Store a dataset in one transaction; one that is stored already with the same content stays as it is.

    Args:
        told: called after each part of its rows with what is written.

    Raises:
        NameRefused: the name has control characters.
        LookupFailed: the name belongs to other content, or the content to another name.
        StoreError: the store cannot be written, or has no numbers for so many interactions.
    """
    check_name("the name", record.name)
    if len(record.sequence) > LARGEST:
        raise StoreError(
            f"{len(record.sequence):,} interactions are more than the store can number, which is {LARGEST:,}"
        )
    publish(home, apply=lambda connection: _insert(connection, record, told))


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
    items = store.table("SELECT raw_id, title, attributes FROM items WHERE dataset_id = ? ORDER BY item_id", key)
    interactions = store.table(
        "SELECT user_id, item_id, epoch_us(ts) AS ts FROM interactions WHERE dataset_id = ? ORDER BY user_id, position",
        key,
    )

    def texts() -> Iterator[str]:
        yield from store.table("SELECT text FROM items WHERE dataset_id = ? ORDER BY item_id", key)["text"].to_pylist()

    def anchors() -> Iterator[dict[str, Any]]:
        query = (
            "SELECT user_id, position, item_id, role, represents FROM anchors WHERE dataset_id = ? ORDER BY anchor_id"
        )
        found = store.table(query, key)
        yield {name: found[name].to_numpy(zero_copy_only=False) for name in found.column_names}

    counts = np.bincount(interactions["user_id"].to_numpy(), minlength=row["users"] + 1)[1:]
    times = None if interactions["ts"].null_count else interactions["ts"].to_numpy().astype(np.int64)
    beyond = None if times is None else times % SECOND
    return DatasetRecord(
        **{name: row[name] for name in _COLUMNS},
        user_raw_ids=users["raw_id"].to_pylist(),
        tied=users["tied"].to_numpy(),
        item_raw_ids=items["raw_id"].to_pylist(),
        titles=items["title"].to_pylist(),
        texts=texts,
        attributes=[json.loads(text) for text in items["attributes"].to_pylist()],
        sequence=interactions["item_id"].to_numpy().astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        timestamps=None if times is None else times // SECOND,
        microseconds=beyond if beyond is not None and beyond.any() else None,
        anchors=anchors,
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
                _made_with(runs, row["name"]),
                hint="Their records refer to its users and items, so it stays.",
            )
        removed = connection.execute(
            "SELECT run_id FROM removed_runs WHERE dataset_id = ? AND emptied_at IS NULL ORDER BY run_id", key
        ).fetchall()
        if removed:
            raise LookupFailed(
                _made_with(removed, row["name"], "removed "),
                hint="`sracl remove --empty` deletes them for good; until then they can be restored, so it stays.",
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
    "train_prefixes",
)


def _made_with(runs: Sequence[tuple[str]], name: str, how: str = "") -> str:
    ids = ", ".join(run for (run,) in runs[:5])
    if len(runs) == 1:
        return f"1 {how}run was made with {name!r}: {ids}"
    return f"{len(runs):,} {how}runs were made with {name!r}, such as {ids}"


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: json.loads(row[name]) for name in ("options", "dropped", "warnings")}


def _insert(connection: duckdb.DuckDBPyConnection, record: DatasetRecord, told: Callable[[str], None]) -> None:
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
    described, most = _texts_of(record)
    if len(record.sequence) > LARGE:
        connection.execute(f"SET memory_limit = '{MEMORY + most * PER_LETTER >> 20}MiB'")
    _insert_dataset_row(connection, record, described)
    for name, parts in (
        ("users", _users(record)),
        ("items", _items(record)),
        ("interactions", _interactions(record)),
        ("anchors", _anchors(record)),
    ):
        stream = _Stream(name, record.dataset_id, parts, told)
        connection.register("incoming", stream.reader)
        try:
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming")
        except duckdb.Error as error:
            raise stream.error or error from None
        connection.unregister("incoming")
    connection.execute("RESET memory_limit")  # the rest of the publish has its own needs


class _Stream:
    """The rows of a table as one stream, which the database writes as it comes."""

    def __init__(
        self, name: str, dataset_id: str, parts: Iterator[dict[str, Any]], told: Callable[[str], None]
    ) -> None:
        self._name, self._dataset_id, self._parts, self._told = name, dataset_id, parts, told
        self.error: BaseException | None = None
        """What ended it early, such as ctrl+c: the database makes an error of its own of it."""
        begun = self._table(next(parts))
        self.reader = pa.RecordBatchReader.from_batches(begun.schema, self._batches(begun))

    def _table(self, columns: dict[str, Any]) -> pa.Table:
        return pa.table({"dataset_id": pa.repeat(self._dataset_id, len(next(iter(columns.values())))), **columns})

    def _batches(self, begun: pa.Table) -> Iterator[pa.RecordBatch]:
        written = 0
        try:
            for one in chain([begun], map(self._table, self._parts)):
                yield from one.to_batches()
                written += one.num_rows
                self._told(f"storing: {written:,} {self._name}")
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def _texts_of(record: DatasetRecord) -> tuple[int, int]:
    """How many items have text, and how many letters those have, at most, that the database holds before it writes them."""
    described, most, texts = 0, 0, record.texts()
    while lengths := [len(text) for text in islice(texts, GROUP)]:
        described += sum(map(bool, lengths))
        most = max(most, sum(lengths))
    return described, most


def _insert_dataset_row(connection: duckdb.DuckDBPyConnection, record: DatasetRecord, described: int) -> None:
    time_range: tuple[datetime | None, datetime | None] = (None, None)
    if record.timestamps is not None:
        ends = (int(record.timestamps.min()), int(record.timestamps.max()))
        time_range = (_utc(ends[0]), _utc(ends[1]))
    connection.execute(
        "INSERT INTO datasets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, now() AT TIME ZONE 'UTC')",
        [
            record.dataset_id, record.name, record.source, record.format, record.sha256, len(record.user_raw_ids),
            len(record.item_raw_ids), len(record.sequence), record.train_prefixes,
            int(record.tied.sum()), described, *time_range, record.synthetic,
            json.dumps(record.options), record.rows_read, json.dumps(record.dropped), json.dumps(record.warnings),
        ],
    )  # fmt: skip


def _slices(rows: int, part: int) -> Iterator[slice]:
    return (slice(first, min(rows, first + part)) for first in range(0, rows, part))


def _users(record: DatasetRecord) -> Iterator[dict[str, Any]]:
    for rows in _slices(len(record.user_raw_ids), PART):
        ids = np.arange(rows.start + 1, rows.stop + 1, dtype=np.int32)
        yield {"user_id": ids, "raw_id": record.user_raw_ids[rows], "tied": record.tied[rows]}


def _items(record: DatasetRecord) -> Iterator[dict[str, Any]]:
    texts = record.texts()
    for rows in _slices(len(record.titles), TEXTS):
        yield {
            "item_id": np.arange(rows.start + 1, rows.stop + 1, dtype=np.int32),
            "raw_id": record.item_raw_ids[rows],
            "title": record.titles[rows],
            "text": list(islice(texts, rows.stop - rows.start)),
            "attributes": [json.dumps(values, ensure_ascii=False) for values in record.attributes[rows]],
        }


def _interactions(record: DatasetRecord) -> Iterator[dict[str, Any]]:
    for rows in _slices(len(record.sequence), PART):
        places = np.arange(rows.start, rows.stop)
        users = np.searchsorted(record.offsets, places, side="right")
        stamps = pa.nulls(len(places), pa.timestamp("us"))
        if record.timestamps is not None:
            beyond = 0 if record.microseconds is None else record.microseconds[rows]
            stamps = pa.array(record.timestamps[rows] * SECOND + beyond).cast(pa.timestamp("us"))
        yield {
            "user_id": users.astype(np.int32),
            "item_id": np.asarray(record.sequence[rows]),
            "position": (places - record.offsets[users - 1] + 1).astype(np.int32),
            "ts": stamps,
        }


def _anchors(record: DatasetRecord) -> Iterator[dict[str, Any]]:
    first = 1
    for columns in record.anchors():
        end = first + len(columns["user_id"])
        yield {"anchor_id": np.arange(first, end, dtype=np.int32), "length": columns["position"], **columns}
        first = end


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
