"""One item of a run: its summary, its substitutes by similarity and by learned weight, and who has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.services.item_inspection import ItemInspection, inspect_item
from sracl_tui.tui.navigation import Navigation
from sracl_tui.tui.rendering import item as shown
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.user import orders_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.panes import PanesPage
from sracl_tui.tui.widgets.table import Table, TableData
from store.errors import StoreError


class ItemScreen(PanesPage):
    """An item, its summary, its substitutes before and after learning, and its users."""

    NAME = "Item"
    PANES: ClassVar = {"holders": "holders-table", "summary": "summary-scroll", "substitutes": "substitutes-table"}
    FIRST_PANE = "substitutes"
    ABOUT = (
        "An item and what the run takes for a substitute of it: rank by cosine similarity (#) and, where the run learns "
        "weights of items, by weight (#w). `users` is how many have a substitute, `both` how many of them also have the "
        "item: what people buy together often differs from what reads alike."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "Find", key_display="/"),
        Binding("left_square_bracket", "step(-1)", "Previous", key_display="["),
        Binding("right_square_bracket", "step(1)", "Next", key_display="]"),
        Binding("o", "follow", "Go to substitute"),
        Binding("y", "copy", "Copy"),
    ]

    @dataclass
    class ItemRead(Message):
        """An item was read and its tables are laid out."""

        asked: int | None
        found: ItemInspection
        substitutes: TableData
        holders: TableData

    @dataclass
    class Failed(Message):
        """An item cannot be shown, and why."""

        reason: str

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """Opens on the most frequent item of the run that was viewed last."""
        return cls(app.current_run())

    def __init__(self, run_id: str, item_id: int | None = None) -> None:
        super().__init__()
        self.run_id = run_id
        self.found: ItemInspection | None = None
        self._asked = item_id

    def body(self) -> ComposeResult:
        """Facts, then three panes: users, summary, substitutes."""
        yield Static("", id="facts", markup=False)
        yield self.pane_tabs()
        with Horizontal(id="panes"):
            with Vertical(id="holders", classes="pane") as holders:
                holders.border_title = "Users with this item, latest first"
                yield Table(id="holders-table", empty="reading ...")
            with Vertical(id="summary", classes="pane") as summary:
                summary.border_title = "Summary"
                with VerticalScroll(id="summary-scroll"):
                    yield Static("", id="summary-text", markup=False)
            with Vertical(id="substitutes", classes="pane") as substitutes:
                substitutes.border_title = "Substitutes, most similar first"
                yield Table(id="substitutes-table", empty="reading ...")
                yield Static("", id="agreement", markup=False)
                with VerticalScroll(id="substitute-scroll", can_focus=False):
                    yield Static("", id="substitute-text", markup=False)

    def on_mount(self) -> None:
        """Read the item."""
        self.show_item(self._asked)

    def show_item(self, item_id: int | None) -> None:
        """Read an item and show it; without an ID the most frequent item."""
        self._asked = item_id
        self._read_item(item_id)

    @work(thread=True, exclusive=True, exit_on_error=False, group="look")
    def _read_item(self, item_id: int | None) -> None:
        try:
            found = inspect_item(self.library.store(), self.run_id, item_id)
        except (StoreError, EngineError) as error:
            self.post_message(self.Failed(error_text(error)))
        else:
            self.post_message(self.ItemRead(item_id, found, shown.substitutes_table(found), shown.holders_table(found)))

    @on(Failed)
    def _show_failure(self, message: Failed) -> None:
        if self.found is None:
            for table in self.query(Table):
                table.set_empty_text(formatting.line(message.reason.splitlines()[0]))
        self.notify(message.reason, severity="warning", markup=False)

    @on(ItemRead)
    def _show_item(self, message: ItemRead) -> None:
        if message.asked != self._asked:
            return  # the reader has walked on
        found = self.found = message.found
        self._asked = found.item["item_id"]
        item = found.item
        self.set_title(f"{shown.title_of(item, item['item_id'])}")
        time = f"{item['first_ts']:%Y-%m-%d} to {item['last_ts']:%Y-%m-%d}" if item["first_ts"] else "no times"
        lines = (
            f"item {item['item_id']} of {item['items']:,} ({item['raw_id']})   run {self.sracl.name_of(self.run_id) or found.run['name']}",
            f"{item['interactions']:,} times, by {item['users']:,} users, {time}",
        )
        self.query_one("#facts", Static).update("\n".join(map(formatting.line, lines)))
        holders = self.query_one("#holders-table", Table)
        holders.set_empty_text("No user has it.")
        holders.show(message.holders, keep=False)
        more = item["interactions"] - len(found.holders)
        self.query_one("#holders").border_subtitle = f"{more:,} earlier ones are not listed" if more > 0 else ""
        self.query_one("#summary-text", Static).update(shown.item_text(found))
        self.query_one("#summary-scroll").scroll_home(animate=False)
        table = self.query_one("#substitutes-table", Table)
        table.set_empty_text(formatting.line(found.note))
        table.show(message.substitutes, keep=False)
        text = orders_text(found.substitutes, found.spearman, found.entropy, found.note if found.substitutes else "")
        self.query_one("#agreement", Static).update(text)
        self._show_substitute()
        self.refresh_bindings()

    @property
    def substitute(self) -> dict[str, Any] | None:
        """The substitute under the cursor; none in an empty table."""
        key = self.query_one("#substitutes-table", Table).key
        return next((one for one in self.found.substitutes if one["neighbor_id"] == key), None) if self.found else None

    @on(Table.Highlighted, "#substitutes-table")
    def _show_substitute(self) -> None:
        self.query_one("#substitute-text", Static).update(shown.substitute_text(self.substitute))

    @on(Table.Chosen, "#substitutes-table")
    def _open_substitute(self) -> None:
        from sracl_tui.tui.screens.item_neighbor import SubstituteScreen

        if self.substitute is not None and self.found is not None:
            self.app.push_screen(SubstituteScreen(self.found, self.substitute), self._follow)

    @on(Table.Chosen, "#holders-table")
    def _open_user(self, message: Table.Chosen) -> None:
        assert isinstance(message.key, tuple)
        self.sracl.open_inspector(self.run_id, str(message.key[0]), on_top=True)

    def _follow(self, item_id: int | None) -> None:
        if item_id is not None:
            self.show_item(item_id)

    def disabled_reason(self, action: str) -> str:
        """Every action needs an item."""
        if action in ("find", "step", "follow", "copy") and self.found is None:
            return "No item is shown."
        if action == "follow" and self.found is not None and not self.found.substitutes:
            return self.found.note
        return ""

    def action_find(self) -> None:
        """Open the search for an item."""
        from sracl_tui.tui.screens.find_item import FindItem

        assert self.found is not None
        self.app.push_screen(FindItem(self.found.run), self._follow)

    def action_step(self, by: int) -> None:
        """The item with the next higher or lower ID."""
        assert self.found is not None
        item = self.found.item
        self.show_item((item["item_id"] - 1 + by) % item["items"] + 1)

    def action_follow(self) -> None:
        """Show the substitute under the cursor as an item."""
        if self.substitute is not None:
            self.show_item(self.substitute["neighbor_id"])

    def action_copy(self) -> None:
        """Copy the focused pane: a table, or the summary."""
        assert self.found is not None
        focused = self.focused.id if self.focused else ""
        if focused == "summary-scroll":
            self.copy((self.found.summary or {}).get("text", ""), "Summary")
            return
        table = self.query_one("#holders-table" if focused == "holders-table" else "#substitutes-table", Table)
        lines = ["\t".join(column.key for column in table.data.columns)]
        lines += ["\t".join(cell.strip() for cell in row.cells) for row in table.data.rows]
        self.copy("\n".join(lines), formatting.count(len(table.data.rows), "row"))
