"""Rows of a query as a table on the screen, and as text to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sracl_tui import formatting
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out
from store.database.person_sql import python_values

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 100_000
"""Rows that are shown; a file takes all of them."""
WIDEST = 48
_CELL = 200


def table_of(table: pa.Table) -> TableData:
    """The first MOST rows, numbers to the right, NULL dimmed; takes a second for 100,000 rows of ten cells."""
    import pyarrow.types as types

    table = table.slice(0, MOST)
    columns = [
        Column(
            f"{place}",
            formatting.line(field.name),
            right=types.is_integer(field.type) or types.is_floating(field.type) or types.is_decimal(field.type),
            most=WIDEST,
        )
        for place, field in enumerate(table.schema)
    ]
    texts = [[_cell(value) for value in python_values(column)] for column in table.columns]
    absent = [column.is_null().to_pylist() if column.null_count else None for column in table.columns]
    plain = ("",) * len(columns)
    if any(absent):
        styles = [["dim" if null else "" for null in nulls] if nulls else [""] * len(table) for nulls in absent]
        looks = list(zip(*styles, strict=True))
    else:
        looks = [plain] * len(table)
    cells = zip(*texts, strict=True)
    rows = [Row(place, row, look) for place, (row, look) in enumerate(zip(cells, looks, strict=True))]
    return lay_out(columns, rows)


def details(table: pa.Table, place: int) -> str:
    """A row from top to bottom, every value whole."""
    row = table.slice(place, 1)
    side = max(map(formatting.width, row.column_names), default=0)
    parts = []
    for name, column in zip(row.column_names, row.columns, strict=True):
        value = formatting.text(_text(python_values(column)[0]))
        lines = value.split("\n")
        head = f"{formatting.fit(formatting.line(name), side, right=True)}  "
        parts.append(head + f"\n{' ' * (side + 2)}".join(lines))
    return "\n".join(parts)


def as_tsv(table: pa.Table, place: int) -> str:
    """A row for the clipboard: values with tabs between."""
    return "\t".join(formatting.line(_text(python_values(column)[0])) for column in table.slice(place, 1).columns)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    return formatting.line(value if isinstance(value, str) and len(value) <= _CELL else str(value)[:_CELL])


def _text(value: Any) -> str:
    return "NULL" if value is None else str(value)
