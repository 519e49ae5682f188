"""Widths of a table's columns follow the room that its rows have."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from textual.app import App, ComposeResult

from sracl_tui.tui.widgets.table import Column, Row, Table, lay_out


class OneTable(App[None]):
    """A table on the whole screen."""

    def compose(self) -> ComposeResult:
        yield Table()


def rows(count: int) -> list[Row]:
    return [Row(number, (f"title {number} " * 9, f"{number}")) for number in range(count)]


@pytest.mark.parametrize("counts", [(3, 30, 3, 30), (9, 10, 9), (30, 0, 30), (40, 9)])
async def test_a_flexible_column_leaves_room_for_the_scrollbar_and_takes_what_is_left(counts: Sequence[int]) -> None:
    app = OneTable()
    columns = [Column("title", "title", flex=True), Column("n", "n", right=True)]
    async with app.run_test(size=(60, 10)) as pilot:
        table = app.query_one(Table)
        for count in counts:
            table.show(lay_out(columns, rows(count)))
            for _ in range(2):  # before and after the bar is there
                await pilot.pause()
                assert table.virtual_size.width == 60 - 2 * (count >= 10)
                assert not table.show_horizontal_scrollbar
            assert table.show_vertical_scrollbar == (count >= 10)
