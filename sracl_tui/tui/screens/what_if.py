"""Counterfactuals of one user: change the history or the neighbors, and see at once what the model would rank."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widgets import Static

from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.services.scoring import Answer
from sracl_tui.services.user_inspection import Inspection
from sracl_tui.services.user_recommendations import At
from sracl_tui.services.what_if import Weighed, WhatIf, find_neighbors
from sracl_tui.tui.navigation import Navigation, Unavailable
from sracl_tui.tui.rendering import what_if as shown
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.recommended import WHERE
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.panes import PanesPage
from sracl_tui.tui.widgets.table import Table, table_text
from sracl_tui.tui.widgets.text_dialog import EditDialog
from store.errors import StoreError
from store.queries import items
from store.run_row import StoredRun

MORE, LESS = 1.25, 0.8
"""Factors of a neighbor's weight."""


class WhatIfScreen(PanesPage):
    """A user's history and neighbors, to be changed, and the model's ranking beside that of the user as they are."""

    NAME = "What if"
    PANES: ClassVar = {"history": "history-table", "ranked": "ranked-table", "neighbors": "weights-table"}
    FIRST_PANE = "history"
    ABOUT = (
        "What the model would rank if the history were otherwise: space leaves the item under the cursor out or takes it in, J and "
        "K move it, a adds one before it. Beside it the first items now; ± is by how many ranks each has moved. In the neighbors' pane space leaves "
        "a neighbor out, + and - change its weight: that moves the sample h+ (`# by h+` ranks by it), not the recommendations, which "
        "take the history alone. e edits the summary: the run's encoder reads the text, and its neighbors are searched anew; `was` is where each stood "
        "before. u takes the last change back, R all of them."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "leave_out", "In or out"),
        Binding("J,shift+down", "move(1)", "Later"),
        Binding("K,shift+up", "move(-1)", "Earlier"),
        Binding("a", "add", "Add item"),
        Binding("e", "summary", "Summary"),
        Binding("plus", "reweigh(1)", "More weight", show=False, key_display="+"),
        Binding("minus", "reweigh(-1)", "Less weight", show=False, key_display="-"),
        Binding("u", "undo", "Undo"),
        Binding("R", "reset", "Reset"),
        Binding("y", "copy", "Copy", show=False),
    ]

    @dataclass
    class Answered(Message):
        """The model has answered."""

        asked: WhatIf
        before: Answer
        now: Answer
        titles: Mapping[int, str]
        seconds: float

    @dataclass
    class Chosen(Message):
        """An item to add was chosen."""

        item_id: int
        title: str

    @dataclass
    class Retrieved(Message):
        """The neighbors that another summary finds, or why there are none."""

        summary: str
        neighbors: tuple[Weighed, ...]
        trouble: str = ""

    @dataclass
    class Failed(Message):
        """The model cannot answer, and why."""

        reason: str

    @classmethod
    def opening(cls, app: Navigation) -> BaseScreen:
        """It belongs to a user of the Inspector."""
        raise Unavailable("Open a user in the Inspector (3), then press w.")

    def __init__(self, run: StoredRun, found: Inspection, at: At, *, changed: WhatIf | None = None) -> None:
        """Args: changed: what is made of the user already."""
        super().__init__()
        self.run, self._found = run, found
        self.states = [WhatIf.of(found, at), *([] if changed is None else [changed])]
        """The user as they are, then after each change."""
        self.answer: WhatIfScreen.Answered | None = None
        self._searching = False

    @property
    def bench(self) -> WhatIf:
        """The present state."""
        return self.states[-1]

    @property
    def position(self) -> int | None:
        """Where the prefix of the neighbors ends; none for the one that represents the user."""
        anchor = self._found.anchor
        return None if anchor is None or anchor["represents"] else anchor["position"]

    def text(self) -> str:
        """The changes and the ranking, whichever pane is in sight."""
        effect = str(self.query_one("#effect", Static).content)
        tables = [self.query_one(f"#{name}-table", Table).data for name in ("ranked", "history", "weights")]
        heads = ("Ranked first now", "History, oldest first", "Neighbors, most similar first")
        parts = [] if self.bench.summary is None else [f"Another summary\n{self.bench.summary}"]
        parts += [f"{head}\n{table_text(table)}" for head, table in zip(heads, tables, strict=True) if table.rows]
        return "\n\n".join([str(self.query_one("#facts", Static).content), effect, *parts])

    def body(self) -> ComposeResult:
        """History and neighbors at the left, the ranking at the right."""
        yield Static("", id="facts", markup=False)
        yield self.pane_tabs()
        with Container(id="panes"):
            with Vertical(id="history", classes="pane") as history:
                history.border_title = "History, oldest first"
                yield Table(id="history-table", empty="This history has no item.")
            with Vertical(id="ranked", classes="pane") as ranked:
                ranked.border_title = "Ranked first now"
                yield Table(id="ranked-table", empty="loading the model ...")
                yield Static("", id="effect", markup=False)
            with Vertical(id="neighbors", classes="pane") as neighbors:
                neighbors.border_title = "Neighbors of the prefix, most similar first"
                yield Table(id="weights-table", empty=formatting.line(self._found.note or "No weights are stored."))

    def on_mount(self) -> None:
        """Show the user as they are."""
        self.set_title(f"user {self.bench.user_id}, {self.sracl.name_of(self.bench.run_id) or self.run['name']}")
        self._show()

    def _show(self) -> None:
        bench = self.bench
        changes = len(self.states) - 1
        told = "as it is" if not changes else f"{changes} change{'' if changes == 1 else 's'}"
        told += "   another summary" if bench.summary is not None else ""
        self.query_one("#facts", Static).update(f"recommending {WHERE[bench.at]}   {told}")
        self.query_one("#history-table", Table).show(shown.steps_table(bench))
        self.query_one("#weights-table", Table).show(shown.neighbors_table(bench, self.states[0]))
        self.refresh_bindings()
        if bench.history:
            self._ask(self.states[0], bench)
        else:
            table = self.query_one("#ranked-table", Table)
            table.set_empty_text("Nothing is left of the history: take an item in again.")
            table.show(shown.lay_out(shown.RANKED, []), keep=False)
            self.query_one("#effect", Static).update("")

    @work(thread=True, exclusive=True, exit_on_error=False, group="what-if")
    def _ask(self, first: WhatIf, bench: WhatIf) -> None:
        scoring = self.sracl.scoring
        try:
            started = time.perf_counter()
            top = scoring.ask(bench.question()).model.items
            now = scoring.ask(bench.question(top))
            before = scoring.ask(first.question(top))
            seconds = time.perf_counter() - started
            wanted = [*top, *([] if bench.target is None else [bench.target])]
            titles = items.titles(self.library.store(), str(self.run["dataset_id"]), wanted)
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Failed(error_text(error)))
        else:
            self.post_message(self.Answered(bench, before, now, titles, seconds))

    @on(Answered)
    def _show_answer(self, message: Answered) -> None:
        if message.asked is not self.bench:
            return  # changed again meanwhile
        self.answer = message
        bench = self.bench
        table = self.query_one("#ranked-table", Table)
        table.show(shown.ranked_table(message.before, message.now, bench, message.titles))
        effect = shown.effect_text(message.before, message.now, bench, self.states[0], message.seconds)
        self.query_one("#effect", Static).update(effect)

    @on(Failed)
    def _show_failure(self, message: Failed) -> None:
        self.query_one("#ranked-table", Table).set_empty_text(formatting.line(message.reason.splitlines()[0]))
        self.notify(message.reason, severity="warning", markup=False)

    @on(Table.Chosen)
    def _toggle_chosen(self, message: Table.Chosen) -> None:
        if message.table.id == "ranked-table":
            assert isinstance(message.key, int)
            self.sracl.open_item(self.run["run_id"], message.key)
        else:
            self.action_leave_out()

    @property
    def _place(self) -> int | None:
        """The row under the cursor of the pane with the focus, if it is one that can be changed."""
        table = self.query_one("#weights-table" if self._pane == "neighbors" else "#history-table", Table)
        return table.key if self._pane != "ranked" and isinstance(table.key, int) else None

    def disabled_reason(self, action: str) -> str:
        """Changes need a row, and the pane that they belong to."""
        if action in ("undo", "reset") and len(self.states) == 1:
            return "Nothing is changed yet."
        if action == "summary":
            return self._why_no_summary()
        if action == "leave_out" and self._place is None:
            return "Choose an item of the history, or a neighbor."
        if action == "move" and (self._pane != "history" or self._place is None):
            return "Choose an item of the history."
        if action == "reweigh" and (self._pane != "neighbors" or self._place is None):
            return "Choose a neighbor."
        return ""

    def _why_no_summary(self) -> str:
        if self._searching:
            return "The neighbors are being searched."
        if self._found.summary is None:
            return self._found.note or "This prefix has no summary."
        return "" if self.states[0].neighbors else self._found.note or "No neighbor of this prefix has a weight."

    def _become(self, bench: WhatIf) -> None:
        self.states.append(bench)
        self._show()

    def action_leave_out(self) -> None:
        """Leave out the item or neighbor under the cursor, or take it in again."""
        place = self._place
        if place is not None:
            bench = self.bench
            self._become(bench.toggle_neighbor(place) if self._pane == "neighbors" else bench.toggle_step(place))

    def action_move(self, by: int) -> None:
        """Move the item under the cursor."""
        place = self._place
        if place is not None and 0 <= place + by < len(self.bench.steps):
            self._become(self.bench.move_step(place, by))
            self.query_one("#history-table", Table).move_to(place + by)

    def action_reweigh(self, by: int) -> None:
        """Give the neighbor under the cursor more weight, or less."""
        place = self._place
        if place is not None:
            self._become(self.bench.reweigh(place, MORE if by > 0 else LESS))

    def action_add(self) -> None:
        """Choose an item to add before the one under the cursor; at the end where the history has none."""
        from sracl_tui.tui.screens.find_item import FindItem

        self.app.push_screen(FindItem(self.run), self._add)

    def _add(self, item_id: int | None) -> None:
        if item_id is not None:
            self._read_title(item_id)

    @work(thread=True, exclusive=True, exit_on_error=False, group="title")
    def _read_title(self, item_id: int) -> None:
        try:
            title = items.titles(self.library.store(), str(self.run["dataset_id"]), [item_id]).get(item_id, "")
        except StoreError as error:
            self.post_message(self.Failed(error_text(error)))
        else:
            self.post_message(self.Chosen(item_id, title))

    @on(Chosen)
    def _add_chosen(self, message: Chosen) -> None:
        key = self.query_one("#history-table", Table).key
        place = key if isinstance(key, int) else len(self.bench.steps)
        self._become(self.bench.add_step(place, message.item_id, message.title))

    def action_summary(self) -> None:
        """Edit the summary of the prefix; its neighbors are searched anew."""
        stored = str((self._found.summary or {}).get("text") or "")
        now = stored if self.bench.summary is None else self.bench.summary

        def search(text: str | None) -> None:
            if text is None or text == now.strip():
                return
            if text == stored.strip():
                self._become(self.bench.with_summary(None, self.states[0].neighbors))
                return
            self._searching = True
            self.query_one("#effect", Static).update("searching the neighbors of the new summary ...")
            self.refresh_bindings()
            self._search(text)

        hint = "The run's encoder reads the text, and neighbors are searched anew. Nothing of it is stored, and no recommendation changes."
        check = lambda text: "" if text else "The summary is empty."  # noqa: E731
        title = f"Summary of user {self.bench.user_id}"
        self.app.push_screen(EditDialog(title, now, hint=hint, check=check, keep="Search"), search)

    @work(thread=True, exclusive=True, exit_on_error=False, group="search")
    def _search(self, text: str) -> None:
        try:
            found = find_neighbors(self.library.store(), self.sracl.scoring, self._found, text)
        except (StoreError, EngineError, OSError) as error:
            self.post_message(self.Retrieved(text, (), error_text(error)))
        else:
            self.post_message(self.Retrieved(text, found))

    @on(Retrieved)
    def _take_neighbors(self, message: Retrieved) -> None:
        self._searching = False
        if message.trouble:
            self.notify(message.trouble, title="Another summary: not possible", severity="warning", markup=False)
            self._show()
        else:
            self._become(self.bench.with_summary(message.summary, message.neighbors))
            self.show_pane("neighbors")

    def action_undo(self) -> None:
        """Take the last change back."""
        self.states.pop()
        self._show()

    def action_reset(self) -> None:
        """The user as they are."""
        del self.states[1:]
        self._show()

    def action_copy(self) -> None:
        """Copy the ranking as a table, with what has changed."""
        table = self.query_one("#ranked-table", Table)
        lines = ["\t".join(column.key for column in table.data.columns)]
        lines += ["\t".join(cell.strip() for cell in row.cells) for row in table.data.rows]
        effect = str(self.query_one("#effect", Static).content)
        self.copy("\n".join([effect, *lines]), formatting.count(len(table.data.rows), "row"))
