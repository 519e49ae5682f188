"""Rows of a query as texts that DuckDB itself makes: as its shell prints a value, and as its COPY writes CSV and JSON.

Two things differ from COPY. A text that a spreadsheet would compute begins with an apostrophe in CSV, and JSON has numbers
alone: null for NaN, and `1e999`, which every reader takes as a number that is too large, for infinity.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from store.untrusted_text import csv_cell, json_text

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Form = Literal["values", "texts", "json"]
"""What a cell of a result is: a value of Arrow, the text of a value, or its JSON."""
Kind = Literal["number", "fixed", "text"]
"""What a text is made of: a number; a date, a duration and the like; anything that a person or a model may have written."""

_TEXT_OF = {"texts": "CAST(#{} AS VARCHAR)", "json": "CAST(to_json(#{}) AS VARCHAR)"}
_INTEGERS = re.compile(r"u?(?:tiny|small|big|huge)?int(?:eger)?|bignum")
_FIXED = ("boolean", "date", "time", "interval", "uuid", "bit")
"""Beginnings of the names of types whose texts nobody chose: `timestamp with time zone` is one."""
_QUOTED = re.compile(r'[",#\r\n]|^$')
"""A cell that COPY puts into quotation marks: an empty text, too, as a cell without a value is empty."""
_NO_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity')
_NUMBER_OF = {"NaN": "null", "Infinity": "1e999", "-Infinity": "-1e999"}


def batches(
    relation: duckdb.DuckDBPyRelation, rows: int, form: Form = "values"
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Rows of a query, `rows` at a time, and their schema: the names as they are, and of texts also what `kind_of` and `type_of` find."""
    if form == "values":
        reader = relation.to_arrow_reader(rows)
        return reader.schema, iter(reader)
    import pyarrow as pa

    kinds = [_kind(kind.id) for kind in relation.types]
    names = list(relation.columns)
    texts = ", ".join(f"{_TEXT_OF[form].format(place)} AS c{place}" for place in range(1, len(names) + 1))
    reader = relation.project(texts).to_arrow_reader(rows)
    schema = pa.schema(
        pa.field(name, field.type, metadata={"kind": kind, "type": str(type_)})
        for name, kind, type_, field in zip(names, kinds, relation.types, reader.schema, strict=True)
    )
    return schema, (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in reader)


def _kind(name: str) -> Kind:
    if name in ("float", "double", "decimal") or _INTEGERS.fullmatch(name):
        return "number"
    return "fixed" if name.startswith(_FIXED) else "text"


def kind_of(field: pa.Field) -> Kind:
    """What the texts of a column are made of."""
    return (field.metadata or {}).get(b"kind", b"text").decode()  # pyright: ignore[reportReturnType]


def type_of(field: pa.Field) -> str:
    """The type of a column of texts before it became one, as DuckDB writes it."""
    return (field.metadata or {}).get(b"type", b"VARCHAR").decode()


def csv_head(schema: pa.Schema) -> str:
    """The first line of a CSV file."""
    return ",".join(_cell(name) for name in schema.names) + "\n"


def csv_lines(rows: pa.Table | pa.RecordBatch) -> Iterator[str]:
    """Lines of a CSV file from rows of the form `texts`."""
    columns = [
        ["" if text is None else text if kind_of(field) != "text" else _cell(text) for text in column.to_pylist()]
        for field, column in zip(rows.schema, rows.columns, strict=True)
    ]
    return (",".join(cells) + "\n" for cells in zip(*columns, strict=True))


def _cell(text: str) -> str:
    text = csv_cell(text)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def json_objects(rows: pa.Table | pa.RecordBatch) -> Iterator[str]:
    """An object for each row of the form `json`, without a line break; of two columns of one name both are in it."""
    names = [json_text(json.dumps(name, ensure_ascii=False)) + ":" for name in unique_names(rows.schema.names)]
    columns = [map(_valid, column.to_pylist()) for column in rows.columns]
    for values in zip(*columns, strict=True):
        yield "{" + ",".join(map(str.__add__, names, values)) + "}"


def _valid(text: str | None) -> str:
    if text is None:
        return "null"
    if "NaN" in text or "Infinity" in text:
        text = _NO_NUMBER.sub(lambda found: _NUMBER_OF.get(found[0], found[0]), text)
    return json_text(text)


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
