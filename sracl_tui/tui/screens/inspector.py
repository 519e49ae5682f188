"""One user of a run: items, summary, neighbors by similarity and by learned weight."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Static

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.services.population import ORDERS, Population, read_population
from sracl_tui.services.user_inspection import Inspection, at_epoch, inspect_user
from sracl_tui.tui.navigation import Navigation, Unavailable
from sracl_tui.tui.rendering import user as shown
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.choose_second_run import choose_second
from sracl_tui.tui.screens.figure_page import FigurePage
from sracl_tui.tui.screens.neighbors_pane import NeighborsPane
from sracl_tui.tui.screens.panes import PanesPage
from sracl_tui.tui.screens.recommended_pane import RecommendedPane
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError
from store.queries import runs, users
from store.run_row import StoredRun


class InspectorScreen(PanesPage, FigurePage):
    """A user's items, the summary of a prefix, and its neighbors before and after learning."""

    NAME = "Inspector"
    PANES: ClassVar = {
        "items": "items-table",
        "recommended": "recommended-table",
        "neighbors": "neighbors-table",
        "summary": "summary-scroll",
    }
    FIRST_PANE = "neighbors"
    ABOUT = (
        "Left the user's items: a line marks the prefix that is shown, an arrow its target. Below them what the model recommends "
        "before the test item (t: before the validation item, after this prefix), an arrow at the target, and how many neighbors "
        "have an item (●) or buy it next (→). Right the neighbors of the prefix: rank by cosine similarity (#) and by learned weight (weight rank, #w), and by how many "
        "ranks learning moved each (change, ±). The bar is how far the weight is from 1/k, as if all were equal: left less, right more. A sign marks neighbors that have the prefix's target (●) or buy it next (→). Below them the summary of the prefix. With a second run "
        "(o) A is this run, B the second; A or B at the left marks a neighbor that only one has. Comma and full stop step through the epochs that the run "
        "has recorded: the weights of each, and the rank of the validation target, which the line above shows over all of them. e shows all users at once, I the "
        "item under the cursor with its substitutes."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "Find", key_display="/"),
        Binding("left_square_bracket", "step(-1)", "Previous", key_display="["),
        Binding("right_square_bracket", "step(1)", "Next", key_display="]"),
        Binding("s", "order", "Order"),
        Binding("r", "surprise", "Surprise"),
        Binding("t", "turn", "After which history", show=False),
        Binding("w", "what_if", "What if"),
        Binding("p", "prefix(-1)", "Shorter prefix", show=False),
        Binding("P", "prefix(1)", "Longer prefix", show=False),
        Binding("comma", "epoch(-1)", "Earlier recorded epoch", show=False),
        Binding("full_stop", "epoch(1)", "Later recorded epoch", show=False),
        Binding("o", "other_run", "Second run", show=False),
        Binding("i", "item_summary", "Summary of the item", show=False),
        Binding("e", "everyone", "Everyone"),
        Binding("I", "item", "Item and its substitutes", show=False),
        Binding("y", "copy", "Copy", show=False),
    ]

    @dataclass
    class Measured(Message):
        """Every user of the run, with what one may sort by."""

        run: StoredRun
        second_run: str | None
        population: Population

    @dataclass
    class UserRead(Message):
        """A user was read, in one run or in two."""

        asked: tuple[str, int | None, str | None]
        found: Inspection
        second: Inspection | None
        holders: dict[int, str]

    @dataclass
    class Failed(Message):
        """A user cannot be shown, and why."""

        reason: str

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """Opens on the run that was viewed last."""
        return cls(app.current_run())

    def __init__(
        self, run_id: str, user: str | None = None, *, second_run: str | None = None, position: int | None = None
    ) -> None:
        """Args: position: where the prefix of the user ends; none for the one that represents the user."""
        super().__init__()
        self.run_id = run_id
        self.second_run = second_run
        """A second run, whose neighbors of the same prefix stand beside."""
        self.second: Inspection | None = None
        self.found: Inspection | None = None
        self.run: StoredRun | None = None
        self.population: Population | None = None
        self.epoch: int | None = None
        """The recorded epoch whose weights are shown; none for the best one's."""
        self._wanted, self._position = user, position
        self._holders: dict[int, str] = {}
        self._asked: tuple[str, int | None, str | None] | None = None

    def body(self) -> ComposeResult:
        """Facts, then four panes: two beside two, or as tabs where it is narrow."""
        yield Static("", id="facts", markup=False)
        yield self.pane_tabs()
        with Container(id="panes"):
            with Vertical(id="items", classes="pane") as items:
                items.border_title = "Items, oldest first"
                yield Table(id="items-table", empty="reading ...")
            yield NeighborsPane(id="neighbors")
            yield RecommendedPane(id="recommended")
            with Vertical(id="summary", classes="pane") as summary:
                summary.border_title = "Summary"
                with VerticalScroll(id="summary-scroll"):
                    yield Static("", id="summary-text", markup=False)

    def on_mount(self) -> None:
        """Read the first user at once, and all of them for the order in which one walks."""
        if self._wanted is None and self.order == "number":
            self._wanted = "1"
        if self._wanted is not None:
            self.show_user(self._wanted, self._position)
        self._measure(self.run_id, self.second_run)

    @work(thread=True, exclusive=True, exit_on_error=False, group="measure")
    def _measure(self, run_id: str, second_run: str | None) -> None:
        try:
            store = self.library.store()
            run = runs.find_run(store, run_id)
            if run["dataset_id"] is None:
                self.post_message(self.Failed("This run did not get as far as its data: there is no user to look at."))
                return
            population = read_population(store, run, second_run=second_run)
            for order in ORDERS:
                population.order(order)
            self.post_message(self.Measured(run, second_run, population))
        except (StoreError, EngineError) as error:
            self.post_message(self.Failed(error_text(error)))

    @on(Measured)
    def _take_users(self, message: Measured) -> None:
        if message.second_run != self.second_run:
            return
        self.run, self.population = message.run, message.population
        if not len(self.population):
            self.post_message(self.Failed("This dataset has no user."))
        elif self._wanted is None:
            self.show_user(str(self.population.ids[self.population.order(self.order)[0]]))
        elif self.found is not None:
            self._show_facts(self.found)
        self.refresh_bindings()

    @property
    def order(self) -> str:
        """The chosen order; that of changes needs a second run."""
        chosen = self.sracl.preferences.order
        return chosen if chosen in ORDERS and (chosen != "changed" or self.second_run) else "number"

    def show_user(self, user: str, position: int | None = None) -> None:
        """Show a user at a prefix; without a position at the prefix that represents the user."""
        self._asked = (user, position, self.second_run)
        self._read_user(self._asked)

    @work(thread=True, exclusive=True, exit_on_error=False, group="look")
    def _read_user(self, asked: tuple[str, int | None, str | None]) -> None:
        user, position, second_run = asked
        try:
            store = self.library.store()
            run = runs.find_run(store, self.run_id)
            if run["dataset_id"] is None:
                return  # the other worker says so
            found = inspect_user(store, self.run_id, f"#{user}" if user.isdigit() else user, position=position)
            second = inspect_user(store, second_run, f"#{found.user_id}", position=position) if second_run else None
            holders: dict[int, str] = {}
            ids = [n["neighbor_id"] for side in (found, second) if side for n in side.neighbors]
            if found.anchor is not None and ids:
                holders = users.anchors_with_item(store, run["dataset_id"], found.anchor["item_id"], ids)
        except (StoreError, EngineError) as error:
            self.post_message(self.Failed(error_text(error)))
        else:
            self.post_message(self.UserRead(asked, found, second, holders))

    @on(Failed)
    def _show_failure(self, message: Failed) -> None:
        if self.found is None:
            for table in self.query(Table):
                table.set_empty_text(formatting.line(message.reason.splitlines()[0]))
        self.notify(message.reason, severity="warning", markup=False)

    @on(UserRead)
    def _show_user(self, message: UserRead) -> None:
        if message.asked != self._asked:
            return  # the reader has walked on
        before, found = self.found, message.found
        self.found, self.second, self._wanted = found, message.second, str(found.user_id)
        same = before is not None and before.user_id == found.user_id
        self._show_facts(found)
        items = self.query_one("#items-table", Table)
        items.show(shown.items_table(found), keep=same)
        if found.anchor is not None and not same:
            items.move_to(found.anchor["position"] + 1)
        self.query_one("#summary-text", Static).update(shown.summary_text(found.summary))
        if not same:
            self.query_one("#summary-scroll").scroll_home(animate=False)
        self._holders = message.holders
        self._show_neighbors()
        self.query_one(RecommendedPane).ask(found, self.second_run)
        self.refresh_bindings()

    def _show_neighbors(self) -> None:
        """The neighbors with the weights of the epoch that is shown."""
        assert self.found is not None
        found = self.found
        if any(record["epoch"] == self.epoch for record in found.recorded):
            assert self.epoch is not None
            found = at_epoch(found, self.epoch)
        self.query_one(NeighborsPane).show(found, self.second, self._holders)

    def action_epoch(self, by: int) -> None:
        """Show the weights of the next or previous recorded epoch; beyond the first and last are those of the best one."""
        assert self.found is not None
        epochs = [None, *(record["epoch"] for record in self.found.recorded)]
        place = epochs.index(self.epoch) if self.epoch in epochs else 0
        self.epoch = epochs[(place + by) % len(epochs)]
        self._show_facts(self.found)
        self._show_neighbors()

    def _show_facts(self, found: Inspection) -> None:
        self.set_title(f"{self.sracl.name_of(self.run_id) or self.run_id} on {found.dataset}")
        place = None if self.population is None else self.population.place_in(self.order, found.user_id)
        where = "" if place is None else f"{place + 1:,} of {len(self.population or ()):,} {ORDERS[self.order]}"
        tied = "   validation and test at the same time" if found.tied else ""
        anchor = found.anchor
        prefix = f"{anchor['length']} items ({anchor['role']})" if anchor else "no training prefix"
        raw = "" if found.raw_id == str(found.user_id) else f" ({found.raw_id})"
        lines = (
            f"user {found.user_id}{raw}   {where}{tied}",
            f"target's rank (best epoch): {shown.ranks_text(found)}   prefix: {prefix}",
        )
        lines = filter(None, (*lines, shown.recorded_text(found, self.epoch)))
        self.query_one("#facts", Static).update("\n".join(map(formatting.line, lines)))

    @property
    def neighbor(self) -> dict[str, Any] | None:
        """The neighbor under the cursor; none in an empty table."""
        return self.query_one(NeighborsPane).neighbor

    @on(Table.Chosen, "#neighbors-table")
    def _open_neighbor(self) -> None:
        from sracl_tui.tui.screens.user_neighbor import NeighborScreen

        if self.neighbor is not None and self.found is not None:
            self.app.push_screen(NeighborScreen(self.run_id, self.found, self.neighbor), self._follow)

    def _follow(self, user: int | None) -> None:
        if user is not None:
            self.show_user(str(user))

    @on(Table.Chosen, "#items-table")
    def _open_prefix(self, message: Table.Chosen) -> None:
        if self.found is not None and isinstance(message.key, int):
            last = len(self.found.items) - 1
            self.show_user(str(self.found.user_id), max(1, min(message.key, last)))

    @on(Table.Chosen, "#recommended-table")
    def _open_recommended(self, message: Table.Chosen) -> None:
        if isinstance(message.key, int):
            self.sracl.open_item(self.run_id, message.key)

    def action_turn(self) -> None:
        """Recommend after the next kind of history."""
        self.query_one(RecommendedPane).turn()

    def action_what_if(self) -> None:
        """Change the history or the neighbors, and see what the model would rank."""
        from sracl_tui.tui.screens.what_if import WhatIfScreen

        assert self.run is not None
        assert self.found is not None
        self.app.push_screen(WhatIfScreen(self.run, self.found, self.query_one(RecommendedPane).at))

    def disabled_reason(self, action: str) -> str:
        """Steps need the list of users; prefixes and items need a user."""
        if action in ("copy", "prefix", "item_summary", "item", "turn", "what_if") and not self.found:
            return "No user is shown."
        if action in ("step", "surprise", "find", "order", "other_run", "everyone", "what_if") and not self.population:
            return "The users are not read yet." if self.found else "No user is shown."
        if action == "epoch" and not (self.found and self.found.recorded):
            return "Nothing is recorded of this user over the epochs (settings record.snapshots, record.users)."
        if action == "item_summary" and self.run is not None and self.run["item_set_id"] is None:
            return "This run has no summaries of items."
        return ""

    def figure_words(self) -> list[str]:
        """The user's neighbors, by similarity and by weight."""
        if self.found is None:
            raise Unavailable("No user is shown.")
        if self.found.anchor is not None and not self.found.anchor["represents"]:
            raise Unavailable("The figure is of the longest training prefix: P leads there.")
        return [self.run_id, "--figure", "user", "--user", str(self.found.user_id)]

    def action_step(self, by: int) -> None:
        """Go to the next or previous user in the chosen order."""
        assert self.population is not None
        order = self.population.order(self.order)
        place = None if self.found is None else self.population.place_in(self.order, self.found.user_id)
        at = 0 if place is None else (place + by) % len(order)
        self.show_user(str(self.population.ids[order[at]]))

    def action_order(self) -> None:
        """Sort the users by the next order and go to the first."""
        assert self.population is not None
        names = [name for name in ORDERS if name != "changed" or self.second_run]
        self.sracl.preferences.order = names[(names.index(self.order) + 1) % len(names)]
        self.show_user(str(self.population.ids[self.population.order(self.order)[0]]))

    def action_surprise(self) -> None:
        """Go to a random user."""
        assert self.population is not None
        self.show_user(str(random.choice(self.population.ids)))

    def action_prefix(self, by: int) -> None:
        """Show the prefix that ends one item earlier or later."""
        if self.found is not None and self.found.anchor is not None:
            position = self.found.anchor["position"] + by
            if 1 <= position < len(self.found.items):
                self.show_user(str(self.found.user_id), position)

    def action_find(self) -> None:
        """Open the search for a user."""
        from sracl_tui.tui.screens.find_user import FindUser

        assert self.run is not None
        assert self.population is not None
        self.app.push_screen(FindUser(self.run, self.population, self.order), self._follow)

    def action_everyone(self) -> None:
        """Show all users, with this one marked."""
        assert self.population is not None
        self.sracl.open_everyone(self.run_id, self.found.user_id if self.found else None)

    def action_other_run(self) -> None:
        """Choose a second run of the same data; the first row takes it away again."""
        assert self.run is not None
        choose_second(self, self.run, self.second_run, "The same user in a second run", self._set_second_run)

    def _set_second_run(self, run_id: str | None) -> None:
        self.second_run = run_id
        self._measure(self.run_id, run_id)
        self.show_user(self._wanted or "1")

    @property
    def item(self) -> dict[str, Any] | None:
        """The item under the cursor; none in an empty table."""
        key = self.query_one("#items-table", Table).key
        return next((item for item in self.found.items if item["position"] == key), None) if self.found else None

    def action_item(self) -> None:
        """Open the screen of the item under the cursor."""
        if self.item is not None:
            self.sracl.open_item(self.run_id, self.item["item_id"])

    def action_item_summary(self) -> None:
        """Show the summary of the item under the cursor in a notification."""
        if self.item is not None:
            self._read_item(self.item["item_id"], self.item["title"])

    @work(thread=True, exclusive=True, exit_on_error=False, group="item")
    def _read_item(self, item_id: int, title: str) -> None:
        assert self.run is not None
        try:
            summary = users.summary(self.library.store(), self.run["item_set_id"], item_id)
        except StoreError as error:
            self.post_message(self.Failed(error_text(error)))
        else:
            text = shown.summary_text(summary, of="item", brief=True).plain
            self.notify(text, title=formatting.line(title or f"item {item_id}"), timeout=12, markup=False)

    def action_copy(self) -> None:
        """Copy the focused pane: its table, or the summary."""
        assert self.found is not None
        focused = self.focused.id if self.focused else ""
        if focused == "summary-scroll":
            self.copy((self.found.summary or {}).get("text", ""), "Summary")
            return
        name = focused if focused in ("items-table", "recommended-table") else "neighbors-table"
        table = self.query_one(f"#{name}", Table)
        lines = ["\t".join(column.key for column in table.data.columns)]
        lines += ["\t".join(cell.strip() for cell in row.cells) for row in table.data.rows]
        self.copy("\n".join(lines), formatting.count(len(table.data.rows), "row"))
