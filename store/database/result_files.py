"""Writes the rows of a query to a CSV, Parquet or JSON file, in batches, so that a result may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from store.atomic_write import atomic_write
from store.database.connection import quoted
from store.database.result_texts import batches, csv_head, csv_lines, json_objects, unique_names
from store.errors import StoreError

ROWS, TEXT_ROWS = 50_000, 10_000
"""Rows of a batch; of texts fewer, as a vector takes some kilobytes."""
_NOT_IN_PARQUET = frozenset(
    ("hugeint", "uhugeint", "bignum", "time with time zone", "interval", "bit", "union", "geometry", "tuple")
)
"""Types that Arrow's Parquet refuses or has as other values; they are saved as texts."""


def save(relation: duckdb.DuckDBPyRelation, path: Path) -> int:
    """Write the rows of a query in the format that the path ends in, and return their number.

    Raises:
        StoreError: the ending is none of `FORMATS`, or the file cannot be written.
    """
    write = FORMATS.get(path.suffix.lower())
    if write is None:
        raise StoreError(f"{path.name!r} does not say the format", hint=f"End it in {', '.join(FORMATS)}.")
    try:
        with atomic_write(path) as temporary:
            return write(relation, temporary)
    except OSError as error:
        raise StoreError(f"the file cannot be written: {error.strerror or error}", where=str(path)) from None


def _csv(relation: duckdb.DuckDBPyRelation, path: Path) -> int:
    schema, rows = batches(relation, TEXT_ROWS, "texts")
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_head(schema))
        return _write_all(rows, lambda batch: file.writelines(csv_lines(batch)))


def _parquet(relation: duckdb.DuckDBPyRelation, path: Path) -> int:
    from pyarrow.parquet import ParquetWriter

    reader = _for_parquet(relation).to_arrow_reader(ROWS)
    with ParquetWriter(path, reader.schema, compression="zstd") as writer:
        return _write_all(reader, writer.write_batch)


def _json(relation: duckdb.DuckDBPyRelation, path: Path) -> int:
    _, rows = batches(relation, TEXT_ROWS, "json")
    with path.open("w", encoding="utf-8") as file:
        return _write_all(rows, lambda batch: file.writelines(f"{line}\n" for line in json_objects(batch)))


FORMATS = {".csv": _csv, ".parquet": _parquet, ".json": _json, ".jsonl": _json}


def _for_parquet(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same rows with `unique_names`, as readers of Parquet drop one of two columns of a name, and types that it has.

    A sum of integers (HUGEINT) is a DECIMAL(38,0), and an error where it has more digits.
    """
    columns = []
    for place, (name, kind) in enumerate(zip(unique_names(relation.columns), relation.types, strict=True), start=1):
        value = f"#{place}"
        if kind.id == "hugeint":
            value = f"CAST({value} AS DECIMAL(38,0))"
        elif not _fits_parquet(kind):
            value = f"CAST({value} AS VARCHAR)"
        columns.append(f"{value} AS {quoted(name)}")
    return relation.project(", ".join(columns))


def _fits_parquet(kind: Any) -> bool:
    if kind.id == "struct" and not kind.children:
        return False
    inner = kind.children if kind.id in ("list", "array", "struct", "map") else []
    return kind.id not in _NOT_IN_PARQUET and all(
        _fits_parquet(child) for _, child in inner if not isinstance(child, int)
    )


def _write_all(reader: Iterable[pa.RecordBatch], write: Callable[[pa.RecordBatch], object]) -> int:
    rows = 0
    for batch in reader:
        write(batch)
        rows += batch.num_rows
    return rows
