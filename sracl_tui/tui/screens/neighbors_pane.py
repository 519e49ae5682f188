"""The pane of the Inspector with a prefix's neighbors, of one run or of two beside each other."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from sracl_tui import formatting
from sracl_tui.services.user_inspection import Inspection
from sracl_tui.tui.navigation import navigation_of
from sracl_tui.tui.rendering import user as shown
from sracl_tui.tui.rendering.user_pair import pair_table, pair_text
from sracl_tui.tui.widgets.table import Table


class NeighborsPane(Vertical):
    """The table of the neighbors, how far its two orders agree, and the neighbor under the cursor."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self._found: Inspection | None = None
        self._second: Inspection | None = None
        self._holders: dict[int, str] = {}
        self._laid_out_for = 0

    def compose(self) -> ComposeResult:
        """Table, agreement, and what there is to say of one neighbor."""
        self.border_title = "Neighbors, most similar first"
        yield Table(id="neighbors-table", empty="reading ...")
        yield Static("", id="agreement", markup=False)
        with VerticalScroll(id="neighbor-scroll", can_focus=False):
            yield Static("", id="neighbor-text", markup=False)

    def show(self, found: Inspection, second: Inspection | None, holders: dict[int, str]) -> None:
        """Show the neighbors of a prefix.

        Args:
            second: the same prefix in a second run.
            holders: by neighbor, whether the user has the target or buys it next.
        """
        self._found, self._second, self._holders = found, second, holders
        table = self.query_one("#neighbors-table", Table)
        table.set_empty_text(formatting.line(found.note or "No neighbors are stored for this prefix."))
        self._lay_out()
        self._show_neighbor()

    def _lay_out(self) -> None:
        found, second = self._found, self._second
        assert found is not None
        table, agreement = self.query_one("#neighbors-table", Table), self.query_one("#agreement", Static)
        self._laid_out_for = self._room
        single = "most similar first" if found.epoch is None else f"weights of epoch {found.epoch}"
        self.border_title = "Neighbors in A and B" if second else f"Neighbors, {single}"
        if second is None:
            table.show(shown.neighbors_table(found, self._holders, room=self._room), keep=False)
            agreement.update(shown.agreement_text(found, self._holders))
        else:
            table.show(pair_table(found, second, self._holders), keep=False)
            app = navigation_of(self)
            names = [app.name_of(side.run_id) for side in (found, second)]
            agreement.update(pair_text(found, second, (names[0], names[1])))

    @property
    def _room(self) -> int:
        """Approximate width of the pane in columns."""
        width = self.app.size.width
        return width if width < 100 else width * 11 // 20

    def on_resize(self) -> None:
        """Lay the neighbors out anew: titles may fit now, or no longer."""
        if self._found is not None and self._second is None and self._room != self._laid_out_for:
            self._lay_out()

    @property
    def neighbor(self) -> dict[str, Any] | None:
        """The neighbor under the cursor; none in an empty table."""
        key = self.query_one("#neighbors-table", Table).key
        rows = [row for side in (self._found, self._second) if side for row in side.neighbors]
        return next((row for row in rows if row["neighbor_id"] == key), None)

    @on(Table.Highlighted, "#neighbors-table")
    def _show_neighbor(self) -> None:
        static, neighbor = self.query_one("#neighbor-text", Static), self.neighbor
        sides = [side for side in (self._found, self._second) if side]
        side = next((side for side in sides if any(row is neighbor for row in side.neighbors)), None)
        static.update(
            shown.neighbor_text(
                neighbor, static.size.width or 40, side.epochs if side else {}, side.neighbors if side else ()
            )
        )
