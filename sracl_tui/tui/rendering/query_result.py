"""Rows of a query as a table on the screen, and as text to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sracl_tui import formatting
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out
from store.database.result_texts import kind_of

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 100_000
"""Rows that are shown; a file takes all of them."""
WIDEST = 48
_CELL = 200


def table_of(table: pa.Table) -> TableData:
    """The first MOST rows of the form `texts`, numbers to the right, NULL dimmed."""
    table = table.slice(0, MOST)
    columns = [
        Column(f"{place}", formatting.line(field.name), right=kind_of(field) == "number", most=WIDEST)
        for place, field in enumerate(table.schema)
    ]
    texts = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
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
        value = formatting.text(_text(column[0].as_py()))
        lines = value.split("\n")
        head = f"{formatting.fit(formatting.line(name), side, right=True)}  "
        parts.append(head + f"\n{' ' * (side + 2)}".join(lines))
    return "\n".join(parts)


def as_tsv(table: pa.Table, place: int) -> str:
    """A row for the clipboard: values with tabs between."""
    return "\t".join(formatting.line(_text(column[0].as_py())) for column in table.slice(place, 1).columns)


def _cell(value: str | None) -> str:
    return "NULL" if value is None else formatting.line(value[:_CELL])


def _text(value: str | None) -> str:
    return "NULL" if value is None else value
