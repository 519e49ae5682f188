"""SQL: queries on the store, read-only, and their rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList

from sracl_tui import formatting
from sracl_tui.services import query_history
from sracl_tui.tui.external_editor import edit_outside
from sracl_tui.tui.navigation import Unavailable
from sracl_tui.tui.rendering.query_chart import ResultChart, Undrawable, chart_of
from sracl_tui.tui.rendering.query_result import MOST, as_tsv, cell_of, details, table_of
from sracl_tui.tui.screens.sql_chart import SqlChartScreen
from sracl_tui.tui.screens.sql_tabs import SqlTabs
from sracl_tui.tui.sql_buffers import Answer, Buffer, Running
from sracl_tui.tui.widgets.cell_dialog import CellDialog
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import PromptDialog, TextDialog
from sracl_tui.tui.widgets.table import Column, Row, Table, TableData
from store.errors import QueryFailed, StoreError
from store.queries.sql_format import format_sql

TICK_SECONDS = 0.1


class SqlScreen(SqlTabs):
    """Queries on a read-only store, in tabs, and the rows of the last one of each."""

    NAME = "SQL"
    ABOUT = (
        "Ask the database: read-only, while runs write. Names complete as you type: tab takes one, ctrl+space shows all; F2 has the tables with "
        "their columns. Each tab keeps its query, over restarts too, and its rows; a double click on a tab renames it. In the rows enter "
        "shows a value whole. Only the first 100,000 rows are shown; ctrl+s saves all of them. ctrl+g draws them. In the query digits are text: esc goes back, F8 to any screen."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,ctrl+j", "run", "Run", key_display="F5"),
        Binding("f2", "tables", "Tables", key_display="F2"),
        Binding("f3", "history", "History", key_display="F3"),
        Binding("ctrl+r", "new_tab", "New tab", key_display="^r"),
        Binding("ctrl+g", "chart", "Chart", key_display="^g"),
        Binding("ctrl+s", "save", "Save", key_display="^s"),
        Binding("f4", "switch", "Editor or rows", key_display="F4"),
        Binding("ctrl+l", "format", "Format", key_display="^l"),
        Binding("f6", "tab(1)", "Next tab", show=False, priority=True, key_display="F6"),
        Binding("ctrl+pagedown", "tab(1)", "Next tab", show=False, priority=True),
        Binding("shift+f6,f18", "tab(-1)", "Previous tab", show=False, priority=True, key_display="shift+F6"),
        Binding("ctrl+pageup", "tab(-1)", "Previous tab", show=False, priority=True),
        Binding("shift+f7,f19", "close_tab", "Close the tab", show=False, key_display="shift+F7"),
        Binding("shift+f2,f14", "rename_tab", "Rename the tab", show=False, key_display="shift+F2"),
        Binding("f10", "outside", "In your editor", key_display="F10", show=False),
        Binding("v", "row", "The whole row", show=False),
        Binding("y", "copy", "Copy"),
        Binding("escape", "back", "Back", id="app.back"),
    ]

    @dataclass
    class Answered(Message):
        """Rows of a tab, laid out."""

        buffer: Buffer
        answer: Answer

    @dataclass
    class Saved(Message):
        """All rows were written to a file."""

        buffer: Buffer
        path: Path
        rows: int

    @dataclass
    class Failed(Message):
        """A query or a file failed, and why."""

        buffer: Buffer
        reason: str
        query: str = ""

    @dataclass
    class Drawn(Message):
        """Rows as a chart, or why they make none."""

        chart: ResultChart | None
        query: str = ""
        reason: str = ""

    def __init__(self) -> None:
        super().__init__()
        self._statements: set[Running] = set()
        """What runs, also for tabs that were closed meanwhile."""

    @property
    def answered(self) -> str:
        """The query that the rows answer."""
        return self.buffer.answer.query

    def on_mount(self) -> None:
        """Run the example query if the editor has never been used."""
        self.set_interval(TICK_SECONDS, self._tick)
        if self._never_used:
            self.action_run(unasked=True)

    def on_unmount(self) -> None:
        """Cancel what runs: nobody would see it."""
        for running in self._statements:
            running.stop()

    @property
    def busy(self) -> bool:
        """Whether the query of the tab is running."""
        return self.buffer.running is not None

    def disabled_reason(self, action: str) -> str:
        """One query of a tab runs at a time; much needs rows."""
        if action in ("run", "save", "history") and self.busy:
            return "The query of this tab is running: esc cancels it."
        if self.buffer.answer.table is None:
            if action in ("save", "chart"):
                return f"There are no rows to {'save' if action == 'save' else 'draw'}."
            if action in ("copy", "row"):
                return f"There is no row to {'copy' if action == 'copy' else 'show'}."
        return ""

    def action_run(self, unasked: bool = False) -> None:
        """Run the selected text, or all of it."""
        self.editor.close()
        query = self.editor.selected_text.strip() or self.editor.text.strip()
        if not query or self.busy:
            return
        self.uncover()
        self.keep()
        self._run(self.buffer, self._begin(self.buffer, unasked=unasked), query)

    @work(thread=True, exit_on_error=False, group="query")
    def _run(self, buffer: Buffer, running: Running, query: str) -> None:
        started = time.monotonic()
        try:
            table = self.library.store().user_sql(query, limit=MOST, started=running.keep, form="texts")
            seconds = time.monotonic() - started
            data = table_of(table) if table is not None else TableData()
        except StoreError as error:
            self.post_message(self.Failed(buffer, _reason(error), query))
        except Exception as error:  # of any kind: the tab must not stay busy for ever
            self.post_message(self.Failed(buffer, f"{type(error).__name__}: {error}", query))
        else:
            self.post_message(self.Answered(buffer, Answer(query, table, data, seconds)))

    def _begin(self, buffer: Buffer, *, unasked: bool = False) -> Running:
        buffer.running = Running(time.monotonic(), unasked)
        self._statements.add(buffer.running)
        self.show_tabs()
        self.refresh_bindings()
        return buffer.running

    def _end(self, buffer: Buffer) -> bool:
        """Note that a tab is no longer busy; whether it is still there."""
        if buffer.running is not None:
            self._statements.discard(buffer.running)
            buffer.running = None
        self.show_tabs()
        self.refresh_bindings()
        return buffer in self.buffers.all

    def _tick(self) -> None:
        for running in self._statements:
            if running.canceling:
                running.stop()  # again and again: one that comes before the query has begun is lost
        if (running := self.buffer.running) is not None:
            seconds = time.monotonic() - running.since
            if seconds > 3 * TICK_SECONDS:
                doing = "canceling" if running.canceling else "running"
                self.tell(self.buffer, f"{doing}, {seconds:.1f} s   esc cancels", "busy")

    @on(Answered)
    def _show(self, message: Answered) -> None:
        buffer, answer = message.buffer, message.answer
        unasked = buffer.running is not None and buffer.running.unasked
        rows = 0 if answer.table is None else answer.table.num_rows
        query_history.add(self.sracl.home, answer.query, rows=min(rows, MOST), seconds=answer.seconds)
        if not unasked:
            self.sracl.did(["sql", answer.query])
        if not self._end(buffer):
            return
        buffer.answer, buffer.place = answer, (0, 0)
        self.buffers.bound(buffer)
        count = f"the first {MOST:,} of more rows; ctrl+s saves all" if rows > MOST else formatting.count(rows, "row")
        done = f"{count}, {answer.seconds:.2f} s" if answer.table is not None else "done, no rows"
        self.tell(buffer, done)
        if buffer is self.buffer:
            self.show_answer()

    @on(Saved)
    def _saved(self, message: Saved) -> None:
        if self._end(message.buffer):
            self.tell(
                message.buffer, f"{formatting.count(message.rows, 'row')} written to {formatting.line(message.path)}"
            )

    @on(Failed)
    def _fail(self, message: Failed) -> None:
        if message.query:
            query_history.add(self.sracl.home, message.query, failed=True)
        if self._end(message.buffer):
            self.tell(message.buffer, message.reason, "trouble")

    def action_back(self) -> None:
        """Cancel the running query; without one, leave the screen."""
        if self.buffer.running is not None:
            self.buffer.running.canceling = True
        else:
            self.keep()
            super().action_back()

    def action_format(self) -> None:
        """Lay the query out: a line for each clause, keywords in upper case."""
        if (text := format_sql(self.editor.text)) != self.editor.text:
            self._set_query(text)

    def action_outside(self) -> None:
        """Edit the query in the editor that EDITOR names."""
        try:
            self._set_query(edit_outside(self.app, self.editor.text, suffix=".sql"))
        except Unavailable as reason:
            self.tell(self.buffer, str(reason), "trouble")

    def _set_query(self, text: str) -> None:
        """Put a query in the place of the one in the editor; `ctrl+z` there brings that back."""
        editor = self.editor
        editor.replace(text, editor.document.start, editor.document.end)
        editor.move_cursor(editor.document.end)
        editor.focus()
        self.call_after_refresh(editor.close)

    def action_switch(self) -> None:
        """Move the focus between the editor and the rows."""
        self.uncover()
        (self.rows if self.editor.has_focus else self.editor).focus()

    def action_copy(self) -> None:
        """The row under the cursor, with tabs between its values."""
        table, place = self.buffer.answer.table, self.rows.key
        if table is not None and isinstance(place, int):
            self.copy(as_tsv(table, place), "The row")

    @on(Table.Chosen, "#rows")
    def _open_cell(self, message: Table.Chosen) -> None:
        table = self.buffer.answer.table
        if table is not None and isinstance(message.key, int):
            dialog = CellDialog(cell_of(table, message.key, self.rows.column))
            self.app.push_screen(dialog, lambda row: self.action_row() if row else None)

    def action_row(self) -> None:
        """Show every value of the row under the cursor."""
        table, place = self.buffer.answer.table, self.rows.key
        if table is not None and isinstance(place, int):
            self.app.push_screen(TextDialog(f"row {place + 1:,}", details(table, place)))

    def action_chart(self) -> None:
        """Draw the numbers of the rows over the first column."""
        self._draw(self.buffer.answer)

    @work(thread=True, exclusive=True, exit_on_error=False, group="chart")
    def _draw(self, answer: Answer) -> None:
        assert answer.table is not None
        try:
            self.post_message(self.Drawn(chart_of(answer.table), answer.query))
        except Undrawable as reason:
            self.post_message(self.Drawn(None, reason=str(reason)))

    @on(Drawn)
    def _show_chart(self, message: Drawn) -> None:
        if message.chart is None:
            self.notify(message.reason, title="Chart: not now", severity="warning", markup=False)
        elif self.app.screen is self:
            self.app.push_screen(SqlChartScreen(message.chart, message.query))

    @on(OptionList.OptionSelected, "#candidates")
    def _clicked(self, message: OptionList.OptionSelected) -> None:
        self.editor.focus()
        self.editor.take()

    def action_history(self) -> None:
        """Choose an earlier query and put it into the editor."""
        columns = (
            Column("at", "when"),
            Column("rows", "rows", right=True),
            Column("seconds", "seconds", right=True),
            Column("query", "query", flex=True, least=20),
        )
        rows = [
            Row(
                one.query,
                (
                    one.when,
                    "failed" if one.failed else f"{one.rows:,}",
                    f"{one.seconds:.2f}",
                    formatting.line(one.query),
                ),
                ("dim", "bad" if one.failed else "", "dim", ""),
            )
            for one in query_history.read(self.sracl.home)
        ]
        self.app.push_screen(ChoiceDialog("History", columns, rows, hint="enter takes it   esc: back"), self._recall)

    def _recall(self, query: object) -> None:
        if query is not None:
            self._set_query(str(query))

    def action_save(self) -> None:
        """Write all rows of the last query to a file."""
        hint = ".csv, .parquet or .json; all rows, not only those shown"
        self.app.push_screen(
            PromptDialog("Save the rows as", value=str(Path.cwd() / "rows.csv"), hint=hint), self._save_to
        )

    def _save_to(self, answer: str | None) -> None:
        if answer and answer.strip():
            self._save(self.buffer, self._begin(self.buffer), Path(answer.strip()).expanduser())

    @work(thread=True, exit_on_error=False, group="query")
    def _save(self, buffer: Buffer, running: Running, path: Path) -> None:
        try:
            rows = self.library.store().save_sql(buffer.answer.query, path, started=running.keep)
        except StoreError as error:
            self.post_message(self.Failed(buffer, _reason(error)))
        except Exception as error:
            self.post_message(self.Failed(buffer, f"{type(error).__name__}: {error}"))
        else:
            self.post_message(self.Saved(buffer, path, rows))


def _reason(error: StoreError) -> str:
    return (
        error.message if isinstance(error, QueryFailed) and not error.hint else f"{error.message}\n{error.hint or ''}"
    )
