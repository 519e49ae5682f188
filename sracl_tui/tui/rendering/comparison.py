"""What the screen Compare shows, as tables and text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sracl_tui import formatting
from sracl_tui.services.comparison_table import TEST_HEADS, setting_text, test_cells
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out

if TYPE_CHECKING:
    from sracl_tui.services.comparison import Comparison, RankChanges

VERDICTS = {"▲": "good", "▼": "bad", "=": "dim"}
USERS = (
    Column("user", "user", right=True),
    Column("before", "rank in A", right=True),
    Column("after", "rank in B", right=True),
    Column("moved", "places", right=True),
    Column("gain", "NDCG gain", right=True),
    Column("verdict", "better in"),
)


def settings_table(found: Comparison) -> TableData:
    """Settings that differ, a column for each set."""
    columns = [
        Column("setting", "setting"),
        *(Column(f"s{n}", formatting.line(one.label), most=24) for n, one in enumerate(found.sets)),
    ]
    rows = [
        Row(path, (path, *(formatting.line(setting_text(v)) for v in values)), ("dim",))
        for path, values in found.settings.items()
    ]
    return lay_out(columns, rows)


def sets_table(heads: list[str], rows: list[list[str]]) -> TableData:
    """A row for each set under these titles."""
    columns = [Column("set", "", most=32), *(Column(head, head, right=True) for head in heads[1:])]
    return lay_out(columns, [Row(n, tuple(map(formatting.line, row)), ("strong",)) for n, row in enumerate(rows)])


def tests_table(found: Comparison) -> TableData:
    """Paired tests, each with its conclusion as sign and word."""
    columns = [Column(head, head.removesuffix(":r"), right=head.endswith(":r"), most=40) for head in TEST_HEADS]
    rows = []
    for number, test in enumerate(found.tests):
        cells = tuple(map(formatting.line, test_cells(test, found)))
        style = VERDICTS[cells[-1][0]]
        rows.append(Row(number, cells, ("", "strong", style, style, "", "", "", style)))
    return lay_out(columns, rows)


def users_table(found: RankChanges, order: str) -> TableData:
    """Target ranks of the users in A and B, in one of the orders `change`, `won`, `lost`."""
    keys = {"change": -np.abs(found.gain), "won": -found.gain, "lost": found.gain}[order]
    rows = []
    for place in np.argsort(keys, kind="stable").tolist():
        gain, moved = float(found.gain[place]), float(found.before[place] - found.after[place])
        style, side = ("good", "▲ B") if gain > 0 else ("bad", "▼ A") if gain < 0 else ("dim", "=")
        cells = (
            str(found.users[place]),
            _rank_text(float(found.before[place])),
            _rank_text(float(found.after[place])),
            f"{moved:+,.0f}" if moved else "0",
            formatting.signed(gain),
            side,
        )
        rows.append(Row(int(found.users[place]), cells, ("", "", "strong", style, style, style)))
    return lay_out(USERS, rows)


def _rank_text(rank: float) -> str:
    return f"{rank:,.0f}" if rank.is_integer() else f"{rank:,.1f}"


def change_text(found: RankChanges) -> str:
    """How many users are better in B, in A, and equal."""
    won, lost = int((found.gain > 0).sum()), int((found.gain < 0).sum())
    return f"{won:,} better in B, {lost:,} in A, {len(found.gain) - won - lost:,} equal"
