"""Writes the rows of a query to a CSV, Parquet or JSON file, in batches, so that a result may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from store.atomic_write import atomic_write
from store.errors import StoreError
from store.untrusted_text import csv_cell

ROWS = 50_000
"""Rows of a batch."""
_MAY_DIFFER = "^[=+@-]|[^ -~]"
"""A text that `csv_cell` may change, in the syntax of RE2."""


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
            return write(_renamed(relation), temporary)
    except OSError as error:
        raise StoreError(f"the file cannot be written: {error.strerror or error}", where=str(path)) from None


def _csv(relation: duckdb.DuckDBPyRelation, path: Path) -> int:
    from pyarrow.csv import CSVWriter

    reader = _flat(relation).to_arrow_reader(ROWS)
    names = [csv_cell(name) for name in reader.schema.names]
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
    with CSVWriter(path, schema) as writer:
        return _write_all(reader, lambda batch: writer.write_batch(_guarded(batch, schema)))


def _guarded(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The same rows with texts as `csv_cell` has them; only columns in which one may differ are made anew."""
    from pyarrow import compute

    columns = []
    for column in batch.columns:
        textual = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if textual and compute.call_function("any", [_differing(column)]).as_py():
            texts = [None if text is None else csv_cell(text) for text in column.to_pylist()]
            columns.append(pa.array(texts, column.type))
        else:
            columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _differing(column: pa.Array) -> pa.Array:
    from pyarrow import compute

    return compute.call_function("match_substring_regex", [column], compute.MatchSubstringOptions(_MAY_DIFFER))


def _parquet(relation: duckdb.DuckDBPyRelation, path: Path) -> int:
    from pyarrow.parquet import ParquetWriter

    reader = relation.to_arrow_reader(ROWS)
    with ParquetWriter(path, reader.schema, compression="zstd") as writer:
        return _write_all(reader, writer.write_batch)


def _json(relation: duckdb.DuckDBPyRelation, path: Path) -> int:
    lines = relation.set_alias("line").project("CAST(to_json(line) AS VARCHAR)")
    reader = lines.to_arrow_reader(ROWS)
    with path.open("w", encoding="utf-8") as file:
        return _write_all(reader, lambda batch: file.writelines(f"{line}\n" for line in batch.column(0).to_pylist()))


FORMATS = {".csv": _csv, ".parquet": _parquet, ".json": _json, ".jsonl": _json}


def unique_names(names: Sequence[str]) -> list[str]:
    """Names of columns, of which each occurs once in any case of letters, as DuckDB compares them.

    A name that was there before gets a number: `x, x_1`.
    """
    given = {name.casefold() for name in names}
    found: dict[str, str] = {}
    for name in names:
        number, new = 0, name
        while new.casefold() in found or (number and new.casefold() in given):
            number += 1
            new = f"{name}_{number}"
        found[new.casefold()] = new
    return list(found.values())


def _renamed(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same rows with `unique_names`: objects, and readers of Parquet, drop one of two columns of the same name."""
    names = unique_names(relation.columns)
    if names == list(relation.columns):
        return relation
    quoted = [name.replace('"', '""') for name in names]
    return relation.project(", ".join(f'#{place} AS "{name}"' for place, name in enumerate(quoted, start=1)))


def _write_all(reader: pa.RecordBatchReader, write: Callable[[pa.RecordBatch], object]) -> int:
    rows = 0
    for batch in reader:
        write(batch)
        rows += batch.num_rows
    return rows


def _flat(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Cast lists, structs, maps and enums to text, which is all that a cell of a CSV file can hold."""
    nested = [
        name.replace('"', '""')
        for name, kind in zip(relation.columns, relation.types, strict=True)
        if kind.id in ("list", "array", "struct", "map", "union", "enum")
    ]
    casts = ", ".join(f'CAST("{name}" AS VARCHAR) AS "{name}"' for name in nested)
    return relation.project(f"* REPLACE ({casts})") if nested else relation
