"""The data sets of a home: what they are, how they are spread, which runs use them; importing and removing them."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Static, Tab, Tabs

from sracl_tui import formatting
from sracl_tui.services.run_edits import Words
from sracl_tui.tui.rendering.dataset import COLUMNS, datasets_table, facts_table, source_name
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.bar_chart import Chart
from sracl_tui.tui.widgets.dataset_table import DatasetTable
from sracl_tui.tui.widgets.dialogs import ConfirmDialog
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.table import Table
from store.errors import StoreError
from store.queries import datasets
from store.queries.dataset_statistics import statistics
from store.run_row import dataset_of

if TYPE_CHECKING:
    from sracl_tui.services.run_filter import Row as Run

PANES = {
    "facts": ("Facts", ""),
    "lengths": ("Lengths", "users by interactions"),
    "popularity": ("Popularity", "items by interactions"),
    "times": ("Time", "interactions"),
    "ties": ("Ties", "timestamps by interactions"),
}
"""Title, and what the bars count."""
EMPTY = (
    "No data sets here yet: press n to import one (RecBole files, CSV, TSV, Parquet, bare `user item` lines), or 1 and "
    "then d for the demo set with a run on it."
)
REFRESH_SECONDS = 5.0
POPULAR = 8


class DataScreen(BaseScreen):
    """The data sets, and facts and distributions of one of them."""

    NAME = "Data"
    ABOUT = (
        "Lengths: users by how many interactions they have. Popularity: items in the same way. Ties: timestamps of a user by how many "
        "interactions that user has then; 1 is no tie. Prefixes are what an epoch trains on. Filter: any words of name and source."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "Import"),
        Binding("l", "launch", "Launch"),
        Binding("x,delete", "remove", "Remove", key_display="x"),
        Binding("r", "runs", "Its runs"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("s", "sort", "Sort"),
        Binding("S", "turn", "Turn the sort around", show=False),
        Binding("y", "copy", "Copy name", show=False),
        Binding("Y", "copy_command", "Copy as command", show=False),
        Binding("tab", "pane(1)", "Next pane", show=False, priority=True),
        Binding("shift+tab", "pane(-1)", "Previous pane", show=False, priority=True),
    ]

    @dataclass
    class Listed(Message):
        """Rows of all data sets."""

        rows: list[dict[str, Any]]

    @dataclass
    class Counted(Message):
        """Statistics of one data set."""

        dataset_id: str
        found: dict[str, Any]

    @dataclass
    class Ready(Message):
        """The modules of the import screen are loaded; `make` builds it."""

        make: Callable[[], BaseScreen]

    @dataclass
    class Done(Message):
        """An action ended, or failed."""

        text: str
        failed: bool = False
        words: Words = ()

    def __init__(self, chosen: str | None = None) -> None:
        """Args: chosen: id of the data set that the cursor goes to."""
        super().__init__()
        self.sets: dict[str, dict[str, Any]] = {}
        self.counted: dict[str, dict[str, Any]] = {}
        self._chosen = chosen
        self._known = False
        self._pane = "facts"
        self._drawn: str | None = None

    def body(self) -> ComposeResult:
        """Filter, list, then facts and plots: beside each other, or as tabs where it is narrow."""
        yield Field(placeholder="filter: words of name or source", id="filter", compact=True)
        yield DatasetTable(id="sets", empty="reading ...")
        yield Tabs(*(Tab(title, id=f"tab-{name}") for name, (title, _) in PANES.items()))
        with Horizontal(id="panes"):
            with Vertical(id="facts", classes="pane"), VerticalScroll(id="facts-scroll"):
                yield Static("", id="facts-text", markup=False)
            with Container(id="plots"):
                for name in list(PANES)[1:]:
                    with Vertical(id=name, classes="pane"):
                        yield Chart(id=f"{name}-chart")
        yield Static(EMPTY, id="hint", markup=False)

    def on_mount(self) -> None:
        """Read the data sets, and again at intervals."""
        self.show_status(self.sracl.status)
        for name, (title, _) in PANES.items():
            self.query_one(f"#{name}").border_title = title
        self.query_one(Tabs).can_focus = False
        self.query_one("#filter").display = False
        self._show_pane("facts")
        self.query_one("#sets").focus()
        self.set_interval(REFRESH_SECONDS, self._list)
        self._list()

    def on_resize(self) -> None:
        """Where it is narrow, the list has a column less."""
        self.after_refresh(self._lay)

    def runs_read(self) -> None:
        """A run may have brought its data set, or use one now."""
        self._lay()
        self._list()

    @work(thread=True, exclusive=True, exit_on_error=False, group="list")
    def _list(self) -> None:
        try:
            self.post_message(self.Listed(datasets.listed(self.library.store())))
        except StoreError as error:
            self.post_message(self.Done(error_text(error), failed=True))

    @on(Listed)
    def _take(self, message: Listed) -> None:
        sets = {row["dataset_id"]: row for row in message.rows}
        if sets != self.sets or not self._known:
            self.sets, self._known = sets, True
            self._lay()

    def _lay(self) -> None:
        """Filter and sort the list, and show it."""
        wanted, preferences = self.query_one("#filter", Field).value.lower().split(), self.sracl.preferences
        texts = {key: f"{row['name']} {source_name(row)}".lower() for key, row in self.sets.items()}
        rows = [row for key, row in self.sets.items() if all(word in texts[key] for word in wanted)]
        rows.sort(key=self._sort_value, reverse=preferences.data_descending)
        table = self.query_one("#sets", Table)
        table.set_empty_text("No data set fits the filter: esc takes it away." if self._known else "reading ...")
        used = {row["dataset_id"]: len(self.runs_of(row)) for row in rows}
        grid = datasets_table(rows, used, narrow=self.has_class("-narrow"))
        table.show(grid, sorted_by=(self._order, preferences.data_descending))
        if self._chosen in self.sets:
            table.move_to(self._chosen)
            self._chosen = None
        empty = self._known and not self.sets
        self.set_class(empty, "-empty")
        self.set_title(
            f"{len(rows)} of {len(self.sets)}"
            if wanted
            else f"{len(rows)} data set{'' if len(rows) == 1 else 's'}"
            if rows
            else ""
        )
        self._show()

    @property
    def _order(self) -> str:
        """Key of the column to sort by."""
        wanted = self.sracl.preferences.data_sort
        return wanted if wanted in (column.key for column in COLUMNS) else "name"

    def _sort_value(self, row: dict[str, Any]) -> Any:
        column = self._order
        if column == "runs":
            return len(self.runs_of(row))
        return source_name(row) if column == "source" else row[column]

    def runs_of(self, row: dict[str, Any]) -> list[Run]:
        """The runs that use a data set, or will as soon as they have read it."""
        return [run for run in self.sracl.runs if dataset_of(run) == row["name"]]

    @property
    def row(self) -> dict[str, Any] | None:
        """The data set under the cursor; none in an empty list."""
        key = self.query_one("#sets", Table).key
        return self.sets.get(key) if isinstance(key, str) else None

    @on(Table.Highlighted, "#sets")
    def _show(self) -> None:
        """Show what is known of it; count what is not."""
        row = self.row
        self.refresh_bindings()
        if row is None:
            self._draw(None, None)
            return
        found = self.counted.get(row["dataset_id"])
        self._draw(row, found)
        if found is None:
            self._count(row)

    @work(thread=True, exclusive=True, exit_on_error=False, group="count")
    def _count(self, row: dict[str, Any]) -> None:
        try:
            found = statistics(self.library.store(), row, popular=POPULAR)
            self.post_message(self.Counted(row["dataset_id"], found))
        except StoreError as error:
            self.post_message(self.Done(error_text(error), failed=True))

    @on(Counted)
    def _keep(self, message: Counted) -> None:
        self.counted[message.dataset_id] = message.found
        if self.row is not None and self.row["dataset_id"] == message.dataset_id:
            self._draw(self.row, message.found)

    @property
    def _dim(self) -> str:
        return self.app.theme_variables["dim"]

    def _draw(self, row: dict[str, Any] | None, found: dict[str, Any] | None) -> None:
        """Facts and plots; while it is counted the plots of the one before do not stay."""
        text = facts_table(row, found, [run["name"] for run in self.runs_of(row)], dim=self._dim) if row else ""
        self.query_one("#facts-text", Static).update(text)
        if row is None or row["dataset_id"] != self._drawn:
            self.query_one("#facts-scroll").scroll_home(animate=False)
        self._drawn = row["dataset_id"] if row else None
        self.after_refresh(partial(self._plot, row, found))  # facts and plots in one frame take too long

    def _plot(self, row: dict[str, Any] | None, found: dict[str, Any] | None) -> None:
        word = "counting ..." if row and found is None else ""
        none = word or ("the source has no times" if row else "")
        for name, (_, counts) in list(PANES.items())[1:]:
            unit = (found or {}).get("unit", "") if name == "times" else ""
            chart, empty = self.query_one(f"#{name}-chart", Chart), none if name in ("times", "ties") else word
            chart.show((found or {}).get(name, ()), counts=counts, unit=unit, empty=empty)

    def disabled_reason(self, action: str) -> str:
        """Most need a data set; one that runs use stays."""
        if action not in ("launch", "remove", "runs", "copy", "copy_command"):
            return ""
        if (row := self.row) is None:
            return "There is no data set under the cursor."
        used = self.runs_of(row)
        if action == "remove" and used:
            text = f"{len(used)} runs use it, such as" if len(used) > 1 else "Run"
            end = "" if len(used) > 1 else " uses it"
            return f"{text} {formatting.line(used[0]['name'])}{end}: their records refer to its users and items, so it stays."
        return "No run uses it." if action == "runs" and not used else ""

    @on(Table.Chosen, "#sets")
    def _read_facts(self) -> None:
        self._show_pane("facts")
        self.query_one("#facts-scroll").focus()

    def action_pane(self, by: int) -> None:
        """Where it is narrow, the next pane; else to the facts and back."""
        if self.has_class("-narrow"):
            names = list(PANES)
            self._show_pane(names[(names.index(self._pane) + by) % len(names)])
        self.query_one(
            "#sets" if self.has_class("-narrow") or not self.query_one("#sets").has_focus else "#facts-scroll"
        ).focus()

    def _show_pane(self, name: str) -> None:
        self._pane = name
        for pane in PANES:
            self.query_one(f"#{pane}").set_class(pane == name, "shown")
        self.query_one("#plots").set_class(name != "facts", "shown")
        with self.prevent(Tabs.TabActivated):  # else tabs and panes would set each other without end
            self.query_one(Tabs).active = f"tab-{name}"

    @on(Tabs.TabActivated)
    def _tab(self, event: Tabs.TabActivated) -> None:
        name = (event.tab.id or "").removeprefix("tab-")
        if name in PANES and name != self._pane and event.tabs.active == event.tab.id:
            self._show_pane(name)

    def action_new(self) -> None:
        """Open the import screen."""
        self._prepare()

    @work(thread=True, exclusive=True, exit_on_error=False, group="prepare")
    def _prepare(self) -> None:
        """Import the modules of the import screen in a worker: they take a moment to load."""
        from sracl_tui.tui.screens.import_dataset import ImportScreen

        names = {key: row["name"] for key, row in self.sets.items()}
        self.post_message(self.Ready(lambda: ImportScreen(names)))

    @on(Ready)
    def _open_import(self, message: Ready) -> None:
        self.app.push_screen(message.make())

    def action_launch(self) -> None:
        """Open the launch form on this data set."""
        if self.row is not None:
            self.sracl.open_launch(None, dataset=self.row["name"])

    def action_runs(self) -> None:
        """Show the runs that use this data set."""
        if self.row is not None:
            self.sracl.open_runs(f"data={shlex.quote(self.row['name'])}")

    def action_remove(self) -> None:
        """Remove the data set after a confirmation."""
        row = self.row
        assert row is not None
        detail = (
            f"{row['users']:,} users, {row['items']:,} items, {row['interactions']:,} interactions leave the store. Summaries and "
            f"vectors that were made for it stay, and so does its source: {row['source']}"
        )

        def answer(yes: bool | None) -> None:
            if yes:
                self._remove(row["name"])

        self.app.push_screen(ConfirmDialog(f"Remove data set {row['name']}?", detail=detail, yes="Remove it"), answer)

    @work(thread=True, exit_on_error=False, group="remove")
    def _remove(self, name: str) -> None:
        try:
            datasets.remove(self.sracl.home, self.library.store(), name)
        except StoreError as error:
            self.post_message(self.Done(error_text(error), failed=True))
        else:
            self.post_message(self.Done(f"{name} is removed", words=("data", "remove", name)))

    @on(Done)
    def _show_outcome(self, message: Done) -> None:
        if message.failed and not self.sets:
            self.query_one("#sets", Table).set_empty_text(formatting.line(message.text.splitlines()[0]))
        self.notify(formatting.text(message.text), severity="error" if message.failed else "information", markup=False)
        if message.words:
            self.sracl.did(message.words)
        if not message.failed:
            self._list()

    def action_filter(self) -> None:
        """Show the filter and move the focus there."""
        self.query_one("#filter").display = True
        self.query_one("#filter").focus()

    @on(Field.Changed, "#filter")
    def _filter(self) -> None:
        self._lay()

    @on(Field.Submitted, "#filter")
    def _to_table(self) -> None:
        field = self.query_one("#filter", Field)
        field.display = bool(field.value)
        self.query_one("#sets").focus()

    def action_back(self) -> None:
        """From the facts to the list; the filter away; then to the screen before."""
        field = self.query_one("#filter", Field)
        if self.query_one("#facts-scroll").has_focus:
            self.query_one("#sets").focus()
        elif field.value or field.has_focus:
            field.value = ""
            self._to_table()
        else:
            super().action_back()

    def action_sort(self) -> None:
        """Sort by the next column."""
        keys = [column.key for column in COLUMNS]
        self._sort(keys[(keys.index(self._order) + 1) % len(keys)])

    def action_turn(self) -> None:
        """Reverse the sort order."""
        self._sort(self._order)

    @on(Table.HeaderClicked, "#sets")
    def _header(self, message: Table.HeaderClicked) -> None:
        self._sort(message.key)

    def _sort(self, column: str) -> None:
        preferences = self.sracl.preferences
        again = self._order == column
        preferences.data_descending = not preferences.data_descending if again else column not in ("name", "source")
        preferences.data_sort = column
        self._lay()

    def action_copy(self) -> None:
        """Copy the name of the data set."""
        if self.row is not None:
            self.copy(self.row["name"], self.row["name"])

    def action_copy_command(self) -> None:
        """Copy the command that prints the same facts."""
        if self.row is not None:
            self.copy(f"sracl data show {shlex.quote(self.row['name'])}", "The command")
