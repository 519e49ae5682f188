"""Importing a data set: pick a file, see what would be read and kept, set the options, start."""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static, Tab, Tabs

from engine.data.importing import ImportOptions
from engine.data.preview import Preview, glance, preview
from engine.data.readers import endings
from engine.data.readers.base import Head
from engine.errors import EngineError
from sracl_tui import formatting
from sracl_tui.runs import own_code
from sracl_tui.services.dataset_import import BY_KEY, Imported, ImportProcess, Step
from sracl_tui.services.import_form import SOURCE, Draft
from sracl_tui.tui.rendering import import_source
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.screens.import_progress import ImportProgress, Outcome
from sracl_tui.tui.widgets.choice_dialog import ChoiceDialog
from sracl_tui.tui.widgets.dialogs import PromptDialog
from sracl_tui.tui.widgets.field import Field
from sracl_tui.tui.widgets.file_picker import Files, Paths
from sracl_tui.tui.widgets.table import Column, Row, Table
from store.errors import StoreError

PANES = {"files": "#file-list", "preview": "#rows", "options": "#form"}
TITLES = {"files": "Files", "preview": "What is read", "options": "Options"}
PAUSE = 0.25
"""Seconds without a key before a typed path is read."""


class ImportScreen(BaseScreen):
    """Choose a file, see its first rows, set options, and import it."""

    SECTION = "importing"
    NAME = "Import"
    AUTO_FOCUS = "#file-list"
    ABOUT = (
        "Only files that may be data are listed; a folder stands for the one file in it that looks like interactions. The first "
        "rows are shown at once; enter on a file, or v, reads all of it and says what would be kept; r then shows its first rows as they are read. Nothing is stored before "
        "ctrl+s, and then all of it or nothing."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Import"),
        Binding("v", "count", "Count"),
        Binding("slash", "path", "Path", key_display="/"),
        Binding("t", "texts", "Texts"),
        Binding("r", "read", "As read"),
        Binding("z", "reset", "Reset", show=False),
        Binding("y", "copy", "Copy as command", show=False),
        Binding("tab", "pane(1)", "Next pane", key_display="tab", priority=True),
        Binding("shift+tab", "pane(-1)", "Previous pane", show=False, priority=True),
    ]

    @dataclass
    class Seen(Message):
        """How a source begins, or why it cannot be read."""

        path: Path
        options: ImportOptions
        found: Preview | None
        error: EngineError | None = None
        glance: Head | None = None

    @dataclass
    class Counted(Message):
        """A step of the counting, its result, or why there is none."""

        process: ImportProcess
        result: Step | Imported | EngineError | StoreError | OSError

    def __init__(self, sets: Mapping[str, str]) -> None:
        """Args: sets: names of the data sets that are there, by id."""
        super().__init__()
        self.draft = Draft(sets)
        self.kept: Imported | None = None
        self._texts = False
        self._as_read = False
        """The first rows are shown as they were read, where they have been counted."""
        self._pane = "files"
        self._picked_now = False
        """A file was chosen: it is counted as soon as it is seen that it can be read."""
        self._counting: ImportProcess | None = None
        self._pause: Timer | None = None

    def body(self) -> ComposeResult:
        """Path, then files, preview and options: beside each other, or as tabs where it is narrow."""
        yield Field(
            placeholder="path of a file or folder; right completes it",
            id="path",
            compact=True,
            suggester=Paths(endings()),
        )
        yield Tabs(*(Tab(title, id=f"tab-{name}") for name, title in TITLES.items()))
        with Horizontal(id="panes"):
            with Vertical(id="files", classes="pane"):
                yield Files(endings(), id="file-list")
            with Container(id="right"):
                with Vertical(id="preview", classes="pane"):
                    yield Static("", id="what", markup=False)
                    yield Table(id="rows")
                with Vertical(id="options", classes="pane"):
                    yield Table(id="form")
        yield Static("", id="kept", markup=False)

    def on_mount(self) -> None:
        """Open the folder of the last import."""
        self.show_status(self.sracl.status)
        for name, title in TITLES.items():
            self.query_one(f"#{name}").border_title = title
        self.query_one(Tabs).can_focus = False
        before = Path(self.sracl.preferences.import_folder or ".")
        self.query_one(Files).open(before if before.is_dir() else Path())
        self._draw()
        self._show_pane("files")

    def on_unmount(self) -> None:
        """Cancel a count that is still running."""
        if self._counting is not None:
            self._counting.cancel()

    @on(Files.PathHighlighted)
    def _show_file(self, message: Files.PathHighlighted) -> None:
        files, field = self.query_one(Files), self.query_one("#path", Field)
        self.sracl.preferences.import_folder = str(files.folder)
        self.query_one("#files").border_subtitle = f"{files.others:,} other files" if files.others else ""
        if not field.has_focus:
            with self.prevent(Field.Changed):
                field.value = formatting.line(message.path)
            self.show_source(message.path)

    @on(Field.Changed, "#path")
    def _typed(self) -> None:
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE, self._show_typed)

    def _show_typed(self) -> None:
        if self.query_one("#path", Field).has_focus:
            self.show_source(_path(self.query_one("#path", Field).value))

    @on(Field.Submitted, "#path")
    def _entered(self, event: Field.Submitted) -> None:
        path = _path(event.value)
        if path.is_dir():
            self._show_pane("files")
            self.query_one(Files).open(path)
        else:
            self.show_source(path)
            self._show_pane("options" if path.is_file() else "preview")
            self.query_one(Files).open(path.parent, at=path)

    @on(Files.Picked)
    def _picked(self, message: Files.Picked) -> None:
        self._picked_now = True
        self.show_source(message.path)
        self._show_pane("options")

    def show_source(self, path: Path) -> None:
        """Read the beginning of a source and show it."""
        if self.draft.set_source(path):
            self._forget_count()
        self._see(path, self.draft.options)

    def _forget_count(self) -> None:
        """Drop the count: source or options have changed."""
        self.kept = None
        if self._counting is not None:
            self._counting.cancel()
            self._counting = None
        self.query_one("#kept", Static).update("")

    @work(thread=True, exclusive=True, exit_on_error=False, group="see")
    def _see(self, path: Path, options: ImportOptions) -> None:
        try:
            self.post_message(self.Seen(path, options, preview(path, options=options)))
        except EngineError as error:
            self.post_message(self.Seen(path, options, None, error, glance(path)))

    @on(Seen)
    def _show_seen(self, message: Seen) -> None:
        if message.path == self.draft.path and message.options == self.draft.options:
            self.draft.found, self.draft.glance = message.found, message.glance
            self.draft.blame(message.error)
            self._draw()
            if self._picked_now and message.found is not None:
                self.action_count()
            self._picked_now = False

    def _draw(self) -> None:
        """Show source, first rows, options and errors."""
        draft = self.draft
        found = draft.found
        what = self.query_one("#what", Static)
        what.update(import_source.source_text(draft))
        what.set_class(found is None, "trouble")
        rows, data = self.query_one("#rows", Table), import_source.rows_table(draft.head(texts=self._texts))
        as_read = self._as_read and self.kept is not None
        if self.kept is not None and as_read:
            data = import_source.read_table(self.kept)
        rows.show(data, keep=False)
        rows.visible = bool(data.columns)
        shown = None if found is None else found.items if self._texts and found.items else found.file
        name = formatting.line(shown.name) if shown else ""
        self.query_one("#preview").border_subtitle = f"{name} as it is read" if as_read else name
        self.query_one("#form", Table).show(import_source.form_table(draft))
        wrong = [key for key in draft.errors if key != SOURCE]
        self.query_one("#options").border_subtitle = f"✗ {', '.join(wrong)}" if wrong else ""
        self.set_title(f"{found.file.name} as {draft.name}" if found else "choose a file")
        self.refresh_bindings()

    def disabled_reason(self, action: str) -> str:
        """Only a readable source can be counted or imported."""
        draft = self.draft
        if action == "start" and draft.errors:
            key, text = next(iter(draft.errors.items()))
            return formatting.line(f"{key}: {text.splitlines()[0]}")
        if action in ("start", "count", "copy") and draft.found is None:
            return "Choose a file that can be read as interactions first."
        if action == "texts" and (draft.found is None or draft.found.items_head is None):
            return "No other file has the items' texts."
        if action == "read" and self.kept is None:
            return "Count first: v reads all of it."
        return ""

    def _process(self, *, store: bool) -> ImportProcess:
        assert self.draft.path is not None
        home = self.sracl.home if store else None
        return ImportProcess(home, self.draft.path.absolute(), self.draft.name, self.draft.options)

    def action_count(self) -> None:
        """Read the whole source without storing it, and show what would be kept."""
        self._forget_count()
        self._counting = self._process(store=False)
        self.query_one("#kept", Static).update("counting ...")
        self._count(self._counting)

    @work(thread=True, exit_on_error=False, group="count")
    def _count(self, process: ImportProcess) -> None:
        try:
            for text in process.messages():
                self.post_message(self.Counted(process, text))
        except (EngineError, StoreError, OSError) as error:
            self.post_message(self.Counted(process, error))

    @on(Counted)
    def _show_count(self, message: Counted) -> None:
        if message.process is not self._counting:
            return
        text = message.result
        if isinstance(text, Step | Imported):
            self.kept = text if isinstance(text, Imported) else None
            self.query_one("#kept", Static).update(import_source.kept_text(text, self.draft.sets))
            if self.kept is not None:
                self._draw()
            return
        self.draft.blame(text)
        self.query_one("#kept", Static).update(formatting.line(f"✗ {str(text).splitlines()[0]}"))
        self._draw()

    @on(Table.Chosen, "#form")
    def _edit(self, message: Table.Chosen) -> None:
        key = str(message.key)
        text, listed = BY_KEY[key].help, self.draft.choices(key)
        if listed:
            rows = [Row(value, (formatting.line(value or "none: found by itself"),)) for value in listed]
            dialog = ChoiceDialog(f"{key}: {text}", [Column("value", "value", flex=True)], rows)
            self.app.push_screen(dialog, partial(self._set, key))
        else:
            self.app.push_screen(PromptDialog(key, value=self.draft.proposal(key), hint=text), partial(self._set, key))

    def _set(self, key: str, text: Hashable | None) -> None:
        if text is not None:
            own_code.allow_named(self.sracl.home, [str(text)], by=own_code.APP)
            self.draft.set(key, str(text))
            self._changed(key)

    def action_reset(self) -> None:
        """Set the option under the cursor back to its default."""
        key = str(self.query_one("#form", Table).key)
        self.draft.reset(key)
        self._changed(key)

    def _changed(self, key: str) -> None:
        """Look again, and count again what was counted; a name changes neither."""
        self._draw()
        if key == "name" or self.draft.path is None:
            return
        self._picked_now = self._counting is not None
        self._forget_count()
        self.show_source(self.draft.path)

    def action_texts(self) -> None:
        """Show the rows of the items' file, or those of the interactions."""
        self._texts = not self._texts
        self._draw()

    def action_read(self) -> None:
        """Show the first interactions as they are read, with times in UTC, or the rows of the file."""
        self._as_read = not self._as_read
        self._draw()
        self._show_pane("preview")

    def action_path(self) -> None:
        """Move the focus to the path."""
        self.query_one("#path").focus()

    def action_copy(self) -> None:
        """Copy the command that makes the same import."""
        self.copy(self.draft.command, "The command")

    def action_start(self) -> None:
        """Import the source, with its progress in a dialog."""
        self._forget_count()
        name = self.draft.name
        self.app.push_screen(ImportProgress(self._process(store=True), f"Importing {name}"), self._end)

    def _end(self, outcome: Outcome) -> None:
        if outcome is None:
            self.notify("Import canceled, nothing was saved.")
        elif isinstance(outcome, Imported):
            text = f"{outcome.name}: {outcome.users:,} users, {outcome.items:,} items, {outcome.interactions:,} interactions"
            self.notify(formatting.line(text), title="Imported", markup=False)
            self.sracl.open_data(outcome.dataset_id)
            self.sracl.did(shlex.split(self.draft.command)[1:])
        else:
            self.draft.blame(outcome)
            self._draw()
            self.notify(formatting.text(outcome), title="Nothing was saved", severity="error", markup=False)

    def action_back(self) -> None:
        """From the path to the files, else to the screen before."""
        if self.query_one("#path").has_focus:
            self._show_pane("files")
        else:
            super().action_back()

    def action_pane(self, by: int) -> None:
        """The next pane; where it is narrow it takes the room."""
        names = list(PANES)
        self._show_pane(names[(names.index(self._pane) + by) % len(names)])

    def _show_pane(self, name: str) -> None:
        self._pane = name
        for pane in PANES:
            self.query_one(f"#{pane}").set_class(pane == name, "shown")
        self.query_one("#right").set_class(name != "files", "shown")
        with self.prevent(Tabs.TabActivated):  # else tabs and panes would set each other without end
            self.query_one(Tabs).active = f"tab-{name}"
        self.call_after_refresh(self.query_one(PANES[name]).focus)

    @on(Tabs.TabActivated)
    def _tab(self, event: Tabs.TabActivated) -> None:
        name = (event.tab.id or "").removeprefix("tab-")
        if name in PANES and name != self._pane and event.tabs.active == event.tab.id:
            self._show_pane(name)


def _path(text: str) -> Path:
    """A typed path; `~` is the home folder if there is one."""
    path = Path(text.strip() or ".")
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        return path.absolute()
