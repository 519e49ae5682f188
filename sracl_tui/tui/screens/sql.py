"""SQL: a query on the store, read-only, and its rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList, Static

from sracl_tui import formatting
from sracl_tui.services import query_history
from sracl_tui.tui.external_editor import edit_outside
from sracl_tui.tui.navigation import Unavailable
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.rendering.query_result import MOST, as_tsv, details, table_of
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import PromptDialog, TextDialog
from sracl_tui.tui.widgets.sql_editor import Candidates, SqlEditor
from sracl_tui.tui.widgets.table import Column, Row, Table, TableData
from store.errors import QueryFailed, StoreError
from store.queries.sql_format import format_sql
from store.queries.sql_words import SqlWords, sql_words

if TYPE_CHECKING:
    import pyarrow as pa

    from store.database.person_sql import Cancel

FIRST = """-- F5 runs it, tab completes names, F2 lists tables
SELECT name, preset, seed, state, best_epoch, round(test_hr_20, 4) AS hr_20,
  round(test_ndcg_20, 4) AS ndcg_20, round(seconds) AS seconds
FROM run_results
ORDER BY ndcg_20 DESC NULLS LAST"""
TICK_SECONDS = 0.1


class SqlScreen(BaseScreen):
    """A SQL editor over a read-only store, and the rows of the last query."""

    NAME = "SQL"
    ABOUT = (
        "Ask the database: read-only, while runs write. Names complete as you type: tab takes one, ctrl+space shows all. "
        "Only the first 100,000 rows are shown; ctrl+s saves all of them. ctrl+l lays the query out, F10 opens it in the editor that EDITOR names. In the query digits are text: esc goes back, F8 to any screen."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,ctrl+j", "run", "Run", key_display="F5"),
        Binding("f2", "tables", "Tables", key_display="F2"),
        Binding("f3", "history", "History", key_display="F3"),
        Binding("ctrl+s", "save", "Save", key_display="^s"),
        Binding("f4", "switch", "Editor or rows", key_display="F4"),
        Binding("ctrl+l", "format", "Format", key_display="^l"),
        Binding("f10", "outside", "In your editor", key_display="F10", show=False),
        Binding("y", "copy", "Copy"),
        Binding("escape", "back", "Back", id="app.back"),
    ]

    @dataclass
    class Answered(Message):
        """Rows, laid out; none for a statement without rows."""

        query: str
        table: pa.Table | None
        data: TableData
        seconds: float

    @dataclass
    class Saved(Message):
        """All rows were written to a file."""

        path: Path
        rows: int

    @dataclass
    class Failed(Message):
        """A query or a file failed, and why."""

        reason: str
        query: str = ""

    @dataclass
    class Named(Message):
        """Tables with their columns; keywords and functions."""

        vocabulary: dict[str, list[str]]
        words: SqlWords

    def __init__(self) -> None:
        super().__init__()
        self.table: pa.Table | None = None
        self.answered = ""
        """The query that the rows answer."""
        self._since: float | None = None
        self._cancel: Cancel | None = None
        self._canceling = False
        self._first = False
        """Whether the next answer is that of the example, which nobody asked for."""

    def body(self) -> ComposeResult:
        """Editor, result of the last query, rows, and the list of completions."""
        editor = SqlEditor(self.sracl.preferences.query or FIRST, id="query")
        editor.border_title = "query"
        yield editor
        yield Static("", id="told", markup=False)
        yield Table(id="rows", empty="")
        yield Candidates(id="candidates")

    def on_mount(self) -> None:
        """Read the names for completion; run the example query if the editor has never been used."""
        self.show_status(self.sracl.status)
        self.set_title(formatting.line(self.sracl.home.database))
        editor = self.query_one(SqlEditor)
        editor.list = self.query_one(Candidates)
        editor.move_cursor(editor.document.end)
        editor.focus()
        self.set_interval(TICK_SECONDS, self._tick)
        self._read_names()
        if not self.sracl.preferences.query:
            self._first = True
            self.action_run()

    @work(thread=True, exclusive=True, exit_on_error=False, group="names")
    def _read_names(self) -> None:
        try:
            store = self.library.store()
            self.post_message(self.Named(store.vocabulary(), sql_words(store)))
        except StoreError as error:
            self.post_message(self.Failed(error_text(error)))

    @on(Named)
    def _know(self, message: Named) -> None:
        self.query_one(SqlEditor).learn(message.vocabulary, message.words)

    @property
    def busy(self) -> bool:
        """Whether a query is running."""
        return self._since is not None

    def disabled_reason(self, action: str) -> str:
        """One query runs at a time; saving and copying need rows."""
        if action in ("run", "save", "history") and self.busy:
            return "A query is running: esc cancels it."
        if action == "save" and self.table is None:
            return "There are no rows to save."
        if action == "copy" and self.table is None:
            return "There is no row to copy."
        return ""

    def action_run(self) -> None:
        """Run the selected text, or all of it."""
        editor = self.query_one(SqlEditor)
        editor.close()
        query = editor.selected_text.strip() or editor.text.strip()
        if not query or self.busy:
            return
        self.sracl.preferences.query = editor.text
        self._begin()
        self._run(query)

    @work(thread=True, exit_on_error=False, group="query")
    def _run(self, query: str) -> None:
        started = time.monotonic()
        try:
            table = self.library.store().user_sql(query, limit=MOST, started=self._keep, form="texts")
            seconds = time.monotonic() - started
            data = table_of(table) if table is not None else TableData()
        except StoreError as error:
            self.post_message(self.Failed(_reason(error), query))
        except Exception as error:  # of any kind: the screen must not stay busy for ever
            self.post_message(self.Failed(f"{type(error).__name__}: {error}", query))
        else:
            self.post_message(self.Answered(query, table, data, seconds))

    def _keep(self, cancel: Cancel) -> None:
        self._cancel = cancel

    def _begin(self) -> None:
        self._since, self._canceling, self._cancel = time.monotonic(), False, None
        self.refresh_bindings()

    def _end(self) -> None:
        self._since, self._cancel = None, None
        self.refresh_bindings()

    def _tick(self) -> None:
        if self._since is None:
            return
        if self._canceling and self._cancel is not None:
            self._cancel()  # again and again: one that comes before the query has begun is lost
        seconds = time.monotonic() - self._since
        if seconds > 3 * TICK_SECONDS:
            self._show_message(
                f"{'canceling' if self._canceling else 'running'}, {seconds:.1f} s   esc cancels", "busy"
            )

    @on(Answered)
    def _show(self, message: Answered) -> None:
        self._end()
        self.table, self.answered = message.table, message.query
        rows = 0 if message.table is None else message.table.num_rows
        query_history.add(self.sracl.home, message.query, rows=min(rows, MOST), seconds=message.seconds)
        if not self._first:
            self.sracl.did(["sql", message.query])
        self._first = False
        count = f"the first {MOST:,} of more rows; ctrl+s saves all" if rows > MOST else f"{rows:,} rows"
        self._show_message(f"{count}, {message.seconds:.2f} s" if message.table is not None else "done, no rows")
        table = self.query_one("#rows", Table)
        table.set_empty_text("no row" if message.table is not None else "")
        table.show(message.data, keep=False)

    @on(Saved)
    def _saved(self, message: Saved) -> None:
        self._end()
        self._show_message(f"{message.rows:,} rows are in {formatting.line(message.path)}")

    @on(Failed)
    def _fail(self, message: Failed) -> None:
        self._end()
        if message.query:
            query_history.add(self.sracl.home, message.query, failed=True)
        self._show_message(message.reason, "trouble")

    def _show_message(self, text: str, look: str = "") -> None:
        message = self.query_one("#told", Static)
        message.set_classes(look)
        message.update(formatting.text(text))

    def action_back(self) -> None:
        """Cancel the running query; without one, leave the screen."""
        if self.busy:
            self._canceling = True
        else:
            self.sracl.preferences.query = self.query_one(SqlEditor).text
            super().action_back()

    def action_format(self) -> None:
        """Lay the query out: a line for each clause, keywords in upper case."""
        editor = self.query_one(SqlEditor)
        if (text := format_sql(editor.text)) != editor.text:
            self._set_query(text)

    def action_outside(self) -> None:
        """Edit the query in the editor that EDITOR names."""
        try:
            self._set_query(edit_outside(self.app, self.query_one(SqlEditor).text, suffix=".sql"))
        except Unavailable as reason:
            self._show_message(str(reason), "trouble")

    def _set_query(self, text: str) -> None:
        """Put a query in the place of the one in the editor; `ctrl+z` there brings that back."""
        editor = self.query_one(SqlEditor)
        editor.replace(text, editor.document.start, editor.document.end)
        editor.move_cursor(editor.document.end)
        editor.focus()
        self.call_after_refresh(editor.close)

    def action_switch(self) -> None:
        """Move the focus between the editor and the rows."""
        editor = self.query_one(SqlEditor)
        (self.query_one("#rows") if editor.has_focus else editor).focus()

    def action_copy(self) -> None:
        """The row under the cursor, with tabs between its values."""
        place = self.query_one("#rows", Table).key
        if self.table is not None and isinstance(place, int):
            self.copy(as_tsv(self.table, place), "The row")

    @on(Table.Chosen, "#rows")
    def _open_row(self, message: Table.Chosen) -> None:
        if self.table is not None and isinstance(message.key, int):
            self.app.push_screen(TextDialog(f"row {message.key + 1:,}", details(self.table, message.key)))

    @on(OptionList.OptionSelected, "#candidates")
    def _clicked(self, message: OptionList.OptionSelected) -> None:
        editor = self.query_one(SqlEditor)
        editor.focus()
        editor.take()

    def action_tables(self) -> None:
        """Choose a table or column and insert its name."""
        columns = (Column("name", "name", most=40), Column("what", "columns", flex=True))
        rows = []
        for table, names in self.query_one(SqlEditor).vocabulary.items():
            rows.append(Row(table, (table, ", ".join(names)), ("strong", "dim")))
            rows += [Row(f"{table}.{name}", (f"  {table}.{name}", ""), ("",)) for name in names]
        self.app.push_screen(
            ChoiceDialog("Tables and columns", columns, rows, hint="enter puts it in   esc: back"), self._put
        )

    def _put(self, name: object) -> None:
        if name is not None:
            self.query_one(SqlEditor).insert(str(name))

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
            self._begin()
            self._save(self.answered, Path(answer.strip()).expanduser())

    @work(thread=True, exit_on_error=False, group="query")
    def _save(self, query: str, path: Path) -> None:
        try:
            rows = self.library.store().save_sql(query, path, started=self._keep)
        except StoreError as error:
            self.post_message(self.Failed(_reason(error)))
        except Exception as error:
            self.post_message(self.Failed(f"{type(error).__name__}: {error}"))
        else:
            self.post_message(self.Saved(path, rows))


def _reason(error: StoreError) -> str:
    return (
        error.message if isinstance(error, QueryFailed) and not error.hint else f"{error.message}\n{error.hint or ''}"
    )
