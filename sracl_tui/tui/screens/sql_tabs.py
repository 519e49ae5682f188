"""The tabs of the SQL screen, and its catalog of tables: what is around the query and its rows."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static, TextArea

from sracl_tui import formatting
from sracl_tui.services import query_history
from sracl_tui.tui.rendering.errors import error_text
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.sql_buffers import LONGEST, MOST, Buffer, Buffers
from sracl_tui.tui.widgets.buffer_bar import BufferBar
from sracl_tui.tui.widgets.catalog import Catalog
from sracl_tui.tui.widgets.dialogs import ConfirmDialog, PromptDialog
from sracl_tui.tui.widgets.sql_editor import Candidates, SqlEditor
from sracl_tui.tui.widgets.table import Table
from store.errors import NameRefused, StoreError
from store.queries.catalog import CatalogTable, catalog
from store.queries.sql_words import SqlWords, sql_words
from store.untrusted_text import check_name

FIRST = """-- F5 runs it, tab completes names, F2 lists tables
SELECT name, preset, seed, state, best_epoch, round(test_hr_20, 4) AS hr_20,
  round(test_ndcg_20, 4) AS ndcg_20, round(seconds) AS seconds
FROM run_results
ORDER BY ndcg_20 DESC NULLS LAST"""
BESIDE = 120
"""From how many columns on the catalog has room beside the query."""


class SqlTabs(BaseScreen):
    """Queries in tabs, each with its rows, and the tables beside or in their place."""

    SECTION = "sql"

    @dataclass
    class Named(Message):
        """Tables with their columns; keywords and functions."""

        tables: tuple[CatalogTable, ...]
        words: SqlWords

    @dataclass
    class Unnamed(Message):
        """The tables could not be read, and why."""

        reason: str

    def __init__(self) -> None:
        super().__init__()
        self.buffers = Buffers([])
        self._never_used = False
        self._catalog_over = False
        """Whether the catalog is in the place of query and rows, where it has no room beside them."""
        self._names_of: object = None
        """The state of the database whose names were read last."""

    @property
    def buffer(self) -> Buffer:
        """The tab that is shown."""
        return self.buffers.current

    @property
    def editor(self) -> SqlEditor:
        """The query of the tab."""
        return self.query_one(SqlEditor)

    @property
    def rows(self) -> Table:
        """The rows of the tab."""
        return self.query_one("#rows", Table)

    def body(self) -> ComposeResult:
        """Catalog; tabs, editor, result of the last query, rows; the list of completions."""
        kept = self.sracl.preferences
        self._never_used = not kept.queries and not kept.query
        self.buffers = Buffers.restore(kept.queries, kept.query_tab, FIRST if self._never_used else kept.query)
        with Horizontal(id="sql"):
            yield Catalog(id="catalog")
            with Vertical(id="asked"):
                yield BufferBar(id="tabs")
                editor = SqlEditor(self.buffer.text, id="query")
                editor.border_title = "query"
                yield editor
                yield Static("", id="told", markup=False)
                yield Table(id="rows", empty="", cells=True)
        yield Candidates(id="candidates")

    def on_mount(self) -> None:
        """Begin at the end of the query, and read the names."""
        self.set_title(formatting.line(self.sracl.home.database))
        self.editor.list = self.query_one(Candidates)
        self.editor.move_cursor(self.editor.document.end)
        self.editor.focus()
        self._show_catalog()
        self.show_tabs()
        if not self._never_used:
            self.keep()
        self.runs_read()

    # names

    def runs_read(self) -> None:
        """A new state of the database may have other tables."""
        if self._names_of is None or self._names_of != self.library.published:
            self._names_of = self.library.published or ""
            self._read_names()

    @work(thread=True, exclusive=True, exit_on_error=False, group="names")
    def _read_names(self) -> None:
        try:
            store = self.library.store()
            self.post_message(self.Named(catalog(store), sql_words(store)))
        except StoreError as error:
            self.post_message(self.Unnamed(error_text(error)))

    @on(Named)
    def _know(self, message: Named) -> None:
        vocabulary = {table.sql: [column.sql for column in table.columns] for table in message.tables}
        self.editor.learn(vocabulary, message.words)
        self.query_one(Catalog).show(message.tables)

    @on(Unnamed)
    def _without_names(self, message: Unnamed) -> None:
        self._names_of = None
        self.tell(self.buffer, message.reason, "trouble")

    # catalog

    @property
    def _has_room(self) -> bool:
        return (self.size.width or self.app.size.width) >= BESIDE

    def _show_catalog(self) -> None:
        beside = self._has_room and self.sracl.preferences.catalog
        self._catalog_over = self._catalog_over and not self._has_room
        self.query_one(Catalog).display = beside or self._catalog_over
        self.query_one("#asked").display = not self._catalog_over
        self.set_class(self._catalog_over, "-catalog-over")

    def on_resize(self, event: events.Resize) -> None:
        """Collapse the catalog where it has no room."""
        went = self.query_one(Catalog).has_focus_within
        self._show_catalog()
        if went and not self.query_one(Catalog).display:
            self.editor.focus()

    def action_tables(self) -> None:
        """Show the tables and go there; from there, hide them."""
        shown = self.query_one(Catalog)
        self.editor.close()
        if shown.display and (shown.has_focus_within or self._catalog_over):
            self._leave_catalog(hide=True)
            return
        self._catalog_over = not self._has_room
        if self._has_room:
            self.sracl.preferences.catalog = True
        self._show_catalog()
        shown.enter()

    def _leave_catalog(self, *, hide: bool) -> None:
        self._catalog_over = False
        if hide and self._has_room:
            self.sracl.preferences.catalog = False
        self._show_catalog()
        self.editor.focus()

    def uncover(self) -> None:
        """Show query and rows where the catalog is in their place."""
        if self._catalog_over:
            self._leave_catalog(hide=False)

    @on(Catalog.Chosen)
    def _insert_name(self, message: Catalog.Chosen) -> None:
        self._leave_catalog(hide=False)
        with self.editor.prevent(TextArea.Changed):  # else completions would open
            self.editor.insert(formatting.line(message.sql))
        self.keep()

    @on(Catalog.Left)
    def _catalog_left(self) -> None:
        self._leave_catalog(hide=False)

    # tabs

    @on(TextArea.Changed, "#query")
    def _typed(self) -> None:
        before = len(self.buffer.text)
        self.keep()
        if before <= LONGEST < len(self.buffer.text):
            self.notify(f"Over {LONGEST:,} letters: this query is not kept when you leave.", severity="warning")

    def keep(self) -> None:
        """Keep the texts of the tabs for the next time."""
        self.buffer.editor = self.editor.take_state()
        preferences = self.sracl.preferences
        preferences.queries, preferences.query_tab = self.buffers.kept(), self.buffers.place
        preferences.query = preferences.queries[self.buffers.place]["text"]
        self.show_tabs()

    def show_tabs(self) -> None:
        """Show titles of the tabs, and in which a query runs."""
        busy = frozenset(place for place, one in enumerate(self.buffers.all) if one.running is not None)
        self.query_one(BufferBar).show([one.title for one in self.buffers.all], self.buffers.place, busy)

    def _leave_tab(self) -> None:
        self.editor.close()
        self.buffer.editor = self.editor.take_state()
        self.buffer.place = (self.rows.cursor, self.rows.column)

    def _enter_tab(self) -> None:
        self.uncover()
        self.editor.show_state(self.buffer.editor)
        self.show_answer()
        row, column = self.buffer.place
        self.rows.move_to(row)
        self.rows.go_to_column(column)
        self.keep()
        self.refresh_bindings()

    def show_answer(self) -> None:
        """Show rows and message of the tab."""
        answer = self.buffer.answer
        self.rows.set_empty_text("no row" if answer.table is not None else "")
        self.rows.show(answer.data, keep=False)
        self.tell(self.buffer, self.buffer.told, self.buffer.look)

    def tell(self, buffer: Buffer, text: str, look: str = "") -> None:
        """Say something below the query of a tab."""
        buffer.told, buffer.look = text, look
        if buffer is self.buffer:
            message = self.query_one("#told", Static)
            message.set_classes(look)
            message.update(formatting.text(text))

    def show_tab(self, place: int) -> None:
        """Show another tab."""
        if place != self.buffers.place:
            self._leave_tab()
            self.buffers.place = place
            self._enter_tab()

    def action_tab(self, by: int) -> None:
        """Show the next tab, or the one before."""
        self.uncover()
        self.show_tab((self.buffers.place + by) % len(self.buffers.all))

    def action_new_tab(self) -> None:
        """Make a tab and begin to type in it."""
        if self.buffers.is_full:
            self.notify(f"There are {MOST} tabs: close one first.", severity="warning")
            return
        self._leave_tab()
        self.buffers.add()
        self._enter_tab()
        self._leave_catalog(hide=False)

    def action_close_tab(self) -> None:
        """Close the tab; a query that was never run is asked about."""
        text = self.editor.text.strip()
        known = not text or text == FIRST or any(one.query == text for one in query_history.read(self.sracl.home))
        if known and self.buffer.running is None:
            self._close_tab(True)
            return
        detail = "Its query is running and will be canceled." if self.buffer.running else "Its query is in no history."
        self.app.push_screen(
            ConfirmDialog(f"Close the tab {self.buffer.title!r}?", detail=detail, yes="Close it"), self._close_tab
        )

    def _close_tab(self, yes: bool | None) -> None:
        if yes:
            if self.buffer.running is not None:
                self.buffer.running.canceling = True
            self.buffers.close()
            self._enter_tab()

    def action_rename_tab(self) -> None:
        """Give the tab a name; without one it is called by its first words."""
        hint = "a name; without one the tab is called by its first words"
        self.app.push_screen(
            PromptDialog("Name of the tab", value=self.buffer.name, hint=hint, check=_name_problem), self._rename
        )

    def _rename(self, name: str | None) -> None:
        if name is not None:
            self.buffer.name = name.strip()
            self.keep()

    @on(BufferBar.Clicked)
    def _tab_clicked(self, message: BufferBar.Clicked) -> None:
        if message.action == "show":
            self.show_tab(message.place)
        else:
            {"add": self.action_new_tab, "close": self.action_close_tab, "rename": self.action_rename_tab}[
                message.action
            ]()


def _name_problem(name: str) -> str:
    try:
        check_name("the name", name)
    except NameRefused as error:
        return error_text(error)
    return ""
