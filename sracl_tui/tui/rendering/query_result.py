"""Rows of a query as a table on the screen, and as text to copy."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sracl_tui import formatting
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out
from store import untrusted_text
from store.database.result_texts import kind_of, type_of

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 100_000
"""Rows that are shown; a file takes all of them."""
WIDEST = 48
_CELL = 200
LONGEST = 50_000
"""Letters of a value that are shown; a copy has all of them."""
INLINE = 72
"""Letters of a list that stays in one line."""
_ENDS = {"{": "}", "[": "]"}
_TOKEN = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[{}\[\],]|[^"'{}\[\],]+|["']""", re.DOTALL)
"""A text in quotation marks, a sign, or what is between them."""


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


@dataclass(frozen=True)
class CellText:
    """A value of a result, whole."""

    title: str
    facts: str
    """Its type and length, and whether there is a value at all."""
    shown: str
    """The value, laid out where it has parts."""
    copied: str | None
    """The value; None for NULL."""


def cell_of(table: pa.Table, place: int, column: int) -> CellText:
    """A value of the form `texts`, safe to show and to copy."""
    field = table.schema.field(column)
    value: str | None = table.column(column)[place].as_py()
    type_ = formatting.fit(formatting.line(type_of(field)), INLINE).rstrip()
    title = f"{formatting.line(field.name)}, row {place + 1:,}"
    if value is None:
        return CellText(title, f"{type_}, NULL: there is no value", "NULL", None)
    facts = [type_, formatting.count(len(value), "letter") if value else "an empty text"]
    shown = value
    if len(value) > LONGEST:
        shown, facts = value[:LONGEST], [*facts, f"the first {LONGEST:,} of them here, all in a copy"]
    elif _has_parts(type_of(field), value):
        shown = laid_out(value)
    return CellText(title, ", ".join(facts), formatting.text(shown), untrusted_text.shown(value))


def _has_parts(type_: str, value: str) -> bool:
    if type_.endswith("]") or type_.startswith(("STRUCT", "MAP", "UNION", "JSON")):
        return True
    try:
        return value.lstrip()[:1] in _ENDS and isinstance(json.loads(value), dict | list)
    except (ValueError, RecursionError):
        return False


def laid_out(text: str) -> str:
    """Lists, structs, maps and JSON with a line for each part: only blanks between parts change.

    A list without parts in its parts stays in one line if it is short or has no texts.
    """
    tokens = _TOKEN.findall(text)
    ends = _ends(tokens)
    if ends is None:
        return text
    found: list[str] = []
    depth = place = 0
    while place < len(tokens):
        token = tokens[place]
        if token in _ENDS:
            inside = tokens[place + 1 : ends[place]]
            if _in_line(token, inside):
                found.append(f"{token}{''.join(inside)}{_ENDS[token]}")
                place = ends[place]
            else:
                depth += 1
                found.append(f"{token}\n{'  ' * depth}")
        elif token in _ENDS.values():
            depth -= 1
            found.append(f"\n{'  ' * depth}{token}")
        elif token == ",":
            found.append(f",\n{'  ' * depth}")
        elif token.startswith(":") and place and tokens[place - 1][0] in "'\"":
            found.append(f": {token[1:].strip()}")
        else:
            found.append(token.strip())
        place += 1
    return "".join(found)


def _ends(tokens: Sequence[str]) -> dict[int, int] | None:
    """Place of the end of each list and struct by that of its beginning; none where one has no end."""
    found: dict[int, int] = {}
    open_: list[int] = []
    for place, token in enumerate(tokens):
        if token in _ENDS:
            open_.append(place)
        elif token in _ENDS.values():
            if not open_ or _ENDS[tokens[open_[-1]]] != token:
                return None
            found[open_.pop()] = place
    return None if open_ else found


def _in_line(sign: str, inside: Sequence[str]) -> bool:
    if not "".join(inside).strip():
        return True
    plain = sign == "[" and not any(token in _ENDS for token in inside)
    return plain and (sum(map(len, inside)) <= INLINE or not any(token[0] in "'\"" for token in inside))


def _cell(value: str | None) -> str:
    return "NULL" if value is None else formatting.line(value[:_CELL])


def _text(value: str | None) -> str:
    return "NULL" if value is None else value
