"""Data sets as a list, and one of them in facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table as Pairs
from rich.text import Text

from sracl_tui import formatting
from sracl_tui.services.dataset_facts import facts_of
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

COLUMNS = (
    Column("name", "name", most=24),
    Column("users", "users", right=True),
    Column("items", "items", right=True),
    Column("interactions", "interactions", right=True),
    Column("train_prefixes", "prefixes", right=True),
    Column("runs", "runs", right=True),
    Column("source", "source", flex=True, least=12),
    Column("imported_at", "imported (UTC)"),
)
SIZES = ("users", "items", "interactions", "train_prefixes")


def source_name(row: dict[str, Any]) -> str:
    """Where a data set comes from, without the folder."""
    return f"synthetic: {row['source']}" if row["synthetic"] else f"{Path(row['source']).name} ({row['format']})"


def datasets_table(rows: Sequence[dict[str, Any]], used: Mapping[str, int], *, narrow: bool) -> TableData:
    """The list.

    Args:
        used: number of runs by id.
        narrow: without the last column.
    """
    columns = COLUMNS[:-1] if narrow else COLUMNS
    lines = []
    for row in rows:
        cells = (
            formatting.line(row["name"]),
            *(f"{row[key]:,}" for key in SIZES),
            str(used[row["dataset_id"]] or "-"),
            formatting.line(source_name(row)),
            f"{row['imported_at']:%Y-%m-%d %H:%M}",
        )
        styles = ("strong", "", "", "", "", "", "accent" if row["synthetic"] else "dim", "dim")
        lines.append(Row(row["dataset_id"], cells[: len(columns)], styles))
    return lay_out(columns, lines)


def facts_table(row: dict[str, Any], found: dict[str, Any] | None, runs: Sequence[str], *, dim: str) -> Pairs:
    """Facts with their names at the left, and the most popular items.

    Args:
        found: the statistics, where they are counted.
        runs: names of the runs that use it.
        dim: color of the names.
    """
    pairs = Pairs(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    pairs.add_column(no_wrap=True, style=dim)
    pairs.add_column(overflow="fold")
    for name, text in facts_of(row, found, runs).items():
        pairs.add_row(name, Text(formatting.line(text), "bold" if name == "dataset" else ""))
    for place, item in enumerate((found or {}).get("popular", ())):
        title = item["title"] or f"item {item['raw_id']}"
        pairs.add_row("" if place else "popular", Text(formatting.line(f"{item['count']:,}x {title}")))
    return pairs
