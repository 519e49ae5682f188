"""The first screen: every run, newest first, kept up to date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Header, Static

from sracl_tui.cli.runs import COLUMNS as TEXT_COLUMNS
from sracl_tui.cli.runs import run_cells
from store.database import Store
from store.errors import StoreError
from store.home import Home
from store.runs import list_runs

REFRESH_SECONDS = 2.0
COLUMNS = ("run", *TEXT_COLUMNS[2:])
"""As in text, with one column for name or id."""


class RunsScreen(Screen[None]):
    """A table of the runs in a home."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "refresh", "Refresh"),
        Binding("j", "down", "Down", show=False),
        Binding("k", "up", "Up", show=False),
    ]

    @dataclass
    class Read(Message):
        """The runs as they stand."""

        rows: list[dict[str, Any]]

    @dataclass
    class Failed(Message):
        """The store could not be read."""

        reason: str

    def __init__(self, home: Home) -> None:
        super().__init__()
        self._home = home
        self._shown: list[tuple[str, ...]] | None = None

    def compose(self) -> ComposeResult:
        """Header, table, status, footer."""
        yield Header()
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Static(
            "No runs here yet. Start one in a shell:\n\n    sracl run\n\nIt trains on a synthetic demo set.", id="hint"
        )
        yield Static("", id="status")
        yield Footer()

    def on_mount(self) -> None:
        """Show the table and begin to look."""
        table = self.query_one(DataTable)
        for head in COLUMNS:
            name, _, side = head.partition(":")
            table.add_column(Text(name, justify="right" if side else "left"), key=name)
        table.focus()
        self.set_interval(REFRESH_SECONDS, self.action_refresh)
        self.action_refresh()

    def action_refresh(self) -> None:
        """Read the runs anew."""
        self._read()

    def action_down(self) -> None:
        """Next run."""
        self.query_one(DataTable).action_cursor_down()

    def action_up(self) -> None:
        """Run before."""
        self.query_one(DataTable).action_cursor_up()

    @work(thread=True, exclusive=True, exit_on_error=False, group="read")
    def _read(self) -> None:
        try:
            with Store.open(self._home) as store:
                rows = list_runs(store)
        except StoreError as error:
            self.post_message(self.Failed(str(error)))
        else:
            self.post_message(self.Read(rows))

    @on(Read)
    def _show(self, message: Read) -> None:
        live = sum(row["state"] in ("running", "stopping") for row in message.rows)
        self.query_one("#status", Static).update(f"{self._home.database}   {len(message.rows)} runs, {live} live")
        self.query_one("#hint").display = not message.rows
        table = self.query_one(DataTable)
        table.display = bool(message.rows)
        cells = [(row["name"], *run_cells(row)[2:]) for row in message.rows]
        if cells == self._shown:
            return
        self._shown = cells
        row = table.cursor_row
        table.clear()
        for values in cells:
            texts = [
                Text(value, justify="right" if head.endswith(":r") else "left")
                for value, head in zip(values, COLUMNS, strict=True)
            ]
            table.add_row(*texts)
        table.move_cursor(row=min(row, len(cells) - 1))

    @on(Failed)
    def _fail(self, message: Failed) -> None:
        self.query_one("#status", Static).update(f"✗ {message.reason.splitlines()[0]}")
