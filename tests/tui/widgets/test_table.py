"""Widths of a table's columns follow the room that its rows have; only rows that changed are painted."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from textual.app import App, ComposeResult

from sracl_tui.tui.textual_internals import screen_strips
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


@pytest.mark.parametrize("seed", range(4))
async def test_a_row_that_is_painted_alone_looks_as_if_all_were_painted(seed: int) -> None:
    """After any change of rows, cursor and place, the lines on the screen equal those of a whole paint."""
    chance, app = random.Random(seed), OneTable()
    columns = [Column("title", "title", flex=True), Column("n", "n", right=True)]

    def some_rows(count: int, changed: int) -> list[Row]:
        return [
            Row(n, (f"title {n}" + "!" * (n == changed), f"{n}"), ("", "bad" * (n == changed))) for n in range(count)
        ]

    async with app.run_test(size=(40, 8)) as pilot:
        table, count = app.query_one(Table), 20
        table.show(lay_out(columns, some_rows(count, -1)))
        for _ in range(25):
            what = chance.choice(["show", "show", "move", "move", "jump", "count", "sort"])
            if what == "count":
                count = chance.choice([0, 3, 20, 21])
            if what in ("show", "count"):
                table.show(lay_out(columns, some_rows(count, chance.randrange(count + 1))))
            elif what == "sort":
                table.show(table.data, sorted_by=("n", chance.random() < 0.5))
            elif what == "move":
                table.action_move(chance.choice([-9, -1, 1, 2]))
            else:
                table.action_jump(chance.choice([0, -1]))
            await pilot.pause()
            painted = screen_strips(app.screen)
            table.refresh()
            await pilot.pause()
            assert painted == screen_strips(app.screen), what


async def test_moving_the_cursor_paints_two_rows() -> None:
    app = OneTable()
    async with app.run_test(size=(40, 30)) as pilot:
        table = app.query_one(Table)
        table.show(lay_out([Column("n", "n")], [Row(n, (f"{n}",)) for n in range(20)]))
        await pilot.pause()
        with pytest.MonkeyPatch.context() as patch:
            lines: list[int] = []
            render = table.render_line
            patch.setattr(table, "render_line", lambda y: (lines.append(y), render(y))[1])
            table.action_move(1)
            await pilot.pause()
            assert sorted(lines) == [1, 2]
            changed = [Row(n, (f"{n}",), sign="•" * (n == 7)) for n in range(20)]
            table.show(lay_out([Column("n", "n")], changed))
            await pilot.pause()
            assert sorted(lines) == [1, 2, 8]
